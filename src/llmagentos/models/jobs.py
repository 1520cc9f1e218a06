"""One request on its way through an engine, and what an engine asks of whoever computes its steps.

It does not know how a step is computed (`plain_steps`, `native.steps`) or when (`torch_engine`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch

from llmagentos.models.adapters import FusedAdapter
from llmagentos.models.constraints import Constraint, words
from llmagentos.models.speculation import Lookup
from llmagentos.models.text_stream import TextStream
from llmagentos.records.generation import Completion, GenerationRequest

SHARE_FROM = 16
"""A shared prefix shorter than this is not waited for."""


@dataclass(slots=True, eq=False)
class Job:
    """One request on its way."""

    request: GenerationRequest
    future: Future[Completion]
    on_token: Callable[[int], None] | None
    tokens: np.ndarray
    """Prompt and reply so far."""
    adapter: FusedAdapter | None
    limit: int
    """Most tokens of the reply."""
    stream: TextStream | None
    """Watches for stop strings; None where there are none."""
    computed: int = 0
    """Positions whose keys and values are kept."""
    cached: int = 0
    row: int = -1
    sampled: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    constraint: Constraint | None = None
    """What the reply must follow."""
    lookup: Lookup = field(default_factory=Lookup)
    place: Any = None
    """Where its keys and values lie, as far as `Steps` needs to remember."""

    @property
    def owner(self) -> int:
        """Key under which its prefixes may be shared."""
        return self.adapter.serial if self.adapter is not None else 0

    @property
    def prefilling(self) -> bool:
        return self.computed < len(self.request.prompt)


@dataclass(frozen=True, slots=True)
class Work:
    """What one job computes in a step: `count` tokens from where it stands, and guesses of what follows."""

    job: Job
    count: int
    guessed: tuple[int, ...] = ()
    """Only for a job whose last token is among the `count`, and for `Steps` that check guesses."""

    @property
    def tokens(self) -> int:
        """How many are computed, guesses included."""
        return self.count + len(self.guessed)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A new token of a job and its log-probability."""

    job: Job
    token: int
    logprob: float


class Steps(Protocol):
    """Keys and values of the running jobs, and the arithmetic of a step. Called from one thread."""

    checks_guesses: bool
    """Whether guessed tokens are checked, several in one step, without changing any reply."""
    adapter_dtype: torch.dtype
    """What adapters are kept in that are served and not trained; one whose values do not fit stays as it is."""

    def place(self, job: Job, running: Collection[Job]) -> bool:
        """Give a job room and what is known of its prompt (`computed`, `cached`); its `row` is set.

        False to ask again later, because another one computes what it can share or because room will become free.
        `MemoryError` or `RuntimeError` when there will never be room.
        """
        ...

    def order(self, job: Job) -> Any:
        """Jobs of one adapter are computed in this order."""
        ...

    def step(self, work: Sequence[Work]) -> list[Drawn]:
        """Compute the tokens of `work`, jobs of one adapter behind each other, and advance their `computed`.

        A token is drawn for every job whose last token was among them; then, while the guess was what was drawn,
        another one behind it.
        """
        ...

    def release(self, job: Job, *, keep: bool) -> None:
        """The job has ended. Without `keep` nothing of its adapter's stays: it is served no more, or a step failed."""
        ...

    def forget(self, owner: int) -> None:
        """Drop the prefixes of an adapter that is no longer served."""
        ...


def masks(jobs: Sequence[Job], vocabulary: int) -> np.ndarray | None:
    """Which tokens each job may draw, [M, ceil(V / 32)] int32; None where every job may draw all."""
    if all(job.constraint is None for job in jobs):
        return None
    allowed = np.full((len(jobs), words(vocabulary)), -1, dtype=np.int32)
    for row, job in enumerate(jobs):
        if job.constraint is not None:
            allowed[row] = job.constraint.allowed
    return allowed


def adapter_runs(work: Sequence[Work]) -> list[tuple[int, int, FusedAdapter]]:
    """(first flat token, the one after the last, adapter) for neighbouring jobs of one adapter."""
    runs: list[tuple[int, int, FusedAdapter]] = []
    offset = 0
    for item in work:
        after, adapter = offset + item.tokens, item.job.adapter
        if adapter is not None:
            if runs and runs[-1][2] is adapter and runs[-1][1] == offset:
                runs[-1] = (runs[-1][0], after, adapter)
            else:
                runs.append((offset, after, adapter))
        offset = after
    return runs
