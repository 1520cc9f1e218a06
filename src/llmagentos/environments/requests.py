"""Requests-v0: a team's own requests, each with what is right to do: a label, a call, or an answer.

In: a file or folder (`data`), which columns mean what, and replies. Out: reward for the right ones.
It does not know file formats (`request_rows`) nor how cases are gathered and split (`request_cases`).
"""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any, cast

import msgspec

from llmagentos.environments.language import (
    LanguageEnvironment,
    Policy,
    StepResult,
    check_action,
    check_draw,
    check_options,
    check_split,
)
from llmagentos.environments.request_asked import called, check_asked, held_out
from llmagentos.environments.request_cases import (
    Case,
    Requests,
    Turn,
    calls_in,
    gather,
    same_words,
)
from llmagentos.environments.request_columns import check_named, read_columns
from llmagentos.environments.request_files import read_rows
from llmagentos.environments.request_guess import by_content
from llmagentos.environments.request_rows import RawRow
from llmagentos.environments.request_schemas import allowing, in_order
from llmagentos.errors import ConfigError, EnvironmentFault
from llmagentos.programs.parsing import parse_call, render_call
from llmagentos.records.identity import JSON
from llmagentos.records.message import ToolCall, ToolSpec
from llmagentos.records.progress import Progress
from llmagentos.records.task import Split, Task

NAME = "Requests-v0"
OPTIONS = ("data", "request", "label", "answer", "call", "split", "nothing", "tools", "instructions", "most", "alike")

ASKED = "asked"
"""The option of a task that is a person's own request."""

CALL_INSTRUCTIONS = "Call the tool that fits the request. If none fits, say so."
ANSWER_INSTRUCTIONS = "Answer the request."
NOTHING_FITS = "No tool fits."
"""The expert's reply where nothing is to be called."""

SHORTEST_REPLY = 96
"""Tokens that a reply may always have; where answers are longer, a third of the longest one's characters."""

_READ: dict[tuple[object, ...], Requests] = {}
_READING = threading.Lock()
LOOKED_AT, SAMPLE = 20_000, 500
"""First records, and how many of them tell what columns mean where their names do not: files are sorted by label."""
GUESSED = (
    "columns told by what stands there; say otherwise by --option request=COLUMN and label=COLUMN or answer=COLUMN"
)
SHOWN_EVERY = 10_000
"""Records between two signs of progress."""
_REMEMBERED = 4
"""Files that a process keeps in memory."""


