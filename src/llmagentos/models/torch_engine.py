"""The embedded engine: continuous batching on PyTorch, with shared prefixes and an adapter named per request.

In: requests from any thread. Out: futures, served by one worker thread, step by step in the arithmetic thread. Requests
join and leave at every step; prompts are prefilled in chunks beside decoding; a prefix that a running or finished
request has computed is copied; requests that share a prompt wait for the first of them.
It does not know tasks, programs or who trains the adapters it serves.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llmagentos.errors import AdapterError, EngineError, PromptTooLongError
from llmagentos.models.adapters import BatchAdapters, FusedAdapter, from_peft
from llmagentos.models.arithmetic import arithmetic, compute
from llmagentos.models.decoder import Decoder, keep_memory, preferred_dtype
from llmagentos.models.kv_cache import PrefixStore, RowCache, Span, StepAttention, common_prefix
from llmagentos.models.products import choose_precision
from llmagentos.models.quantisation import quantise
from llmagentos.models.rendering import Renderer
from llmagentos.models.sampling import sample
from llmagentos.models.text_stream import TextStream
from llmagentos.records.generation import Completion, FinishReason, GenerationRequest

STEP_TOKENS = 512
"""Most tokens of one step: large enough for the processor's full speed, small enough that decoding is not held up."""
SHARE_FROM = 16
"""A shared prefix shorter than this is not waited for."""


@dataclass(slots=True)
class EngineCounters:
    """What the engine has done since it was made."""

    prefilled: int = 0
    """Prompt tokens computed."""
    cached: int = 0
    """Prompt tokens taken from a shared prefix instead."""
    sampled: int = 0
    steps: int = 0


@dataclass(slots=True, eq=False)
class _Job:
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
    """Positions whose keys and values lie in the row."""
    cached: int = 0
    row: int = -1
    sampled: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)

    @property
    def owner(self) -> int:
        """Key under which its prefixes may be shared."""
        return self.adapter.serial if self.adapter is not None else 0

    @property
    def prefilling(self) -> bool:
        return self.computed < len(self.request.prompt)


