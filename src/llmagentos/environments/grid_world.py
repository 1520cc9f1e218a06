"""GridWorld-v0: two rooms in words; the key lies in one, the door between them is locked, the goal lies in the other.

In: one word a step: up, down, left or right. Out: where everything is, and reward 1 at the goal.
A layout belongs to one split for good, by its digest. It does not know who walks.
"""

from __future__ import annotations

import random
import re
from collections import deque
from dataclasses import dataclass
from typing import Any, TypeAlias

from llmagentos.environments.language import (
    LanguageEnvironment,
    Policy,
    StepResult,
    check_action,
    check_options,
    check_split,
    deal,
)
from llmagentos.errors import ConfigError, EnvironmentFault
from llmagentos.records.identity import JSON
from llmagentos.records.task import Split, Task

NAME = "GridWorld-v0"
INSTRUCTIONS = (
    "Walk to the goal, one word at a time: up, down, left or right. The door opens when you have the key. "
    "Row 1 is at the top, column 1 at the left."
)
CARRIED = "You have the key."
SIZES = (4, 12)
LEVELS = (1, 2)
PATIENCE = 3
"""Steps allowed, in lengths of the shortest way."""
SHARES: tuple[tuple[Split, int], ...] = (("train", 60), ("development", 10), ("gate", 15), ("report", 15))

Place: TypeAlias = tuple[int, int]
"""Row and column, counted from 1."""

_YOU = re.compile(r"^You: row (\d+), column (\d+)$", re.MULTILINE)
MOVES: dict[str, Place] = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are; without a wall there is neither key nor door."""

    size: int
    start: Place
    goal: Place
    key: Place | None = None
    door: Place | None = None
    """A place in the wall, which fills the rest of its column."""

    def free(self, place: Place, has_key: bool) -> bool:
        """Whether one can stand there."""
        inside = 1 <= place[0] <= self.size and 1 <= place[1] <= self.size
        in_wall = self.door is not None and place[1] == self.door[1]
        return inside and (not in_wall or (place == self.door and has_key))

    def way(self, start: Place, has_key: bool) -> list[str]:
        """The shortest way to the goal, always the same one; empty where there is none."""
        first = (start, has_key or start == self.key)
        came: dict[tuple[Place, bool], tuple[tuple[Place, bool], str] | None] = {first: None}
        waiting = deque([first])
        while waiting:
            here = waiting.popleft()
            if here[0] == self.goal:
                return _steps_back(came, here)
            for word in MOVES:
                place = moved(here[0], word)
                there = (place, here[1] or place == self.key)
                if self.free(place, here[1]) and there not in came:
                    came[there] = (here, word)
                    waiting.append(there)
        return []


def moved(place: Place, word: str) -> Place:
    """One step from `place`."""
    return (place[0] + MOVES[word][0], place[1] + MOVES[word][1])


def _steps_back(came: dict[Any, Any], here: tuple[Place, bool]) -> list[str]:
    words: list[str] = []
    while came[here] is not None:
        here, word = came[here]
        words.append(word)
    return words[::-1]


class GridWorld(LanguageEnvironment):
    """A square of `size` (4 to 12, 6 when left out); `level` 1 has a goal alone, 2 (the default) key, door and goal."""

    reply_tokens = 8
    expert_recovers = True

    def __init__(self, **options: JSON) -> None:
        super().__init__(NAME)
        self._options = options
        _read_options(options)
        self._layout: Layout | None = None
        self._place: Place = (1, 1)
        self._has_key = self._well_formed = True
        self._left = 0

    @property
    def task_options(self) -> dict[str, JSON]:
        return dict(self._options)

    def layout(self, task: Task) -> Layout:
        """Where things are in `task`."""
        return make_layout(task.split, task.seed, *_read_options({**self._options, **task.options}))

    def expert(self, task: Task) -> Policy:
        """Walks the shortest way from wherever it is."""
        layout = self.layout(task)

        def walk(observation: str) -> str:
            row, column = map(int, _YOU.findall(observation)[-1])
            return layout.way((row, column), has_key=CARRIED in observation)[0]

        return walk

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        chosen = {**self._options, **(options or {})}
        split = check_split(chosen.pop("split", "train"))
        number = seed if seed is not None else int(self.np_random.integers(2**31))
        self._layout = layout = make_layout(split, number, *_read_options(chosen))
        self._place, self._has_key, self._well_formed = layout.start, layout.start == layout.key, True
        self._left = PATIENCE * len(layout.way(layout.start, has_key=False))
        return self._seen(""), {"instructions": INSTRUCTIONS, "tools": (), "replies": list(MOVES)}

    def step(self, action: str) -> StepResult:
        text = check_action(self.name, action, self._layout is not None)
        assert self._layout is not None
        word, exact = read_move(text)
        self._well_formed &= exact
        self._left -= 1
        said = self._walk(word) if word else "Say up, down, left or right."
        arrived = self._place == self._layout.goal
        if not arrived and self._left > 0:
            return self._seen(said), 0.0, False, False, {}
        self._layout = None
        info = {"success": arrived and self._well_formed, "lenient": arrived}
        return "", float(arrived and self._well_formed), arrived, not arrived, info

    def _walk(self, word: str) -> str:
        layout = self._layout
        assert layout is not None
        place = moved(self._place, word)
        if not layout.free(place, self._has_key):
            return "The door is locked." if place == layout.door else "There is a wall."
        self._place = place
        if place == layout.key and not self._has_key:
            self._has_key = True
            return "You take the key."
        return ""

    def _seen(self, said: str) -> str:
        layout = self._layout
        assert layout is not None
        things = [("You", self._place), ("Goal", layout.goal)]
        if layout.key is not None and layout.door is not None:
            things.insert(1, ("Door", layout.door))
            if not self._has_key:
                things.insert(1, ("Key", layout.key))
        lines = [f"{name}: row {row}, column {column}" for name, (row, column) in things]
        carried = [CARRIED] if layout.key is not None and self._has_key else []
        return "\n".join([*([said] if said else []), *lines, *carried])


def read_move(text: str) -> tuple[str, bool]:
    """The move that a reply says, empty for none, and whether it is nothing but that word."""
    bare = text.strip()
    if bare in MOVES:
        return bare, True
    words = [word for word in (part.strip(".,:;!\"'*").lower() for part in bare[-500:].split()) if word in MOVES]
    return (words[-1] if words else ""), False


def make_layout(split: Split, seed: int, size: int, level: int) -> Layout:
    """The layout of a task: the first of its seed's draws that belongs to its split."""
    chance = random.Random(f"{NAME}/{split}/{seed}/{size}/{level}")
    for _ in range(10_000):
        layout = _draw(chance, size, level)
        if split_of(layout) == split:
            return layout
    raise EnvironmentFault(f"{NAME} found no layout for the split {split}.")


