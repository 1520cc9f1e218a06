"""Products by the kernels, in the eight bits of `products.Int8Product` or in fp32, laid out for `products.h`.

In: a weight. Out: its product with rows of activations. It does not know layers.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
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
class Layout:
    """How weights and eight-bit inputs lie, which depends on the processor."""

    panel: int
    """Outputs whose eight-bit weights lie together."""
    plain_panel: int
    """Outputs whose weights in fp32 lie together."""
    zero: int
    """How a weight of 0 is written: with 128 added or not."""
    input_bytes: int
    """Bytes of an input."""

    def of_whole(self, whole_OI: Tensor) -> Tensor:
        """Whole numbers as the kernels read them: [O / panel, I / 4, panel, 4], padded."""
        outputs, inputs = whole_OI.shape
        shape = (-(-outputs // BLOCK) * BLOCK, -(-inputs // ALIGN) * ALIGN)
        padded = torch.full(shape, self.zero, dtype=torch.uint8)
        padded[:outputs, :inputs] = whole_OI.view(torch.uint8).bitwise_xor(self.zero)
        return padded.view(-1, self.panel, shape[1] // 4, 4).permute(0, 2, 1, 3).contiguous()

    def of_plain(self, weight_OI: Tensor) -> Tensor:
        """Weights in fp32 as the kernels read them: [O / panel, I, panel], padded."""
        outputs, inputs = weight_OI.shape
        padded = torch.zeros(-(-outputs // BLOCK) * BLOCK, inputs)
        padded[:outputs] = weight_OI
        return padded.view(-1, self.plain_panel, inputs).transpose(1, 2).contiguous()


@dataclass(frozen=True, slots=True)
class Kernels:
    """The library, ready to compute."""

    library: ctypes.CDLL
    layout: Layout

    @classmethod
    def load(cls, folder: Path, threads: int) -> Kernels:
        """The kernels from `folder` on this many threads; the first call in a process decides how many."""
        library = declare(load_kernels(folder))
        library.start_threads(threads)
        return cls(
            library, Layout(library.whole_panel(), library.fp32_panel(), library.zero_weight(), library.input_bytes())
        )


class KernelProduct:
    """`x W^T + b`; a row's result depends neither on the rows beside it nor on how many there are."""

    __slots__ = ("_kept", "_kernels", "product")

    def __init__(self, kernels: Kernels, shape: Sequence[int], kept: Sequence[Tensor | None]) -> None:
        """`shape` is that of the weight, [O, I]; `kept` are the tensors of a `bindings.Product` in its order."""
        self._kernels = kernels
        self._kept = kept
        self.product = Product(*(pointer(tensor) for tensor in kept), shape[1], shape[0])

    @classmethod
    def in_eight_bits(
        cls, kernels: Kernels, weight_OI: Tensor, smooth_I: Tensor | None = None, bias_O: Tensor | None = None
    ) -> KernelProduct:
        """Weights and inputs in eight bits (see `products.Int8Product`)."""
        whole_OI, scale_O = whole_weight(weight_OI, smooth_I)
        inverse_I = None if smooth_I is None else smooth_I.reciprocal()
        return cls(
            kernels, weight_OI.shape, (kernels.layout.of_whole(whole_OI), None, scale_O, inverse_I, _as_floats(bias_O))
        )

    @classmethod
    def in_fp32(cls, kernels: Kernels, weight_OI: Tensor, bias_O: Tensor | None = None) -> KernelProduct:
        """Weights and inputs as they are."""
        plain = kernels.layout.of_plain(weight_OI)
        return cls(kernels, weight_OI.shape, (None, plain, None, None, _as_floats(bias_O)))

    def __call__(self, x_NI: Tensor) -> Tensor:
        """The product in fp32, no gradient recorded."""
        x_NI = x_NI.contiguous()
        rows, padded = x_NI.shape[0], -(-self.product.inputs // ALIGN) * ALIGN
        y_NO = x_NI.new_empty(rows, self.product.outputs)
        workspace = torch.empty(rows * (padded * self._kernels.layout.input_bytes + 8), dtype=torch.int8)
        self._kernels.library.multiply(self.product, x_NI.data_ptr(), rows, y_NO.data_ptr(), workspace.data_ptr())
        return y_NO


def _as_floats(bias_O: Tensor | None) -> Tensor | None:
    return None if bias_O is None else bias_O.float().contiguous()
