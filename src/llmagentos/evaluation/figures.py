"""Numbers as a reader sees them: shares as percent, differences as points.

In: shares in [0, 1] and their differences. Out: plain text, the same in verdicts, on the page and in the terminal.
It does not know what the numbers are about.
"""

from __future__ import annotations

import math

NOT_MEASURED = "–"


def percent(share: float | None) -> str:
    """`0.912` as `91 %`; a dash where nothing was measured; a decimal where rounding would claim none or all."""
    if share is None or not math.isfinite(share):
        return NOT_MEASURED
    value = 100 * share
    whole = round(value)
    return f"{value:.1f} %" if whole in (0, 100) and abs(value - whole) > 1e-9 else f"{whole} %"


def points(share: float | None, *, signed: bool = False) -> str:
    """A difference of shares in percentage points, at most one decimal, a true minus: `30`, `−2.5`, signed `+30`."""
    if share is None or not math.isfinite(share):
        return NOT_MEASURED
    rounded = round(100 * share, 1) + 0.0  # adding 0.0 turns -0.0 into 0.0
    text = f"{rounded:+.1f}" if signed and rounded else f"{rounded:.1f}"
    return text.removesuffix(".0").replace("-", "−")
