"""Numbers and sentences as a reader sees them, the same on the page and in the terminal.

In: shares, minutes, results. Out: plain text, never markup.
It does not know where the text will stand.
"""

from __future__ import annotations

import math
import re
import unicodedata

from llmagentos.evaluation.figures import NOT_MEASURED, percent, points
from llmagentos.records.results import CycleResults, SkillResult

_UNITS = re.compile(r"(?<=\d) (?=%|points?\b|minutes\b|seconds\b|min\b|s\b)")

_UNSEEN = ("Cc", "Cs")
_TURNING = "\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Characters that turn the direction of what follows them."""


def plain(text: str) -> str:
    """`text` with control and direction-turning characters made visible: it cannot disguise itself on a page, nor
    move the cursor of a terminal."""
    return "".join(
        "\ufffd"
        if character not in "\n\t" and (unicodedata.category(character) in _UNSEEN or character in _TURNING)
        else character
        for character in text
    )


def together(text: str) -> str:
    """`text` whose numbers never part from their unit at the end of a line."""
    return _UNITS.sub("\u00a0", text)


def signed_points(share: float | None) -> str:
    """A difference of shares in points with its sign: `+30`, `−2.5`, `0`."""
    return points(share, signed=True)


def points_range(low: float, high: float) -> str:
    """An interval of differences in points: `−1.5 to +4`."""
    return f"{signed_points(low)} to {signed_points(high)}"


def minutes(value: float | None) -> str:
    """Minutes with one decimal under 100, seconds under one minute: `11.2 min`, `24 s`."""
    if value is None or not math.isfinite(value):
        return NOT_MEASURED
    if value < 1:
        return f"{60 * value:.0f} s"
    return f"{value:.1f} min" if value < 100 else f"{value:.0f} min"


def count(value: float) -> str:
    """A whole number with its thousands grouped: `1,204,311`."""
    return f"{round(value):,}"


def listed(parts: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


def counted(number: int, noun: str) -> str:
    """`1 task`, `3 tasks`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def improved(skill: SkillResult) -> bool:
    """Whether the gain is surely above 0."""
    return skill.low > 0


def live_row(results: CycleResults) -> int:
    """Index of the live release's row in the retention matrix; -1 when there is no row."""
    name = results.live or (results.releases[-1] if results.releases else "")
    return results.releases.index(name) if name in results.releases else len(results.releases) - 1


def worst_loss(results: CycleResults) -> tuple[str, float] | None:
    """The skill whose live score lies furthest below the best it ever had, with that difference; None without rows."""
    if not results.retention:
        return None
    live, losses = results.retention[live_row(results)], []
    for column, skill in enumerate(results.skills):
        ever = [score for row in results.retention if (score := row[column]) is not None]
        now = live[column]
        if now is not None and ever:
            losses.append((skill.name, now - max(ever)))
    return min(losses, key=lambda loss: loss[1], default=None)


def headline(results: CycleResults) -> str:
    """The outcome in one sentence: what rose, in what time."""
    rose = [skill for skill in results.skills if improved(skill)]
    time = minutes(results.minutes).replace(" min", " minutes").replace(" s", " seconds")
    if not results.skills:
        return f"Nothing was measured in {time}."
    if not rose:
        return f"No skill improved for sure in {time}."
    paths = [f"{skill.name} rose from {percent(skill.before)} to {percent(skill.after)}" for skill in rose]
    paths[1:] = [path.replace(" rose from ", " from ") for path in paths[1:]]
    return f"{listed(paths)} in {time}."


def consequences(results: CycleResults) -> str:
    """The second sentence: what did not improve, what was kept or lost, what the gate refused."""
    sentences = []
    flat = [skill.name for skill in results.skills if not improved(skill)]
    if flat and len(flat) < len(results.skills):
        sentences.append(f"{listed(flat)} did not improve for sure.")
    loss = worst_loss(results)
    if loss is not None:
        allowed = f"{signed_points(results.margin).lstrip('+')} points allowed"
        if loss[1] >= -results.margin - 1e-9:
            sentences.append(f"No skill lost more than the {allowed}.")
        else:
            sentences.append(f"{loss[0]} stands {signed_points(-loss[1]).lstrip('+')} points below its best.")
    refused = sum(not verdict.released for verdict in results.verdicts)
    if results.verdicts:
        total = counted(len(results.verdicts), "candidate")
        sentences.append(f"The gate judged {total} and refused {refused or 'none'}.")
    return " ".join(sentences)
