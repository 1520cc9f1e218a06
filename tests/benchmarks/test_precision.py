"""A home is compared on a copy, and answers part where they first differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import constrained
import pairing
import precision
import pytest


@pytest.mark.parametrize(
    ("one", "other", "place"),
    [
        ((1, 2, 3), (1, 2, 3), None),
        ((1, 2), (1, 2, 3), None),
        ((1, 2, 3), (1, 4, 3), 1),
        ((5,), (6,), 0),
        ((), (1,), None),
    ],
)
def test_answers_part_at_the_first_other_token(one: tuple[int, ...], other: tuple[int, ...], place: int | None) -> None:
    assert precision.parting(one, other) == place


def test_copy_leaves_the_home_alone_and_shares_downloads(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "models").mkdir(parents=True)
    (home / "models" / "weights").write_text("large")
    (home / "llmagentos.db").write_text("old")
    (home / "owner.lock").write_text("123")
    with pairing.copied(home) as copy:
        assert (copy / "models" / "weights").read_text() == "large"
        assert (copy / "models").is_symlink()
        assert not (copy / "owner.lock").exists()
        (copy / "llmagentos.db").write_text("new")
    assert (home / "llmagentos.db").read_text() == "old"
    assert (home / "models" / "weights").exists()
    assert not copy.exists()


@pytest.mark.parametrize("benchmark", [precision, constrained])
def test_home_that_has_learned_nothing_says_what_to_do(benchmark: Any, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="make demo"):
        benchmark.main(["--home", str(tmp_path)])
