"""The engine that asks a server: the same requests and completions as the embedded one, computed elsewhere.

In: requests from any thread. Out: futures, each served by a thread of its own up to a limit. With a tokenizer here the
server is given tokens and says which ones it drew; without one it is given messages (see `dialogue`).
It does not know programs, prices' currencies or where adapters come from.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from llmagentos.config import RemoteSettings
from llmagentos.errors import AdapterError, EngineError, ModelError, PromptTooLongError
from llmagentos.models.engine import AdapterLoader, ChatRenderer
from llmagentos.models.remote.dialects import Part, Server, Usage, chat_body, completion_body, read_part, read_server
from llmagentos.models.remote.dialogue import DialogueRenderer
from llmagentos.models.remote.faults import Patience, ServerFault
from llmagentos.models.remote.wire import Wire
from llmagentos.models.rendering import Renderer
from llmagentos.models.routing import Router
from llmagentos.models.text_stream import TextStream
from llmagentos.records.generation import Completion, EngineCounters, FinishReason, GenerationRequest

logger = logging.getLogger(__name__)

UNKNOWN_WINDOW = 2**31
"""Where the server does not say how much fits; it refuses what does not."""

CLOSED = "The engine is closed; open the model again."


@dataclass(frozen=True, slots=True)
class Price:
    """What a million tokens cost, in whatever the bill is in."""

    prompt: float = 0.0
    completion: float = 0.0
    cached: float | None = None
    """Prompt tokens from the server's cache; None for the full price."""

    def of(self, usage: Usage) -> float:
        """The cost of one request."""
        cached = self.prompt if self.cached is None else self.cached
        fresh = (usage.prompt - usage.cached) * self.prompt
        return (fresh + usage.cached * cached + usage.completion * self.completion) / 1e6


@dataclass(slots=True)
class _Reply:
    """What has arrived of one reply, over all attempts."""

    stream: TextStream
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    calls: dict[int, list[str]] = field(default_factory=dict)
    finish: FinishReason | None = None
    usage: Usage = Usage()

    def say(self, token: int, on_token: Callable[[int], None] | None) -> None:
        """One token of the text more, told to who listens."""
        self.tokens.append(token)
        self.stream.push(token)
        if on_token is not None:
            on_token(token)


class _Cancelled(Exception):
    """Nobody waits for the reply any more."""


