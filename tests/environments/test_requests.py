"""A team's file becomes tasks: every format, every bad row by its line, and nothing held out that was seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmagentos.environments.registry import make, write_query
from llmagentos.environments.request_cases import LEAST_JUDGED, Requests, gather, tools_of
from llmagentos.environments.request_columns import Columns
from llmagentos.environments.request_files import read_rows
from llmagentos.environments.requests import NAME, RequestsEnvironment, load, right_reply
from llmagentos.errors import ConfigError, EnvironmentFault, MissingExtraError, NotFoundError, SourceError
from llmagentos.evaluation.gate import GateRules
from llmagentos.records.message import ToolCall
from llmagentos.records.progress import Progress
from llmagentos.records.task import SPLITS, Task, reset_options

TOPICS = ("refund", "address", "delay")


def tickets(count: int = 200) -> list[dict[str, Any]]:
    return [{"text": f"Request {n} about my {TOPICS[n % 3]}", "label": TOPICS[n % 3]} for n in range(count)]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def opened(path: Path, **options: Any) -> RequestsEnvironment:
    env = make(NAME + write_query({"data": str(path), **options}))
    assert isinstance(env, RequestsEnvironment)
    return env


def read(path: Path, columns: Columns | None = None, **options: Any) -> Requests:
    found = Requests()
    return gather(
        read_rows(path, lambda one: found.leave_out(one.source, one.reason)), columns or Columns(), found, **options
    )


def begun(env: RequestsEnvironment, task: Task) -> tuple[str, dict[str, Any]]:
    return env.reset(seed=task.seed, options=reset_options(task))


def as_csv(path: Path) -> None:
    path.write_text("text,label\n" + "".join(f'"{row["text"]}",{row["label"]}\n' for row in tickets()))


def as_semicolons(path: Path) -> None:
    path.write_text("\ufefftext;label\n" + "".join(f"{row['text']};{row['label']}\n" for row in tickets()), "utf-8")


def as_tsv(path: Path) -> None:
    path.write_text("text\tlabel\n" + "".join(f"{row['text']}\t{row['label']}\n" for row in tickets()))


def as_json(path: Path) -> None:
    path.write_text(json.dumps(tickets()))


def as_parquet(path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="the extra `data` is not installed")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(tickets()), path)


def as_numbered_arrow(path: Path) -> None:
    """As Hugging Face's `save_to_disk`: labels are numbers, their names stand in the schema."""
    pyarrow = pytest.importorskip("pyarrow", reason="the extra `data` is not installed")
    features = {"label": {"names": list(TOPICS), "_type": "ClassLabel"}, "text": {"_type": "Value"}}
    table = pyarrow.Table.from_pylist([{**row, "label": TOPICS.index(row["label"])} for row in tickets()])
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    with pyarrow.OSFile(str(path), "wb") as file, pyarrow.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)


@pytest.mark.parametrize(
    ("name", "fill"),
    [
        ("t.jsonl", lambda path: write(path, tickets())),
        ("t.csv", as_csv),
        ("semicolons.csv", as_semicolons),
        ("t.tsv", as_tsv),
        ("t.json", as_json),
        ("t.parquet", as_parquet),
        ("t.arrow", as_numbered_arrow),
    ],
)
def test_every_format_gives_the_same_cases(tmp_path: Path, name: str, fill: Any) -> None:
    fill(tmp_path / name)
    found = read(tmp_path / name)
    plain = read(write(tmp_path / "plain.jsonl", tickets()))
    turns = {split: [case.turns for case in cases] for split, cases in found.cases.items()}
    assert turns == {split: [case.turns for case in cases] for split, cases in plain.cases.items()}
    assert not found.left_out
    assert [tool.name for tool in found.tools] == sorted(TOPICS)
    assert len(found.cases["train"]) > len(found.cases["report"]) > 8


def test_expert_is_right_and_others_are_not(tmp_path: Path) -> None:
    env = opened(write(tmp_path / "t.jsonl", tickets()))
    for split in SPLITS:
        for task in env.tasks(split, 5):
            seen, info = begun(env, task)
            topic = seen.split()[-1]
            assert [tool.name for tool in info["tools"]] == sorted(TOPICS)
            assert env.step(env.expert(task)(seen)) == ("", 1.0, True, False, {"success": True, "lenient": True})
            begun(env, task)
            lenient = env.step(f'I call {{"{topic}": {{}}}} now')
            assert lenient[1:] == (0.0, True, False, {"success": False, "lenient": True})
            for wrong in ("No tool fits.", '{"other": {}}', "{", ""):
                begun(env, task)
                assert env.step(wrong)[4] == {"success": False, "lenient": False}


