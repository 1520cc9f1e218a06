"""Rejection sampling: imitate the winners of the agent's own groups (RAFT, arXiv 2304.06767, algorithm 1; expert
iteration).

In: groups of own runs on the same task. Out: a candidate that does more often what its best runs did.
Of each mixed group the runs with the highest reward are kept, at most `winners`, short ones first; what always succeeds
or never says nothing. Loss = - mean over the winners' sampled tokens of log p. Nothing is pushed down: slower than a
policy gradient where failures are informative, and it cannot be hurt by them.

Where replies can be counted chance has a say in practice, and plays alone while the agent hardly ever wins
(`learning.scouting`): what is never tried is never won. What is won so is rare, and half of it luck, so it is
remembered and imitated again beside later winners, a batch at a time (self-imitation, arXiv 1806.05779). There loss =
- sum of w log p / sum of w, w = discount^(replies to come), the discounted return of what was said: the longer a run
went on until it won, the more of its first moves were of no use. Where loops were taken out of a run (`loops`) every
move is worth the same, w = 1. What is likely enough pulls no further, so that practice stays varied.
It does not know what the reward measures, nor how practice goes (`learning.groups`).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from llmagentos.learning.context import Learning, LearningContext
from llmagentos.learning.groups import GroupSettings, Played, best_of, by_chance, learn_in_groups, replayed, with_replay
from llmagentos.learning.run import LearningRun
from llmagentos.learning.scouting import RETRACED, scout, seldom_won
from llmagentos.learning.trainer import AdapterSettings, TrainingSequence, from_transcript
from llmagentos.models.adapters import FusedAdapter
from llmagentos.records.episode import Episode

WON = "won"
"""Under which a run keeps its winners: by the seed of their task, the newest last; tokens and how each is scored: not,
`SCORED`, or `STRAIGHT`, [2, N]."""
SCORED, STRAIGHT = 1, 2
"""A token that was said, in any run and in one without loops, whose first replies are worth as much as its last."""

LossOf: TypeAlias = Callable[[list[TrainingSequence], list[Tensor]], Tensor]
"""Of winners and the log-probabilities of their scored tokens."""


@dataclass(frozen=True, slots=True)
class RejectionSamplingSettings(GroupSettings):
    """What may be tuned."""

    adapter: AdapterSettings = field(default_factory=lambda: AdapterSettings(learning_rate=8e-4))
    explore: float = 0.5
    scouted: int = 16
    """Tasks a step that chance wins alone while own runs hardly ever win, none for 0 (see `scouting`)."""
    winners: int = 2
    """Most runs of a group that are imitated."""
    batch: int = 8
    """Remembered winners, each of another task, that a step of the optimiser imitates."""
    passes: float = 4.0
    """How often a remembered winner is imitated on average."""
    kept: int = 400
    """Tasks whose winners are remembered."""
    enough: float = 0.8
    """Probability of a token of theirs from which on it pulls no further."""
    discount: float = 0.8
    """Of a reply's weight for each one that comes after it until the run is won."""


