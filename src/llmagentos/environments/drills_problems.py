"""The exercises of Drills-v0: sums, sorting, filtering and look-ups at four levels.

In: kind, level, split and seed. Out: a `Problem`, prompt and answer. The operands decide the split: a digest of
their multiset puts every exercise into exactly one, so that no held-out operands occur in training.
It does not know episodes or rewards.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from llmagentos.records.task import Split

Kind: TypeAlias = Literal["sum", "sort", "filter", "lookup"]

KINDS: tuple[Kind, ...] = ("sum", "sort", "filter", "lookup")
LEVELS = (1, 2, 3, 4)

NUMBER_ONLY = "Answer with the number only."
NUMBERS_ONLY = "Answer with the numbers only."

_SHARES: tuple[tuple[Split, int], ...] = (("train", 50), ("development", 10), ("gate", 20), ("report", 20))
"""Percent of all operand multisets of a kind and level that each split owns."""

_KEYS = ("red", "blue", "green", "black", "white", "pink", "brown", "gold", "grey", "lime")


@dataclass(frozen=True, slots=True)
class Problem:
    """One exercise."""

    prompt: str
    answer: str
    """One integer, or integers with single spaces between."""
    operands: str
    """The multiset of what is to be worked on, in a fixed order; exercises with equal operands share a split."""


def make_problem(kind: Kind, level: int, split: Split, seed: int) -> Problem:
    """The exercise number `seed` of `split`, the same on every machine."""
    chance = random.Random(f"Drills-v0/{kind}/{level}/{split}/{seed}")
    while True:
        problem = _MAKERS[kind](level, chance)
        if split_of(kind, level, problem.operands) == split:
            return problem


def split_of(kind: Kind, level: int, operands: str) -> Split:
    """The one split that owns these operands."""
    digest = hashlib.sha256(f"{kind}/{level}/{operands}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") % 100
    for split, share in _SHARES:
        if position < share:
            return split
        position -= share
    raise AssertionError("the shares of the splits do not add up to 100")


def _sum(level: int, chance: random.Random) -> Problem:
    terms, low, high = {1: (2, 1, 12), 2: (2, 1, 30), 3: (3, 1, 30), 4: (3, 10, 99)}[level]
    numbers = [chance.randint(low, high) for _ in range(terms)]
    return Problem(f"Add: {' + '.join(map(str, numbers))}. {NUMBER_ONLY}", str(sum(numbers)), _multiset(numbers))


def _sort(level: int, chance: random.Random) -> Problem:
    numbers = _distinct(level, chance)
    backwards = level == 4 and chance.random() < 0.5
    order = "largest first" if backwards else "smallest first"
    answer = sorted(numbers, reverse=backwards)
    return Problem(f"Sort, {order}: {_join(numbers)}. {NUMBERS_ONLY}", _join(answer), _multiset(numbers))


def _filter(level: int, chance: random.Random) -> Problem:
    numbers = _distinct(level, chance)
    limit = chance.choice(sorted(numbers)[:-1])  # at least one number is above
    rules: list[tuple[str, Callable[[int], bool]]] = [(f"above {limit}", lambda number: number > limit)]
    if level >= 3:
        top = max(numbers)
        rules.append((f"below {top}", lambda number: number < top))
    if level == 4 and any(number % 2 for number in numbers):
        rules.append(("that are odd", lambda number: number % 2 == 1))
    words, keep = chance.choice(rules)
    answer = [number for number in numbers if keep(number)]
    return Problem(f"Keep the numbers {words}: {_join(numbers)}. {NUMBERS_ONLY}", _join(answer), _multiset(numbers))


def _lookup(level: int, chance: random.Random) -> Problem:
    count, high = {1: (3, 9), 2: (4, 99), 3: (6, 99), 4: (4, 99)}[level]
    keys = chance.sample(_KEYS, count)
    values = [chance.randint(1, high) for _ in keys]
    pairs = [f"{key} = {value}" for key, value in zip(keys, values, strict=True)]
    asked = chance.randrange(count)
    wanted = keys[asked]
    operands = "|".join(sorted(pairs))
    if level == 4:  # two steps: a letter names the colour whose number is asked
        letters = chance.sample("ABCD", count)
        pairs += [f"{letter} = {key}" for letter, key in zip(letters, keys, strict=True)]
        wanted = letters[asked]
    chance.shuffle(pairs)
    return Problem(f"{', '.join(pairs)}. What is {wanted}? {NUMBER_ONLY}", str(values[asked]), operands)


def _distinct(level: int, chance: random.Random) -> list[int]:
    count, high = {1: (3, 15), 2: (4, 30), 3: (5, 99), 4: (7, 99)}[level]
    return chance.sample(range(1, high + 1), count)


def _join(numbers: list[int]) -> str:
    return " ".join(map(str, numbers))


def _multiset(numbers: list[int]) -> str:
    return _join(sorted(numbers))


_MAKERS: dict[Kind, Callable[[int, random.Random], Problem]] = {
    "sum": _sum,
    "sort": _sort,
    "filter": _filter,
    "lookup": _lookup,
}
