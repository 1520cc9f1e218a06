"""Rejection sampling (RAFT, arXiv 2304.06767): look-ups from the winners of own runs alone.

Run: python examples/recipes/rejection_sampling.py
What to look at: `winners` are imitated each step. Nothing is pushed down, so it is slower than a policy gradient and
cannot be hurt by its failures; worked examples in the prompt find the form that is never met by chance.
"""

from __future__ import annotations

from recipe import cook

from llmagentos.learning.language.rejection_sampling import RejectionSampling, RejectionSamplingSettings
from llmagentos.learning.trainer import AdapterSettings

LEARNER = RejectionSampling(
    RejectionSamplingSettings(AdapterSettings(learning_rate=4e-4), tasks=6, samples=6, winners=2, flat=12)
)

if __name__ == "__main__":
    cook(LEARNER, "Drills-v0?kind=lookup&level=1", minutes=4)
