"""What a worker does with a process: move its program on until it has to wait.

In: a process with what it waited for. Out: what it waits for next, or how it ended.
Every call and reply is in the journal before the program sees the reply; after a crash the journal's replies are
given to a fresh generator, with the environment's answers compared.
It does not know threads, priorities or time-outs (see `kernel`), nor how a call is answered (see `answers`).
"""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import msgspec

from llmagentos.errors import BudgetExceeded, EnvironmentFault, KernelError, LLMAgentOSError, PromptTooLongError
from llmagentos.kernel.answers import Answers, Irreproducible
from llmagentos.kernel.collaborators import KernelStore
from llmagentos.kernel.journaling import RecordedCall, fault_body
from llmagentos.kernel.process import Abandoned, Conclusion, Ended, Ending, Operation, Pause, Process
from llmagentos.records.calls import SystemCall
from llmagentos.records.episode import Episode, Outcome
from llmagentos.records.identity import JSON
from llmagentos.records.process import ProcessState

_log = logging.getLogger(__name__)

STATES: dict[Outcome, ProcessState] = {
    "finished": "finished",
    "truncated": "finished",
    "failed": "failed",
    "cancelled": "cancelled",
    "unknown": "unknown",
}
"""State that a process with each outcome ends in."""

_LIMITS_PASSED = (BudgetExceeded, PromptTooLongError)


class Interpreter:
    """Runs programs between two pauses; thread-safe as long as one thread holds a process at a time."""

    def __init__(self, store: KernelStore, answers: Answers, record: Callable[[Episode], None]) -> None:
        """`record` must be idempotent by the episode's identifier: after a crash it may be told twice."""
        self._store = store
        self._answers = answers
        self._record = record

    def advance(self, process: Process) -> Pause:
        """Run until the process has to wait or has ended; `Abandoned` when it was given up meanwhile."""
        if process.ended is not None:
            self._rebuild(process, process.replay)
            return self._keep(process, process.ended)
        if process.doomed:
            self._rebuild(process, process.replay)
            return self.conclude(process, Ending("unknown", process.doomed))
        try:
            return self._drive(process)
        except Irreproducible as problem:
            self._rebuild(process, process.replay)
            return self._end(process, Ending("unknown", str(problem)))

    def conclude(self, process: Process, ending: Ending) -> Ended:
        """Record how a process ended, without touching its program or environment."""
        ending = replace(ending, seconds=process.elapsed)
        self._store.journal.append(process.info.id, "end", ending)
        return self._keep(process, ending)

    def conclude_abandoned(self, process: Process, operation: Operation) -> Ended:
        """Record a process whose foreign code hangs in a thread that was given up."""
        if process.ending is not None:
            return self.conclude(process, process.ending)
        said = f"{operation.doing} took longer than {operation.seconds:g} s and was abandoned."
        fault = EnvironmentFault(said) if process.asking else KernelError(said)
        if process.asking:
            self._store.journal.append(process.info.id, "result", fault_body(process.calls - 1, fault))
        return self.conclude(process, Ending("failed", said))

    def _keep(self, process: Process, ending: Ending) -> Ended:
        """Keep the episode and the last description of a process whose end is in the journal."""
        episode = process.run.episode(ending.outcome, ending.error, ending.seconds)
        if process.info.task is not None or process.run.segments:
            self._record(episode)
        process.info = replace(
            process.info,
            state=STATES[ending.outcome],
            error=ending.error,
            steps=process.run.actions,
            tokens=process.run.sampled,
            updated=time.time(),
        )
        self._store.processes.put(process.info)
        self._store.journal.pack(process.info.id)
        return Ended(Conclusion(episode, ending.value))

    def _drive(self, process: Process) -> Pause:
        reply: Any = None
        fault: BaseException | None = None
        if not process.begun:
            process.info = replace(process.info, state="running", updated=time.time())
            self._store.journal.append(process.info.id, "start", process.info)
            self._store.processes.put(process.info)
            process.begun = True
        process.started = process.started or time.monotonic()
        if process.pending is not None and not (process.interrupted and process.inbox[0] is None):
            reply, fault = self._answers.settle(process)
        while True:
            if process.interrupted is not None:
                return self._end(process, process.interrupted)
            call = self._ask(process, reply, fault)
            if isinstance(call, Ending):
                return self._end(process, call)
            process.asking = True
            answer = self._answers.answer(process, call)
            process.asking = False
            if not isinstance(answer, tuple):
                return answer
            reply, fault = answer

    def _ask(self, process: Process, reply: Any, fault: BaseException | None) -> SystemCall[Any] | Ending:
        """The program's next call, or how it ended."""
        call: Any
        try:
            with process.foreign("The program", process.info.limits.action_seconds):
                if process.generator is None:
                    process.generator = self._start(process)
                call = process.generator.throw(fault) if fault is not None else process.generator.send(reply)
        except StopIteration as end:
            return self._returned(process, end.value)
        except Abandoned:
            raise
        except BaseException as problem:  # noqa: BLE001 (whatever a program raises is a recorded failure)
            return self._raised(process, problem)
        return call  # type: ignore[no-any-return]

    def _start(self, process: Process) -> Any:
        assert process.function is not None
        generator = process.function(**process.arguments)
        if not inspect.isgenerator(generator):
            raise KernelError(
                f"Program {process.info.program!r} returned a {type(generator).__name__}, not a generator. "
                "Write it as a function that yields system calls."
            )
        return generator

    def _returned(self, process: Process, value: JSON) -> Ending:
        run = process.run
        try:
            msgspec.json.encode(value)
        except (TypeError, ValueError) as problem:
            return Ending("failed", f"The program returned what is not JSON: {problem}.")
        if process.broken:
            return Ending("failed", process.broken)
        if run.over and run.last is not None:
            return Ending("finished" if run.last.terminated else "truncated", "", value)
        if process.overrun:
            return Ending("truncated", process.overrun, value)
        if process.info.task is None:
            return Ending("finished", "", value)
        return Ending("truncated", "The program returned before the environment ended the episode.", value)

    def _raised(self, process: Process, problem: BaseException) -> Ending:
        if process.broken:
            return Ending("failed", process.broken)
        if isinstance(problem, _LIMITS_PASSED):
            return Ending("truncated", str(problem))
        if isinstance(problem, LLMAgentOSError):
            return Ending("failed", f"{type(problem).__name__}: {problem}")
        return Ending("failed", f"The program raised {type(problem).__name__}: {problem}")

    def _end(self, process: Process, ending: Ending) -> Pause:
        """Close the program and the environment, then record."""
        process.ending = ending
        seconds = process.info.limits.action_seconds
        if process.generator is not None:
            self._close(process, "Closing the program", process.generator.close, seconds)
        if process.stage is not None:
            self._close(process, "Closing the environment", process.stage.close, seconds)
        return self.conclude(process, ending)

    def _close(self, process: Process, doing: str, close: Callable[[], None], seconds: float) -> None:
        try:
            with process.foreign(doing, seconds):
                close()
        except Abandoned:
            raise
        except BaseException as problem:  # noqa: BLE001 (the run is over; its outcome stands)
            _log.warning("%s of process %s raised %s: %s", doing, process.info.id, type(problem).__name__, problem)

    def _rebuild(self, process: Process, calls: Iterable[RecordedCall]) -> None:
        """Put what the journal knows into the record of a process that cannot go on."""
        for recorded in calls:
            self._answers.rebuild(process.run, recorded)
        process.replay.clear()
