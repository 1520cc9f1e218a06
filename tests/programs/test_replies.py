"""Replies that can be counted are told one by one."""

from __future__ import annotations

import re
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmagentos.programs.replies import MOST, listed


@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=8))
def test_a_list_of_texts_is_read_back(texts: list[str]) -> None:
    assert listed("|".join(map(re.escape, texts))) == tuple(dict.fromkeys(texts))


PIECES = [
    "a",
    "b|c",
    "(a|bc)",
    "(?:a|b)",
    "[ab]",
    "[a-c]",
    r"\d",
    "[ab]{2}",
    r"[a\u0062]",
    "(a|b){0,2}",
    r"\[",
    "-",
    "[a-]",
]


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=3).map("".join))
def test_what_is_listed_is_all_that_matches(pattern: str) -> None:
    letters = "abc[-0123456789"
    short = ("".join(word) for length in (1, 2, 3) for word in product(letters, repeat=length))
    found = listed(pattern)
    assert len(found) == len(set(found)) <= MOST
    assert all(re.fullmatch(pattern, text) for text in found)
    if found:
        assert set(found) >= {text for text in short if re.fullmatch(pattern, text)}


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        (r"\[([ABC]) ?,? ?([ABC])\]", 9),
        (r"[ab\u0020]{2}", 9),
        (r"\[([01]), ([01])\]", 4),
        ("0|1|2", 3),
        (r"\[ ?(up|down) ?\]", 2),
    ],
)
def test_moves_of_games_and_actions_are_counted(pattern: str, count: int) -> None:
    assert len(listed(pattern)) == count


UNCOUNTED = [
    "",
    r"\[[0-9]+\]",
    "do.n",
    "a*",
    r"\w|a",
    "a$",
    "[^a]",
    "(?i:a)",
    r"\u00",
    "(a",
    "a)",
    "[a",
    "a{2,}",
    "a{x}",
    "a{999999999}",
    "(" * 99999,
]


@pytest.mark.parametrize("pattern", [*UNCOUNTED, "[0-9]{2}", r"(a)\1", "\\"])
def test_other_patterns_are_not_counted(pattern: str) -> None:
    assert listed(pattern) == ()


def test_too_many_are_not_counted() -> None:
    many = [f"word{number}" for number in range(MOST + 1)]
    assert listed("|".join(many)) == ()
    assert listed("|".join(many[1:])) == tuple(many[1:])
