"""Drills-v0: short exercises with one right answer each.

In: one reply. Out: reward 1 when the reply is exactly the answer, less when it only contains it.
Lenient success reads the last number, or the last numbers, of a longer reply, so that skill can be told from format.
It does not know how exercises are made (`drills_problems`) nor marked (`drills_marking`). It has no expert on purpose:
it is the place for learning from one's own runs; `answer` serves few-shot prompts and tests.
"""

from __future__ import annotations

import random
from typing import Any, cast

from llmagentos.environments.drills_marking import mark
from llmagentos.environments.drills_problems import KINDS, LEVELS, Kind, Problem, make_problem
from llmagentos.environments.language import (
    SEEDS_PER_DRAW,
    LanguageEnvironment,
    StepResult,
    check_action,
    check_draw,
    check_options,
    check_split,
)
from llmagentos.errors import ConfigError
from llmagentos.records.identity import JSON
from llmagentos.records.task import Split, Task

NAME = "Drills-v0"

_TRIES_PER_TASK = 20
"""Seeds looked at for each task before exercises repeat within one draw."""


class Drills(LanguageEnvironment):
    """Exercises of one `kind` (sum, sort, filter, lookup; all of them when left out) at one `level` (1 to 4)."""

    reply_tokens = 24

    def __init__(self, **options: JSON) -> None:
        super().__init__(NAME)
        self._options = options
        _read_options(options)
        self._problem: Problem | None = None

    @property
    def task_options(self) -> dict[str, JSON]:
        return dict(self._options)

    def tasks(self, split: Split, count: int, seed: int = 0) -> list[Task]:
        """As for every environment; in one draw no exercise comes twice as long as there are others."""
        check_draw(split, count)
        chosen: dict[str, Task] = {}
        repeated: list[Task] = []
        for index in range(min(count * _TRIES_PER_TASK, SEEDS_PER_DRAW)):
            if len(chosen) == count:
                break
            task = self.task(split, seed * SEEDS_PER_DRAW + index)
            prompt = self._make(task.seed, split, self._options).prompt
            if prompt in chosen:
                repeated.append(task)
            else:
                chosen[prompt] = task
        return [*chosen.values(), *repeated][:count]

    def right_answer(self, task: Task) -> str:
        """The one right reply to `task`."""
        return self._make(task.seed, task.split, {**self._options, **task.options}).answer

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        chosen = {**self._options, **(options or {})}
        split = check_split(chosen.pop("split", "train"))
        number = seed if seed is not None else int(self.np_random.integers(2**31))
        self._problem = self._make(number, split, chosen)
        return self._problem.prompt, {"instructions": "", "tools": ()}

    def step(self, action: str) -> StepResult:
        text = check_action(self.name, action, self._problem is not None)
        problem, self._problem = cast("Problem", self._problem), None
        found = mark(text, problem.answer)
        return "", found.reward, True, False, {"success": found.success, "lenient": found.lenient}

    @staticmethod
    def _make(seed: int, split: Split, options: dict[str, JSON]) -> Problem:
        kind, level = _read_options(options)
        mixed = random.Random(f"Drills-v0/kind/{split}/{seed}")
        return make_problem(cast("Kind", kind or mixed.choice(KINDS)), level, split, seed)


def _read_options(options: dict[str, JSON]) -> tuple[Kind | None, int]:
    check_options(NAME, options, ("kind", "level"))
    kind, level = options.get("kind"), options.get("level", 1)
    if kind is not None and kind not in KINDS:
        raise ConfigError(f"{NAME}: kind={kind!r}. Choose one of: {', '.join(KINDS)}.")
    if level not in LEVELS or isinstance(level, bool):
        raise ConfigError(f"{NAME}: level={level!r}. Choose one of: {', '.join(map(str, LEVELS))}.")
    return cast("Kind | None", kind), int(level)
