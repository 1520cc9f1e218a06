"""Draws that depend on seed and position alone, and follow the distribution that they claim to follow."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch

from llmagentos.models.sampling import sample, uniform
from llmagentos.records.generation import Sampling

DRAWS = 8_000


def chi_square(observed: list[int], expected: list[float]) -> float:
    return sum((o - e) ** 2 / e for o, e in zip(observed, expected, strict=True))


def limit(freedom: int) -> float:
    """A value that chi-square passes once in a million times (Wilson and Hilferty's approximation)."""
    return float(freedom * (1 - 2 / (9 * freedom) + 4.75 * math.sqrt(2 / (9 * freedom))) ** 3)


@pytest.mark.parametrize("along", ["seeds", "positions"])
def test_uniform_is_uniform_along_seeds_and_positions(along: str) -> None:
    values = [uniform(i, 17) if along == "seeds" else uniform(17, i) for i in range(DRAWS)]
    assert min(values) >= 0
    assert max(values) < 1
    counts = np.histogram(values, bins=50, range=(0, 1))[0].tolist()
    assert chi_square(counts, [DRAWS / 50] * 50) < limit(49)


@pytest.mark.parametrize(("seed_step", "position_step"), [(1, 0), (0, 1), (1, 1), (1, -1), (1_000_003, 0)])
def test_neighbouring_draws_are_independent(seed_step: int, position_step: int) -> None:
    cells = Counter(
        (int(uniform(i, 500 + i) * 8), int(uniform(i + seed_step, 500 + i + position_step) * 8)) for i in range(DRAWS)
    )
    assert chi_square([cells[a, b] for a in range(8) for b in range(8)], [DRAWS / 64] * 64) < limit(63)


def test_uniform_depends_on_both_and_on_nothing_else() -> None:
    assert uniform(3, 4) == uniform(3, 4)
    assert len({uniform(seed, position) for seed in range(60) for position in range(60)}) == 3600
    assert 0 <= uniform(-5, 2) < 1
    assert 0 <= uniform(1 << 80, 2) < 1


def draw(logits: list[float], count: int = DRAWS, **options: float) -> Counter[int]:
    rows = torch.tensor(logits).repeat(count, 1)
    settings = [Sampling(seed=9, **options)] * count  # type: ignore[arg-type]
    return Counter(sample(rows, settings, list(range(count)))[0])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_follow_the_tempered_softmax(temperature: float) -> None:
    logits = [0.0, 1.5, -1.0, 0.5, 2.0]
    counts = draw(logits, temperature=temperature)
    expected = (torch.tensor(logits) / temperature).softmax(0) * DRAWS
    assert chi_square([counts[i] for i in range(5)], expected.tolist()) < limit(4)


def test_top_p_keeps_the_nucleus_and_its_proportions() -> None:
    logits = torch.tensor([0.15, 0.5, 0.05, 0.3]).log().tolist()
    counts = draw(logits, temperature=1.0, top_p=0.7)
    assert set(counts) == {1, 3}
    assert chi_square([counts[1], counts[3]], [DRAWS * 5 / 8, DRAWS * 3 / 8]) < limit(1)


def test_tiny_top_p_takes_the_best_token() -> None:
    assert set(draw([0.0, 0.1, 0.2], 200, temperature=1.0, top_p=1e-9)) == {2}


@pytest.mark.parametrize("top_p", [0.9999999, 1 - 1e-12, math.nextafter(1.0, 0.0)])
def test_top_p_just_below_one_draws_from_everything(top_p: float) -> None:
    for seed in range(20):  # whether rounding leaves the sum below top_p depends on the logits
        logits = torch.randn(300, generator=torch.Generator().manual_seed(seed)).tolist()
        assert len(draw(logits, 20, temperature=1.0, top_p=top_p)) > 10


def test_temperature_zero_takes_the_best_token_at_its_untempered_logprob() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0], [2.0, 0.0, 1.0]])
    chosen, logprobs = sample(logits, [Sampling(seed=1), Sampling(seed=2)], [5, 6])
    assert chosen == [1, 0]
    torch.testing.assert_close(torch.tensor(logprobs), torch.stack([logits[0, 1], logits[1, 0]]) - logits.logsumexp(-1))


def test_logprob_is_that_of_the_tempered_distribution_before_top_p() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0]])
    (token,), (logprob,) = sample(logits, [Sampling(temperature=2.0, top_p=0.5, seed=3)], [0])
    assert token == 1
    assert logprob == pytest.approx(float((logits / 2).log_softmax(-1)[0, 1]))


def test_rows_do_not_see_each_other() -> None:
    logits = torch.randn(6, 40, generator=torch.Generator().manual_seed(1))
    settings = [Sampling(temperature=t, top_p=p, seed=s) for s, (t, p) in enumerate([(1, 1), (0, 1), (2, 0.5)] * 2)]
    together = sample(logits, settings, list(range(6)))
    for row in range(6):
        token, logprob = sample(logits[row : row + 1], [settings[row]], [row])
        assert token == together[0][row : row + 1]
        assert logprob == pytest.approx(together[1][row : row + 1])


def test_impossible_tokens_are_never_drawn() -> None:
    assert set(draw([float("-inf"), 0.0, float("-inf"), 0.0], 2000, temperature=1.0)) == {1, 3}
