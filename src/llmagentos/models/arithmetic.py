"""The one thread in which all arithmetic happens.

In: functions that compute with PyTorch, from any thread. Out: what they return, computed behind each other.
It does not know what is computed.

Why one: every thread that computes gets a team of OpenMP threads of its own, and once there are more of those than
cores, libgomp lets waiting ones sleep almost at once (its throttled spin count). The barriers of many small operations
then cost more than the operations, even where the other team is idle: a training step of the default model on two cores
took 1.3 to 1.7 s with one team in the process and 4.5 s and more with two.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial, wraps
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
T = TypeVar("T")

_inside = threading.local()


def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "arithmetic", initializer=lambda: setattr(_inside, "here", True))


def compute(work: Callable[[], T]) -> T:
    """Run `work` in the arithmetic thread, under the caller's choice whether gradients are recorded, and wait for it.

    Whatever `work` raises is raised here. When the waiting thread is interrupted, `work` still runs to its end.
    """
    if getattr(_inside, "here", False):
        return work()
    return _pool.submit(_graded, work, torch.is_grad_enabled()).result()


def arithmetic(function: Callable[P, T]) -> Callable[P, T]:
    """Decorator: whoever calls `function`, it runs in the arithmetic thread."""

    @wraps(function)
    def elsewhere(*args: P.args, **kwargs: P.kwargs) -> T:
        return compute(partial(function, *args, **kwargs))

    return elsewhere


def _graded(work: Callable[[], T], recorded: bool) -> T:
    with torch.set_grad_enabled(recorded):
        return work()


def _renew() -> None:
    """A forked process has none of its parent's threads."""
    global _pool
    _pool = _thread()
    _inside.here = False


_pool = _thread()
os.register_at_fork(after_in_child=_renew)
