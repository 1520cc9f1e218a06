"""The scripted customer: gives what was left out when asked for it, and nothing else.

In: the agent's plain messages. Out: the customer's answer, or None when the message closes the conversation.
It does not know the database nor what the agent ought to do.
"""

from __future__ import annotations

import re

from llmagentos.environments.support_desk_scenario import Missing, Scenario

READ_CHARACTERS = 1000
"""A customer reads no further; keeps a step's cost independent of the message's length."""

_ABOUT = {
    "address": re.compile(r"\b(address|street|where to|live|moving to|send it to)\b", re.IGNORECASE),
    "order": re.compile(r"\b(order|number|which|reference|id)\b", re.IGNORECASE),
}
_ASKING = re.compile(r"\?|\b(please|need|tell me|give me|provide|share|send me|let me know)\b", re.IGNORECASE)


class Customer:
    """One customer in one conversation."""

    def __init__(self, scenario: Scenario) -> None:
        self._answers = {"order": scenario.order_answer, "address": scenario.address_answer}
        self.missing: Missing = scenario.missing

    def answer(self, message: str) -> str | None:
        """The reply to a plain message; None when it asks for nothing and so ends the conversation."""
        text = message[:READ_CHARACTERS]
        missing = self.missing
        if missing and _ASKING.search(text) and _ABOUT[missing].search(text):
            self.missing = ""
            return self._answers[missing]
        if "?" not in text:
            return None
        if any(about.search(text) for about in _ABOUT.values()):
            return "I told you already."
        return "Please just handle my request."
