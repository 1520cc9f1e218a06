"""The tiny model as a GGUF file, written the way llama.cpp's converter writes one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from peers.gguf_file import gguf_name, permuted


def write_gguf(source: Path, target: Path, *, quantised: bool = True, **overrides: Any) -> Path:
    """Write the model in `source` as GGUF; `overrides` replace metadata by key, with `__` for `.`."""
    import gguf
    import numpy as np
    from gguf import GGMLQuantizationType as Type
    from safetensors.numpy import load_file

    config = json.loads((source / "config.json").read_text())
    tokenizer = json.loads((source / "tokenizer.json").read_text())
    vocabulary = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].get)
    special = {token["content"] for token in tokenizer["added_tokens"]}
    metadata: dict[str, Any] = {
        "general.name": "Tiny",
        "general.license": "apache-2.0",
        "llama.block_count": config["num_hidden_layers"],
        "llama.context_length": config["max_position_embeddings"],
        "llama.embedding_length": config["hidden_size"],
        "llama.feed_forward_length": config["intermediate_size"],
        "llama.attention.head_count": config["num_attention_heads"],
        "llama.attention.head_count_kv": config["num_key_value_heads"],
        "llama.rope.freq_base": config["rope_theta"],
        "llama.attention.layer_norm_rms_epsilon": config["rms_norm_eps"],
        "llama.vocab_size": len(vocabulary),
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": vocabulary,
        "tokenizer.ggml.token_type": [3 if token in special else 1 for token in vocabulary],
        "tokenizer.ggml.merges": [" ".join(pair) for pair in tokenizer["model"]["merges"]],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.padding_token_id": 2,
        "tokenizer.chat_template": json.loads((source / "tokenizer_config.json").read_text())["chat_template"],
    }
    architecture = overrides.pop("architecture", "llama")
    metadata |= {key.replace("__", "."): value for key, value in overrides.items()}
    writer = gguf.GGUFWriter(target, architecture)
    add = {int: writer.add_uint32, float: writer.add_float32, str: writer.add_string, list: writer.add_array}
    for key, value in metadata.items():
        add[type(value)](key, value)
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    for name, weights in load_file(source / "model.safetensors").items():
        for part, count in heads.items():
            if part in name:
                weights = permuted(weights, count)
        if quantised and "mlp" in name:
            packed = gguf.quants.quantize(weights, Type.Q8_0)
            writer.add_tensor(gguf_name(name), packed, raw_dtype=Type.Q8_0)
        else:
            writer.add_tensor(gguf_name(name), weights.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


@pytest.fixture(scope="session")
def tiny_gguf(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with its inner layers in Q8_0, the rest in float32."""
    return write_gguf(tiny_model, tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture(scope="session")
def gguf_writer() -> Any:
    """`write_gguf`, for tests that need a file with something wrong."""
    return write_gguf
