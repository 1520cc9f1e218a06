"""Language modelling: the next token of the user's documents (Bengio et al. 2003), on an adapter.

In: token sequences of documents. Out: a candidate that finds such text more likely.
A tenth of the documents is held out; its loss before and after is the evidence. It does not know chats or rewards.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import torch

from llmagentos.errors import LearningError
from llmagentos.learning.context import Learning, LearningContext
from llmagentos.learning.run import LearningRun
from llmagentos.learning.trainer import AdapterSettings, AdapterTrainer, TrainingSequence, from_transcript
from llmagentos.models.adapters import FusedAdapter


@dataclass(frozen=True, slots=True)
class LanguageModellingSettings:
    """What may be tuned."""

    adapter: AdapterSettings = field(default_factory=lambda: AdapterSettings(learning_rate=3e-4))
    length: int = 256
    """Tokens of a sequence; documents are cut into such pieces."""
    batch: int = 8
    limit: int = 200
    held_out: float = 0.1
    replay_share: float = 0.1


class LanguageModelling:
    """See the module."""

    name = "language-modelling"

    def __init__(self, settings: LanguageModellingSettings | None = None) -> None:
        self.settings = settings or LanguageModellingSettings()

    def learn(self, start: FusedAdapter | None, context: LearningContext) -> Learning:
        """Read the documents until the planned steps are done. `LearningError` when there are too few."""
        settings = self.settings
        pieces = _pieces(context, settings.length)
        chance = random.Random(context.seed)
        chance.shuffle(pieces)
        held = max(1, int(settings.held_out * len(pieces)))
        if len(pieces) < 2:
            raise LearningError(
                "The documents give fewer than two pieces of text. Add more: llmagentos data add FILE|FOLDER|URL"
            )
        unseen, read = pieces[:held][:8], pieces[held:]
        run = LearningRun(self.name, context, settings.adapter, start, settings.limit)
        if "loss_before" not in run.extra:
            run.extra["loss_before"] = _loss(run.trainer, unseen)
        before = run.extra["loss_before"]
        kept = max(1, round(settings.replay_share * settings.batch)) if settings.replay_share else 0
        while not run.finished:
            chance = random.Random(run.seed())
            batch = chance.sample(read, min(settings.batch, len(read)))
            batch += [from_transcript(item) for item in context.replay(kept, run.seed(1))] if kept else []
            loss = -torch.cat(run.trainer.logprobs(batch)).mean()
            run.trainer.backward(loss)
            norm = run.trainer.step(run.factor())
            yield run.stepped({"loss": float(loss.detach()), "gradient_norm": norm})
        after = _loss(run.trainer, unseen)
        return run.candidate(evidence={"held_out_loss_before": before, "held_out_loss_after": after})


def _pieces(context: LearningContext, length: int) -> list[TrainingSequence]:
    pieces = []
    for tokens in context.documents:
        for at in range(0, len(tokens), length):
            piece = tuple(tokens[at : at + length])
            if len(piece) >= 8:
                pieces.append(TrainingSequence(piece, (False,) + (True,) * (len(piece) - 1)))
    return pieces


def _loss(trainer: AdapterTrainer, pieces: list[TrainingSequence]) -> float:
    """Mean negative log-likelihood of a token, in nats."""
    with torch.no_grad():
        return float(-torch.cat(trainer.logprobs(pieces)).mean())
