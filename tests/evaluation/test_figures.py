"""Numbers are rounded without claiming what was not found."""

from __future__ import annotations

import math

import pytest

from llmagentos.evaluation.figures import percent, points


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.912, "91 %"), (0.0, "0 %"), (1.0, "100 %"), (0.004, "0.4 %"), (0.998, "99.8 %"), (None, "–"), (math.nan, "–")],
)
def test_percent_never_rounds_to_none_or_all(share, text):
    assert percent(share) == text


@pytest.mark.parametrize(
    ("share", "bare", "signed"),
    [(0.3, "30", "+30"), (-0.025, "−2.5", "−2.5"), (0.0, "0", "0"), (-0.0001, "0", "0"), (math.nan, "–", "–")],
)
def test_points_have_a_true_minus_and_no_signed_nothing(share, bare, signed):
    assert (points(share), points(share, signed=True)) == (bare, signed)
