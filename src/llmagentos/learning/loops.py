"""Loops in a run: what led back to where it had begun, and can be left out.

In: a run that was won. Out: its actions without those that came back to an observation that had been seen before.
Chance walks in circles until it wins; its path without them is the loop-erased random walk (Lawler 1980, Duke
Mathematical Journal 47(3)). Where the same words do not mean the same place it may not win: who uses it plays it again.
It does not know who played, nor what is learned.
"""

from __future__ import annotations

from llmagentos.records.episode import Episode


def without_loops(episode: Episode) -> tuple[str, ...]:
    """The actions of a run of which no two were taken at the same observation: of each the last one."""
    path: list[str] = []
    places = {episode.observation: 0}
    for step in episode.steps:
        path.append(step.action)
        at = places.get(step.observation)
        if step is episode.steps[-1] or at is None:
            places[step.observation] = len(path)
            continue
        del path[at:]
        places = {seen: place for seen, place in places.items() if place <= at}
    return tuple(path)
