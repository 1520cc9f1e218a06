"""Prompt distillation: what a skill's prompt says goes into the weights, and the prompt goes (context distillation,
Askell et al. 2021, arXiv 2112.00861, section 2.2; Snell et al. 2022, arXiv 2209.15189).

In: own successful runs under the whole prompt by the adapter that learning starts from. Out: a candidate that does the
same when it is told only a few words, and the setting that tells it no more: fewer tokens, faster runs.
Loss = - mean over the sampled tokens of log p(token | brief prompt, everything said since). Every token was the model's
own, so that little else is moved. The gate compares the candidate with its brief prompt and the live release with the
whole one; it must be inferior nowhere.
It does not know what the prompt says.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch

from llmagentos.errors import LearningError
from llmagentos.learning.context import Briefing, Learning, LearningContext, Practice
from llmagentos.learning.run import LearningRun
from llmagentos.learning.trainer import AdapterSettings, from_transcript
from llmagentos.models.adapters import FusedAdapter
from llmagentos.records.transcript import Transcript


@dataclass(frozen=True, slots=True)
class PromptDistillationSettings:
    """What may be tuned."""

    adapter: AdapterSettings = field(default_factory=lambda: AdapterSettings(learning_rate=1e-3))
    batch: int = 3
    """Runs a step."""
    pool: int = 64
    """Own runs asked for at a time."""
    temperature: float = 0.3
    """Little chance: what is to be kept is what the agent does, not all that it might do."""
    limit: int = 400
    """Most steps."""
    replay_share: float = 0.34
    """Runs of kept skills replayed beside the own ones, as a share of their number."""
    evaluate_every: int = 20
    """Steps between evaluations on the development split."""
    enough: int = 2
    """Evaluations in a row as good as the whole prompt's after which learning ends."""


class PromptDistillation:
    """See the module."""

    name = "prompt-distillation"

    def __init__(self, settings: PromptDistillationSettings | None = None) -> None:
        self.settings = settings or PromptDistillationSettings()

    def learn(self, start: FusedAdapter | None, context: LearningContext) -> Learning:
        """Imitate own runs under the brief prompt. `LearningError` where nothing is learned or left to shorten."""
        settings, briefing = self.settings, context.briefing
        if start is None:
            raise LearningError(f"{context.skill} is not learned yet. Learn it first: llmagentos learn {context.skill}")
        if briefing is None:
            raise LearningError(
                f"The prompt of {context.skill} is brief already, or differs from task to task: there is nothing to "
                "take out of it."
            )
        run = LearningRun(self.name, context, settings.adapter, start, settings.limit)
        whole = float(run.extra["whole"]) if "whole" in run.extra else context.evaluate(start).strict
        good = int(run.extra.get("good", 0))
        pool = _Pool(context, settings, start, briefing)
        while not run.finished and good < settings.enough:
            own = pool.batch(run.done)
            kept = context.replay(int(settings.replay_share * len(own)), run.seed(1))
            sequences = [from_transcript(transcript) for transcript in (*own, *kept)]
            loss = -torch.cat(run.trainer.logprobs(sequences)).mean()
            run.trainer.backward(loss)
            metrics = {"loss": float(loss.detach()), "gradient_norm": run.trainer.step(run.factor())}
            if (run.done + 1) % settings.evaluate_every == 0:
                score = briefing.evaluate(run.trainer.snapshot())
                metrics |= score.metrics
                good = good + 1 if score.strict >= whole else 0
            run.extra = {"whole": whole, "good": good}
            yield run.stepped(metrics)
        evidence = {"development_strict_whole": whole, **pool.saving}
        return replace(run.candidate(evidence=evidence, brief=briefing.text), change="consolidation")


class _Pool:
    """Batches of own successful runs with the brief prompt, the same for the same step after a resume."""

    def __init__(
        self,
        context: LearningContext,
        settings: PromptDistillationSettings,
        teacher: FusedAdapter,
        briefing: Briefing,
    ) -> None:
        self._context, self._settings, self._teacher, self._briefing = context, settings, teacher, briefing
        self._number = -1
        self._runs: list[Transcript] = []
        self.saving: dict[str, float] = {}
        """Mean tokens before the first reply, with the whole prompt and with the brief one."""

    def batch(self, step: int) -> list[Transcript]:
        """The runs of a step; `LearningError` when none of a pool succeeded."""
        size = self._settings.batch
        number, place = divmod(step, max(1, self._settings.pool // size))
        if number != self._number:
            self._number, self._runs = number, self._play(number)
        return [self._runs[(place * size + n) % len(self._runs)] for n in range(min(size, len(self._runs)))]

    def _play(self, number: int) -> list[Transcript]:
        settings, seed = self._settings, self._context.seed * 1013 + number
        groups = self._context.practice(self._teacher, Practice(settings.pool, 1, seed, settings.temperature))
        won = [one.transcript for group in groups for one in group if one.success]
        if not won:
            raise LearningError(
                f"None of {settings.pool} own runs of {self._context.skill} succeeded: its prompt cannot go. "
                f"Learn it first: llmagentos learn {self._context.skill}"
            )
        brief = [self._briefing.write(transcript) for transcript in won]
        self.saving = {"prompt_tokens": _told(won), "prompt_tokens_brief": _told(brief)}
        return brief


def _told(transcripts: list[Transcript]) -> float:
    """Mean number of tokens before the first reply."""
    return sum(one.trainable.index(True) for one in transcripts if any(one.trainable)) / len(transcripts)
