"""What could be learned next, and what it promises: measured, not guessed.

In: a few own runs of each skill, whether somebody can show it, what people said about it. Out: prospects with the gain
to be expected, the learner, and the reason in words.
It does not know how runs are played or how a learner works.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from llmagentos.learning.strategy import DISTILLING, EXPLORING, LearnerName, choose, reinforcing
from llmagentos.learning.watch import is_mixed
from llmagentos.records.episode import Episode

SHARE = 0.5
"""Of the room above the present success that one round of learning is expected to fill."""
RECOVERING_FROM = 0.5
"""From this success on an expert that finds back corrects own runs instead of being imitated."""
WORTH_IT = 0.03
"""Expected gains below this are not worth a candidate: the gate would need more tasks than it has to see them."""
HOPE = 0.1
"""What is thought to be possible where no run succeeds yet and some are rewarded more than others."""
SURE = 0.7
"""From this success on the prompt of a skill may go: what the agent does under it is worth keeping."""
A_WORD = 0.02
"""What one correction of a person is expected to be worth, where nobody else shows the skill."""


@dataclass(frozen=True, slots=True)
class Prospect:
    """One skill that could be learned further."""

    skill: str
    success: float
    """Strict, of own runs on fresh training tasks; 0 where there is nothing to play."""
    ceiling: float
    """What own runs, an expert or people show to be possible."""
    learner: LearnerName | None
    """None where nothing can be learned from."""
    reason: str
    played: bool = True
    """Whether `success` was measured: conversations have no tasks."""
    corrected: int = 0
    """Corrections of people that nothing was learned from yet, where they are what would be learned: worth it however
    little is gained."""

    @property
    def gain(self) -> float:
        """Expected rise of strict success."""
        return SHARE * max(0.0, self.ceiling - self.success) if self.learner is not None else 0.0


def assess(
    skill: str,
    runs: Sequence[Episode],
    probe: Sequence[Sequence[Episode]],
    *,
    expert: bool,
    recovers: bool = False,
    corrections: int = 0,
    prompt_share: float = 0.0,
    answers: bool = False,
    chance: Sequence[Sequence[Episode]] = (),
) -> Prospect:
    """A skill's prospect from its greedy `runs` and, where no expert is, several sampled runs a task (`probe`), and
    some in which `chance` had a say where none of those is rewarded more than others.

    `prompt_share` is for an expert's runs (see `strategy.choose`); right `answers` that are known can be imitated where
    no run succeeds.
    """
    success = sum(run.success for run in runs) / max(1, len(runs))
    if expert:
        if recovers and success >= RECOVERING_FROM:
            return Prospect(skill, success, 1.0, "dagger", "its expert corrects the agent's own runs")
        choice = choose(skill, demonstrations=True, probe=(), prompt_share=prompt_share)
        return Prospect(skill, success, 1.0, choice.learner, choice.reason)
    rates = [sum(run.success for run in group) / len(group) for group in probe if group]
    possible = sum(rate > 0 for rate in rates) / max(1, len(rates))
    each = max((len(group) for group in probe), default=0)
    if answers and not possible:
        reason = "none of its runs succeeds, and the right answers are known to imitate"
        return Prospect(skill, success, 1.0, "imitation", reason)
    if corrections and success + A_WORD * corrections > possible:
        ceiling = min(1.0, success + A_WORD * corrections)
        return Prospect(skill, success, ceiling, "imitation", f"people corrected {corrections} of its runs")
    if any(0 < rate < 1 for rate in rates):
        learner, why = reinforcing(probe)
        reason = f"{possible:.0%} of its tasks succeed in at least one of {each} runs{why}"
        return Prospect(skill, success, max(success, possible), learner, reason)
    if not possible and any(map(is_mixed, probe)):
        learner, why = reinforcing(probe)
        reason = f"none of its runs succeeds yet, and some are rewarded more than others{why}"
        return Prospect(skill, success, success + HOPE, learner, reason)
    if not possible and any(map(is_mixed, chance)):
        reason = "none of its runs succeeds yet, and some do when chance has a say; the winners alone are imitated"
        return Prospect(skill, success, success + HOPE, EXPLORING, reason)
    why = "all its runs succeed" if rates and possible == 1 else "none of its runs succeeds and nobody shows how"
    return Prospect(skill, success, success, None, why)


def conversations(name: str, unheeded: int) -> Prospect:
    """What people corrected in conversations of no skill: nobody can play it, and a person asked for it."""
    reason = f"people corrected {unheeded} conversation{'s' * (unheeded > 1)} that nothing was learned from yet"
    return Prospect(name, 0.0, A_WORD * unheeded, "imitation", reason, played=False, corrected=unheeded)


def heeding(prospect: Prospect, unheeded: int) -> Prospect:
    """The prospect of a live skill whose runs people corrected: of learning that alone, where it promises as much."""
    hope = replace(
        prospect,
        ceiling=min(1.0, prospect.success + A_WORD * unheeded),
        learner="imitation",
        reason=f"people corrected {unheeded} of its runs that nothing was learned from yet",
        corrected=unheeded,
    )
    return hope if unheeded and (hope.gain >= prospect.gain or prospect.gain < WORTH_IT) else prospect


def best_of(prospects: Sequence[Prospect], whole: Sequence[str] = ()) -> Prospect | None:
    """The prospect with the largest expected gain, where one is worth learning.

    Else what people corrected. Else of the skills that are learned and told their `whole` prompt the
    one that succeeds most often: without the prompt its runs are shorter.
    """
    worth = [one for one in prospects if one.gain >= WORTH_IT] or [one for one in prospects if one.corrected]
    if worth:
        return max(worth, key=lambda one: one.gain)
    sure = [one for one in prospects if one.skill in whole and one.success >= SURE]
    if not sure:
        return None
    best = max(sure, key=lambda one: one.success)
    reason = "there is little to gain, and its runs get shorter without the prompt that it knows by now"
    return replace(best, learner=DISTILLING, reason=reason)
