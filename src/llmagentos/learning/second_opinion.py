"""A second opinion on the first reply: prototypes of a skill's requests, and whether they help beside the model.

In: an environment whose tasks are one request with one of few right replies each, an embedder, what people corrected.
Out: prototypes, and what they would have changed on the development split.
It does not know how a release keeps them, nor how the kernel weighs both voices (`records.calls.Opinion`).

A model that has seen four requests of an intent errs otherwise than an embedder that has read a billion sentences: a
product of both experts is better than either. Beside a handful of requests the embedder says more, beside many the
model does, and their probabilities say which: nothing of this is chosen by a size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from llmagentos.environments.request_audit import doubtful
from llmagentos.errors import LLMAgentOSError
from llmagentos.kernel.rollouts import Policy, Rollouts
from llmagentos.learning.worked import same_prompt
from llmagentos.models.prototypes import Prototypes
from llmagentos.records.calls import Opinion
from llmagentos.records.episode import Episode
from llmagentos.records.identity import JSON
from llmagentos.records.task import Split, reset_options

if TYPE_CHECKING:
    from llmagentos.environments.language import LanguageEnvironment
    from llmagentos.records.task import Task
    from llmagentos.releases.classifiers import Classifiers

MOST, MOST_MADE = 6000, 1000
"""Training requests that prototypes are made of: of records, and where tasks are generated."""
HELD: tuple[Split, ...] = ("development", "gate", "report")
MOST_HELD = 300
"""Requests of each split that is held out; where there are more, those that are learned from are enough."""
TRIED = 4
"""Training tasks that are played to see whether one reply ends them."""
LOOKED_AT, ALL_DIFFERENT = 200, 0.95
"""So many are looked at before more are drawn, and the share of different replies among them from which on none are."""
OF_EACH = 1.5
"""Requests of a reply, in the mean, below which replies do not repeat themselves enough."""
FOUND = 0.5
"""Share of the way from the commonest reply to the right one for every request, below which the embedder does not see
what is asked."""
WEIGHT = 2.0
"""Of the opinion beside the model, which is surer of itself than it should be after few requests. With 105 requests of
two domains of CLINC150 the model alone had 84 % of 300 others right, the prototypes 90 and 94 %, both together 92 and
93 % at a weight of 1, 92 and 94 % at 2, 92 and 94 % at 3."""
LABELS = {"purpose": "development"}
"""Of the runs that are played to see what helps."""
CONTRADICTED = 2
"""Development tasks by which more are lost than gained, from which on prototypes are left out."""


@dataclass(frozen=True, slots=True)
class Heard:
    """Runs of the model alone, and what became of them by both voices together."""

    sure: list[float]
    """Probability of what is said, in [0, 1]."""
    right: list[bool]
    near: list[float]
    """Cosine to the nearest known requests that something is to be done for, in [-1, 1]; 1 where nobody compared."""
    gained: int = 0
    """Tasks that only both together do right."""
    lost: int = 0
    """Tasks that the model alone does right."""

    @property
    def helps(self) -> bool:
        """Whether nothing speaks against the second voice."""
        return self.lost - self.gained < CONTRADICTED

    @property
    def success(self) -> float:
        """Share of the tasks that are done right, in [0, 1]."""
        return sum(self.right) / max(1, len(self.right))

    @property
    def evidence(self) -> dict[str, JSON]:
        """As a candidate reports it."""
        return {"tasks": len(self.right), "after": self.success, "gained": self.gained, "lost": self.lost}

    def __str__(self) -> str:
        before = self.success - (self.gained - self.lost) / max(1, len(self.right))
        return change(before, self.success, len(self.right), self.gained, self.lost)


def change(before: float, after: float, tasks: int, gained: int, lost: int) -> str:
    """What became of success on development tasks, for a person."""
    return f"{before:.0%} became {after:.0%} of {tasks} development tasks ({gained} gained, {lost} lost)"


def remember(
    env: LanguageEnvironment,
    classifiers: Classifiers,
    corrected: Sequence[tuple[str, str]],
    note: str,
    say: Callable[[str], Any] = lambda text: None,
) -> Prototypes | None:
    """Prototypes of an environment's training requests and of those that people corrected (request, right reply); None
    where its tasks are not such, or the embedder does not see what they ask.

    `note` sets them apart from others that are the same. Where no embedder can be had, `say` is told so.
    """
    if env.finite and env.most_steps > 1:  # a few conversations among single requests are not seen in a few tasks
        return None
    if not (same_prompt(env) and _shown(env, env.tasks("train", TRIED), ending=True)):
        return None
    few = _shown(env, env.tasks("train", LOOKED_AT))
    if _different(few) > ALL_DIFFERENT * len(few):
        return None
    shown = _shown(env, env.tasks("train", MOST if env.finite else MOST_MADE))
    if not 2 <= _different(shown) <= len(shown) / OF_EACH:
        return None
    asked = {request for request, _ in shown}
    apart = [one for split in HELD for one in _shown(env, env.tasks(split, MOST_HELD))] if env.finite else []
    apart = [one for one in apart if one[0] not in asked]
    held = [False] * len(shown) + [True] * len(apart)
    shown += apart
    try:
        vectors = classifiers.embed([request for request, _ in (*shown, *corrected)])
    except LLMAgentOSError as problem:
        say(f"requests are not compared with those that are known: {problem}")
        return None
    replies = [reply for _, reply in (*shown, *corrected)]
    learned = shown[: held.count(False)]
    _tell_doubts(learned, np.asarray(vectors[: len(learned)], dtype=np.float32), say)
    made = Prototypes.of(vectors[: len(shown)], replies[: len(shown)], classifiers.name, WEIGHT, held)
    commonest = Counter(replies[: len(shown)]).most_common(1)[0][1] / len(shown)
    if made.found < commonest + FOUND * (1 - commonest):
        return None
    made = replace(made, note=note)
    return made.besides(vectors[len(shown) :], replies[len(shown) :]) if corrected else made


def _tell_doubts(learned: Sequence[tuple[str, str]], vectors_NH: np.ndarray, say: Callable[[str], Any]) -> None:
    """Say how many of the requests that are learned from look mislabelled or planted: they are learned nevertheless."""
    doubts = doubtful([request for request, _ in learned], [reply for _, reply in learned], vectors_NH)
    if doubts:
        request, reply = learned[doubts[0].at]
        say(
            f"{len(doubts):,} of {len(learned):,} requests that are learned look mislabelled or planted, such as "
            f"{request[:60]!r} with {reply[:60]}; a file's are listed by: llmagentos data check FILE"
        )


def _different(shown: Sequence[tuple[str, str]]) -> int:
    return len({reply for _, reply in shown})


def _shown(env: LanguageEnvironment, tasks: Sequence[Task], *, ending: bool = False) -> list[tuple[str, str]]:
    """Requests with their right reply; without those that the environment cannot begin or nobody can answer, and
    nothing where one should be `ending` by that reply, with success, and is not."""
    found = []
    for task in tasks:
        try:
            seen = env.reset(seed=task.seed, options=reset_options(task))[0]
            expert = env.expert(task)
            reply = env.right_answer(task) if expert is None else expert(seen)
            if ending and reply is not None:
                *_, over, cut, info = env.step(reply)
                if not ((over or cut) and info.get("success")):
                    return []
        except Exception:  # noqa: BLE001 (the environment's own code; who plays the task hears of it)
            continue
        if reply is not None:
            found.append((seen, reply.strip()))
    return found


def hear(
    runs: Sequence[Episode], sure: Sequence[float], opinions: Sequence[Opinion], rollouts: Rollouts, nothing: str = ""
) -> Heard:
    """What a second voice, with an opinion on each, changes in `runs` of the model alone, which is `sure` of its
    replies; `nothing` are the words for that nothing is to be done."""
    right = [run.success for run in runs]
    said = [run.steps[0].action if run.steps else "" for run in runs]
    heard = [opinion.weighed(reply, own) for opinion, reply, own in zip(opinions, said, sure, strict=True)]
    changed = [place for place, (reply, _) in enumerate(heard) if reply != said[place]]
    instead = {runs[place].observation: heard[place][0] for place in changed}
    other = Policy("", program="policy", arguments={"function": lambda observation: instead[observation]})
    tasks = [runs[place].task for place in changed]
    played = rollouts.play(tasks, other, labels=LABELS) if tasks else []
    became = list(right)
    for place, run in zip(changed, played, strict=True):
        became[place] = run.success
    gained = sum(now and not before for now, before in zip(became, right, strict=True))
    lost = sum(before and not now for now, before in zip(became, right, strict=True))
    near = [opinion.nearest(nothing) for opinion in opinions]
    return Heard([one for _, one in heard], became, near, gained, lost)
