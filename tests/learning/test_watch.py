"""Rising rewards that mean nothing are told; a curve that still rises is not called flat."""

from __future__ import annotations

import random
from typing import Any

import pytest

from llmagentos.learning.watch import FEWEST, by_heart, is_flat, repetition, warnings

SOUND = {"reward": (0.2, 0.9), "strict": (0.2, 0.9), "lenient": (0.3, 0.95), "length": (40.0, 30.0)}


def curve(steps: int = 24, **ends: tuple[float, float]) -> list[dict[str, float]]:
    """Each metric goes evenly from its first to its second value."""
    return [
        {name: first + (last - first) * n / (steps - 1) for name, (first, last) in {**SOUND, **ends}.items()}
        for n in range(steps)
    ]


def test_sound_progress_raises_no_warning() -> None:
    assert warnings(curve()) == []
    assert warnings(curve(repetition=(0.1, 0.15))) == []


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ({"strict": (0.2, 0.2)}, "reward rose from"),
        ({"strict": (0.2, 0.2), "reward": (0.2, 0.22), "length": (30.0, 100.0)}, "times as long"),
        ({"strict": (0.5, 0.6), "lenient": (0.5, 0.95)}, "form drifts"),
        ({"repetition": (0.0, 0.6)}, "repeat themselves"),
    ],
)
def test_each_fault_is_told(ends: Any, said: str) -> None:
    found = warnings(curve(**ends))
    assert any(said in warning for warning in found)
    assert warnings(curve(FEWEST - 1, **ends)) == []


@pytest.mark.parametrize(("strict", "told"), [((0.0, 0.0), True), ((0.1, 0.1), False)])
def test_where_nothing_ever_succeeds_it_is_told_how_success_is_said(strict: tuple[float, float], told: bool) -> None:
    (said,) = warnings(curve(strict=strict, lenient=strict))
    assert ("info['success']" in said) == told


def test_runs_that_broke_off_are_told_however_few_steps_there_are() -> None:
    assert warnings([{"reward": 0.0}, {"failed": 0.25, "reward": 0.0}]) == [
        "12.5% of the agent's own runs could not be finished and taught nothing. See what they said: "
        "llmagentos ps --state failed"
    ]
    assert warnings([{"reward": 0.0}, {"reward": 0.0}]) == []


def test_longer_replies_that_succeed_more_are_fine() -> None:
    assert warnings(curve(length=(30.0, 100.0))) == []


def test_curve_is_flat_only_when_it_no_longer_rises() -> None:
    chance = random.Random(0)
    rising = [{"reward": n / 60 + chance.uniform(-0.05, 0.05)} for n in range(60)]
    level = [{"reward": 0.8 + chance.uniform(-0.05, 0.05)} for _ in range(60)]
    assert not is_flat(rising, 15)
    assert is_flat(level, 15)
    assert is_flat(level[:45], 15)
    assert not is_flat(level[:44], 15)
    assert not is_flat(level, 0)
    assert not is_flat([{"loss": 1.0}] * 60, 15)


def test_repetition_counts_fours_that_came_before() -> None:
    assert repetition((1, 2, 3, 4)) == 0.0
    assert repetition(tuple(range(20))) == 0.0
    assert repetition((7,) * 20) == pytest.approx(1 - 1 / 17)
    assert repetition(()) == 0.0


def test_practice_that_goes_better_than_fresh_tasks_is_told() -> None:
    said = by_heart(curve(strict=(0.95, 0.95)), held_out=0.7, at_most=0.78)
    assert said == [
        "95% of the runs in practice succeeded and 70% of those on fresh tasks: the training tasks are known by heart. "
        "More of them would teach it more than more minutes."
    ]


@pytest.mark.parametrize(("held_out", "at_most"), [(0.9, 0.93), (0.7, 0.99), (1.0, 1.0)])
def test_a_difference_that_is_small_or_may_be_chance_is_not_told(held_out: float, at_most: float) -> None:
    assert by_heart(curve(strict=(0.95, 0.95)), held_out, at_most) == []


def test_nothing_is_said_of_tasks_where_practice_was_short_or_there_was_none() -> None:
    assert by_heart(curve(FEWEST - 1, strict=(1.0, 1.0)), 0.0, 0.1) == []
    assert by_heart([{"loss": 0.1}] * 40, 0.0, 0.1) == []
