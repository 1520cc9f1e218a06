"""The gate: judges a candidate against the best release each kept skill ever had.

In: paired per-task results on fresh tasks, and the divergence from the live release. Out: a `Verdict` in sentences.
It does not know how tasks were drawn or played, nor how a release is stored. How often it errs: docs/gate.md.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from llmagentos.errors import GateError
from llmagentos.evaluation.figures import percent, points
from llmagentos.evaluation.metrics import PairedScores
from llmagentos.evaluation.statistics import (
    RESAMPLES,
    bootstrap_mean,
    paired_bootstrap,
    point_rule_errors,
)
from llmagentos.records.release import Candidate, Interval, SkillCheck, Verdict

GainNature = Literal["skill", "mostly form", "only form"]


@dataclass(frozen=True, slots=True)
class GateRules:
    """What the gate asks for; the numbers are shares of tasks unless said otherwise."""

    confidence: float = 0.95
    """Level of the gain's two-sided interval, and of the one-sided bound of non-inferiority."""
    margin: float = 0.03
    """Largest loss of a kept skill that is not called a loss."""
    lower_bound_from: int = 800
    """Tasks from which non-inferiority is judged by the lower bound: an unchanged skill of which a tenth of the answers
    flip then passes 85 times in 100; at 100 tasks it would pass 26 times (docs/gate.md)."""
    minimum_tasks: int = 30
    """With fewer tasks no verdict: one answer would move a skill by more than the margin."""
    second_look: float = 1.3
    """A kept skill that the estimate refuses by no more than this many standard errors of chance is looked at again."""
    further: int = 2
    """Times as many tasks as at the first look that a second one adds."""
    minimum_gain: float = 0.0
    """The gain's lower bound must lie above this."""
    divergence_budget: float | None = 0.5
    """Most KL(candidate || live) in nats per token on prompts outside the new skill; None judges without it."""
    flip_rate: float = 0.10
    """Share of answers of an unchanged skill assumed to flip, for the error rates that are printed."""
    resamples: int = RESAMPLES
    seed: int = 0
    """Of the bootstrap: the same results give the same verdict."""

    def __post_init__(self) -> None:
        shares = {"margin": self.margin, "minimum_gain": self.minimum_gain, "flip_rate": self.flip_rate}
        wrong = [f"{name}={value}" for name, value in shares.items() if not 0 <= value < 1]
        if not 0.5 < self.confidence < 1:
            wrong.append(f"confidence={self.confidence}")
        if not self.second_look >= 0:
            wrong.append(f"second_look={self.second_look}")
        if wrong or min(self.minimum_tasks, self.lower_bound_from, self.resamples, self.further) < 1:
            raise GateError(
                f"These gate rules cannot be applied: {', '.join(wrong) or 'a count below 1'}. Shares lie in [0, 1) "
                "(3 points are 0.03), confidence above 0.5, counts are at least 1, second_look at least 0."
            )

    def reach(self, tasks: int) -> float:
        """By how much a first look of `tasks` may refuse a kept skill that is to be looked at again; 0 for never.

        More tasks than the bound asks for would change the rule between the looks: there is no second one.
        """
        again = (1 + self.further) * tasks < self.lower_bound_from
        return self.second_look * math.sqrt(self.flip_rate / tasks) if again else 0.0


@dataclass(frozen=True, slots=True)
class KeptSkill:
    """A skill that the live release has: the candidate beside the best release the skill ever had, same fresh tasks."""

    scores: PairedScores
    best_score: float | None = None
    """What that release scored when it was judged; a reference far below it now is not believed."""
    first_look: int = 0
    """Tasks of the first look, where somebody looks again at what `is_close`; 0 where nobody does."""

    @property
    def skill(self) -> str:
        """Name of the skill."""
        return self.scores.skill


