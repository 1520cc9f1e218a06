"""What happened: one finished run.

In: the kernel fills it from a process. Out: experience stores it, learners and evaluation read it.
It does not know how it will be used.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from llmagentos.records.identity import LOCAL_OWNER, Origin, Owner
from llmagentos.records.task import Reward, Task
from llmagentos.records.transcript import Transcript

Outcome: TypeAlias = Literal["finished", "truncated", "failed", "cancelled", "unknown"]
"""finished: the environment ended it. truncated: a limit did. failed: program or environment raised. unknown: it could
not be resumed after a crash."""


@dataclass(frozen=True, slots=True)
class Step:
    """One action and what followed."""

    action: str
    observation: str
    reward: float = 0.0
    release: str = ""


@dataclass(frozen=True, slots=True)
class Episode:
    """One finished run of an agent on a task."""

    id: str
    task: Task
    transcript: Transcript
    observation: str = ""
    """The first observation, before any action."""
    steps: tuple[Step, ...] = ()
    rewards: tuple[Reward, ...] = ()
    success: bool = False
    """Strict: the goal is reached and every action was well-formed."""
    lenient: bool = False
    """The goal is reached, whatever the form of the actions. Implied by `success`."""
    outcome: Outcome = "finished"
    error: str = ""
    """What failed, empty unless `outcome` is `failed` or `unknown`."""
    process: str = ""
    program: str = ""
    release: str = ""
    """The release or candidate that acted."""
    owner: Owner = LOCAL_OWNER
    origin: Origin = "own"
    created: float = 0.0
    """Seconds since the epoch."""
    seconds: float = 0.0
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def reward(self) -> float:
        """Sum of all rewards."""
        return sum(reward.value for reward in self.rewards)
