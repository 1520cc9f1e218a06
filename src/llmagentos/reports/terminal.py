"""Results in the terminal: tables and lines by rich.

In: results, scores, curves, verdicts. Out: rich renderables, printed by the caller or by `print_results`.
It does not know the page, nor which command asked. Text is never read as rich's markup.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llmagentos.evaluation.figures import NOT_MEASURED, percent
from llmagentos.evaluation.metrics import Score
from llmagentos.records.release import Interval, Verdict
from llmagentos.records.results import Curve, CycleResults, SkillResult, VerdictResult
from llmagentos.reports.wording import (
    consequences,
    count,
    headline,
    improved,
    live_row,
    minutes,
    plain,
    points_range,
    signed_points,
    together,
)

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

_GOOD, _BAD, _QUIET = "bold cyan", "bold red", "dim"
_HEAT_FROM, _HEAT_TO = (30, 41, 59), (125, 180, 255)
"""The page's dark scale: legible on dark and light terminals, since each cell brings its own background."""


def print_results(results: CycleResults, report: Path | None = None, console: Console | None = None) -> None:
    """Print what a cycle achieved: headline, table, retention matrix, verdicts and the path of the report."""
    from rich.console import Console
    from rich.text import Text

    console = console or Console()
    blocks: list[RenderableType] = [
        Text(plain(headline(results)), style="bold"),
        Text(plain(consequences(results))),
        summary_table(results),
        retention_table(results),
        *verdict_lines(results.verdicts),
    ]
    if report is not None:
        blocks.append(Text.assemble(("Report  ", _QUIET), plain(str(report))))
    for block in blocks:
        console.print(block, soft_wrap=isinstance(block, Text) and report is not None and block is blocks[-1])
        console.print()


