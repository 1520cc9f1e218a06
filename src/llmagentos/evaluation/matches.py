"""Who plays which fresh tasks before the gate, and what came of it.

In: policies by the name of their release, tasks, and a way to play them. Out: paired scores of kept skills.
It does not know how tasks were drawn, nor what is decided with a score.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from llmagentos.evaluation.gate import KeptSkill
from llmagentos.evaluation.metrics import pair
from llmagentos.kernel.rollouts import Rollouts, Series
from llmagentos.records.episode import Episode
from llmagentos.records.progress import Progress
from llmagentos.records.task import Task

Played: TypeAlias = dict[str, list[Episode]]
"""Runs by the release that played, those of all in the order of the tasks."""


@dataclass(frozen=True, slots=True)
class Match:
    """A skill's fresh gate tasks and who plays them, by the name of the release."""

    skill: str
    series: dict[str, Series]
    best: tuple[str, float] | None
    """The best release ever on a kept skill and its score, where one is known."""
    twins: dict[str, str] = field(default_factory=dict)
    """Who would only repeat the runs of another: the same weights, told the same."""

    @property
    def tasks(self) -> Sequence[Task]:
        """What all of them play."""
        return next(iter(self.series.values())).tasks

    def kept(self, played: Played, candidate: str, live: str) -> KeptSkill:
        """The candidate beside the best release ever, or the live one where no best is known."""
        reference, record = self.best or (live, None)
        scores = pair(played[candidate], played[reference], skill=self.skill, reference_release=reference)
        return KeptSkill(scores, record, first_look=len(self.tasks))

    def again(self, tasks: Sequence[Task]) -> Match | None:
        """The same players on those of `tasks` that they have not played; None where there are none."""
        seen = {task.key for task in self.tasks}
        fresh = [task for task in tasks if task.key not in seen]
        return replace(self, series={n: replace(one, tasks=fresh) for n, one in self.series.items()}) if fresh else None


def play(matches: Sequence[Match], rollouts: Rollouts, on_progress: Callable[[Progress], None]) -> list[Played]:
    """All matches at once; what a twin would repeat is played once."""
    series = [one for match in matches for one in match.series.values()]
    episodes = iter(rollouts.play_together(series, on_progress=on_progress) if series else [])
    played = [{player: list(next(episodes)) for player in match.series} for match in matches]
    for match, runs in zip(matches, played, strict=True):
        runs |= {twin: list(runs[player]) for twin, player in match.twins.items()}
    return played
