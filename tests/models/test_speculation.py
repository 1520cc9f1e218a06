"""Guesses make a reply faster and never another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from decoders import adapter_for

from llmagentos.models.decoder import Decoder
from llmagentos.models.native.products import Kernels
from llmagentos.models.quantisation import quantise
from llmagentos.models.rendering import Renderer
from llmagentos.models.speculation import MOST, REST, Lookup
from llmagentos.models.torch_engine import TorchEngine
from llmagentos.records.generation import GenerationRequest, Sampling


def tokens(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


def test_what_followed_the_last_time_is_guessed() -> None:
    assert Lookup().guess(tokens(1, 2, 3, 4, 5, 9, 1, 2, 3, 7, 8, 6, 1, 2, 3), 3).tolist() == [7, 8, 6]
    assert Lookup().guess(tokens(4, 1, 2, 8, 9, 7, 1, 2), 2).tolist() == [8, 9]
    assert len(Lookup().guess(tokens(*range(40), *range(20)), 99)) == MOST


@pytest.mark.parametrize(("sequence", "most"), [((1, 2, 3, 4), 5), ((1,), 5), ((1, 2, 1, 2, 1, 2), 0), ((1, 2, 3), -1)])
def test_nothing_is_guessed_where_nothing_is_known_or_wanted(sequence: tuple[int, ...], most: int) -> None:
    assert Lookup().guess(tokens(*sequence), most).tolist() == []


def test_wrong_guesses_are_given_up_for_a_while() -> None:
    lookup, repeating = Lookup(), tokens(*(1, 2, 3) * 5)
    while len(lookup.guess(repeating, 5)):
        lookup.learn(0)
    assert [len(lookup.guess(repeating, 5)) for _ in range(REST - 1)] == [0] * (REST - 1)
    assert len(lookup.guess(repeating, 5)) > 0


@pytest.fixture
def build(tiny_model: Path, kernels: Kernels) -> Iterator[Callable[..., TorchEngine]]:
    decoder, renderer = Decoder.load(tiny_model, dtype=torch.float32), Renderer(tiny_model)
    quantise(decoder, renderer, kernels)
    opened: list[TorchEngine] = []

    def make(**options: Any) -> TorchEngine:
        opened.append(TorchEngine(decoder, renderer, **options))
        return opened[-1]

    yield make
    for engine in opened:
        engine.close()


@pytest.mark.parametrize("adapted", [False, True])
@pytest.mark.parametrize("temperature", [0.0, 0.4, 1.0])
def test_reply_and_logprobs_are_the_same_to_the_last_bit(
    build: Callable[..., TorchEngine], temperature: float, adapted: bool
) -> None:
    prompts = [tuple((n * 7) % 400 + 10 for n in range(60)), (5, 6, 7, 8) * 12, tuple(range(40, 70)) * 2]
    names = [f"a{n}" if adapted else None for n in range(3)]
    sampling = Sampling(60, temperature, seed=4)
    asked = [GenerationRequest(prompt, sampling, name) for prompt, name in zip(prompts, names, strict=True)]
    guessing, crowded, plain = (build(rows=8) for _ in range(3))
    plain.guess_up_to = 0
    for number, name in enumerate(names):
        for engine in (guessing, crowded, plain) if name is not None else ():
            engine.serve(str(name), adapter_for(engine.decoder.config, number, 4))
    replies = [guessing.submit(one).result(60) for one in asked]
    together = [future.result(60) for future in [crowded.submit(one) for one in asked]]
    expected = [plain.submit(one).result(60) for one in asked]
    assert [one.tokens for one in replies] == [one.tokens for one in expected] == [one.tokens for one in together]
    assert [one.logprobs for one in replies] == [one.logprobs for one in expected]
    assert [one.logprobs for one in together] == [one.logprobs for one in expected]
    assert guessing.counters.sampled == plain.counters.sampled
    if temperature == 0:  # a tiny model soon repeats itself
        assert guessing.counters.steps < (0.95 if adapted else 0.7) * plain.counters.steps


def test_limits_and_ends_are_kept_amid_guesses(build: Callable[..., TorchEngine]) -> None:
    engine = build(rows=4)
    for limit in (1, 2, 3, 7, 20):
        reply = engine.submit(GenerationRequest((5, 6, 7, 8) * 12, Sampling(limit))).result(60)
        assert len(reply.tokens) <= limit
        assert reply.finish == "length" or reply.tokens[-1] in engine.renderer.eos_ids
    seen: list[int] = []
    stopped = engine.submit(GenerationRequest((5, 6, 7, 8) * 12, Sampling(40)), seen.append).result(60)
    assert [token for token in stopped.tokens if token not in engine.renderer.eos_ids] == seen
