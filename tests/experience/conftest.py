from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from llmagentos.experience.episodes import Episodes
from llmagentos.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def episodes(store: Store) -> Episodes:
    return Episodes(store)
