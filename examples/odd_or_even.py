"""An environment of your own, learned by: llmagentos learn --env ./examples/odd_or_even.py:OddOrEven-v0

In: a number. Out: whether the agent calls it odd or even. The held-out numbers never occur in training.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import gymnasium

from llmagentos.environments.language import LanguageEnvironment
from llmagentos.records.task import Task


class OddOrEven(LanguageEnvironment):
    """One question, one word."""

    reply_tokens = 4

    def __init__(self) -> None:
        super().__init__("OddOrEven-v0")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        split = (options or {}).get("split", "train")
        number = random.Random(f"{split}/{seed}").randrange(100, 1000)
        if split != "train":  # a held-out number is a multiple of 7, a training one never is
            number -= number % 7
        elif number % 7 == 0:
            number += 1
        self.answer = "odd" if number % 2 else "even"
        return f"Is {number} odd or even?", {"instructions": "Answer with one word.", "tools": ()}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        strict, lenient = action == self.answer, self.answer in action.lower()
        return "", float(strict), True, False, {"success": strict, "lenient": lenient}

    def expert(self, task: Task) -> Callable[[str], str]:
        return lambda observation: "odd" if int(observation.split()[1]) % 2 else "even"


gymnasium.register("OddOrEven-v0", entry_point=OddOrEven)
