"""Log-probabilities by PyTorch alone, one sequence at a time, for the tests of gradients."""

from __future__ import annotations

import torch

from llmagentos.learning.trainer import TrainingSequence
from llmagentos.models.decoder import Decoder, LowRank
from llmagentos.models.packing import TreeAttention, pack


def plain_logprobs(decoder: Decoder, adapt: LowRank, sequence: TrainingSequence) -> torch.Tensor:
    """Of a sequence's scored tokens, in order, with the gradients that `adapt` records."""
    tree = pack([sequence.tokens])
    hidden = decoder.hidden(tree.tokens_N, tree.positions_N, TreeAttention(tree, decoder.config), adapt)
    logprobs = torch.nn.functional.linear(hidden, decoder.head.weight_OI).log_softmax(-1)
    return torch.stack([logprobs[place - 1, sequence.tokens[place]] for place in sequence.targets])
