"""Learning from groups of own runs on the same task: what all learners from rewards share.

In: settings, and an update that a learner makes of a step's groups. Out: the learner's generator: practice, worked
examples in the prompt where hardly anything succeeds yet, the update, an evaluation now and then, an end.
It does not know which loss is built from a group.

While few own runs succeed, some tasks are played with worked examples in the prompt, and what is rewarded there is
learned without them (context distillation, arXiv 2209.15189): a form that is never met by chance is so met.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import TypeAlias

import torch
from torch import Tensor

from llmagentos.errors import LearningError
from llmagentos.learning.context import Learning, LearningContext, Practice
from llmagentos.learning.run import LearningRun
from llmagentos.learning.trainer import AdapterSettings, TrainingSequence, from_transcript
from llmagentos.learning.watch import is_flat, is_mixed, repetition, warnings
from llmagentos.models.adapters import FusedAdapter
from llmagentos.records.calls import Exploration
from llmagentos.records.episode import Episode
from llmagentos.records.transcript import TRAINABLE, turns

MOST_MIXED = 64
"""Tasks with mixed runs that are remembered."""
MOSTLY = 0.5
"""Share of own runs that succeed, from which on the first step already says whether chance only disturbs."""
COMPARED, RARE = 2, 0.25
"""Steps after it with chance in all runs, and mean share of their groups that are mixed below which as many more
compare runs with chance and runs without it."""
LESS_OFTEN = 3.0
"""So many times less often the best, runs that chance disturbs are of no use. TowerOfHanoi, where two wrong moves lose,
was not learned at all with chance in every run, and in 2.5 minutes with chance in half of them."""
HOPE = 0.25
"""Share of the planned steps in which a first reward is waited for: where one run in a thousand succeeds, eight steps
hardly ever see one."""
BEST = ("best_by_chance", "best_alone")
"""Under which a run keeps how often each was the best."""
SCOUTED = "scouted"
"""Under which a run keeps how many tasks chance alone won in the last step (`scouting`)."""
FEWER = 4
"""Times fewer tasks that the agent plays itself in a step after one in which chance won some: it costs a model's time
and wins less."""
ENDED = ("finished", "truncated")
"""Outcomes of runs whose reward is known: an environment that raises takes the rest of it along."""


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """What may be tuned in every learner from groups."""

    adapter: AdapterSettings = field(default_factory=lambda: AdapterSettings(learning_rate=2e-4, clip=0.5))
    tasks: int = 8
    """Tasks a step."""
    samples: int = 8
    """Runs of each task."""
    temperature: float = 1.0
    limit: int = 400
    """Most steps."""
    replay: int = 2
    """Runs of kept skills imitated beside each update, where there are any."""
    replay_weight: float = 0.5
    patience: int = 8
    """Steps in a row without anything to learn after which learning ends; before any run was rewarded, not before
    `HOPE` of the steps that there is time for."""
    hinted: int = 2
    """Tasks a step that are played with worked examples in the prompt, while fewer than `hint_until` of the other
    runs succeed."""
    examples: int = 2
    """Worked examples in such a prompt."""
    hint_until: float = 0.5
    mixed: float = 0.5
    """Groups with mixed runs that a step waits for where most runs succeed, as a share of `tasks` (dynamic sampling:
    DAPO, arXiv 2503.14476, equation 11): a step is as long whatever it rests on, and one or two failures say little."""
    rounds: int = 4
    """Rounds of practice, of `tasks` each, that it waits at most."""
    explore: float = 0.0
    """Share of turns at which chance replies in practice, where replies can be counted: at first, falling to none at
    the end. For learners that ask what was won and not how likely it was."""
    repeat: float = 0.0
    """Share of a step's tasks that are played once more because some of their runs succeeded and some failed: practice
    goes where 0 < pass rate < 1."""
    flat: int = 0
    """Steps after which learning ends when the mean reward of so many is no higher than that of so many before; 0 for
    never. While chance has a say, rewards say little about the agent, and what it has not won yet may still come."""
    evaluate_every: int = 0
    """Steps between evaluations on the development split; 0 leaves them out."""

    def beside(self, runs: int) -> float:
        """Weight of replay beside a loss that is a sum over `runs` that teach, divided by all that were asked for:
        where few do, what is kept must not drown them."""
        return self.replay_weight * min(1.0, runs / (self.tasks * self.samples))


@dataclass(frozen=True, slots=True)
class Played:
    """One step's practice."""

    groups: list[list[Episode]]
    """Runs of each task under the adapter as it is."""
    hinted: list[list[Episode]]
    """Runs with worked examples in the prompt, their transcripts without them."""
    fault: str = ""
    """What the first run said that could not be finished, and is in neither."""


Update: TypeAlias = Callable[[LearningRun, LearningContext, Played], dict[str, float]]
"""Steps of the optimiser on one step's practice; what was measured, nothing where the practice taught nothing."""


