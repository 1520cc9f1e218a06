"""What a learner may ask for: practice, demonstrations, replay and development scores, all through the kernel.

In: an environment to learn, environments of kept skills, and the services that play and remember. Out: runs and
transcripts. It does not know which learner asks, nor the gate.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, TypeVar

from llmagentos.errors import LearningError
from llmagentos.experience.feedback import Judged
from llmagentos.kernel.rollouts import Policy, Rollouts
from llmagentos.learning.context import Briefing, Corrected, Path, Practice, Score
from llmagentos.learning.general import rendered
from llmagentos.learning.replying import alone
from llmagentos.learning.returning import wander
from llmagentos.learning.worked import (
    answered_runs,
    briefly,
    corrected_runs,
    expert_runs,
    same_prompt,
    without_examples,
    worked_examples,
)
from llmagentos.models.adapters import FusedAdapter
from llmagentos.models.torch_engine import TorchEngine
from llmagentos.records.episode import Episode
from llmagentos.records.generation import GenerationRequest, Sampling
from llmagentos.records.identity import JSON, new_id
from llmagentos.records.task import Task
from llmagentos.records.transcript import Segment, Transcript

if TYPE_CHECKING:
    from llmagentos.environments.language import LanguageEnvironment

T = TypeVar("T")

GENERAL_SAMPLING = Sampling(max_tokens=24)
"""The first words of an answer are enough to hold the manner of answering."""
TOGETHER = 4
"""Runs of one kept skill that follow each other: in one batch the prompt that they share is computed once. Few runs
beside a policy gradient's rare updates are mixed instead: by fours the desk fell from 94 to 87 % beside the drills."""


@dataclass(frozen=True, slots=True)
class LessonServices:
    """What lessons are made with, composed in `cycle.py`."""

    engine: TorchEngine
    rollouts: Rollouts
    scouts: Rollouts
    """For runs that chance plays alone: of them only those that won are kept."""
    policy: Callable[[LanguageEnvironment], Policy]
    """How an environment is played; release and adapter are replaced."""
    own: Callable[[str], list[Episode]]
    """The agent's own successful training runs of a skill."""
    corrected: Callable[[str], list[Episode]]
    """What people corrected or showed of a skill; "" is conversations of no skill."""
    judged: Callable[[str], list[Judged]]
    """What people said about runs of a skill."""
    development_tasks: int


