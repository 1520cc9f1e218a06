"""Intervals and error rates: what a number of tasks can and cannot tell.

In: per-task scores, counts, rates. Out: intervals, and the exact chances that a rule errs.
It does not know skills, releases or what is decided with the numbers (see `evaluation.gate`).

Sources: bootstrap, percentile and BCa: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), sections 13.3
and 14.3. Wilson's interval: Wilson, JASA 22 (1927), equation 4 in Agresti and Coull (1998). Non-inferiority by a
one-sided bound: Liu, Hsueh, Hsieh and Chen, Statistics in Medicine 21 (2002), for matched pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal

from llmagentos.errors import GateError
from llmagentos.records.release import Interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
else:
    Floats = Any

BootstrapMethod = Literal["percentile", "bca"]

RESAMPLES = 10_000
"""The Monte Carlo error of a 2.5 % quantile is then about 0.02 of the interval's half-width: invisible when printed."""

_FEW_VALUES = 64
"""Up to so many distinct values a resample is one multinomial draw of their counts: exact and about 50 times faster."""

_CHUNK = 2_000_000
"""Numbers drawn at once otherwise, so that memory stays under some 32 MB."""


@dataclass(frozen=True, slots=True)
class ErrorRates:
    """How often a rule on paired tasks decides wrongly."""

    tasks: int
    margin: float
    flip_rate: float
    """Share of answers that differ between two runs of an unchanged skill, half of them each way."""
    drop: float
    """The true loss that `passes_drop` is about, in [0, 1]."""
    refuses_unchanged: float
    passes_drop: float


def _values(scores: Sequence[float], what: str) -> Floats:
    import numpy as np

    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise GateError(f"No {what} to compare: got shape {values.shape}. Play at least one task for each side.")
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        raise GateError(f"{bad} of {values.size} {what} are not finite numbers. Evaluate again; a failed run scores 0.")
    return values


def paired_bootstrap(
    candidate: Sequence[float],
    reference: Sequence[float],
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
    method: BootstrapMethod = "percentile",
) -> Interval:
    """Two-sided interval of mean(candidate) - mean(reference); element i of both is the same task, scores in [0, 1].

    Tasks are resampled, not scores, so what a task does to both sides cancels. Raises `GateError` where the lengths
    differ, nothing is given or a score is not finite. When every difference is equal the bootstrap has no width;
    the interval is then what one unseen kind of task could still move (see `bootstrap_mean`).
    """
    left, right = _values(candidate, "candidate scores"), _values(reference, "reference scores")
    if left.size != right.size:
        raise GateError(
            f"{left.size} candidate scores cannot be paired with {right.size} reference scores. "
            "Run both on the same tasks and pair them with metrics.pair."
        )
    return bootstrap_mean(left - right, level=level, resamples=resamples, seed=seed, method=method, support=(-1.0, 1.0))


def bootstrap_mean(
    values: Sequence[float] | Floats,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
    method: BootstrapMethod = "percentile",
    support: tuple[float, float] | None = (0.0, 1.0),
) -> Interval:
    """Two-sided bootstrap interval of the mean of independent `values`; the same seed gives the same interval.

    `support` bounds what a value can be. It is used where all n values equal c, when the bootstrap would claim
    certainty: another value then has, at the interval's level, at most chance p = 1 - (alpha / 2) ** (1 / n) of
    occurring (the "rule of three"), so the mean lies within c - p (c - low) and c + p (high - c). None leaves the
    interval without width.
    """
    import numpy as np

    data = _values(values, "scores")  # type: ignore[arg-type]
    alpha = _alpha(level)
    mean = float(data.mean())
    if np.all(data == data[0]):
        return _constant_interval(float(data[0]), data.size, level, support)
    means = np.sort(_resampled_means(data, resamples, seed))
    quantiles = (alpha / 2, 1 - alpha / 2)
    if method == "bca":
        quantiles = _bca_quantiles(data, means, alpha)
    low, high = (float(bound) for bound in np.quantile(means, quantiles))
    return Interval(estimate=mean, low=low, high=high, level=level)


def _alpha(level: float) -> float:
    if not 0 < level < 1:
        raise GateError(f"Confidence level {level!r} is not between 0 and 1. Use a share such as 0.95.")
    return 1 - level


