"""What the nearest known requests were answered: a classifier of texts that is made without training.

In: unit vectors of an embedder, and a reply for each. Out: the likeliest replies to another vector.
It does not know texts, models or what is done with its opinion.

A reply's prototype is the mean of the requests that it was right for; the likelihood of a reply is a softmax over
cosines (prototypical networks, Snell et al. 2017, arXiv 1703.05175, equations 1 and 2). The temperature is the one
under which a request is likeliest to find its own reply while it is left out of the mean. A request that is held out to
be judged on bears witness for all others and never for itself. One that a person corrected is a prototype by itself: a
mean would drown it.

Axes: N requests, H of them held out, S that stand by themselves, R replies, D size of a vector.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from torch.nn import functional

from llmagentos.errors import ModelFileError
from llmagentos.models.arithmetic import arithmetic
from llmagentos.records.calls import Opinion

SHOWN = 5
"""Replies of an opinion: what is less likely than these is not worth its place in the journal."""
TEMPERATURES = (0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2)
"""Of a softmax over cosines; one of them is chosen."""
LEFT = 1e-5
"""Length of a sum of vectors below which nothing is left of it."""
SAME = 0.999
"""Cosine from which on two vectors are those of one request."""


@dataclass(frozen=True)
class Known:
    """Vectors, each with the place of its reply."""

    vectors_ND: Tensor
    reply_N: Tensor


@dataclass(frozen=True)
class Prototypes:
    """A prototype for each reply, and requests that count by themselves."""

    replies: tuple[str, ...]
    """R different ones."""
    sums_RD: Tensor
    """Of the unit vectors of each reply's requests, fp32; nothing for one that only single requests have."""
    held: Known
    """Those of the requests in the sums that are held out."""
    single: Known
    """Requests that are prototypes by themselves."""
    temperature: float
    weight: float
    """Of an opinion beside the model's own; see `Opinion.weight`."""
    embedder: str
    """Name of the model whose vectors these are."""
    found: float = 0.0
    """Share of the requests, in [0, 1], that found their own reply while each was left out of its mean."""
    note: str = ""
    """Sets apart what is otherwise the same."""
    _means_RD: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_means_RD", functional.normalize(self.sums_RD, dim=1))

    @classmethod
    @arithmetic
    def of(
        cls,
        vectors: Sequence[Sequence[float]],
        replies: Sequence[str],
        embedder: str,
        weight: float,
        held: Sequence[bool] = (),
    ) -> Prototypes:
        """A prototype for each of at least two different `replies`, from the vectors of what they were right for;
        `held` says of each of these whether it is held out."""
        known = tuple(dict.fromkeys(replies))
        if len(known) < 2:
            raise ValueError(f"There are {len(known)} different replies; two are needed to tell them apart.")
        vectors_ND, reply_N = _units(vectors), _places(replies, known)
        sums_RD = torch.zeros(len(known), vectors_ND.shape[1]).index_add_(0, reply_N, vectors_ND)
        cosines_NR, own_N = _left_out(vectors_ND, reply_N, sums_RD)
        losses = [float(functional.cross_entropy(cosines_NR / one, own_N)) for one in TEMPERATURES]
        temperature = TEMPERATURES[losses.index(min(losses))] if len(own_N) else TEMPERATURES[3]
        found = float((cosines_NR.argmax(1) == own_N).sum()) / len(replies)
        held_N = torch.tensor(held or [False] * len(replies), dtype=torch.bool)
        apart = Known(vectors_ND[held_N], reply_N[held_N])
        return cls(known, sums_RD, apart, Known(vectors_ND[:0], reply_N[:0]), temperature, weight, embedder, found)

    @arithmetic
    def besides(self, vectors: Sequence[Sequence[float]], replies: Sequence[str]) -> Prototypes:
        """With these requests as prototypes by themselves."""
        known = tuple(dict.fromkeys((*self.replies, *replies)))
        none = torch.zeros(len(known) - len(self.replies), self.sums_RD.shape[1])
        single = Known(_units(vectors), _places(replies, known))
        return replace(self, replies=known, sums_RD=torch.cat((self.sums_RD, none)), single=single)

    @arithmetic
    def opinion(self, vector: Sequence[float]) -> Opinion:
        """The likeliest replies to a request with this vector, at most `SHOWN`."""
        x_D, means_RD = _units([vector])[0], self._means_RD
        itself = self.held.vectors_ND @ x_D > SAME
        if itself.any():
            sums_RD = self.sums_RD.index_add(0, self.held.reply_N[itself], -self.held.vectors_ND[itself])
            means_RD = torch.where(sums_RD.norm(dim=1, keepdim=True) > LEFT, functional.normalize(sums_RD, dim=1), 0.0)
        nearest_R = means_RD @ x_D
        nearest_R = nearest_R.scatter_reduce(0, self.single.reply_N, self.single.vectors_ND @ x_D, "amax")
        logprobs_R = functional.log_softmax(nearest_R / self.temperature, dim=0)
        best = logprobs_R.topk(min(SHOWN, len(self.replies)))
        replies = tuple(self.replies[place] for place in best.indices.tolist())
        logprobs, cosines = (
            tuple(round(one, 4) for one in told.tolist()) for told in (best.values, nearest_R[best.indices])
        )
        return Opinion(replies, logprobs, self.weight, cosines)

    def to_bytes(self) -> bytes:
        """Safetensors with all vectors, the rest in its metadata."""
        said = {name: getattr(self, name) for name in ("replies", "temperature", "weight", "embedder", "found", "note")}
        tensors = {"sums": self.sums_RD}
        for name, known in (("held", self.held), ("single", self.single)):
            tensors |= {name: known.vectors_ND.contiguous(), f"{name}_reply": known.reply_N}
        return save(tensors, {"prototypes": json.dumps(said, sort_keys=True)})

    @classmethod
    def from_bytes(cls, data: bytes) -> Prototypes:
        """What `to_bytes` wrote. `ModelFileError` when it is damaged."""
        try:
            size = int.from_bytes(data[:8], "little")
            said = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["prototypes"])
            replies, tensors = tuple(map(str, said["replies"])), load(data)
            sums_RD = tensors["sums"]
            held, single = (Known(tensors[name], tensors[f"{name}_reply"]) for name in ("held", "single"))
            for known in (held, single):
                if known.vectors_ND.shape != (len(known.reply_N), sums_RD.shape[1]) or (
                    len(known.reply_N) and not 0 <= int(known.reply_N.min()) <= int(known.reply_N.max()) < len(replies)
                ):
                    raise ValueError(f"vectors of shape {tuple(known.vectors_ND.shape)}")
            if len(sums_RD) != len(replies):
                raise ValueError(f"{len(replies)} replies, {len(sums_RD)} prototypes")
            temperature, weight, found = (float(said[name]) for name in ("temperature", "weight", "found"))
            named = str(said["embedder"]), found, str(said["note"])
            return cls(replies, sums_RD, held, single, temperature, weight, *named)
        except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise ModelFileError(
                f"The prototypes of requests cannot be read ({error}); restore them from a backup or roll back: "
                "llmagentos releases list"
            ) from error


def _units(vectors: Sequence[Sequence[float]]) -> Tensor:
    return functional.normalize(torch.tensor(vectors, dtype=torch.float32), dim=1)


def _places(replies: Sequence[str], known: Sequence[str]) -> Tensor:
    place = {reply: number for number, reply in enumerate(known)}
    return torch.tensor([place[one] for one in replies], dtype=torch.int64)


def _left_out(vectors_ND: Tensor, reply_N: Tensor, sums_RD: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines to all prototypes, each request's own one being without it, and which that is; those that have a reply
    for themselves are left out."""
    cosines_NR = vectors_ND @ functional.normalize(sums_RD, dim=1).T
    rest_ND = sums_RD[reply_N] - vectors_ND
    length_N = rest_ND.norm(dim=1)
    own_N = (vectors_ND * rest_ND).sum(1) / length_N.clamp(min=LEFT)
    cosines_NR = cosines_NR.scatter(1, reply_N[:, None], own_N[:, None])
    company_N = length_N > LEFT
    return cosines_NR[company_N], reply_N[company_N]
