"""What is said beside a candidate's own first reply, or in its place: a second opinion, and words where it is unsure.

In: a candidate that plays, and prototypes of its skill's requests. Out: the candidate with both, as far as they help on
the development split. It does not know who learned, nor how either is found (`second_opinion`, `abstention`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmagentos.kernel.rollouts import Policy, Rollouts
from llmagentos.learning.abstention import weigh
from llmagentos.learning.second_opinion import LABELS, Heard, hear
from llmagentos.records.episode import Episode
from llmagentos.records.generation import probability
from llmagentos.records.identity import JSON
from llmagentos.records.progress import Progress
from llmagentos.records.release import Candidate
from llmagentos.releases.classifiers import Classifiers, classifier_artefact

if TYPE_CHECKING:
    from llmagentos.environments.language import LanguageEnvironment
    from llmagentos.models.prototypes import Prototypes

TASKS = 500
"""Most development tasks that a second opinion is tried on."""
MORE_TASKS = 1000
"""And where words for that nothing fits are weighed: requests of that kind are few among all."""


def alone(arguments: Mapping[str, JSON]) -> dict[str, JSON]:
    """Arguments of runs that say what the model says: what is learned from or measured is the agent's own reply."""
    return {name: value for name, value in arguments.items() if name not in ("abstain", "classifier")}


def settled(
    env: LanguageEnvironment,
    rollouts: Rollouts,
    policy: Policy,
    candidate: Candidate,
    prototypes: Prototypes | None,
    classifiers: Classifiers,
    store: Callable[[bytes], str],
    on_progress: Callable[[Progress], Any] = lambda event: None,
) -> Candidate:
    """The candidate, which `policy` plays, with `prototypes` and with a threshold, as far as they help.

    What the live release has of either, and does not help any more, is taken out.
    """
    tasks = env.tasks("development", MORE_TASKS if env.abstention else TASKS)
    before, policy = policy.arguments, replace(policy, arguments=alone(policy.arguments))
    runs = rollouts.play(tasks, policy, stage=f"how sure: {env.skill}", labels=LABELS, on_progress=on_progress)
    sure = [confidence(run) for run in runs]
    heard = Heard(sure, [run.success for run in runs], [1.0] * len(runs))
    if prototypes is not None:
        opinions = classifiers.opinions([run.observation for run in runs], prototypes)
        found = hear(runs, sure, opinions, rollouts, env.abstention)
        candidate = replace(candidate, evidence={**candidate.evidence, "opinion": found.evidence})
        used = "" if found.helps else ", and is left out"
        said = f"what is right for the nearest known requests is a second opinion{used}: {found}"
        on_progress(Progress(f"a second opinion: {env.skill}", 1, 1, note=said))
        if found.helps:
            heard = found
        else:  # how near they are may still tell what nothing fits
            heard, prototypes = replace(heard, near=found.near), replace(prototypes, weight=0.0)
    near_tells = False
    if env.abstention:
        always = Policy("", program="policy", arguments={"function": lambda observation: env.abstention})
        instead = [run.success for run in rollouts.play(tasks, always, labels=LABELS)]
        weighed = weigh(heard, instead, env.abstention)
        on_progress(Progress(f"abstention: {env.skill}", 1, 1, note=str(weighed)))
        candidate, near_tells = weighed.applied(candidate, store), weighed.by_likeness
    if prototypes is not None and not (prototypes.weight or near_tells):
        prototypes = None
    if prototypes is not None or "classifier" in before:
        candidate = candidate.bringing(classifier_artefact(candidate.skill, prototypes, store))
    return candidate


def confidence(run: Episode) -> float:
    """Probability of the run's first reply as a whole, in [0, 1]; 1 where it is not known."""
    known = (one.logprobs for one in run.transcript.segments if one.origin == "sampled" and one.logprobs is not None)
    return probability(next(known, None))
