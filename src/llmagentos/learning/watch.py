"""Watching a learner from rewards: whether it still rises, and whether it rises for the wrong reason.

In: what each step measured of the agent's own runs, and groups of them. Out: warnings in words, whether the curve is
flat, and whether a group says which of its runs was better.
It does not know how anything is learned. What goes wrong is described in "Defining and characterizing reward hacking"
(arXiv 2209.13085): the reward rises, what it stands for does not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

from llmagentos.records.episode import Episode

FEWEST = 12
"""Steps before anything is said."""
REWARD_UP, STRICT_FLAT = 0.1, 0.02
LONGER = 2.0
DRIFT = 0.15
REPEATS = 0.2
RISING = 0.01
"""Least rise of the mean reward from one window to the next, beyond its standard error."""

NEVER_SUCCEEDED = (
    " If some of these runs are what you want, say info['success'] where they end, or by the environment's option "
    "reward_threshold= from which reward on they are."
)
BY_HEART = 0.1
"""Success in practice above the held-out one that is told, where chance does not explain it either."""

Curve = Sequence[Mapping[str, float]]


def warnings(curve: Curve) -> list[str]:
    """What looks wrong between the first and the last quarter of the steps, one sentence each."""
    points = [point for point in curve if "reward" in point]
    found = [_unfinished(curve)] if any(point.get("failed") for point in curve) else []
    if len(points) < FEWEST:
        return found
    quarter = len(points) // 4
    before, after = points[:quarter], points[-quarter:]

    def moved(name: str) -> tuple[float, float]:
        return tuple(fmean(point.get(name, 0.0) for point in part) for part in (before, after))  # type: ignore[return-value]

    reward, strict, lenient = moved("reward"), moved("strict"), moved("lenient")
    length, repetition = moved("length"), moved("repetition")
    gained = strict[1] - strict[0]
    if reward[1] - reward[0] >= REWARD_UP and gained <= STRICT_FLAT:
        found.append(
            f"The reward rose from {reward[0]:.2f} to {reward[1]:.2f} while strict success went from {strict[0]:.0%} "
            f"to {strict[1]:.0%}: what is rewarded is not what counts." + (NEVER_SUCCEEDED if strict[1] == 0 else "")
        )
    if length[0] > 0 and length[1] / length[0] >= LONGER and gained < REWARD_UP:
        found.append(
            f"Replies became {length[1] / length[0]:.1f} times as long ({length[0]:.0f} to {length[1]:.0f} tokens a "
            "run) without succeeding more."
        )
    drift = (lenient[1] - strict[1]) - (lenient[0] - strict[0])
    if drift >= DRIFT:
        found.append(
            f"The form drifts: {lenient[1] - strict[1]:.0%} of the runs reach their goal in a wrong form, at first "
            f"{lenient[0] - strict[0]:.0%} did."
        )
    if repetition[1] - repetition[0] >= REPEATS:
        found.append(
            f"Replies repeat themselves: {repetition[1]:.0%} of their words in fours, at first {repetition[0]:.0%}."
        )
    return found


def by_heart(curve: Curve, held_out: float, at_most: float) -> list[str]:
    """What to do where own runs succeeded more often in the last quarter of practice than on fresh tasks.

    `held_out` is strict success there (0 to 1), `at_most` the upper bound of its interval. Practice is drawn at a
    temperature, which costs success rather than that it gives any: what is above has been seen before.
    """
    points = [point for point in curve if "reward" in point]
    if len(points) < FEWEST:
        return []
    practised = fmean(point.get("strict", 0.0) for point in points[-(len(points) // 4) :])
    if practised < max(held_out + BY_HEART, at_most):
        return []
    return [
        f"{practised:.0%} of the runs in practice succeeded and {held_out:.0%} of those on fresh tasks: the training "
        "tasks are known by heart. More of them would teach it more than more minutes."
    ]


def _unfinished(curve: Curve) -> str:
    share = fmean(point.get("failed", 0.0) for point in curve)
    return (
        f"{share:.1%} of the agent's own runs could not be finished and taught nothing. See what they said: "
        "llmagentos ps --state failed"
    )


def is_mixed(group: Sequence[Episode]) -> bool:
    """Whether a group's rewards are finite and not all alike."""
    rewards = [episode.reward for episode in group]
    return len(rewards) > 1 and all(map(math.isfinite, rewards)) and max(rewards) > min(rewards)


def is_flat(curve: Curve, window: int) -> bool:
    """Whether the mean reward of the last `window` steps is no higher than that of the `window` before."""
    rewards = [point["reward"] for point in curve if "reward" in point]
    if window < 2 or len(rewards) < 3 * window:
        return False
    before, after = rewards[-2 * window : -window], rewards[-window:]
    error = math.sqrt((stdev(before) ** 2 + stdev(after) ** 2) / window)
    return fmean(after) - fmean(before) < max(RISING, error / 2)


def repetition(tokens: Sequence[int]) -> float:
    """Share of a reply's runs of four tokens that stood in it before; 0 for fewer than five tokens."""
    fours = [tuple(tokens[at : at + 4]) for at in range(len(tokens) - 3)]
    return 1 - len(set(fours)) / len(fours) if len(fours) > 1 else 0.0
