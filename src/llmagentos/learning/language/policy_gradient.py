"""Policy gradient on groups with a leave-one-out baseline (REINFORCE leave-one-out; Kool et al. 2019; Ahmadian et al.
2024, arXiv 2402.14740, equation 8).

In: groups of own runs on the same task with verifiable rewards. Out: a candidate that is rewarded more often.
With K runs of a task and rewards R_k, advantage A_k = R_k - mean_{j != k} R_j; gradient of sum_k A_k log p(run_k) over
its sampled tokens. Groups whose rewards are all alike carry no signal and are skipped. One update for each batch
of runs: always on-policy, so no ratio and no clipping. Kept skills are replayed by imitation beside it.
It does not know what the reward measures, nor how practice goes (`learning.groups`).
"""

from __future__ import annotations

import torch

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

PolicyGradientSettings = GroupSettings


class PolicyGradient:
    """See the module."""

    name = "policy-gradient"

    def __init__(self, settings: GroupSettings | None = None) -> None:
        self.settings = settings or GroupSettings()

    def learn(self, start: FusedAdapter | None, context: LearningContext) -> Learning:
        """See `groups.learn_in_groups`."""
        return learn_in_groups(self.name, self.settings, start, context, self._update)

    def _update(self, run: LearningRun, context: LearningContext, played: Played) -> dict[str, float]:
        settings = self.settings
        # With examples in the prompt only what was rewarded is reinforced: what failed there says nothing without them.
        lessons = [*lessons_of(played.groups), *(one for one in lessons_of(played.hinted) if one[1] > 0)]
        if not lessons:
            return {}
        runs = [from_transcript(episode.transcript, as_sampled=True) for episode, _ in lessons]
        logprobs = run.trainer.logprobs([*runs, *replayed(run, context, settings)])
        weighted = [-advantage * part.sum() for (_, advantage), part in zip(lessons, logprobs, strict=False)]
        loss = torch.stack(weighted).sum() / (settings.tasks * settings.samples) / mean_length(runs)
        metrics: dict[str, float] = {}
        run.trainer.backward(with_replay(loss, logprobs[len(runs) :], settings.beside(len(runs)), metrics))
        metrics["gradient_norm"] = run.trainer.step(run.factor(floor=0.3))
        return metrics


def lessons_of(groups: list[list[Episode]]) -> list[tuple[Episode, float]]:
    """Each run of a mixed group with its advantage."""
    return [
        (episode, advantage)
        for group in groups
        if is_mixed(group)
        for episode, advantage in zip(group, leave_one_out([one.reward for one in group]), strict=True)
    ]


def leave_one_out(rewards: list[float]) -> list[float]:
    """Each reward minus the mean of the others; needs at least two."""
    total, count = sum(rewards), len(rewards)
    return [reward - (total - reward) / (count - 1) for reward in rewards]
