"""Chance that goes on from where it came finds the end of a way that it never comes to from the beginning."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from llmagentos.learning.returning import BEYOND, PATIENCE, RUNS, THOROUGHLY, Path, search
from llmagentos.records.episode import Episode, Outcome, Step
from llmagentos.records.task import Reward, Task
from llmagentos.records.transcript import Transcript

MOVES = ("left", "right", "up")


class Corridor:
    """A corridor of which every step is one of three moves; a wrong one leads back to the beginning."""

    def __init__(self, length: int, *, dice: bool = False, breaks: bool = False, mark: str = "") -> None:
        self.length, self.dice, self.breaks, self.mark = length, dice, breaks, mark
        self.runs: list[tuple[Task, tuple[str, ...]]] = []
        self.chance = random.Random(0)

    def wander(self, paths: Sequence[Path], seed: int) -> list[Episode]:
        self.runs += [(task, tuple(way)) for task, way in paths]
        return [self.play(task, way, len(way) + BEYOND) for task, way in paths]

    def play(self, task: Task, way: Sequence[str], most: int) -> Episode:
        at, steps, outcome = 0, list[Step](), "truncated"
        right = [MOVES[(place * place + place // 3) % 3] for place in range(self.length)]
        while len(steps) < min(most, 40):
            move = way[len(steps)] if len(steps) < len(way) else self.chance.choice(MOVES)
            at = at + 1 if move == right[at] else 0
            over = at == self.length
            noise = f" {self.chance.random()}" if self.dice else ""
            steps.append(Step(move, "" if over else f"You are at {at}{self.mark}.{noise}"))
            if over:
                outcome = "finished"
                break
        failed: Outcome = "failed" if self.breaks else outcome  # type: ignore[assignment]
        won = outcome == "finished" and not self.breaks
        rewards = (Reward(float(won)),)
        begin = f"You are at 0{self.mark}."
        return Episode("e", task, Transcript("tiny"), begin, tuple(steps), rewards, won, won, failed)

    def uniformly(self, tasks: int, samples: int = 16) -> list[list[Episode]]:
        return [[self.play(Task("Corridor-v0", number), (), 40) for _ in range(samples)] for number in range(tasks)]


def test_the_end_of_a_corridor_is_found_and_the_shortest_way_is_kept() -> None:
    world = Corridor(14)
    played = world.uniformly(2)
    assert not any(run.success for group in played for run in group)
    found = search(played, world.wander, 60.0, 3, wanted=2, clock=lambda: 0.0)
    assert [group[0].task for group in found] == [Task("Corridor-v0", 0), Task("Corridor-v0", 1)]
    assert all(len(best.steps) == 14 and best.success and not least.success for best, least in found)
    assert len(world.runs) < 1000, "3 ** 14 runs from the beginning win once"


def test_what_wins_one_task_is_tried_in_the_others() -> None:
    world = Corridor(14)
    found = search(world.uniformly(6), world.wander, 60.0, 3, wanted=6, clock=lambda: 0.0)
    assert len(found) == 6
    searched = {task.seed for task, way in world.runs[: RUNS * 4]}
    assert searched == {0, 1}, "two at a time"
    assert sum(task.seed == 5 for task, _ in world.runs) <= 4


def test_ways_that_are_known_are_tried_first() -> None:
    world = Corridor(14)
    right = tuple(MOVES[(place * place + place // 3) % 3] for place in range(14))
    found = search(world.uniformly(6), world.wander, 60.0, 3, wanted=6, known=[("up",), right], clock=lambda: 0.0)
    assert len(found) == 6
    assert len(world.runs) <= 6 * 3, "both ways in each task, and the shortest one of all once more"


def test_search_ends_when_as_many_are_won_as_are_wanted_or_time_is_over() -> None:
    world = Corridor(14)
    assert search(world.uniformly(4), world.wander, 60.0, 3, wanted=0, clock=lambda: 0.0) == []
    assert not world.runs
    now = [0.0]

    def clock() -> float:
        now[0] += 10.0
        return now[0]

    assert search(world.uniformly(4), world.wander, 25.0, 3, wanted=4, clock=clock) == []
    assert len(world.runs) == 2 * RUNS


@pytest.mark.parametrize("world", [Corridor(14, dice=True), Corridor(14, breaks=True), Corridor(1000)])
def test_a_world_that_does_not_repeat_or_breaks_or_has_no_end_is_left_alone(world: Corridor) -> None:
    assert search(world.uniformly(4), world.wander, 60.0, 3, wanted=4, clock=lambda: 0.0) == []
    most = PATIENCE + RUNS if world.length == 1000 else RUNS
    assert len(world.runs) <= 4 * most


def test_a_world_with_one_place_is_not_searched_and_one_that_is_known_no_longer() -> None:
    world = Corridor(14)
    one = [[world.play(Task("Corridor-v0", 0), ("up",), 1)] * 4]
    assert search([], world.wander, 60.0, 3, wanted=4, clock=lambda: 0.0) == []
    assert search(one, world.wander, 60.0, 3, wanted=4, clock=lambda: 0.0) == []
    assert not world.runs

    class Closed(Corridor):
        def play(self, task: Task, way: Sequence[str], most: int) -> Episode:
            steps = tuple(Step(move, f"At {number % 3}.") for number, move in enumerate((*way, *MOVES)))
            return Episode("e", task, Transcript("tiny"), "At 2.", steps, outcome="finished")

    closed = Closed(3)
    assert search(closed.uniformly(2), closed.wander, 60.0, 3, wanted=2, clock=lambda: 0.0) == []
    assert len(closed.runs) <= 2 * 3 * THOROUGHLY + RUNS


def test_runs_that_were_not_played_to_their_end_say_nothing_about_rewards() -> None:
    class Costly(Corridor):
        def play(self, task: Task, way: Sequence[str], most: int) -> Episode:
            run = super().play(task, way, most)
            rewards = tuple(Reward(-1.0) for _ in run.steps)
            return Episode("e", task, run.transcript, run.observation, run.steps, rewards, outcome=run.outcome)

    world = Costly(1000)
    known = [("up",) * 9]
    found = search(world.uniformly(1), world.wander, 60.0, 3, wanted=1, known=known, clock=lambda: 0.0)
    assert world.runs[0][1] == known[0]
    assert found == [], "40 replies cost as much in every run that was played to its end"
