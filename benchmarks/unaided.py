"""Environments in which nobody shows how: only what came of a run is rewarded.

In: what gymnasium gives an environment. Out: rewards. `own_runs.py` measures what is learned in them.
They do not know who plays.
"""

from __future__ import annotations

import random
import re
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
from corpora import clinc_domain
from measuring import JSON

from llmagentos.environments.grid_world import GridWorld
from llmagentos.environments.language import LanguageEnvironment, StepResult
from llmagentos.programs.parsing import parse_call
from llmagentos.records.message import ToolSpec
from llmagentos.records.task import Task

GRID, LABELS, HOME = "UnaidedGridWorld-v0", "Labels-v0", "SmartHome-v0"

ROOMS = ("bedroom", "kitchen", "living room", "bathroom", "office")
WISHES = {
    ("light", "on"): ("It is too dark in the {}.", "Please light up the {}.", "Lights on in the {}, please."),
    ("light", "off"): ("Nobody is in the {}, save power there.", "Make the {} dark.", "Lights out in the {}."),
    ("heating", "up"): ("I am freezing in the {}.", "Make the {} warmer.", "Turn up the heating in the {}."),
    ("heating", "down"): ("The {} is like an oven.", "It is far too hot in the {}.", "Cool the {} down a bit."),
    ("blinds", "open"): ("Let the sun into the {}.", "I like the view from the {}.", "Raise the blinds in the {}."),
    ("blinds", "close"): ("The sun blinds me in the {}.", "Neighbours look into the {}.", "Lower the {} blinds."),
}
"""What a tool is wanted for, each in three ways."""
TWO = 1 / 3
"""Share of the tasks with two wishes."""


def register(data: Path) -> None:
    """Tell Gymnasium about them; CLINC150 lies in `data`."""
    if GRID not in gymnasium.registry:
        gymnasium.register(GRID, entry_point=UnaidedGridWorld)
        gymnasium.register(LABELS, entry_point=partial(Labels, data))
        gymnasium.register(HOME, entry_point=SmartHome)


class UnaidedGridWorld(GridWorld):
    """The same without anybody who knows the way."""

    def __init__(self, **options: JSON) -> None:
        super().__init__(**options)
        self.name = self.skill = GRID

    def expert(self, task: Task) -> None:  # type: ignore[override]
        return None


class Labels(LanguageEnvironment):
    """One request of a bank's customer, one of fifteen intents in reply; only whether it was right is said."""

    reply_tokens = 12

    def __init__(self, data: Path) -> None:
        super().__init__(LABELS)
        self._rows: dict[str, list[tuple[str, str]]] = {
            split: [] for split in ("train", "development", "gate", "report")
        }
        for line in clinc_domain("banking", data):
            request, split = str(line["text"]), str(line["split"])
            held_out = ("gate", "report")[len(self._rows["gate"]) > len(self._rows["report"])]
            found = {"train": "train", "validation": "development"}.get(split, held_out)
            self._rows[found].append((request, str(line["intent"]).replace("_", " ")))
        self._intents = sorted({intent for _, intent in self._rows["train"]})
        self._right = ""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        rows = self._rows[(options or {}).get("split", "train")]
        request, self._right = random.Random(seed).choice(rows)
        asked = f"Say what the request is about: {', '.join(self._intents)}."
        return request, {"instructions": asked, "tools": (), "replies": "|".join(map(re.escape, self._intents))}

    def step(self, action: str) -> StepResult:
        right = action == self._right
        return "", float(right), True, False, {"success": right, "lenient": right}


class SmartHome(LanguageEnvironment):
    """One wish or two, three tools for them; a call that nobody wished for ends the run, half a run is half a reward.

    Of the three ways to say a wish one is kept for tasks of the gate and the report: other words for the same.
    """

    reply_tokens = 48

    def __init__(self) -> None:
        super().__init__(HOME)
        ways = {tool: [way for other, way in WISHES if other == tool] for tool, _ in WISHES}
        self._tools = tuple(_tool(name, choices) for name, choices in ways.items())
        self._wished: set[tuple[str, str, str]] = set()
        self._count = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        split = (options or {}).get("split", "train")
        chance = random.Random(f"{split} {seed}")
        wishes = [(*wish, chance.choice(ROOMS)) for wish in chance.sample(list(WISHES), 1 + (chance.random() < TWO))]
        said = [WISHES[tool, way][_words(split, chance)].format(room) for tool, way, room in wishes]
        self._wished, self._count = set(wishes), len(wishes)
        asked = "You run a smart home. Call one tool at a time."
        return " ".join(said), {"instructions": asked, "tools": self._tools}

    def step(self, action: str) -> StepResult:
        call = parse_call(action, [tool.name for tool in self._tools]).call
        made = (call.name, str(call.arguments.get("way")), str(call.arguments.get("room"))) if call else None
        if made not in self._wished:
            return "", 0.5 * (1 - len(self._wished) / self._count), True, False, {"success": False, "lenient": False}
        self._wished.remove(made)
        if self._wished:
            return "Done. What else was asked for?", 0.0, False, False, {}
        return "", 1.0, True, False, {"success": True, "lenient": True}


def _words(split: str, chance: random.Random) -> int:
    return 2 if split in ("gate", "report") else chance.randrange(2)


def _tool(name: str, ways: list[str]) -> ToolSpec:
    properties: JSON = {"room": {"type": "string", "enum": list(ROOMS)}, "way": {"type": "string", "enum": ways}}
    return ToolSpec(
        name, f"Change the {name} of a room.", {"type": "object", "properties": properties, "required": ["room", "way"]}
    )
