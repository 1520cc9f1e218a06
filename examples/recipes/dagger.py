"""Correction on own runs (DAgger, arXiv 1011.0686): walking through two rooms, with an expert who finds back from
wherever the agent has got to.

Run: python examples/recipes/imitation.py --environment GridWorld-v0 --minutes 3, then python examples/recipes/dagger.py
What to look at: `corrected` counts the places where the agent went another way; it falls as the agent learns the way
back, which demonstrations never show.
"""

from __future__ import annotations

from recipe import cook

from llmagentos.learning.language.dagger import Dagger, DaggerSettings
from llmagentos.learning.trainer import AdapterSettings

LEARNER = Dagger(DaggerSettings(AdapterSettings(learning_rate=5e-4), tasks=12, temperature=0.5))

if __name__ == "__main__":
    cook(LEARNER, "GridWorld-v0", minutes=4)