def summary_table(results: CycleResults) -> Table:
    """One row per skill: the best simple policy and the prompts beside before and after, the gain in points."""
    tasks = sorted({skill.tasks for skill in results.skills if skill.tasks})
    on = f" ({' to '.join(map(count, (tasks[0], tasks[-1])[: len(tasks)]))} held-out tasks each)" if tasks else ""
    table = _table(f"What was learned{on}")
    table.add_column("skill", style="bold", overflow="fold")
    for name in ("simple", "few-shot", "before", "after", "any form"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("gain (interval)", justify="right", no_wrap=True)
    for skill in results.skills:
        table.add_row(
            _Name(skill.name),
            percent(max(skill.baselines.values(), default=None)),
            percent(skill.few_shot_before),
            percent(skill.before),
            _text(percent(skill.after), "bold"),
            percent(skill.lenient_after),
            _gain(skill),
        )
    return table


def retention_table(results: CycleResults) -> Table:
    """Releases by skills, the cell's colour saying its score; the release that brought a skill is marked with ◆."""
    from rich.cells import cell_len

    table = _table("What was kept (◆ learned here)")
    table.add_column("release", style="bold", overflow="fold")
    for skill in results.skills:
        table.add_column(_text(skill.name), justify="center", overflow="fold")
    live = live_row(results)
    for index, (release, scores) in enumerate(zip(results.releases, results.retention, strict=True)):
        name = _text(release)
        if index == live:
            name.append(" live", style=_GOOD)
        cells = [
            _heat_cell(score, max(9, cell_len(skill.name)), learned=skill.learned_in == release)
            for score, skill in zip(scores, results.skills, strict=True)
        ]
        table.add_row(name, *cells)
    return table


def verdict_lines(verdicts: Sequence[Verdict | VerdictResult]) -> list[RenderableType]:
    """One paragraph per verdict: released or refused, the candidate, and why."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    paragraphs: list[RenderableType] = []
    for verdict in verdicts:
        sign = ("✓ released", _GOOD) if verdict.released else ("✕ refused", _BAD)
        line = Text.assemble(sign, "  ", (plain(verdict.candidate), "bold"))
        if isinstance(verdict, VerdictResult):
            about = f"{verdict.skill} by {verdict.learner}" if verdict.skill and verdict.learner else verdict.skill
            line.append(plain(f" → {verdict.release}" if verdict.release else ""))
            line.append(plain(f"  {about}" if about else ""), style=_QUIET)
        paragraphs.append(Group(line, Padding(_text(together(verdict.reason)), (0, 0, 0, 2))))
    return paragraphs


def evaluation_table(scores: Mapping[str, Score], title: str = "Evaluation") -> Table:
    """What `evaluate` found, one row per name (a skill or a policy), intervals included."""
    table = _table(title)
    table.add_column("", style="bold", overflow="fold")
    table.add_column("success", justify="right", no_wrap=True, style="bold")
    level = next((score.strict.level for score in scores.values()), 0.95)
    table.add_column(f"{percent(level)} interval", justify="right", no_wrap=True)
    for name in ("any form", "reward", "steps", "tokens", "seconds", "tasks"):
        table.add_column(name, justify="right", no_wrap=True)
    unfinished = {
        name: ", ".join(f"{number} {end}" for end, number in sorted(score.outcomes.items()) if end != "finished")
        for name, score in scores.items()
    }
    if any(unfinished.values()):
        table.add_column("not finished", style=_QUIET, overflow="fold")
    for name, score in scores.items():
        table.add_row(
            _text(name),
            percent(score.strict.estimate),
            _share_range(score.strict),
            percent(score.lenient.estimate),
            f"{score.reward:.2f}",
            f"{score.steps:.1f}",
            f"{score.tokens:.0f}",
            f"{score.seconds:.1f}",
            count(score.tasks),
            *([unfinished[name]] if any(unfinished.values()) else []),
        )
    return table


def learning_table(curve: Curve) -> Table:
    """A learning curve as rows: minutes, success with its interval and a bar, reward, loss."""
    table = _table(f"{curve.skill}: {curve.learner}" if curve.learner else curve.skill)
    for name in ("time", "success"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for name in ("interval", "any form", "reward", "loss"):
        table.add_column(name, justify="right", no_wrap=True)
    for point in curve.points:
        bounds = f"{percent(point.low)} to {percent(point.high)}" if None not in (point.low, point.high) else ""
        table.add_row(
            minutes(point.minutes),
            percent(point.strict),
            _text(_bar(point.strict), "cyan"),
            bounds,
            percent(point.lenient),
            "" if point.reward is None else f"{point.reward:.2f}",
            "" if point.loss is None else f"{point.loss:.3f}",
        )
    return table


def _table(title: str) -> Table:
    from rich import box
    from rich.table import Table

    return Table(
        title=_text(title, "bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        header_style=_QUIET,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )


def _text(content: str, style: str = "") -> Text:
    from rich.text import Text

    return Text(plain(content), style=style)


class _Name:
    """A name that is broken behind its parts where it is too long: `Drills-v0?` above `kind=lookup`."""

    def __init__(self, name: str) -> None:
        self._parts = re.split(r"(?<=[?&])", plain(name))

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        from rich.cells import cell_len
        from rich.measure import Measurement

        widths = [cell_len(part) for part in self._parts]
        return Measurement(max(widths), sum(widths))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        fits = self.__rich_measure__(console, options).maximum <= options.max_width
        yield Text(("" if fits else "\n").join(self._parts))


def _gain(skill: SkillResult) -> Text:
    """In whole points: tenths are noise with intervals as wide as these."""
    from rich.text import Text

    return Text.assemble(
        (signed_points(round(skill.after - skill.before, 2)), _GOOD if improved(skill) else ""),
        (f" ({points_range(round(skill.low, 2), round(skill.high, 2))})", _QUIET),
    )


def _share_range(interval: Interval) -> str:
    return f"{percent(interval.low)} to {percent(interval.high)}"


def _heat_cell(score: float | None, width: int, *, learned: bool) -> Text:
    label = f"{percent(score)} ◆" if learned else percent(score)
    if score is None or percent(score) == NOT_MEASURED:
        return _text(label, _QUIET)
    share = min(max(score, 0.0), 1.0)
    red, green, blue = (round(low + share * (high - low)) for low, high in zip(_HEAT_FROM, _HEAT_TO, strict=True))
    ink = "black" if share > 0.55 else "bright_white"
    return _text(label.center(width), f"{ink} on rgb({red},{green},{blue})")


def _bar(share: float | None, width: int = 20) -> str:
    filled = 0 if share is None or not 0 <= share <= 1 else round(share * width)
    return "█" * filled + "·" * (width - filled)
