"""Many runs of one policy: in the order of the tasks, each with its own random stream, all of them episodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from llmagentos.kernel.kernel import Kernel
from llmagentos.kernel.rollouts import Policy, Rollouts, Series
from llmagentos.models.scripted import ScriptedEngine
from llmagentos.records.episode import Episode
from llmagentos.records.generation import Sampling
from llmagentos.records.process import Limits
from llmagentos.records.progress import Progress
from llmagentos.records.task import Task

POLICY = Policy("r3", sampling=Sampling(max_tokens=16, temperature=1.0, seed=2))


def tasks(count: int, **options: Any) -> list[Task]:
    return [Task("Counter-v0", seed, options={"turns": 1, **options}) for seed in range(count)]


@pytest.fixture
def kernel(build: Callable[..., Kernel]) -> Kernel:
    return build()


def test_episodes_come_in_the_order_of_tasks_and_samples(kernel: Kernel, recorded: list[Episode]) -> None:
    episodes = Rollouts(kernel, concurrency=3).play(tasks(5), POLICY, samples=3, labels={"purpose": "gate"})
    assert [episode.task.seed for episode in episodes] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    assert {episode.release for episode in episodes} == {"r3"}
    assert {episode.labels["purpose"] for episode in episodes} == {"gate"}
    assert {episode.id for episode in recorded} == {episode.id for episode in episodes}
    assert len({episode.id for episode in episodes}) == 15


def test_every_run_has_its_own_random_stream(build: Callable[..., Kernel], renderer: Any) -> None:
    engine = ScriptedEngine(renderer, lambda prompt: "ok")
    rollouts = Rollouts(build(engine=engine))
    rollouts.play(tasks(4), POLICY, samples=4)
    first = [request.sampling.seed for request in engine.requests]
    assert len(set(first)) == 16
    engine.requests.clear()
    rollouts.play(tasks(4), POLICY, samples=4)
    assert sorted(request.sampling.seed for request in engine.requests) == sorted(first)
    engine.requests.clear()
    rollouts.play(tasks(4), replace(POLICY, sampling=replace(POLICY.sampling, seed=3)), samples=4)
    assert not {request.sampling.seed for request in engine.requests} & set(first)


def test_policy_reaches_the_engine(build: Callable[..., Kernel], renderer: Any) -> None:
    engine = ScriptedEngine(renderer, lambda prompt: "ok")
    engine.load_adapter("candidate:c1", {}, {})
    policy = replace(POLICY, adapter="candidate:c1", arguments={"instructions": "Be brief."})
    (episode,) = Rollouts(build(engine=engine)).play(tasks(1), policy)
    (request,) = engine.requests
    assert (request.adapter, request.sampling.max_tokens, request.sampling.temperature) == ("candidate:c1", 16, 1.0)
    assert "Be brief." in renderer.decode(request.prompt)
    assert episode.release == "r3"


def test_limits_of_the_policy_hold(kernel: Kernel) -> None:
    (episode,) = Rollouts(kernel).play(tasks(1, turns=9), replace(POLICY, limits=Limits(steps=2)))
    assert (episode.outcome, len(episode.steps)) == ("truncated", 2)


def test_failed_run_is_a_result_among_the_others(kernel: Kernel) -> None:
    mixed = [*tasks(1), *tasks(1, misbehave="raise"), *tasks(1)]
    episodes = Rollouts(kernel).play(mixed, POLICY)
    assert [episode.outcome for episode in episodes] == ["finished", "failed", "finished"]
    assert "database gone" in episodes[1].error


def test_progress_counts_every_run(kernel: Kernel) -> None:
    events: list[Progress] = []
    Rollouts(kernel).play(tasks(3), POLICY, samples=2, stage="gate", on_progress=events.append)
    assert [(event.stage, event.done, event.total, event.unit) for event in events] == [
        ("gate", n, 6, "runs") for n in range(1, 7)
    ]
    assert events[-1].metrics == {"success": 1.0}


def test_interruption_ends_the_runs_and_is_passed_on(kernel: Kernel) -> None:
    def interrupt(event: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Rollouts(kernel, concurrency=2).play(tasks(20), POLICY, on_progress=interrupt)
    assert kernel.processes() == []
    assert Rollouts(kernel).play(tasks(1), POLICY)[0].success


def test_no_tasks_give_no_episodes(kernel: Kernel) -> None:
    assert Rollouts(kernel).play([], POLICY) == []


def test_demonstration_shows_what_the_model_will_be_asked(build: Callable[..., Kernel], renderer: Any) -> None:
    engine = ScriptedEngine(renderer, lambda prompt: "ok")
    rollouts = Rollouts(build(engine=engine))
    (shown,) = rollouts.demonstrate(tasks(1, turns=2), lambda task: lambda observation: "ok")
    (played,) = rollouts.play(tasks(1, turns=2), POLICY)
    assert shown.success
    assert shown.transcript.tokens == played.transcript.tokens
    assert shown.transcript.trainable == played.transcript.trainable
    origins = [segment.origin for segment in shown.transcript.segments]
    assert "demonstration" in origins
    assert "sampled" not in origins
    assert "sampled" in [segment.origin for segment in played.transcript.segments]


def test_experts_run_may_be_as_long_as_its_environment_says(kernel: Kernel) -> None:
    def expert(task: Task) -> Callable[[str], str]:
        return lambda observation: "ok"

    rollouts = Rollouts(kernel)
    assert rollouts.demonstrate(tasks(1, turns=20), expert)[0].outcome == "truncated"
    assert rollouts.demonstrate(tasks(1, turns=20), expert, steps=20)[0].outcome == "finished"


def test_expert_is_made_fresh_for_every_task(kernel: Kernel) -> None:
    def expert(task: Task) -> Callable[[str], str]:
        said = iter([f"first {task.seed}", f"second {task.seed}"])
        return lambda observation: next(said)

    episodes = Rollouts(kernel).demonstrate(tasks(3, turns=2), expert)
    assert [[step.action for step in episode.steps] for episode in episodes] == [
        [f"first {seed}", f"second {seed}"] for seed in range(3)
    ]


def test_expert_that_fails_is_a_failed_run(kernel: Kernel) -> None:
    def broken(observation: str) -> str:
        raise ValueError("the expert is at lunch")

    (episode,) = Rollouts(kernel).demonstrate(tasks(1), lambda task: broken)
    assert episode.outcome == "failed"
    assert "at lunch" in episode.error


def test_series_played_together_come_back_as_if_played_alone(kernel: Kernel) -> None:
    events: list[Progress] = []
    other = replace(POLICY, release="r4")
    first, none, second = Rollouts(kernel, concurrency=2).play_together(
        [Series(tasks(3), POLICY, 2, "gate: a"), Series([], POLICY), Series(tasks(2), other, stage="gate: b")],
        on_progress=events.append,
    )
    assert [(episode.task.seed, episode.release) for episode in first] == [(n, "r3") for n in (0, 0, 1, 1, 2, 2)]
    assert none == []
    assert [(episode.task.seed, episode.release) for episode in second] == [(0, "r4"), (1, "r4")]
    for stage, count in (("gate: a", 6), ("gate: b", 2)):
        seen = [(event.done, event.total) for event in events if event.stage == stage]
        assert seen == [(n, count) for n in range(1, count + 1)]
