"""How a run opens: the system message, worked examples and the first thing seen.

In: an `Observation`, examples and a person's goal. Out: the messages of the first `Generate`.
Every token here is paid for in every run, so the tools are written compactly.
It does not know tokens or chat formats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llmagentos.records.identity import JSON
from llmagentos.records.message import Message, ToolSpec

CALL_FORM = 'Call a tool as {"tool": {"argument": "value"}}, or answer in words.'

ABOUT_CHARACTERS = 80
"""Longer descriptions of an argument are cut after a word."""
ABOUT_ALL_CHARACTERS = 4000
"""Where the descriptions of all arguments are longer together, none is given: a thousand tokens of every prompt."""


def opening(
    instructions: str, tools: Sequence[ToolSpec], examples: Sequence[Sequence[str]], first: Message, brief: str = ""
) -> tuple[Message, ...]:
    """System message, then each example `[observation, reply, observation, reply, ...]`, then `first`.

    `brief` is said in the place of instructions and tools, for a model that has learned them.
    """
    system = brief or system_text(instructions, tools)
    messages = [Message("system", system)] if system else []
    for example in examples:
        for position, text in enumerate(example):
            messages.append(Message("assistant" if position % 2 else "user", text))
    return (*messages, first)


def system_text(instructions: str, tools: Sequence[ToolSpec]) -> str:
    """Instructions, one line for each tool and one on how to call them; tools that are mere names share a line."""
    parts = [instructions.strip()] if instructions.strip() else []
    if tools:
        said = (len(_about(*one)) for tool in tools for one in _properties(tool).items())
        about = sum(said) <= ABOUT_ALL_CHARACTERS
        bare = ", ".join(tool.name + "()" for tool in tools if _is_bare(tool))
        parts += ["Tools:", *(f"- {describe_tool(tool, about=about)}" for tool in tools if not _is_bare(tool))]
        parts += [f"- {bare}", CALL_FORM] if bare else [CALL_FORM]
    return "\n".join(parts)


def describe_tool(tool: ToolSpec, *, about: bool = True) -> str:
    """`description: name(argument, number: integer, optional? (what it is))`; an argument without a type is text.

    The description stands first: a small model finds the words that it needs and copies the name that follows them.
    `about` says what each argument is where its schema does: without it nobody knows in which form a date is wanted.
    In six minutes of imitation exact calls of 116 held-out questions rose by it from 55 and 58 % (two seeds) to 61 %;
    a line for each argument gave 59 %.
    """
    required = tool.parameters.get("required", ())
    arguments = ", ".join(
        f"{name}{'' if name in required else '?'}{_type_of(schema)}{_about(name, schema) if about else ''}"
        for name, schema in _properties(tool).items()
    )
    purpose = tool.description.strip().rstrip(".")
    return (f"{purpose}: " if purpose else "") + f"{tool.name}({arguments})"


def _is_bare(tool: ToolSpec) -> bool:
    return not tool.description and not _properties(tool)


def _properties(tool: ToolSpec) -> Mapping[str, JSON]:
    found: Mapping[str, JSON] = tool.parameters.get("properties") or {}
    return found


def _about(name: str, schema: JSON) -> str:
    """` (what an argument is)`, one line without its full stop; empty where its schema says no more than its name."""
    described = schema.get("description") if isinstance(schema, Mapping) else None
    if not isinstance(described, str):
        return ""
    text = shorten(described.removeprefix("The "), ABOUT_CHARACTERS)
    return f" ({text})" if text and text.lower() != name.replace("_", " ").lower() else ""


def shorten(text: str, most: int) -> str:
    """`text` on one line, cut after a word where it has more than `most` characters, without a full stop."""
    line = " ".join(text.split())
    if len(line) > most:
        line = line[:most].rsplit(" ", 1)[0]
    return line.rstrip(".,;: ")


def _type_of(schema: JSON) -> str:
    if not isinstance(schema, Mapping):
        return ""
    if "enum" in schema:
        return ": " + "|".join(str(value) for value in schema["enum"])
    kind = schema.get("type", "string")
    if kind == "array" and isinstance(schema.get("items"), Mapping):
        return f": list of {schema['items'].get('type', 'anything')}"
    return "" if kind == "string" else f": {kind if isinstance(kind, str) else '|'.join(kind)}"
