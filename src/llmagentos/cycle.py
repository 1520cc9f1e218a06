"""The cycle: run, experience, learning, evaluation, release; and the next run uses the release.

In: the rooms' services, composed by `agentos.py`. Out: verdicts, reports of skills, and a live release that changes
only through the gate. It does not know the command line, HTTP or how anything is stored.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from llmagentos.choosing import Choosing
from llmagentos.config import Settings
from llmagentos.errors import AdapterError, ConfigError, GateError, LearningError, ReleaseError
from llmagentos.evaluation.metrics import SkillReport, score
from llmagentos.evaluation.statistics import wilson_interval
from llmagentos.judging import Judging, JudgingSettings
from llmagentos.kernel.rollouts import Rollouts
from llmagentos.learning.checkpoints import FileCheckpoint
from llmagentos.learning.context import Learner, LearningContext
from llmagentos.learning.lessons import Lessons, LessonServices
from llmagentos.learning.replying import settled
from llmagentos.learning.second_opinion import remember
from llmagentos.learning.strategy import DISTILLING, learner_named, time_to_look
from llmagentos.learning.tempering import between, only_harmed, share_of, tempered
from llmagentos.learning.unproven import AFTER, Tried
from llmagentos.learning.watch import by_heart
from llmagentos.learning.worked import check_tasks
from llmagentos.models.adapters import FusedAdapter
from llmagentos.models.torch_engine import TorchEngine
from llmagentos.places import Place, Places
from llmagentos.players import Players
from llmagentos.records.episode import Episode
from llmagentos.records.identity import Origin
from llmagentos.records.progress import Progress
from llmagentos.records.release import Candidate, Release, Verdict
from llmagentos.records.task import Split
from llmagentos.releases.prompts import brief_of
from llmagentos.releases.routes import SHARED
from llmagentos.releases.withdrawal import rebuilt

if TYPE_CHECKING:
    from llmagentos.environments.language import LanguageEnvironment
    from llmagentos.experience.episodes import Episodes
    from llmagentos.experience.feedback import People
    from llmagentos.kernel.kernel import Kernel
    from llmagentos.models.engine import Engine
    from llmagentos.records.document import Document
    from llmagentos.releases.classifiers import Classifiers
    from llmagentos.releases.registry import Releases
    from llmagentos.store.store import Store

OnProgress = Callable[[Progress], None]

CONVERSATIONS = "conversations"
"""Stands for what people corrected in conversations, where an environment is asked for."""
REPEATED = 64
"""Corrected replies of which it is said whether they are given as corrected."""
WATCHING = "watching the learner"
"""Stage of the events that tell what looks wrong in a learner's curve."""


@dataclass(frozen=True, slots=True)
class CycleParts:
    """What the cycle works with."""

    store: Store
    engine: Engine
    kernel: Kernel
    scouts: Kernel
    """For runs that chance plays alone."""
    episodes: Episodes
    people: People
    releases: Releases
    library_folder: Path
    settings: Settings
    make_environment: Callable[[str], LanguageEnvironment]
    classifiers: Classifiers


@dataclass(frozen=True, slots=True)
class CycleSettings(JudgingSettings):
    """How much is measured; the numbers trade time for certainty."""

    development_tasks: int = 24


def _quiet(event: Progress) -> None:
    """Show nothing."""


