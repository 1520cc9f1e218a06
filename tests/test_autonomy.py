"""Left alone, the system learns what promises most and gives an account that a person understands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmagentos.agent import Agent
from llmagentos.agentos import AgentOS
from llmagentos.autonomy import HOW, Account, Autonomy
from llmagentos.cli.main import run
from llmagentos.environments.drills import Drills
from llmagentos.errors import ConfigError
from llmagentos.learning.prospects import Prospect
from llmagentos.learning.strategy import LEARNERS
from llmagentos.records.generation import Sampling
from llmagentos.records.progress import Progress
from llmagentos.records.release import Interval, SkillCheck, Verdict

DESK, DRILLS = "SupportDesk-v0", "Drills-v0?kind=lookup&level=1"


def verdict(released: bool = True) -> Verdict:
    check = SkillCheck(DESK, 60, 0.8, 0.2, "r0", Interval(0.6, 0.5, 0.7), "gain", released)
    return Verdict("c", released, "the reason", (check,))


def test_it_looks_at_what_was_run_chooses_and_learns(system: AgentOS, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = Agent(system=system)
    for name in (DRILLS, DESK):
        agent.run(name, tasks=1, sampling=Sampling(4))
    monkeypatch.setattr("llmagentos.autonomy.LOOKED_AT", 3)
    asked: list[Any] = []

    def learn(name: str, *, minutes: float, learner: str, seed: int, on_progress: Any) -> Verdict:
        asked.append((name, learner))
        on_progress(Progress("watching the learner", 1, 1, note="The form drifts."))
        assert 0 < minutes <= 10
        return verdict()

    cycle = system.cycle
    monkeypatch.setattr(Drills, "right_answer", lambda self, task: None)
    monkeypatch.setattr(cycle, "learn", learn)
    account = Autonomy(cycle, lambda event: None).learn(10)
    assert asked == [(DESK, "imitation")], "nobody shows how drills are done, and none of their runs succeeds"
    assert {one.skill for one in account.prospects} == {DESK, DRILLS}
    said = str(account)
    for words in (
        f"The agent became better at {DESK}: it solves 80% of new tasks, before it was 20%. r0 is live.",
        f"{DESK} by imitation",
        "repeats what an expert or a person showed",
        f"| {DESK} | 20% | 80% | 60 | passed |",
        "Taken over: the reason",
        "- The form drifts.",
        "llmagentos releases rollback r0",
    ):
        assert words in said


def test_account_tells_every_learner_in_plain_words() -> None:
    assert set(HOW) == set(LEARNERS)


def test_nothing_worth_learning_is_said(system: AgentOS, monkeypatch: pytest.MonkeyPatch) -> None:
    Agent(system=system).run(DRILLS, tasks=1, sampling=Sampling(4))
    monkeypatch.setattr("llmagentos.autonomy.LOOKED_AT", 2)
    monkeypatch.setattr(Drills, "right_answer", lambda self, task: None)
    monkeypatch.setattr("llmagentos.learning.prospects.is_mixed", lambda group: False)
    account = Autonomy(system.cycle, lambda event: None).learn(10)
    assert account.chosen is None
    assert "Nothing was changed. r0 stays live." in str(account)
    assert "Nothing: no skill promises enough" in str(account)


def test_no_skill_at_all_says_what_to_do(system: AgentOS) -> None:
    with pytest.raises(ConfigError, match="llmagentos run SupportDesk-v0"):
        Autonomy(system.cycle, lambda event: None).learn(1)


def test_skill_whose_runs_take_too_long_to_look_at_is_left_out(
    system: AgentOS, monkeypatch: pytest.MonkeyPatch
) -> None:
    Agent(system=system).run(DRILLS, tasks=1, sampling=Sampling(4))
    monkeypatch.setattr("llmagentos.learning.strategy.SHORTEST_LOOK", 1e-4)
    shown: list[str] = []
    account = Autonomy(system.cycle, lambda event: shown.append(event.stage)).learn(1e-6)
    ((skill, reason),) = account.left_out
    assert skill == DRILLS
    assert f"learn it by its name: llmagentos learn '{DRILLS}'" in reason
    assert f"looking at {DRILLS}" in shown
    assert "Give more minutes (--minutes)" in str(account)
    assert account.chosen is None


def test_skill_that_was_only_run_is_found_again_by_its_short_name(
    system: AgentOS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = Path(__file__).parent.parent / "examples" / "odd_or_even.py"
    file = tmp_path / "mine.py"
    file.write_text(example.read_text())
    Agent(system=system).run(f"{file}:OddOrEven-v0", tasks=1, sampling=Sampling(4))
    monkeypatch.setattr("llmagentos.autonomy.LOOKED_AT", 2)
    cycle = system.cycle
    monkeypatch.setattr(cycle, "learn", lambda name, **options: verdict())
    account = Autonomy(cycle, lambda event: None).learn(10)
    assert [one.skill for one in account.prospects] == ["OddOrEven-v0"]


def test_skill_whose_environment_is_gone_is_left_out(system: AgentOS, monkeypatch: pytest.MonkeyPatch) -> None:
    Agent(system=system).run(DRILLS, tasks=1, sampling=Sampling(4))
    monkeypatch.setattr("llmagentos.autonomy.LOOKED_AT", 2)
    account = Autonomy(system.cycle, lambda event: None).learn(1, skills=["Gone-v0"])
    assert account.left_out[0][0] == "Gone-v0"
    assert "Gone-v0 was left out: No environment" in str(account)


def test_command_writes_its_account_into_the_home(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LLMAGENTOS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LLMAGENTOS_MODEL", str(tiny_model))
    prospect = Prospect(DESK, 0.2, 1.0, "imitation", "its expert shows what is right")
    account = Account((prospect,), (), prospect, verdict(False), (), "r0", 3.0)
    monkeypatch.setattr("llmagentos.autonomy.Autonomy.learn", lambda self, minutes, seed: account)
    niceness: list[int] = []
    monkeypatch.setattr("os.nice", niceness.append)
    assert run(["learn", "--auto", "--minutes", "3"]) == 0
    assert niceness == [10]
    (page,) = (tmp_path / "home" / "reports").glob("learned-*.md")
    assert page.read_text() == f"{account}\n"
    assert "Not taken over: the reason" in capsys.readouterr().out
    assert run(["learn", "--auto", DESK]) == 2