class RemoteEngine:
    """Implements `models.engine.Engine` over a server. See there for the meaning of the methods."""

    has_logprobs = False
    """Servers give log-probabilities of other distributions than the one drawn from, or none for the last token."""

    def __init__(
        self,
        wire: Wire,
        model: str,
        *,
        renderer: Renderer | None = None,
        concurrency: int = 8,
        price: Price | None = None,
        adapters: Path | None = None,
        patience: Patience | None = None,
    ) -> None:
        """`renderer` has the model's own tokenizer, None speaks in messages.

        At most `concurrency` requests are at the server at once. `adapters` is a folder that the server sees too, for
        those that it loads at run time.
        """
        self._wire = wire
        self._model = model
        self._tokenizer = renderer
        self._dialogue = DialogueRenderer(f"remote:{model}")
        self._price = price or Price()
        self._folder = adapters
        self._patience = patience or Patience()
        self._limit_name = "max_tokens"
        self._served: dict[str, str] = {}
        self._routers: dict[str, Router] = {}
        self._server: Server | None = None
        self._lock = threading.Lock()
        self._asking = threading.Lock()
        self._closed = threading.Event()
        self._workers = ThreadPoolExecutor(concurrency, thread_name_prefix="remote-engine")
        self._open: set[Future[Completion]] = set()
        self.counters = EngineCounters()

    @property
    def renderer(self) -> ChatRenderer:
        return self._tokenizer or self._dialogue

    @property
    def window(self) -> int:
        """What the server says; in messages unknown, because its tokens are not ours."""
        return (self.server.window or UNKNOWN_WINDOW) if self._tokenizer else UNKNOWN_WINDOW

    @property
    def server(self) -> Server:
        """What the server says of itself, asked once. Raises `ServerFault`, also when it does not have the model."""
        with self._asking:
            if self._server is None:
                found = read_server(self._patiently(lambda: self._wire.get("/models")), self._model)
                if found.models and self._model not in found.models:
                    raise ServerFault(
                        f"The server has no model {self._model!r}. It has: {', '.join(found.models[:20])}.", again=False
                    )
                self._server = found
            return self._server

    @property
    def adapters(self) -> tuple[str, ...]:
        with self._lock:
            return (*self._served, *self._routers)

    def load_adapter(self, name: str, tensors: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        """Write the adapter where the server sees it and let it load it (vLLM's run-time loading).

        `AdapterError` where the server cannot, or no common folder is set.
        """
        from safetensors.torch import save

        if self._folder is None:
            raise AdapterError("Set LLMAGENTOS_REMOTE_ADAPTERS to a folder that the server sees under the same path.")
        weights, described = save(dict(tensors)), msgspec.json.encode(dict(config))
        served = f"{name}-{hashlib.sha256(weights + described).hexdigest()[:12]}"
        folder = self._folder / served
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "adapter_model.safetensors").write_bytes(weights)
        (folder / "adapter_config.json").write_bytes(described)
        try:
            self._wire.post("/load_lora_adapter", {"lora_name": served, "lora_path": str(folder.absolute())})
        except ServerFault as fault:
            if "already" not in str(fault).lower():
                raise AdapterError(
                    f"The server loads no adapters at run time: {fault} vLLM does when it is started with "
                    "--enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True; llama.cpp does not."
                ) from fault
        with self._lock:
            old, self._served[name] = self._served.get(name), served
        if old is not None and old != served:
            self._unload(old)

    def offer_adapter(self, name: str, load: AdapterLoader) -> None:
        """Give it to the server at once: the server has its own ways to keep many."""
        self.load_adapter(name, *load())

    def offer_router(self, name: str, router: Router) -> None:
        """Choose here, by the tokens that a request has here, which of the server's adapters answers it."""
        with self._lock:
            self._routers[name] = router

    def unload_adapter(self, name: str) -> None:
        """Forget an adapter, here and at the server, or a router."""
        with self._lock:
            self._routers.pop(name, None)
            served = self._served.pop(name, None)
        if served is not None:
            self._unload(served)

    def _unload(self, served: str) -> None:
        try:
            self._wire.post("/unload_lora_adapter", {"lora_name": served})
        except EngineError as fault:
            logger.warning("The server keeps the adapter %s: %s", served, fault)

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector for each text, by the server's `/embeddings`."""
        if any(not text for text in texts):
            raise EngineError("An empty text has no embedding.")
        if self._closed.is_set():
            raise EngineError(CLOSED)
        answer = self._patiently(lambda: self._wire.post("/embeddings", {"model": self._model, "input": list(texts)}))
        try:
            found = sorted(answer["data"], key=lambda one: int(one["index"]))
            vectors = [[float(value) for value in one["embedding"]] for one in found]
        except (KeyError, TypeError, ValueError) as problem:
            raise ServerFault("The server's embeddings cannot be read.", again=False) from problem
        if len(vectors) != len(texts):
            raise ServerFault(f"The server gave {len(vectors)} embeddings for {len(texts)} texts.", again=False)
        return vectors

    def submit(self, request: GenerationRequest, on_token: Callable[[int], None] | None = None) -> Future[Completion]:
        """Queue a request (see `models.engine.Engine.submit`)."""
        future: Future[Completion] = Future()
        with self._lock:
            if self._closed.is_set():
                future.set_exception(EngineError(CLOSED))
                return future
            self._open.add(future)
            self._workers.submit(self._serve, request, future, on_token)
        return future

    def close(self) -> None:
        """Cancel what is waiting and end the workers."""
        with self._lock:
            self._closed.set()
            waiting = list(self._open)
        for future in waiting:
            future.cancel()
        self._workers.shutdown(wait=True, cancel_futures=True)
        self._wire.close()

    # A worker's thread runs what is below.

    def _serve(
        self, request: GenerationRequest, future: Future[Completion], on_token: Callable[[int], None] | None
    ) -> None:
        try:
            completion = self._complete(request, future, on_token)
        except _Cancelled:
            future.cancel()
            future.set_running_or_notify_cancel()
        except Exception as error:  # noqa: BLE001 (whatever failed, the request carries it)
            if future.set_running_or_notify_cancel():
                future.set_exception(
                    error if isinstance(error, ModelError) else EngineError(f"The request failed: {error}")
                )
        else:
            if future.set_running_or_notify_cancel():
                future.set_result(completion)
        finally:
            with self._lock:
                self._open.discard(future)

    def _complete(
        self, request: GenerationRequest, future: Future[Completion], on_token: Callable[[int], None] | None
    ) -> Completion:
        self._check(request)
        reply = _Reply(TextStream(self.renderer.decode, request.sampling.stop))
        attempt = 0
        while reply.finish is None:
            try:
                self._attempt(request, reply, future, on_token)
            except ServerFault as fault:
                attempt += 1
                if self._learn_limit(fault):
                    continue
                if not fault.again or attempt >= self._patience.attempts or not self._resumes(request, reply, on_token):
                    raise
                self._wait(self._patience.delay(attempt, fault), future)
        reply.stream.finish()
        return Completion(
            tokens=tuple(reply.tokens),
            text=reply.stream.text,
            logprobs=tuple(reply.logprobs) if reply.tokens and len(reply.logprobs) == len(reply.tokens) else None,
            finish=reply.finish,
            prompt_tokens=reply.usage.prompt or len(request.prompt),
            cached_tokens=reply.usage.cached,
        )

    def _check(self, request: GenerationRequest) -> None:
        if not request.prompt:
            raise EngineError("The prompt has no tokens; a request needs at least one.")
        if len(request.prompt) >= self.window:
            raise PromptTooLongError(len(request.prompt), self.window - 1)
        if request.adapter is not None and request.adapter not in self.adapters:
            known = ", ".join(self.adapters) or "none"
            raise AdapterError(f"No adapter named {request.adapter!r} is loaded. Loaded: {known}.")

    def _resumes(self, request: GenerationRequest, reply: _Reply, on_token: Callable[[int], None] | None) -> bool:
        """Whether another attempt can go on: from the tokens that are here, or from the start if nobody saw them."""
        if self._tokenizer is not None and request.sampling.grammar is None:
            return True
        if reply.tokens and on_token is not None:
            return False
        reply.tokens, reply.logprobs, reply.calls = [], [], {}
        reply.stream = TextStream(self.renderer.decode, request.sampling.stop)
        return True

    def _learn_limit(self, fault: ServerFault) -> bool:
        """Some servers call the most tokens of a reply otherwise, and say so when they refuse the usual name."""
        if fault.status != 400 or self._limit_name != "max_tokens" or "max_completion_tokens" not in str(fault):
            return False
        self._limit_name = "max_completion_tokens"
        return True

    def _wait(self, seconds: float, future: Future[Completion]) -> None:
        self.counters.retries += 1
        remaining = seconds
        while remaining > 0:
            if future.cancelled() or self._closed.wait(min(remaining, 0.1)):
                raise _Cancelled
            remaining -= 0.1

    def _patiently(self, ask: Callable[[], Any]) -> Any:
        """An answer, after as many attempts as it takes; a server that is not there at all is not waited for."""
        for attempt in range(1, self._patience.attempts + 1):
            try:
                return ask()
            except ServerFault as fault:
                if not fault.again or not fault.status or attempt == self._patience.attempts:
                    raise
                self._wait(self._patience.delay(attempt, fault), Future())
        raise AssertionError("the last attempt returns or raises")

    def _attempt(
        self,
        request: GenerationRequest,
        reply: _Reply,
        future: Future[Completion],
        on_token: Callable[[int], None] | None,
    ) -> None:
        """One request to the server; `reply` grows until it is finished. `ServerFault` when it breaks off."""
        if future.cancelled():
            raise _Cancelled
        limit = request.sampling.max_tokens - (len(reply.tokens) if self._tokenizer else 0)
        if limit <= 0:
            reply.finish = "length"
            return
        path, body = self._asked(request, reply, limit)
        self.counters.requests += 1
        usage: Usage | None = None
        before = len(reply.tokens)
        events = self._wire.events(path, body)
        try:
            for event in events:
                if future.cancelled() or self._closed.is_set():
                    raise _Cancelled
                part = read_part(self.server, event)
                usage = part.usage or usage
                self._take(part, reply, on_token)
                if reply.stream.stopped:
                    reply.finish = "stop"
                    return
        finally:
            events.close()
            if usage is None and self._tokenizer is not None:  # left before the server said it: counted here
                usage = Usage(len(request.prompt) + before, 0, len(reply.tokens) - before)
            self._account(usage or Usage(), reply)
        if reply.finish is None:
            raise ServerFault("The server's answer broke off before its end.", again=True)
        if reply.finish == "stop":
            self._end_turn(reply, on_token)

    def _asked(self, request: GenerationRequest, reply: _Reply, limit: int) -> tuple[str, dict[str, Any]]:
        sampling = replace(request.sampling, max_tokens=limit)
        with self._lock:
            router = self._routers.get(request.adapter or "")
            adapter = request.adapter if router is None else router.choose(request.opening)
            model = self._served.get(adapter, self._model) if adapter else self._model
        if self._tokenizer is not None:
            return "/completions", completion_body(self.server, model, (*request.prompt, *reply.tokens), sampling)
        messages = self._dialogue.messages(request.prompt)
        if not messages:
            return "/completions", completion_body(self.server, model, self._dialogue.decode(request.prompt), sampling)
        body = chat_body(self.server, model, messages, sampling, request.tools, self._limit_name)
        return "/chat/completions", body

    def _take(self, part: Part, reply: _Reply, on_token: Callable[[int], None] | None) -> None:
        tokens, logprobs = self._tokens(part)
        for number, token in enumerate(tokens):
            reply.logprobs += logprobs[number : number + 1]
            if self._tokenizer is not None and token in self._tokenizer.eos_ids:
                reply.tokens.append(token)
                continue
            reply.say(token, on_token)
            if reply.stream.stopped:
                return
        for call in part.calls:
            known = reply.calls.setdefault(call.index, ["", ""])
            known[0] += call.name
            known[1] += call.arguments
        reply.finish = part.finish or reply.finish

    def _tokens(self, part: Part) -> tuple[Sequence[int], Sequence[float]]:
        """The tokens drawn; where the server's do not spell its text (llama.cpp leaves out the first tokens of a
        character that needs several), those of the text."""
        if self._tokenizer is None:
            return self._dialogue.encode(part.text), ()
        if part.tokens and (self.server.maker == "vllm" or self._tokenizer.decode(part.tokens) == part.text):
            return part.tokens, part.logprobs
        return self._tokenizer.encode(part.text), ()

    def _end_turn(self, reply: _Reply, on_token: Callable[[int], None] | None) -> None:
        """Tool calls as the text that programs read, and the token that ends the turn."""
        if self._tokenizer is not None:
            if not reply.tokens or reply.tokens[-1] not in self._tokenizer.eos_ids:
                reply.tokens.append(self._tokenizer.end_of_turn)
            return
        calls = [_call_text(name, arguments) for name, arguments in reply.calls.values() if name]
        if calls and not reply.stream.text.strip():
            # A turn makes one call: the first one; a model that has more to ask for asks again.
            for token in self._dialogue.encode(calls[0]):
                reply.say(token, on_token)
        reply.tokens.append(self._dialogue.end_of_turn)

    def _account(self, usage: Usage, reply: _Reply) -> None:
        reply.usage = usage
        with self._lock:
            self.counters.prefilled += usage.prompt - usage.cached
            self.counters.cached += usage.cached
            self.counters.sampled += usage.completion
            self.counters.cost += self._price.of(usage)


def open_remote(settings: RemoteSettings, model: str, renderer: Renderer | None = None) -> RemoteEngine:
    """The engine for one model of the server that the settings name."""
    prompt, completion, *cached = settings.price
    return RemoteEngine(
        Wire(settings.url, settings.key, connections=settings.concurrency + 1),  # one to load adapters meanwhile
        model,
        renderer=renderer,
        concurrency=settings.concurrency,
        price=Price(prompt, completion, cached[0] if cached else None),
        adapters=settings.adapters,
    )


def _call_text(name: str, arguments: str) -> str:
    """`{"name": {...}}`; arguments that are no JSON stay as they are, for the program to complain of."""
    return f"{{{msgspec.json.encode(name).decode()}: {arguments or '{}'}}}"
