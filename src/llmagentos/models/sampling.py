"""Drawing tokens: counter-based, so that a draw depends on (seed, position) and never on the batch around it.

In: logits of one step, one row a request. Out: a token and its log-probability for each row.
It does not know sequences, stops or engines.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from llmagentos.records.generation import Sampling

_MASK = (1 << 64) - 1


def uniform(seed: int, position: int) -> float:
    """A number in [0, 1) from a counter: SplitMix64 (Steele et al. 2014) over seed and position."""
    state = (seed * 0x9E3779B97F4A7C15 + (position + 1) * 0xD1B54A32D192ED03) & _MASK
    for multiplier in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB):
        state = ((state ^ (state >> 30)) * multiplier) & _MASK
    state ^= state >> 31
    return (state >> 11) / float(1 << 53)


def sample(logits_NV: Tensor, settings: list[Sampling], positions: list[int]) -> tuple[list[int], list[float]]:
    """One token a row and its natural log-probability under the tempered distribution before top-p.

    Temperature 0 takes the best token and reports its log-probability at temperature 1. A uniform number is mapped
    through the inverse of the cumulative distribution, in token order (with top-p: most likely first).
    """
    temperatures = torch.tensor(
        [setting.temperature if setting.temperature > 0 else 1.0 for setting in settings],
        dtype=logits_NV.dtype,
        device=logits_NV.device,
    )
    scaled = logits_NV / temperatures.unsqueeze(1)
    normaliser = scaled.logsumexp(dim=-1)
    best = scaled.argmax(dim=-1)
    chosen = best.tolist()
    for row, setting in enumerate(settings):
        if setting.temperature > 0:
            chosen[row] = draw(scaled[row] - normaliser[row], setting.top_p, uniform(setting.seed, positions[row]))
    index = torch.tensor(chosen, device=logits_NV.device).unsqueeze(1)
    logprobs = (scaled.gather(1, index).squeeze(1) - normaliser).tolist()
    return chosen, logprobs


def draw(logprob_V: Tensor, top_p: float, u: float) -> int:
    """The token at `u` in [0, 1) of the cumulative distribution."""
    if top_p >= 1.0:
        cumulative = np.cumsum(logprob_V.exp().cpu().numpy(), dtype=np.float64)
        return min(int(np.searchsorted(cumulative, u * cumulative[-1], side="right")), len(cumulative) - 1)
    ordered, order = logprob_V.exp().double().sort(descending=True)
    cumulative_V = ordered.cumsum(0)
    keep = min(int((cumulative_V < top_p).sum()) + 1, len(order))  # rounding may leave the whole sum below top_p
    at = int(torch.searchsorted(cumulative_V[:keep], u * float(cumulative_V[keep - 1]), right=True))
    return int(order[min(at, keep - 1)])
