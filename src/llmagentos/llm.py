"""One model to talk to: generate, chat, write code, embed.

In: texts and messages. Out: texts and vectors. Whoever subclasses says which engine speaks, and with which adapter.
It does not know tasks, processes or where models come from; nothing said here becomes experience.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import TypeAlias, get_args

from llmagentos.errors import ConfigError, EngineError
from llmagentos.models.engine import Embedder, Engine
from llmagentos.models.text_stream import TextStream
from llmagentos.records.generation import Completion, GenerationRequest, Sampling
from llmagentos.records.message import Message, Role
from llmagentos.records.transcript import Segment, opened

Turns: TypeAlias = Sequence[Message | Mapping[str, str]]

CODE_INSTRUCTIONS = "You write Python. Answer with one fenced code block that does what is asked, and nothing else."
_FENCED = re.compile(r"```[A-Za-z0-9_+-]*[ \t]*\n(.*?)(?:\n?```|\Z)", re.S)


@dataclass(frozen=True, slots=True)
class Voice:
    """Who speaks: an engine and what it serves."""

    engine: Engine
    adapter: str | None = None
    """What the engine serves the live release under; None is the bare base model."""


class LanguageModel(ABC):
    """What can be said to a model. Thread-safe: every call is one request to the engine."""

    @abstractmethod
    def voice(self) -> Voice:
        """The engine and adapter that answer now; opens them on first use."""

    def embedder(self) -> Embedder:
        """The encoder of texts; opens it on first use. `EngineError` where there is none."""
        raise EngineError(f"{self!r} gives no embeddings; use llmagentos.LLM.")

    def generate(
        self,
        prompt: str,
        max_tokens: int = 256,
        *,
        sampling: Sampling | None = None,
        raw: bool = False,
        on_text: Callable[[str], None] | None = None,
    ) -> str:
        """The model's answer to `prompt`, greedy unless `sampling` (which then decides about length) says otherwise.

        `raw` continues the text instead of answering it. `on_text` receives pieces as they come, from the engine's
        thread. Raises `PromptTooLongError`, never truncates.
        """
        voice = self.voice()
        sampling = sampling or Sampling(max_tokens=max_tokens)
        if raw:
            return _answer(voice, voice.engine.renderer.encode(prompt), sampling, on_text).text
        return self.chat([Message("user", prompt)], sampling=sampling, on_text=on_text)

    def chat(
        self,
        messages: Turns,
        max_tokens: int = 256,
        *,
        sampling: Sampling | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> str:
        """The assistant's next turn after `messages`, oldest first: `Message`s or `{"role", "content"}` records."""
        voice = self.voice()
        turns = [_message(turn) for turn in messages]
        if not turns or turns[-1].role == "assistant":
            raise ConfigError("A chat needs at least one message, the last of them not from the assistant.")
        segments = _render(voice.engine, turns)
        prompt = tuple(token for segment in segments for token in segment.tokens)
        sampling = sampling or Sampling(max_tokens=max_tokens)
        return _answer(voice, prompt, sampling, on_text, opened(segments)).text

    def generate_code(self, description: str, max_tokens: int = 512, *, sampling: Sampling | None = None) -> str:
        """Python source that is meant to do what `description` says, without its fence. It is text: nothing runs it."""
        asked = [Message("system", CODE_INSTRUCTIONS), Message("user", description)]
        reply = self.chat(asked, max_tokens, sampling=sampling)
        fenced = _FENCED.search(reply)
        return (fenced.group(1) if fenced else reply).strip() + "\n"

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector for each text, close where meanings are (see `encoder.TextEncoder.embed`)."""
        if isinstance(texts, str):
            raise ConfigError("embed() takes a list of texts: embed([text]).")
        return self.embedder().embed(texts)


def _message(turn: Message | Mapping[str, str]) -> Message:
    if isinstance(turn, Message):
        return turn
    if not isinstance(turn, Mapping) or set(turn) != {"role", "content"} or turn["role"] not in get_args(Role):
        raise ConfigError(f"{turn!r} is not a message: give {{'role': one of {get_args(Role)}, 'content': text}}.")
    return Message(turn["role"], turn["content"])  # type: ignore[arg-type]  # checked above


def _render(engine: Engine, turns: Sequence[Message]) -> list[Segment]:
    """Segments of a whole dialogue; the assistant's own turns end as it would have ended them."""
    segments: list[Segment] = []
    waiting: list[Message] = []
    for turn in turns:
        if turn.role == "assistant":
            if waiting or not segments:
                segments += engine.renderer.render(waiting, first=not segments)
            segments.append(engine.renderer.force(turn.content))
            waiting = []
        else:
            waiting.append(turn)
    return segments + list(engine.renderer.render(waiting, first=not segments))


def _answer(
    voice: Voice,
    prompt: tuple[int, ...],
    sampling: Sampling,
    on_text: Callable[[str], None] | None,
    opened: int = 0,
) -> Completion:
    stream = TextStream(voice.engine.renderer.decode, sampling.stop)
    future = voice.engine.submit(
        GenerationRequest(prompt, sampling, voice.adapter, opened=opened),
        None if on_text is None else lambda token: on_text(stream.push(token)),
    )
    try:
        completion = future.result()
    except CancelledError as problem:
        raise EngineError("The engine was closed while it was answering.") from problem
    except KeyboardInterrupt:
        future.cancel()
        raise
    if on_text is not None:
        on_text(stream.finish())
    return completion
