"""How a tool is written for a model: one short line.

In: a tool's specification, its arguments in JSON Schema. Out: `description: name(argument, number: integer, more?)`.
Every token here is paid for in every run. Schemas come from outside too: what makes no sense in one is left out.
It does not know what stands around the line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from llmagentos.records.identity import JSON
from llmagentos.records.message import ToolSpec

ABOUT_CHARACTERS = 80
"""Longer descriptions of an argument are cut after a word."""
DEEPEST = 3
"""Types inside types that are still told; a schema may lead into itself."""
LONGEST_CHAIN = 4
"""References that lead to references."""
ANYTHING = "anything"


def describe_tool(tool: ToolSpec, *, about: bool = True) -> str:
    """`description: name(argument, number: integer, optional? (what it is))`; an argument without a type is text.

    The description stands first: a small model finds the words that it needs and copies the name that follows them.
    `about` says what each argument is where its schema does: without it nobody knows in which form a date is wanted.
    In six minutes of imitation exact calls of 116 held-out questions rose by it from 55 and 58 % (two seeds) to 61 %;
    a line for each argument gave 59 %.
    """
    arguments = _members(tool.parameters, tool.parameters, 0, about=about)
    purpose = tool.description.strip().rstrip(".")
    return (f"{purpose}: " if purpose else "") + f"{tool.name}({arguments})"


def is_bare(tool: ToolSpec) -> bool:
    """Whether a tool is a mere name."""
    return not tool.description and not _properties(tool.parameters)


def about_length(tool: ToolSpec) -> int:
    """Characters that say what the arguments are."""
    return sum(len(_about(name, schema)) for name, schema in _properties(tool.parameters).items())


def shorten(text: str, most: int) -> str:
    """`text` on one line, cut after a word where it has more than `most` characters, without a full stop."""
    line = " ".join(text.split())
    if len(line) > most:
        line = line[:most].rsplit(" ", 1)[0]
    return line.rstrip(".,;: ")


def _members(schema: Mapping[str, JSON], root: JSON, depth: int, *, about: bool = False) -> str:
    """What an object has, its optional members marked."""
    required, written = _several(schema.get("required")), []
    for name, one in _properties(schema).items():
        kind, described = _type(one, root, depth), _about(name, one) if about else ""
        written.append(f"{name}{'' if name in required else '?'}{'' if kind == 'string' else f': {kind}'}{described}")
    return ", ".join(written)


def _properties(schema: Mapping[str, JSON]) -> Mapping[str, JSON]:
    found = schema.get("properties")
    return found if isinstance(found, Mapping) else {}


def _several(value: JSON) -> Sequence[JSON]:
    return value if isinstance(value, list | tuple) else ()


def _about(name: str, schema: JSON) -> str:
    """` (what an argument is)`, one line without its full stop; empty where its schema says no more than its name."""
    described = schema.get("description") if isinstance(schema, Mapping) else None
    if not isinstance(described, str):
        return ""
    text = shorten(described.removeprefix("The "), ABOUT_CHARACTERS)
    return f" ({text})" if text and text.lower() != name.replace("_", " ").lower() else ""


def _type(schema: JSON, root: JSON, depth: int, untyped: str = "string") -> str:
    """The type of a value: a name of JSON Schema, `a|b` for choices, `list of ...`, `{member, ...}`.

    `root` is the schema that references lead into, `untyped` what a schema without a type means.
    """
    schema = _followed(schema, root)
    if not isinstance(schema, Mapping):
        return ANYTHING
    if choices := _several(schema.get("enum")):
        return _either(map(str, choices))
    if "const" in schema:
        return str(schema["const"])
    choices = _several(schema.get("anyOf") or schema.get("oneOf"))
    kind = schema.get("type", ANYTHING if choices else untyped)
    if depth == DEEPEST:
        return kind if isinstance(kind, str) else ANYTHING
    if choices:
        return _either(_type(one, root, depth + 1, ANYTHING) for one in choices if one != {"type": "null"})
    if kind == "array":
        return f"list of {_type(schema.get('items', {}), root, depth + 1, ANYTHING)}"
    if kind == "object" and _properties(schema):
        return f"{{{_members(schema, root, depth + 1)}}}"
    return kind if isinstance(kind, str) else _either(str(one) for one in _several(kind) if one != "null")


def _followed(schema: JSON, root: JSON) -> JSON:
    """The schema that a reference into `root` leads to, in its place; True, which allows anything, where it cannot."""
    for _ in range(LONGEST_CHAIN):
        target = schema.get("$ref") if isinstance(schema, Mapping) else None
        if target is None:
            return schema
        schema = root
        for part in str(target).removeprefix("#").strip("/").split("/"):
            schema = schema.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(schema, Mapping) else None
        if schema is None:
            return True
    return True


def _either(kinds: Iterable[str]) -> str:
    """Different kinds with a bar between them."""
    return "|".join(dict.fromkeys(kinds)) or ANYTHING