def test_tasks_are_different_ones_and_seeds_draw_others(tmp_path: Path) -> None:
    env = opened(write(tmp_path / "t.jsonl", tickets()))
    tasks = env.tasks("train", 1000)
    assert len({task.key for task in tasks}) == len(tasks) == len(env.requests.cases["train"])
    assert env.tasks("train", 20, 1) != env.tasks("train", 20, 2) != env.tasks("train", 20, 1)
    assert env.tasks("gate", 5, 3) == env.tasks("gate", 5, 3)


def test_bad_rows_are_told_by_their_line_and_left_out(tmp_path: Path) -> None:
    lines = [json.dumps(row) for row in tickets()]
    bad = ["{", "12", '{"text": "no label"}', '{"label": "x"}', '{"text": " ", "label": "x"}']
    bad += ['{"text": "q", "label": {"a": 1}}', '{"text": "q2", "label": "!!!"}', '{"text": "q3", "call": "book(4)"}']
    bad += [json.dumps({"text": "x" * 9000, "label": "a"}), '{"text": "q4", "call": {"a": {}, "b": {}}}']
    (tmp_path / "t.jsonl").write_text("\n".join(bad + lines) + "\n")
    found = read(tmp_path / "t.jsonl")
    assert [one.source for one in found.left_out] == [f"t.jsonl:{n}" for n in range(1, len(bad) + 1)]
    reasons = " | ".join(one.reason for one in found.left_out)
    for word in ("no JSON", "JSON int", "not what is right", "no request", "empty", "dict", "'!!!'", "9,000", "form"):
        assert word in reasons
    assert found.summary.startswith("200 requests (")
    assert found.summary.endswith(f"{len(bad)} left out")


def test_bad_lines_of_a_table_are_told(tmp_path: Path) -> None:
    rows = "".join(f"Question {n},refund\n" for n in range(99))
    (tmp_path / "t.csv").write_bytes(b"text,label\nonly one\na,b,c\nM\xfcller,refund\n\n" + rows.encode())
    found = read(tmp_path / "t.csv")
    assert [one.source for one in found.left_out] == ["t.csv:2", "t.csv:3", "t.csv:4"]
    assert "UTF-8" in found.left_out[2].reason


