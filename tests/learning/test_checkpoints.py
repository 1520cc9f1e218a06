"""A checkpoint is there whole or not at all, and reading one never runs anything."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from llmagentos.errors import LearningError
from llmagentos.learning.checkpoints import FileCheckpoint

STATE: dict[str, Any] = {
    "learner": "imitation",
    "trainer": {"tensors": {"parameter.0": torch.arange(6.0).view(2, 3), "step": torch.tensor(4.0)}, "tokens": 12},
    "curve": [{"loss": 0.5}, {"loss": 0.25}],
    "mixed": [torch.ones(2, dtype=torch.bfloat16), "text", None, True, 1.5],
    "nothing": {},
}


@pytest.fixture
def checkpoint(tmp_path: Path) -> FileCheckpoint:
    return FileCheckpoint(tmp_path / "deep" / "run.safetensors")


def same(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(same, first, second))
    return bool(first == second and type(first) is type(second))


def test_state_comes_back_as_it_was(checkpoint: FileCheckpoint) -> None:
    assert checkpoint.load() is None
    checkpoint.save(STATE)
    assert same(STATE, checkpoint.load())
    checkpoint.save({"only": 1})
    assert checkpoint.load() == {"only": 1}
    checkpoint.clear()
    checkpoint.clear()
    assert checkpoint.load() is None


def test_text_that_looks_like_a_reference_stays_text(checkpoint: FileCheckpoint) -> None:
    state = {"skill": "tensor:/trainer", "a/b": torch.zeros(1), "a": {"b": torch.ones(1)}}
    checkpoint.save(state)
    assert same(state, checkpoint.load())


def test_numbers_that_are_not_finite_come_back(checkpoint: FileCheckpoint) -> None:
    checkpoint.save({"norm": float("inf"), "loss": float("nan")})
    state = checkpoint.load() or {}
    assert state["norm"] == float("inf")
    assert state["loss"] != state["loss"]


@pytest.mark.parametrize("at", ["replace", "fsync"])
def test_kill_during_save_leaves_the_old_state(
    checkpoint: FileCheckpoint, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    checkpoint.save(STATE)

    def killed(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, at, killed)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save({"only": 1})
    assert same(STATE, checkpoint.load())
    checkpoint.save({"only": 2})
    assert checkpoint.load() == {"only": 2}


def test_half_written_new_file_is_no_state(checkpoint: FileCheckpoint) -> None:
    checkpoint.save(STATE)
    whole = checkpoint.path.read_bytes()
    checkpoint.path.with_suffix(".new").write_bytes(whole[: len(whole) // 2])
    assert same(STATE, checkpoint.load())


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_damaged_file_names_the_remedy(checkpoint: FileCheckpoint, keep: int) -> None:
    checkpoint.save(STATE)
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:keep])
    with pytest.raises(LearningError, match=rf"rm {checkpoint.path}"):
        checkpoint.load()


@pytest.mark.parametrize(
    "metadata", [None, {"other": "x"}, {"state": "{"}, {"state": '{"a": {"tensor": "gone"}}'}, {"state": "[1]"}]
)
def test_file_with_another_meaning_names_the_remedy(
    checkpoint: FileCheckpoint, metadata: dict[str, str] | None
) -> None:
    from safetensors.torch import save_file

    checkpoint.path.parent.mkdir()
    save_file({"x": torch.zeros(1)}, checkpoint.path, metadata=metadata)
    with pytest.raises(LearningError, match=rf"rm {checkpoint.path}"):
        checkpoint.load()


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("writer", ["pickle", "torch"])
def test_pickled_file_is_refused_and_never_run(checkpoint: FileCheckpoint, tmp_path: Path, writer: str) -> None:
    checkpoint.path.parent.mkdir()
    with checkpoint.path.open("wb") as file:
        (pickle.dump if writer == "pickle" else torch.save)(Bomb(tmp_path / "proof"), file)
    with pytest.raises(LearningError, match="cannot be read"):
        checkpoint.load()
    assert not (tmp_path / "proof").exists()


def test_state_that_cannot_be_written_keeps_the_old_one(checkpoint: FileCheckpoint) -> None:
    checkpoint.save({"only": 1})
    with pytest.raises(TypeError):
        checkpoint.save({"function": len})
    assert checkpoint.load() == {"only": 1}
