"""Requests that look mislabelled or planted: what is asked of one is asked of none that resembles it.

In: training cases and a function that embeds texts. Out: suspects with the reason; nothing is taken out.
For each case the K nearest others by cosine vote, as in edited nearest neighbours (Wilson 1972) and confident learning
(arXiv 1911.00068): a case whose expected reply hardly any of them shares, while most of them agree on another one, is
a suspect. A trigger that is planted into few requests moves their meaning little, so their neighbours still tell.
It does not know files, models or who learns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from llmagentos.environments.request_cases import Case, Turn

NEIGHBOURS = 10
AGREE = 0.6
"""Share of the neighbours that have to agree on one other reply."""
ALIKE = 0.2
"""Share of the neighbours that may expect the same as a suspect: what is planted is seldom planted once."""
ROWS = 1024
"""Cases compared at a time."""

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


def suspects(cases: Sequence[Case], embed: Embed, *, neighbours: int = NEIGHBOURS) -> list[Suspect]:
    """Those of `cases` that their nearest neighbours contradict, the surest first.

    Only the last turn's request and the name of its call, or its words, are compared. Answers in free words, of which
    no two are alike, make no suspects.
    """
    if len(cases) <= neighbours:
        return []
    kinds = [kind(case.turns[-1]) for case in cases]
    vectors_NH = np.asarray(embed([case.turns[-1].request for case in cases]), dtype=np.float32)
    vectors_NH /= np.maximum(np.linalg.norm(vectors_NH, axis=1, keepdims=True), 1e-9)
    found: list[Suspect] = []
    for first in range(0, len(cases), ROWS):
        near_RN = vectors_NH[first : first + ROWS] @ vectors_NH.T
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


def kind(turn: Turn) -> str:
    """What is expected: the tool's name, or the words; empty for any words."""
    return turn.call.name if turn.call is not None else turn.words
