"""When an agent that is unsure should say that nothing fits: a threshold on the probability of its reply.

In: runs of a candidate on the development split, and what saying so would have brought there. Out: an `Abstention`.
It does not know which learner made the candidate, nor how a release keeps what is found here.

This is selective prediction with the softmax response as confidence (Geifman and El-Yaniv 2017, arXiv 1705.08500):
what few examples of requests that nothing fits cannot teach is seen in how sure the agent is of its calls
(Larson et al. 2019, arXiv 1909.02027, threshold their out-of-scope requests in the same way).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from llmagentos.environments.language import LanguageEnvironment
from llmagentos.kernel.rollouts import Policy, Rollouts
from llmagentos.records.calls import Abstention
from llmagentos.records.episode import Episode
from llmagentos.records.generation import probability
from llmagentos.records.identity import JSON
from llmagentos.records.progress import Progress
from llmagentos.records.release import Candidate
from llmagentos.releases.prompts import abstention_artefact

TASKS = 500
"""Most development tasks that the threshold is chosen on."""
LOST = 0.01
"""Share of the right calls that may be given up: what a team notices least, by the rule, not by the data."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """What a threshold does on the development split."""

    abstention: Abstention | None
    """None where it would help with nothing."""
    tasks: int
    before: float
    """Success without it, in [0, 1]."""
    after: float
    gained: int
    """Tasks that are right with it alone."""
    lost: int
    """Tasks that were right without it alone."""

    @property
    def evidence(self) -> dict[str, JSON]:
        """As a candidate reports it."""
        found = {name: getattr(self, name) for name in ("tasks", "before", "after", "gained", "lost")}
        return {"below": self.abstention.below if self.abstention else 0.0, **found}

    def applied(self, candidate: Candidate, store: Callable[[bytes], str]) -> Candidate:
        """The candidate with this threshold as an artefact of its own, also where it is to replace one with none."""
        artefact = abstention_artefact(candidate.skill, self.abstention or Abstention(0.0, ""), store)
        others = [one for one in candidate.artefacts if one.name != artefact.name]
        evidence = {**candidate.evidence, "abstention": self.evidence}
        return replace(candidate, artefacts=(*others, artefact), evidence=evidence)

    def __str__(self) -> str:
        if self.abstention is None:
            return f"the agent never abstains: on {self.tasks} development tasks it would help with nothing"
        return (
            f"below a probability of {self.abstention.below:.2f} the agent says {self.abstention.words!r}: "
            f"{self.before:.0%} became {self.after:.0%} of {self.tasks} development tasks "
            f"({self.gained} gained, {self.lost} lost)"
        )


def weigh(
    env: LanguageEnvironment,
    rollouts: Rollouts,
    policy: Policy,
    on_progress: Callable[[Progress], None] = lambda event: None,
) -> Weighed:
    """Play development tasks with `policy` and with the environment's words for "nothing fits"; choose a threshold."""
    words, labels = env.abstention, {"purpose": "development"}
    tasks = env.tasks("development", TASKS)
    policy = replace(policy, arguments=without(policy.arguments))
    runs = rollouts.play(tasks, policy, stage=f"how sure: {env.skill}", labels=labels, on_progress=on_progress)
    always = Policy("", program="policy", arguments={"function": lambda observation: words})
    instead = rollouts.play(tasks, always, labels=labels)
    return choose(runs, [one.success for one in instead], words)


def choose(runs: Sequence[Episode], instead: Sequence[bool], words: str) -> Weighed:
    """The highest threshold that gives up at most `LOST` of the right calls, and fewer than it gains.

    `instead` says of each run whether `words` in the place of its reply would have been right.
    """
    sure = [confidence(run) for run in runs]
    right = [run.success for run in runs]
    lost = sorted(s for s, own, other in zip(sure, right, instead, strict=True) if own and not other)
    gained = sorted(s for s, own, other in zip(sure, right, instead, strict=True) if other and not own)
    best, best_gained, best_lost = 0.0, 0, 0
    ends = [*gained[1:], 1.0] if gained else []
    for count, (confident, above) in enumerate(zip(gained, ends, strict=True), start=1):
        below = _between(confident, above, lost)
        given_up = sum(s < below for s in lost)
        if given_up <= LOST * len(lost) and given_up < count:
            best, best_gained, best_lost = below, count, given_up
    total = max(1, len(runs))
    before = sum(right) / total
    return Weighed(
        Abstention(best, words) if best_gained else None,
        len(runs),
        before,
        before + (best_gained - best_lost) / total,
        best_gained,
        best_lost,
    )


def _between(confident: float, above: float, lost: Sequence[float]) -> float:
    """A threshold above one wrong call and not above the next, half way to the first right call that lies between."""
    end = min((s for s in lost if s > confident), default=1.0)
    return (confident + min(above, end)) / 2


def without(arguments: Mapping[str, JSON]) -> dict[str, JSON]:
    """Arguments of runs that never abstain: what is learned from or measured is the agent's own reply."""
    return {name: value for name, value in arguments.items() if name != "abstain"}


def confidence(run: Episode) -> float:
    """Probability of the run's first reply as a whole, in [0, 1]; 1 where it is not known."""
    known = (one.logprobs for one in run.transcript.segments if one.origin == "sampled" and one.logprobs is not None)
    return probability(next(known, None))