def as_table(rows: list[dict[str, Any]], head: str = "text,label", end: str = "\n") -> str:
    return head + end + "".join(f"{row['text']},{row['label']}{end}" for row in rows)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("mark.csv", b"\xef\xbb\xbf" + as_table(tickets()).encode()),
        ("excel.csv", as_table(tickets(), end="\r\n").encode("utf-16")),
        ("mac.csv", as_table(tickets(), end="\r").encode()),
        (
            "pandas.csv",
            (",text,label\n" + "".join(f"{n},{r['text']},{r['label']}\n" for n, r in enumerate(tickets()))).encode(),
        ),
        ("mark.jsonl", "".join(f"{json.dumps(row)}\r\n" for row in tickets()).encode("utf-8-sig")),
        ("wide.jsonl", "".join(f"{json.dumps(row)}\n" for row in tickets()).encode("utf-16")),
    ],
)
def test_what_programs_write_around_the_same_rows_changes_nothing(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    found, plain = read(tmp_path / name), read(write(tmp_path / "plain.jsonl", tickets()))
    assert [[c.turns for c in cases] for cases in found.cases.values()] == [
        [c.turns for c in cases] for cases in plain.cases.values()
    ]
    assert found.left_out == []


def test_quotes_may_go_over_lines_and_one_left_open_costs_its_own_line_alone(tmp_path: Path) -> None:
    rows = tickets()
    quoted = "".join(f'"{row["text"]}\nsays ""please"", really",{row["label"]}\n' for row in rows[:50])
    plain = as_table(rows[50:]).partition("\n")[2]
    (tmp_path / "t.csv").write_text(f'text,label\n{quoted}"never closed,refund\n{plain}')
    found = read(tmp_path / "t.csv")
    ((line, reason),) = [(one.source, one.reason) for one in found.left_out]
    assert (line, "150 lines behind it count" in reason) == ("t.csv:102", True)
    assert found.summary.startswith("200 requests")
    places = [case.place for cases in found.cases.values() for case in cases]
    assert {"t.csv:2", "t.csv:100", "t.csv:103", "t.csv:252"} <= set(places)


def test_open_quote_before_more_than_a_field_may_hold_costs_its_line_alone(tmp_path: Path) -> None:
    rows = [{"text": f"Request {n} " + "x" * 7000, "label": TOPICS[n % 3]} for n in range(200)]
    (tmp_path / "t.csv").write_text('text,label\n"never closed,refund\n' + as_table(rows).partition("\n")[2])
    found = read(tmp_path / "t.csv")
    assert [one.source for one in found.left_out] == ["t.csv:2"]
    assert found.summary.startswith("200 requests")


@pytest.mark.parametrize("start", [b"\x1f\x8b\x08\x00", b"PK\x03\x04"])
def test_packed_file_under_another_name_is_told(tmp_path: Path, start: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(start + b"x" * 100)
    with pytest.raises(SourceError, match="no text but"):
        read(tmp_path / "t.csv")


def test_packed_file_in_a_folder_is_told(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", tickets())
    (tmp_path / "test.jsonl.gz").write_bytes(b"")
    ((name, reason),) = [(one.source, one.reason) for one in read(tmp_path).left_out]
    assert (name, "gunzip" in reason) == ("test.jsonl.gz", True)


def test_columns_in_any_language_are_told_and_can_be_named(tmp_path: Path) -> None:
    path = write(
        tmp_path / "t.jsonl",
        [{"问题": row["text"], "意图": row["label"], "重要": row["label"] == "refund"} for row in tickets()],
    )
    columns = (
        r"None of the 200 records of .*t\.jsonl.*问题, 意图.*--data '.*t\.jsonl' --option request=COLUMN --option label"
    )
    with pytest.raises(SourceError, match=columns):
        opened(path)
    assert len(opened(path, request="问题", label="意图").requests.tools) == 3


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"text": "q", "label": float("nan")}, "says not what is right"),
        ({"text": float("nan"), "label": "a"}, "has no request"),
        ({"text": "q", "call": {"pay": {"amount": float("inf")}}}, "no JSON can say"),
        ({"text": ["q"], "label": "a"}, "the list ['q'] instead of text"),
        ({"text": "q", "answer": [[1]]}, "the list [1] instead of text"),
        ({"text": "half \ud83d", "label": "a"}, "half a character"),
        ({"turns": "hello"}, "the str 'hello' instead of a list"),
        ({"turns": []}, "the list [] instead of a list of records"),
        ({"turns": [{"turns": [{"text": "q", "label": "a"}]}]}, "turns inside of its turns"),
        ({"turns": [{"text": "q", "label": "a"}] * 33}, "33 turns; at most 32"),
    ],
)
def test_record_that_means_nothing_is_left_out_with_its_value(tmp_path: Path, record: Any, said: str) -> None:
    found = read(write(tmp_path / "t.jsonl", [*tickets(), record]))
    ((place, reason),) = [(one.source, one.reason) for one in found.left_out]
    assert place == "t.jsonl:201"
    assert said in reason


def test_missing_values_and_bytes_of_parquet_are_left_out(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="the extra `data` is not installed")
    from pyarrow import parquet

    rows: list[dict[str, Any]] = [{**row, "raw": b"x"} for row in tickets()]
    rows[0]["label"], rows[1]["text"] = None, None
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "t.parquet")
    assert len(read(tmp_path / "t.parquet").left_out) == 2
    with pytest.raises(SourceError, match="the bytes b'x' instead of text"):
        read(tmp_path / "t.parquet", Columns(label="raw"))


def test_split_that_nobody_knows_is_not_dealt_where_others_are_known(tmp_path: Path) -> None:
    rows = [{**row, "split": "tset" if n % 4 == 0 else "train"} for n, row in enumerate(tickets(400))]
    found = read(write(tmp_path / "t.jsonl", rows))
    assert {one.source for one in found.left_out} == {f"t.jsonl:{n + 1}" for n in range(0, 400, 4)}
    assert "'tset'" in found.left_out[0].reason
    folds = [{**row, "fold": n % 5} for n, row in enumerate(tickets(400))]
    assert read(write(tmp_path / "folds.jsonl", folds)).left_out == []


