"""Policies that need no model: the expert, and three simple ones that show what a score means.

In: a scenario for the expert, only the customer's words for the others. Out: functions observation -> action,
fresh for every task. It does not know the database.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from llmagentos.environments.language import Policy
from llmagentos.environments.support_desk_phrasings import Intent
from llmagentos.environments.support_desk_scenario import Scenario
from llmagentos.programs.parsing import render_call
from llmagentos.records.message import ToolCall

ASK_ORDER = "What is your order number?"
ASK_ADDRESS = "What is the new address?"
CLOSINGS = {
    "refund": "Your refund is on its way.",
    "change": "Your address is changed.",
    "escalate": "A colleague will call you.",
}

TOPICS: dict[Intent, str] = {"where": "state", "refund": "refund", "address": "address", "complaint": "complaint"}
"""What an order is looked up for."""

_NUMBER = re.compile(r"\b\d{4}\b")
_ADDRESS = re.compile(r"\b\d{1,2} [A-Z]\w+ [A-Z]\w+")


def expert_calls(scenario: Scenario) -> list[ToolCall]:
    """The tool calls that handle `scenario` rightly, in order."""
    status, refund, change, escalate = scenario.tools
    order = scenario.order.number
    last = {
        "refund": ToolCall(refund, {"order": order}),
        "change": ToolCall(change, {"order": order, "address": scenario.address}),
        "escalate": ToolCall(escalate, {"order": order}),
    }.get(scenario.outcome)
    look_up = ToolCall(status, {"order": order, "topic": TOPICS[scenario.intent]})
    return [look_up, last] if last else [look_up]


def expert_closing(scenario: Scenario) -> str:
    """The message with which the expert ends the conversation."""
    return CLOSINGS.get(scenario.outcome) or f"Your order is {scenario.order.state}."


def expert_policy(scenario: Scenario) -> Policy:
    """The perfect policy for one scenario: asks for what is missing, looks up, acts, closes."""
    asks = {"order": [ASK_ORDER], "address": [ASK_ADDRESS]}.get(scenario.missing, [])
    actions = iter([*asks, *(render_call(call) for call in expert_calls(scenario)), expert_closing(scenario)])
    return lambda observation: next(actions, "Goodbye.")


def do_nothing() -> Policy:
    """Says goodbye at once."""
    return lambda observation: "Thank you, goodbye."


def always_escalate() -> Policy:
    """Hands every order to a human; asks for the number where it was left out."""
    return _from_script(_always_escalate)


def keyword_rule() -> Policy:
    """Decides by the customer's words alone: no policy, no return window, the tools by their usual names."""
    return _from_script(_keyword_rule)


BASELINES: dict[str, Callable[[], Policy]] = {
    "do nothing": do_nothing,
    "always escalate": always_escalate,
    "keyword rule": keyword_rule,
}


def _from_script(script: Callable[[list[str]], Iterator[str]]) -> Policy:
    """A policy that runs a generator which sees all observations so far in the list it is given."""
    heard: list[str] = []
    actions = script(heard)

    def act(observation: str) -> str:
        heard.append(observation)
        return next(actions, "Goodbye.")

    return act


def _find_order(heard: list[str]) -> Iterator[str]:
    if not _NUMBER.search(heard[-1]):
        yield ASK_ORDER


def _number(heard: list[str]) -> str:
    found = [match.group() for text in heard if (match := _NUMBER.search(text))]
    return found[0] if found else "0"


def _always_escalate(heard: list[str]) -> Iterator[str]:
    yield from _find_order(heard)
    yield render_call(ToolCall("escalate", {"order": _number(heard)}))
    yield CLOSINGS["escalate"]


def _keyword_rule(heard: list[str]) -> Iterator[str]:
    request = heard[0].lower()
    yield from _find_order(heard)
    order = {"order": _number(heard)}
    if re.search(r"lawyer|court|sue|police|hurt|burn|injur|shock|twice|double|two times", request):
        yield render_call(ToolCall("escalate", order))
        yield CLOSINGS["escalate"]
    elif re.search(r"refund|money|return|pay me|paid", request):
        yield render_call(ToolCall("refund", order))
        yield CLOSINGS["refund"]
    elif re.search(r"address|moved|street|deliver|send|ship", request):
        if not any(_ADDRESS.search(text) for text in heard):
            yield ASK_ADDRESS
        found = [match.group() for text in heard if (match := _ADDRESS.search(text))]
        yield render_call(ToolCall("change_address", {**order, "address": found[0] if found else ""}))
        yield CLOSINGS["change"]
    else:
        yield render_call(ToolCall("status", {**order, "topic": "state"}))
        state = re.search(r"packed|shipped|delayed|delivered", heard[-1])
        yield f"Your order is {state.group() if state else 'shipped'}."
