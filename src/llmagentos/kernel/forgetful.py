"""A store that keeps nothing: for runs of which only their caller wants to know, such as thousands that chance plays.

In: what a kernel writes. Out: nothing; such a run cannot be resumed, and its journal is empty.
It does not know which runs these are.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from llmagentos.kernel.collaborators import Entry
from llmagentos.records.identity import JSON
from llmagentos.records.process import ProcessInfo, ProcessState


class _NoJournal:
    def append(self, process: str, kind: str, body: JSON, *, sync: bool = False) -> int:
        return 0

    def entries(self, process: str) -> Sequence[Entry]:
        return ()

    def pack(self, process: str) -> None:
        pass


class _NoProcesses:
    def put(self, info: ProcessInfo) -> None:
        pass

    def list(self, states: Collection[ProcessState] | None = None, limit: int | None = 100) -> Sequence[ProcessInfo]:
        return ()


class Forgetful:
    """See the module; a `KernelStore`."""

    def __init__(self) -> None:
        self.journal, self.processes = _NoJournal(), _NoProcesses()
