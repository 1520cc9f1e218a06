"""Weights in whole numbers of -127 to 127, as both paths of eight-bit products take them.

In: a weight, and how large its inputs get. Out: whole numbers and what one step of them is worth.
It does not know who multiplies with them.

Axes: I inputs, O outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor


def whole_weight(weight_OI: Tensor, smooth_I: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Int8 [O, I] and the scale [O] of each output, so that `whole * scale` is nearly `weight * smooth`."""
    weight = weight_OI.float() if smooth_I is None else weight_OI.float() * smooth_I
    scale_O = weight.abs().amax(dim=1).clamp_(min=1e-12).div_(127)
    return weight.div(scale_O.unsqueeze(1)).round_().to(torch.int8), scale_O
