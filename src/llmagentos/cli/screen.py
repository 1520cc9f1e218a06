"""How commands show things: tables, JSON, one red line.

In: rows and records. Out: text on the terminal; plain where it is not one. It does not know what is shown.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_WIDTH = 160
"""Columns of a table that goes into a file or a pipe."""


def console(*, error: bool = False) -> Console:
    """Rich's console on standard output or standard error."""
    from rich.console import Console

    stream = sys.stderr if error else sys.stdout
    return Console(stderr=error, highlight=False, width=None if stream.isatty() else PLAIN_WIDTH, soft_wrap=error)


def complain(text: str) -> None:
    """One red line on standard error."""
    from rich.text import Text

    console(error=True).print(Text(text, style="bold red"))


def say(text: str, style: str = "") -> None:
    """A line on standard output; nothing in it is read as markup."""
    from rich.text import Text

    console().print(Text(text, style=style))


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str = "") -> None:
    """A table, or the line `empty` when there are no rows."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    if not rows:
        say(empty or f"{title}: none yet.")
        return
    shown = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    for name in columns:
        shown.add_column(name, overflow="fold")
    for row in rows:
        shown.add_row(*(Text(str(cell)) for cell in row))
    console().print(shown)


def as_json(value: Any) -> None:
    """`value`, records included, as indented JSON on standard output."""
    import msgspec

    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def percent(share: float) -> str:
    """`0.853` as `85.3 %`."""
    return f"{100 * share:.1f} %"


def when(seconds: float) -> str:
    """Local date and time, or a dash for none."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if seconds else "–"