class Lessons:
    """The lessons of one run of one learner."""

    def __init__(
        self,
        services: LessonServices,
        env: LanguageEnvironment | None,
        seed: int,
        kept: Sequence[LanguageEnvironment],
        *,
        replays: bool = True,
        from_people: bool = False,
        practice: str = "practice",
    ) -> None:
        """`env` is None for a learner that practises nothing; `kept` are the environments of the skills to be kept.

        `from_people` leaves experts out: only what people corrected or showed is demonstrated. `practice` is what own
        runs bear in the place of a release.
        """
        self._services, self._env, self._seed, self._kept, self._replays = services, env, seed, kept, replays
        self._from_people, self._practice = from_people, practice
        self._stored: dict[str, list[Transcript]] = {}
        self.rests_on: set[str] = set()
        """Identifiers of stored episodes and feedback that were given out: what the weights rest on."""

    @property
    def env(self) -> LanguageEnvironment:
        """The environment to be learned; `LearningError` where there is none."""
        if self._env is None:
            raise LearningError("There is no environment to practise in: only documents or conversations are learned.")
        return self._env

    def practice(self, adapter: FusedAdapter, asked: Practice) -> list[list[Episode]]:
        """Own runs on fresh training tasks under an adapter that is still being trained."""
        services, env = self._services, self.env
        repeated = [env.task("train", seed) for seed in asked.again]
        drawn = env.tasks("train", asked.examples + asked.tasks - len(repeated), seed=asked.seed)
        shown = worked_examples(env, services.rollouts, drawn[: asked.examples])
        if asked.examples and not shown:
            return []
        tasks = [*drawn[asked.examples :], *repeated]
        runs = self._play(adapter, tasks, asked, "practice", {"examples": shown} if shown else {})
        if shown:
            renderer = services.engine.renderer
            brief = self._brief(env)
            runs = [replace(run, transcript=without_examples(env, run, renderer, brief)) for run in runs]
        return [runs[at : at + asked.samples] for at in range(0, len(runs), asked.samples)]

    def retrace(self, paths: Sequence[Path]) -> list[Episode]:
        """Training tasks played once more, each with the replies that are given, in the usual number of actions."""
        following = (iter(replies) for _, replies in paths)

        def follow(task: Task) -> Callable[[str], str]:
            replies = next(following)
            return lambda observation: next(replies, "")

        return self._services.rollouts.demonstrate(
            [task for task, _ in paths],
            follow,
            self._brief(self.env),
            self.env.most_steps,
            release=self._practice,
            labels={"purpose": "practice"},
        )

    def wander(self, paths: Sequence[Path], seed: int) -> list[Episode]:
        """Training tasks played once each, first with the replies that are given and then as chance has it."""
        policy = replace(self._services.policy(self.env), release=self._practice)
        return wander(self._services.scouts, policy, paths, seed)

    def ways(self, count: int) -> list[tuple[str, ...]]:
        """What was said in the agent's own successful training runs: at most `count`, the shortest ones, none twice."""
        ways = {tuple(step.action for step in run.steps) for run in self._services.own(self.env.skill)}
        return sorted(ways, key=lambda way: (len(way), way))[:count]

    def corrections(self, adapter: FusedAdapter, asked: Practice) -> list[Corrected]:
        """Own runs on fresh training tasks, corrected by the expert where the environment has one."""
        tasks = self.env.tasks("train", asked.tasks, seed=asked.seed)
        if not tasks or self.env.expert(tasks[0]) is None:
            return []
        runs = self._play(adapter, tasks, asked, "practice")
        renderer = self._services.engine.renderer
        found = [one for run in runs for one in corrected_runs(self.env, run, renderer)]
        if not found and all(run.error for run in runs):
            raise LearningError(
                f"None of {len(runs)} own runs of {self.env.skill} could be finished, so that there is nothing to "
                f"correct. The first one said: {runs[0].error} Mend the environment and start the same command again."
            )
        return found

    @property
    def briefing(self) -> Briefing | None:
        """The name of the skill in place of its prompt; None where that is all that is told already, or where tasks are
        told different things."""
        if self._env is None or self._brief(self._env) or not same_prompt(self._env):
            return None
        text, renderer = self._env.skill, self._services.engine.renderer
        return Briefing(
            text,
            lambda transcript: briefly(transcript, renderer, text),
            lambda count, seed: self.demonstrations(count, seed, text),
            lambda adapter: self.evaluate(adapter, {"brief": text}),
        )

    def evaluate(self, adapter: FusedAdapter, arguments: dict[str, JSON] | None = None) -> Score:
        """Success on a few development tasks, always the same; `arguments` of the program besides the usual ones."""
        tasks = self.env.tasks("development", self._services.development_tasks, seed=self._seed)
        runs = self._play(adapter, tasks, Practice(len(tasks), 1, 0, temperature=0.0), "development", arguments)
        count = len(runs)
        return Score(
            sum(run.success for run in runs) / count, sum(run.lenient or run.success for run in runs) / count, count
        )

    def demonstrations(self, count: int, seed: int, brief: str = "") -> list[Transcript]:
        """What people corrected or showed, up to half of them, and fresh runs of the expert where there is one, else of
        right replies where they are known.

        All are told what runs of the skill are told now, or `brief`. Without an environment: corrected conversations.
        `LearningError` where somebody shows it and none of those runs succeeds.
        """
        if self._env is None:
            return _some(self._corrected(""), count, seed)
        brief = brief or self._brief(self.env)
        people = self._as_told(self._corrected(self.env.skill), brief)
        if self._from_people:
            return _some(people, count, seed)
        play = partial(self._played, self.env, count - min(len(people), count // 2), seed, brief)
        played = play(expert_runs) or play(answered_runs)
        shown = _won(played)
        if not shown and not people and played:
            raise LearningError(_failed_expert(self.env.skill, played))
        if not shown:
            return _some(people, count, seed)
        return _some(people, count - len(shown), seed) + shown

    def repeated(self, adapters: Sequence[FusedAdapter | None], count: int) -> tuple[list[int], int]:
        """How many of at most `count` demonstrations each adapter (None is the bare base) ends as they end, token by
        token, and of how many."""
        shown, engine = self.demonstrations(count, 0), self._services.engine
        found = []
        for adapter in adapters:
            with ExitStack() as served:
                name = served.enter_context(engine.serving(new_id("repeating"), adapter)) if adapter else None
                answers = [engine.submit(_last_reply(one, name)) for one in shown]
                said = [answer.result().tokens for answer in answers]
            found.append(sum(one.segments[-1].tokens == tokens for one, tokens in zip(shown, said, strict=True)))
        return found, len(shown)

    def preferences(self, count: int, seed: int) -> list[tuple[Transcript, Transcript]]:
        """Pairs of what should have been said and what was."""
        return _some([(one.better, one.said) for one in self._judged if one.better is not None], count, seed)

    def verdicts(self, count: int, seed: int) -> list[tuple[Transcript, bool]]:
        """Replies with a thumb."""
        thumbs = [one for one in self._judged if one.better is None]
        return _some([(one.said, one.feedback.kind == "good") for one in thumbs], count, seed)

    @cached_property
    def _judged(self) -> list[Judged]:
        found = self._services.judged(self.env.skill)
        self.rests_on |= {one.feedback.id for one in found}
        self.rests_on |= {one.feedback.shown for one in found if one.feedback.shown}
        return found

    def _corrected(self, skill: str) -> list[Transcript]:
        key = f"people:{skill}"
        if key not in self._stored:
            self._stored[key] = self._noted(self._services.corrected(skill))
        return self._stored[key]

    def _noted(self, episodes: list[Episode]) -> list[Transcript]:
        self.rests_on |= {episode.id for episode in episodes}
        return [episode.transcript for episode in episodes]

    def replay(self, count: int, seed: int) -> list[Transcript]:
        """Runs of the kept skills in turn (their experts', else the agent's own that succeeded), general answers, and
        what people corrected in conversations.

        Each kept skill comes twice as often as the base model's own answers to requests of no skill and as people's
        corrections; without either there are only those answers, a quarter of `count`.
        """
        count = count if self._kept or self._said else math.ceil(count / 4)
        return self._replayed(count, seed, [*self._kept, *self._kept, None], 1)

    def kept(self, count: int, seed: int) -> list[Transcript]:
        """`replay` without general answers, runs of one skill together; none where there is nothing to keep."""
        return self._replayed(count, seed, [*self._kept, *self._kept], TOGETHER)

    def general(self, count: int, seed: int) -> list[Transcript]:
        """What the bare base model answers to requests of no skill."""
        return _in_turn(self._general, count, seed * count) if self._replays else []

    def _replayed(
        self, count: int, seed: int, sources: list[LanguageEnvironment | None], together: int
    ) -> list[Transcript]:
        said = self._said
        if not (self._replays and (sources or said)):
            return []
        found: list[Transcript] = []
        for number, begin in enumerate(range(0, count, together)):
            size = min(together, count - begin)
            place, draw = (seed + number) % (len(sources) + bool(said)), seed * 31 + begin
            if place == len(sources):
                found += _in_turn(said, size, draw)
            elif (env := sources[place]) is None:
                found += _in_turn(self._general, size, draw)
            else:
                found += self._again(env, size, draw)
        return found

    @property
    def _said(self) -> list[Transcript]:
        """Corrected conversations to be replayed, and beside corrections of a skill what people called good of it;
        where nothing is replayed, nothing rests on them."""
        return self._corrected("") + self._liked if self._replays else []

    @cached_property
    def _liked(self) -> list[Transcript]:
        found = self._services.judged(self.env.skill) if self._from_people and self._env is not None else []
        liked = [one for one in found if one.feedback.kind == "good"]
        self.rests_on |= {one.feedback.id for one in liked}
        return self._as_told([one.said for one in liked], self._brief(self.env)) if liked else []

    @cached_property
    def _general(self) -> list[Transcript]:
        """What the bare base model answers to requests of no skill."""
        engine = self._services.engine
        prompts = rendered(engine.renderer)
        answers = [
            engine.submit(GenerationRequest(tuple(t for part in prompt for t in part.tokens), GENERAL_SAMPLING))
            for prompt in prompts
        ]
        return [
            Transcript(engine.renderer.model, (*prompt, Segment("sampled", answer.result().tokens)))
            for prompt, answer in zip(prompts, answers, strict=True)
        ]

    def _again(self, env: LanguageEnvironment, count: int, seed: int) -> list[Transcript]:
        """Runs of a kept skill: its expert's, else the agent's own that succeeded, else what is known to be right."""
        play = partial(self._played, env, count, seed, self._brief(env))
        return _won(play(expert_runs)) or _in_turn(self._own(env), count, seed) or _won(play(answered_runs))

    def _played(
        self, env: LanguageEnvironment, count: int, seed: int, brief: str, shown: Callable[..., list[Episode]]
    ) -> list[Episode]:
        """Runs of fresh training tasks as somebody shows them, whatever came of them."""
        return shown(env, self._services.rollouts, env.tasks("train", count, seed=seed % 1_000_000), brief)

    def _own(self, env: LanguageEnvironment) -> list[Transcript]:
        if env.skill not in self._stored:
            self._stored[env.skill] = self._as_told(self._noted(self._services.own(env.skill)), self._brief(env))
        return self._stored[env.skill]

    def _brief(self, env: LanguageEnvironment) -> str:
        """What runs of `env` are told in place of instructions and tools; empty for everything."""
        return str(self._services.policy(env).arguments.get("brief", ""))

    def _as_told(self, stored: list[Transcript], brief: str) -> list[Transcript]:
        """Earlier runs with a `brief` prompt; as they were where it is empty."""
        renderer = self._services.engine.renderer
        return [briefly(transcript, renderer, brief) for transcript in stored] if brief else stored

    def _play(
        self,
        adapter: FusedAdapter,
        tasks: Sequence[Task],
        asked: Practice,
        purpose: str,
        more: dict[str, JSON] | None = None,
    ) -> list[Episode]:
        """`tasks` as is `asked` for, with `more` arguments of the program."""
        services, name, explore = self._services, new_id("practice"), asked.explore
        usual = services.policy(self.env)
        length = asked.max_tokens or usual.sampling.max_tokens
        sampling = replace(usual.sampling, max_tokens=length, temperature=asked.temperature, top_p=1.0, seed=asked.seed)
        arguments = alone(usual.arguments) | (more or {}) | ({"explore": asdict(explore)} if explore else {})
        rollouts = services.scouts if explore is not None and explore.alone else services.rollouts
        with services.engine.serving(name, adapter):
            policy = replace(usual, release=self._practice, adapter=name, sampling=sampling, arguments=arguments)
            return rollouts.play(tasks, policy, samples=asked.samples, labels={"purpose": purpose})


def _won(runs: Sequence[Episode]) -> list[Transcript]:
    return [run.transcript for run in runs if run.success]


def _failed_expert(skill: str, played: Sequence[Episode]) -> str:
    first = next((run for run in played if run.error), played[0])
    why = first.error or f"task seed {first.task.seed} was played to its end and is no success."
    if not first.error and first.reward > 0:
        why += f" It was rewarded with {first.reward:g}: say info['success'] where an episode ends."
    return (
        f"None of {len(played)} runs of the expert of {skill} succeeded. The first one said: {why} "
        "Mend expert(task) or right_answer(task), or learn from own runs: "
        f"llmagentos learn '{skill}' --learner policy-gradient"
    )


def _last_reply(shown: Transcript, adapter: str | None) -> GenerationRequest:
    """Asks an adapter for what a transcript ends with, greedily and no longer than that."""
    prompt = tuple(token for segment in shown.segments[:-1] for token in segment.tokens)
    return GenerationRequest(prompt, Sampling(max_tokens=len(shown.segments[-1].tokens)), adapter)


def _some(found: list[T], count: int, seed: int) -> list[T]:
    """`count` of what there is, or all of it, chosen by `seed`."""
    return found if len(found) <= count else random.Random(seed).sample(found, count)


def _in_turn(stored: list[T], count: int, start: int) -> list[T]:
    """`count` of what is stored from place `start` on, round and round; none twice."""
    return [stored[(start + place) % len(stored)] for place in range(min(count, len(stored)))]
