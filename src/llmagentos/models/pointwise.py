"""The parts of a block between its products, with gradients written by hand: norm, gated unit, rotary positions.

In: activations of flat tokens. Out: the same as PyTorch's own composition of single operations, in about half the
passes over memory, which is what they cost on a processor.
It does not know layers, adapters or what is trained.

Axes: N flat tokens, H hidden, h heads of queries and keys, D head size, I intermediate.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional


def rms_norm(x_NH: Tensor, weight_H: Tensor, eps: float) -> Tensor:
    """Root mean square norm over the last axis (arXiv 1910.07467, equation 4)."""
    if not torch.is_grad_enabled() or x_NH.dtype is not torch.float32:
        return functional.rms_norm(x_NH, (x_NH.shape[-1],), weight_H, eps)
    return cast("Tensor", _RMSNorm.apply(x_NH, weight_H, eps))  # type: ignore[no-untyped-call]


def gated_unit(gate_up_N2I: Tensor) -> Tensor:
    """`silu(gate) * up` of the fused product's two halves (SwiGLU, arXiv 2002.05202)."""
    if not torch.is_grad_enabled():
        gate, up = gate_up_N2I.chunk(2, dim=-1)
        return functional.silu(gate).mul_(up)
    return cast("Tensor", _GatedUnit.apply(gate_up_N2I))  # type: ignore[no-untyped-call]


def rotate(x_NhD: Tensor, cos_N1D: Tensor, sin_N1D: Tensor) -> Tensor:
    """Rotary positions (arXiv 2104.09864); both tables hold half of D, in the half-rotated order of Llama."""
    if not torch.is_grad_enabled():
        return _turn(x_NhD, cos_N1D, sin_N1D)
    return cast("Tensor", _Rotate.apply(x_NhD, cos_N1D, sin_N1D))  # type: ignore[no-untyped-call]


def _turn(x_NhD: Tensor, cos_N1D: Tensor, sin_N1D: Tensor) -> Tensor:
    first, second = x_NhD.chunk(2, dim=-1)
    out = torch.empty_like(x_NhD, memory_format=torch.contiguous_format)
    left, right = out.chunk(2, dim=-1)
    torch.mul(first, cos_N1D, out=left)
    left.sub_(second * sin_N1D)
    torch.mul(second, cos_N1D, out=right)
    right.add_(first * sin_N1D)
    return out


class _RMSNorm(torch.autograd.Function):
    """Gradient of x only: the weight is frozen."""

    @staticmethod
    def forward(ctx: Any, x_NH: Tensor, weight_H: Tensor, eps: float) -> Tensor:
        norm_N1 = torch.linalg.vector_norm(x_NH, dim=-1, keepdim=True)
        scale_N1 = norm_N1.square_().div_(x_NH.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x_NH, weight_H, scale_N1)
        out: Tensor = (x_NH * scale_N1).mul_(weight_H)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        x_NH, weight_H, scale_N1 = ctx.saved_tensors
        weighted_NH = grads[0] * weight_H
        along_N1 = (weighted_NH * x_NH).sum(dim=-1, keepdim=True).mul_(scale_N1.pow(3)).div_(x_NH.shape[-1])
        return weighted_NH.mul_(scale_N1).sub_(x_NH * along_N1), None, None


class _GatedUnit(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate_up_N2I: Tensor) -> Tensor:
        gate, up = gate_up_N2I.chunk(2, dim=-1)
        ctx.save_for_backward(gate_up_N2I)
        return functional.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (gate_up_N2I,) = ctx.saved_tensors
        gate, up = gate_up_N2I.chunk(2, dim=-1)
        out = torch.empty_like(gate_up_N2I)
        d_gate, d_up = out.chunk(2, dim=-1)
        sigmoid = torch.sigmoid(gate)
        torch.mul(gate, sigmoid, out=d_up)  # silu(gate), used twice
        # silu'(g) = s + silu(g) (1 - s)
        torch.addcmul(d_up, d_up, sigmoid, value=-1, out=d_gate)
        d_gate.add_(sigmoid).mul_(up).mul_(grads[0])
        d_up.mul_(grads[0])
        return out


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_NhD: Tensor, cos_N1D: Tensor, sin_N1D: Tensor) -> Tensor:
        ctx.save_for_backward(cos_N1D, sin_N1D)
        return _turn(x_NhD, cos_N1D, sin_N1D)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        cos_N1D, sin_N1D = ctx.saved_tensors
        return _turn(grads[0], cos_N1D, -sin_N1D), None, None
