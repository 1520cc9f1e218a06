"""What is drawn stands where the numbers say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from invented_cycle import example_results

from llmagentos.records.results import Curve, CurvePoint
from llmagentos.reports.charts import curve_chart, forest, heat_rows, nice_ticks, skill_bars


@given(st.floats(-1000, 1000), st.floats(0.001, 1000))
def test_nice_ticks_cover_the_range_with_few_round_numbers(low, span):
    ticks = nice_ticks(low, low + span)
    assert ticks[0] <= low + 1e-6 * span
    assert ticks[-1] >= low + span * (1 - 1e-6)
    assert 2 <= len(ticks) <= 9


def test_curve_places_points_by_minutes_and_success():
    chart = curve_chart(Curve("S", "x", (CurvePoint(0.0, 0.2), CurvePoint(5.0, 0.6), CurvePoint(10.0, 1.0))))
    assert chart is not None
    line = chart.lines[0]
    assert [(mark.x, mark.y) for mark in line.marks] == [(0, 20), (50, 60), (100, 100)]
    assert line.path == "M0.00 80.00 L50.00 40.00 L100.00 0.00"
    assert line.label == "strict 100 %"


def test_curve_labels_of_close_lines_do_not_overlap():
    chart = curve_chart(example_results().curves[0])
    assert chart is not None
    places = sorted(line.label_y for line in chart.lines)
    assert places[1] - places[0] >= 9 - 1e-9
    assert max(places) <= 100


def test_forest_puts_interval_estimate_zero_and_margin_on_one_axis():
    verdict = example_results().verdicts[2]
    plot = forest(verdict, 0.03)
    assert plot is not None
    gain, harm = plot.rows
    assert plot.margin < plot.zero < gain.left, "a sure gain lies right of zero"
    assert harm.left + harm.width < plot.margin, "harm lies left of the margin"
    assert harm.left < harm.middle < harm.left + harm.width
    assert all(0 <= place <= 100 for row in plot.rows for place in (row.left, row.left + row.width))
    per_point = (plot.zero - plot.margin) / 3
    assert (plot.zero - harm.middle) / per_point == pytest.approx(29)


def test_heat_marks_the_live_release_and_where_a_skill_was_learned():
    rows = heat_rows(example_results())
    assert [row.live for row in rows] == [False, False, True]
    assert [[cell.learned for cell in row.cells] for row in rows] == [[False, False], [True, False], [False, True]]
    assert rows[1].cells[1].change == "−3"
    assert heat_rows(example_results(live="r1"))[1].live


def test_bars_show_baselines_prompts_and_both_readings_of_success():
    bars = skill_bars(example_results().skills[0])
    assert [bar.name for bar in bars] == [
        "do nothing", "always escalate", "keyword rule", "before, zero-shot prompt", "before, few-shot prompt",
        "before, any form", "after, any form", "after",
    ]  # fmt: skip
    assert bars[-1].width == 91
