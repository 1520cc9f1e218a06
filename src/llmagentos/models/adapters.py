"""Low-rank adapters (LoRA, arXiv 2106.09685): PEFT's files outside, four fused products a layer inside.

In: PEFT's tensors and config. Out: for each layer and group a pair A [R, I], B [O, R] with the scale folded into B,
where the parts of a fused product (query, key, value; gate, up) stand block by block; and back again.
It does not know who trained an adapter or which skill it carries.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from llmagentos.errors import AdapterError
from llmagentos.models.arithmetic import arithmetic
from llmagentos.models.decoder import GROUPS, DecoderConfig
from llmagentos.models.products import PackedLinear

PARTS: dict[str, tuple[str, ...]] = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "o": ("self_attn.o_proj",),
    "gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "down": ("mlp.down_proj",),
}
"""The projections that each fused product consists of, in order."""

_STEM = "base_model.model.model.layers."


@dataclass(slots=True)
class FusedAdapter:
    """An adapter in the engine's layout. Tensors may be shared with a trainer: they are read, never written, here."""

    rank: int
    alpha: float
    pairs: dict[tuple[int, str], tuple[Tensor, Tensor]]
    """(layer, group) -> A [R, I], B [O, R], scale not applied."""
    serial: int = field(default_factory=itertools.count(1).__next__)
    """Unlike for any other adapter or earlier state of this one: cached keys and values belong to it."""

    @property
    def scale(self) -> float:
        """What the product B A x is multiplied with."""
        return self.alpha / self.rank

    @property
    def memory(self) -> int:
        """Bytes while it is served, the turned copy that the kernels make included."""
        return 2 * sum(tensor.numel() * tensor.element_size() for pair in self.pairs.values() for tensor in pair)

    @property
    @arithmetic
    def largest(self) -> float:
        """The largest value of both factors, with the scale in B."""
        return max(
            max(float(a.abs().max()), float(b.abs().max()) * max(self.scale, 1.0)) for a, b in self.pairs.values()
        )

    @arithmetic
    def to(self, dtype: torch.dtype, device: torch.device) -> FusedAdapter:
        """The same adapter in the precision and place where it is served."""
        pairs = {key: (a.to(device, dtype), b.to(device, dtype)) for key, (a, b) in self.pairs.items()}
        return FusedAdapter(self.rank, self.alpha, pairs)


def new_adapter(config: DecoderConfig, rank: int, alpha: float, seed: int) -> FusedAdapter:
    """A fresh adapter on all products: A as Kaiming uniform, B zero, so that it changes nothing yet."""
    if rank < 1:
        raise AdapterError(f"An adapter's rank must be at least 1, not {rank}.")
    generator = torch.Generator().manual_seed(seed)
    pairs = {}
    for layer in range(config.layers):
        for group in GROUPS:
            inputs, outputs = config.group_inputs[group], config.group_outputs[group]
            bound = 1.0 / inputs**0.5
            a = torch.empty(rank * len(outputs), inputs).uniform_(-bound, bound, generator=generator)
            pairs[layer, group] = (a, torch.zeros(sum(outputs), rank * len(outputs)))
    return FusedAdapter(rank, alpha, pairs)


def block_mask(config: DecoderConfig, group: str, rank: int) -> Tensor:
    """Ones where B of a fused product may differ from zero, [O, R]."""
    mask: Tensor = torch.block_diag(*[torch.ones(size, rank) for size in config.group_outputs[group]])
    return mask


@arithmetic
def from_peft(tensors: Mapping[str, Tensor], settings: Mapping[str, Any], config: DecoderConfig) -> FusedAdapter:
    """Read PEFT's names. `AdapterError` when a shape, name or option does not fit or a value is not finite."""
    rank, alpha = settings.get("r"), settings.get("lora_alpha")
    if not isinstance(rank, int) or rank < 1:
        raise AdapterError(f"The adapter's config has r = {rank!r}; a LoRA rank of at least 1 is needed.")
    if not isinstance(alpha, int | float):
        raise AdapterError(f"The adapter's config has lora_alpha = {alpha!r}; a number is needed.")
    for option in ("use_dora", "rank_pattern", "alpha_pattern", "modules_to_save"):
        if settings.get(option):
            raise AdapterError(f"The adapter uses {option}, which the embedded engine does not apply.")
    if settings.get("use_rslora"):
        alpha = float(alpha * rank**0.5)
    left = dict(tensors)
    pairs = {}
    for layer in range(config.layers):
        for group in GROUPS:
            pair = _fused_pair(left, layer, group, rank, config)
            if pair is not None:
                pairs[layer, group] = pair
    if left:
        raise AdapterError(
            f"The adapter has {len(left)} tensors that this base lacks or cannot adapt, such as {min(left)!r}."
        )
    if not pairs:
        raise AdapterError("The adapter holds no LoRA tensors for this base.")
    return FusedAdapter(rank, float(alpha), pairs)


