"""Finding where a skill's runs belong: an adapter of its own, or one that it has to share.

In: openings of a skill's training tasks, of kept skills', of requests of no skill. Out: routes, and whether openings of
two skills can be told apart. It does not know how a route is stored, nor who learns what.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain

from llmagentos.models.routing import Features, Route, Router, features, likeness, scaled

LARGEST = 2000
"""Features of a centre: those that weigh most."""
LOWEST, NEAREST = 0.03, 0.9
"""Share of a skill's own openings that lie below the lower end of their likeness, and of requests of no skill below the
upper end of theirs: a few of those may well be requests of the skill."""
SLACK = 0.25
"""How far below a skill's own openings its threshold lies, as a share of the way down to requests of no skill. At half
of the way banking took requests about restaurants that nobody had taught, and they fell from 44 to 2 %."""
TOLD_APART = 0.98
"""Share of openings of either skill that must find their own route, for two to have adapters of their own."""

Opening = Sequence[int]


def fit_route(skill: str, adapter: str, openings: Sequence[Opening], general: Sequence[Opening]) -> Route:
    """The route of a skill: the mean of its openings, without what every second request of no skill has too.

    The threshold lies by `SLACK` of the way below the lower end of the skill's own openings (those of one half beside
    the mean of the other), towards the upper end of `general`.
    """
    seen, other = [features(one) for one in openings], [features(one) for one in general]
    counts = Counter(chain.from_iterable(other))
    common = {key for key, count in counts.items() if 2 * count >= len(other)}
    if len(seen) > 1:
        rest, held = _mean(seen[::2], common), seen[1::2]
    else:
        rest, held = _mean(seen, common), seen
    own = sorted(likeness(one, rest) for one in held)
    theirs = sorted(likeness(one, rest) for one in other)
    nearest = theirs[int(NEAREST * len(theirs))] if theirs else 0.0
    least = own[int(LOWEST * len(own))] if own else 1.0
    return Route(skill, adapter, _mean(seen, common), least - SLACK * (least - nearest))


def told_apart(
    skill: str, openings: Sequence[Opening], others: Mapping[str, Sequence[Opening]], general: Sequence[Opening]
) -> dict[str, float]:
    """For each other skill the share of openings that the right one answers, the worse of both ways.

    Of all openings one half makes the routes and the other is judged.
    """
    own = fit_route(skill, skill, openings[::2], general)
    found = {}
    for name, theirs in others.items():
        router = Router([own, fit_route(name, name, theirs[::2], general)])
        lost = _share(router, theirs[1::2] or theirs, skill)
        found[name] = min(_share(router, openings[1::2] or openings, skill), 1 - lost)
    return found


def stands_out(skill: str, openings: Sequence[Opening], general: Sequence[Opening]) -> bool:
    """Whether openings of a skill find their route, and requests of no skill do not."""
    router = Router([fit_route(skill, skill, openings[::2], general)])
    found, taken = _share(router, openings[1::2] or openings, skill), _share(router, general, skill)
    return found >= TOLD_APART and taken <= 2 * (1 - NEAREST)


def _share(router: Router, openings: Sequence[Opening], skill: str) -> float:
    return sum(router.choose(one) == skill for one in openings) / max(1, len(openings))


def _mean(seen: Sequence[Features], without: set[int]) -> Features:
    total: Counter[int] = Counter()
    for one in seen:
        for key, weight in one.items():
            total[key] += weight  # type: ignore[assignment]  # a counter of weights
    largest = sorted(((weight, key) for key, weight in total.items() if key not in without), reverse=True)[:LARGEST]
    return scaled({key: weight for weight, key in largest})
