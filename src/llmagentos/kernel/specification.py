"""What to run: the request for one process.

In: a caller's wishes. Out: a frozen specification, and the `ProcessInfo` that it is recorded as.
It does not know how or when it is run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from llmagentos.errors import ConfigError
from llmagentos.programs.registry import Program, ProgramFunction, journal_arguments
from llmagentos.records.generation import Sampling
from llmagentos.records.identity import LOCAL_OWNER, Owner
from llmagentos.records.process import Limits, ProcessInfo
from llmagentos.records.task import Task

_SAMPLING = Sampling()
_LIMITS = Limits()


@dataclass(frozen=True)
class ProcessSpec:
    """One process to be run."""

    program: str | ProgramFunction
    """Registered name, `module:function`, or a generator function (not resumable when it is a closure)."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments: JSON, or functions (not resumable when one is a closure)."""
    task: Task | None = None
    """Opens an environment for the process; the result is then an episode."""
    release: str = ""
    adapter: str | None = None
    sampling: Sampling = _SAMPLING
    """Its seed, with the number of the call, determines the seed of each generation."""
    limits: Limits = _LIMITS
    priority: int = 0
    owner: Owner = LOCAL_OWNER
    labels: dict[str, str] = field(default_factory=dict)
    on_text: Callable[[str], None] | None = None
    """Called with each new piece of a reply, from the engine's thread: return quickly."""
    stream: bool = False
    """Keep the pieces for `ProcessHandle.stream`."""


def describe_process(spec: ProcessSpec, program: Program, identifier: str, parent: str = "") -> ProcessInfo:
    """The record of a process that is about to begin; ConfigError for arguments that are not JSON."""
    arguments, found = journal_arguments(spec.arguments)
    try:
        arguments = msgspec.json.decode(msgspec.json.encode(arguments))
    except (TypeError, ValueError) as problem:
        raise ConfigError(
            f"The arguments of program {program.name!r} cannot be recorded as JSON: {problem}. "
            "Give text, numbers, lists, dicts or functions."
        ) from problem
    now = time.time()
    return ProcessInfo(
        id=identifier,
        program=program.name,
        arguments=arguments,
        task=spec.task,
        release=spec.release,
        adapter=spec.adapter,
        sampling=spec.sampling,
        limits=spec.limits,
        priority=spec.priority,
        owner=spec.owner,
        resumable=program.resumable and found,
        digest=program.digest,
        parent=parent,
        created=now,
        updated=now,
        labels=dict(spec.labels),
    )
