"""The expert arrives by the shortest way, walls and doors hold, and no layout is in two splits."""

from __future__ import annotations

from typing import Any

import pytest

from llmagentos.environments.grid_world import MOVES, PATIENCE, GridWorld, moved, read_move, split_of
from llmagentos.environments.registry import make
from llmagentos.errors import ConfigError, EnvironmentFault
from llmagentos.records.task import SPLITS, Task, reset_options


def begun(env: Any, task: Task) -> str:
    return str(env.reset(seed=task.seed, options=reset_options(task))[0])


@pytest.mark.parametrize("options", [{}, {"level": 1}, {"size": 4}, {"size": 12}])
@pytest.mark.parametrize("split", SPLITS)
def test_expert_arrives_strictly(options: dict[str, Any], split: Any) -> None:
    env = GridWorld(**options)
    for task in env.tasks(split, 15):
        seen, expert, steps = begun(env, task), env.expert(task), 0
        done, info = False, {}
        while not done:
            seen, reward, done, truncated, info = env.step(expert(seen))
            assert not truncated
            steps += 1
        assert (reward, info) == (1.0, {"success": True, "lenient": True})
        layout = env.layout(task)
        distance = abs(layout.start[0] - layout.goal[0]) + abs(layout.start[1] - layout.goal[1])
        assert steps >= distance
        assert layout.key is None or steps > 2


def test_layouts_of_splits_are_disjoint() -> None:
    env = GridWorld(size=4)
    drawn = {split: {env.layout(task) for task in env.tasks(split, 200)} for split in SPLITS}
    for one in SPLITS:
        assert len(drawn[one]) > 20
        assert all(split_of(layout) == one for layout in drawn[one])
        assert not any(drawn[one] & drawn[other] for other in SPLITS if other != one)


def test_the_door_is_locked_without_the_key() -> None:
    env = GridWorld()
    for task in env.tasks("train", 40):
        begun(env, task)
        layout = env.layout(task)
        assert layout.door is not None
        for place in [(row, layout.door[1]) for row in range(1, layout.size + 1)]:
            assert not layout.free(place, has_key=False)
            assert layout.free(place, has_key=True) == (place == layout.door)
        way = layout.way(layout.start, has_key=False)
        places, here = [layout.start], layout.start
        for word in way:
            here = moved(here, word)
            places.append(here)
        assert places.index(layout.key) < places.index(layout.door) < places.index(layout.goal)  # type: ignore[arg-type]


def test_walls_hold_and_patience_ends() -> None:
    env = GridWorld(level=1)
    task = next(task for task in env.tasks("train", 50) if env.layout(task).goal[0] > 1)
    layout = env.layout(task)
    begun(env, task)
    allowed = PATIENCE * len(layout.way(layout.start, has_key=False))
    ends = [env.step("up") for _ in range(allowed)]
    assert any("wall" in seen for seen, *_ in ends[:-1]) or allowed <= layout.start[0]
    _, reward, done, truncated, info = ends[-1]
    assert (reward, done, truncated, info) == (0.0, False, True, {"success": False, "lenient": False})
    with pytest.raises(EnvironmentFault, match="reset"):
        env.step("up")


def test_wordy_moves_arrive_leniently_only() -> None:
    env = GridWorld()
    (task,) = env.tasks("train", 1)
    seen, expert = begun(env, task), env.expert(task)
    done, info = False, {}
    while not done:
        seen, reward, done, _, info = env.step(f"I go {expert(seen)}!")
    assert (reward, info) == (0.0, {"success": False, "lenient": True})


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("up", ("up", True)),
        (" left\n", ("left", True)),
        ("Up.", ("up", False)),
        ("dance", ("", False)),
        ("", ("", False)),
    ],
)
def test_moves_are_read(said: str, meant: tuple[str, bool]) -> None:
    assert read_move(said) == meant
    assert set(MOVES) == {"up", "down", "left", "right"}


@pytest.mark.parametrize("query", ["size=3", "size=13", "size=big", "level=3", "level=true", "colour=red"])
def test_options_that_make_no_sense_are_refused(query: str) -> None:
    with pytest.raises(ConfigError):
        make(f"GridWorld-v0?{query}")
