"""A fresh adapter looks where the gradient points, changes nothing yet, and is the same for the same seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

import pytest
import torch
from plain import plain_logprobs

from llmagentos.learning import orientation
from llmagentos.learning.language import imitation
from llmagentos.learning.orientation import oriented
from llmagentos.learning.trainer import AdapterSettings, AdapterTrainer, TrainingSequence, from_transcript
from llmagentos.models.adapters import FusedAdapter, new_adapter
from llmagentos.models.decoder import Decoder
from llmagentos.models.products import PackedLinear
from llmagentos.records.transcript import Transcript

SETTINGS = AdapterSettings(rank=2, alpha=4.0)
Show = Callable[..., Transcript]


@dataclass
class Whole:
    """Every product with a gradient on its whole weight."""

    moved: dict[tuple[int, str], torch.Tensor] = field(default_factory=dict)

    def __call__(self, layer: int, group: str, x_NI: torch.Tensor, weight: PackedLinear) -> torch.Tensor:
        moved = self.moved.setdefault((layer, group), torch.zeros_like(weight.weight_OI).requires_grad_())
        return torch.nn.functional.linear(x_NI, weight.weight_OI + moved, weight.bias)


def whole_gradients(decoder: Decoder, sequence: TrainingSequence) -> dict[tuple[int, str], torch.Tensor]:
    whole = Whole()
    (-plain_logprobs(decoder, whole, sequence).mean()).backward()
    return {key: moved.grad for key, moved in whole.moved.items() if moved.grad is not None}


def seen(adapter: FusedAdapter, gradients: dict[tuple[int, str], torch.Tensor], decoder: Decoder) -> list[float]:
    """How much of each part's gradient its rows reach, beside the most that so many rows could."""
    shares = []
    for key, gradient in gradients.items():
        parts = decoder.config.group_outputs[key[1]]
        for a, part in zip(adapter.pairs[key][0].chunk(len(parts)), gradient.split(list(parts)), strict=True):
            rows = torch.linalg.qr(a.t()).Q.t()
            most = torch.linalg.svdvals(part)[: len(a)].norm()
            shares.append(float((part @ rows.t()).norm() / most))
    return shares


def test_rows_reach_nearly_as_much_of_the_gradient_as_so_many_can(decoder: Decoder, demonstration: Show) -> None:
    sequence = from_transcript(demonstration(1))
    gradients = whole_gradients(decoder, sequence)
    shares = seen(oriented(decoder, SETTINGS, [sequence], 0), gradients, decoder)
    at_random = seen(new_adapter(decoder.config, SETTINGS.rank, SETTINGS.alpha, 0), gradients, decoder)
    assert fmean(shares) > 0.9
    assert all(one > other for one, other in zip(shares, at_random, strict=True))


def test_it_changes_nothing_yet_and_its_rows_are_of_length_one(decoder: Decoder, demonstration: Show) -> None:
    sequences = [from_transcript(demonstration(number)) for number in range(6)]  # more than one pass takes
    begun = oriented(decoder, SETTINGS, sequences, 0)
    bare = AdapterTrainer(decoder, SETTINGS, seed=3).logprobs(sequences)
    turned = AdapterTrainer(decoder, SETTINGS, start=begun).logprobs(sequences)
    assert all(torch.equal(one, other) for one, other in zip(bare, turned, strict=True))
    for a, b in begun.pairs.values():
        assert not b.any()
        assert torch.allclose(a.norm(dim=1), torch.ones(len(a)), atol=1e-4)


def test_same_seed_gives_the_same_bits(decoder: Decoder, demonstration: Show) -> None:
    sequences = [from_transcript(demonstration(number)) for number in range(2)]
    first, second, other = (oriented(decoder, SETTINGS, sequences, seed) for seed in (1, 1, 2))
    assert all(torch.equal(first.pairs[key][0], second.pairs[key][0]) for key in first.pairs)
    assert any(not torch.equal(first.pairs[key][0], other.pairs[key][0]) for key in first.pairs)


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_rows_stay_random_where_the_gradient_says_nothing(value: float) -> None:
    rows = torch.randn(2, 8)
    assert torch.equal(orientation._turned(rows, torch.full((8, 8), value)), rows)


def test_only_as_many_rows_are_turned_as_the_gradient_has_directions() -> None:
    rows, direction = torch.randn(3, 8), torch.nn.functional.normalize(torch.randn(8), dim=0)
    turned = orientation._turned(rows, torch.outer(torch.randn(12), direction))
    assert abs(float(turned[0] @ direction)) == pytest.approx(1.0, abs=1e-5)
    assert torch.equal(turned[1:], rows[1:])


def test_imitation_is_turned_once_and_only_where_it_begins_from_nothing(
    workshop: Any, decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    turned: list[int] = []

    def counted(*given: Any) -> FusedAdapter:
        turned.append(len(given[2]))
        return oriented(*given)

    monkeypatch.setattr(imitation, "oriented", counted)
    learner = imitation.Imitation(imitation.ImitationSettings(SETTINGS, batch=2, pool=16, limit=12, orient=True))
    workshop.run(learner, workshop.context(), kill_after=10)  # as many as a checkpoint waits for
    workshop.run(learner, workshop.context())
    assert turned == [imitation.ORIENTED_BY]
    start = new_adapter(decoder.config, SETTINGS.rank, SETTINGS.alpha, 0)
    workshop.run(learner, workshop.context("further"), start=start)
    assert len(turned) == 1


def test_a_handful_of_runs_turns_nothing(workshop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imitation, "oriented", None)
    learner = imitation.Imitation(replace(imitation.for_few(imitation.ORIENTED_BY - 1), orient=True))
    assert workshop.run(learner, workshop.context())[1] is not None


def test_nothing_is_turned_unless_asked_for(workshop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imitation, "oriented", None)
    learner = imitation.Imitation(imitation.ImitationSettings(SETTINGS, batch=2, pool=16, limit=2))
    assert workshop.run(learner, workshop.context())[1] is not None
