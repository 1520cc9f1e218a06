"""Records of a user's file or folder, one after another: CSV, TSV, JSON, JSONL, Parquet, Arrow, Hugging Face folders.

In: a path. Out: `RawRow`s with their place, and what could not be read with the reason. Nothing is executed.
It does not know what a record means.
"""

from __future__ import annotations

import csv
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmagentos.errors import MissingExtraError, NotFoundError, SourceError
from llmagentos.records.document import LeftOut
from llmagentos.records.identity import JSON
from llmagentos.records.task import Split

KINDS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".arrow")
MOST_CHARACTERS = 1_000_000
"""Of one field of a CSV file and one line of a JSONL file."""
SPLITS: Mapping[str, Split | None] = {
    "train": "train",
    "training": "train",
    "development": "development",
    "dev": "development",
    "validation": "development",
    "valid": "development",
    "val": "development",
    "gate": "gate",
    "report": "report",
    "test": None,
    "testing": None,
    "eval": None,
}
"""What the split of a row may be called; None is held out, for the gate and the report."""

PACKED = (".gz", ".zip", ".bz2", ".xz", ".zst", ".7z", ".tar", ".xls", ".xlsx", ".ods")
"""What is not opened here. Among the files of a folder these are told of: somebody may count on them."""
NOT_UTF8 = "has bytes that are no UTF-8; save the file as UTF-8 (iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW)"
ONE_LIST = "a file that is one list of objects is named .json"
BROKEN = "\ufffd"
"""What stands in the place of bytes that are no UTF-8."""

Report = Callable[[LeftOut], None]


@dataclass(frozen=True, slots=True)
class RawRow:
    """One record as it was written."""

    place: str
    """File and line, or file and number of the record."""
    fields: Mapping[str, JSON]
    split: str = ""
    """What the file says by its name or its folder; empty where it says nothing."""


def read_rows(path: Path, report: Report) -> Iterator[RawRow]:
    """Every record of a file, or of all the files of a folder.

    A record that cannot be read goes to `report`. `NotFoundError` where nothing is there, `SourceError` for a file that
    cannot be read at all, `MissingExtraError` for Parquet and Arrow without the package that reads them.
    """
    if path.is_dir():
        yield from _folder(path, report)
    elif path.is_file():
        yield from _file(path, "", report)
    else:
        raise NotFoundError("data file", str(path), hint=f"Give a file ({', '.join(KINDS)}) or a folder of such files.")


def _folder(root: Path, report: Report) -> Iterator[RawRow]:
    found = [path for path in sorted(root.rglob("*")) if path.is_file()]
    for path in found:
        if path.suffix.lower() in PACKED:
            report(LeftOut(str(path.relative_to(root)), _unopened(path)))
    files = [path for path in found if path.suffix.lower() in KINDS]
    described = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}
    files = [path for path in files if path.name not in described]
    if not files:
        raise SourceError(f"{root} holds no data. Give a folder with files of the kinds {', '.join(KINDS)}.")
    for path in files:
        yield from _file(path, _split_name(path, root), report)


def _split_name(path: Path, root: Path) -> str:
    """The split that a file's name or folder says: `train.jsonl`, `test-00000-of-00001.parquet`, `validation/...`."""
    inside = path.relative_to(root)
    words = [path.stem.lower().replace("_", "-").split("-")[0].split(".")[0], *(p.lower() for p in inside.parts[:-1])]
    return next((word for word in words if word in SPLITS), "")


def _file(path: Path, split: str, report: Report) -> Iterator[RawRow]:
    kind = path.suffix.lower()
    if kind in (".csv", ".tsv"):
        found = _separated(path, "\t" if kind == ".tsv" else "", report)
    elif kind in (".jsonl", ".ndjson"):
        found = _json_lines(path, report)
    elif kind == ".json":
        found = _json(path, report)
    elif kind in (".parquet", ".arrow"):
        found = _columns(path)
    elif kind in PACKED:
        raise SourceError(f"{path} {_unopened(path)}.")
    else:
        raise SourceError(f"{path} is of no kind that is read here. Give one of: {', '.join(KINDS)}.")
    for row in found:
        yield RawRow(row.place, row.fields, row.split or split)


def _unopened(path: Path) -> str:
    if path.suffix.lower() in (".xls", ".xlsx", ".ods"):
        return "is a spreadsheet, which is not read here; save its sheet as CSV in UTF-8"
    unpack = f"gunzip -k '{path}'" if path.suffix.lower() == ".gz" else "and give the file in it"
    return f"is packed, which is not read here; unpack it first: {unpack}"


def _encoding(path: Path) -> str:
    """UTF-8, or UTF-16 where its mark says so; `SourceError` for what is no text, whatever its name says."""
    with path.open("rb") as file:
        start = file.read(4)
    if start[:2] == b"\x1f\x8b" or start == b"PK\x03\x04":
        what = "gzip" if start[:1] == b"\x1f" else "a ZIP archive or a spreadsheet"
        raise SourceError(f"{path} is no text but {what}. Unpack it, or save its sheet as CSV in UTF-8.")
    return "utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


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


