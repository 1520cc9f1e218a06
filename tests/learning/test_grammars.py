"""What had to follow a grammar is reinforced under the distribution that it was drawn from, and imitated as if free."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from decoders import tiny_engine

from llmagentos.errors import EngineError, LearningError
from llmagentos.learning.trainer import AdapterSettings, AdapterTrainer, from_transcript
from llmagentos.models.adapters import FusedAdapter, new_adapter
from llmagentos.models.torch_engine import TorchEngine
from llmagentos.records.generation import GenerationRequest, Grammar, Sampling
from llmagentos.records.transcript import Segment, Transcript

CHOICE = Grammar("regex", "(yes|no|perhaps), (yes|no)")
PROMPT = tuple(range(30, 60))
SETTINGS = AdapterSettings(rank=4)


@pytest.fixture(scope="module", params=["plain", "kernels"])
def engine(request: pytest.FixtureRequest, tiny_model: Path) -> Iterator[TorchEngine]:
    kernels = request.getfixturevalue("kernels") if request.param == "kernels" else None
    made = tiny_engine(tiny_model, kernels)
    yield made
    made.close()


def spoken(engine: TorchEngine, adapter: FusedAdapter) -> list[Transcript]:
    """Runs of two replies, the first free and the second held to a choice."""
    engine.serve("own", adapter)
    runs = []
    for seed in range(6):
        segments = [Segment("prompt", PROMPT[: 20 + seed])]
        for grammar in (None, CHOICE):
            tokens = tuple(token for segment in segments for token in segment.tokens)
            sampling = Sampling(12, temperature=1.0, seed=seed, grammar=grammar)
            reply = engine.submit(GenerationRequest(tokens, sampling, "own")).result(60)
            segments += [Segment("sampled", reply.tokens, reply.logprobs, grammar), Segment("environment", (70, 71))]
        runs.append(Transcript("tiny", tuple(segments)))
    return runs


def trainer(engine: TorchEngine, adapter: FusedAdapter) -> AdapterTrainer:
    return AdapterTrainer(engine.decoder, SETTINGS, start=adapter, constraints=engine.constraints)


@pytest.fixture
def adapter(engine: TorchEngine) -> FusedAdapter:
    made = new_adapter(engine.decoder.config, 4, 8.0, 3)
    chance = torch.Generator().manual_seed(5)
    for _, b in made.pairs.values():
        b.copy_(torch.randn(b.shape, generator=chance) * 0.02)
    return made


def test_scores_are_those_that_were_sampled(engine: TorchEngine, adapter: FusedAdapter) -> None:
    runs = spoken(engine, adapter)
    recorded = [[value for value in run.logprobs if value == value] for run in runs]
    found = trainer(engine, adapter).logprobs([from_transcript(run, as_sampled=True) for run in runs])
    for ours, theirs in zip(found, recorded, strict=True):
        torch.testing.assert_close(ours.detach(), torch.tensor(theirs), atol=2e-5, rtol=1e-5)


def test_forced_tokens_carry_no_gradient(engine: TorchEngine, adapter: FusedAdapter) -> None:
    only = Grammar("regex", "no")
    tokens = tuple(engine.submit(GenerationRequest(PROMPT, Sampling(8, grammar=only))).result(60).tokens)
    run = Transcript("tiny", (Segment("prompt", PROMPT), Segment("sampled", tokens, None, only)))
    learning = trainer(engine, adapter)
    (found,) = learning.logprobs([from_transcript(run, as_sampled=True)])
    ends = len(tokens) - 1  # the end of the turn has rivals: every token that ends a reply
    assert ends >= 1
    assert found[:ends].detach().abs().max() < 1e-6
    learning.backward(found[:ends].sum())
    assert all(float(b.grad.abs().max()) < 1e-7 for _, b in learning.pairs.values() if b.grad is not None)


def test_imitation_scores_them_as_if_they_had_been_free(engine: TorchEngine, adapter: FusedAdapter) -> None:
    runs = spoken(engine, adapter)
    learning = trainer(engine, adapter)
    free = learning.logprobs([from_transcript(run) for run in runs])
    held = learning.logprobs([from_transcript(run, as_sampled=True) for run in runs])
    for one, other, run in zip(free, held, runs, strict=True):
        first = len(run.segments[1].tokens)
        torch.testing.assert_close(one[:first], other[:first])
        assert float((other[first:] - one[first:]).detach().min()) >= -1e-5
        assert float((other[first:] - one[first:]).detach().max()) > 1.0


def test_reply_that_breaks_its_grammar_is_refused(engine: TorchEngine, adapter: FusedAdapter) -> None:
    run = Transcript("tiny", (Segment("prompt", PROMPT), Segment("sampled", (70, 71, 72), None, CHOICE)))
    with pytest.raises(EngineError, match="grammar"):
        trainer(engine, adapter).logprobs([from_transcript(run, as_sampled=True)])
    with pytest.raises(LearningError, match="grammar"):
        AdapterTrainer(engine.decoder, SETTINGS).logprobs([from_transcript(run, as_sampled=True)])
