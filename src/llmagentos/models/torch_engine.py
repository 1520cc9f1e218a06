"""The embedded engine: continuous batching, with shared prefixes and an adapter named per request.

In: requests from any thread. Out: futures, served by one worker thread, step by step in the arithmetic thread. Requests
join and leave at every step; prompts are prefilled in chunks beside decoding; a prefix that a running or finished
request has computed is taken over; requests that share a prompt wait for the first of them. A step itself is computed
by the kernels in C where they are, else by PyTorch (`jobs.Steps`).
It does not know tasks, programs or who trains the adapters it serves.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from llmagentos.errors import AdapterError, EngineError, KernelsMissing, LLMAgentOSError, PromptTooLongError
from llmagentos.models.adapters import FusedAdapter, from_peft
from llmagentos.models.arithmetic import arithmetic, compute
from llmagentos.models.constraints import Constraints
from llmagentos.models.decoder import Decoder, keep_memory, working_dtype
from llmagentos.models.engine import AdapterLoader
from llmagentos.models.jobs import Drawn, Job, Steps, Work
from llmagentos.models.native.products import Kernels
from llmagentos.models.native.steps import NativeSteps
from llmagentos.models.plain_steps import PlainSteps
from llmagentos.models.products import check_device, choose_precision
from llmagentos.models.quantisation import quantise
from llmagentos.models.rendering import Renderer
from llmagentos.models.routing import Router
from llmagentos.models.text_stream import TextStream
from llmagentos.records.generation import Completion, EngineCounters, FinishReason, GenerationRequest

logger = logging.getLogger(__name__)

STEP_TOKENS = 512
"""Most tokens of one step: large enough for the processor's full speed, small enough that decoding is not held up."""
ADAPTER_BYTES = 2**30
"""Memory of offered adapters that are kept loaded: about 18 of the default model at rank 16."""
GUESS_UP_TO = 4
"""Requests at once up to which a step is bound by reading the weights, so that guesses are checked for little."""


