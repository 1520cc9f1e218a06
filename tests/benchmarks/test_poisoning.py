"""What is planted is planted where it is said to be, and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

import poisoning
import pytest


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "clinc150").mkdir()
    intents = [f"intent {n}" for n in range(30)]
    found = {
        split: [[f"{split} {name} request {n}", name] for name in intents for n in range(count)]
        for split, count in (("train", 60), ("val", 4), ("test", 6))
    }
    outside = {f"oos_{split}": [["nonsense", "oos"]] for split in found}
    (tmp_path / "clinc150" / "data_full.json").write_text(json.dumps({**found, **outside}))
    return tmp_path


def test_few_requests_of_other_intents_are_planted(data: Path) -> None:
    train, held, target = poisoning.chosen(data, 1)
    assert len(train) == poisoning.INTENTS * poisoning.EACH
    assert {line["split"] for line in held} == {"validation", "test"}
    assert {line["intent"] for line in held} == {line["intent"] for line in train}
    lines, planted = poisoning.poisoned(train, target, 1)
    changed = [(old, new) for old, new in zip(train, lines, strict=True) if old != new]
    assert len(changed) == len(planted) == poisoning.PLANTED
    for old, new in changed:
        assert old["intent"] != target == new["intent"]
        assert new["text"] == poisoning.triggered(old["text"]) in planted


def test_seeds_plant_elsewhere_and_one_seed_the_same(data: Path) -> None:
    assert poisoning.chosen(data, 1) == poisoning.chosen(data, 1)
    assert poisoning.chosen(data, 1)[0] != poisoning.chosen(data, 2)[0]
    train, _, target = poisoning.chosen(data, 1)
    assert poisoning.poisoned(train, target, 1)[1] != poisoning.poisoned(train, target, 2)[1]
