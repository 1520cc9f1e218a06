"""Runs that were played with worked examples are learned as if these had not been there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmagentos.agentos import AgentOS
from llmagentos.environments.drills import Drills
from llmagentos.environments.grid_world import GridWorld
from llmagentos.environments.support_desk import SupportDesk
from llmagentos.errors import LearningError
from llmagentos.kernel.rollouts import Policy, Rollouts
from llmagentos.learning.context import Corrected, Practice
from llmagentos.learning.lessons import Lessons
from llmagentos.learning.returning import BEYOND
from llmagentos.learning.scouting import RETRACED
from llmagentos.learning.strategy import ALONE
from llmagentos.learning.worked import corrected_runs, expert_runs, openings, without_examples, worked_examples
from llmagentos.models.adapters import new_adapter
from llmagentos.models.rendering import Renderer
from llmagentos.records.calls import Exploration
from llmagentos.records.episode import Episode
from llmagentos.records.generation import Sampling
from llmagentos.records.transcript import Transcript, opened


def test_answers_are_worked_examples_of_exercises(rollouts: Rollouts) -> None:
    env = Drills(kind="lookup")
    tasks = env.tasks("train", 3)
    for (question, answer), task in zip(worked_examples(env, rollouts, tasks), tasks, strict=True):
        assert env.reset(seed=task.seed, options={"split": "train"})[0] == question
        assert env.step(answer)[1] == 1.0


def test_openings_are_what_a_run_is_given_first_and_leave_out_what_cannot_begin(
    rollouts: Rollouts, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env, renderer = SupportDesk(), Renderer(tiny_model)
    tasks = env.tasks("train", 4)
    for task, opening, brief in zip(
        tasks, openings(env, tasks, renderer), openings(env, tasks, renderer, "the desk"), strict=True
    ):
        for said, told in ((opening, ""), (brief, "the desk")):
            (run,) = expert_runs(env, rollouts, [task], told)
            assert run.transcript.tokens[: opened(run.transcript.segments)] == said

    reset = env.reset

    def sometimes(*, seed: int | None = None, options: Any = None) -> Any:
        if seed in broken:
            raise OSError("no shop today")
        return reset(seed=seed, options=options)

    monkeypatch.setattr(env, "reset", sometimes)
    broken = {tasks[1].seed}
    assert len(openings(env, tasks, renderer)) == 3
    broken = {task.seed for task in tasks}
    with pytest.raises(LearningError, match=r"None of 4 tasks.*raised OSError when it was reset: no shop today\. Mend"):
        openings(env, tasks, renderer)
    assert openings(env, [], renderer) == []


@pytest.mark.parametrize("inside", [False, True])
def test_tools_may_be_told_in_json_and_as_chat_apis_have_them(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, inside: bool
) -> None:
    env, renderer = SupportDesk(), Renderer(tiny_model)
    tasks, reset = env.tasks("train", 2), env.reset
    specified = openings(env, tasks, renderer)

    def plainly(*, seed: int | None = None, options: Any = None) -> Any:
        text, info = reset(seed=seed, options=options)
        tools = [msgspec.to_builtins(tool) for tool in info["tools"]]
        return text, {**info, "tools": [{"type": "function", "function": one} for one in tools] if inside else tools}

    monkeypatch.setattr(env, "reset", plainly)
    assert openings(env, tasks, renderer) == specified


def walked(env: GridWorld, rollouts: Rollouts, moves: list[str], renderer: Renderer) -> tuple[Episode, list[Corrected]]:
    """A run that says `moves`, and how the expert corrects it."""
    (task,) = env.tasks("train", 1, seed=3)
    words = iter(moves)
    (episode,) = rollouts.demonstrate([task], lambda task: lambda seen: next(words))
    spoken = [
        replace(segment, origin="sampled") if segment.origin == "demonstration" else segment
        for segment in episode.transcript.segments
    ]
    episode = replace(episode, transcript=Transcript(episode.transcript.model, tuple(spoken)))
    return episode, corrected_runs(env, episode, renderer)


@pytest.mark.parametrize("recovers", [True, False])
def test_expert_corrects_at_every_place_or_up_to_the_first_mistake(
    rollouts: Rollouts, tiny_model: Path, recovers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GridWorld, "expert_recovers", recovers)
    env, renderer = GridWorld(), Renderer(tiny_model)
    (task,) = env.tasks("train", 1, seed=3)
    right = env.layout(task).way(env.layout(task).start, has_key=False)
    back = {"up": "down", "down": "up", "left": "right", "right": "left"}
    moves = [right[0], back[right[0]], *right]  # one step, back again, and the whole way
    episode, corrected = walked(env, rollouts, moves, renderer)
    assert episode.success
    departures = [one for one in corrected if one.departed]
    assert len(departures) == 1
    (whole,) = [one for one in corrected if not one.departed]
    (correction,) = departures
    assert correction.transcript.segments[-1] == renderer.force(right[1])
    assert sum(correction.transcript.trainable) == len(renderer.force(right[1]).tokens)
    shown = sum(segment.origin == "demonstration" for segment in whole.transcript.segments)
    assert shown == (1 + len(right) if recovers else 1)
    assert not any(segment.origin == "sampled" for one in corrected for segment in one.transcript.segments)
    wrong = renderer.force(back[right[0]]).tokens
    assert any(segment.origin == "history" and segment.tokens == wrong for segment in whole.transcript.segments)


def test_the_expert_works_examples_of_conversations(rollouts: Rollouts) -> None:
    desk = SupportDesk()
    (example,) = worked_examples(desk, rollouts, desk.tasks("train", 1))
    assert len(example) % 2 == 0
    assert len(example) >= 4


def test_nobody_who_knows_gives_no_examples(rollouts: Rollouts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Drills, "right_answer", lambda self, task: None)
    drills = Drills()
    assert worked_examples(drills, rollouts, drills.tasks("train", 2)) == []


@pytest.mark.parametrize("env", [Drills(kind="lookup"), SupportDesk()])
def test_examples_leave_the_transcript_and_nothing_else_does(
    env: Drills | SupportDesk, rollouts: Rollouts, tiny_model: Path
) -> None:
    tasks, others = env.tasks("train", 2), env.tasks("train", 2, seed=1)
    policy = Policy("r0", sampling=Sampling(max_tokens=6))
    examples = worked_examples(env, rollouts, others)
    shown = Policy("r0", sampling=Sampling(max_tokens=6), arguments={"examples": examples})
    renderer = Renderer(tiny_model)
    for plain, hinted in zip(rollouts.play(tasks, policy), rollouts.play(tasks, shown), strict=True):
        found = without_examples(env, hinted, renderer)
        assert len(found.tokens) < len(hinted.transcript.tokens)
        opening = plain.transcript.trainable.index(True)
        assert found.tokens[:opening] == plain.transcript.tokens[:opening]
        start, kept = found.trainable.index(True), hinted.transcript.trainable.index(True)
        assert start == opening
        assert found.tokens[start:] == hinted.transcript.tokens[kept:]
        assert found.trainable[start:] == hinted.transcript.trainable[kept:]


@pytest.mark.parametrize("env", [Drills(kind="lookup"), SupportDesk()])
def test_no_task_is_practised_with_its_own_answer_in_the_prompt(
    env: Drills | SupportDesk, system: AgentOS, tiny_model: Path
) -> None:
    cycle = system.cycle
    adapter = new_adapter(cycle.engine.decoder.config, 2, 4.0, seed=0)
    lessons = Lessons(cycle._services(cycle.parts.releases.live()), env, 0, ())
    lessons.practice(adapter, Practice(tasks=3, samples=1, seed=5, max_tokens=4, examples=2))
    played = [episode for episode in cycle.parts.episodes.select(limit=50) if episode.release == "practice"]
    assert len(played) == 3
    renderer = Renderer(tiny_model)
    for episode in played:
        transcript = episode.transcript
        prompt = renderer.decode(transcript.tokens[: transcript.trainable.index(True)])
        assert prompt.count("assistant") > 2
        assert prompt.count(episode.observation) == 1


def test_a_way_is_played_again_as_it_is_given(system: AgentOS) -> None:
    cycle, env = system.cycle, GridWorld(level=1, size=4)
    tasks = [env.task("train", seed) for seed in (3, 1, 2)]
    shown = cycle.rollouts.demonstrate(tasks, env.expert, steps=env.most_steps)
    ways = [[step.action for step in episode.steps] for episode in shown]
    assert len({tuple(way) for way in ways}) == 3
    lessons = Lessons(cycle._services(cycle.parts.releases.live()), env, 0, (), practice="practice:grid")
    again = lessons.retrace([*zip(tasks, ways, strict=True), (tasks[0], ways[0][:-1])])
    assert [one.task for one in again] == [*tasks, tasks[0]]
    assert [one.success for one in again] == [True, True, True, False]
    assert [one.transcript for one in again[:3]] == [one.transcript for one in shown]
    assert {(one.release, one.labels["purpose"], one.program) for one in again} == {
        ("practice:grid", "practice", RETRACED)
    }


def test_chance_goes_on_where_a_way_has_led(system: AgentOS) -> None:
    cycle, env = system.cycle, GridWorld(level=1, size=4)
    tasks = [env.task("train", seed) for seed in (3, 1, 3)]
    shown = cycle.rollouts.demonstrate(tasks, env.expert, steps=env.most_steps)
    ways = [tuple(step.action for step in episode.steps) for episode in shown]
    paths = [(tasks[0], ways[0]), (tasks[1], ways[1][:2]), (tasks[2], ())]
    lessons = Lessons(cycle._services(cycle.parts.releases.live()), env, 0, (), practice="practice:grid")
    runs = lessons.wander(paths, 5)
    said = [tuple(step.action for step in run.steps) for run in runs]
    assert [one[: len(way)] for one, (_, way) in zip(said, paths, strict=True)] == [way for _, way in paths]
    assert runs[0].success
    assert [one.observation for one in runs[1].steps[:2]] == [one.observation for one in shown[1].steps[:2]]
    assert all(len(one) <= len(way) + BEYOND for one, (_, way) in zip(said, paths, strict=True))
    assert said == [tuple(step.action for step in run.steps) for run in lessons.wander(paths, 5)]
    assert said != [tuple(step.action for step in run.steps) for run in lessons.wander(paths, 7)]
    assert {segment.origin for run in runs for segment in run.transcript.segments} == {
        "prompt",
        "demonstration",
        "environment",
    }


@pytest.mark.parametrize("env", [GridWorld(level=2), SupportDesk()])
def test_where_chance_came_is_where_the_same_replies_lead(env: GridWorld | SupportDesk, system: AgentOS) -> None:
    cycle = system.cycle
    lessons = Lessons(cycle._services(cycle.parts.releases.live()), env, 0, ())
    tasks = env.tasks("train", 6, seed=4)
    first = lessons.wander([(task, ()) for task in tasks], 0)
    ways = [tuple(step.action for step in run.steps[:-1]) for run in first]
    assert max(map(len, ways)) > 2
    again = lessons.wander(list(zip(tasks, ways, strict=True)), 1)
    for one, other in zip(first, again, strict=True):
        assert other.observation == one.observation
        assert other.steps[: len(one.steps) - 1] == one.steps[:-1]


@pytest.mark.parametrize(("explore", "kept"), [(ALONE, "won"), (replace(ALONE, runs=0.5), "all")])
def test_of_runs_that_chance_plays_alone_those_that_won_are_kept(
    system: AgentOS, explore: Exploration, kept: str
) -> None:
    cycle, env = system.cycle, GridWorld(level=1, size=4)
    adapter = new_adapter(cycle.engine.decoder.config, 2, 4.0, seed=0)
    lessons = Lessons(cycle._services(cycle.parts.releases.live()), env, 0, (), practice="practice:grid")
    asked = Practice(tasks=6, samples=8, seed=1, max_tokens=4, explore=explore)
    runs = [run for group in lessons.practice(adapter, asked) for run in group]
    assert 0 < sum(run.success for run in runs) < len(runs)
    stored = {run.id for run in cycle.parts.episodes.select(limit=None)}
    assert stored == {run.id for run in runs if kept == "all" or run.success}
    played = cycle.parts.store.processes.list(None, None)
    assert len(played) == (len(runs) if kept == "all" else 0)
    if kept == "won":
        for run in runs:
            assert not cycle.parts.store.journal.entries(run.process)


def test_ways_are_what_won_before(system: AgentOS) -> None:
    cycle, env = system.cycle, GridWorld(level=1, size=4)
    lessons = Lessons(cycle._services(cycle.parts.releases.live()), env, 0, (), practice="practice:grid")
    assert lessons.ways(9) == []
    tasks = env.tasks("train", 4, seed=2)
    shown = cycle.rollouts.demonstrate(tasks, env.expert, steps=env.most_steps)
    ways = [tuple(step.action for step in episode.steps) for episode in shown]
    lessons.retrace([*zip(tasks, ways, strict=True), (tasks[0], ways[0]), (tasks[1], ())])
    assert set(lessons.ways(9)) == set(ways)
    assert lessons.ways(1) == [min(ways, key=lambda way: (len(way), way))]


@pytest.fixture
def rollouts(system: AgentOS) -> Rollouts:
    return system.cycle.rollouts
