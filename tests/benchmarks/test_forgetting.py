"""What was forgotten is read off at the same score of the new task."""

from __future__ import annotations

import forgetting
import pytest

BEFORE = {"new": 0.0, "old": 0.9, "KL on the new task": 0.0, "KL on general requests": 0.0}


def after(new: float, old: float, moved: float) -> forgetting.JSON:
    return {"steps": 8, "new": new, "old": old, "KL on the new task": moved, "KL on general requests": moved / 2}


@pytest.mark.parametrize(
    ("goal", "left"), [(0.0, 0.9), (0.25, 0.85), (0.5, 0.8), (0.75, 0.5), (0.8, None), (1.0, None)]
)
def test_old_score_lies_between_the_runs_around_the_goal(goal: float, left: float | None) -> None:
    runs = [after(0.5, 0.8, 0.1), after(0.75, 0.5, 0.2), after(0.7, 0.1, 0.9)]
    found = forgetting.at_score(goal, BEFORE, runs, "old")
    assert found == (left if left is None else pytest.approx(left))


def test_first_crossing_counts() -> None:
    runs = [after(0.6, 0.8, 0.1), after(0.4, 0.7, 0.2), after(0.6, 0.1, 0.3)]
    assert forgetting.at_score(0.5, BEFORE, runs, "KL on the new task") == pytest.approx(0.1 * 5 / 6)


def test_conclusion_is_over_seeds_and_names_what_was_never_reached() -> None:
    ways = list(forgetting.WAYS)
    found = {
        f"seed {seed}": {
            "before": BEFORE,
            "runs": {
                ways[0]: [after(1.0, 0.8, 0.1 * (seed + 1))],
                ways[1]: [after(1.0, 0.5 - 0.1 * seed, 0.5)],
                ways[2]: [after(0.3, 0.9, 0.0)],
            },
        }
        for seed in range(2)
    }
    summary = forgetting.concluded(found)
    half = "new task at 50%"
    assert summary[ways[0]][half]["forgotten"] == {"median": 0.05, "lowest": 0.05, "highest": 0.05, "seeds": 2}
    assert summary[ways[1]][half]["forgotten"]["highest"] == pytest.approx(0.25)
    assert summary[ways[2]][half] == {}
    assert summary["rank correlation of KL on the new task with what was forgotten"] > 0.8
    forgetting.show(found, summary)


def test_equal_values_share_a_rank() -> None:
    assert forgetting.ranks([0.3, 0.1, 0.3, 0.2]) == [2.5, 0.0, 2.5, 1.0]
