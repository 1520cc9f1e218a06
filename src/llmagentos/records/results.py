"""What a learning cycle achieved: the numbers and conversations behind a report.

In: the cycle fills it. Out: `reports/` writes it as results.json, a page and terminal tables.
It does not know how anything was measured or how it will look.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from llmagentos.records.release import Candidate, ChangeKind, SkillCheck, Verdict


@dataclass(frozen=True, slots=True)
class SkillResult:
    """One skill before and after the cycle, on held-out tasks; scores are shares in [0, 1]."""

    name: str
    before: float
    """Strict success before learning, with the better of the zero-shot and the few-shot prompt."""
    after: float
    """Strict success of the last live release."""
    low: float
    """Lower bound of the gain after - before."""
    high: float
    tasks: int = 0
    level: float = 0.95
    """Confidence of the gain's interval."""
    lenient_before: float | None = None
    """Success whatever the form of the answers; None where not measured, here and below."""
    lenient_after: float | None = None
    zero_shot_before: float | None = None
    few_shot_before: float | None = None
    baselines: dict[str, float] = field(default_factory=dict)
    """Simple policies by name, so that the score means something: `do nothing`, `keyword rule`."""
    learned_in: str = ""
    """Release that brought the skill."""
    learner: str = ""
    demonstrations: int = 0
    """Expert or corrected episodes that it was taught with."""
    minutes: float | None = None
    """Wall time spent on learning it."""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One measurement while learning, on the development split."""

    minutes: float
    """Wall minutes since the learning of this skill began."""
    strict: float | None = None
    lenient: float | None = None
    low: float | None = None
    """Bounds of `strict`."""
    high: float | None = None
    reward: float | None = None
    loss: float | None = None
    tasks: int = 0


@dataclass(frozen=True, slots=True)
class Curve:
    """How a skill was learned over time."""

    skill: str
    learner: str
    points: tuple[CurvePoint, ...] = ()


@dataclass(frozen=True, slots=True)
class VerdictResult:
    """A verdict with what is known about its candidate."""

    candidate: str
    released: bool
    reason: str
    checks: tuple[SkillCheck, ...] = ()
    divergence: float | None = None
    divergence_budget: float | None = None
    skill: str = ""
    learner: str = ""
    change: ChangeKind = "improvement"
    release: str = ""
    """The release that it became; empty when refused."""
    note: str = ""
    """What a reader should know, such as that it was made harmful on purpose."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a conversation as a reader sees it."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str
    """Untrusted: it may come from a model or the outside world."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """One run on one task."""

    turns: tuple[Turn, ...]
    success: bool
    release: str = ""
    lenient: bool = False
    outcome: str = "finished"


@dataclass(frozen=True, slots=True)
class Sample:
    """The same task before and after learning."""

    skill: str
    task: str
    """The task's key."""
    before: Conversation
    after: Conversation


@dataclass(frozen=True, slots=True)
class Stage:
    """One part of the cycle and how long it took."""

    name: str
    minutes: float


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it ran."""

    processor: str = ""
    cores: int = 0
    memory_gb: float = 0.0
    threads: int = 0
    precision: str = ""
    """Number format of the base weights, such as `bf16`."""
    system: str = ""


@dataclass(frozen=True, slots=True)
class CycleResults:
    """Everything that a report of one cycle shows."""

    minutes: float
    """Wall time of the whole, downloads apart."""
    skills: tuple[SkillResult, ...]
    """In the order learned."""
    retention: tuple[tuple[float | None, ...], ...]
    """Held-out strict success: a row per release in `releases`, a column per skill in `skills`; None not measured."""
    releases: tuple[str, ...]
    """Names of the rows of `retention`, oldest first."""
    verdicts: tuple[VerdictResult, ...] = ()
    curves: tuple[Curve, ...] = ()
    samples: tuple[Sample, ...] = ()
    stages: tuple[Stage, ...] = ()
    continual: dict[str, float | None] = field(default_factory=dict)
    """`accuracy`, `backward_transfer`, `forward_transfer`, `forgetting` as in evaluation.metrics.ContinualScores."""
    margin: float = 0.03
    """Loss of a kept skill that the gate allows, as a share."""
    live: str = ""
    """The release that was live at the end; empty takes the last row."""
    machine: Machine = field(default_factory=Machine)
    versions: dict[str, str] = field(default_factory=dict)
    model: str = ""
    seed: int = 0
    date: str = ""
    """When it ran, ISO 8601."""
    tokens: dict[str, int] = field(default_factory=dict)
    """Counters by what the tokens were for: `sampled`, `trained`, `prompt`, `cached`."""
    notes: tuple[str, ...] = ()
    title: str = "The learning cycle"

    def __post_init__(self) -> None:
        shape = [len(row) for row in self.retention]
        if len(shape) != len(self.releases) or any(width != len(self.skills) for width in shape):
            raise ValueError(
                f"retention has {len(shape)} rows of {shape} columns; expected one row per release "
                f"({len(self.releases)}) and one column per skill ({len(self.skills)})"
            )


def verdict_result(
    verdict: Verdict, candidate: Candidate | None = None, *, release: str = "", note: str = ""
) -> VerdictResult:
    """`verdict` as a report shows it, with the candidate's skill, learner and kind of change where it is known."""
    return VerdictResult(
        candidate=verdict.candidate,
        released=verdict.released,
        reason=verdict.reason,
        checks=verdict.checks,
        divergence=verdict.divergence,
        divergence_budget=verdict.divergence_budget,
        skill=candidate.skill if candidate else "",
        learner=candidate.learner if candidate else "",
        change=candidate.change if candidate else "improvement",
        release=release,
        note=note,
    )
