"""What a run looked like to the model: token segments, appended and never tokenised again.

In: token ids from the renderer and the engine. Out: one flat sequence, with masks of what may train.
It does not know text, chat formats or any model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile
from typing import Literal, TypeAlias

from llmagentos.records.generation import Grammar

SegmentOrigin: TypeAlias = Literal["prompt", "sampled", "demonstration", "history", "tool", "environment"]
"""Who produced the tokens; `history` is what the assistant said before, told as part of a prompt. Only `sampled` and
`demonstration` may ever enter a loss."""

TRAINABLE: frozenset[str] = frozenset({"sampled", "demonstration"})


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive tokens with one origin."""

    origin: SegmentOrigin
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...] | None = None
    """Natural log-probability of each sampled token under its policy; None where the engine has none."""
    grammar: Grammar | None = None
    """What the tokens had to be when they were sampled; the log-probabilities are those of what it allowed."""

    def read_only(self) -> Segment:
        """The same tokens where they may never train."""
        return Segment("history", self.tokens) if self.origin in TRAINABLE else self


@dataclass(frozen=True, slots=True)
class Transcript:
    """The append-only token history of one run."""

    model: str
    """Name of the base model whose tokenizer made the tokens."""
    segments: tuple[Segment, ...] = ()

    def append(self, *segments: Segment) -> Transcript:
        """A new transcript with `segments` at its end; this one is unchanged."""
        return Transcript(self.model, self.segments + segments)

    @property
    def tokens(self) -> tuple[int, ...]:
        """All tokens in order."""
        return tuple(token for segment in self.segments for token in segment.tokens)

    @property
    def trainable(self) -> tuple[bool, ...]:
        """For each token of `tokens`, whether it may enter a loss."""
        return tuple(segment.origin in TRAINABLE for segment in self.segments for _ in segment.tokens)

    @property
    def logprobs(self) -> tuple[float, ...]:
        """For each token of `tokens`, the recorded log-probability, NaN where there is none."""
        nan = float("nan")
        return tuple(
            value
            for segment in self.segments
            for value in (segment.logprobs if segment.logprobs is not None else (nan,) * len(segment.tokens))
        )


def opened(segments: Sequence[Segment]) -> int:
    """Tokens before the model first spoke, here or in what it is told: how a run opens."""
    before = takewhile(lambda segment: segment.origin not in TRAINABLE and segment.origin != "history", segments)
    return sum(len(segment.tokens) for segment in before)


def turns(segments: Sequence[Segment]) -> int:
    """Replies: what was said in a row, in however many pieces, is one."""
    said = [segment.origin in TRAINABLE for segment in segments if segment.tokens]
    return sum(one and not before for before, one in pairwise([False, *said]))