def _draw(chance: random.Random, size: int, level: int) -> Layout:
    if level == 1:
        places = [(row, column) for row in range(1, size + 1) for column in range(1, size + 1)]
        start, goal = chance.sample(places, 2)
        return Layout(size, start, goal)
    wall = chance.randint(2, size - 1)
    left = [(row, column) for row in range(1, size + 1) for column in range(1, wall)]
    right = [(row, column) for row in range(1, size + 1) for column in range(wall + 1, size + 1)]
    here, there = (left, right) if chance.random() < 0.5 else (right, left)
    start, key = chance.sample(here, 2)
    return Layout(size, start, chance.choice(there), key, (chance.randint(1, size), wall))


def split_of(layout: Layout) -> Split:
    """The split that a layout belongs to."""
    return deal(repr(layout), SHARES)


def _read_options(options: dict[str, JSON]) -> tuple[int, int]:
    check_options(NAME, options, ("size", "level"))
    size, level = options.get("size", 6), options.get("level", 2)
    if not isinstance(size, int) or isinstance(size, bool) or not SIZES[0] <= size <= SIZES[1]:
        raise ConfigError(f"{NAME}: size={size!r}. Choose {SIZES[0]} to {SIZES[1]}.")
    if level not in LEVELS or isinstance(level, bool):
        raise ConfigError(f"{NAME}: level={level!r}. Choose one of: {', '.join(map(str, LEVELS))}.")
    return size, int(level)
