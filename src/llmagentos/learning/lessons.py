"""What a learner may ask for: practice, demonstrations, replay and development scores, all through the kernel.

In: an environment to learn, environments of kept skills, and the services that play and remember. Out: runs and
transcripts. It does not know which learner asks, nor the gate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llmagentos.errors import LearningError
from llmagentos.kernel.rollouts import Policy, Rollouts
from llmagentos.learning.context import Corrected, Practice, Score
from llmagentos.learning.general import REQUESTS
from llmagentos.learning.worked import corrected_runs, expert_runs, without_examples, worked_examples
from llmagentos.models.adapters import FusedAdapter
from llmagentos.models.torch_engine import TorchEngine
from llmagentos.records.episode import Episode
from llmagentos.records.generation import GenerationRequest, Sampling
from llmagentos.records.identity import new_id
from llmagentos.records.message import Message
from llmagentos.records.task import Task
from llmagentos.records.transcript import Segment, Transcript

if TYPE_CHECKING:
    from llmagentos.environments.language import LanguageEnvironment

GENERAL_SAMPLING = Sampling(max_tokens=24)
"""The first words of an answer are enough to hold the manner of answering."""


@dataclass(frozen=True, slots=True)
class LessonServices:
    """What lessons are made with, composed in `cycle.py`."""

    engine: TorchEngine
    rollouts: Rollouts
    policy: Callable[[LanguageEnvironment], Policy]
    """How an environment is played; release and adapter are replaced."""
    own: Callable[[str], list[Transcript]]
    """The agent's own successful training runs of a skill."""
    corrected: Callable[[str], list[Transcript]]
    """What people corrected or showed of a skill."""
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
    ) -> None:
        """`env` is None for a learner that only reads; `kept` are the environments of the skills to be kept."""
        self._services, self._env, self._seed, self._kept, self._replays = services, env, seed, kept, replays
        self._stored: dict[str, list[Transcript]] = {}

    @property
    def env(self) -> LanguageEnvironment:
        """The environment to be learned; `LearningError` where there is none."""
        if self._env is None:
            raise LearningError("This learner reads documents; it has no environment to practise in.")
        return self._env

    def practice(self, adapter: FusedAdapter, asked: Practice) -> list[list[Episode]]:
        """Own runs on fresh training tasks under an adapter that is still being trained."""
        services, env = self._services, self.env
        drawn = env.tasks("train", asked.examples + asked.tasks, seed=asked.seed)
        shown = worked_examples(env, services.rollouts, drawn[: asked.examples])
        if asked.examples and not shown:
            return []
        tasks = drawn[asked.examples :]
        runs = self._play(
            adapter, tasks, asked.samples, asked.temperature, asked.seed, "practice", asked.max_tokens, shown
        )
        if shown:
            renderer = services.engine.renderer
            runs = [replace(run, transcript=without_examples(env, run, renderer)) for run in runs]
        return [runs[at : at + asked.samples] for at in range(0, len(runs), asked.samples)]

    def corrections(self, adapter: FusedAdapter, asked: Practice) -> list[Corrected]:
        """Own runs on fresh training tasks, corrected by the expert where the environment has one."""
        tasks = self.env.tasks("train", asked.tasks, seed=asked.seed)
        if not tasks or self.env.expert(tasks[0]) is None:
            return []
        runs = self._play(adapter, tasks, asked.samples, asked.temperature, asked.seed, "practice", asked.max_tokens)
        renderer = self._services.engine.renderer
        return [one for run in runs for one in corrected_runs(self.env, run, renderer)]

    def evaluate(self, adapter: FusedAdapter) -> Score:
        """Success on a few development tasks, always the same."""
        tasks = self.env.tasks("development", self._services.development_tasks, seed=self._seed)
        runs = self._play(adapter, tasks, 1, 0.0, 0, "development", None)
        count = len(runs)
        return Score(
            sum(run.success for run in runs) / count, sum(run.lenient or run.success for run in runs) / count, count
        )

    def demonstrations(self, count: int, seed: int) -> list[Transcript]:
        """Fresh runs of the expert; without one, what people corrected or showed."""
        shown = self._shown(self.env, count, seed)
        return shown or self._services.corrected(self.env.skill)[:count]

    def replay(self, count: int, seed: int) -> list[Transcript]:
        """Runs of the kept skills in turn (their experts', else the agent's own that succeeded), and general answers.

        Each kept skill comes twice as often as the base model's own answers to requests of no skill; without a kept
        skill there are only those, a quarter of `count`.
        """
        if not self._replays:
            return []
        count = count if self._kept else math.ceil(count / 4)
        sources: list[LanguageEnvironment | None] = [*self._kept, *self._kept, None]
        found: list[Transcript] = []
        for number in range(count):
            env, draw = sources[(seed + number) % len(sources)], seed * 31 + number
            found += self._general(draw) if env is None else self._shown(env, 1, draw) or self._own(env, draw)
        return found

    def _general(self, draw: int) -> list[Transcript]:
        """What the bare base model answers to a request of no skill, computed once for all of them."""
        if "" not in self._stored:
            engine = self._services.engine
            prompts = [engine.renderer.render((Message("user", text),), first=True) for text in REQUESTS]
            answers = [
                engine.submit(GenerationRequest(tuple(t for part in prompt for t in part.tokens), GENERAL_SAMPLING))
                for prompt in prompts
            ]
            model = engine.renderer.model
            self._stored[""] = [
                Transcript(model, (*prompt, Segment("sampled", answer.result().tokens)))
                for prompt, answer in zip(prompts, answers, strict=True)
            ]
        return [self._stored[""][draw % len(REQUESTS)]]

    def _shown(self, env: LanguageEnvironment, count: int, seed: int) -> list[Transcript]:
        tasks = env.tasks("train", count, seed=seed % 1_000_000)
        episodes = expert_runs(env, self._services.rollouts, tasks)
        return [episode.transcript for episode in episodes if episode.success]

    def _own(self, env: LanguageEnvironment, seed: int) -> list[Transcript]:
        if env.skill not in self._stored:
            self._stored[env.skill] = self._services.own(env.skill)
        stored = self._stored[env.skill]
        return [stored[seed % len(stored)]] if stored else []

    def _play(
        self,
        adapter: FusedAdapter,
        tasks: Sequence[Task],
        samples: int,
        temperature: float,
        seed: int,
        purpose: str,
        max_tokens: int | None,
        examples: list[list[str]] | None = None,
    ) -> list[Episode]:
        services, name = self._services, new_id("practice")
        usual = services.policy(self.env)
        length = max_tokens or usual.sampling.max_tokens
        sampling = replace(usual.sampling, max_tokens=length, temperature=temperature, top_p=1.0, seed=seed)
        services.engine.serve(name, adapter)
        try:
            arguments = {**usual.arguments, "examples": examples} if examples else usual.arguments
            policy = replace(usual, release="practice", adapter=name, sampling=sampling, arguments=arguments)
            return services.rollouts.play(tasks, policy, samples=samples, labels={"purpose": purpose})
        finally:
            services.engine.unload_adapter(name)
