"""General requests, whose answers by the bare base model are replayed so that a new skill does not swallow all others.

In: a renderer. Out: requests that belong to no skill, none of which the gate uses to measure divergence.
It does not know who answers them.
"""

from __future__ import annotations

from llmagentos.models.engine import ChatRenderer
from llmagentos.records.message import Message
from llmagentos.records.transcript import Segment

REQUESTS: tuple[str, ...] = (
    "What is the capital of Spain?",
    "Write one sentence about the moon.",
    "What colour is grass?",
    "How many legs does a spider have?",
    "Say hello in German.",
    "Give me a word that rhymes with 'cat'.",
    "What do bees make?",
    "Explain what a bicycle is.",
    "Which is larger, a mouse or a horse?",
    "Name two fruits.",
    "What comes after Tuesday?",
    "Count from one to five.",
    "What is 10 minus 4?",
    "Who painted the Mona Lisa?",
    "Write a short note to thank a friend.",
    "What is the past tense of 'go'?",
    "Give a tip for sleeping well.",
    "What is water made of?",
    "Complete: The sun rises in the",
    "What is the plural of 'child'?",
    "List three animals that live in water.",
    "How do you make tea?",
    "What is a synonym for 'big'?",
    "Translate 'thank you' into Spanish.",
    "Which season is the coldest?",
    "Name a country in Africa.",
    "Is fire hot or cold?",
    "What does a baker do?",
    "Describe a cat in five words.",
    "What is half of 20?",
    "Tell me a short joke.",
    "Put these in order: second, first, third.",
    "Mark = 4, Lisa = 9. What is Lisa? Answer with the number only.",
    "Add: 2 + 2. Answer with the number only.",
    "Which number is larger: 7 or 3? Answer with the number only.",
    "Answer with one word: what do cows drink?",
    "Answer yes or no: is ice cold?",
    "Summarise: Tom went to the shop, bought milk and came home.",
    "What day is it before Friday? Answer with one word.",
    "Spell the word 'house'.",
)


def rendered(renderer: ChatRenderer) -> list[tuple[Segment, ...]]:
    """The requests as the model sees them, each up to where its answer begins."""
    return [renderer.render((Message("user", text),), first=True) for text in REQUESTS]
