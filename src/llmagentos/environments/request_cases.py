"""Requests with what is right to do: from records to cases in four splits, with nothing held out that was seen.

In: `RawRow`s and which columns mean what. Out: `Requests`: cases by split, the tools that their calls name, and every
record that was left out with the reason.
It does not know files, prompts or who answers.
"""

from __future__ import annotations

import hashlib
import math
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, get_args

from llmagentos.environments.language import deal
from llmagentos.environments.request_columns import (
    REPLIES,
    REQUEST_COLUMNS,
    SEVERAL_ANSWERS,
    SEVERAL_LABELS,
    SPLIT_COLUMNS,
    TURNS_COLUMN,
    YES,
    Columns,
)
from llmagentos.environments.request_layouts import (
    Unusable,
    brief,
    by_name,
    conversation,
    first_of,
    first_there,
    is_calls,
    plain_name,
    request_columns,
    the_call,
    the_labels,
    the_text,
    the_words,
    tools_of_record,
)
from llmagentos.environments.request_rows import SPLITS, RawRow
from llmagentos.environments.request_schemas import allowing
from llmagentos.environments.request_tools import ToolNames
from llmagentos.errors import SourceError
from llmagentos.records.document import LeftOut
from llmagentos.records.identity import JSON
from llmagentos.records.message import ToolCall, ToolSpec
from llmagentos.records.task import Split

LONGEST_REQUEST = 8_000
"""Characters; what is longer does not fit a small model's window."""
LONGEST_ANSWER = 4_000
"""Characters of a reply in words; what is longer a small model does not say."""
MOST_TURNS = 32
SHOWN_COLUMNS = 12
"""Columns that a message names."""
SHOWN_LEFT_OUT = 1_000
"""So many are kept with their reasons; the rest is counted."""
ENOUGH = "Give more requests: some 100 are enough for a verdict of the gate."
SHARES: tuple[tuple[Split, int], ...] = (("train", 70), ("development", 10), ("gate", 10), ("report", 10))
"""Of a hundred, where a file has no splits of its own."""
LEAST_JUDGED = 30
"""Cases that the gate wants for a verdict; where its share of a small file is less, others go to it."""
LEAST_LEFT: Mapping[Split, float] = {"train": 0.5, "report": 0.25}
"""What stays to learn from, or to report on, of all that it has together with the gate."""


_MARKS = re.compile(r"[^\w\s]")


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
    instructions: str = ""
    """What the agent is told first, where the record says it."""
    tools: tuple[ToolSpec, ...] = ()
    """The tools that there are, where the record describes them."""


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
    read_as: str = ""
    """Which columns the first record that is used was read by."""
    assumed: list[str] = field(default_factory=list)
    """What was told by the content of the file as it did not say it."""
    described: dict[Hashable, tuple[ToolSpec, ...]] = field(default_factory=dict)
    """The tools as a user's file describes them, by the file and its state."""

    @property
    def every(self) -> Iterator[Case]:
        """The cases of all splits."""
        return chain.from_iterable(self.cases.values())

    def leave_out(self, place: str, reason: str) -> None:
        """Note a record that is not used."""
        if len(self.left_out) < SHOWN_LEFT_OUT:
            self.left_out.append(LeftOut(place, reason))
        else:
            self.more_left_out += 1

    @property
    def how_read(self) -> str:
        """`request from body, label from stars (as cp1252, it is no UTF-8)`."""
        return f"{self.read_as} ({'; '.join(self.assumed)})" if self.assumed else self.read_as

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
    read = Reader(columns, found)
    first: dict[int, tuple[Case, Split | None, str]] = {}
    contradicted: set[int] = set()
    for row in rows:
        case = read.case(row)
        if case is None:
            continue
        split = read.split(row)
        key = _digest(same_words(turn.request for turn in case.turns))
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
    found.tools = tools_of(found.every)
    return found


