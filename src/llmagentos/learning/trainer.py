"""Gradients for an adapter on the engine's own weights: the arithmetic that every language learner shares.

In: token sequences with the places that may train. Out: differentiable log-probabilities at those places, and steps of
AdamW on the adapter. The base model is read-only and shared with the engine; only scored places reach the output layer.
It does not know rewards, tasks or which loss is built from the log-probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from llmagentos.errors import LearningError
from llmagentos.models.adapters import FusedAdapter, block_mask, new_adapter
from llmagentos.models.arithmetic import arithmetic
from llmagentos.models.constraints import Constraints, forbidden, words
from llmagentos.models.decoder import Decoder
from llmagentos.models.logprobs import mean_divergence, next_logprobs
from llmagentos.models.native.training import NativeTraining
from llmagentos.models.packing import PackedTree, TreeAttention, pack
from llmagentos.models.products import FrozenProduct, PackedLinear
from llmagentos.records.generation import Grammar
from llmagentos.records.transcript import Transcript


@dataclass(frozen=True, slots=True)
class TrainingSequence:
    """Tokens of one run and which of them may enter a loss."""

    tokens: tuple[int, ...]
    scored: tuple[bool, ...]
    """True only where the tokens were sampled or demonstrated; the first token is never scored."""
    held: tuple[tuple[int, int, Grammar], ...] = ()
    """(first, after, grammar) of tokens that are scored under the distribution that a grammar left of the model's."""

    @property
    def targets(self) -> np.ndarray:
        """Positions of the scored tokens, without the first of the sequence, which nothing predicts."""
        places = np.flatnonzero(self.scored)
        return places[places > 0]


def from_transcript(transcript: Transcript, *, as_sampled: bool = False) -> TrainingSequence:
    """The sequence of a run: tokens of the environment, tools and prompts are never scored.

    A reply that had to follow a grammar is scored as if it had been free, so that what is learned stands without the
    grammar too; with `as_sampled` under the distribution that it was drawn from, as a policy gradient needs it.
    """
    held: list[tuple[int, int, Grammar]] = []
    at = 0
    for segment in transcript.segments:
        after = at + len(segment.tokens)
        if as_sampled and segment.grammar is not None:
            held.append((at, after, segment.grammar))
        at = after
    return TrainingSequence(transcript.tokens, transcript.trainable, tuple(held))


@dataclass(frozen=True, slots=True)
class AdapterSettings:
    """Size and optimiser of an adapter's training."""

    rank: int = 16
    alpha: float = 32.0
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    clip: float = 1.0
    """Largest norm of the whole gradient."""
    beta2: float = 0.99
    """Short memory of squared gradients: runs here have tens to hundreds of steps, not thousands."""