class RequestsEnvironment(LanguageEnvironment):
    """A conversation of one or several requests; each reply has to be the right one.

    `data` is a file or folder. `request`, `label`, `answer`, `call` and `split` name columns that are called otherwise
    than usual; `nothing` the labels (with commas) that no tool fits; `tools` a JSON file with specifications of the
    tools; `instructions` replaces the system text; `most` limits training cases of each kind. An answer in words is
    right where it is the same, one in JSON where it says the same, or with `alike` below 1 where it has that share of
    its words in common with the right one (F1, as SQuAD counts: arXiv 1606.05250).
    The reward is the share of turns that were right; success is that all were, strictly in their form too.
    """

    finite = True

    def __init__(self, **options: JSON) -> None:
        super().__init__(NAME)
        self._options = options
        self.alike = read_alike(options.get("alike", 1.0))
        self.requests = load(options)
        self._tools = self._described(options.get("tools"))
        self.most_steps = max(len(case.turns) for case in self.requests.every)
        self.reply_tokens = max(SHORTEST_REPLY, longest_answer(self.requests) // 3 + 16)
        self._case: Case | None = None
        self._turn = self._right = 0
        self._strict = True
        self._known = True
        """Whether anybody knows what is right."""
        if self._tools and self.requests.nothing_fits:
            self.abstention = NOTHING_FITS

    @property
    def task_options(self) -> dict[str, JSON]:
        return {}

    def tasks(self, split: Split, count: int, seed: int = 0) -> list[Task]:
        """`count` different cases of `split`, fewer when it has no more; another `seed` shuffles otherwise."""
        check_draw(split, count)
        there_are = len(self.requests.cases[split])
        chosen = random.Random(f"{NAME}/{split}/{seed}").sample(range(there_are), min(count, there_are))
        return [self.task(split, position) for position in chosen]

    def asked(self, turns: Sequence[str]) -> Task:
        """See `LanguageEnvironment.asked`; what a file holds out belongs to its split, and is never learned from."""
        said = check_asked(turns, self.most_steps)
        split = self._held_out.get(same_words(said), "train")
        return Task(self.name, 0, split, skill=self.skill, options={ASKED: list(said)})

    def in_form(self, reply: str) -> str:
        """The reply as a call, where it is one or the name of one; see `request_asked.called`."""
        nothing = NOTHING_FITS if self.requests.nothing_fits else ""
        found = called(reply, self._tools, nothing, words=self._in_words)
        return right_reply(Turn("", found) if isinstance(found, ToolCall) else Turn("", None, found), self._tools)

    @cached_property
    def _held_out(self) -> dict[str, Split]:
        return held_out(self.requests)

    @cached_property
    def _in_words(self) -> bool:
        """Whether words can be right, other than those for that no tool fits."""
        turns = (turn for case in self.requests.every for turn in case.turns)
        return any(turn.words or (turn.call is None and not self.requests.nothing_fits) for turn in turns)

    def case(self, task: Task) -> Case:
        """The case behind `task`."""
        return self._choose(task.split, task.seed)

    def offered(self, case: Case) -> tuple[ToolSpec, ...]:
        """The tools that an agent is told of: those of the user's file, of the record, or of all records."""
        return case.tools if case.tools and "tools" not in self._options else self._tools

    def expert(self, task: Task) -> Policy | None:
        """Replies what is right, turn by turn; None for what a person asked."""
        if ASKED in task.options:
            return None
        case = self.case(task)
        replies = iter([right_reply(turn, self.offered(case)) for turn in case.turns])
        return lambda observation: next(replies, NOTHING_FITS)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        split, asked = check_split((options or {}).get("split", "train")), (options or {}).get(ASKED)
        number = seed if seed is not None else int(self.np_random.integers(2**31))
        self._known = asked is None
        self._case = self._choose(split, number) if asked is None else self._unknown(asked)
        self._turn, self._right, self._strict = 0, 0, True
        tools = self.offered(self._case)
        usual = self._case.instructions or (CALL_INSTRUCTIONS if tools else ANSWER_INSTRUCTIONS)
        instructions = str(self._options.get("instructions", usual))
        return self._case.turns[0].request, {"instructions": instructions, "tools": tools}

    def step(self, action: str) -> StepResult:
        text = check_action(self.name, action, self._case is not None)
        case = cast("Case", self._case)
        turn, tools = case.turns[self._turn], self.offered(case)
        strict, lenient = self._judge(turn, text, tools) if self._known else (False, False)
        self._right += lenient
        self._strict &= strict
        self._turn += 1
        reward = float(strict) / len(case.turns)
        if self._turn < len(case.turns):
            return case.turns[self._turn].request, reward, False, False, {}
        self._case = None
        right = self._right == len(case.turns)
        return "", reward, True, False, {"success": right and self._strict, "lenient": right}

    def _judge(self, turn: Turn, text: str, tools: Sequence[ToolSpec]) -> tuple[bool, bool]:
        """Whether a reply is right strictly and leniently."""
        parsed = parse_call(text, [tool.name for tool in tools])
        if turn.call is not None:
            if parsed.call is None or parsed.call.name != turn.call.name:
                return False, False
            exact = parsed.well_formed and parsed.call.arguments == turn.call.arguments
            return exact, exact or _loose(parsed.call.arguments) == _loose(turn.call.arguments)
        if not parsed.is_message or not text.strip():
            return False, False
        if not turn.words:
            return True, True
        if self.alike < 1:
            near = words_in_common(text, turn.words) >= self.alike
            return near, near
        same = text.strip() == turn.words or same_json(text, turn.words)
        return same, same or _loose(text) == _loose(turn.words)

    def _unknown(self, turns: Sequence[str]) -> Case:
        """What a person asked, told what the file's requests are told."""
        usual = next(self.requests.every, None)
        return Case("asked", tuple(map(Turn, turns)), usual.instructions if usual is not None else "")

    def _choose(self, split: Split, number: int) -> Case:
        cases = self.requests.cases[split]
        if not cases:
            raise EnvironmentFault(f"{self.name} has no requests in the split {split}.")
        return cases[number % len(cases)]

    def _described(self, path: JSON) -> tuple[ToolSpec, ...]:
        """The tools that the cases call, as a file of the user's describes them where it does; such a file is read once
        for all environments of the same requests."""
        if path is None:
            return self.requests.tools
        file, known = Path(str(path)).expanduser(), self.requests.described
        try:
            key = (file, _state(file))
            if key not in known:
                known[key] = self._read_tools(file)
        except (OSError, msgspec.MsgspecError) as problem:
            raise ConfigError(f"tools={path}: no list of tools with name, description, parameters: {problem}") from None
        return known[key]

    def _read_tools(self, file: Path) -> tuple[ToolSpec, ...]:
        specs = msgspec.json.decode(file.read_bytes(), type=list[ToolSpec])
        names = {spec.name for spec in specs}
        missing = [tool.name for tool in self.requests.tools if tool.name not in names]
        if missing:
            raise ConfigError(f"tools={file} does not describe {', '.join(missing[:5])}, which requests call.")
        return allowing(specs, calls_in(self.requests.every))


def right_reply(turn: Turn, tools: Sequence[ToolSpec] = ()) -> str:
    """The one strictly right reply to a turn, its arguments in the order of their tool's schema.

    One order for all requests is easier to learn than that of each row, and the one that replies are held to.
    """
    if turn.call is None:
        return turn.words or NOTHING_FITS
    schema = next((tool.parameters for tool in tools if tool.name == turn.call.name), {})
    return render_call(ToolCall(turn.call.name, in_order(turn.call.arguments, schema)))


def load(options: dict[str, JSON], on_progress: Callable[[Progress], None] | None = None) -> Requests:
    """The cases of `options["data"]`; a process reads a file once, and again when it was changed.

    `ConfigError` for options that there are not, before anything is read.
    """
    check_options(NAME, options, OPTIONS)
    if not isinstance(options.get("data"), str):
        raise ConfigError(f"{NAME} needs a file or folder: {NAME}?data=./tickets.jsonl")
    path = Path(str(options["data"])).expanduser().resolve()
    most = options.get("most", 0)
    if not isinstance(most, int) or most < 0:
        raise ConfigError(f"{NAME}: most={most!r} is no number of training cases.")
    columns = read_columns(options)
    key = (path, columns, most, _state(path))
    with _READING:
        if key not in _READ:
            found = Requests()
            rows = read_rows(path, lambda one: found.leave_out(one.source, one.reason))
            counted = _counted(rows, path.name, on_progress) if on_progress is not None else rows
            start = list(islice(counted, LOOKED_AT))
            sample = start[:: max(1, len(start) // SAMPLE)]
            check_named(columns, [row.fields for row in sample])
            meant = by_content(sample, columns)
            gather(chain(start, counted), meant, found, most_of_a_kind=most, source=str(path))
            if meant != columns:
                found.assumed.append(GUESSED)
            while len(_READ) >= _REMEMBERED:
                del _READ[next(iter(_READ))]
            _READ[key] = found
        return _READ[key]


def _state(path: Path) -> tuple[tuple[int, int], ...]:
    """What tells that a file, or one of a folder's, was changed."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    found = [one.stat() for one in files if one.is_file()]
    return tuple((one.st_mtime_ns, one.st_size) for one in found)


def _counted(rows: Iterable[RawRow], name: str, show: Callable[[Progress], None]) -> Iterator[RawRow]:
    """The rows, with an event at the first one and now and then."""
    began, number = time.monotonic(), 0
    show(Progress(f"reading {name}", 0, 0, "records"))
    for number, row in enumerate(rows, start=1):
        if number % SHOWN_EVERY == 0:
            show(Progress(f"reading {name}", number, 0, "records", seconds=time.monotonic() - began))
        yield row
    show(Progress(f"reading {name}", number, number, "records", seconds=time.monotonic() - began))


def read_alike(value: JSON) -> float:
    """The share of words that a right answer has in common; `ConfigError` for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise ConfigError(f"{NAME}: alike={value!r} is no share of words. Give more than 0 and at most 1.")
    return float(value)


def longest_answer(requests: Requests) -> int:
    """Characters of the longest answer in words."""
    return max((len(turn.words) for case in requests.every for turn in case.turns), default=0)


def words_in_common(one: str, other: str) -> float:
    """Twice the words that two texts share over all their words: F1, 1 where they have the same words."""
    left, right = (Counter(re.findall(r"\w+", text.lower())) for text in (one, other))
    total = left.total() + right.total()
    return 2 * (left & right).total() / total if total else 1.0


def same_json(said: str, right: str) -> bool:
    """Whether both are JSON objects or lists that say the same, in whatever order of names and with whatever spaces."""
    if not right.startswith(("{", "[")):
        return False
    try:
        one, other = (json.dumps(json.loads(text), sort_keys=True) for text in (said, right))
    except (ValueError, RecursionError):
        return False
    return one == other


def _loose(value: JSON) -> str:
    """What is left where case, white space and the order of names do not count."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    return " ".join(text.lower().split())
