"""Scores count what was played, pairs leave nothing out, and the retention formulas are those of the papers."""

from __future__ import annotations

import math

import pytest

from llmagentos.errors import GateError
from llmagentos.evaluation.metrics import continual_scores, learning_rows, pair, score
from llmagentos.records.episode import Episode, Step
from llmagentos.records.task import Reward, Task
from llmagentos.records.transcript import Segment, Transcript


def episode(seed, success=False, lenient=False, outcome="finished", reward=0.0, tokens=3):
    transcript = Transcript("tiny", (Segment("prompt", (1, 2)), Segment("sampled", tuple(range(tokens)))))
    return Episode(
        id=f"e{seed}", task=Task("Shop-v0", seed, "gate"), transcript=transcript, steps=(Step("a", "b"),),
        rewards=(Reward(reward),), success=success, lenient=lenient, outcome=outcome, seconds=2.0,
    )  # fmt: skip


def test_score_counts_success_form_tokens_and_outcomes():
    found = score([episode(1, True, True, reward=1), episode(2, lenient=True, tokens=5), episode(3, outcome="failed")])
    assert (found.tasks, found.strict.estimate, found.lenient.estimate) == (
        3,
        pytest.approx(1 / 3),
        pytest.approx(2 / 3),
    )
    assert (found.reward, found.steps, found.seconds) == (pytest.approx(1 / 3), 1, 2)
    assert found.tokens == pytest.approx(11 / 3), "prompt tokens are not the agent's"
    assert found.outcomes == {"finished": 2, "failed": 1}


def test_score_leaves_out_only_what_was_not_played():
    found = score([episode(1, True), episode(2, outcome="cancelled"), episode(3, outcome="truncated")])
    assert (found.tasks, found.strict.estimate) == (2, 0.5)
    with pytest.raises(GateError, match="None of 1"):
        score([episode(2, outcome="cancelled")])


def test_strict_success_implies_lenient_success():
    assert score([episode(1, success=True, lenient=False)]).lenient.estimate == 1


def test_pair_matches_by_task_whatever_the_order():
    paired = pair(
        [episode(1, True), episode(2)], [episode(2, True, True), episode(1)], skill="Shop", reference_release="r3"
    )
    assert paired.keys == ("Shop-v0/gate/1", "Shop-v0/gate/2")
    assert (paired.candidate, paired.reference, paired.reference_lenient) == ((1, 0), (0, 1), (0, 1))
    assert paired.reference_release == "r3"


def test_pair_counts_a_task_played_twice_once():
    paired = pair([episode(1, True), episode(1)], [episode(1)], skill="Shop", reference_release="r0")
    assert (paired.keys, paired.candidate) == (("Shop-v0/gate/1",), (0.5,))


def test_pair_refuses_to_drop_a_task_that_one_side_did_not_finish():
    with pytest.raises(GateError, match=r"1 have no partner.*Shop-v0/gate/2"):
        pair([episode(1, True)], [episode(1), episode(2)], skill="Shop", reference_release="r0")
    with pytest.raises(GateError, match="cancelled"):
        pair([episode(1, outcome="cancelled")], [episode(1)], skill="Shop", reference_release="r0")
    with pytest.raises(GateError, match="played 0"):
        pair([], [], skill="Shop", reference_release="r0")


def test_continual_scores_follow_their_formulas():
    matrix = [[0.8, 0.2, 0.1], [0.9, 0.7, 0.3], [0.6, 0.5, 0.9]]
    found = continual_scores(matrix, baseline_T=[0.1, 0.1, 0.2])
    assert found.accuracy == pytest.approx((0.6 + 0.5 + 0.9) / 3)
    assert found.backward_transfer == pytest.approx(((0.6 - 0.8) + (0.5 - 0.7)) / 2)
    assert found.forward_transfer == pytest.approx(((0.2 - 0.1) + (0.3 - 0.2)) / 2)
    assert found.forgetting == pytest.approx(((0.9 - 0.6) + (0.7 - 0.5)) / 2)


def test_continual_scores_of_one_skill_have_no_transfer():
    found = continual_scores([[0.5]], baseline_T=[0.1])
    assert (found.accuracy, found.backward_transfer, found.forward_transfer, found.forgetting) == (
        0.5,
        None,
        None,
        None,
    )


@pytest.mark.parametrize("matrix", [[], [[0.1, 0.2]], [[0.1, 0.2], [0.3]], [[math.nan]]])
def test_continual_scores_refuse_a_matrix_that_is_not_whole(matrix):
    with pytest.raises(GateError):
        continual_scores(matrix)


def test_learning_rows_end_with_the_newest_release():
    rows = {"r0": (0.0, 0.1), "r1": (0.8, 0.1), "r2": (0.7, 0.6), "r3": (0.5, 0.6)}
    assert learning_rows(rows, ["r1", "r2"]) == ((0.8, 0.1), (0.5, 0.6))
    with pytest.raises(GateError, match="'r9'"):
        learning_rows(rows, ["r9"])
