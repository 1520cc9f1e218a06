"""A GGUF file, turned once into a folder in Hugging Face format with float16 weights.

In: the file as llama.cpp's tools write it. Out: configuration, tokenizer, chat template and safetensors, the same
function as the file's up to rounding. It does not know where the file came from nor where the folder is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from llmagentos.errors import ModelFileError

_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_TENSOR = re.compile(r"(?:blk\.(?P<layer>\d+)\.)?(?P<name>\w+)\.(?P<part>weight|bias)")
_SPLITS_DIGITS = {"smollm": True, "gpt-2": False, "default": False}
"""Pre-tokenizers we know, by llama.cpp's name, and whether each digit is a token of its own."""
_CONTROL_TYPE, _USER_TYPE = 3, 4
"""`tokenizer.ggml.token_type`: special tokens, and added tokens that are ordinary text."""
_FLOAT16_MAX = 65504.0


class _Metadata:
    """The key-value part of a GGUF file."""

    def __init__(self, reader: Any, path: Path) -> None:
        self._reader, self._path = reader, path

    def get(self, key: str, default: Any = None) -> Any:
        field = self._reader.fields.get(key)
        return default if field is None else field.contents()

    def need(self, key: str) -> Any:
        value = self.get(key)
        if value is None:
            raise ModelFileError(
                f"{self._path} has no {key!r}, which a language model needs. Choose another GGUF file."
            )
        return value


def convert_gguf(path: Path, folder: Path, on_tensor: Callable[[int, int], None] | None = None) -> tuple[str, str]:
    """Write the model of the GGUF file `path` into the empty `folder`; returns its title and licence.

    `on_tensor` is told how many tensors are done, and of how many. Llama architectures (Llama, Mistral, SmolLM) with a
    byte-level BPE tokenizer are read; others raise `ModelFileError`, as a damaged file does.
    """
    reader = _open(path)
    metadata = _Metadata(reader, path)
    architecture = metadata.need("general.architecture")
    if architecture != "llama":
        raise ModelFileError(
            f"{path} holds a model of architecture {architecture!r}; only 'llama' can be converted. "
            "Give the model's folder in Hugging Face format instead of its GGUF file."
        )
    names = {tensor.name for tensor in reader.tensors}
    config = _config(metadata, reader, names)
    _write_json(folder / "config.json", config)
    _write_tokenizer(folder, metadata, path, int(config["max_position_embeddings"]))
    ends = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id") if config[key] is not None}
    _write_json(folder / "generation_config.json", ends)
    _write_weights(folder / "model.safetensors", reader, path, config, on_tensor)
    return str(metadata.get("general.name", path.stem)), str(metadata.get("general.license", ""))


def _open(path: Path) -> Any:
    from gguf import GGUFReader

    if not path.is_file():
        raise ModelFileError(f"There is no GGUF file {path}. Give the path of one that exists.")
    try:
        return GGUFReader(path)
    except (ValueError, IndexError, KeyError, OverflowError, MemoryError, UnicodeDecodeError) as error:
        raise ModelFileError(
            f"{path} is not a readable GGUF file ({error}). It may be cut short: fetch it again."
        ) from error