def _separated(path: Path, separator: str, report: Report) -> Iterator[RawRow]:
    csv.field_size_limit(MOST_CHARACTERS)
    with path.open(encoding=_encoding(path), errors="replace", newline="") as file:
        start = file.read(20_000)
        file.seek(0)
        lines = _Lines(file)
        reader = csv.reader(lines, delimiter=separator or _delimiter(start))
        names = _column_names(path, reader)
        wanted = [(name, place) for place, name in enumerate(names) if name]
        while True:
            place = f"{path.name}:{lines.begin()}"
            fields, problem = _row(reader)
            open_quote = len(lines.row) > 1 and (problem or lines.ended)
            if open_quote:
                report(
                    LeftOut(place, f"opens a quote that is not closed; the {len(lines.row) - 1} lines behind it count")
                )
                lines.give_back()
            elif problem:
                report(LeftOut(place, f"is no row of a table: {problem}"))
            elif fields is None:
                return
            elif not any(map(str.strip, fields)):
                continue
            elif len(fields) != len(names):
                over = f", from here to line {lines.number + len(lines.row)}" if len(lines.row) > 1 else ""
                report(LeftOut(place, f"has {len(fields)} columns instead of {len(names)}{over}"))
            elif any(BROKEN in field for field in fields):
                report(LeftOut(place, NOT_UTF8))
            else:
                yield RawRow(place, {name: fields[at] for name, at in wanted})


def _column_names(path: Path, reader: Iterator[list[str]]) -> list[str]:
    """What the first line calls the columns; those without a name, such as the numbers of rows that pandas writes, are
    not read."""
    found, problem = _row(reader)
    names = [name.strip() for name in found or []]
    known = [name for name in names if name]
    if problem or not known or len(set(known)) != len(known) or any(BROKEN in name for name in known):
        said = problem or repr(names)[:300]
        raise SourceError(f"{path}: its first line has to name each column once, in UTF-8, and says {said}.")
    return names


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


def _json_lines(path: Path, report: Report) -> Iterator[RawRow]:
    name = path.name
    with path.open(encoding=_encoding(path), errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            place = f"{name}:{number}"
            if line.isspace():
                continue
            if BROKEN in line:
                report(LeftOut(place, NOT_UTF8))
                continue
            if len(line) > MOST_CHARACTERS:
                report(LeftOut(place, f"has more than {MOST_CHARACTERS:,} characters"))
                continue
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as problem:
                hint = f"; {ONE_LIST}" if number == 1 and line.lstrip().startswith("[") else ""
                report(LeftOut(place, f"is no JSON: {str(problem)[:100]}{hint}"))
                continue
            if isinstance(value, dict):
                yield RawRow(place, value)
            else:
                hint = f"; {ONE_LIST}" if isinstance(value, list) else ""
                report(LeftOut(place, f"is a JSON {type(value).__name__}, not an object with named fields{hint}"))


def _json(path: Path, report: Report) -> Iterator[RawRow]:
    """A list of objects, or such lists by split."""
    try:
        value = json.loads(path.read_text(encoding=_encoding(path)))
    except UnicodeDecodeError as problem:
        raise SourceError(f"{path} {NOT_UTF8}: the first is at byte {problem.start}.") from None
    except (ValueError, RecursionError) as problem:
        why = str(problem)[:100]
        raise SourceError(f"{path} is no JSON: {why}. One object a line goes into a .jsonl file.") from None
    parts = value if isinstance(value, dict) else {"": value}
    if not all(isinstance(rows, list) for rows in parts.values()):
        raise SourceError(f"{path} is neither a list of objects nor such lists by split, such as {{'train': [...]}}.")
    for split, rows in parts.items():
        for number, row in enumerate(rows, start=1):
            place = f"{path.name}:{split + ' ' if split else ''}record {number}"
            if isinstance(row, dict):
                yield RawRow(place, row, split.lower() if split.lower() in SPLITS else "")
            else:
                report(LeftOut(place, f"is a JSON {type(row).__name__}, not an object with named fields"))


def _columns(path: Path) -> Iterator[RawRow]:
    """Parquet, or the Arrow stream that Hugging Face's `save_to_disk` writes; labels by their names."""
    try:
        import pyarrow
        from pyarrow import ipc, parquet
    except ImportError:
        raise MissingExtraError(f"{path.name} ({path.suffix} files)", "data") from None
    number = 0
    try:
        if path.suffix.lower() == ".parquet":
            file = parquet.ParquetFile(path)
            schema, batches = file.schema_arrow, file.iter_batches(batch_size=4096)
        else:
            stream = ipc.open_stream(pyarrow.memory_map(str(path)))
            schema, batches = stream.schema, iter(stream)
        names = _label_names(schema.metadata or {})
        for batch in batches:
            for record in batch.to_pylist():
                number += 1
                fields = {key: _named(names, key, value) for key, value in record.items()}
                yield RawRow(f"{path.name}:record {number}", fields)
    except (pyarrow.ArrowException, OSError) as problem:
        raise SourceError(f"{path} is damaged behind record {number}: {problem}") from problem


def _label_names(metadata: Mapping[bytes, bytes]) -> dict[str, list[str]]:
    """Hugging Face's names of the numbers in label columns."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        return {name: list(one["names"]) for name, one in features.items() if one.get("_type") == "ClassLabel"}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}


def _named(names: Mapping[str, list[str]], column: str, value: Any) -> JSON:
    known = names.get(column)
    if known is not None and isinstance(value, int) and 0 <= value < len(known):
        return known[value]
    return value
