"""Scores: of episodes, of pairs of them, and of a whole history of releases.

In: episodes, or a matrix of scores. Out: frozen scores with intervals.
It does not know how episodes were played, nor what is decided with a score.

Sources: ACC, BWT, FWT: Lopez-Paz and Ranzato, "Gradient Episodic Memory" (NeurIPS 2017, arXiv 1706.08840), equations
2 to 4. Forgetting: Chaudhry et al., "Riemannian Walk" (ECCV 2018, arXiv 1801.10112), section 3.1, with the maximum
taken over all rows, so that it is never negative.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite

from llmagentos.errors import GateError
from llmagentos.evaluation.statistics import wilson_interval
from llmagentos.records.episode import Episode
from llmagentos.records.release import Interval
from llmagentos.records.task import Split
from llmagentos.records.transcript import TRAINABLE

_NOT_PLAYED = ("cancelled", "unknown")
"""Outcomes that say nothing about the agent: somebody stopped it, or nobody knows what happened."""


@dataclass(frozen=True, slots=True)
class Score:
    """What a set of episodes amounts to."""

    tasks: int
    """Episodes counted; those cancelled or of unknown outcome are not."""
    strict: Interval
    """Goal reached with every action well-formed (Wilson's interval)."""
    lenient: Interval
    """Goal reached whatever the form."""
    reward: float
    """Mean of the summed rewards of an episode."""
    steps: float
    """Mean actions of an episode."""
    tokens: float
    """Mean tokens that the model wrote in an episode."""
    seconds: float
    """Mean wall time of an episode."""
    outcomes: dict[str, int] = field(default_factory=dict)
    """Episodes by outcome, those not counted included."""


@dataclass(frozen=True, slots=True)
class SkillReport:
    """How a release does on a skill, on tasks that no choice has seen."""

    skill: str
    release: str
    split: Split
    score: Score
    episodes: tuple[Episode, ...] = ()

    def __str__(self) -> str:
        strict, lenient = self.score.strict, self.score.lenient
        return (
            f"{self.skill} by {self.release}: {strict.estimate:.0%} strict "
            f"[{strict.low:.0%}, {strict.high:.0%}], {lenient.estimate:.0%} lenient, "
            f"{self.score.tasks} {self.split} tasks"
        )


@dataclass(frozen=True, slots=True)
class PairedScores:
    """Two policies' results on the same tasks, element i of every tuple being task `keys[i]`; scores in [0, 1]."""

    skill: str
    reference_release: str
    keys: tuple[str, ...]
    candidate: tuple[float, ...]
    """Strict success of the candidate: 0 or 1, or a mean where a task was played several times."""
    reference: tuple[float, ...]
    candidate_lenient: tuple[float, ...]
    reference_lenient: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ContinualScores:
    """A history of learning in four numbers, in the unit of the scores."""

    accuracy: float
    """ACC: mean over skills of the last row."""
    backward_transfer: float | None
    """BWT: mean change of a skill since it was learned; negative is forgetting. None with one skill."""
    forward_transfer: float | None
    """FWT: mean head start over the baseline before a skill is learned. None with one skill or without baseline."""
    forgetting: float | None
    """Mean fall from the best score ever had. None with one skill."""


def score(episodes: Sequence[Episode], level: float = 0.95) -> Score:
    """Score of played `episodes`; raises `GateError` when none was played. A failed episode counts as no success."""
    played = [episode for episode in episodes if episode.outcome not in _NOT_PLAYED]
    if not played:
        raise GateError(f"None of {len(episodes)} episodes was played to an end. Run the tasks again.")
    count = len(played)
    return Score(
        tasks=count,
        strict=wilson_interval(sum(episode.success for episode in played), count, level),
        lenient=wilson_interval(sum(_lenient(episode) for episode in played), count, level),
        reward=sum(episode.reward for episode in played) / count,
        steps=sum(len(episode.steps) for episode in played) / count,
        tokens=sum(written_tokens(episode) for episode in played) / count,
        seconds=sum(episode.seconds for episode in played) / count,
        outcomes=dict(Counter(episode.outcome for episode in episodes)),
    )


def written_tokens(episode: Episode) -> int:
    """Tokens of the agent's own turns, sampled or demonstrated."""
    return sum(len(segment.tokens) for segment in episode.transcript.segments if segment.origin in TRAINABLE)


def _lenient(episode: Episode) -> bool:
    return episode.lenient or episode.success


def pair(
    candidate: Sequence[Episode], reference: Sequence[Episode], *, skill: str, reference_release: str
) -> PairedScores:
    """Results of two policies paired by task key, in the order of the candidate's tasks.

    A task played several times counts once, with the mean. Raises `GateError` where a task has no partner or was
    cancelled: leaving it out would let a candidate that breaks hard tasks look better.
    """
    left, right = _by_task(candidate, "candidate", skill), _by_task(reference, reference_release, skill)
    alone = [key for key in left if key not in right] + [key for key in right if key not in left]
    if alone or not left:
        raise GateError(
            f"{skill}: candidate played {len(left)} tasks, {reference_release} {len(right)}, and {len(alone)} have no "
            f"partner{f' (such as {alone[0]})' if alone else ''}. Run both on the same list of tasks."
        )
    return PairedScores(
        skill=skill,
        reference_release=reference_release,
        keys=tuple(left),
        candidate=tuple(_mean([episode.success for episode in left[key]]) for key in left),
        reference=tuple(_mean([episode.success for episode in right[key]]) for key in left),
        candidate_lenient=tuple(_mean([_lenient(episode) for episode in left[key]]) for key in left),
        reference_lenient=tuple(_mean([_lenient(episode) for episode in right[key]]) for key in left),
    )


def _by_task(episodes: Sequence[Episode], who: str, skill: str) -> dict[str, list[Episode]]:
    unfinished = [episode for episode in episodes if episode.outcome in _NOT_PLAYED]
    if unfinished:
        raise GateError(
            f"{skill}: {len(unfinished)} of {len(episodes)} episodes of {who} ended {unfinished[0].outcome!r} "
            f"(such as {unfinished[0].id}), which is no result. Run them again before judging."
        )
    tasks: dict[str, list[Episode]] = {}
    for episode in episodes:
        tasks.setdefault(episode.task.key, []).append(episode)
    return tasks


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def continual_scores(
    matrix_TT: Sequence[Sequence[float]], baseline_T: Sequence[float] | None = None
) -> ContinualScores:
    """ACC, BWT, FWT and forgetting of the square matrix R[t, i]: score on skill i after learning skill t.

    `baseline_T` are the scores b_i before anything was learned; without them FWT is None.
    """
    size = len(matrix_TT)
    rows_right = size > 0 and all(len(row) == size for row in matrix_TT)
    if not rows_right or (baseline_T is not None and len(baseline_T) != size):
        shape = [len(row) for row in matrix_TT]
        raise GateError(f"Retention needs one row and one column per skill; got {size} rows of {shape} columns.")
    if not all(isfinite(value) for row in matrix_TT for value in row):
        raise GateError(
            "The retention matrix has cells that were not measured. Evaluate every skill after each release."
        )
    last = matrix_TT[-1]
    earlier = range(size - 1)
    backward = forward = forgetting = None
    if size > 1:
        backward = _mean([last[i] - matrix_TT[i][i] for i in earlier])
        forgetting = _mean([max(row[i] for row in matrix_TT) - last[i] for i in earlier])
        if baseline_T is not None:
            forward = _mean([matrix_TT[i - 1][i] - baseline_T[i] for i in range(1, size)])
    return ContinualScores(_mean(last), backward, forward, forgetting)


def learning_rows(retention: Mapping[str, Sequence[float]], learned_in: Sequence[str]) -> tuple[tuple[float, ...], ...]:
    """Rows of `retention` (release -> score per skill) after which each skill was learned, in that order.

    `learned_in[i]` names the release that brought skill i; the last row is the newest release's, so that losses after
    the last skill count too.
    """
    missing = [release for release in learned_in if release not in retention]
    if missing or not learned_in:
        known = ", ".join(retention)
        raise GateError(f"No retention row for release {missing[0] if missing else '(none given)'!r}. Rows: {known}.")
    newest = list(retention)[-1]
    return tuple(tuple(retention[release]) for release in (*learned_in[:-1], newest))
