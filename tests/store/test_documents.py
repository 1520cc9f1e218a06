from __future__ import annotations

import hashlib

import pytest

from llmagentos.errors import ConfigError, NotFoundError
from llmagentos.records.document import Document
from llmagentos.records.identity import new_id
from llmagentos.store.store import Store


def document(text: str, source: str = "/a.txt", title: str = "") -> Document:
    return Document(new_id("doc"), source, title, text, hashlib.sha256(text.encode()).hexdigest(), created=1.0)


def test_documents_return_what_was_added(store: Store) -> None:
    first = store.documents.add(document("one text", title="标题"))
    second = store.documents.add(document("another text", "/b.txt"))
    assert store.documents.get(first.id) == first
    assert store.documents.list() == [first, second]
    assert store.documents.list(source="/b.txt") == [second]
    assert store.documents.count() == 2


def test_documents_store_the_same_text_of_a_source_once(store: Store) -> None:
    first = store.documents.add(document("same"))
    assert store.documents.add(document("same")) == first
    assert store.documents.add(document("same", "/b.txt")) != first
    assert store.documents.count() == 2


def test_documents_withdrawn_are_out_of_every_answer(store: Store) -> None:
    kept, gone = store.documents.add(document("a cat sat", "1")), store.documents.add(document("a cat ran", "2"))
    store.documents.withdraw(gone.id, "asked to")
    assert store.documents.list() == [kept]
    assert [found.document for found in store.documents.search("cat")] == [kept]
    for access in (store.documents.get, lambda name: store.documents.withdraw(name, "again")):
        with pytest.raises(NotFoundError):
            access(gone.id)
    again = store.documents.add(document("a cat ran", "2"))
    assert again.id != gone.id


def test_documents_are_found_by_title_and_text_best_first(store: Store) -> None:
    store.documents.add(document("nothing of interest here", "1", "Rivers"))
    best = store.documents.add(document("Rivers flow. Rivers bend. Rivers end.", "2", "Rivers of Europe"))
    store.documents.add(document("mountains", "3"))
    found = store.documents.search("river")
    assert [hit.document.source for hit in found] == ["2", "1"]
    assert found[0].document == best
    assert found[0].score > found[1].score
    assert len(store.documents.search("rivers", limit=1)) == 1


def test_documents_refuse_an_empty_text(store: Store) -> None:
    with pytest.raises(ConfigError, match="empty"):
        store.documents.add(document(" \n"))
