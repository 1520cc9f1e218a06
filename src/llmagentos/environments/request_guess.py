"""Which columns of a file mean what where their names do not say it: told by what stands in them.

In: a file's first records, and the columns that somebody named. Out: the columns, with that of the request and that of
what is right; what could be meant in several ways stays open.
It does not know file formats.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from llmagentos.environments.request_cases import Reader, Requests
from llmagentos.environments.request_columns import NO, SPLIT_COLUMNS, TURNS_COLUMN, YES, Columns
from llmagentos.environments.request_layouts import CONVERSATION_COLUMNS, first_there, is_object, plain_name
from llmagentos.environments.request_rows import SPLITS, RawRow
from llmagentos.records.identity import JSON

LEAST_RECORDS = 8
"""Fewer show too little of what a column holds."""
FILLED = 0.8
"""Share of the records in which a column that means something has a value."""
WORDS, DIFFERENT = 3.0, 0.5
"""Words of a request on average, and share of requests that are different."""
LONGER = 3.0
"""So many times as long as each other text, one of several is the request: a review beside its title."""
REPEATED = 2
"""Times that each label occurs on average, at least."""
FLAGS = 3
"""Columns of yes and no are labels where there are so many; of two the one could be meant."""
LONGEST_LABEL = 64
"""Characters."""
PLAIN = (str, int, float)
"""What a request or a label is; truth values are numbers to Python."""
_MEASURED = re.compile(r"-?\d+[.,]\d+|\d{4}-\d\d-\d\d.*|\d\d?[./]\d\d?[./]\d{2,4}.*")
"""Fractions and dates: nothing that anybody chooses from."""


@dataclass(frozen=True, slots=True)
class _Column:
    """What stands in one column."""

    name: str
    words: float
    """On average."""
    values: int
    """Different ones."""
    filled: int
    longest: int
    measured: bool
    flag: bool
    """Whether it says yes or no."""
    objects: bool
    """Whether its values are objects, or lists of them."""

    @property
    def is_text(self) -> bool:
        return not self.objects and self.words >= WORDS and self.values >= DIFFERENT * self.filled

    @property
    def is_label(self) -> bool:
        several = self.values >= 2 and REPEATED * self.values <= self.filled
        return several and self.longest <= LONGEST_LABEL and not (self.objects or self.measured)


def by_content(rows: Sequence[RawRow], columns: Columns) -> Columns:
    """`columns`, with what neither they nor the usual names tell told by what stands in the first `rows`.

    Where one of these records can be used already, nothing is guessed.
    """
    records = [row.fields for row in rows]
    reader, layouts = Reader(columns, Requests()), (*CONVERSATION_COLUMNS, TURNS_COLUMN)
    if any(reader.case(row) for row in rows) or any(first_there(record, layouts) for record in records):
        return columns
    named = {name for record in records[:1] for name in columns.asked(record)}
    asked, right = named, {columns.label, columns.answer, columns.call} - {""}
    asked = asked or {name for record in records for name in reader.request(record)}
    right = right or {reader.reply(record)[1] for record in records} - {""}
    known = guess(records, asked, right)
    return replace(
        columns,
        request=columns.request or known.request,
        label=columns.label or known.label,
        answer=columns.answer or known.answer,
    )


def guess(records: Sequence[Mapping[str, JSON]], asked: Collection[str] = (), right: Collection[str] = ()) -> Columns:
    """The columns that are not known yet, beside those that are `asked` and those that say what is `right`.

    A request is the one text of several words, or the one that is far longer than all others. A label is the one column
    of a few values that come again and again, else the one of objects is an answer. In a file of two columns both texts
    stand in their order, and the one beside a request says what is right, whatever it holds. Several columns of
    which each says yes or no are labels, of which a request has those that say yes.
    """
    columns = list(_columns(records)) if len(records) >= LEAST_RECORDS else []
    named = {plain_name(str(name)) for record in records for name in record} - set(SPLIT_COLUMNS)
    two, request = len(named) == 2, ""
    known = {plain_name(name) for name in (*asked, *right)}
    others = [one for one in columns if plain_name(one.name) not in known]
    if not asked:
        request = _request(others, in_order=two and not right)
        others = [one for one in others if one.name != request]
    if right or not (asked or request):
        return Columns(request)
    labels = [one for one in others if one.is_label]
    flags = [one for one in others if one.flag and "," not in one.name]
    if len(flags) >= FLAGS and all(one.flag for one in labels):
        return Columns(request, label=",".join(one.name for one in flags))
    answers = [one for one in others if one.objects] or [one for one in others if one.is_text or two]
    if len(labels) == 1:
        return Columns(request, label=labels[0].name)
    if not labels and len(answers) == 1:
        return Columns(request, answer=answers[0].name)
    return Columns(request)


def _request(columns: Sequence[_Column], *, in_order: bool) -> str:
    """The one text, the far longest, or of two columns `in_order` the first; empty where it could be another one."""
    texts = sorted((one for one in columns if one.is_text), key=lambda one: -one.words)
    if len(texts) > 1 and in_order:
        return columns[0].name
    if len(texts) == 1 or (len(texts) > 1 and texts[0].words >= LONGER * texts[1].words):
        return texts[0].name
    return ""


def _columns(records: Sequence[Mapping[str, JSON]]) -> Iterator[_Column]:
    """The columns that hold something nearly everywhere, either texts, numbers and truth values or objects, and no
    splits."""
    for name in dict.fromkeys(name for record in records for name in record):
        there = [value for record in records if (value := record.get(name)) not in (None, "")]
        objects = all(map(is_object, there))
        if len(there) < FILLED * len(records) or not (objects or all(isinstance(one, PLAIN) for one in there)):
            continue
        said = [str(value).strip() for value in there]
        if plain_name(str(name)) in SPLIT_COLUMNS or {text.lower() for text in said} <= set(SPLITS):
            continue
        measured = fmean(bool(_MEASURED.fullmatch(text)) for text in said) > DIFFERENT
        words, values = fmean(len(text.split()) for text in said), set(said)
        flag = {text.lower() for text in values} <= {*YES, *NO}
        yield _Column(str(name), words, len(values), len(said), max(map(len, said)), measured, flag, objects)
