"""Correction on the agent's own runs (DAgger, arXiv 1011.0686, algorithm 3.1, with the newest policy alone).

In: own runs, and what the expert would have said at every place that they came to. Out: a candidate that knows the way
back from its own mistakes, which demonstrations never show.
Loss = - mean over the expert's tokens of log p(token | what the agent itself had said and seen before). The agent's own
replies are read where the expert would have said something else, and never scored.
It does not know who corrects nor how runs are played.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from llmagentos.errors import LearningError
from llmagentos.learning.context import Learning, LearningContext, Practice
from llmagentos.learning.run import LearningRun
from llmagentos.learning.trainer import AdapterSettings, from_transcript
from llmagentos.models.adapters import FusedAdapter


@dataclass(frozen=True, slots=True)
class DaggerSettings:
    """What may be tuned."""

    adapter: AdapterSettings = field(default_factory=lambda: AdapterSettings(learning_rate=7e-4))
    tasks: int = 16
    """Own runs a step."""
    temperature: float = 0.5
    """Some chance, so that places beside the way are met."""
    limit: int = 400
    """Most steps."""
    replay_share: float = 0.5
    """Runs of kept skills imitated beside the corrected ones, as a share of their number."""
    patience: int = 6
    """Steps in a row in which the agent did everything as the expert, after which learning ends."""
    evaluate_every: int = 0


class Dagger:
    """See the module."""

    name = "dagger"

    def __init__(self, settings: DaggerSettings | None = None) -> None:
        self.settings = settings or DaggerSettings()

    def learn(self, start: FusedAdapter | None, context: LearningContext) -> Learning:
        """Play and be corrected until the planned steps are done. `LearningError` where nobody can correct."""
        settings = self.settings
        run = LearningRun(self.name, context, settings.adapter, start, settings.limit)
        perfect = int(run.extra.get("perfect", 0))
        while not run.finished and perfect < settings.patience:
            adapter = run.trainer.snapshot()
            corrected = context.corrections(adapter, Practice(settings.tasks, 1, run.seed(), settings.temperature))
            if not corrected:
                raise LearningError(
                    f"Nobody can correct runs of {context.skill}: it has no expert. Learn from own runs instead: "
                    f"llmagentos learn '{context.skill}' --learner policy-gradient"
                )
            wrong = sum(one.departed for one in corrected)
            kept = context.replay(int(settings.replay_share * len(corrected)), run.seed(1))
            transcripts = [*(one.transcript for one in corrected), *kept]
            loss = -torch.cat(run.trainer.logprobs([from_transcript(one) for one in transcripts])).mean()
            run.trainer.backward(loss)
            norm = run.trainer.step(run.factor())
            perfect = perfect + 1 if wrong == 0 else 0
            run.extra = {"perfect": perfect}
            metrics = {"loss": float(loss.detach()), "gradient_norm": norm, "corrected": float(wrong)}
            every = settings.evaluate_every
            if every and (run.done + 1) % every == 0:
                metrics |= context.evaluate(run.trainer.snapshot()).metrics
            yield run.stepped(metrics)
        return run.candidate(evidence={"stopped": "nothing left to correct" if perfect else "plan"})
