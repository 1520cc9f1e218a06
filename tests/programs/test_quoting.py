"""What texts name is found in them, and nothing else is quoted."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmagentos.programs.parsing import parse_call
from llmagentos.programs.quoting import DONE, LONGEST, closing_words, names, quotable, quote
from llmagentos.records.identity import JSON


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Users cannot reach web-42.", ["Users", "web-42"]),
        ('{"host": "db-07", "state": "disk full"}', ["db-07", "disk full"]),
        ("my order A-1001, please, for Ann Lee at ann@lee.example!", ["A-1001", "Ann Lee", "ann@lee.example"]),
        ("from New York, Boston to “old town” (Gate 7)", ["old town", "New York", "Boston", "Gate", "7"]),
        ("nothing is named here", []),
        ("", []),
    ],
)
def test_what_a_text_names(text: str, named: list[str]) -> None:
    assert names(text) == named


@given(st.text(max_size=300), st.integers())
def test_every_quote_stands_in_the_text(text: str, seed: int) -> None:
    chance = random.Random(seed)
    said = quote("string", [text], chance)
    assert said is None or (isinstance(said, str) and len(said) <= LONGEST and said in " ".join(text.split()) + text)
    assert (said is None) <= (re.search(r"\w", text) is None or max(map(len, text.split())) > LONGEST)
    number = quote("number", [text], chance)
    assert number is None or isinstance(number, int | float)


@given(st.lists(st.text(max_size=300), max_size=2), st.integers())
def test_what_closes_a_run_is_never_read_as_a_call(read: list[str], seed: int) -> None:
    said = closing_words(read, random.Random(seed))
    assert said == DONE or said == " ".join(read[-1].split())
    assert parse_call(said, ["tool"]).is_message


def draws(kind: str, text: str) -> set[JSON]:
    return {quote(kind, [text, "and later 3 more"], random.Random(seed)) for seed in range(300)}


def test_names_are_quoted_oftener_than_words_and_every_word_now_and_then() -> None:
    text = "the old lamp in room-12 is broken"
    assert draws("string", text) == {*text.split(), "and", "later", "3", "more"}
    found = [quote("string", [text], random.Random(seed)) for seed in range(300)]
    assert found.count("room-12") > 100


def test_numbers_are_of_the_kind_that_is_asked_for() -> None:
    text = "At 19:30 on 2026-01-02 web-42 lost 7.5 % and -2 in 1.0 days."
    assert draws("integer", text) == {-2, 3}
    assert draws("number", text) == {7.5, -2, 1, 3}
    assert quote("integer", ["none"], random.Random(0)) is None
    assert [quotable(kind) for kind in ("string", "integer", "number", "array", "")] == [True, True, True, False, False]
