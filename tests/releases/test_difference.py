from __future__ import annotations

from llmagentos.records.release import Artefact, Manifest, Release
from llmagentos.releases.difference import describe_difference


def test_difference_of_equal_releases_is_empty() -> None:
    release = Release("r1", Manifest("b", (Artefact("a", "adapter", "1" * 64),)), skills=("S",))
    assert describe_difference(release, release) == []


def test_difference_names_everything_that_changed() -> None:
    first = Release(
        "r1",
        Manifest(
            "b", (Artefact("a", "adapter", "1" * 64, "S"), Artefact("x", "router", "2" * 64)), {"t": 1, "same": 0}
        ),
        skills=("S", "Old"),
    )
    second = Release(
        "r2",
        Manifest(
            "c", (Artefact("a", "adapter", "3" * 64, "S"), Artefact("y", "policy", "4" * 64)), {"t": 2, "same": 0}, 5.0
        ),
        skills=("S", "New"),
    )
    assert describe_difference(first, second) == [
        "base: b -> c",
        "- router x (222222222222)",
        "+ policy y (444444444444)",
        "~ adapter a for S (111111111111) -> adapter a for S (333333333333)",
        "setting t: 1 -> 2",
        "knowledge: now -> 5.0",
        "skill lost: Old",
        "skill gained: New",
    ]
