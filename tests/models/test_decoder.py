"""The decoder computes what the families' own implementation computes, and refuses files that it cannot trust."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from llmagentos.errors import ModelFileError
from llmagentos.models.decoder import Decoder, read_config
from llmagentos.models.packing import TreeAttention, pack

SEQUENCES = [tuple(range(3, 60)), tuple(range(100, 103)), (7,), tuple(range(60, 20, -1))]
TINY: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": None,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}


def logits(decoder: Decoder, sequences: list[tuple[int, ...]]) -> list[torch.Tensor]:
    """Our logits of every position of every sequence, all computed in one flat pass."""
    tree = pack(sequences)
    with torch.inference_mode():
        attend = TreeAttention(tree, decoder.config, decoder.dtype)
        flat = decoder.logits(decoder.hidden(tree.tokens_N, tree.positions_N, attend))
    return [flat[torch.from_numpy(places)] for places in tree.index]


def assert_same(ours: list[torch.Tensor], model: Any) -> None:
    for sequence, mine in zip(SEQUENCES, ours, strict=True):
        with torch.inference_mode():
            theirs = model(torch.tensor([sequence])).logits[0]
        assert float((mine - theirs).abs().max()) < 1e-4
        assert float(theirs.std()) > 0.05  # else every decoder would agree


def write_family(folder: Path, architecture: str, **options: Any) -> Any:
    """A random model of a family in `folder`, biases and norms included, so that nothing left out goes unseen."""
    import transformers

    config = getattr(transformers, architecture.replace("ForCausalLM", "Config"))(**{**TINY, **options})
    torch.manual_seed(3)
    model = getattr(transformers, architecture)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    return model


def test_tiny_llama_gives_the_logits_of_transformers(tiny_model: Path) -> None:
    from transformers import LlamaForCausalLM

    decoder = Decoder.load(tiny_model, dtype=torch.float32)
    assert_same(logits(decoder, SEQUENCES), LlamaForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval())


def test_packed_layout_gives_the_same_logits(tiny_model: Path) -> None:
    decoder = Decoder.load(tiny_model, dtype=torch.float32)
    plain = logits(decoder, SEQUENCES)
    decoder.pack(8, backward=True)
    for first, second in zip(plain, logits(decoder, SEQUENCES), strict=True):
        torch.testing.assert_close(first, second, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("LlamaForCausalLM", {"rope_parameters": LLAMA3, "tie_word_embeddings": False}),
        ("LlamaForCausalLM", {"attention_bias": True, "mlp_bias": True, "head_dim": 32}),
        ("MistralForCausalLM", {"sliding_window": None}),
        (
            "Qwen2ForCausalLM",
            {"tie_word_embeddings": True, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}},
        ),
        ("Qwen3ForCausalLM", {"head_dim": 32, "tie_word_embeddings": False}),
    ],
)
def test_family_gives_the_logits_of_transformers(tmp_path: Path, architecture: str, options: dict[str, Any]) -> None:
    model = write_family(tmp_path, architecture, **options)
    assert_same(logits(Decoder.load(tmp_path, dtype=torch.float32), SEQUENCES), model)


def test_sharded_weights_are_read_whole(tmp_path: Path) -> None:
    model = write_family(tmp_path, "LlamaForCausalLM")
    (tmp_path / "model.safetensors").unlink()
    model.save_pretrained(tmp_path, max_shard_size="60KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert_same(logits(Decoder.load(tmp_path, dtype=torch.float32), SEQUENCES), model)


@pytest.fixture
def copy(tmp_path: Path, tiny_model: Path) -> Path:
    return shutil.copytree(tiny_model, tmp_path / "model")


def rewrite(folder: Path, change: Any) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def reconfigure(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def test_truncated_weights_name_the_remedy(copy: Path) -> None:
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelFileError, match="models pull"):
        Decoder.load(copy)


def test_garbage_instead_of_weights_names_the_remedy(copy: Path) -> None:
    (copy / "model.safetensors").write_bytes(b"<html>not found</html>")
    with pytest.raises(ModelFileError, match="models pull"):
        Decoder.load(copy)


def test_missing_weights_name_the_remedy(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    with pytest.raises(ModelFileError, match="models pull"):
        Decoder.load(copy)


def test_incomplete_weights_name_what_is_missing(copy: Path) -> None:
    rewrite(copy, lambda tensors: tensors.pop("model.layers.1.mlp.up_proj.weight"))
    with pytest.raises(ModelFileError, match=r"layers\.1\.mlp\.up_proj.*models pull"):
        Decoder.load(copy)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(copy: Path, value: float) -> None:
    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.layers.0.self_attn.k_proj.weight"][3, 5] = value

    rewrite(copy, spoil)
    with pytest.raises(ModelFileError, match=r"k_proj.*NaN or infinity"):
        Decoder.load(copy)


def test_missing_config_names_the_remedy(copy: Path) -> None:
    (copy / "config.json").unlink()
    with pytest.raises(ModelFileError, match="models pull"):
        Decoder.load(copy)


def test_unknown_architecture_says_which_are_known(copy: Path) -> None:
    reconfigure(copy, architectures=["MambaForCausalLM"])
    with pytest.raises(ModelFileError, match=r"MambaForCausalLM.*LlamaForCausalLM, MistralForCausalLM, Qwen2.*Qwen3"):
        read_config(copy)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, r"yarn.*llama3"),
        ({"rope_scaling": {"type": "linear", "factor": 4.0}}, r"linear.*llama3"),
        ({"hidden_act": "gelu"}, r"gelu.*silu"),
        ({"num_attention_heads": None}, "models pull"),
        ({"hidden_size": "wide"}, "models pull"),
    ],
)
def test_model_that_would_be_computed_wrongly_is_refused(copy: Path, changes: dict[str, Any], said: str) -> None:
    reconfigure(copy, **changes)
    with pytest.raises(ModelFileError, match=said):
        read_config(copy)


@pytest.mark.parametrize("text", ["{", "[]", "", '{"architectures": ["LlamaForCausalLM"]}'])
def test_damaged_config_names_the_remedy(copy: Path, text: str) -> None:
    (copy / "config.json").write_text(text)
    with pytest.raises(ModelFileError, match="models pull"):
        read_config(copy)


def test_old_name_of_llama3_scaling_is_applied(tmp_path: Path) -> None:
    model = write_family(tmp_path, "LlamaForCausalLM", rope_parameters=LLAMA3)
    config = json.loads((tmp_path / "config.json").read_text())
    rope = config.pop("rope_parameters")
    config |= {"rope_theta": rope.pop("rope_theta"), "rope_scaling": {**rope, "type": rope.pop("rope_type")}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert_same(logits(Decoder.load(tmp_path, dtype=torch.float32), SEQUENCES), model)


def test_sliding_attention_is_served_as_far_as_it_is_full(tmp_path: Path) -> None:
    model = write_family(tmp_path, "MistralForCausalLM", sliding_window=60)
    decoder = Decoder.load(tmp_path, dtype=torch.float32)
    assert decoder.config.window == 60
    assert_same(logits(decoder, SEQUENCES), model)
