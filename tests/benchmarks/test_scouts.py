"""Chance alone: all it can say is known, and both ways are concluded alike."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import scouts
from measuring import JSON

from llmagentos.environments.registry import make
from llmagentos.programs.replies import listed
from llmagentos.records.episode import Episode, Step
from llmagentos.records.task import Task, reset_options
from llmagentos.records.transcript import Transcript


@pytest.mark.parametrize("name", list(scouts.PLANS))
def test_replies_can_be_counted_and_tasks_begin_again_alike(name: str) -> None:
    pytest.importorskip("textarena", reason="the extra `games` is not installed")
    env = make(scouts.PLANS[name])
    task = env.task("train", 3)
    begun = [env.reset(seed=task.seed, options=reset_options(task)) for _ in range(2)]
    assert begun[0][0] == begun[1][0]
    assert len(listed(str(begun[0][1]["replies"])) or begun[0][1]["replies"]) > 1


@pytest.fixture
def run() -> Callable[..., Episode]:
    def made(length: int, won: bool) -> Episode:
        steps = (Step("a", "b"),) * length
        return Episode("e", Task("World-v0", 0), Transcript("tiny"), steps=steps, success=won)

    return made


def test_a_way_is_as_long_as_its_shortest_success(run: Callable[..., Episode]) -> None:
    groups = [[run(3, True), run(2, True), run(1, False)], [run(9, True)], [run(4, False)], []]
    assert scouts._concluded(groups, 19) == {"won": 0.5, "length": 5.5, "actions": 19}
    assert scouts._concluded([[run(4, False)]], 4) == {"won": 0.0, "length": None, "actions": 4}
    assert scouts.actions(groups[0]) == 6


def test_seeds_are_concluded_together() -> None:
    def unit(won: float, length: float | None) -> JSON:
        return {"from the beginning": {"won": 0.0, "length": None}, "going on": {"won": won, "length": length}}

    concluded = scouts.show({"Maze": [unit(1.0, 8), unit(0.5, 10), unit(0.0, None)]})["Maze"]
    assert concluded["going on"] == {"median": 0.5, "lowest": 0.0, "highest": 1.0}
    assert (concluded["seeds"], concluded["length"]["median"]) == (3, 9)
    assert scouts.show({"Wall": [unit(0.0, None)]})["Wall"]["length"] is None
