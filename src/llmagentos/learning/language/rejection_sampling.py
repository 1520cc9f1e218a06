"""Rejection sampling: imitate the winners of the agent's own groups (RAFT, arXiv 2304.06767, algorithm 1; expert
iteration).

In: groups of own runs on the same task. Out: a candidate that does more often what its best runs did.
Of each mixed group the runs with the highest reward are kept, at most `winners`, short ones first; what always succeeds
or never says nothing. Loss = - mean over the winners' sampled tokens of log p. Nothing is pushed down: slower than a
policy gradient where failures are informative, and it cannot be hurt by them.
It does not know what the reward measures, nor how practice goes (`learning.groups`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from llmagentos.learning.context import Learning, LearningContext
from llmagentos.learning.groups import GroupSettings, Played, learn_in_groups, replayed, with_replay
from llmagentos.learning.run import LearningRun
from llmagentos.learning.trainer import AdapterSettings, from_transcript
from llmagentos.learning.watch import is_mixed
from llmagentos.models.adapters import FusedAdapter
from llmagentos.records.episode import Episode


@dataclass(frozen=True, slots=True)
class RejectionSamplingSettings(GroupSettings):
    """What may be tuned."""

    adapter: AdapterSettings = field(default_factory=lambda: AdapterSettings(learning_rate=8e-4))
    winners: int = 2
    """Most runs of a group that are imitated."""


class RejectionSampling:
    """See the module."""

    name = "rejection-sampling"

    def __init__(self, settings: RejectionSamplingSettings | None = None) -> None:
        self.settings = settings or RejectionSamplingSettings()

    def learn(self, start: FusedAdapter | None, context: LearningContext) -> Learning:
        """See `groups.learn_in_groups`."""
        return learn_in_groups(self.name, self.settings, start, context, self._update)

    def _update(self, run: LearningRun, context: LearningContext, played: Played) -> dict[str, float]:
        settings = self.settings
        won = [one for group in played.groups + played.hinted for one in winners(group, settings.winners)]
        if not won:
            return {}
        kept = replayed(run, context, settings)
        logprobs = run.trainer.logprobs([*(from_transcript(episode.transcript) for episode in won), *kept])
        metrics = {"winners": float(len(won))}
        loss = -torch.cat(logprobs[: len(won)]).mean()
        run.trainer.backward(with_replay(loss, logprobs[len(won) :], settings.replay_weight, metrics))
        metrics["gradient_norm"] = run.trainer.step(run.factor(floor=0.3))
        return metrics


def winners(group: list[Episode], most: int) -> list[Episode]:
    """The best runs of a mixed group, those with the fewest sampled tokens first."""
    if not is_mixed(group):
        return []
    best = max(episode.reward for episode in group)
    won = [episode for episode in group if episode.reward == best]
    return sorted(won, key=lambda episode: sum(episode.transcript.trainable))[:most]
