"""What a caller holds of a process.

In: a submitted process. Out: its state, its result, its text as it is written, and a way to cancel it.
It does not know the scheduler; thread-safe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from llmagentos.errors import ConfigError, KernelError
from llmagentos.kernel.process import Conclusion, Process
from llmagentos.kernel.streaming import TextChannel
from llmagentos.records.episode import Episode
from llmagentos.records.identity import JSON
from llmagentos.records.process import ProcessState


class ProcessHandle:
    """A running or finished process."""

    def __init__(self, process: Process, cancel: Callable[[], None], channel: TextChannel | None = None) -> None:
        """`cancel` asks the kernel to end the process."""
        self._process = process
        self._cancel = cancel
        self._channel = channel

    @property
    def id(self) -> str:
        return self._process.info.id

    @property
    def state(self) -> ProcessState:
        return self._process.state

    def done(self) -> bool:
        """Whether the process has ended and is recorded."""
        return self._process.result.done()

    def result(self, timeout: float | None = None) -> Episode | JSON:
        """The episode of a process with a task, the program's value of one without.

        Waits at most `timeout` seconds (TimeoutError). A process without a task that did not finish raises
        `KernelError` with the reason; with a task that is in the episode's `outcome` and `error`.
        """
        conclusion = self._conclusion(timeout)
        if self._process.info.task is not None:
            return conclusion.episode
        if conclusion.episode.outcome != "finished":
            said = conclusion.episode.error or "no reason recorded"
            raise KernelError(f"Process {self.id} ended as {conclusion.episode.outcome}: {said}")
        return conclusion.value

    def episode(self, timeout: float | None = None) -> Episode:
        """The recorded episode, also of a process without a task."""
        return self._conclusion(timeout).episode

    def add_done_callback(self, function: Callable[[ProcessHandle], None]) -> None:
        """Call `function` when the process has ended, from the kernel's thread or at once."""
        self._process.result.add_done_callback(lambda _: function(self))

    def cancel(self) -> None:
        """End the process as `cancelled` at its next system call; one that has ended is left alone."""
        self._cancel()

    def stream(self) -> Iterator[str]:
        """Pieces of the replies as they are written, until the process ends."""
        if self._channel is None:
            raise ConfigError("This process keeps no text to stream. Submit it with ProcessSpec(stream=True).")
        return iter(self._channel)

    def _conclusion(self, timeout: float | None) -> Conclusion:
        return self._process.result.result(timeout)