def _constant_interval(value: float, count: int, level: float, support: tuple[float, float] | None) -> Interval:
    if support is None:
        return Interval(value, value, value, level)
    unseen = 1 - ((1 - level) / 2) ** (1 / count)
    low = value - unseen * max(value - support[0], 0.0)
    high = value + unseen * max(support[1] - value, 0.0)
    return Interval(value, low, high, level)


def _resampled_means(data: Floats, resamples: int, seed: int) -> Floats:
    import numpy as np

    random = np.random.default_rng(seed)
    kinds, counts = np.unique(data, return_counts=True)
    if kinds.size <= _FEW_VALUES:
        drawn_RK = random.multinomial(data.size, counts / data.size, size=resamples)
        return np.asarray(drawn_RK @ kinds / data.size, dtype=np.float64)
    rows = max(1, _CHUNK // data.size)
    chunks = [
        data[random.integers(0, data.size, size=(min(rows, resamples - start), data.size))].mean(axis=1)
        for start in range(0, resamples, rows)
    ]
    return np.concatenate(chunks)


def _bca_quantiles(data: Floats, means: Floats, alpha: float) -> tuple[float, float]:
    """Bias-corrected and accelerated quantiles (Efron and Tibshirani 1993, equations 14.9 to 14.15)."""
    import numpy as np

    normal = NormalDist()
    # Half of the ties count as below: scores are discrete, and all or none would shift the whole interval.
    below = float(np.mean(means < data.mean()) + 0.5 * np.mean(means == data.mean()))
    below = min(max(below, 0.5 / means.size), 1 - 0.5 / means.size)
    bias = normal.inv_cdf(below)
    spread = data.mean() - data  # a jackknife mean's deviation is proportional to this
    acceleration = float((-(spread**3)).sum() / (6 * (spread**2).sum() ** 1.5)) if data.size > 1 else 0.0

    def corrected(share: float) -> float:
        shifted = bias + normal.inv_cdf(share)
        return normal.cdf(bias + shifted / (1 - acceleration * shifted))

    return corrected(alpha / 2), corrected(1 - alpha / 2)


def wilson_interval(successes: float, total: int, level: float = 0.95) -> Interval:
    """Wilson's interval of a proportion: stays inside [0, 1] and has width also at 0 of n and n of n."""
    if total < 1 or not 0 <= successes <= total:
        raise GateError(f"{successes} successes of {total} tasks is not a proportion. Play at least one task.")
    z = NormalDist().inv_cdf(1 - _alpha(level) / 2)
    share = successes / total
    denominator = 1 + z**2 / total
    centre = (share + z**2 / (2 * total)) / denominator
    half = z / denominator * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    return Interval(share, max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share)), level)


