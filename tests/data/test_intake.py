"""Intake: each text is kept once, whatever it is called."""

from __future__ import annotations

from pathlib import Path

from llmagentos.data.intake import take_in
from llmagentos.records.document import Document
from llmagentos.records.progress import Progress

TEXT = "The shop pays the money back within a week of receiving the parcel."


class Shelf:
    def __init__(self) -> None:
        self.documents: list[Document] = []

    def add(self, document: Document) -> Document:
        self.documents.append(document)
        return document

    def list(self) -> list[Document]:
        return self.documents


def test_second_intake_adds_only_what_is_new(tmp_path: Path) -> None:
    shelf = Shelf()
    (tmp_path / "a.txt").write_text(TEXT)
    assert [d.source for d in take_in(tmp_path, shelf).added] == [str(tmp_path / "a.txt")]
    (tmp_path / "b.txt").write_text(TEXT + " And it says so in writing.")
    again = take_in(tmp_path, shelf)
    assert [d.source for d in again.added] == [str(tmp_path / "b.txt")]
    assert "already" in again.left_out[0].reason
    assert len(shelf.documents) == 2


def test_intake_tells_what_it_did(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "b.txt").write_text("x")
    events: list[Progress] = []
    done = str(take_in(tmp_path, Shelf(), on_progress=events.append))
    assert "1 documents added" in done
    assert "b.txt holds too little text" in done
    assert [event.done for event in events] == [1]
