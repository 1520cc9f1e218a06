"""Examples do what they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmagentos.environments.registry import make
from llmagentos.programs.constraining import call_grammar
from llmagentos.programs.countable import said_under

EXAMPLES = Path(__file__).parent.parent / "examples"
ROOMS = ("bedroom", "kitchen", "living room", "bathroom", "office")


def test_a_smart_home_rewards_what_was_wished_for_and_is_held_out_in_other_words() -> None:
    env = make(f"{EXAMPLES}/smart_home.py:SmartHome-v0")
    home: Any = env.unwrapped
    words: dict[str, set[str]] = {}
    for split in ("train", "report"):
        for seed in range(60):
            said, info = env.reset(seed=seed, options={"split": split})
            assert len(said_under(call_grammar(info["tools"]))) == 30
            words.setdefault(split, set()).update(said.partition(room)[0] for room in ROOMS if room in said)
            wished = sorted(home.wished)
            results = [env.step(json.dumps({tool: {"room": room, "way": way}})) for tool, way, room in wished]
            assert [one[1] for one in results] == [0.0] * (len(wished) - 1) + [1.0]
            assert results[-1][2]
            assert results[-1][4]["success"]
    assert not words["train"] & words["report"]
    _, info = env.reset(seed=0, options={"split": "train"})
    assert env.step("Done!")[1:] == (0.0, True, False, {"success": False, "lenient": False})


@pytest.mark.parametrize(
    ("said", "reward"),
    [
        ("{} for you!", 1.0),
        ("{} for you!!", 2 / 3),
        ("something for you!", 2 / 3),
        ("{} for you and for all of your best friends today!", 2 / 3),
        ("Something for you and for all of your best friends!", 1 / 3),
        ("", 0.0),
    ],
)
def test_a_slogan_is_rewarded_for_each_wish_that_it_meets(said: str, reward: float) -> None:
    env = make(f"{EXAMPLES}/slogans.py:Slogans-v0")
    subjects: dict[str, set[str]] = {"train": set(), "report": set()}
    for split, seen in subjects.items():
        for seed in range(40):
            asked, _ = env.reset(seed=seed, options={"split": split})
            subject = asked.removeprefix("Write a slogan about ").split(" in at most ")[0]
            seen.add(subject)
            _, given, ended, _, info = env.step(said.format(subject.capitalize()))
            assert (given, ended, info["success"]) == (pytest.approx(reward), True, reward == 1)
    assert not subjects["train"] & subjects["report"]


@pytest.mark.parametrize("split", ["train", "report"])
def test_an_adventure_can_be_won_in_time_and_is_rewarded_at_its_end_alone(split: str) -> None:
    env = make(f"{EXAMPLES}/adventure.py:Adventure-v0")
    house: Any = env.unwrapped
    lengths = set()
    for seed in range(40):
        seen, info = env.reset(seed=seed, options={"split": split})
        key, chest = house.lying["key"], house.chest
        moves = [f"go {room}" for room in way(house.doors, "hall", key)] + ["take key"]
        moves += [f"go {room}" for room in way(house.doors, key, chest)] + ["open chest", f"take {house.treasure}"]
        moves += [f"go {room}" for room in way(house.doors, chest, "hall")] + [f"drop {house.treasure}"]
        assert house.treasure in info["instructions"]
        assert house.treasure not in seen
        for number, move in enumerate(moves, 1):
            assert move in info["replies"]
            seen, reward, ended, _, info = env.step(move)
            assert (reward, ended) == (float(number == len(moves)), number == len(moves))
        assert info["success"]
        assert len(moves) <= house.most_steps
        lengths.add(len(moves))
    assert lengths == {8, 10}
    env.reset(seed=0, options={"split": split})
    assert env.step("open chest")[1:] == (0.0, True, False, {"success": False, "lenient": False}), "there is none here"


def way(doors: dict[str, set[str]], start: str, end: str) -> list[str]:
    """The rooms between two of them, the latter included."""
    paths = [[start]]
    while paths[0][-1] != end:
        path = paths.pop(0)
        paths += [[*path, room] for room in sorted(doors[path[-1]]) if room not in path]
    return paths[0][1:]
