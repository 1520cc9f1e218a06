"""A text that was taken in, and what could not be.

In: `data/` makes documents from sources. Out: learners read them, search finds them.
It does not know files, the web, how text is cleaned or where it is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmagentos.records.identity import LOCAL_OWNER, Origin, Owner


@dataclass(frozen=True, slots=True)
class Document:
    """One clean text with its source."""

    id: str
    source: str
    """Absolute path or URL that it came from."""
    title: str
    text: str
    """Unicode NFC, `\\n` line ends, no control characters, no page furniture."""
    digest: str
    """SHA-256 of the text in UTF-8."""
    owner: Owner = LOCAL_OWNER
    origin: Origin = "outside"
    created: float = 0.0
    """Seconds since the epoch."""
    withdrawn: float | None = None
    """When it was taken out, None while it counts."""


@dataclass(frozen=True, slots=True)
class ScoredDocument:
    """A document that a search found."""

    document: Document
    score: float
    """Higher is better; comparable within one search only."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that a source held and that did not become a document."""

    source: str
    """Absolute path or URL."""
    reason: str
    """One clause a person understands."""
