"""The user's handle: every line of the user's view works and answers with something to look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llmagentos.agent import Agent, Training, environment_name
from llmagentos.agentos import AgentOS
from llmagentos.errors import ConfigError, LearningError, NotFoundError
from llmagentos.models.rendering import Renderer
from llmagentos.models.scripted import ScriptedEngine
from llmagentos.models.torch_engine import TorchEngine
from llmagentos.records.release import Verdict

POLICY = "The shop pays the money back within a week of receiving the parcel."


@pytest.fixture
def replies() -> list[str]:
    return []


@pytest.fixture
def agent(tmp_path: Path, tiny_model: Path, replies: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    """An agent whose model says what the test wrote."""

    def load(folder: Path, **options: Any) -> ScriptedEngine:
        return ScriptedEngine(Renderer(folder), lambda prompt: replies.pop(0))

    monkeypatch.setattr(TorchEngine, "load", load)
    with AgentOS(tmp_path / "home", str(tiny_model)) as system:
        yield Agent(system=system)


class Cycle:
    """Records what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []

    def learn(self, environment: str, **options: Any) -> Verdict:
        self.asked.append(("learn", environment))
        return Verdict("c1", True, f"better at {environment}")

    def study(self, documents: Any, minutes: float, on_progress: Callable[..., None]) -> Verdict:
        self.asked.append(("study", [document.text for document in documents]))
        return Verdict("c2", False, "no gain")

    def evaluate(self, environment: str, **options: Any) -> str:
        self.asked.append(("evaluate", environment))
        return f"{environment}: 50 %"


@pytest.fixture
def cycle(monkeypatch: pytest.MonkeyPatch) -> Cycle:
    stand_in = Cycle()
    monkeypatch.setattr(AgentOS, "cycle", property(lambda system: stand_in))
    return stand_in


def test_connected_text_is_kept_and_reported(agent: Agent, tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "policy.txt").write_text(POLICY)
    (folder / "empty.txt").write_text("")
    report = agent.connect_data_source(folder)
    assert [document.text for document in agent.system.store.documents.list()] == [POLICY]
    assert "1 documents added" in str(report)
    assert "empty.txt" in str(report)


def test_own_network_is_not_read_unless_asked_for(agent: Agent) -> None:
    with pytest.raises(Exception, match="public internet"):
        agent.connect_data_source("http://127.0.0.1:9/")


def test_selected_model_is_the_one_that_answers_from_then_on(agent: Agent, tiny_model: Path) -> None:
    card = agent.select_model(str(tiny_model))
    assert card.name == str(tiny_model)
    assert agent.system.settings.model == str(tiny_model)
    with pytest.raises(NotFoundError):
        agent.select_model("no such model")


def test_model_that_needs_a_server_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="LLMAGENTOS_REMOTE_URL"):
        Agent(model_name="gpt-3", home=tmp_path)


def test_training_without_anything_to_learn_says_what_to_connect(agent: Agent) -> None:
    with pytest.raises(LearningError, match="connect_data_source"):
        agent.train_model()


def test_training_studies_documents_and_learns_the_environment(agent: Agent, cycle: Cycle, tmp_path: Path) -> None:
    (tmp_path / "policy.txt").write_text(POLICY)
    agent.connect_data_source(tmp_path / "policy.txt")
    training = agent.train_model("Drills-v0")
    assert cycle.asked == [("study", [POLICY]), ("learn", "Drills-v0")]
    assert isinstance(training, Training)
    assert training.released
    assert str(training) == "refused: no gain\nreleased: better at Drills-v0"


def test_evaluation_without_a_skill_measures_the_first_ones(agent: Agent, cycle: Cycle) -> None:
    assert "50 %" in str(agent.evaluate_model())
    assert cycle.asked == [("evaluate", "SupportDesk-v0"), ("evaluate", "Drills-v0")]


def test_learning_takes_an_environment_object(agent: Agent, cycle: Cycle) -> None:
    agent.learn(agent.system.make_environment("Drills-v0?level=1"))
    assert cycle.asked == [("learn", "Drills-v0?level=1")]


def test_object_without_a_name_is_refused_with_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"gymnasium\.register"):
        environment_name(SimpleNamespace())


def test_knowledge_says_what_changed(agent: Agent) -> None:
    assert agent.integrate_knowledge("The price of the lamp is 20 euros.").kind == "added"
    assert agent.integrate_knowledge("The price of the lamp is 20 euros.").kind == "confirmed"
    change = agent.integrate_knowledge("The price of the lamp is 25 euros.")
    assert change.kind == "superseded"
    assert agent.ask_knowledge("price lamp") == ["The price of the lamp is 25 euros."]


def test_task_in_words_is_answered_and_recorded(agent: Agent, replies: list[str]) -> None:
    replies.append("Traduisez.")
    answer = agent.execute_task("Translate this sentence into French.")
    assert str(answer) == "Traduisez."
    assert agent.system.episodes.get(answer.episode.id).release == "r0"


def test_empty_task_is_refused(agent: Agent) -> None:
    with pytest.raises(ConfigError, match="empty"):
        agent.execute_task("  ")


def test_task_may_use_the_knowledge_as_a_tool(agent: Agent, replies: list[str]) -> None:
    agent.integrate_knowledge("The shop opens at nine.")
    agent.tools = ("search_knowledge",)
    replies += ['{"search_knowledge": {"query": "shop"}}', "At nine."]
    answer = agent.execute_task("When does the shop open?")
    assert answer.text == "At nine."
    prompt = agent.system.engine.renderer.decode(agent.system.engine.requests[-1].prompt)  # type: ignore[attr-defined]
    assert "The shop opens at nine." in prompt


def test_unknown_tool_is_refused_with_what_there_is(agent: Agent) -> None:
    agent.tools = ("rm",)
    with pytest.raises(NotFoundError, match="search_knowledge"):
        agent.execute_task("clean up")


def test_dialogue_is_answered_turn_by_turn(agent: Agent, replies: list[str]) -> None:
    replies.append("Hello.")
    pieces: list[str] = []
    answer = agent.chat([{"role": "user", "content": "Hi"}], on_text=pieces.append)
    assert answer.text == "".join(pieces) == "Hello."


def test_environment_is_run_by_name(agent: Agent, replies: list[str]) -> None:
    replies += ["nonsense", "nonsense"]
    runs = agent.run("Drills-v0", tasks=2)
    assert [episode.success for episode in runs.episodes] == [False, False]
    assert "2 runs: 0% success" in str(runs)


def test_single_task_is_run(agent: Agent, replies: list[str]) -> None:
    replies.append("nonsense")
    (task,) = agent.system.make_environment("Drills-v0").tasks("development", 1)
    assert agent.run(task).episodes[0].task == task


def test_function_plays_the_agents_environment(agent: Agent) -> None:
    with pytest.raises(ConfigError, match="environment"):
        agent.run(lambda observation: "1")
    desk = agent.system.make_environment("SupportDesk-v0")
    expert = desk.expert(desk.tasks("train", 1)[0])
    assert expert is not None
    agent.environment = "SupportDesk-v0"
    runs = agent.run(expert)
    assert runs.success == 1.0
    assert runs.episodes[0].transcript.tokens == ()


def test_run_refuses_what_it_cannot_play(agent: Agent) -> None:
    with pytest.raises(ConfigError, match="not int"):
        agent.run(7)  # type: ignore[arg-type]
    with pytest.raises(NotFoundError, match="Drills-v0"):
        agent.run("Dril-v0")
