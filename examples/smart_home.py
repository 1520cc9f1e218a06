"""A smart home that nobody shows how to run: llmagentos learn --env ./examples/smart_home.py:SmartHome-v0 --minutes 4

In: a person's wish or two. Out: calls of three tools, rewarded when they are what was wished for and nothing else.
There is no expert. That every argument has a few values (`enum`) is enough to begin with: chance makes some of the
thirty calls in practice, and what was rewarded is learned. Held-out wishes are said in words that training never has.
"""

from __future__ import annotations

import random
from typing import Any

import gymnasium

from llmagentos.environments.language import LanguageEnvironment
from llmagentos.programs.parsing import parse_call
from llmagentos.records.message import ToolSpec

ROOMS = ("bedroom", "kitchen", "living room", "bathroom", "office")
WISHES = {
    ("light", "on"): ("It is too dark in the {}.", "Please light up the {}.", "Lights on in the {}, please."),
    ("light", "off"): ("Nobody is in the {}, save power there.", "Make the {} dark.", "Lights out in the {}."),
    ("heating", "up"): ("I am freezing in the {}.", "Make the {} warmer.", "Turn up the heating in the {}."),
    ("heating", "down"): ("The {} is like an oven.", "It is far too hot in the {}.", "Cool the {} down a bit."),
    ("blinds", "open"): ("Let the sun into the {}.", "I like the view from the {}.", "Raise the blinds in the {}."),
    ("blinds", "close"): ("The sun blinds me in the {}.", "Neighbours look into the {}.", "Lower the {} blinds."),
}
"""What a tool is wanted for, each in three ways; the last one is kept for tasks of the gate and the report."""
TWO = 1 / 3
"""Share of the tasks with two wishes."""


class SmartHome(LanguageEnvironment):
    """A call that nobody wished for ends the run; half of the wishes are half a reward."""

    reply_tokens = 48

    def __init__(self) -> None:
        super().__init__("SmartHome-v0")
        ways = {tool: [way for other, way in WISHES if other == tool] for tool, _ in WISHES}
        self.tools = tuple(tool(name, choices) for name, choices in ways.items())
        self.wished: set[tuple[str, str, str]] = set()
        self.count = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        split = (options or {}).get("split", "train")
        chance = random.Random(f"{split} {seed}")
        wishes = [(*wish, chance.choice(ROOMS)) for wish in chance.sample(list(WISHES), 1 + (chance.random() < TWO))]
        said = [WISHES[tool, way][words(split, chance)].format(room) for tool, way, room in wishes]
        self.wished, self.count = set(wishes), len(wishes)
        asked = "You run a smart home. Call one tool at a time."
        return " ".join(said), {"instructions": asked, "tools": self.tools}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        call = parse_call(action, [tool.name for tool in self.tools]).call
        made = (call.name, str(call.arguments.get("way")), str(call.arguments.get("room"))) if call else None
        if made not in self.wished:
            return "", 0.5 * (1 - len(self.wished) / self.count), True, False, {"success": False, "lenient": False}
        self.wished.remove(made)
        if self.wished:
            return "Done. What else was asked for?", 0.0, False, False, {}
        return "", 1.0, True, False, {"success": True, "lenient": True}


def words(split: str, chance: random.Random) -> int:
    """In which of its three ways a wish is said."""
    return 2 if split in ("gate", "report") else chance.randrange(2)


def tool(name: str, ways: list[str]) -> ToolSpec:
    """What is said about a tool; the values of its arguments are listed, so that calls can be counted."""
    arguments = {"room": {"type": "string", "enum": list(ROOMS)}, "way": {"type": "string", "enum": ways}}
    schema: dict[str, Any] = {"type": "object", "properties": arguments, "required": ["room", "way"]}
    return ToolSpec(name, f"Change the {name} of a room.", schema)


gymnasium.register("SmartHome-v0", entry_point=SmartHome)
