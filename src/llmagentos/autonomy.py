"""Learning unattended: choose what promises most, learn it, put it before the gate, and say what happened.

In: a cycle and minutes. Out: an `Account` whose text a person understands.
It does not know how prospects are weighed (`learning.prospects`), nor any learner.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from llmagentos.cycle import CONVERSATIONS, WATCHING, Cycle
from llmagentos.errors import ConfigError, LLMAgentOSError
from llmagentos.learning.prospects import Prospect, assess, best_of, conversations, heeding
from llmagentos.learning.strategy import LOOKING_SHARE, LearnerName, check_time, time_to_look
from llmagentos.learning.worked import has_answers, has_expert
from llmagentos.records.progress import Progress
from llmagentos.records.release import Verdict

LOOKED_AT = 24
"""Own runs by which a skill's success is estimated."""

OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Account:
    """What was looked at, chosen and reached."""

    prospects: tuple[Prospect, ...]
    left_out: tuple[tuple[str, str], ...]
    """Skills that could not be looked at, each with the reason."""
    chosen: Prospect | None
    verdict: Verdict | None
    warnings: tuple[str, ...]
    live: str
    minutes: float
    taken_out: Verdict | None = None
    """The gate's word on the live release without what was withdrawn, where that was due before learning."""
    sound: str = ""
    """The newest release that rests on nothing withdrawn, where the gate said no; else empty."""

    def __str__(self) -> str:
        parts = [
            f"# Learning unattended, {self.minutes:.1f} minutes",
            self._headline(),
            "## What was looked at",
            self._looked_at(),
            "## What was done",
            *([self._taken_out(self.taken_out)] if self.taken_out else []),
            self._done(),
        ]
        if self.verdict is not None and self.verdict.checks:
            parts += ["## How it was checked", self._checked(self.verdict)]
        if self.warnings:
            parts += ["## What to watch", "\n".join(f"- {warning}" for warning in self.warnings)]
        return "\n\n".join([*parts, "## What now", self._next()])

    def _headline(self) -> str:
        if self.verdict is None and self.taken_out is not None and not self.sound:
            return f"What was withdrawn is out of the agent, and {self.live} is live."
        if self.verdict is None:
            return f"Nothing was changed. {self.live} stays live."
        if not self.verdict.released:
            return f"What was learned was not taken over: the agent stays as it was. {self.live} stays live."
        rose = next((check for check in self.verdict.checks if check.rule == "gain"), None)
        if rose is None:
            return f"The agent took over what it learned, and {self.live} is live."
        return (
            f"The agent became better at {rose.skill}: it solves {rose.candidate:.0%} of new tasks, before it was "
            f"{rose.reference:.0%}. {self.live} is live."
        )

    def _looked_at(self) -> str:
        rows = ["| skill | solves now | could gain | why |", "|---|---|---|---|"]
        for one in sorted(self.prospects, key=lambda prospect: -prospect.gain):
            now = f"{one.success:.0%}" if one.played else "–"
            hope = f"about {100 * one.gain:.0f} of 100 tasks" if one.learner else "nothing to learn from"
            rows.append(f"| {one.skill} | {now} | {hope} | {one.reason} |")
        left = [f"- {skill} was left out: {why}" for skill, why in self.left_out]
        return "\n".join([*(rows if self.prospects else []), *([""] if self.prospects and left else []), *left])

    @staticmethod
    def _taken_out(verdict: Verdict) -> str:
        if verdict.released:
            return f"First, what people withdrew was taken out of the agent: {verdict.reason}"
        return f"What people withdrew could not be taken out of the agent alone: {verdict.reason}"

    def _done(self) -> str:
        if self.sound:
            return "Nothing was learned: it would rest on what was withdrawn, too."
        if self.chosen is None or self.chosen.learner is None:
            return "Nothing: no skill promises enough to be worth the time."
        how = HOW[self.chosen.learner]
        return f"{self.chosen.skill} by {self.chosen.learner}, because {self.chosen.reason}. In this way {how}."

    def _checked(self, verdict: Verdict) -> str:
        """The gate's comparison; where tasks are few, its reason says how sure it is."""
        rows = ["| skill | before | after | tasks | |", "|---|---|---|---|---|"]
        rows += [
            f"| {check.skill} | {check.reference:.0%} | {check.candidate:.0%} | {check.tasks} | "
            f"{'passed' if check.passed else 'not passed'} |"
            for check in verdict.checks
        ]
        word = "Taken over" if verdict.released else "Not taken over"
        first = "Before and after played the same tasks, which were never learned from."
        return "\n".join([first, "", *rows, "", f"{word}: {verdict.reason}"])

    def _next(self) -> str:
        if self.sound:
            return f"Go back to what rests on nothing withdrawn: llmagentos releases rollback {self.sound}"
        if self.verdict is None and not self.prospects:
            return "Give more minutes (--minutes), or name a skill: llmagentos learn NAME."
        if self.verdict is None:
            return (
                "Run agents on other tasks, say what was wrong in llmagentos chat, or name a skill to llmagentos learn."
            )
        before = next((check.reference_release for check in self.verdict.checks), "")
        if self.verdict.released:
            back = f" If it should not: llmagentos releases rollback {before}" if before else ""
            return f"Nothing needs to be done: agents use {self.live} from now on.{back}"
        return "The same command tries again, with other tasks. More minutes (--minutes) give it more to learn from."


