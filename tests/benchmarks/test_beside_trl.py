"""Both sides learn from the same rows, and what the other side has learned is played here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import beside_trl
import pytest
from safetensors.torch import save_file

from llmagentos.agentos import AgentOS
from llmagentos.models.adapters import new_adapter, to_peft


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
        assert answer == env.answer(task)
    assert unit.settings["learning_rate"] == 4e-4
    assert json.dumps(unit.settings)


def test_adapter_of_the_other_side_is_served(system: AgentOS, tmp_path: Path) -> None:
    decoder = system.cycle.engine.decoder
    adapter = new_adapter(decoder.config, 4, 8.0, seed=1)
    tensors, settings = to_peft(adapter, decoder.config, "base")
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings))
    read = beside_trl.from_trl(system, tmp_path)
    assert (read.rank, read.alpha) == (4, 8.0)
    env = system.make_environment(beside_trl.UNITS["reinforcement"].environment)
    assert beside_trl.played(system, env, 2, read)["interval"][0] >= 0
