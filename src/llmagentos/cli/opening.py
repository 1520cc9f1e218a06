"""Opens the running system for a command, for writing or beside another process.

In: click's context with the global options. Out: an `AgentOS`. It does not know which command asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from llmagentos.agentos import AgentOS
    from llmagentos.records.progress import Progress

CommandT = TypeVar("CommandT", bound=Callable[..., object])


@contextmanager
def writing(context: click.Context, on_progress: Callable[[Progress], None] | None = None) -> Iterator[AgentOS]:
    """The system as the home's owner; `HomeLockedError` when another process is that."""
    from llmagentos.agentos import AgentOS

    with AgentOS(context.obj["home"], context.obj["model"], on_progress=on_progress) as system:
        yield system


@contextmanager
def reading(context: click.Context) -> Iterator[AgentOS]:
    """The system as a reader, who needs no lock and changes nothing; a home that is new is made first."""
    from llmagentos.agentos import AgentOS
    from llmagentos.config import load_settings
    from llmagentos.store.store import DATABASE_NAME

    known = (load_settings(context.obj["home"]).home / DATABASE_NAME).exists()
    with AgentOS(context.obj["home"], context.obj["model"], read_only=known) as system:
        yield system


def json_option(command: CommandT) -> CommandT:
    """`--json`: what the command lists, for programs."""
    return click.option("--json", "machine", is_flag=True, help="Print JSON instead of a table.")(command)
