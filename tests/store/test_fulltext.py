from __future__ import annotations

import hashlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmagentos.records.document import Document
from llmagentos.records.identity import new_id
from llmagentos.store.fulltext import query_terms, segment
from llmagentos.store.store import Store


def add(store: Store, text: str) -> str:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return store.documents.add(Document(new_id("doc"), digest, "", text, digest)).id


def found(store: Store, query: str) -> list[str]:
    return [hit.document.text for hit in store.documents.search(query)]


def test_full_text_finds_chinese_by_words_inside_a_sentence(store: Store) -> None:
    for text in ("请打开厨房的门", "今天天气很好", "关闭窗户", "東京は日本の首都です", "서울은 한국의 수도"):
        add(store, text)
    assert found(store, "打开门")[0] == "请打开厨房的门"
    assert found(store, "天气怎么样？") == ["今天天气很好"]
    assert found(store, "门") == ["请打开厨房的门"]
    assert found(store, "日本の首都")[0] == "東京は日本の首都です"
    assert found(store, "서울") == ["서울은 한국의 수도"]
    assert found(store, "汽车") == []


def test_full_text_finds_other_forms_cases_and_accents(store: Store) -> None:
    for text in ("The café opens at nine", "Prices were raised"):
        add(store, text)
    assert found(store, "CAFE opening") == ["The café opens at nine"]
    assert found(store, "price") == ["Prices were raised"]


def test_full_text_ignores_common_words_where_others_tell() -> None:
    assert query_terms("What is the price of the lamp?") == ["price", "lamp"]
    assert query_terms("the who") == ["the", "who"]
    assert query_terms("iPhone手机 壳") == ["iphone", "手机", "壳"]
    assert query_terms(" ?!-* ") == []


@pytest.mark.parametrize(
    "attack",
    [
        '"',
        '" OR 1',
        "a AND",
        "NEAR(",
        "words:secret",
        "a*",
        "-secret",
        "^x",
        "') --",
        "a\0b",
        "{",
        "cat OR NOT dog",
        "'",
    ],
)
def test_full_text_takes_operators_as_text(store: Store, attack: str) -> None:
    add(store, "the secret cat")
    hits = store.documents.search(attack)
    assert {hit.document.text for hit in hits} <= {"the secret cat"}
    assert found(store, "secret") == ["the secret cat"]


def test_full_text_column_filter_and_prefix_match_nothing_by_themselves(store: Store) -> None:
    add(store, "secret cat")
    assert found(store, "ca*") == []
    assert found(store, "cat -secret") == ["secret cat"]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=st.text(max_size=60))
def test_full_text_answers_any_query(store: Store, query: str) -> None:
    assert len(store.documents.search(query, limit=3)) <= 3


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    words=st.text(alphabet="打开门天气窗户首都abc ", min_size=1, max_size=12).filter(lambda text: text.strip() != "")
)
def test_full_text_finds_a_text_by_itself(store: Store, words: str) -> None:
    add(store, words)
    assert any(hit.document.text == words for hit in store.documents.search(words, limit=200))


def test_segment_leaves_text_with_spaces_alone() -> None:
    assert segment("plain words, здравствуй") == "plain words, здравствуй"
    assert segment("门").split() == ["门"]
    assert segment("打开门").split() == ["打", "开", "门", "打开", "开门"]
