"""Progress: lines that say enough and no more, in any order of events."""

from __future__ import annotations

import io

import pytest

from llmagentos.cli.progress import PlainProgress, amount, describe, progress
from llmagentos.records.progress import Progress


def test_plain_progress_writes_each_tenth_once() -> None:
    out, now = io.StringIO(), 0.0
    show = PlainProgress(out, lambda: now)
    for done in range(101):
        show(Progress("learning", done, 100, "steps", {"loss": 1.25}))
    lines = out.getvalue().splitlines()
    assert len(lines) == 11
    assert lines[0] == "learning · 0/100 steps · loss 1.25"
    assert lines[-1] == "learning · 100/100 steps · loss 1.25"


def test_plain_progress_breaks_a_long_silence() -> None:
    out, times = io.StringIO(), iter([0.0, 5.0, 16.0])
    show = PlainProgress(out, lambda: next(times))
    for done in (1, 2, 3):
        show(Progress("learning", done, 1000))
    assert len(out.getvalue().splitlines()) == 2


def test_amount_shows_what_is_known() -> None:
    assert amount(Progress("x", 0, 0)) == ""
    assert amount(Progress("x", 3, 0, "files")) == "3 files"
    assert amount(Progress("x", 1.25, 4, "minutes")) == "1.2/4 minutes"


def test_describe_joins_metrics_and_note() -> None:
    event = Progress("x", 1, 2, metrics={"tokens_per_second": 412.345}, note="warming up")
    assert describe(event) == "tokens per second 412, warming up"


def test_bars_survive_markup_in_what_they_show(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    out = io.StringIO()
    monkeypatch.setattr(
        "llmagentos.cli.screen.console", lambda error=False: Console(file=out, force_terminal=True, width=120)
    )
    with progress() as show:
        show(Progress("first [/bold]", 1, 2, note="[red]x"))
        show(Progress("second", 5, 0, "files"))
        show(Progress("first [/bold]", 2, 2))
    assert "[/bold]" in out.getvalue()
    assert "5 files" in out.getvalue()
