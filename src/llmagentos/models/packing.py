"""Training on token sequences without padding and without computing a shared prefix twice.

In: sequences of tokens. Out: a tree of segments, flat tokens with positions, and attention in which each segment sees
its ancestors and its own past. Gradients flow through shared prefixes exactly as through separate copies.
It does not know losses, adapters or where the sequences come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from llmagentos.models.decoder import DecoderConfig
from llmagentos.models.kv_cache import common_prefix, grouped_attention

MIN_SHARED = 8
"""A shared prefix of fewer tokens is cheaper to compute again than to attend to as a segment of its own."""


@dataclass(slots=True)
class _Node:
    start: int
    """Position of its first token in its sequences."""
    tokens: np.ndarray
    parent: int
    offset: int
    """Place of its first token among the flat tokens."""


@dataclass(frozen=True, slots=True)
class PackedTree:
    """Sequences packed for one forward pass."""

    tokens_N: Tensor
    positions_N: Tensor
    index: tuple[np.ndarray, ...]
    """For each sequence, the flat place of each of its tokens."""
    nodes: tuple[_Node, ...]

    @property
    def saved(self) -> int:
        """Tokens that did not have to be computed because they are shared."""
        return sum(len(places) for places in self.index) - len(self.tokens_N)


def pack(sequences: Sequence[Sequence[int]], *, device: torch.device | None = None) -> PackedTree:
    """Pack sequences (each of at least one token) into a tree of shared prefixes."""
    arrays = [np.asarray(sequence, dtype=np.int64) for sequence in sequences]
    order = sorted(range(len(arrays)), key=lambda i: arrays[i].tolist())
    nodes: list[_Node] = []
    index = [np.empty(len(array), dtype=np.int64) for array in arrays]
    pending: list[tuple[list[int], int, int]] = [(order, 0, -1)]
    flat = 0
    while pending:
        members, start, parent = pending.pop()
        for group in _groups(arrays, members, start):
            shared = min(len(arrays[i]) for i in group)
            if len(group) > 1:
                shared = min(shared, common_prefix(arrays[group[0]], arrays[group[-1]]))
            tokens = arrays[group[0]][start:shared]
            for i in group:
                index[i][start:shared] = np.arange(flat, flat + len(tokens))
            nodes.append(_Node(start, tokens, parent, flat))
            flat += len(tokens)
            rest = [i for i in group if len(arrays[i]) > shared]
            if rest:
                pending.append((rest, shared, len(nodes) - 1))
    positions = np.concatenate([np.arange(node.start, node.start + len(node.tokens)) for node in nodes])
    return PackedTree(
        torch.from_numpy(np.concatenate([node.tokens for node in nodes])).to(device),
        torch.from_numpy(positions).to(device),
        tuple(index),
        tuple(nodes),
    )


def _groups(arrays: list[np.ndarray], members: list[int], start: int) -> list[list[int]]:
    """Sorted sequences cut where neighbours share fewer than `MIN_SHARED` tokens after `start`."""
    groups = [[members[0]]]
    for i in members[1:]:
        first = arrays[groups[-1][0]]
        if common_prefix(first, arrays[i]) - start >= MIN_SHARED:
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


class TreeAttention:
    """Attention over a packed tree (see `decoder.Attend`)."""

    def __init__(self, tree: PackedTree, config: DecoderConfig, dtype: torch.dtype = torch.float32) -> None:
        groups = config.heads // config.kv_heads
        device = tree.tokens_N.device
        self._sizes = [len(node.tokens) for node in tree.nodes]
        self._chains: list[list[int]] = []
        self._masks: list[Tensor] = []
        for number, node in enumerate(tree.nodes):
            self._chains.append([*(self._chains[node.parent] if node.parent >= 0 else []), number])
            query = torch.arange(node.start, node.start + len(node.tokens), device=device).unsqueeze(1)
            hidden = torch.arange(node.start + len(node.tokens), device=device).unsqueeze(0) > query
            mask = torch.zeros(hidden.shape, dtype=dtype, device=device).masked_fill_(hidden, float("-inf"))
            self._masks.append(mask.repeat(groups, 1))

    def __call__(self, layer: int, q_NQD: Tensor, k_NKD: Tensor, v_NKD: Tensor) -> Tensor:
        """Each segment attends to its ancestors and its own past."""
        # Split once: the gradient of a split is one concatenation, that of a slice is a tensor of zeros each.
        queries, keys, values = (tensor.split(self._sizes) for tensor in (q_NQD, k_NKD, v_NKD))
        parts = []
        for query, chain, mask in zip(queries, self._chains, self._masks, strict=True):
            key = torch.cat([keys[i] for i in chain]) if len(chain) > 1 else keys[chain[0]]
            value = torch.cat([values[i] for i in chain]) if len(chain) > 1 else values[chain[0]]
            parts.append(grouped_attention(query, key.transpose(0, 1), value.transpose(0, 1), mask))
        return torch.cat(parts)
