"""An agent that is unsure says that nothing fits: no more often than the rule allows, and only where it helps."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from llmagentos.agent import Agent
from llmagentos.agentos import AgentOS
from llmagentos.cycle import Cycle, CycleSettings
from llmagentos.environments.language import LanguageEnvironment, Policy, StepResult
from llmagentos.environments.registry import make, write_query
from llmagentos.environments.requests import NAME, NOTHING_FITS
from llmagentos.evaluation.gate import GateRules
from llmagentos.learning.abstention import LOST, Weighed, weigh
from llmagentos.learning.language.imitation import Imitation, ImitationSettings
from llmagentos.learning.replying import confidence
from llmagentos.learning.second_opinion import Heard
from llmagentos.learning.trainer import AdapterSettings
from llmagentos.records.calls import Abstention
from llmagentos.records.episode import Episode
from llmagentos.records.message import ToolSpec
from llmagentos.records.task import Task
from llmagentos.records.transcript import Segment, Transcript

DESK = "UnsureDesk-v0"
CALL, WORDS = '{"order_status": {}}', "Ask a person."
IMITATION = Imitation(
    ImitationSettings(AdapterSettings(rank=4, alpha=8.0, learning_rate=1e-2), batch=4, pool=16, limit=30)
)


def run(probability: float, success: bool) -> Episode:
    told, said = Segment("prompt", (1, 2)), Segment("sampled", (3, 4), (math.log(probability), 0.0))
    return Episode(id="e", task=Task("T-v0", 0), transcript=Transcript("m", (told, said)), success=success)


def weighed(*cases: tuple[float, bool, bool]) -> Weighed:
    """Of (probability, right as it is, right with the words instead)."""
    heard = Heard([p for p, *_ in cases], [right for _, right, _ in cases], [1.0] * len(cases))
    return weigh(heard, [other for *_, other in cases], WORDS)


SURE = [(0.9, True, False)] * 200


def test_unsure_replies_are_replaced_where_that_is_right() -> None:
    found = weighed(*SURE, (0.3, False, True), (0.5, False, True), (0.2, False, False))
    assert found.abstention is not None
    assert 0.5 < found.abstention.below <= 0.9
    assert found.abstention.words == WORDS
    assert (found.gained, found.lost, found.tasks) == (2, 0, 203)
    assert found.after == pytest.approx(202 / 203)
    assert "0.70" in str(found)


def test_threshold_is_below_the_first_right_call_where_it_can_be() -> None:
    found = weighed(*SURE, (0.4, True, False), (0.3, False, True))
    assert found.abstention is not None
    assert 0.3 < found.abstention.below <= 0.4
    assert found.lost == 0


def test_few_right_calls_are_given_up_and_no_more() -> None:
    wrong = [(0.6 + n / 1000, False, True) for n in range(10)]
    few = [(0.5, True, False)] * int(LOST * 200)
    found = weighed(*SURE[: 200 - len(few)], *few, *wrong)
    assert (found.gained, found.lost) == (10, len(few))
    many = weighed(*SURE, *few, (0.5, True, False), *wrong)
    assert many.abstention is None
    assert many.after == many.before


@pytest.mark.parametrize(
    "cases",
    [
        SURE,
        [(0.1, False, False)] * 20,
        [(0.1, True, False), *SURE, (0.5, False, True)],
        [(0.5, False, True)] * 3 + [(0.2, True, True)],
        [],
    ],
)
def test_what_is_found_never_makes_it_worse(cases: list[tuple[float, bool, bool]]) -> None:
    found = weighed(*cases)
    assert found.after >= found.before
    below = found.abstention.below if found.abstention else 0.0
    after = [other if p < below else right for p, right, other in cases]
    assert found.after == pytest.approx(sum(after) / max(1, len(after)))
    assert (found.abstention is None) == (found.gained == 0)


def test_confidence_is_that_of_the_first_reply() -> None:
    assert confidence(run(0.25, True)) == pytest.approx(0.25)
    unknown = Transcript("m", (Segment("prompt", (1,)), Segment("sampled", (2,))))
    assert confidence(Episode(id="e", task=Task("T-v0", 0), transcript=unknown)) == 1


@pytest.mark.parametrize(("other", "words"), [("oos", NOTHING_FITS), ("refund", "")])
def test_requests_know_whether_words_can_be_right(tmp_path: Path, other: str, words: str) -> None:
    rows = [{"text": f"Request {n}", "label": other if n % 4 == 0 else "delay"} for n in range(200)]
    path = tmp_path / "tickets.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    env = make(NAME + write_query({"data": str(path)}))
    assert env.abstention == words


class Desk(LanguageEnvironment):
    """Every fourth request is for a person; the expert, who is shown, does not know that."""

    reply_tokens = 12
    abstention = WORDS

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        self.right = WORDS if int(seed or 0) % 4 == 0 else CALL
        tools = (ToolSpec("order_status"), ToolSpec("refund"))
        return f"my order {seed}", {"instructions": "Look it up.", "tools": tools}

    def step(self, action: str) -> StepResult:
        success = action.strip() == self.right
        return "", float(success), True, False, {"success": success, "lenient": success}

    def expert(self, task: Task) -> Policy:
        return lambda observation: CALL


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    gymnasium.register(DESK, lambda: Desk(DESK), order_enforce=False, disable_env_checker=True)
    yield
    gymnasium.registry.pop(DESK)


def test_release_abstains_and_lessons_do_not(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def always(*arguments: Any) -> Weighed:
        seen.append(weigh(*arguments))
        return Weighed(Abstention(1.0, WORDS), 4, 0.0, 1.0, 4, 0)

    monkeypatch.setattr("llmagentos.learning.replying.weigh", always)
    with AgentOS(tmp_path / "home", str(tiny_model)) as system:
        rules = GateRules(minimum_tasks=6, divergence_budget=None, resamples=400)
        cycle = Cycle(system.cycle.parts, CycleSettings(gate_tasks=40, development_tasks=4, rules=rules))
        verdict = cycle.learn(DESK, minutes=30, learner=IMITATION)
        assert verdict.released, verdict.reason
        (found,) = seen
        assert found.before == pytest.approx(0.75), "as the weights alone do"
        assert found.tasks == 1000
        assert [one.kind for one in system.releases.live().manifest.artefacts] == ["adapter", "router", "settings"]
        (candidate,) = system.releases.candidates()
        assert candidate.evidence["abstention"] == {
            "below": 1.0,
            "farther": -1.0,
            "tasks": 4,
            "before": 0.0,
            "after": 1.0,
            "gained": 4,
            "lost": 0,
        }
        for episode in (*cycle.evaluate(DESK, tasks=8).episodes, *Agent(system=system).run(DESK, tasks=8).episodes):
            (step,) = episode.steps
            assert (step.action, episode.success) == (WORDS, episode.task.seed % 4 == 0)
            assert [one.origin for one in episode.transcript.segments if one.tokens][-1] == "demonstration"
        cycle.teach(
            cycle.players.environment(DESK),
            IMITATION,
            cycle.players.adapter(system.releases.live(), DESK),
            minutes=0.01,
        )
        assert seen[-1].before == pytest.approx(0.75), "what is weighed is the agent's own reply again"


def test_what_is_far_from_all_that_is_known_is_left_alone_too() -> None:
    """Two thresholds: the agent is sure of what it has never seen, and unsure of what it has."""
    near = [(0.9, 0.99, True, False)] * 200
    strange = [(0.2 + n / 100, 0.995, False, True) for n in range(5)]
    unsure = [(0.8, 0.3 + n / 100, False, True) for n in range(5)]
    cases = [*near, *strange, *unsure]
    heard = Heard([sure for _, sure, *_ in cases], [right for *_, right, _ in cases], [one for one, *_ in cases])
    found = weigh(heard, [other for *_, other in cases], WORDS)
    assert found.abstention is not None
    assert 0.24 < found.abstention.farther <= 0.8
    assert 0.34 < found.abstention.below <= 0.99
    assert (found.gained, found.lost, found.after) == (10, 0, 1)
    assert "likeness of 0." in str(found)
    blind = weigh(Heard(heard.sure, heard.right, [1.0] * len(cases)), [other for *_, other in cases], WORDS)
    assert blind.abstention is not None
    assert (blind.abstention.farther, blind.gained) == (-1, 5)


def test_nearness_is_used_up_to_the_same_share_of_right_calls() -> None:
    cases = [(0.5 + n / 1000, True, False) for n in range(400)] + [(0.502, False, True)] * 5 + [(0.9, False, True)]
    heard = Heard([1.0] * len(cases), [right for _, right, _ in cases], [near for near, *_ in cases])
    found = weigh(heard, [other for *_, other in cases], WORDS)
    assert found.abstention is not None
    assert (found.gained, found.lost) == (3, 3) if False else found.lost <= LOST * 400
    assert found.after > found.before
