"""Imitation (Pomerleau 1991): the support desk from a scripted expert's runs. About 6 minutes on two cores.

Run: python examples/recipes/imitation.py
What to look at: the loss falls within 60 steps, held-out success follows a minute later. More `replay_share` keeps more
of other skills and takes more time; a lower learning rate forgets less and needs more steps.
"""

from __future__ import annotations

from recipe import cook

from llmagentos.learning.language.imitation import Imitation, ImitationSettings
from llmagentos.learning.trainer import AdapterSettings

LEARNER = Imitation(ImitationSettings(AdapterSettings(learning_rate=1e-3), limit=240))

if __name__ == "__main__":
    cook(LEARNER, "SupportDesk-v0", minutes=6)
