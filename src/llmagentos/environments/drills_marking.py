"""How a reply to a drill is marked: exactly right, right in another form, or wrong.

In: a reply, the right answer. Out: reward and strict and lenient success. Nothing but Python is needed, so that other
trainers can be given the same reward. It does not know how exercises are made.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

FORM_MISSED = 0.5
"""Most that a right answer in a wrong form is rewarded with."""
PATIENCE_WORDS = 3
"""So many needless words halve that: learning can climb to a form that is never met by chance."""
READ_CHARACTERS = 2000
"""Only the end of a longer reply is searched for numbers; keeps a step's cost independent of its length."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What a reply is worth."""

    reward: float
    success: bool
    """Whether it is the answer and nothing else."""
    lenient: bool
    """Whether the answer is what it ends with, whatever its form."""


def mark(reply: str, answer: str) -> Mark:
    """Mark a reply; numbers of the answer have single spaces between."""
    success = reply.strip() == answer
    lenient = success or last_numbers(reply, answer.count(" ") + 1) == answer
    needless = len(reply.split()) - len(answer.split())
    near = FORM_MISSED / (1 + max(0, needless) / PATIENCE_WORDS)
    return Mark(1.0 if success else near if lenient else 0.0, success, lenient)


def last_numbers(text: str, count: int) -> str:
    """The last `count` integers in `text`, with single spaces between."""
    found = re.findall(r"-?\d+", text[-READ_CHARACTERS:])
    return " ".join(number.lstrip("0") or "0" for number in found[-count:])
