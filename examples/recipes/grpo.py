"""Group-relative policy optimisation (Dr. GRPO, arXiv 2503.20783): each step's runs are used twice, with clipping.

Run: python examples/recipes/grpo.py
What to look at: `clipped` is the share of tokens that the clip has cut off in the second update. With variant="grpo"
advantages are divided by the group's spread and sums by the run's length (arXiv 2402.03300).
"""

from __future__ import annotations

from recipe import cook

from llmagentos.learning.language.grpo import Grpo, GrpoSettings
from llmagentos.learning.trainer import AdapterSettings

LEARNER = Grpo(
    GrpoSettings(AdapterSettings(learning_rate=2e-4, clip=0.5), tasks=6, samples=8, variant="dr-grpo", epochs=2)
)

if __name__ == "__main__":
    cook(LEARNER, "Drills-v0?kind=lookup&level=1", minutes=4)
