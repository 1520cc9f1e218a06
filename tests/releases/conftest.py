from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from llmagentos.releases.registry import Releases
from llmagentos.store.store import Store


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    with Store.open(home) as opened:
        yield opened


@pytest.fixture
def releases(store: Store) -> Releases:
    return Releases(store, "pypi:base==1")
