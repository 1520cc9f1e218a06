"""Experience: every finished run, kept and found again.

In: `Episode`s from the kernel and from experts. Out: the same episodes, by skill, split, outcome, release or label.
It does not know who ran them nor what will be learned from them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from llmagentos.errors import NotFoundError
from llmagentos.experience.encoding import decode, encode
from llmagentos.records.episode import Episode
from llmagentos.records.identity import Origin
from llmagentos.records.task import Split
from llmagentos.store.journal import encode_json
from llmagentos.store.rows import EpisodeFilter, EpisodeRow
from llmagentos.store.store import Store


class Episodes:
    """The episodes of one home. Thread-safe; a withdrawn episode is out of every answer."""

    def __init__(self, store: Store) -> None:
        self._table = store.episodes

    def add(self, episode: Episode) -> None:
        """Store one episode; the same one again changes nothing, other content under its identifier is refused."""
        self.add_many([episode])

    def add_many(self, episodes: Sequence[Episode]) -> None:
        """Store all or none of `episodes`, in one transaction."""
        self._table.insert([_row(episode) for episode in episodes])

    def get(self, identifier: str) -> Episode:
        """One episode, or `NotFoundError` for an unknown or withdrawn one."""
        row = self._table.get(identifier)
        if row is None:
            reason = self._table.withdrawal(identifier)
            hint = "" if reason is None else f"It was withdrawn: {reason}"
            raise NotFoundError("episode", identifier, hint=hint)
        return decode(row.format, row.body)

    def select(
        self,
        *,
        skill: str | None = None,
        environment: str | None = None,
        split: Split | None = None,
        success: bool | None = None,
        release: str | None = None,
        origin: Origin | None = None,
        labels: Mapping[str, str] | None = None,
        but_releases: Collection[str] = (),
        limit: int | None = None,
        newest: bool = True,
    ) -> list[Episode]:
        """Episodes that meet every condition, the newest first (or the oldest), at most `limit`.

        An episode matches `labels` when it carries each of them with that value; none was made by any of
        `but_releases`.
        """
        where = EpisodeFilter(
            skill, environment, split, success, release, origin=origin, labels=labels, but_releases=but_releases
        )
        rows = self._table.select(where, limit=limit, newest=newest)
        return [decode(row.format, row.body) for row in rows]

    def skills(self) -> list[str]:
        """Every skill that training runs are there of, in the order they first came."""
        return self._table.skills()

    def count(
        self,
        *,
        skill: str | None = None,
        environment: str | None = None,
        split: Split | None = None,
        success: bool | None = None,
        release: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> int:
        """How many episodes meet every condition."""
        return self._table.count(EpisodeFilter(skill, environment, split, success, release, labels=labels))

    def withdraw(self, identifier: str, reason: str) -> None:
        """Take an episode out of every later answer. What was learned from it is for `Releases.withdraw_episodes`.

        Withdrawing twice keeps the first reason; an unknown episode raises `NotFoundError`.
        """
        if not self._table.withdraw(identifier, reason) and self._table.withdrawal(identifier) is None:
            raise NotFoundError("episode", identifier)

    def export_jsonl(self, path: Path) -> int:
        """Write all episodes but withdrawn ones to `path`, one JSON object a line, the oldest first; their number."""
        identifiers = self._table.identifiers(EpisodeFilter())
        written = 0
        with path.open("wb") as file:
            for identifier in identifiers:
                row = self._table.get(identifier)
                if row is not None:
                    file.write(encode_json(decode(row.format, row.body)) + b"\n")
                    written += 1
        return written


def _row(episode: Episode) -> EpisodeRow:
    version, body = encode(episode)
    task = episode.task
    return EpisodeRow(
        id=episode.id,
        process=episode.process,
        environment=task.environment,
        skill=task.skill or task.environment,
        task_key=task.key,
        split=task.split,
        success=episode.success,
        lenient=episode.lenient,
        outcome=episode.outcome,
        release=episode.release,
        reward=episode.reward,
        created=episode.created,
        format=version,
        body=body,
        owner=episode.owner,
        origin=episode.origin,
        labels=episode.labels,
    )
