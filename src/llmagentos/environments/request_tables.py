"""Tables: rows of fields that a separator stands between, under names of columns or without them.

In: a file. Out: `RawRow`s, and what could not be read with the reason.
It does not know what a column means.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from statistics import median_low
from typing import TypeAlias

from llmagentos.environments.request_rows import BROKEN, MOST_CHARACTERS, NOT_UTF8, RawRow, Report, encoding_of
from llmagentos.errors import SourceError
from llmagentos.records.document import LeftOut

SAMPLE = 500
"""Rows by which it is told whether the first line is one of them."""
AGAIN = 2
"""Times that a cell of the first line comes again under itself where that line names nothing."""
TEXT = 3
"""Words that a text has, and no name of a column beside labels."""
NO_NAMES = "the first line is a row, columns are called column 1, column 2 ..."

Row: TypeAlias = tuple[str, list[str]]
"""Where a row stands, and its fields."""


class _Lines:
    """Lines of a table that can be given back: a quote that is never closed swallows all that come behind it."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines, self._again = lines, deque[str]()
        self.row: list[str] = []
        """Lines since `begin`."""
        self.ended = False
        """Whether more lines were asked for than there are."""
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        try:
            line = self._again.popleft() if self._again else next(self._lines)
        except StopIteration:
            self.ended = True
            raise
        self.row.append(line)
        return line

    def begin(self) -> int:
        """Begin another row; the number of its first line."""
        self.number += len(self.row)
        self.row, self.ended = [], False
        return self.number + 1

    def give_back(self) -> None:
        """Read all lines of this row but its first again."""
        self._again.extendleft(reversed(self.row[1:]))
        del self.row[1:]


def table_rows(path: Path, separator: str, report: Report) -> Iterator[RawRow]:
    """The rows of a table; `separator` is found where it is empty. Where no row names the columns, numbers do."""
    csv.field_size_limit(MOST_CHARACTERS)
    encoding = encoding_of(path)
    with path.open(encoding=encoding.name, errors="replace", newline="") as file:
        start = file.read(20_000)
        file.seek(0)
        lines = _Lines(file)
        reader = csv.reader(lines, delimiter=separator or _delimiter(start))
        fields, problem = _row(reader)
        first = (f"{path.name}:1", fields or [])
        rows = _rows(path.name, len(first[1]), reader, lines, report)
        yield from named_rows(path, first, list(islice(rows, SAMPLE)), rows, encoding.assumed, problem)


def named_rows(
    path: Path, first: Row, sample: Sequence[Row], rest: Iterable[Row], assumed: str = "", problem: str = ""
) -> Iterator[RawRow]:
    """Rows under the names in the `first` one, or under numbers where it is a row as those of the `sample` are.
    `SourceError` where it is neither, or for the `problem` that it had."""
    names, rows = [name.strip() for name in first[1]], chain(sample, rest)
    if is_row(names, [fields for _, fields in sample]):
        rows, names = chain([first], rows), numbered(len(names))
        assumed = "; ".join(filter(None, (assumed, NO_NAMES)))
    else:
        _check_names(path, names, problem)
    wanted = [(name, at) for at, name in enumerate(names) if name]
    for place, fields in rows:
        yield RawRow(place, {name: fields[at] for name, at in wanted}, assumed=assumed)


def numbered(count: int) -> list[str]:
    """Names of columns that have none."""
    return [f"column {number}" for number in range(1, count + 1)]


def is_row(first: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first line of a table is a row as the others are, and no names of columns.

    One of its cells then comes again and again under itself, as labels do; and no text stands under a single word, as
    it does under its name.
    """
    under = [[row[at] for row in rows] for at in range(len(first))]
    again = any(cell and cells.count(cell) >= AGAIN for cell, cells in zip(first, under, strict=True))
    return again and not any(
        len(cell.split()) == 1 and median_low(len(one.split()) for one in cells) >= TEXT
        for cell, cells in zip(first, under, strict=True)
    )


def _rows(name: str, width: int, reader: Iterator[list[str]], lines: _Lines, report: Report) -> Iterator[Row]:
    """Every row behind the first line with its place, those that are no rows of this table reported."""
    while True:
        place = f"{name}:{lines.begin()}"
        fields, problem = _row(reader)
        open_quote = len(lines.row) > 1 and (problem or lines.ended)
        if open_quote:
            report(LeftOut(place, f"opens a quote that is not closed; the {len(lines.row) - 1} lines behind it count"))
            lines.give_back()
        elif problem:
            report(LeftOut(place, f"is no row of a table: {problem}"))
        elif fields is None:
            return
        elif not any(map(str.strip, fields)):
            continue
        elif len(fields) != width:
            over = f", from here to line {lines.number + len(lines.row)}" if len(lines.row) > 1 else ""
            report(LeftOut(place, f"has {len(fields)} columns instead of {width}{over}"))
        elif any(BROKEN in field for field in fields):
            report(LeftOut(place, NOT_UTF8))
        else:
            yield place, fields


def _check_names(path: Path, names: Sequence[str], problem: str) -> None:
    """`SourceError` unless `names` are different ones. Columns without a name, such as the numbers of rows that pandas
    writes, are not read."""
    known = [name for name in names if name]
    if problem or not known or len(set(known)) != len(known) or any(BROKEN in name for name in known):
        said = problem or repr(names)[:300]
        raise SourceError(f"{path}: its first line has to name each column once, in UTF-8, and says {said}.")


def _row(reader: Iterator[list[str]]) -> tuple[list[str] | None, str]:
    """The next row, None behind the last one, and what is wrong with it."""
    try:
        return next(reader, None), ""
    except csv.Error as problem:
        return None, str(problem)


def _delimiter(start: str) -> str:
    """Comma, semicolon or tab: what the first line has most of."""
    first = start.partition("\n")[0]
    return max(",;\t", key=first.count)
