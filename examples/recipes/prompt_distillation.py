"""Prompt distillation (arXiv 2112.00861, section 2.2): the support desk without its instructions and
descriptions of tools.

Run: python examples/recipes/imitation.py --minutes 6, then python examples/recipes/prompt_distillation.py
What to look at: what is told before the first reply goes from some hundred tokens to about ten, the gate compares the
brief prompt with the whole one on fresh tasks, and the success on the report tasks stays.
"""

from __future__ import annotations

from recipe import cook

from llmagentos.learning.language.prompt_distillation import PromptDistillation, PromptDistillationSettings

LEARNER = PromptDistillation(PromptDistillationSettings(limit=300))

if __name__ == "__main__":
    cook(LEARNER, "SupportDesk-v0", minutes=8)
