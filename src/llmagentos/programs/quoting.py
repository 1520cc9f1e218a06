"""What could be quoted from texts that were read: whom or what they name, and else their words.

In: texts, such as a customer's request and what a tool said. Out: values for the arguments of a call, or a reply whose
form is known.
Where a tool takes a text or a number, what it wants was nearly always said before: the number of an order, the name of
a host. Chance that quotes is right once in a few dozen calls, where chance that spells never is.
It does not know which tool is called, nor who draws.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence

from llmagentos.records.identity import JSON

LONGEST = 60
"""Characters of a quoted text at most."""
NAMED = 0.5
"""Share of the quotes that are names, numbers and what stands in quotation marks, where there are any."""
LONGEST_TOLD, TOLD, DONE = 200, 0.5, "Done."
"""Characters of what was read last and is told on, how often it is, and what is said else."""
NUMBERS = {"integer": int, "number": float}
"""Types of a schema whose values are numbers."""

_IN_MARKS = re.compile(r'"([^"\n]*)"(\s*:)?|[“„]([^“”\n]*)[“”]')
"""What stands before a colon is none: the keys of JSON name nothing."""
_NUMBER = re.compile(r"(?<![\w.,-])(?<!\d:)-?\d+(?:\.\d+)?(?![\w-]|:\d|\.\d)")
"""No part of a time, a date or a name."""
_AROUND = ".,;:!?()[]{}<>\"'“”„‘’«»…"
_JOINED = re.compile(r"\w[@/_#:.+-]\w")
"""Within a word: an address, a host, a path."""


def quotable(kind: str) -> bool:
    """Whether values of a schema's `type` can be quoted."""
    return kind == "string" or kind in NUMBERS


def quote(kind: str, read: Iterable[str], chance: random.Random) -> JSON:
    """A value of `kind` ("string", "integer" or "number") that stands in what was `read`; None where there is none."""
    texts = list(read)
    if kind in NUMBERS:
        numbers = dict.fromkeys(text for one in texts for text in _NUMBER.findall(one))
        fitting = [text for text in numbers if kind == "number" or "." not in text]
        return _as_number(chance.choice(fitting), kind) if fitting else None
    named = list(dict.fromkeys(text for one in texts for text in names(one)))
    words = list(dict.fromkeys(text for one in texts for text in _words(one)))
    among = named if named and chance.random() < NAMED else words
    return chance.choice(among) if among else None


def quote_form(form: str, read: Iterable[str], chance: random.Random) -> str:
    """A text in this form, a regular expression, that stands in what was `read`, no part of a word; "" where there is
    none: a move that the rules of a game name, one of the labels that the instructions list."""
    try:
        whole = re.compile(rf"(?<!\w)(?:{form})(?!\w)")
    except re.error:  # what grammars allow is not all that Python reads
        return ""
    found = list(dict.fromkeys(match.group() for one in read for match in whole.finditer(one)))
    among = [text for text in found if 0 < len(text) <= LONGEST]
    return chance.choice(among) if among else ""


def closing_words(read: Sequence[str], chance: random.Random) -> str:
    """What may end a run: what was read last, as where somebody asked for it, or that all is done."""
    last = " ".join(read[-1].split()) if read else ""
    told = 0 < len(last) <= LONGEST_TOLD and last[0] not in "{["  # what begins as a call does would be read as one
    return last if told and chance.random() < TOLD else DONE


def names(text: str) -> list[str]:
    """What a text names, each once: what stands in quotation marks, words with digits or with signs within them, and
    words with a capital, neighbours as one."""
    marked = (plain or curly for plain, key, curly in _IN_MARKS.findall(text) if not key)
    found = dict.fromkeys(inside for inside in marked if inside.strip())
    together: list[str] = []
    for piece in [*text.split(), ""]:
        word = piece.strip(_AROUND)
        capital = word[:1].isupper()
        if together and (not capital or piece[:1] in _AROUND):
            found[" ".join(together)] = None
            together = []
        if capital:
            together.append(word)
            if piece[-1] in _AROUND:
                found[" ".join(together)] = None
                together = []
        elif any(map(str.isdigit, word)) or _JOINED.search(word):
            found[word] = None
    return [name for name in found if len(name) <= LONGEST]


def _words(text: str) -> list[str]:
    """All words of a text, without what stands around them."""
    return [word for piece in text.split() if (word := piece.strip(_AROUND)) and len(word) <= LONGEST]


def _as_number(text: str, kind: str) -> JSON:
    number = NUMBERS[kind](text)
    return int(number) if number == int(number) else number
