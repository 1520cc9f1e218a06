"""Requests with what is right to do: from records to cases in four splits, with nothing held out that was seen.

In: `RawRow`s and which columns mean what. Out: `Requests`: cases by split, the tools that their calls name, and every
record that was left out with the reason.
It does not know files, prompts or who answers.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from llmagentos.environments.language import deal
from llmagentos.environments.request_rows import SPLITS, RawRow
from llmagentos.environments.request_tools import ToolNames
from llmagentos.errors import ConfigError, SourceError
from llmagentos.records.document import LeftOut
from llmagentos.records.identity import JSON
from llmagentos.records.message import ToolCall, ToolSpec
from llmagentos.records.task import Split

REQUEST_COLUMNS = ("request", "text", "question", "prompt", "input", "utterance", "query", "message", "instruction")
LABEL_COLUMNS = ("label", "intent", "category", "class", "target")
CALL_COLUMNS = ("call", "tool_call", "action")
ANSWER_COLUMNS = ("answer", "response", "output", "completion", "reply")
SPLIT_COLUMNS = ("split", "fold", "partition")
TURNS_COLUMN = "turns"
"""A record with several turns has a list of records here, one after another."""

OUT_OF_SCOPE = ("oos", "out_of_scope")
"""Labels that mean that nothing fits, unless others are named."""
LONGEST_REQUEST = 8_000
"""Characters; what is longer does not fit a small model's window."""
MOST_TURNS = 32
SHOWN_LEFT_OUT = 1_000
"""So many are kept with their reasons; the rest is counted."""
ENOUGH = "Give more requests: some 400, of which a tenth is for the gate, are enough for its verdict."
SHARES: tuple[tuple[Split, int], ...] = (("train", 70), ("development", 10), ("gate", 10), ("report", 10))
"""Of a hundred, where a file has no splits of its own."""


_MARKS = re.compile(r"[^\w\s]")


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column means what; empty for the first of the usual names that a record has."""

    request: str = ""
    label: str = ""
    answer: str = ""
    call: str = ""
    split: str = ""
    nothing: tuple[str, ...] = OUT_OF_SCOPE
    """Labels that mean that no tool fits: words are then the right reply."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One request and the right reply: a call, certain words, or any words at all."""

    request: str
    call: ToolCall | None = None
    words: str = ""
    """The right answer; with neither call nor words every answer in words is right."""


@dataclass(frozen=True, slots=True)
class Case:
    """A conversation of one or several turns."""

    place: str
    turns: tuple[Turn, ...]


@dataclass(slots=True)
class Requests:
    """Everything that a file holds."""

    cases: dict[Split, list[Case]] = field(default_factory=lambda: {split: [] for split in get_args(Split)})
    tools: tuple[ToolSpec, ...] = ()
    nothing_fits: bool = False
    """Whether the development cases are single requests, some of which no tool fits: saying so can be weighed then."""
    left_out: list[LeftOut] = field(default_factory=list)
    more_left_out: int = 0
    """How many were left out beyond those listed."""

    def leave_out(self, place: str, reason: str) -> None:
        """Note a record that is not used."""
        if len(self.left_out) < SHOWN_LEFT_OUT:
            self.left_out.append(LeftOut(place, reason))
        else:
            self.more_left_out += 1

    @property
    def summary(self) -> str:
        """`12,000 requests (9,600 train, ...), 37 left out`."""
        parts = ", ".join(f"{len(cases):,} {split}" for split, cases in self.cases.items())
        left = len(self.left_out) + self.more_left_out
        return f"{sum(map(len, self.cases.values())):,} requests ({parts})" + (f", {left:,} left out" if left else "")


