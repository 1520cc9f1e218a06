"""Random decoders of many shapes, adapters and jobs for the tests of the kernels."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from llmagentos.models.adapters import FusedAdapter, block_mask, new_adapter
from llmagentos.models.decoder import GROUPS, Decoder, DecoderConfig
from llmagentos.models.jobs import Drawn, Job, Work
from llmagentos.models.native.products import Kernels
from llmagentos.models.native.steps import NativeSteps
from llmagentos.models.packing import TreeAttention
from llmagentos.models.quantisation import quantise
from llmagentos.models.rendering import Renderer
from llmagentos.models.torch_engine import TorchEngine
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


def tiny_engine(folder: Path, kernels: Kernels | None) -> TorchEngine:
    """An engine on a model's folder in fp32, or by the kernels in eight bits."""
    decoder, renderer = Decoder.load(folder, dtype=torch.float32), Renderer(folder)
    if kernels is not None:
        quantise(decoder, renderer, kernels)
    return TorchEngine(decoder, renderer, rows=8)


def random_decoder(
    config: DecoderConfig, kernels: Kernels | None, seed: int = 0, *, eight_bits: bool = True
) -> Decoder:
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
    if not eight_bits:
        assert kernels is not None
        decoder.hand_over(kernels)
        return decoder
    for layer in decoder.layers:
        for group in GROUPS:
            inputs = layer.products[group].weight_OI.shape[1]
            layer.products[group].quantise(1 + weight(inputs).abs(), kernels=kernels)
    decoder.head.quantise(kernels=kernels)
    decoder.kernels = kernels
    return decoder


class HalfAttention(TreeAttention):
    """Keys and values rounded as the kernels keep them, so that both see the same; the gradient passes as it is."""

    def __call__(self, layer: int, q_NQD: torch.Tensor, k_NKD: torch.Tensor, v_NKD: torch.Tensor) -> torch.Tensor:
        k_NKD, v_NKD = (x + (x.half().float() - x).detach() for x in (k_NKD, v_NKD))
        return super().__call__(layer, q_NQD, k_NKD, v_NKD)


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
