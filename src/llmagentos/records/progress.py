"""How far long work has come, as learners and evaluations report it.

In: numbers measured by the work. Out: progress bars, logs, reports.
It does not know who is looking.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Progress:
    """One event of long work."""

    stage: str
    """What is being done, in a few words: `imitation`, `evaluating SupportDesk-v0`."""
    done: float
    """Work finished, in the unit of `total`."""
    total: float
    """Work in all; 0 when unknown."""
    unit: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    """Numbers of this event: loss, reward, success, tokens_per_second."""
    seconds: float = 0.0
    """Seconds since the work began."""
    note: str = ""
