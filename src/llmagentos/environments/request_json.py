"""JSON, JSON lines and YAML as they lie: lists of records by split, texts by label, columns, what wraps them.

In: a file. Out: `RawRow`s, and what could not be read with the reason. Nothing is executed, no object is made.
It does not know how cases come of records (`request_cases`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from llmagentos.environments.request_columns import ANSWER_COLUMNS, CALL_COLUMNS, LABEL_COLUMNS, REQUEST_COLUMNS
from llmagentos.environments.request_layouts import by_name, first_of, plain_name
from llmagentos.environments.request_rows import (
    BROKEN,
    MOST_CHARACTERS,
    NOT_UTF8,
    SPLITS,
    RawRow,
    Report,
    encoding_of,
    split_in,
)
from llmagentos.environments.request_tables import numbered
from llmagentos.errors import SourceError
from llmagentos.records.document import LeftOut
from llmagentos.records.identity import JSON

ONE_LIST = "a file that is one list of objects is named .json"
DEEPEST = 3
"""Objects around the records, such as `{"data": {"train": [...]}}`."""
USUAL = frozenset((*REQUEST_COLUMNS, *LABEL_COLUMNS, *CALL_COLUMNS, *ANSWER_COLUMNS))
EXAMPLES = ("examples", "patterns", "utterances", "training_phrases", "phrases", "samples")
"""Where all texts of one label stand together (Rasa, chatbots' `intents.json`)."""
KIND_OF_EXAMPLES = ("intent", "tag", "label", "name")
_MARKED = re.compile(r"\[([^\]]+)\](?:\([^)]*\)|\{[^}]*\})")
"""An entity in a text, as Rasa marks it: `[Paris](city)`."""


def json_line_rows(path: Path, report: Report) -> Iterator[RawRow]:
    """One record a line."""
    name, encoding = path.name, encoding_of(path)
    with path.open(encoding=encoding.name, errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            place = f"{name}:{number}"
            if line.isspace():
                continue
            if BROKEN in line:
                report(LeftOut(place, NOT_UTF8))
                continue
            if len(line) > MOST_CHARACTERS:
                report(LeftOut(place, f"has more than {MOST_CHARACTERS:,} characters"))
                continue
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as problem:
                hint = f"; {ONE_LIST}" if number == 1 and line.lstrip().startswith("[") else ""
                report(LeftOut(place, f"is no JSON: {str(problem)[:100]}{hint}"))
                continue
            yield from _records(value, place, "", encoding.assumed, report)


def json_rows(path: Path, report: Report) -> Iterator[RawRow]:
    """The records of a file that is one value."""
    encoding = encoding_of(path, least=1)
    try:
        value = json.loads(path.read_text(encoding=encoding.name))
    except UnicodeDecodeError as problem:
        raise SourceError(f"{path} {NOT_UTF8}: the first is at byte {problem.start}.") from None
    except (ValueError, RecursionError) as problem:
        why = str(problem)[:100]
        raise SourceError(f"{path} is no JSON: {why}. One object a line goes into a .jsonl file.") from None
    yield from _value_rows(path, value, encoding.assumed, report)


def yaml_rows(path: Path, report: Report) -> Iterator[RawRow]:
    """The same of YAML, such as Rasa's training data."""
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as problem:
        raise SourceError(f"{path} {NOT_UTF8}: the first is at byte {problem.start}.") from None
    except (yaml.YAMLError, RecursionError) as problem:
        raise SourceError(f"{path} is no YAML: {' '.join(str(problem).split())[:200]}.") from None
    yield from _value_rows(path, value, "", report)


def _value_rows(path: Path, value: JSON, assumed: str, report: Report) -> Iterator[RawRow]:
    parts = list(_lists(value, ""))
    if not parts:
        raise SourceError(f"{path} is neither a list of objects nor such lists by split, such as {{'train': [...]}}.")
    for key, records in parts:
        for number, record in enumerate(records, start=1):
            place = f"{path.name}:{key + ' ' if key else ''}record {number}"
            yield from _records(record, place, split_in([key]), assumed, report)


def _lists(value: JSON, key: str, deep: int = 0) -> Iterator[tuple[str, list[JSON]]]:
    """Every list of records in `value` with the key that it stands under."""
    if isinstance(value, list):
        yield key, value
    elif isinstance(value, dict) and deep <= DEEPEST:
        records = _by_label(value) or _in_columns(value) or _by_key(value)
        if records:
            yield key, records
            return
        for name, inner in value.items():
            yield from _lists(inner, name if split_in([name]) or not split_in([key]) else key, deep + 1)


def _by_label(value: Mapping[str, JSON]) -> list[JSON]:
    """Lists of texts under their labels."""
    names = {plain_name(str(name)) for name in value}
    if len(value) < 2 or names & USUAL or names <= set(SPLITS):
        return []
    if not all(
        isinstance(texts, list) and texts and all(isinstance(one, str) for one in texts) for texts in value.values()
    ):
        return []
    return [{"text": text, "label": label} for label, texts in value.items() for text in texts]


def _in_columns(value: Mapping[str, JSON]) -> list[JSON]:
    """Lists, or objects by number (pandas), under the names of columns."""
    if not {plain_name(str(name)) for name in value} & USUAL or len(value) < 2:
        return []
    columns = [list(one.values()) if isinstance(one, dict) else one for one in value.values()]
    lists = [one for one in columns if isinstance(one, list)]
    if len(lists) < len(columns) or len(set(map(len, lists))) != 1:
        return []
    return [dict(zip(value, row, strict=True)) for row in zip(*lists, strict=True)]


def _by_key(value: Mapping[str, JSON]) -> list[JSON]:
    """Records under keys of their own, such as their numbers: objects that have the same fields."""
    records = list(value.values())
    fields = {tuple(one) if isinstance(one, dict) else () for one in records}
    alike = len(records) > 1 and len(fields) == 1 and fields != {()}
    return records if alike and not split_in(map(str, value)) else []


def _records(value: JSON, place: str, split: str, assumed: str, report: Report) -> Iterator[RawRow]:
    """The records that one value holds: itself, a row without names, or the texts that stand in it."""
    if isinstance(value, list) and len(value) > 1 and not any(isinstance(one, dict | list) for one in value):
        value = dict(zip(numbered(len(value)), value, strict=True))
    if not isinstance(value, dict):
        hint = f"; {ONE_LIST}" if isinstance(value, list) else ""
        report(LeftOut(place, f"is a JSON {type(value).__name__}, not an object with named fields{hint}"))
        return
    inner = list(_examples(value) or _paragraphs(value))
    for number, record in enumerate(inner, start=1):
        yield RawRow(f"{place}, {number}", record, split, assumed)
    if not inner:
        yield RawRow(place, value, split, assumed)


def _examples(record: Mapping[str, JSON]) -> list[dict[str, JSON]]:
    """The texts of one label that stand in a record, with it."""
    kind = by_name(record, first_of(record, KIND_OF_EXAMPLES))
    texts = by_name(record, first_of(record, EXAMPLES))
    if isinstance(texts, str):
        lines = (line.strip() for line in texts.splitlines())
        texts = [_MARKED.sub(r"\1", line[1:].strip()) for line in lines if line.startswith("-")]
    if not isinstance(kind, str) or not isinstance(texts, list) or not all(isinstance(one, str) for one in texts):
        return []
    return [{"text": text, "label": kind} for text in texts]


def _paragraphs(record: Mapping[str, JSON]) -> Iterator[dict[str, JSON]]:
    """Questions about paragraphs, as SQuAD nests them."""
    paragraphs = record.get("paragraphs")
    for one in paragraphs if isinstance(paragraphs, list) else []:
        questions = one.get("qas") if isinstance(one, dict) else None
        for asked in questions if isinstance(questions, list) else []:
            if isinstance(asked, dict):
                right = asked.get("answers")
                texts = (
                    [each.get("text") for each in right if isinstance(each, dict)] if isinstance(right, list) else []
                )
                yield {"context": one.get("context"), "question": asked.get("question"), "answers": texts}
