"""Vectors from a decoder: the mean of its last hidden states.

In: token sequences. Out: one unit vector each. It does not know what the vectors are compared for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from llmagentos.errors import EngineError, PromptTooLongError
from llmagentos.models.arithmetic import arithmetic
from llmagentos.models.decoder import Decoder
from llmagentos.models.kv_cache import RowCache, Span, StepAttention


@arithmetic
def embed(decoder: Decoder, sequences: Sequence[tuple[int, ...]]) -> list[list[float]]:
    """Mean-pooled, L2-normalised last hidden state of each sequence; safe beside a running engine."""
    vectors = []
    for tokens in sequences:
        if not tokens:
            raise EngineError("An empty text has no embedding.")
        if len(tokens) > decoder.config.window:
            raise PromptTooLongError(len(tokens), decoder.config.window)
        cache = RowCache(decoder.config, 1, dtype=decoder.dtype, device=decoder.device)
        cache.reserve(len(tokens))
        with torch.inference_mode():
            hidden_NH = decoder.hidden(
                torch.tensor(tokens, device=decoder.device),
                torch.from_numpy(np.arange(len(tokens))).to(decoder.device),
                StepAttention(cache, [Span(0, 0, len(tokens))]),
            )
        vectors.append(torch.nn.functional.normalize(hidden_NH.float().mean(0), dim=0).tolist())
    return vectors
