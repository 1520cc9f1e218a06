"""Steps of the embedded engine on PyTorch alone, for any device and precision.

In: jobs and how many of their tokens to compute. Out: drawn tokens. Every row of the cache belongs to one job; a prefix
that a running or finished job has computed is copied.
It does not know queues, limits or when a job ends.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import torch

from llmagentos.models.adapters import BatchAdapters
from llmagentos.models.constraints import forbidden
from llmagentos.models.decoder import Decoder
from llmagentos.models.jobs import SHARE_FROM, Drawn, Job, Work, adapter_runs, masks
from llmagentos.models.kv_cache import PrefixStore, RowCache, Span, StepAttention, common_prefix
from llmagentos.models.sampling import sample


class PlainSteps:
    """See `jobs.Steps`."""

    checks_guesses = False

    def __init__(self, decoder: Decoder, *, rows: int, prefix_tokens: int) -> None:
        self.decoder = decoder
        self.adapter_dtype = decoder.dtype
        self._rows = rows
        self._prefix_tokens = prefix_tokens
        self._cache: RowCache | None = None
        self._prefixes = PrefixStore(prefix_tokens)

    def place(self, job: Job, running: Collection[Job]) -> bool:
        prompt = job.tokens[:-1]  # the last prompt token is always computed: its logits are needed
        kept, kv = self._prefixes.longest(prompt, job.owner) if len(prompt) else (0, None)
        best, source = kept, None
        for other in running:
            if other.adapter is not job.adapter:
                continue
            shared = common_prefix(other.tokens, prompt)
            ready = min(shared, other.computed)
            if other.prefilling and shared >= ready + SHARE_FROM and shared >= best + SHARE_FROM:
                return False
            if ready > best:
                best, source = ready, other
        decoder = self.decoder
        if self._cache is None:
            self._cache = RowCache(decoder.config, self._rows, dtype=decoder.dtype, device=decoder.device)
        self._cache.reserve(min(len(job.tokens) + job.limit, decoder.config.window))
        if source is not None:
            self._cache.copy(source.row, job.row, best)
        elif kv is not None:
            self._cache.store(job.row, 0, kv[..., :best, :])
        job.computed = job.cached = best
        return True

    def order(self, job: Job) -> int:
        return job.row

    def step(self, work: Sequence[Work]) -> list[Drawn]:
        assert self._cache is not None
        spans = [Span(item.job.row, item.job.computed, item.count) for item in work]
        runs, device = adapter_runs(work), self.decoder.device
        flat = [item.job.tokens[span.start : span.start + span.count] for item, span in zip(work, spans, strict=True)]
        positions = np.concatenate([np.arange(span.start, span.start + span.count) for span in spans])
        hidden_NH = self.decoder.hidden(
            torch.from_numpy(np.concatenate(flat)).to(device),
            torch.from_numpy(positions).to(device),
            StepAttention(self._cache, spans),
            BatchAdapters(runs) if runs else None,
        )
        ends: list[int] = []
        ready: list[Job] = []
        offset = 0
        for item in work:
            offset += item.count
            item.job.computed += item.count
            if item.job.computed == len(item.job.tokens):
                ends.append(offset - 1)
                ready.append(item.job)
        if not ready:
            return []
        settings = [job.request.sampling for job in ready]
        logits_MV = self.decoder.logits(hidden_NH[ends])
        allowed = masks(ready, logits_MV.shape[1])
        if allowed is not None:
            banned_MV = forbidden(allowed, logits_MV.shape[1])
            logits_MV = logits_MV.masked_fill(torch.from_numpy(banned_MV).to(device), float("-inf"))
        chosen, logprobs = sample(logits_MV, settings, [len(job.tokens) for job in ready])
        return [Drawn(*drawn) for drawn in zip(ready, chosen, logprobs, strict=True)]

    def release(self, job: Job, *, keep: bool) -> None:
        if keep and self._cache is not None and job.computed <= self._prefix_tokens:
            prefix = self._cache.take(job.row, job.computed)
            self._prefixes.put(job.tokens[: job.computed].copy(), job.owner, prefix)

    def forget(self, owner: int) -> None:
        self._prefixes.forget(owner)
