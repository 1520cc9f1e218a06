"""The same tasks are played by all, and a second look is at others."""

from __future__ import annotations

from llmagentos.evaluation.matches import Match
from llmagentos.kernel.rollouts import Policy, Series
from llmagentos.records.episode import Episode
from llmagentos.records.task import Task
from llmagentos.records.transcript import Transcript


def tasks(*seeds: int) -> list[Task]:
    return [Task("M-v0", seed, "gate") for seed in seeds]


def match(best: tuple[str, float] | None) -> Match:
    players = ("candidate", "r1", "r3")
    return Match("M", {name: Series(tasks(1, 2, 3), Policy(name)) for name in players}, best)


def played(**successes: list[bool]) -> dict[str, list[Episode]]:
    return {
        name: [
            Episode(id=f"{name}{n}", task=one, transcript=Transcript("m"), success=success)
            for n, (one, success) in enumerate(zip(tasks(1, 2, 3, 4), each, strict=False))
        ]
        for name, each in successes.items()
    }


def test_kept_skill_is_compared_with_the_best_release_or_the_live_one() -> None:
    runs = played(candidate=[True, True, False], r1=[True, False, False], r3=[True, True, True])
    for best, reference, scores in ((("r3", 0.9), "r3", (1.0, 1.0, 1.0)), (None, "r1", (1.0, 0.0, 0.0))):
        kept = match(best).kept(runs, "candidate", "r1")
        assert (kept.scores.reference_release, kept.scores.reference) == (reference, scores)
        assert kept.scores.candidate == (1.0, 1.0, 0.0)
        assert kept.best_score == (best and best[1])
        assert kept.first_look == 3


def test_second_look_counts_with_the_first() -> None:
    runs = played(candidate=[True, True, False, True], r1=[True, False, False, True])
    kept = match(None).kept(runs, "candidate", "r1")
    assert (len(kept.scores.keys), kept.first_look) == (4, 3)


def test_second_look_is_at_tasks_that_nobody_played() -> None:
    again = match(None).again(tasks(3, 4, 1, 5))
    assert again is not None
    assert [task.seed for task in again.tasks] == [4, 5]
    assert {name: series.policy.release for name, series in again.series.items()} == {
        name: name for name in ("candidate", "r1", "r3")
    }
    assert match(None).again(tasks(2, 1)) is None
