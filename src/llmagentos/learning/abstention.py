"""When an agent should say that nothing fits: where it is unsure of its reply, or knows no request like this one.

In: how sure a candidate is of its replies on the development split, whether they are right, and whether saying so
would have been. Out: an `Abstention`. It does not know which learner made the candidate, nor how a release keeps what
is found here.

This is selective prediction with the softmax response as confidence (Geifman and El-Yaniv 2017, arXiv 1705.08500):
what few examples of requests that nothing fits cannot teach is seen in how sure the agent is of its calls
(Larson et al. 2019, arXiv 1909.02027, threshold their out-of-scope requests in the same way).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llmagentos.learning.second_opinion import Heard, change
from llmagentos.records.calls import Abstention
from llmagentos.records.identity import JSON
from llmagentos.records.release import Candidate
from llmagentos.releases.prompts import abstention_artefact

LOST = 0.01
"""Share of the right calls that may be given up: what a team notices least, by the rule, not by the data."""
NEVER = -1.0
"""Cosine below which nothing is."""
TRIED = 64
"""Values of each threshold, about."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """What the thresholds do on the development split."""

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
    def by_likeness(self) -> bool:
        """Whether how near known requests are has a say."""
        return self.abstention is not None and self.abstention.farther > NEVER

    @property
    def evidence(self) -> dict[str, JSON]:
        """As a candidate reports it."""
        found = {name: getattr(self, name) for name in ("tasks", "before", "after", "gained", "lost")}
        words = self.abstention or Abstention(0.0, "")
        return {"below": words.below, "farther": words.farther, **found}

    def applied(self, candidate: Candidate, store: Callable[[bytes], str]) -> Candidate:
        """The candidate with this threshold as an artefact of its own, also where it is to replace one with none."""
        artefact = abstention_artefact(candidate.skill, self.abstention or Abstention(0.0, ""), store)
        return candidate.bringing(artefact, abstention=self.evidence)

    def __str__(self) -> str:
        if self.abstention is None:
            return f"the agent never abstains: on {self.tasks} development tasks it would help with nothing"
        words = self.abstention
        far = f" or a likeness of {words.farther:.2f} to any known request" if self.by_likeness else ""
        became = change(self.before, self.after, self.tasks, self.gained, self.lost)
        return f"below a probability of {words.below:.2f}{far} the agent says {words.words!r}: {became}"


def weigh(heard: Heard, instead: Sequence[bool], words: str) -> Weighed:
    """The two thresholds, on how sure the agent is and on how near known requests are, that gain most of those that
    give up at most `LOST` of the right calls, and fewer than they gain.

    `heard` are runs that never abstain, `instead` says of each whether `words` in the place of its reply would have
    been right.
    """
    seen = list(zip(heard.near, heard.sure, heard.right, instead, strict=True))
    lost = [(near, sure) for near, sure, own, other in seen if own and not other]
    gained = [(near, sure) for near, sure, own, other in seen if other and not own]
    allowed = LOST * len(lost)
    best, thresholds = (0, 0), (NEVER, 0.0)
    for farther in _thresholds([near for near, _ in gained], [near for near, _ in lost], NEVER):
        rest = [[sure for near, sure in part if near >= farther] for part in (gained, lost)]
        for below in _thresholds(rest[0], rest[1], 0.0):
            saved, given_up = (
                len(part) - sum(sure >= below for sure in left) for part, left in zip((gained, lost), rest, strict=True)
            )
            if given_up <= allowed and given_up < saved and (saved, -given_up) > (best[0], -best[1]):
                best, thresholds = (saved, given_up), (farther, below)
    farther, below = thresholds
    return Weighed(
        Abstention(below, words, farther) if best[0] else None,
        len(heard.right),
        heard.success,
        heard.success + (best[0] - best[1]) / max(1, len(heard.right)),
        *best,
    )


def _thresholds(gained: Sequence[float], lost: Sequence[float], never: float) -> list[float]:
    """What a threshold may be: `never`, or above one that is gained and not above the next, half way to the first that
    is lost and lies between."""
    ordered = sorted(set(gained))
    ordered = ordered[:: max(1, len(ordered) // TRIED)]
    ends = [*ordered[1:], 1.0] if ordered else []
    found = [never]
    for one, above in zip(ordered, ends, strict=True):
        end = min((other for other in lost if other > one), default=1.0)
        found.append((one + min(above, end)) / 2)
    return found
