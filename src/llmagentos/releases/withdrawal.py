"""What is left of a release without the adapters that rest on withdrawn data.

In: the live release, those before it, digests that rest on withdrawn data. Out: a candidate that takes nothing but
those adapters back. It does not know what was withdrawn, nor how a candidate is judged.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import replace

from llmagentos.records.identity import new_id
from llmagentos.records.release import Artefact, Candidate, Release, latest
from llmagentos.releases.routes import Read, adapter_of

REBUILDING = "rebuild"
"""What stands in the place of a learner."""


def rebuilt(live: Release, earlier: Sequence[Release], tainted: Collection[str], read: Read) -> Candidate:
    """`live` with each tainted adapter as its newest sound release had it, or without it where there is none.

    What its skills are told, when they abstain and what is routed to it go back with it. A skill that was learned
    later is taken out. `earlier` are releases, oldest first.
    """
    artefacts, changed, lost = live.manifest.artefacts, list[Artefact](), list[str]()
    for name, adapter in latest(artefacts).items():
        if adapter.digest not in tainted:
            continue
        served = [skill for skill in live.skills if adapter_of(artefacts, skill, read) == name]
        sound = next((one for one in reversed(earlier) if _sound(one, name, tainted)), None)
        before = latest(sound.manifest.artefacts) if sound else {}
        lost += [skill for skill in served if sound is None or skill not in sound.skills]
        changed.append(before.get(name) or replace(adapter, digest=""))
        changed += _beside(served, latest(artefacts), before)
    return Candidate(
        id=new_id("candidate"),
        skill="",
        artefacts=tuple(changed),
        learner=REBUILDING,
        change="withdrawal",
        parent=live.id,
        created=time.time(),
        begins=(),
        withdrawn=tuple(lost),
    )


def _sound(release: Release, name: str, tainted: Collection[str]) -> bool:
    """Whether a release has an adapter of that name which rests on nothing withdrawn."""
    found = latest(release.manifest.artefacts).get(name)
    return found is not None and found.digest not in tainted


def _beside(skills: Sequence[str], now: dict[str, Artefact], before: dict[str, Artefact]) -> list[Artefact]:
    """Settings and routes of some skills as they were `before`; an empty digest for those that there were not."""
    own = {name: one for name, one in {**before, **now}.items() if one.kind != "adapter" and one.skill in skills}
    return [before.get(name) or replace(one, digest="") for name, one in own.items()]
