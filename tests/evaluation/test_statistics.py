"""Intervals cover, degenerate data are not certain, and the exact error rates agree with simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmagentos.errors import GateError
from llmagentos.evaluation.statistics import (
    bootstrap_mean,
    bound_rule_passes,
    difference_distribution,
    gain_power,
    non_inferiority_bound,
    paired_bootstrap,
    point_rule_errors,
    point_rule_passes,
    second_look_passes,
    wilson_interval,
)


def test_paired_bootstrap_is_the_same_for_the_same_seed_and_differs_for_another():
    rng = np.random.default_rng(0)
    left, right = rng.random(50), rng.random(50)
    assert paired_bootstrap(left, right, seed=3) == paired_bootstrap(left, right, seed=3)
    assert paired_bootstrap(left, right, seed=3) != paired_bootstrap(left, right, seed=4)


def test_paired_bootstrap_uses_the_pairing():
    """The same marginal scores, paired well or badly: only the pairing tells them apart."""
    hard_and_easy = [0.0] * 50 + [1.0] * 50
    nearly = [*hard_and_easy[:49], 1.0, *hard_and_easy[50:]]
    paired = paired_bootstrap(nearly, hard_and_easy)
    crossed = paired_bootstrap(nearly[::-1], hard_and_easy)
    assert paired.estimate == pytest.approx(crossed.estimate)
    assert paired.high - paired.low < 0.05 < crossed.high - crossed.low


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_bootstrap_interval_covers_the_true_mean_about_as_often_as_it_says(method):
    rng = np.random.default_rng(1)
    covered = 0
    for seed in range(300):
        data = rng.choice([1.0, 0.0, -1.0], p=[0.15, 0.75, 0.10], size=80)
        interval = bootstrap_mean(data, seed=seed, resamples=1000, method=method, support=(-1, 1))
        covered += interval.low <= 0.05 <= interval.high
    assert 0.91 <= covered / 300 <= 0.985


def test_bootstrap_of_many_distinct_values_agrees_with_the_normal_interval():
    data = np.random.default_rng(2).normal(0.5, 0.1, 400)
    interval = bootstrap_mean(data, resamples=4000)
    half = 1.96 * data.std() / math.sqrt(400)
    assert interval.low == pytest.approx(data.mean() - half, abs=0.1 * half)
    assert interval.high == pytest.approx(data.mean() + half, abs=0.1 * half)


def test_bca_moves_the_interval_of_skewed_data_towards_the_long_tail():
    data = np.random.default_rng(3).exponential(1.0, 40)
    percentile, bca = bootstrap_mean(data), bootstrap_mean(data, method="bca")
    assert bca.low > percentile.low
    assert bca.high > percentile.high


@pytest.mark.parametrize("method", ["percentile", "bca"])
@pytest.mark.parametrize("count", [1, 2, 10, 800])
def test_equal_differences_are_not_taken_for_certainty(count, method):
    interval = paired_bootstrap([1.0] * count, [1.0] * count, method=method)
    assert interval.estimate == 0
    assert interval.low == pytest.approx(-interval.high)
    assert interval.high == pytest.approx(1 - 0.025 ** (1 / count))
    only_wins = paired_bootstrap([1.0] * count, [0.0] * count, method=method)
    assert only_wins.high == 1
    assert (only_wins.low > 0) == (count > 5), "a handful of wins is no proof"


@given(
    st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40), st.sampled_from(["percentile", "bca"])
)
@settings(max_examples=60)
def test_interval_holds_its_estimate_and_stays_in_range(pairs, method):
    left, right = [float(a) for a, _ in pairs], [float(b) for _, b in pairs]
    interval = paired_bootstrap(left, right, method=method, resamples=500)
    assert -1 <= interval.low <= interval.high <= 1
    assert interval.low - 1e-9 <= interval.estimate <= interval.high + 1e-9


@pytest.mark.parametrize(
    ("left", "right", "word"),
    [
        ([], [], "at least one"),
        ([1.0], [1.0, 0.0], "paired"),
        ([math.nan, 1.0], [0.0, 0.0], "finite"),
        ([1.0, 1.0], [0.0, math.inf], "finite"),
    ],
)
def test_paired_bootstrap_refuses_what_cannot_be_compared(left, right, word):
    with pytest.raises(GateError, match=word):
        paired_bootstrap(left, right)


def test_wilson_interval_equals_published_values():
    """Newcombe, Statistics in Medicine 17 (1998), table I, method 3."""
    for successes, total, low, high in [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)]:
        interval = wilson_interval(successes, total)
        assert (interval.low, interval.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))
    assert wilson_interval(1, 29).high == pytest.approx(0.1718, abs=1e-4)
    assert wilson_interval(20, 20).high == 1


def test_difference_distribution_is_exact_for_two_tasks():
    chances = difference_distribution(2, up=0.2, down=0.1)
    expected = [0.01, 2 * 0.1 * 0.7, 0.49 + 2 * 0.2 * 0.1, 2 * 0.2 * 0.7, 0.04]
    assert chances.tolist() == pytest.approx(expected)


def test_point_rule_error_rates_agree_with_simulation():
    rng = np.random.default_rng(4)
    rates = point_rule_errors(100, margin=0.03, flip_rate=0.10, drop=0.06)
    unchanged = rng.multinomial(100, [0.05, 0.05, 0.90], size=40_000)
    damaged = rng.multinomial(100, [0.05, 0.11, 0.84], size=40_000)
    assert rates.refuses_unchanged == pytest.approx(np.mean(unchanged[:, 0] - unchanged[:, 1] < -3), abs=0.01)
    assert rates.passes_drop == pytest.approx(np.mean(damaged[:, 0] - damaged[:, 1] >= -3), abs=0.01)
    assert 0.12 < rates.refuses_unchanged < 0.15
    assert 0.25 < rates.passes_drop < 0.28


def test_a_loss_of_exactly_the_margin_passes_in_spite_of_binary_fractions():
    for tasks, margin in [(100, 0.03), (100, 0.29), (300, 0.07)]:
        allowed = round(tasks * margin)
        chances = difference_distribution(tasks, 0.0, 0.2)
        assert point_rule_passes(tasks, margin, 0.0, 0.2) == pytest.approx(chances[tasks - allowed :].sum())


def test_bound_rule_agrees_with_the_bootstrap_that_the_gate_uses():
    rng = np.random.default_rng(5)
    passed = 0
    for seed in range(400):
        difference = rng.choice([1.0, 0.0, -1.0], p=[0.05, 0.90, 0.05], size=800)
        bound = non_inferiority_bound(np.maximum(difference, 0), np.maximum(-difference, 0), seed=seed)
        passed += bound.low >= -0.03
    assert passed / 400 == pytest.approx(bound_rule_passes(800, -0.03, 0.05, 0.05), abs=0.05)


def test_bound_rule_wants_numbers():
    few, many = (bound_rule_passes(tasks, -0.03, 0.05, 0.05) for tasks in (100, 800))
    assert few == pytest.approx(0.26, abs=0.01)
    assert many == pytest.approx(0.85, abs=0.01)
    assert bound_rule_passes(800, -0.03, 0.05, 0.15) < 1e-4


def test_gain_power_rises_with_gain_and_tasks_and_is_the_error_rate_at_none():
    assert gain_power(100, 0.0) == pytest.approx(0.025, abs=0.01)
    assert gain_power(100, 0.05) < gain_power(100, 0.10) < gain_power(300, 0.10)
    assert gain_power(100, 0.25) > 0.99


@pytest.mark.parametrize("drop", [0.0, 0.03, 0.06])
def test_second_look_agrees_with_simulation(drop):
    rng, tasks, further, margin, reach = np.random.default_rng(3), 60, 120, 0.03, 0.05
    signs, chances = [-1, 0, 1], [0.05 + drop, 0.9 - drop, 0.05]
    passed = 0
    for _ in range(4000):
        first = int(rng.choice(signs, tasks, p=chances).sum())
        good = first >= -margin * tasks - 1e-9
        if not good and first >= -(margin + reach) * tasks - 1e-9:
            both = first + int(rng.choice(signs, further, p=chances).sum())
            good = both >= -margin * (tasks + further) - 1e-9
        passed += good
    exact = second_look_passes(tasks, further, margin, reach, 0.05, 0.05 + drop)
    assert exact == pytest.approx(passed / 4000, abs=4 * (0.25 / 4000) ** 0.5)
    assert exact > point_rule_passes(tasks, margin, 0.05, 0.05 + drop)
    assert second_look_passes(tasks, further, margin, 0.0, 0.05, 0.05) == point_rule_passes(tasks, margin, 0.05, 0.05)
