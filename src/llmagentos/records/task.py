"""What is to be achieved: tasks, their splits, rewards and scores.

In: environments make tasks. Out: the kernel runs them, evaluation counts them.
It does not know how an environment judges success.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from llmagentos.records.identity import JSON

Split: TypeAlias = Literal["train", "development", "gate", "report"]
"""train: learned from. development: choices are made on it. gate: verdicts only. report: held out from every choice."""

SPLITS: tuple[Split, ...] = get_args(Split)

RewardSource: TypeAlias = Literal["environment", "verifier", "person", "judge"]


@dataclass(frozen=True, slots=True)
class Task:
    """A goal in an environment."""

    environment: str
    """Gymnasium id, such as `SupportDesk-v0`."""
    seed: int
    """With the environment's options it determines the task completely."""
    split: Split = "train"
    skill: str = ""
    """Name of the skill that the task belongs to; by default the environment's."""
    options: dict[str, JSON] = field(default_factory=dict)
    """Passed to `reset(options=...)` together with the split."""

    @property
    def key(self) -> str:
        """Stable text that names the task, for pairing two policies' results on it."""
        extra = ",".join(f"{name}={self.options[name]}" for name in sorted(self.options))
        return f"{self.environment}/{self.split}/{self.seed}" + (f"/{extra}" if extra else "")


def reset_options(task: Task) -> dict[str, JSON]:
    """What to give `reset(options=...)` for `task`."""
    return {**task.options, "split": task.split}


@dataclass(frozen=True, slots=True)
class Reward:
    """A number with its source."""

    value: float
    source: RewardSource = "environment"
    name: str = ""
