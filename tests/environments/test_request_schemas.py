"""Python's names of types become JSON Schema; what a right call contradicts is not held against it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmagentos.environments.request_schemas import allowing, allows, argument_schema
from llmagentos.environments.requests import RequestsEnvironment
from llmagentos.programs.constraining import sayable
from llmagentos.programs.parsing import parse_call
from llmagentos.records.identity import JSON
from llmagentos.records.message import ToolCall, ToolSpec


@pytest.mark.parametrize(
    ("said", "schema"),
    [
        ("str", {"type": "string"}),
        ("int, optional", {"type": "integer"}),
        ("float, default 1.0", {"type": "number"}),
        ("List[int]", {"type": "array", "items": {"type": "integer"}}),
        (
            "typing.List[List[str]], optional",
            {"type": "array", "items": {"type": "array", "items": {"type": "string"}}},
        ),
        ("list", {"type": "array"}),
        ("Tuple[int, str]", {"type": "array"}),
        ("Dict[str, int], optional", {"type": "object"}),
        ("Optional[bool]", {"type": "boolean"}),
        ("Union[int, List[float]]", {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "number"}}]}),
        ("Union[int, Frame]", {}),
        ("Callable[[int], str]", {}),
        ("date", {}),
        ("", {}),
    ],
)
def test_names_of_types_are_read_as_python_writes_them(said: str, schema: JSON) -> None:
    read = argument_schema({"a": {"type": said, "description": "what"}})
    assert read["properties"] == {"a": {**schema, "description": "what"}}


def test_a_json_schema_stays_as_it_is() -> None:
    whole: JSON = {"type": "object", "properties": {"a": {"type": "integer"}, "b": True}, "required": ["a"]}
    assert argument_schema(whole) == whole
    for nothing in (None, [], "text", {"a": "str"}):
        assert argument_schema(nothing) == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        ({"type": "integer"}, 3, 3.0),
        ({"type": "integer", "description": "x"}, 3, "3"),
        ({"type": "number"}, 3, True),
        ({"type": "boolean"}, True, 1),
        ({"type": "array", "items": {"type": "integer"}}, [1], [1.0]),
        ({"enum": ["a", "b"]}, "a", "c"),
        ({"type": "string", "pattern": "^[0-9]+$"}, "12", "x"),
        ({"type": "integer", "minimum": 2}, 2, 1),
        ({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}, {"a": "x"}, {}),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, None, "x"),
        ({"type": ["integer", "null"]}, None, "x"),
        ({"type": "array", "items": {"enum": [1, 2]}}, [2, 1], [3]),
        (
            {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}},
            {"b": 1, "a": "ü"},
            {"b": "1"},
        ),
    ],
)
def test_a_value_is_allowed_or_not(schema: JSON, right: JSON, wrong: JSON) -> None:
    assert allows(schema, right)
    assert not allows(schema, wrong)


def test_references_lead_into_the_whole_schema() -> None:
    root: JSON = {"type": "object", "$defs": {"day": {"enum": ["today", "tomorrow"]}}}
    assert allows({"$ref": "#/$defs/day"}, "today", root)
    assert not allows({"$ref": "#/$defs/day"}, "never", root)


def test_a_pattern_from_outside_takes_no_time() -> None:
    assert not allows({"type": "string", "pattern": "^(a+)+$"}, "a" * 40 + "!")


def test_a_type_that_never_ends_is_none() -> None:
    assert argument_schema({"a": {"type": "List[" * 100_000}})["properties"] == {"a": {}}


@pytest.mark.parametrize(
    "schema", [True, {}, {"type": 3}, {"type": "strange"}, {"enum": 3}, {"$ref": "#/gone"}, [], None]
)
def test_what_is_no_schema_allows_anything(schema: JSON) -> None:
    assert allows(schema, "x")


SPEC = ToolSpec(
    "book",
    "Book.",
    {
        "type": "object",
        "properties": {"people": {"type": "integer", "description": "How many"}, "day": {"type": "string"}},
        "required": ["people", "day"],
    },
)


def test_a_schema_gives_way_to_a_right_call_where_they_differ_and_nowhere_else() -> None:
    other = ToolSpec("other")
    assert allowing((SPEC, other), [ToolCall("book", {"people": 2, "day": "today"})])[0] is SPEC
    (mended, same) = allowing((SPEC, other), [ToolCall("book", {"people": "two", "late": True}), ToolCall("gone")])
    assert same is other
    assert mended.parameters == {
        "type": "object",
        "properties": {"people": {"description": "How many"}, "day": {"type": "string"}, "late": {}},
        "required": ["people"],
    }
    open_spec = ToolSpec("book", "", {**SPEC.parameters, "additionalProperties": {"type": "integer"}})
    (kept,) = allowing((open_spec,), [ToolCall("book", {"people": 2, "day": "x", "late": 1})])
    assert kept is open_spec


def records(days: JSON) -> list[JSON]:
    tool = {"name": "weather", "parameters": {"city": {"type": "str"}, "days": {"type": "int"}}}
    return [
        {
            "query": f"weather in {city} number {number}?",
            "answers": json.dumps([{"name": "weather", "arguments": {"city": city, "days": days}}]),
            "tools": json.dumps([tool]),
        }
        for number, city in enumerate(["Paris", "Rome", "Oslo", "Lima", "Cairo"] * 24)
    ]


@pytest.mark.parametrize("days", [3, "3", [3], None])
def test_every_right_call_of_a_file_can_be_said_under_the_grammar_of_its_tools(days: JSON, tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    path.write_text("".join(f"{json.dumps(one)}\n" for one in records(days)), encoding="utf-8")
    env = RequestsEnvironment(data=str(path))
    for task in env.tasks("train", 3):
        expert = env.expert(task)
        assert expert is not None
        call = parse_call(expert(""), ["weather"]).call
        assert call is not None
        assert sayable(env.offered(env.case(task))[0], call.arguments)
