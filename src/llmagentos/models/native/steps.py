"""Steps of the embedded engine by the kernels: one call a step, keys and values in blocks that sequences share.

In: jobs and how many of their tokens to compute. Out: drawn tokens. A result depends on its own sequence and adapter
alone, bit by bit: sums of eight-bit products are exact, and everything else is computed row by row in one order.
It does not know queues, limits or when a job ends.
"""

from __future__ import annotations

import ctypes
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import psutil
import torch

from llmagentos.models.adapters import FusedAdapter
from llmagentos.models.blocks import BlockPool, beginning
from llmagentos.models.decoder import Decoder
from llmagentos.models.jobs import SHARE_FROM, Drawn, Job, Work, adapter_runs, masks
from llmagentos.models.kv_cache import common_prefix
from llmagentos.models.native.bindings import MOST_GROUP, MOST_HEAD, SPAN, Batch, Cache, Run
from llmagentos.models.native.weights import NativeAdapter, NativeModel
from llmagentos.models.sampling import draw, uniform

MOST_TOKENS = 96_000
"""Most tokens of the whole cache; 4.4 GB of addresses for the default model, of which only what is used is taken."""
SHARE_OF_MEMORY = 0.3
"""Largest part of the memory that is free at the start which keys and values may take."""
KEPT_ADAPTERS = 64
"""Adapters that are kept in the kernels' layout, last used first."""


@dataclass(slots=True)
class _Sequence:
    """Where one job's keys and values lie."""

    blocks: list[int]
    digests: list[bytes]
    """One for each full block that was published or found."""
    most: int
    """Blocks that it may need."""
    table: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.table = np.zeros(self.most, dtype=np.int32)
        self.table[: len(self.blocks)] = self.blocks


