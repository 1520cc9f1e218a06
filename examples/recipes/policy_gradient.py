"""Policy gradient with a leave-one-out baseline (arXiv 2402.14740): look-ups from own rewarded runs alone.

Run: python examples/recipes/policy_gradient.py
What to look at: `mixed` is the share of tasks that teach anything; tasks with mixed runs are played again (`repeat`)
until they are solved, and practice ends where the curve is flat.
"""

from __future__ import annotations

from recipe import cook

from llmagentos.learning.groups import GroupSettings
from llmagentos.learning.language.policy_gradient import PolicyGradient
from llmagentos.learning.trainer import AdapterSettings

LEARNER = PolicyGradient(
    GroupSettings(
        AdapterSettings(learning_rate=3e-4, clip=0.5), tasks=6, samples=8, temperature=0.8, repeat=0.3, flat=12
    )
)

if __name__ == "__main__":
    cook(LEARNER, "Drills-v0?kind=lookup&level=1", minutes=4)
