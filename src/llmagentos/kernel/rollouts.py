"""Many runs of policies on lists of tasks: how learners practise and evaluations measure, through the kernel.

In: tasks, adapters' names and settings. Out: episodes in the order of the tasks, journaled like any user's run.
It does not know why somebody wants to know.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from llmagentos.kernel.kernel import Kernel
from llmagentos.kernel.specification import ProcessSpec
from llmagentos.records.episode import Episode
from llmagentos.records.generation import Sampling
from llmagentos.records.identity import JSON
from llmagentos.records.process import Limits
from llmagentos.records.progress import Progress
from llmagentos.records.task import Task


@dataclass(frozen=True, slots=True)
class Policy:
    """Who plays: an adapter under a release's label, by a program."""

    release: str
    """Label recorded in the episodes: a release, a candidate, or what an experiment calls it."""
    adapter: str | None = None
    """Name in the engine; None is the bare base model."""
    program: str = "react"
    arguments: dict[str, JSON] = field(default_factory=dict)
    sampling: Sampling = Sampling()
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class Series:
    """Tasks that one policy plays."""

    tasks: Sequence[Task]
    policy: Policy
    samples: int = 1
    """Runs of each task."""
    stage: str = "playing"
    """What is shown of it."""
    labels: dict[str, str] = field(default_factory=dict)

    def specs(self) -> list[ProcessSpec]:
        """A process for each run, a task's samples behind each other, each with its own random stream."""
        policy = self.policy
        first = policy.sampling.seed * 1_000_003
        return [
            ProcessSpec(
                policy.program,
                policy.arguments,
                task=task,
                release=policy.release,
                adapter=policy.adapter,
                sampling=replace(policy.sampling, seed=first + number * self.samples + sample),
                limits=policy.limits,
                labels=self.labels,
            )
            for number, task in enumerate(self.tasks)
            for sample in range(self.samples)
        ]


class Rollouts:
    """Plays tasks; everything that it plays is an episode of the store."""

    def __init__(self, kernel: Kernel, *, concurrency: int = 64) -> None:
        self._kernel, self._concurrency = kernel, concurrency

    def play(
        self,
        tasks: Sequence[Task],
        policy: Policy,
        *,
        samples: int = 1,
        stage: str = "playing",
        labels: dict[str, str] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> list[Episode]:
        """One series; its episodes in the order of the tasks."""
        series = Series(tasks, policy, samples, stage, labels or {})
        return self.play_together([series], on_progress=on_progress)[0]

    def play_together(
        self, several: Sequence[Series], *, on_progress: Callable[[Progress], None] | None = None
    ) -> list[list[Episode]]:
        """The episodes of each series, all of them played at once.

        Together they keep the engine's batch full: the last long conversations of one run beside the next ones.
        """
        began = time.monotonic()
        specs = [series.specs() for series in several]
        ends = list(accumulate(len(each) for each in specs))
        won, done = [0] * len(several), [0] * len(several)

        def count(place: int, episode: Episode) -> None:
            which = bisect_right(ends, place)
            done[which] += 1
            won[which] += episode.success
            if on_progress is not None:
                success = {"success": won[which] / done[which]}
                stage, total = several[which].stage, len(specs[which])
                on_progress(Progress(stage, done[which], total, "runs", success, time.monotonic() - began))

        episodes = self._kernel.run([spec for each in specs for spec in each], count, self._concurrency)
        return [episodes[end - len(each) : end] for each, end in zip(specs, ends, strict=True)]

    def demonstrate(
        self,
        tasks: Sequence[Task],
        expert: Callable[[Task], Callable[[str], str]],
        brief: str = "",
        steps: int = 16,
        release: str = "expert",
        labels: dict[str, str] | None = None,
    ) -> list[Episode]:
        """The expert's runs, with the prompts that the model will be given (see `react`); nothing is sampled.

        `release` is the label of who acts, and `expert` is asked for a player of each task in their order.
        """
        told: dict[str, JSON] = {"brief": brief} if brief else {}
        limits = Limits(steps=steps)
        specs = [
            ProcessSpec(
                "demonstrate",
                {"function": expert(task), **told},
                task=task,
                release=release,
                limits=limits,
                labels=labels or {},
            )
            for task in tasks
        ]
        return self._kernel.run(specs, None, self._concurrency)
