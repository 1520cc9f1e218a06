"""The gate is attacked: noise, harm, small losses in a chain, broken numbers, forgotten skills, gains of form only."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from llmagentos.errors import GateError
from llmagentos.evaluation.gate import Gate, GateRules, KeptSkill, gain_nature
from llmagentos.evaluation.metrics import PairedScores
from llmagentos.records.release import Candidate

FAST = GateRules(resamples=2000)
CANDIDATE = Candidate("c1", skill="Drills-v0", artefacts=(), learner="policy gradient")
HERE = Path(__file__).parent


def paired(skill, candidate, reference, candidate_lenient=None, reference_lenient=None, release="r1"):
    keys = tuple(f"{skill}/gate/{index}" for index in range(len(candidate)))
    right = tuple(map(float, reference))
    left = tuple(map(float, candidate))
    return PairedScores(
        skill, release, keys, left, right,
        left if candidate_lenient is None else tuple(map(float, candidate_lenient)),
        right if reference_lenient is None else tuple(map(float, reference_lenient)),
    )  # fmt: skip


def shares(skill, candidate, reference, tasks=100, **options):
    """Exactly `candidate` and `reference` successes of `tasks`, as nested as can be."""
    return paired(skill, [i < candidate for i in range(tasks)], [i < reference for i in range(tasks)], **options)


def drawn(rng, skill, *, tasks=100, before=0.9, up=0.05, down=0.05):
    """Results of which `up` and `down` of all tasks flip by chance."""
    reference = rng.random(tasks) < before
    flip = rng.random(tasks)
    candidate = np.where(reference, flip >= down / before, flip < up / (1 - before))
    return paired(skill, candidate, reference)


GAIN = shares("Drills-v0", 70, 40)


def judge(target=GAIN, kept=(), candidate=CANDIDATE, divergence: float | None = 0.1, rules=FAST, **options):
    return Gate(rules, clock=lambda: 7.0).judge(candidate, target, kept, divergence=divergence, **options)


def test_gate_releases_a_gain_that_costs_nothing():
    verdict = judge(kept=[KeptSkill(shares("SupportDesk-v0", 91, 90), best_score=0.92)], live_skills=["SupportDesk-v0"])
    assert verdict.released
    assert "Drills-v0 rose from 40 % to 70 % on 100 fresh tasks (30 points, 95 % interval" in verdict.reason
    assert "SupportDesk-v0 90 % → 91 %" in verdict.reason
    assert [check.rule for check in verdict.checks] == ["gain", "point-estimate"]
    assert (verdict.candidate, verdict.divergence, verdict.created) == ("c1", 0.1, 7.0)


def test_gate_refuses_harm_in_a_sentence():
    verdict = judge(kept=[KeptSkill(shares("SupportDesk-v0", 62, 91))])
    assert not verdict.released
    assert verdict.reason.startswith(
        "SupportDesk-v0 fell from 91 % to 62 % on 100 fresh tasks, more than the 3 points allowed: refused."
    )
    assert verdict.checks[0].passed, "the gain itself is real"
    assert not verdict.checks[1].passed


def test_gate_prints_the_error_rates_of_the_point_rule():
    detail = judge(kept=[KeptSkill(shares("SupportDesk-v0", 90, 91))]).checks[1].detail
    assert "within the 3 points allowed" in detail
    assert "refuses an unchanged skill 13 % of the time and passes a true loss of 6 points 26 % of the time" in detail


def test_gate_looks_again_where_chance_may_have_refused():
    gate = Gate(FAST)
    assert FAST.reach(100) == pytest.approx(1.3 * math.sqrt(0.1 / 100))
    close = {candidate: gate.is_close(KeptSkill(shares("A", candidate, 90))) for candidate in range(70, 100)}
    assert [candidate for candidate, again in close.items() if again] == [83, 84, 85, 86]
    assert FAST.reach(267) == 0, "the rule would be another one with three times as many"
    assert not gate.is_close(KeptSkill(shares("A", 260, 270, tasks=270)))
    assert replace(FAST, second_look=0.0).reach(100) == 0


@pytest.mark.parametrize(
    ("tasks", "look", "said"),
    [
        (100, 100, "estimate: where 10 % of answers flip by chance, this refuses an unchanged skill 3 % of the time"),
        (300, 100, "at a second look: where 10 % of answers flip by chance, this refuses an unchanged skill 3 % of"),
        (300, 0, "estimate: where 10 % of answers flip by chance, this refuses an unchanged skill 4 % of the time"),
    ],
)
def test_gate_prints_the_error_rates_of_both_looks(tasks: int, look: int, said: str):
    kept = KeptSkill(shares("A", tasks - 10, tasks - 9, tasks=tasks), first_look=look)
    assert said in judge(kept=[kept]).checks[1].detail


def test_gate_judges_by_the_lower_bound_where_tasks_are_many():
    fine = judge(kept=[KeptSkill(shares("SupportDesk-v0", 720, 722, tasks=800))])
    assert (fine.released, fine.checks[1].rule, fine.checks[1].difference.level) == (
        True,
        "lower-bound",
        pytest.approx(0.9),
    )
    noisy = paired("SupportDesk-v0", [not 80 <= i < 172 for i in range(800)], [i >= 80 for i in range(800)])
    verdict = judge(kept=[KeptSkill(noisy)])
    assert verdict.checks[1].difference.estimate > -0.03, "the estimate alone would have passed"
    assert not verdict.released
    assert "cannot be excluded" in verdict.reason


def test_gate_allows_a_loss_of_exactly_the_margin_and_not_one_task_more():
    assert judge(kept=[KeptSkill(shares("A", 87, 90))]).released
    assert not judge(kept=[KeptSkill(shares("A", 86, 90))]).released


def test_gate_refuses_a_gain_that_may_be_chance():
    verdict = judge(target=shares("Drills-v0", 42, 40))
    assert not verdict.released
    assert "not surely above 0: refused" in verdict.reason


def test_gate_refuses_a_gain_below_the_least_wanted():
    assert not judge(rules=replace(FAST, minimum_gain=0.3)).released


def test_gate_names_a_gain_that_is_only_form():
    form = shares(
        "Drills-v0",
        70,
        40,
        candidate_lenient=[i < 71 for i in range(100)],
        reference_lenient=[i < 70 for i in range(100)],
    )
    verdict = judge(target=form)
    assert "The gain is only form: counted leniently" in verdict.reason
    assert "it went from 70 % to 71 %" in verdict.reason
    assert (verdict.checks[0].candidate_lenient, verdict.checks[0].reference_lenient) == (0.71, 0.70)
    mostly = replace(form, candidate_lenient=tuple(float(i < 80) for i in range(100)))
    assert gain_nature(mostly) == "mostly form"
    assert gain_nature(GAIN) == "skill"
    assert "form" not in judge().reason


def test_gate_refuses_what_strays_from_the_live_release():
    verdict = judge(divergence=0.8)
    assert not verdict.released
    assert "0.80 nats per token, more than the budget of 0.50: refused" in verdict.reason
    assert not judge(divergence=math.inf).released
    assert judge(divergence=0.5).released


def test_gate_gives_no_verdict_without_the_divergence_unless_told_so():
    with pytest.raises(GateError, match="divergence_budget=None"):
        judge(divergence=None)
    assert judge(divergence=None, rules=replace(FAST, divergence_budget=None)).released
    with pytest.raises(GateError, match="not a number"):
        judge(divergence=math.nan)


def test_gate_refuses_every_failure_by_name():
    verdict = judge(divergence=2.0, kept=[KeptSkill(shares("A", 50, 90)), KeptSkill(shares("B", 10, 90))])
    assert all(word in verdict.reason for word in ("A fell", "B fell", "2.00 nats"))


def test_gate_gives_no_verdict_on_numbers_that_are_missing_or_wrong():
    broken = {
        "too few": shares("Drills-v0", 9, 1, tasks=10),
        r"score nan; scores lie": paired("Drills-v0", [math.nan] + [1.0] * 99, [0.0] * 100),
        r"score 3\.0; scores lie": paired("Drills-v0", [3.0] * 100, [0.0] * 100),
        "occur twice": replace(GAIN, keys=("same",) * 100),
        "reference 99": replace(GAIN, reference=GAIN.reference[1:]),
    }
    for words, scores in broken.items():
        with pytest.raises(GateError, match=words):
            judge(target=scores)
        with pytest.raises(GateError, match=words):
            judge(kept=[KeptSkill(scores)])


def test_gate_gives_no_verdict_when_the_new_skill_or_a_kept_one_was_not_measured():
    with pytest.raises(GateError, match="missing"):
        judge(target=None)
    with pytest.raises(GateError, match="SupportDesk-v0 was not measured"):
        judge(live_skills=["SupportDesk-v0"])
    with pytest.raises(GateError, match="results of Other-v0"):
        judge(target=shares("Other-v0", 90, 10))


def test_gate_does_not_believe_a_reference_that_fell_apart():
    """A reference served without its adapter would make any harm look like none."""
    broken = KeptSkill(shares("SupportDesk-v0", 15, 12), best_score=0.91)
    with pytest.raises(GateError, match=r"scored 91 % when it was judged and 12 %"):
        judge(kept=[broken])
    assert judge(kept=[replace(broken, best_score=0.2)]).released


def test_a_consolidation_needs_no_gain_but_may_be_inferior_nowhere():
    candidate = replace(CANDIDATE, change="consolidation")
    same, lost = KeptSkill(shares("A", 90, 90)), KeptSkill(shares("B", 80, 90))
    assert judge(None, [same], candidate, divergence=None).released
    talks = replace(candidate, skill="conversations")
    said = judge(None, [same], talks, divergence=None).reason
    assert said.startswith("conversations has no tasks to be measured by. Kept: A")
    assert not judge(None, [same, lost], candidate, divergence=None).released
    assert not judge(None, [same], candidate, divergence=9.0).released
    assert not judge(shares("Drills-v0", 60, 70), [same], candidate).released, "not on its own skill either"
    assert "Nothing was compared" in judge(None, [], candidate, divergence=None).reason


def test_a_withdrawal_may_lose_only_what_it_names():
    candidate = replace(CANDIDATE, change="withdrawal", skill="B")
    same, lost = KeptSkill(shares("A", 90, 90)), KeptSkill(shares("B", 0, 90))
    allowed = judge(None, [same, lost], candidate, divergence=None, live_skills=["A", "B"], withdrawn=["B"])
    assert allowed.released
    assert "Withdrawn as named: B" in allowed.reason
    assert not judge(None, [same, lost], candidate, divergence=None, live_skills=["A", "B"]).released
    with pytest.raises(GateError, match="A was not measured"):
        judge(None, [], candidate, divergence=None, live_skills=["A", "B"], withdrawn=["B"])


def test_an_improvement_cannot_name_its_way_around_a_loss():
    with pytest.raises(GateError, match="may not name lost skills"):
        judge(kept=[KeptSkill(shares("A", 0, 90))], withdrawn=["A"])


def test_gate_rules_refuse_numbers_that_are_points_instead_of_shares():
    for wrong in ({"margin": 3}, {"confidence": 95}, {"confidence": 0.4}, {"minimum_tasks": 0}, {"margin": math.nan}):
        with pytest.raises(GateError, match="cannot be applied"):
            GateRules(**wrong)


def test_false_releases_of_a_candidate_without_gain_are_rare():
    rng = np.random.default_rng(10)
    gate = Gate(FAST)
    released = sum(
        gate.judge(CANDIDATE, drawn(rng, "Drills-v0", before=0.5), [], divergence=0.0).released for _ in range(400)
    )
    assert released / 400 <= 0.05


def test_a_drop_of_ten_points_is_refused():
    rng = np.random.default_rng(11)
    gate = Gate(FAST)
    kept = [KeptSkill(drawn(rng, "A", down=0.15)) for _ in range(200)]
    released = sum(gate.judge(CANDIDATE, GAIN, [skill], divergence=0.0).released for skill in kept)
    assert released / 200 <= 0.06
    many = [KeptSkill(drawn(rng, "A", down=0.15, tasks=800)) for _ in range(40)]
    assert not any(gate.judge(CANDIDATE, GAIN, [skill], divergence=0.0).released for skill in many)


def play_chain(rng, gate, *, tasks, links, best_ever):
    """Releases in a row, each truly 2 points below its parent; returns how many points were lost when one was refused.

    Which release is the best is chosen by its noisy gate score, as `Releases.best` does.
    """
    skill_of = {0: 0.92}
    scores = {0: float(np.mean(rng.random(tasks) < 0.92))}
    live = 0
    for link in range(1, links + 1):
        skill_of[link] = skill_of[live] - 0.02
        reference = max(scores, key=lambda release: scores[release]) if best_ever else live
        lost = skill_of[reference] - skill_of[link]
        results = drawn(rng, "A", tasks=tasks, before=skill_of[reference], up=min(0.05, 0.07), down=0.05 + lost)
        if not gate.judge(CANDIDATE, GAIN, [KeptSkill(results, scores[reference])], divergence=0.0).released:
            return skill_of[0] - skill_of[live]
        scores[link], live = float(np.mean(results.candidate)), link
    return skill_of[0] - skill_of[live]


def test_a_chain_of_small_losses_is_refused_at_some_link():
    rng = np.random.default_rng(12)
    gate = Gate(FAST)
    at_100 = [play_chain(rng, gate, tasks=100, links=10, best_ever=True) for _ in range(120)]
    naive = [play_chain(rng, gate, tasks=100, links=10, best_ever=False) for _ in range(120)]
    assert max(at_100) < 0.2 - 1e-9, "no chain of ten gets through"
    assert np.mean(at_100) < 0.05
    assert np.mean(naive) > 1.2 * np.mean(at_100), "comparing with the last release only lets them add up"


def test_a_chain_of_small_losses_ends_at_once_where_tasks_are_many():
    rng = np.random.default_rng(13)
    lost = [play_chain(rng, Gate(FAST), tasks=800, links=5, best_ever=True) for _ in range(40)]
    assert np.mean(lost) < 0.01
    assert max(lost) <= 0.04 + 1e-9


def test_the_page_on_the_gate_says_what_the_arithmetic_says():
    spec = importlib.util.spec_from_file_location("characteristics", HERE / "characteristics.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written = (HERE.parents[1] / "docs" / "gate.md").read_text(encoding="utf-8")
    assert written == module.page(), "run: python tests/evaluation/characteristics.py > docs/gate.md"
