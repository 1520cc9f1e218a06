"""What was learned and not proven: where the gate saw a gain that could be chance, the next learning goes on there.

In: candidates and their verdicts. Out: the one to go on from, and how often that skill was tried from a release.
It does not know how anything is learned or judged.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmagentos.records.release import Candidate, Verdict


def unproven(tried: Sequence[Candidate], verdicts: Sequence[Verdict]) -> Candidate | None:
    """The last of `tried`, oldest first, if it was refused for nothing but a gain that was not sure."""
    said = {verdict.candidate: verdict for verdict in verdicts}
    verdict = said.get(tried[-1].id) if tried else None
    return tried[-1] if verdict is not None and _promises(verdict) else None


def tried_from(release: str, skill: str, learner: str, candidates: Sequence[Candidate]) -> list[Candidate]:
    """What a learner made of a release for a skill, oldest first."""
    wanted = (release, skill, learner, "improvement")
    return [one for one in candidates if (one.parent, one.skill, one.learner, one.change) == wanted]


def _promises(verdict: Verdict) -> bool:
    """Whether a refused candidate gained, if not surely, and took nothing from any kept skill."""
    gains = [check for check in verdict.checks if check.rule == "gain"]
    kept = [check for check in verdict.checks if check.rule != "gain"]
    moved, budget = verdict.divergence, verdict.divergence_budget
    near = moved is None or budget is None or moved <= budget
    gained = bool(gains) and all(check.difference.estimate > 0 for check in gains)
    return not verdict.released and gained and near and all(check.passed for check in kept)
