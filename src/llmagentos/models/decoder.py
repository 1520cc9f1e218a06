"""The decoder of the Llama family: one set of weights, read by the engine and by the trainer.

In: a folder in Hugging Face format (Llama, Mistral, Qwen2, Qwen3; SmolLM2 is a Llama). Out: hidden states and
logits of flat tokens: sequences of different lengths lie behind each other, so that no padding is ever computed.
Attention is a function handed in by the caller: the engine brings its cache, the trainer its packed tree.
It does not know sampling, losses, caches or adapters' origin.

Axes: N flat tokens, H hidden, Q query heads, K key-value heads, D head size, V vocabulary.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, cast

import torch
from torch import Tensor
from torch.nn import functional

from llmagentos.errors import ModelFileError
from llmagentos.models.native.products import Kernels
from llmagentos.models.pointwise import gated_unit, rms_norm, rotate
from llmagentos.models.products import PACK_ROWS, FrozenProduct, PackedLinear, choose_precision

ARCHITECTURES = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")

GROUPS: tuple[str, ...] = ("qkv", "o", "gate_up", "down")
"""The four matrix products of a layer; query, key and value, and gate and up, are fused."""

Attend: TypeAlias = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""(layer, query_NQD, key_NKD, value_NKD) -> context_NQD; rotary positions are already applied."""


class LowRank(Protocol):
    """Adds an adapter's contribution to a product: the engine's per-request one or the trainer's."""

    def __call__(self, layer: int, group: str, x_NI: Tensor, weight: PackedLinear) -> Tensor:
        """The adapted product `x W^T + adapter(x)`."""
        ...


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """The numbers of an architecture."""

    architecture: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_size: int
    intermediate: int
    vocabulary: int
    window: int
    norm_eps: float
    rope_theta: float
    rope_scaling: Mapping[str, Any] | None
    tied: bool

    @property
    def group_outputs(self) -> dict[str, tuple[int, ...]]:
        """Output sizes of the fused parts of each group."""
        q, kv = self.heads * self.head_size, self.kv_heads * self.head_size
        return {
            "qkv": (q, kv, kv),
            "o": (self.hidden,),
            "gate_up": (self.intermediate, self.intermediate),
            "down": (self.hidden,),
        }

    @property
    def group_inputs(self) -> dict[str, int]:
        """Input size of each group."""
        return {
            "qkv": self.hidden,
            "o": self.heads * self.head_size,
            "gate_up": self.hidden,
            "down": self.intermediate,
        }


