"""Kahneman-Tversky optimisation (KTO, arXiv 2402.01306): from single verdicts, such as thumbs, without pairs.

Run: python examples/recipes/kto.py, after `llmagentos feedback add EPISODE --good` or `--bad` on runs of the skill
What to look at: thumbs of people (`people` a step) stand beside the agent's own groups. One thumb is worth less than
one correction; many are cheap.
"""

from __future__ import annotations

from recipe import cook

from llmagentos.learning.language.preference import Preference, PreferenceSettings
from llmagentos.learning.trainer import AdapterSettings

LEARNER = Preference(
    PreferenceSettings(AdapterSettings(learning_rate=3e-4), tasks=6, samples=8, loss="kto", beta=0.2, people=8)
)

if __name__ == "__main__":
    cook(LEARNER, "Drills-v0?kind=lookup&level=1", minutes=4)