def learn_in_groups(
    name: str, settings: GroupSettings, start: FusedAdapter | None, context: LearningContext, update: Update
) -> Learning:
    """Practise and update until the planned steps are done or practice teaches nothing any more.

    A run that could not be finished teaches nothing: what it would have been rewarded nobody knows. `LearningError`
    when no run at all was rewarded, when all were rewarded alike, and when for `patience` steps in a row none could be
    finished; then what was learned so far is kept in the checkpoint.
    """
    run = LearningRun(name, context, settings.adapter, start, settings.limit)
    idle, down, flat = int(run.extra.get("idle", 0)), 0, bool(run.extra.get("flat", False))
    rewarded, taught = float(run.extra.get("rewarded", 0)), int(run.extra.get("taught", run.done))
    fault = ""
    while not (run.finished or flat) and (idle < settings.patience or (not rewarded and run.left > 1 - HOPE)):
        played, metrics = practise(run, context, settings)
        rewarded += sum(one.reward > 0 for group in played.groups + played.hinted for one in group)
        learned = update(run, context, played)
        fault = played.fault or fault
        down = down + 1 if played.fault and not played.groups else 0
        idle = 0 if learned else idle + (not down)
        taught += bool(learned)
        metrics |= learned
        undisturbed = not any(by_chance(episode) for group in played.groups for episode in group)
        flat = undisturbed and is_flat([*run.curve, metrics], settings.flat)
        mixed = still_mixed(run, played.groups)
        run.extra |= {"idle": idle, "rewarded": rewarded, "taught": taught, "flat": flat, "mixed": mixed}
        every = settings.evaluate_every
        if every and (run.done + 1) % every == 0:
            score = context.evaluate(run.trainer.snapshot())
            metrics |= score.metrics
        yield run.stepped(metrics)
        if down == settings.patience:
            run.save()
            raise LearningError(
                f"No run of {context.skill} could be finished in {down} steps in a row. One of the last said: {fault} "
                f"Mend the environment; the same command goes on from step {run.done}."
            )
    if not taught:
        context.checkpoint.clear()  # what is mended meanwhile must not meet the same end at once
        raise LearningError(nothing_taught(context.skill, run, rewarded, fault))
    stopped = "nothing left to reinforce" if idle >= settings.patience else "flat" if flat else "plan"
    return run.candidate(evidence={"stopped": stopped, "warnings": warnings(run.curve)})


def nothing_taught(skill: str, run: LearningRun, rewarded: float, fault: str) -> str:
    """Why practice taught nothing at all, and what to do; `fault` is what a run said that could not be finished."""
    if rewarded == 0 and fault:
        share = fmean(point.get("failed", 0.0) for point in run.curve)
        return (
            f"No run of {skill} was rewarded in {run.done} steps, and {share:.0%} of them could not be finished. "
            f"One said: {fault} Mend the environment."
        )
    if rewarded == 0:
        return (
            f"No run of {skill} was rewarded in {run.done} steps: reinforcement cannot start from nothing. "
            "Give demonstrations first (an expert, or corrected episodes): "
            f"llmagentos learn '{skill}' --learner imitation"
        )
    mean = fmean(point.get("reward", 0.0) for point in run.curve)
    return (
        f"In {run.done} steps of {skill} no two runs of one task were rewarded differently (mean reward {mean:.3g}): "
        "nothing says which of them was better. Reward runs by how well they went, in finite numbers, or imitate an "
        f"expert: llmagentos learn '{skill}' --learner imitation"
    )


