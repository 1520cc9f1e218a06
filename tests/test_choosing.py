"""What learning begins with: a learner for what there is, or what is missing, before anything is learned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from saying import Saying, registered
from small_cycle import ASKED, DOOR, SMALL, WALL

from llmagentos.agentos import AgentOS
from llmagentos.choosing import Choosing
from llmagentos.cycle import Cycle
from llmagentos.environments.language import LanguageEnvironment
from llmagentos.errors import ConfigError, LearningError
from llmagentos.learning.lessons import Lessons
from llmagentos.learning.strategy import CHANCES, QUICKLY
from llmagentos.records.episode import Episode
from llmagentos.records.task import Reward


@pytest.fixture(scope="module", autouse=True)
def environments() -> Iterator[None]:
    with registered(ASKED, unknown=WALL):
        yield


@pytest.fixture
def cycle(system: AgentOS) -> Cycle:
    return Cycle(system.cycle.parts, SMALL)


def test_learner_is_chosen_by_what_there_is(system: AgentOS, cycle: Cycle) -> None:
    assert cycle.choosing.choose(system.make_environment(DOOR)).learner == "imitation"
    with pytest.raises(LearningError, match=r"None of 96 own runs.*expert"):
        cycle.choosing.choose(system.make_environment(WALL))
    with pytest.raises(ConfigError, match="magic"):
        cycle.choosing.choose(system.make_environment(DOOR), "magic")


def test_chance_is_asked_where_no_run_succeeds_and_replies_can_be_counted(
    system: AgentOS, cycle: Cycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    reset, wall = Saying.reset, system.make_environment(WALL)
    said = ["out", "in", ASKED[WALL][1]]
    monkeypatch.setattr(Saying, "reset", lambda self, **given: (reset(self, **given)[0], {"replies": said}))
    nothing = [[replace(run, success=False, rewards=()) for run in group] for group in cycle.choosing.probe(wall)]
    assert cycle.choosing.by_chance(wall, [[replace(nothing[0][0], success=True)]]) == []
    explored = cycle.choosing.by_chance(wall, nothing)
    assert 0.15 < sum(run.success for group in explored for run in group) / 96 < 0.5
    origins = {segment.origin for group in explored for run in group for segment in run.transcript.segments}
    assert "sampled" not in origins, "one of three replies, which no model has to say"


def test_chance_goes_on_from_where_it_came_where_it_wins_nothing(
    system: AgentOS, cycle: Cycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = "GridWorld-v0?level=1&size=4"
    world = system.make_environment(door)
    nothing = [[replace(run, success=False, rewards=()) for run in group] for group in cycle.choosing.probe(world)]
    monkeypatch.setattr(Choosing, "probe", lambda self, env, **options: nothing)
    explored = cycle.choosing.by_chance(world, nothing)
    assert len(explored) > len(QUICKLY) * len(nothing)
    best, least = explored[-1]
    assert best.reward > least.reward


@pytest.mark.parametrize(
    ("wins_at", "seconds", "rounds"), [(3, None, 3), (99, None, len(QUICKLY) + len(CHANCES)), (3, 0.0, 1)]
)
def test_chance_is_asked_until_some_runs_are_rewarded_more(
    system: AgentOS, cycle: Cycle, monkeypatch: pytest.MonkeyPatch, wins_at: int, seconds: float | None, rounds: int
) -> None:
    reset, wall, drawn = Saying.reset, system.make_environment(WALL), []
    monkeypatch.setattr(Saying, "reset", lambda self, **given: (reset(self, **given)[0], {"replies": ["out", "in"]}))
    lost = cycle.choosing.probe(wall)[0][0]

    def probe(self: Choosing, env: LanguageEnvironment, *, seed: int, **options: Any) -> list[list[Episode]]:
        drawn.append(seed)
        return [[lost, replace(lost, rewards=(Reward(1.0),)) if len(drawn) == wins_at else lost]]

    monkeypatch.setattr(Choosing, "probe", probe)
    assert len(cycle.choosing.by_chance(wall, [[lost, lost]], seed=5, seconds=seconds)) == rounds
    assert drawn == list(range(5, 5 + rounds))


def test_known_answers_are_imitated_and_replayed(
    system: AgentOS, cycle: Cycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Saying, "answers", True)
    wall = system.make_environment(WALL)
    assert cycle.choosing.choose(wall).learner == "imitation"
    for env, kept in ((wall, []), (system.make_environment(DOOR), [wall])):
        source = Lessons(cycle._services(system.releases.live()), env, 0, kept)
        said = [*source.demonstrations(4, 0), *source.kept(4, 0)]
        assert len(said) == 4 + 4 * len(kept)
        assert {system.engine.renderer.decode(one.segments[-1].tokens).strip() for one in said} >= {ASKED[WALL][1]}


def test_runs_that_tell_the_learner_end_with_the_time_for_looking(
    system: AgentOS, cycle: Cycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe, given = cycle.choosing.probe, []

    def late(env: LanguageEnvironment, *, seconds: float, **options: Any) -> list[list[Episode]]:
        given.append(seconds)
        runs = probe(env, seconds=None, **options)
        return [[replace(run, outcome="truncated", seconds=seconds) for run in group] for group in runs]

    monkeypatch.setattr(Choosing, "probe", lambda self, env, **options: late(env, **options))
    with pytest.raises(LearningError, match=r"96 of 96 runs were not over after the 36.*--learner policy-gradient"):
        cycle.learn(WALL, minutes=3)
    with pytest.raises(LearningError, match="after the 20 seconds"):
        cycle.learn(WALL, minutes=0.1)
    assert given == pytest.approx([36, 20])


@pytest.mark.parametrize(("learner", "runs"), [("auto", 128), ("dagger", 0), ("policy-gradient", 0)])
def test_world_that_raises_in_mid_episode_is_told_and_every_run_is_kept(
    system: AgentOS, cycle: Cycle, monkeypatch: pytest.MonkeyPatch, learner: str, runs: int
) -> None:
    monkeypatch.setattr(Saying, "fault", "the lock is frozen")
    name = DOOR if learner != "policy-gradient" else WALL
    with pytest.raises(LearningError, match="the lock is frozen"):
        cycle.learn(name, minutes=0.05, learner=learner)
    kept = system.episodes.select(environment=name, limit=10_000)
    assert len(kept) >= max(runs, 16)
    assert {run.outcome for run in kept} == {"failed"}
    assert system.releases.candidates() == []


def test_expert_that_is_rewarded_where_nothing_says_success_is_told_what_is_missing(
    system: AgentOS, cycle: Cycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Saying.step
    monkeypatch.setattr(Saying, "step", lambda self, action: (*step(self, action)[:4], {}))
    with pytest.raises(LearningError, match=r"no success\. It was rewarded with 1: say info\['success'\]"):
        cycle.learn(DOOR, minutes=5)


def test_too_few_tasks_for_a_verdict_are_told_before_anything_is_learned(
    system: AgentOS, cycle: Cycle, tmp_path: Path
) -> None:
    path = tmp_path / "few.csv"
    splits = ["gate"] * 5 + ["report"] * 5 + ["development"] * 5 + ["train"] * 40
    path.write_text("text,label,split\n" + "".join(f"Request {n},refund,{s}\n" for n, s in enumerate(splits)))
    with pytest.raises(LearningError, match=r"has 5 tasks in the split gate, learning needs 6.*28 are enough"):
        cycle.learn(f"Requests-v0?data={path}", minutes=5)
    assert system.episodes.select(limit=10) == []


@pytest.mark.parametrize("split", ["train", "development", "gate"])
def test_split_without_tasks_is_told_before_anything_is_played(
    system: AgentOS, cycle: Cycle, monkeypatch: pytest.MonkeyPatch, split: str
) -> None:
    monkeypatch.setattr(Saying, "without", split)
    with pytest.raises(LearningError, match=f"no tasks in the split {split}"):
        cycle.learn(DOOR, minutes=5)
    assert system.episodes.select(environment=DOOR) == []
