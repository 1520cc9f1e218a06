"""Which adapter answers: a router reads how a run opens, for no request says to which skill it belongs.

In: the tokens of an opening (system message, tools, the first thing seen). Out: the name of an adapter.
It does not know skills' environments, how an adapter was trained, or who asks.

A route is a nearest-mean classifier (Mensink et al. 2013, TPAMI 35(11), equation 2): features are the square roots of
the counts of tokens and of pairs of tokens, scaled to length 1, so that a cosine compares distributions (Hellinger);
a new skill adds a mean and changes no other. What is like none of them is answered as if there were no skills.
"""

from __future__ import annotations

import json
import math
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

Features: TypeAlias = dict[int, float]
"""Weights by token, and by pair of tokens; their squares sum to 1."""

PAIR = 1 << 32
"""Distance between the keys of two pairs with neighbouring first tokens: more than any vocabulary has tokens."""
REMEMBERED = 512
"""Openings whose adapter is remembered: a run asks again at every turn."""


def features(tokens: Sequence[int]) -> Features:
    """What a route sees of an opening; nothing for no tokens."""
    counts: Counter[int] = Counter(tokens)
    counts.update((first + 1) * PAIR + second for first, second in pairwise(tokens))
    return scaled({key: math.sqrt(count) for key, count in counts.items()})


def scaled(weights: Mapping[int, float]) -> Features:
    """The weights at length 1."""
    length = math.sqrt(sum(weight * weight for weight in weights.values()))
    return {key: weight / length for key, weight in weights.items()} if length else {}


def likeness(first: Features, second: Features) -> float:
    """The cosine of two openings, 0 to 1."""
    less, more = sorted((first, second), key=len)
    return sum(weight * more.get(key, 0.0) for key, weight in less.items())


@dataclass(frozen=True, slots=True)
class Route:
    """How openings of one skill look, and which adapter answers them."""

    skill: str
    adapter: str
    """Name of an artefact of kind `adapter`."""
    centre: Features
    threshold: float
    """Least likeness to the centre, 0 to 1, at which an opening may belong to the skill."""


class Router:
    """Routes between adapters; thread-safe, as what it remembers may be computed twice without harm."""

    def __init__(self, routes: Iterable[Route] = (), otherwise: str | None = None) -> None:
        """`otherwise` names the adapter for openings of no skill; None is the bare base model."""
        self.routes, self.otherwise = tuple(routes), otherwise
        self._known: OrderedDict[tuple[int, ...], str | None] = OrderedDict()

    def likenesses(self, opening: Sequence[int]) -> list[tuple[float, Route]]:
        """How like every route's centre an opening is, the likest first."""
        seen = features(opening)
        found = [(likeness(seen, route.centre), route) for route in self.routes]
        return sorted(found, key=lambda one: one[0], reverse=True)

    def route(self, opening: Sequence[int]) -> Route | None:
        """The likest route among those whose threshold the opening passes."""
        return next((route for score, route in self.likenesses(opening) if score >= route.threshold), None)

    def choose(self, opening: Sequence[int]) -> str | None:
        """The name of the adapter that answers a run with this opening."""
        if not self.routes:
            return self.otherwise
        key = tuple(opening)
        if key not in self._known:
            found = self.route(key)
            self._known[key] = self.otherwise if found is None else found.adapter
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return self._known.get(key, self.otherwise)

    def renamed(self, names: Mapping[str, str]) -> Router:
        """The same routes to adapters of other names."""
        routes = [Route(one.skill, names[one.adapter], one.centre, one.threshold) for one in self.routes]
        return Router(routes, None if self.otherwise is None else names[self.otherwise])


def write_routes(routes: Sequence[Route]) -> bytes:
    """JSON of the routes of one skill: one for each form in which its runs open."""
    said = [
        {
            "skill": one.skill,
            "adapter": one.adapter,
            "threshold": round(one.threshold, 4),
            "centre": [[key, round(weight, 5)] for key, weight in one.centre.items()],
        }
        for one in routes
    ]
    return json.dumps(said, separators=(",", ":")).encode()


def read_routes(data: bytes) -> list[Route]:
    """What `write_routes` wrote."""
    return [
        Route(
            one["skill"], one["adapter"], {int(key): float(weight) for key, weight in one["centre"]}, one["threshold"]
        )
        for one in json.loads(data)
    ]
