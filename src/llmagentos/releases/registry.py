"""The registry of releases: candidates in, one live release out, every verdict kept.

In: candidates from learners, verdicts from the gate, withdrawals from people. Out: the live release, its history,
and the best release that each skill ever had. It does not know how anything was learned or judged, and it does not
load weights: it only sees to it that their bytes are the ones that were judged.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace

from llmagentos.errors import NotFoundError, ReleaseError, WithdrawnError
from llmagentos.records.release import Artefact, Candidate, Manifest, Release, SkillCheck, Verdict, latest
from llmagentos.releases.difference import describe_difference
from llmagentos.store.store import Store


class Releases:
    """The releases of one home. Thread-safe; every change is one synced transaction: a kill leaves old or new."""

    def __init__(self, store: Store, base: str) -> None:
        """`base` is the source of the base model that `r0` stands for, used when the home has no release yet."""
        self._store = store
        self._table = store.releases
        self._base = base

    def live(self) -> Release:
        """The release that serves now; `r0`, the bare base model, is made at first use."""
        identifier = self._table.live()
        return self._begin() if identifier is None else self._known(identifier)

    def to_learn_from(self) -> Release:
        """The live release; `WithdrawnError` where it rests on withdrawn data, for so would all that it becomes."""
        live = self.live()
        if live.withdrawn:
            raise WithdrawnError(
                f"{live.id} is live and rests on withdrawn data, and so would whatever is learned from it. Take that "
                "out first and keep the rest: llmagentos releases rebuild. Or go back whole: llmagentos releases "
                f"rollback {self.newest_sound()}"
            )
        return live

    def newest_sound(self) -> str:
        """The newest release that rests on nothing withdrawn: one to go back to."""
        return next(one.id for one in reversed(self.list()) if not one.withdrawn)

    def get(self, identifier: str) -> Release:
        """One release, or `NotFoundError` that names those there are."""
        live = self.live()
        return live if live.id == identifier else self._known(identifier)

    def history(self) -> list[tuple[str, str, float]]:
        """Every move of the live pointer in order: release, why, when (seconds since the epoch)."""
        return self._table.moves()

    def add_candidate(self, candidate: Candidate) -> None:
        """Keep a candidate for the gate; its artefacts must be stored and whole. Adding it again changes nothing."""
        self._verify(candidate.artefacts)
        self._table.insert_candidate(candidate)

    def candidates(self) -> list[Candidate]:
        """Every candidate ever added, in order."""
        return self._table.candidates()

    def open_candidates(self) -> list[Candidate]:
        """Candidates that no verdict has been spoken on."""
        return self._table.candidates("open")

    def verdicts(self) -> list[Verdict]:
        """Every verdict in order, also those that said no."""
        return self._table.verdicts()

    def best(self, skill: str) -> tuple[str, float] | None:
        """The release with the highest score on `skill` at its own gate, and that score; None where there is none.

        Among equals the newest, for it is likeliest to be live. A withdrawn release is no reference: its weights
        may not run again.
        """
        return self._table.best(skill)

    def refuse(self, candidate: Candidate, verdict: Verdict) -> None:
        """Store a verdict that says no; what is live stays."""
        if verdict.released:
            raise ReleaseError(f"The verdict on candidate {candidate.id} says yes. Use publish() for it.")
        self._match(candidate, verdict)
        with self._table.changing():
            self._table.insert_candidate(candidate)
            self._expect_open(candidate)
            self._table.judge(verdict, "refused")

    def publish(self, candidate: Candidate, verdict: Verdict) -> Release:
        """Make the candidate the live release, on the gate's word.

        Its artefacts replace those of the same name in the release that it started from (one with an empty digest
        takes its name out), and its skill joins the kept ones. Raises `ReleaseError` when the verdict says no or is
        on another candidate, or the live release has changed since; `WithdrawnError` when its weights would rest
        on withdrawn episodes; `StoreError` when an artefact is missing or damaged.
        """
        self._match(candidate, verdict)
        if not verdict.released:
            raise ReleaseError(f"Candidate {candidate.id} was refused: {verdict.reason} Use refuse() to record it.")
        self._verify(candidate.artefacts)
        with self._table.changing():
            self._table.insert_candidate(candidate)
            self._expect_open(candidate)
            parent = self._parent(candidate)
            manifest = replace(parent.manifest, artefacts=tuple(latest(candidate.upon(parent)).values()))
            self._record_lineage(candidate, parent)
            self._refuse_withdrawn(candidate, manifest)
            number = self._table.next_number()
            release = Release(
                id=f"r{number}",
                manifest=manifest,
                parent=parent.id,
                candidate=candidate.id,
                skills=_kept_skills(parent.skills, candidate, verdict),
                verdict=verdict,
                created=time.time(),
                owner=parent.owner,
            )
            self._table.insert(release, number)
            self._table.judge(verdict, "released")
            self._table.insert_scores(release.id, _scores(verdict))
            self._table.move(release.id, f"published candidate {candidate.id}")
        return release

    def rollback(self, identifier: str) -> Release:
        """Make an earlier release live again, its artefacts byte for byte those that were judged.

        Raises `WithdrawnError` when its weights rest on withdrawn data, `NotFoundError` for an unknown release and
        `StoreError` when an artefact is missing or damaged; what is live stays then.
        """
        self._verify(self.get(identifier).manifest.artefacts)
        with self._table.changing():
            release = self._known(identifier)
            if release.withdrawn:
                sound = ", ".join(other.id for other in self._table.all() if not other.withdrawn)
                raise WithdrawnError(
                    f"Release {identifier} rests on withdrawn data and cannot come back. These can: {sound}. "
                    "Roll back with: llmagentos releases rollback ID"
                )
            live = self._table.live()
            if live != identifier:
                self._table.move(identifier, f"rolled back from {live}")
        return release

    def diff(self, first: str, second: str) -> list[str]:
        """What changes from one release to another, one sentence a line; empty when they answer alike."""
        return describe_difference(self.get(first), self.get(second))

    def withdraw_episodes(self, identifiers: Iterable[str]) -> list[str]:
        """Mark every release whose weights rest on any of these episodes, and return their identifiers.

        A marked release cannot come back by rollback; where the live one is among them it serves on until a
        release without that data is published or rolled back to. Nothing resting on them is published again.
        """
        withdrawn = set(identifiers)
        with self._table.changing():
            self._table.withdraw(withdrawn)
            tainted = self._table.resting_on(withdrawn)
            marked = [
                release.id
                for release in self._table.all()
                if any(artefact.digest in tainted for artefact in release.manifest.artefacts)
            ]
            self._table.mark_withdrawn(marked)
        return marked

    def rests_on_withdrawn(self, candidate: Candidate) -> bool:
        """Whether any episode that a candidate names was withdrawn since."""
        return not self._withdrawn(candidate).isdisjoint(candidate.episodes)

    def ancestors(self, release: Release) -> list[Release]:
        """The releases that led to one, oldest first."""
        known, found = {one.id: one for one in self.list()}, list[Release]()
        while release.parent in known:
            release = known[release.parent]
            found.append(release)
        return found[::-1]

    def tainted(self) -> set[str]:
        """Digests of all artefacts whose weights rest on withdrawn data."""
        return self._table.resting_on(self._table.withdrawn())

    def tainted_players(self) -> set[str]:
        """What runs bear as release that were played by weights which rest on withdrawn data: releases, and practice of
        candidates, whatever the gate said of them."""
        tainted, marked = self.tainted(), {one.id for one in self.list() if one.withdrawn}
        practice = set()
        for candidate in (one for one in self.candidates() if one.practice):
            known = candidate.begins
            began = candidate.parent in marked if known is None else not tainted.isdisjoint(known)
            if began or self.rests_on_withdrawn(candidate):
                practice.add(candidate.practice)
        return marked | practice

    def built_on(self, release: Release) -> set[str]:
        """Digests of a release's artefacts, and of all that they were trained from."""
        return self._table.built_on(one.digest for one in release.manifest.artefacts)

    def _withdrawn(self, candidate: Candidate) -> set[str]:
        """All that was withdrawn as far as releases know, and what the store knows of the candidate's own episodes."""
        return self._table.withdrawn() | self._store.episodes.withdrawn_among(candidate.episodes)

    def _begin(self) -> Release:
        bare = Release("r0", Manifest(self._base), created=time.time())
        if self._store.database.read_only:
            return bare
        with self._table.changing():
            identifier = self._table.live()
            if identifier is not None:
                return self._known(identifier)
            self._table.insert(bare, 0)
            self._table.move(bare.id, "the bare base model")
        return bare

    def _known(self, identifier: str) -> Release:
        release = self._table.get(identifier)
        if release is None:
            raise NotFoundError("release", identifier, [known.id for known in self._table.all()])
        return release

    def _parent(self, candidate: Candidate) -> Release:
        """The release that the candidate changes, which must be the live one: the gate compared it with that."""
        live = self.live()
        started_from = candidate.parent or "r0"
        if started_from != live.id:
            raise ReleaseError(
                f"Candidate {candidate.id} started from {started_from}, but {live.id} is live now and keeps "
                f"{', '.join(live.skills) or 'no skill'}. Learn again from {live.id}: llmagentos learn"
            )
        return live

    def _match(self, candidate: Candidate, verdict: Verdict) -> None:
        if verdict.candidate != candidate.id:
            raise ReleaseError(f"The verdict is on candidate {verdict.candidate!r}, not on {candidate.id!r}.")

    def _expect_open(self, candidate: Candidate) -> None:
        """A candidate is judged once: asking the gate until it says yes would make its error rates a lie."""
        state = self._table.candidate_state(candidate.id)
        if state != "open":
            raise ReleaseError(
                f"Candidate {candidate.id} was {state} already, and none is judged twice. "
                "Learn a new one: llmagentos learn"
            )

    def _verify(self, artefacts: Iterable[Artefact]) -> None:
        for artefact in artefacts:
            if artefact.digest:
                self._store.blobs.verify(artefact.digest)

    def _record_lineage(self, candidate: Candidate, parent: Release) -> None:
        """New weights rest on their episodes and on what they began from; a withdrawal begins from nothing.

        Settings, and routes, which are made of how tasks open, hold nothing of an episode, and the same ones may come
        back in any release.
        """
        inherited: tuple[str, ...] = ()
        if candidate.change != "withdrawal":
            known = candidate.begins
            inherited = tuple(one.digest for one in parent.manifest.artefacts) if known is None else known
        for artefact in candidate.artefacts:
            if artefact.digest and artefact.kind not in ("settings", "router"):
                self._table.insert_lineage(artefact.digest, candidate.episodes, inherited)

    def _refuse_withdrawn(self, candidate: Candidate, manifest: Manifest) -> None:
        tainted = self._table.resting_on(self._withdrawn(candidate))
        names = [artefact.name for artefact in manifest.artefacts if artefact.digest in tainted]
        if names:
            raise WithdrawnError(
                f"Candidate {candidate.id} would serve {', '.join(names)}, which rests on withdrawn episodes. "
                "Learn it again without them: llmagentos learn. Where the live release rests on them too, take that "
                "out first: llmagentos releases rebuild"
            )

    def list(self) -> list[Release]:
        """Every release ever published, `r0` first."""
        live = self.live()
        return self._table.all() or [live]


def _scores(verdict: Verdict) -> dict[str, tuple[float, int]]:
    """Strict success and number of tasks by skill; a skill compared twice counts by all its tasks."""
    checks: dict[str, list[SkillCheck]] = {}
    for check in verdict.checks:
        checks.setdefault(check.skill, []).append(check)
    scores = {}
    for skill, same in checks.items():
        tasks = sum(check.tasks for check in same)
        pooled = sum(check.candidate * check.tasks for check in same) / tasks if len(same) > 1 and tasks else 0.0
        scores[skill] = (pooled if len(same) > 1 else same[0].candidate, tasks)
    return scores


def _kept_skills(skills: tuple[str, ...], candidate: Candidate, verdict: Verdict) -> tuple[str, ...]:
    """The parent's skills and the candidate's; a withdrawal keeps those that the gate still measured."""
    if candidate.change == "withdrawal":
        measured = {check.skill for check in verdict.checks}
        return tuple(skill for skill in skills if skill in measured)
    if candidate.change != "improvement" or not candidate.skill or candidate.skill in skills:
        return skills
    return (*skills, candidate.skill)
