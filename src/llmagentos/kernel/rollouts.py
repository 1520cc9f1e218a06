"""Many runs of one policy on a list of tasks: how learners practise and evaluations measure, through the kernel.

In: tasks, an adapter's name and settings. Out: episodes in the order of the tasks, journaled like any user's run.
It does not know why somebody wants to know.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

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
        stage: str = "",
        labels: dict[str, str] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> list[Episode]:
        """`samples` runs of each task, behind each other; each run has its own random stream."""
        began, done, won = time.monotonic(), 0, 0

        def count(episode: Episode) -> None:
            nonlocal done, won
            done += 1
            won += episode.success
            if on_progress is not None:
                success = {"success": won / done}
                total = len(tasks) * samples
                on_progress(Progress(stage or "playing", done, total, "runs", success, time.monotonic() - began))

        specs = [
            ProcessSpec(
                policy.program,
                policy.arguments,
                task=task,
                release=policy.release,
                adapter=policy.adapter,
                sampling=replace(policy.sampling, seed=policy.sampling.seed * 1_000_003 + number * samples + sample),
                limits=policy.limits,
                labels=labels or {},
            )
            for number, task in enumerate(tasks)
            for sample in range(samples)
        ]
        return self._kernel.run(specs, count, self._concurrency)

    def demonstrate(self, tasks: Sequence[Task], expert: Callable[[Task], Callable[[str], str]]) -> list[Episode]:
        """The expert's runs, with the prompts that the model will be given; nothing is sampled."""
        specs = [ProcessSpec("demonstrate", {"function": expert(task)}, task=task, release="expert") for task in tasks]
        return self._kernel.run(specs, None, self._concurrency)
