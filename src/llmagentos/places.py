"""Where a skill is learned: in an adapter of its own, which takes nothing from others, or in one that it has to share.

In: an environment, the live release, openings of tasks. Out: a place to learn in, and routes that lead there.
It does not know learners, nor the gate.

Skills whose requests can be told apart have adapters of their own: learning one changes no run of another, and needs no
replay. Where requests of two skills look alike no router could choose, and one adapter learns both; so does the adapter
of all other requests where those of a skill look like any.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llmagentos.learning.general import rendered
from llmagentos.learning.routes import TOLD_APART, fit_route, stands_out, told_apart
from llmagentos.learning.strategy import PRACTISING
from llmagentos.learning.worked import openings
from llmagentos.models.adapters import FusedAdapter
from llmagentos.players import Players
from llmagentos.records.episode import Episode
from llmagentos.records.release import Artefact, Candidate, Release
from llmagentos.records.transcript import opened
from llmagentos.releases.prompts import brief_of
from llmagentos.releases.routes import SHARED, adapter_name, adapter_of, digest_of, route_artefact, routed

if TYPE_CHECKING:
    from llmagentos.environments.language import LanguageEnvironment

NEAR = 0.45
"""Likeness from which on a new skill begins as a copy of another's adapter: questions about restaurants have 0.65 to
other function calls, two sizes of a grid world 0.87, games 0.2 to all others."""
OPENINGS = 48
"""Training tasks of a skill whose openings are looked at."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a skill is learned."""

    adapter: str
    """Name of the artefact that is made."""
    start: FusedAdapter | None
    """What learning begins from; None is the bare base model."""
    digest: str
    """Of `start` in the store; "" for the bare base model."""
    kept: tuple[str, ...]
    """Other skills that the same adapter serves: they have to be kept while it learns."""
    known: bool
    """Whether it serves this skill already."""
    note: str
    """Why here, for a person."""

    @property
    def further(self) -> bool:
        """Whether learning goes on in an adapter that something rests on."""
        return self.start is not None and (self.known or bool(self.kept))

    def begins(self, start: FusedAdapter | None, after: Candidate | None = None) -> tuple[str, ...] | None:
        """What weights learned from `start`, or going on from the candidate `after`, began from: see `Candidate`."""
        if after is not None:
            return after.begins
        if start is None:
            return ()
        return (self.digest,) if start is self.start else None


