"""The leaderboard's matching rules, by hand-made cases."""

from __future__ import annotations

from typing import Any

import pytest

from llmagentos.environments.function_matching import example, mismatch, plain_text


def fits(value: Any, kind: str, allowed: list[Any], items: str | None = None) -> bool:
    described: dict[str, Any] = {"type": kind} | ({"items": {"type": items}} if items else {})
    return not mismatch({"x": value}, {"properties": {"x": described}, "required": ["x"]}, {"x": allowed})


@pytest.mark.parametrize(
    ("value", "kind", "allowed", "right"),
    [
        (5, "integer", [5], True),
        (6, "integer", [5], False),
        (5.0, "integer", [5], False),
        ("5", "integer", [5], False),
        (True, "integer", [1], False),
        (5, "float", [5.0], True),
        (5.0, "float", [5.0], True),
        (5.5, "float", [5.0, 5.5], True),
        ("5.0", "float", [5.0], False),
        (10**400, "float", [1.0], False),
        (True, "boolean", [True], True),
        (1, "boolean", [True], False),
        ("true", "boolean", [True], False),
        ("April 1, 2024", "string", ["april 1 2024"], True),
        ("New York, NY", "string", ["New York", "new york ny"], True),
        ("Boston", "string", ["New York"], False),
        (3, "string", ["3"], False),
        ("it's", "string", ['it"s'], True),
        ("deposit", "float", ["deposit", ""], True),  # a variable's name stands for the value
        ("Deposit", "float", ["deposit"], False),  # and is compared as it stands
        (None, "string", ["a"], False),
        ({}, "dict", [""], False),
    ],
)
def test_simple_value_is_judged_by_type_and_allowed_values(
    value: Any, kind: str, allowed: list[Any], right: bool
) -> None:
    assert fits(value, kind, allowed) is right


@pytest.mark.parametrize(
    ("value", "items", "allowed", "right"),
    [
        ([1, 2], "integer", [[1, 2]], True),
        ([2, 1], "integer", [[1, 2]], False),
        ([1, 2], "integer", [[2, 1], [1, 2]], True),
        (["New York"], "string", [["new york"]], True),
        (["a", 1], "string", [["a", "b"]], False),
        ([1, 2], "float", [[1, 2]], True),  # an integer where the answer itself has integers
        ([1, 2], "float", [[1.5, 2.0]], False),
        ("[1, 2]", "integer", [[1, 2]], False),
        ([], "integer", [[1], ""], True),  # the leaderboard takes an empty list for a left-out one
        ([[1]], "array", [[[1]]], True),
    ],
)
def test_list_is_judged_in_order(value: Any, items: str, allowed: list[Any], right: bool) -> None:
    assert fits(value, "array", allowed, items) is right


@pytest.mark.parametrize(
    ("value", "right"),
    [
        ({"min": 1, "city": "new-york"}, True),
        ({"min": 1}, True),
        ({"city": "New York"}, False),
        ({"min": 1, "max": 2}, False),
        ({"min": 2}, False),
        ({}, False),
    ],
)
def test_object_may_leave_out_only_what_is_optional(value: Any, right: bool) -> None:
    assert fits(value, "dict", [{"min": [1], "city": ["New York", ""]}]) is right


def test_objects_in_a_list_keep_their_order_and_number() -> None:
    allowed = [[{"field": ["age"]}, {"field": ["job"]}]]
    assert fits([{"field": "age"}, {"field": "job"}], "array", allowed, "dict")
    assert not fits([{"field": "job"}, {"field": "age"}], "array", allowed, "dict")
    assert not fits([{"field": "age"}], "array", allowed, "dict")
    assert not fits(["age", "job"], "array", allowed, "dict")


def test_arguments_are_required_optional_or_unexpected() -> None:
    parameters = {"properties": {"a": {"type": "integer"}, "b": {"type": "string"}}, "required": ["a"]}
    allowed = {"a": [1], "b": ["x", ""]}
    assert mismatch({"a": 1}, parameters, allowed) == ""
    assert mismatch({"a": 1, "b": "X"}, parameters, allowed) == ""
    assert "a is missing" in mismatch({"b": "x"}, parameters, allowed)
    assert "b has another value" in mismatch({"a": 1, "b": "y"}, parameters, allowed)
    assert "c is unexpected" in mismatch({"a": 1, "c": 2}, parameters, allowed)
    assert "b is missing" in mismatch({"a": 1}, parameters, {"a": [1], "b": ["x"]})


def test_example_leaves_out_what_is_optional_and_fits() -> None:
    parameters = {
        "properties": {"a": {"type": "integer"}, "b": {"type": "string"}, "c": {"type": "dict"}},
        "required": ["a"],
    }
    allowed = {"a": ["", 1], "b": ["x", ""], "c": [{"k": ["", "v"], "m": [2]}]}
    call = example(parameters, allowed)
    assert call == {"a": 1, "c": {"m": 2}}
    assert mismatch(call, parameters, allowed) == ""


def test_plain_text_ignores_case_blanks_and_light_punctuation() -> None:
    assert plain_text("St. John's-Road/5_a*b^c, D") == 'stjohn"sroad5abcd'