class Cycle:
    """Learning behind the gate over one home and one base model."""

    def __init__(self, parts: CycleParts, settings: CycleSettings | None = None) -> None:
        if not isinstance(parts.engine, TorchEngine):
            raise ConfigError(
                "Learning needs the embedded engine: a remote server's weights cannot be trained from here."
            )
        self.parts = parts
        self.engine = parts.engine
        self.settings = settings or CycleSettings()
        self.rollouts, self.scouts = Rollouts(parts.kernel), Rollouts(parts.scouts)
        self.players = Players(parts.engine, parts.store, parts.releases, parts.settings, parts.make_environment)
        self.places, self.tried = Places(self.players), Tried(parts.releases)
        by_people = partial(self._runs_of, by_people=True)
        self.choosing = Choosing(self.places, self.rollouts, self.scouts, by_people)
        self._judging = Judging(self.players, self.rollouts, self.settings)

    # Looking.

    def told_whole(self) -> list[str]:
        """Skills of the live release that are told their whole prompt, and whose prompt nobody tried to take yet."""
        releases, read = self.parts.releases, self.parts.store.blobs.get
        live = releases.live()
        tried = {one.skill for one in releases.candidates() if (one.learner, one.parent) == (DISTILLING, live.id)}
        return [s for s in live.skills if s not in tried and not brief_of(live.manifest.artefacts, s, read)]

    def unheeded(self, skill: str = "") -> set[str]:
        """Corrected runs of a skill, or conversations, that `heed` has not learned yet."""
        heeded = self.tried.rested_on(skill or CONVERSATIONS)
        return {run.id for run in self._runs_of(skill, by_people=True)} - heeded

    def evaluate(
        self,
        environment: str,
        *,
        release: str | None = None,
        tasks: int = 100,
        split: Split = "report",
        on_progress: OnProgress = _quiet,
    ) -> SkillReport:
        """Measure a release (the live one by default) on `tasks` held-out tasks of an environment."""
        chosen = self.parts.releases.get(release) if release else self.parts.releases.live()
        env = self.players.environment(environment)
        drawn = self.players.suite(env).tasks(split, tasks)
        episodes = self.rollouts.play(
            drawn,
            self.players.policy(env, chosen),
            stage=f"{env.skill} by {chosen.id}",
            labels={"purpose": split},
            on_progress=on_progress,
        )
        return SkillReport(env.skill, chosen.id, split, score(episodes), tuple(episodes))

    # Learning.

    def learn(
        self,
        environment: str,
        *,
        minutes: float,
        learner: str | Learner = "auto",
        seed: int = 0,
        on_progress: OnProgress = _quiet,
    ) -> Verdict:
        """Learn an environment for about `minutes`, judge the candidate and release it or not.

        `CONVERSATIONS` in its place learns what people corrected in conversations of no skill; corrections of a skill
        that is live are learned first, where no learner is named (see `heed`).
        """
        if environment == CONVERSATIONS:
            return self.heed(minutes, on_progress)
        env = self.players.environment(environment)
        check_tasks(env, self.settings.rules.minimum_tasks)
        if env.remark:
            on_progress(Progress(f"playing {env.skill}", 1, 1, note=env.remark))
        live = self.parts.releases.to_learn_from()
        if learner == "auto" and env.skill in live.skills and (new := len(self.unheeded(env.skill))):
            why = f"imitation of what people corrected: {new} of its runs, which nothing was learned from yet"
            on_progress(Progress("choosing a learner", 1, 1, note=why))
            return self.heed(minutes, on_progress, env.skill)
        if isinstance(learner, str):
            choice = self.choosing.choose(env, learner, on_progress, seconds=time_to_look(minutes))
            on_progress(Progress("choosing a learner", 1, 1, note=f"{choice.learner}: {choice.reason}"))
            place = self.places.find(env, live, choice.learner)
            learner = learner_named(choice.learner, further=place.further)
        else:
            place = self.places.find(env, live, learner.name)
        start = place.start
        candidate = self.tried.waiting(env.skill, learner.name, live, "improvement")
        if candidate is None:
            earlier, why = self.tried.unproven(env.skill, learner.name, live, place.kept)
            if earlier is not None:
                note = f"from what was learned and not proven: {why}"
                on_progress(Progress(f"going on: {env.skill}", 1, 1, note=note))
                start = self.players.candidate_adapter(earlier)
            fresh = seed + len(self.tried.tried(env.skill, learner.name, live))
            on_progress(Progress(f"a place for {env.skill}", 1, 1, note=f"{env.skill} is learned {place.note}."))
            candidate = self.teach(
                env, learner, start, minutes=minutes, seed=fresh, place=place, after=earlier, on_progress=on_progress
            )
        for warning in candidate.evidence.get("warnings", ()):
            on_progress(Progress(WATCHING, 1, 1, note=warning))
        verdict = self.decide(candidate, on_progress=on_progress)
        for warning in _known_by_heart(candidate, verdict):
            on_progress(Progress(WATCHING, 1, 1, note=warning))
        if not only_harmed(candidate, verdict):
            return verdict
        share = share_of(verdict)
        part = between(start, self.players.candidate_adapter(candidate), share)
        if part is None:
            return verdict
        on_progress(Progress(f"tempering: {env.skill}", 1, 1, note=f"{verdict.reason} Trying {share:.0%} of the step."))
        milder = tempered(candidate, part, share, self.players.store_adapter)
        return self.decide(self._settled(env, milder, on_progress), on_progress=on_progress)

    def teach(
        self,
        env: LanguageEnvironment,
        learner: Learner,
        start: FusedAdapter | None,
        *,
        minutes: float,
        seed: int = 0,
        replay: bool = True,
        place: Place | None = None,
        after: Candidate | None = None,
        on_progress: OnProgress = _quiet,
    ) -> Candidate:
        """Let a learner work on an environment; its candidate is stored, not judged.

        `start` may be the adapter of an earlier candidate, `after`, whose data the new one rests on then too. `place`
        says in which adapter it is learned; where it is not given it is looked for (see `places`).

        Ctrl-C or a kill leave a checkpoint from which the same call goes on.
        """
        live = self.parts.releases.live()
        name = f"{env.skill}-{learner.name}-{live.id}-{seed}"
        checkpoint, practice = self._checkpoint(name), f"practice:{name}"
        place = place or self.places.find(env, live, learner.name)
        kept = [self.players.environment(skill) for skill in (*place.kept, *self.tried.harmed(after))]
        source = Lessons(self._services(live, place.adapter), env, seed, kept, replays=replay, practice=practice)
        context = self._context(env.skill, minutes, seed, checkpoint, source)
        made = self.places.settled(env, self._work(learner, start, context, on_progress), place, live)
        candidate = self._settled(env, made, on_progress)
        rests_on = {*candidate.episodes, *source.rests_on, *(after.episodes if after else ())}
        evidence = {**candidate.evidence, **({AFTER: after.id} if after else {})}
        begins, episodes = place.begins(start, after), tuple(sorted(rests_on))
        candidate = replace(candidate, episodes=episodes, begins=begins, evidence=evidence, practice=practice)
        self.parts.releases.add_candidate(candidate)
        checkpoint.clear()
        return candidate

    def _settled(self, env: LanguageEnvironment, candidate: Candidate, show: OnProgress) -> Candidate:
        """The candidate with a second opinion on what its runs say, and with what they say where they are unsure, where
        the environment is such."""
        players, live, classifiers = self.players, self.parts.releases.live(), self.parts.classifiers
        people, decode = self._runs_of(env.skill, by_people=True), self.engine.renderer.decode
        corrected = [(run.observation, decode(run.transcript.segments[-1].tokens).strip()) for run in people]

        def say(text: str) -> None:
            show(Progress(f"a second opinion: {env.skill}", 1, 1, note=text))

        prototypes = remember(env, classifiers, corrected, candidate.id, say)
        told = players.told(env.skill, candidate.upon(live))
        if prototypes is None and not env.abstention and "classifier" not in told:
            return candidate
        with self.engine.serving(f"settled:{candidate.id}", players.candidate_adapter(candidate)) as name:
            policy = replace(players.policy(env, live), release=candidate.id, adapter=name, arguments=told)
            put = self.parts.store.blobs.put
            found = settled(env, self.rollouts, policy, candidate, prototypes, classifiers, put, show)
        rests_on = {*found.episodes, *(run.id for run in people)} if prototypes is not None else found.episodes
        return replace(found, episodes=tuple(sorted(rests_on)))

    def study(self, documents: Sequence[Document], minutes: float, on_progress: OnProgress = _quiet) -> Verdict:
        """Read documents by language modelling: a consolidation, released only when no skill suffers by it."""
        from llmagentos.learning.language.language_modelling import LanguageModelling

        texts = [self.engine.renderer.encode(document.text) for document in documents]
        candidate = self._consolidate("documents", LanguageModelling(), minutes, on_progress, texts=texts)
        before, after = (float(candidate.evidence[f"held_out_loss_{when}"]) for when in ("before", "after"))
        if after >= before:
            why = f"Reading did not help: held-out loss went from {before:.3f} to {after:.3f} nats a token."
            self.parts.releases.refuse(candidate, Verdict(candidate.id, False, why, created=time.time()))
            raise LearningError(f"{why} Add more documents (llmagentos data add) or give it more minutes.")
        return self.decide(candidate, on_progress=on_progress)

    def heed(self, minutes: float, on_progress: OnProgress = _quiet, skill: str = "") -> Verdict:
        """Imitate what people corrected, of a live `skill` or else in conversations: a consolidation like `study`.

        A few corrections move no held-out score: they are taken over where no skill suffers by it, their own included.
        Conversations are learned by the adapter that answers them; where several do, by that with most that is new.
        """
        from llmagentos.learning.language.imitation import Imitation, for_few

        live, env = self.parts.releases.to_learn_from(), self.players.environment(skill) if skill else None
        if env is None:
            place, count, more = self._conversations(live)
        else:
            place, count, more = self.places.find(env, live), len(self._runs_of(skill, by_people=True)), ""
        if not count:
            of = f"run of {skill}" if skill else "conversation"
            raise LearningError(
                f"Nobody has corrected a {of} yet. Say /correct TEXT behind an answer in `llmagentos chat`."
            )
        name = skill or CONVERSATIONS
        on_progress(Progress(f"a place for {name}", 1, 1, note=f"Corrections are learned {place.note}.{more}"))
        refused = self.tried.refused(name, self.unheeded(skill))
        shared = len(place.kept) + bool(skill) > 1
        learner = Imitation(for_few(count, further=place.further, shared=shared, refused=refused))
        candidate = self._consolidate(name, learner, minutes, on_progress, place, env)
        return self.decide(candidate, on_progress=on_progress)

    def _conversations(self, live: Release) -> tuple[Place, int, str]:
        """Where corrected conversations are learned next, how many there are, and what is left for later."""
        unheeded, by_adapter, answers = self.unheeded(), dict[str, list[str]](), self.places.answering(live)
        for run in self._runs_of("", by_people=True):
            by_adapter.setdefault(answers(run), []).append(run.id)
        new = {name: len(unheeded.intersection(runs)) for name, runs in by_adapter.items()}
        adapter = max(by_adapter, key=lambda name: (new[name], len(by_adapter[name])), default=SHARED)
        left = sum(new.values()) - new.get(adapter, 0)
        more = f" {left} more belong elsewhere: the same command learns them next." if left else ""
        return self.places.conversations(adapter, live), len(by_adapter.get(adapter, ())), more

    def _consolidate(
        self,
        name: str,
        learner: Learner,
        minutes: float,
        show: OnProgress,
        place: Place | None = None,
        env: LanguageEnvironment | None = None,
        texts: Sequence[tuple[int, ...]] = (),
    ) -> Candidate:
        """What a learner makes of an adapter of the live release without practice, resting on all that it replayed; of
        that for no skill where no place is given. `env` is that of the skill whose corrections are learned.

        One that was made before, and whose gate somebody interrupted, is given again.
        """
        live = self.parts.releases.to_learn_from()
        if waiting := self.tried.waiting(name, learner.name, live, "consolidation"):
            return waiting
        place = place or self.places.shared(live)
        seed = self.tried.refused(name)
        checkpoint = self._checkpoint(f"{name}-{place.adapter}-{live.id}-{seed}")
        kept = [*([env] if env else []), *(self.players.environment(skill) for skill in place.kept)]
        source = Lessons(self._services(live, place.adapter), env, seed, kept, from_people=True)
        context = replace(self._context(name, minutes, seed, checkpoint, source), documents=texts)
        made = self._work(learner, place.start, context, show)
        artefacts = tuple(replace(one, name=place.adapter) for one in made.artefacts)
        rests_on, begins = tuple(sorted(source.rests_on)), place.begins(place.start)
        candidate = replace(made, artefacts=artefacts, change="consolidation", episodes=rests_on, begins=begins)
        if not texts:
            candidate = self._repeating(candidate, place, source, show)
        if env is not None:
            candidate = self._settled(env, candidate, show)
        self.parts.releases.add_candidate(candidate)
        checkpoint.clear()
        return candidate

    def _repeating(self, candidate: Candidate, place: Place, source: Lessons, show: OnProgress) -> Candidate:
        """The candidate with how many corrected replies it gives as corrected, and how many its start gave."""
        (before, now), count = source.repeated((place.start, self.players.candidate_adapter(candidate)), REPEATED)
        said = f"{now} of {count} corrected replies are given as corrected now, {before} before"
        show(Progress(f"corrections: {candidate.skill}", 1, 1, note=f"{said}."))
        return replace(candidate, evidence={**candidate.evidence, "corrections": said})

    # Evaluation and release.

    def decide(self, candidate: Candidate, *, on_progress: OnProgress = _quiet) -> Verdict:
        """Judge a candidate on fresh tasks, then release it or record why not.

        Where no verdict can be reached (`GateError`, `AdapterError`) the refusal is recorded before the error is
        raised: nobody meets the same candidate again.
        """
        try:
            verdict = self.judge(candidate, on_progress=on_progress)
        except (GateError, AdapterError) as error:
            unjudged = Verdict(candidate.id, False, f"No verdict could be reached: {error}", created=time.time())
            self.parts.releases.refuse(candidate, unjudged)
            raise
        if verdict.released:
            release = self.parts.releases.publish(candidate, verdict)
            self.players.serve(release)
        else:
            self.parts.releases.refuse(candidate, verdict)
        return verdict

    def rebuild(self, on_progress: OnProgress = _quiet) -> Verdict:
        """Take out of the live release what rests on withdrawn data, and nothing else: a withdrawal, behind the gate.

        `ReleaseError` where nothing of it does.
        """
        releases, live = self.parts.releases, self.parts.releases.live()
        if not live.withdrawn:
            raise ReleaseError(f"{live.id} is live and rests on nothing withdrawn: there is nothing to take out.")
        candidate = rebuilt(live, releases.ancestors(live), releases.tainted(), self.parts.store.blobs.get)
        return self.decide(candidate, on_progress=on_progress)

    def judge(self, candidate: Candidate, *, on_progress: OnProgress = _quiet) -> Verdict:
        """The gate's verdict: candidate, live release and best releases play the same fresh tasks."""
        self.parts.releases.add_candidate(candidate)
        return self._judging.judge(candidate, on_progress)

    # Parts of the above.

    def _checkpoint(self, name: str) -> FileCheckpoint:
        safe = "".join(letter if letter.isalnum() or letter in "-." else "_" for letter in name)
        return FileCheckpoint(self.parts.settings.home / "checkpoints" / f"{safe}.safetensors")

    def _runs_of(self, skill: str, *, by_people: bool) -> list[Episode]:
        """Stored successful training runs of a skill: corrected or shown by people, or the agent's own.

        Own ones that weights played which rest on withdrawn data are left out: what was withdrawn may show in them.
        """
        origin: Origin = "person" if by_people else "own"
        limit = None if by_people else 512  # own runs are many, and would push what people said out of any limit
        but = () if by_people else self.parts.releases.tainted_players()
        return self.parts.episodes.select(
            skill=skill, split="train", success=True, origin=origin, but_releases=but, limit=limit
        )

    def _services(self, live: Release, adapter: str = SHARED) -> LessonServices:
        """`adapter` is the one that learns: of conversations it is given those that it answers."""

        def corrected(skill: str) -> list[Episode]:
            found = self._runs_of(skill, by_people=True)
            return found if skill else self.places.answered(found, adapter, live)

        return LessonServices(
            engine=self.engine,
            rollouts=self.rollouts,
            scouts=self.scouts,
            policy=lambda env: self.players.policy(env, live),
            own=lambda skill: self._runs_of(skill, by_people=False),
            corrected=corrected,
            judged=self.parts.people.of_skill,
            development_tasks=self.settings.development_tasks,
        )

    def _context(
        self, skill: str, minutes: float, seed: int, checkpoint: FileCheckpoint, source: Lessons
    ) -> LearningContext:
        return LearningContext(
            decoder=self.engine.decoder,
            skill=skill,
            base=self.parts.settings.model,
            minutes=minutes,
            seed=seed,
            practice=source.practice,
            demonstrations=source.demonstrations,
            replay=source.replay,
            kept=source.kept,
            general=source.general,
            evaluate=source.evaluate,
            store=self.parts.store.blobs.put,
            checkpoint=checkpoint,
            constraints=self.engine.constraints,
            corrections=source.corrections,
            preferences=source.preferences,
            briefing=source.briefing,
            retrace=source.retrace,
            wander=source.wander,
            ways=source.ways,
            verdicts=source.verdicts,
        )

    def _work(
        self, learner: Learner, start: FusedAdapter | None, context: LearningContext, on_progress: OnProgress
    ) -> Candidate:
        live = self.parts.releases.live()
        working = learner.learn(start, context)
        try:
            while True:
                event = next(working)
                on_progress(replace(event, stage=f"{event.stage}: {context.skill}"))
        except StopIteration as finished:
            candidate: Candidate = finished.value
            return replace(candidate, parent=live.id, created=time.time())
        finally:
            working.close()


def _known_by_heart(candidate: Candidate, verdict: Verdict) -> list[str]:
    """What to do where practice went better than the gate's tasks of the skill that was to be learned."""
    curve = candidate.evidence.get("curve", ())
    gained = [check for check in verdict.checks if check.rule == "gain"]
    found = [wilson_interval(check.candidate * check.tasks, check.tasks) for check in gained]
    return [warning for one in found for warning in by_heart(curve, one.estimate, one.high)]