def practise(run: LearningRun, context: LearningContext, settings: GroupSettings) -> tuple[Played, dict[str, float]]:
    """A step's runs and what the plain ones measure."""
    tasks = max(1, settings.tasks // FEWER) if run.extra.get(SCOUTED) else settings.tasks
    again = mixed_tasks(run)
    again = random.Random(run.seed(6)).sample(again, min(len(again), int(settings.repeat * tasks)))
    asked = Practice(
        tasks,
        settings.samples,
        run.seed(),
        settings.temperature,
        again=tuple(again),
        explore=exploration(run, settings),
    )
    adapter = run.trainer.snapshot()
    played = context.practice(adapter, asked)
    for number in range(1, settings.rounds):
        if enough(ended(played), settings):
            break
        played = [*played, *context.practice(adapter, replace(asked, seed=run.seed(7, number), again=()))]
    groups = ended(played)
    compare(run, groups)
    count, failed = sum(map(len, played)), [one for group in played for one in group if one.outcome not in ENDED]
    metrics = describe(groups) if groups or not failed else {}
    hinted: list[list[Episode]] = []
    if settings.hinted and metrics.get("strict", 1.0) < settings.hint_until:
        asked = replace(asked, tasks=settings.hinted, seed=run.seed(2), examples=settings.examples, again=())
        hinted = ended(context.practice(adapter, asked))
    if failed:
        metrics["failed"] = len(failed) / count
    return Played(groups, hinted, failed[0].error if failed else ""), metrics


def exploration(run: LearningRun, settings: GroupSettings) -> Exploration | None:
    """How often chance replies in this step: in all runs, or in none where it only loses, as one wrong reply may.

    The first step leaves half of the runs to the agent alone. Where most of those succeed, and runs that chance
    disturbs are much less often the best of their task, it has no say any more. So do two more steps where the two
    between taught little, and those after one in which chance alone found something (`scouting`).
    """
    if not settings.explore:
        return None
    by_chance, alone = (int(run.extra.get(key, 0)) for key in BEST)
    if LESS_OFTEN * (by_chance + 1) < alone:
        return None
    return Exploration(settings.explore * run.left, runs=0.5 if comparing(run) else 1.0)


def comparing(run: LearningRun) -> bool:
    """Whether this step tells chance's runs from the agent's own: chance that plays alone tries enough besides."""
    if run.done == 0 or run.extra.get(SCOUTED):
        return True
    taught = [point.get("mixed", 0.0) for point in run.curve[1 : 1 + COMPARED]]
    return COMPARED < run.done <= 2 * COMPARED and fmean(taught) < RARE


def compare(run: LearningRun, groups: list[list[Episode]]) -> None:
    """Count in such a step whose runs are the best of their tasks: chance's, or the agent's alone.

    Where one reply is the whole run, chance disturbs nothing: it is not counted against it.
    """
    alone = [episode.success for group in groups for episode in group if not by_chance(episode)]
    if comparing(run) and (run.done or (alone and fmean(alone) >= MOSTLY)):
        best = [by_chance(one) for group in groups for one in best_of(group) if turns(one.transcript.segments) > 1]
        for key, count in zip(BEST, (sum(best), len(best) - sum(best)), strict=True):
            run.extra[key] = int(run.extra.get(key, 0)) + count


def enough(groups: list[list[Episode]], settings: GroupSettings) -> bool:
    """Whether a step can be made of these groups; where few runs succeed more of the same would say no more."""
    runs = [episode.success for group in groups for episode in group]
    few_succeed = not runs or sum(runs) < settings.hint_until * len(runs)
    return few_succeed or sum(map(is_mixed, groups)) >= settings.mixed * settings.tasks


def ended(groups: list[list[Episode]]) -> list[list[Episode]]:
    """The groups without the runs that failed on the way, and without those of which nothing is left."""
    left = [[episode for episode in group if episode.outcome in ENDED] for group in groups]
    return [group for group, before in zip(left, groups, strict=True) if group or not before]


def mixed_tasks(run: LearningRun) -> list[int]:
    """Seeds of the tasks whose runs were mixed when they were last played, the newest last."""
    return [int(seed) for seed in str(run.extra.get("mixed", "")).split()]


def still_mixed(run: LearningRun, groups: list[list[Episode]]) -> str:
    """The same after a step, as the checkpoint keeps it."""
    known = dict.fromkeys(mixed_tasks(run))
    for group in groups:
        seed = group[0].task.seed
        known.pop(seed, None)
        if is_mixed(group):
            known[seed] = None
    return " ".join(map(str, list(known)[-MOST_MIXED:]))


def replayed(
    run: LearningRun, context: LearningContext, settings: GroupSettings, *parts: int
) -> list[TrainingSequence]:
    """Runs of kept skills to imitate beside an update; others for other `parts` of a step."""
    kept = context.replay(settings.replay, run.seed(1, *parts)) if settings.replay else []
    return [from_transcript(transcript) for transcript in kept]


def with_replay(loss: Tensor, kept: list[Tensor], weight: float, metrics: dict[str, float]) -> Tensor:
    """The loss with that of imitating the kept runs, whose log-probabilities are `kept`; both are noted."""
    metrics["loss"] = float(loss.detach())
    if not kept:
        return loss
    imitation = -torch.cat(kept).mean()
    metrics["replay_loss"] = float(imitation.detach())
    return loss + weight * imitation


def best_of(group: list[Episode]) -> list[Episode]:
    """The runs of a mixed group with the highest reward; none of another one."""
    best = max((episode.reward for episode in group), default=0.0)
    return [episode for episode in group if episode.reward == best] if is_mixed(group) else []


def by_chance(episode: Episode) -> bool:
    """Whether chance had a say in a run."""
    return any(segment.origin == "demonstration" for segment in episode.transcript.segments)


def mean_length(runs: list[TrainingSequence]) -> float:
    """Mean number of scored tokens, a constant of the step: unlike each run's own length it biases no run."""
    return max(1.0, sum(len(run.targets) for run in runs) / max(1, len(runs)))


def describe(groups: list[list[Episode]]) -> dict[str, float]:
    """Mean reward, strict and lenient success, share of groups that are mixed and mean length of the replies."""
    episodes = [episode for group in groups for episode in group]
    count = max(1, len(episodes))
    rewards = [episode.reward for episode in episodes if math.isfinite(episode.reward)]
    replies = [segment.tokens for one in episodes for segment in one.transcript.segments if segment.origin in TRAINABLE]
    return {
        "reward": sum(rewards) / max(1, len(rewards)),
        "strict": sum(episode.success for episode in episodes) / count,
        "lenient": sum(episode.lenient for episode in episodes) / count,
        "mixed": sum(map(is_mixed, groups)) / max(1, len(groups)),
        "length": sum(map(len, replies)) / count,
        "repetition": sum(map(repetition, replies)) / max(1, len(replies)),
    }
