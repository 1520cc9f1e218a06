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
    assert len(tables) == 13
    for head, *rows in tables:
        assert {row.count(" | ") for row in rows} == {head.count(" | ")}


@pytest.mark.parametrize(
    ("others", "row"),
    [
        ((0.5,), "EPYC, AVX2 | 3 | 0 | – | 80 (70 to 90)"),
        ((0.5, 0.4, 0.3, 0.6), "Xeon, AVX2 | 4 | 0 | – | 45 (30 to 60)"),
        ((None, None, None, 0.5), "EPYC, AVX2; Xeon, AVX2 | 4 | 0 | – | 75 (50 to 90)"),
    ],
)
def test_row_is_of_the_machine_with_most_seeds_and_of_further_ones_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: tuple[float | None, ...], row: str
) -> None:
    def units(*strict: float | None) -> dict[str, object]:
        made = {}
        for seed, one in enumerate(strict):
            if one is None:
                continue
            stages = {"zero-shot": {"strict": 0.0}, "imitation": {"strict": one}, "+ dpo": {"failed": "no signal"}}
            made[f"Desk, seed {seed}"] = {"date": "2026-01-01", "results": {"stages": stages}}
        return made

    def machine(name: str) -> dict[str, str]:
        return {"processor": name, "instructions": "AVX2"}

    elsewhere = [{"machine": machine("Xeon X"), "units": units(*others)}]
    known = {"machine": machine("AMD EPYC 9"), "units": units(0.7, 0.9, 0.8), "elsewhere": elsewhere}
    (tmp_path / "skills.json").write_text(json.dumps(known), encoding="utf-8")
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    rows = [line for line in figures.skills().splitlines() if line.startswith("| Desk")]
    assert rows == [f"| Desk | {row} | – | – | – |"]