def gather(
    rows: Iterable[RawRow], columns: Columns, found: Requests, *, most_of_a_kind: int = 0, source: str = "the data"
) -> Requests:
    """Cases of all `rows` in `found`, which may have noted bad records already; `source` names them in errors.

    Where the same words stand twice, one case is kept, in training if one of them is there; where they ask for
    different things, none. `most_of_a_kind` keeps at most so many training cases of each expected call or answer,
    chosen by digest. A record whose split nobody knows is left out where others have one: it may be held out.
    `SourceError` when a split is left with nothing.
    """
    read = _Reader(columns, found)
    first: dict[int, tuple[Case, Split | None, str]] = {}
    contradicted: set[int] = set()
    for row in rows:
        case = read.case(row)
        if case is None:
            continue
        split = read.split(row)
        key = _digest("\n".join(_plain(turn.request) for turn in case.turns))
        known = first.get(key)
        if known is None:
            first[key] = (case, *split)
        elif not _agree(known[0], case):
            contradicted.add(key)
            found.leave_out(case.place, f"asks for something else than {known[0].place} with the same words")
        elif split[0] == "train" and known[1] != "train":
            first[key] = (case, *split)
            found.leave_out(known[0].place, f"says the same as {case.place}, which is for training")
        else:
            found.leave_out(case.place, f"says the same as {known[0].place}")
    for key in contradicted:
        case = first.pop(key)[0]
        found.leave_out(case.place, "is contradicted by a later record with the same words")
    _deal(first, found)
    del first
    if most_of_a_kind:
        found.cases["train"] = _limited(found.cases["train"], most_of_a_kind)
    _check(found, source, read.columns_seen)
    found.nothing_fits = _knows_nothing_fits(found.cases["development"])
    found.tools = tools_of(case for cases in found.cases.values() for case in cases)
    return found


class _Reader:
    """Reads records by the columns that are named or found."""

    def __init__(self, columns: Columns, found: Requests) -> None:
        self._columns, self._found = columns, found
        self._names = ToolNames()
        self._kinds = _kinds(columns)
        self.columns_seen: tuple[str, ...] = ()
        """Names of the first record's columns."""

    def case(self, row: RawRow) -> Case | None:
        """The record's case, None with the reason noted."""
        self.columns_seen = self.columns_seen or tuple(row.fields)
        listed = row.fields.get(TURNS_COLUMN)
        try:
            turns = (self._turn(row.fields),) if listed is None else self._turns(listed)
        except _Unusable as problem:
            self._found.leave_out(row.place, str(problem))
            return None
        return Case(row.place, turns)

    def split(self, row: RawRow) -> tuple[Split | None, str]:
        """The record's own split, None where it is held out or unknown, and what it calls it."""
        column = self._columns.split or next((name for name in SPLIT_COLUMNS if name in row.fields), "")
        if not column:
            return (SPLITS.get(row.split), row.split) if row.split else (None, "")
        said = str(row.fields.get(column) or row.split).strip().lower()
        return SPLITS.get(said), said

    def _turns(self, listed: JSON) -> tuple[Turn, ...]:
        if not isinstance(listed, list) or not listed:
            raise _Unusable(f"has turns that are {_brief(listed)} instead of a list of records")
        if len(listed) > MOST_TURNS:
            raise _Unusable(f"has {len(listed)} turns; at most {MOST_TURNS} are played")
        return tuple(self._turn(record) for record in listed)

    def _turn(self, record: Any) -> Turn:
        if not isinstance(record, dict):
            raise _Unusable(f"has a turn that is {_brief(record)} instead of a record")
        request = _value(record, self._kinds["request"])
        if request is None:
            if TURNS_COLUMN in record:
                raise _Unusable("has turns inside of its turns; they are listed one level deep")
            raise _Unusable(f"has no request: none of the columns {', '.join(self._kinds['request'])}")
        text = _text(request, "request")
        if not text:
            raise _Unusable("has an empty request")
        if len(text) > LONGEST_REQUEST:
            raise _Unusable(f"has a request of {len(text):,} characters; at most {LONGEST_REQUEST:,} fit a model")
        return Turn(text, *self._expected(record))

    def _expected(self, record: Mapping[str, JSON]) -> tuple[ToolCall | None, str]:
        """The right reply, by the column that was named, else by the first kind that the record has."""
        for kind, usual in self._kinds.items():
            value = _value(record, usual) if kind != "request" else None
            if value is None or value == "":
                continue
            if kind == "label":
                return self._label(value), ""
            return (_call(value), "") if kind == "call" else (None, _text(value, "answer"))
        raise _Unusable("says not what is right: it has no label, call or answer")

    def _label(self, value: JSON) -> ToolCall | None:
        """The call of the tool that a label names; None where the label says that none fits."""
        label = _text(value, "label")
        if label.lower() in self._columns.nothing:
            return None
        name = self._names.of(label)
        if not name:
            raise _Unusable(f"has the label {label[:80]!r}, of which no name of a tool can be made; it needs a letter")
        return ToolCall(name)


