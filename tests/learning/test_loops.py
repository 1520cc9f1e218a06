"""What led back to where it had begun is left out, and what is left leads to the same end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmagentos.learning.loops import without_loops
from llmagentos.records.episode import Episode, Step
from llmagentos.records.task import Task
from llmagentos.records.transcript import Transcript


def walk(start: int, moves: list[int], places: int = 5) -> Episode:
    """Around a circle of places."""
    steps, at = [], start
    for move in moves:
        at = (at + move) % places
        steps.append(Step(str(move), f"place {at}"))
    return Episode("e", Task("Circle-v0", 0), Transcript("tiny"), f"place {start}", tuple(steps))


@given(st.integers(0, 4), st.lists(st.sampled_from([-1, 1, 2]), max_size=30))
def test_a_path_without_loops_comes_to_the_same_end_and_nowhere_twice(start: int, moves: list[int]) -> None:
    run = walk(start, moves)
    path = [int(action) for action in without_loops(run)]
    again = walk(start, path)
    seen = [again.observation, *(step.observation for step in again.steps)]
    assert len(path) <= len(moves)
    if moves:
        assert seen[-1] == run.steps[-1].observation
    assert len(set(seen[:-1])) == len(seen[:-1])


def test_the_last_action_stays_wherever_it_leads() -> None:
    assert without_loops(walk(0, [1, -1, 1, 1])) == ("1", "1")
    assert without_loops(walk(0, [1, -1])) == ("1", "-1"), "what was seen last ended the run"
    assert without_loops(walk(0, [])) == ()
