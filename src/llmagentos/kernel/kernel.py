"""The kernel: many processes at once over one engine.

In: `ProcessSpec`s from any thread. Out: handles, episodes, and a journal that a resume continues from.
One event loop in its own thread decides who runs; programs, environments and tools run in worker threads that are
replaced when they hang; the engine batches what all processes ask of it.
It does not know what any program does, nor how calls are answered (see `answers`).
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import replace
from typing import Any

import msgspec

from llmagentos.errors import KernelError
from llmagentos.kernel.answers import Answers, Services
from llmagentos.kernel.collaborators import DeclaredOnly, Env, KernelStore, PermissionRules, Tools
from llmagentos.kernel.handle import ProcessHandle
from llmagentos.kernel.interpreter import STATES, Interpreter
from llmagentos.kernel.journaling import pair_calls
from llmagentos.kernel.process import (
    Abandoned,
    Conclusion,
    Ended,
    Ending,
    Generating,
    Operation,
    Pause,
    Process,
    Sleeping,
    Waiting,
)
from llmagentos.kernel.run import Run
from llmagentos.kernel.specification import ProcessSpec, describe_process
from llmagentos.kernel.streaming import TextChannel
from llmagentos.kernel.workers import WorkerPool
from llmagentos.models.engine import Engine
from llmagentos.programs.registry import Program, resolve
from llmagentos.records.calls import Opinion, Spawn
from llmagentos.records.episode import Episode
from llmagentos.records.identity import new_id
from llmagentos.records.process import ProcessInfo, ProcessState
from llmagentos.records.task import Task

AGING_SECONDS = 1.0
"""One second of waiting weighs as much as one step of priority, so that nothing waits forever."""
WATCH_SECONDS = 0.05
"""How often time limits are looked at."""
CLOSE_SECONDS = 2.0
"""How long `close` waits for workers that are not stuck, and `run` for what it cancels."""
UNFINISHED: tuple[ProcessState, ...] = ("ready", "running", "waiting")

_log = logging.getLogger(__name__)


class Kernel:
    """Runs processes. Thread-safe; every collaborator is handed in and outlives it."""

    def __init__(
        self,
        store: KernelStore,
        engine: Engine | None,
        *,
        environment: Callable[[Task], Env],
        record: Callable[[Episode], None],
        toolbox: Tools | None = None,
        permissions: PermissionRules | None = None,
        recall: Callable[[str, int], Sequence[str]] | None = None,
        remember: Callable[[str, str], str] | None = None,
        classify: Callable[[str, str], Opinion] | None = None,
        workers: int = 4,
        concurrency: int = 1024,
    ) -> None:
        """`environment` makes a fresh environment for a task. `record` keeps a finished episode and must be
        idempotent by its identifier. Both, and the tools, are called from worker threads. Without `permissions`
        only tools that environments declare may be used. At most `concurrency` processes run at once; those
        that sleep or wait for a child do not count.
        """
        services = Services(
            store.journal,
            engine,
            environment,
            toolbox,
            permissions or DeclaredOnly(),
            recall,
            remember,
            classify,
            self._spawn_child,
        )
        self._store = store
        self._model = engine.renderer.model if engine is not None else ""
        self._interpreter = Interpreter(store, Answers(services), record)
        self._concurrency = concurrency
        self._pool = WorkerPool(workers)
        self._live: dict[str, Process] = {}
        self._entering: list[tuple[float, int, Process]] = []
        self._ready: list[tuple[float, int, Process]] = []
        self._order = itertools.count()
        self._active = 0
        self._held: set[Process] = set()
        self._watching = False
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="kernel", daemon=True)
        self._thread.start()

    def submit(self, spec: ProcessSpec) -> ProcessHandle:
        """Start a process; returns at once. ConfigError for an unknown program or arguments that are not JSON."""
        return self._submit(spec, new_id("p"))

    def run(
        self,
        specs: Iterable[ProcessSpec],
        on_episode: Callable[[int, Episode], None] | None = None,
        concurrency: int = 64,
    ) -> list[Episode]:
        """Run all of `specs`, `concurrency` at a time; their episodes in the order of `specs`.

        `on_episode` is called in this thread with the place in `specs`, in the order of finishing. A failed run is an
        episode too. When this thread is interrupted, what still runs is cancelled.
        """
        waiting = deque(enumerate(specs))
        episodes: dict[int, Episode] = {}
        in_flight: dict[int, ProcessHandle] = {}
        finished: queue.SimpleQueue[int] = queue.SimpleQueue()
        try:
            while waiting or in_flight:
                while waiting and len(in_flight) < concurrency:
                    index, spec = waiting.popleft()
                    in_flight[index] = self.submit(spec)
                    in_flight[index].add_done_callback(lambda _, index=index: finished.put(index))  # type: ignore[misc]
                index = finished.get()
                episodes[index] = in_flight.pop(index).episode()
                if on_episode is not None:
                    on_episode(index, episodes[index])
        except BaseException:
            _cancel_all(in_flight.values())
            raise
        return [episodes[index] for index in sorted(episodes)]

    def resume(self) -> list[ProcessHandle]:
        """Go on with every process that an earlier kernel on this store left unfinished.

        Its journal is replayed into a fresh generator. What cannot be repeated exactly ends as `unknown`.
        Adapters that the processes use must be loaded before.
        """
        unfinished = self._store.processes.list(UNFINISHED, None)
        revived = [self._revive(info) for info in reversed(list(unfinished)) if info.id not in self._live]
        self._live.update((process.info.id, process) for process in revived)  # parents find their children
        return [self._enter(process) for process in revived]

    def processes(self) -> list[ProcessInfo]:
        """The processes of this kernel that have not ended, with their present state."""
        return [replace(process.info, state=process.state) for process in list(self._live.values())]

    def close(self) -> None:
        """Stop. What has not ended stays unfinished in the store, for `resume`; its handles raise `KernelError`."""
        if self._closed:
            return
        self._closed = True
        stopped = threading.Event()
        self._loop.call_soon_threadsafe(self._stop, stopped, time.monotonic() + CLOSE_SECONDS)
        stopped.wait(CLOSE_SECONDS + 5.0)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # Any thread.

    def _submit(self, spec: ProcessSpec, identifier: str, parent: str = "") -> ProcessHandle:
        if self._closed:
            raise KernelError("The kernel is closed. Open the system again.")
        program = resolve(spec.program)
        info = describe_process(spec, program, identifier, parent)
        process = Process(info, program.function, dict(spec.arguments), Run(info, self._model))
        channel = TextChannel() if spec.stream else None
        process.emit = _emitter(spec.on_text, channel)
        self._store.processes.put(info)
        return self._enter(process, channel)

    def _enter(self, process: Process, channel: TextChannel | None = None) -> ProcessHandle:
        if channel is not None:
            process.result.add_done_callback(lambda _: channel.end())
        self._live[process.info.id] = process
        self._post(self._admit, process)
        return ProcessHandle(process, lambda: self._post(self._cancel, process), channel)

    def _revive(self, info: ProcessInfo) -> Process:
        """A process as its journal left it."""
        entries = self._store.journal.entries(info.id)
        process = Process(info, None, dict(info.arguments), Run(info, self._model), replay=deque(pair_calls(entries)))
        process.begun = bool(entries)
        ends = [entry.body for entry in entries if entry.kind == "end"]
        if ends:
            process.ended = msgspec.convert(ends[-1], Ending)
        elif not info.resumable:
            process.doomed = "The system stopped while it ran, and its program is a closure that cannot be found again."
        else:
            self._find_program(process)
        return process

    def _find_program(self, process: Process) -> None:
        info = process.info
        try:
            program: Program = resolve(info.program)
        except Exception as problem:  # noqa: BLE001 (its module may raise anything when it is imported)
            process.doomed = f"Its program {info.program!r} cannot be loaded any more: {problem}"
            return
        if process.replay and program.digest != info.digest:
            process.doomed = f"The source of its program {info.program!r} has changed since it started."
            return
        process.function = program.function

    def _spawn_child(self, parent: Process, call: Spawn, identifier: str) -> None:
        if identifier in self._live or self._store.journal.entries(identifier):
            return
        info = parent.info
        spec = ProcessSpec(
            call.program,
            call.arguments,
            release=info.release,
            adapter=info.adapter,
            sampling=info.sampling,
            limits=info.limits,
            priority=info.priority,
            owner=info.owner,
            labels=dict(info.labels),
        )
        self._submit(spec, identifier, info.id)

    def _post(self, function: Callable[..., None], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            _log.debug("The kernel is closed; %s comes too late", function.__name__)

    def _job(self, process: Process, work: Callable[[], Pause]) -> bool:
        """In a worker: move the process on. False tells a thread that was replaced to end."""
        try:
            pause = work()
        except Abandoned:
            self._post(self._held.discard, process)
            return False
        except BaseException as problem:  # noqa: BLE001 (the store refuses, say: the caller must hear of it)
            self._post(self._crashed, process, problem)
        else:
            self._post(self._paused, process, pause)
        return True

    # The kernel's thread only, from here on.

    def _admit(self, process: Process) -> None:
        if self._closed:
            self._refuse(process)
            return
        process.key = time.monotonic() - process.info.priority * AGING_SECONDS
        heapq.heappush(self._entering, (process.key, next(self._order), process))
        if not self._watching:
            self._watching = True
            self._loop.call_later(WATCH_SECONDS, self._watch)
        self._dispatch()

    def _make_ready(self, process: Process) -> None:
        process.state = "ready"
        process.key = time.monotonic() - process.info.priority * AGING_SECONDS
        heapq.heappush(self._ready, (process.key, next(self._order), process))
        self._dispatch()

    def _dispatch(self) -> None:
        while self._pool.free > 0 and not self._closed:
            process = self._next()
            if process is None:
                return
            process.state = "running"
            self._held.add(process)
            self._pool.start(lambda process=process: self._job(process, lambda: self._interpreter.advance(process)))  # type: ignore[misc]

    def _next(self) -> Process | None:
        """The process that should run now: the longest waiting, priority counted as time."""
        while self._entering and self._entering[0][2].admitted:
            heapq.heappop(self._entering)
        may_enter = bool(self._entering) and self._active < self._concurrency
        if may_enter and (not self._ready or self._entering[0] < self._ready[0]):
            process = heapq.heappop(self._entering)[2]
            process.admitted = True
            self._active += 1
            return process
        return heapq.heappop(self._ready)[2] if self._ready else None

    def _paused(self, process: Process, pause: Pause) -> None:
        """A worker has brought the process to a point where it waits, or to its end."""
        self._pool.done()
        self._held.discard(process)
        process.pauses += 1
        number = process.pauses
        if isinstance(pause, Ended):
            self._ended(process, pause.conclusion)
            return
        process.state = "waiting"
        if isinstance(pause, Generating):
            pause.future.add_done_callback(lambda future: self._post(self._generated, process, number, future))
            if process.interrupted is not None:
                pause.future.cancel()
        else:
            self._active -= 1
            self._suspend(process, pause, number)
            if process.interrupted is not None:
                self._wake(process, number)
        self._dispatch()

    def _suspend(self, process: Process, pause: Sleeping | Waiting, number: int) -> None:
        if isinstance(pause, Sleeping):
            self._loop.call_later(max(0.0, pause.until - time.time()), self._wake, process, number)
            return
        child = self._live.get(pause.child)
        if child is None:
            self._wake(process, number)
        else:
            child.result.add_done_callback(lambda _: self._post(self._wake, process, number))

    def _generated(self, process: Process, number: int, future: Future[Any]) -> None:
        if process.pauses != number or process.state != "waiting":
            return
        problem = CancelledError("the engine cancelled it") if future.cancelled() else future.exception()
        process.inbox = (None, problem) if problem is not None else (future.result(), None)
        self._make_ready(process)

    def _wake(self, process: Process, number: int) -> None:
        """End a sleep or a wait, once."""
        if process.pauses == number and process.state == "waiting" and process.info.id in self._live:
            self._active += 1
            self._make_ready(process)

    def _interrupt(self, process: Process) -> None:
        """Bring a process that has been interrupted to a worker soon."""
        if not process.admitted:
            process.admitted = True
            self._active += 1
            self._make_ready(process)
        elif process.state == "waiting" and process.awaited is not None:
            process.awaited.cancel()
        elif process.state == "waiting":
            self._wake(process, process.pauses)

    def _cancel(self, process: Process) -> None:
        if process.info.id in self._live:
            process.interrupt("cancelled", "Cancelled on request.")
            self._interrupt(process)

    def _ended(self, process: Process, conclusion: Conclusion) -> None:
        self._live.pop(process.info.id, None)
        self._active -= 1
        process.state = STATES[conclusion.episode.outcome]
        if not process.result.done():
            process.result.set_result(conclusion)
        self._dispatch()

    def _crashed(self, process: Process, problem: BaseException) -> None:
        """The kernel itself could not go on with a process: nothing is recorded, its caller hears why."""
        self._pool.done()
        self._held.discard(process)
        self._live.pop(process.info.id, None)
        self._active -= 1
        process.state = "failed"
        if not process.result.done():
            process.result.set_exception(problem)
        self._dispatch()

    def _refuse(self, process: Process) -> None:
        self._live.pop(process.info.id, None)
        if not process.result.done():
            process.result.set_exception(
                KernelError(
                    f"The kernel was closed before process {process.info.id} ended. Resume it by opening it again."
                )
            )

    def _watch(self) -> None:
        """Look at every time limit."""
        if not self._live or self._closed:
            self._watching = False
            return
        now = time.monotonic()
        for process in list(self._live.values()):
            if process.operation is not None and process.operation.deadline < now:
                operation = process.give_up(now)
                if operation is not None:
                    self._replace_worker(process, operation)
            elif process.started and not process.interrupted and now - process.started > process.info.limits.seconds:
                process.interrupt("truncated", f"The limit of {process.info.limits.seconds:g} s is used up.")
                self._interrupt(process)
        self._loop.call_later(WATCH_SECONDS, self._watch)

    def _replace_worker(self, process: Process, operation: Operation) -> None:
        _log.warning("Process %s: %s hangs; its thread is given up", process.info.id, operation.doing)
        self._pool.replace()
        self._pool.start(lambda: self._job(process, lambda: self._interpreter.conclude_abandoned(process, operation)))

    def _stop(self, stopped: threading.Event, deadline: float) -> None:
        """Abandon every process, then wait for the workers that are not stuck."""
        for process in list(self._live.values()):
            with process.lock:
                process.abandoned = True
            if process.awaited is not None:
                process.awaited.cancel()
            self._refuse(process)
        self._entering.clear()
        self._ready.clear()
        self._drain(stopped, deadline)

    def _drain(self, stopped: threading.Event, deadline: float) -> None:
        if not self._held or time.monotonic() > deadline:
            self._pool.close()
            stopped.set()
        else:
            self._loop.call_later(0.01, self._drain, stopped, deadline)


def _emitter(on_text: Callable[[str], None] | None, channel: TextChannel | None) -> Callable[[str], None] | None:
    """One receiver for both ways of watching."""
    receivers = [receive for receive in (on_text, channel.put if channel is not None else None) if receive is not None]
    if len(receivers) < 2:
        return receivers[0] if receivers else None

    def both(piece: str) -> None:
        for receive in receivers:
            receive(piece)

    return both


def _cancel_all(handles: Iterable[ProcessHandle]) -> None:
    """Cancel, and wait a moment so that what was interrupted is recorded as cancelled."""
    handles = list(handles)
    for handle in handles:
        handle.cancel()
    deadline = time.monotonic() + CLOSE_SECONDS
    for handle in handles:
        try:
            handle.episode(max(0.0, deadline - time.monotonic()))
        except (FutureTimeoutError, KernelError) as problem:
            _log.warning("Process %s could not be ended in time: %s", handle.id, problem)