class Gate:
    """Judges candidates by one set of rules."""

    def __init__(self, rules: GateRules | None = None, clock: Callable[[], float] = time.time) -> None:
        self.rules = rules or GateRules()
        self._clock = clock

    def judge(
        self,
        candidate: Candidate,
        target: PairedScores | None,
        kept: Sequence[KeptSkill],
        *,
        divergence: float | None = None,
        live_skills: Sequence[str] = (),
        withdrawn: Sequence[str] = (),
    ) -> Verdict:
        """The verdict on `candidate`, by the rules of its kind of change.

        `target` pairs it with the live release on the skill it means to improve (None for a consolidation or a
        withdrawal). `kept` holds one entry per skill that must not be lost, more where several releases are to be
        compared with. `live_skills` are the live release's: each must be in `kept`, or named in `withdrawn` by a
        withdrawal. `divergence` is mean KL(candidate || live) in nats per token outside the new skill. Raises
        `GateError` when no verdict can be reached: too few tasks, numbers missing, a kept skill not measured.
        """
        self._check_complete(candidate, target, kept, divergence, live_skills, withdrawn)
        checks: list[SkillCheck] = []
        if target is not None:
            checks.append(self._gain(target) if candidate.change == "improvement" else self._kept(KeptSkill(target)))
        checks += [self._kept(skill) for skill in kept if skill.skill not in withdrawn]
        failures = [check.detail for check in checks if not check.passed]
        budget = None if candidate.change == "withdrawal" else self.rules.divergence_budget
        if divergence is not None and budget is not None and divergence > budget:
            failures.append(
                f"On prompts outside {candidate.skill} it diverges from the live release by {divergence:.2f} nats per "
                f"token, more than the budget of {budget:.2f}: refused."
            )
        if not checks and divergence is None and candidate.change != "withdrawal":
            failures.append(f"Nothing was compared for this {candidate.change}: refused.")
        return Verdict(
            candidate=candidate.id,
            released=not failures,
            reason=" ".join(failures) if failures else _released_reason(candidate, checks, withdrawn),
            checks=tuple(checks),
            divergence=divergence,
            divergence_budget=budget,
            created=self._clock(),
        )

    def is_close(self, kept: KeptSkill) -> bool:
        """Whether a kept skill would be refused by so little that chance may have done it: worth a second look."""
        scores, margin = kept.scores, self.rules.margin
        lost = _share(scores.reference) - _share(scores.candidate)
        return margin + 1e-9 < lost <= margin + self.rules.reach(len(scores.keys)) + 1e-9

    def _check_complete(
        self,
        candidate: Candidate,
        target: PairedScores | None,
        kept: Sequence[KeptSkill],
        divergence: float | None,
        live_skills: Sequence[str],
        withdrawn: Sequence[str],
    ) -> None:
        improvement, who = candidate.change == "improvement", f"Candidate {candidate.id}"
        if withdrawn and candidate.change != "withdrawal":
            raise GateError(f"{who} is a {candidate.change} and may not name lost skills ({', '.join(withdrawn)}).")
        if improvement and target is None:
            raise GateError(f"{who} means to improve {candidate.skill}, but its results on that skill are missing.")
        if target is not None and target.skill != candidate.skill:
            raise GateError(f"{who} is for {candidate.skill}, but the results of {target.skill} were handed in.")
        measured = {skill.skill for skill in kept} | set(withdrawn)
        unmeasured = [skill for skill in live_skills if skill not in measured]
        if unmeasured:
            raise GateError(
                f"{who} cannot be judged: the live release keeps {', '.join(live_skills)}, and "
                f"{', '.join(unmeasured)} was not measured. Play its gate tasks with candidate and best release."
            )
        if divergence is not None and math.isnan(divergence):
            raise GateError(f"{who}: the divergence from the live release is not a number. Measure it again.")
        if improvement and divergence is None and self.rules.divergence_budget is not None:
            raise GateError(
                f"{who}: the divergence from the live release was not measured, and the budget is "
                f"{self.rules.divergence_budget} nats per token. Measure it, or judge with "
                "GateRules(divergence_budget=None)."
            )
        for scores in ([target] if target is not None else []) + [skill.scores for skill in kept]:
            self._check_scores(scores)

    def _check_scores(self, scores: PairedScores) -> None:
        count, columns = len(scores.keys), _columns(scores)
        if any(len(column) != count for column in columns.values()):
            found = ", ".join(f"{name} {len(column)}" for name, column in columns.items())
            raise GateError(f"{scores.skill}: {count} tasks, but {found} results. Pair them with metrics.pair.")
        if count < self.rules.minimum_tasks:
            raise GateError(
                f"{scores.skill}: {count} paired tasks are too few for a verdict; at least {self.rules.minimum_tasks} "
                f"are needed. Draw them with suite.tasks('gate', {self.rules.minimum_tasks}) and run both policies."
            )
        if len(set(scores.keys)) != count:
            raise GateError(
                f"{scores.skill}: {count - len(set(scores.keys))} of {count} tasks occur twice, which would make the "
                "result look surer than it is. Pair episodes with metrics.pair, which counts each task once."
            )
        bad = {name: value for name, column in columns.items() for value in column if not 0 <= value <= 1}
        if bad:  # NaN fails the comparison too
            name, value = next(iter(bad.items()))
            raise GateError(f"{scores.skill}: {name} has the score {value}; scores lie in [0, 1]. Evaluate it again.")

    def _gain(self, scores: PairedScores) -> SkillCheck:
        rules = self.rules
        gain = paired_bootstrap(
            scores.candidate, scores.reference, level=rules.confidence, resamples=rules.resamples, seed=rules.seed
        )
        passed = gain.low > rules.minimum_gain
        movement = _movement(scores)
        interval = f"{_points(gain.estimate)}, {percent(rules.confidence)} interval {_range(gain)}"
        if passed:
            detail = f"{movement} ({interval}). {self._nature_sentence(scores)}"
        else:
            needed = "0" if rules.minimum_gain == 0 else _points(rules.minimum_gain)
            detail = f"{movement} ({interval}), not surely above {needed}: refused."
        return _check(scores, gain, "gain", passed, detail.strip())

    def _nature_sentence(self, scores: PairedScores) -> str:
        before, after = _share(scores.reference_lenient), _share(scores.candidate_lenient)
        nature = gain_nature(scores, self.rules)
        if nature == "skill":
            return ""
        which = "The gain is only form" if nature == "only form" else "The gain is mostly form"
        return (
            f"{which}: counted leniently, whatever the form of the answer, it went from {percent(before)} "
            f"to {percent(after)}."
        )

    def _kept(self, kept: KeptSkill) -> SkillCheck:
        scores, rules = kept.scores, self.rules
        self._check_reference(kept)
        count = len(scores.keys)
        difference = paired_bootstrap(
            scores.candidate,
            scores.reference,
            level=round(2 * rules.confidence - 1, 12),
            resamples=rules.resamples,
            seed=rules.seed,
        )
        by_bound = count >= rules.lower_bound_from
        # The small term keeps a loss of exactly the margin inside it in spite of binary fractions.
        passed = (difference.low if by_bound else difference.estimate) >= -rules.margin - 1e-9
        movement, allowed = _movement(scores), _points(rules.margin)
        if passed and difference.estimate < 0:
            sentence = f"{movement}, within the {allowed} allowed"
        elif passed:
            sentence = movement
        elif difference.estimate < -rules.margin:
            sentence = f"{movement}, more than the {allowed} allowed: refused"
        else:
            sentence = (
                f"{movement}, but a loss of up to {_points(-difference.low)} cannot be excluded, more than the "
                f"{allowed} allowed: refused"
            )
        return _check(
            scores,
            difference,
            "lower-bound" if by_bound else "point-estimate",
            passed,
            f"{sentence}. {self._rule_sentence(count, by_bound, kept.first_look)}",
        )

    def _rule_sentence(self, count: int, by_bound: bool, first: int) -> str:
        rules = self.rules
        if by_bound:
            return f"Judged by the one-sided {percent(rules.confidence)} lower bound."
        tasks, further, reach = count, 0, 0.0
        if 0 < first <= count and rules.reach(first):
            tasks, further, reach = first, (count - first) or rules.further * first, rules.reach(first)
        drop = 2 * rules.margin
        rates = point_rule_errors(tasks, rules.margin, rules.flip_rate, drop, further=further, reach=reach)
        looks = "estimate, at a second look" if tasks < count else "estimate"
        return (
            f"Judged by the {looks}: where {percent(rates.flip_rate)} of answers flip by chance, this refuses an "
            f"unchanged skill {percent(rates.refuses_unchanged)} of the time and passes a true loss of "
            f"{_points(rates.drop)} {percent(rates.passes_drop)} of the time."
        )

    def _check_reference(self, kept: KeptSkill) -> None:
        """A reference that fell far below its own record makes any candidate look harmless: no verdict on it."""
        if kept.best_score is None:
            return
        if not 0 <= kept.best_score <= 1:
            raise GateError(f"{kept.skill}: best score {kept.best_score} is not in [0, 1]. Read it from the releases.")
        now, count = _share(kept.scores.reference), len(kept.scores.keys)
        middle = (now + kept.best_score) / 2
        # Four standard errors of a difference of two such proportions: chance alone gets there once in 30,000 times.
        allowed = self.rules.margin + 4 * math.sqrt(2 * middle * (1 - middle) / count)
        if kept.best_score - now > allowed:
            raise GateError(
                f"{kept.skill}: release {kept.scores.reference_release} scored {percent(kept.best_score)} when it was "
                f"judged and {percent(now)} on these {count} tasks, more than chance explains. Check that its "
                "artefacts are served (llmagentos releases show) and play the tasks again."
            )