class RejectionSampling:
    """See the module."""

    name = "rejection-sampling"

    def __init__(self, settings: RejectionSamplingSettings | None = None) -> None:
        self.settings = settings or RejectionSamplingSettings()

    def learn(self, start: FusedAdapter | None, context: LearningContext) -> Learning:
        """See `groups.learn_in_groups`."""
        return learn_in_groups(self.name, self.settings, start, context, self._update)

    def _update(self, run: LearningRun, context: LearningContext, played: Played) -> dict[str, float]:
        settings, groups = self.settings, played.groups + played.hinted
        won = [(str(group[0].task.seed), winners(group, settings.winners)) for group in groups]
        scouted = scout(run, context, settings.scouted, played.groups)
        won += [(str(group[0].task.seed), winners(group, 1)) for group in scouted]
        fresh = [one for _, runs in won for one in runs]
        if not fresh and (WON not in run.extra or not seldom_won(played.groups)):
            return {}
        metrics = {"winners": float(len(fresh)), **({"scouted": float(len(scouted))} if scouted else {})}
        if WON not in run.extra and not any(map(by_chance, fresh)):
            self._imitate(run, context, [from_transcript(one.transcript) for one in fresh], mean_loss, metrics)
            return metrics
        known: dict[str, list[Tensor]] = run.extra.setdefault(WON, {})
        remember(known, won, settings.kept)
        shown_again = max(len(fresh), settings.batch)
        for number in range(math.ceil(settings.passes * shown_again / settings.batch)):
            chance = random.Random(run.seed(8, number))
            tasks = chance.sample(list(known), min(settings.batch, len(known)))
            drawn = [chance.choice(known[task]).tolist() for task in tasks]
            shown = [TrainingSequence(tuple(tokens), tuple(map(bool, scored))) for tokens, scored in drawn]
            discounts = [1.0 if STRAIGHT in scored else settings.discount for _, scored in drawn]
            self._imitate(run, context, shown, partial(self._remembered, discounts), metrics, number)
        return metrics

    def _imitate(
        self,
        run: LearningRun,
        context: LearningContext,
        shown: list[TrainingSequence],
        loss_of: LossOf,
        metrics: dict[str, float],
        *parts: int,
    ) -> None:
        """One step of the optimiser; `parts` tell it from the others of this step of practice."""
        kept = replayed(run, context, self.settings, *parts)
        logprobs = run.trainer.logprobs([*shown, *kept])
        loss = loss_of(shown, logprobs[: len(shown)])
        run.trainer.backward(with_replay(loss, logprobs[len(shown) :], self.settings.replay_weight, metrics))
        metrics["gradient_norm"] = run.trainer.step(run.factor(floor=0.3))

    def _remembered(self, discounts: list[float], shown: list[TrainingSequence], logprobs: list[Tensor]) -> Tensor:
        """The loss of remembered winners (see the module); 0 where everything is likely enough."""
        logp_N = torch.cat(logprobs)
        weights_N = torch.cat([one ** _after(each).to(logp_N) for one, each in zip(discounts, shown, strict=True)])
        pulls_N = logp_N.detach().exp() < self.settings.enough
        return (-logp_N * weights_N)[pulls_N].sum() / weights_N.sum()


def mean_loss(shown: list[TrainingSequence], logprobs: list[Tensor]) -> Tensor:
    """The loss of winners that are imitated once (see the module)."""
    return -torch.cat(logprobs).mean()


def _after(one: TrainingSequence) -> Tensor:
    return torch.from_numpy(replies_after(one.targets))


def replies_after(places_N: np.ndarray) -> np.ndarray:
    """How many replies come after that of each token, [N]; tokens of one reply have neighbouring places."""
    reply_N = np.cumsum(np.diff(places_N, prepend=places_N[:1]) > 1)
    return reply_N[-1:] - reply_N


def remember(known: dict[str, list[Tensor]], won: Sequence[tuple[str, list[Episode]]], most: int) -> None:
    """Add the winners of tasks to the known ones, as the newest, and forget the oldest tasks beyond `most`."""
    for task, runs in won:
        if runs:
            told = [from_transcript(one.transcript) for one in runs]
            known.pop(task, None)
            scores = [STRAIGHT if one.program == RETRACED else SCORED for one in runs]
            known[task] = [
                torch.tensor([one.tokens, [score * scored for scored in one.scored]], dtype=torch.int32)
                for one, score in zip(told, scores, strict=True)
            ]
    for task in list(known)[:-most]:
        del known[task]


def winners(group: list[Episode], most: int) -> list[Episode]:
    """The best runs of a mixed group, those with the fewest sampled tokens first."""
    return sorted(best_of(group), key=lambda episode: sum(episode.transcript.trainable))[:most]
