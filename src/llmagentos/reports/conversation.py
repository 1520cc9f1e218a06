"""Conversations made ready to be read: who speaks, what is a tool call.

In: turns whose text nobody may trust. Out: plain text by part; the template escapes it.
It does not know how a run was made.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from llmagentos.records.results import Conversation, Turn
from llmagentos.reports.wording import plain

LONGEST = 4_000
"""Characters of a turn that are shown; a model that repeats itself should not fill the page."""

_SPEAKERS = {"system": "Instructions", "user": "Customer or task", "assistant": "Agent", "tool": "Tool result"}


@dataclass(frozen=True, slots=True)
class SpokenTurn:
    """One turn as it is shown."""

    role: str
    """One of system, user, assistant, tool: safe as a class."""
    speaker: str
    text: str
    """What was said; empty for a tool call."""
    tool: str = ""
    """Name of the tool that is called, empty for speech."""
    arguments: tuple[tuple[str, str], ...] = ()
    cut: int = 0
    """Characters left out."""


def spoken(conversation: Conversation) -> tuple[SpokenTurn, ...]:
    """The turns of `conversation`, calls told from speech."""
    return tuple(_spoken_turn(turn) for turn in conversation.turns)


def _spoken_turn(turn: Turn) -> SpokenTurn:
    role = turn.role if turn.role in _SPEAKERS else "user"
    speaker = _SPEAKERS[role]
    call = _as_call(turn.text) if role == "assistant" else None
    if call is not None:
        name, arguments = call
        shown = tuple((plain(key), plain(_argument(value))) for key, value in arguments.items())
        return SpokenTurn(role, speaker, "", plain(name), shown)
    text = turn.text.strip()
    return SpokenTurn(role, speaker, plain(text[:LONGEST]), cut=max(0, len(text) - LONGEST))


def _as_call(text: str) -> tuple[str, dict[str, object]] | None:
    """A reply that is exactly one object `{"tool": {...}}`, as programs write calls; None for anything else."""
    stripped = text.strip()
    if not stripped.startswith("{") or len(stripped) > LONGEST:
        return None
    try:
        read = json.loads(stripped)
    except (ValueError, RecursionError):  # not JSON, so it is speech: shown as it is
        return None
    if not isinstance(read, dict) or len(read) != 1:
        return None
    name, arguments = next(iter(read.items()))
    return (name, arguments) if isinstance(arguments, dict) else None


def _argument(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