class Reader:
    """Reads records by the columns that are named or found."""

    def __init__(self, columns: Columns, found: Requests) -> None:
        self._columns, self._found = columns, found
        self._names = ToolNames()
        self.columns_seen = ""
        """What columns the first record has, in words."""

    def case(self, row: RawRow) -> Case | None:
        """The record's case, None with the reason noted."""
        self.columns_seen = self.columns_seen or _columns_of(row.fields)
        try:
            case = self._case(row)
        except Unusable as problem:
            self._found.leave_out(row.place, str(problem))
            return None
        return case

    def _case(self, row: RawRow) -> Case:
        fields = row.fields
        listed = by_name(fields, TURNS_COLUMN)
        several = isinstance(listed, list) and bool(listed)
        said = None if several or self._columns.request else conversation(fields)
        if not (several or said or listed is None):
            raise Unusable(f"has turns that are {brief(listed)} instead of a list of records")
        records: Sequence[Any] = said.turns if said else listed or [fields]
        if len(records) > MOST_TURNS:
            raise Unusable(f"has {len(records)} turns; at most {MOST_TURNS} are played")
        turns = tuple(self._turn(record) for record in records)
        tools = tools_of_record(fields)
        strange = [turn.call.name for turn in turns if turn.call and turn.call.name not in {one.name for one in tools}]
        if tools and strange:
            raise Unusable(f"calls {strange[0]}, which is none of the tools that it describes")
        if not self._found.read_as:
            self._found.read_as = "a conversation" if said else self._read_as(records[0])
            self._found.assumed += [row.assumed] * bool(row.assumed)
        tools = allowing(tools, (turn.call for turn in turns if turn.call is not None))
        return Case(row.place, turns, sys.intern(said.instructions) if said else "", tools)

    def split(self, row: RawRow) -> tuple[Split | None, str]:
        """The record's own split, None where it is held out or unknown, and what it calls it."""
        column = self._columns.split or first_there(row.fields, SPLIT_COLUMNS)
        if not column:
            return (SPLITS.get(row.split), row.split) if row.split else (None, "")
        said = str(by_name(row.fields, column) or row.split).strip().lower()
        return SPLITS.get(said), said

    def _turn(self, record: Any) -> Turn:
        if not isinstance(record, dict):
            raise Unusable(f"has a turn that is {brief(record)} instead of a record")
        asked = self.request(record)
        if not asked:
            raise Unusable(self._without_request(record))
        said = [by_name(record, column) for column in asked]
        text = "\n\n".join(the_text(one, "request") for one in said if one not in (None, ""))
        if not text:
            raise Unusable("has an empty request")
        if len(text) > LONGEST_REQUEST:
            raise Unusable(f"has a request of {len(text):,} characters; at most {LONGEST_REQUEST:,} fit a model")
        return Turn(text, *self._expected(record))

    def request(self, record: Mapping[str, JSON]) -> tuple[str, ...]:
        """The columns whose words are the request."""
        if not self._columns.request:
            return request_columns(record, REQUEST_COLUMNS)
        named = self._columns.asked(record)
        return named if any(by_name(record, column) is not None for column in named) else ()

    def _without_request(self, record: Mapping[str, JSON]) -> str:
        named = self._columns.request
        if by_name(record, TURNS_COLUMN) is not None:
            return "has turns inside of its turns; they are listed one level deep"
        if empty := first_there(record, self._columns.asked(record) if named else REQUEST_COLUMNS):
            return f"has no request: its {empty} is empty"
        missing = f"no column {named}" if named else "no request that is found by its name"
        return f"has {missing}: {_columns_of(record)}; name it by request=NAME"

    def reply(self, record: Mapping[str, JSON]) -> tuple[str, str]:
        """The kind of right reply and its column, by what was named, else by the first kind that the record has."""
        named = [(kind, getattr(self._columns, kind)) for kind in REPLIES if getattr(self._columns, kind)]
        if named:
            flags = named[0][0] == "label" and any(
                by_name(record, one) is not None for one in self._columns.flags(record)
            )
            return named[0] if flags or by_name(record, named[0][1]) not in (None, "") else ("", "")
        kinds = list(REPLIES)
        if by_name(record, "instruction") is not None and not first_of(record, ("label", "intent")):
            kinds.sort(key="answer".__ne__)  # Alpaca and Dolly: a category beside the output is none to be told
        found = [(kind, first_of(record, REPLIES[kind])) for kind in kinds]
        if by_name(record, SEVERAL_ANSWERS) is None:
            found.append(("label", first_of(record, SEVERAL_LABELS)))
        return next(((kind, column) for kind, column in found if column), ("", ""))

    def _expected(self, record: Mapping[str, JSON]) -> tuple[ToolCall | None, str]:
        kind, column = self.reply(record)
        if kind == "label" and (flags := self._columns.flags(record)):
            said = [name for name in flags if str(by_name(record, name)).strip().lower() in YES]
            return None, the_labels(said)
        value = by_name(record, column or SEVERAL_ANSWERS)
        if not column and value in (None, "", []):
            raise Unusable(self._without_reply(record))
        if kind == "label":
            several = the_labels(value)
            return (None, several) if several else (self._label(value), "")
        if kind == "call" or (not kind and is_calls(value)):
            return the_call(value), ""
        words = the_words(value)
        if not words:
            raise Unusable("has an empty answer")
        if len(words) > LONGEST_ANSWER:
            raise Unusable(f"has an answer of {len(words):,} characters; at most {LONGEST_ANSWER:,} fit a reply")
        return None, words

    def _label(self, value: JSON) -> ToolCall | None:
        """The call of the tool that a label names; None where the label says that none fits."""
        label = the_text(value, "label")
        if label.lower() in self._columns.nothing:
            return None
        name = self._names.of(label)
        if not name:
            raise Unusable(f"has the label {label[:80]!r}, of which no name of a tool can be made; it needs a letter")
        return ToolCall(name)

    def _read_as(self, record: Mapping[str, JSON]) -> str:
        """Which columns a record is read by, and which others could be meant."""
        kind, column = self.reply(record)
        asked = " and ".join(self.request(record))
        read = f"request from {asked}, {kind or 'reply'} from {column or SEVERAL_ANSWERS}"
        if any(getattr(self._columns, each) for each in REPLIES):
            return read
        usual = {plain_name(name) for names in REPLIES.values() for name in names}
        others = [name for name in record if plain_name(name) in usual - {plain_name(column)}]
        return f"{read}; {', '.join(others)} could be meant too" if others else read

    def _without_reply(self, record: Mapping[str, JSON]) -> str:
        named = [getattr(self._columns, kind) for kind in REPLIES if getattr(self._columns, kind)]
        usual = named or [name for names in REPLIES.values() for name in names]
        if empty := first_there(record, usual):
            return f"says not what is right: its {empty} is empty"
        wanted = f"no column {named[0]}" if named else "no label, call or answer is found by its name"
        advice = "" if named else "; name it by label=NAME, call=NAME or answer=NAME"
        return f"says not what is right: {wanted}; {_columns_of(record)}{advice}"


