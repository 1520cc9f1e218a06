"""Files as others write them become the same cases: conversations, calls, pairs of columns, names in any spelling."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from llmagentos.environments.registry import make, write_query
from llmagentos.environments.request_cases import Case
from llmagentos.environments.request_layouts import Unusable, calls_of, conversation, the_call, tools_of_record
from llmagentos.environments.requests import NAME, RequestsEnvironment, right_reply, words_in_common
from llmagentos.errors import ConfigError, SourceError
from llmagentos.records.message import ToolCall
from llmagentos.records.task import reset_options

TOOL = {"name": "forward", "description": "To a team", "parameters": {"team": {"type": "str", "description": "who"}}}
CALL = {"name": "forward", "arguments": '{"team": "sales"}'}
OPENAI_CALL = [{"id": "c1", "type": "function", "function": CALL}]


def opened(path: Path, row: Mapping[str, Any], **options: Any) -> RequestsEnvironment:
    """A file of 200 such rows; `{n}` in a text becomes the number of its row."""
    lines = [json.dumps(row).replace("{n}", str(n)) for n in range(200)]
    path.write_text("\n".join(lines), encoding="utf-8")
    env = make(NAME + write_query({"data": str(path), **options}))
    assert isinstance(env, RequestsEnvironment)
    return env


def first(env: RequestsEnvironment) -> Case:
    cases = [case for cases in env.requests.cases.values() for case in cases]
    return next(case for case in cases if case.place.endswith(":1"))


def spoken(env: RequestsEnvironment) -> list[tuple[str, str]]:
    case = first(env)
    return [(turn.request, right_reply(turn, env.offered(case))) for turn in case.turns]


FORWARD = '{"forward": {"team": "sales"}}'
ASKED = "Ticket 0"
TICKET = "Ticket {n}"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            {"messages": [{"role": "user", "content": TICKET}, {"role": "assistant", "content": "Hi."}]},
            [(ASKED, "Hi.")],
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": TICKET}]},
                          {"role": "assistant", "content": None, "tool_calls": OPENAI_CALL},
                          {"role": "tool", "tool_call_id": "c1", "content": "ok"},
                          {"role": "assistant", "content": "Done."}]},
            [(ASKED, FORWARD), ("ok", "Done.")],
        ),
        (
            {"messages": [{"role": "user", "content": TICKET},
                          {"role": "assistant", "content": f"<tool_call>\n{json.dumps(CALL)}\n</tool_call>"}]},
            [(ASKED, FORWARD)],
        ),
        (
            {"conversations": [{"from": "human", "value": TICKET}, {"from": "gpt", "value": "Hi."},
                               {"from": "human", "value": "Thanks"}, {"from": "gpt", "value": "Bye."}]},
            [(ASKED, "Hi."), ("Thanks", "Bye.")],
        ),
        (
            {"conversations": [{"from": "human", "value": TICKET},
                               {"from": "function_call", "value": json.dumps(CALL)},
                               {"from": "observation", "value": "ok"}, {"from": "gpt", "value": "Done."}]},
            [(ASKED, FORWARD), ("ok", "Done.")],
        ),
        (
            {"prompt": [{"role": "user", "content": TICKET}], "completion": [{"role": "assistant", "content": "Hi."}]},
            [(ASKED, "Hi.")],
        ),
        ({"prompt": TICKET, "chosen": "Hi.", "rejected": "No."}, [(ASKED, "Hi.")]),
        ({"instruction": "Sort it.", "input": TICKET, "output": "sales"}, [(f"Sort it.\n\n{ASKED}", "sales")]),
        ({"instruction": TICKET, "input": "", "output": "sales"}, [(ASKED, "sales")]),
        (
            {"instruction": "Sort it.", "context": TICKET, "response": "sales", "category": "closed_qa"},
            [(f"Sort it.\n\n{ASKED}", "sales")],
        ),
        (
            {"context": TICKET, "question": "Who?", "answers": {"text": ["sales", "Sales"], "answer_start": [0, 0]}},
            [(f"{ASKED}\n\nWho?", "sales")],
        ),
        ({"Ticket ID": 4, "Subject": "Hello", "Body": TICKET, "Queue": "sales"},
         [(f"Hello\n\n{ASKED}", '{"sales": {}}')]),
        ({"text": TICKET, "label": 3, "label_text": "sales"}, [(ASKED, '{"sales": {}}')]),
        ({"query": TICKET, "answers": json.dumps([CALL]), "tools": json.dumps([TOOL])}, [(ASKED, FORWARD)]),
        ({"question": TICKET, "function_call": CALL}, [(ASKED, FORWARD)]),
    ],
    ids=["openai", "openai calls", "tagged call", "sharegpt", "sharegpt calls", "trl", "preferences", "alpaca",
         "alpaca without input", "dolly", "squad", "mail", "setfit", "xlam", "function call"],
)  # fmt: skip
def test_layout_in_wide_use_is_read(tmp_path: Path, row: Mapping[str, Any], said: list[tuple[str, str]]) -> None:
    env = opened(tmp_path / "data.jsonl", row)
    assert spoken(env) == said
    assert not env.requests.left_out
    (task,) = env.tasks("train", 1)
    expert = env.expert(task)
    seen, _ = env.reset(seed=task.seed, options=reset_options(task))
    for _ in said:
        seen, _, done, _, info = env.step(expert(seen))
    assert done
    assert info == {"success": True, "lenient": True}


def test_what_the_system_says_and_the_tools_of_a_record_are_the_prompt(tmp_path: Path) -> None:
    said = [{"role": "system", "content": "You are a desk."}, {"role": "user", "content": TICKET}]
    row = {"messages": [*said, {"role": "assistant", "tool_calls": OPENAI_CALL}]}
    env = opened(tmp_path / "a.jsonl", {**row, "tools": [{"type": "function", "function": TOOL}]})
    (task,) = env.tasks("gate", 1)
    _, info = env.reset(seed=task.seed, options=reset_options(task))
    assert info["instructions"] == "You are a desk."
    (tool,) = info["tools"]
    assert (tool.name, tool.description) == ("forward", "To a team")
    assert tool.parameters == {
        "type": "object",
        "properties": {"team": {"type": "string", "description": "who"}},
    }
    other = opened(tmp_path / "a.jsonl", row, instructions="Sort.")
    assert other.reset(seed=0)[1]["instructions"] == "Sort."
    assert [one.description for one in other.reset(seed=0)[1]["tools"]] == [""]


def test_records_show_only_their_own_tools(tmp_path: Path) -> None:
    rows = [
        {"query": f"Do {n}", "answers": [{"name": f"t{n % 2}", "arguments": {}}], "tools": [{"name": f"t{n % 2}"}]}
        for n in range(200)
    ]
    (tmp_path / "t.json").write_text(json.dumps(rows))
    env = make(NAME + write_query({"data": str(tmp_path / "t.json")}))
    assert isinstance(env, RequestsEnvironment)
    for task in env.tasks("train", 10):
        _, info = env.reset(seed=task.seed, options=reset_options(task))
        assert [tool.name for tool in info["tools"]] == [
            turn.call.name for turn in env.case(task).turns if turn.call is not None
        ]


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([{"role": "user", "content": "q"}], "no reply"),
        ([{"role": "narrator", "content": "q"}], "narrator"),
        ([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}, {"from": "gpt", "value": "b"}],
         "two replies in a row: message 3"),
    ],
)  # fmt: skip
def test_conversation_that_cannot_be_played_says_why(messages: list[dict[str, Any]], reason: str) -> None:
    with pytest.raises(Unusable, match=reason):
        conversation({"messages": messages})


def test_greeting_before_the_first_request_is_no_reply() -> None:
    said = [("gpt", "How can I help?"), ("human", "q"), ("gpt", "a")]
    found = conversation({"conversations": [{"from": who, "value": text} for who, text in said]})
    assert found is not None
    assert found.turns == ({"request": "q", "answer": "a"},)


def test_several_calls_at_once_are_refused_and_one_is_read_in_every_form() -> None:
    for form in ({"forward": {"team": "sales"}}, CALL, OPENAI_CALL, OPENAI_CALL[0], json.dumps([CALL])):
        assert the_call(form) == ToolCall("forward", {"team": "sales"})
    assert len(calls_of([CALL, CALL])) == 2
    with pytest.raises(Unusable, match="2 calls in one reply"):
        the_call([CALL, CALL])
    with pytest.raises(Unusable, match="form"):
        the_call([4])


def test_types_of_a_tool_are_read_and_one_without_a_name_is_refused() -> None:
    parameters = {"a": {"type": "List[int]"}, "b": {"type": "int, optional", "default": 1}}
    (spec,) = tools_of_record({"tools": [{"name": "t", "parameters": parameters}]})
    several = {"type": "array", "items": {"type": "integer"}}
    assert spec.parameters["properties"] == {"a": several, "b": {"type": "integer", "default": 1}}
    with pytest.raises(Unusable, match="without a name"):
        tools_of_record({"tools": [{"description": "no name"}]})


def test_columns_of_another_name_are_told_and_can_be_named_in_any_spelling(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    with path.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["Ticket Id", "Customer said", "Desk"])
        lines.writerows([[n, f"Ticket {n}", "sales" if n % 2 else "returns"] for n in range(200)])
    query: dict[str, Any] = {"data": str(path)}
    with pytest.raises(SourceError, match=r"it has Ticket Id, Customer said, Desk; name it by request=NAME"):
        make(NAME + write_query(query))
    with pytest.raises(SourceError, match="no column said: it has Ticket Id"):
        make(NAME + write_query({**query, "request": "said"}))
    with pytest.raises(SourceError, match="no column desks; it has Ticket Id"):
        make(NAME + write_query({**query, "request": "Customer said", "label": "desks"}))
    env = make(NAME + write_query({**query, "request": "CUSTOMER said"}))
    assert isinstance(env, RequestsEnvironment)
    assert env.requests.how_read.startswith("request from CUSTOMER said, label from Desk (columns told by")
    env = make(NAME + write_query({**query, "request": "customer_said", "label": "DESK"}))
    assert isinstance(env, RequestsEnvironment)
    assert [tool.name for tool in env.requests.tools] == ["returns", "sales"]
    assert env.requests.read_as == "request from customer_said, label from DESK"


def test_it_is_said_which_other_columns_could_be_meant(tmp_path: Path) -> None:
    env = opened(
        tmp_path / "t.jsonl", {"instruction": TICKET, "intent": "cancel", "category": "ORDER", "response": "x"}
    )
    assert env.requests.read_as == (
        "request from instruction, label from intent; category, response could be meant too"
    )


def test_empty_label_is_called_empty(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="its label is empty"):
        opened(tmp_path / "t.jsonl", {"text": TICKET, "label": ""})


def test_long_answers_may_be_alike_and_get_the_tokens_they_need(tmp_path: Path) -> None:
    words = "open the settings and choose the page that is called billing " * 10
    row = {"question": TICKET, "answer": words}
    exact, alike = opened(tmp_path / "t.jsonl", row), opened(tmp_path / "t.jsonl", row, alike=0.7)
    assert exact.reply_tokens == alike.reply_tokens > len(words) / 4
    near, far = words.replace("page", "view"), "I do not know."
    for env, reply, right in ((exact, near, False), (alike, near, True), (alike, far, False)):
        env.reset(seed=0)
        assert env.step(reply)[4] == {"success": right, "lenient": right}
    assert words_in_common("Two words", "two other words") == pytest.approx(0.8)
    for wrong in (0, 1.5, "much"):
        with pytest.raises(ConfigError, match="share of words"):
            opened(tmp_path / "t.jsonl", row, alike=wrong)
