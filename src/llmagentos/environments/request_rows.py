"""Records of a user's file or folder, one after another: CSV, TSV, JSON, JSONL, Parquet, Arrow, Hugging Face folders.

In: a path. Out: `RawRow`s with their place, and what could not be read with the reason. Nothing is executed.
It does not know what a record means.
"""

from __future__ import annotations

import csv
import json
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
    files = [path for path in sorted(root.rglob("*")) if path.suffix.lower() in KINDS and path.is_file()]
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
    else:
        raise SourceError(f"{path} is of no kind that is read here. Give one of: {', '.join(KINDS)}.")
    for row in found:
        yield RawRow(row.place, row.fields, row.split or split)


def _separated(path: Path, separator: str, report: Report) -> Iterator[RawRow]:
    csv.field_size_limit(MOST_CHARACTERS)
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
        start = lines.read(20_000)
        lines.seek(0)
        reader = csv.reader(lines, delimiter=separator or _delimiter(start))
        names = [name.strip() for name in next(reader, [])]
        if not names or len(set(names)) != len(names) or not all(names):
            raise SourceError(f"{path}: its first line has to name each column once, and says {names!r}.")
        while True:
            line = reader.line_num + 1
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as problem:
                report(LeftOut(f"{path.name}:{line}", f"is no row of a table: {problem}"))
                continue
            if not any(field.strip() for field in fields):
                continue
            if len(fields) != len(names):
                report(LeftOut(f"{path.name}:{line}", f"has {len(fields)} columns instead of {len(names)}"))
            elif any("\ufffd" in field for field in fields):
                report(LeftOut(f"{path.name}:{line}", "has bytes that are no UTF-8"))
            else:
                yield RawRow(f"{path.name}:{line}", dict(zip(names, fields, strict=True)))


def _delimiter(start: str) -> str:
    """Comma, semicolon or tab: what the first line has most of."""
    first = start.partition("\n")[0]
    return max(",;\t", key=first.count)


def _json_lines(path: Path, report: Report) -> Iterator[RawRow]:
    with path.open(encoding="utf-8-sig", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            place = f"{path.name}:{number}"
            if not line.strip():
                continue
            if len(line) > MOST_CHARACTERS:
                report(LeftOut(place, f"has more than {MOST_CHARACTERS:,} characters"))
                continue
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as problem:
                report(LeftOut(place, f"is no JSON: {str(problem)[:100]}"))
                continue
            if isinstance(value, dict):
                yield RawRow(place, value)
            else:
                report(LeftOut(place, f"is a JSON {type(value).__name__}, not an object with named fields"))


def _json(path: Path, report: Report) -> Iterator[RawRow]:
    """A list of objects, or such lists by split."""
    try:
        value = json.loads(path.read_bytes())
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
