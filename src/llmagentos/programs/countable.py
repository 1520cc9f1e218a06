"""Replies that can be counted, as every argument of a call has a few values, and those that chance makes by quoting.

In: the grammar of a reply, and what was read. Out: all that can be replied under it, where that can be counted; else
one call, with texts and numbers that stand in what was read, or one reply that stands there.
It does not know who replies, nor what a tool does.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from functools import lru_cache
from itertools import product
from operator import ge, gt, le, lt
from typing import TypeAlias

from llmagentos.programs.constraining import calls_of
from llmagentos.programs.parsing import render_call
from llmagentos.programs.quoting import quotable, quote, quote_form
from llmagentos.programs.replies import MOST, listed
from llmagentos.records.generation import Grammar
from llmagentos.records.identity import JSON
from llmagentos.records.message import ToolCall

Ways: TypeAlias = list[tuple[str, list[JSON] | dict[str, JSON]]]
"""Of each argument its values, or the schema of what is to be quoted."""
_SAYS_MORE = {"pattern", "format", "enum", "multipleOf", "anyOf", "oneOf", "allOf", "not", "$ref"}
"""Of an argument's schema what a quoted value might not meet and is not looked at."""
_LENGTHS = {"minLength": ge, "maxLength": le}
_NUMBERS = {"minimum": ge, "exclusiveMinimum": gt, "maximum": le, "exclusiveMaximum": lt}
"""How a text's length and a number are bounded by a schema."""
_BOUNDS_MORE = {"exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
"""Of a whole number's schema what leaves out some of its range."""


@lru_cache(maxsize=256)
def said_under(grammar: Grammar) -> tuple[str, ...]:
    """All replies of a regular expression (see `replies.listed`), or all calls of tools, without arguments that may be
    left out where a schema says which may not; nothing where they are more than `MOST` or one of the tools takes what
    cannot be counted.

    Counted are arguments that are one of some values (`enum`, `const`), true or false, or a whole number in a range.
    """
    if grammar.kind == "regex":
        return listed(grammar.text)
    found: dict[str, None] = {}
    for name, schema in calls_of(grammar):
        calls = _arguments(schema)
        if calls is None or len(found) + len(calls) > MOST:
            return ()
        found |= dict.fromkeys(render_call(ToolCall(name, arguments)) for arguments in calls)
    return tuple(found)


def tools_under(grammar: Grammar) -> tuple[str, ...]:
    """The tools that can be called, whatever they take; none where they are more than `MOST`."""
    names = tuple(name for name, _ in calls_of(grammar))
    return names if len(names) <= MOST else ()


def quoting_under(grammar: Grammar) -> bool:
    """Whether chance can reply by quoting: in a form, or with calls of tools of which some take what cannot be
    counted."""
    if said_under(grammar):
        return False
    return bool(grammar.text) if grammar.kind == "regex" else any(ways is not None for _, ways in _ways(grammar))


def quoted_under(grammar: Grammar, read: Iterable[str], chance: random.Random) -> str:
    """What stands in what was `read` and is in the form of a reply, or a call of a tool, each as likely, with values
    that a schema lists or that stand there; "" where there is none, or the tool takes something else."""
    if grammar.kind == "regex":
        return quote_form(grammar.text, read, chance)
    name, ways = chance.choice(_ways(grammar))
    if ways is None:
        return ""
    texts = list(read)
    arguments: dict[str, JSON] = {}
    for key, way in ways:
        value = chance.choice(way) if isinstance(way, list) else quote(str(way["type"]), texts, chance)
        if isinstance(way, dict) and not _fits(way, value):
            return ""
        arguments[key] = value
    return render_call(ToolCall(name, arguments))


@lru_cache(maxsize=256)
def _ways(grammar: Grammar) -> tuple[tuple[str, Ways | None], ...]:
    """Each tool with what its arguments may be."""
    return tuple((name, _quoted(schema)) for name, schema in calls_of(grammar))


def _quoted(schema: JSON) -> Ways | None:
    """What each argument may be; None where one can neither be counted nor quoted."""
    needed, ways = _needed(schema), Ways()
    for name, argument in needed or ():
        values = _values(argument)
        if values:
            ways.append((name, values))
        elif isinstance(argument, dict) and not _SAYS_MORE & set(argument) and quotable(str(argument.get("type"))):
            ways.append((name, argument))
        else:
            return None
    return None if needed is None else ways


def _fits(schema: dict[str, JSON], value: JSON) -> bool:
    """Whether a quote, a text or a number, is within what its schema bounds."""
    size = len(value) if isinstance(value, str) else value
    if not isinstance(size, int | float):
        return False
    checks = _LENGTHS if isinstance(value, str) else _NUMBERS
    bounds = [(within, schema[key]) for key, within in checks.items() if key in schema]
    return all(isinstance(bound, int | float) and bool(within(size, bound)) for within, bound in bounds)


def _arguments(schema: JSON) -> list[dict[str, JSON]] | None:
    """All arguments that a schema of an object allows; None where they cannot be counted."""
    needed = _needed(schema)
    if needed is None:
        return None
    ways = [_values(argument) for _, argument in needed]
    count = 1
    for values in ways:
        count *= len(values)
    if not 0 < count <= MOST:
        return None
    return [dict(zip((name for name, _ in needed), values, strict=True)) for values in product(*ways)]


def _needed(schema: JSON) -> list[tuple[str, JSON]] | None:
    """The arguments that a schema of an object wants, all where it does not say which; None where it says more."""
    if not isinstance(schema, dict) or schema.get("additionalProperties") is not False:
        return None  # anything may be given, as where a grammar cannot follow a schema
    properties = schema.get("properties", {})
    if not isinstance(properties, dict):
        return None
    required = schema.get("required", list(properties))
    if not isinstance(required, list):
        return None
    needed = [(str(name), argument) for name, argument in properties.items() if name in required]
    if len(needed) < len(required) or any(key in schema for key in ("anyOf", "oneOf", "allOf", "$ref", "not", "if")):
        return None
    return needed


def _values(schema: JSON) -> list[JSON]:
    """All values that a schema allows; none where they cannot be counted."""
    if not isinstance(schema, dict):
        return []
    if "const" in schema:
        return [schema["const"]]
    if isinstance(schema.get("enum"), list):
        return list({json.dumps(value): value for value in schema["enum"]}.values())
    if schema.get("type") == "boolean":
        return [True, False]
    low, high = schema.get("minimum"), schema.get("maximum")
    if (
        not _BOUNDS_MORE & set(schema)
        and schema.get("type") == "integer"
        and isinstance(low, int)
        and isinstance(high, int)
        and high - low < MOST
    ):
        return list(range(low, high + 1))
    return []