@dataclass(frozen=True, slots=True)
class Places:
    """See the module."""

    players: Players

    def find(self, env: LanguageEnvironment, live: Release, learner: str = "") -> Place:
        """Where `env` is learned from `live`.

        A learner of own rewarded runs begins as a copy of the likest adapter, however unlike: any that has learned to
        answer in few words succeeds now and then. From the bare model the look-ups of `make demo` came to 7 % in 60
        steps, from the desk's adapter to 98 %.
        """
        skill = env.skill
        if skill in live.skills:
            return self._beside(skill, live, skill, "in the adapter that serves it")
        own, general = self._openings(env, live), self._general()
        if not stands_out(skill, own, general):
            return self.shared(live, skill)
        others = {other: self._openings(self.players.environment(other), live) for other in live.skills}
        apart = told_apart(skill, own, others, general)
        alike = min(apart, key=lambda other: apart[other], default="")
        if alike and apart[alike] < TOLD_APART:
            note = f"its requests look like those of {alike}, and both are learned in one adapter"
            return self._beside(alike, live, skill, note)
        digest, like = self._likest(own, live.manifest.artefacts, 0.0 if learner in PRACTISING else NEAR)
        note = "in an adapter of its own" + (f", which begins as that of {like}" if like else "")
        start = self.players.stored_adapter(digest) if digest else None
        return Place(adapter_name(skill), start, digest, (), False, note)

    def answering(self, live: Release) -> Callable[[Episode], str]:
        """Says of a run, corrected or not, the name of the adapter that answers a conversation which opens like it."""
        artefacts, read = live.manifest.artefacts, self.players.store.blobs.get
        router = self.players.router(artefacts)

        def answers(run: Episode) -> str:
            opening = run.transcript.tokens[: opened(run.transcript.segments)]
            route = router.route(opening) if router is not None else None
            return adapter_of(artefacts, route.skill, read) if route is not None else SHARED

        return answers

    def answered(self, runs: Sequence[Episode], adapter: str, live: Release) -> list[Episode]:
        """Those of `runs` whose conversations an adapter answers."""
        if not runs:
            return []
        answers = self.answering(live)
        return [run for run in runs if answers(run) == adapter]

    def conversations(self, adapter: str, live: Release) -> Place:
        """The adapter of that name, to learn conversations that it answers."""
        artefacts, read = live.manifest.artefacts, self.players.store.blobs.get
        served = next((one for one in live.skills if adapter_of(artefacts, one, read) == adapter), "")
        if adapter == SHARED or not served:
            return self._beside("", live, "", "in the adapter of all requests that belong to no skill")
        return self._beside(served, live, "", f"in the adapter of {served}, which answers them")

    def shared(self, live: Release, skill: str = "") -> Place:
        """The adapter of all requests that no route takes; `skill` is one whose requests look like those."""
        note = "in the adapter of all requests that belong to no skill: its own look like those"
        return self._beside("", live, skill, note)

    def _likest(self, own: Sequence[Sequence[int]], artefacts: Sequence[Artefact], least: float) -> tuple[str, str]:
        """Digest of the adapter whose skill most of `own` look like, and that skill; else of that for no skill."""
        router = self.players.router(artefacts)
        if router is None:
            return "", ""
        likest = [next(iter(router.likenesses(one)), None) for one in own]
        near = Counter((one[1].adapter, one[1].skill) for one in likest if one and one[0] >= least)
        best, count = max(near.items(), key=lambda one: one[1], default=(("", ""), 0))
        return best if 2 * count > len(own) else (router.otherwise or "", "")

    def settled(self, env: LanguageEnvironment, candidate: Candidate, place: Place, live: Release) -> Candidate:
        """The candidate with its adapter at its place, and with routes from its skill's openings to there."""
        artefacts = [replace(one, name=place.adapter) if one.kind == "adapter" else one for one in candidate.artefacts]
        known = routed(live.manifest.artefacts, self.players.store.blobs.get)
        told = candidate.upon(live)
        artefacts.append(self._route(env, place.adapter, told))
        for other in live.skills:  # skills of earlier versions have none: another's route could take their requests
            if other not in known and other != env.skill:
                artefacts.append(self._route(self.players.environment(other), SHARED, told))
        return replace(candidate, artefacts=tuple(artefacts))

    def _route(self, env: LanguageEnvironment, adapter: str, artefacts: Sequence[Artefact]) -> Artefact:
        """From the openings of a skill, told everything or in brief, to an adapter."""
        read, store = self.players.store.blobs.get, self.players.store.blobs.put
        forms, general = dict.fromkeys(("", brief_of(artefacts, env.skill, read))), self._general()
        routes = [fit_route(env.skill, adapter, self._opened(env, brief), general) for brief in forms]
        return route_artefact(env.skill, routes, store)

    def _general(self) -> list[tuple[int, ...]]:
        prompts = rendered(self.players.engine.renderer)
        return [tuple(token for segment in prompt for token in segment.tokens) for prompt in prompts]

    def _beside(self, served: str, live: Release, skill: str, note: str) -> Place:
        """The adapter that answers runs of the known skill `served`, or with "" what belongs to none."""
        artefacts, read = live.manifest.artefacts, self.players.store.blobs.get
        adapter = adapter_of(artefacts, served, read)
        kept = tuple(one for one in live.skills if one != skill and adapter_of(artefacts, one, read) == adapter)
        digest = digest_of(artefacts, served, read) or ""
        return Place(adapter, self.players.adapter(live, served), digest, kept, skill in live.skills, note)

    def _openings(self, env: LanguageEnvironment, live: Release) -> list[tuple[int, ...]]:
        return self._opened(env, brief_of(live.manifest.artefacts, env.skill, self.players.store.blobs.get))

    def _opened(self, env: LanguageEnvironment, brief: str) -> list[tuple[int, ...]]:
        renderer = self.players.engine.renderer
        return openings(env, env.tasks("train", OPENINGS), renderer, brief)
