"""A tool is one short line that says what its arguments are, and of which types, however those are written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from llmagentos.programs.opening import system_text
from llmagentos.programs.tool_text import ABOUT_CHARACTERS, describe_tool, shorten
from llmagentos.records.identity import JSON
from llmagentos.records.message import ToolSpec
from llmagentos.tools.tool import Tool


@dataclass
class Address:
    """A place."""

    street: str
    number: int = 1


def send(
    to: Address,
    when: int | None = None,
    how: Literal["road", "air"] = "road",
    stops: list[Address] | None = None,
    weight: float | str = 1,
    marks: dict[str, int] | None = None,
) -> str:
    """Send it.

    Args:
        to: where it goes
        when: minutes from now
    """
    return f"{to}{when}{how}{stops}{weight}{marks}"


def one(schema: JSON, **root: JSON) -> str:
    """The line of a tool with one argument, which must be given."""
    return describe_tool(ToolSpec("f", "", {"properties": {"x": schema}, "required": ["x"], **root}))


def test_tools_are_written_in_one_short_line() -> None:
    refund = ToolSpec("refund", "pay the money back.", {"properties": {"order": {}}, "required": ["order"]})
    assert describe_tool(refund) == "pay the money back: refund(order)"
    properties = {
        "n": {"type": "integer"},
        "unit": {"enum": ["c", "f"]},
        "l": {"type": "array", "items": {"type": "number"}},
    }
    typed = ToolSpec("f", "", {"properties": properties, "required": ["n"]})
    assert describe_tool(typed) == "f(n: integer, unit?: c|f, l?: list of number)"
    assert system_text("", ()) == ""


def test_arguments_of_a_function_are_told_as_they_are_typed() -> None:
    assert describe_tool(Tool.of(send).spec) == (
        "Send it: send(to: {street, number?: integer} (where it goes), when?: integer (minutes from now), "
        "how?: air|road, stops?: list of {street, number?: integer}, weight?: number|string, marks?: object)"
    )


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({}, "f(x)"),
        (True, "f(x: anything)"),
        ({"type": "string"}, "f(x)"),
        ({"type": ["integer", "null"]}, "f(x: integer)"),
        ({"type": "array"}, "f(x: list of anything)"),
        ({"type": "array", "items": {"type": "string"}}, "f(x: list of string)"),
        ({"type": "array", "items": {"enum": [1, 2]}}, "f(x: list of 1|2)"),
        ({"const": "yes"}, "f(x: yes)"),
        ({"oneOf": [{"type": "integer"}, {"type": "integer"}, {"type": "null"}]}, "f(x: integer)"),
        ({"anyOf": [{"type": "null"}]}, "f(x: anything)"),
        ({"type": "object"}, "f(x: object)"),
        ({"type": "object", "properties": {"a": {"type": "object", "properties": {"b": {}}}}}, "f(x: {a?: {b?}})"),
        ({"$ref": "#/$defs/gone"}, "f(x: anything)"),
        ({"type": 3}, "f(x: anything)"),
        ({"enum": 3, "anyOf": {}, "type": "object", "properties": []}, "f(x: object)"),
        ({"$ref": "https://elsewhere"}, "f(x: anything)"),
    ],
)
def test_every_type_has_a_short_name(schema: JSON, said: str) -> None:
    assert one(schema) == said


def test_references_are_followed_and_those_without_an_end_are_not() -> None:
    tree: JSON = {"type": "object", "properties": {"next": {"$ref": "#/$defs/tree"}}}
    assert one({"$ref": "#/$defs/tree"}, **{"$defs": {"tree": tree}}) == "f(x: {next?: {next?: {next?: object}}})"
    several: JSON = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"$ref": "#/$defs/any"}}]}
    assert one({"$ref": "#/$defs/any"}, **{"$defs": {"any": several}}) == "f(x: string|list of string|array)"
    lists: JSON = {"type": "array", "items": {"$ref": "#/$defs/lists"}}
    assert one({"$ref": "#/$defs/lists"}, **{"$defs": {"lists": lists}}) == f"f(x: {'list of ' * 3}array)"
    assert one({"$ref": "#/$defs/a"}, **{"$defs": {"a": {"$ref": "#/$defs/a"}}}) == "f(x: anything)"
    assert one({"$ref": "#/$defs/a~1b"}, **{"$defs": {"a/b": {"type": "number"}}}) == "f(x: number)"


def _described(name: str, about: object) -> ToolSpec:
    properties = {"day": {"type": "string", "description": about}, "count": {"type": "integer"}}
    return ToolSpec(name, "Book a table.", {"properties": properties, "required": ["day"]})


def test_arguments_say_what_they_are_in_few_words() -> None:
    tool = _described("book", "The day,\n as YYYY-MM-DD.")
    assert describe_tool(tool) == "Book a table: book(day (day, as YYYY-MM-DD), count?: integer)"
    assert describe_tool(tool, about=False) == "Book a table: book(day, count?: integer)"
    for nothing in ("", " . ", "The day.", None, 3):
        assert describe_tool(_described("book", nothing)) == "Book a table: book(day, count?: integer)"
    cut = describe_tool(_described("book", "word " * 100))
    assert "(word word" in cut
    assert len(cut) < ABOUT_CHARACTERS + 60


def test_many_tools_with_long_descriptions_are_not_told_what_their_arguments_are() -> None:
    few = [_described(f"t{n}", "the day on which the guests come") for n in range(20)]
    assert system_text("", few).count("the day on which the guests come") == 20
    many = [_described(f"t{n}", "the day on which the guests come") for n in range(200)]
    assert "guests" not in system_text("", many)
    assert "t199(day, count?: integer)" in system_text("", many)


def test_text_is_cut_after_a_word() -> None:
    assert shorten("one  two\nthree.", 80) == "one two three"
    assert shorten("one two three", 9) == "one two"
    assert shorten("", 9) == ""
