"""Imitation: maximum likelihood of what experts and people did (behavioural cloning, Pomerleau 1991).

In: transcripts of demonstrations, and of kept skills as replay. Out: a candidate whose adapter makes them likely.
Loss = - mean over demonstrated tokens of log p(token | everything before it); tokens of prompts, tools and the
environment are read and never scored. Where a long prompt says the same in every run, `brief` leaves it out from the
beginning (context distillation, arXiv 2112.00861): the weights learn what it would have said, and the candidate's runs
are told as little. It does not know rewards.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from llmagentos.errors import LearningError
from llmagentos.learning.context import Learning, LearningContext
from llmagentos.learning.run import LearningRun
from llmagentos.learning.trainer import AdapterSettings, TrainingSequence, from_transcript
from llmagentos.models.adapters import FusedAdapter
from llmagentos.records.transcript import Transcript


@dataclass(frozen=True, slots=True)
class ImitationSettings:
    """What may be tuned."""

    adapter: AdapterSettings = field(default_factory=AdapterSettings)
    batch: int = 16
    """Runs a step."""
    pool: int = 128
    """Demonstrations asked for at a time; the next pool is fresh."""
    limit: int = 400
    """Most steps."""
    replay_share: float = 1.0
    """Runs replayed beside the demonstrations, as a share of their number; a quarter of it where no skill is kept."""
    evaluate_every: int = 0
    """Steps between evaluations on the development split; 0 leaves them out."""
    brief: bool = False
    """Told the name of the skill in place of its prompt, in learning and in the runs of the candidate."""


PASSES = 20
"""How often each of a few runs is seen."""


def for_few(count: int) -> ImitationSettings:
    """Settings for a handful of runs: some passes over them, as many runs of what is kept beside them."""
    batch = min(4, count)
    limit = math.ceil(PASSES * count / batch)
    return ImitationSettings(AdapterSettings(learning_rate=5e-4), batch=batch, pool=count, limit=limit)


class Imitation:
    """See the module."""

    def __init__(self, settings: ImitationSettings | None = None) -> None:
        self.settings = settings or ImitationSettings()

    @property
    def name(self) -> str:
        """`imitation` or, with a brief prompt, `brief-imitation`."""
        return "brief-imitation" if self.settings.brief else "imitation"

    def learn(self, start: FusedAdapter | None, context: LearningContext) -> Learning:
        """Imitate until the planned steps are done. `LearningError` when there is nothing to imitate."""
        settings = self.settings
        run = LearningRun(self.name, context, settings.adapter, start, settings.limit)
        briefing = context.briefing if settings.brief else None
        told = briefing or context
        pools = _Pools(context, settings, told.demonstrations)
        while not run.finished:
            sequences = pools.batch(run.done)
            logprobs = torch.cat(run.trainer.logprobs(sequences))
            loss = -logprobs.mean()
            run.trainer.backward(loss)
            norm = run.trainer.step(run.factor())
            metrics = {"loss": float(loss.detach()), "gradient_norm": norm}
            every = settings.evaluate_every
            if every and (run.done + 1) % every == 0:
                score = told.evaluate(run.trainer.snapshot())
                metrics |= score.metrics
            yield run.stepped(metrics)
        return run.candidate(brief=briefing.text if briefing else "")


class _Pools:
    """Batches out of pools of demonstrations, the same for the same step whether or not the run was resumed."""

    def __init__(
        self,
        context: LearningContext,
        settings: ImitationSettings,
        demonstrations: Callable[[int, int], list[Transcript]],
    ) -> None:
        self.context, self.settings, self._demonstrations = context, settings, demonstrations
        self._number = -1
        self._batches: list[list[TrainingSequence]] = []

    def batch(self, step: int) -> list[TrainingSequence]:
        """The demonstrations of a step, and now and then a run of what must be kept."""
        each = max(1, self.settings.pool // self.settings.batch)
        number, place = divmod(step, each)
        if number != self._number:
            self._number, self._batches = number, self._make(number)
        own = self._batches[place % len(self._batches)]
        share = self.settings.replay_share * self.settings.batch
        count = int(share * (step + 1)) - int(share * step)  # a share below one run a step comes every few steps
        kept = self.context.replay(count, self.context.seed * 7919 + step) if count else []
        return own + [from_transcript(transcript) for transcript in kept]

    def _make(self, number: int) -> list[list[TrainingSequence]]:
        seed = self.context.seed * 1009 + number
        found = self._demonstrations(self.settings.pool, seed)
        if not found:
            raise LearningError(
                f"There is nothing to imitate for {self.context.skill}: it has no expert and no corrected "
                "episode is stored. Learn from own runs instead: llmagentos learn --learner policy-gradient"
            )
        return batches(found, self.settings.batch, random.Random(seed))


BUNDLE = 4
"""Runs with one opening that share a batch: more save more, fewer mix better."""


def batches(transcripts: list[Transcript], size: int, chance: random.Random) -> list[list[TrainingSequence]]:
    """Batches in which runs with the same opening lie together by fours, so that its tokens are computed once."""
    by_opening: dict[tuple[int, ...], list[Transcript]] = {}
    for transcript in transcripts:
        by_opening.setdefault(transcript.tokens[:48], []).append(transcript)
    bundles: list[list[Transcript]] = []
    for group in by_opening.values():
        bundles += [group[at : at + BUNDLE] for at in range(0, len(group), BUNDLE)]
    chance.shuffle(bundles)
    ordered = [from_transcript(transcript) for bundle in bundles for transcript in bundle]
    made = [ordered[at : at + size] for at in range(0, len(ordered), size)]
    return [batch for batch in made if len(batch) == size or len(made) == 1] or made
