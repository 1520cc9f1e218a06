"""Spreadsheets: the rows of the first sheet that is shown and holds any, as Excel and LibreOffice save them.

In: a file. Out: `RawRow`s; other sheets with rows are told of. Formulas are read as the values that they had when the
file was saved; nothing in it is executed.
It does not know what a column means.
"""

from __future__ import annotations

import importlib
import math
import zipfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from llmagentos.environments.request_rows import RawRow, Report
from llmagentos.environments.request_tables import SAMPLE, Row, named_rows
from llmagentos.errors import MissingExtraError, SourceError
from llmagentos.records.document import LeftOut

SPREADSHEETS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
MOST_UNPACKED = 1_000_000_000
"""Bytes that a packed file may hold: it is read into memory as a whole."""


def sheet_rows(path: Path, report: Report) -> Iterator[RawRow]:
    """The rows of a spreadsheet under the names in the first one. `SourceError` where it cannot be read as a table,
    `MissingExtraError` without the package that reads it."""
    try:
        calamine: Any = importlib.import_module("python_calamine")
    except ImportError:
        raise MissingExtraError(f"{path.name} (spreadsheets)", "data") from None
    _check_size(path)
    try:
        with calamine.load_workbook(path) as book:
            shown = [one.name for one in book.sheets_metadata if one.visible == calamine.SheetVisibleEnum.Visible]
            sheets = [sheet for name in shown if (sheet := book.get_sheet_by_name(name)).height]
    except calamine.PasswordError:
        raise SourceError(f"{path} is locked by a password. Save it without one, or its sheet as CSV.") from None
    except (calamine.CalamineError, OSError, ValueError) as problem:
        raise SourceError(f"{path} is no spreadsheet that can be read: {problem}") from problem
    if not sheets:
        raise SourceError(f"{path} holds no rows in any of its sheets.")
    for other in sheets[1:]:
        report(LeftOut(f"{path.name}:{other.name}", f"is another sheet; only the first is read, {sheets[0].name!r}"))
    rows = _rows(path.name, sheets[0])
    first = next(rows)
    yield from named_rows(path, first, list(islice(rows, SAMPLE)), rows)


def _rows(name: str, sheet: Any) -> Iterator[Row]:
    """Every row that holds something, with its number as the spreadsheet shows it."""
    top = (sheet.start or (0, 0))[0]
    for number, cells in enumerate(sheet.to_python(), start=top + 1):
        fields = [_text(cell) for cell in cells]
        if any(field.strip() for field in fields):
            yield f"{name}:{number}", fields


def _text(cell: object) -> str:
    """A cell as CSV would have it: whole numbers without a point, dates as ISO 8601 has them."""
    if isinstance(cell, float) and math.isfinite(cell) and cell == int(cell):
        return str(int(cell))
    isoformat = getattr(cell, "isoformat", None)
    return isoformat() if isoformat else str(cell)


def _check_size(path: Path) -> None:
    """`SourceError` for a file that unpacks to more than is held in memory."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as packed:
        size = sum(one.file_size for one in packed.infolist())
    if size > MOST_UNPACKED:
        raise SourceError(f"{path} unpacks to {size / 1e9:.1f} GB. Save its sheet as CSV, which is read row by row.")
