"""Requests that look mislabelled or planted: what is asked of one is asked of none that resembles it.

In: training cases and a function that embeds texts. Out: suspects with the reason; nothing is taken out.
For each case the K nearest others by cosine vote, as in edited nearest neighbours (Wilson 1972) and confident learning
(arXiv 1911.00068): a case whose expected reply hardly any of them shares, while most of them agree on another one, is
a suspect. A trigger that is planted into few requests moves their meaning little, so their neighbours still tell.
It does not know files, models or who learns.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from llmagentos.environments.request_cases import Case, Turn
from llmagentos.records.progress import Progress

NEIGHBOURS = 10
AGREE = 0.6
"""Share of the neighbours that have to agree on one other reply."""
ALIKE = 0.2
"""Share of the neighbours that may expect the same as a suspect: what is planted is seldom planted once."""
ROWS = 1024
"""Cases embedded at a time, and most that are compared with all others at a time."""
COMPARED = 16_000_000
"""Similarities computed at a time, four bytes each: a million cases are compared sixteen at a time."""

Embed = Callable[[Sequence[str]], Sequence[Sequence[float]]]


@dataclass(frozen=True, slots=True)
class Suspect:
    """One case that its neighbours contradict."""

    place: str
    request: str
    says: str
    """What the case expects."""
    neighbours_say: str
    agree: float
    """Share of the nearest cases that say so."""

    def __str__(self) -> str:
        return (
            f"{self.place}: {self.request[:80]!r} expects {self.says or 'words'}; "
            f"{self.agree:.0%} of the most similar requests expect {self.neighbours_say or 'words'}"
        )


def suspects(
    cases: Sequence[Case],
    embed: Embed,
    *,
    neighbours: int = NEIGHBOURS,
    on_progress: Callable[[Progress], None] = lambda event: None,
) -> list[Suspect]:
    """Those of `cases` that their nearest neighbours contradict, the surest first.

    Time goes with the number of cases for their vectors, with its square for the comparison (see `some`). Only the last
    turn's request and the name of its call, or its words, are compared. Answers in free words, of which no two are
    alike, make no suspects.
    """
    if len(cases) <= neighbours:
        return []
    kinds = [kind(case.turns[-1]) for case in cases]
    vectors_NH = _vectors(cases, embed, on_progress)
    found: list[Suspect] = []
    together = min(ROWS, max(1, COMPARED // len(cases)))
    for first in range(0, len(cases), together):
        on_progress(Progress("comparing requests", first, len(cases), "requests"))
        near_RN = vectors_NH[first : first + together] @ vectors_NH.T
        rows = range(len(near_RN))
        near_RN[rows, range(first, first + len(rows))] = -np.inf
        nearest_RK = np.argpartition(-near_RN, neighbours - 1, axis=1)[:, :neighbours]
        for row in rows:
            case, own = cases[first + row], kinds[first + row]
            votes = Counter(kinds[other] for other in nearest_RK[row])
            said, count = votes.most_common(1)[0]
            if votes[own] <= ALIKE * neighbours and count >= AGREE * neighbours:
                found.append(Suspect(case.place, case.turns[-1].request, own, said, count / neighbours))
    return sorted(found, key=lambda one: -one.agree)


def some(cases: Sequence[Case], most: int) -> list[Case]:
    """At most `most` of the cases, drawn evenly and always the same, in their order."""
    if len(cases) <= most:
        return list(cases)
    return [cases[at] for at in sorted(random.Random(0).sample(range(len(cases)), most))]


def _vectors(cases: Sequence[Case], embed: Embed, show: Callable[[Progress], None]) -> np.ndarray:
    """Unit vectors [N, H] of the last requests."""
    parts: list[np.ndarray] = []
    for first in range(0, len(cases), ROWS):
        show(Progress("reading what requests mean", first, len(cases), "requests"))
        texts = [case.turns[-1].request for case in cases[first : first + ROWS]]
        part_RH = np.asarray(embed(texts), dtype=np.float32)
        parts.append(part_RH / np.maximum(np.linalg.norm(part_RH, axis=1, keepdims=True), 1e-9))
    return np.concatenate(parts)


def kind(turn: Turn) -> str:
    """What is expected: the tool's name, or the words; empty for any words."""
    return turn.call.name if turn.call is not None else turn.words
