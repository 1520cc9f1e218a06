from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from llmagentos.errors import ModelFileError
from llmagentos.models.convert import convert_gguf
from llmagentos.models.rendering import Renderer
from llmagentos.records.message import Message


@pytest.fixture(scope="module")
def converted(tiny_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("converted")
    assert convert_gguf(tiny_gguf, folder) == ("Tiny", "apache-2.0")
    return folder


def test_converted_weights_are_the_originals(tiny_model: Path, converted: Path) -> None:
    original, made = load_file(tiny_model / "model.safetensors"), load_file(converted / "model.safetensors")
    assert made.keys() == original.keys()
    for name, weights in original.items():
        assert made[name].dtype == np.float16
        if "mlp" in name:
            assert np.abs(made[name] - weights).max() < 2e-3
        else:
            np.testing.assert_array_equal(made[name], weights.astype(np.float16))


def test_converted_model_computes_what_transformers_reads_from_the_file(tiny_gguf: Path, converted: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    reference = AutoModelForCausalLM.from_pretrained(tiny_gguf.parent, gguf_file=tiny_gguf.name, dtype=torch.float32)
    made = AutoModelForCausalLM.from_pretrained(converted, dtype=torch.float32)
    tokens_BT = torch.arange(3, 60)[None]
    with torch.no_grad():
        for weights in reference.parameters():
            weights.copy_(weights.half().float())
        difference_BTV = reference(tokens_BT).logits - made(tokens_BT).logits
    assert difference_BTV.abs().max() < 1e-5
    assert made.config.rope_parameters["rope_theta"] == reference.config.rope_parameters["rope_theta"]


def test_converted_tokenizer_gives_the_originals_tokens(tiny_model: Path, converted: Path) -> None:
    said = [Message("system", "Be 123 good"), Message("user", "the order 2024-05-17 wörld 😀\n\n <|im_end|>")]
    expected, made = Renderer(tiny_model), Renderer(converted)
    assert [s.tokens for s in made.render(said, first=True)] == [s.tokens for s in expected.render(said, first=True)]
    assert made.eos_ids == expected.eos_ids


@pytest.mark.parametrize(("splitting", "count"), [("smollm", 2), ("gpt-2", 1)])
def test_digits_are_split_as_the_file_says(
    tiny_model: Path, tmp_path: Path, gguf_writer: Any, splitting: str, count: int
) -> None:
    model = json.loads((tiny_model / "tokenizer.json").read_text())["model"]
    tokens = [*sorted(model["vocab"], key=model["vocab"].get)[:-1], "12"]
    merges = [*(" ".join(pair) for pair in model["merges"][:-1]), "1 2"]
    overrides = {
        "tokenizer__ggml__pre": splitting,
        "tokenizer__ggml__tokens": tokens,
        "tokenizer__ggml__merges": merges,
    }
    path = gguf_writer(tiny_model, tmp_path / "digits.gguf", **overrides)
    (tmp_path / "out").mkdir()
    convert_gguf(path, tmp_path / "out")
    assert len(Renderer(tmp_path / "out").encode("12")) == count


def test_conversion_reports_every_tensor(tiny_gguf: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    convert_gguf(tiny_gguf, tmp_path, lambda done, total: seen.append((done, total)))
    assert seen == [(done, 20) for done in range(1, 21)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "qwen2"}, "architecture 'qwen2'"),
        ({"tokenizer__ggml__pre": "unheard-of"}, "splitting 'unheard-of'"),
        ({"tokenizer__ggml__model": "llama"}, "kind 'llama'"),
        ({"llama__rope__scaling__type": "yarn"}, "scaled rotary"),
        ({"llama__rope__dimension_count": 8}, "partial rotary"),
    ],
)
def test_model_that_would_compute_something_else_is_refused(
    tiny_model: Path, tmp_path: Path, gguf_writer: Any, change: dict[str, Any], message: str
) -> None:
    path = gguf_writer(tiny_model, tmp_path / "other.gguf", **change)
    (tmp_path / "out").mkdir()
    with pytest.raises(ModelFileError, match=message):
        convert_gguf(path, tmp_path / "out")


@pytest.mark.parametrize("keep", [0, 3, 40, 2000, 30_000])
def test_cut_file_is_refused(tiny_gguf: Path, tmp_path: Path, keep: int) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(tiny_gguf.read_bytes()[:keep])
    (tmp_path / "out").mkdir()
    with pytest.raises(ModelFileError, match="not a readable GGUF file"):
        convert_gguf(path, tmp_path / "out")


def test_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.gguf"
    path.write_bytes(b"this is text, not weights" * 100)
    with pytest.raises(ModelFileError, match="not a readable GGUF file"):
        convert_gguf(path, tmp_path)
    with pytest.raises(ModelFileError, match="no GGUF file"):
        convert_gguf(tmp_path / "absent.gguf", tmp_path)


def test_weights_that_are_no_numbers_are_refused(tiny_model: Path, tmp_path: Path, gguf_writer: Any) -> None:
    from safetensors.numpy import save_file

    folder = shutil.copytree(tiny_model, tmp_path / "broken")
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.1.self_attn.v_proj.weight"][3, 3] = np.nan
    save_file(tensors, folder / "model.safetensors")
    path = gguf_writer(folder, tmp_path / "broken.gguf", quantised=False)
    (tmp_path / "out").mkdir()
    with pytest.raises(ModelFileError, match=r"blk\.1\.attn_v\.weight"):
        convert_gguf(path, tmp_path / "out")
