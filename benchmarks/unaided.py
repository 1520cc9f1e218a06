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
from llmagentos.records.task import Task

GRID, LABELS = "UnaidedGridWorld-v0", "Labels-v0"


def register(data: Path) -> None:
    """Tell Gymnasium about them; CLINC150 lies in `data`."""
    if GRID not in gymnasium.registry:
        gymnasium.register(GRID, entry_point=UnaidedGridWorld)
        gymnasium.register(LABELS, entry_point=partial(Labels, data))


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