HOW: Mapping[LearnerName, str] = {
    "imitation": "the agent repeats what an expert or a person showed, or what is known to be right",
    "brief-imitation": "the agent repeats what an expert showed, without reading the instructions each time",
    "dagger": "the agent tries itself and an expert corrects every step",
    "rejection-sampling": "the agent tries every task several times and repeats what succeeded",
    "policy-gradient": "the agent tries every task several times, and does more of what succeeded and less of the rest",
    "grpo": "the agent tries every task several times, and does more of what succeeded and less of the rest",
    "dr-grpo": "the agent tries every task several times, and does more of what succeeded and less of the rest",
    "dpo": "the agent sees a better and a worse reply side by side and prefers the better one",
    "kto": "the agent learns from thumbs up and down",
    "prompt-distillation": "the agent learns to work without its instructions, so that every run is shorter",
}
"""What a learner does, for a reader who knows none."""


class Autonomy:
    """Chooses and learns by itself, on one cycle."""

    def __init__(self, cycle: Cycle, on_progress: OnProgress) -> None:
        self._cycle, self._show = cycle, on_progress

    def learn(self, minutes: float, skills: Sequence[str] = (), seed: int = 0) -> Account:
        """Look, choose, learn, judge. `skills` are looked at beside those that are known.

        Where the live release rests on withdrawn data that is taken out first; where the gate does not allow it,
        nothing is learned. `ConfigError` where no skill is known at all.
        """
        began = time.monotonic()
        releases, taken_out = self._cycle.parts.releases, None
        if (old := releases.live()).withdrawn:
            self._show(Progress("taking out what was withdrawn", 0, 1, note=f"{old.id} rests on it"))
            taken_out = self._cycle.rebuild(self._show)
            if not taken_out.released:
                spent = (time.monotonic() - began) / 60
                return Account((), (), None, None, (), old.id, spent, taken_out, releases.newest_sound())
        prospects, left_out = self._look(minutes, skills, began)
        chosen = best_of(prospects, self._cycle.told_whole())
        verdict, notes = None, []
        if chosen is not None and chosen.learner is not None:
            left = minutes - (time.monotonic() - began) / 60
            self._show(Progress("choosing what to learn", 1, 1, note=f"{chosen.skill}: {chosen.reason}"))

            def listen(event: Progress) -> None:
                if event.stage == WATCHING:
                    notes.append(event.note)
                self._show(event)

            learner = "auto" if chosen.corrected else chosen.learner
            verdict = self._cycle.learn(
                chosen.skill, minutes=max(0.1, left), learner=learner, seed=seed, on_progress=listen
            )
        live, spent = releases.live().id, (time.monotonic() - began) / 60
        return Account(tuple(prospects), tuple(left_out), chosen, verdict, tuple(notes), live, spent, taken_out)

    def _look(
        self, minutes: float, skills: Sequence[str], began: float
    ) -> tuple[list[Prospect], list[tuple[str, str]]]:
        parts = self._cycle.parts
        known = [*skills, *parts.releases.live().skills, *parts.episodes.skills()]
        names = [name for name in dict.fromkeys(known) if name]
        unheeded = len(self._cycle.unheeded())
        if not names and not unheeded:
            raise ConfigError(
                "There is no skill to learn yet. Run an environment first (llmagentos run SupportDesk-v0 --tasks 4), "
                "or name one: llmagentos learn SupportDesk-v0"
            )
        found = [conversations(CONVERSATIONS, unheeded)] if unheeded else []
        left_out: list[tuple[str, str]] = []
        allowed = LOOKING_SHARE * minutes * 60
        for number, name in enumerate(names):
            if number and time.monotonic() - began > allowed:
                left_out.append((name, "the time for looking was over; more minutes leave more"))
                continue
            self._show(Progress("looking for what to learn", number, len(names), "skills", note=name))
            try:
                found.append(self._assess(name, number, time_to_look(minutes, len(names))))
            except LLMAgentOSError as problem:
                left_out.append((name, str(problem)))
        return found, left_out

    def _assess(self, name: str, seed: int, seconds: float) -> Prospect:
        """A skill's prospect; `LearningError` where a run of it takes longer than there are `seconds` for looking."""
        cycle = self._cycle
        env = cycle.players.environment(name)
        policy = cycle.players.policy(env, cycle.parts.releases.live())
        tasks, labels = env.tasks("train", LOOKED_AT, seed=seed), {"purpose": "probe"}
        policy = replace(policy, limits=replace(policy.limits, seconds=seconds))
        show, by_name = self._show, f"learn it by its name: llmagentos learn '{env.skill}'"
        runs = cycle.rollouts.play(tasks, policy, stage=f"looking at {name}", labels=labels, on_progress=show)
        check_time(runs, seconds, by_name)
        expert = has_expert(env)
        probe = [] if expert else cycle.choosing.probe(env, seed=seed + 1, seconds=seconds, on_progress=show)
        check_time([run for group in probe for run in group], seconds, by_name)
        chance = cycle.choosing.by_chance(env, probe, seed=seed + 1, seconds=seconds, on_progress=show)
        found = assess(
            env.skill,
            runs,
            probe,
            expert=expert,
            recovers=env.expert_recovers,
            corrections=sum(judged.better is not None for judged in cycle.parts.people.of_skill(env.skill)),
            prompt_share=cycle.choosing.prompt_share(env) if expert else 0.0,
            answers=has_answers(env),
            chance=chance,
        )
        known = env.skill in cycle.parts.releases.live().skills
        return heeding(found, len(cycle.unheeded(env.skill)) if known else 0)
