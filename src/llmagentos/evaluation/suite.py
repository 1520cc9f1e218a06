"""Skill suites: which tasks measure a skill, and how they are played.

In: an environment's task generator and a log of uses. Out: tasks of a split; the gate's are new for every verdict.
It does not know how tasks are run, scored or judged.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from llmagentos.errors import ConfigError, GateError
from llmagentos.records.generation import Sampling
from llmagentos.records.identity import JSON
from llmagentos.records.process import Limits
from llmagentos.records.task import SPLITS, Split, Task

REPORT_SEED = 0
"""The report's tasks never change, so that figures of different days can be compared."""


class TaskSource(Protocol):
    """The part of a language environment that a suite needs."""

    def tasks(self, split: Split, count: int, seed: int = 0) -> list[Task]:
        """`count` tasks of `split`, determined by `seed`; `gate` and `report` are disjoint from the others."""
        ...


class UseJournal(Protocol):
    """The part of the store's journal that the log of gate uses needs."""

    def append(self, process: str, kind: str, body: JSON, *, sync: bool = False) -> int:
        """Add one entry; returns its sequence number."""
        ...

    def entries(self, process: str) -> Sequence[Any]:
        """Entries of `process` in order, each with a `body`."""
        ...


@dataclass(frozen=True, slots=True)
class GateUse:
    """One use of a skill's gate tasks, as it is logged."""

    skill: str
    number: int
    """0 for the first use of this skill's gate, then 1, 2, ..."""
    seed: int
    tasks: int
    repeated: int
    """Tasks that an earlier use had already seen: more than 0 only where an environment's gate split is finite."""
    keys: tuple[str, ...] = ()
    """Short digests of the tasks' keys."""


class GateUses(Protocol):
    """A counter of gate uses that survives as long as the releases do."""

    def uses(self, skill: str) -> list[GateUse]:
        """Uses so far, oldest first."""
        ...

    def record(self, use: GateUse) -> None:
        """Log one use before its tasks are played."""
        ...


@dataclass(slots=True)
class MemoryUses:
    """Gate uses of one Python process, for tests and experiments."""

    log: list[GateUse] = field(default_factory=list)

    def uses(self, skill: str) -> list[GateUse]:
        """Uses of `skill` so far."""
        return [use for use in self.log if use.skill == skill]

    def record(self, use: GateUse) -> None:
        """Append to the list."""
        self.log.append(use)


class JournalUses:
    """Gate uses in the home's journal, one stream per skill, synced before the tasks are played."""

    def __init__(self, journal: UseJournal) -> None:
        self._journal = journal

    def uses(self, skill: str) -> list[GateUse]:
        """Uses of `skill` ever logged in this home."""
        return [
            GateUse(
                skill=skill,
                number=entry.body["number"],
                seed=entry.body["seed"],
                tasks=entry.body["tasks"],
                repeated=entry.body["repeated"],
                keys=tuple(entry.body["keys"]),
            )
            for entry in self._journal.entries(f"gate:{skill}")
        ]

    def record(self, use: GateUse) -> None:
        """Append and sync: a use that counts must not be forgotten after a loss of power."""
        body = {
            "number": use.number,
            "seed": use.seed,
            "tasks": use.tasks,
            "repeated": use.repeated,
            "keys": list(use.keys),
        }
        self._journal.append(f"gate:{use.skill}", "gate-use", body, sync=True)


@dataclass(frozen=True, slots=True)
class Skill:
    """A named set of tasks and how an agent plays them."""

    name: str
    environment: str
    """Gymnasium id that `tasks` come from."""
    program: str = "react"
    limits: Limits = field(default_factory=Limits)
    sampling: Sampling = field(default_factory=Sampling)
    """Greedy by default: an evaluation should not depend on a draw."""
    report_tasks: int = 100
    gate_tasks: int = 100


class SkillSuite:
    """Tasks of one skill by split; thread-safe."""

    def __init__(self, skill: Skill, source: TaskSource, uses: GateUses) -> None:
        self.skill = skill
        self._source, self._uses = source, uses
        self._lock = threading.Lock()

    def tasks(self, split: Split, count: int | None = None, seed: int | None = None) -> list[Task]:
        """`count` tasks of `split`; None takes the skill's own number for `gate` and `report`.

        `seed` chooses among train and development tasks (0 by default). Gate tasks are new at every call and the
        use is logged first: draw them once per verdict and play candidate and references on that list. Report tasks
        are always the same. A seed for either raises `ConfigError`, so that nobody can pick tasks that suit. A source
        whose split is finite gives fewer where it has no more (the gate refuses too few for a verdict); one that
        gives none, too many, repeated or foreign ones raises `GateError`.
        """
        if split not in SPLITS:
            raise ConfigError(f"No split {split!r} of {self.skill.name}. Splits: {', '.join(SPLITS)}.")
        if seed is not None and split in ("gate", "report"):
            raise ConfigError(
                f"{split} tasks of {self.skill.name} take no seed (got {seed}): gate tasks are fresh for every "
                "verdict, report tasks are fixed. Leave it out, or use the development split."
            )
        wanted = self._count(split, count)
        if split == "gate":
            return self._fresh(wanted)
        chosen = REPORT_SEED if split == "report" else (seed or 0)
        return self._checked(split, wanted, chosen)

    def _count(self, split: Split, count: int | None) -> int:
        own = {"gate": self.skill.gate_tasks, "report": self.skill.report_tasks}
        wanted = own.get(split) if count is None else count
        if wanted is None or wanted < 1:
            raise ConfigError(f"{count} tasks of {self.skill.name}/{split} asked for. Say how many, at least 1.")
        return wanted

    def _fresh(self, count: int) -> list[Task]:
        with self._lock:
            earlier = self._uses.uses(self.skill.name)
            number = len(earlier)
            seed = gate_seed(self.skill.name, number)
            tasks = self._checked("gate", count, seed)
            keys = tuple(_short(task.key) for task in tasks)
            seen = {key for use in earlier for key in use.keys}
            repeated = sum(key in seen for key in keys)
            self._uses.record(GateUse(self.skill.name, number, seed, len(tasks), repeated, keys))
        return tasks

    def _checked(self, split: Split, count: int, seed: int) -> list[Task]:
        tasks = list(self._source.tasks(split, count, seed))
        different = len({task.key for task in tasks})
        foreign = [task.key for task in tasks if task.split != split]
        if not 0 < len(tasks) <= count or different != len(tasks) or foreign:
            raise GateError(
                f"{self.skill.environment} was asked for {count} {split} tasks (seed {seed}) and gave {len(tasks)}, "
                f"{different} of them different, {len(foreign)} of another split. Mend its tasks()."
            )
        return tasks


def gate_seed(skill: str, use: int) -> int:
    """Seed of a skill's gate tasks at its `use`-th verdict, in [0, 2**31).

    A digest rather than a count: a source that adds the task's index to its seed would otherwise serve nearly the
    same tasks at two successive verdicts.
    """
    return int.from_bytes(hashlib.sha256(f"gate/{skill}/{use}".encode()).digest()[:4]) >> 1


def _short(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:12]
