"""Free words, and a reward for how near they are: llmagentos learn --env ./examples/slogans.py:Slogans-v0 --minutes 3

In: what to advertise, and in how many words at most. Out: a slogan, rewarded for each of three wishes that it meets.
There is no expert and no right answer. That some slogans are better than others is enough: the best of every eight are
imitated. What is advertised in held-out tasks never occurs in training.
"""

from __future__ import annotations

import random
from typing import Any

import gymnasium

from llmagentos.environments.language import LanguageEnvironment

KNOWN = (
    *("coffee", "bread", "music", "garden", "river", "summer", "winter", "travel", "books", "shoes", "paint", "bikes"),
    *("honey", "lamps", "chairs", "tea", "cheese", "apples", "rain", "snow", "stars", "boats", "trains", "phones"),
)
HELD_OUT = ("pizza", "flowers", "candles", "jackets", "guitars", "cameras", "oranges", "kites")


class Slogans(LanguageEnvironment):
    """A slogan names what it is about, keeps to its length and ends with its only exclamation mark."""

    reply_tokens, most_steps = 24, 1

    def __init__(self) -> None:
        super().__init__("Slogans-v0")
        self.subject, self.most = "", 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        split = (options or {}).get("split", "train")
        chance = random.Random(f"{split} {seed}")
        self.subject = chance.choice(HELD_OUT if split in ("gate", "report") else KNOWN)
        self.most = chance.randint(4, 8)
        told = "You write slogans. A slogan names what it is about and ends with an exclamation mark."
        return f"Write a slogan about {self.subject} in at most {self.most} words.", {"instructions": told, "tools": ()}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        said = action.strip()
        named = self.subject in said.lower()
        short = 2 <= len(said.split()) <= self.most
        loud = said.endswith("!") and said.count("!") == 1
        done = named and short and loud
        return "", (named + short + loud) / 3, True, False, {"success": done, "lenient": done}


gymnasium.register("Slogans-v0", entry_point=Slogans)
