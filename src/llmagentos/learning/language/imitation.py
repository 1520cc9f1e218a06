"""Imitation: maximum likelihood of what experts and people did (behavioural cloning, Pomerleau 1991).

In: transcripts of demonstrations, and of kept skills as replay. Out: a candidate whose adapter makes them likely. Loss
= - mean over demonstrated tokens of log p(token | everything before it); tokens of prompts, tools and the environment
are read and never scored. Beside it stands `anchor` times the mean KL(adapter || live adapter) on requests of no skill
(learning without forgetting, arXiv 1606.09282, with the divergence that the gate measures on others). In 3 minutes of
SupportDesk-v0 it took that divergence from 0.48 to 0.03 nats at the same success. Where a long prompt says the same in
every run, `brief` leaves it out from the beginning (context distillation, arXiv 2112.00861): the weights learn what it
would have said, and the candidate's runs are told as little. Beside a handful of corrections an adapter that several
skills share is also held to what it says: `keep` times the mean KL(adapter || live adapter) where the agent speaks in
runs of those (dark experience replay, Buzzega et al. 2020, arXiv 2004.07211, section 3.1). With `orient` a fresh
adapter is turned to the gradient first (`learning.orientation`). It does not know rewards.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from llmagentos.errors import LearningError
from llmagentos.learning.context import Learning, LearningContext
from llmagentos.learning.orientation import oriented
from llmagentos.learning.run import LearningRun
from llmagentos.learning.trainer import AdapterSettings, TrainingSequence, from_transcript
from llmagentos.models.adapters import FusedAdapter
from llmagentos.models.packing import pack
from llmagentos.records.transcript import Transcript


@dataclass(frozen=True, slots=True)
class ImitationSettings:
    """What may be tuned."""

    adapter: AdapterSettings = field(default_factory=AdapterSettings)
    batch: int = 0
    """Runs a step; 0 for as many as leave `STEPS` steps in the time (see `fitting`)."""
    pool: int = 128
    """Demonstrations asked for at a time; the next pool is fresh."""
    limit: int = 2000
    """Most steps."""
    replay_share: float = 1.0
    """Runs of kept skills replayed beside the demonstrations, as a share of their number."""
    anchor: float = 1.0
    """Weight of staying near the live model on requests of no skill; at 0 the bare model's answers to them are replayed
    in its place (a quarter of the runs, where no skill is kept)."""
    evaluate_every: int = 0
    """Steps between evaluations on the development split; 0 leaves them out."""
    keep: float = 0.0
    """Weight of saying what the live adapter says in runs of kept skills, beside imitating them by `KEPT_SHARE`; where
    it is above 0, a demonstration that is more likely than `ENOUGH` pulls no further."""
    orient: bool = False
    """Turn a fresh adapter to the gradient first: few steps learn more, and own runs cannot go on from it safely."""
    brief: bool = False
    """Told the name of the skill in place of its prompt, in learning and in the runs of the candidate."""


SIZES = (2, 4, 8, 16, 32)
"""Runs a step where that is chosen by the time: the second until the first steps have been timed."""
STEPS = 240
"""That many steps come before more runs a step. In the same minutes SupportDesk-v0 came to 75 and 88 % with two runs a
step (240 steps), to 58 % with four."""
ORIENTED_BY = 8
"""Runs by whose gradient a fresh adapter is turned; fewer corrections than these say too little."""
GENERAL, ANCHORED_EVERY = 2, 4
"""Requests of no skill beside a step, and how often: at every step they cost a third of the steps."""
PASSES = 20
"""How often each of a few runs is seen."""
FEW_RATE, FEW_FURTHER_RATE = 5e-4, 2e-4
"""Learning rates for a few runs, from the bare model and from an adapter that skills rest on."""
FEW_REPLAYS = 3.0
"""Runs of kept skills beside each of a few runs. Three corrections of a skill with 15 labels were taken over by all of
these, and on 150 development tasks the skill, at 94 %, came to 91 % at 5e-4 and stayed at 94 % at 2e-4; with one
replayed run beside each and 5e-4 it fell from 89 to 75 % of 100 tasks of the gate."""
FEW_KEEP, MORE_KEEP = 40.0, 2.0
"""Weight of staying as it is beside a few runs where skills share an adapter, and how many times as much after each
refusal. Six corrections of a desk in one adapter with another desk, which were at 80 and 70 % of 150 development tasks:
at 0 they came to 64 and 94 %, at 20 to 77 and 77 %, at 40 to 81 and 67 %; at 20 without imitating to 87 and 52 %."""
KEPT_SHARE = 0.5
"""Weight of imitating what is kept in this way."""
ENOUGH = 0.7
"""Probability of a whole reply: above one half it is what the agent says greedily."""


def for_few(count: int, *, further: bool = False, shared: bool = False, refused: int = 0) -> ImitationSettings:
    """Settings for a handful of runs: some passes over them, more runs of what is kept beside them.

    Imitated experts teach, and in an adapter that is `shared` by skills this spills over from one to another: without a
    single correction such runs took a desk from 80 to 70 % and another one from 70 to 92 %. So it is held to what it
    says as well, the more the more tries were `refused`.
    """
    batch = min(2 if shared else 4, count)
    limit = math.ceil(PASSES * count / batch)
    adapter = AdapterSettings(learning_rate=FEW_FURTHER_RATE if further else FEW_RATE)
    keep = FEW_KEEP * MORE_KEEP**refused if shared else 0.0
    return ImitationSettings(adapter, batch, count, limit, FEW_REPLAYS, keep=keep)


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
        anew = settings.orient and start is None and not run.done
        if anew and len(shown := pools.own(0, ORIENTED_BY)) == ORIENTED_BY:
            run.trainer.begin(oriented(context.decoder, settings.adapter, shown, context.seed, context.constraints))
        while not run.finished:
            size = settings.batch or self._size(run, pools)
            loss = self._loss(run, start, *pools.batch(run.done, size))
            run.trainer.backward(self._anchored(loss, run, start))
            norm = run.trainer.step(run.factor())
            metrics = {"loss": float(loss.detach()), "gradient_norm": norm}
            metrics |= {"moved": run.extra["moved"]} if "moved" in run.extra else {}
            every = settings.evaluate_every
            if every and (run.done + 1) % every == 0:
                score = told.evaluate(run.trainer.snapshot())
                metrics |= score.metrics
            yield run.stepped(metrics)
        evidence = {"batch": settings.batch or run.extra.get("batch", SIZES[1])}
        return run.candidate(evidence=evidence, brief=briefing.text if briefing else "")

    def _loss(
        self, run: LearningRun, start: FusedAdapter | None, own: list[TrainingSequence], kept: list[TrainingSequence]
    ) -> Tensor:
        """Of the demonstrations and of the runs beside them that must be kept."""
        keep, trainer = self.settings.keep, run.trainer
        logprobs = trainer.logprobs([*own, *kept])
        if not keep:
            return -torch.cat(logprobs).mean()
        shown, again = logprobs[: len(own)], logprobs[len(own) :]
        missing = [one for one in shown if math.exp(float(one.detach().sum())) < ENOUGH]
        loss = -torch.cat(missing or shown).mean() * len(missing) / len(own)
        if not again:
            return loss
        return loss - KEPT_SHARE * torch.cat(again).mean() + keep * trainer.departure_in_replies(kept, start)

    def _anchored(self, loss: Tensor, run: LearningRun, start: FusedAdapter | None) -> Tensor:
        """The loss with how far the adapter has moved from `start` on requests of no skill, where that is due."""
        context, weight = run.context, self.settings.anchor
        due = weight and run.done % ANCHORED_EVERY == 0
        general = context.general(GENERAL, context.seed * 7919 + run.done // ANCHORED_EVERY) if due else []
        if not general:
            return loss
        moved = run.trainer.departure([one.tokens for one in general], start)
        run.extra = {**run.extra, "moved": float(moved.detach())}
        return loss + weight * moved

    def _size(self, run: LearningRun, pools: _Pools) -> int:
        """Runs of the next step: settled once, when the first steps have been timed, and part of the checkpoint."""
        if "batch" not in run.extra and run.planned:
            tokens = {size: pools.tokens(run.done, size) for size in SIZES if size <= max(SIZES[1], pools.known)}
            size = fitting(tokens, SIZES[1], run.affordable - run.done, min(STEPS, self.settings.limit))
            run.replan(tokens[size] / tokens[SIZES[1]])
            run.extra = {**run.extra, "batch": size}
        return int(run.extra.get("batch", SIZES[1]))


def fitting(tokens: Mapping[int, int], now: int, steps: int, wanted: int) -> int:
    """The largest size that leaves `wanted` steps in the time of `steps` steps of size `now`, else the least.

    `tokens` that a step computes are given for each size of a batch: its time goes with them.
    """
    enough = [size for size, count in tokens.items() if steps * tokens[now] / count >= wanted]
    return max(enough, default=min(tokens))


class _Pools:
    """Batches out of pools of demonstrations, the same for the same step whether or not the run was resumed."""

    def __init__(
        self,
        context: LearningContext,
        settings: ImitationSettings,
        demonstrations: Callable[[int, int], list[Transcript]],
    ) -> None:
        self.context, self.settings, self._demonstrations = context, settings, demonstrations
        self._found: dict[int, list[Transcript]] = {}
        self._made = (-1, 0)
        self._batches: list[list[TrainingSequence]] = []
        self._openings: list[tuple[int, ...]] = []
        """What comes before the first reply of each demonstration of the present pool, where `keep` is above 0."""

    @property
    def known(self) -> int:
        """Demonstrations of the present pool: fewer than asked for where there are no more."""
        return max(map(len, self._found.values()), default=0)

    def tokens(self, step: int, size: int) -> int:
        """Tokens that a step with batches of `size` computes: what its runs share counts once."""
        own, kept = self.batch(step, size)
        return len(pack([one.tokens for one in own + kept]).tokens_N)

    def batch(self, step: int, size: int) -> tuple[list[TrainingSequence], list[TrainingSequence]]:
        """The demonstrations of a step, and now and then runs of what must be kept."""
        own = self.own(step, size)
        share = self.settings.replay_share * len(own)
        count = int(share * (step + 1)) - int(share * step)  # a share below one run a step comes every few steps
        again = self.context.kept if self.settings.anchor else self.context.replay
        kept = [from_transcript(one) for one in again(count, self.context.seed * 7919 + step)] if count else []
        return own, [one for one in kept if not self._shown_as_well(one)]

    def own(self, step: int, size: int) -> list[TrainingSequence]:
        """The demonstrations of a step."""
        number, place = divmod(step, max(1, self.settings.pool // size))
        if (number, size) != self._made:
            self._made, self._batches = (number, size), self._make(number, size)
        return self._batches[place % len(self._batches)]

    def _shown_as_well(self, kept: TrainingSequence) -> bool:
        """Whether a run opens like what is demonstrated: there it is not to stay as it is."""
        return any(kept.tokens[: len(opening)] == opening for opening in self._openings)

    def _make(self, number: int, size: int) -> list[list[TrainingSequence]]:
        seed = self.context.seed * 1009 + number
        if number not in self._found:
            self._found = {number: self._demonstrations(self.settings.pool, seed)}
        found = self._found[number]
        if not found:
            raise LearningError(
                f"There is nothing to imitate for {self.context.skill}: it has no expert and no known answers, and no "
                "corrected episode is stored. Learn from own runs instead: "
                f"llmagentos learn '{self.context.skill}' --learner policy-gradient"
            )
        shown = map(from_transcript, found if self.settings.keep else ())
        self._openings = [one.tokens[: int(one.targets[0])] for one in shown if len(one.targets)]
        return batches(found, size, random.Random(seed))


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
