"""Both passes of a training step by the kernels: hidden states with a gradient that reaches the adapter's factors.

In: a packed tree of sequences and the factors that are trained. Out: the hidden states that are asked for, bit by bit
those of the steps that sampled them. It does not know losses or optimisers.

Axes: N flat tokens, M places whose hidden state is asked for, H hidden.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import psutil
import torch
from torch import Tensor

from llmagentos.errors import LearningError
from llmagentos.models.decoder import GROUPS, Decoder
from llmagentos.models.native.bindings import MOST_LAYERS, MOST_QUERIES, Factors, Piece, Product, Segment, Training
from llmagentos.models.native.steps import NativeSteps
from llmagentos.models.native.weights import NativeModel
from llmagentos.models.packing import PackedTree

Pairs = Mapping[tuple[int, str], Sequence[Tensor]]
"""(layer, group) -> A [R, I], B [O, R]."""


@dataclass(slots=True)
class _Pass:
    """One way forward, waiting for its way back."""

    training: Training
    workspace: Tensor
    factors: Any
    pairs: Pairs
    held: tuple[Any, ...]
    """What else the structure points to."""


@dataclass(slots=True)
class NativeTraining:
    """Computes for one decoder; workspaces are kept for the next step."""

    decoder: Decoder
    most_bytes: int | None = None
    """Memory of a step from which on activations are computed again instead of kept; None for half of what is free."""
    model: NativeModel = field(init=False)
    _backward: Any = field(init=False)
    _free: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.model = NativeModel(self.decoder)
        products = [layer.products[group].native_backward for layer in self.decoder.layers for group in GROUPS]
        self._backward = (Product * len(products))(*products)

    @staticmethod
    def fits(decoder: Decoder) -> bool:
        """Whether the kernels train this architecture."""
        return NativeSteps.fits(decoder) and decoder.config.layers <= MOST_LAYERS

    def hidden(self, tree: PackedTree, places_M: np.ndarray, pairs: Pairs, rank: int, scale: float) -> Tensor:
        """Final normed hidden states [M, H] at flat places, with a gradient where one is recorded."""
        flat = [tensor for pair in pairs.values() for tensor in pair]
        asked = (self, tree, places_M, list(pairs), rank, scale)
        return cast("Tensor", _Hidden.apply(asked, *flat))  # type: ignore[no-untyped-call]

    def forward(
        self,
        tree: PackedTree,
        places_M: np.ndarray,
        pairs: Pairs,
        rank: int,
        scale: float,
    ) -> tuple[Tensor, _Pass]:
        config = self.decoder.config
        tokens_N, positions_N = (t.to(torch.int32).contiguous() for t in (tree.tokens_N, tree.positions_N))
        ends_M = places_M.astype(np.int32)
        pieces, segments, longest = _pieces(tree)
        factors = (Factors * (config.layers * len(GROUPS)))()
        for (layer, group), (a, b) in pairs.items():
            factors[layer * len(GROUPS) + GROUPS.index(group)] = Factors(a.data_ptr(), b.data_ptr())
        hidden_MH = torch.empty(len(ends_M), config.hidden)
        training = Training(
            tokens=len(tokens_N),
            ends=len(ends_M),
            pieces=len(pieces),
            rank=rank if pairs else 0,
            longest=longest,
            scale=scale,
            token_N=tokens_N.data_ptr(),
            position_N=positions_N.data_ptr(),
            end_M=ends_M.ctypes.data,
            piece=ctypes.cast(pieces, ctypes.POINTER(Piece)),
            segment=ctypes.cast(segments, ctypes.POINTER(Segment)),
            factors=ctypes.cast(factors, ctypes.POINTER(Factors)),
            backward=ctypes.cast(self._backward, ctypes.POINTER(Product)),
            hidden_MH=hidden_MH.data_ptr(),
        )
        workspace = self._workspace(self._size(training))
        training.workspace = -(-workspace.data_ptr() // 64) * 64
        self._library.train_forward(self.model.structure, training)
        held = (tokens_N, positions_N, ends_M, pieces, segments)
        return hidden_MH, _Pass(training, workspace, factors, pairs, held)

    def backward(self, passed: _Pass, d_hidden_MH: Tensor) -> dict[tuple[int, str], tuple[Tensor, Tensor]]:
        """Gradients of both factors of every pair; the pass is used up."""
        gradients = {}
        for (layer, group), (a, b) in passed.pairs.items():
            da, db = torch.empty_like(a), torch.empty_like(b)
            at = passed.factors[layer * len(GROUPS) + GROUPS.index(group)]
            at.da_RI, at.db_OR = da.data_ptr(), db.data_ptr()
            gradients[layer, group] = (da, db)
        d_hidden_MH = d_hidden_MH.contiguous()
        passed.training.hidden_MH = d_hidden_MH.data_ptr()
        self._library.train_backward(self.model.structure, passed.training)
        self.finish(passed)
        return gradients

    def finish(self, passed: _Pass) -> None:
        """Give a pass's workspace back."""
        self._free.append(passed.workspace)

    def _size(self, training: Training) -> int:
        """Floats of workspace; decides whether activations are kept. Either way the results are the same bits."""
        free = psutil.virtual_memory().available + sum(4 * len(workspace) for workspace in self._free)
        size = int(self._library.training_size(self.model.structure, training))
        if 4 * size <= (free // 2 if self.most_bytes is None else self.most_bytes):
            return size
        training.recompute = 1
        size = int(self._library.training_size(self.model.structure, training))
        if 4 * size > free:
            raise LearningError(
                f"A training step over {training.tokens:,} tokens needs {4 * size / 1e9:.1f} GB and {free / 1e9:.1f} "
                "GB are free. Learn from fewer or shorter runs a step."
            )
        return size

    def _workspace(self, size: int) -> Tensor:
        """The smallest free one that is large enough; else a new one instead of the largest."""
        self._free.sort(key=len)
        for number, workspace in enumerate(self._free):
            if len(workspace) >= size:
                return self._free.pop(number)
        if self._free:
            self._free.pop()
        return torch.empty(size, dtype=torch.float32)

    @property
    def _library(self) -> ctypes.CDLL:
        assert self.decoder.kernels is not None
        return self.decoder.kernels.library


class _Hidden(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, asked: tuple[Any, ...], *flat: Tensor) -> Tensor:
        native, tree, places_M, keys, rank, scale = asked
        pairs = {key: flat[2 * number : 2 * number + 2] for number, key in enumerate(keys)}
        hidden_MH, passed = native.forward(tree, places_M, pairs, rank, scale)
        if any(ctx.needs_input_grad):
            ctx.native, ctx.passed, ctx.keys = native, passed, keys
        else:
            native.finish(passed)
        return cast("Tensor", hidden_MH)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        passed, ctx.passed = ctx.passed, None
        if passed is None:
            raise RuntimeError("the way back was gone already; a loss is differentiated once")
        gradients = ctx.native.backward(passed, grads[0])
        return (None, *[tensor for key in ctx.keys for tensor in gradients[key]])


def _pieces(tree: PackedTree) -> tuple[Any, Any, int]:
    """Queries in groups, and for each group the segments that lead to its last one."""
    chains: list[list[tuple[int, int]]] = []
    pieces: list[Piece] = []
    segments: list[Segment] = []
    longest = 0
    for node in tree.nodes:
        before = chains[node.parent] if node.parent >= 0 else []
        chains.append([*before, (node.offset, len(node.tokens))])
        for at in range(0, len(node.tokens), MOST_QUERIES):
            count = min(MOST_QUERIES, len(node.tokens) - at)
            pieces.append(Piece(node.offset + at, count, node.start + at, len(segments), len(before) + 1))
            segments += [Segment(*one) for one in before]
            segments.append(Segment(node.offset, at + count))
            longest = max(longest, node.start + at + count)
    return (Piece * len(pieces))(*pieces), (Segment * len(segments))(*segments), longest
