"""What was read: one cleaned document and what was left out.

In: `data/` makes them from files and pages. Out: the store keeps them, learners and knowledge read them.
It does not know files, the web or how text is cleaned.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmagentos.records.identity import LOCAL_OWNER, Origin, Owner


@dataclass(frozen=True, slots=True)
class Document:
    """One cleaned text with where it came from."""

    id: str
    source: str
    """Absolute path or URL that it was read from."""
    title: str
    text: str
    """Clean text: Unicode NFC, `\\n` line ends, no control characters, no page furniture."""
    digest: str
    """SHA-256 of the normalised text: two documents with the same one say the same thing."""
    media_type: str = "text/plain"
    origin: Origin = "outside"
    owner: Owner = LOCAL_OWNER
    created: float = 0.0
    """Seconds since the epoch when it was read."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that a source held and that did not become a document."""

    source: str
    """Absolute path or URL."""
    reason: str
    """One clause a person understands."""
