"""One running process, as the scheduler and the workers see it.

In: its specification, and after a crash its journal. Out: nothing by itself; the interpreter moves it on.
The scheduler's thread owns `state` and `key`, the worker that holds it everything else.
It does not know how calls are answered.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from llmagentos.kernel.journaling import RecordedCall
from llmagentos.kernel.run import Run
from llmagentos.kernel.stage import Stage
from llmagentos.kernel.streaming import TextEmitter
from llmagentos.programs.registry import ProgramFunction
from llmagentos.records.calls import ProgramRun, SystemCall
from llmagentos.records.episode import Episode, Outcome
from llmagentos.records.generation import Completion
from llmagentos.records.identity import JSON
from llmagentos.records.process import ProcessInfo, ProcessState


class Abandoned(Exception):
    """The operation that just returned had been given up; its process is somebody else's by now."""


@dataclass(frozen=True, slots=True)
class Operation:
    """Foreign code at work: the program, the environment, a tool."""

    doing: str
    deadline: float
    """`time.monotonic()` after which it is given up."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Ending:
    """How a process ended."""

    outcome: Outcome
    error: str = ""
    value: JSON = None
    seconds: float = 0.0
    """Wall time from the first system call."""


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What the caller gets."""

    episode: Episode
    value: JSON


@dataclass(frozen=True, slots=True)
class Generating:
    """The process waits for the engine."""

    future: Future[Completion]


@dataclass(frozen=True, slots=True)
class Sleeping:
    """The process waits for the clock."""

    until: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """The process waits for a child."""

    child: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The process is over and recorded."""

    conclusion: Conclusion


Pause = Generating | Sleeping | Waiting | Ended


@dataclass(eq=False)
class Process:
    """The moving part of a process."""

    info: ProcessInfo
    function: ProgramFunction | None
    """None when it only has to be closed as `doomed`."""
    arguments: dict[str, Any]
    run: Run
    emit: Callable[[str], None] | None = None
    """Takes new pieces of text, where anybody wants them."""
    emitter: TextEmitter | None = None
    replay: deque[RecordedCall] = field(default_factory=deque)
    doomed: str = ""
    """Why a process found after a crash cannot go on."""
    ended: Ending | None = None
    """The end that is in its journal, when a crash came before everything else was kept."""
    begun: bool = False
    """Whether its start is journaled."""
    state: ProcessState = "ready"
    key: float = 0.0
    generator: ProgramRun | None = None
    stage: Stage | None = None
    pending: tuple[int, SystemCall[Any]] | None = None
    """The call whose reply is awaited, with its number."""
    inbox: tuple[Any, BaseException | None] = (None, None)
    calls: int = 0
    asking: bool = False
    """Whether a call of the program is being answered just now."""
    journaled: int = -1
    """Number of the last call that is in the journal."""
    overrun: str = ""
    """Which budget the program asked to pass, once it did."""
    broken: str = ""
    """What the environment did, once it failed."""
    children: int = 0
    started: float = 0.0
    """`time.monotonic()` of the first system call."""
    ending: Ending | None = None
    interrupted: Ending | None = None
    """Set from any thread: the worker ends the process so at the next call."""
    abandoned: bool = False
    operation: Operation | None = None
    awaited: Future[Completion] | None = None
    pauses: int = 0
    """How often it has paused; a wake-up names the pause that it ends."""
    admitted: bool = False
    """Whether it counts as one of those that run at once."""
    result: Future[Conclusion] = field(default_factory=Future)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def foreign(self, doing: str, seconds: float) -> Iterator[None]:
        """Around foreign code, which has `seconds`; raises `Abandoned` when it returned too late."""
        with self.lock:
            if self.abandoned:
                raise Abandoned
            self.operation = Operation(doing, time.monotonic() + seconds, seconds)
        try:
            yield
        finally:
            with self.lock:
                if self.abandoned:
                    raise Abandoned
                self.operation = None

    def interrupt(self, outcome: Outcome, error: str = "") -> None:
        """Ask the worker to end the process so at its next call; the first to ask decides."""
        if self.interrupted is None:
            self.interrupted = Ending(outcome, error)

    def give_up(self, now: float) -> Operation | None:
        """Abandon the operation if its time is over, and say which it was."""
        with self.lock:
            operation = self.operation
            if operation is None or operation.deadline > now:
                return None
            self.abandoned, self.operation = True, None
            return operation

    @property
    def elapsed(self) -> float:
        """Seconds since the first system call."""
        return time.monotonic() - self.started if self.started else 0.0
