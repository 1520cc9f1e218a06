"""Threads that run programs, environments and tools, and may get stuck in them.

In: jobs. Out: calls of those jobs. A thread that hangs is replaced and, being a daemon, cannot hold the end up.
It does not know what a job does.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable


class WorkerPool:
    """A fixed number of usable threads; not thread-safe, the scheduler's thread owns it."""

    def __init__(self, count: int) -> None:
        """Start nothing yet."""
        self._jobs: queue.SimpleQueue[Callable[[], bool] | None] = queue.SimpleQueue()
        self._count = count
        self._threads = 0
        self._number = 0
        self.free = count
        """How many jobs would start at once."""

    def start(self, job: Callable[[], bool]) -> None:
        """Run `job` in a free thread; it returns False when its thread must end because it was replaced."""
        self.free -= 1
        if self._count - self.free > self._threads:
            self._add_thread()
        self._jobs.put(job)

    def done(self) -> None:
        """A job has returned."""
        self.free += 1

    def replace(self) -> None:
        """A job is stuck: forget its thread."""
        self._threads -= 1
        self.free += 1

    def close(self) -> None:
        """Let idle threads end; stuck ones die with the interpreter."""
        for _ in range(self._threads):
            self._jobs.put(None)

    def _add_thread(self) -> None:
        self._threads += 1
        self._number += 1
        threading.Thread(target=self._work, name=f"kernel-worker-{self._number}", daemon=True).start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if not job():
                return
