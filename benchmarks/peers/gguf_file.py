"""A model's folder as a GGUF file, for llama.cpp: weights in Q8_0 or F16, norms in F32."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
_TOP = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def write_gguf(folder: Path, target: Path, kind: str) -> Path:
    """Write the Llama in `folder` as GGUF; `kind` is Q8_0 or F16. A file that is there is left alone."""
    import gguf
    import numpy as np
    from safetensors.numpy import load_file

    if target.exists():
        return target
    config = json.loads((folder / "config.json").read_text())
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    added = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    vocabulary = {**tokenizer["model"]["vocab"], **added}
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    fresh = target.with_suffix(".new")
    writer = gguf.GGUFWriter(fresh, "llama")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_rope_freq_base(float(config.get("rope_theta") or config["rope_parameters"]["rope_theta"]))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in added else 1 for token in tokens])
    merges = tokenizer["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_bos_token_id(added["<|im_start|>"])
    writer.add_eos_token_id(added["<|im_end|>"])
    for name, weights in load_file(folder / "model.safetensors").items():
        weights = weights.astype(np.float32)
        for part, count in (("q_proj", heads), ("k_proj", kv_heads)):
            if part in name:
                weights = permuted(weights, count)
        wide = weights.ndim == 2
        form = getattr(gguf.GGMLQuantizationType, kind if wide else "F32")
        writer.add_tensor(gguf_name(name), gguf.quants.quantize(weights, form), raw_dtype=form)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    fresh.rename(target)
    return target


def permuted(weights: Any, heads: int) -> Any:
    """Rows as llama.cpp wants those of query and key: the halves of each head alternate."""
    rows = weights.shape[0]
    return weights.reshape(heads, 2, rows // heads // 2, -1).swapaxes(1, 2).reshape(weights.shape)


def gguf_name(name: str) -> str:
    """What llama.cpp calls the tensor that Hugging Face calls `name`."""
    stem = name.removesuffix(".weight")
    if stem in _TOP:
        return f"{_TOP[stem]}.weight"
    _, _, layer, rest = stem.split(".", 3)
    return f"blk.{layer}.{_NAMES[rest]}.weight"
