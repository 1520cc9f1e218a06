"""What a learner is given: data, practice, evaluation, budget and a checkpoint; composed in `cycle.py`.

In: functions that reach the kernel and the store. Out: one frozen `LearningContext`.
It does not know which learner uses it, nor how runs are executed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from llmagentos.models.adapters import FusedAdapter
from llmagentos.models.constraints import Constraints
from llmagentos.models.decoder import Decoder
from llmagentos.records.calls import Exploration
from llmagentos.records.episode import Episode
from llmagentos.records.progress import Progress
from llmagentos.records.release import Candidate
from llmagentos.records.task import Task
from llmagentos.records.transcript import Transcript

Path: TypeAlias = tuple[Task, Sequence[str]]
"""A task, and the replies that are given in it."""


class Checkpoint(Protocol):
    """Where a learner keeps what it needs to go on after a kill."""

    def load(self) -> dict[str, Any] | None:
        """The last saved state, or None when there is none."""
        ...

    def save(self, state: dict[str, Any]) -> None:
        """Replace the saved state, whole or not at all. Values are tensors, numbers, text, lists and dicts."""
        ...

    def clear(self) -> None:
        """Forget the saved state."""
        ...


@dataclass(frozen=True, slots=True)
class Practice:
    """A request for own runs on fresh training tasks."""

    tasks: int
    samples: int
    """Runs of each task."""
    seed: int
    """Another seed draws other tasks and other samples."""
    temperature: float = 1.0
    max_tokens: int | None = None
    examples: int = 0
    """Worked examples in the prompt; the runs' transcripts are given back without them. Where nobody can work any,
    there are no runs."""
    again: tuple[int, ...] = ()
    """Seeds of training tasks to be played once more, among `tasks`."""
    explore: Exploration | None = None
    """How often chance replies, where the replies that there are can be counted; None for never."""


@dataclass(frozen=True, slots=True)
class Corrected:
    """An own run up to a place, with the expert's reply there."""

    transcript: Transcript
    """The expert's replies are demonstrations; the agent's own that differ are prompts, which never train."""
    departed: bool
    """Whether the agent had said something else at the last place."""


@dataclass(frozen=True, slots=True)
class Score:
    """Success on the development split."""

    strict: float
    lenient: float
    tasks: int

    @property
    def metrics(self) -> dict[str, float]:
        """As a learner reports it, under names that practice does not use."""
        return {
            "development_strict": self.strict,
            "development_lenient": self.lenient,
            "development_tasks": float(self.tasks),
        }


@dataclass(frozen=True, slots=True)
class Briefing:
    """A short prompt that could stand in the place of what runs of a skill are told."""

    text: str
    write: Callable[[Transcript], Transcript]
    """A run as if it had been told the short prompt."""
    demonstrations: Callable[[int, int], list[Transcript]]
    """(count, seed) -> those of the context, told the short prompt."""
    evaluate: Callable[[FusedAdapter], Score]
    """Success on the development split under the short prompt."""


@dataclass(frozen=True, slots=True)
class LearningContext:
    """Everything that a learner may use."""

    decoder: Decoder
    """The engine's own weights, read-only."""
    skill: str
    base: str
    """Source of the base model, recorded in the adapter."""
    minutes: float
    """Wall time that the learner may spend."""
    seed: int
    practice: Callable[[FusedAdapter, Practice], list[list[Episode]]]
    """Own runs under an adapter: one list of samples for each task, through the kernel."""
    demonstrations: Callable[[int, int], list[Transcript]]
    """(count, seed) -> expert or corrected runs on training tasks; fresh ones where tasks are generated."""
    replay: Callable[[int, int], list[Transcript]]
    """(count, seed) -> runs of the skills that must be kept; empty when there are none."""
    evaluate: Callable[[FusedAdapter], Score]
    """Success on the development split, never on gate or report tasks."""
    store: Callable[[bytes], str]
    """Keep a blob; returns its digest."""
    checkpoint: Checkpoint
    constraints: Constraints | None = None
    """Reads the grammars that runs had to follow."""
    kept: Callable[[int, int], list[Transcript]] = lambda count, seed: []
    """`replay` without the base model's own answers to requests of no skill."""
    general: Callable[[int, int], list[Transcript]] = lambda count, seed: []
    """(count, seed) -> those answers alone: where the model should stay as it is."""
    corrections: Callable[[FusedAdapter, Practice], list[Corrected]] = lambda adapter, asked: []
    """Own runs under an adapter as an expert corrects them; none where there is no expert."""
    retrace: Callable[[Sequence[Path]], list[Episode]] = lambda paths: []
    """Tasks played once more, each with the replies that are given; nothing is sampled."""
    wander: Callable[[Sequence[Path], int], list[Episode]] = lambda paths, seed: []
    """(paths, seed) -> tasks played once, each first with the replies that are given and then as chance has it."""
    ways: Callable[[int], list[tuple[str, ...]]] = lambda count: []
    """What was said in the agent's own successful training runs so far, chance's too: the shortest ones, none twice."""
    verdicts: Callable[[int, int], list[tuple[Transcript, bool]]] = lambda count, seed: []
    """(count, seed) -> runs of this skill that people called good or bad."""
    preferences: Callable[[int, int], list[tuple[Transcript, Transcript]]] = lambda count, seed: []
    """(count, seed) -> what people preferred on this skill, the better run first; none where nobody said anything."""
    briefing: Briefing | None = None
    """How the prompt could be shorter; None where it is so already, or where it says something else in every task."""
    documents: Sequence[tuple[int, ...]] = ()
    """Token sequences of the user's documents."""
    clock: Callable[[], float] = time.monotonic
    """Seconds; replaced in tests."""


Learning: TypeAlias = Generator[Progress, None, Candidate]
"""A learner at work: yields events, returns a candidate. Closing it stops cleanly; its checkpoint stays."""


class Learner(Protocol):
    """Turns experience and practice into a candidate."""

    @property
    def name(self) -> str: ...

    def learn(self, start: FusedAdapter | None, context: LearningContext) -> Learning:
        """Begin from `start` (None is the bare base) or, where the context's checkpoint has one, from its state."""
        ...
