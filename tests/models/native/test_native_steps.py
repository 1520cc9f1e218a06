"""The kernels compute what PyTorch does from the same eight-bit weights, and the same in company as alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from decoders import PLAIN, PROMPT, SHAPES, HalfAttention, adapter_for, job, prefill, random_decoder

from llmagentos.models.adapters import BatchAdapters, FusedAdapter
from llmagentos.models.decoder import Decoder
from llmagentos.models.eight_bits import whole_weight
from llmagentos.models.jobs import Work
from llmagentos.models.native.bindings import SPAN
from llmagentos.models.native.products import KernelProduct, Kernels
from llmagentos.models.native.steps import NativeSteps
from llmagentos.models.packing import pack
from llmagentos.models.products import Int8Product, has_fast_int8


def full_pass(decoder: Decoder, prompt: tuple[int, ...], adapter: FusedAdapter | None) -> torch.Tensor:
    """Log-probabilities after the prompt by PyTorch, with the same products one by one."""
    tree = pack([prompt])
    with torch.inference_mode():
        attend = HalfAttention(tree, decoder.config)
        runs = BatchAdapters([(0, len(prompt), adapter)]) if adapter else None
        hidden = decoder.hidden(tree.tokens_N, tree.positions_N, attend, runs)
        return decoder.logits(hidden[-1:]).log_softmax(-1)[0]


@pytest.mark.parametrize("rows", [1, 2, 5, 12, 31, 70])
def test_product_is_that_of_pytorch(kernels: Kernels, rows: int) -> None:
    generator = torch.Generator().manual_seed(rows)
    for outputs, inputs in ((33, 7), (64, 128), (100, 130)):
        weight, x = (torch.randn(n, inputs, generator=generator) for n in (outputs, rows))
        smooth, bias = 1 + torch.rand(inputs, generator=generator), torch.randn(outputs, generator=generator)
        ours = KernelProduct(kernels, weight, smooth, bias)(x)
        torch.testing.assert_close(ours, exact_product(weight, smooth, bias, x), atol=1e-4, rtol=1e-4)
        if has_fast_int8():
            torch.testing.assert_close(ours, Int8Product(weight, smooth, bias)(x), atol=1e-4, rtol=1e-4)


def exact_product(
    weight_OI: torch.Tensor, smooth_I: torch.Tensor, bias_O: torch.Tensor, x_NI: torch.Tensor
) -> torch.Tensor:
    """The scheme of `Int8Product` in whole numbers that cannot overflow."""
    whole_OI, scale_O = whole_weight(weight_OI, smooth_I)
    smoothed_NI = x_NI * smooth_I.reciprocal()
    scale_N1 = smoothed_NI.abs().amax(dim=1, keepdim=True) / 127
    sums_NO = (smoothed_NI * scale_N1.reciprocal()).round().to(torch.int64) @ whole_OI.to(torch.int64).t()
    return sums_NO * scale_N1 * scale_O + bias_O


def test_largest_bytes_do_not_overflow(kernels: Kernels) -> None:
    x, weight = torch.full((3, 64), 5.0), torch.full((70, 64), 2.0)
    weight[1::2] = -2.0
    got = KernelProduct(kernels, weight)(x)
    torch.testing.assert_close(got, x @ weight.t(), atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rank", [0, 3, 16])
def test_every_shape_gives_what_pytorch_gives(kernels: Kernels, shape: str, rank: int) -> None:
    config = SHAPES[shape]
    decoder = random_decoder(config, kernels)
    adapter = adapter_for(config, 1, rank) if rank else None
    assert NativeSteps.fits(decoder)
    drawn = prefill(NativeSteps(decoder, prefix_tokens=64), job(0, PROMPT, adapter))
    expected = full_pass(decoder, PROMPT, adapter)
    assert drawn.logprob == pytest.approx(float(expected[drawn.token]), abs=0.05)
    assert float(expected.max() - expected[drawn.token]) < 0.05  # greedy, up to a rounding that tipped over
    if adapter is not None:
        assert float((full_pass(decoder, PROMPT, None) - expected).abs().max()) > 0.3  # the adapter matters here


def test_result_is_the_same_bit_by_bit_in_pieces_and_in_company(kernels: Kernels) -> None:
    decoder = random_decoder(PLAIN, kernels)
    adapters = [adapter_for(PLAIN, 1, 4), adapter_for(PLAIN, 2, 8)]
    alone = [prefill(NativeSteps(decoder, prefix_tokens=0), job(0, PROMPT, a)).logprob for a in adapters]
    in_pieces = [prefill(NativeSteps(decoder, prefix_tokens=0), job(0, PROMPT, a), at_once=7).logprob for a in adapters]
    assert in_pieces == alone
    together = NativeSteps(decoder, prefix_tokens=0)
    company = [job(n, PROMPT[n:], None) for n in range(2, 20)]
    pair = [job(0, PROMPT, adapters[0]), job(1, PROMPT, adapters[1])]
    for one in (*company, *pair):
        assert together.place(one, [])
    drawn = together.step([Work(one, len(one.tokens)) for one in (*company, *pair)])
    assert [one.logprob for one in drawn[-2:]] == alone


def test_shared_and_copied_blocks_change_nothing(kernels: Kernels) -> None:
    decoder = random_decoder(PLAIN, kernels)
    steps = NativeSteps(decoder, prefix_tokens=1000)
    first = job(0, PROMPT)
    prefill(steps, first)
    beside = job(1, (*PROMPT[:70], 3, 3))
    shared = prefill(steps, beside, [first])
    assert beside.cached == 70  # two blocks shared, six positions copied from a running job's third
    assert shared.logprob == prefill(NativeSteps(decoder, prefix_tokens=0), job(0, (*PROMPT[:70], 3, 3))).logprob
    steps.release(first, keep=True)
    after = job(0, (*PROMPT, 5))
    kept = prefill(steps, after, [beside])
    assert after.cached == len(PROMPT)
    assert kept.logprob == prefill(NativeSteps(decoder, prefix_tokens=0), job(0, (*PROMPT, 5))).logprob


@pytest.mark.parametrize("top_p", [1.0, 0.5])
def test_draws_follow_the_distribution(kernels: Kernels, top_p: float) -> None:
    config = replace(PLAIN, vocabulary=11)
    decoder = random_decoder(config, kernels)
    prompt = tuple(token % 11 for token in PROMPT[:20])
    steps = NativeSteps(decoder, prefix_tokens=1000)
    drawn = []
    for seed in range(600):
        one = job(0, prompt, temperature=1.5, seed=seed, top_p=top_p)
        drawn.append(prefill(steps, one))
        steps.release(one, keep=True)
    expected = (full_pass(decoder, prompt, None) / 1.5).log_softmax(-1)
    for one in drawn[:50]:
        assert one.logprob == pytest.approx(float(expected[one.token]), abs=0.05)
    counts = np.bincount([one.token for one in drawn], minlength=11) / len(drawn)
    likely = expected.exp().numpy()
    if top_p < 1:
        order = np.argsort(-likely)
        kept = order[: int((np.cumsum(likely[order]) < top_p).sum()) + 1]
        likely = np.where(np.isin(np.arange(11), kept), likely, 0) / likely[kept].sum()
    assert np.abs(counts - likely).max() < 0.08  # four standard deviations of 600 draws


def test_jobs_wait_while_there_is_no_room_and_fail_where_there_never_is(
    kernels: Kernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmagentos.models.native.steps.MOST_TOKENS", 4 * SPAN)
    steps = NativeSteps(random_decoder(PLAIN, kernels), prefix_tokens=1000)
    with pytest.raises(MemoryError, match=r"5 blocks.*has 4"):
        steps.place(job(0, PROMPT, max_tokens=4 * SPAN + 1 - len(PROMPT)), [])
    first = job(0, PROMPT)
    prefill(steps, first)
    other = job(1, tuple(reversed(PROMPT[1:74])))
    assert not steps.place(other, [first])
    steps.release(first, keep=True)
    prefill(steps, other)
    assert other.cached == 0


def test_output_that_is_not_finite_is_an_error(kernels: Kernels) -> None:
    decoder = random_decoder(PLAIN, kernels)
    decoder.final_norm_H.fill_(float("nan"))
    with pytest.raises(RuntimeError, match="not finite"):
        prefill(NativeSteps(decoder, prefix_tokens=0), job(0, PROMPT))
