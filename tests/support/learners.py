"""Learners in miniature: settings for the tiny decoder, and something to practise on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from llmagentos.learning.context import Briefing, Learner, Practice, Score
from llmagentos.learning.language.dagger import Dagger, DaggerSettings
from llmagentos.learning.language.grpo import Grpo, GrpoSettings
from llmagentos.learning.language.imitation import Imitation, ImitationSettings
from llmagentos.learning.language.language_modelling import LanguageModelling, LanguageModellingSettings
from llmagentos.learning.language.policy_gradient import PolicyGradient, PolicyGradientSettings
from llmagentos.learning.language.preference import Preference, PreferenceSettings
from llmagentos.learning.language.prompt_distillation import PromptDistillation, PromptDistillationSettings
from llmagentos.learning.language.rejection_sampling import RejectionSampling, RejectionSamplingSettings
from llmagentos.learning.trainer import AdapterSettings
from llmagentos.models.adapters import BatchAdapters, FusedAdapter
from llmagentos.models.packing import TreeAttention, pack
from llmagentos.records.episode import Episode
from llmagentos.records.task import Task
from llmagentos.records.transcript import Segment, Transcript

ADAPTER = AdapterSettings(rank=2, alpha=4.0, learning_rate=1e-2)
PROMPT = (4, 5, 6, 7, 8)
ARMS = [40, 41, 42, 43, 44, 45, 46, 47]
BUSY: dict[str, Any] = {"tasks": 4, "samples": 8, "adapter": AdapterSettings(rank=2, alpha=4.0, learning_rate=2e-2)}
STEPS = 13
"""Past the first checkpoint, which is written at step 10."""
GROUP = {"adapter": ADAPTER, "tasks": 2, "samples": 4}
DOCUMENTS = tuple(tuple(30 + (n + start) % 9 for n in range(100)) for start in range(8))


def imitation(limit: int = STEPS, **options: Any) -> Imitation:
    return Imitation(ImitationSettings(**{"adapter": ADAPTER, "batch": 4, "pool": 8, "limit": limit, **options}))


def policy_gradient(limit: int = STEPS, **options: Any) -> PolicyGradient:
    settings = {"adapter": ADAPTER, "tasks": 2, "samples": 4, "limit": limit, **options}
    return PolicyGradient(PolicyGradientSettings(**settings))  # type: ignore[arg-type]


def language_modelling(limit: int = STEPS, **options: Any) -> LanguageModelling:
    settings = {"adapter": ADAPTER, "length": 32, "batch": 4, "limit": limit, **options}
    return LanguageModelling(LanguageModellingSettings(**settings))  # type: ignore[arg-type]


def rejection_sampling(limit: int = STEPS, **options: Any) -> RejectionSampling:
    return RejectionSampling(RejectionSamplingSettings(**{**GROUP, "limit": limit, **options}))  # type: ignore[arg-type]


def grpo(limit: int = STEPS, **options: Any) -> Grpo:
    return Grpo(GrpoSettings(**{**GROUP, "limit": limit, **options}))  # type: ignore[arg-type]


def preference(limit: int = STEPS, **options: Any) -> Preference:
    return Preference(PreferenceSettings(**{**GROUP, "limit": limit, **options}))  # type: ignore[arg-type]


def dagger(limit: int = STEPS, **options: Any) -> Dagger:
    return Dagger(DaggerSettings(**{"adapter": ADAPTER, "tasks": 4, "limit": limit, **options}))  # type: ignore[arg-type]


def prompt_distillation(limit: int = STEPS, **options: Any) -> PromptDistillation:
    settings = {"adapter": ADAPTER, "batch": 4, "pool": 16, "limit": limit, "evaluate_every": 5, **options}
    return PromptDistillation(PromptDistillationSettings(**settings))  # type: ignore[arg-type]


def from_groups(limit: int = STEPS, **options: Any) -> list[Any]:
    """Every learner from groups of own runs."""
    return [
        policy_gradient(limit, **options),
        rejection_sampling(limit, **options),
        grpo(limit, variant="grpo", **options),
        grpo(limit, variant="dr-grpo", **options),
        preference(limit, loss="dpo", **options),
        preference(limit, loss="kto", **options),
    ]


def briefing(strict: float = 0.0, shown: Callable[[int, int], list[Transcript]] | None = None) -> Briefing:
    """The first token alone instead of the prompt; `shown` demonstrates under it."""
    return Briefing(
        "brief",
        lambda run: Transcript(run.model, (Segment("prompt", PROMPT[:1]), *run.segments[1:])),
        shown or (lambda count, seed: []),
        lambda adapter: Score(strict, strict, 4),
    )


def called(learner: Learner) -> str:
    return learner.name


class Bandit:
    """One prompt, one of eight tokens to say, by the adapter's probabilities: even ones are rewarded.

    Where chance has a say every other run of each task is its."""

    def __init__(self, workshop: Any, own_run: Callable[..., Episode], marker: int = 0) -> None:
        self.decoder, self.own_run, self.marker = workshop.decoder, own_run, marker
        self.asked: list[Practice] = []

    def __call__(self, adapter: FusedAdapter, asked: Practice) -> list[list[Episode]]:
        self.asked.append(asked)
        tree = pack([PROMPT])
        with torch.inference_mode():
            attend = TreeAttention(tree, self.decoder.config)
            runs = BatchAdapters([(0, len(PROMPT), adapter)])
            hidden = self.decoder.hidden(tree.tokens_N, tree.positions_N, attend, runs)
            chances = self.decoder.logits(hidden[-1:])[0, ARMS].softmax(-1)
        generator = torch.Generator().manual_seed(asked.seed)
        drawn = torch.multinomial(chances, asked.tasks * asked.samples, replacement=True, generator=generator).tolist()
        runs_ = [self.own_run(PROMPT, (ARMS[arm],), float(arm % 2 == 0), (self.marker,) * 3) for arm in drawn]
        groups = [runs_[at : at + asked.samples] for at in range(0, len(runs_), asked.samples)]
        if asked.explore:
            groups = [[run if at % 2 else _by_chance(run) for at, run in enumerate(group)] for group in groups]
        tasks = [Task("Bandit-v0", asked.seed + number) for number in range(len(groups))]
        return [[replace(one, task=task) for one in group] for task, group in zip(tasks, groups, strict=True)]


def _by_chance(run: Episode) -> Episode:
    segments = run.transcript.segments
    said = [Segment("demonstration", one.tokens) if one.origin == "sampled" else one for one in segments]
    return replace(run, transcript=Transcript(run.transcript.model, tuple(said)))