def test_labels_of_any_kind_are_one_tool_each(tmp_path: Path) -> None:
    labels = [
        "Card lost / now",
        "Card lost - now",
        "Card lost, now",
        "退款",
        "refund",
        "refund 💸",
        "💸",
        "x" * 80,
        "1",
        "naïve",
    ]
    rows = [{"text": f"Request {n}", "label": labels[n % len(labels)]} for n in range(400)]
    found = read(write(tmp_path / "t.jsonl", rows))
    assert found.left_out == []
    names = [tool.name for tool in found.tools]
    assert len(names) == len(labels)
    assert {"Card_lost_now", "退款", "refund", "refund_money_with_wings", "1", "naïve"} < set(names)
    assert max(map(len, names)) == 64
    again = read(write(tmp_path / "more.jsonl", [*rows, {"text": "new", "label": "Card lost; now"}]))
    assert set(names) < {tool.name for tool in again.tools}, "a later label renames no earlier one"


def test_contradiction_between_labels_of_like_names_is_seen(tmp_path: Path) -> None:
    torn = [{"text": "Torn", "label": label} for label in ("Card lost / now", "Card lost, now")]
    found = read(write(tmp_path / "t.jsonl", [*tickets(), *torn]))
    assert [one.source for one in found.left_out] == ["t.jsonl:202", "t.jsonl:201"]


def test_five_thousand_labels_are_read_and_one_label_too(tmp_path: Path) -> None:
    many = [{"text": f"Request {n} {k}", "label": f"label {n}"} for n in range(5000) for k in range(2)]
    assert len(read(write(tmp_path / "many.jsonl", many)).tools) == 5000
    one = [{**row, "label": "refund"} for row in tickets()]
    assert [tool.name for tool in read(write(tmp_path / "one.jsonl", one)).tools] == ["refund"]


def test_reading_tells_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmagentos.environments.requests.SHOWN_EVERY", 60)
    events: list[Progress] = []
    options: dict[str, Any] = {"data": str(write(tmp_path / "t.jsonl", tickets()))}
    load(options, events.append)
    assert [(event.stage, event.done) for event in events] == [("reading t.jsonl", n) for n in (0, 60, 120, 180, 200)]
    load(options, events.append)
    assert len(events) == 5, "what is in memory is not read again"


