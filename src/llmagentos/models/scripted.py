"""An engine whose replies are written down: for tests and examples, deterministic and without weights.

In: requests like any engine's. Out: the scripted replies, as tokens of the real tokenizer.
It does not know any model; its log-probabilities are made up and marked so by being the same for every token.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from llmagentos.errors import AdapterError, EngineError, PromptTooLongError
from llmagentos.models.engine import AdapterLoader, ChatRenderer
from llmagentos.models.routing import Router
from llmagentos.models.text_stream import TextStream
from llmagentos.records.generation import Completion, EngineCounters, GenerationRequest

LOGPROB = -0.5
"""Log-probability of every scripted token."""


class ScriptedEngine:
    """Implements `models.engine.Engine`; everything waiting when it wakes is one batch."""

    def __init__(
        self,
        renderer: ChatRenderer,
        replies: Callable[[str], str] | Sequence[str],
        *,
        delay: float = 0.0,
        has_logprobs: bool = True,
        window: int = 8192,
    ) -> None:
        """`replies` is called with the prompt's text (special tokens left out), or is a list used up in order.

        `delay` is the time in seconds that one batch takes. A reply function that raises fails that request.
        """
        self._renderer = renderer
        self._replies = replies
        self._queue: deque[str] = deque() if callable(replies) else deque(replies)
        self._delay = delay
        self._has_logprobs = has_logprobs
        self._window = window
        self._adapters: set[str] = set()
        self._waiting: list[tuple[GenerationRequest, Future[Completion], Callable[[int], None] | None]] = []
        self._wake = threading.Condition()
        self._closed = False
        self._worker: threading.Thread | None = None
        self.requests: list[GenerationRequest] = []
        """Every request in the order received."""
        self.counters = EngineCounters()
        self.batches: list[int] = []
        """How many requests each batch had."""

    @property
    def renderer(self) -> ChatRenderer:
        return self._renderer

    @property
    def window(self) -> int:
        return self._window

    @property
    def has_logprobs(self) -> bool:
        return self._has_logprobs

    @property
    def adapters(self) -> tuple[str, ...]:
        return tuple(sorted(self._adapters))

    def load_adapter(self, name: str, tensors: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        """Know an adapter by name; its tensors change nothing."""
        self._adapters.add(name)

    def offer_adapter(self, name: str, load: AdapterLoader) -> None:
        """Know an adapter by name; it is never loaded."""
        self._adapters.add(name)

    def offer_router(self, name: str, router: Router) -> None:
        """Know a router by name; it is never asked."""
        self._adapters.add(name)

    def unload_adapter(self, name: str) -> None:
        """Forget an adapter."""
        self._adapters.discard(name)

    def submit(self, request: GenerationRequest, on_token: Callable[[int], None] | None = None) -> Future[Completion]:
        """Queue a request (see `models.engine.Engine.submit`)."""
        future: Future[Completion] = Future()
        if len(request.prompt) >= self._window:
            future.set_exception(PromptTooLongError(len(request.prompt), self._window - 1))
        elif request.adapter is not None and request.adapter not in self._adapters:
            known = ", ".join(self.adapters) or "none"
            future.set_exception(AdapterError(f"No adapter named {request.adapter!r} is loaded. Loaded: {known}."))
        else:
            self._enqueue(request, future, on_token)
        return future

    def close(self) -> None:
        """Cancel what is waiting and end the worker."""
        with self._wake:
            self._closed = True
            waiting, self._waiting = self._waiting, []
            self._wake.notify()
        for _, future, _ in waiting:
            future.cancel()
        if self._worker is not None:
            self._worker.join()

    def _enqueue(
        self, request: GenerationRequest, future: Future[Completion], on_token: Callable[[int], None] | None
    ) -> None:
        with self._wake:
            if self._closed:
                raise EngineError("The engine is closed; open the model again.")
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, name="scripted-engine", daemon=True)
                self._worker.start()
            self.requests.append(request)
            self.counters.requests += 1
            self.counters.prefilled += len(request.prompt)
            self._waiting.append((request, future, on_token))
            self._wake.notify()

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._closed and not self._waiting:
                    self._wake.wait()
                if self._closed:
                    return
            with self._wake:
                if self._delay:
                    self._wake.wait_for(lambda: self._closed, self._delay)
                batch, self._waiting = self._waiting, []
            self.batches.append(len(batch))
            for request, future, on_token in batch:
                if future.set_running_or_notify_cancel():
                    self._answer(request, future, on_token)

    def _answer(
        self, request: GenerationRequest, future: Future[Completion], on_token: Callable[[int], None] | None
    ) -> None:
        try:
            text = self._next_reply(request)
        except Exception as problem:  # noqa: BLE001 (a test's function may raise anything; the request carries it)
            future.set_exception(problem if isinstance(problem, EngineError) else EngineError(f"Scripted: {problem}"))
            return
        future.set_result(self._complete(request, text, on_token))

    def _next_reply(self, request: GenerationRequest) -> str:
        if callable(self._replies):
            return self._replies(self._renderer.decode(request.prompt))
        if not self._queue:
            raise EngineError(f"All {len(self._replies)} scripted replies are used up. Write more, or a function.")
        return self._queue.popleft()

    def _complete(self, request: GenerationRequest, text: str, on_token: Callable[[int], None] | None) -> Completion:
        limit = min(request.sampling.max_tokens, self._window - len(request.prompt))
        stream = TextStream(self._renderer.decode, request.sampling.stop)
        tokens: list[int] = []
        ended = False
        for token in (*self._renderer.encode(text), self._renderer.end_of_turn):
            if len(tokens) == limit:
                break
            tokens.append(token)
            ended = token == self._renderer.end_of_turn
            if on_token is not None:
                on_token(token)
            if not ended:
                stream.push(token)
            if stream.stopped or ended:
                break
        stream.finish()
        self.counters.sampled += len(tokens)
        return Completion(
            tokens=tuple(tokens),
            text=stream.text,
            logprobs=(LOGPROB,) * len(tokens) if self._has_logprobs else None,
            finish="stop" if ended or stream.stopped else "length",
            prompt_tokens=len(request.prompt),
        )
