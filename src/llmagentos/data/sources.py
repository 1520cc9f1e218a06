"""Opens a source, a text file, a folder or a web page, as clean documents.

In: a location as a person writes it. Out: `Document`s one at a time; what could not be read is reported and left out.
It does not know the store nor what documents are used for.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from llmagentos.data import cleaning
from llmagentos.data.web import WebLimits, check_url, fetch
from llmagentos.errors import NotFoundError, SourceError
from llmagentos.records.document import Document, LeftOut
from llmagentos.records.identity import new_id

PAGE_TYPES = frozenset({"text/html", "application/xhtml+xml"})
_PAGE_SUFFIXES = frozenset({".html", ".htm", ".xhtml"})


@dataclass(frozen=True, slots=True)
class SourceLimits:
    """What one source may hold."""

    bytes: int = 10_000_000
    """Size of one file."""
    documents: int = 10_000
    """Documents of a folder; reaching it is reported."""
    web: WebLimits = field(default_factory=WebLimits)


def open_source(
    location: str | Path,
    *,
    limits: SourceLimits | None = None,
    on_left_out: Callable[[LeftOut], None] | None = None,
) -> Iterator[Document]:
    """Documents of a file, a folder (with everything below it) or a web page, cleaned, each text once.

    A bad file inside a folder is reported through `on_left_out` and passed over. A location that is itself bad raises:
    `NotFoundError` when nothing is there, `SourceError` when it is not readable text.
    """
    limits = limits or SourceLimits()
    report = on_left_out or (lambda left_out: None)
    if "://" in str(location):
        check_url(str(location))
        return iter([_page(str(location), limits)])
    path = Path(location).expanduser()
    if path.is_file():
        return iter([_file(path.resolve(), limits)])
    if path.is_dir():
        return _folder(path.resolve(), limits, report)
    raise NotFoundError(
        "source", str(location), hint="Give a text file, a folder, or an address that starts with http:// or https://."
    )


def _folder(root: Path, limits: SourceLimits, report: Callable[[LeftOut], None]) -> Iterator[Document]:
    seen: dict[str, str] = {}
    for path in _walk(root, report):
        try:
            document = _file(path, limits)
        except SourceError as problem:
            report(LeftOut(str(path), str(problem).removeprefix(f"{path} ")))
            continue
        sense = cleaning.sense_digest(document.text)
        if sense in seen:
            report(LeftOut(str(path), f"says the same as {seen[sense]}"))
            continue
        if len(seen) == limits.documents:
            report(LeftOut(str(root), f"holds more than {limits.documents:,} documents; the rest was not read"))
            return
        seen[sense] = str(path)
        yield document


def _walk(root: Path, report: Callable[[LeftOut], None]) -> Iterator[Path]:
    """Regular files below `root` in order of name; hidden ones are passed over, links out of the folder reported."""

    def failed(problem: OSError) -> None:
        report(LeftOut(str(problem.filename), f"cannot be listed: {problem.strerror}"))

    for folder, folders, names in os.walk(root, onerror=failed):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if name.startswith("."):
                continue
            if not path.resolve().is_relative_to(root):
                report(LeftOut(str(path), "is a link that leads out of the folder"))
            elif path.is_file():
                yield path


def _file(path: Path, limits: SourceLimits) -> Document:
    try:
        size = path.stat().st_size
        if size > limits.bytes:
            raise SourceError(f"{path} is larger than {limits.bytes:,} bytes ({size:,}); split it")
        data = path.read_bytes()
    except OSError as problem:
        raise SourceError(f"{path} cannot be read: {problem.strerror}") from problem
    try:
        text = cleaning.decode(data)
        if path.suffix.lower() in _PAGE_SUFFIXES or cleaning.is_page(text):
            return _document(str(path), cleaning.clean_page(text), path.stem)
        return _document(str(path), cleaning.CleanText("", cleaning.clean_text(text)), path.stem)
    except SourceError as problem:
        raise SourceError(f"{path} {problem}") from problem


def _page(url: str, limits: SourceLimits) -> Document:
    page = fetch(url, limits.web)
    try:
        text = cleaning.decode(page.data, page.charset)
        if page.media_type in PAGE_TYPES or cleaning.is_page(text):
            return _document(page.url, cleaning.clean_page(text, page.url), page.url)
        return _document(page.url, cleaning.CleanText("", cleaning.clean_text(text)), page.url)
    except SourceError as problem:
        raise SourceError(f"{page.url} {problem}") from problem


def _document(source: str, clean: cleaning.CleanText, name: str) -> Document:
    if cleaning.is_near_empty(clean.text):
        raise SourceError(f"holds too little text (under {cleaning.MIN_CHARACTERS} letters)")
    digest = hashlib.sha256(clean.text.encode()).hexdigest()
    title = clean.title or cleaning.first_line(clean.text) or name
    return Document(new_id("doc"), source, title, clean.text, digest, created=time.time())
