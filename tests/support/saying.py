"""Environments that ask for one thing in many ways and want one word back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import gymnasium

from llmagentos.cycle import CycleSettings
from llmagentos.environments.language import LanguageEnvironment, Policy, StepResult
from llmagentos.evaluation.gate import GateRules
from llmagentos.learning.language.imitation import Imitation, ImitationSettings
from llmagentos.learning.trainer import AdapterSettings
from llmagentos.records.task import Split, Task

RULES = GateRules(minimum_tasks=6, divergence_budget=None, resamples=400)
SMALL = CycleSettings(gate_tasks=8, kept_tasks=8, development_tasks=4, rules=RULES)
IMITATION = Imitation(ImitationSettings(AdapterSettings(4, 8.0, 1e-2), batch=4, pool=16, limit=40))
"""Learns one of these environments, and surely enough for a small gate."""


class Saying(LanguageEnvironment):
    """Asks `asked` and a number, and wants `answer`."""

    reply_tokens = 6
    answers = False
    """Whether the right answer is known, also where no expert plays."""
    fault = ""
    """What every step raises."""
    without = ""
    """A split that has no tasks."""

    def __init__(self, name: str, asked: str, answer: str, *, known: bool = True) -> None:
        """`known` says whether an expert knows the answer."""
        super().__init__(name)
        self._asked, self._answer, self._known = asked, answer, known

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        return f"{self._asked} {seed}", {"instructions": "", "tools": ()}

    def tasks(self, split: Split, count: int, seed: int = 0) -> list[Task]:
        return [] if split == self.without else super().tasks(split, count, seed)

    def step(self, action: str) -> StepResult:
        if self.fault:
            raise RuntimeError(self.fault)
        success = action.strip() == self._answer
        return "", float(success), True, False, {"success": success, "lenient": success}

    def expert(self, task: Task) -> Policy | None:
        return (lambda observation: self._answer) if self._known else None

    def right_answer(self, task: Task) -> str | None:
        return self._answer if self.answers else None


@contextmanager
def registered(asked: Mapping[str, tuple[str, str]], *, unknown: str = "") -> Iterator[None]:
    """For as long as the block runs an environment for each name, by what it asks and wants; no expert knows one."""
    for name, said in asked.items():

        def make(name: str = name, said: tuple[str, str] = said) -> Saying:
            return Saying(name, *said, known=name != unknown)

        gymnasium.register(name, make, order_enforce=False, disable_env_checker=True)
    try:
        yield
    finally:
        for name in asked:
            gymnasium.registry.pop(name)