class NativeSteps:
    """See `jobs.Steps`."""

    checks_guesses = True
    adapter_dtype = torch.float16
    """What is only served is kept in: half of the memory, whose speed is what many adapters at once wait for."""

    def __init__(self, decoder: Decoder, *, prefix_tokens: int) -> None:
        assert decoder.kernels is not None
        self.decoder = decoder
        self._library = decoder.kernels.library
        self._model = NativeModel(decoder)
        config = decoder.config
        lanes = -(-config.head_size // 16) * 16
        self._halves = config.layers * config.kv_heads * 2 * SPAN * lanes
        affordable = int(psutil.virtual_memory().available * SHARE_OF_MEMORY) // (2 * self._halves)
        capacity = max(min(MOST_TOKENS // SPAN, affordable), 1)
        self._blocks = np.zeros(
            (capacity, self._halves), dtype=np.uint16
        )  # fresh pages: memory comes with the first use
        self._pool = BlockPool(capacity, SPAN, most_idle=prefix_tokens // SPAN)
        self._adapters: OrderedDict[int, NativeAdapter] = OrderedDict()
        self._workspace = np.empty(0, dtype=np.float32)

    @staticmethod
    def fits(decoder: Decoder) -> bool:
        """Whether the kernels compute this architecture."""
        config = decoder.config
        group, even = config.heads // config.kv_heads, config.head_size % 2 == 0
        return decoder.kernels is not None and even and config.head_size <= MOST_HEAD and group <= MOST_GROUP

    def place(self, job: Job, running: Collection[Job]) -> bool:
        prompt = job.tokens[:-1]  # the last prompt token is always computed: its logits are needed
        digests = self._pool.digests(prompt, job.owner)
        blocks = self._pool.match(digests)
        known = len(blocks) * SPAN
        tail = prompt[known : known + SPAN]
        source, shared = self._pool.nearest(digests[len(blocks) - 1] if blocks else beginning(job.owner), tail)
        for other in running:
            if other.adapter is not job.adapter:
                continue
            common = common_prefix(other.tokens, prompt)
            if other.prefilling and common >= max(known + shared, other.computed) + SHARE_FROM:
                self._drop(blocks)
                return False
            ready = min(common, other.computed, known + SPAN)
            if ready > known + shared:
                source, shared = other.place.blocks[len(blocks)], ready - known
        most = -(-(len(job.tokens) + job.limit) // SPAN)
        if most - len(blocks) > self._pool.room:
            self._drop(blocks)
            if running:
                return False
            raise MemoryError(
                f"{len(job.tokens) + job.limit} tokens need {most} blocks, and the cache has {self._pool.capacity}; "
                "ask for fewer tokens"
            )
        self._pool.promised += most - len(blocks)
        job.place = _Sequence(blocks, digests[: len(blocks)], most)
        if shared:
            self._copy(source, job.place)
        job.computed = job.cached = known + shared
        return True

    def _copy(self, source: int, sequence: _Sequence) -> None:
        """Begin the sequence's next block with what another block holds."""
        self._pool.use(source)
        block = self._add(sequence)
        self._blocks[block] = self._blocks[source]
        self._pool.release(source)

    def _add(self, sequence: _Sequence) -> int:
        block = self._pool.take()
        self._pool.promised -= 1
        sequence.table[len(sequence.blocks)] = block
        sequence.blocks.append(block)
        return block

    def order(self, job: Job) -> bytes:
        sequence: _Sequence = job.place
        return sequence.table[: len(sequence.blocks)].tobytes()  # those who share blocks stand beside each other

    def step(self, work: Sequence[Work]) -> list[Drawn]:
        for item in work:
            self._make_room(item)
        starts = [item.job.computed for item in work]
        counts = [item.tokens for item in work]
        parts: list[np.ndarray] = []
        for item, start in zip(work, starts, strict=True):
            parts.append(item.job.tokens[start : start + item.count])
            if item.guessed:
                parts.append(np.asarray(item.guessed))
        tokens_N = np.concatenate(parts).astype(np.int32)
        rows_N = np.repeat(np.arange(len(work), dtype=np.int32), counts)
        positions_N = np.concatenate([np.arange(s, s + n, dtype=np.int32) for s, n in zip(starts, counts, strict=True)])
        table = np.zeros((len(work), max(len(item.job.place.blocks) for item in work)), dtype=np.int32)
        for row, item in enumerate(work):
            blocks = item.job.place.blocks
            table[row, : len(blocks)] = item.job.place.table[: len(blocks)]
        firsts = np.cumsum(counts) - counts
        ready = [row for row, item in enumerate(work) if starts[row] + item.count == len(item.job.tokens)]
        ends = [firsts[row] + work[row].count - 1 + i for row in ready for i in range(len(work[row].guessed) + 1)]
        drawn = self._compute(
            tokens_N,
            (table, rows_N, positions_N),
            [(first, after, self._adapter(adapter)) for first, after, adapter in adapter_runs(work)],
            np.asarray(ends, dtype=np.int32),
            [(work[row].job, i) for row in ready for i in range(len(work[row].guessed) + 1)],
        )
        return self._accept(work, drawn)

    def _accept(self, work: Sequence[Work], drawn: Sequence[Drawn]) -> list[Drawn]:
        """What was drawn up to the first guess that was wrong: behind it the sequence is another one."""
        drawn_for: dict[int, list[Drawn]] = {}
        for one in drawn:
            drawn_for.setdefault(id(one.job), []).append(one)
        taken: list[Drawn] = []
        for item in work:
            own = drawn_for.get(id(item.job), [])
            right = 0
            while right < len(item.guessed) and own[right].token == item.guessed[right]:
                right += 1
            taken += own[: right + 1]
            item.job.computed += item.count + right
            self._publish(item.job)
            if item.guessed:
                item.job.lookup.learn(right)
        return taken

    def _compute(
        self,
        tokens_N: np.ndarray,
        places: tuple[np.ndarray, np.ndarray, np.ndarray],
        adapters: list[tuple[int, int, NativeAdapter]],
        ends_M: np.ndarray,
        drawn: list[tuple[Job, int]],
    ) -> list[Drawn]:
        """One step by the kernels; `drawn` says for each end whose it is and how many guesses lie before it."""
        table, rows_N, positions_N = places
        config, count = self.decoder.config, len(drawn)
        jobs = [job for job, _ in drawn]
        runs = (Run * len(adapters))(
            *[Run(first, after, one.rank, one.half, one.pairs) for first, after, one in adapters]
        )
        settings = [job.request.sampling for job in jobs]
        temperature_M = np.array([setting.temperature for setting in settings], dtype=np.float32)
        uniform_M = np.array(
            [
                uniform(setting.seed, len(job.tokens) + before) if setting.temperature > 0 else 0.0
                for setting, (job, before) in zip(settings, drawn, strict=True)
            ]
        )
        chosen_M, logprob_M = np.empty(count, dtype=np.int32), np.empty(count, dtype=np.float32)
        logits_MV = np.empty((count, config.vocabulary), dtype=np.float32)
        allowed = masks(jobs, config.vocabulary)
        batch = Batch(
            tokens=len(tokens_N),
            runs=len(adapters),
            ends=count,
            token_N=tokens_N.ctypes.data,
            run=ctypes.cast(runs, ctypes.POINTER(Run)),
            end_M=ends_M.ctypes.data,
            temperature_M=temperature_M.ctypes.data,
            uniform_M=uniform_M.ctypes.data,
            chosen_M=chosen_M.ctypes.data,
            logprob_M=logprob_M.ctypes.data,
            allowed_MW=None if allowed is None else allowed.ctypes.data,
            logits_MV=logits_MV.ctypes.data,
            cache=Cache(
                self._blocks.ctypes.data,
                self._halves,
                table.ctypes.data,
                table.shape[1],
                rows_N.ctypes.data,
                positions_N.ctypes.data,
                config.heads,
                config.kv_heads,
                config.head_size,
            ),
        )
        needed = self._library.workspace_size(self._model.structure, batch)
        if needed > len(self._workspace):
            self._workspace = np.empty(needed, dtype=np.float32)
        batch.workspace = -(-self._workspace.ctypes.data // 64) * 64
        self._library.decode_step(self._model.structure, batch)
        tokens, logprobs = chosen_M.tolist(), logprob_M.tolist()
        for row, setting in enumerate(settings):
            if setting.temperature > 0 and setting.top_p < 1:
                scaled = torch.from_numpy(logits_MV[row]) / setting.temperature
                normalised = scaled.log_softmax(dim=-1)
                tokens[row] = draw(normalised, setting.top_p, float(uniform_M[row]))
                logprobs[row] = float(normalised[tokens[row]])
        if not np.isfinite(logprobs).all():
            raise RuntimeError("the model's output is not finite")
        return [Drawn(*one) for one in zip(jobs, tokens, logprobs, strict=True)]

    def _make_room(self, item: Work) -> None:
        sequence: _Sequence = item.job.place
        needed = -(-(item.job.computed + item.tokens) // SPAN)
        while len(sequence.blocks) < needed:
            self._add(sequence)

    def _publish(self, job: Job) -> None:
        """Let others find the blocks that have become full."""
        sequence: _Sequence = job.place
        before, full = len(sequence.digests), _sound(job) // SPAN
        if full > before:
            sequence.digests = self._pool.digests(job.tokens[: full * SPAN], job.owner, sequence.digests)
            for index in range(before, full):
                self._publish_block(job, index)

    def _publish_block(self, job: Job, index: int) -> None:
        sequence: _Sequence = job.place
        before = sequence.digests[index - 1] if index else beginning(job.owner)
        tokens = job.tokens[index * SPAN : min((index + 1) * SPAN, _sound(job))]
        self._pool.publish(sequence.blocks[index], job.owner, before, tokens)

    def _adapter(self, adapter: FusedAdapter) -> NativeAdapter:
        known = self._adapters.pop(adapter.serial, None) or NativeAdapter(adapter, self.decoder.config)
        self._adapters[adapter.serial] = known
        while len(self._adapters) > KEPT_ADAPTERS:
            self._adapters.popitem(last=False)
        return known

    def release(self, job: Job, *, keep: bool) -> None:
        sequence: _Sequence = job.place
        if keep:
            self._publish(job)
            if _sound(job) % SPAN:
                self._publish_block(job, _sound(job) // SPAN)
        self._pool.promised -= sequence.most - len(sequence.blocks)
        self._drop(sequence.blocks)
        if not keep:
            self.forget(job.owner)

    def _drop(self, blocks: list[int]) -> None:
        for block in reversed(blocks):  # the end of a chain is given up before its beginning
            self._pool.release(block)

    def forget(self, owner: int) -> None:
        self._pool.forget(owner)
        self._adapters.pop(owner, None)


def _sound(job: Job) -> int:
    """Positions whose keys and values are those of the job's tokens; a reply may end before guesses that were right."""
    return min(job.computed, len(job.tokens))