def test_folder_is_read_again_when_one_of_its_files_changed(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", tickets())
    before = opened(tmp_path).requests
    assert opened(tmp_path).requests is before
    write(tmp_path / "train.jsonl", tickets(300))
    assert opened(tmp_path).requests is not before


def test_memory_of_reading_goes_with_the_number_of_rows(tmp_path: Path) -> None:
    """What a few thousand rows take says what a million take: nothing may be kept twice."""
    import tracemalloc

    peaks = []
    for count in (1_000, 4_000):
        path = write(tmp_path / f"{count}.jsonl", [*tickets(count), *tickets(count)[: count // 2]])
        tracemalloc.start()
        read(path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 5 * peaks[0]
    assert peaks[1] / 4_000 < 1_500, "bytes a row: a million are 1.5 GB at most"


def test_same_words_stand_once_and_contradictions_not_at_all(tmp_path: Path) -> None:
    rows = [{**row, "split": "test" if n % 2 else "train"} for n, row in enumerate(tickets())]
    rows += [{"text": "request 1 about my ADDRESS!", "label": "address", "split": "train"}]  # stood in test
    rows += [{"text": rows[4]["text"], "label": rows[4]["label"], "split": "test"}]  # stood in training
    rows += [{"text": rows[6]["text"], "label": "delay", "split": "train"}]  # contradicts
    found = read(write(tmp_path / "t.jsonl", rows))
    held = {case.turns[0].request for split in ("gate", "report") for case in found.cases[split]}  # type: ignore[index]
    kept = {case.turns[0].request for split in ("train", "development") for case in found.cases[split]}  # type: ignore[index]
    assert "request 1 about my ADDRESS!" in kept
    assert rows[1]["text"] not in held | kept
    assert rows[4]["text"] in kept
    assert rows[6]["text"] not in held | kept
    reasons = {one.source: one.reason for one in found.left_out}
    assert "for training" in reasons["t.jsonl:2"]
    assert "says the same" in reasons["t.jsonl:202"]
    assert "something else" in reasons["t.jsonl:203"]
    assert "contradicted" in reasons["t.jsonl:7"]


def test_splits_of_a_folder_are_kept(tmp_path: Path) -> None:
    rows = tickets(400)
    write(tmp_path / "train-00000-of-00001.jsonl", rows[:200])
    (tmp_path / "validation").mkdir()
    write(tmp_path / "validation" / "data.jsonl", rows[200:300])
    write(tmp_path / "test.jsonl", rows[300:])
    found = read(tmp_path)
    assert [case.turns[0].request for case in found.cases["train"]] == [row["text"] for row in rows[:200]]
    assert len(found.cases["development"]) == 100
    gate, report = (len(found.cases[split]) for split in ("gate", "report"))
    assert gate + report == 100
    assert min(gate, report) > 30


def test_what_a_file_does_not_split_is_split(tmp_path: Path) -> None:
    rows = tickets(400)
    for row in rows[200:]:
        row["split"] = "test"
    found = read(write(tmp_path / "t.jsonl", rows))
    held = {case.turns[0].request for split in ("gate", "report") for case in found.cases[split]}  # type: ignore[index]
    assert held == {row["text"] for row in rows[200:]}
    assert len(found.cases["development"]) > 5


def test_nothing_fits_where_the_label_says_so(tmp_path: Path) -> None:
    rows = [{**row, "label": "oos" if n % 4 == 0 else row["label"]} for n, row in enumerate(tickets())]
    env = opened(write(tmp_path / "t.jsonl", rows))
    outside = next(task for task in env.tasks("train", 200) if env.case(task).turns[0].call is None)
    for reply, right in (("I cannot help with that.", True), ('{"refund": {}}', False), ("", False)):
        begun(env, outside)
        assert env.step(reply)[4] == {"success": right, "lenient": right}
    assert "oos" not in {tool.name for tool in env.requests.tools}
    other = opened(tmp_path / "t.jsonl", nothing="none")
    assert "oos" in {tool.name for tool in other.requests.tools}


def bookings(count: int = 120) -> list[dict[str, Any]]:
    return [
        {
            "turns": [
                {"request": f"A table, it is case {n}", "answer": "For how many people?"},
                {"request": f"{n} people please", "call": json.dumps({"book": {"people": n, "when": "today"}})},
            ]
        }
        for n in range(count)
    ]


def test_conversations_are_played_turn_by_turn(tmp_path: Path) -> None:
    env = opened(write(tmp_path / "t.jsonl", bookings()))
    (tool,) = env.requests.tools
    assert tool.parameters["properties"] == {"people": {"type": "integer"}, "when": {"type": "string"}}
    assert tool.parameters["required"] == ["people", "when"]
    (task,) = env.tasks("report", 1)
    first, second = env.case(task).turns
    assert second.call is not None
    number = second.call.arguments["people"]
    seen, _ = begun(env, task)
    assert env.step("for how many  people?")[:4] == (second.request, 0.0, False, False)
    assert env.step(right_reply(second))[1:] == (0.5, True, False, {"success": False, "lenient": True})
    begun(env, task)
    assert env.step(right_reply(first))[1] == 0.5
    near = json.dumps({"book": {"when": "Today", "people": number}})
    assert env.step(near)[4] == {"success": False, "lenient": True}
    expert = env.expert(task)
    seen, _ = begun(env, task)
    seen, *_ = env.step(expert(seen))
    assert env.step(expert(seen))[4] == {"success": True, "lenient": True}
    with pytest.raises(EnvironmentFault, match="reset"):
        env.step("more")


def test_every_call_gives_its_arguments_in_one_order(tmp_path: Path) -> None:
    rows = [
        {
            "text": f"Send {n} of them, in red",
            "call": {"send": dict([("many", n), ("how", [{"b": 1, "a": 2}])][:: 1 - n % 2 * 2])},
        }
        for n in range(150)
    ]
    described = [
        {
            "name": "send",
            "parameters": {
                "properties": {"how": {"items": {"properties": {"a": {}, "b": {}}}}, "many": {"type": "integer"}}
            },
        }
    ]
    (tmp_path / "tools.json").write_text(json.dumps(described), encoding="utf-8")
    path = write(tmp_path / "t.jsonl", rows)
    for options, first in (({}, "many"), ({"tools": str(tmp_path / "tools.json")}, "how")):
        env = opened(path, **options)
        for task in env.tasks("train", 20):
            seen, _ = begun(env, task)
            reply = env.expert(task)(seen)
            assert next(iter(json.loads(reply)["send"])) == first
            assert ('{"a": 2, "b": 1}' in reply) == bool(options)
            assert env.step(reply)[4] == {"success": True, "lenient": True}


def test_answers_in_words_need_no_tools(tmp_path: Path) -> None:
    rows = [{"question": f"What is {n} plus {n}?", "answer": str(2 * n)} for n in range(150)]
    env = opened(write(tmp_path / "t.jsonl", rows))
    (task,) = env.tasks("train", 1)
    _, info = begun(env, task)
    assert info == {"instructions": "Answer the request.", "tools": ()}
    assert env.step(right_reply(env.case(task).turns[0]))[4] == {"success": True, "lenient": True}


def test_columns_are_named_by_options(tmp_path: Path) -> None:
    rows = [{"text": "wrong", "body": f"Mail {n}", "team": "sales" if n % 2 else "support"} for n in range(150)]
    env = opened(write(tmp_path / "t.jsonl", rows), request="body", label="team", instructions="Who does it?")
    (task,) = env.tasks("train", 1)
    seen, info = begun(env, task)
    assert seen.startswith("Mail ")
    assert info["instructions"] == "Who does it?"
    with pytest.raises(ConfigError, match="one right reply"):
        opened(tmp_path / "t.jsonl", label="team", answer="body")


def test_tools_are_described_by_a_file(tmp_path: Path) -> None:
    data = write(tmp_path / "t.jsonl", tickets())
    described = tmp_path / "tools.json"
    described.write_text(json.dumps([{"name": topic, "description": f"about a {topic}"} for topic in TOPICS]))
    env = opened(data, tools=str(described))
    _, info = begun(env, env.tasks("train", 1)[0])
    assert [tool.description for tool in info["tools"]] == [f"about a {topic}" for topic in TOPICS]
    described.write_text('[{"name": "refund"}]')
    with pytest.raises(ConfigError, match="address"):
        opened(data, tools=str(described))
    described.write_text("{}")
    with pytest.raises(ConfigError, match="no list"):
        opened(data, tools=str(described))


def test_a_file_of_tools_gives_way_to_right_calls_and_is_read_once_for_all_runs(tmp_path: Path) -> None:
    rows = [{"text": f"table {n}", "call": {"book": {"people": "two" if n == 7 else 2}}} for n in range(150)]
    data, described = write(tmp_path / "t.jsonl", rows), tmp_path / "tools.json"
    people = {"type": "integer", "description": "How many"}
    described.write_text(json.dumps([{"name": "book", "parameters": {"properties": {"people": people}}}]))
    first, second = (opened(data, tools=str(described)) for _ in range(2))
    (tool,) = first.offered(first.case(first.tasks("train", 1)[0]))
    assert tool.parameters["properties"] == {"people": {"description": "How many"}}
    assert second.offered(second.case(second.tasks("train", 1)[0]))[0] is tool


def test_most_keeps_so_many_of_each_label_in_training_only(tmp_path: Path) -> None:
    found = read(write(tmp_path / "t.jsonl", tickets(600)), most_of_a_kind=7)
    labels = [case.turns[0].call.name for case in found.cases["train"] if case.turns[0].call]
    assert {topic: labels.count(topic) for topic in TOPICS} == dict.fromkeys(TOPICS, 7)
    assert len(found.cases["report"]) > 30


def test_skill_is_named_shortly_and_environment_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "my tickets.jsonl", tickets())
    monkeypatch.chdir(tmp_path)
    env = make("Requests-v0?data=./my%20tickets.jsonl")
    assert env.skill == "Requests-v0?data=my tickets.jsonl"
    monkeypatch.chdir("/")
    again = make(env.tasks("train", 1)[0].environment)
    assert again.name == env.name
    assert again.tasks("report", 3) == env.tasks("report", 3)


def test_changed_file_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", tickets())
    before = opened(path).requests
    assert opened(path).requests is before
    write(path, tickets(300))
    assert opened(path).requests is not before


def sizes(env: RequestsEnvironment) -> dict[str, int]:
    return {split: len(cases) for split, cases in env.requests.cases.items()}


def test_gate_of_a_small_file_has_what_a_verdict_needs(tmp_path: Path) -> None:
    assert GateRules().minimum_tasks == LEAST_JUDGED
    small = sizes(opened(write(tmp_path / "small.jsonl", tickets(100))))
    assert small["gate"] == LEAST_JUDGED
    assert small["train"] >= 40
    tiny = sizes(opened(write(tmp_path / "tiny.jsonl", tickets(60))))
    assert tiny["gate"] < 12, "with half of what is learned from there would be no verdict either"
    large = sizes(opened(write(tmp_path / "large.jsonl", tickets(900))))
    assert 60 < large["gate"] < 120


def test_nothing_that_was_learned_from_is_judged_when_a_small_file_grows(tmp_path: Path) -> None:
    learned: set[str] = set()
    for count in range(80, 420, 20):
        cases = opened(write(tmp_path / "t.jsonl", tickets(count))).requests.cases
        assert not learned & {case.turns[0].request for split in ("gate", "report") for case in cases[split]}
        learned |= {case.turns[0].request for case in cases["train"]}


def test_small_test_split_goes_to_the_gate_first(tmp_path: Path) -> None:
    rows = [{**row, "split": "test" if number % 5 == 0 else "train"} for number, row in enumerate(tickets(220))]
    held = sizes(opened(write(tmp_path / "t.jsonl", rows)))
    assert (held["gate"], held["report"]) == (LEAST_JUDGED, 44 - LEAST_JUDGED)


@pytest.mark.parametrize("count", [1, 3])
def test_too_few_requests_say_what_is_missing(tmp_path: Path, count: int) -> None:
    with pytest.raises(SourceError, match=r"nothing for .*some 100"):
        opened(write(tmp_path / "t.jsonl", tickets(count)))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.jsonl", "", "t.jsonl holds no records"),
        ("t.csv", "text,label\n", "t.csv holds no records"),
        ("t.csv", "", "first line"),
        ("t.csv", "a,a\n1,2\n", "each column once"),
        ("t.json", "{", "no JSON"),
        ("t.json", '{"train": 4}', "list of objects"),
        ("t.docx", "x", "no kind"),
        ("t.xlsx", "x", "spreadsheet"),
        ("t.jsonl.gz", "x", "gunzip -k"),
        ("t.parquet", "not parquet", "damaged|optional part"),
    ],
)
def test_file_that_cannot_be_used_says_why(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises((SourceError, MissingExtraError), match=said):
        opened(tmp_path / name)


def test_nothing_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="gone"):
        opened(tmp_path / "gone.jsonl")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="holds no data"):
        opened(tmp_path / "empty")
    with pytest.raises(ConfigError, match="needs a file"):
        make("Requests-v0")


def test_tools_know_what_every_call_has() -> None:
    from llmagentos.environments.request_cases import Case, Turn

    calls = [ToolCall("a", {"x": 1, "y": "k"}), ToolCall("a", {"x": 2.5}), ToolCall("b")]
    first, second = tools_of([Case("p", (Turn("q", call),)) for call in calls])
    assert first.parameters["properties"] == {"x": {"type": "number"}, "y": {"type": "string"}}
    assert first.parameters["required"] == ["x"]
    assert second.parameters["properties"] == {}


def test_real_intents_are_read_as_they_lie(clinc: Path, tmp_path: Path) -> None:
    data = json.loads((clinc / "data_full.json").read_text())
    names = {"train": "train", "val": "validation", "test": "test"}
    rows = [{"text": t, "intent": i, "split": names[s]} for s in names for t, i in data[s]]
    rows += [{"text": t, "intent": i, "split": names[s]} for s in names for t, i in data[f"oos_{s}"]]
    env = opened(write(tmp_path / "clinc.jsonl", rows), most=50)
    assert len(env.requests.tools) == 150
    train = env.requests.cases["train"]
    assert len(train) == 150 * 50 + 50
    held = sum(len(env.requests.cases[split]) for split in ("gate", "report"))  # type: ignore[index]
    assert held > 5400
    assert len(env.requests.left_out) < 100
