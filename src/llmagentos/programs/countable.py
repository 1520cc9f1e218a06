"""Calls that can be counted: tools of which every argument has a few values.

In: the grammar of a reply. Out: all that can be replied under it, where that can be counted.
It does not know who replies, nor what a tool does.
"""

from __future__ import annotations

import json
from functools import lru_cache
from itertools import product

from llmagentos.programs.constraining import calls_of
from llmagentos.programs.parsing import render_call
from llmagentos.programs.replies import MOST, listed
from llmagentos.records.generation import Grammar
from llmagentos.records.identity import JSON
from llmagentos.records.message import ToolCall


@lru_cache(maxsize=256)
def said_under(grammar: Grammar) -> tuple[str, ...]:
    """All replies of a regular expression (see `replies.listed`), or all calls of tools, without arguments that may be
    left out; nothing where they are more than `MOST` or one of the tools takes what cannot be counted.

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


def _arguments(schema: JSON) -> list[dict[str, JSON]] | None:
    """All arguments that a schema of an object allows; None where they cannot be counted."""
    if not isinstance(schema, dict) or schema.get("additionalProperties") is not False:
        return None  # anything may be given, as where a grammar cannot follow a schema
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if not isinstance(properties, dict) or not isinstance(required, list):
        return None
    needed = [str(name) for name in properties if name in required]
    if len(needed) < len(required) or any(key in schema for key in ("anyOf", "oneOf", "allOf", "$ref", "not", "if")):
        return None
    ways = [_values(properties[name]) for name in needed]
    count = 1
    for values in ways:
        count *= len(values)
    if not 0 < count <= MOST:
        return None
    return [dict(zip(needed, values, strict=True)) for values in product(*ways)]


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
    if schema.get("type") == "integer" and isinstance(low, int) and isinstance(high, int) and high - low < MOST:
        return list(range(low, high + 1))
    return []