class TorchEngine:
    """Serves one decoder. See `models.engine.Engine` for the meaning of the methods."""

    has_logprobs = True

    def __init__(self, decoder: Decoder, renderer: Renderer, *, rows: int = 64, prefix_tokens: int = 16_000) -> None:
        self.decoder = decoder
        self.renderer = renderer
        self.window = decoder.config.window
        self.counters = EngineCounters()
        self._rows = rows
        self._prefix_tokens = prefix_tokens
        self._cache: RowCache | None = None
        self._prefixes = PrefixStore(prefix_tokens)
        self._adapters: dict[str, FusedAdapter] = {}
        self._waiting: deque[_Job] = deque()
        self._running: dict[int, _Job] = {}
        self._stale: list[int] = []
        self._wake = threading.Condition()
        self._closed = False
        self._worker: threading.Thread | None = None

    @classmethod
    @arithmetic
    def load(
        cls, folder: Path, *, threads: int = 0, device: str = "cpu", rows: int = 64, precision: str = "auto"
    ) -> TorchEngine:
        """Load a model folder.

        `threads` 0 leaves PyTorch's choice, every core this process may use; `precision` is one of
        `products.Precision`, `ConfigError` where the processor does not have it.
        """
        if threads > 0:
            torch.set_num_threads(threads)
        keep_memory()
        chosen = choose_precision(precision, device)
        decoder = Decoder.load(folder, dtype=preferred_dtype(device, chosen), device=device)
        renderer = Renderer(folder)
        if chosen == "int8":
            quantise(decoder, renderer)
        decoder.pack()
        return cls(decoder, renderer, rows=rows)

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names of the adapters being served."""
        with self._wake:
            return tuple(self._adapters)

    def load_adapter(self, name: str, tensors: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        """Serve an adapter from its PEFT tensors; `AdapterError` when it does not fit this base."""
        fused = from_peft(tensors, config, self.decoder.config)
        self.serve(name, fused.to(self.decoder.dtype, self.decoder.device))

    def serve(self, name: str, adapter: FusedAdapter) -> None:
        """Serve an adapter that is already in the engine's layout, such as a trainer's own."""
        with self._wake:
            self._retire(name)
            self._adapters[name] = adapter

    def unload_adapter(self, name: str) -> None:
        """Forget an adapter; running requests keep it to their end."""
        with self._wake:
            self._retire(name)

    def _retire(self, name: str) -> None:
        old = self._adapters.pop(name, None)
        if old is not None:
            self._stale.append(old.serial)

    def _serves(self, adapter: FusedAdapter | None) -> bool:
        with self._wake:
            return adapter is None or any(adapter is known for known in self._adapters.values())

    def submit(self, request: GenerationRequest, on_token: Callable[[int], None] | None = None) -> Future[Completion]:
        """Queue a request (see `models.engine.Engine.submit`)."""
        future: Future[Completion] = Future()
        try:
            job = self._job(request, future, on_token)
        except (PromptTooLongError, AdapterError, EngineError) as error:
            future.set_exception(error)
            return future
        with self._wake:
            if self._closed:
                future.set_exception(EngineError("The engine is closed; open the model again."))
                return future
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, name="engine", daemon=True)
                self._worker.start()
            self._waiting.append(job)
            self._wake.notify()
        return future

    def _job(
        self, request: GenerationRequest, future: Future[Completion], on_token: Callable[[int], None] | None
    ) -> _Job:
        prompt, sampling = request.prompt, request.sampling
        if not prompt:
            raise EngineError("The prompt has no tokens; a request needs at least one.")
        if len(prompt) >= self.window:
            raise PromptTooLongError(len(prompt), self.window - 1)
        if sampling.max_tokens < 0 or not 0 <= sampling.temperature < math.inf or not 0 < sampling.top_p <= 1:
            raise EngineError(f"{sampling} is not usable: max_tokens >= 0, temperature >= 0 and 0 < top_p <= 1.")
        vocabulary = self.decoder.config.vocabulary
        if min(prompt) < 0 or max(prompt) >= vocabulary:  # in a step it would fail everybody's request
            wrong = next(token for token in prompt if not 0 <= token < vocabulary)
            raise EngineError(f"The prompt has the token {wrong}; this model's tokens are 0 to {vocabulary - 1}.")
        with self._wake:
            adapter = self._adapters.get(request.adapter) if request.adapter is not None else None
            if request.adapter is not None and adapter is None:
                known = ", ".join(self._adapters) or "none"
                raise AdapterError(f"No adapter named {request.adapter!r} is loaded. Loaded: {known}.")
        limit = min(sampling.max_tokens, self.window - len(prompt))
        tokens = np.asarray(prompt, dtype=np.int64)
        stream = TextStream(self.renderer.decode, sampling.stop) if sampling.stop else None
        return _Job(request, future, on_token, tokens, adapter, limit, stream)

    def close(self) -> None:
        """Cancel what is waiting or running and end the worker."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        if self._worker is not None:
            self._worker.join()
        for job in [*self._waiting, *self._running.values()]:
            job.future.cancel()
            _tell_cancelled(job)
        self._waiting.clear()
        self._running.clear()

    # The worker thread, and for each turn the arithmetic thread while the worker waits: nobody else runs what is below.

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._closed and not self._waiting and not self._running:
                    self._wake.wait()
                if self._closed:
                    return
            compute(self._turn)

    def _turn(self) -> None:
        with self._wake:
            for owner in self._stale:
                self._prefixes.forget(owner)
            self._stale.clear()
            self._admit()
        if self._running:
            self._guarded_step()

    def _guarded_step(self) -> None:
        try:
            with torch.inference_mode():
                self._step()
        except (RuntimeError, ValueError, IndexError, MemoryError) as error:
            failed = list(self._running.values())
            self._running.clear()
            for job in failed:
                _fail(job, "A generation step failed", error)

    def _admit(self) -> None:
        """Give free rows to waiting requests; those whose prefix is just being computed wait for it."""
        postponed: list[_Job] = []
        while self._waiting and len(self._running) < self._rows:
            job = self._waiting.popleft()
            if job.future.cancelled():
                _tell_cancelled(job)
                continue
            if job.limit == 0:
                self._resolve(job, "length")
                continue
            try:
                placed = self._place(job)
            except (RuntimeError, MemoryError) as error:
                _fail(job, "There is no room for the request's keys and values", error)
                continue
            if not placed:
                postponed.append(job)
        self._waiting.extendleft(reversed(postponed))

    def _place(self, job: _Job) -> bool:
        prompt = job.tokens[:-1]  # the last prompt token is always computed: its logits are needed
        kept, kv = self._prefixes.longest(prompt, job.owner) if len(prompt) else (0, None)
        best, source = kept, None
        for other in self._running.values():
            if other.adapter is not job.adapter:
                continue
            shared = common_prefix(other.tokens, prompt)
            ready = min(shared, other.computed)
            if other.prefilling and shared >= ready + SHARE_FROM and shared >= best + SHARE_FROM:
                return False
            if ready > best:
                best, source = ready, other
        if self._cache is None:
            self._cache = RowCache(
                self.decoder.config, self._rows, dtype=self.decoder.dtype, device=self.decoder.device
            )
        row = next(index for index in range(self._rows) if index not in self._running)
        self._cache.reserve(min(len(job.tokens) + job.limit, self.window))
        if source is not None:
            self._cache.copy(source.row, row, best)
        elif kv is not None:
            self._cache.store(row, 0, kv[..., :best, :])
        job.row, job.computed, job.cached = row, best, best
        self.counters.cached += best
        self._running[row] = job
        return True

    def _plan(self) -> tuple[list[tuple[_Job, Span]], list[tuple[int, int, FusedAdapter]]]:
        """This step's spans, requests of one adapter behind each other, and the adapters' runs of flat tokens."""
        jobs = sorted(self._running.values(), key=lambda job: (job.owner, job.row))
        room = STEP_TOKENS - sum(not job.prefilling for job in jobs)
        planned: list[tuple[_Job, Span]] = []
        runs: list[tuple[int, int, FusedAdapter]] = []
        offset = 0
        for job in jobs:
            count = 1
            if job.prefilling:
                count = min(len(job.tokens) - job.computed, max(room, 0))
                room -= count
            if count == 0:
                continue
            planned.append((job, Span(job.row, job.computed, count)))
            if job.adapter is not None:
                if runs and runs[-1][2] is job.adapter:
                    runs[-1] = (runs[-1][0], offset + count, job.adapter)
                else:
                    runs.append((offset, offset + count, job.adapter))
            offset += count
        return planned, runs

    def _step(self) -> None:
        for job in [job for job in self._running.values() if job.future.cancelled()]:
            del self._running[job.row]
            _tell_cancelled(job)
        planned, runs = self._plan()
        if not planned or self._cache is None:
            return
        device = self.decoder.device
        flat = np.concatenate([job.tokens[span.start : span.start + span.count] for job, span in planned])
        positions = np.concatenate([np.arange(span.start, span.start + span.count) for _, span in planned])
        hidden_NH = self.decoder.hidden(
            torch.from_numpy(flat).to(device),
            torch.from_numpy(positions).to(device),
            StepAttention(self._cache, [span for _, span in planned]),
            BatchAdapters(runs) if runs else None,
        )
        self.counters.steps += 1
        last: list[int] = []
        ready: list[_Job] = []
        offset = 0
        for job, span in planned:
            offset += span.count
            if job.prefilling:
                self.counters.prefilled += span.count
            job.computed += span.count
            if job.computed == len(job.tokens):
                last.append(offset - 1)
                ready.append(job)
        if ready:
            self._take_tokens(ready, self.decoder.logits(hidden_NH[last]))

    def _take_tokens(self, jobs: list[_Job], logits_NV: Tensor) -> None:
        settings = [job.request.sampling for job in jobs]
        chosen, logprobs = sample(logits_NV, settings, [len(job.tokens) for job in jobs])
        for job, token, logprob in zip(jobs, chosen, logprobs, strict=True):
            job.sampled.append(token)
            job.logprobs.append(logprob)
            job.tokens = np.append(job.tokens, token)
            self.counters.sampled += 1
            ended = token in self.renderer.eos_ids
            if job.stream is not None and not ended:
                job.stream.push(token)
            if job.on_token is not None and not ended:
                try:
                    job.on_token(token)
                except Exception as error:  # noqa: BLE001 (a caller may raise anything; the request carries it)
                    del self._running[job.row]
                    _fail(job, "The request's on_token raised", error)
                    continue
            if ended or (job.stream is not None and job.stream.stopped):
                self._finish(job, "stop")
            elif len(job.sampled) >= job.limit:
                self._finish(job, "length")

    def _finish(self, job: _Job, reason: FinishReason) -> None:
        if self._cache is not None and job.computed <= self._prefix_tokens and self._serves(job.adapter):
            prefix = self._cache.take(job.row, job.computed)
            self._prefixes.put(job.tokens[: job.computed].copy(), job.owner, prefix)
        del self._running[job.row]
        self._resolve(job, reason)

    def _resolve(self, job: _Job, reason: FinishReason) -> None:
        if job.future.set_running_or_notify_cancel():
            text = self._text(job)
            job.future.set_result(
                Completion(
                    tokens=tuple(job.sampled),
                    text=text,
                    logprobs=tuple(job.logprobs),
                    finish=reason,
                    prompt_tokens=len(job.request.prompt),
                    cached_tokens=job.cached,
                )
            )

    def _text(self, job: _Job) -> str:
        if job.stream is not None:
            job.stream.finish()
            return job.stream.text
        return self.renderer.decode(job.sampled)


def _fail(job: _Job, what: str, error: BaseException) -> None:
    if job.future.set_running_or_notify_cancel():
        failure = EngineError(f"{what}: {str(error) or type(error).__name__}")
        failure.__cause__ = error
        job.future.set_exception(failure)


def _tell_cancelled(job: _Job) -> None:
    """Wake those who wait for several futures: `cancel` alone does not."""
    job.future.set_running_or_notify_cancel()
