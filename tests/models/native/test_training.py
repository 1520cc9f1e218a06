"""A training step by the kernels: hidden states of the sampling steps bit by bit, gradients those of PyTorch."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from decoders import PLAIN, PROMPT, SHAPES, HalfAttention, adapter_for, job, prefill, random_decoder
from torch import Tensor

from llmagentos.errors import LearningError
from llmagentos.learning.trainer import AdapterSettings, AdapterTrainer, TrainingSequence
from llmagentos.models.decoder import Decoder
from llmagentos.models.native.products import Kernels
from llmagentos.models.native.steps import NativeSteps
from llmagentos.models.native.training import NativeTraining
from llmagentos.models.packing import pack

SEQUENCES = [
    PROMPT,
    (*PROMPT[:50], 3, 1, 4, 1, 5),
    (*PROMPT[:50], 3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3),
    tuple(range(20)),
]
SHARED = [TrainingSequence(tokens, tuple(n % 3 != 1 for n in range(len(tokens)))) for tokens in SEQUENCES]


def gradients(trainer: AdapterTrainer) -> tuple[list[Tensor], list[Tensor]]:
    """Log-probabilities, and the gradients of a sum in which every one has a weight of its own."""
    found = trainer.logprobs(SHARED)
    flat = torch.cat(found)
    trainer.backward((flat * torch.linspace(-1, 2, len(flat))).sum())
    grads = []
    for (_, group), (a, b) in trainer.pairs.items():
        assert a.grad is not None
        assert b.grad is not None
        grads += [a.grad.clone(), b.grad * trainer._masks[group]]
        a.grad = b.grad = None
    return [one.detach() for one in found], grads


def plain(trainer: AdapterTrainer) -> AdapterTrainer:
    """The same trainer, by PyTorch and with keys and values as the kernels keep them."""
    trainer._native = None
    return trainer


@pytest.fixture
def halved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmagentos.learning.trainer.TreeAttention", HalfAttention)


@pytest.mark.usefixtures("halved")
@pytest.mark.parametrize("shape", ["plain", *SHAPES])
@pytest.mark.parametrize("eight_bits", [True, False])
@pytest.mark.parametrize("rank", [3, 16])
def test_gradients_are_those_of_pytorch(kernels: Kernels, shape: str, rank: int, eight_bits: bool) -> None:
    config = SHAPES.get(shape, PLAIN)
    config = replace(config, vocabulary=max(config.vocabulary, 40))
    decoder = random_decoder(config, kernels, eight_bits=eight_bits)
    start, settings = adapter_for(config, 1, rank), AdapterSettings(rank=rank)
    ours = gradients(AdapterTrainer(decoder, settings, start=start))
    theirs = gradients(plain(AdapterTrainer(decoder, settings, start=start)))
    for one, other in zip(ours[0], theirs[0], strict=True):
        torch.testing.assert_close(one, other, atol=0.1 if eight_bits else 2e-3, rtol=0)
    for number, (one, other) in enumerate(zip(ours[1], theirs[1], strict=True)):
        assert float((one - other).norm()) < (0.05 if eight_bits else 2e-3) * float(other.norm()), (
            f"tensor {number} of {len(ours[1])}"
        )


@pytest.mark.parametrize("eight_bits", [True, False])
def test_trained_logprobs_are_those_that_were_sampled(kernels: Kernels, eight_bits: bool) -> None:
    decoder = random_decoder(PLAIN, kernels, eight_bits=eight_bits)
    adapter = adapter_for(PLAIN, 1, 4)
    steps = NativeSteps(decoder, prefix_tokens=100)
    native = AdapterTrainer(decoder, AdapterSettings(rank=4), start=adapter)
    hidden = hidden_states(native, decoder)
    for tokens, expected in zip(SEQUENCES, hidden, strict=True):
        one = job(0, tokens, adapter)
        drawn = prefill(steps, one)
        steps.release(one, keep=True)
        logits = decoder.logits(expected[-1:])
        assert drawn.token == int(logits.argmax())
        assert drawn.logprob == pytest.approx(float(logits.log_softmax(-1).max()), abs=2e-6)


def hidden_states(trainer: AdapterTrainer, decoder: Decoder) -> list[Tensor]:
    tree = pack(SEQUENCES)
    places = np.concatenate(tree.index)
    with torch.no_grad():
        found = NativeTraining(decoder).hidden(tree, places, trainer.pairs, trainer.rank, trainer.alpha / trainer.rank)
    return list(found.split([len(index) for index in tree.index]))


def test_workspace_is_used_again_and_two_passes_have_their_own(kernels: Kernels) -> None:
    trainer = AdapterTrainer(random_decoder(PLAIN, kernels), AdapterSettings(rank=4), start=adapter_for(PLAIN, 1, 4))
    assert trainer._native is not None
    alone = gradients(trainer)[1]
    assert len(trainer._native._free) == 1
    first, second = (torch.cat(trainer.logprobs(SHARED)) for _ in range(2))
    weights = torch.linspace(-1, 2, len(first))
    trainer.backward((first * weights).sum() + (second * weights).sum())
    assert len(trainer._native._free) == 2
    for parameter, grad in zip(trainer.parameters, alone, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, 2 * grad, atol=1e-6, rtol=1e-5)


def test_gradients_are_the_same_bits_every_time(kernels: Kernels) -> None:
    trainer = AdapterTrainer(random_decoder(PLAIN, kernels), AdapterSettings(rank=4), start=adapter_for(PLAIN, 1, 4))
    runs = [gradients(trainer)[1] for _ in range(5)]
    assert all(torch.equal(one, other) for run in runs[1:] for one, other in zip(run, runs[0], strict=True))


@pytest.mark.parametrize("eight_bits", [True, False])
@pytest.mark.parametrize("shape", ["plain", *SHAPES])
def test_activations_computed_again_are_the_same_bits(kernels: Kernels, shape: str, eight_bits: bool) -> None:
    config = replace(SHAPES.get(shape, PLAIN), vocabulary=300, layers=4)
    decoder, start = random_decoder(config, kernels, eight_bits=eight_bits), adapter_for(config, 1, 4)
    kept, again = (AdapterTrainer(decoder, AdapterSettings(rank=4), start=start) for _ in range(2))
    assert kept._native is not None
    assert again._native is not None
    again._native.most_bytes = 0
    ours, theirs = gradients(kept), gradients(again)
    assert len(again._native._free[0]) < 0.6 * len(kept._native._free[0])
    for one, other in zip((*ours[0], *ours[1]), (*theirs[0], *theirs[1]), strict=True):
        assert torch.equal(one, other)


def test_step_that_fits_no_memory_says_so(kernels: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = AdapterTrainer(random_decoder(PLAIN, kernels), AdapterSettings(rank=4))
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=1000))
    with pytest.raises(LearningError, match="fewer or shorter runs"):
        gradients(trainer)
