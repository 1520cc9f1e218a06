"""Layouts in wide use, brought into the one that `request_cases` reads.

In: one record as it was written: OpenAI's and TRL's `messages`, ShareGPT's `conversations`, `tool_calls`, `tools`,
columns under many names. Out: turns with a request and the right reply, what the agent is told first, its tools.
It does not know files, splits or who answers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from llmagentos.environments.request_schemas import argument_schema
from llmagentos.records.identity import JSON
from llmagentos.records.message import ToolCall, ToolSpec

CONVERSATION_COLUMNS = ("messages", "conversations", "conversation", "dialogue", "dialog")
REPLY_LISTS = ("completion", "chosen", "response")
"""Where the replies to a `prompt` that is a list of messages stand (TRL)."""
TOOL_COLUMNS = ("tools", "functions", "available_tools")
BODIES = ("body", "description", "content", "message", "review")
TOGETHER = (
    ("instruction", "input"),
    ("instruction", "context"),
    ("context", "question"),
    ("premise", "hypothesis"),
    *((f"{one}1", f"{one}2") for one in ("sentence", "text", "question", "s")),
    *((f"{one}_a", f"{one}_b") for one in ("sentence", "text", "question")),
    *((head, body) for head in ("subject", "title", "headline") for body in BODIES),
)
"""Two columns that make one request: Alpaca, Dolly, SQuAD, two texts that are compared, mail, news."""
WHOLE = ("request", "text")
"""Columns that are the whole request wherever they are."""

_SPEAKERS = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "customer"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "model", "agent"), "assistant"),
    **dict.fromkeys(("tool", "function", "observation", "tool_response", "function_response", "ipython"), "tool"),
    **dict.fromkeys(("function_call", "tool_call"), "call"),
}
_TAGGED = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)
"""A call among words, as Hermes and Qwen write it."""
_NOT_IN_NAMES = re.compile(r"[\W_]+")


class Unusable(Exception):
    """Why a record cannot be used."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """What was said, as turns of `request` and `call` or `answer`."""

    turns: tuple[dict[str, JSON], ...]
    instructions: str = ""
    """What the system said first."""


def by_name(record: Mapping[str, JSON], name: str) -> JSON:
    """The column `name`, written so or with other capitals, spaces and hyphens.

    What is missing is written as null or, by pandas, as NaN: None for both.
    """
    if name in record:
        value = record[name]
    else:
        column = _plain_names(tuple(record)).get(plain_name(name))
        value = None if column is None else record[column]
    return value if value == value else None


@lru_cache(maxsize=64)
def _plain_names(columns: tuple[str, ...]) -> dict[str, str]:
    """The columns by their plain names, of several alike the first."""
    return {plain: column for column in reversed(columns) if (plain := plain_name(str(column)))}


@lru_cache(maxsize=4096)
def plain_name(name: str) -> str:
    """`name` without what people write differently: capitals, spaces, hyphens."""
    return _NOT_IN_NAMES.sub("_", name.lower()).strip("_")


def first_of(record: Mapping[str, JSON], names: Iterable[str]) -> str:
    """The first of `names` under which something stands; empty where there is none."""
    return next((name for name in names if by_name(record, name) not in (None, "", [])), "")


def first_there(record: Mapping[str, JSON], names: Iterable[str]) -> str:
    """The first of `names` that a record has, whatever stands under it; empty where there is none."""
    known = _plain_names(tuple(record))
    return next((name for name in names if plain_name(name) in known), "")


def request_columns(record: Mapping[str, JSON], usual: Sequence[str]) -> tuple[str, ...]:
    """The column or the two columns that make the request; empty where none is known."""
    whole = first_of(record, WHOLE)
    if whole:
        return (whole,)
    for pair in TOGETHER:
        if all(first_of(record, (name,)) for name in pair):
            return pair
    found = first_of(record, usual)
    return (found,) if found else ()


def conversation(record: Mapping[str, JSON]) -> Conversation | None:
    """A record that is a list of messages as turns, None where it is none. `Unusable` where it cannot be played."""
    said = by_name(record, first_of(record, CONVERSATION_COLUMNS) or "messages")
    prompt = record.get("prompt")
    if isinstance(prompt, list):
        replies = next((value for name in REPLY_LISTS if isinstance(value := record.get(name), list)), [])
        said = [*prompt, *replies]
    if not isinstance(said, list) or not said or not all(isinstance(one, dict) for one in said):
        return None
    told, pending, turns = [the_text(by_name(record, "system") or "", "system text")], [], []
    for number, message in enumerate(said, start=1):
        speaker, text = _speaker(message, number), _text(message)
        if speaker == "system":
            told.append(text)
        elif speaker in ("user", "tool"):
            pending.append(text)
        elif pending:
            turns.append({"request": "\n".join(pending), **_reply(message, speaker, text)})
            pending = []
        elif turns:
            raise Unusable(f"has two replies in a row: message {number} follows no request")
    if not turns:
        raise Unusable("has no reply to a request among its messages")
    return Conversation(tuple(turns), the_text("\n".join(text for text in told if text), "system text"))


def calls_of(value: JSON) -> list[ToolCall]:
    """The calls in `value`, as JSON or text of it: `{"tool": {...}}`, `{"name": ..., "arguments": ...}`, OpenAI's
    `{"function": {...}}`, or a list of such. `Unusable` where it is none of these."""
    parsed = parsed_json(value)
    if isinstance(parsed, list):
        return [call for one in parsed for call in calls_of(one)]
    if isinstance(parsed, dict) and isinstance(parsed.get("function"), dict):
        parsed = parsed["function"]
    if isinstance(parsed, dict) and {"name", "arguments"} <= set(parsed):
        name, arguments = parsed["name"], parsed_json(parsed["arguments"] or {})
    elif isinstance(parsed, dict) and len(parsed) == 1:
        ((name, arguments),) = parsed.items()
        arguments = parsed_json(arguments)
    else:
        name, arguments = None, None
    if not isinstance(name, str) or not name or not isinstance(arguments, dict):
        raise Unusable('has a call that is not of the form {"tool": {"argument": "value"}}')
    _written(arguments, "a call with arguments")
    return [ToolCall(name, arguments)]


def the_call(value: JSON) -> ToolCall:
    """The one call in `value`; `Unusable` where there are none or several."""
    calls = calls_of(value)
    if len(calls) != 1:
        raise Unusable(f"has {len(calls)} calls in one reply; one at a time is played")
    return calls[0]


def the_text(value: JSON, what: str) -> str:
    """The words of a value. Lists, objects and bytes have none: their code is nothing that anybody asks or says."""
    if not isinstance(value, str):
        if isinstance(value, dict | list | tuple | bytes):
            raise Unusable(f"has a {what} that is {brief(value)} instead of text")
        return str(value).strip()
    if not value.isascii() and any("\ud800" <= one <= "\udfff" for one in value):
        raise Unusable(f"has a {what} with half a character (a lone surrogate), which no model reads")
    return value.strip()


def brief(value: object) -> str:
    """Type and beginning of a value that is not what it should be: `the list ['a', 'b']`."""
    text = repr(value)
    return f"the {type(value).__name__} {text if len(text) <= 60 else text[:60] + '...'}"


def the_words(value: JSON) -> str:
    """An answer in words: text, a number, an object as JSON, the first of several (SQuAD has them under `text`)."""
    if isinstance(value, dict) and isinstance(value.get("text"), list):
        value = value["text"]
    if is_object(value):
        return _written(value, "an answer")
    if isinstance(value, list):
        value = value[0] if value else ""
    return "" if value is None else the_text(value, "answer")


def is_object(value: JSON) -> bool:
    """Whether a value is an object or a list with some: an answer that is written as JSON."""
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(one, dict) for one in value))


def the_labels(value: JSON) -> str:
    """Several labels of one request, a list or JSON of one, as JSON in alphabetical order; empty for one label."""
    if isinstance(value, str) and not value.lstrip().startswith("["):
        return ""
    try:
        listed = parsed_json(value)
    except Unusable:
        return ""
    if not isinstance(listed, list) or not all(isinstance(one, str | int) for one in listed):
        return ""
    return _written(sorted({the_text(one, "label") for one in listed}), "labels")


def is_calls(value: JSON) -> bool:
    """Whether several answers are calls: a list of objects with names, or text of one."""
    try:
        listed = parsed_json(value)
    except Unusable:
        return False
    return isinstance(listed, list) and bool(listed) and all(isinstance(one, dict) and "name" in one for one in listed)


def tools_of_record(record: Mapping[str, JSON]) -> tuple[ToolSpec, ...]:
    """The tools that a record itself describes; records that describe the same share them."""
    column = first_of(record, TOOL_COLUMNS)
    if not column:
        return ()
    value = by_name(record, column)
    return _described(value if isinstance(value, str) else _written(value, "tools"))


def parsed_json(value: JSON) -> JSON:
    """`value`, read where it is text. `Unusable` for text that is no JSON."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError) as problem:
        raise Unusable(f"has a call that is no JSON: {str(problem)[:80]}") from None


