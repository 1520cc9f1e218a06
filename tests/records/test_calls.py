"""Two voices are weighed as a product: the surer one prevails, and agreement makes surer."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from llmagentos.records.calls import Opinion

OPINION = Opinion(("a", "b", "c"), (math.log(0.9), math.log(0.09), math.log(0.01)), 1.0)


@pytest.mark.parametrize(
    ("said", "probability", "reply"),
    [
        ("b", 0.99, "b"),
        ("b", 0.5, "a"),
        ("b", 0.89, "a"),
        ("b", 0.92, "b"),
        ("unheard", 0.5, "a"),
        ("unheard", 0.999, "unheard"),
    ],
)
def test_surer_voice_prevails(said: str, probability: float, reply: str) -> None:
    assert OPINION.weighed(said, probability)[0] == reply


def test_probability_is_that_of_the_product() -> None:
    reply, sure = OPINION.weighed("b", 0.6)
    mine, other = 0.6 * 0.09, 0.4 * 0.9
    assert (reply, sure) == ("a", pytest.approx(other / (mine + other)))
    assert OPINION.weighed("a", 0.6) == ("a", pytest.approx(0.6 * 0.9 / (0.6 * 0.9 + 0.4 * 0.09)))


def test_weight_is_an_exponent() -> None:
    for weight in (0.0, 0.5, 2.0):
        opinion = Opinion(OPINION.replies, OPINION.logprobs, weight)
        _, sure = opinion.weighed("b", 0.999)
        odds = 0.999 / 0.001 * (0.09 / 0.9) ** weight
        assert sure == pytest.approx(odds / (1 + odds))


def test_blanks_around_a_reply_do_not_make_it_another() -> None:
    assert OPINION.weighed(" a\n", 0.6)[0] == " a\n"
    assert OPINION.weighed(" a\n", 0.6)[1] == OPINION.weighed("a", 0.6)[1]


@pytest.mark.parametrize("opinion", [Opinion(), Opinion(("a",), (0.0,)), replace(OPINION, weight=0.0)])
def test_without_another_reply_or_a_say_nothing_changes(opinion: Opinion) -> None:
    assert opinion.weighed("a", 0.2) == ("a", 0.2)


@pytest.mark.parametrize("probability", [0.0, 1.0, 1e-300])
@pytest.mark.parametrize("said", ["a", "b", "z"])
def test_extremes_give_probabilities(said: str, probability: float) -> None:
    far = Opinion(("a", "b"), (-1e-9, -1e6), 3.0)
    reply, sure = far.weighed(said, probability)
    assert 0.5 <= sure <= 1
    assert reply in ("a", "b", "z")
