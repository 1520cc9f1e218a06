"""What a person said about one reply of a run.

In: a thumb, a correction, a better answer. Out: `experience` keeps it, learners learn from it until it is withdrawn.
It does not know how it is learned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from llmagentos.records.identity import LOCAL_OWNER, Owner

FeedbackKind: TypeAlias = Literal["good", "bad", "correction", "better"]
"""correction: the reply was wrong, this is right. better: it was passable, this is better."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """One person's word on one reply."""

    id: str
    episode: str
    kind: FeedbackKind
    text: str = ""
    """What should have been said; empty for a thumb."""
    place: int = -1
    """Which of the run's replies, counted from 0; -1 is the last."""
    reviewer: str = ""
    shown: str = ""
    """The episode that holds what should have been said as a demonstration; empty for a thumb."""
    created: float = 0.0
    """Seconds since the epoch."""
    owner: Owner = LOCAL_OWNER
    withdrawn: float | None = None
    """When it was withdrawn; from then on nothing is learned from it."""
    withdrawn_reason: str | None = None
