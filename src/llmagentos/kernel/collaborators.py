"""What the kernel is handed: the store, environments, tools and permissions, as protocols.

In: objects composed above. Out: the few methods that the kernel calls on them, from its worker threads.
It does not know who implements them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from llmagentos.records.calls import ToolResult
from llmagentos.records.identity import JSON
from llmagentos.records.message import ToolCall, ToolSpec
from llmagentos.records.process import ProcessInfo, ProcessState


class Env(Protocol):
    """The part of `gymnasium.Env` that the kernel uses."""

    @property
    def action_space(self) -> Any: ...

    @property
    def observation_space(self) -> Any: ...

    @property
    def unwrapped(self) -> Any: ...

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]: ...

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]: ...

    def close(self) -> None: ...


class Entry(Protocol):
    """One journaled event."""

    @property
    def kind(self) -> str: ...

    @property
    def body(self) -> JSON: ...


class JournalStore(Protocol):
    """Append-only events of processes; what `append` has returned from survives the death of this process."""

    def append(self, process: str, kind: str, body: JSON, *, sync: bool = False) -> int: ...

    def entries(self, process: str) -> Sequence[Entry]: ...

    def pack(self, process: str) -> None: ...


class ProcessStore(Protocol):
    """The last description of each process."""

    def put(self, info: ProcessInfo) -> None: ...

    def list(
        self, states: Collection[ProcessState] | None = None, limit: int | None = 100
    ) -> Sequence[ProcessInfo]: ...


class KernelStore(Protocol):
    """The two tables that the kernel writes."""

    @property
    def journal(self) -> JournalStore: ...

    @property
    def processes(self) -> ProcessStore: ...


class Decision(Protocol):
    """Whether a call may be made, and why."""

    @property
    def allowed(self) -> bool: ...

    @property
    def reason(self) -> str: ...


class PermissionRules(Protocol):
    """Decides about every tool call and keeps the record of it."""

    def decide(self, call: ToolCall, *, process: str, owner: str, declared: bool) -> Decision:
        """`declared` says that the environment itself offers the tool: allowed unless a rule denies."""
        ...


class Tools(Protocol):
    """The system's tools; a failing tool is data, `call` never raises for one."""

    def spec(self, name: str) -> ToolSpec | None: ...

    def idempotent(self, name: str) -> bool:
        """Whether the tool does its work once for one key, however often it is called with it."""
        ...

    def call(self, call: ToolCall, *, key: str, seconds: float) -> ToolResult: ...


@dataclass(frozen=True, slots=True)
class _Plain:
    allowed: bool
    reason: str


class DeclaredOnly:
    """The permissions of a kernel that was given none: an environment's own tools and nothing else."""

    def decide(self, call: ToolCall, *, process: str, owner: str, declared: bool) -> Decision:
        """Allow what the environment declares."""
        return _Plain(declared, "" if declared else f"No rule allows the tool {call.name!r}.")
