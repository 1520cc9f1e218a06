from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from llmagentos.knowledge.facts import Facts
from llmagentos.store.store import Store


@pytest.fixture
def facts(tmp_path: Path) -> Iterator[Facts]:
    with Store.open(tmp_path / "home") as opened:
        yield Facts(opened)
