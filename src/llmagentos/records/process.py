"""What runs: the stored description of a process.

In: the kernel writes it. Out: `ps`, the store and a resume after a crash read it.
It does not know the program's code nor the journal's entries.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from llmagentos.records.generation import Sampling
from llmagentos.records.identity import JSON, LOCAL_OWNER, Owner
from llmagentos.records.task import Task

ProcessState: TypeAlias = Literal["ready", "running", "waiting", "finished", "failed", "cancelled", "unknown"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a process may use; passing one ends it as `truncated`, never silently."""

    steps: int = 16
    """Actions on the environment."""
    tokens: int = 4096
    """Sampled tokens in all."""
    seconds: float = 600.0
    """Wall time from the first system call."""
    action_seconds: float = 30.0
    """Wall time of one action or tool call; a longer one is abandoned and recorded as failed."""


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """One process as `ps` shows it and a resume needs it."""

    id: str
    program: str
    """Registered or qualified name of the program."""
    arguments: dict[str, JSON] = field(default_factory=dict)
    task: Task | None = None
    release: str = ""
    """Release or candidate whose behaviour it runs, for the record."""
    adapter: str | None = None
    """Adapter name that its generations ask for; it keeps this one to its end."""
    sampling: Sampling = Sampling()
    limits: Limits = Limits()
    priority: int = 0
    """Higher runs first."""
    owner: Owner = LOCAL_OWNER
    state: ProcessState = "ready"
    resumable: bool = True
    digest: str = ""
    """SHA-256 of the program's source, to notice that a resume would replay other code."""
    parent: str = ""
    error: str = ""
    steps: int = 0
    tokens: int = 0
    created: float = 0.0
    updated: float = 0.0
    labels: dict[str, str] = field(default_factory=dict)
