"""A decoder and its adapters as the kernels read them: pointers into tensors that are kept alive here.

In: a decoder in eight bits, an adapter. Out: their structures. It does not know sequences.
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from llmagentos.models.adapters import FusedAdapter
from llmagentos.models.decoder import GROUPS, Decoder, DecoderConfig
from llmagentos.models.native.bindings import BLOCK, Layer, Model, Pair, Product, pointer


class NativeModel:
    """A decoder whose products are `KernelProduct`s."""

    def __init__(self, decoder: Decoder) -> None:
        config = decoder.config
        self._decoder = decoder  # holds every tensor that is pointed to
        self._layers = (Layer * config.layers)(
            *[
                Layer(
                    pointer(layer.input_norm_H),
                    pointer(layer.post_norm_H),
                    pointer(layer.query_norm_D),
                    pointer(layer.key_norm_D),
                    (Product * len(GROUPS))(*[layer.products[group].native for group in GROUPS]),
                )
                for layer in decoder.layers
            ]
        )
        cos_TD, sin_TD = decoder.rotary
        self.structure = Model(
            layers=config.layers,
            hidden=config.hidden,
            heads=config.heads,
            kv_heads=config.kv_heads,
            size=config.head_size,
            intermediate=config.intermediate,
            vocabulary=config.vocabulary,
            norm_eps=config.norm_eps,
            embedding_VH=pointer(decoder.embedding_VH),
            final_norm_H=pointer(decoder.final_norm_H),
            cos_TD=pointer(cos_TD),
            sin_TD=pointer(sin_TD),
            head=decoder.head.native,
            layer=ctypes.cast(self._layers, ctypes.POINTER(Layer)),
        )


class NativeAdapter:
    """A copy of an adapter as `products.h` has a `Pair`: outputs side by side, and the scale in B.

    One in fp16 stays so; every other one is in fp32.
    """

    def __init__(self, adapter: FusedAdapter, config: DecoderConfig) -> None:
        self.rank = adapter.rank
        self.half = all(tensor.dtype is torch.float16 for pair in adapter.pairs.values() for tensor in pair)
        dtype = torch.float16 if self.half else torch.float32
        self._kept: list[Tensor] = []
        self._pairs = (Pair * (config.layers * len(GROUPS)))()
        for (layer, group), (a, b) in adapter.pairs.items():
            with torch.no_grad():
                a_IR = a.detach().to(dtype).t().contiguous()
                b_BR = _in_half_blocks(b.detach().float().mul(adapter.scale)).to(dtype)
            self._kept += [a_IR, b_BR]
            self._pairs[layer * len(GROUPS) + GROUPS.index(group)] = Pair(pointer(a_IR), pointer(b_BR))
        self.pairs = ctypes.cast(self._pairs, ctypes.POINTER(Pair))


def _in_half_blocks(b_OR: Tensor) -> Tensor:
    """[O / 32, R, 32], what is behind the last output zero."""
    outputs, rank = b_OR.shape
    half = BLOCK // 2
    padded = torch.zeros(-(-outputs // half) * half, rank)
    padded[:outputs] = b_OR
    return padded.view(-1, half, rank).transpose(1, 2).contiguous()
