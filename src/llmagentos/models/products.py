"""Frozen matrix products, laid out as the processor likes them: plain, packed, or in eight bits.

In: a weight, and for eight bits how large its inputs get. Out: `x W^T + b` and the gradient of x.
It does not know which layer it serves, nor adapters: they stay in full precision beside it.

Axes: N rows, I inputs, O outputs.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from llmagentos.errors import ConfigError
from llmagentos.models.eight_bits import whole_weight
from llmagentos.models.native.bindings import Product
from llmagentos.models.native.products import KernelProduct, Kernels

Precision: TypeAlias = Literal["auto", "fp32", "bf16", "int8"]
"""`int8`: weights and inputs of the frozen products in eight bits, everything else in fp32."""

PACK_ROWS = 32
"""Rows that the packed layouts are made for; they serve any number."""


class Int8Product:
    """`x W^T + b` with eight-bit weights and inputs and exact integer sums (W8A8 on AVX-512 VNNI or AMX).

    A weight has one scale for each output, an input one for each row, found anew at every call (per-token dynamic
    quantisation, ZeroQuant, arXiv 2206.01861). Columns in which inputs get large are divided by `smooth_I` and the
    weight multiplied with it (SmoothQuant, arXiv 2211.10438, equation 3), which moves the difficulty into the weight.
    Since the sums are exact, a row's result does not depend on the rows beside it.
    """

    __slots__ = ("_bias_O", "_inverse_I", "_packed", "_scale_O", "_zeros_O")

    def __init__(self, weight_OI: Tensor, smooth_I: Tensor | None = None, bias_O: Tensor | None = None) -> None:
        whole_OI, self._scale_O = whole_weight(weight_OI, smooth_I)
        self._inverse_I = None if smooth_I is None else smooth_I.reciprocal()
        self._bias_O = bias_O
        self._packed = torch.ops.onednn.qlinear_prepack(whole_OI, [PACK_ROWS, whole_OI.shape[1]])
        self._zeros_O = torch.zeros(whole_OI.shape[0], dtype=torch.int64)

    def __call__(self, x_NI: Tensor) -> Tensor:
        """The product in fp32, no gradient recorded."""
        smoothed = x_NI if self._inverse_I is None else x_NI * self._inverse_I
        # Two reductions, because PyTorch's infinity norm takes five times as long.
        peak_N1 = torch.maximum(smoothed.amax(dim=1, keepdim=True), smoothed.amin(dim=1, keepdim=True).neg_())
        scale_N1 = peak_N1.div_(127).clamp_(min=1e-30)
        # oneDNN's fast kernel takes unsigned inputs: 128 stands for zero. PyTorch casts to signed bytes four times as
        # fast as to unsigned ones, and flipping the highest bit adds the 128.
        whole = smoothed.mul(scale_N1.reciprocal()).round_().to(torch.int8).view(torch.uint8).bitwise_xor_(128)
        out: Tensor = torch.ops.onednn.qlinear_pointwise(
            whole, 1.0, 128, self._packed, self._scale_O, self._zeros_O, None, 1.0, 0, torch.float32, "none", [], ""
        )
        out.mul_(scale_N1)
        return out if self._bias_O is None else out.add_(self._bias_O)


class PackedLinear:
    """A frozen matrix product, with its weight also laid out as oneDNN likes it where that is to be had.

    The layout saves the packing that a plain product repeats at every call: in fp32 on AVX-512 1.5 to 3 times faster
    for up to 64 rows, 1.2 to 1.6 times for thousands. It costs the weight's memory once more for each direction; in
    eight bits a quarter of it.
    """

    __slots__ = (
        "_backward",
        "_eight_bits",
        "_forward",
        "_frozen",
        "_frozen_backward",
        "_kernels",
        "_sharp",
        "bias",
        "weight_OI",
    )

    def __init__(self, weight_OI: Tensor, bias: Tensor | None = None) -> None:
        self.weight_OI = weight_OI
        self.bias = bias
        self._forward: Tensor | None = None
        self._backward: Tensor | None = None
        self._frozen: Int8Product | KernelProduct | None = None
        self._frozen_backward: Int8Product | KernelProduct | None = None
        self._kernels: Kernels | None = None
        self._sharp = self._eight_bits = False

    @property
    def quantised(self) -> bool:
        """Whether it computes in eight bits."""
        return self._eight_bits

    @property
    def native(self) -> Product:
        """The product as the kernels read it; only where it is theirs."""
        assert isinstance(self._frozen, KernelProduct)
        return self._frozen.product

    @property
    def native_backward(self) -> Product:
        """The transposed product as the kernels read it; only where it was packed for the way back too."""
        assert isinstance(self._frozen_backward, KernelProduct)
        return self._frozen_backward.product

    def quantise(self, smooth_I: Tensor | None = None, *, sharp: bool = False, kernels: Kernels | None = None) -> None:
        """Compute in eight bits from now on (see `Int8Product`), by the `kernels` where there are some.

        `sharp` says that few entries of a row's gradient are large and the rest tiny, as behind a softmax: in eight
        bits those would be lost (cosine with the exact gradient 0.80 instead of 0.99), so it stays in fp32.
        """
        self._kernels, self._eight_bits = kernels, True
        self._frozen = self._product(self.weight_OI, smooth_I, self.bias)
        self._forward, self._sharp = None, sharp

    def hand_over(self, kernels: Kernels) -> None:
        """Let the `kernels` compute, in fp32, from now on."""
        self._kernels, self._eight_bits = kernels, False
        self._frozen = self._product(self.weight_OI, None, self.bias)
        self._forward = None

    def _product(
        self, weight_OI: Tensor, smooth_I: Tensor | None = None, bias_O: Tensor | None = None
    ) -> Int8Product | KernelProduct:
        if self._kernels is None:
            return Int8Product(weight_OI, smooth_I, bias_O)
        if self._eight_bits:
            return KernelProduct.in_eight_bits(self._kernels, weight_OI, smooth_I, bias_O)
        return KernelProduct.in_fp32(self._kernels, weight_OI, bias_O)

    def pack(self, rows: int = PACK_ROWS, *, backward: bool = False) -> None:
        """Prepare the layout for about `rows` rows; `backward` the transposed one that a trainer needs."""
        if self.weight_OI.device.type != "cpu" or not _packs(self.weight_OI.dtype):
            return
        weight = self.weight_OI.detach()
        if self._frozen is not None and not (backward and self._sharp):
            if backward and self._frozen_backward is None:
                self._frozen_backward = self._product(weight.t().contiguous())
        elif backward and self._backward is None:
            self._backward = torch.ops.mkldnn._reorder_linear_weight(weight.t().contiguous(), rows)
        elif not backward and self._forward is None:
            self._forward = torch.ops.mkldnn._reorder_linear_weight(weight, rows)

    def __call__(self, x_NI: Tensor) -> Tensor:
        """`x W^T + b`, no gradient recorded: see `backward` and `FrozenProduct`."""
        if self._frozen is not None:
            return self._frozen(x_NI)
        if self._forward is None or x_NI.shape[0] == 1:  # one row is bound by memory: the plain layout is as good
            return functional.linear(x_NI, self.weight_OI, self.bias)
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x_NI, self._forward, self.bias, "none", [], "")
        return out

    def backward(self, dy_NO: Tensor) -> Tensor:
        """The gradient of the input, `dy W`."""
        if self._frozen_backward is not None:
            return self._frozen_backward(dy_NO)
        if self._backward is None:
            return dy_NO @ self.weight_OI
        dx: Tensor = torch.ops.mkldnn._linear_pointwise(dy_NO.contiguous(), self._backward, None, "none", [], "")
        return dx


class FrozenProduct(torch.autograd.Function):
    """`x W^T + b` whose gradient goes to x alone."""

    @staticmethod
    def forward(ctx: Any, x_NI: Tensor, weight: PackedLinear) -> Tensor:
        ctx.weight = weight
        return weight(x_NI)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return ctx.weight.backward(grads[0]), None


def _packs(dtype: torch.dtype) -> bool:
    """Whether oneDNN has layouts for weights of this type here; for bf16 it wants AVX-512 or AVX-NE-CONVERT."""
    if not torch.backends.mkldnn.is_available():
        return False
    return dtype is not torch.bfloat16 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def has_fast_int8() -> bool:
    """Whether this processor multiplies eight-bit integers natively (AVX-512 VNNI, AMX)."""
    native = getattr(torch.cpu, "_is_vnni_supported", lambda: False)
    return bool(native()) and torch.backends.mkldnn.is_available()


def has_fast_bf16() -> bool:
    """Whether this processor multiplies bf16 natively (AVX-512 BF16, AMX)."""
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return bool(native())


def check_device(device: str) -> None:
    """`ConfigError` for a device that is not known or not there."""
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdecimal()):
        raise ConfigError(f"LLMAGENTOS_DEVICE={device!r} is not known. Choose cpu, cuda, or one of several as cuda:1.")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"LLMAGENTOS_DEVICE={device!r}: PyTorch finds {torch.cuda.device_count()} GPUs here. Use cpu, or look at "
            "the driver and at PyTorch's build with: llmagentos doctor"
        )


def choose_precision(
    asked: str = "auto", device: str = "cpu", *, kernels: bool = False
) -> Literal["fp32", "bf16", "int8"]:
    """What `auto` means here: bf16 on a GPU; on a processor int8 or bf16 where they are native, else fp32.

    With `kernels` int8 is to be had wherever they are (see `native`). `ConfigError` for a precision that is unknown or
    would be computed by a slow or wrong path.
    """
    if asked == "auto":
        if device.startswith("cuda"):
            return "bf16"
        return "int8" if kernels or has_fast_int8() else "bf16" if has_fast_bf16() else "fp32"
    if asked == "int8":
        if device.startswith("cuda") or not (kernels or has_fast_int8()):
            raise ConfigError(
                "int8 needs a processor with AVX-512 VNNI or AMX, or the kernels, which need AVX2 and a C compiler "
                "(llmagentos doctor says what is missing); set LLMAGENTOS_PRECISION=auto to use what there is."
            )
        return "int8"
    if asked in ("fp32", "bf16"):
        return asked  # type: ignore[return-value]
    raise ConfigError(f"LLMAGENTOS_PRECISION={asked!r} is not known. Choose auto, fp32, bf16 or int8.")
