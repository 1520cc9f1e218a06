"""Group-relative policy optimisation, with clipping for runs that are used more than once (GRPO, arXiv 2402.03300,
equation 3; Dr. GRPO, arXiv 2503.20783, section 3.1; the wider upper clip is DAPO's, arXiv 2503.14476).

In: groups of own runs on the same task with verifiable rewards. Out: a candidate that is rewarded more often.
With r_t = p(token_t) / p_old(token_t) the loss is - sum_t min(r_t A, clip(r_t, 1 - low, 1 + high) A).
GRPO: A = (R - mean R) / std R, and each run's sum is divided by its own length. Dr. GRPO: A = R - mean R, and all sums
by one constant: dividing by the run's length favours long failures, dividing by the spread favours tasks that are
nearly solved or nearly hopeless. `epochs` updates are made of each step's runs; the first has r = 1.
It does not know what the reward measures, nor how practice goes (`learning.groups`).
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from llmagentos.learning.context import Learning, LearningContext
from llmagentos.learning.groups import (
    GroupSettings,
    Played,
    learn_in_groups,
    mean_length,
    replayed,
    with_replay,
)
from llmagentos.learning.run import LearningRun
from llmagentos.learning.trainer import from_transcript
from llmagentos.learning.watch import is_mixed
from llmagentos.models.adapters import FusedAdapter
from llmagentos.records.episode import Episode


@dataclass(frozen=True, slots=True)
class GrpoSettings(GroupSettings):
    """What may be tuned."""

    variant: Literal["grpo", "dr-grpo"] = "dr-grpo"
    epochs: int = 2
    """Updates from the same runs."""
    clip_low: float = 0.2
    clip_high: float = 0.28


class Grpo:
    """See the module."""

    def __init__(self, settings: GrpoSettings | None = None) -> None:
        self.settings = settings or GrpoSettings()
        self.name = self.settings.variant

    def learn(self, start: FusedAdapter | None, context: LearningContext) -> Learning:
        """See `groups.learn_in_groups`."""
        return learn_in_groups(self.name, self.settings, start, context, self._update)

    def _update(self, run: LearningRun, context: LearningContext, played: Played) -> dict[str, float]:
        settings = self.settings
        by_spread = settings.variant == "grpo"
        lessons = [one for group in played.groups for one in advantages(group, by_spread)]
        lessons += [one for group in played.hinted for one in advantages(group, by_spread) if one[1] > 0]
        if not lessons:
            return {}
        runs = [from_transcript(episode.transcript, as_sampled=True) for episode, _ in lessons]
        kept = replayed(run, context, settings)
        constant = mean_length(runs)
        old: list[Tensor] = []
        metrics: dict[str, float] = {}
        for _ in range(settings.epochs):
            logprobs = run.trainer.logprobs([*runs, *kept])
            old = old or [part.detach() for part in logprobs[: len(runs)]]
            losses, clipped = [], 0.0
            for (_, advantage), new, before in zip(lessons, logprobs, old, strict=False):
                gains, cut = self._gains(new, before, advantage)
                losses.append(-gains.sum() / (max(1, len(gains)) if by_spread else constant))
                clipped += cut / len(lessons)
            loss = torch.stack(losses).sum() / (settings.tasks * settings.samples)
            run.trainer.backward(with_replay(loss, logprobs[len(runs) :], settings.beside(len(runs)), metrics))
            metrics["gradient_norm"] = run.trainer.step(run.factor(floor=0.3))
            metrics["clipped"] = clipped
        return metrics

    def _gains(self, new: Tensor, old: Tensor, advantage: float) -> tuple[Tensor, float]:
        """Each token's clipped gain, and the share of tokens whose gradient the clip has cut off."""
        settings = self.settings
        ratio = (new - old).exp()
        free = ratio * advantage
        bound = ratio.clamp(1 - settings.clip_low, 1 + settings.clip_high) * advantage
        cut = float((bound < free).float().mean()) if len(new) else 0.0
        return torch.minimum(free, bound), cut


def advantages(group: list[Episode], by_spread: bool) -> list[tuple[Episode, float]]:
    """Each run of a mixed group with R - mean R, divided by the group's standard deviation where asked for."""
    if not is_mixed(group):
        return []
    rewards = [episode.reward for episode in group]
    mean, spread = statistics.fmean(rewards), statistics.pstdev(rewards) if by_spread else 1.0
    return [(episode, (episode.reward - mean) / max(spread, math.ulp(1.0))) for episode in group]
