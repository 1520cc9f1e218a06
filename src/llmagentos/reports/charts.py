"""Geometry of the report's charts: where things stand, in percent of the plot's width and height.

In: results. Out: frozen shapes that the templates draw with HTML and SVG, so that text keeps its size on any screen.
It does not know colours, fonts or markup.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from llmagentos.evaluation.figures import percent
from llmagentos.records.release import SkillCheck
from llmagentos.records.results import Curve, CurvePoint, CycleResults, SkillResult, VerdictResult
from llmagentos.reports.wording import (
    live_row,
    minutes,
    points_range,
    signed_points,
)


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled place on an axis."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A measured point with what it says when pointed at."""

    x: float
    y: float
    label: str


@dataclass(frozen=True, slots=True)
class Line:
    """One series."""

    name: str
    kind: str
    """`strict` or `lenient`: the template's class."""
    path: str
    """SVG path in a box of 100 by 100, y downwards."""
    marks: tuple[Mark, ...]
    label: str
    label_y: float


@dataclass(frozen=True, slots=True)
class Strip:
    """A small curve below the main one, with its own scale."""

    name: str
    path: str
    first: str
    last: str


@dataclass(frozen=True, slots=True)
class CurveChart:
    """Success over minutes for one skill."""

    skill: str
    learner: str
    summary: str
    """What the chart shows, for readers who do not see it."""
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    band: str
    lines: tuple[Line, ...]
    strips: tuple[Strip, ...]


@dataclass(frozen=True, slots=True)
class Bar:
    """One horizontal bar from 0 to 100 %."""

    name: str
    kind: str
    """`baseline`, `before`, `after`, with ` lenient` appended where it is: the template's classes."""
    width: float
    label: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One field of the retention matrix."""

    value: str
    heat: float
    """Percent of the strongest colour."""
    measured: bool
    learned: bool
    """Whether the row's release brought the column's skill."""
    change: str
    """Change from the row above in points, empty where there is none."""


@dataclass(frozen=True, slots=True)
class HeatRow:
    """One release."""

    release: str
    live: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class ForestRow:
    """One check of a verdict."""

    check: SkillCheck
    left: float
    width: float
    middle: float
    movement: str
    interval: str
    rule: str


@dataclass(frozen=True, slots=True)
class Forest:
    """The checks of a verdict on one axis of points gained or lost."""

    rows: tuple[ForestRow, ...]
    ticks: tuple[Tick, ...]
    zero: float
    margin: float
    has_kept: bool
    """Whether any row is held to the margin."""


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers that cover [low, high]: multiples of 1, 2 or 5 times a power of ten, at most about `most`."""
    span = max(high - low, 1e-9)
    power = 10 ** math.floor(math.log10(span / most))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= most)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 10) for index in range(first, max(last, first + 1) + 1)]


def curve_chart(curve: Curve) -> CurveChart | None:
    """The chart of one learning curve; None with fewer than two measurements of success."""
    strict = [(point, point.strict) for point in curve.points if _finite(point.strict)]
    lenient = [(point, point.lenient) for point in curve.points if _finite(point.lenient)]
    if len(strict) < 2:
        return None
    x_values = nice_ticks(0.0, max(point.minutes for point in curve.points))
    right = x_values[-1]
    series = [_line("strict", strict, right), *([_line("lenient", lenient, right)] if len(lenient) > 1 else [])]
    return CurveChart(
        skill=curve.skill,
        learner=curve.learner,
        summary=f"{curve.skill}: strict success went from {percent(strict[0][1])} to {percent(strict[-1][1])} in "
        f"{minutes(strict[-1][0].minutes)} of learning",
        x_ticks=tuple(Tick(100 * value / right, f"{value:g}") for value in x_values),
        y_ticks=tuple(Tick(value, f"{value} %") for value in (0, 25, 50, 75, 100)),
        band=_band(curve.points, right),
        lines=_apart(series),
        strips=tuple(strip for strip in (_strip(curve, "loss", right), _strip(curve, "reward", right)) if strip),
    )


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _path(places: Sequence[tuple[float, float]]) -> str:
    return "M" + " L".join(f"{x:.2f} {y:.2f}" for x, y in places)


def _line(kind: str, series: Sequence[tuple[CurvePoint, float | None]], right: float) -> Line:
    places = [(100 * point.minutes / right, 100 - 100 * float(value or 0)) for point, value in series]
    marks = tuple(
        Mark(x, 100 - y, f"{percent(value)} {kind} after {minutes(point.minutes)}{_of_tasks(point)}")
        for (x, y), (point, value) in zip(places, series, strict=True)
    )
    return Line(kind, kind, _path(places), marks, f"{kind} {percent(series[-1][1])}", marks[-1].y)


def _of_tasks(point: CurvePoint) -> str:
    bounds = f", interval {percent(point.low)} to {percent(point.high)}" if _finite(point.low) else ""
    return bounds + (f", {point.tasks} tasks" if point.tasks else "")


