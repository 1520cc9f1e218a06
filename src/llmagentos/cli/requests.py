"""A file of requests as commands open it: its options, and what was read of it in plain sentences.

It does not know file formats or layouts.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import median
from typing import TYPE_CHECKING, TypeVar

import click

from llmagentos.cli.screen import say

if TYPE_CHECKING:
    from llmagentos.environments.requests import RequestsEnvironment
    from llmagentos.records.progress import Progress

CommandT = TypeVar("CommandT", bound=Callable[..., object])

SHOWN = 5
"""Records that were left out and are told of one by one."""
LONG_ANSWER = 12
"""Words from which on an answer is seldom given in the very same words again."""


def request_options(command: CommandT) -> CommandT:
    """`--option NAME=VALUE`, repeatable: how a file of requests is read."""
    return click.option(
        "-o",
        "--option",
        "options",
        multiple=True,
        metavar="NAME=VALUE",
        help="How FILE is read; repeatable. request=, label=, answer=, call=, split=: which column is it; nothing=: "
        "labels that no tool fits; most=: training requests a label; alike=: share of an answer's words that is "
        "enough; instructions=, tools=: what the agent is told.",
    )(command)


def requests_of(
    path: str,
    options: Sequence[str] = (),
    *,
    quiet: bool,
    show: Callable[[Progress], None],
    most: int = SHOWN,
) -> RequestsEnvironment:
    """The environment of a file of requests; says what was read and `most` of what was left out unless `quiet`."""
    from llmagentos.environments import requests
    from llmagentos.environments.registry import make, read_query, write_query

    given: dict[str, str] = {}
    for one in options:
        key, equals, value = one.partition("=")
        if not equals or not key:
            raise click.UsageError(f"--option {one!r} is not of the form NAME=VALUE, such as: --option label=queue")
        given[key.strip()] = value
    name = requests.NAME + write_query({"data": path, **given})
    requests.load({**read_query(name), "data": path}, show)
    environment = make(name)
    assert isinstance(environment, requests.RequestsEnvironment)
    if not quiet:
        _tell(environment, most, shlex.join(["llmagentos", "data", "check", path, *_again(options)]))
    return environment


def _again(options: Sequence[str]) -> list[str]:
    """The same options as words of another command."""
    return [word for one in options for word in ("--option", one)]


def _tell(environment: RequestsEnvironment, most: int, check: str) -> None:
    """What was read, as what, what was left out, and what will be hard; `check` is the command that lists more."""
    found = environment.requests
    say(f"{environment.skill}: {found.summary}")
    say(f"  read as: {found.how_read}")
    for one in found.left_out[:most]:
        say(f"  left out: {one.source} {one.reason}")
    more = len(found.left_out[most:]) + found.more_left_out
    if more:
        how = f"; {check} --most {len(found.left_out)} lists them" if len(found.left_out) > most else ""
        say(f"  and {more:,} more{how}")
    for warning in warnings_of(environment):
        say(f"  {warning}", "yellow")


def warnings_of(environment: RequestsEnvironment) -> list[str]:
    """What of a file will make learning hard, with what to do about it."""
    found, warned = environment.requests, []
    turns = [turn for case in found.cases["train"] for turn in case.turns]
    lengths = [len(turn.words.split()) for turn in turns if turn.words]
    if lengths and median(lengths) >= LONG_ANSWER and environment.alike == 1:
        warned.append(
            f"Answers have {median(lengths):.0f} words in the middle, and a reply is right only when every word is the "
            "same. With --option alike=0.7 it is right when 70 % of the words are."
        )
    names = Counter(turn.call.name for turn in turns if turn.call)
    if names and all(name.isdecimal() for name in names):
        warned.append(
            "The labels are numbers, so the agent learns tools called 0, 1, ...; a column label_text with their names "
            "says more."
        )
    rare = [name for name, count in names.items() if count == 1]
    if len(rare) > len(names) / 2 and len(names) > len(turns) / 4:
        warned.append(
            f"{len(rare):,} of {len(names):,} labels occur once: such a column is rarely a label. "
            "Say another: --option label=NAME or answer=NAME."
        )
    return warned
