"""A user's file or folder, record after record: tables, spreadsheets, JSON, YAML, texts, Parquet, Arrow, Hugging Face
folders.

In: a path. Out: `RawRow`s with their place, and what could not be read with the reason. Nothing is executed.
It does not know what a record means.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from llmagentos.environments.request_json import json_line_rows, json_rows, yaml_rows
from llmagentos.environments.request_rows import BROKEN, NOT_UTF8, RawRow, Report, encoding_of, split_in
from llmagentos.environments.request_sheets import SPREADSHEETS, sheet_rows
from llmagentos.environments.request_tables import table_rows
from llmagentos.errors import MissingExtraError, NotFoundError, SourceError
from llmagentos.records.document import LeftOut
from llmagentos.records.identity import JSON

KINDS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".arrow", *SPREADSHEETS)
"""Where a folder has some, its other files are none of its data."""
TEXTS, YAML = ".txt", (".yml", ".yaml")
PACKED = (".gz", ".zip", ".bz2", ".xz", ".zst", ".7z", ".tar")
"""What is not opened here. Among the files of a folder these are told of: somebody may count on them."""
LABELLED = "__label__"
"""What fastText writes before a label."""
SNIFFED = 20
"""Lines by which it is told what a file holds whose name does not say it."""


def read_rows(path: Path, report: Report) -> Iterator[RawRow]:
    """Every record of a file, or of all the files of a folder.

    A record that cannot be read goes to `report`. `NotFoundError` where nothing is there, `SourceError` for a file that
    cannot be read at all, `MissingExtraError` for Parquet, Arrow and spreadsheets without the package that reads them.
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
    texts = [path for path in found if path.suffix.lower() == TEXTS and path.parent != root]
    if files or not texts:
        files = files or [path for path in found if path.suffix.lower() in YAML]
        if not files:
            raise SourceError(f"{root} holds no data. Give a folder with files of the kinds {', '.join(KINDS)}.")
        for path in files:
            yield from _file(path, _split_name(path, root), report)
    elif len({path.parent.name for path in texts}) > 1:
        yield from _texts_by_folder(root, texts, report)
    else:
        raise SourceError(f"{root} holds texts in one folder only. Give each label a folder with its texts.")


def _texts_by_folder(root: Path, texts: Sequence[Path], report: Report) -> Iterator[RawRow]:
    """Texts whose folder says their label, as in `train/positive/1.txt`."""
    for path in texts:
        inside = path.relative_to(root)
        encoding = encoding_of(path)
        text = path.read_text(encoding=encoding.name, errors="replace")
        if BROKEN in text:
            report(LeftOut(str(inside), NOT_UTF8))
            continue
        fields: dict[str, JSON] = {"text": text, "label": path.parent.name}
        yield RawRow(str(inside), fields, split_in(inside.parts[:-2]), "a text a file, labels are the folders")


def _split_name(path: Path, root: Path) -> str:
    """The split that a file's name or folder says: `train.jsonl`, `test-00000-of-00001.parquet`, `validation/...`."""
    inside = path.relative_to(root)
    words = [path.stem.lower().replace("_", "-").split("-")[0].split(".")[0], *(p.lower() for p in inside.parts[:-1])]
    return split_in(words)


def _file(path: Path, split: str, report: Report) -> Iterator[RawRow]:
    kind = path.suffix.lower()
    if kind in PACKED:
        raise SourceError(f"{path} {_unopened(path)}.")
    if kind in (TEXTS, ""):
        found = _lines(path, report)
    elif kind in (".csv", ".tsv"):
        found = table_rows(path, "\t" if kind == ".tsv" else "", report)
    elif kind in (".jsonl", ".ndjson"):
        found = json_line_rows(path, report)
    elif kind == ".json":
        found = json_rows(path, report)
    elif kind in YAML:
        found = yaml_rows(path, report)
    elif kind in SPREADSHEETS:
        found = sheet_rows(path, report)
    elif kind in (".parquet", ".arrow"):
        found = _columns(path)
    else:
        raise _no_kind(path)
    for row in found:
        yield RawRow(row.place, row.fields, row.split or split, row.assumed)


def _no_kind(path: Path) -> SourceError:
    return SourceError(f"{path} is of no kind that is read here. Give one of: {', '.join(KINDS)}.")


def _unopened(path: Path) -> str:
    unpack = f"gunzip -k '{path}'" if path.suffix.lower() == ".gz" else "and give the file in it"
    return f"is packed, which is not read here; unpack it first: {unpack}"


def _lines(path: Path, report: Report) -> Iterator[RawRow]:
    """What a file holds whose name does not say it: JSON lines, fastText's labels, or a table with tabs."""
    encoding = encoding_of(path)
    with path.open(encoding=encoding.name, errors="replace") as lines:
        start = [line for line in islice(lines, SNIFFED) if not line.isspace()]
    if start and all(line.startswith(LABELLED) for line in start):
        return _labelled_lines(path, report)
    if start and all(line.lstrip().startswith("{") for line in start):
        return json_line_rows(path, report)
    if start and all("\t" in line for line in start):
        return table_rows(path, "\t", report)
    raise _no_kind(path)


def _labelled_lines(path: Path, report: Report) -> Iterator[RawRow]:
    """Labels before a text, as fastText has them."""
    encoding = encoding_of(path)
    with path.open(encoding=encoding.name, errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            words = line.split()
            labels: list[JSON] = [word.removeprefix(LABELLED) for word in words if word.startswith(LABELLED)]
            text = " ".join(word for word in words if not word.startswith(LABELLED))
            if BROKEN in line:
                report(LeftOut(f"{path.name}:{number}", NOT_UTF8))
            elif labels:
                yield RawRow(
                    f"{path.name}:{number}", {"text": text, "label": labels[0] if len(labels) == 1 else labels}
                )
            elif words:
                report(LeftOut(f"{path.name}:{number}", f"has no label ({LABELLED}NAME)"))


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
