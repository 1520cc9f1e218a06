"""A text adventure, rewarded at its end alone: llmagentos learn --env ./examples/adventure.py:Adventure-v0 --minutes 10

In: where one is, what lies there and which ways lead on. Out: one of the moves that there are. Eight or ten right ones
find the key, open the chest and bring what lay in it to the hall; nothing before the last of them is rewarded, and
nobody shows how. Chance, which needs no model, finds the first ways; the shortest of them are learned. Every house is
one of ten thousand, so that hardly any held-out one was seen.
"""

from __future__ import annotations

import random
from typing import Any

import gymnasium

from llmagentos.environments.language import LanguageEnvironment

ROOMS = ("kitchen", "cellar", "library", "garden", "attic")
TREASURES = ("crown", "ring", "map", "sword", "pearl")
LOST = {"success": False, "lenient": False}


class Adventure(LanguageEnvironment):
    """A hall and three other rooms; the key lies in one of them, the chest stands in another."""

    reply_tokens, most_steps = 8, 20

    def __init__(self) -> None:
        super().__init__("Adventure-v0")
        self.doors: dict[str, set[str]] = {}
        self.lying: dict[str, str] = {}
        self.carried: set[str] = set()
        self.here, self.chest, self.treasure, self.opened = "hall", "", "", False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        chance = random.Random(f"{(options or {}).get('split', 'train')} {seed}")
        rooms = ["hall", *chance.sample(ROOMS, 3)]
        self.doors = {room: set() for room in rooms}
        for number, room in enumerate(rooms[1:], 1):
            other = chance.choice(rooms[:number])
            self.doors[room].add(other)
            self.doors[other].add(room)
        key, self.chest = chance.sample(rooms[1:], 2)
        self.here, self.treasure, self.opened = "hall", chance.choice(TREASURES), False
        self.lying, self.carried = {"key": key}, set()
        goal = f"Find the key, open the chest, and drop the {self.treasure} in the hall."
        return self.seen(), {"instructions": f"You play a text adventure. {goal}", "replies": self.moves()}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if action not in self.moves():
            return "", 0.0, True, False, LOST
        verb, thing = action.split(" ", 1)
        said = ""
        if verb == "go":
            self.here = thing
        elif verb == "take":
            del self.lying[thing]
            self.carried.add(thing)
        elif verb == "drop":
            self.carried.remove(thing)
            self.lying[thing] = self.here
        elif "key" in self.carried:
            self.opened, self.lying[self.treasure] = True, self.here
        else:
            said = "It is locked. "
        if self.lying.get(self.treasure) == "hall":
            return "You win.", 1.0, True, False, {"success": True, "lenient": True}
        return said + self.seen(), 0.0, False, False, {"replies": self.moves()}

    def moves(self) -> list[str]:
        """All that can be done here."""
        moves = [f"go {room}" for room in sorted(self.doors[self.here])]
        moves += [f"take {thing}" for thing, room in self.lying.items() if room == self.here]
        moves += [f"drop {thing}" for thing in sorted(self.carried)]
        return moves + ["open chest"] * (self.here == self.chest and not self.opened)

    def seen(self) -> str:
        """What the agent reads."""
        here = [thing for thing, room in self.lying.items() if room == self.here]
        if self.here == self.chest:
            here.append("an open chest" if self.opened else "a closed chest")
        said = f"You are in the {self.here}. Doors: {', '.join(sorted(self.doors[self.here]))}."
        said += f" Here: {', '.join(here)}." if here else ""
        return said + (f" You carry: {', '.join(sorted(self.carried))}." if self.carried else "")


gymnasium.register("Adventure-v0", entry_point=Adventure)
