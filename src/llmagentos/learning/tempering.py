"""Part of a step where the whole one did harm: an adapter between the live one and a refused candidate's.

In: the adapter that was learned from, the one that was learned, and why it was refused. Out: one between them.
It does not know how a verdict is reached, nor what is tried next.

Weights between a model and its fine-tuned self keep most of what either can do (WiSE-FT, Wortsman et al. 2022, arXiv
2109.01903, equation 1); here the two factors of each low-rank product are interpolated.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import cast

from torch import Tensor

from llmagentos.models.adapters import FusedAdapter
from llmagentos.models.arithmetic import arithmetic
from llmagentos.records.identity import new_id
from llmagentos.records.release import Candidate, Verdict

SHARE = 0.5
"""Of the way from the live adapter to the refused one, where that took something from a kept skill."""
INSIDE = 0.9
"""Of the step that would use up the divergence budget, where nothing but that was used up."""
TEMPERED = "tempered"
"""In a candidate's evidence: of which one it is a part, and how much."""


def only_harmed(candidate: Candidate, verdict: Verdict) -> bool:
    """Whether a candidate was refused although it had learned what it should, and is a whole step yet."""
    gains = [check.passed for check in verdict.checks if check.rule == "gain"]
    return not verdict.released and bool(gains) and all(gains) and TEMPERED not in candidate.evidence


def share_of(verdict: Verdict) -> float:
    """How much of a refused step is tried: half, or, where it only went too far, as much as stays near enough.

    KL grows with the square of a small step.
    """
    moved, budget = verdict.divergence, verdict.divergence_budget
    if not all(check.passed for check in verdict.checks) or not moved or not budget or not moved > budget:
        return SHARE
    return max(SHARE, INSIDE * math.sqrt(budget / moved))


@arithmetic
def between(start: FusedAdapter | None, end: FusedAdapter, share: float) -> FusedAdapter | None:
    """The adapter at `share` (0 to 1) of the way from `start` to `end`; None where `end` cannot come from `start`.

    Without `start` it is that share of what `end` adds to the bare model.
    """
    if start is None:
        return FusedAdapter(end.rank, end.alpha, {key: (a.clone(), b * share) for key, (a, b) in end.pairs.items()})
    if (start.rank, start.alpha) != (end.rank, end.alpha) or start.pairs.keys() != end.pairs.keys():
        return None
    ways = {key: zip(pair, end.pairs[key], strict=True) for key, pair in start.pairs.items()}
    pairs = {key: tuple(first.lerp(last, share) for first, last in way) for key, way in ways.items()}
    return FusedAdapter(end.rank, end.alpha, cast("dict[tuple[int, str], tuple[Tensor, Tensor]]", pairs))


def tempered(
    candidate: Candidate, adapter: FusedAdapter, share: float, store: Callable[[FusedAdapter], str]
) -> Candidate:
    """A new candidate like a refused one, with `adapter`, whose digest `store` gives, in the place of its own."""
    digest = store(adapter)
    artefacts = [replace(one, digest=digest) if one.kind == "adapter" else one for one in candidate.artefacts]
    return replace(
        candidate,
        id=new_id("candidate"),
        artefacts=tuple(artefacts),
        evidence={**candidate.evidence, TEMPERED: {"from": candidate.id, "share": share}},
        created=time.time(),
    )
