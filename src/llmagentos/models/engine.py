"""The engine protocol: one way to generate, whoever does the arithmetic.

In: `GenerationRequest`s from any thread. Out: futures of `Completion`s, tokens streamed on the way.
It does not know programs, environments or where adapters come from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Protocol, TypeAlias

from llmagentos.models.routing import Router
from llmagentos.records.generation import Completion, EngineCounters, GenerationRequest
from llmagentos.records.message import Message
from llmagentos.records.transcript import Segment

AdapterLoader: TypeAlias = Callable[[], tuple[Mapping[str, Any], Mapping[str, Any]]]
"""Brings an adapter's tensors and config, named as PEFT does; called from any thread."""


class ChatRenderer(Protocol):
    """Turns messages into token segments, incrementally, and tokens back into text."""

    @property
    def model(self) -> str:
        """Name recorded in transcripts."""
        ...

    @property
    def end_of_turn(self) -> int:
        """The token that ends the assistant's turn."""
        ...

    def render(
        self, messages: Sequence[Message], *, first: bool, reply: bool = True, needs_end: bool = False
    ) -> tuple[Segment, ...]:
        """Segments of `messages` to append to a transcript.

        `first` says that the transcript is empty (the sequence's start token and nothing else is added);
        otherwise the separator after the model's own turn is included, with `needs_end` after the end-of-turn
        token that a reply cut short lacks. `reply` opens the assistant's turn at the end. Origins: system and
        user messages `prompt`; messages marked `outside` `environment`, or `tool` for role tool. Text is data:
        special tokens that occur inside it are encoded as plain text.
        """
        ...

    def force(self, text: str) -> Segment:
        """The assistant's turn `text` with its end-of-turn token, as a `demonstration` segment."""
        ...

    def encode(self, text: str) -> tuple[int, ...]:
        """Tokens of plain text, no special tokens added or recognised."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of tokens, special tokens left out."""
        ...


class Embedder(Protocol):
    """Vectors for texts: a model that runs here (`encoder.TextEncoder`) or at a server."""

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector for each text, in batches. `EngineError` for an empty one."""
        ...

    def close(self) -> None:
        """Give back what it holds: workers, connections."""
        ...


class Engine(Protocol):
    """Batched, streaming generation with an adapter named per request."""

    @property
    def renderer(self) -> ChatRenderer: ...

    @property
    def window(self) -> int:
        """Most tokens of prompt and reply together."""
        ...

    @property
    def counters(self) -> EngineCounters:
        """What it has done so far."""
        ...

    @property
    def has_logprobs(self) -> bool:
        """Whether completions carry log-probabilities good enough to train on."""
        ...

    def submit(self, request: GenerationRequest, on_token: Callable[[int], None] | None = None) -> Future[Completion]:
        """Queue a request; thread-safe, returns at once. `on_token` is called from the engine's thread.

        Cancelling the future frees its slot at the next step. Errors (`PromptTooLongError`,
        `AdapterError` for an unknown adapter, `EngineError`) are set on the future.
        """
        ...

    def load_adapter(self, name: str, tensors: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        """Serve an adapter under `name` from the next step on, replacing one of that name; PEFT's names and config."""
        ...

    def offer_adapter(self, name: str, load: AdapterLoader) -> None:
        """Serve an adapter under `name` that `load` brings when it is first asked for.

        It may be forgotten when others need the room and is then loaded again: hundreds can be offered. What `load`
        raises is set on the request's future.
        """
        ...

    def offer_router(self, name: str, router: Router) -> None:
        """Serve under `name` whichever adapter `router` names for a request's opening, from the next request on."""
        ...

    def unload_adapter(self, name: str) -> None:
        """Forget an adapter or a router; unknown names are ignored."""
        ...

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names that a request may give: those of adapters and of routers."""
        ...

    def close(self) -> None:
        """Cancel what is waiting and end the worker."""
        ...
