"""The one progress bar: consumes `Progress` events of any long work.

In: events, from any thread. Out: bars on a terminal; elsewhere a line for each stage and every tenth of it.
It does not know what is being done.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

from llmagentos.records.progress import Progress

QUIET_SECONDS = 15.0
"""Longest silence of the plain form while work goes on: someone reading a log must see that it lives."""


@contextmanager
def progress() -> Iterator[Callable[[Progress], None]]:
    """Give a function that shows `Progress` events until the block ends."""
    from llmagentos.cli.screen import console

    screen = console(error=True)
    if not screen.is_terminal:
        yield PlainProgress(screen.file)
        return
    from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    bars = Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[amount]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[said]}", style="dim", markup=False),
        console=screen,
    )
    tasks: dict[str, TaskID] = {}
    lock = threading.Lock()

    def show(event: Progress) -> None:
        with lock:
            if event.stage not in tasks:
                for stage, over in tasks.items():  # stages of one kind run together; those of other kinds are over
                    if kind(stage) != kind(event.stage):
                        bars.stop_task(over)
                tasks[event.stage] = bars.add_task(event.stage, total=None, amount="", said="")
            bars.update(
                tasks[event.stage],
                total=event.total or None,
                completed=event.done,
                amount=amount(event),
                said=describe(event),
            )

    with bars:
        yield show


class PlainProgress:
    """Progress as lines, for logs and pipes."""

    def __init__(self, out: IO[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._out, self._clock = out, clock
        self._last: dict[str, tuple[int, float, str]] = {}
        self._lock = threading.Lock()

    def __call__(self, event: Progress) -> None:
        """Write a line when a stage begins, at each tenth of it, for every new note, and after a long silence."""
        tenth = int(10 * event.done / event.total) if event.total else 0
        now = self._clock()
        with self._lock:
            before = self._last.get(event.stage)
            if before is not None and before[::2] == (tenth, event.note) and now - before[1] < QUIET_SECONDS:
                return
            self._last[event.stage] = (tenth, now, event.note)
            parts = [event.stage, amount(event), describe(event)]
            self._out.write(" · ".join(part for part in parts if part) + "\n")
            self._out.flush()


def kind(stage: str) -> str:
    """`gate` of `gate: SupportDesk-v0 by r1`."""
    return stage.partition(":")[0]


def amount(event: Progress) -> str:
    """`120/300 tasks`, `40 steps` or nothing."""
    if not event.total and not event.done:
        return ""
    done = f"{event.done:g}" if event.done == int(event.done) else f"{event.done:.1f}"
    total = f"/{event.total:g}" if event.total == int(event.total) else f"/{event.total:.1f}"
    return f"{done}{total if event.total else ''} {event.unit}".strip()


def describe(event: Progress) -> str:
    """Metrics and note in a few words."""
    numbers = [f"{name.replace('_', ' ')} {value:.3g}" for name, value in event.metrics.items()]
    return ", ".join([*numbers, event.note] if event.note else numbers)
