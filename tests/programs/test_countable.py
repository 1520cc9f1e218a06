"""Calls whose arguments have a few values are told one by one."""

from __future__ import annotations

import random
from itertools import product

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmagentos.programs.constraining import call_grammar, calls_of, sayable
from llmagentos.programs.countable import quoted_under, quoting_under, said_under
from llmagentos.programs.parsing import parse_call
from llmagentos.programs.replies import MOST
from llmagentos.records.generation import Grammar
from llmagentos.records.identity import JSON
from llmagentos.records.message import ToolSpec

FEW: list[JSON] = [
    {"enum": ["on", "off"]},
    {"type": "string", "enum": ["blüh", 'a "b"', "blüh"]},
    {"enum": [1, True, None]},
    {"const": 7},
    {"type": "boolean"},
    {"type": "integer", "minimum": -1, "maximum": 2},
]
MANY: list[JSON] = [
    {"type": "string"},
    {"type": "integer", "minimum": 0},
    {"type": "number", "minimum": 0, "maximum": 1},
    {"type": "integer", "minimum": 0, "maximum": MOST},
    {"enum": []},
    {},
    True,
]


def tool(name: str, arguments: dict[str, JSON], required: list[str] | None = None, **more: JSON) -> ToolSpec:
    needed: JSON = list(arguments) if required is None else list(required)
    return ToolSpec(name, "", {"type": "object", "properties": arguments, "required": needed, **more})


@given(st.lists(st.sampled_from(FEW), max_size=3), st.lists(st.sampled_from(FEW), max_size=2))
def test_what_is_listed_can_be_said_and_is_all_that_a_schema_allows(one: list[JSON], other: list[JSON]) -> None:
    tools = [tool(name, {f"a{n}": each for n, each in enumerate(kinds)}) for name, kinds in (("x", one), ("y", other))]
    values = [None, True, False, -1, 0, 1, 2, 7, "on", "off", "blüh", 'a "b"']

    def valid(spec: ToolSpec) -> int:
        names = list(spec.parameters["properties"])  # type: ignore[call-overload,arg-type]
        drawn = (dict(zip(names, some, strict=True)) for some in product(values, repeat=len(names)))
        return sum(jsonschema.Draft202012Validator(spec.parameters).is_valid(given) for given in drawn)

    found, allowed = said_under(call_grammar(tools)), sum(map(valid, tools))
    assert len(found) == len(set(found)) == (allowed if allowed <= MOST else 0)
    for text in found:
        call = parse_call(text, ["x", "y"]).call
        assert call is not None
        assert sayable(next(one for one in tools if one.name == call.name), call.arguments)


@pytest.mark.parametrize("kind", MANY)
def test_one_tool_that_takes_anything_leaves_nothing_to_count(kind: JSON) -> None:
    assert said_under(call_grammar([tool("x", {"a": {"type": "boolean"}}), tool("y", {"a": kind})])) == ()
    optional = tool("y", {"a": kind}, required=[])
    assert said_under(call_grammar([optional])) == ('{"y": {}}',), "what may be left out is left out"


@pytest.mark.parametrize(
    "spec",
    [
        tool("x", {"a": FEW[0]}, required=["a", "b"]),
        tool("x", {"a": FEW[0]}, anyOf=[{"required": ["a"]}]),
        ToolSpec("x", "", {"$ref": "https://nowhere.example/schema"}),
    ],
)
def test_schema_that_says_more_is_not_counted(spec: ToolSpec) -> None:
    assert said_under(call_grammar([spec])) == ()


def test_more_calls_than_chance_could_try_are_not_counted() -> None:
    eight: JSON = {"enum": list(range(8))}
    assert len(said_under(call_grammar([tool("x", {"a": eight, "b": eight})]))) == MOST
    assert said_under(call_grammar([tool("x", {"a": eight, "b": eight}), ToolSpec("wait")])) == ()


def test_where_a_schema_does_not_say_what_is_needed_all_is_given() -> None:
    spec = ToolSpec("x", "", {"type": "object", "properties": {"way": {"enum": ["on", "off"]}}})
    assert said_under(call_grammar([spec])) == ('{"x": {"way": "on"}}', '{"x": {"way": "off"}}')


