"""Units are measured once, kept through a kill, and never mixed with another machine's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from measuring import RESULTS, Units, describe_machine, percentile, spread

from llmagentos.models.native.library import NEEDED, processor_features

HERE = {"processor": "P", "cores": 2, "system": "Linux 1"}
USED = {"python": "3.11"}


def units(path: Path, **changes: Any) -> Units:
    return Units(path, "test", **{"machine": HERE, "used": USED, **changes})


def never() -> dict[str, Any]:
    raise AssertionError("measured again")


def test_unit_is_measured_once_and_survives_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    assert units(path).measure("a", {"n": 1}, lambda: {"x": 7}) == {"x": 7}
    assert units(path).measure("a", {"n": 1}, never) == {"x": 7}


def test_unit_of_other_settings_is_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    units(path).measure("a", {"n": 1}, lambda: {"x": 7})
    assert units(path).measure("a", {"n": 2}, lambda: {"x": 8}) == {"x": 8}


def test_unit_that_fails_leaves_the_others_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    held = units(path)
    held.measure("a", {}, lambda: {"x": 7})
    with pytest.raises(AssertionError):
        held.measure("b", {}, never)
    assert set(json.loads(path.read_text())["units"]) == {"a"}


def test_numbers_of_another_version_are_discarded_and_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "results.json"
    units(path).measure("a", {}, lambda: {"x": 7})
    assert units(path, used={"python": "3.12"}).measure("a", {}, lambda: {"x": 8}) == {"x": 8}
    assert "discarded" in capsys.readouterr().err


@pytest.mark.parametrize("change", [{"cores": 4}, {"processor": "Q"}, {"instructions": "AVX2"}])
def test_numbers_of_another_machine_are_kept_apart_and_count_there_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any]
) -> None:
    path = tmp_path / "results.json"
    units(path).measure("a", {}, lambda: {"x": 7})
    there = {"machine": {**HERE, **change}}
    held = units(path, **there)
    assert held.measure("a", {}, lambda: {"x": 8}) == {"x": 8}
    assert held.results == {"a": {"x": 8}}
    assert "keeps apart" in capsys.readouterr().err
    written = json.loads(path.read_text())
    assert [one["units"]["a"]["results"] for one in written["elsewhere"]] == [{"x": 7}]
    assert units(path).measure("a", {}, never) == {"x": 7}
    assert units(path, **there).measure("a", {}, never) == {"x": 8}


def test_restart_of_the_same_machine_discards_nothing(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    units(path).measure("a", {}, lambda: {"x": 7})
    assert units(path, machine={**HERE, "system": "Linux 2"}).measure("a", {}, never) == {"x": 7}


def test_fresh_discards(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    units(path).measure("a", {}, lambda: {"x": 7})
    assert units(path, fresh=True).measure("a", {}, lambda: {"x": 8}) == {"x": 8}


def test_summary_stands_before_the_units_and_keeps_them(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    held = units(path)
    held.measure("a", {}, lambda: {"x": 7})
    held.write(conclusion=1)
    written = json.loads(path.read_text())
    assert list(written).index("conclusion") < list(written).index("units")
    assert written["units"]["a"]["results"] == {"x": 7}
    assert [one.name for one in tmp_path.iterdir()] == ["results.json"]


def test_spread_is_median_and_range() -> None:
    assert spread([3.0, 1.0, 10.0]) == {"median": 3.0, "lowest": 1.0, "highest": 10.0}


def test_percentile_is_a_value_that_occurred() -> None:
    assert percentile(list(range(100)), 0.99) == 99
    assert percentile([5.0], 0.99) == 5.0


def test_machine_says_what_numbers_depend_on() -> None:
    machine = describe_machine()
    assert machine["processor"]
    assert machine["cores"] >= 1
    assert (machine["instructions"] != "") == (processor_features() >= NEEDED)


@pytest.mark.parametrize("name", ["journal", "decode", "learning_curves"])
def test_benchmark_explains_itself_without_loading_a_model(name: str) -> None:
    command = [sys.executable, str(RESULTS.parent / f"{name}.py"), "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Run: python benchmarks/" in said
