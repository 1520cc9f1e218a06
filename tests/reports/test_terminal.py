"""The terminal says the same as the page, and takes no orders from text."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from invented_cycle import example_results
from rich.console import Console

from llmagentos.evaluation.metrics import Score
from llmagentos.records.release import Interval, Verdict
from llmagentos.reports.terminal import evaluation_table, learning_table, print_results, summary_table, verdict_lines


def printed(*blocks, width=80, color=None):
    out = io.StringIO()
    console = Console(file=out, width=width, color_system=color, force_terminal=color is not None)
    for block in blocks:
        console.print(block)
    return out.getvalue().replace("\u00a0", " ")


def whole(results, width=80, color=None):
    out = io.StringIO()
    console = Console(file=out, width=width, color_system=color, force_terminal=color is not None)
    print_results(results, Path("/somewhere/with/quite/a/long/path/that/does/not/fit/reports/demo/index.html"), console)
    return out.getvalue().replace("\u00a0", " ")


def test_results_fit_a_terminal_of_eighty_columns():
    text = whole(example_results())
    assert "…" not in text, "nothing is cut"
    row = next(line for line in text.splitlines() if line.strip().startswith("SupportDesk-v0   "))
    assert row.split() == [
        "SupportDesk-v0",
        "31",
        "%",
        "11",
        "%",
        "11",
        "%",
        "91",
        "%",
        "93",
        "%",
        "+80",
        "(+72",
        "to",
        "+88)",
    ]
    assert "r2 live" in text
    assert "68 % ◆" in text
    assert "✕ refused  cand_greedy" in text
    assert "/reports/demo/index.html" in text.splitlines()[-2], "the path is in one piece, to be clicked"


def test_long_name_is_broken_between_its_parts_and_only_where_it_does_not_fit():
    name = "Drills-v0?kind=lookup&level=1"
    known = example_results()
    table = summary_table(replace(known, skills=(known.skills[0], replace(known.skills[1], name=name))))
    narrow = [line.split()[0] for line in printed(table).splitlines() if line.strip()]
    assert narrow[-3:] == ["Drills-v0?", "kind=lookup&", "level=1"]
    assert name in printed(table, width=120)


def test_colours_are_used_only_where_the_terminal_has_them():
    assert "\x1b[" not in whole(example_results())
    assert "48;2;" in whole(example_results(), color="truecolor")


def test_text_is_not_read_as_markup_nor_as_terminal_codes():
    base = example_results()
    bad = "[red]x[/red]\x1b[2J"
    results = replace(
        base,
        skills=(replace(base.skills[0], name=bad), base.skills[1]),
        verdicts=(replace(base.verdicts[0], candidate=bad, reason=bad),),
    )
    text = whole(results, width=200)
    assert "\x1b" not in text
    assert text.count("[red]x[/red]\ufffd[2J") >= 4


def test_verdict_lines_take_the_stored_verdict_too():
    text = printed(*verdict_lines([Verdict("c9", False, "A fell from 91 % to 62 %.")]))
    assert text.splitlines()[0].strip() == "✕ refused  c9"
    assert text.splitlines()[1].startswith("  A fell from 91 % to 62 %.")


@pytest.mark.parametrize(("outcomes", "shown"), [({"finished": 100}, False), ({"finished": 98, "truncated": 2}, True)])
def test_evaluation_names_what_did_not_finish(outcomes, shown):
    score = Score(100, Interval(0.91, 0.84, 0.95), Interval(0.93, 0.86, 0.97), 0.9, 3.2, 41, 1.9, outcomes)
    text = printed(evaluation_table({"SupportDesk-v0": score}), width=100)
    assert "84 % to 95 %" in text
    assert ("2 truncated" in text) == shown


def test_learning_table_shows_the_curve():
    text = printed(learning_table(example_results().curves[0]))
    assert "SupportDesk-v0: imitation, then own runs" in text
    assert "52 % to 69 %" in text
    assert text.count("█") > 50
