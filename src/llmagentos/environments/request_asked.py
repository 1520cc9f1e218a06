"""What people ask and correct themselves: requests that stand in no file, and replies as they type them.

In: cases, tools, a person's words. Out: the split that words belong to, a reply in the form that the agent is to say.
It does not know who asks, nor what is learned from it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from llmagentos.environments.request_cases import LONGEST_REQUEST, Requests, same_words
from llmagentos.environments.request_columns import OUT_OF_SCOPE
from llmagentos.errors import ConfigError
from llmagentos.programs.parsing import parse_call
from llmagentos.records.message import ToolCall, ToolSpec
from llmagentos.records.task import Split

NEAREST = 3
"""Names that a message suggests."""


def held_out(requests: Requests) -> dict[str, Split]:
    """The split of every conversation that is not learned from, by its words."""
    return {
        same_words(turn.request for turn in case.turns): split
        for split, cases in requests.cases.items()
        if split != "train"
        for case in cases
    }


def check_asked(turns: Sequence[str], most: int) -> list[str]:
    """What a person said, turn by turn, without white space at its ends; `ConfigError` where it cannot be answered."""
    said = [turn.strip() for turn in turns]
    if not said or not all(said):
        raise ConfigError("The request is empty. Say what is wanted, as in: My card has not arrived.")
    if any(len(turn) > LONGEST_REQUEST for turn in said):
        raise ConfigError(f"The request has {max(map(len, said)):,} characters, at most {LONGEST_REQUEST:,} are read.")
    if len(said) > most:
        raise ConfigError(
            f"Conversations of this skill have at most {most} turns, this one has {len(said)}. Begin anew."
        )
    return said


def called(reply: str, tools: Sequence[ToolSpec], nothing: str, *, words: bool) -> ToolCall | str:
    """A reply that a person calls right: the call that it is or names, `nothing` for that no tool fits, else its words.

    `words` says whether answers in words can be right here. `ConfigError` for a name that no tool has, and for a name
    alone of a tool that needs arguments.
    """
    text = reply.strip()
    parsed = parse_call(text, [tool.name for tool in tools])
    if parsed.error:
        raise ConfigError(parsed.error)
    if parsed.call is not None:
        return parsed.call
    by_name = {_as_name(tool.name): tool for tool in tools}
    found = by_name.get(_as_name(text))
    if found is not None:
        needed = found.parameters.get("required")
        if isinstance(needed, list) and needed:
            form = ", ".join(f'"{name}": ...' for name in needed)
            raise ConfigError(f'{found.name} needs arguments. Write the whole call: {{"{found.name}": {{{form}}}}}')
        return ToolCall(found.name, {})
    if nothing and _as_name(text) in {_as_name(one) for one in (*OUT_OF_SCOPE, "none", nothing)}:
        return nothing
    if tools and not words:
        near = difflib.get_close_matches(_as_name(text), by_name, NEAREST)
        names = [by_name[one].name for one in near] or [tool.name for tool in tools[:NEAREST]]
        none = f" Where no tool fits, say: {nothing}" if nothing else ""
        raise ConfigError(f"There is no tool {text[:60]!r}. Some that there are: {', '.join(names)}.{none}")
    return text


def _as_name(text: str) -> str:
    return re.sub(r"\W+", "_", text.strip().lower()).strip("_")
