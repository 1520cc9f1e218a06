"""Frozen products in eight bits: near the exact ones, alike whatever lies beside a row, gradients included."""

from __future__ import annotations

from typing import cast

import pytest
import torch

from llmagentos.errors import ConfigError
from llmagentos.models import products
from llmagentos.models.native.products import KernelProduct, Kernels
from llmagentos.models.products import PackedLinear, choose_precision, has_fast_int8

INPUTS, OUTPUTS = 96, 160


@pytest.fixture(params=["by the kernels", "by PyTorch"])
def kernels_or_none(request: pytest.FixtureRequest) -> Kernels | None:
    """Both ways to compute in eight bits, where this processor has them."""
    if request.param == "by the kernels":
        return cast("Kernels", request.getfixturevalue("kernels"))
    if not has_fast_int8():
        pytest.skip("this processor has no AVX-512 VNNI or AMX")
    return None


def made(*, bias: bool = False, outliers: bool = False) -> tuple[PackedLinear, torch.Tensor]:
    torch.manual_seed(0)
    x = torch.randn(33, INPUTS)
    if outliers:
        x[:, ::17] *= 40
    return PackedLinear(torch.randn(OUTPUTS, INPUTS) * 0.1, torch.randn(OUTPUTS) if bias else None), x


def error(got: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((got - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("bias", [False, True])
def test_eight_bits_are_near_the_exact_product(bias: bool, kernels_or_none: Kernels | None) -> None:
    product, x = made(bias=bias)
    exact = product(x)
    product.quantise(kernels=kernels_or_none)
    assert product.quantised
    assert 0 < error(product(x), exact) < 0.012


def test_smoothing_keeps_small_inputs_beside_large_ones(kernels_or_none: Kernels | None) -> None:
    product, x = made(outliers=True)
    exact = product(x)
    product.quantise(kernels=kernels_or_none)
    plain = error(product(x), exact)
    product.quantise(x.abs().amax(dim=0).sqrt(), kernels=kernels_or_none)
    assert error(product(x), exact) < 0.6 * plain


def test_a_row_does_not_depend_on_the_rows_beside_it(kernels_or_none: Kernels | None) -> None:
    product, x = made()
    product.quantise(kernels=kernels_or_none)
    together = product(x)
    for rows in (slice(0, 1), slice(5, 9), slice(20, 33)):
        assert torch.equal(product(x[rows].contiguous()), together[rows])


@pytest.mark.parametrize("bias", [False, True])
def test_rows_of_any_number_are_bit_by_bit_those_computed_alone(bias: bool, kernels: Kernels) -> None:
    torch.manual_seed(1)
    weight, x = torch.randn(203, 330), torch.randn(131, 330)  # neither fills whole blocks, tiles or registers
    product = KernelProduct.in_eight_bits(kernels, weight, bias_O=torch.randn(203) if bias else None)
    alone = torch.cat([product(row[None]) for row in x])
    for rows in (*range(2, 20), 31, 32, 33, 47, 48, 49, 63, 64, 65, 96, 128, 131):
        assert torch.equal(product(x[:rows].contiguous()), alone[:rows]), rows


@pytest.mark.parametrize("sharp", [False, True])
def test_gradient_is_near_the_exact_one_also_of_strided_input(sharp: bool, kernels_or_none: Kernels | None) -> None:
    product, _ = made()
    dy = torch.randn(OUTPUTS, 33).t()
    exact = dy @ product.weight_OI
    product.quantise(sharp=sharp, kernels=kernels_or_none)
    product.pack(backward=True)
    assert error(product.backward(dy), exact) < (1e-5 if sharp else 0.012)


def test_rows_of_zeros_and_huge_rows_stay_finite(kernels_or_none: Kernels | None) -> None:
    product, x = made()
    product.quantise(kernels=kernels_or_none)
    x[3], x[4] = 0.0, 1e30
    out = product(x)
    assert torch.equal(out[3], torch.zeros(OUTPUTS))
    assert bool(torch.isfinite(out).all())


def test_precision_is_chosen_by_what_the_processor_has(monkeypatch: pytest.MonkeyPatch) -> None:
    for int8, bf16, wanted in ((True, True, "int8"), (False, True, "bf16"), (False, False, "fp32")):
        monkeypatch.setattr(products, "has_fast_int8", lambda int8=int8: int8)
        monkeypatch.setattr(products, "has_fast_bf16", lambda bf16=bf16: bf16)
        assert choose_precision() == wanted
        assert choose_precision(kernels=True) == "int8"
    assert choose_precision("auto", "cuda:0") == "bf16"
    assert choose_precision("fp32") == "fp32"
    with pytest.raises(ConfigError, match="int8 needs"):
        choose_precision("int8")
    assert choose_precision("int8", kernels=True) == "int8"
    with pytest.raises(ConfigError, match="int8 needs"):
        choose_precision("int8", "cuda:0", kernels=True)
    with pytest.raises(ConfigError, match="fp16"):
        choose_precision("fp16")
