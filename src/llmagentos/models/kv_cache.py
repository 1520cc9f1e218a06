"""Keys and values that are computed once: rows of running requests and prefixes kept after them.

In: keys and values of flat tokens, written row by row. Out: attention over each row's history, and longest known
prefixes of new prompts, copied instead of computed.
It does not know sampling, requests or what the tokens mean.

Axes: R rows, T positions, K key-value heads, G query heads per key-value head, D head size, L layers.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from llmagentos.models.decoder import DecoderConfig


class RowCache:
    """Preallocated keys and values of the running rows; grows in length when a row needs it."""

    def __init__(self, config: DecoderConfig, rows: int, *, dtype: torch.dtype, device: torch.device) -> None:
        self.config, self.rows = config, rows
        self._options = {"dtype": dtype, "device": device}
        self.length = 0
        self.kv: Tensor = torch.empty(0)
        self.reserve(256)

    def reserve(self, length: int) -> None:
        """Make room for `length` positions a row, keeping what is there."""
        if length <= self.length:
            return
        rounded = min(-(-length // 64) * 64, max(self.config.window, length))
        config = self.config
        shape = (config.layers, 2, self.rows, config.kv_heads, rounded, config.head_size)
        grown = torch.zeros(shape, **self._options)  # type: ignore[call-overload]  # zeros: masked positions must not be NaN
        if self.length:
            grown[..., : self.length, :] = self.kv
        self.kv, self.length = grown, rounded

    def store(self, row: int, start: int, kv_L2KTD: Tensor) -> None:
        """Copy a prefix's keys and values into a row."""
        self.kv[:, :, row, :, start : start + kv_L2KTD.shape[-2]] = kv_L2KTD

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of one row into another."""
        self.kv[:, :, target, :, :length] = self.kv[:, :, source, :, :length]

    def take(self, row: int, length: int) -> Tensor:
        """A copy of the first `length` positions of a row, [L, 2, K, T, D]."""
        return self.kv[:, :, row, :, :length].clone()


@dataclass(frozen=True, slots=True)
class Span:
    """What one row computes in a step: `count` tokens from position `start`."""

    row: int
    start: int
    count: int


class StepAttention:
    """Attention of one step over the cache: single-token rows in one call, longer spans one by one."""

    def __init__(self, cache: RowCache, spans: Sequence[Span]) -> None:
        self.cache = cache
        config, device = cache.config, cache.kv.device
        self.groups = config.heads // config.kv_heads
        singles = [(offset, span) for offset, span in _offsets(spans) if span.count == 1]
        self.chunks = [(offset, span) for offset, span in _offsets(spans) if span.count > 1]
        self.masks = [self._chunk_mask(span) for _, span in self.chunks]
        self.single_offsets = torch.tensor([offset for offset, _ in singles], dtype=torch.long, device=device)
        self.single_rows = torch.tensor([span.row for _, span in singles], dtype=torch.long, device=device)
        self.single_starts = torch.tensor([span.start for _, span in singles], dtype=torch.long, device=device)
        self.height = int(self.single_rows.max()) + 1 if singles else 0
        self.reach = int(self.single_starts.max()) + 1 if singles else 0
        self.single_mask = self._single_mask() if singles else None

    def _single_mask(self) -> Tensor:
        lengths = torch.zeros(self.height, dtype=torch.long, device=self.single_rows.device)
        lengths[self.single_rows] = self.single_starts + 1
        positions = torch.arange(self.reach, device=lengths.device)
        visible = positions < lengths.clamp(min=1).unsqueeze(1)
        mask = torch.zeros(visible.shape, dtype=self.cache.kv.dtype, device=lengths.device)
        return mask.masked_fill_(~visible, float("-inf")).view(self.height, 1, 1, self.reach)

    def _chunk_mask(self, span: Span) -> Tensor:
        device = self.cache.kv.device
        query = torch.arange(span.start, span.start + span.count, device=device).unsqueeze(1)
        visible = torch.arange(span.start + span.count, device=device).unsqueeze(0) <= query
        return visible.repeat(self.groups, 1)

    def __call__(self, layer: int, q_NQD: Tensor, k_NKD: Tensor, v_NKD: Tensor) -> Tensor:
        """Write this step's keys and values, then attend (see `decoder.Attend`)."""
        keys, values = self.cache.kv[layer, 0], self.cache.kv[layer, 1]
        out = torch.empty_like(q_NQD)
        for (offset, span), mask in zip(self.chunks, self.masks, strict=True):
            here, end = slice(offset, offset + span.count), span.start + span.count
            keys[span.row, :, span.start : end] = k_NKD[here].transpose(0, 1)
            values[span.row, :, span.start : end] = v_NKD[here].transpose(0, 1)
            out[here] = grouped_attention(q_NQD[here], keys[span.row, :, :end], values[span.row, :, :end], mask)
        if self.single_mask is not None:
            self._attend_singles(q_NQD, k_NKD, v_NKD, (keys, values), out)
        return out

    def _attend_singles(
        self, q_NQD: Tensor, k_NKD: Tensor, v_NKD: Tensor, cached: tuple[Tensor, Tensor], out: Tensor
    ) -> None:
        keys, values = cached
        rows, at = self.single_rows, self.single_starts
        keys[rows, :, at] = k_NKD[self.single_offsets]
        values[rows, :, at] = v_NKD[self.single_offsets]
        config = self.cache.config
        q_RKGD = q_NQD.new_zeros(self.height, config.kv_heads, self.groups, config.head_size)
        q_RKGD[rows] = q_NQD[self.single_offsets].unflatten(1, (config.kv_heads, self.groups))
        context = functional.scaled_dot_product_attention(
            q_RKGD, keys[: self.height, :, : self.reach], values[: self.height, :, : self.reach], self.single_mask
        )
        out[self.single_offsets] = context[rows].flatten(1, 2)


