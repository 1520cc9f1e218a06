"""The kernels compute what PyTorch does from the same eight-bit weights, and the same in company as alone."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from llmagentos.models.adapters import BatchAdapters, FusedAdapter, block_mask, new_adapter
from llmagentos.models.decoder import GROUPS, Decoder, DecoderConfig
from llmagentos.models.jobs import Drawn, Job, Work
from llmagentos.models.native.bindings import SPAN
from llmagentos.models.native.products import KernelProduct, Kernels
from llmagentos.models.native.steps import NativeSteps
from llmagentos.models.packing import TreeAttention, pack
from llmagentos.models.products import Int8Product
from llmagentos.records.generation import GenerationRequest, Sampling

PLAIN = DecoderConfig("LlamaForCausalLM", 2, 64, 4, 2, 16, 128, 300, 512, 1e-5, 1e4, None, True)
SHAPES = {
    "one key-value head for six": replace(PLAIN, hidden=96, heads=6, kv_heads=1),
    "head of 80, width no multiple of 16": replace(PLAIN, hidden=100, heads=3, kv_heads=3, head_size=80),
    "tiny odd sizes": replace(PLAIN, hidden=20, heads=2, kv_heads=1, head_size=6, intermediate=44, vocabulary=37),
    "Qwen2: biases": replace(PLAIN, architecture="Qwen2ForCausalLM"),
    "Qwen3: norms of queries and keys, own head": replace(PLAIN, architecture="Qwen3ForCausalLM", tied=False),
}
PROMPT = tuple((7 * n) % 37 for n in range(75))


def random_decoder(config: DecoderConfig, kernels: Kernels | None, seed: int = 0) -> Decoder:
    generator = torch.Generator().manual_seed(seed)

    def weight(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * 0.15

    tensors = {
        "model.embed_tokens.weight": weight(config.vocabulary, config.hidden),
        "model.norm.weight": 1 + weight(config.hidden),
        "lm_head.weight": weight(config.vocabulary, config.hidden),
    }
    q, kv = config.heads * config.head_size, config.kv_heads * config.head_size
    for layer in range(config.layers):
        at = f"model.layers.{layer}."
        tensors[at + "input_layernorm.weight"] = 1 + weight(config.hidden)
        tensors[at + "post_attention_layernorm.weight"] = 1 + weight(config.hidden)
        for name, rows in (("q", q), ("k", kv), ("v", kv)):
            tensors[f"{at}self_attn.{name}_proj.weight"] = weight(rows, config.hidden)
            if config.architecture == "Qwen2ForCausalLM":
                tensors[f"{at}self_attn.{name}_proj.bias"] = weight(rows)
        if config.architecture == "Qwen3ForCausalLM":
            tensors[at + "self_attn.q_norm.weight"] = 1 + weight(config.head_size)
            tensors[at + "self_attn.k_norm.weight"] = 1 + weight(config.head_size)
        tensors[at + "self_attn.o_proj.weight"] = weight(config.hidden, q)
        for name, shape in (
            ("gate", (config.intermediate, config.hidden)),
            ("up", (config.intermediate, config.hidden)),
            ("down", (config.hidden, config.intermediate)),
        ):
            tensors[f"{at}mlp.{name}_proj.weight"] = weight(*shape)
    decoder = Decoder(config, tensors, dtype=torch.float32)
    for layer in decoder.layers:
        for group in GROUPS:
            inputs = layer.products[group].weight_OI.shape[1]
            layer.products[group].quantise(1 + weight(inputs).abs(), kernels=kernels)
    decoder.head.quantise(kernels=kernels)
    decoder.kernels = kernels
    return decoder


def adapter_for(config: DecoderConfig, seed: int, rank: int) -> FusedAdapter:
    adapter = new_adapter(config, rank, 2.0 * rank, seed)
    generator = torch.Generator().manual_seed(seed)
    for (_, group), (_, b) in adapter.pairs.items():
        b.copy_(torch.randn(b.shape, generator=generator) * 0.1 * block_mask(config, group, rank))
    return adapter


def job(row: int, prompt: tuple[int, ...], adapter: FusedAdapter | None = None, **options: Any) -> Job:
    sampling = Sampling(**{"max_tokens": 8, **options})
    future: Future[Any] = Future()
    request = GenerationRequest(prompt, sampling)
    made = Job(request, future, None, np.array(prompt), adapter, sampling.max_tokens, None)
    made.row = row
    return made


def prefill(steps: NativeSteps, one: Job, running: list[Job] | None = None, at_once: int = 512) -> Drawn:
    assert steps.place(one, running or [])
    drawn: list[Drawn] = []
    while not drawn:
        drawn = steps.step([Work(one, min(len(one.tokens) - one.computed, at_once))])
    return drawn[0]


def full_pass(decoder: Decoder, prompt: tuple[int, ...], adapter: FusedAdapter | None) -> torch.Tensor:
    """Log-probabilities after the prompt by PyTorch, with the same products one by one."""
    tree = pack([prompt])
    with torch.inference_mode():
        attend = TreeAttention(tree, decoder.config, half=True)
        runs = BatchAdapters([(0, len(prompt), adapter)]) if adapter else None
        hidden = decoder.hidden(tree.tokens_N, tree.positions_N, attend, runs)
        return decoder.logits(hidden[-1:]).log_softmax(-1)[0]


@pytest.mark.parametrize("rows", [1, 2, 5, 12, 31, 70])
def test_product_is_that_of_pytorch(kernels: Kernels, rows: int) -> None:
    generator = torch.Generator().manual_seed(rows)
    for outputs, inputs in ((33, 7), (64, 128), (100, 130)):
        weight, x = (torch.randn(n, inputs, generator=generator) for n in (outputs, rows))
        smooth, bias = 1 + torch.rand(inputs, generator=generator), torch.randn(outputs, generator=generator)
        theirs = Int8Product(weight, smooth)(x) + bias
        torch.testing.assert_close(KernelProduct(kernels, weight, smooth, bias)(x), theirs, atol=1e-4, rtol=1e-4)


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
