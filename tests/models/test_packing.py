"""Packed trees give the log-probabilities and the gradients of separate sequences, whatever is shared."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from llmagentos.models.adapters import FusedAdapter, new_adapter
from llmagentos.models.decoder import Decoder
from llmagentos.models.packing import TreeAttention, pack
from llmagentos.models.products import PackedLinear

BASE = tuple(range(20, 60))
SETS = {
    "alone": [BASE],
    "single tokens": [(5,), (5,), (6,)],
    "duplicates": [BASE, BASE, BASE],
    "prefix of another": [BASE[:20], BASE, BASE[:20], BASE[:9]],
    "too little shared": [(*BASE[:7], 1, 2, 3), (*BASE[:7], 9, 8, 7)],
    "one token apart": [(*BASE, 3), (*BASE, 4), (*BASE, 4, 5)],
    "branches of branches": [
        BASE + tuple(range(100, 120)) + (first, *range(200, 210), second) for first in (1, 2) for second in (3, 4)
    ],
    "unsorted strangers": [
        tuple(range(80, 100)),
        BASE,
        (7, 7, 7),
        tuple(range(80, 95)) + (2,) * 12,
        BASE[:30] + (1,) * 9,
    ],
}


@pytest.fixture(scope="module")
def decoder(tiny_model: Path) -> Decoder:
    return Decoder.load(tiny_model, dtype=torch.float32)


class Adapted:
    """A plain adapter with gradients, so that every layer of the packed pass is differentiated."""

    def __init__(self, adapter: FusedAdapter) -> None:
        self.pairs = {key: tuple(t.clone().requires_grad_() for t in pair) for key, pair in adapter.pairs.items()}

    def __call__(self, layer: int, group: str, x_NI: torch.Tensor, weight: PackedLinear) -> torch.Tensor:
        a, b = self.pairs[layer, group]
        return torch.nn.functional.linear(x_NI, weight.weight_OI, weight.bias) + x_NI @ a.t() @ b.t()


def random_adapter(decoder: Decoder) -> FusedAdapter:
    adapter = new_adapter(decoder.config, 3, 3.0, seed=1)
    generator = torch.Generator().manual_seed(2)
    for _, b in adapter.pairs.values():
        b.copy_(torch.randn(b.shape, generator=generator) * 0.05)
    return adapter


def scores_and_gradients(
    decoder: Decoder, passes: list[list[tuple[int, ...]]]
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Log-probabilities of the next tokens of each sequence, one forward pass for each list in `passes`."""
    adapted = Adapted(random_adapter(decoder))
    found = []
    for sequences in passes:
        tree = pack(sequences)
        attend = TreeAttention(tree, decoder.config)
        flat = decoder.logits(decoder.hidden(tree.tokens_N, tree.positions_N, attend, adapted)).log_softmax(-1)
        for sequence, places in zip(sequences, tree.index, strict=True):
            wanted = torch.tensor([*sequence[1:], 11]).unsqueeze(1)
            found.append(flat[torch.from_numpy(places)].gather(1, wanted).squeeze(1))
    sum((number + 1) * part.sum() for number, part in enumerate(found)).backward()  # type: ignore[union-attr]
    return [part.detach() for part in found], [t.grad for pair in adapted.pairs.values() for t in pair]  # type: ignore[misc]


@pytest.mark.parametrize("name", SETS)
def test_packing_gives_scores_and_gradients_of_separate_sequences(decoder: Decoder, name: str) -> None:
    sequences = SETS[name]
    together, packed_gradients = scores_and_gradients(decoder, [sequences])
    apart, gradients = scores_and_gradients(decoder, [[sequence] for sequence in sequences])
    for first, second in zip(together, apart, strict=True):
        torch.testing.assert_close(first, second, atol=2e-5, rtol=1e-5)
    largest = max(float(gradient.abs().max()) for gradient in gradients)
    for packed, gradient in zip(packed_gradients, gradients, strict=True):
        torch.testing.assert_close(packed, gradient, atol=1e-4 * largest, rtol=1e-3)


@pytest.mark.parametrize("name", SETS)
def test_packed_tokens_are_those_of_every_sequence(name: str) -> None:
    sequences = SETS[name]
    tree = pack(sequences)
    for sequence, places in zip(sequences, tree.index, strict=True):
        assert tuple(tree.tokens_N[places].tolist()) == sequence
        assert tree.positions_N[places].tolist() == list(range(len(sequence)))


@pytest.mark.parametrize(
    ("name", "computed"),
    [("duplicates", 40), ("prefix of another", 40), ("too little shared", 20), ("single tokens", 3)],
)
def test_shared_prefixes_are_computed_once(name: str, computed: int) -> None:
    tree = pack(SETS[name])
    assert len(tree.tokens_N) == computed
    assert tree.saved == sum(map(len, SETS[name])) - computed


def test_random_trees_place_every_token_under_its_own_history() -> None:
    chance = random.Random(0)
    for _ in range(60):
        known: list[tuple[int, ...]] = [()]
        sequences = []
        for _ in range(chance.randint(1, 12)):
            start = chance.choice(known)[: chance.randint(0, 40)]
            sequences.append(start + tuple(chance.choices(range(3), k=chance.randint(1, 25))))
            known.append(sequences[-1])
        tree = pack(sequences)
        parents = [node.parent for node in tree.nodes]
        for sequence, places in zip(sequences, tree.index, strict=True):
            node = next(i for i, n in enumerate(tree.nodes) if n.offset <= places[-1] < n.offset + len(n.tokens))
            seen: list[int] = []
            while node >= 0:
                seen = tree.nodes[node].tokens.tolist() + seen
                node = parents[node]
            assert tuple(seen[: len(sequence)]) == sequence