def grouped_attention(q_nQD: Tensor, k_KTD: Tensor, v_KTD: Tensor, mask_GnT: Tensor) -> Tensor:
    """Attention of n queries over T keys without repeating keys for the query heads that share them; [n, Q, D].

    `mask_GnT` is the n x T visibility repeated for the G query heads of a group, [G * n, T].
    """
    n, kv_heads = q_nQD.shape[0], k_KTD.shape[0]
    groups = q_nQD.shape[1] // kv_heads
    q = q_nQD.unflatten(1, (kv_heads, groups)).permute(1, 2, 0, 3).reshape(1, kv_heads, groups * n, -1)
    out = functional.scaled_dot_product_attention(q, k_KTD.unsqueeze(0), v_KTD.unsqueeze(0), mask_GnT)
    return out.view(kv_heads, groups, n, -1).permute(2, 0, 1, 3).reshape(n, kv_heads * groups, -1)


def _offsets(spans: Sequence[Span]) -> list[tuple[int, Span]]:
    placed, offset = [], 0
    for span in spans:
        placed.append((offset, span))
        offset += span.count
    return placed


class PrefixStore:
    """Prefixes of finished requests, least recently used first out, each valid for one adapter only."""

    def __init__(self, budget_tokens: int) -> None:
        self.budget_tokens = budget_tokens
        self.tokens = 0
        self._entries: OrderedDict[int, tuple[np.ndarray, int, Tensor]] = OrderedDict()
        self._next = 0

    def put(self, tokens: np.ndarray, adapter: int, kv_L2KTD: Tensor) -> None:
        """Keep a prefix; older ones leave when the budget is passed. One that it extends is replaced."""
        for key, (known, owner, _) in list(self._entries.items()):
            if owner == adapter and len(known) <= len(tokens) and common_prefix(known, tokens) == len(known):
                self._drop(key)
        self._entries[self._next] = (tokens, adapter, kv_L2KTD)
        self._next += 1
        self.tokens += len(tokens)
        while self.tokens > self.budget_tokens and self._entries:
            self._drop(next(iter(self._entries)))

    def longest(self, tokens: np.ndarray, adapter: int) -> tuple[int, Tensor | None]:
        """The longest kept prefix of `tokens` under this adapter: its length and keys and values, or 0 and None."""
        best, best_key = 0, -1
        for key, (known, owner, _) in self._entries.items():
            if owner == adapter and known[0] == tokens[0]:
                shared = common_prefix(known, tokens)
                if shared > best:
                    best, best_key = shared, key
        if best == 0:
            return 0, None
        self._entries.move_to_end(best_key)
        return best, self._entries[best_key][2]

    def forget(self, adapter: int) -> None:
        """Drop every prefix of an adapter that is no longer served."""
        for key in [key for key, (_, owner, _) in self._entries.items() if owner == adapter]:
            self._drop(key)

    def _drop(self, key: int) -> None:
        self.tokens -= len(self._entries.pop(key)[0])


def common_prefix(first: np.ndarray, second: np.ndarray) -> int:
    """How many leading tokens two sequences share."""
    n = min(len(first), len(second))
    different = first[:n] != second[:n]
    at = int(different.argmax()) if n else 0
    return at if n and different[at] else n
