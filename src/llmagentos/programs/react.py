"""`react`: reason and act. The model's reply is a tool call or words; what follows is appended and it goes on.

In: an environment with tools, tools of the system, or both. Out: actions, calls and the last reply.
It does not know what the tools do, nor who reads its words.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from llmagentos.errors import EnvironmentFault
from llmagentos.programs.constraining import call_grammar
from llmagentos.programs.countable import quoted_under, said_under, tools_under
from llmagentos.programs.opening import opening
from llmagentos.programs.parsing import parse_call
from llmagentos.programs.quoting import closing_words
from llmagentos.records.calls import (
    Abstention,
    Act,
    CallTool,
    Classify,
    Exploration,
    Generate,
    Observation,
    Observe,
    Opinion,
    ProgramRun,
    Random,
    SystemCall,
)
from llmagentos.records.generation import Grammar
from llmagentos.records.identity import JSON
from llmagentos.records.message import Message, ToolSpec


def react(
    goal: str = "",
    tools: Sequence[dict[str, JSON]] = (),
    instructions: str = "",
    examples: Sequence[Sequence[str]] = (),
    constrained: bool = False,
    brief: str = "",
    abstain: dict[str, JSON] | None = None,
    classifier: str = "",
    explore: dict[str, JSON] | None = None,
) -> ProgramRun:
    """Play the environment, or reach a person's `goal` without one; returns the last reply.

    `tools` are specifications of the system's tools as JSON. `examples` are worked conversations
    `[observation, reply, observation, reply, ...]`, shown before the first observation. `constrained` keeps the model
    from saying anything but a well-formed call or words, and without tools anything but the replies that there are.
    `brief` is all that an environment's player is told in the place of instructions and tools, where the weights have
    learned them. `abstain` is an `Abstention` as JSON: what is said to an environment in the place of an unsure reply.
    `classifier` is the digest of prototypes of requests: what was right for the nearest ones is weighed against the
    first reply. `explore` is an `Exploration` as JSON: how often chance says one of the replies, or makes one of the
    calls of the environment, that there are, where they can be counted; else it says which tool is called, and now and
    then with what, quoted from what was read. What it is to `follow` is said first. What it had a say in is recorded as
    a demonstration.
    """
    own = tuple(msgspec.convert(spec, ToolSpec) for spec in tools)
    if goal:
        return (yield from _reach(goal, own, instructions, examples, constrained))
    seen = yield from Observe()
    voices = Voices(
        abstain=msgspec.convert(abstain, Abstention) if abstain else None,
        opinion=(yield from Classify(seen.text, classifier)) if classifier else None,
        explore=msgspec.convert(explore, Exploration) if explore else None,
    )
    return (yield from play(seen, own, instructions, examples, constrained, brief, voices))


@dataclass(frozen=True, slots=True)
class Voices:
    """Who has a say in what is replied, besides the model."""

    expert: Callable[[str], str] | None = None
    """Every reply is its action instead of the model's."""
    abstain: Abstention | None = None
    opinion: Opinion | None = None
    """On the first reply."""
    explore: Exploration | None = None


