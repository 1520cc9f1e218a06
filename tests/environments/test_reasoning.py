"""Reasoning-v0 against a stand-in for the optional package, and its absence."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from llmagentos.environments.reasoning import Reasoning, last_parts
from llmagentos.environments.registry import make
from llmagentos.errors import ConfigError, MissingExtraError
from llmagentos.records.task import reset_options


class Doubling:
    """As reasoning-gym's data sets: partial credit for any answer that contains the right one."""

    def __init__(self, size: int, seed: int, top: int = 1000) -> None:
        self.entries = [{"question": f"Double {seed % top}.", "answer": str(seed % top * 2)} for _ in range(size)]

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.entries[index]

    def score_answer(self, answer: str, entry: dict[str, Any]) -> float:
        return 1.0 if answer == entry["answer"] else 0.5 if entry["answer"] in answer else 0.0


class Evaluating(Doubling):
    def score_answer(self, answer: str, entry: dict[str, Any]) -> float:
        return float(eval(f"({answer})") == int(entry["answer"]))


class Raising(Doubling):
    def score_answer(self, answer: str, entry: dict[str, Any]) -> float:
        return float(int(answer) == int(entry["answer"]))


class Unanswered(Doubling):
    """Stores no answer, or one that its own verifier does not call right."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        entry = self.entries[index]
        return {**entry, "answer": None if entry["question"] < "Double 5" else entry["answer"] + "."}

    def score_answer(self, answer: str, entry: dict[str, Any]) -> float:
        return float(answer + "." == entry["answer"])


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("reasoning_gym")

    def create_dataset(name: str, **settings: Any) -> Doubling:
        kinds: dict[str, type[Doubling]] = {
            "doubling": Doubling,
            "evaluating": Evaluating,
            "raising": Raising,
            "unanswered": Unanswered,
        }
        if name not in kinds:
            raise ValueError(f"Dataset '{name}' not registered")
        return kinds[name](**settings)

    module.create_dataset = create_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "reasoning_gym", module)


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(MissingExtraError, match=r"llmagentos\[reasoning\]"):
        make("Reasoning-v0?name=chain_sum")


@pytest.mark.usefixtures("package")
def test_only_the_full_score_counts() -> None:
    env = make("Reasoning-v0?name=doubling&top=500")
    task = env.tasks("gate", 1)[0]
    question, _ = env.reset(seed=task.seed, options=reset_options(task))
    right = str(int(question.split()[1].rstrip(".")) * 2)
    for reply, success, lenient in (
        (f" {right}\n", True, True),
        (f"It is {right}, I think.", False, True),
        (f"Result:\n{right}", False, True),
        (f"{right} or 1", False, False),
        ("", False, False),
        ("\x00" * 100_000, False, False),
    ):
        env.reset(seed=task.seed, options=reset_options(task))
        assert env.step(reply)[4] == {"success": success, "lenient": lenient}, reply


@pytest.mark.usefixtures("package")
def test_tasks_repeat_by_seed_and_differ_by_split() -> None:
    env = Reasoning(name="doubling")
    task, other = env.tasks("gate", 1)[0], env.tasks("train", 1)[0]
    first = env.reset(seed=task.seed, options=reset_options(task))
    assert first == env.reset(seed=task.seed, options=reset_options(task))
    assert first != env.reset(seed=other.seed, options=reset_options(other))


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("options", [{}, {"name": "nothing"}, {"name": "doubling", "depth": 3}, {"name": 5}])
def test_unknown_data_set_or_setting_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Reasoning(**options)


@pytest.mark.usefixtures("package")
def test_verifier_that_would_execute_the_reply_is_refused() -> None:
    with pytest.raises(ConfigError, match="execute replies"):
        make("Reasoning-v0?name=evaluating")


@pytest.mark.usefixtures("package")
def test_reply_that_the_verifier_cannot_read_is_wrong() -> None:
    env = Reasoning(name="raising")
    env.reset(seed=1)
    assert env.step("no number")[4] == {"success": False, "lenient": False}


@pytest.mark.usefixtures("package")
def test_stored_answer_is_known_where_the_verifier_calls_it_right() -> None:
    env = make("Reasoning-v0?name=doubling&top=500")
    for task in env.tasks("train", 4):
        env.reset(seed=task.seed, options=reset_options(task))
        assert env.step(env.right_answer(task) or "")[4]["success"]
    unanswered = Reasoning(name="unanswered")
    assert {unanswered.right_answer(task) for task in unanswered.tasks("train", 16)} == {None}


def test_last_parts_are_the_last_line_and_number() -> None:
    assert last_parts("so\nit is 4.5 .") == ["it is 4.5 .", "4.5"]
    assert last_parts("  ") == []
