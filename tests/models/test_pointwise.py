"""Hand-written gradients are those of PyTorch's own composition."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from llmagentos.models.pointwise import gated_unit, rms_norm, rotate

N, H, HEADS, D = 7, 24, 3, 8


def plain_gated(x: Tensor) -> Tensor:
    gate, up = x.chunk(2, dim=-1)
    return functional.silu(gate) * up


def plain_rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    cos, sin = torch.cat([cos, cos], -1), torch.cat([sin, sin], -1)
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], -1) * sin


def case(name: str) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor], Tensor]:
    torch.manual_seed(0)
    weight, angles = torch.randn(H), torch.randn(N, 1, D // 2)
    return {
        "norm": (
            lambda x: rms_norm(x, weight, 1e-5),
            lambda x: functional.rms_norm(x, (H,), weight, 1e-5),
            torch.randn(N, H),
        ),
        "gated": (gated_unit, plain_gated, torch.randn(N, 2 * H)),
        "rotate": (
            lambda x: rotate(x, angles.cos(), angles.sin()),
            lambda x: plain_rotate(x, angles.cos(), angles.sin()),
            torch.randn(N, HEADS, D),
        ),
    }[name]


@pytest.mark.parametrize("name", ["norm", "gated", "rotate"])
def test_value_and_gradient_are_those_of_single_operations(name: str) -> None:
    ours, plain, x = case(name)
    first, second = x.clone().requires_grad_(), x.clone().requires_grad_()
    upstream = torch.randn_like(plain(x))
    (ours(first) * upstream).sum().backward()
    (plain(second) * upstream).sum().backward()
    torch.testing.assert_close(ours(first), plain(second))
    torch.testing.assert_close(first.grad, second.grad)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), plain(x))


@pytest.mark.parametrize("name", ["norm", "gated", "rotate"])
def test_a_part_of_a_wider_tensor_is_computed_alike(name: str) -> None:
    ours, plain, x = case(name)
    wide = torch.cat([x, torch.randn_like(x)], dim=-1)
    part = wide[..., : x.shape[-1]]
    torch.testing.assert_close(ours(part.requires_grad_()), plain(x))