def play(
    seen: Observation,
    own: Sequence[ToolSpec] = (),
    instructions: str = "",
    examples: Sequence[Sequence[str]] = (),
    constrained: bool = False,
    brief: str = "",
    voices: Voices = Voices(),
) -> Generator[SystemCall[Any], Any, str]:
    """Play until the environment ends (see `react`)."""
    theirs = {tool.name for tool in seen.tools}
    system = {tool.name for tool in own} - theirs
    everything = (*seen.tools, *(tool for tool in own if tool.name in system))
    names = tuple(tool.name for tool in everything)
    first = Message("user", seen.text, outside=True)
    new = opening(instructions or seen.instructions, everything, examples, first, brief)
    told: tuple[ToolSpec, ...] | None = everything
    observation, read = seen.text, [seen.text]
    if not seen.tools:
        read.insert(0, instructions or seen.instructions)  # the rules of a game name its moves
    begun = len(read)
    replies = seen.replies if not everything else ""
    explore, opinion = voices.explore, voices.opinion
    if explore is not None and (system or (yield from _left_out(explore))):
        explore = None  # what chance would call of the system may have effects
    offered = call_grammar(seen.tools) if explore is not None and seen.tools else None
    while True:
        forced, only = voices.expert(observation) if voices.expert else None, ""
        if forced is not None:
            _check_sayable(forced, replies)
        elif explore is not None and len(read) - begun < len(explore.follow):
            forced = explore.follow[len(read) - begun]
        elif explore is not None:
            forced, only = yield from _by_chance(explore, offered or Grammar("regex", replies), read)
        reply = yield from Generate(
            new,
            tools=told,
            constrained=constrained,
            replies=replies if constrained else "",
            only=only,
            forced=forced,
            abstain=voices.abstain,
            opinion=opinion,
        )
        told = opinion = None
        call = parse_call(reply.text, names).call
        if call is not None and call.name in system:
            answer = yield from CallTool(call)
            observation = answer.error or _as_text(answer.value)
            new = (Message("tool", observation, outside=True),)
            continue
        result = yield from Act(reply.text, call)
        if result.done:
            return reply.text
        replies = replies and (result.replies or replies)
        observation = result.observation
        read.append(observation)
        new = (Message("tool" if call else "user", observation, outside=True),)


def _left_out(explore: Exploration) -> Generator[SystemCall[Any], Any, bool]:
    """Whether a run is one of those in which chance has no say."""
    return explore.runs < 1 and (yield from Random()) >= explore.runs


def _by_chance(
    explore: Exploration, held: Grammar, read: Sequence[str]
) -> Generator[SystemCall[Any], Any, tuple[str | None, str]]:
    """At a share of the turns one of all replies that are `held` to a grammar; where they cannot be counted, a call
    that quotes what was `read`, or the name of the tool to be called; now and then words that close the run. Each tool
    or reply is as likely; None and "" at the other turns, and where there is nothing to choose.

    Replies in a form that cannot be counted, where a quote is worth little beside the agent's own words, are quoted by
    chance that plays alone.
    """
    counted = said_under(held)
    choices = counted or tools_under(held)
    if not choices and (not held.text or explore.turns < 1):
        return None, ""
    drawn = yield from Random()
    if drawn >= explore.turns:
        return None, ""
    chance = random.Random(repr(drawn))
    if held.kind != "regex" and chance.random() < explore.words:
        return closing_words(read, chance), ""
    if not counted and chance.random() < explore.quoted:
        quoted = quoted_under(held, read, chance)
        if quoted:
            return quoted, ""
    if not choices:
        return None, ""
    chosen = choices[int(drawn / explore.turns * len(choices))]
    return (chosen, "") if counted else (None, chosen)


def _check_sayable(said: str, replies: str) -> None:
    """`EnvironmentFault` where an expert says what no agent there can say: it could never be learned."""
    if replies and not re.fullmatch(replies, said):
        raise EnvironmentFault(
            f"The expert says {said[:80]!r}, which is none of the replies that there are: {replies[:80]}. Let it give "
            "one of them, or let info['replies'] of the environment allow what it says."
        )


def _reach(
    goal: str, own: Sequence[ToolSpec], instructions: str, examples: Sequence[Sequence[str]], constrained: bool
) -> Generator[SystemCall[Any], Any, str]:
    """Use the system's tools until the model answers in words."""
    names = tuple(tool.name for tool in own)
    new = opening(instructions, own, examples, Message("user", goal))
    told: tuple[ToolSpec, ...] | None = tuple(own)
    while True:
        reply = yield from Generate(new, tools=told, constrained=constrained)
        told = None
        parsed = parse_call(reply.text, names)
        if parsed.is_message:
            return reply.text
        if parsed.call is None:
            new = (Message("tool", parsed.error, outside=True),)
            continue
        answer = yield from CallTool(parsed.call)
        new = (Message("tool", answer.error or _as_text(answer.value), outside=True),)


def _as_text(value: JSON) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
