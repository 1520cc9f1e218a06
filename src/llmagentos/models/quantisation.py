"""Turns a decoder's frozen products to eight bits, smoothed by how large their inputs get on a few texts.

In: a decoder in fp32 and its renderer. Out: the same decoder, whose products compute in int8 (see `products`);
embedding, norms, attention, adapters and everything that learns stay in fp32.
It does not know when eight bits pay (see `products.choose_precision`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from llmagentos.models.decoder import Decoder
from llmagentos.models.native.products import Kernels
from llmagentos.models.packing import TreeAttention, pack
from llmagentos.models.products import PackedLinear
from llmagentos.models.rendering import Renderer
from llmagentos.records.message import Message

STRENGTH = 0.5
"""How much of an input's spread moves into the weight: alpha of SmoothQuant. Of 0 to 0.8, on the default model, 0.5
came nearest to fp32: 0.017 nats a token against 0.051 without smoothing and 0.005 for eight-bit weights alone."""

TEXTS: tuple[tuple[str, str], ...] = (
    ("Write one sentence about the moon.", "The moon circles the Earth and lights our nights."),
    ("What does this function do?", "def double(x):\n    return 2 * x\n\nIt returns twice its argument."),
    ("Add: 10 + 4 - 6", "10 + 4 = 14. 14 - 6 = 8."),
    ("Where is order 4821?", '{"name": "search", "arguments": {"order": "4821", "limit": 5}}'),
    ("Tell me a story.", "The cat sat on the mat. Meanwhile, in Paris, the government announced new rules for 2024!"),
    ("What is the weather like?", "I need your city to look that up. Which city do you mean?"),
    ("用中文打个招呼。", "你好!很高兴见到你。"),
)
"""Talk, code, numbers, calls and another script: what an agent reads and writes."""


def quantise(decoder: Decoder, renderer: Renderer, kernels: Kernels | None = None) -> None:
    """Turn `decoder` to eight bits in place; it must be in fp32 on a processor and serve nobody yet.

    With `kernels` its products are theirs, and an engine can compute whole steps by them.
    """
    peaks = measure_peaks(decoder, renderer)
    for index, layer in enumerate(decoder.layers):
        for group, product in layer.products.items():
            product.quantise(smoothing(peaks[index, group], product.weight_OI), kernels=kernels)
    decoder.head.quantise(
        smoothing(peaks[len(decoder.layers), "head"], decoder.head.weight_OI), sharp=True, kernels=kernels
    )
    decoder.kernels = kernels


def measure_peaks(decoder: Decoder, renderer: Renderer) -> dict[tuple[int, str], Tensor]:
    """The largest size [I] of each input of each product on `TEXTS`; the head is (number of layers, "head")."""
    peaks: dict[tuple[int, str], Tensor] = {}

    def watch(layer: int, group: str, x_NI: Tensor, weight: PackedLinear) -> Tensor:
        peaks[layer, group] = x_NI.abs().amax(dim=0)
        return weight(x_NI)

    dialogues = [(Message("user", asked), Message("assistant", answered)) for asked, answered in TEXTS]
    rendered = [renderer.render(dialogue, first=True) for dialogue in dialogues]
    tree = pack([[token for segment in one for token in segment.tokens] for one in rendered], device=decoder.device)
    with torch.inference_mode():
        attention = TreeAttention(tree, decoder.config, decoder.dtype)
        hidden_NH = decoder.hidden(tree.tokens_N, tree.positions_N, attention, watch)
    peaks[len(decoder.layers), "head"] = hidden_NH.abs().amax(dim=0)
    return peaks


def smoothing(peak_I: Tensor, weight_OI: Tensor) -> Tensor:
    """What each input is divided by, [I], around 1: `peak^a / max|w|^(1-a)`."""
    size_I = weight_OI.float().abs().amax(dim=0).clamp(min=1e-4)
    spread = peak_I.float().clamp(min=1e-4) ** STRENGTH / size_I ** (1 - STRENGTH)
    return spread / spread.median()
