"""What is asked of an engine and what comes back.

In: tokens and sampling settings. Out: sampled tokens with their log-probabilities.
It does not know which engine answers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from llmagentos.records.message import ToolSpec

FinishReason: TypeAlias = Literal["stop", "length", "cancelled", "abstained", "overruled"]


@dataclass(frozen=True, slots=True)
class Grammar:
    """What a reply must be; every token that could not lead to it has probability 0."""

    kind: Literal["json_schema", "lark", "regex"]
    text: str
    """A JSON Schema as JSON, a grammar in Lark's notation, or a regular expression."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn."""

    max_tokens: int = 256
    """Upper limit of new tokens, at least 0."""
    temperature: float = 0.0
    """0 is greedy; must not be negative."""
    top_p: float = 1.0
    """Nucleus mass in (0, 1]."""
    seed: int = 0
    """With the position it determines every draw (counter-based): the batch's composition does not matter."""
    stop: tuple[str, ...] = ()
    """Strings that end the reply; they are cut from the text."""
    grammar: Grammar | None = None
    """What the reply must be; log-probabilities are then those of the constrained distribution."""


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One sequence to continue."""

    prompt: tuple[int, ...]
    sampling: Sampling = Sampling()
    adapter: str | None = None
    """Name of an adapter, or of a router between some, in the engine; None is the bare base model."""
    tools: tuple[ToolSpec, ...] = ()
    """What the model may call, for engines that speak in messages; others find it written in the prompt."""
    opened: int = 0
    """Tokens of `prompt` before the model first spoke, by which a router chooses; 0 for all of them."""

    @property
    def opening(self) -> tuple[int, ...]:
        """What a router reads: the same at every turn of a run."""
        return self.prompt[: self.opened] if self.opened else self.prompt


@dataclass(frozen=True, slots=True)
class Completion:
    """The continuation of one sequence."""

    tokens: tuple[int, ...]
    """Sampled tokens, the end-of-turn token included when it was sampled."""
    text: str
    """The tokens decoded without special tokens, cut before a stop string."""
    logprobs: tuple[float, ...] | None
    """Natural log-probability of each token under the distribution that it was sampled from, before top-p; None where
    the engine has none."""
    finish: FinishReason
    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Prompt tokens whose keys and values were not computed again."""

    @property
    def probability(self) -> float:
        """Of the whole reply, in [0, 1]; 1 where the engine has no log-probabilities."""
        return probability(self.logprobs)


def probability(logprobs: tuple[float, ...] | None) -> float:
    """Of tokens with these log-probabilities as a whole, in [0, 1]; 1 where there are none."""
    return math.exp(sum(logprobs)) if logprobs is not None else 1.0


@dataclass(slots=True)
class EngineCounters:
    """What an engine has done since it was made; it counts, others read."""

    requests: int = 0
    prefilled: int = 0
    """Prompt tokens computed."""
    cached: int = 0
    """Prompt tokens taken from a shared beginning instead."""
    sampled: int = 0
    steps: int = 0
    """Of an embedded engine: times that the model was run."""
    retries: int = 0
    """Of a server: requests that were made again."""
    cost: float = 0.0
    """Of a server with a price (`LLMAGENTOS_REMOTE_PRICE`), in its currency."""

    def __str__(self) -> str:
        said = f"{self.requests:,} requests: {self.prefilled:,} prompt tokens computed, {self.cached:,} shared, "
        said += f"{self.sampled:,} sampled"
        said += f", {self.retries:,} retries" if self.retries else ""
        return said + (f", cost {self.cost:.4f}" if self.cost else "")
