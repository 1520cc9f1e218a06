"""Both sides learn from the same rows, and what the other side has learned is played here."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import beside_trl
import pytest
import torch
from safetensors.torch import save_file

from llmagentos.agentos import AgentOS
from llmagentos.kernel.rollouts import Policy, Rollouts
from llmagentos.models.adapters import FusedAdapter, block_mask, new_adapter, to_peft
from llmagentos.models.decoder import DecoderConfig
from llmagentos.records.episode import Episode
from llmagentos.records.task import Task


def _say(reply: str, seen: str) -> str:
    return reply


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[AgentOS]:
    with AgentOS(tmp_path_factory.mktemp("beside") / "home", str(tiny_model)) as opened:
        yield opened


@pytest.fixture(autouse=True)
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside_trl, "ROWS", 3)


def test_rows_of_imitation_are_the_experts_runs_and_only_its_words_are_labelled(system: AgentOS) -> None:
    env = system.make_environment(beside_trl.UNITS["imitation"].environment)
    rows = beside_trl.demonstrations(system, env)
    assert len(rows) == 3
    for tokens, labels in rows:
        scored = [label for label in labels if label != -100]
        assert 0 < len(scored) < len(tokens) == len(labels)
        assert all(label in (token, -100) for token, label in zip(tokens, labels, strict=True))
        assert system.cycle.engine.renderer.decode(tuple(scored)).strip()


def test_rows_of_reinforcement_are_what_runs_are_told_and_the_right_answer(system: AgentOS) -> None:
    unit = beside_trl.UNITS["reinforcement"]
    env = system.make_environment(unit.environment)
    rows = beside_trl.prompts(system, env)
    for (text, answer), task in zip(rows, env.tasks("train", 3), strict=True):
        assert env.reset(seed=task.seed, options={"split": "train"})[0] in text
        assert answer == env.right_answer(task)
    assert unit.settings["learning_rate"] == 4e-4
    assert json.dumps(unit.settings)


def test_rows_of_preference_are_a_prompt_with_a_better_and_a_worse_reply(
    system: AgentOS, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = system.make_environment(beside_trl.UNITS["preference"].environment)

    def play(self: Rollouts, tasks: Sequence[Task], policy: Policy, *, samples: int) -> list[Episode]:
        assert policy.sampling.temperature == 1.0
        replies = itertools.cycle([lambda task: "never right", env.right_answer, lambda task: "wrong"])
        drawn = [task for task in tasks for _ in range(samples)]
        turns = iter([str(reply(task)) for task, reply in zip(drawn, replies, strict=False)])
        return self.demonstrate(drawn, lambda task: partial(_say, next(turns)))

    monkeypatch.setattr(Rollouts, "play", play)
    monkeypatch.setattr(beside_trl, "GROUPS", 2)
    rows = beside_trl.preferred(system, env)
    assert len(rows) == 2 * beside_trl.PAIRS
    for (prompt, better, worse), task in zip(rows[:: beside_trl.PAIRS], env.tasks("train", 2), strict=True):
        assert env.reset(seed=task.seed, options={"split": "train"})[0] in prompt
        assert better.startswith(str(env.right_answer(task)))
        assert worse.startswith(("never right", "wrong"))
    assert json.dumps(beside_trl.UNITS["preference"].settings)


def moved(config: DecoderConfig, seed: int) -> FusedAdapter:
    """An adapter as after some steps: a fresh one changes nothing."""
    adapter, chance = new_adapter(config, 4, 8.0, seed), torch.Generator().manual_seed(seed)
    for (_, group), (_, b) in adapter.pairs.items():
        b.copy_(block_mask(config, group, 4) * torch.rand(b.shape, generator=chance))
    return adapter


def changes(adapter: FusedAdapter) -> dict[tuple[int, str], torch.Tensor]:
    """What an adapter adds to each product."""
    return {key: adapter.alpha / adapter.rank * b @ a for key, (a, b) in adapter.pairs.items()}


def test_adapter_of_the_other_side_is_served(system: AgentOS, tmp_path: Path) -> None:
    decoder = system.cycle.engine.decoder
    adapters = [moved(decoder.config, seed) for seed in (1, 2)]
    for name, adapter in zip(("trl", "start"), adapters, strict=True):
        tensors, settings = to_peft(adapter, decoder.config, "base")
        (tmp_path / name).mkdir()
        save_file(tensors, tmp_path / name / "adapter_model.safetensors")
        (tmp_path / name / "adapter_config.json").write_text(json.dumps(settings))
    read = beside_trl.from_trl(system, tmp_path / "trl", None)
    assert (read.rank, read.alpha) == (4, 8.0)
    both = beside_trl.from_trl(system, tmp_path / "trl", tmp_path / "start")
    for key, delta in changes(both).items():
        assert torch.allclose(delta, sum((changes(one)[key] for one in adapters), torch.zeros(())), atol=1e-5)
    env = system.make_environment(beside_trl.UNITS["reinforcement"].environment)
    assert beside_trl.played(system, env, 2, read)["interval"][0] >= 0