def test_a_call_quotes_what_was_read_and_meets_its_schema() -> None:
    text, number, way = {"type": "string"}, {"type": "integer"}, {"enum": ["up", "down"]}
    tools = [tool("move", {"host": text, "way": way, "by": number, "note": text}, ["host", "way", "by"])]
    tools += [tool("stop", {"host": text})]
    grammar = call_grammar(tools)
    assert quoting_under(grammar)
    found = {quoted_under(grammar, ["Shift web-42 by 3.", "db is down"], random.Random(seed)) for seed in range(400)}
    calls = [parse_call(one, ["move", "stop"]).call for one in found]
    assert all(call and sayable(tools[call.name == "stop"], call.arguments) for call in calls)
    assert '{"move": {"host": "web-42", "way": "up", "by": 3}}' in found
    assert '{"stop": {"host": "db"}}' in found


@given(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["string", "integer", "number"])},
        optional={
            "minLength": st.integers(0, 6),
            "maxLength": st.integers(1, 6),
            "minimum": st.integers(-3, 9),
            "maximum": st.integers(0, 9),
            "exclusiveMinimum": st.integers(-3, 9),
            "exclusiveMaximum": st.integers(0, 9),
        },
    ),
    st.integers(),
)
def test_a_quote_is_within_what_its_schema_bounds(schema: dict[str, JSON], seed: int) -> None:
    spec = tool("x", {"a": schema, "way": {"enum": ["on"]}})
    said = quoted_under(call_grammar([spec]), ["Put 3, 7.5 and -2 of room-12 to Ann Lee."], random.Random(seed))
    call = parse_call(said, ["x"]).call
    assert call is None or jsonschema.Draft202012Validator(spec.parameters).is_valid(call.arguments)
    assert (call is None) == (said == "")


def test_a_bounded_number_is_quoted() -> None:
    grammar = call_grammar([tool("pay", {"amount": {"type": "integer", "minimum": 1}})])
    assert quoting_under(grammar)
    assert {quoted_under(grammar, ["From -5 to 30."], random.Random(seed)) for seed in range(40)} == {
        "",
        '{"pay": {"amount": 30}}',
    }


@pytest.mark.parametrize(
    ("spec", "read"),
    [
        (tool("x", {"a": {"type": "string"}}), ""),
        (tool("x", {"a": {"type": "integer"}}), "no number"),
        (tool("x", {"a": {"type": "string", "pattern": "[a-z]"}}), "some words"),
        (tool("x", {"a": {"type": "array", "items": {"type": "string"}}}), "some words"),
        (ToolSpec("x", "", {"$ref": "https://nowhere.example/schema"}), "some words"),
    ],
)
def test_what_cannot_be_quoted_is_left_to_the_agent(spec: ToolSpec, read: str) -> None:
    assert quoted_under(call_grammar([spec]), [read], random.Random(0)) == ""


def test_nothing_is_quoted_where_all_can_be_counted_or_nothing_can() -> None:
    assert not quoting_under(call_grammar([tool("x", {"a": {"type": "boolean"}})]))
    assert not quoting_under(call_grammar([tool("x", {"a": {}})]))
    assert not quoting_under(Grammar("regex", "yes|no"))
    assert not quoting_under(Grammar("regex", ""))


def test_a_reply_in_a_form_quotes_what_was_read() -> None:
    rules, board = "Say [up] or [down]. A wall is marked [#].", "You can go [left]."
    form = Grammar("regex", r"\[([a-z]+)\]")
    assert quoting_under(form)
    said = {quoted_under(form, [rules, board], random.Random(seed)) for seed in range(60)}
    assert said == {"[up]", "[down]", "[left]"}
    assert quoted_under(form, ["nothing of the kind"], random.Random(0)) == ""
    assert quoted_under(Grammar("regex", "[a-z]*"), ["", "- a", "An A1"], random.Random(0)) == "a"
    assert quoted_under(Grammar("regex", "(?i)a"), ["a b"], random.Random(0)) == "", "what only a grammar may say"


def test_other_grammars_have_no_calls() -> None:
    assert said_under(Grammar("regex", "yes|no")) == ("yes", "no")
    for other in (Grammar("lark", "start: /a+/"), Grammar("json_schema", "{}"), Grammar("regex", "start: %json {}")):
        assert calls_of(other) == []
    assert said_under(Grammar("lark", "start: /a+/")) == ()
    assert said_under(call_grammar([])) == ()
