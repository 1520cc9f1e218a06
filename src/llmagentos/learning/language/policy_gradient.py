"""Policy gradient on groups with a leave-one-out baseline (REINFORCE leave-one-out; Kool et al. 2019; Ahmadian et al.
2024, arXiv 2402.14740, equation 8).

In: groups of own runs on the same task with verifiable rewards. Out: a candidate that is rewarded more often.
With K runs of a task and rewards R_k, advantage A_k = R_k - mean_{j != k} R_j; gradient of sum_k A_k log p(run_k) over
its sampled tokens. Groups whose rewards are all alike carry no signal and are skipped. One update for each batch
of runs: always on-policy, so no ratio and no clipping. Kept skills are replayed by imitation beside it.
While few own runs succeed, some tasks are played with worked examples in the prompt, and what is rewarded there is
learned without them (context distillation, arXiv 2209.15189): a form that is never met by chance is so met.
It does not know what the reward measures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch

from llmagentos.errors import LearningError
from llmagentos.learning.context import Learning, LearningContext, Practice
from llmagentos.learning.run import LearningRun
from llmagentos.learning.trainer import AdapterSettings, TrainingSequence, from_transcript
from llmagentos.models.adapters import FusedAdapter
from llmagentos.records.episode import Episode


@dataclass(frozen=True, slots=True)
class PolicyGradientSettings:
    """What may be tuned."""

    adapter: AdapterSettings = field(default_factory=lambda: AdapterSettings(learning_rate=2e-4, clip=0.5))
    tasks: int = 8
    """Tasks a step."""
    samples: int = 8
    """Runs of each task."""
    temperature: float = 1.0
    limit: int = 400
    """Most steps."""
    replay: int = 2
    """Runs of kept skills imitated beside each step, where there are any."""
    replay_weight: float = 0.5
    patience: int = 8
    """Steps in a row without any mixed group after which there is nothing to reinforce."""
    hinted: int = 2
    """Tasks a step that are played with worked examples in the prompt, while fewer than `hint_until` of the other
    runs succeed."""
    examples: int = 2
    """Worked examples in such a prompt."""
    hint_until: float = 0.5
    evaluate_every: int = 0


class PolicyGradient:
    """See the module."""

    name = "policy-gradient"

    def __init__(self, settings: PolicyGradientSettings | None = None) -> None:
        self.settings = settings or PolicyGradientSettings()

    def learn(self, start: FusedAdapter | None, context: LearningContext) -> Learning:
        """Practise until the planned steps are done or nothing is left to reinforce.

        `LearningError` when no run at all was rewarded in the first `patience` steps.
        """
        settings = self.settings
        run = LearningRun(self.name, context, settings.adapter, start, settings.limit)
        idle, rewarded = int(run.extra.get("idle", 0)), float(run.extra.get("rewarded", 0))
        while not run.finished and idle < settings.patience:
            practice = Practice(settings.tasks, settings.samples, run.seed(), settings.temperature)
            adapter = run.trainer.snapshot()
            groups = context.practice(adapter, practice)
            metrics = describe(groups)
            hinted: list[list[Episode]] = []
            if settings.hinted and metrics["strict"] < settings.hint_until:
                asked = replace(practice, tasks=settings.hinted, seed=run.seed(2), examples=settings.examples)
                hinted = context.practice(adapter, asked)
            rewarded += sum(episode.reward > 0 for group in groups + hinted for episode in group)
            lessons = [*lessons_of(groups), *(lesson for lesson in lessons_of(hinted) if lesson[1] > 0)]
            idle = 0 if lessons else idle + 1
            if lessons:
                metrics |= self._update(run, context, lessons)
            run.extra = {"idle": idle, "rewarded": rewarded}
            every = settings.evaluate_every
            if every and (run.done + 1) % every == 0:
                score = context.evaluate(run.trainer.snapshot())
                metrics |= score.metrics
            yield run.stepped(metrics)
        if rewarded == 0:
            raise LearningError(
                f"No run of {context.skill} was rewarded in {run.done} steps: reinforcement cannot start from nothing. "
                "Give demonstrations first (an expert, or corrected episodes): llmagentos learn --learner imitation"
            )
        return run.candidate(evidence={"stopped": "nothing left to reinforce" if idle >= settings.patience else "plan"})

    def _update(
        self, run: LearningRun, context: LearningContext, lessons: list[tuple[Episode, float]]
    ) -> dict[str, float]:
        settings = self.settings
        runs = [from_transcript(episode.transcript, as_sampled=True) for episode, _ in lessons]
        weights = [advantage for _, advantage in lessons]
        kept = context.replay(settings.replay, run.seed(1)) if settings.replay else []
        logprobs = run.trainer.logprobs([*runs, *(from_transcript(transcript) for transcript in kept)])
        total = settings.tasks * settings.samples
        loss = torch.stack([-w * part.sum() for w, part in zip(weights, logprobs, strict=False)]).sum()
        loss = loss / total / mean_length(runs)
        metrics = {"loss": float(loss.detach())}
        if kept:
            imitation = -torch.cat(logprobs[len(runs) :]).mean()
            metrics["replay_loss"] = float(imitation.detach())
            loss = loss + settings.replay_weight * imitation
        run.trainer.backward(loss)
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


def is_mixed(group: list[Episode]) -> bool:
    """Whether a group's rewards are finite and not all alike."""
    rewards = [episode.reward for episode in group]
    return len(rewards) > 1 and all(map(math.isfinite, rewards)) and max(rewards) > min(rewards)


def mean_length(runs: list[TrainingSequence]) -> float:
    """Mean number of scored tokens, a constant of the step: unlike each run's own length it biases no run."""
    return max(1.0, sum(len(run.targets) for run in runs) / max(1, len(runs)))


def describe(groups: list[list[Episode]]) -> dict[str, float]:
    """Mean reward, strict and lenient success, share of groups that are mixed and mean length of the replies."""
    episodes = [episode for group in groups for episode in group]
    count = max(1, len(episodes))
    rewards = [episode.reward for episode in episodes if math.isfinite(episode.reward)]
    sampled = sum(sum(episode.transcript.trainable) for episode in episodes)
    return {
        "reward": sum(rewards) / max(1, len(rewards)),
        "strict": sum(episode.success for episode in episodes) / count,
        "lenient": sum(episode.lenient for episode in episodes) / count,
        "mixed": sum(map(is_mixed, groups)) / max(1, len(groups)),
        "length": sampled / count,
    }