def _fused_pair(
    left: dict[str, Tensor], layer: int, group: str, rank: int, config: DecoderConfig
) -> tuple[Tensor, Tensor] | None:
    """Take the parts of one group out of `left`; a part without an adapter stays zero."""
    inputs, outputs = config.group_inputs[group], config.group_outputs[group]
    a = torch.zeros(rank * len(outputs), inputs)
    b = torch.zeros(sum(outputs), rank * len(outputs))
    found, row = False, 0
    for index, (part, size) in enumerate(zip(PARTS[group], outputs, strict=True)):
        stem = f"{_STEM}{layer}.{part}."
        down, up = left.pop(stem + "lora_A.weight", None), left.pop(stem + "lora_B.weight", None)
        if (down is None) != (up is None):
            missing = "lora_A" if down is None else "lora_B"
            raise AdapterError(f"{stem}{missing}.weight is missing: the adapter is incomplete and is not served.")
        if down is not None and up is not None:
            if tuple(down.shape) != (rank, inputs) or tuple(up.shape) != (size, rank):
                raise AdapterError(
                    f"{stem}lora_A/B have shapes {tuple(down.shape)} and {tuple(up.shape)}; this base needs "
                    f"{(rank, inputs)} and {(size, rank)}. The adapter was made for another base model."
                )
            if not bool(torch.isfinite(down).all() and torch.isfinite(up).all()):
                raise AdapterError(f"{stem}lora holds NaN or infinity: the adapter is damaged and is not served.")
            a[index * rank : (index + 1) * rank] = down
            b[row : row + size, index * rank : (index + 1) * rank] = up
            found = True
        row += size
    return (a, b) if found else None


def to_peft(adapter: FusedAdapter, config: DecoderConfig, base: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """PEFT's tensors and config of an adapter."""
    tensors: dict[str, Tensor] = {}
    for (layer, group), (a, b) in adapter.pairs.items():
        row = 0
        for index, (part, size) in enumerate(zip(PARTS[group], config.group_outputs[group], strict=True)):
            stem, ranks = f"{_STEM}{layer}.{part}.", slice(index * adapter.rank, (index + 1) * adapter.rank)
            tensors[stem + "lora_A.weight"] = a[ranks].detach().float().cpu().clone().contiguous()
            tensors[stem + "lora_B.weight"] = b[row : row + size, ranks].detach().float().cpu().clone().contiguous()
            row += size
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": adapter.rank,
        "lora_alpha": adapter.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted({part.split(".")[-1] for parts in PARTS.values() for part in parts}),
    }
    return tensors, settings


@arithmetic
def write_adapter(adapter: FusedAdapter, config: DecoderConfig, base: str) -> bytes:
    """One safetensors file with PEFT's tensors and, in its header, PEFT's config: what an artefact's blob holds."""
    from safetensors.torch import save

    tensors, settings = to_peft(adapter, config, base)
    return save(tensors, metadata={"adapter_config": json.dumps(settings, sort_keys=True)})


def read_adapter(data: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """PEFT's tensors and config from `write_adapter`'s bytes. `AdapterError` when damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + size])
        settings = json.loads(header["__metadata__"]["adapter_config"])
        return load(data), settings
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise AdapterError(
            f"The adapter's file cannot be read ({error}); restore it from a backup or roll back."
        ) from error


class BatchAdapters:
    """Applies, to each run of consecutive rows, the adapter that its request named."""

    def __init__(self, runs: list[tuple[int, int, FusedAdapter]]) -> None:
        self.runs = runs
        """(first row, row after the last, adapter); rows outside any run are the bare base."""

    def __call__(self, layer: int, group: str, x_NI: Tensor, weight: PackedLinear) -> Tensor:
        """The adapted product (see `decoder.LowRank`)."""
        y_NO = weight(x_NI)
        for first, after, adapter in self.runs:
            pair = adapter.pairs.get((layer, group))
            if pair is not None:
                a, b = pair
                y_NO[first:after].addmm_(x_NI[first:after] @ a.t(), b.t(), alpha=adapter.scale)
        return y_NO
