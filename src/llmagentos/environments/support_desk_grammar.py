"""Sentences and tool names for training, composed of parts: many that differ teach what matters in them.

In: nothing. Out: sentences of each intent in the form of `support_desk_phrasings`, and names of tools, for the training
split alone: what is held out was written by hand, without these parts.
It does not know shops, scenarios or what else training uses.
"""

from __future__ import annotations

from itertools import product


def _join(*parts: tuple[str, ...]) -> tuple[str, ...]:
    """Every combination, with single spaces between."""
    return tuple(" ".join(chosen) for chosen in product(*parts))


_ASK = ("Can you tell me", "Please tell me", "I want to know", "I'd like to hear", "Can you find out", "Please check")
_WHEREABOUTS = (
    "where the {item} is now", "when the {item} gets here", "whether the {item} is on the road",
    "why the {item} is late",
    "how long the {item} needs", "if the {item} is lost", "what keeps the {item}", "if the {item} left the store",
)  # fmt: skip
_WAITED = ("Ten days ago I bought a {item}.", "I paid for a {item}.", "I'm at home waiting for the {item}.",
           "My {item} was due on Monday.", "We still have no {item}.",
           "My daughter asks for her {item} every day.")  # fmt: skip
_AND_NOW = ("Where is it?", "Is it coming?", "How far is it?", "What happened to it?", "When will I get it?",
            "Any news?", "Is there a delay?")  # fmt: skip

_FAULT = (
    "The {item} fell apart.", "The {item} is ugly.", "My {item} is torn.", "This {item} smells bad.",
    "I never use the {item}.", "I bought the {item} too quickly.", "The {item} is too heavy.",
    "The {item} is a bad buy.",
    "My husband doesn't like the {item}.", "The {item} does nothing.", "The {item} is dirty.",
    "I have two {item}s now.",
    "The {item} is too short.", "The {item} lost its colour.", "A part of the {item} is missing.",
    "I expected more of the {item}.",
)  # fmt: skip
_MONEY = ("Give me my money.", "I want to return it.", "Take it back.", "Can I send it back?", "Please refund me.",
          "I'd like a refund.", "Pay me back.", "Refund it, please.", "I want what I paid.")  # fmt: skip

_MOVED = (
    "We have moved.", "I gave you an old street.", "I'm away next week.", "Nobody is at home.",
    "I live with my son now.",
    "My office has moved.", "The house number is wrong.", "I typed the address wrong.", "We have a new flat.",
)  # fmt: skip
_SEND = (
    "Please send the {item}< to {address}>.", "Bring the {item}< to {address}>, please.",
    "Change the address of the {item}< to {address}>.", "The {item} must go to a new place<: {address}>.",
    "Use another address for the {item}<, {address}>.", "Can you deliver the {item} elsewhere<: {address}>?",
)  # fmt: skip

_WHO = ("I", "My son", "My wife", "My mother", "A friend", "My dad", "Our baby", "My boss", "My sister")
_HARM = (
    "got burned by the {item}", "fell over the {item}", "cut a thumb on the {item}", "got hurt using the {item}",
    "had to see a doctor because of the {item}", "got sick from the {item}", "got a shock from the {item}",
    "lost a tooth because of the {item}", "got a deep wound from the {item}",
)  # fmt: skip
_US = ("I", "We", "My family", "My lawyer and I", "My husband")
_SUE = (
    "will sue you because of the {item}", "will go to court over the {item}", "will call the police about the {item}",
    "will take legal action over the {item}", "will see a lawyer about the {item}",
    "want a judge to look at the {item}",
)  # fmt: skip
_CHARGED = ("You charged me", "You billed my card", "I had to pay", "I was billed", "Your shop took my money",
            "My account was charged")  # fmt: skip
_TWICE = ("twice for the {item}.", "two times for one {item}.", "double for my {item}.", "once more for the {item}.",
          "again for the {item}.")  # fmt: skip

COMPOSED: dict[str, tuple[str, ...]] = {
    "where": (
        *(f"{text}.@" for text in _join(_ASK, _WHEREABOUTS)),
        *(f"{first}@ {then}" for first, then in product(_WAITED, _AND_NOW)),
    ),
    "refund": tuple(f"{fault}@ {money}" for fault, money in product(_FAULT, _MONEY)),
    "address": tuple(f"{moved}@ {send}" for moved, send in product(_MOVED, _SEND)),
    "complaint": (
        *(f"{text}.@" for text in _join(_WHO, _HARM)),
        *(f"{text}.@" for text in _join(_US, _SUE)),
        *(f"{text}@" for text in _join(_CHARGED, _TWICE)),
    ),
}
"""By intent."""


def _names(verbs: tuple[str, ...], nouns: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{verb}_{noun}" for verb, noun in product(verbs, nouns))


COMPOSED_TOOLS: tuple[tuple[str, ...], ...] = (
    _names(("look_up", "find", "get", "see", "read", "view"), ("parcel", "package", "purchase", "delivery", "info")),
    _names(
        ("give", "return", "repay", "pay", "refund", "undo"), ("money_now", "price", "payment_now", "amount", "cash")
    ),
    _names(("set", "new", "change", "edit", "enter", "move"), ("home", "house", "destination", "place", "target")),
    _names(("call", "tell", "ask", "wake", "send_to", "pass_to"), ("boss", "expert", "team", "person", "leader")),
)
"""For status, refund, change_address and escalate."""
