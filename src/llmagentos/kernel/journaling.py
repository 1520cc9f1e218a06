"""System calls as journal entries, and entries read back for a replay.

In: calls, replies and faults. Out: JSON bodies, and after a crash the same calls, replies and faults.
Kinds: `start` (the process), `call` and `result` (paired by their number `n`), `end` (outcome and value).
It does not know who executes a call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from llmagentos import errors
from llmagentos.errors import KernelError, LLMAgentOSError
from llmagentos.kernel.collaborators import Entry
from llmagentos.records.calls import (
    Act,
    ActResult,
    CallTool,
    Classify,
    Generate,
    Observation,
    Observe,
    Opinion,
    Recall,
    SystemCall,
    ToolResult,
)
from llmagentos.records.generation import Completion
from llmagentos.records.identity import JSON
from llmagentos.records.transcript import Segment

_REPLIES: Mapping[str, Any] = {
    Generate.__name__: Completion,
    Act.__name__: ActResult,
    Observe.__name__: Observation,
    CallTool.__name__: ToolResult,
    Recall.__name__: tuple[str, ...],
    Classify.__name__: Opinion,
}
"""Reply types that are not plain JSON already."""


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """A journaled call, with its result where there is one."""

    name: str
    body: dict[str, JSON]
    result: dict[str, JSON] | None
    """None when the crash came between call and result."""

    @property
    def reply(self) -> Any:
        """The recorded reply, of the call's own type."""
        value = (self.result or {}).get("value")
        kind = _REPLIES.get(self.name)
        return value if kind is None else msgspec.convert(value, kind)

    @property
    def fault(self) -> LLMAgentOSError | None:
        """The recorded fault, as the program saw it."""
        record = (self.result or {}).get("error")
        return None if record is None else restore_fault(record)

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Prompt segments of a `Generate`, token for token."""
        return tuple(
            Segment(segment["origin"], tuple(segment["tokens"])) for segment in self.body.get("segments") or ()
        )

    def matches(self, call: SystemCall[Any]) -> bool:
        """Whether a program that runs again asks what it asked then; what is not asked has no part in it, for earlier
        versions knew fewer things to ask."""
        return self.name == type(call).__name__ and _asked(self.body.get("call")) == _asked(describe_call(call))


def call_body(number: int, call: SystemCall[Any], **more: Any) -> dict[str, Any]:
    """The `call` entry; `more` is what else a replay needs."""
    return {"n": number, "name": type(call).__name__, "call": call, **more}


def reply_body(number: int, reply: Any, **more: Any) -> dict[str, Any]:
    """The `result` entry of a call that was answered."""
    return {"n": number, "value": reply, **more}


def fault_body(number: int, fault: LLMAgentOSError) -> dict[str, Any]:
    """The `result` entry of a call that failed."""
    return {"n": number, "error": {"type": type(fault).__name__, "message": str(fault)}}


def restore_fault(record: Mapping[str, str]) -> LLMAgentOSError:
    """The fault of a journaled error, of the type it had; `KernelError` for a type that this version lacks."""
    kind = vars(errors).get(record["type"])
    if not (isinstance(kind, type) and issubclass(kind, LLMAgentOSError)):
        kind = KernelError
    return kind.__new__(kind, record["message"])  # keeps the message: some constructors compose their own


def pair_calls(entries: Iterable[Entry]) -> list[RecordedCall]:
    """Calls with their results, in the order asked."""
    calls: dict[int, dict[str, JSON]] = {}
    results: dict[int, dict[str, JSON]] = {}
    for entry in entries:
        if entry.kind == "call":
            calls[entry.body["n"]] = entry.body
        elif entry.kind == "result":
            results[entry.body["n"]] = entry.body
    return [RecordedCall(calls[number]["name"], calls[number], results.get(number)) for number in sorted(calls)]


def _asked(call: JSON) -> JSON:
    return {name: value for name, value in call.items() if value is not None} if isinstance(call, dict) else call


def describe_call(call: SystemCall[Any]) -> JSON:
    """The call as JSON, or as Python writes it where it holds something that is not JSON."""
    try:
        return msgspec.json.decode(msgspec.json.encode(call))
    except (TypeError, ValueError):
        return repr(call)[:500]
