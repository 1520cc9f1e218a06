"""Nobody shows the way in the environment without an expert; seeds come together."""

from __future__ import annotations

import own_runs
import unaided
from measuring import JSON

from llmagentos.learning.worked import has_answers, has_expert
from llmagentos.records.task import reset_options


def test_nobody_shows_the_way_and_the_words_are_told() -> None:
    env = unaided.UnaidedGridWorld(level=1, size=4)
    assert not has_expert(env)
    assert not has_answers(env)
    (task,) = env.tasks("train", 1)
    assert (task.environment, task.skill) == (unaided.GRID, unaided.GRID)
    _, info = env.reset(seed=task.seed, options=reset_options(task))
    assert info["replies"] == ["up", "down", "left", "right"]


def test_seeds_are_concluded_together() -> None:
    def unit(after: float, released: bool) -> JSON:
        return {"before": 0.1, "after": after, "released": released, "minutes": 6.0}

    concluded = own_runs.show({"Blackjack": [unit(0.4, True), unit(0.2, False), unit(0.3, True)]})
    assert concluded["Blackjack"]["after"] == {"median": 0.3, "lowest": 0.2, "highest": 0.4}
    assert (concluded["Blackjack"]["released"], concluded["Blackjack"]["seeds"]) == (2, 3)
