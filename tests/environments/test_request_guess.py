"""Columns that are told by what stands in them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmagentos.environments.registry import make
from llmagentos.environments.request_columns import Columns
from llmagentos.environments.request_guess import by_content, guess
from llmagentos.environments.request_rows import RawRow
from llmagentos.environments.requests import RequestsEnvironment, load
from llmagentos.errors import SourceError

Field = Callable[[int], Any]

WORDS = ["the", "parcel", "came", "late", "and", "broken", "so", "I", "want", "my", "money", "back", "today", "please"]


def text(number: int, words: int = 7) -> str:
    """A text that no other number has."""
    return " ".join([*random.Random(number).choices(WORDS, k=words), str(number)])


def records(count: int = 40, **fields: Field) -> list[dict[str, Any]]:
    """So many records with these fields."""
    return [{name: field(number) for name, field in fields.items()} for number in range(count)]


def title(number: int) -> str:
    return text(number, 2)


def stars(number: int) -> int:
    return number % 5 + 1


def spam(number: int) -> bool:
    return number % 3 == 0


def day(number: int) -> str:
    return f"2026-03-{number % 9 + 10}"


@pytest.mark.parametrize(
    ("fields", "meant"),
    [
        ({"review": text, "stars": stars}, ("review", "stars", "label")),
        ({"is_spam": spam, "mail": text}, ("mail", "is_spam", "label")),
        ({"id": int, "on": day, "mail": text, "spam": spam}, ("mail", "spam", "label")),
        ({"heading": title, "review": lambda n: text(n, 30), "stars": stars}, ("review", "stars", "label")),
        ({"frage": text, "antwort": lambda n: text(n + 100)}, ("frage", "antwort", "answer")),
        ({"task": text, "result": lambda n: n * 37}, ("task", "result", "answer")),
        ({"id": int, "mail": text, "spam": spam, "paid": lambda n: n % 2}, ("mail", "", "label")),
        ({"mail": text, "said": lambda n: text(n + 100), "spam": spam}, ("", "", "label")),
        ({"mail": text, "at": lambda n: f"{n % 4}.5", "by": int}, ("mail", "", "label")),
        ({"mail": text, "spam": lambda n: spam(n) if n < 9 else None, "id": int}, ("mail", "", "label")),
        ({"mail": text, "spam": lambda n: [spam(n)]}, ("mail", "", "label")),
        ({"said": text, "slots": lambda n: {"day": n % 7}, "id": int}, ("said", "slots", "answer")),
        ({"said": text, "slots": lambda n: [{"day": n % 7}], "kind": stars}, ("said", "kind", "label")),
        ({"said": text, "kind": stars, "split": lambda n: "train"}, ("said", "kind", "label")),
        ({"said": text, "kind": stars, "part": lambda n: ["Train", "test"][n % 2]}, ("said", "kind", "label")),
        ({"frage": text, "antwort": lambda n: text(n + 100), "fold": spam}, ("frage", "antwort", "answer")),
    ],
)
def test_column_is_told_by_what_stands_in_it_unless_another_could_be_meant(
    fields: dict[str, Field], meant: tuple[str, str, str]
) -> None:
    request, reply, kind = meant
    assert guess(records(**fields)) == Columns(request=request, **{kind: reply})


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(st.dictionaries(st.text(max_size=3), ANYTHING, max_size=4), max_size=20))
def test_whatever_stands_in_a_file_columns_are_its_own(some: list[dict[str, Any]]) -> None:
    found = guess(some)
    assert {found.request, found.label, found.answer} - {""} <= {name for one in some for name in one}
    told = by_content([RawRow(str(number), one) for number, one in enumerate(some)], Columns())
    assert told.call == told.split == ""


def test_few_records_tell_nothing() -> None:
    assert guess(records(7, review=text, stars=stars)).request == ""


def test_known_column_is_no_candidate() -> None:
    rows = [RawRow(f"{number}", one) for number, one in enumerate(records(subject=title, body=text, urgent=spam))]
    assert by_content(rows, Columns()) == Columns(label="urgent")
    rows = [RawRow(f"{number}", one) for number, one in enumerate(records(mail=text, label=stars, urgent=spam))]
    assert by_content(rows, Columns()) == Columns(request="mail")
    assert by_content(rows, Columns(label="URGENT")) == Columns(request="mail", label="URGENT")


@pytest.mark.parametrize(
    "fields",
    [
        {"text": text, "label": stars, "other": spam},
        {"messages": lambda n: [], "mail": text, "spam": spam},
        {"a": int, "b": int},
    ],
)
def test_nothing_is_guessed_where_names_tell_or_nothing_fits(fields: dict[str, Field]) -> None:
    rows = [RawRow(f"{number}", one) for number, one in enumerate(records(**fields))]
    assert by_content(rows, Columns()) == Columns()
    assert by_content([], Columns()) == Columns()


def test_file_with_names_of_its_own_is_read_and_says_how(tmp_path: Path) -> None:
    file = tmp_path / "reviews.jsonl"
    file.write_text("\n".join(map(json.dumps, records(120, review=text, stars=stars))))
    found = load({"data": str(file)})
    assert found.how_read.startswith("request from review, label from stars (columns told by what stands there; ")
    assert sum(map(len, found.cases.values())) == 120
    assert [tool.name for tool in found.tools] == ["1", "2", "3", "4", "5"]


def test_column_that_is_named_wrongly_is_not_guessed(tmp_path: Path) -> None:
    file = tmp_path / "reviews.jsonl"
    file.write_text("\n".join(map(json.dumps, records(120, review=text, stars=stars))))
    with pytest.raises(SourceError, match="no column score; it has review, stars"):
        load({"data": str(file), "label": "score"})
    with pytest.raises(SourceError, match="no column score: it has review, stars"):
        load({"data": str(file), "request": "score"})


def test_yes_and_no_of_several_columns_are_labels(tmp_path: Path) -> None:
    rows = records(120, text=text, toxic=lambda n: n % 2, insult=lambda n: n % 3 == 0, threat=lambda n: "no")
    file = tmp_path / "comments.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    found = load({"data": str(file)})
    assert {turn.words for case in found.every for turn in case.turns} == {
        "[]",
        '["toxic"]',
        '["insult"]',
        '["insult", "toxic"]',
    }
    named = load({"data": str(file), "label": "toxic, threat"})
    assert {turn.words for case in named.every for turn in case.turns} == {"[]", '["toxic"]'}
    with pytest.raises(SourceError, match=r"No record has the column rude\. There are: text, toxic, insult, threat"):
        load({"data": str(file), "label": "toxic,rude"})


def test_file_that_is_sorted_by_its_label_is_told(tmp_path: Path) -> None:
    file = tmp_path / "sorted.csv"
    file.write_text("aa,bb\n" + "".join(f"{text(n)},kind{n // 1000}\n" for n in range(3000)))
    found = load({"data": str(file)})
    assert [tool.name for tool in found.tools] == ["kind0", "kind1", "kind2"]


def test_request_of_several_columns_is_named_with_commas(tmp_path: Path) -> None:
    rows = records(120, shop=title, wish=text, stars=stars)
    rows[0]["wish"] = None
    file = tmp_path / "wishes.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    found = load({"data": str(file), "request": "shop, wish"})
    assert f"{title(1)}\n\n{text(1)}" in {case.turns[0].request for case in found.every}
    assert title(0) in {case.turns[0].request for case in found.every}
    assert found.read_as == "request from shop and wish, label from stars"
    with pytest.raises(SourceError, match="No record has the column whish"):
        load({"data": str(file), "request": "shop,whish"})


@pytest.fixture
def extraction(tmp_path: Path) -> RequestsEnvironment:
    """Requests whose right answer is an object."""
    file = tmp_path / "bookings.jsonl"
    rows = records(120, input=text, output=lambda n: {"people": n % 7, "time": f"{n % 5} pm"})
    file.write_text("\n".join(map(json.dumps, rows)))
    env = make(f"Requests-v0?data={file}")
    assert isinstance(env, RequestsEnvironment)
    return env


def test_answer_that_is_an_object_is_right_in_whatever_order_and_with_whatever_spaces(
    extraction: RequestsEnvironment,
) -> None:
    task = extraction.tasks("gate", 1)[0]
    expert = extraction.expert(task)
    assert expert is not None
    right = expert("")
    value = json.loads(right)
    again = json.dumps(dict(reversed(value.items())), indent=1)
    wrong = json.dumps({**value, "people": bool(value["people"]) if value["people"] < 2 else 0})
    verdicts = {
        right: (True, True),
        again: (True, True),
        right.upper(): (False, True),
        wrong: (False, False),
        f"Here it is: {right}": (False, False),
        "[" * 5000: (False, False),
    }
    for said, (strict, lenient) in verdicts.items():
        extraction.reset(seed=task.seed, options={"split": "gate"})
        assert extraction.step(said)[4] == {"success": strict, "lenient": lenient}


def test_several_labels_are_a_list_in_one_order(tmp_path: Path) -> None:
    file = tmp_path / "tagged.jsonl"
    some = records(60, text=text, labels=lambda n: ["tech", "billing"][: 1 + n % 2])
    written = records(60, text=lambda n: text(n + 60), labels=lambda n: '["tech", "billing"]')
    file.write_text("\n".join(map(json.dumps, some + written)))
    words = {turn.words for case in load({"data": str(file)}).every for turn in case.turns}
    assert words == {'["tech"]', '["billing", "tech"]'}


def test_subjects_beside_an_answer_are_not_learned_as_labels(tmp_path: Path) -> None:
    file = tmp_path / "questions.jsonl"
    rows = records(120, question=text, answer=lambda n: text(n + 200), tags=lambda n: ["a", "b"])
    file.write_text("\n".join(map(json.dumps, rows)))
    assert load({"data": str(file)}).read_as == "request from question, answer from answer"
