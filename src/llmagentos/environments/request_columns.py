"""Columns: what those of a user's file are usually called, and which of them mean what.

In: an environment's options. Out: `Columns`.
It does not know what stands in a column (`request_guess` does), nor how a record is read (`request_cases`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmagentos.environments.request_layouts import by_name, first_there
from llmagentos.errors import ConfigError, SourceError
from llmagentos.records.identity import JSON

REQUEST_COLUMNS = (
    *("request", "text", "question", "prompt", "input", "utterance", "query", "message", "instruction"),
    *("utt", "body", "description", "content", "sentence", "ticket", "review", "comment", "complaint", "tweet"),
)
LABEL_COLUMNS = (
    *("label_text", "label_name", "label", "intent", "category", "class", "target"),
    *("queue", "topic", "department", "team"),
)
"""A name stands before the number that it is a name of (SetFit)."""
CALL_COLUMNS = ("call", "tool_call", "tool_calls", "function_call", "action")
ANSWER_COLUMNS = ("answer", "response", "output", "completion", "reply", "chosen")
SEVERAL_LABELS = ("labels", "intents", "categories", "topics", "tags")
"""Looked for last: beside an answer they are no more than its subject."""
SEVERAL_ANSWERS = "answers"
"""Several right answers, of which the first is taken (SQuAD), or the call in a list (xLAM)."""
SPLIT_COLUMNS = ("split", "fold", "partition")
TURNS_COLUMN = "turns"
"""A record with several turns has a list of records here, one after another."""

OUT_OF_SCOPE = ("oos", "out_of_scope")
"""Labels that mean that nothing fits, unless others are named."""
REPLIES: Mapping[str, tuple[str, ...]] = {"label": LABEL_COLUMNS, "call": CALL_COLUMNS, "answer": ANSWER_COLUMNS}
"""Kinds of right replies in the order in which they are looked for, and the columns that are usually called so."""
YES = ("1", "1.0", "true", "yes", "y", "x")
NO = ("0", "0.0", "false", "no", "n", "")
"""What a column says of a label that is one, or is none."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column means what; empty for the first of the usual names that a record has."""

    request: str = ""
    """One column, or several with commas between them, whose texts are one request."""
    label: str = ""
    """One column, or several with commas between them: the names of those that say yes are the labels."""
    answer: str = ""
    call: str = ""
    split: str = ""
    nothing: tuple[str, ...] = OUT_OF_SCOPE
    """Labels that mean that no tool fits: words are then the right reply."""

    def asked(self, record: Mapping[str, JSON]) -> tuple[str, ...]:
        """The columns of the request that are named: one that is called so, else those between commas; or none."""
        if not self.request:
            return ()
        whole = by_name(record, self.request) is not None or "," not in self.request
        return (self.request,) if whole else tuple(filter(None, map(str.strip, self.request.split(","))))

    def flags(self, record: Mapping[str, JSON]) -> tuple[str, ...]:
        """The columns of which each says whether a label is one; empty where one column holds the label."""
        if "," not in self.label or by_name(record, self.label) is not None:
            return ()
        return tuple(filter(None, map(str.strip, self.label.split(","))))


def check_named(columns: Columns, records: Sequence[Mapping[str, JSON]]) -> None:
    """`SourceError` where none of the `records` has one of several columns that are named with commas between them:
    the others would stand for it, and nobody would see that it is misspelt."""
    for record in records[:1]:
        named = (*columns.asked(record), *columns.flags(record)) if by_name(record, TURNS_COLUMN) is None else ()
        missing = [name for name in named if not any(first_there(one, (name,)) for one in records)]
        if missing and len(named) > 1:
            known = ", ".join(dict.fromkeys(str(name) for one in records for name in one))
            raise SourceError(f"No record has the column {missing[0]}. There are: {known[:300]}.")


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
