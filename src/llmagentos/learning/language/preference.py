"""Preferences: pairs or single verdicts against what the agent was before (DPO, arXiv 2305.18290, equation 7; KTO,
arXiv 2402.01306, equation 8; online pairs from own groups as in arXiv 2402.04792).

In: own groups with mixed rewards, and what people preferred. Out: a candidate that prefers as they do.
With m(run) = log p(run) - log p_start(run) over its sampled tokens:
DPO: - log sigmoid(beta (m(better) - m(worse))) for a better and a worse run of the same task.
KTO: 1 - sigmoid(beta (m - z)) for what was good and 1 - sigmoid(beta (z - m)) for what was bad, where z is the mean of
m over the batch, at least 0 and without gradient: on own runs it is the divergence that the paper estimates.
`likelihood` adds the mean negative log-likelihood of the better runs (RPO, arXiv 2404.19733, equation 1): without it
both of a pair may become unlikely.
It does not know what the reward measures, nor how practice goes (`learning.groups`).
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from llmagentos.learning.context import Learning, LearningContext
from llmagentos.learning.groups import GroupSettings, Played, learn_in_groups, replayed, with_replay
from llmagentos.learning.run import LearningRun
from llmagentos.learning.trainer import AdapterSettings, AdapterTrainer, TrainingSequence, from_transcript
from llmagentos.learning.watch import is_mixed
from llmagentos.models.adapters import FusedAdapter
from llmagentos.records.episode import Episode

Pair: TypeAlias = tuple[TrainingSequence, TrainingSequence]
"""A better and a worse run of the same task."""


@dataclass(frozen=True, slots=True)
class PreferenceSettings(GroupSettings):
    """What may be tuned."""

    adapter: AdapterSettings = field(default_factory=lambda: AdapterSettings(learning_rate=3e-4))
    loss: Literal["dpo", "kto"] = "dpo"
    beta: float = 0.1
    likelihood: float = 0.2
    pairs: int = 2
    """Most pairs of a group; each run is in one at most."""
    people: int = 4
    """Pairs or verdicts of people beside each step's own, where there are any."""


class Preference:
    """See the module."""

    def __init__(self, settings: PreferenceSettings | None = None) -> None:
        self.settings = settings or PreferenceSettings()
        self.name = self.settings.loss

    def learn(self, start: FusedAdapter | None, context: LearningContext) -> Learning:
        """See `groups.learn_in_groups`."""
        reference = AdapterTrainer(
            context.decoder, self.settings.adapter, start=start, seed=context.seed, constraints=context.constraints
        )

        def update(run: LearningRun, context: LearningContext, played: Played) -> dict[str, float]:
            return self._update(run, reference, context, played)

        return learn_in_groups(self.name, self.settings, start, context, update)

    def _update(
        self, run: LearningRun, reference: AdapterTrainer, context: LearningContext, played: Played
    ) -> dict[str, float]:
        settings, chance = self.settings, random.Random(run.seed(3))
        groups = [group for group in played.groups if is_mixed(group)]
        found = [pair for group in groups for pair in pairs_of(group, settings.pairs, chance)]
        said = context.preferences(settings.people, run.seed(4)) if settings.people else []
        found += [(from_transcript(better), from_transcript(worse)) for better, worse in said]
        better, worse = [pair[0] for pair in found], [pair[1] for pair in found]
        if settings.loss == "kto":
            alone = context.verdicts(settings.people, run.seed(5)) if settings.people else []
            better += [from_transcript(one) for one, good in alone if good]
            worse += [from_transcript(one) for one, good in alone if not good]
        if not better and not worse:
            return {}
        kept = replayed(run, context, settings)
        logprobs = run.trainer.logprobs([*better, *worse, *kept])
        with torch.no_grad():
            before = reference.logprobs([*better, *worse])
        moved = torch.stack([(new.sum() - old.sum()) for new, old in zip(logprobs, before, strict=False)])
        good, bad = moved[: len(better)], moved[len(better) :]
        loss = dpo_loss(good, bad, settings.beta) if settings.loss == "dpo" else kto_loss(good, bad, settings.beta)
        metrics = {
            "pairs": float(len(found)),
            "moved_good": float(good.detach().sum()) / max(1, len(better)),
            "moved_bad": float(bad.detach().sum()) / max(1, len(worse)),
        }
        if better:
            loss = loss - settings.likelihood * torch.cat(logprobs[: len(better)]).mean()
        rest = logprobs[len(better) + len(worse) :]
        run.trainer.backward(with_replay(loss, rest, settings.replay_weight, metrics))
        metrics["gradient_norm"] = run.trainer.step(run.factor(floor=0.3))
        return metrics


def dpo_loss(good: Tensor, bad: Tensor, beta: float) -> Tensor:
    """Mean over pairs of - log sigmoid(beta (m(better) - m(worse)))."""
    return -functional.logsigmoid(beta * (good - bad)).mean()


def kto_loss(good: Tensor, bad: Tensor, beta: float) -> Tensor:
    """Mean over runs of 1 - sigmoid of how far each moved the right way from the batch's mean."""
    rest = torch.cat([good, bad]).detach().mean().clamp(min=0)
    return torch.cat([1 - torch.sigmoid(beta * (good - rest)), 1 - torch.sigmoid(beta * (rest - bad))]).mean()


def pairs_of(group: list[Episode], most: int, chance: random.Random) -> list[Pair]:
    """Better and worse runs of a mixed group, drawn without using a run twice, the widest differences first."""
    ordered = sorted(chance.sample(group, len(group)), key=lambda episode: episode.reward)
    found: list[Pair] = []
    for worse, better in zip(ordered, reversed(ordered), strict=True):
        if len(found) == most or better.reward <= worse.reward:
            break
        found.append(
            (from_transcript(better.transcript, as_sampled=True), from_transcript(worse.transcript, as_sampled=True))
        )
    return found
