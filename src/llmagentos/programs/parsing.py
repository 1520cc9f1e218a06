"""Reading a model's reply: is it a tool call or a message?

In: the reply's text and the names of the tools there are. Out: a `ParsedCall`, never an exception.
Only JSON is read, nothing is evaluated; time is linear in the text and the text is limited in size.
It does not know what the tools do, nor whether their arguments make sense.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from llmagentos.records.identity import JSON
from llmagentos.records.message import ToolCall

MAX_CHARACTERS = 32_768
"""A longer reply is not read as a call: several times what the default model's window can hold."""
MAX_DEPTH = 32
"""Deeper nesting is refused before it reaches the JSON reader, whose recursion is limited."""
MAX_STARTS = 8
"""Unclosed braces skipped before the search ends; keeps the search linear."""

_CALL_FORM = '{"tool": {"argument": "value"}}'


@dataclass(frozen=True, slots=True)
class ParsedCall:
    """What a reply turned out to be."""

    call: ToolCall | None
    """The tool call, None for a message or for a call that cannot be carried out."""
    well_formed: bool
    """True for a message and for a reply that is exactly one call; False for a call found leniently or broken."""
    error: str = ""
    """Why a reply that was meant as a call is none; empty otherwise."""

    @property
    def is_message(self) -> bool:
        """Whether the reply is plain text for the person."""
        return self.call is None and not self.error


def parse_call(text: str, tools: Sequence[str]) -> ParsedCall:
    """Read a reply as one call `{"tool": {"argument": value}}` or as a message.

    Exactly one such object, white space aside, is well-formed. Leniently, and then not well-formed, the first
    object inside other text that calls one of `tools` is taken, and the form `{"name": ..., "arguments": {...}}`.
    A reply that is an object or begins like one but calls nothing known has `error` set.
    """
    body = text.strip()
    if not tools or "{" not in body:
        return ParsedCall(None, True)
    if len(body) > MAX_CHARACTERS:
        return ParsedCall(
            None, False, f"The reply has {len(body)} characters, at most {MAX_CHARACTERS} are read as a call."
        )
    if body.startswith("{") and _object_end(body, 0) == len(body):
        return _parse_whole(body, tools)
    found = _find_call(body, tools)
    if found is not None:
        return ParsedCall(found, False)
    if body.startswith("{"):
        return ParsedCall(None, False, f"The reply is not valid JSON. Write a call as {_CALL_FORM} and nothing else.")
    return ParsedCall(None, True)


def render_call(call: ToolCall) -> str:
    """The one well-formed text of a call; `parse_call` reads it back."""
    return json.dumps({call.name: call.arguments}, ensure_ascii=False)


def _parse_whole(body: str, tools: Sequence[str]) -> ParsedCall:
    try:
        value = _load(body)
    except ValueError as problem:
        return ParsedCall(None, False, f"The reply is not valid JSON: {problem}.")
    call = _exact_call(value)
    if call is not None and call.name in tools:
        return ParsedCall(call, True)
    named = _named_call(value)
    if named is not None and named.name in tools:
        return ParsedCall(named, False)
    known = ", ".join(tools)
    if call is not None or named is not None:
        name = (named or call or ToolCall("")).name
        return ParsedCall(None, False, f"No tool named {name[:100]!r}. Tools: {known}.")
    return ParsedCall(None, False, f"This object is no tool call. Write {_CALL_FORM} with one of: {known}.")


def _find_call(body: str, tools: Sequence[str]) -> ToolCall | None:
    """The first object in `body` that calls one of `tools`."""
    position, starts = body.find("{"), 0
    while position >= 0 and starts < MAX_STARTS:
        end = _object_end(body, position)
        if end < 0:
            starts += 1
            position = body.find("{", position + 1)
            continue
        try:
            value = _load(body[position:end])
        except ValueError:
            value = None
        call = _exact_call(value)
        if call is None or call.name not in tools:
            call = _named_call(value)
        if call is not None and call.name in tools:
            return call
        position = body.find("{", end)
    return None


def _object_end(body: str, start: int) -> int:
    """Index after the brace that closes the one at `start`, -1 when it is not closed or nested too deep."""
    depth, position, length = 0, start, len(body)
    inside_string = False
    while position < length:
        character = body[position]
        if inside_string:
            if character == "\\":
                position += 1
            elif character == '"':
                inside_string = False
        elif character == '"':
            inside_string = True
        elif character in "{[":
            depth += 1
            if depth > MAX_DEPTH:
                return -1
        elif character in "}]":
            depth -= 1
            if depth == 0:
                return position + 1
        position += 1
    return -1


def _load(text: str) -> JSON:
    """The JSON value of `text`; ValueError also for what other readers of the same text would disagree about."""
    value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite)
    if "\\u" in text:
        _encodable(value)
    return value


def _unique(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    record = dict(pairs)
    if len(record) != len(pairs):
        raise ValueError("a name occurs twice in one object")
    return record


def _refuse_constant(name: str) -> JSON:
    raise ValueError(f"{name} is no JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"the number {digits[:40]} is too large")
    return number


def _encodable(value: JSON) -> None:
    """Raise ValueError (UnicodeEncodeError is one) for half a surrogate pair, which no file or database can hold."""
    json.dumps(value, ensure_ascii=False).encode("utf-8")


def _exact_call(value: JSON) -> ToolCall | None:
    if isinstance(value, dict) and len(value) == 1:
        ((name, arguments),) = value.items()
        if isinstance(arguments, dict):
            return ToolCall(name, arguments)
    return None


def _named_call(value: JSON) -> ToolCall | None:
    if not isinstance(value, dict):
        return None
    name, arguments = value.get("name"), value.get("arguments", value.get("parameters"))
    return ToolCall(name, arguments) if isinstance(name, str) and isinstance(arguments, dict) else None
