"""Whoever is slow to make is used again, once a run has ended, and nobody else is."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from llmagentos.environments.language import LanguageEnvironment, StepResult
from llmagentos.environments.registry import meant
from llmagentos.environments.reuse import MOST, Reusing
from llmagentos.records.task import Task


class Counting(LanguageEnvironment):
    """Ends with the first reply unless that is `go on`, fails on `fail`; keeps what was done with all of its kind."""

    made = 0
    closed = 0

    def __init__(self, name: str) -> None:
        super().__init__(name)
        type(self).made += 1

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        return f"task {seed}", {}

    def step(self, action: str) -> StepResult:
        if action == "fail":
            raise ValueError(action)
        return "", 1.0, action != "go on", False, {}

    def close(self) -> None:
        type(self).closed += 1


@pytest.fixture(autouse=True)
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counting, "made", 0)
    monkeypatch.setattr(Counting, "closed", 0)
    clock = iter(range(10_000))  # every look takes a second: making always seems slow
    monkeypatch.setattr(time, "thread_time", lambda: float(next(clock)))


def _run(reusing: Reusing, name: str = "Counting-v0", action: str = "end") -> None:
    env = reusing.take(name)
    try:
        assert env.reset(seed=3)[0] == "task 3"
        env.step(action)
    finally:
        env.close()


def test_slow_one_is_made_twice_at_most_and_the_first_time_says_nothing() -> None:
    reusing = Reusing(Counting, str)
    for _ in range(6):
        _run(reusing)
    assert (Counting.made, Counting.closed) == (2, 1)
    reusing.close()
    assert Counting.closed == 2
    reusing.close()
    assert Counting.closed == 2


def test_quick_one_is_made_for_every_run() -> None:
    reusing = Reusing(Counting, str, slow=2.0)
    for _ in range(4):
        _run(reusing)
    assert (Counting.made, Counting.closed) == (4, 4)


def test_one_that_is_not_at_its_end_or_raised_is_not_used_again() -> None:
    reusing = Reusing(Counting, str)
    for action in ("end", "go on", "go on"):
        _run(reusing, action=action)
    with pytest.raises(ValueError, match="fail"):
        _run(reusing, action="fail")
    _run(reusing)
    assert (Counting.made, Counting.closed) == (5, 4)
    env = reusing.take("Counting-v0")  # that of the last run
    assert Counting.made == 5
    env.reset(seed=1)
    env.step("end")
    with pytest.raises(ValueError, match="fail"):
        env.step("fail")
    env.close()
    assert Counting.closed == 5


def test_two_runs_at_once_have_one_each_and_names_are_kept_apart() -> None:
    reusing = Reusing(Counting, str)
    for _ in range(2):
        _run(reusing)
    first, second = reusing.take("Counting-v0"), reusing.take("Counting-v0")
    assert first.unwrapped is not second.unwrapped
    third = reusing.take("Counting-v0?other=1")
    assert third.unwrapped is not first.unwrapped
    assert third.unwrapped.name == "Counting-v0?other=1"


def test_what_means_something_else_now_or_is_never_known_is_made_anew() -> None:
    versions: list[object] = ["one"]
    reusing = Reusing(Counting, lambda name: versions[-1])
    for _ in range(3):
        _run(reusing)
    assert Counting.made == 2
    versions.append("two")
    _run(reusing)
    assert (Counting.made, Counting.closed) == (3, 2), "the one of the earlier version as well"
    versions.append(None)
    for _ in range(3):
        _run(reusing)
    assert Counting.made == 6


def test_no_more_wait_than_are_of_use() -> None:
    reusing = Reusing(Counting, str)
    _run(reusing)
    lent = [reusing.take("Counting-v0") for _ in range(MOST + 3)]
    for env in lent:
        env.reset(seed=0)
        env.step("end")
        env.close()
    assert Counting.closed == 1 + 3


def test_meaning_of_a_name_changes_with_a_file_and_is_not_told_where_files_are_read(tmp_path: Path) -> None:
    assert meant("Drills-v0?kind=sum") is meant("Drills-v0?kind=sort") is not None
    assert meant("Requests-v0?data=rows.csv") is None
    file = tmp_path / "mine.py"
    lines = "import gymnasium\ngymnasium.register('Mine-v0', entry_point='nowhere:Mine')\n"
    file.write_text(lines)
    first = meant(f"{file}:Mine-v0")
    assert first is meant(f"{file}:Mine-v0?level=2")
    file.write_text(f"{lines}# changed\n")
    assert meant(f"{file}:Mine-v0") is not first


def test_runs_of_the_kernel_take_a_slow_environment_again(tmp_path: Path, tiny_model: Path) -> None:
    from llmagentos.agentos import AgentOS
    from llmagentos.kernel.rollouts import Policy

    file = tmp_path / "slow.py"
    file.write_text(SLOW_FILE)
    with AgentOS(tmp_path / "home", str(tiny_model)) as system:
        name = f"{file}:Slow-v0"
        tasks = [Task(name, seed) for seed in range(3)]
        said = Policy("", program="policy", arguments={"function": lambda seen: seen})
        runs = [system.cycle.rollouts.play([task], said)[0] for task in tasks]
        assert [run.observation for run in runs] == [
            f"task {seed}, made as number {n}" for seed, n in ((0, 0), (1, 1), (2, 1))
        ]
        assert all(run.success for run in runs)


SLOW_FILE = """
import gymnasium
from llmagentos.environments.language import LanguageEnvironment

MADE = []


class Slow(LanguageEnvironment):
    def __init__(self):
        super().__init__("Slow-v0")
        MADE.append(self)
        self.number = len(MADE) - 1

    def reset(self, *, seed=None, options=None):
        return f"task {seed}, made as number {self.number}", {}

    def step(self, action):
        return "", 1.0, True, False, {"success": True}


gymnasium.register("Slow-v0", entry_point=Slow)
"""
