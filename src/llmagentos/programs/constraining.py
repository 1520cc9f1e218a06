"""The grammar of a reply that is a well-formed call of one of the tools, or words.

In: specifications of tools. Out: a grammar that engines hold replies to; `parsing.parse_call` reads what follows it.
It does not know how tokens are drawn.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from llmagentos.records.generation import Grammar
from llmagentos.records.identity import JSON
from llmagentos.records.message import ToolSpec

_AS_WE_WRITE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""Calls are held to the one spelling that prompts show and demonstrations have (`parsing.render_call`)."""
_TEMPLATE = """start: CALLS | WORDS
WORDS: /\\s*[^{\\s](.|\\n)*/
"""


def call_grammar(tools: Sequence[ToolSpec]) -> Grammar:
    """A call `{"tool": {"argument": value}}` with the arguments that the tool's schema allows, or words.

    Arguments that a schema does not name are not allowed unless it says so itself.
    """
    calls: list[JSON] = [_exactly({tool.name: {"additionalProperties": False, **tool.parameters}}) for tool in tools]
    schema = {"x-guidance": _AS_WE_WRITE, "anyOf": calls}
    return Grammar("lark", _TEMPLATE.replace("CALLS", f"%json {json.dumps(schema)}"))


def _exactly(properties: dict[str, JSON]) -> JSON:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