def _columns_of(record: Mapping[str, JSON]) -> str:
    names = ", ".join(str(name)[:40] for name in list(record)[:SHOWN_COLUMNS])
    return f"it has {names}{' ...' if len(record) > SHOWN_COLUMNS else ''}" if record else "it has no columns"


def _agree(one: Case, other: Case) -> bool:
    return [(turn.call, turn.words) for turn in one.turns] == [(turn.call, turn.words) for turn in other.turns]


def _deal(first: Mapping[int, tuple[Case, Split | None, str]], found: Requests) -> None:
    """Every case into its split. What a file does not split itself is split by the digest of its words."""
    said = {name for _, _, name in first.values() if name in SPLITS}
    held = any(SPLITS[name] in (None, "gate", "report") for name in said)
    developed = any(SPLITS[name] == "development" for name in said)
    dealt: dict[int, Split] = {}
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
        dealt[key] = chosen
    for key in _for_the_gate(dealt, "report" if held else "train"):
        dealt[key] = "gate"
    for key, split in dealt.items():
        found.cases[split].append(first[key][0])


def _for_the_gate(dealt: Mapping[int, Split], source: Split) -> list[int]:
    """Cases of the split `source` that a small file's gate needs besides; none where they would not be enough.

    Those with the largest digests: as a file grows some of them go back, and none that was learned from is judged.
    """
    counts = Counter(dealt.values())
    missing = LEAST_JUDGED - counts["gate"]
    left = math.ceil(LEAST_LEFT[source] * (counts["gate"] + counts[source]))
    if not 0 < missing <= counts[source] - left:
        return []
    return sorted((key for key, split in dealt.items() if split == source), reverse=True)[:missing]


def _limited(cases: list[Case], most: int) -> list[Case]:
    """At most `most` cases of each kind of expected reply, in the order of the file."""
    kinds: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for number, case in enumerate(cases):
        last = case.turns[-1]
        kind = last.call.name if last.call else last.words
        kinds[kind].append((_digest(_plain(case.turns[0].request)), number))
    kept = {number for each in kinds.values() for _, number in sorted(each)[:most]}
    return [case for number, case in enumerate(cases) if number in kept]


def _check(found: Requests, source: str, columns: str) -> None:
    """`SourceError` where a split is left with nothing: what is wrong, and what to do about it."""
    short = [split for split, cases in found.cases.items() if not cases]
    if not short:
        return
    left = len(found.left_out) + found.more_left_out
    first = ""
    if found.left_out:
        reason = found.left_out[0].reason
        others = f"; {columns}" if columns and columns not in reason else ""
        first = f" The first one, {found.left_out[0].source}, {reason}{others}."
    if len(short) == len(found.cases) and not left:
        raise SourceError(f"{source} holds no records. {ENOUGH}")
    if len(short) == len(found.cases):
        named = f"llmagentos learn --data '{source}' --option request=COLUMN --option label=COLUMN (or call=, answer=)"
        advice = f" Where columns are called otherwise than usual, say so: {named}." if columns else ""
        if source.endswith((".csv", ".tsv")) and columns:
            advice += " The names of the columns are the first line of a table; write them there if it has none."
        raise SourceError(f"None of the {left:,} records of {source} can be used.{first}{advice}")
    raise SourceError(
        f"There is nothing for {', '.join(short)} in {source}: {found.summary}.{first} {ENOUGH} A split of their own "
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
    for call in calls_in(cases):
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


def calls_in(cases: Iterable[Case]) -> Iterator[ToolCall]:
    """Every call that is right somewhere."""
    return (turn.call for case in cases for turn in case.turns if turn.call is not None)


def _type(value: JSON) -> str:
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return kinds.get(type(value), "null")


def _schema(kinds: set[str]) -> dict[str, JSON]:
    if kinds == {"integer", "number"}:
        kinds = {"number"}
    return {"type": kinds.copy().pop()} if len(kinds) == 1 else {"type": sorted(kinds)}


def same_words(turns: Iterable[str]) -> str:
    """A conversation's words; the same for what is never learned in one split and judged in another."""
    return "\n".join(map(_plain, turns))


def _plain(text: str) -> str:
    """Words without what people write differently: case, white space and punctuation."""
    return " ".join(_MARKS.sub(" ", text.lower()).split()) or text


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")