def _kinds(columns: Columns) -> dict[str, tuple[str, ...]]:
    """Columns to be looked for: those of the request and, in this order, of what is right."""
    usual = {"label": LABEL_COLUMNS, "call": CALL_COLUMNS, "answer": ANSWER_COLUMNS}
    named = {kind: (getattr(columns, kind),) for kind in usual if getattr(columns, kind)}
    return {"request": (columns.request,) if columns.request else REQUEST_COLUMNS, **(named or usual)}


def _value(record: Mapping[str, JSON], names: tuple[str, ...]) -> JSON:
    """The first of these columns that is there; what is missing is written as null or, by pandas, as NaN."""
    for name in names:
        value = record.get(name)
        if value is not None and value == value:
            return value
    return None


def _text(value: JSON, what: str) -> str:
    """The words of a value. Lists, objects and bytes have none: their code is nothing that anybody asks or says."""
    if not isinstance(value, str):
        if isinstance(value, dict | list | tuple | bytes):
            raise _Unusable(f"has a {what} that is {_brief(value)} instead of text")
        return str(value).strip()
    if not value.isascii() and any("\ud800" <= one <= "\udfff" for one in value):
        raise _Unusable(f"has a {what} with half a character (a lone surrogate), which no model reads")
    return value.strip()


def _brief(value: object) -> str:
    """Type and beginning of a value that is not what it should be: `the list ['a', 'b']`."""
    text = repr(value)
    return f"the {type(value).__name__} {text if len(text) <= 60 else text[:60] + '...'}"


class _Unusable(Exception):
    """Why a record cannot be used."""


def _call(value: JSON) -> ToolCall:
    """A call as models write it, `{"tool": {...}}`, or as `{"name": ..., "arguments": {...}}`; JSON or text of it."""
    parsed = _parsed(value)
    if isinstance(parsed, dict) and set(parsed) == {"name", "arguments"}:
        name, arguments = parsed["name"], parsed["arguments"]
    elif isinstance(parsed, dict) and len(parsed) == 1:
        ((name, arguments),) = parsed.items()
    else:
        name, arguments = None, None
    arguments = _parsed(arguments)
    if not isinstance(name, str) or not name or not isinstance(arguments, dict):
        raise _Unusable('has a call that is not of the form {"tool": {"argument": "value"}}')
    try:
        json.dumps(arguments, allow_nan=False)
    except (TypeError, ValueError) as problem:
        raise _Unusable(f"has a call whose arguments no JSON can say: {str(problem)[:80]}") from None
    return ToolCall(name, arguments)


def _parsed(value: JSON) -> JSON:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError) as problem:
        raise _Unusable(f"has a call that is no JSON: {str(problem)[:80]}") from None


def _agree(one: Case, other: Case) -> bool:
    return [(turn.call, turn.words) for turn in one.turns] == [(turn.call, turn.words) for turn in other.turns]


def _deal(first: Mapping[int, tuple[Case, Split | None, str]], found: Requests) -> None:
    """Every case into its split. What a file does not split itself is split by the digest of its words."""
    said = {name for _, _, name in first.values() if name in SPLITS}
    held = any(SPLITS[name] in (None, "gate", "report") for name in said)
    developed = any(SPLITS[name] == "development" for name in said)
    for key, (case, split, name) in first.items():
        chosen: Split
        if name not in SPLITS and name and said:
            known = ", ".join(SPLITS)
            found.leave_out(case.place, f"has the split {name[:40]!r}, and others one of those that are known: {known}")
            continue
        if split is not None and split != "train":
            chosen = split
        elif name in SPLITS and split is None:
            chosen = "gate" if key % 2 else "report"
        else:
            chosen = deal(str(key), SHARES)
            if (chosen == "development" and developed) or (chosen in ("gate", "report") and held):
                chosen = "train"
        found.cases[chosen].append(case)


