"""Skills of one reply, and a cycle that judges them by a handful of tasks."""

from __future__ import annotations

from llmagentos.cycle import CycleSettings
from llmagentos.evaluation.gate import GateRules

DOOR, LIGHT, WALL = "CycleDoor-v0", "CycleLight-v0", "CycleWall-v0"
ASKED = {DOOR: ("the door of house", "open"), LIGHT: ("a lamp, please, number", "on"), WALL: ("wall", "tear it down")}
RULES = GateRules(minimum_tasks=6, divergence_budget=None, resamples=400)
SMALL = CycleSettings(gate_tasks=8, development_tasks=4, rules=RULES)
