"""Direct preference optimisation (DPO, arXiv 2305.18290) on pairs from the agent's own groups and from people.

Run: python examples/recipes/dpo.py, on a skill that succeeds now and then
What to look at: `moved_good` and `moved_bad` say by how many nats better and worse runs have moved from where the agent
began; `likelihood` keeps the better ones from becoming unlikely too. What people corrected (llmagentos feedback) joins
every step.
"""

from __future__ import annotations

from recipe import cook

from llmagentos.learning.language.preference import Preference, PreferenceSettings
from llmagentos.learning.trainer import AdapterSettings

LEARNER = Preference(PreferenceSettings(AdapterSettings(learning_rate=3e-4), tasks=6, samples=8, loss="dpo", beta=0.1))

if __name__ == "__main__":
    cook(LEARNER, "Drills-v0?kind=lookup&level=1", minutes=4)
