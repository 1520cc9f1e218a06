"""What people say about replies, turned into what can be learned: demonstrations, pairs, verdicts.

In: an episode, a thumb or a better text. Out: stored feedback; for a text also an episode of the person's, in which it
stands in the reply's place. Withdrawn feedback is out of every answer.
It does not know who asks nor which learner learns.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from llmagentos.errors import ConfigError, NotFoundError
from llmagentos.experience.episodes import Episodes
from llmagentos.records.episode import Episode
from llmagentos.records.feedback import Feedback, FeedbackKind
from llmagentos.records.identity import LOCAL_OWNER, Owner, new_id
from llmagentos.records.transcript import TRAINABLE, Segment, Transcript
from llmagentos.store.store import Store

MOST_CHARACTERS = 20_000
"""Of a better text."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A reply as it was said, with what a person thought of it."""

    feedback: Feedback
    said: Transcript
    """The run up to the reply; only the reply itself may train."""
    better: Transcript | None
    """The same with what should have been said; None for a thumb."""


class People:
    """The feedback of one home. Thread-safe."""

    def __init__(self, store: Store, episodes: Episodes) -> None:
        self._table, self._episodes = store.feedback, episodes

    def add(
        self,
        episode: str,
        kind: FeedbackKind,
        text: str = "",
        *,
        place: int = -1,
        reviewer: str = "",
        owner: Owner = LOCAL_OWNER,
        force: Callable[[str], Segment],
    ) -> Feedback:
        """Store what a person said about one reply of an episode; `force` turns a text into the model's tokens.

        `ConfigError` for a text that is missing, needless, too long or the same as what was said, for a reply that is
        not there, and for runs on held-out tasks: who learns those can no longer be judged on them.
        """
        run = self._episodes.get(episode)
        if run.task.split != "train" and run.task.environment:
            raise ConfigError(
                f"Run {episode} is on a {run.task.split} task, which nothing may be learned from. "
                "Give feedback on runs of training tasks or conversations."
            )
        said = _at(run.transcript, place)
        shown = ""
        if kind in ("good", "bad"):
            if text:
                raise ConfigError(f"A thumb has no text; say what is right by a correction instead: {text[:60]!r}")
        else:
            shown = self._show(run, said, kind, text, reviewer, owner, force)
        given = Feedback(new_id("feedback"), episode, kind, text.strip(), place, reviewer, shown, time.time(), owner)
        self._table.add(given)
        return given

    def _show(
        self,
        run: Episode,
        said: Transcript,
        kind: FeedbackKind,
        text: str,
        reviewer: str,
        owner: Owner,
        force: Callable[[str], Segment],
    ) -> str:
        """Store the person's version of the run as a demonstration; returns its identifier."""
        if not text.strip() or len(text) > MOST_CHARACTERS:
            raise ConfigError(f"A {kind} needs the right text, of at most {MOST_CHARACTERS:,} characters.")
        better = replace(said, segments=(*said.segments[:-1], force(text.strip())))
        if better.tokens == said.tokens:
            raise ConfigError("That is what was said. If it was good, give a thumb: good.")
        shown = Episode(
            id=new_id("shown"),
            task=run.task,
            transcript=better,
            observation=run.observation,
            success=True,
            lenient=True,
            process=run.process,
            program=run.program,
            release=run.release,
            owner=owner,
            origin="person",
            created=time.time(),
            labels={"feedback": kind, "of": run.id, "reviewer": reviewer},
        )
        self._episodes.add(shown)
        return shown.id

    def withdraw(self, identifier: str, reason: str) -> list[str]:
        """Nothing is learned from it any more; returns what releases may rest on (see `Releases.withdraw_episodes`)."""
        given = self._table.get(identifier)
        self._table.withdraw(identifier, reason)
        if given.shown:
            self._episodes.withdraw(given.shown, reason)
        return [given.id, *([given.shown] if given.shown else [])]

    def of_skill(self, skill: str) -> list[Judged]:
        """What was said about runs of a skill, the oldest first; "" are conversations of no skill."""
        found: list[Judged] = []
        for given in self._table.list():
            try:
                run = self._episodes.get(given.episode)
                better = self._episodes.get(given.shown).transcript if given.shown else None
            except NotFoundError:  # withdrawn meanwhile
                continue
            if (run.task.skill or run.task.environment) == skill:
                found.append(Judged(given, _at(run.transcript, given.place), better))
        return found

    def list(self, *, withdrawn: bool = False) -> list[Feedback]:
        """All feedback in the order given."""
        return self._table.list(withdrawn=withdrawn)


def _at(transcript: Transcript, place: int) -> Transcript:
    """The run up to the reply at `place`, where nothing else may train. `ConfigError` where there is none."""
    places = [number for number, segment in enumerate(transcript.segments) if segment.origin in TRAINABLE]
    if not -len(places) <= place < len(places):
        raise ConfigError(f"The run has {len(places)} replies; there is none at {place}.")
    end = places[place]
    before = (segment.read_only() for segment in transcript.segments[:end])
    return replace(transcript, segments=(*before, transcript.segments[end]))
