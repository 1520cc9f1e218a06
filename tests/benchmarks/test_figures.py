"""The page of all figures says what the committed results say, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import figures
import pytest

PAGE = Path(__file__).parents[2] / "docs" / "figures.md"


def test_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == figures.page(), "Write it again: make docs"


def test_every_cell_stands_under_a_column() -> None:
    tables = [block.splitlines() for block in figures.page().split("\n\n") if block.startswith("| ")]
    assert len(tables) == 12
    for head, *rows in tables:
        assert {row.count(" | ") for row in rows} == {head.count(" | ")}


def test_seeds_of_one_machine_are_one_row_and_machines_are_kept_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def units(*strict: float) -> dict[str, object]:
        made = {}
        for seed, one in enumerate(strict):
            stages = {"zero-shot": {"strict": 0.0}, "imitation": {"strict": one}, "+ dpo": {"failed": "no signal"}}
            made[f"Desk, seed {seed}"] = {"date": "2026-01-01", "results": {"stages": stages}}
        return made

    def machine(name: str) -> dict[str, str]:
        return {"processor": name, "instructions": "AVX2"}

    elsewhere = [{"machine": machine("Xeon X"), "units": units(0.5)}]
    known = {"machine": machine("AMD EPYC 9"), "units": units(0.7, 0.9, 0.8), "elsewhere": elsewhere}
    (tmp_path / "skills.json").write_text(json.dumps(known), encoding="utf-8")
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    rows = [line for line in figures.skills().splitlines() if line.startswith("| Desk")]
    assert rows == [
        "| Desk | EPYC, AVX2 | 3 | 0 | – | 80 (70 to 90) | – | – | – |",
        "| Desk | Xeon, AVX2 | 1 | 0 | – | 50 | – | – | – |",
    ]