def gain_nature(scores: PairedScores, rules: GateRules | None = None) -> GainNature:
    """Whether a strict gain is skill or form: form is what vanishes when answers are read leniently.

    `only form` where the lenient gain is not surely above 0 and less than half of the strict one, `mostly form` where
    it is sure but less than half.
    """
    rules = rules or GateRules()
    strict = _share(scores.candidate) - _share(scores.reference)
    lenient_by_task = [a - b for a, b in zip(scores.candidate_lenient, scores.reference_lenient, strict=True)]
    lenient = bootstrap_mean(
        lenient_by_task, level=rules.confidence, resamples=rules.resamples, seed=rules.seed, support=(-1.0, 1.0)
    )
    if strict <= 0 or lenient.estimate >= strict / 2:
        return "skill"
    return "mostly form" if lenient.low > 0 else "only form"


def _columns(scores: PairedScores) -> dict[str, tuple[float, ...]]:
    return {
        "candidate": scores.candidate,
        "reference": scores.reference,
        "candidate (lenient)": scores.candidate_lenient,
        "reference (lenient)": scores.reference_lenient,
    }


def _check(
    scores: PairedScores,
    difference: Interval,
    rule: Literal["gain", "lower-bound", "point-estimate"],
    passed: bool,
    detail: str,
) -> SkillCheck:
    return SkillCheck(
        skill=scores.skill,
        tasks=len(scores.keys),
        candidate=_share(scores.candidate),
        reference=_share(scores.reference),
        reference_release=scores.reference_release,
        difference=difference,
        rule=rule,
        passed=passed,
        detail=detail,
        candidate_lenient=_share(scores.candidate_lenient),
        reference_lenient=_share(scores.reference_lenient),
    )