def non_inferiority_bound(
    candidate: Sequence[float], reference: Sequence[float], *, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """Interval whose `low` is the one-sided `confidence` bound of the paired difference (its level is 2 c - 1)."""
    return paired_bootstrap(candidate, reference, level=2 * confidence - 1, seed=seed)


def difference_distribution(tasks: int, up: float, down: float) -> Floats:
    """Exact chances of wins minus losses being -tasks, ..., 0, ..., +tasks (an array of 2 tasks + 1).

    Each task independently is won only by the candidate with chance `up`, only by the reference with chance `down`.
    """
    import numpy as np

    if tasks < 1 or up < 0 or down < 0 or up + down > 1 + 1e-12:
        raise GateError(
            f"No distribution for {tasks} tasks with chances {up} up and {down} down (they sum to at most 1)."
        )
    result, power, left = np.ones(1), np.array([down, max(0.0, 1 - up - down), up]), tasks
    while left:  # the distribution of a sum is a convolution; repeated squaring takes log2(tasks) of them
        if left & 1:
            result = np.convolve(result, power)
        power, left = np.convolve(power, power), left >> 1
    return result


def point_rule_passes(tasks: int, margin: float, up: float, down: float) -> float:
    """Exact chance that the rule `estimate >= -margin` passes."""
    import numpy as np

    chances = difference_distribution(tasks, up, down)
    losses_allowed = math.floor(margin * tasks + 1e-9)
    return float(min(1.0, np.sum(chances[tasks - losses_allowed :])))


def second_look_passes(tasks: int, further: int, margin: float, reach: float, up: float, down: float) -> float:
    """Exact chance that the rule `estimate >= -margin` passes with a second look.

    Where the estimate on `tasks` refuses by at most `reach`, `further` tasks are played and all judged together.
    """
    import numpy as np

    first, second = difference_distribution(tasks, up, down), difference_distribution(further, up, down)
    at_least = np.cumsum(second[::-1])[::-1]  # chance of the difference n - further or more
    passes = point_rule_passes(tasks, margin, up, down)
    allowed = math.floor(margin * (tasks + further) + 1e-9)
    lowest = max(-tasks, math.ceil(-(margin + reach) * tasks - 1e-9))
    for difference in range(lowest, -math.floor(margin * tasks + 1e-9)):
        needed = -allowed - difference + further
        if needed <= 2 * further:
            passes += float(first[difference + tasks] * at_least[max(0, needed)])
    return min(1.0, passes)


def point_rule_errors(
    tasks: int,
    margin: float = 0.03,
    flip_rate: float = 0.10,
    drop: float = 0.06,
    *,
    further: int = 0,
    reach: float = 0.0,
) -> ErrorRates:
    """Exact error rates of the rule `estimate >= -margin` on `tasks` paired tasks.

    An unchanged skill flips `flip_rate` of its answers, half each way; a damaged one loses `drop` besides. With
    `further` tasks a refusal by at most `reach` is looked at again (see `second_look_passes`).
    """
    half = flip_rate / 2
    unchanged, damaged = (
        second_look_passes(tasks, further, margin, reach, half, half + lost)
        if further
        else point_rule_passes(tasks, margin, half, half + lost)
        for lost in (0.0, drop)
    )
    return ErrorRates(tasks, margin, flip_rate, drop, refuses_unchanged=1 - unchanged, passes_drop=damaged)


def bound_rule_passes(tasks: int, threshold: float, up: float, down: float, confidence: float = 0.95) -> float:
    """Chance that the one-sided lower bound of the difference is at least (above, where 0) `threshold`.

    Every outcome (wins, losses) is weighed with its exact multinomial chance; the bound is the normal one, which
    the bootstrap's approaches (a test compares them). threshold = -margin is non-inferiority, 0 the power of a gain.
    """
    import numpy as np

    if up + down == 0:
        return 1.0 if threshold < 0 else 0.0
    z = NormalDist().inv_cdf(confidence)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, tasks + 1)))])
    wins_W1, losses_1L = np.arange(tasks + 1)[:, None], np.arange(tasks + 1)[None, :]
    rest = tasks - wins_W1 - losses_1L
    possible = rest >= 0
    rest = np.where(possible, rest, 0)
    log_chance = (
        log_factorial[tasks] - log_factorial[wins_W1] - log_factorial[losses_1L] - log_factorial[rest]
        + _times_log(wins_W1, up) + _times_log(losses_1L, down) + _times_log(rest, max(0.0, 1 - up - down))
    )  # fmt: skip
    estimate = (wins_W1 - losses_1L) / tasks
    error = np.sqrt(np.maximum((wins_W1 + losses_1L) / tasks - estimate**2, 0.0) / tasks)
    bound = estimate - z * error
    passes = possible & ((bound > threshold) if threshold >= 0 else (bound >= threshold))
    return float(min(1.0, np.sum(np.exp(np.where(passes, log_chance, -np.inf)))))


def _times_log(counts: Any, chance: float) -> Any:
    """counts * log(chance), with 0 * log 0 = 0."""
    import numpy as np

    if chance <= 0:
        return np.where(counts > 0, -np.inf, 0.0)
    return counts * math.log(chance)


def gain_power(tasks: int, gain: float, flip_rate: float = 0.10, confidence: float = 0.95) -> float:
    """Chance that a true `gain` is found significant by a two-sided interval of level `confidence`."""
    half = flip_rate / 2
    return bound_rule_passes(tasks, 0.0, half + gain, half, confidence=(1 + confidence) / 2)
