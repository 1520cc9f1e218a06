"""Cached keys and values give what a full pass gives, and no prefix is ever served to a stranger."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from llmagentos.models.decoder import Decoder
from llmagentos.models.kv_cache import PrefixStore, RowCache, Span, StepAttention, common_prefix
from llmagentos.models.packing import TreeAttention, pack

TOKENS = tuple(range(10, 100)) + tuple(range(40, 70))


@pytest.fixture(scope="module")
def decoder(tiny_model: Path) -> Decoder:
    return Decoder.load(tiny_model, dtype=torch.float32)


def full(decoder: Decoder, tokens: tuple[int, ...]) -> torch.Tensor:
    tree = pack([tokens])
    with torch.inference_mode():
        return decoder.hidden(tree.tokens_N, tree.positions_N, TreeAttention(tree, decoder.config))


def advance(decoder: Decoder, cache: RowCache, work: list[tuple[Span, tuple[int, ...]]]) -> list[torch.Tensor]:
    """One step: for each span its tokens out of a sequence; the hidden states of each span."""
    flat = [token for span, tokens in work for token in tokens[span.start : span.start + span.count]]
    at = [place for span, _ in work for place in range(span.start, span.start + span.count)]
    with torch.inference_mode():
        attend = StepAttention(cache, [span for span, _ in work])
        hidden = decoder.hidden(torch.tensor(flat), torch.tensor(at), attend)
    return list(hidden.split([span.count for span, _ in work]))


def new_cache(decoder: Decoder, rows: int = 4) -> RowCache:
    return RowCache(decoder.config, rows, dtype=torch.float32, device=decoder.device)


def test_chunks_and_single_tokens_in_one_step_give_the_full_pass(decoder: Decoder) -> None:
    cache = new_cache(decoder)
    other = tuple(reversed(TOKENS))
    advance(decoder, cache, [(Span(2, 0, 50), TOKENS), (Span(0, 0, 7), other)])
    first, second, third = advance(
        decoder, cache, [(Span(2, 50, 1), TOKENS), (Span(3, 0, 33), TOKENS), (Span(0, 7, 1), other)]
    )
    torch.testing.assert_close(first, full(decoder, TOKENS)[50:51], atol=2e-5, rtol=0)
    torch.testing.assert_close(second, full(decoder, TOKENS)[:33], atol=2e-5, rtol=0)
    torch.testing.assert_close(third, full(decoder, other)[7:8], atol=2e-5, rtol=0)
    (later,) = advance(decoder, cache, [(Span(3, 33, 40), TOKENS)])
    torch.testing.assert_close(later, full(decoder, TOKENS)[33:73], atol=2e-5, rtol=0)


def test_copied_and_stored_prefixes_give_the_full_pass(decoder: Decoder) -> None:
    cache = new_cache(decoder)
    advance(decoder, cache, [(Span(1, 0, 60), TOKENS)])
    taken = cache.take(1, 30)
    cache.copy(1, 3, 45)
    advance(decoder, cache, [(Span(1, 0, 60), tuple(reversed(TOKENS)))])  # what was taken must not follow the row
    cache.store(0, 0, taken)
    copied, stored = advance(decoder, cache, [(Span(3, 45, 5), TOKENS), (Span(0, 30, 1), TOKENS)])
    torch.testing.assert_close(copied, full(decoder, TOKENS)[45:50], atol=2e-5, rtol=0)
    torch.testing.assert_close(stored, full(decoder, TOKENS)[30:31], atol=2e-5, rtol=0)


def test_leftovers_of_a_longer_request_are_never_seen(decoder: Decoder) -> None:
    cache = new_cache(decoder)
    cache.kv.fill_(1e4)
    prompt, single = advance(decoder, cache, [(Span(1, 0, 9), TOKENS), (Span(0, 0, 1), TOKENS)])
    torch.testing.assert_close(prompt, full(decoder, TOKENS)[:9], atol=2e-5, rtol=0)
    torch.testing.assert_close(single, full(decoder, TOKENS)[:1], atol=2e-5, rtol=0)


def test_cache_grows_and_keeps_what_it_holds(decoder: Decoder) -> None:
    cache = new_cache(decoder)
    advance(decoder, cache, [(Span(1, 0, 50), TOKENS)])
    before, length = cache.take(1, 50), cache.length
    cache.reserve(length + 1)
    assert cache.length > length
    assert torch.equal(cache.take(1, 50), before)
    kept = cache.kv
    cache.reserve(length)
    assert cache.kv is kept


def test_cache_never_grows_beyond_the_window_by_rounding(decoder: Decoder) -> None:
    cache = new_cache(decoder, rows=1)
    cache.reserve(decoder.config.window)
    assert cache.length == decoder.config.window


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [([], [], 0), ([1], [], 0), ([1, 2], [1, 2], 2), ([1, 2], [1, 2, 3], 2), ([1, 2, 3], [1, 9, 3], 1), ([4], [5], 0)],
)
def test_common_prefix_counts_equal_leading_tokens(first: list[int], second: list[int], shared: int) -> None:
    assert common_prefix(np.array(first, np.int64), np.array(second, np.int64)) == shared


def entry(*tokens: int) -> tuple[np.ndarray, torch.Tensor]:
    return np.array(tokens, np.int64), torch.full((1, 2, 1, len(tokens), 1), float(tokens[-1]))


def test_longest_prefix_of_the_same_adapter_is_found() -> None:
    store = PrefixStore(100)
    for tokens, adapter in ([(1, 2, 3), 0], [(1, 2, 3, 4, 5), 0], [(1, 2, 3, 4, 5, 6), 7]):
        keys, kv = entry(*tokens)  # type: ignore[misc]
        store.put(keys, adapter, kv)  # type: ignore[arg-type]
    length, kv_found = store.longest(np.array([1, 2, 3, 4, 5, 6, 9]), 0)
    assert length == 5
    assert kv_found is not None
    assert float(kv_found[0, 0, 0, 0, 0]) == 5.0
    assert store.longest(np.array([1, 2, 3, 4, 5, 6, 9]), 7)[0] == 6
    assert store.longest(np.array([1, 2, 3]), 8) == (0, None)
    assert store.longest(np.array([2, 3]), 0) == (0, None)


def test_prefix_that_is_extended_is_replaced() -> None:
    store = PrefixStore(100)
    store.put(*reordered(entry(1, 2), 0))
    store.put(*reordered(entry(1, 2, 3), 0))
    store.put(*reordered(entry(1, 2, 3), 0))
    assert store.tokens == 3


def test_least_recently_used_prefix_leaves_first() -> None:
    store = PrefixStore(6)
    store.put(*reordered(entry(1, 1, 1), 0))
    store.put(*reordered(entry(2, 2, 2), 0))
    store.longest(np.array([1, 1, 1]), 0)
    store.put(*reordered(entry(3, 3, 3), 0))
    assert [store.longest(np.array([n] * 3), 0)[0] for n in (1, 2, 3)] == [3, 0, 3]
    assert store.tokens == 6


def test_forgotten_adapter_leaves_nothing() -> None:
    store = PrefixStore(100)
    store.put(*reordered(entry(1, 2, 3), 4))
    store.put(*reordered(entry(1, 2, 3), 5))
    store.forget(4)
    assert store.longest(np.array([1, 2, 3]), 4) == (0, None)
    assert store.longest(np.array([1, 2, 3]), 5)[0] == 3
    assert store.tokens == 3


def reordered(made: tuple[np.ndarray, torch.Tensor], adapter: int) -> tuple[np.ndarray, int, torch.Tensor]:
    return made[0], adapter, made[1]
