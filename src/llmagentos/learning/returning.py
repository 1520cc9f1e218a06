"""Returning: where chance seldom wins, it goes on from where it got before instead of from the beginning.

In: tasks, and the runs that chance has played of them. Out: of every task that was won, or rewarded for part of the
way, its best run beside another one.
"First return, then explore" (Go-Explore: Ecoffet et al. 2021, Nature 590, doi 10.1038/s41586-020-03157-9). Of every
observation that was read the shortest way there is kept. The one that was returned to least often is returned to, by
saying the same again, and from there chance has the word. A puzzle of thirty places that are two dozen random moves
apart is seen as a whole by some hundred runs, where uniformly random ones never come to its end.
Where the same replies to the same task do not lead to the same observation it is left alone.
It does not know what is learned from it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TypeAlias

from llmagentos.kernel.rollouts import Policy, Rollouts, Series
from llmagentos.learning.context import Path
from llmagentos.learning.groups import ENDED
from llmagentos.learning.replying import alone
from llmagentos.learning.strategy import ALONE, CLOSING
from llmagentos.records.episode import Episode
from llmagentos.records.task import Task

Wander: TypeAlias = Callable[[Sequence[Path], int], list[Episode]]
"""(paths, seed) -> runs that follow each path, then chance."""

TOGETHER, RUNS, ROUNDS = 2, 64, 400
"""Tasks that are searched at a time, runs of a round, and rounds at most."""
BEYOND = 8
"""Replies of chance after it came back."""
PATIENCE = 1500
"""Runs of one task, after which another one has its turn."""
THOROUGHLY = 32
"""Times that all its places were returned to, after which nothing new is expected of a task."""


@dataclass
class Archive:
    """Where runs of one task came, and how."""

    task: Task
    ways: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The shortest known way to each observation."""
    visits: dict[str, int] = field(default_factory=dict)
    """How often each was returned to."""
    runs: int = 0
    best: Episode | None = None
    """The run that was worth most: success, then reward, then how short it was."""
    least: Episode | None = None
    """One that was rewarded least."""
    repeats: bool = True
    """Whether the same replies led to the same observation so far."""

    def add(self, run: Episode, way: Sequence[str] | None = None, there: str | None = None) -> None:
        """Keep where a run came, and how it ended; whether it went a given `way` first, which is known to have led to
        the observation `there`."""
        self.runs += 1
        if run.outcome not in ENDED:
            return
        seen = [run.observation, *(step.observation for step in run.steps)]
        if way is not None and there is not None:
            self.repeats &= seen[len(way) : len(way) + 1] == [there]
        said = tuple(step.action for step in run.steps)
        for length, observation in enumerate(seen[:-1]):
            known = self.ways.get(observation)
            if known is None or length < len(known):
                self.ways[observation] = said[:length]
                self.visits.setdefault(observation, 0)
        if way is not None and run.outcome == "truncated" and len(said) == len(way) + BEYOND:
            return  # it was not played to its end
        if self.best is None or _worth(run) > _worth(self.best):
            self.best = run
        if self.least is None or run.reward < self.least.reward:
            self.least = run

    @property
    def won(self) -> bool:
        return self.best is not None and self.best.success

    @property
    def over(self) -> bool:
        """Whether nothing is left to be searched for, or to be found."""
        seen = len(self.visits) < 2 or min(self.visits.values()) >= THOROUGHLY
        return self.won or seen or not self.repeats or self.runs >= PATIENCE

    def least_visited(self, count: int) -> list[str]:
        """Observations to return to: those that were so least often, the nearest ones first; some several times where
        fewer are known."""
        order = sorted(self.ways, key=lambda seen: (self.visits[seen], len(self.ways[seen])))[:count]
        chosen = [order[place % len(order)] for place in range(count)] if order else []
        for seen in chosen:
            self.visits[seen] += 1
        return chosen

    @property
    def shortest(self) -> tuple[str, ...]:
        """What the best run said, by shorter ways to where it came on its own, as far as some are known."""
        if self.best is None:
            return ()
        said = tuple(step.action for step in self.best.steps)
        seen = (self.best.observation, *(step.observation for step in self.best.steps[:-1]))
        return min((self.ways[one] + said[at:] for at, one in enumerate(seen)), key=len)

    @property
    def found(self) -> list[Episode]:
        """The best run beside one that was rewarded less; nothing where there is none."""
        if self.best is None or self.least is None or self.least.reward >= self.best.reward:
            return []
        return [self.best, self.least]


def search(
    played: Sequence[Sequence[Episode]],
    wander: Wander,
    seconds: float,
    seed: int,
    *,
    wanted: int,
    known: Sequence[Sequence[str]] = (),
    clock: Callable[[], float] = time.monotonic,
) -> list[list[Episode]]:
    """Of the tasks of which runs were `played`, until `wanted` of them are won or about `seconds` are over: those of
    which some runs were rewarded more than others, two runs each.

    What wins one task is tried in the others, as are the `known` ways first: tasks may differ little, or in nothing.
    """
    archives = [_archive(group) for group in played if group]
    began, waiting = clock(), deque(archives)
    for way in known:
        _go([(one, tuple(way), None) for one in archives if not one.over], wander, seed)
    at_work: list[Archive] = []
    for number in range(ROUNDS):
        at_work = [one for one in at_work if not one.over]
        while waiting and len(at_work) < TOGETHER:
            if not (following := waiting.popleft()).over:
                at_work.append(following)
        if not at_work or sum(one.won for one in archives) >= wanted or clock() - began >= seconds:
            break
        places = [(one, seen) for one in at_work for seen in one.least_visited(RUNS // len(at_work))]
        _go([(one, one.ways[seen], seen) for one, seen in places], wander, seed + number)
        won = [one for one in at_work if one.won]
        _go([(one, by.shortest, None) for by in won for one in archives if not one.over], wander, seed)
    won = [one for one in archives if one.won]
    least = min((one.shortest for one in won), key=len, default=())
    _go([(one, way, None) for one in won for way in dict.fromkeys((one.shortest, least))], wander, seed)
    return [one.found for one in archives if one.found]


def wander(rollouts: Rollouts, policy: Policy, paths: Sequence[Path], seed: int) -> list[Episode]:
    """One run of each path: its replies first, then some of chance alone, which closes in words now and then where
    `seed` is odd (see `scouting`). Of `policy`, which says how the environment is played, no adapter is asked."""
    several, arguments = [], alone(policy.arguments)
    for number, (task, way) in enumerate(paths):
        explore = asdict(replace(CLOSING if seed % 2 else ALONE, follow=tuple(way)))
        one = replace(
            policy,
            adapter=None,
            arguments=arguments | {"explore": explore},
            sampling=replace(policy.sampling, seed=seed * RUNS + number),
            limits=replace(policy.limits, steps=min(policy.limits.steps, len(way) + BEYOND)),
        )
        several.append(Series([task], one, labels={"purpose": "practice"}))
    return [runs[0] for runs in rollouts.play_together(several)]


def _archive(played: Sequence[Episode]) -> Archive:
    """Of one task."""
    found = Archive(played[0].task)
    for run in played:
        found.add(run)
    return found


def _go(paths: Sequence[tuple[Archive, tuple[str, ...], str | None]], wander: Wander, seed: int) -> None:
    """Play ways in the tasks of their archives, and keep where they came."""
    runs = wander([(one.task, way) for one, way, _ in paths], seed) if paths else []
    for (one, way, there), run in zip(paths, runs, strict=False):
        one.add(run, way, there)


def _worth(run: Episode) -> tuple[bool, float, int]:
    return run.success, run.reward, -len(run.steps)
