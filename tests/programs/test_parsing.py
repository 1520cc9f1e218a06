import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmagentos.programs.parsing import MAX_CHARACTERS, ParsedCall, parse_call, render_call
from llmagentos.records.message import ToolCall

TOOLS = ("refund", "order_status")


@pytest.mark.parametrize(
    "text",
    ['{"refund": {"order": "1042"}}', '  {"refund":{"order":"1042"}}\n', '{\n "refund": {\n "order": "1042"\n}}'],
)
def test_exact_object_is_a_well_formed_call(text: str) -> None:
    assert parse_call(text, TOOLS) == ParsedCall(ToolCall("refund", {"order": "1042"}), True)


@pytest.mark.parametrize("text", ["Your money is on its way.", "", "I {really} mean it", "braces { only", "a } b { c"])
def test_anything_else_is_a_message(text: str) -> None:
    parsed = parse_call(text, TOOLS)
    assert parsed.is_message
    assert parsed.well_formed


@pytest.mark.parametrize(
    "text",
    [
        'Sure! {"refund": {"order": "1042"}}',
        '{"refund": {"order": "1042"}} Done.',
        '{"refund": {"order": "1042"}}\n{"order_status": {"order": "1"}}',
        '```json\n{"refund": {"order": "1042"}}\n```',
        '[{"refund": {"order": "1042"}}]',
        '{"name": "refund", "arguments": {"order": "1042"}}',
        '{"name": "refund", "parameters": {"order": "1042"}}',
        'A stray { and then {"refund": {"order": "1042"}}',
        'Like {"unknown": {}} or {"refund": {"order": "1042"}}',
    ],
)
def test_lenient_call_is_found_but_not_well_formed(text: str) -> None:
    assert parse_call(text, TOOLS) == ParsedCall(ToolCall("refund", {"order": "1042"}), False)


@pytest.mark.parametrize(
    "text",
    [
        '{"refund": {"order": "1042"}',
        '{"refund": "1042"}',
        '{"launch": {}}',
        '{"refund": {}, "order_status": {}}',
        '{"refund": {"order": 1, "order": 2}}',
        '{"refund": {"order": NaN}}',
        '{"refund": {"order": 1e999}}',
        '{"refund": {"order": "\\ud800"}}',
        '{"refund": {"order": ' + "9" * 5000 + "}}",
        '{"refund": {"order": 1],}}',
        "{}",
    ],
)
def test_broken_call_is_an_error_and_never_executed(text: str) -> None:
    parsed = parse_call(text, TOOLS)
    assert parsed.call is None
    assert not parsed.well_formed
    assert parsed.error


def test_unknown_tool_names_the_tools_there_are() -> None:
    error = parse_call('{"launch": {}}', TOOLS).error
    assert "'launch'" in error
    assert "order_status" in error


def test_braces_inside_strings_do_not_end_the_object() -> None:
    text = 'ok {"refund": {"order": "}\\"{"}}'
    assert parse_call(text, TOOLS).call == ToolCall("refund", {"order": '}"{'})


def test_without_tools_everything_is_a_message() -> None:
    assert parse_call('{"refund": {}}', ()).is_message


@pytest.mark.parametrize(
    "text",
    [
        '{"a":' * 50_000,
        "{" * 100_000,
        '{"refund":' * 3000 + "1" + "}" * 3000,
        "[" * 30_000,
        '{"' * 16_000,
        "{}" * 16_000,
        '{"refund": {"a": ' + "[" * 5000 + "]" * 5000 + "}}",
        '"' + '{"x": "' * 4000,
    ],
)
def test_hostile_text_is_refused_quickly(text: str) -> None:
    started = time.process_time()
    assert parse_call(text, TOOLS).call is None
    assert time.process_time() - started < 0.5


def test_oversized_call_is_refused() -> None:
    text = json.dumps({"refund": {"order": "1" * MAX_CHARACTERS}})
    parsed = parse_call(text, TOOLS)
    assert parsed.call is None
    assert str(MAX_CHARACTERS) in parsed.error


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=10) | st.booleans(), max_size=4))
def test_rendered_call_is_read_back(arguments: dict[str, object]) -> None:
    try:
        json.dumps(arguments, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return
    call = ToolCall("refund", arguments)
    assert parse_call(render_call(call), TOOLS) == ParsedCall(call, True)


@given(st.text(alphabet='{}[]":,\\ refund1', max_size=60))
def test_parser_never_raises(text: str) -> None:
    parsed = parse_call(text, TOOLS)
    assert parsed.call is None or parsed.call.name in TOOLS
