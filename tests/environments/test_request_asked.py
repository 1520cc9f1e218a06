"""What a person asks and corrects: requests that stand in no file, and replies as people type them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmagentos.environments.registry import make, write_query
from llmagentos.environments.request_cases import LONGEST_REQUEST
from llmagentos.environments.requests import ASKED, NAME, NOTHING_FITS, RequestsEnvironment
from llmagentos.errors import ConfigError
from llmagentos.records.task import reset_options

TOPICS = ("Refund wanted", "address", "delay")


def opened(path: Path, rows: list[dict[str, Any]]) -> RequestsEnvironment:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    env = make(NAME + write_query({"data": str(path)}))
    assert isinstance(env, RequestsEnvironment)
    return env


@pytest.fixture
def tickets(tmp_path: Path) -> RequestsEnvironment:
    labels = [*TOPICS, "oos"]
    return opened(
        tmp_path / "t.jsonl", [{"text": f"Request {n}: {labels[n % 4]}", "label": labels[n % 4]} for n in range(400)]
    )


def test_new_request_is_told_what_the_file_s_are_and_nobody_knows_its_reply(tickets: RequestsEnvironment) -> None:
    task = tickets.asked(["  My parcel is late. "])
    assert (task.split, task.skill, task.options) == ("train", tickets.skill, {ASKED: ["My parcel is late."]})
    assert tickets.expert(task) is None
    seen, info = tickets.reset(seed=task.seed, options=reset_options(task))
    assert seen == "My parcel is late."
    known = tickets.tasks("train", 1)[0]
    assert info == tickets.reset(seed=known.seed, options=reset_options(known))[1]
    for reply in (NOTHING_FITS, '{"delay": {}}', ""):
        tickets.reset(seed=task.seed, options=reset_options(task))
        assert tickets.step(reply) == ("", 0.0, True, False, {"success": False, "lenient": False})
    tickets.reset(seed=known.seed, options=reset_options(known))
    expert = tickets.expert(known)
    assert expert is not None
    assert tickets.step(expert(""))[4]["success"], "the file's own requests are judged as before"


def test_words_that_are_held_out_stay_held_out(tickets: RequestsEnvironment) -> None:
    for split in ("gate", "report", "development", "train"):
        (task,) = tickets.tasks(split, 1)  # type: ignore[arg-type]
        (turn,) = tickets.case(task).turns
        assert tickets.asked([turn.request.upper() + " !"]).split == split


def test_conversation_is_asked_turn_by_turn(tmp_path: Path) -> None:
    second = {"request": "For two", "answer": "Done."}
    rows = [{"turns": [{"request": f"A table, case {n}", "answer": "For how many?"}, second]} for n in range(200)]
    env = opened(tmp_path / "t.jsonl", rows)
    task = env.asked(["A table", "for two"])
    assert env.reset(seed=task.seed, options=reset_options(task))[0] == "A table"
    assert env.step("For how many?")[:4] == ("for two", 0.0, False, False)
    assert env.step("Done.")[2:] == (True, False, {"success": False, "lenient": False})
    with pytest.raises(ConfigError, match="at most 2 turns, this one has 3"):
        env.asked(["A table", "for two", "tonight"])
    assert env.in_form(" Anything at all ") == "Anything at all"


@pytest.mark.parametrize(
    ("turns", "said"), [([], "is empty"), (["  "], "is empty"), (["x" * (LONGEST_REQUEST + 1)], "at most 8,000")]
)
def test_what_cannot_be_answered_is_said(tickets: RequestsEnvironment, turns: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        tickets.asked(turns)


def test_environment_with_tasks_of_its_own_cannot_be_asked() -> None:
    with pytest.raises(ConfigError, match=r"tasks of its own.*llmagentos run 'SupportDesk-v0'"):
        make("SupportDesk-v0").asked(["Where is my order?"])
    assert make("SupportDesk-v0").in_form("I see.") == "I see."


@pytest.mark.parametrize(
    ("typed", "reply"),
    [
        ("delay", '{"delay": {}}'),
        (" refund WANTED ", '{"Refund_wanted": {}}'),
        ('{"address": {}}', '{"address": {}}'),
        ('{"name": "address", "arguments": {}}', '{"address": {}}'),
        ("oos", NOTHING_FITS),
        ("none", NOTHING_FITS),
        (NOTHING_FITS, NOTHING_FITS),
    ],
)
def test_name_of_a_tool_is_its_call(tickets: RequestsEnvironment, typed: str, reply: str) -> None:
    assert tickets.in_form(typed) == reply


@pytest.mark.parametrize(
    ("typed", "said"),
    [("adress", "no tool 'adress'.*: address.*No tool fits"), ('{"nobody": {}}', "nobody"), ('{"delay": ', "JSON")],
)
def test_reply_that_can_never_be_right_is_refused(tickets: RequestsEnvironment, typed: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        tickets.in_form(typed)


def test_name_alone_is_not_enough_for_a_tool_with_arguments(tmp_path: Path) -> None:
    rows = [{"text": f"Book for {n}", "call": {"book": {"people": n, "when": "today"}}} for n in range(200)]
    env = opened(tmp_path / "t.jsonl", rows)
    with pytest.raises(ConfigError, match=r'\{"book": \{"people": \.\.\., "when": \.\.\.\}\}'):
        env.in_form("book")
    assert env.in_form('{"book": {"when": "now", "people": 3}}') == '{"book": {"people": 3, "when": "now"}}'
