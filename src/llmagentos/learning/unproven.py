"""What was learned and not taken over: where the next learning of the skill goes on from it.

In: candidates and their verdicts. Out: the one to go on from, what it lost, and how often that skill was tried from a
release. It does not know how anything is learned or judged.

Two kinds of refusal leave something to go on from. The gain could be chance: more learning shows what it is. Or it is
sure, and a skill that the same adapter serves lost by it: replaying that skill more than others brings it back, for as
long as every round loses less than the one before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmagentos.learning.tempering import TEMPERED
from llmagentos.records.release import Candidate, ChangeKind, Release, SkillCheck, Verdict

if TYPE_CHECKING:
    from llmagentos.releases.registry import Releases

AFTER = "after"
"""In a candidate's evidence: the refused one that it went on from."""
TRIES = 2
"""How often corrections are learned that the gate refuses: the second time with other runs beside them, which weigh
more."""
MORE = 2
"""Times more that a skill which lost is replayed, beside the once of every kept skill."""


class Tried:
    """What was tried before in one home."""

    def __init__(self, releases: Releases) -> None:
        self._releases = releases

    def tried(self, skill: str, learner: str, live: Release) -> list[Candidate]:
        """What a learner made of a release for a skill, oldest first."""
        return tried_from(live.id, skill, learner, self._releases.candidates())

    def unproven(self, skill: str, learner: str, live: Release, kept: Sequence[str]) -> tuple[Candidate | None, str]:
        """The earlier try that learning goes on from, and why it was refused; none whose data was withdrawn."""
        verdicts = self._releases.verdicts()
        found = unproven(self.tried(skill, learner, live), verdicts, kept)
        if found is None or self._releases.rests_on_withdrawn(found):
            return None, ""
        return found, next(verdict.reason for verdict in verdicts if verdict.candidate == found.id)

    def harmed(self, after: Candidate | None) -> list[str]:
        """Skills that an earlier try took something from, each as often as it is replayed more than others."""
        if after is None:
            return []
        return next((MORE * harmed(one) for one in self._releases.verdicts() if one.candidate == after.id), [])

    def waiting(self, skill: str, learner: str, live: Release, change: ChangeKind) -> Candidate | None:
        """A candidate that was learned from the live release and not judged, because somebody interrupted the gate.

        One whose data was withdrawn since could never go live, and is left where it is.
        """
        for candidate in self._releases.open_candidates():
            made = (candidate.skill, candidate.learner, candidate.parent, candidate.change)
            if made == (skill, learner, live.id, change) and not self._releases.rests_on_withdrawn(candidate):
                return candidate
        return None

    def rested_on(self, skill: str) -> set[str]:
        """Runs of consolidations of `skill` that the live release is built on, or that were refused often enough.

        Another learner mixes a few runs into many: what it makes of them is not known.
        """
        live, refused = self._consolidations(skill)
        times = Counter(run for one in refused for run in one.episodes)
        return {run for one in live for run in one.episodes} | {run for run, count in times.items() if count >= TRIES}

    def refused(self, skill: str, runs: set[str] | None = None) -> int:
        """Consolidations of `skill` that did not go live; of those that rest on any of `runs` where they are given."""
        return sum(runs is None or not runs.isdisjoint(one.episodes) for one in self._consolidations(skill)[1])

    def _consolidations(self, skill: str) -> tuple[list[Candidate], list[Candidate]]:
        """Those that the live release is built on, and those that the gate refused."""
        released = {verdict.candidate: verdict.released for verdict in self._releases.verdicts()}
        built_on = self._releases.built_on(self._releases.live())
        made = [one for one in self._releases.candidates() if (one.change, one.skill) == ("consolidation", skill)]
        live = [one for one in made if released.get(one.id) and not built_on.isdisjoint(_weights(one))]
        return live, [one for one in made if not released.get(one.id)]


def unproven(tried: Sequence[Candidate], verdicts: Sequence[Verdict], kept: Sequence[str] = ()) -> Candidate | None:
    """What learning goes on from after the candidates `tried`, oldest first; None where it begins anew.

    That is the last one, if it was refused for nothing but a gain that was not sure. Else the last one, or the whole of
    which it is a part, if that surely gained and took something only from skills that are `kept` by the same adapter.
    """
    said = {verdict.candidate: verdict for verdict in verdicts}
    if not tried:
        return None
    last = tried[-1]
    if last.id in said and _promises(said[last.id]):
        return last
    whole = [one for one in tried if one.id == _note(last, TEMPERED, "from")]
    for one in (last, *whole):
        if one.id in said and set(harmed(said[one.id])) <= set(kept) and _heals(one, said):
            return one
    return None


def tried_from(release: str, skill: str, learner: str, candidates: Sequence[Candidate]) -> list[Candidate]:
    """What a learner made of a release for a skill, oldest first."""
    wanted = (release, skill, learner, "improvement")
    return [one for one in candidates if (one.parent, one.skill, one.learner, one.change) == wanted]


def harmed(verdict: Verdict) -> list[str]:
    """Kept skills that a candidate took something from."""
    return list(dict.fromkeys(check.skill for check in _kept(verdict) if not check.passed))


def _promises(verdict: Verdict) -> bool:
    """Whether a refused candidate gained, if not surely, and took nothing from any kept skill."""
    gains = _gains(verdict)
    gained = bool(gains) and all(check.difference.estimate > 0 for check in gains)
    return not verdict.released and gained and _near(verdict) and not harmed(verdict)


def _heals(candidate: Candidate, said: dict[str, Verdict]) -> bool:
    """Whether a refused candidate surely gained, and lost less than the one that it went on from."""
    verdict, before = said[candidate.id], said.get(str(candidate.evidence.get(AFTER, "")))
    gains = _gains(verdict)
    gained = bool(gains) and all(check.passed for check in gains)
    less = before is None or not harmed(before) or _loss(verdict) < _loss(before)
    return not verdict.released and gained and _near(verdict) and less


def _weights(candidate: Candidate) -> set[str]:
    """Digests of the adapters that a candidate brings."""
    return {one.digest for one in candidate.artefacts if one.kind == "adapter"}


def _gains(verdict: Verdict) -> list[SkillCheck]:
    return [check for check in verdict.checks if check.rule == "gain"]


def _kept(verdict: Verdict) -> list[SkillCheck]:
    return [check for check in verdict.checks if check.rule != "gain"]


def _loss(verdict: Verdict) -> float:
    """The largest loss of a kept skill, a share of its tasks."""
    return max((-check.difference.estimate for check in _kept(verdict)), default=0.0)


def _near(verdict: Verdict) -> bool:
    """Whether it stayed within the divergence budget."""
    moved, budget = verdict.divergence, verdict.divergence_budget
    return moved is None or budget is None or moved <= budget


def _note(candidate: Candidate, name: str, key: str) -> str:
    """A text in a candidate's evidence; "" where it says nothing of that."""
    noted = candidate.evidence.get(name)
    return str(noted.get(key, "")) if isinstance(noted, dict) else ""
