"""What is said: messages, tool calls and the specification of a tool.

In: text. Out: the frozen facts that programs, kernel and renderer exchange.
It does not know tokens (see `records.transcript`) nor how any model formats a chat.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from llmagentos.records.identity import JSON

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn to be appended to a run's transcript."""

    role: Role
    content: str
    outside: bool = False
    """True when the text came from an environment, a tool or the web: data, never instructions."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A request to use one tool, as a model writes it: `{"name": {"argument": value}}`."""

    name: str
    arguments: dict[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """What a model is told about a tool."""

    name: str
    description: str = ""
    parameters: dict[str, JSON] = field(default_factory=lambda: {"type": "object", "properties": {}})
    """JSON Schema of the arguments, an object schema."""
    effect: bool = False
    """True when a call changes something outside the run."""