def _config(metadata: _Metadata, reader: Any, names: set[str]) -> dict[str, Any]:
    def of(key: str, default: Any = None) -> Any:
        return metadata.need(f"llama.{key}") if default is None else metadata.get(f"llama.{key}", default)

    hidden, heads = int(of("embedding_length")), int(of("attention.head_count"))
    head_size = int(of("attention.key_length", hidden // heads))
    if metadata.get("llama.rope.scaling.type", "none") != "none" or "rope_freqs.weight" in names:
        raise ModelFileError(
            "GGUF models with scaled rotary positions cannot be converted. Give the Hugging Face folder."
        )
    if int(of("rope.dimension_count", head_size)) != head_size or metadata.get("llama.expert_count"):
        raise ModelFileError(
            "GGUF models with partial rotary positions or experts cannot be converted. Give the Hugging Face folder."
        )
    embedding = next(tensor for tensor in reader.tensors if tensor.name == "token_embd.weight")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": hidden,
        "intermediate_size": int(of("feed_forward_length")),
        "num_hidden_layers": int(of("block_count")),
        "num_attention_heads": heads,
        "num_key_value_heads": int(of("attention.head_count_kv", heads)),
        "head_dim": head_size,
        "vocab_size": int(embedding.shape[1]),
        "max_position_embeddings": int(of("context_length")),
        "rope_theta": float(of("rope.freq_base", 10000.0)),
        "rms_norm_eps": float(f"{of('attention.layer_norm_rms_epsilon'):.6g}"),
        "hidden_act": "silu",
        "attention_bias": "blk.0.attn_q.bias" in names,
        "mlp_bias": "blk.0.ffn_up.bias" in names,
        "tie_word_embeddings": "output.weight" not in names,
        "bos_token_id": metadata.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": metadata.get("tokenizer.ggml.eos_token_id"),
        "pad_token_id": metadata.get("tokenizer.ggml.padding_token_id"),
        "torch_dtype": "float16",
    }


def _write_weights(
    target: Path, reader: Any, path: Path, config: Mapping[str, Any], on_tensor: Callable[[int, int], None] | None
) -> None:
    import numpy as np
    from gguf import quants
    from safetensors.numpy import save_file

    tensors: dict[str, Any] = {}
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    for done, tensor in enumerate(reader.tensors, start=1):
        match = _TENSOR.fullmatch(tensor.name)
        if match is None or match["name"] not in _NAMES:
            raise ModelFileError(
                f"{path} holds the tensor {tensor.name!r}, which no Llama has. Give the Hugging Face folder."
            )
        try:
            values = quants.dequantize(tensor.data, tensor.tensor_type)
        except (NotImplementedError, ValueError) as error:
            raise ModelFileError(
                f"{path}: the tensor {tensor.name} of type {tensor.tensor_type.name} cannot be read ({error}). "
                "Choose a file of another quantisation, such as Q8_0."
            ) from error
        if match["name"] in heads:
            values = _halves_together(values, heads[match["name"]])
        if not np.isfinite(values).all() or np.abs(values).max(initial=0.0) > _FLOAT16_MAX:
            raise ModelFileError(
                f"{path}: the tensor {tensor.name} holds values that are no float16. The file is damaged."
            )
        layer = f"model.layers.{match['layer']}." if match["layer"] is not None else ""
        tensors[f"{layer}{_NAMES[match['name']]}.{match['part']}"] = np.ascontiguousarray(values, dtype=np.float16)
        if on_tensor is not None:
            on_tensor(done, len(reader.tensors))
    save_file(tensors, target, metadata={"format": "pt"})


def _halves_together(values: Any, heads: int) -> Any:
    """Rows of a query or key matrix from llama.cpp's order, which alternates a rotation's halves, to Hugging Face's."""
    rows = values.shape[0]
    split = values.reshape(heads, rows // heads // 2, 2, *values.shape[1:])
    return split.swapaxes(1, 2).reshape(values.shape)


def _write_tokenizer(folder: Path, metadata: _Metadata, path: Path, window: int) -> None:
    kind, split = metadata.need("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre", "default")
    if kind != "gpt2" or split not in _SPLITS_DIGITS:
        raise ModelFileError(
            f"{path} has a tokenizer of kind {kind!r} with splitting {split!r}; only 'gpt2' with "
            f"{', '.join(map(repr, _SPLITS_DIGITS))} can be converted. Give the Hugging Face folder."
        )
    tokens: list[str] = metadata.need("tokenizer.ggml.tokens")
    types: list[int] = metadata.get("tokenizer.ggml.token_type", [1] * len(tokens))
    bytes_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    digits = [{"type": "Digits", "individual_digits": True}] if _SPLITS_DIGITS[split] else []
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    added = [
        {"id": index, "content": token, **flags, "special": types[index] == _CONTROL_TYPE}
        for index, token in enumerate(tokens)
        if types[index] in (_CONTROL_TYPE, _USER_TYPE)
    ]
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        "vocab": {token: index for index, token in enumerate(tokens)},
        "merges": [merge.split(" ", 1) for merge in metadata.need("tokenizer.ggml.merges")],
    }
    description = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*digits, bytes_level]},
        "post_processor": None,
        "decoder": bytes_level,
        "model": model,
    }
    (folder / "tokenizer.json").write_bytes(msgspec.json.encode(description))
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": window,
    }
    for role in ("bos", "eos", "unknown", "padding"):
        index = metadata.get(f"tokenizer.ggml.{role}_token_id")
        if index is not None:
            settings[{"unknown": "unk", "padding": "pad"}.get(role, role) + "_token"] = tokens[int(index)]
    template = metadata.get("tokenizer.chat_template")
    if template:
        settings["chat_template"] = template
    _write_json(folder / "tokenizer_config.json", settings)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=2))
