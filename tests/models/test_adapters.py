"""Adapters travel between PEFT's files and the engine's layout without loss, and what does not fit is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from llmagentos.errors import AdapterError
from llmagentos.models.adapters import (
    BatchAdapters,
    FusedAdapter,
    block_mask,
    from_peft,
    new_adapter,
    read_adapter,
    to_peft,
    write_adapter,
)
from llmagentos.models.decoder import Decoder
from llmagentos.models.packing import TreeAttention, pack

STEM = "base_model.model.model.layers."


@pytest.fixture(scope="module")
def decoder(tiny_model: Path) -> Decoder:
    return Decoder.load(tiny_model, dtype=torch.float32)


def filled(decoder: Decoder, rank: int = 3, seed: int = 0) -> FusedAdapter:
    """An adapter that changes something, with zeros where a block has no business."""
    adapter = new_adapter(decoder.config, rank, 6.0, seed)
    generator = torch.Generator().manual_seed(seed + 50)
    for (_, group), (_, b) in adapter.pairs.items():
        b.copy_(torch.randn(b.shape, generator=generator) * 0.1 * block_mask(decoder.config, group, rank))
    return adapter


def logits(decoder: Decoder, adapter: FusedAdapter | None, tokens: tuple[int, ...]) -> torch.Tensor:
    tree = pack([tokens])
    runs = BatchAdapters([(0, len(tokens), adapter)]) if adapter else None
    with torch.inference_mode():
        attend = TreeAttention(tree, decoder.config)
        return decoder.logits(decoder.hidden(tree.tokens_N, tree.positions_N, attend, runs))


def test_fresh_adapter_changes_nothing(decoder: Decoder) -> None:
    tokens = tuple(range(5, 30))
    fresh = new_adapter(decoder.config, 4, 8.0, seed=0)
    assert torch.equal(logits(decoder, fresh, tokens), logits(decoder, None, tokens))
    assert all(float(a.abs().max()) > 0 for a, _ in fresh.pairs.values())
    assert not torch.equal(new_adapter(decoder.config, 4, 8.0, seed=1).pairs[0, "o"][0], fresh.pairs[0, "o"][0])


def test_round_trip_through_a_file_is_exact(decoder: Decoder) -> None:
    adapter = filled(decoder)
    tensors, settings = read_adapter(write_adapter(adapter, decoder.config, "tiny"))
    again = from_peft(tensors, settings, decoder.config)
    assert settings["base_model_name_or_path"] == "tiny"
    assert (again.rank, again.alpha) == (adapter.rank, adapter.alpha)
    assert again.pairs.keys() == adapter.pairs.keys()
    for key, (a, b) in adapter.pairs.items():
        assert torch.equal(again.pairs[key][0], a)
        assert torch.equal(again.pairs[key][1], b)
    assert write_adapter(again, decoder.config, "tiny") == write_adapter(adapter, decoder.config, "tiny")


def test_partial_adapter_serves_the_projections_it_has(decoder: Decoder) -> None:
    adapter = filled(decoder)
    tensors, settings = to_peft(adapter, decoder.config, "tiny")
    some = {name: tensor for name, tensor in tensors.items() if "q_proj" in name or "v_proj" in name}
    partial = from_peft(some, settings, decoder.config)
    rank, (queries, keys, _) = adapter.rank, decoder.config.group_outputs["qkv"]
    assert set(partial.pairs) == {(0, "qkv"), (1, "qkv")}
    a, b = partial.pairs[0, "qkv"]
    assert torch.equal(a[:rank], adapter.pairs[0, "qkv"][0][:rank])
    assert not a[rank : 2 * rank].any()
    assert not b[queries : queries + keys].any()


def test_rank_stabilised_scale_is_applied(decoder: Decoder) -> None:
    tensors, settings = to_peft(filled(decoder, rank=4), decoder.config, "tiny")
    plain = from_peft(tensors, settings, decoder.config)
    stabilised = from_peft(tensors, {**settings, "use_rslora": True}, decoder.config)
    assert plain.scale == pytest.approx(6.0 / 4)
    assert stabilised.scale == pytest.approx(6.0 / 2)


@pytest.mark.slow
def test_peft_loads_the_file_and_gives_the_logits_of_the_engine(
    decoder: Decoder, tiny_model: Path, tmp_path: Path
) -> None:
    peft = pytest.importorskip("peft")
    from safetensors.torch import save_file
    from transformers import LlamaForCausalLM

    tensors, settings = to_peft(filled(decoder), decoder.config, str(tiny_model))
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings))
    base = LlamaForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    tokens = tuple(range(5, 60))
    with torch.inference_mode():
        bare = base(torch.tensor([tokens])).logits[0]
        model = peft.PeftModel.from_pretrained(base, tmp_path).eval()
        theirs = model(torch.tensor([tokens])).logits[0]
    ours = logits(decoder, from_peft(tensors, settings, decoder.config), tokens)
    assert float((theirs - bare).abs().max()) > 0.1
    assert float((ours - theirs).abs().max()) < 1e-4


@pytest.mark.slow
def test_adapter_made_by_peft_is_served_alike(decoder: Decoder, tiny_model: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    from safetensors.torch import load_file
    from transformers import LlamaForCausalLM

    torch.manual_seed(0)
    base = LlamaForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    config = peft.LoraConfig(r=2, lora_alpha=5, target_modules=["k_proj", "up_proj"], init_lora_weights=False)
    model = peft.get_peft_model(base, config).eval()
    model.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "adapter_config.json").read_text())
    adapter = from_peft(load_file(tmp_path / "adapter_model.safetensors"), settings, decoder.config)
    tokens = tuple(range(5, 60))
    with torch.inference_mode():
        theirs = model(torch.tensor([tokens])).logits[0]
    assert float((logits(decoder, adapter, tokens) - theirs).abs().max()) < 1e-4
    assert float((logits(decoder, None, tokens) - theirs).abs().max()) > 0.1


def spoiled(decoder: Decoder, name: str, change: Any) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    tensors, settings = to_peft(filled(decoder), decoder.config, "tiny")
    tensors[STEM + name] = change(tensors[STEM + name])
    return tensors, settings


def test_adapter_of_another_base_is_refused_with_both_shapes(decoder: Decoder) -> None:
    tensors, settings = spoiled(decoder, "0.mlp.down_proj.lora_A.weight", lambda t: t[:, :-2])
    with pytest.raises(AdapterError, match=r"\(3, 126\).*needs \(3, 128\).*another base"):
        from_peft(tensors, settings, decoder.config)


def test_adapter_of_a_deeper_base_is_refused(decoder: Decoder) -> None:
    tensors, settings = to_peft(filled(decoder), decoder.config, "tiny")
    extra = {name.replace("layers.1", "layers.2"): tensor for name, tensor in tensors.items() if "layers.1" in name}
    with pytest.raises(AdapterError, match=r"14 tensors that this base lacks.*layers\.2"):
        from_peft({**tensors, **extra}, settings, decoder.config)


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
@pytest.mark.parametrize("matrix", ["lora_A", "lora_B"])
def test_adapter_that_is_not_finite_is_refused(decoder: Decoder, matrix: str, value: float) -> None:
    def spoil(tensor: torch.Tensor) -> torch.Tensor:
        tensor[0, 0] = value
        return tensor

    tensors, settings = spoiled(decoder, f"1.self_attn.v_proj.{matrix}.weight", spoil)
    with pytest.raises(AdapterError, match=r"v_proj.*NaN or infinity"):
        from_peft(tensors, settings, decoder.config)


@pytest.mark.parametrize("matrix", ["lora_A", "lora_B"])
def test_half_of_a_pair_is_refused(decoder: Decoder, matrix: str) -> None:
    tensors, settings = to_peft(filled(decoder), decoder.config, "tiny")
    del tensors[f"{STEM}0.self_attn.o_proj.{matrix}.weight"]
    with pytest.raises(AdapterError, match=rf"o_proj.*{matrix}"):
        from_peft(tensors, settings, decoder.config)


@pytest.mark.parametrize(
    "name", ["base_model.model.lm_head.weight", STEM + "0.mlp.up_proj.bias", STEM + "0.a.lora_A.b"]
)
def test_tensors_that_would_not_be_applied_are_refused(decoder: Decoder, name: str) -> None:
    tensors, settings = to_peft(filled(decoder), decoder.config, "tiny")
    with pytest.raises(AdapterError, match="1 tensors that"):
        from_peft({**tensors, name: torch.zeros(2)}, settings, decoder.config)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"r": 0}, "r = 0"),
        ({"r": None}, "r = None"),
        ({"r": "many"}, "r = 'many'"),
        ({"lora_alpha": None}, "lora_alpha = None"),
        ({"use_dora": True}, "use_dora"),
        ({"rank_pattern": {"q_proj": 2}}, "rank_pattern"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
    ],
)
def test_options_that_the_engine_does_not_apply_are_refused(
    decoder: Decoder, settings: dict[str, Any], said: str
) -> None:
    tensors, written = to_peft(filled(decoder), decoder.config, "tiny")
    with pytest.raises(AdapterError, match=said):
        from_peft(tensors, {**written, **settings}, decoder.config)


def test_adapter_without_tensors_is_refused(decoder: Decoder) -> None:
    with pytest.raises(AdapterError, match="no LoRA tensors"):
        from_peft({}, {"r": 2, "lora_alpha": 4}, decoder.config)


def test_rank_below_one_is_refused(decoder: Decoder) -> None:
    with pytest.raises(AdapterError, match="at least 1, not 0"):
        new_adapter(decoder.config, 0, 1.0, 0)


@pytest.mark.parametrize("keep", [0, 4, 20, 400, -1])
def test_damaged_file_is_refused(decoder: Decoder, keep: int) -> None:
    data = write_adapter(filled(decoder), decoder.config, "tiny")
    with pytest.raises(AdapterError, match="cannot be read"):
        read_adapter(data[:keep])


def test_file_without_a_config_is_refused() -> None:
    from safetensors.torch import save

    with pytest.raises(AdapterError, match="cannot be read"):
        read_adapter(save({"x": torch.zeros(1)}))


def test_batch_applies_each_adapter_to_its_own_rows(decoder: Decoder) -> None:
    weight = decoder.layers[0].products["gate_up"]
    first, second = filled(decoder, 2, seed=1), filled(decoder, 5, seed=2)
    x = torch.randn(9, decoder.config.hidden, generator=torch.Generator().manual_seed(0))
    mixed = BatchAdapters([(1, 4, first), (6, 9, second)])(0, "gate_up", x, weight)
    assert torch.equal(mixed[[0, 4, 5]], weight(x)[[0, 4, 5]])
    for adapter, rows in ((first, slice(1, 4)), (second, slice(6, 9))):
        a, b = adapter.pairs[0, "gate_up"]
        expected = weight(x[rows]) + adapter.alpha / adapter.rank * x[rows] @ a.T @ b.T
        torch.testing.assert_close(mixed[rows], expected, atol=1e-5, rtol=1e-5)
