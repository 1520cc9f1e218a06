"""A learner's surroundings in miniature: the tiny decoder, scripted data and practice, a clock of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from learners import Bandit

from llmagentos.learning.checkpoints import FileCheckpoint
from llmagentos.learning.context import Learner, LearningContext, Score
from llmagentos.models.adapters import FusedAdapter, from_peft, new_adapter, read_adapter
from llmagentos.models.decoder import Decoder
from llmagentos.records.episode import Episode
from llmagentos.records.progress import Progress
from llmagentos.records.release import Candidate
from llmagentos.records.task import Reward, Task
from llmagentos.records.transcript import Segment, Transcript

MARKER = 333
"""A token that only prompts, tools and environments of these tests ever say."""


class Clock:
    """Every look at it takes a second."""

    def __init__(self, each: float = 1.0) -> None:
        self.now, self.each = 0.0, each

    def __call__(self) -> float:
        self.now += self.each
        return self.now


def shown(number: int, *, marker: int = MARKER) -> Transcript:
    """A demonstration of two turns: the reply repeats what was asked, the environment answers with the marker."""
    asked = tuple(10 + (number * 7 + n) % 50 for n in range(3))
    return Transcript(
        "tiny",
        (
            Segment("prompt", (4, 5, 6, 7, 8, 9, 10, 11, 12, *asked, marker)),
            Segment("demonstration", (*asked, 2)),
            Segment("tool", (marker, 60, marker)),
            Segment("environment", (marker, *asked)),
            Segment("demonstration", (70, 71, 2)),
        ),
    )


def said(prompt: tuple[int, ...], reply: tuple[int, ...], reward: float, after: tuple[int, ...] = ()) -> Episode:
    """An own run with its reward."""
    transcript = Transcript(
        "tiny", (Segment("prompt", prompt), Segment("sampled", reply), Segment("environment", after))
    )
    success = reward > 0
    return Episode("e", Task("Bandit-v0", 0), transcript, rewards=(Reward(reward),), success=success, lenient=success)


@dataclass
class Workshop:
    """Contexts that share one folder, and what was stored through them."""

    decoder: Decoder
    folder: Path
    blobs: list[bytes] = field(default_factory=list)

    def context(self, name: str = "run", **changes: Any) -> LearningContext:
        """A context whose checkpoint lies under `name`; everything may be replaced."""
        base = LearningContext(
            decoder=self.decoder,
            skill="toy",
            base="tiny",
            minutes=1000.0,
            seed=3,
            practice=lambda adapter, asked: [],
            demonstrations=lambda count, seed: [shown(seed * 100 + n) for n in range(count)],
            replay=lambda count, seed: [],
            evaluate=lambda adapter: Score(0.5, 0.75, 4),
            store=self.store,
            checkpoint=FileCheckpoint(self.folder / f"{name}.safetensors"),
            clock=Clock(),
        )
        return replace(base, **changes)

    def store(self, data: bytes) -> str:
        self.blobs.append(data)
        return str(len(self.blobs) - 1)

    def run(
        self, learner: Learner, context: LearningContext, *, start: FusedAdapter | None = None, kill_after: int = 0
    ) -> tuple[list[Progress], Candidate | None]:
        """Let a learner work, to its end or until it has taken `kill_after` steps."""
        working, events = learner.learn(start, context), []
        while True:
            try:
                events.append(next(working))
            except StopIteration as finished:
                return events, finished.value
            if len(events) == kill_after:
                working.close()
                return events, None

    def weights(self, candidate: Candidate | None) -> bytes:
        """The bytes of a candidate's adapter."""
        assert candidate is not None
        return self.blobs[int(candidate.artefacts[0].digest)]

    def learned(self, candidate: Candidate | None) -> FusedAdapter:
        """A candidate's adapter."""
        return from_peft(*read_adapter(self.weights(candidate)), self.decoder.config)

    def tensors(self, candidate: Candidate | None) -> dict[str, torch.Tensor]:
        return read_adapter(self.weights(candidate))[0]


@pytest.fixture(scope="session")
def decoder(tiny_model: Path) -> Decoder:
    return Decoder.load(tiny_model, dtype=torch.float32)


@pytest.fixture
def workshop(decoder: Decoder, tmp_path: Path) -> Workshop:
    return Workshop(decoder, tmp_path)


@pytest.fixture
def demonstration() -> Callable[..., Transcript]:
    return shown


@pytest.fixture
def own_run() -> Callable[..., Episode]:
    return said


@pytest.fixture
def marker() -> int:
    return MARKER


@pytest.fixture
def clock() -> type[Clock]:
    return Clock


@pytest.fixture
def bandit(workshop: Any, own_run: Callable[..., Episode], marker: int) -> Bandit:
    return Bandit(workshop, own_run, marker)


@pytest.fixture
def adapter(workshop: Any) -> FusedAdapter:
    """What learning starts from where it cannot start from nothing."""
    return new_adapter(workshop.decoder.config, 2, 4.0, seed=5)
