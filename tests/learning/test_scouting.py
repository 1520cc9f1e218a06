"""While the agent hardly ever wins chance plays alone, where that can find something, and what it wins is learned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from learners import PROMPT, rejection_sampling

from llmagentos.learning.context import Practice
from llmagentos.learning.groups import FEWER
from llmagentos.learning.language.rejection_sampling import STRAIGHT, WON
from llmagentos.learning.scouting import AT_FIRST, LONGEST, MOST_IN_VAIN, RETRACED, ROUNDS, SAMPLES, SEARCHED
from llmagentos.learning.strategy import ALONE, CLOSING
from llmagentos.models.adapters import FusedAdapter
from llmagentos.records.episode import Episode, Step
from llmagentos.records.generation import Grammar
from llmagentos.records.task import Task
from llmagentos.records.transcript import Segment, Transcript


class World:
    """Runs of the agent that win now and then, and of chance, of which one of each task wins in so many replies."""

    def __init__(
        self, own_run: Callable[..., Episode], *, wins: int, replies: str, shortest: Callable[[int], int]
    ) -> None:
        self.own_run, self.wins, self.shortest = own_run, wins, shortest
        self.grammar = Grammar("regex", replies)
        self.asked: list[Practice] = []

    def __call__(self, adapter: FusedAdapter, asked: Practice) -> list[list[Episode]]:
        self.asked.append(asked)
        groups = []
        for number in range(asked.tasks):
            task = Task("World-v0", asked.seed * 1000 + number)
            if asked.explore in (ALONE, CLOSING):
                length = self.shortest(number)
                runs = [
                    self.run("demonstration", length, 1.0 if length and at == 1 else 0.0) for at in range(asked.samples)
                ]
            else:
                runs = [self.run("sampled", 2, 1.0 if at < self.wins else 0.0) for at in range(asked.samples)]
            groups.append([replace(one, task=task) for one in runs])
        return groups

    def run(self, origin: Any, replies: int, reward: float) -> Episode:
        said = [Segment("prompt", PROMPT)]
        for number in range(replies):
            said += [Segment("environment", (7,))] * bool(number) + [Segment(origin, (10,), grammar=self.grammar)]
        return replace(self.own_run(PROMPT, (10,), reward), transcript=Transcript("tiny", tuple(said)))

    @property
    def scouts(self) -> list[Practice]:
        return [one for one in self.asked if one.explore in (ALONE, CLOSING)]


def learned(workshop: Any, world: World, steps: int = 1, **settings: Any) -> tuple[Any, dict[str, Any]]:
    learner = rejection_sampling(steps, hinted=0, tasks=8, samples=8, scouted=4, **settings)
    context = workshop.context(practice=world)
    events, _ = workshop.run(learner, context)
    return events, context.checkpoint.load()["extra"]


def test_what_chance_wins_alone_is_learned_the_shortest_first(workshop: Any, own_run: Callable[..., Episode]) -> None:
    world = World(own_run, wins=1, replies="(a|b)", shortest=lambda number: 1 + number)
    events, extra = learned(workshop, world)
    assert [one.samples for one in world.scouts] == [SAMPLES]
    assert events[0].metrics["scouted"] == 4, "of the eight tasks of a round that were all won"
    seeds = {str(world.scouts[0].seed * 1000 + number) for number in range(4)}
    assert seeds < set(extra[WON]), "those that are won in one to four replies"
    lengths = sorted(len(extra[WON][seed][0][0]) for seed in seeds)
    assert lengths == [len(PROMPT) + 2 * replies - 1 for replies in (1, 2, 3, 4)]


@pytest.mark.parametrize(("wins_again", "reward"), [(True, 1.0), (True, 0.9), (False, 1.0)])
def test_what_chance_won_in_circles_is_learned_without_them_where_that_wins_too(
    workshop: Any, own_run: Callable[..., Episode], wins_again: bool, reward: float
) -> None:
    asked: list[tuple[Task, Sequence[str]]] = []
    steps = tuple(Step(action, seen) for action, seen in (("a", "there"), ("b", "here"), ("b", "gate"), ("a", "")))

    class Circles(World):
        def run(self, origin: Any, replies: int, reward: float) -> Episode:
            return replace(super().run(origin, replies, reward), observation="here", steps=steps)

    def retrace(ways: Sequence[tuple[Task, Sequence[str]]]) -> list[Episode]:
        asked.extend(ways)
        again = world.run("demonstration", 2, reward)
        return [replace(again, task=task, program=RETRACED, success=wins_again) for task, _ in ways]

    world = Circles(own_run, wins=1, replies="(a|b)", shortest=lambda number: 4)
    context = replace(workshop.context(practice=world), retrace=retrace)
    workshop.run(rejection_sampling(1, hinted=0, samples=8, scouted=4), context)
    assert [tuple(way) for _, way in asked] == [("b", "a")] * 4
    known = context.checkpoint.load()["extra"][WON]
    learned = [known[str(task.seed)][0].tolist() for task, _ in asked]
    straight = wins_again and reward == 1.0
    assert {len(tokens) for tokens, _ in learned} == {len(PROMPT) + (3 if straight else 7)}
    assert all((STRAIGHT in scored) == straight for _, scored in learned)


@pytest.mark.parametrize(
    ("wins", "replies", "sent"), [(1, "(a|b)", 1), (2, "(a|b)", 0), (1, "[a-z]{9}", 1), (1, "", 0)]
)
def test_scouts_are_sent_where_own_runs_seldom_win_and_replies_can_be_counted_or_quoted(
    workshop: Any, own_run: Callable[..., Episode], wins: int, replies: str, sent: int
) -> None:
    world = World(own_run, wins=wins, replies=replies, shortest=lambda number: 1)
    events, _ = learned(workshop, world)
    assert len(world.scouts) == sent
    assert ("scouted" in events[0].metrics) == bool(sent)


def test_what_is_won_comes_before_what_is_rewarded_for_part_of_the_way(
    workshop: Any, own_run: Callable[..., Episode]
) -> None:
    class Partly(World):
        def run(self, origin: Any, replies: int, reward: float) -> Episode:
            partly = reward > 0 and origin == "demonstration" and replies < 5
            found = super().run(origin, replies, 0.5 if partly else reward)
            return replace(found, success=found.success and not partly)

    world = Partly(own_run, wins=1, replies="(a|b)", shortest=lambda number: 5 if number < 2 else 1)
    _, extra = learned(workshop, world)
    assert len(world.scouts) == 4, "two tasks of a round are won, and twice as many as are kept are wanted"
    assert len(extra[WON]) > 4
    kept = [str(one.seed * 1000 + number) for one in world.scouts for number in range(2)]
    assert sum(seed in extra[WON] for seed in kept) == 4
    none_won = Partly(own_run, wins=1, replies="(a|b)", shortest=lambda number: 1)
    learner = rejection_sampling(1, hinted=0, samples=8, scouted=4)
    workshop.run(learner, workshop.context("none", practice=none_won))
    assert len(none_won.scouts) == 1


def test_scouts_that_win_nothing_go_on_from_where_they_came(workshop: Any, own_run: Callable[..., Episode]) -> None:
    now, asked = [0.0], list[Task]()

    class Far(World):
        def run(self, origin: Any, replies: int, reward: float) -> Episode:
            steps = (Step("a", "there"), Step("b", ""))
            return replace(super().run(origin, replies, reward), observation="here", steps=steps)

    def wander(paths: Sequence[tuple[Task, Sequence[str]]], seed: int) -> list[Episode]:
        now[0] += 1.0
        asked.extend(task for task, _ in paths)
        runs = [world.run("demonstration", 3, float(len(way) == 1)) for _, way in paths]
        return [replace(run, task=task) for run, (task, _) in zip(runs, paths, strict=True)]

    world = Far(own_run, wins=1, replies="(a|b)", shortest=lambda number: 0)
    context = replace(workshop.context(practice=world), wander=wander, clock=lambda: now[0], minutes=10)
    events, _ = workshop.run(rejection_sampling(2, hinted=0, samples=8, scouted=4), context)
    assert [event.metrics["scouted"] for event in events] == [4, 4]
    assert len(world.scouts) == 2 * AT_FIRST, "what was found was enough"
    extra = context.checkpoint.load()["extra"]
    assert extra[SEARCHED] == now[0]
    assert {str(task.seed) for task in asked} & set(extra[WON])


@pytest.mark.parametrize(("wins", "again"), [(0, True), (8, False)])
def test_what_was_won_is_imitated_again_while_own_runs_lose(
    workshop: Any, own_run: Callable[..., Episode], wins: int, again: bool
) -> None:
    class Once(World):
        def __call__(self, adapter: FusedAdapter, asked: Practice) -> list[list[Episode]]:
            if self.scouts:
                self.shortest, self.wins = (lambda number: 0), wins
            return super().__call__(adapter, asked)

    world = Once(own_run, wins=0, replies="(a|b)", shortest=lambda number: 1)
    events, _ = learned(workshop, world, steps=2)
    assert events[0].metrics["winners"] == 4
    assert ("loss" in events[1].metrics) == again


def test_scouts_that_find_nothing_are_sent_twice_and_no_more(workshop: Any, own_run: Callable[..., Episode]) -> None:
    world = World(own_run, wins=1, replies="(a|b)", shortest=lambda number: 0)
    learned(workshop, world, steps=4)
    assert len(world.scouts) == MOST_IN_VAIN * ROUNDS
    assert [one.explore for one in world.scouts] == [ALONE, CLOSING] * (MOST_IN_VAIN * ROUNDS // 2)
    assert len({one.seed for one in world.asked}) == len(world.asked)
    assert {one.tasks for one in world.asked if one.explore not in (ALONE, CLOSING)} == {8}


def test_agent_plays_less_itself_as_long_as_scouts_find_something(
    workshop: Any, own_run: Callable[..., Episode]
) -> None:
    world = World(own_run, wins=1, replies="(a|b)", shortest=lambda number: 1)
    learned(workshop, world, steps=3)
    own = [one for one in world.asked if one.explore not in (ALONE, CLOSING)]
    assert [one.tasks for one in own] == [8, 8 // FEWER, 8 // FEWER]
    assert [one.explore and one.explore.runs for one in own] == [0.5] * 3, "half of them are played by the agent alone"
    world = World(own_run, wins=1, replies="(a|b)", shortest=lambda number: 1)
    learner = rejection_sampling(2, hinted=0, samples=8, scouted=0)
    workshop.run(learner, workshop.context("none", practice=world))
    assert not world.scouts


def test_scouts_of_a_slow_environment_return_in_time(workshop: Any, own_run: Callable[..., Episode]) -> None:
    now = [0.0]

    class Slow(World):
        def __call__(self, adapter: FusedAdapter, asked: Practice) -> list[list[Episode]]:
            now[0] += 100
            return super().__call__(adapter, asked)

    world = Slow(own_run, wins=1, replies="(a|b)", shortest=lambda number: 0)
    minutes = 250 / 60 / LONGEST
    context = replace(workshop.context(practice=world), clock=lambda: now[0], minutes=minutes)
    workshop.run(rejection_sampling(1, hinted=0, samples=8, scouted=4), context)
    assert len(world.scouts) == 3
