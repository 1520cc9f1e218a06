"""The table of skills: corpora become files to learn from, beginners play by the rules, seeds are summed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import corpora
import pytest
import skills
from measuring import seeds_together

from llmagentos.environments.request_cases import Requests, gather
from llmagentos.environments.request_columns import Columns
from llmagentos.environments.request_files import read_rows


def gathered(path: Path) -> Requests:
    found = Requests()
    return gather(read_rows(path, lambda one: found.leave_out(one.source, one.reason)), Columns(), found)


def test_intents_become_calls_and_keep_their_splits(tmp_path: Path) -> None:
    (tmp_path / "clinc150").mkdir()
    words = {split: [[f"{split} request {n}", f"intent_{n % 3}"] for n in range(30)] for split in ("train", "val")}
    words["test"] = [[f"test request {n}", "intent_0"] for n in range(40)]
    outside = {f"oos_{split}": [[f"{split} nonsense", "oos"]] for split in words}
    (tmp_path / "clinc150" / "data_full.json").write_text(json.dumps({**words, **outside}))
    path = corpora.written("clinc150", tmp_path, tmp_path / "work")
    found = gathered(path)
    assert [tool.name for tool in found.tools] == ["intent_0", "intent_1", "intent_2"]
    assert len(found.cases["train"]) == len(found.cases["development"]) == 31
    assert len(found.cases["gate"]) + len(found.cases["report"]) == 41
    before = path.read_bytes()
    (tmp_path / "clinc150" / "data_full.json").unlink()
    assert corpora.written("clinc150", tmp_path, tmp_path / "work").read_bytes() == before, "it is written once"
    with pytest.raises(SystemExit, match="is missing"):
        corpora.written("restaurants8k", tmp_path, tmp_path / "work")


def utterance(text: str, asked: tuple[str, ...] = (), **slots: str) -> dict[str, object]:
    labels = [
        {"slot": slot, "valueSpan": {"startIndex": text.index(value), "endIndex": text.index(value) + len(value)}}
        for slot, value in slots.items()
    ]
    for label in labels:  # the original leaves out a start at the beginning
        if label["valueSpan"]["startIndex"] == 0:  # type: ignore[index]
            del label["valueSpan"]["startIndex"]  # type: ignore[attr-defined]
    return {"userInput": {"text": text}, "context": {"requestedSlots": list(asked)}, "labels": labels}


def test_utterances_become_dialogues_in_which_each_is_used_once(tmp_path: Path) -> None:
    (tmp_path / "restaurants8k").mkdir()
    for split, count in (("train", 60), ("test", 60)):
        spoken = [utterance(f"{n} people {split}", people=f"{n} people") for n in range(count)]
        spoken += [utterance(f"at {n} {split}", ("time",), time=f"at {n}") for n in range(20)]
        spoken += [utterance(f"is there a garden {split} {n}") for n in range(5)]
        (tmp_path / "restaurants8k" / f"{split}.json").write_text(json.dumps(spoken))
    path = corpora.written("restaurants8k", tmp_path, tmp_path / "work")
    cases = [json.loads(line) for line in path.read_text().splitlines()]
    texts = [turn["text"] for case in cases for turn in case["turns"]]
    assert len(texts) == len(set(texts)) == 2 * 85
    several = [case["turns"] for case in cases if len(case["turns"]) > 1]
    assert several
    for first, second in several:
        assert re.fullmatch(r"\d+ people \w+", first["text"])
        assert second["text"].startswith("Asked for time: at ")
        assert second["call"]["book"]["time"] in second["text"]
    assert {"label": "oos", "text": "is there a garden test 0"} in [turn for case in cases for turn in case["turns"]]
    found = gathered(path)
    assert not found.left_out
    assert [tool.name for tool in found.tools] == ["book"]


def test_beginner_moves_by_the_rules_and_never_back() -> None:
    move = skills.hanoi(3)
    board = "You moved disk 1 from A to B.\nCurrent Board: \nA: [3, 2]\nB: [1]\nC: []\n."
    seen = {move(board) for _ in range(200)}
    assert seen <= {"[A C]", "[B A]", "[B C]"}
    assert "[A B]" not in seen, "a larger disk never lies on a smaller one"


def test_seeds_are_summed_and_what_failed_is_left_out() -> None:
    def unit(strict: float) -> dict[str, object]:
        return {"stages": {"imitation": {"strict": strict, "lenient": strict, "minutes": 2.0}}}

    failed = {"stages": {"imitation": {"failed": "nothing was rewarded"}}}
    found = skills.conclude({"Drills": [unit(0.2), unit(0.6), unit(0.4), failed]})
    assert found["Drills"]["imitation"]["strict"] == {"median": 0.4, "lowest": 0.2, "highest": 0.6}
    assert found["Drills"]["imitation"]["seeds"] == 3


def test_kinds_of_requests_are_summed_where_they_were_told_apart() -> None:
    old = {"strict": 0.7, "lenient": 0.7, "minutes": 2.0}
    new = {**old, "calls": {"strict": 0.9}, "no call": {"strict": 0.1}}
    units = {"CLINC150, seed 0": {"stages": {"imitation": old}}, "CLINC150, seed 1": {"stages": {"imitation": new}}}
    found = skills.conclude(seeds_together(units))["CLINC150"]["imitation"]
    assert (found["seeds"], found["calls"]["median"], found["no call"]["median"]) == (2, 0.9, 0.1)
