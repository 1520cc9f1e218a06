"""How a run opens: the system message, worked examples and the first thing seen.

In: an `Observation`, examples and a person's goal. Out: the messages of the first `Generate`.
Every token here is paid for in every run, so the tools are written compactly.
It does not know tokens or chat formats.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmagentos.programs.tool_text import about_length, describe_tool, is_bare
from llmagentos.records.message import Message, ToolSpec

CALL_FORM = 'Call a tool as {"tool": {"argument": "value"}}, or answer in words.'

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
        about = sum(map(about_length, tools)) <= ABOUT_ALL_CHARACTERS
        bare = ", ".join(describe_tool(tool) for tool in tools if is_bare(tool))
        parts += ["Tools:", *(f"- {describe_tool(tool, about=about)}" for tool in tools if not is_bare(tool))]
        parts += [f"- {bare}", CALL_FORM] if bare else [CALL_FORM]
    return "\n".join(parts)
