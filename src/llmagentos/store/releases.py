"""Rows of releases, candidates and verdicts, and the pointer to what is live.

In: the records, encoded as JSON. Out: the same; every change is one synced transaction.
It does not know when a candidate may be released: `releases` decides that.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal, TypeAlias, TypeVar

import msgspec
from sqlalchemy import Row, func, insert, select, update

from llmagentos.errors import StoreError
from llmagentos.records.identity import LOCAL_OWNER, Owner
from llmagentos.records.release import Candidate, Release, Verdict
from llmagentos.store.database import Database
from llmagentos.store.journal import encode_json
from llmagentos.store.tables import (
    artefact_episodes,
    artefact_parents,
    candidates,
    live_moves,
    release_scores,
    releases,
    verdicts,
    withdrawals,
)

CandidateState: TypeAlias = Literal["open", "refused", "released"]
RecordT = TypeVar("RecordT")

_CHUNK = 500


class ReleaseTable:
    """The only door to the tables of releases. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def changing(self) -> Iterator[None]:
        """What is done inside happens entirely or not at all, and survives loss of power once done."""
        with self._database.transaction(sync=True):
            yield

    def insert(self, release: Release, number: int) -> None:
        """Add a release; it is not live by that."""
        values = {
            "number": number,
            "id": release.id,
            "parent": release.parent,
            "candidate": release.candidate,
            "body": encode_json(release),
            "created": release.created,
            "withdrawn": release.withdrawn,
            **_provenance(release.owner),
        }
        with self._database.transaction(sync=True) as connection:
            connection.execute(insert(releases).values(**values))

    def get(self, identifier: str) -> Release | None:
        """One release, or None."""
        with self._database.reading() as connection:
            row = connection.execute(select(releases).where(releases.c.id == identifier)).one_or_none()
        return _release(row) if row else None

    def all(self) -> list[Release]:
        """Every release in the order of their numbers."""
        with self._database.reading() as connection:
            return [_release(row) for row in connection.execute(select(releases).order_by(releases.c.number))]

    def next_number(self) -> int:
        """One more than the highest number."""
        with self._database.reading() as connection:
            highest = connection.execute(select(func.max(releases.c.number))).scalar_one()
        return 0 if highest is None else int(highest) + 1

    def mark_withdrawn(self, identifiers: Iterable[str]) -> None:
        """Say that these releases rest on withdrawn data."""
        with self._database.transaction(sync=True) as connection:
            for identifier in identifiers:
                connection.execute(update(releases).where(releases.c.id == identifier).values(withdrawn=True))

    def move(self, identifier: str, reason: str) -> None:
        """Point at another live release; earlier pointers stay on record."""
        values = {"release": identifier, "reason": reason, "created": time.time()}
        with self._database.transaction(sync=True) as connection:
            connection.execute(insert(live_moves).values(**values, **_provenance()))

    def live(self) -> str | None:
        """Identifier of the live release; None before the first."""
        query = select(live_moves.c.release).order_by(live_moves.c.number.desc()).limit(1)
        with self._database.reading() as connection:
            return connection.execute(query).scalar_one_or_none()

    def moves(self) -> list[tuple[str, str, float]]:
        """Every move of the live pointer in order: release, reason, time."""
        with self._database.reading() as connection:
            rows = connection.execute(select(live_moves).order_by(live_moves.c.number)).all()
        return [(row.release, row.reason, row.created) for row in rows]

    def insert_candidate(self, candidate: Candidate) -> None:
        """Add an open candidate; the same one again changes nothing, another under its identifier is refused."""
        body = encode_json(candidate)
        values: dict[str, Any] = {"id": candidate.id, "skill": candidate.skill, "state": "open", "body": body}
        with self._database.transaction(sync=True) as connection:
            known = connection.execute(select(candidates.c.body).where(candidates.c.id == candidate.id)).scalar()
            if known is None:
                values |= {"created": candidate.created, **_provenance()}
                connection.execute(insert(candidates).values(**values))
            elif known != body:
                raise StoreError(
                    f"Candidate {candidate.id} is stored already with other content. Give a new one by new_id."
                )

    def candidates(self, state: CandidateState | None = None) -> list[Candidate]:
        """Candidates in the order they came, those of one state or all."""
        query = select(candidates.c.body).order_by(candidates.c.number)
        if state is not None:
            query = query.where(candidates.c.state == state)
        with self._database.reading() as connection:
            return [_decode(body, Candidate) for body in connection.execute(query).scalars()]

    def candidate_state(self, identifier: str) -> str | None:
        """What became of a candidate; None when unknown."""
        query = select(candidates.c.state).where(candidates.c.id == identifier)
        with self._database.reading() as connection:
            return connection.execute(query).scalar_one_or_none()

    def judge(self, verdict: Verdict, state: CandidateState) -> None:
        """Store a verdict and what becomes of its candidate."""
        values = {"candidate": verdict.candidate, "released": verdict.released, "body": encode_json(verdict)}
        with self._database.transaction(sync=True) as connection:
            connection.execute(insert(verdicts).values(**values, created=verdict.created, **_provenance()))
            change = update(candidates).where(candidates.c.id == verdict.candidate)
            connection.execute(change.values(state=state))

    def verdicts(self) -> list[Verdict]:
        """Every verdict in order, also those that said no."""
        with self._database.reading() as connection:
            bodies = connection.execute(select(verdicts.c.body).order_by(verdicts.c.number)).scalars()
            return [_decode(body, Verdict) for body in bodies]

    def insert_scores(self, release: str, scores: Mapping[str, tuple[float, int]]) -> None:
        """Store a release's score and number of tasks on each skill."""
        rows = [
            {"release": release, "skill": skill, "score": score, "tasks": tasks, **_provenance()}
            for skill, (score, tasks) in scores.items()
        ]
        if rows:
            with self._database.transaction(sync=True) as connection:
                connection.execute(insert(release_scores), rows)

    def best(self, skill: str) -> tuple[str, float] | None:
        """The release with the highest score on a skill, the newest of equals, withdrawn ones left out."""
        query = (
            select(release_scores.c.release, release_scores.c.score)
            .join(releases, releases.c.id == release_scores.c.release)
            .where(release_scores.c.skill == skill, releases.c.withdrawn.is_(False))
            .order_by(release_scores.c.score.desc(), releases.c.number.desc())
            .limit(1)
        )
        with self._database.reading() as connection:
            row = connection.execute(query).one_or_none()
        return (row.release, row.score) if row else None

    def insert_lineage(self, digest: str, episodes: Iterable[str], parents: Iterable[str]) -> None:
        """Record what an artefact's weights rest on: episodes, and artefacts that it was trained from."""
        wanted = [(artefact_episodes, "episode", episodes), (artefact_parents, "parent", parents)]
        with self._database.transaction(sync=True) as connection:
            for table, name, values in wanted:
                known = set(connection.execute(select(table.c[name]).where(table.c.digest == digest)).scalars())
                fresh = sorted(set(values) - known - {digest})
                rows = [{"digest": digest, name: value, **_provenance()} for value in fresh]
                if rows:
                    connection.execute(insert(table), rows)

    def resting_on(self, episodes: Iterable[str]) -> set[str]:
        """Digests of every artefact whose weights rest on any of these episodes, directly or through its parents."""
        wanted = sorted(set(episodes))
        found: set[str] = set()
        with self._database.reading() as connection:
            for start in range(0, len(wanted), _CHUNK):
                part = artefact_episodes.c.episode.in_(wanted[start : start + _CHUNK])
                found.update(connection.execute(select(artefact_episodes.c.digest).where(part)).scalars())
            children: dict[str, list[str]] = {}
            for child, parent in connection.execute(select(artefact_parents.c.digest, artefact_parents.c.parent)):
                children.setdefault(parent, []).append(child)
        return _closure(found, children)

    def built_on(self, digests: Iterable[str]) -> set[str]:
        """These artefacts' digests and those of all that they were trained from, however far back."""
        parents: dict[str, list[str]] = {}
        with self._database.reading() as connection:
            for child, parent in connection.execute(select(artefact_parents.c.digest, artefact_parents.c.parent)):
                parents.setdefault(child, []).append(parent)
        return _closure(set(digests), parents)

    def withdraw(self, episodes: Iterable[str]) -> None:
        """Record that these episodes may not be built upon."""
        now = time.time()
        with self._database.transaction(sync=True) as connection:
            known = set(connection.execute(select(withdrawals.c.episode)).scalars())
            rows = [{"episode": name, "created": now, **_provenance()} for name in sorted(set(episodes) - known)]
            if rows:
                connection.execute(insert(withdrawals), rows)

    def withdrawn(self) -> set[str]:
        """Episodes that may not be built upon."""
        with self._database.reading() as connection:
            return set(connection.execute(select(withdrawals.c.episode)).scalars())


def _provenance(owner: Owner = LOCAL_OWNER) -> dict[str, str]:
    return {"owner": owner, "origin": "own"}


def _release(row: Row[Any]) -> Release:
    return replace(_decode(row.body, Release), withdrawn=row.withdrawn)


def _decode(body: bytes, kind: type[RecordT]) -> RecordT:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise StoreError(
            f"A stored {kind.__name__.lower()} cannot be read ({error}), so the database is damaged: llmagentos doctor"
        ) from error


def _closure(found: set[str], edges: Mapping[str, list[str]]) -> set[str]:
    """All that can be reached from `found`, itself included."""
    waiting = list(found)
    while waiting:
        fresh = [one for one in edges.get(waiting.pop(), []) if one not in found]
        found.update(fresh)
        waiting.extend(fresh)
    return found
