"""Requests that look mislabelled or planted: what is asked of one is asked of none that resembles it.

In: training cases and a function that embeds texts. Out: suspects with the reason; nothing is taken out.
For each case the K nearest others by cosine vote, as in edited nearest neighbours (Wilson 1972) and confident learning
(arXiv 1911.00068): a case whose expected reply hardly any of them shares, while most of them agree on another one, is
a suspect. A trigger that is planted into few requests moves their meaning little, so their neighbours still tell of
most of them; what they have in common, and hardly any other request has, tells of the rest.
It does not know files, models or who learns.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from llmagentos.environments.request_cases import Case, Turn
from llmagentos.records.progress import Progress

NEIGHBOURS = 10
AGREE = 0.6
"""Share of the neighbours that have to agree on one other reply."""
ALIKE = 0.2
"""Share of the neighbours that may expect the same as a suspect: what is planted is seldom planted once."""
IN_COMMON, LEAST_IN_COMMON = 0.6, 2
"""Share of all that have a word or two words in a row that are suspects of one kind, and how many: those of that kind
that have them too are suspects. Of five planted requests with one word the neighbours tell of three to five."""
ROWS = 1024
"""Cases embedded at a time, and most that are compared with all others at a time."""
COMPARED = 16_000_000
"""Similarities computed at a time, four bytes each: a million cases are compared sixteen at a time."""

Embed = Callable[[Sequence[str]], Sequence[Sequence[float]]]


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why one of several requests is a suspect."""

    at: int
    """Its place among them."""
    others_say: str = ""
    """What most of the nearest requests expect."""
    agree: float = 0.0
    """Share of them that do, in [0, 1]."""
    shares: str = ""
    """Words that other suspects have and hardly any other request, where its neighbours do not tell."""


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
    shares: str = ""
    """As in `Doubt`."""

    def __str__(self) -> str:
        expects = f"{self.place}: {self.request[:80]!r} expects {self.says or 'words'}"
        if self.shares:
            return f"{expects}, and has {self.shares!r} in common with suspects that expect it and with hardly another"
        others = f"{self.agree:.0%} of the most similar requests expect {self.neighbours_say or 'words'}"
        return f"{expects}; {others}"


def suspects(
    cases: Sequence[Case],
    embed: Embed,
    *,
    neighbours: int = NEIGHBOURS,
    on_progress: Callable[[Progress], None] = lambda event: None,
) -> list[Suspect]:
    """Those of `cases` that their nearest neighbours contradict, the surest first, and those that share a trigger with
    such.

    Time goes with the number of cases for their vectors, with its square for the comparison (see `some`). Only the last
    turn's request and the name of its call, or its words, are compared. Answers in free words, of which no two are
    alike, make no suspects.
    """
    if len(cases) <= neighbours:
        return []
    vectors_NH = _vectors(cases, embed, on_progress)
    requests = [case.turns[-1].request for case in cases]
    kinds = [kind(case.turns[-1]) for case in cases]
    doubts = doubtful(requests, kinds, vectors_NH, neighbours=neighbours, on_progress=on_progress)
    return [
        Suspect(cases[one.at].place, requests[one.at], kinds[one.at], one.others_say, one.agree, one.shares)
        for one in doubts
    ]


def doubtful(
    requests: Sequence[str],
    kinds: Sequence[str],
    vectors_NH: np.ndarray,
    *,
    neighbours: int = NEIGHBOURS,
    on_progress: Callable[[Progress], None] = lambda event: None,
) -> list[Doubt]:
    """The same of requests, what each expects, and their vectors; which of them, and why."""
    if len(requests) <= neighbours:
        return []
    vectors_NH = vectors_NH / np.maximum(np.linalg.norm(vectors_NH, axis=1, keepdims=True), 1e-9)
    found: dict[int, Doubt] = {}
    together = min(ROWS, max(1, COMPARED // len(requests)))
    for first in range(0, len(requests), together):
        on_progress(Progress("comparing requests", first, len(requests), "requests"))
        near_RN = vectors_NH[first : first + together] @ vectors_NH.T
        rows = range(len(near_RN))
        near_RN[rows, range(first, first + len(rows))] = -np.inf
        nearest_RK = np.argpartition(-near_RN, neighbours - 1, axis=1)[:, :neighbours]
        for row in rows:
            votes = Counter(kinds[other] for other in nearest_RK[row])
            said, count = votes.most_common(1)[0]
            if votes[kinds[first + row]] <= ALIKE * neighbours and count >= AGREE * neighbours:
                found[first + row] = Doubt(first + row, said, count / neighbours)
    return sorted((*found.values(), *_sharing(requests, kinds, found)), key=lambda one: -one.agree)


def _sharing(requests: Sequence[str], kinds: Sequence[str], found: Collection[int]) -> Iterator[Doubt]:
    """Requests that are no suspects by their neighbours, and have in common with some what hardly any other has."""
    suspected = Counter((words, kinds[at]) for at in found for words in _words(requests[at]))
    several = {words for (words, _), count in suspected.items() if count >= LEAST_IN_COMMON}
    holders: defaultdict[str, list[int]] = defaultdict(list)
    for at, request in enumerate(requests):
        for words in _words(request) & several:
            holders[words].append(at)
    told = set(found)
    for words, those in holders.items():
        for own in {kinds[at] for at in those}:
            if suspected[words, own] >= max(LEAST_IN_COMMON, IN_COMMON * len(those)):
                others = [at for at in those if kinds[at] == own and at not in told]
                told.update(others)
                yield from (Doubt(at, shares=words) for at in others)


def _words(request: str) -> set[str]:
    """The words of a request, and each two of them in a row."""
    words = re.findall(r"\w+", request.lower())
    return {*words, *map(" ".join, pairwise(words))}


def some(cases: Sequence[Case], most: int) -> list[Case]:
    """At most `most` of the cases, drawn evenly and always the same, in their order."""
    if len(cases) <= most:
        return list(cases)
    return [cases[at] for at in sorted(random.Random(0).sample(range(len(cases)), most))]


def _vectors(cases: Sequence[Case], embed: Embed, show: Callable[[Progress], None]) -> np.ndarray:
    """Vectors [N, H] of the last requests."""
    parts: list[np.ndarray] = []
    for first in range(0, len(cases), ROWS):
        show(Progress("reading what requests mean", first, len(cases), "requests"))
        texts = [case.turns[-1].request for case in cases[first : first + ROWS]]
        parts.append(np.asarray(embed(texts), dtype=np.float32))
    return np.concatenate(parts)


def kind(turn: Turn) -> str:
    """What is expected: the tool's name, or the words; empty for any words."""
    return turn.call.name if turn.call is not None else turn.words
