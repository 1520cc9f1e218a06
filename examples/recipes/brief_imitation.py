"""Imitation with a brief prompt (context distillation, arXiv 2112.00861): requests to be given to one of many tools.

Run: python examples/recipes/brief_imitation.py --environment "Requests-v0?data=tickets.jsonl" --minutes 30
What to look at: `told` on the way is the name of the skill alone, so that a step of 32 requests takes 2 seconds where
one with the names of 150 tools in the prompt takes 5. Labels that few requests have need more passes: more minutes.
"""

from __future__ import annotations

from recipe import cook

from llmagentos.learning.language.imitation import Imitation, ImitationSettings
from llmagentos.learning.trainer import AdapterSettings

LEARNER = Imitation(
    ImitationSettings(
        AdapterSettings(learning_rate=1e-3), batch=32, pool=1024, limit=4000, replay_share=0.1, brief=True
    )
)

if __name__ == "__main__":
    cook(LEARNER, "SupportDesk-v0", minutes=6)