def _written(value: JSON, what: str) -> str:
    """`value` as JSON. `Unusable` where no JSON can say it: NaN, bytes, half a character."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (TypeError, ValueError, RecursionError) as problem:
        raise Unusable(f"has {what} that no JSON can say: {str(problem)[:80]}") from None
    return text


def _speaker(message: Mapping[str, Any], number: int) -> str:
    said = str(message.get("role") or message.get("from") or message.get("speaker") or "")
    speaker = _SPEAKERS.get(said.lower())
    if speaker is None:
        raise Unusable(f"has a message {number} by {said or 'nobody'!r}, not by one of {', '.join(_SPEAKERS)}")
    return speaker


def _text(message: Mapping[str, Any]) -> str:
    value = next((message[name] for name in ("content", "value", "text") if message.get(name) is not None), "")
    if isinstance(value, list):
        value = "\n".join(str(part.get("text", "")) for part in value if isinstance(part, dict))
    return (value if isinstance(value, str) else _written(value, "a message")).strip()


def _reply(message: Mapping[str, Any], speaker: str, text: str) -> dict[str, JSON]:
    calls = message.get("tool_calls") or message.get("function_call") or _TAGGED.findall(text)
    if speaker == "call":
        calls = text
    return {"call": calls} if calls else {"answer": text}


@lru_cache(maxsize=256)
def _described(text: str) -> tuple[ToolSpec, ...]:
    listed = parsed_json(text)
    return tuple(_tools(listed if isinstance(listed, list) else [listed]))


def _tools(listed: Sequence[JSON]) -> Iterator[ToolSpec]:
    for one in listed:
        inner = one.get("function", one) if isinstance(one, dict) else None
        if not isinstance(inner, dict) or not isinstance(inner.get("name"), str) or not inner["name"]:
            raise Unusable("describes a tool without a name")
        yield ToolSpec(inner["name"], str(inner.get("description") or ""), argument_schema(inner.get("parameters")))