def read_config(folder: Path) -> DecoderConfig:
    """Read `config.json`; `ModelFileError` when it is missing, damaged or of a kind that is not computed here."""
    path = folder / "config.json"
    mend = "Fetch the model again with: llmagentos models pull NAME --force"
    try:
        raw = json.loads(path.read_text())
        _check_supported(raw, folder.name)
        return _config(raw)
    except FileNotFoundError as error:
        raise ModelFileError(f"{path} is missing. {mend}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelFileError(f"{path} cannot be read ({type(error).__name__}: {error}). {mend}") from error


def _check_supported(raw: Mapping[str, Any], name: str) -> None:
    """`ModelFileError` for what would be computed wrongly in silence."""
    architecture = (raw.get("architectures") or ["unknown"])[0]
    otherwise = "Serve it with any OpenAI-compatible server instead."
    if architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ModelFileError(f"{name} is a {architecture}; the embedded engine runs {known}. {otherwise}")
    activation = raw.get("hidden_act", "silu")
    if activation != "silu":
        raise ModelFileError(f"{name} uses the activation {activation!r}; known is silu. {otherwise}")
    kind = (_rope_scaling(raw) or {}).get("rope_type", "default")
    if kind not in ("default", "llama3"):
        raise ModelFileError(f"{name} scales its positions by {kind!r}; known are default and llama3. {otherwise}")


def _rope_scaling(raw: Mapping[str, Any]) -> dict[str, Any] | None:
    """How positions are scaled, under today's name of the key; None where they are not."""
    rope = raw.get("rope_parameters") or {}
    found = raw.get("rope_scaling") or {key: value for key, value in rope.items() if key != "rope_theta"}
    if not found:
        return None
    return {**found, "rope_type": found.get("rope_type", found.get("type", "default"))}


def _config(raw: Mapping[str, Any]) -> DecoderConfig:
    heads, rope = int(raw["num_attention_heads"]), raw.get("rope_parameters") or {}
    window = int(raw.get("max_position_embeddings") or 2048)
    slides = raw.get("use_sliding_window", raw["architectures"][0] == "MistralForCausalLM")
    if slides and raw.get("sliding_window"):
        window = min(window, int(raw["sliding_window"]))  # up to it sliding and full attention are the same
    return DecoderConfig(
        architecture=raw["architectures"][0],
        layers=int(raw["num_hidden_layers"]),
        hidden=int(raw["hidden_size"]),
        heads=heads,
        kv_heads=int(raw.get("num_key_value_heads") or heads),
        head_size=int(raw.get("head_dim") or raw["hidden_size"] // heads),
        intermediate=int(raw["intermediate_size"]),
        vocabulary=int(raw["vocab_size"]),
        window=window,
        norm_eps=float(raw.get("rms_norm_eps") or 1e-5),
        rope_theta=float(raw.get("rope_theta") or rope.get("rope_theta") or 10000.0),
        rope_scaling=_rope_scaling(raw),
        tied=bool(raw.get("tie_word_embeddings", False)),
    )


@dataclass(slots=True)
class Layer:
    """The weights of one block."""

    input_norm_H: Tensor
    post_norm_H: Tensor
    products: dict[str, PackedLinear]
    """One for each of `GROUPS`."""
    query_norm_D: Tensor | None = None
    key_norm_D: Tensor | None = None


def _plain(layer: int, group: str, x_NI: Tensor, weight: PackedLinear) -> Tensor:
    """The product without any adapter."""
    if torch.is_grad_enabled():
        return cast("Tensor", FrozenProduct.apply(x_NI, weight))  # type: ignore[no-untyped-call]
    return weight(x_NI)


class Decoder:
    """Weights and the forward pass over flat tokens. Read-only after loading, so threads may share it."""

    def __init__(self, config: DecoderConfig, tensors: Mapping[str, Tensor], *, dtype: torch.dtype) -> None:
        self.config = config
        self.dtype = dtype
        take = _Taker(tensors, dtype)
        self.embedding_VH = take("model.embed_tokens.weight")
        self.final_norm_H = take("model.norm.weight")
        head = self.embedding_VH if config.tied else take("lm_head.weight")
        self.head = PackedLinear(head)
        self.layers = [self._layer(take, index) for index in range(config.layers)]
        self.kernels: Kernels | None = None
        """What computes its products in eight bits; None where PyTorch does."""
        self._cos_TD, self._sin_TD = (table.to(self.device) for table in _rotary(config, config.window))

    @classmethod
    def load(cls, folder: Path, *, dtype: torch.dtype | None = None, device: str = "cpu") -> Decoder:
        """Load safetensors from `folder`. `ModelFileError` when damaged, incomplete or not finite."""
        config = read_config(folder)
        return cls(config, read_tensors(folder, device), dtype=dtype or working_dtype(choose_precision("auto", device)))

    def _layer(self, take: _Taker, index: int) -> Layer:
        stem = f"model.layers.{index}."
        fused = {
            "qkv": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
            "o": ["self_attn.o_proj"],
            "gate_up": ["mlp.gate_proj", "mlp.up_proj"],
            "down": ["mlp.down_proj"],
        }
        return Layer(
            input_norm_H=take(stem + "input_layernorm.weight"),
            post_norm_H=take(stem + "post_attention_layernorm.weight"),
            products={group: take.fused([stem + name for name in names]) for group, names in fused.items()},
            query_norm_D=take.optional(stem + "self_attn.q_norm.weight"),
            key_norm_D=take.optional(stem + "self_attn.k_norm.weight"),
        )

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.embedding_VH.device

    @property
    def rotary(self) -> tuple[Tensor, Tensor]:
        """Cosines and sines of every position, [T, D / 2] each."""
        return self._cos_TD, self._sin_TD

    @property
    def precision(self) -> str:
        """What its products compute in: fp32, bf16 or int8."""
        return "int8" if self.head.quantised else "bf16" if self.dtype is torch.bfloat16 else "fp32"

    def pack(self, rows: int = PACK_ROWS, *, backward: bool = False) -> None:
        """Lay every weight out for this processor (see `PackedLinear`); again is free."""
        for layer in self.layers:
            for product in layer.products.values():
                product.pack(rows, backward=backward)
        self.head.pack(rows, backward=backward)

    def hidden(self, tokens_N: Tensor, positions_N: Tensor, attend: Attend, adapt: LowRank | None = None) -> Tensor:
        """Final normed hidden states [N, H] of flat tokens at their positions in their own sequences."""
        adapt = adapt or _plain
        config = self.config
        cos_N1D, sin_N1D = (table[positions_N].unsqueeze(1).to(self.dtype) for table in (self._cos_TD, self._sin_TD))
        query, key, value = config.group_outputs["qkv"]
        split, heads = (query + key, value), (config.heads + config.kv_heads, config.head_size)
        x_NH = functional.embedding(tokens_N, self.embedding_VH)
        for index, layer in enumerate(self.layers):
            normed = rms_norm(x_NH, layer.input_norm_H, config.norm_eps)
            qkv = adapt(index, "qkv", normed, layer.products["qkv"])
            qk, v = qkv.split(split, dim=-1)
            qk_NhD, v_NKD = qk.unflatten(-1, heads), v.unflatten(-1, (config.kv_heads, config.head_size))
            if layer.query_norm_D is not None and layer.key_norm_D is not None:
                q_NQD, k_NKD = qk_NhD.split([config.heads, config.kv_heads], dim=1)
                q_NQD = rms_norm(q_NQD, layer.query_norm_D, config.norm_eps)
                k_NKD = rms_norm(k_NKD, layer.key_norm_D, config.norm_eps)
                qk_NhD = torch.cat([q_NQD, k_NKD], dim=1)
            q_NQD, k_NKD = rotate(qk_NhD, cos_N1D, sin_N1D).split([config.heads, config.kv_heads], dim=1)
            context = attend(index, q_NQD, k_NKD, v_NKD)
            x_NH = x_NH + adapt(index, "o", context.flatten(-2), layer.products["o"])
            normed = rms_norm(x_NH, layer.post_norm_H, config.norm_eps)
            inner_NI = gated_unit(adapt(index, "gate_up", normed, layer.products["gate_up"]))
            x_NH = x_NH + adapt(index, "down", inner_NI, layer.products["down"])
        return rms_norm(x_NH, self.final_norm_H, config.norm_eps)

    def logits(self, hidden_NH: Tensor) -> Tensor:
        """Float32 logits [N, V]; ask only for the rows that are needed, the product dominates."""
        if torch.is_grad_enabled():
            return cast("Tensor", FrozenProduct.apply(hidden_NH, self.head)).float()  # type: ignore[no-untyped-call]
        return self.head(hidden_NH).float()


def read_tensors(folder: Path, device: str = "cpu") -> dict[str, Tensor]:
    """All weights of a folder. `ModelFileError` when there are none or a file is damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ModelFileError(f"No *.safetensors in {folder}. Fetch it with: llmagentos models pull NAME --force")
    tensors: dict[str, Tensor] = {}
    for path in files:
        try:
            tensors.update(load_file(path, device=device))
        except (SafetensorError, OSError) as error:
            raise ModelFileError(
                f"{path} cannot be read ({error}). Fetch it again with: llmagentos models pull NAME --force"
            ) from error
    return tensors


class _Taker:
    """Takes tensors by name in the right precision and refuses what is not finite."""

    def __init__(self, tensors: Mapping[str, Tensor], dtype: torch.dtype) -> None:
        self.tensors, self.dtype = tensors, dtype

    def __call__(self, name: str) -> Tensor:
        found = self.optional(name)
        if found is None:
            raise ModelFileError(
                f"The weights lack {name!r}. Fetch the model again: llmagentos models pull NAME --force"
            )
        return found

    def optional(self, name: str) -> Tensor | None:
        tensor = self.tensors.get(name)
        if tensor is None:
            return None
        if not bool(torch.isfinite(tensor).all()):
            raise ModelFileError(f"The weight {name!r} holds NaN or infinity: the file is damaged or badly converted.")
        return tensor.to(self.dtype)

    def fused(self, names: Sequence[str]) -> PackedLinear:
        weight = torch.cat([self(name + ".weight") for name in names]) if len(names) > 1 else self(names[0] + ".weight")
        biases = [self.optional(name + ".bias") for name in names]
        known = [bias for bias in biases if bias is not None]
        return PackedLinear(weight.contiguous(), torch.cat(known) if len(known) == len(names) else None)


def working_dtype(precision: Literal["fp32", "bf16", "int8"]) -> torch.dtype:
    """The type of weights and activations under a precision; int8 keeps both in fp32 beside its own weights."""
    return torch.bfloat16 if precision == "bf16" else torch.float32


def keep_memory() -> None:
    """Tell glibc to keep freed blocks: returning them costs a page fault for every page of every activation.

    On a processor the activations of a training step are hundreds of megabytes, freed and asked for again.
    """
    import ctypes

    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        return  # another C library: nothing to tell, only speed is lost
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
    libc.mallopt(trim_threshold, 2**29)
    libc.mallopt(mmap_threshold, 2**25)  # the most that glibc takes; without mapping at all memory grew to 9 GB


def _rotary(config: DecoderConfig, length: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines [T, D / 2] (RoPE, arXiv 2104.09864)."""
    half = torch.arange(0, config.head_size, 2, dtype=torch.float64) / config.head_size
    frequency = 1.0 / config.rope_theta**half
    scaling = config.rope_scaling
    if scaling and scaling.get("rope_type") == "llama3":
        frequency = _llama3_frequency(frequency, scaling)
    angles = torch.outer(torch.arange(length, dtype=torch.float64), frequency)
    return angles.cos().float(), angles.sin().float()


def _llama3_frequency(frequency: Tensor, scaling: Mapping[str, Any]) -> Tensor:
    """Llama 3's stretched frequencies: long wavelengths divided by `factor`, a smooth ramp between."""
    factor, low, high = (float(scaling[key]) for key in ("factor", "low_freq_factor", "high_freq_factor"))
    original = float(scaling["original_max_position_embeddings"])
    turns = original * frequency / (2 * torch.pi)
    ramp = ((turns - low) / (high - low)).clamp(0, 1)
    return frequency * (ramp + (1 - ramp) / factor)
