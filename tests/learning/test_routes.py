"""Routes are found from openings: whether two skills can be told apart is measured on openings that made no route."""

from __future__ import annotations

import random

from llmagentos.learning.routes import LARGEST, fit_route, stands_out, told_apart
from llmagentos.models.routing import Router

START = (1, 2, 3)
"""What every opening begins with, also those of no skill."""


def openings(system: range, count: int, seed: int, words: range = range(500, 900)) -> list[tuple[int, ...]]:
    chance = random.Random(seed)
    return [(*START, *system, *(chance.choice(words) for _ in range(12))) for _ in range(count)]


GENERAL = openings(range(0), 40, 5)
BANK, SHOP = openings(range(100, 130), 48, 1), openings(range(200, 230), 48, 2)


def test_new_requests_of_a_skill_find_it_and_others_do_not() -> None:
    router = Router([fit_route("bank", "b", BANK, GENERAL), fit_route("shop", "s", SHOP, GENERAL)])
    assert {router.choose(one) for one in openings(range(100, 130), 50, 3)} == {"b"}
    assert {router.choose(one) for one in openings(range(200, 230), 50, 4)} == {"s"}
    assert {router.choose(one) for one in openings(range(0), 50, 6)} == {None}
    assert {router.choose(one) for one in openings(range(300, 330), 50, 7)} == {None}


def test_what_all_openings_have_in_common_leads_nowhere() -> None:
    route = fit_route("bank", "b", BANK, GENERAL)
    assert not set(START) & set(route.centre)
    assert 0 < route.threshold < 1
    wide = fit_route("wide", "w", openings(range(0), 120, 8, range(1000, 90_000)), [])
    assert len(wide.centre) == LARGEST


def test_skills_with_the_same_openings_cannot_be_told_apart() -> None:
    other, twin = openings(range(100, 130), 48, 9), openings(range(100, 130), 48, 10)
    found = told_apart("new", other, {"shop": SHOP, "twin": twin}, GENERAL)
    assert found["shop"] == 1
    assert found["twin"] < 0.9


def test_skill_whose_requests_look_like_any_does_not_stand_out() -> None:
    assert stands_out("bank", BANK, GENERAL)
    assert not stands_out("talk", openings(range(0), 48, 11), GENERAL)
    few = [*GENERAL[:37], *BANK[:3]]
    assert stands_out("bank", BANK, few), "a few requests of no skill may look like it"


def test_one_opening_makes_a_route() -> None:
    route = fit_route("bank", "b", BANK[:1], GENERAL)
    assert Router([route]).choose(BANK[0]) == "b"
    assert told_apart("bank", BANK[:1], {"shop": SHOP[:1]}, GENERAL) == {"shop": 1.0}
    assert told_apart("bank", BANK, {}, GENERAL) == {}
