"""A text encoder: one vector for each text, close where meanings are.

In: texts of any length. Out: unit vectors. It reads folders with BERT's architecture in Hugging Face format, such as
those of sentence-transformers. It does not know what the vectors are compared for.

Axes: B texts of a batch, T tokens of the longest, H hidden, h heads, D head size.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from llmagentos.errors import EngineError, ModelFileError
from llmagentos.models.arithmetic import arithmetic
from llmagentos.models.decoder import read_tensors
from llmagentos.models.files import SOURCE_FILE, read_json
from llmagentos.models.products import PackedLinear
from llmagentos.models.rendering import plain_tokenizer

BATCH_TOKENS = 4096
"""Most tokens of a batch, padding included."""
_LAYER = re.compile(r"encoder\.layer\.(\d+)\.")


@dataclass(slots=True)
class _Block:
    """One block's products and norms (weight, bias)."""

    qkv: PackedLinear
    out: PackedLinear
    attention_norm: tuple[Tensor, Tensor]
    up: PackedLinear
    down: PackedLinear
    output_norm: tuple[Tensor, Tensor]


class TextEncoder:
    """BERT (arXiv 1810.04805) with mean pooling (Sentence-BERT, arXiv 1908.10084); thread-safe, read-only."""

    def __init__(self, config: dict[str, Any], tensors: dict[str, Tensor], folder: Path) -> None:
        tensors = {name.removeprefix("bert."): tensor.float() for name, tensor in tensors.items()}
        self.heads, self.eps = int(config["num_attention_heads"]), float(config["layer_norm_eps"])
        self._words_VH = _take(tensors, "embeddings.word_embeddings.weight")
        # The second text of a pair is never asked for: the kind of the first one is part of every position.
        kind_H = _take(tensors, "embeddings.token_type_embeddings.weight")[0]
        self._positions_TH = _take(tensors, "embeddings.position_embeddings.weight") + kind_H
        self._norm = _norm(tensors, "embeddings.LayerNorm")
        count = 1 + max((int(found[1]) for name in tensors if (found := _LAYER.match(name))), default=-1)
        self._blocks = [_block(tensors, f"encoder.layer.{index}.") for index in range(count)]
        self._tokenizer = plain_tokenizer(read_json(folder, "tokenizer.json"), folder)
        vocabulary = self._tokenizer.get_vocab()
        if "[CLS]" not in vocabulary or "[SEP]" not in vocabulary:
            raise ModelFileError(f"The tokenizer in {folder} is not BERT's: it has no [CLS] and [SEP].")
        self._begin, self._end = vocabulary["[CLS]"], vocabulary["[SEP]"]
        learned = read_json(folder, "sentence_bert_config.json", optional=True).get("max_seq_length")
        self.window = min(int(learned or self._positions_TH.shape[0]), self._positions_TH.shape[0])
        """Most tokens that are read together, both marks included."""
        self.model = str(read_json(folder, SOURCE_FILE, optional=True).get("source") or folder.name)

    @classmethod
    @arithmetic
    def load(cls, folder: Path) -> TextEncoder:
        """Load a model folder. `ModelFileError` when it is damaged or another architecture."""
        config = read_json(folder, "config.json")
        if config.get("model_type") != "bert" or config.get("hidden_act", "gelu") != "gelu":
            raise ModelFileError(
                f"{folder} is no encoder with BERT's architecture ({config.get('model_type')!r}). "
                "Fetch one: llmagentos models pull embedding"
            )
        return cls(config, read_tensors(folder), folder)

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        return int(self._words_VH.shape[1])

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """A unit vector [H] for each text.

        A text longer than the window is read in pieces, whose tokens all count the same. `EngineError` for an empty
        one. Texts of similar length go through the model together; what stands beside a text changes its vector in
        the last digits at most.
        """
        pieces: list[tuple[int, list[int]]] = []
        room = self.window - 2
        for number, text in enumerate(texts):
            tokens = self._tokenizer.encode(text, add_special_tokens=False).ids
            if not tokens:
                raise EngineError(f"Text {number} is empty; an empty text has no embedding.")
            pieces += [(number, tokens[at : at + room]) for at in range(0, len(tokens), room)]
        return self._embed(len(texts), sorted(pieces, key=lambda piece: len(piece[1])))

    def close(self) -> None:
        """There is nothing to give back."""

    @arithmetic
    def _embed(self, count: int, pieces: list[tuple[int, list[int]]]) -> list[list[float]]:
        sums_NH = torch.zeros(count, self.dimensions)
        with torch.inference_mode():
            while pieces:
                longest = len(pieces[-1][1]) + 2
                fitting = max(1, BATCH_TOKENS // longest)
                batch, pieces = pieces[-fitting:], pieces[:-fitting]
                sums_NH.index_add_(0, torch.tensor([number for number, _ in batch]), self._sums([p for _, p in batch]))
            return functional.normalize(sums_NH, dim=1).tolist()

    def _sums(self, pieces: list[list[int]]) -> Tensor:
        """Sums of the last hidden states of each piece [B, H]; a mean is their direction."""
        longest = max(len(piece) for piece in pieces) + 2
        padded = [[self._begin, *piece, self._end] + [0] * (longest - 2 - len(piece)) for piece in pieces]
        real_BT = torch.arange(longest) < torch.tensor([len(piece) + 2 for piece in pieces]).unsqueeze(1)
        x_BTH = functional.embedding(torch.tensor(padded), self._words_VH) + self._positions_TH[:longest]
        x_BTH = self._normed(x_BTH, self._norm)
        for block in self._blocks:
            q_BhTD, k_BhTD, v_BhTD = _each(block.qkv, x_BTH).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
            context_BhTD = functional.scaled_dot_product_attention(
                q_BhTD, k_BhTD, v_BhTD, attn_mask=real_BT[:, None, None, :]
            )
            context_BTH = context_BhTD.transpose(1, 2).flatten(-2)
            x_BTH = self._normed(x_BTH + _each(block.out, context_BTH), block.attention_norm)
            inner = functional.gelu(_each(block.up, x_BTH))
            x_BTH = self._normed(x_BTH + _each(block.down, inner), block.output_norm)
        return (x_BTH * real_BT.unsqueeze(-1)).sum(1)

    def _normed(self, x_BTH: Tensor, norm: tuple[Tensor, Tensor]) -> Tensor:
        return functional.layer_norm(x_BTH, x_BTH.shape[-1:], *norm, eps=self.eps)


def _each(product: PackedLinear, x_BTI: Tensor) -> Tensor:
    out: Tensor = product(x_BTI.flatten(0, 1)).unflatten(0, x_BTI.shape[:2])
    return out


def _take(tensors: dict[str, Tensor], name: str) -> Tensor:
    if name not in tensors:
        raise ModelFileError(f"The encoder's weights lack {name!r}. Fetch the model again.")
    if not bool(torch.isfinite(tensors[name]).all()):
        raise ModelFileError(f"The weight {name!r} holds NaN or infinity: the file is damaged or badly converted.")
    return tensors[name]


def _norm(tensors: dict[str, Tensor], stem: str) -> tuple[Tensor, Tensor]:
    return _take(tensors, stem + ".weight"), _take(tensors, stem + ".bias")


def _linear(tensors: dict[str, Tensor], *stems: str) -> PackedLinear:
    """Products of one input, laid side by side."""
    weights, biases = zip(*((_take(tensors, f"{s}.weight"), _take(tensors, f"{s}.bias")) for s in stems), strict=True)
    product = PackedLinear(torch.cat(weights).contiguous(), torch.cat(biases))
    product.pack(BATCH_TOKENS)
    return product


def _block(tensors: dict[str, Tensor], at: str) -> _Block:
    own = at + "attention.self."
    return _Block(
        qkv=_linear(tensors, own + "query", own + "key", own + "value"),
        out=_linear(tensors, at + "attention.output.dense"),
        attention_norm=_norm(tensors, at + "attention.output.LayerNorm"),
        up=_linear(tensors, at + "intermediate.dense"),
        down=_linear(tensors, at + "output.dense"),
        output_norm=_norm(tensors, at + "output.LayerNorm"),
    )
