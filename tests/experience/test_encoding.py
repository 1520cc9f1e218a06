from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmagentos.errors import StoreError
from llmagentos.experience.encoding import FORMAT, FORMAT_JSON, decode, encode
from llmagentos.records.episode import Episode, Step
from llmagentos.records.generation import Grammar
from llmagentos.records.task import Reward, Task
from llmagentos.records.transcript import Segment, Transcript

any_text = st.text(st.characters(), max_size=20)
plain_text = st.text(max_size=20)
options = st.dictionaries(plain_text, st.none() | st.integers(-9, 9) | plain_text | st.lists(st.booleans()), max_size=3)


@st.composite
def segments(draw: st.DrawFn) -> Segment:
    tokens = tuple(draw(st.lists(st.integers(0, draw(st.sampled_from([200, 60_000, 2**32 - 1, 2**40]))), max_size=12)))
    if draw(st.booleans()):
        return Segment("prompt", tokens)
    width = draw(st.sampled_from([16, 32, 64]))
    floats = st.floats(max_value=0, allow_nan=False, width=width)  # type: ignore[arg-type]
    grammar = draw(st.none() | st.builds(Grammar, st.just("regex"), any_text))
    return Segment("sampled", tokens, tuple(draw(floats) for _ in tokens), grammar)


episodes = st.builds(
    Episode,
    id=plain_text,
    task=st.builds(Task, environment=plain_text, seed=st.integers(0, 2**31), options=options),
    transcript=st.builds(Transcript, plain_text, st.lists(segments(), max_size=4).map(tuple)),
    observation=any_text,
    steps=st.lists(st.builds(Step, any_text, any_text, st.floats(-1, 1)), max_size=3).map(tuple),
    rewards=st.lists(st.builds(Reward, st.floats(-1, 1)), max_size=2).map(tuple),
    success=st.booleans(),
    lenient=st.booleans(),
    created=st.floats(0, 2e9),
    labels=st.dictionaries(plain_text, plain_text, max_size=2),
)


@settings(max_examples=150)
@given(episode=episodes)
def test_encoding_returns_every_episode_equal(episode: Episode) -> None:
    assert decode(*encode(episode)) == episode


def test_encoding_keeps_half_surrogates_that_models_write() -> None:
    episode = Episode("e", Task("X-v0", 1), Transcript("m", (Segment("prompt", (1, 2)),)), steps=(Step("\ud83d", "o"),))
    version, body = encode(episode)
    assert version == FORMAT_JSON
    assert decode(version, body) == episode


def test_encoding_reads_what_was_stored_before_there_were_grammars() -> None:
    episode = Episode("e", Task("X-v0", 1), Transcript("m", (Segment("prompt", (1, 2)), Segment("sampled", (3,)))))
    bare, packed, _ = msgspec.msgpack.decode(encode(episode)[1])
    assert decode(FORMAT, msgspec.msgpack.encode([bare, [segment[:5] for segment in packed]])) == episode


def test_encoding_keeps_a_grammar_once() -> None:
    grammar = Grammar("lark", "x" * 5000)
    segments = tuple(Segment("sampled", (n,), None, grammar) for n in range(20))
    assert len(encode(Episode("e", Task("X-v0", 1), Transcript("m", segments)))[1]) < 7000


def test_encoding_spends_two_bytes_a_token_and_four_a_logprob() -> None:
    bare = Episode("e", Task("X-v0", 1), Transcript("m"))
    tokens = tuple(range(40_000, 41_000))
    single = tuple(-float(index) / 1024 for index in range(1000))
    exact = tuple(-math.log(index + 2) for index in range(1000))
    size = len(encode(bare)[1])
    for logprobs, bytes_each in ((None, 2), (single, 6), (exact, 10)):
        full = Episode("e", bare.task, Transcript("m", (Segment("sampled", tokens, logprobs),)))
        assert len(encode(full)[1]) < size + 1000 * bytes_each + 50
        assert decode(*encode(full)) == full


@pytest.mark.parametrize(
    "body", [b"", b"\xc1", b"\x92\x80\x90", encode(Episode("e", Task("X", 1), Transcript("m")))[1][:-3]]
)
def test_encoding_reports_damaged_bytes(body: bytes) -> None:
    with pytest.raises(StoreError, match="damaged"):
        decode(FORMAT, body)


def test_encoding_refuses_a_format_it_does_not_know() -> None:
    with pytest.raises(StoreError, match=r"format 77.*upgrade"):
        decode(77, b"")
