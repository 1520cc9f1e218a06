"""Takes sources in: reads them, leaves out what is known already, stores the rest.

In: a location and somewhere to keep documents. Out: an `Intake` that says what was added and what was not.
It does not know what the documents will be used for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from llmagentos.data.cleaning import sense_digest
from llmagentos.data.sources import SourceLimits, open_source
from llmagentos.records.document import Document, LeftOut
from llmagentos.records.progress import Progress


class DocumentShelf(Protocol):
    """Where documents are kept."""

    def add(self, document: Document) -> Document:
        """Store one document and return it as stored."""
        ...

    def list(self) -> list[Document]:
        """Every document that counts."""
        ...


@dataclass(frozen=True, slots=True)
class Intake:
    """What connecting a source did."""

    source: str
    added: tuple[Document, ...]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def characters(self) -> int:
        """Length of the added texts."""
        return sum(len(document.text) for document in self.added)

    def __str__(self) -> str:
        lines = [f"{self.source}: {len(self.added)} documents added ({self.characters:,} characters)"]
        if self.left_out:
            lines[0] += f", {len(self.left_out)} left out"
            lines += [f"  left out: {one.source} {one.reason}" for one in self.left_out]
        return "\n".join(lines)


def take_in(
    location: str | Path,
    shelf: DocumentShelf,
    *,
    limits: SourceLimits | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Intake:
    """Read a source and store every document that is not there yet; errors as `open_source`."""
    left_out: list[LeftOut] = []
    added: list[Document] = []
    documents = open_source(location, limits=limits, on_left_out=left_out.append)
    known = {sense_digest(document.text): document.source for document in shelf.list()}
    for document in documents:
        sense = sense_digest(document.text)
        if sense in known:
            left_out.append(LeftOut(document.source, f"says the same as {known[sense]}, which is here already"))
            continue
        known[sense] = document.source
        added.append(shelf.add(document))
        if on_progress is not None:
            on_progress(Progress(f"reading {location}", len(added), 0, "documents"))
    return Intake(str(location), tuple(added), tuple(left_out))
