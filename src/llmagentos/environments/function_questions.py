"""The leaderboard's questions: read from its published package, with a fixed split.

In: the files of the `bfcl-eval` wheel, fetched once and checked by digest. Out: `Question`s.
A question belongs to one split for good, by a digest of its identifier. Questions with the same words or the same
expected call (the leaderboard has over a hundred such pairs) and live questions about the same function go together,
so that nothing held out was seen in training.
It does not know how a question is asked or judged.
"""

from __future__ import annotations

import json
import re
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, cast

from llmagentos.environments.function_matching import example, mismatch
from llmagentos.environments.language import deal
from llmagentos.errors import ModelFileError
from llmagentos.models.packages import ProgressCallback, fetch_package_files
from llmagentos.records.identity import JSON
from llmagentos.records.task import Split

Category: TypeAlias = Literal["simple", "multiple", "live_simple", "irrelevance"]

CATEGORIES: tuple[Category, ...] = ("simple", "multiple", "live_simple", "irrelevance")

PACKAGE = "bfcl-eval==2026.3.23"
PACKAGE_SHA256 = "3bb6dfa5f0c68ad403c9ec50b00db2bb3b4cc9b38ab1ff33f48fe30d853d3a0a"
PACKAGE_BYTES = 1_925_664

_FILES: dict[Category, str] = {
    "simple": "BFCL_v4_simple_python.json",
    "multiple": "BFCL_v4_multiple.json",
    "live_simple": "BFCL_v4_live_simple.json",
    "irrelevance": "BFCL_v4_irrelevance.json",
}

_READ: dict[Path, list[Question]] = {}
_READING = threading.Lock()
_SHARES: tuple[tuple[Split, int], ...] = (("train", 60), ("development", 10), ("gate", 10), ("report", 20))


@dataclass(frozen=True, slots=True)
class Question:
    """One question with the functions offered and the calls allowed."""

    id: str
    category: Category
    split: Split
    text: str
    context: str
    """What the leaderboard puts before the question as a system message; mostly empty."""
    functions: tuple[dict[str, JSON], ...]
    """The leaderboard's own descriptions: name, description, parameters."""
    function: str = ""
    """Name of the function to call; empty when none fits."""
    allowed: Mapping[str, list[JSON]] | None = None
    """Allowed values by argument; an empty text among them says that the argument may be left out."""

    @property
    def parameters(self) -> Mapping[str, JSON]:
        """The leaderboard's description of the arguments of `function`."""
        described: dict[str, JSON] = next((one for one in self.functions if one["name"] == self.function), {})
        return cast("Mapping[str, JSON]", described.get("parameters", {}))


def fetch_questions(cache: Path, progress: ProgressCallback | None = None) -> list[Question]:
    """All questions, in the leaderboard's order; fetched into `cache` when they are not there.

    A process reads and checks the files once: every run of a task has an environment of its own.
    """
    with _READING:
        if cache not in _READ:
            _READ[cache] = _fetch_questions(cache, progress)
        return _READ[cache]


def _fetch_questions(cache: Path, progress: ProgressCallback | None) -> list[Question]:
    members = {f"bfcl_eval/data/{file}": None for file in _FILES.values()}
    members |= {f"bfcl_eval/data/possible_answer/{_FILES[name]}": None for name in CATEGORIES if name != "irrelevance"}
    files = fetch_package_files(
        PACKAGE,
        members,
        cache=cache,
        progress=progress,
        package_sha256=PACKAGE_SHA256,
        package_bytes=PACKAGE_BYTES,
    )
    return read_questions({name.removeprefix("bfcl_eval/data/"): path for name, path in files.items()})


def read_questions(files: Mapping[str, Path]) -> list[Question]:
    """Questions from the leaderboard's files, named as below `bfcl_eval/data`."""
    rows: list[tuple[Category, dict[str, JSON]]] = []
    answers: dict[str, dict[str, JSON]] = {}
    for category, file in _FILES.items():
        rows += [(category, row) for row in _read_lines(files[file])]
        if category != "irrelevance":
            answers |= {row["id"]: row["ground_truth"][0] for row in _read_lines(files[f"possible_answer/{file}"])}
    splits = _split_groups(rows, answers)
    questions = [_question(category, row, answers.get(row["id"]), splits[row["id"]]) for category, row in rows]
    return [one for one in questions if _answerable(one)]


def split_of(identifier: str) -> Split:
    """The split that a digest of `identifier` gives."""
    return deal(identifier, _SHARES)


def _question(category: Category, row: dict[str, JSON], answer: dict[str, JSON] | None, split: Split) -> Question:
    messages = row["question"][0]
    if category != "irrelevance" and answer is None:
        raise ModelFileError(f"{PACKAGE} has no answer to its question {row['id']!r}. Fetch it again.")
    function, allowed = next(iter(answer.items())) if answer else ("", None)
    return Question(
        id=row["id"],
        category=category,
        split=split,
        text="\n".join(message["content"].strip() for message in messages if message["role"] == "user"),
        context="\n".join(message["content"].strip() for message in messages if message["role"] == "system"),
        functions=tuple(row["function"]),
        function=function,
        allowed=allowed,
    )


def _answerable(question: Question) -> bool:
    """False for the few questions (two of 1,098) whose answer key no call can satisfy."""
    if question.allowed is None:
        return True
    return not mismatch(example(question.parameters, question.allowed), question.parameters, question.allowed)


def _read_lines(path: Path) -> Iterable[dict[str, JSON]]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                yield json.loads(line)
            except ValueError as problem:
                raise ModelFileError(
                    f"{path} is damaged in line {number}: {problem}. Delete it and try again."
                ) from problem


def _split_groups(
    rows: list[tuple[Category, dict[str, JSON]]], answers: dict[str, dict[str, JSON]]
) -> dict[str, Split]:
    """The split of every question; all of a group get that of its first identifier in order."""
    groups = {row["id"]: row["id"] for _, row in rows}

    def root(identifier: str) -> str:
        while groups[identifier] != identifier:
            identifier = groups[identifier]
        return identifier

    same: dict[str, list[str]] = defaultdict(list)
    for _, row in rows:
        same["text " + row["question"][0][-1]["content"].strip().lower()].append(row["id"])
        if row["id"] in answers:
            same["call " + json.dumps(answers[row["id"]], sort_keys=True)].append(row["id"])
        live = re.fullmatch(r"live_simple_\d+-(\d+)-\d+", row["id"])
        if live:
            same["function " + live.group(1)].append(row["id"])
    for identifiers in same.values():
        first, *others = sorted(root(identifier) for identifier in identifiers)
        for other in others:
            groups[root(other)] = root(first)
    members: dict[str, list[str]] = defaultdict(list)
    for identifier in groups:
        members[root(identifier)].append(identifier)
    return {one: split_of(min(group)) for group in members.values() for one in group}
