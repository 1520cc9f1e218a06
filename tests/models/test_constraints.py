"""Replies follow their grammar, whoever computes them, and a grammar that cannot be followed harms nobody else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from decoders import tiny_engine

from llmagentos.errors import EngineError
from llmagentos.models.constraints import Constraints, forbidden
from llmagentos.models.rendering import Renderer
from llmagentos.models.torch_engine import TorchEngine
from llmagentos.records.generation import GenerationRequest, Grammar, Sampling

SCHEMA = Grammar(
    "json_schema",
    json.dumps(
        {
            "type": "object",
            "properties": {"order": {"type": "string", "maxLength": 4}, "amount": {"enum": [1, 2, 30]}},
            "required": ["order", "amount"],
            "additionalProperties": False,
        }
    ),
)
CHOICE = Grammar("regex", "(yes|no|perhaps), (yes|no)")
PROMPT = tuple(range(30, 60))


@pytest.fixture(scope="module", params=["plain", "kernels"])
def engine(request: pytest.FixtureRequest, tiny_model: Path) -> Iterator[TorchEngine]:
    kernels = request.getfixturevalue("kernels") if request.param == "kernels" else None
    made = tiny_engine(tiny_model, kernels)
    yield made
    made.close()


def ask(engine: TorchEngine, grammar: Grammar | None, seed: int = 0, **options: float) -> GenerationRequest:
    sampling = Sampling(max_tokens=80, temperature=options.get("temperature", 1.5), seed=seed, grammar=grammar)
    return GenerationRequest(PROMPT, sampling)


def test_every_reply_is_what_the_schema_asks_for(engine: TorchEngine) -> None:
    futures = [engine.submit(ask(engine, SCHEMA, seed)) for seed in range(12)]
    replies = [json.loads(future.result(60).text) for future in futures if future.result(60).finish == "stop"]
    assert len(replies) > 6
    for reply in replies:
        assert set(reply) == {"order", "amount"}
        assert len(reply["order"]) <= 4
        assert reply["amount"] in (1, 2, 30)
    assert len({reply["order"] for reply in replies}) > 1


def test_constrained_and_free_requests_share_a_batch(engine: TorchEngine) -> None:
    alone = engine.submit(ask(engine, None, 3)).result(60)
    together = [engine.submit(ask(engine, grammar, 3)) for grammar in (CHOICE, None, SCHEMA, CHOICE)]
    assert together[1].result(60).tokens == alone.tokens
    assert together[0].result(60).text == together[3].result(60).text
    assert together[0].result(60).text.partition(", ")[0] in ("yes", "no", "perhaps")


def test_logprobs_are_those_of_the_constrained_distribution(engine: TorchEngine) -> None:
    total = 0.0
    seen: dict[str, float] = {}
    for seed in range(60):
        reply = engine.submit(ask(engine, Grammar("regex", "[abc]"), seed, temperature=1.0)).result(60)
        assert reply.logprobs is not None
        seen[reply.text] = float(np.exp(reply.logprobs[0]))
    total = sum(seen.values())
    assert set(seen) == {"a", "b", "c"}
    assert total == pytest.approx(1.0, abs=1e-3)


def test_greedy_reply_is_the_likeliest_allowed_one(engine: TorchEngine) -> None:
    reply = engine.submit(ask(engine, Grammar("regex", "[abc]"), temperature=0.0)).result(60)
    likely = {
        engine.submit(ask(engine, Grammar("regex", letter), temperature=1.0)).result(60).text: letter
        for letter in "abc"
    }
    assert reply.text in likely
    assert reply.finish == "stop"


@pytest.mark.parametrize(
    ("grammar", "word"),
    [
        (Grammar("json_schema", "{"), "grammar"),
        (Grammar("json_schema", '{"type": "nothing"}'), "grammar"),
        (Grammar("lark", "start: missing"), "grammar"),
        (Grammar("regex", "("), "grammar"),
    ],
)
def test_grammar_that_cannot_be_read_says_so_and_the_engine_goes_on(
    engine: TorchEngine, grammar: Grammar, word: str
) -> None:
    with pytest.raises(EngineError, match=word):
        engine.submit(ask(engine, grammar)).result(60)
    assert engine.submit(ask(engine, CHOICE)).result(60).text


def test_grammar_that_never_ends_is_cut_at_the_limit(engine: TorchEngine) -> None:
    endless = Grammar("lark", 'start: "a" start')
    try:
        reply = engine.submit(ask(engine, endless)).result(60)
    except EngineError as refused:
        assert "grammar" in str(refused)  # noqa: PT017 (either is right: refused at once, or cut)
    else:
        assert reply.finish == "length"
        assert set(reply.text) <= {"a"}


def test_replayed_masks_are_those_of_the_draws(engine: TorchEngine) -> None:
    reply = engine.submit(ask(engine, SCHEMA, 4)).result(60)
    allowed_NW = engine.constraints.replay(SCHEMA, reply.tokens)
    again = engine.constraints.begin(SCHEMA)
    for place, token in enumerate(reply.tokens):
        assert (allowed_NW[place] == again.allowed).all()
        assert not forbidden(allowed_NW, engine.decoder.config.vocabulary)[place, token]
        if place + 1 < len(reply.tokens):
            again.accept(token)


def test_end_is_allowed_exactly_where_the_grammar_may_end(tiny_model: Path) -> None:
    renderer = Renderer(tiny_model)
    constraint = Constraints(tiny_model, renderer.vocabulary, renderer.eos_ids).begin(Grammar("regex", "ab?"))
    (a,), (b,) = renderer.encode("a"), renderer.encode("b")

    def may(token: int) -> bool:
        return bool(constraint.allowed[token // 32] >> (token % 32) & 1)

    ends = sorted(renderer.eos_ids)
    assert may(a)
    assert not may(b)
    assert not any(map(may, ends))
    constraint.accept(a)
    assert may(b)
    assert any(map(may, ends))
    with pytest.raises(EngineError, match="grammar"):
        constraint.accept(a)
