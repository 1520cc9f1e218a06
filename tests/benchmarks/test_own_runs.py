"""Nobody shows the way in the environment without an expert; seeds come together."""

from __future__ import annotations

import json

import own_runs
import unaided
from measuring import JSON

from llmagentos.learning.worked import has_answers, has_expert
from llmagentos.programs.constraining import call_grammar
from llmagentos.programs.countable import said_under
from llmagentos.records.task import reset_options


def test_nobody_shows_the_way_and_the_words_are_told() -> None:
    env = unaided.UnaidedGridWorld(level=1, size=4)
    assert not has_expert(env)
    assert not has_answers(env)
    (task,) = env.tasks("train", 1)
    assert (task.environment, task.skill) == (unaided.GRID, unaided.GRID)
    _, info = env.reset(seed=task.seed, options=reset_options(task))
    assert info["replies"] == ["up", "down", "left", "right"]


def test_a_smart_home_rewards_what_was_wished_for_and_is_held_out_in_other_words() -> None:
    env = unaided.SmartHome()
    words: dict[str, set[str]] = {}
    for split in ("train", "report"):
        for seed in range(60):
            said, info = env.reset(seed=seed, options={"split": split})
            assert len(said_under(call_grammar(info["tools"]))) == 30
            words.setdefault(split, set()).update(said.partition(room)[0] for room in unaided.ROOMS if room in said)
            wished = sorted(env._wished)
            results = [env.step(json.dumps({tool: {"room": room, "way": way}})) for tool, way, room in wished]
            assert [one[1] for one in results] == [0.0] * (len(wished) - 1) + [1.0]
            assert results[-1][2]
            assert results[-1][4]["success"]
    assert not words["train"] & words["report"]
    _, info = env.reset(seed=0, options={"split": "train"})
    assert env.step("Done!")[1:] == (0.0, True, False, {"success": False, "lenient": False})


def test_seeds_are_concluded_together() -> None:
    def unit(after: float, released: bool) -> JSON:
        return {"before": 0.1, "after": after, "released": released, "minutes": 6.0}

    concluded = own_runs.show({"Blackjack": [unit(0.4, True), unit(0.2, False), unit(0.3, True)]})
    assert concluded["Blackjack"]["after"] == {"median": 0.3, "lowest": 0.2, "highest": 0.4}
    assert (concluded["Blackjack"]["released"], concluded["Blackjack"]["seeds"]) == (2, 3)
