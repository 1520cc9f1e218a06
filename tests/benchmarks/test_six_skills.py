"""Several seeds of one way are concluded together, and a way without a row for each skill has no BWT."""

from __future__ import annotations

import six_skills


def test_ways_are_concluded_over_their_seeds() -> None:
    units = {
        "cycle, seed 0": {"ACC": 0.7, "BWT": 0.1},
        "cycle, seed 1": {"ACC": 0.8, "BWT": -0.1},
        "cycle, seed 2": {"ACC": 0.6, "BWT": 0.0},
        "joint, seed 0": {"ACC": 0.9},
    }
    concluded = six_skills.conclude(units)
    assert list(concluded) == ["cycle", "joint"]
    assert concluded["cycle"]["ACC"] == {"median": 0.7, "lowest": 0.6, "highest": 0.8}
    assert concluded["cycle"]["BWT"]["median"] == 0.0
    assert concluded["cycle"]["seeds"] == 3
    assert concluded["joint"] == {"ACC": {"median": 0.9, "lowest": 0.9, "highest": 0.9}, "seeds": 1}
