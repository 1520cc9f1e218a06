"""The grammar of a reply that is a well-formed call of one of the tools, or words.

In: specifications of tools. Out: a grammar that engines hold replies to; `parsing.parse_call` reads what follows it.
It does not know how tokens are drawn.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from llmagentos.programs.parsing import render_call
from llmagentos.records.generation import Grammar
from llmagentos.records.identity import JSON
from llmagentos.records.message import ToolCall, ToolSpec

if TYPE_CHECKING:
    from llguidance import LLTokenizer

_AS_WE_WRITE = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    "lenient": True,
    "coerce_one_of": True,
}
"""Calls are held to the one spelling that prompts show and demonstrations have (`parsing.render_call`), and to as much
of a schema as a grammar can say: not, for one, that the items of an array differ."""
_ANY_NAME = "tool"
_BEGINS = "start: %json "
_OR_WORDS = """ | WORDS
WORDS: /\\s*[^{\\s](.|\\n)*/
"""


def call_grammar(tools: Sequence[ToolSpec], *, words: bool = True) -> Grammar:
    """A call `{"tool": {"argument": value}}` with the arguments that the tool's schema allows, or `words`.

    Arguments that a schema does not name are not allowed unless it says so itself. A schema that no grammar can follow,
    such as one with a reference to another document, allows any arguments: the tool itself says what is wrong then.
    """
    return _grammar([_call(tool, at) for at, tool in enumerate(tools)], _OR_WORDS if words else "")


def calls_of(grammar: Grammar) -> list[tuple[str, JSON]]:
    """Each tool that can be called under a `call_grammar`, with the schema of its arguments; none of another one."""
    begins, _, after = grammar.text.partition(_BEGINS)
    if grammar.kind != "lark" or begins or not after:
        return []
    schema, _ = json.JSONDecoder().raw_decode(after)
    return [next(iter(call["properties"].items())) for call in schema["anyOf"]]


def _grammar(calls: list[JSON], or_words: str = _OR_WORDS) -> Grammar:
    schema = {"x-guidance": _AS_WE_WRITE, "anyOf": calls}
    return Grammar("lark", f"{_BEGINS}{json.dumps(schema)}{or_words}")


def _call(tool: ToolSpec, at: int) -> JSON:
    """The schema of a call of `tool`, which stands at place `at` of all."""
    arguments = {"additionalProperties": False, **tool.parameters}
    checked = _exactly({_ANY_NAME: _moved(arguments, _pointer(_ANY_NAME, 0))})  # tools with alike arguments: once
    if not _followed(json.dumps(checked)):
        return _exactly({tool.name: {"type": "object"}})
    return _exactly({tool.name: _moved(arguments, _pointer(tool.name, at))})


def _pointer(name: str, at: int) -> str:
    """Where the schema of a tool's arguments lies in that of all calls (RFC 6901)."""
    return f"#/anyOf/{at}/properties/{name.replace('~', '~0').replace('/', '~1')}"


def _moved(schema: JSON, pointer: str) -> JSON:
    """The schema with its references into itself leading to where it lies now."""
    if isinstance(schema, list):
        return [_moved(one, pointer) for one in schema]
    if not isinstance(schema, dict):
        return schema
    moved = {key: _moved(value, pointer) for key, value in schema.items()}
    target = moved.get("$ref")
    if isinstance(target, str) and target.startswith("#"):
        moved["$ref"] = pointer + target[1:]
    return moved


def sayable(tool: ToolSpec, arguments: dict[str, JSON]) -> bool:
    """Whether a reply that is held to a tool's schema can be the call with these arguments, in this order."""
    from llguidance import LLMatcher

    matcher = LLMatcher(_bytes(), LLMatcher.grammar_from_lark(call_grammar([tool]).text))
    text = render_call(ToolCall(tool.name, arguments)).encode("utf-8", "replace")
    return bool(matcher.consume_tokens(list(text)) and matcher.is_accepting())


@lru_cache(maxsize=1)
def _bytes() -> LLTokenizer:
    """A tokenizer whose tokens are bytes: what a grammar allows does not depend on a model's."""
    from llguidance import LLTokenizer

    return LLTokenizer("byte")


@lru_cache(maxsize=4096)
def _followed(call: str) -> bool:
    """Whether a grammar can follow the schema of a call."""
    from llguidance import LLMatcher

    return not LLMatcher.validate_grammar(LLMatcher.grammar_from_lark(_grammar([json.loads(call)]).text))


def _exactly(properties: dict[str, JSON]) -> JSON:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