def _limited(cases: list[Case], most: int) -> list[Case]:
    """At most `most` cases of each kind of expected reply, in the order of the file."""
    kinds: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for number, case in enumerate(cases):
        last = case.turns[-1]
        kind = last.call.name if last.call else last.words
        kinds[kind].append((_digest(_plain(case.turns[0].request)), number))
    kept = {number for each in kinds.values() for _, number in sorted(each)[:most]}
    return [case for number, case in enumerate(cases) if number in kept]


def _check(found: Requests, source: str, columns: Sequence[str]) -> None:
    """`SourceError` where a split is left with nothing: what is wrong, and what to do about it."""
    short = [split for split, cases in found.cases.items() if not cases]
    if not short:
        return
    first = f"The first one, {found.left_out[0].source}, {found.left_out[0].reason}. " if found.left_out else ""
    left = len(found.left_out) + found.more_left_out
    if len(short) == len(found.cases) and not left:
        raise SourceError(f"{source} holds no records. {ENOUGH}")
    if len(short) == len(found.cases) and columns:
        raise SourceError(
            f"None of the {left:,} records of {source} can be used. {first}"
            f"The columns are: {', '.join(columns)[:300]}. Where they are called otherwise than usual, say so: "
            f'llmagentos learn "Requests-v0?data={source}&request=COLUMN&label=COLUMN" (or call=, answer=).'
        )
    raise SourceError(
        f"There is nothing for {', '.join(short)} in {source}: {found.summary}. {first}{ENOUGH} A split of their own "
        "is said by a column or a file's name (train, validation, test)."
    )


def _knows_nothing_fits(cases: Sequence[Case]) -> bool:
    single = [case.turns[0] for case in cases if len(case.turns) == 1]
    return len(single) == len(cases) and any(turn.call is None and not turn.words for turn in single)


def tools_of(cases: Iterable[Case]) -> tuple[ToolSpec, ...]:
    """The tools that the cases call, with the arguments they are given, as first met; required: what all calls have."""
    calls: Counter[str] = Counter()
    types: defaultdict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    given: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for call in _calls(cases):
        calls[call.name] += 1
        for name, value in call.arguments.items():
            types[call.name][name].add(_type(value))
            given[call.name][name] += 1
    return tuple(
        ToolSpec(
            tool,
            parameters={
                "type": "object",
                "properties": {name: _schema(kinds) for name, kinds in types[tool].items()},
                "required": [name for name, count in given[tool].items() if count == calls[tool]],
            },
        )
        for tool in sorted(calls)
    )


def _calls(cases: Iterable[Case]) -> Iterator[ToolCall]:
    return (turn.call for case in cases for turn in case.turns if turn.call is not None)


def _type(value: JSON) -> str:
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return kinds.get(type(value), "null")


def _schema(kinds: set[str]) -> dict[str, JSON]:
    if kinds == {"integer", "number"}:
        kinds = {"number"}
    return {"type": kinds.copy().pop()} if len(kinds) == 1 else {"type": sorted(kinds)}


def read_columns(options: Mapping[str, JSON]) -> Columns:
    """Columns out of an environment's options. `ConfigError` for values that name none."""
    names = {key: options[key] for key in ("request", "label", "answer", "call", "split") if key in options}
    for key, value in names.items():
        if not isinstance(value, str) or not value:
            raise ConfigError(f"{key}={value!r} names no column.")
    if sum(key in names for key in ("label", "answer", "call")) > 1:
        raise ConfigError("Name one of label, answer and call: a request has one right reply.")
    nothing = options.get("nothing", ",".join(OUT_OF_SCOPE))
    return Columns(**names, nothing=tuple(str(nothing).lower().split(",")))


def _plain(text: str) -> str:
    """Words without what people write differently: case, white space and punctuation."""
    return " ".join(_MARKS.sub(" ", text.lower()).split()) or text


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")