class _LowRankProduct(torch.autograd.Function):
    """`x W^T + scale (x A^T) B^T` with a frozen W: no gradient of W's size is ever formed."""

    @staticmethod
    def forward(ctx: Any, x_NI: Tensor, a_RI: Tensor, b_OR: Tensor, weight: PackedLinear, scale: float) -> Tensor:
        u_NR = x_NI @ a_RI.t()
        ctx.save_for_backward(x_NI, a_RI, b_OR, u_NR)
        ctx.weight, ctx.scale = weight, scale
        return weight(x_NI).addmm_(u_NR, b_OR.t(), alpha=scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        dy_NO = grads[0]
        x_NI, a_RI, b_OR, u_NR = ctx.saved_tensors
        v_NR = (dy_NO @ b_OR).mul_(ctx.scale)
        dx_NI = ctx.weight.backward(dy_NO).addmm_(v_NR, a_RI)
        return dx_NI, v_NR.t() @ x_NI, (dy_NO.t() @ u_NR).mul_(ctx.scale), None, None


class AdapterTrainer:
    """Trains one adapter, in the arithmetic thread. Not thread-safe; its tensors are its own until `snapshot`."""

    @arithmetic
    def __init__(
        self,
        decoder: Decoder,
        settings: AdapterSettings,
        *,
        start: FusedAdapter | None = None,
        seed: int = 0,
        constraints: Constraints | None = None,
    ) -> None:
        """`constraints` reads the grammars of sequences that are held to one; those that are not need none."""
        decoder.pack(backward=True)
        self.decoder = decoder
        self.settings = settings
        config = decoder.config
        fresh = start or new_adapter(config, settings.rank, settings.alpha, seed)
        self.rank, self.alpha = fresh.rank, fresh.alpha
        self.pairs = {
            key: tuple(t.detach().float().to(decoder.device).clone().requires_grad_() for t in pair)
            for key, pair in fresh.pairs.items()
        }
        groups = {group for _, group in self.pairs}
        self._masks = {group: block_mask(config, group, self.rank).to(decoder.device) for group in groups}
        self.parameters = [tensor for pair in self.pairs.values() for tensor in pair]
        self.optimiser = torch.optim.AdamW(
            self.parameters,
            lr=settings.learning_rate,
            betas=(0.9, settings.beta2),
            weight_decay=settings.weight_decay,
            foreach=True,
        )
        self._constraints = constraints
        self._native = NativeTraining(decoder) if NativeTraining.fits(decoder) else None
        self.tokens = 0
        """Tokens computed forward and backward so far."""

    @arithmetic
    def begin(self, adapter: FusedAdapter) -> None:
        """Take the factors of another adapter of the same shape, before the first step."""
        with torch.no_grad():
            for key, pair in adapter.pairs.items():
                for mine, given in zip(self.pairs[key], pair, strict=True):
                    mine.copy_(given)

    def __call__(self, layer: int, group: str, x_NI: Tensor, weight: PackedLinear) -> Tensor:
        """The adapted product (see `decoder.LowRank`)."""
        pair = self.pairs.get((layer, group))
        if pair is None:
            return cast("Tensor", FrozenProduct.apply(x_NI, weight))  # type: ignore[no-untyped-call]
        a, b = (tensor.to(x_NI.dtype) for tensor in pair)
        out: Tensor = _LowRankProduct.apply(x_NI, a, b, weight, self.alpha / self.rank)  # type: ignore[no-untyped-call]
        return out

    @arithmetic
    def logprobs(self, sequences: Sequence[TrainingSequence]) -> list[Tensor]:
        """For each sequence the log-probabilities of its scored tokens, in order, with gradients.

        `LearningError` when nothing is scored at all.
        """
        usable = [i for i, sequence in enumerate(sequences) if len(sequence.targets)]
        if not usable:
            raise LearningError("No token in this batch may train: no sampled or demonstrated text in the episodes.")
        tree, places = self._scored([sequences[i] for i in usable])
        self.tokens += len(tree.tokens_N)
        wanted = np.concatenate([np.asarray(sequences[i].tokens)[sequences[i].targets] for i in usable])
        logits = self.decoder.logits(self._hidden(tree, places))
        allowed = self._allowed([sequences[i] for i in usable], len(places))
        if allowed is not None:
            banned = torch.from_numpy(forbidden(allowed, logits.shape[1])).to(logits.device)
            logits = logits.masked_fill(banned, -math.inf)
        flat = -functional.cross_entropy(logits, torch.from_numpy(wanted).to(logits.device), reduction="none")
        split = flat.split([len(sequences[i].targets) for i in usable])
        empty = flat.new_zeros(0)
        found = dict(zip(usable, split, strict=True))
        return [found.get(i, empty) for i in range(len(sequences))]

    @arithmetic
    def departure(self, sequences: Sequence[Sequence[int]], reference: FusedAdapter | None) -> Tensor:
        """Mean KL(present || reference) in nats a token at every place of `sequences`, with gradients.

        `reference` is another adapter on the same base, None for the bare base.
        """
        tree = pack(sequences, device=self.decoder.device)
        return self._departure(tree, np.arange(len(tree.tokens_N)), reference)

    @arithmetic
    def departure_in_replies(self, sequences: Sequence[TrainingSequence], reference: FusedAdapter | None) -> Tensor:
        """The same at the places alone where a scored token is chosen. `LearningError` where nothing is scored."""
        usable = [one for one in sequences if len(one.targets)]
        if not usable:
            raise LearningError("No token of these runs was said by an agent: there is nothing to stay near to.")
        tree, places = self._scored(usable)
        return self._departure(tree, np.unique(places), reference)

    def _scored(self, sequences: Sequence[TrainingSequence]) -> tuple[PackedTree, np.ndarray]:
        """Sequences of which something is scored, packed, and the flat places where their scored tokens are chosen."""
        # Nothing after the last scored token matters, nor does that token's own hidden state.
        tree = pack([one.tokens[: int(one.targets[-1])] for one in sequences], device=self.decoder.device)
        places = [index[one.targets - 1] for one, index in zip(sequences, tree.index, strict=True)]
        return tree, np.concatenate(places)

    def _departure(self, tree: PackedTree, places_M: np.ndarray, reference: FusedAdapter | None) -> Tensor:
        self.tokens += len(tree.tokens_N)
        old_MV = next_logprobs(self.decoder, tree, reference, torch.from_numpy(places_M))
        new_MV = self.decoder.logits(self._hidden(tree, places_M)).log_softmax(-1)
        return mean_divergence(new_MV, old_MV)

    def _allowed(self, sequences: Sequence[TrainingSequence], count: int) -> np.ndarray | None:
        """What each of `count` scored tokens could have been, [M, W]; None where all of them could be anything."""
        if not any(sequence.held for sequence in sequences):
            return None
        if self._constraints is None:
            raise LearningError("Sequences are held to a grammar, and the trainer was given none to read them.")
        allowed_MW = np.full((count, words(self.decoder.config.vocabulary)), -1, dtype=np.int32)
        row = 0
        for sequence in sequences:
            targets = sequence.targets
            for first, after, grammar in sequence.held:
                inside = np.flatnonzero((targets >= first) & (targets < after))
                masks_NW = self._constraints.replay(grammar, sequence.tokens[first:after])
                allowed_MW[row + inside] = masks_NW[targets[inside] - first]
            row += len(targets)
        return allowed_MW

    def _hidden(self, tree: PackedTree, places_M: np.ndarray) -> Tensor:
        """Hidden states [M, H] at flat places, by the kernels where they fit."""
        if self._native is not None:
            return self._native.hidden(tree, places_M, self.pairs, self.rank, self.alpha / self.rank)
        attention = TreeAttention(tree, self.decoder.config, self.decoder.dtype)
        hidden_NH = self.decoder.hidden(tree.tokens_N, tree.positions_N, attention, self)
        return hidden_NH[torch.from_numpy(places_M).to(hidden_NH.device)]

    @arithmetic
    def backward(self, loss: Tensor) -> None:
        """Add the gradient of `loss` to that of the parameters."""
        loss.backward()

    @arithmetic
    def step(self, factor: float = 1.0) -> float:
        """One step of the optimiser at `factor` times the learning rate; returns the gradient's norm.

        A gradient that is not finite changes nothing and returns infinity.
        """
        for (_, group), (_, b) in self.pairs.items():
            if b.grad is not None:
                b.grad.mul_(self._masks[group])
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.clip))
        if math.isfinite(norm):
            for options in self.optimiser.param_groups:
                options["lr"] = self.settings.learning_rate * factor
            self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return norm if math.isfinite(norm) else math.inf

    @arithmetic
    def snapshot(self) -> FusedAdapter:
        """A copy of the adapter as it is now, in the engine's precision, ready to be served."""
        return FusedAdapter(
            self.rank,
            self.alpha,
            {
                key: (a.detach().to(self.decoder.dtype).clone(), b.detach().to(self.decoder.dtype).clone())
                for key, (a, b) in self.pairs.items()
            },
        )

    @arithmetic
    def exact(self) -> FusedAdapter:
        """A copy in full precision, for the artefact."""
        return FusedAdapter(
            self.rank, self.alpha, {key: (a.detach().clone(), b.detach().clone()) for key, (a, b) in self.pairs.items()}
        )

    @arithmetic
    def state(self) -> dict[str, Any]:
        """Everything that a later process needs to go on from here: tensors by name and the step count."""
        tensors: dict[str, Tensor] = {}
        for number, parameter in enumerate(self.parameters):
            tensors[f"parameter.{number}"] = parameter.detach().clone()
            for name, value in self.optimiser.state.get(parameter, {}).items():
                tensors[f"optimiser.{number}.{name}"] = torch.as_tensor(value).clone()
        return {"tensors": tensors, "tokens": self.tokens}

    @arithmetic
    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        tensors = state["tensors"]
        self.tokens = int(state["tokens"])
        with torch.no_grad():
            for number, parameter in enumerate(self.parameters):
                parameter.copy_(tensors[f"parameter.{number}"])
                prefix = f"optimiser.{number}."
                known = {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
                if known:
                    self.optimiser.state[parameter] = {
                        name: value.clone() if name == "step" else value.clone().to(parameter.device)
                        for name, value in known.items()
                    }