def _released_reason(candidate: Candidate, checks: Sequence[SkillCheck], withdrawn: Sequence[str]) -> str:
    gains = [check.detail for check in checks if check.rule == "gain"]
    kept = [check for check in checks if check.rule != "gain"]
    parts = list(gains)
    if said := candidate.evidence.get("corrections"):
        parts.append(f"{said}.")
    if candidate.change == "consolidation" and candidate.skill not in {check.skill for check in checks}:
        parts.append(f"{candidate.skill} has no tasks to be measured by.")
    if withdrawn:
        parts.append(f"Withdrawn as named: {', '.join(withdrawn)}.")
    if kept:
        each = ", ".join(f"{check.skill} {percent(check.reference)} → {percent(check.candidate)}" for check in kept)
        parts.append(f"Kept: {each}.")
    elif candidate.change != "withdrawal":
        parts.append("There was no earlier skill to keep.")
    return " ".join(parts)


def _share(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _movement(scores: PairedScores) -> str:
    before, after = _share(scores.reference), _share(scores.candidate)
    verb = "stayed at" if percent(before) == percent(after) else ("rose" if after > before else "fell")
    path = f"{verb} {percent(after)}" if verb == "stayed at" else f"{verb} from {percent(before)} to {percent(after)}"
    return f"{scores.skill} {path} on {len(scores.keys)} fresh tasks"


def _points(share: float) -> str:
    number = points(share)
    return f"{number} point" if number in ("1", "−1") else f"{number} points"


def _range(interval: Interval) -> str:
    return f"{points(interval.low)} to {points(interval.high)}"
