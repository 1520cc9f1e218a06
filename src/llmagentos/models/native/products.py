"""Eight-bit products by the kernels: the same scheme as `products.Int8Product`, laid out for `products.h`.

In: a weight. Out: its product with rows of activations. It does not know layers.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from llmagentos.models.eight_bits import whole_weight
from llmagentos.models.native.bindings import BLOCK, Product, declare, pointer
from llmagentos.models.native.library import load_kernels

ALIGN = 64
"""Inputs are padded to a multiple of this many."""


@dataclass(frozen=True, slots=True)
class Kernels:
    """The library, ready to compute."""

    library: ctypes.CDLL
    zero: int
    """How they write an eight-bit weight of 0: with 128 added or not."""

    @classmethod
    def load(cls, folder: Path, threads: int) -> Kernels:
        """The kernels from `folder` on this many threads; the first call in a process decides how many."""
        library = declare(load_kernels(folder))
        library.start_threads(threads)
        return cls(library, library.zero_weight())


class KernelProduct:
    """`x W^T + b` in eight bits (see `products.Int8Product`)."""

    __slots__ = ("_kept", "_kernels", "product")

    def __init__(
        self, kernels: Kernels, weight_OI: Tensor, smooth_I: Tensor | None = None, bias_O: Tensor | None = None
    ) -> None:
        whole_OI, scale_O = whole_weight(weight_OI, smooth_I)
        inverse_I = None if smooth_I is None else smooth_I.reciprocal()
        bias = None if bias_O is None else bias_O.float().contiguous()
        self._kernels = kernels
        self._kept = (lay_out(whole_OI, kernels.zero), scale_O, inverse_I, bias)
        self.product = Product(*(pointer(tensor) for tensor in self._kept), weight_OI.shape[1], weight_OI.shape[0])

    def __call__(self, x_NI: Tensor) -> Tensor:
        """The product in fp32, no gradient recorded."""
        x_NI = x_NI.contiguous()
        rows = x_NI.shape[0]
        y_NO = x_NI.new_empty(rows, self.product.outputs)
        workspace = torch.empty(rows * (-(-self.product.inputs // ALIGN) * ALIGN + 8), dtype=torch.int8)
        self._kernels.library.multiply(self.product, x_NI.data_ptr(), rows, y_NO.data_ptr(), workspace.data_ptr())
        return y_NO


def lay_out(whole_OI: Tensor, zero: int) -> Tensor:
    """Whole numbers as the kernels read them: [O / 64, I / 4, 64, 4] with `zero` (0 or 128) for 0, padded."""
    outputs, inputs = whole_OI.shape
    shape = (-(-outputs // BLOCK) * BLOCK, -(-inputs // ALIGN) * ALIGN)
    padded = torch.full(shape, zero, dtype=torch.uint8)
    padded[:outputs, :inputs] = whole_OI.view(torch.uint8).bitwise_xor(zero)
    return padded.view(shape[0] // BLOCK, BLOCK, shape[1] // 4, 4).permute(0, 2, 1, 3).contiguous()
