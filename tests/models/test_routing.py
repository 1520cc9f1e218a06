"""Routes between adapters: what is like a skill goes to its adapter, what is like none to no skill's."""

from __future__ import annotations

import math

import pytest

from llmagentos.models.routing import (
    REMEMBERED,
    Route,
    Router,
    features,
    likeness,
    read_routes,
    write_routes,
)

BIRDS, BOATS = Route("birds", "b", features((1, 2, 3)), 0.5), Route("boats", "s", features((7, 8, 9)), 0.5)


def test_features_are_of_length_one_and_know_the_order() -> None:
    seen = features((5, 5, 5, 5, 6))
    assert math.isclose(sum(weight * weight for weight in seen.values()), 1.0)
    assert seen[5] == pytest.approx(2 * seen[6]), "square roots of counts"
    assert likeness(features((1, 2, 3)), features((3, 2, 1))) == pytest.approx(3 / 5), "pairs differ, tokens do not"
    assert likeness(seen, seen) == pytest.approx(1.0)
    assert likeness(seen, features((1, 2))) == 0
    assert features(()) == {}


def test_opening_goes_to_the_likest_route_that_it_is_near_enough_to() -> None:
    router = Router([BIRDS, BOATS], "everything else")
    assert router.choose((1, 2, 3, 4)) == "b"
    assert router.choose((7, 8, 9, 1)) == "s"
    assert router.choose((1, 20, 30, 40, 50)) == "everything else"
    assert router.choose(()) == "everything else"
    assert Router([BIRDS]).choose((7, 8)) is None
    assert Router(()).choose((7, 8)) is None
    assert Router((), "one").choose((7, 8)) == "one"


def test_many_openings_are_not_all_remembered() -> None:
    router = Router([BIRDS], "other")
    found = [router.choose((1, 2, 3, number)) for number in range(REMEMBERED + 9)]
    assert set(found) == {"b"}
    assert len(router._known) == REMEMBERED


def test_renamed_router_chooses_the_same() -> None:
    router = Router([BIRDS, BOATS], "o").renamed({"b": "1", "s": "2", "o": "3"})
    assert [router.choose(opening) for opening in ((1, 2, 3), (7, 8), (5, 6))] == ["1", "2", "3"]


def test_routes_are_read_as_they_were_written() -> None:
    (again,) = read_routes(write_routes([BIRDS]))
    assert (again.skill, again.adapter, again.threshold) == ("birds", "b", 0.5)
    assert again.centre == pytest.approx(BIRDS.centre, abs=1e-5)