def _apart(lines: list[Line], gap: float = 9.0) -> tuple[Line, ...]:
    """Labels at the lines' ends moved apart so that they do not lie on each other."""
    if len(lines) < 2 or abs(lines[0].label_y - lines[1].label_y) >= gap:
        return tuple(lines)
    upper = max(lines, key=lambda line: (line.label_y, line.kind == "lenient"))
    centre = sum(line.label_y for line in lines) / 2
    centre = min(max(centre, gap / 2), 100 - gap / 2)
    return tuple(
        Line(line.name, line.kind, line.path, line.marks, line.label, centre + (gap / 2 if line is upper else -gap / 2))
        for line in lines
    )


def _band(points: Sequence[CurvePoint], right: float) -> str:
    bounded = [
        (100 * point.minutes / right, float(point.low or 0), float(point.high or 0))
        for point in points
        if _finite(point.low) and _finite(point.high)
    ]
    if len(bounded) < 2:
        return ""
    upper = [(x, 100 - 100 * high) for x, _, high in bounded]
    lower = [(x, 100 - 100 * low) for x, low, _ in reversed(bounded)]
    return _path(upper + lower) + " Z"


def _strip(curve: Curve, name: str, right: float) -> Strip | None:
    values = [(point.minutes, float(value)) for point in curve.points if _finite(value := getattr(point, name))]
    if len(values) < 2:
        return None
    low, high = min(value for _, value in values), max(value for _, value in values)
    span = (high - low) or 1.0
    places = [(100 * at / right, 92 - 84 * (value - low) / span) for at, value in values]
    return Strip(name, _path(places), f"{values[0][1]:.2f}", f"{values[-1][1]:.2f}")


def skill_bars(skill: SkillResult) -> tuple[Bar, ...]:
    """Everything a skill's result should be seen beside, weakest claims first."""
    rows: list[tuple[str, str, float | None]] = [
        (name, "baseline", value) for name, value in sorted(skill.baselines.items(), key=lambda item: item[1])
    ]
    rows += [
        ("before, zero-shot prompt", "before", skill.zero_shot_before),
        ("before, few-shot prompt", "before", skill.few_shot_before),
    ]
    if skill.zero_shot_before is None and skill.few_shot_before is None:
        rows.append(("before", "before", skill.before))
    rows += [
        ("before, any form", "before lenient", skill.lenient_before),
        ("after, any form", "after lenient", skill.lenient_after),
        ("after", "after", skill.after),
    ]
    return tuple(
        Bar(name, kind, 100 * min(max(value, 0.0), 1.0), percent(value))
        for name, kind, value in rows
        if value is not None and math.isfinite(value)
    )


def heat_rows(results: CycleResults) -> tuple[HeatRow, ...]:
    """The retention matrix, oldest release first."""
    live = live_row(results)
    rows = []
    for index, (release, scores) in enumerate(zip(results.releases, results.retention, strict=True)):
        above = results.retention[index - 1] if index else (None,) * len(scores)
        cells = tuple(
            _cell(score, before, learned=skill.learned_in == release)
            for score, before, skill in zip(scores, above, results.skills, strict=True)
        )
        rows.append(HeatRow(release, index == live, cells))
    return tuple(rows)


def _cell(score: float | None, before: float | None, *, learned: bool) -> Cell:
    if score is None or not math.isfinite(score):
        return Cell(percent(None), 0.0, False, learned, "")
    change = signed_points(score - before) if before is not None and math.isfinite(before) else ""
    return Cell(percent(score), 100 * min(max(score, 0.0), 1.0), True, learned, change)


_RULES = {
    "gain": "must lie above 0",
    "lower-bound": "lower bound must lie above the margin",
    "point-estimate": "estimate must lie above the margin",
}


def forest(verdict: VerdictResult, margin: float) -> Forest | None:
    """The checks of `verdict` as intervals on one axis; None without checks."""
    if not verdict.checks:
        return None
    low = min([-margin, *(check.difference.low for check in verdict.checks)])
    high = max([margin, *(check.difference.high for check in verdict.checks)])
    spare = 0.06 * (high - low)
    ticks = nice_ticks(100 * (low - spare), 100 * (high + spare))
    left, span = ticks[0], ticks[-1] - ticks[0]

    def place(share: float) -> float:
        return 100 * (100 * share - left) / span

    rows = tuple(
        ForestRow(
            check=check,
            left=place(check.difference.low),
            width=max(place(check.difference.high) - place(check.difference.low), 0.4),
            middle=place(check.difference.estimate),
            movement=f"{percent(check.reference)} → {percent(check.candidate)}",
            interval=f"{signed_points(check.difference.estimate)} "
            f"({points_range(check.difference.low, check.difference.high)})",
            rule=_RULES[check.rule],
        )
        for check in verdict.checks
    )
    labels = tuple(Tick(100 * (value - left) / span, signed_points(value / 100)) for value in ticks)
    has_kept = any(check.rule != "gain" for check in verdict.checks)
    return Forest(rows, labels, place(0.0), place(-margin), has_kept)
