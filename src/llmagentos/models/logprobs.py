"""What a model expects after every token of whole sequences, and how far two such expectations lie apart.

In: a decoder, packed sequences, an adapter on it. Out: log-probabilities over the vocabulary; a divergence.
It does not know which adapter is being trained or judged.
"""

from __future__ import annotations

import torch
from torch import Tensor

from llmagentos.models.adapters import BatchAdapters, FusedAdapter
from llmagentos.models.decoder import Decoder
from llmagentos.models.packing import PackedTree, TreeAttention


@torch.no_grad()
def next_logprobs(
    decoder: Decoder, tree: PackedTree, adapter: FusedAdapter | None, rows_M: Tensor | None = None
) -> Tensor:
    """Log-probabilities [M, V] of what follows the tokens at `rows_M` of `tree`, of all without; no gradients.

    `adapter` is None for the bare base.
    """
    adapters = BatchAdapters([(0, len(tree.tokens_N), adapter)]) if adapter is not None else None
    attention = TreeAttention(tree, decoder.config, decoder.dtype)
    hidden_NH = decoder.hidden(tree.tokens_N, tree.positions_N, attention, adapters)
    return decoder.logits(hidden_NH if rows_M is None else hidden_NH[rows_M.to(hidden_NH.device)]).log_softmax(-1)


def mean_divergence(new_MV: Tensor, old_MV: Tensor) -> Tensor:
    """Mean KL(new || old) in nats a place, of log-probabilities [M, V]."""
    return (new_MV.exp() * (new_MV - old_MV)).sum(-1).mean()
