"""Files as people have them: without names of columns, in other encodings, sorted by label, nested, one text a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmagentos.environments.request_cases import Requests
from llmagentos.environments.request_files import read_rows
from llmagentos.environments.request_rows import encoding_of, split_in
from llmagentos.environments.request_tables import is_row
from llmagentos.environments.requests import load
from llmagentos.errors import SourceError
from llmagentos.records.document import LeftOut

TOPICS = ("refund", "address", "delay")
PAIRS = [(f"Request {n} about my {TOPICS[n % 3]}", TOPICS[n % 3]) for n in range(120)]
TEXTS = {topic: [text for text, label in PAIRS if label == topic] for topic in TOPICS}


def said(found: Requests) -> set[tuple[str, str]]:
    """Every request with its label."""
    return {(case.turns[0].request, case.turns[0].call.name) for case in found.every if case.turns[0].call}


def as_json(value: Any) -> Callable[[], str]:
    return lambda: json.dumps(value)


def rasa() -> str:
    texts = TEXTS | {"refund": [one.replace("my refund", "my [refund](thing)") for one in TEXTS["refund"]]}
    intents = "".join(
        f"- intent: {label}\n  examples: |\n" + "".join(f"    - {text}\n" for text in those)
        for label, those in texts.items()
    )
    return f'version: "3.1"\nnlu:\n{intents}'


KINDS: list[tuple[str, Callable[[], str]]] = [
    ("headless.csv", lambda: "".join(f"{text},{label}\n" for text, label in PAIRS)),
    ("headless.tsv", lambda: "".join(f"{label}\t{text}\n" for text, label in PAIRS)),
    ("SMSSpamCollection", lambda: "".join(f"{label}\t{text}\n" for text, label in PAIRS)),
    ("semicolons.csv", lambda: "Anfrage;Kategorie\n" + "".join(f"{text};{label}\n" for text, label in PAIRS)),
    ("train.txt", lambda: "".join(f"__label__{label} {text}\n" for text, label in PAIRS)),
    ("lines.txt", lambda: "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in PAIRS)),
    ("pairs.jsonl", lambda: "".join(json.dumps(pair) + "\n" for pair in PAIRS)),
    ("pairs.json", as_json(PAIRS)),
    ("by_label.json", as_json(TEXTS)),
    ("wrapped.json", as_json({"version": 1, "data": {"utterances": TEXTS}})),
    (
        "records.json",
        as_json({"meta": {"by": "us"}, "data": [{"text": text, "label": label} for text, label in PAIRS]}),
    ),
    ("columns.json", as_json({"text": [text for text, _ in PAIRS], "label": [label for _, label in PAIRS]})),
    (
        "pandas.json",
        as_json({at: {str(n): pair[m] for n, pair in enumerate(PAIRS)} for m, at in enumerate(("text", "label"))}),
    ),
    ("index.json", as_json({str(n): {"text": text, "label": label} for n, (text, label) in enumerate(PAIRS)})),
    (
        "intents.json",
        as_json({"intents": [{"tag": tag, "patterns": texts, "responses": ["Yes."]} for tag, texts in TEXTS.items()]}),
    ),
    ("nlu.yml", rasa),
]


@pytest.mark.parametrize(("name", "content"), KINDS, ids=[name for name, _ in KINDS])
def test_every_way_to_lay_out_requests_gives_the_same_ones(
    tmp_path: Path, name: str, content: Callable[[], str]
) -> None:
    (tmp_path / name).write_text(content(), encoding="utf-8")
    found = load({"data": str(tmp_path / name)})
    assert said(found) == set(PAIRS)
    assert found.left_out == []


def test_texts_in_folders_have_the_folder_as_label_and_keep_their_split(tmp_path: Path) -> None:
    for number, (text, label) in enumerate(PAIRS):
        folder = tmp_path / ("test" if number % 4 == 0 else "train") / label
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.txt").write_text(text)
    (tmp_path / "README.txt").write_text("What this is.")
    found = load({"data": str(tmp_path)})
    assert said(found) == set(PAIRS)
    assert len(found.cases["gate"]) + len(found.cases["report"]) == 30
    only = tmp_path / "train" / "refund"
    with pytest.raises(SourceError, match="holds no data"):
        load({"data": str(only)})


def test_splits_are_told_by_the_keys_that_lists_stand_under(tmp_path: Path) -> None:
    """As CLINC150 is published: pairs under `train`, `val`, `test`, `oos_train` ..."""
    parts = {
        "oos_val": [],
        "val": PAIRS[:20],
        "train": PAIRS[20:80],
        "test": PAIRS[80:],
        "oos_train": [["What?", "oos"]],
    }
    (tmp_path / "data.json").write_text(json.dumps(parts))
    found = load({"data": str(tmp_path / "data.json")})
    assert {split: len(cases) for split, cases in found.cases.items()} == {
        "train": 61,
        "development": 20,
        "gate": len(found.cases["gate"]),
        "report": 40 - len(found.cases["gate"]),
    }


def test_questions_about_paragraphs_are_read_as_squad_nests_them(tmp_path: Path) -> None:
    paragraphs = [
        {
            "context": f"Order {n} costs {n * 3}.",
            "qas": [{"question": "What does it cost?", "id": n, "answers": [{"text": str(n * 3)}]}],
        }
        for n in range(120)
    ]
    (tmp_path / "squad.json").write_text(
        json.dumps({"version": "2", "data": [{"title": "t", "paragraphs": paragraphs}]})
    )
    found = load({"data": str(tmp_path / "squad.json")})
    assert ("Order 7 costs 21.\n\nWhat does it cost?", "21") in {
        (c.turns[0].request, c.turns[0].words) for c in found.every
    }


LANGUAGES = {
    "cp1252": "Wo ist mein Paket? Ich möchte es zurückgeben, größer wäre besser",
    "cp1250": "Gdzie jest moja przesyłka? Proszę o zwrot pieniędzy za książkę",
    "cp1251": "Где мой заказ? Верните деньги, пожалуйста",
    "gb18030": "我的包裹在哪里？请退款，谢谢",
    "cp932": "荷物はどこですか？返金してください",
}


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".json"])
@pytest.mark.parametrize("encoding", LANGUAGES)
def test_what_a_spreadsheet_writes_is_read_in_its_encoding(tmp_path: Path, encoding: str, suffix: str) -> None:
    rows = [{"text": f"{LANGUAGES[encoding]} {text}", "label": label} for text, label in PAIRS]
    texts = {
        ".csv": "text;label\n" + "".join(f"{row['text']};{row['label']}\n" for row in rows),
        ".jsonl": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows),
        ".json": json.dumps(rows, ensure_ascii=False),
    }
    path = tmp_path / f"t{suffix}"
    path.write_bytes(texts[suffix].encode(encoding))
    found = load({"data": str(path)})
    assert {case.turns[0].request for case in found.every} == {row["text"] for row in rows}
    assert "it is no UTF-8" in found.how_read


def test_few_damaged_lines_do_not_make_another_encoding(tmp_path: Path) -> None:
    lines = [f"{text},{label}\n".encode() for text, label in PAIRS]
    lines[3] = lines[3].replace(b"about", b"ab\xf6ut")
    path = tmp_path / "t.csv"
    path.write_bytes(b"text,label\n" + b"".join(lines))
    assert encoding_of(path).name == "utf-8-sig"
    assert [one.source for one in load({"data": str(path)}).left_out] == ["t.csv:5"]
    umlauts = [line.replace(b"about", "über".encode()) for line in lines]
    broken = [line.replace(b"my", b"m\xfc") if n < 30 else line for n, line in enumerate(umlauts)]
    path.write_bytes(b"text,label\n" + b"".join(broken))
    assert encoding_of(path).name == "utf-8-sig"


@pytest.mark.parametrize(
    ("first", "below", "row"),
    [
        (
            ["ham", "See you at ten"],
            [["ham", "I am late"], ["ham", "Where are you now"], ["spam", "Win a prize"]],
            True,
        ),
        (["spam", "message"], [["spam", "I am late"], ["spam", "Where are you now"], ["ham", "Win a prize"]], False),
        (["label", "text"], [["ham", "I am late"], ["ham", "Where are you now"]], False),
        (["ham", "See you at ten"], [["ham", "I am late"], ["spam", "Where are you now"]], False),
        (["", "1"], [["", "1"], ["", "1"]], True),
        (["a", "b"], [], False),
    ],
)
def test_first_line_is_a_row_where_its_label_comes_again(first: list[str], below: list[list[str]], row: bool) -> None:
    assert is_row(first, below) == row


def test_table_whose_first_line_is_a_row_loses_none(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("".join(f"{text},{label}\n" for text, label in PAIRS))
    found = load({"data": str(path)})
    assert "t.csv:1" in {case.place for case in found.every}
    assert "column 1" in found.how_read
    named = load({"data": str(path), "request": "column_1", "label": "column 2"})
    assert said(named) == set(PAIRS)


@pytest.mark.parametrize(
    ("words", "split"),
    [(["oos_train"], "train"), (["test-00000-of-1"], "test"), (["contest"], ""), (["a", "Validation"], "validation")],
)
def test_split_is_a_word_of_its_own(words: list[str], split: str) -> None:
    assert split_in(words) == split


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["text", "label", "train", "data", "intent", "examples", "paragraphs", "qas", "a"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=200)
@given(JSONS)
def test_whatever_a_json_file_holds_is_rows_or_told(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    path = tmp_path_factory.mktemp("any") / "t.json"
    path.write_text(json.dumps(value))
    told: list[LeftOut] = []
    with suppress(SourceError):
        assert all(isinstance(row.fields, dict) for row in read_rows(path, told.append))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.txt", "Just words.\nAnd more.\n", "no kind"),
        ("t.txt", "", "no kind"),
        ("t.yml", "a: [", "no YAML"),
        ("t.yml", "!!python/object/apply:os.system ['true']", "no YAML"),
        ("t.yml", "just words", "neither a list"),
    ],
)
def test_file_that_holds_no_records_says_so(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(SourceError, match=said):
        load({"data": str(tmp_path / name)})
