"""The home's owner: one process at a time may write.

In: the folder of a home. Out: a held lock, or `HomeLockedError` that names the holder.
It does not know the database: readers need no lock and open the store read-only.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
import weakref
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import msgspec

from llmagentos.errors import HomeLockedError

LOCK_NAME = "owner.lock"

_ATTEMPTS = 4
_PAUSE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Holder:
    """Who owns a home."""

    pid: int
    program: str
    """First words of its command line."""
    since: float
    """Seconds since the epoch."""


class HomeLock:
    """Exclusive ownership of a home, by `flock`: the operating system frees it when the owner dies, however it dies.

    `with HomeLock(home): ...`, or `acquire()` and `release()`. Not re-entrant: a second lock on the same home
    fails in the same process too.
    """

    def __init__(self, home: Path) -> None:
        self.path = home / LOCK_NAME
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor is not None

    def acquire(self) -> HomeLock:
        """Take the lock at once or raise `HomeLockedError` naming the holder; creates the home's folder."""
        if self._descriptor is not None:
            return self
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        if not _lock(descriptor):
            os.close(descriptor)
            raise HomeLockedError(_refusal(self.path))
        holder = Holder(os.getpid(), _program(), time.time())
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, msgspec.json.encode(holder), 0)
        self._descriptor = descriptor
        # A forked child shares the open file: were it to keep it, the lock would outlive its owner.
        this = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _forget(this()))
        return self

    def release(self) -> None:
        """Give the home back; does nothing when the lock is not held."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> HomeLock:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _close_in_child(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _lock(descriptor: int) -> bool:
    """Take the lock; tried a few times, since `holder_of` in another process holds it for an instant."""
    for attempt in range(_ATTEMPTS):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if attempt < _ATTEMPTS - 1:
                time.sleep(_PAUSE_SECONDS)
    return False


def holder_of(home: Path) -> Holder | None:
    """Who owns the home right now, or None when nobody does; a file left by a dead process counts as nobody."""
    try:
        descriptor = os.open(home / LOCK_NAME, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(home / LOCK_NAME) or Holder(0, "a program that is just starting", 0.0)
    finally:
        os.close(descriptor)
    return None


def _forget(lock: HomeLock | None) -> None:
    if lock is not None:
        lock._close_in_child()


def _refusal(path: Path) -> str:
    holder = _read(path)
    home = path.parent
    who = f"process {holder.pid} ({holder.program})" if holder else "another process"
    if holder and holder.pid == os.getpid():
        return f"This process already owns the home {home}. Use the AgentOS that is open on it, or close it first."
    stop = f"or end it with `kill {holder.pid}`" if holder else "or end it"
    return (
        f"The home {home} is in use by {who}. Wait for it to finish, {stop}, "
        "or choose another home by LLMAGENTOS_HOME; commands that only read work meanwhile."
    )


def _read(path: Path) -> Holder | None:
    """The holder written in the lock file; None when the owner is between taking the lock and writing it."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Holder)
    except (msgspec.MsgspecError, FileNotFoundError):
        return None


def _program() -> str:
    return " ".join(sys.argv[:2])[:200] or "python"
