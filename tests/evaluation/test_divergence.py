"""The divergence is the KL it claims to be: nothing for the same adapter, something for any other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from llmagentos.errors import GateError
from llmagentos.evaluation.divergence import POSITIONS, divergence
from llmagentos.models.adapters import FusedAdapter, new_adapter
from llmagentos.models.decoder import Decoder
from llmagentos.models.packing import TreeAttention, pack
from llmagentos.models.products import PackedLinear

SEQUENCES = [tuple(range(10, 50)), tuple(range(10, 30)) + (7, 8) * 10, (5, 6, 7), (*range(60, 72),)]


@pytest.fixture(scope="module")
def decoder(tiny_model: Path) -> Decoder:
    return Decoder.load(tiny_model, dtype=torch.float32)


def adapter(decoder: Decoder, seed: int, size: float = 0.1) -> FusedAdapter:
    made = new_adapter(decoder.config, 2, 4.0, seed)
    generator = torch.Generator().manual_seed(seed)
    for _, b in made.pairs.values():
        b.copy_(torch.randn(b.shape, generator=generator) * size)
    return made


def logprobs(decoder: Decoder, adapter: FusedAdapter | None, tokens: tuple[int, ...]) -> torch.Tensor:
    """All next-token log-probabilities of one sequence, the adapter merged into the weights."""

    def merged(layer: int, group: str, x: torch.Tensor, weight: PackedLinear) -> torch.Tensor:
        full = weight.weight_OI
        if adapter is not None:
            a, b = adapter.pairs[layer, group]
            full = full + adapter.alpha / adapter.rank * (b @ a)
        return torch.nn.functional.linear(x, full)

    tree = pack([tokens])
    with torch.inference_mode():
        hidden = decoder.hidden(tree.tokens_N, tree.positions_N, TreeAttention(tree, decoder.config), merged)
        return decoder.logits(hidden).log_softmax(-1)


def direct(decoder: Decoder, new: FusedAdapter | None, old: FusedAdapter | None) -> float:
    """KL(new || old) at the last positions of each sequence, every position of a shared prefix counted once."""
    found: dict[tuple[int, ...], float] = {}
    for tokens in SEQUENCES:
        p, q = logprobs(decoder, new, tokens), logprobs(decoder, old, tokens)
        kl = (p.exp() * (p - q)).sum(-1)
        for place in range(max(0, len(tokens) - POSITIONS), len(tokens)):
            found[tokens[: place + 1]] = float(kl[place])
    return sum(found.values()) / len(found)


def test_same_adapter_has_not_moved(decoder: Decoder) -> None:
    one = adapter(decoder, 1)
    copy = FusedAdapter(one.rank, one.alpha, {key: (a.clone(), b.clone()) for key, (a, b) in one.pairs.items()})
    assert divergence(decoder, one, one, SEQUENCES) == 0.0
    assert divergence(decoder, None, None, SEQUENCES) == 0.0
    assert divergence(decoder, copy, one, SEQUENCES) == pytest.approx(0.0, abs=1e-6)
    assert divergence(decoder, new_adapter(decoder.config, 2, 4.0, 0), None, SEQUENCES) == pytest.approx(0.0, abs=1e-6)


def test_divergence_is_the_direct_computation_and_not_symmetric(decoder: Decoder) -> None:
    first, second = adapter(decoder, 1), adapter(decoder, 2, 0.3)
    pairs = [(first, second), (second, first), (first, None), (None, second)]
    measured = [divergence(decoder, new, old, SEQUENCES) for new, old in pairs]
    for (new, old), value in zip(pairs, measured, strict=True):
        assert value == pytest.approx(direct(decoder, new, old), rel=1e-3)
        assert value > 1e-3
    assert measured[0] != pytest.approx(measured[1], rel=2e-3)


def test_divergence_grows_with_the_distance(decoder: Decoder) -> None:
    sizes = [divergence(decoder, adapter(decoder, 1, size), None, SEQUENCES) for size in (0.01, 0.05, 0.2)]
    assert sizes == sorted(sizes)
    assert sizes[2] > 10 * sizes[0]


def test_broken_adapter_never_looks_close(decoder: Decoder) -> None:
    broken = adapter(decoder, 1)
    broken.pairs[0, "o"][1][0, 0] = float("nan")
    value = divergence(decoder, broken, None, SEQUENCES)
    assert value != value  # the gate refuses what is not a number


def test_nothing_to_compare_is_refused(decoder: Decoder) -> None:
    with pytest.raises(GateError, match="at least one sequence"):
        divergence(decoder, None, adapter(decoder, 1), [])