class TorchEngine:
    """Serves one decoder. See `models.engine.Engine` for the meaning of the methods."""

    has_logprobs = True

    def __init__(
        self,
        decoder: Decoder,
        renderer: Renderer,
        *,
        rows: int = 64,
        prefix_tokens: int = 16_000,
        adapter_bytes: int = ADAPTER_BYTES,
    ) -> None:
        """At most `rows` requests run at once; finished prompts of up to `prefix_tokens` in all are remembered.

        Offered adapters are kept loaded up to `adapter_bytes`.
        """
        self.decoder = decoder
        self.renderer = renderer
        self.window = decoder.config.window
        self.counters = EngineCounters()
        self.guess_up_to = GUESS_UP_TO
        """Requests at once up to which tokens are guessed; 0 for never."""
        self._rows = rows
        self.constraints = Constraints(renderer.folder, decoder.config.vocabulary, renderer.eos_ids)
        """Grammars for this model's tokens."""
        self._steps = _steps(decoder, rows, prefix_tokens)
        self._adapters: OrderedDict[str, FusedAdapter] = OrderedDict()
        self._offered: dict[str, AdapterLoader] = {}
        self._routers: dict[str, Router] = {}
        self._adapter_bytes = adapter_bytes
        self._loading = threading.Lock()
        self._waiting: deque[Job] = deque()
        self._running: dict[int, Job] = {}
        self._stale: list[int] = []
        self._wake = threading.Condition()
        self._closed = False
        self._worker: threading.Thread | None = None

    @classmethod
    @arithmetic
    def load(
        cls,
        folder: Path,
        *,
        threads: int = 0,
        device: str = "cpu",
        rows: int = 64,
        precision: str = "auto",
        kernels: Path | None = None,
    ) -> TorchEngine:
        """Load a model folder.

        `threads` 0 leaves PyTorch's choice, every core this process may use; `precision` is one of
        `products.Precision`, `ConfigError` where the device does not have it, or is not there. In eight bits the
        kernels in the folder `kernels` are used, compiled into it where that is needed and possible.
        """
        if threads > 0:
            torch.set_num_threads(threads)
        keep_memory()
        check_device(device)
        compiled = _kernels(kernels) if device == "cpu" and precision != "bf16" else None
        chosen = choose_precision(precision, device, kernels=compiled is not None)
        decoder = Decoder.load(folder, dtype=working_dtype(chosen), device=device)
        renderer = Renderer(folder)
        if chosen == "int8":
            quantise(decoder, renderer, compiled)
        elif chosen == "fp32" and compiled is not None:
            decoder.hand_over(compiled)
        decoder.pack()
        return cls(decoder, renderer, rows=rows)

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names of the adapters being served, and of routers between them."""
        with self._wake:
            return tuple(dict.fromkeys((*self._adapters, *self._offered, *self._routers)))

    def load_adapter(self, name: str, tensors: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        """Serve an adapter from its PEFT tensors; `AdapterError` when it does not fit this base."""
        fused = from_peft(tensors, config, self.decoder.config)
        self.serve(name, fused, released=True)

    def serve(self, name: str, adapter: FusedAdapter, *, released: bool = False) -> None:
        """Serve an adapter that is already in the engine's layout, such as a trainer's own.

        It is computed as it is, so that what it samples has the probabilities that training finds; with `released` in
        the precision that adapters from the store are served in.
        """
        adapter = self._as_served(adapter) if released else adapter
        with self._wake:
            self._forget(name)
            self._adapters[name] = adapter

    @contextmanager
    def serving(self, name: str, adapter: FusedAdapter, *, released: bool = False) -> Iterator[str]:
        """`serve` for as long as the block runs; gives the name."""
        self.serve(name, adapter, released=released)
        try:
            yield name
        finally:
            self.unload_adapter(name)

    def offer_adapter(self, name: str, load: AdapterLoader) -> None:
        """Serve an adapter that is loaded when first asked for (see `models.engine.Engine.offer_adapter`)."""
        with self._wake:
            self._forget(name)
            self._offered[name] = load

    def offer_router(self, name: str, router: Router) -> None:
        """Serve what a router chooses (see `models.engine.Engine.offer_router`)."""
        with self._wake:
            self._forget(name)
            self._routers[name] = router

    def unload_adapter(self, name: str) -> None:
        """Forget an adapter or a router; running requests keep an adapter to their end."""
        with self._wake:
            self._forget(name)

    def _forget(self, name: str) -> None:
        self._offered.pop(name, None)
        self._routers.pop(name, None)
        self._retire(name)

    def _retire(self, name: str) -> None:
        old = self._adapters.pop(name, None)
        if old is not None:
            self._stale.append(old.serial)

    def _adapter(self, name: str) -> FusedAdapter:
        """The adapter of this name, loaded where it was only offered."""
        load = self._offered.get(name)
        with self._loading if load is not None else nullcontext():  # once, whoever asks at the same time
            with self._wake:
                found = self._adapters.get(name)
                if found is not None:
                    self._adapters.move_to_end(name)
                    return found
            if load is None:
                raise AdapterError(
                    f"No adapter named {name!r} is loaded. Loaded: {', '.join(self.adapters) or 'none'}."
                )
            found = self._as_served(from_peft(*load(), self.decoder.config))
            with self._wake:
                if self._offered.get(name) is load:  # else somebody took it back meanwhile
                    self._adapters[name] = found
                    self._make_room(name)
            return found

    def _as_served(self, adapter: FusedAdapter) -> FusedAdapter:
        dtype = self._steps.adapter_dtype
        fits = adapter.largest < torch.finfo(dtype).max
        return adapter.to(dtype if fits else self.decoder.dtype, self.decoder.device)

    def _make_room(self, keep: str) -> None:
        """Forget the offered adapters that were asked for longest ago, until the others fit."""
        loaded = [name for name in self._adapters if name in self._offered]
        left = self._adapter_bytes - sum(self._adapters[name].memory for name in loaded)
        for name in loaded:
            if left >= 0:
                return
            if name != keep:
                left += self._adapters[name].memory
                self._retire(name)

    def _serves(self, adapter: FusedAdapter | None) -> bool:
        with self._wake:
            return adapter is None or any(adapter is known for known in self._adapters.values())

    def submit(self, request: GenerationRequest, on_token: Callable[[int], None] | None = None) -> Future[Completion]:
        """Queue a request (see `models.engine.Engine.submit`)."""
        future: Future[Completion] = Future()
        try:
            job = self._job(request, future, on_token)
        except LLMAgentOSError as error:
            future.set_exception(error)
            return future
        with self._wake:
            if self._closed:
                future.set_exception(EngineError("The engine is closed; open the model again."))
                return future
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, name="engine", daemon=True)
                self._worker.start()
            self.counters.requests += 1
            self._waiting.append(job)
            self._wake.notify()
        return future

    def _job(
        self, request: GenerationRequest, future: Future[Completion], on_token: Callable[[int], None] | None
    ) -> Job:
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
        router = self._routers.get(request.adapter) if request.adapter is not None else None
        name = request.adapter if router is None else router.choose(request.opening)
        adapter = None if name is None else self._adapter(name)
        limit = min(sampling.max_tokens, self.window - len(prompt))
        tokens = np.asarray(prompt, dtype=np.int64)
        stream = TextStream(self.renderer.decode, sampling.stop) if sampling.stop else None
        constraint = self.constraints.begin(sampling.grammar) if sampling.grammar is not None else None
        return Job(request, future, on_token, tokens, adapter, limit, stream, constraint=constraint)

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
                self._steps.forget(owner)
            self._stale.clear()
            self._admit()
        if self._running:
            self._guarded_step()

    def _guarded_step(self) -> None:
        try:
            with torch.inference_mode():
                self._step()
        except (RuntimeError, ValueError, IndexError, MemoryError) as error:
            for job in list(self._running.values()):
                self._leave(job, sound=False)
                _fail(job, "A generation step failed", error)

    def _admit(self) -> None:
        """Give free rows to waiting requests; those whose prefix is just being computed wait for it."""
        postponed: list[Job] = []
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

    def _place(self, job: Job) -> bool:
        job.row = next(index for index in range(self._rows) if index not in self._running)
        if not self._steps.place(job, self._running.values()):
            return False
        self.counters.cached += job.cached
        self._running[job.row] = job
        return True

    def _leave(self, job: Job, *, sound: bool = True) -> None:
        """Take a job out of the running ones; what was computed is kept for others where it is `sound` and of use."""
        del self._running[job.row]
        self._steps.release(job, keep=sound and self._serves(job.adapter))

    def _plan(self) -> list[Work]:
        """This step's work: every job that decodes, and of the prompts as much as a step has room for."""
        jobs = sorted(self._running.values(), key=lambda job: (job.owner, self._steps.order(job)))
        room = STEP_TOKENS - sum(not job.prefilling for job in jobs)
        planned: list[Work] = []
        for job in jobs:
            count = 1
            if job.prefilling:
                count = min(len(job.tokens) - job.computed, max(room, 0))
                room -= count
            if count:
                planned.append(Work(job, count, self._guess(job, len(jobs))))
        return planned

    def _guess(self, job: Job, running: int) -> tuple[int, ...]:
        """Tokens that may follow the one to compute, where checking them costs less than it may save."""
        if not self._steps.checks_guesses or running > self.guess_up_to or job.prefilling or job.constraint is not None:
            return ()
        room = min(job.limit - len(job.sampled), self.window - len(job.tokens)) - 1
        return tuple(job.lookup.guess(job.tokens, room).tolist())

    def _step(self) -> None:
        for job in [job for job in self._running.values() if job.future.cancelled()]:
            self._leave(job)
            _tell_cancelled(job)
        planned = self._plan()
        if not planned:
            return
        prefilled = sum(work.count for work in planned if work.job.prefilling)
        drawn = self._steps.step(planned)
        self.counters.steps += 1
        self.counters.prefilled += prefilled
        for one in drawn:
            if self._running.get(one.job.row) is one.job:  # else an earlier token of this step was its last
                self._take(one)

    def _take(self, drawn: Drawn) -> None:
        job, token = drawn.job, drawn.token
        ended = token in self.renderer.eos_ids
        try:
            if job.constraint is not None and not ended:
                job.constraint.accept(token)
        except EngineError as error:
            self._leave(job)
            _fail(job, "The reply cannot go on", error)
            return
        job.sampled.append(token)
        job.logprobs.append(drawn.logprob)
        job.tokens = np.append(job.tokens, token)
        self.counters.sampled += 1
        if job.stream is not None and not ended:
            job.stream.push(token)
        if job.on_token is not None and not ended:
            try:
                job.on_token(token)
            except Exception as error:  # noqa: BLE001 (a caller may raise anything; the request carries it)
                self._leave(job)
                _fail(job, "The request's on_token raised", error)
                return
        if ended or (job.stream is not None and job.stream.stopped):
            self._finish(job, "stop")
        elif len(job.sampled) >= job.limit:
            self._finish(job, "length")

    def _finish(self, job: Job, reason: FinishReason) -> None:
        self._leave(job)
        self._resolve(job, reason)

    def _resolve(self, job: Job, reason: FinishReason) -> None:
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

    def _text(self, job: Job) -> str:
        if job.stream is not None:
            job.stream.finish()
            return job.stream.text
        return self.renderer.decode(job.sampled)


def _kernels(folder: Path | None) -> Kernels | None:
    if folder is None:
        return None
    try:
        return Kernels.load(folder, torch.get_num_threads())
    except KernelsMissing as why:
        logger.info("computing with PyTorch alone: %s", why)
        return None


def _steps(decoder: Decoder, rows: int, prefix_tokens: int) -> Steps:
    if NativeSteps.fits(decoder):
        return NativeSteps(decoder, prefix_tokens=prefix_tokens)
    return PlainSteps(decoder, rows=rows, prefix_tokens=prefix_tokens)


def _fail(job: Job, what: str, error: BaseException) -> None:
    if job.future.set_running_or_notify_cancel():
        failure = EngineError(f"{what}: {str(error) or type(error).__name__}")
        failure.__cause__ = error
        job.future.set_exception(failure)


def _tell_cancelled(job: Job) -> None:
    """Wake those who wait for several futures: `cancel` alone does not."""
    job.future.set_running_or_notify_cancel()
