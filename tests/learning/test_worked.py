"""Runs that were played with worked examples are learned as if these had not been there."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmagentos.agentos import AgentOS
from llmagentos.environments.drills import Drills
from llmagentos.environments.support_desk import SupportDesk
from llmagentos.kernel.rollouts import Policy, Rollouts
from llmagentos.learning.worked import without_examples, worked_examples
from llmagentos.models.rendering import Renderer
from llmagentos.records.generation import Sampling


def test_answers_are_worked_examples_of_exercises(rollouts: Rollouts) -> None:
    env = Drills(kind="lookup")
    examples = worked_examples(env, rollouts, 3)
    assert len(examples) == 3
    for (question, answer), task in zip(examples, env.tasks("train", 3, seed=1), strict=True):
        assert env.reset(seed=task.seed, options={"split": "train"})[0] == question
        assert env.step(answer)[1] == 1.0


def test_the_expert_works_examples_of_conversations(rollouts: Rollouts) -> None:
    (example,) = worked_examples(SupportDesk(), rollouts, 1)
    assert len(example) % 2 == 0
    assert len(example) >= 4


def test_nobody_who_knows_gives_no_examples(rollouts: Rollouts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Drills, "answer", lambda self, task: None)
    assert worked_examples(Drills(), rollouts, 2) == []


@pytest.mark.parametrize("env", [Drills(kind="lookup"), SupportDesk()])
def test_examples_leave_the_transcript_and_nothing_else_does(
    env: Drills | SupportDesk, rollouts: Rollouts, tiny_model: Path
) -> None:
    tasks = env.tasks("train", 2)
    policy = Policy("r0", sampling=Sampling(max_tokens=6))
    shown = Policy("r0", sampling=Sampling(max_tokens=6), arguments={"examples": worked_examples(env, rollouts, 2)})
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


@pytest.fixture
def rollouts(tmp_path: Path, tiny_model: Path) -> Rollouts:
    system = AgentOS(tmp_path / "home", str(tiny_model))
    yield system.cycle.rollouts
    system.close()
