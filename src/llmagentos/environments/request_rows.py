"""What every reader of a user's file gives and needs: one record as it was written, names of splits, encodings.

In: a path or names. Out: `RawRow`, the split that a name says, the encoding of a file.
It does not know file formats (`request_files`) nor what a record means.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from charset_normalizer import from_bytes

from llmagentos.errors import SourceError
from llmagentos.records.document import LeftOut
from llmagentos.records.identity import JSON
from llmagentos.records.task import Split

MOST_CHARACTERS = 1_000_000
"""Of one field of a table and one line of a JSONL file."""
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

NOT_UTF8 = "has bytes that are no UTF-8; save the file as UTF-8 (iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW)"
BROKEN = "\ufffd"
"""What stands in the place of bytes that are no UTF-8."""
OTHER_ENCODINGS = ("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "gb18030", "big5", "cp932", "euc_kr")
"""What spreadsheets write where it is not UTF-8: others that are like these were taken for them."""
LOOKED_AT = 4_000_000
"""Bytes in which other encodings than UTF-8 are looked for."""
SHOWN_TO_DETECTION = 100_000
"""Bytes of the lines that are no UTF-8."""
LEAST_BROKEN = 3
"""Lines that are no UTF-8 make another encoding of a file; fewer are damaged and left out."""

Report = Callable[[LeftOut], None]


@dataclass(frozen=True, slots=True)
class RawRow:
    """One record as it was written."""

    place: str
    """File and line, or file and number of the record."""
    fields: Mapping[str, JSON]
    split: str = ""
    """What the file says by its name or its folder; empty where it says nothing."""
    assumed: str = ""
    """What was told by the content of the file as it did not say it, in words for its reader."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a file's bytes are characters."""

    name: str
    """As Python's `open` takes it."""
    assumed: str = ""
    """As in `RawRow`."""


def split_in(words: Iterable[str]) -> str:
    """The first of `words`, or of their parts between hyphens and the like, that is the name of a split; else empty."""
    parts = (part for word in words for part in re.split(r"[^a-z]+", word.lower()))
    return next((part for part in parts if part in SPLITS), "")


def encoding_of(path: Path, *, least: int = LEAST_BROKEN) -> Encoding:
    """UTF-8, UTF-16 where its mark says so, else what spreadsheets write and the bytes fit best.

    Less than `least` lines that are no UTF-8, or fewer of them than of lines that need it and are, count as damaged.
    `SourceError` for what is no text, whatever its name says.
    """
    with path.open("rb") as file:
        start = file.read(LOOKED_AT)
    if start[:2] == b"\x1f\x8b" or start[:4] == b"PK\x03\x04":
        what = "gzip" if start[:1] == b"\x1f" else "a ZIP archive or a spreadsheet"
        raise SourceError(f"{path} is no text but {what}. Unpack it, or save its sheet as CSV in UTF-8.")
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return Encoding("utf-16")
    lines = start.splitlines()
    if len(start) == LOOKED_AT and len(lines) > 1:
        del lines[-1]  # it may end amid a character
    special = [line for line in lines if not line.isascii()]
    broken = [line for line in special if BROKEN in line.decode(errors="replace")]
    if len(broken) < least or len(broken) <= len(special) - len(broken):
        return Encoding("utf-8-sig")
    found = from_bytes(b"\n".join(broken)[:SHOWN_TO_DETECTION], cp_isolation=list(OTHER_ENCODINGS)).best()
    return Encoding(found.encoding, f"as {found.encoding}, it is no UTF-8") if found else Encoding("utf-8-sig")
