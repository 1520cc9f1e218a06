"""One learner's run: its trainer, its clock, its checkpoint and its candidate; what all learners do alike.

In: settings and a context. Out: progress events, a learning rate that follows the plan, a finished candidate.
It does not know any loss.

The number of steps is planned from the time of the first ones, corrected a few times, and part of the checkpoint: a
resumed run depends on steps and never on the clock, so that a killed run resumes to the same result.
"""

from __future__ import annotations

import math
import time
from itertools import pairwise
from statistics import median
from typing import Any

from llmagentos.errors import LearningError
from llmagentos.learning.context import LearningContext
from llmagentos.learning.trainer import AdapterSettings, AdapterTrainer
from llmagentos.models.adapters import FusedAdapter, write_adapter
from llmagentos.records.identity import JSON, new_id
from llmagentos.records.progress import Progress
from llmagentos.records.release import Artefact, Candidate
from llmagentos.releases.prompts import prompt_artefact

CALIBRATION = 6
"""Steps after which the plan is made, from the median time of all but the first: one that had to fetch or generate
something first must not shorten the whole run."""
HURRIED = 3
"""Steps after which it is made where half of the time is gone by then."""
CORRECTIONS = (8, 12, 18, 26, 40, 60, 90, 135, 200, 300)
"""Steps at which the plan is made once more: a machine may have been busy at the beginning, and practice gets faster as
replies get shorter."""
EARLY = 26
"""Up to here the plan rests on the median of the latest steps; later on the mean of the later half, which counts
evaluations and fetching as often as they come."""
TOLERANCE = 0.1
"""A plan is left alone when the new one differs by less than this share."""


class LearningRun:
    """State of one run of one learner."""

    def __init__(
        self, learner: str, context: LearningContext, settings: AdapterSettings, start: FusedAdapter | None, limit: int
    ) -> None:
        """`limit` is the most steps; the time budget may plan fewer."""
        if not 0 < context.minutes < math.inf:
            raise LearningError(f"{learner} was given {context.minutes} minutes; it needs more than none, and an end.")
        self.learner, self.context, self.limit = learner, context, limit
        self.trainer = AdapterTrainer(
            context.decoder, settings, start=start, seed=context.seed, constraints=context.constraints
        )
        self.done = 0
        self.planned = 0
        """Steps in all; 0 until they are planned."""
        self.affordable = 0
        """Steps that the time would allow, as many as the limit or more."""
        self.curve: list[dict[str, float]] = []
        self.extra: dict[str, Any] = {}
        """The learner's own state: kept in the checkpoint, and of what that can hold."""
        self._spent = 0.0
        self._marks: list[float] = []
        self._settled = False
        """Whether the plan came with a checkpoint: a resumed run keeps it, however fast it is now."""
        self._began = context.clock()
        self._resume()

    def _resume(self) -> None:
        saved = self.context.checkpoint.load()
        if saved is None:
            return
        if saved["learner"] != self.learner or saved["skill"] != self.context.skill:
            raise LearningError(
                f"The checkpoint belongs to {saved['learner']} on {saved['skill']}, not to {self.learner} on "
                f"{self.context.skill}. Finish that run or discard it with: llmagentos learn --fresh"
            )
        self.trainer.restore(saved["trainer"])
        self.done, self.planned = int(saved["done"]), int(saved["planned"])
        self._settled = self.planned > 0
        self.curve, self.extra = list(saved["curve"]), dict(saved["extra"])
        self._spent = float(saved["spent"])

    @property
    def seconds(self) -> float:
        """Wall time spent, over all resumptions."""
        return self._passed(self.context.clock())

    def _passed(self, now: float) -> float:
        return self._spent + now - self._began

    @property
    def finished(self) -> bool:
        """Whether all planned steps are done."""
        return self.done >= (self.planned or self.limit)

    def factor(self, warmup: float = 0.06, floor: float = 0.05) -> float:
        """Learning rate relative to its peak at the present step: linear warm-up, then linear decay."""
        ahead = (self.done + 1) / max(1.0, warmup * (self.planned or self.limit))
        return min(1.0, ahead, max(floor, self.left))

    @property
    def left(self) -> float:
        """Share of the planned steps that are still to come."""
        return 1.0 - self.done / (self.planned or self.limit)

    def seed(self, *parts: int) -> int:
        """A seed for this step, the same after a resume."""
        value = self.context.seed
        for part in (self.done, *parts):
            value = (value * 1_000_003 + part + 1) % (1 << 31)
        return value

    def stepped(self, metrics: dict[str, float], *, checkpoint_every: int = 10) -> Progress:
        """Count a step, plan after the first ones, save now and then; returns the event to yield."""
        self.done += 1
        self._plan()
        point = {"step": float(self.done), "minutes": self.seconds / 60, **metrics}
        self.curve.append({key: value for key, value in point.items() if math.isfinite(value)})
        if self.done % checkpoint_every == 0 or self.finished:
            self.save()
        return Progress(
            self.learner, self.done, self.planned or self.limit, "steps", metrics, self.seconds, self.context.skill
        )

    def _plan(self) -> None:
        if self._settled or self.done > CORRECTIONS[-1]:
            return
        self._marks.append(self.context.clock())
        first = not self.planned
        hurried = first and len(self._marks) >= HURRIED and self._passed(self._marks[-1]) > self.context.minutes * 30
        if not hurried and (len(self._marks) < CALIBRATION or not (first or self.done in CORRECTIONS)):
            return
        if self.done <= EARLY:
            each = median(later - earlier for earlier, later in pairwise(self._marks[-CALIBRATION:]))
        else:
            half = self._marks[len(self._marks) // 2 :]
            each = (half[-1] - half[0]) / (len(half) - 1)
        left = self.context.minutes * 60 - self.seconds
        self.affordable = self.done + max(0, int(left / max(each, 1e-6)))
        planned = min(self.limit, self.affordable)
        if first or abs(planned - self.planned) > TOLERANCE * self.planned:
            self.planned = planned

    def replan(self, ratio: float) -> None:
        """From now on a step takes `ratio` times as long; what was timed before says nothing any more."""
        self._marks.clear()
        self.affordable = self.done + max(1, round((self.affordable - self.done) / ratio))
        self.planned = min(self.limit, self.affordable)

    def save(self) -> None:
        """Write the checkpoint."""
        self.context.checkpoint.save(
            {
                "learner": self.learner,
                "skill": self.context.skill,
                "trainer": self.trainer.state(),
                "done": self.done,
                "planned": self.planned,
                "curve": self.curve,
                "extra": self.extra,
                "spent": self.seconds,
            }
        )

    def candidate(
        self, *, episodes: tuple[str, ...] = (), evidence: dict[str, JSON] | None = None, brief: str = ""
    ) -> Candidate:
        """Store the adapter and name it as a candidate, whose runs are told no more than `brief` if that is given."""
        data = write_adapter(self.trainer.exact(), self.context.decoder.config, self.context.base)
        skill, store = self.context.skill, self.context.store
        adapter = Artefact("adapter", "adapter", store(data), skill)
        return Candidate(
            id=new_id("candidate"),
            skill=skill,
            artefacts=(adapter, prompt_artefact(skill, brief, store)) if brief else (adapter,),
            learner=self.learner,
            evidence={
                "steps": self.done,
                "tokens": self.trainer.tokens,
                "minutes": self.seconds / 60,
                "curve": self.curve,
                **(evidence or {}),
            },
            episodes=episodes,
            created=time.time(),
        )
