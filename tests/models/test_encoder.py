"""The encoder computes what transformers' BERT does, whatever stands beside a text and however long it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from llmagentos import AgentOS
from llmagentos.errors import EngineError, ModelFileError
from llmagentos.llm import LanguageModel
from llmagentos.models.encoder import TextEncoder

WORDS = ["the", "refund", "of", "an", "order", "sort", "numbers", "where", "is", "it", "a", "customer", "asked", "for"]
WORDS += ["more", "[", "]", "cls", "sep", ".", "##s", "##ed"]
WINDOW = 24
CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "architectures": ["BertModel"],
    "vocab_size": len(WORDS) + 4,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 40,
    "type_vocab_size": 2,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT as transformers writes it, with a tokenizer of a few words."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("models") / "bert"
    torch.manual_seed(3)
    config = BertConfig(**{key: value for key, value in CONFIG.items() if key not in ("model_type", "architectures")})
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": WINDOW}))
    return folder


@pytest.fixture(scope="module")
def encoder(folder: Path) -> TextEncoder:
    return TextEncoder.load(folder)


def theirs(folder: Path, encoder: TextEncoder, text: str) -> torch.Tensor:
    """The sum of the last hidden states by transformers, of one text that fits."""
    from transformers import BertModel

    model = BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
    tokens = [2, *encoder._tokenizer.encode(text, add_special_tokens=False).ids, 3]
    with torch.inference_mode():
        return model(torch.tensor([tokens])).last_hidden_state[0].sum(0)


def test_vectors_are_those_of_transformers(folder: Path, encoder: TextEncoder) -> None:
    texts = ["the refund", "Sort the numbers where it asked for more orders.", "order", "a customer . . ."]
    for text, vector in zip(texts, encoder.embed(texts), strict=True):
        expected = torch.nn.functional.normalize(theirs(folder, encoder, text), dim=0)
        torch.testing.assert_close(torch.tensor(vector), expected, atol=1e-5, rtol=0)


def test_company_does_not_matter(encoder: TextEncoder) -> None:
    texts = [" ".join(WORDS[: 1 + number % 12]) for number in range(300)]
    together = torch.tensor(encoder.embed(texts))
    alone = torch.tensor([encoder.embed([text])[0] for text in texts[:12]])
    torch.testing.assert_close(together[:12], alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(300))


def test_long_text_is_read_to_its_end(folder: Path, encoder: TextEncoder) -> None:
    room = WINDOW - 2
    words = [WORDS[number % 12] for number in range(2 * room + 5)]
    parts = [" ".join(words[at : at + room]) for at in range(0, len(words), room)]
    expected = torch.nn.functional.normalize(sum(theirs(folder, encoder, part) for part in parts), dim=0)
    torch.testing.assert_close(torch.tensor(encoder.embed([" ".join(words)])[0]), expected, atol=1e-5, rtol=0)


def test_text_is_data(encoder: TextEncoder) -> None:
    tokens = encoder._tokenizer.encode("[SEP] order", add_special_tokens=False).ids
    assert not {0, 2, 3} & set(tokens)


def test_nothing_has_no_vector(encoder: TextEncoder) -> None:
    assert encoder.embed([]) == []
    with pytest.raises(EngineError, match="Text 1 is empty"):
        encoder.embed(["order", " "])


def test_another_architecture_or_a_damaged_file_is_refused(folder: Path, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="models pull embedding"):
        TextEncoder.load(tiny_model)
    from safetensors.torch import load_file, save_file

    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {"embeddings.LayerNorm.bias": torch.full((32,), float("nan"))}, tmp_path / "model.safetensors")
    with pytest.raises(ModelFileError, match="NaN"):
        TextEncoder.load(tmp_path)
    del tensors["encoder.layer.1.output.dense.bias"]
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ModelFileError, match=r"layer.1.output.dense.bias"):
        TextEncoder.load(tmp_path)


def test_llm_embeds_with_the_encoder_that_is_set(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMAGENTOS_EMBEDDING_MODEL", str(folder))
    with AgentOS(tmp_path / "home") as system:
        llm: LanguageModel = system.llm()
        first, other, same = llm.embed(["the refund of an order", "sort the numbers", "the refund of an order"])
        assert first == pytest.approx(same)
        assert first != pytest.approx(other)
        assert len(first) == 32
