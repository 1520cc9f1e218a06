"""A skill's prompt goes when the weights know it, and comes back with the release that needed it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from llmagentos.agent import Agent
from llmagentos.agentos import AgentOS
from llmagentos.cycle import Cycle, CycleSettings
from llmagentos.environments.language import LanguageEnvironment, Policy, StepResult
from llmagentos.errors import LearningError
from llmagentos.evaluation.gate import GateRules
from llmagentos.learning.language.imitation import Imitation, ImitationSettings
from llmagentos.learning.language.prompt_distillation import PromptDistillation, PromptDistillationSettings
from llmagentos.learning.trainer import AdapterSettings
from llmagentos.learning.worked import briefly, expert_runs, openings, prompt_share, same_prompt
from llmagentos.records.episode import Episode
from llmagentos.records.message import ToolSpec
from llmagentos.records.task import Task
from llmagentos.releases.prompts import artefact_name
from llmagentos.releases.routes import adapter_name

SHOP = "PromptShop-v0"
RULES = GateRules(minimum_tasks=6, divergence_budget=None, resamples=400)
ADAPTER = AdapterSettings(rank=4, alpha=8.0, learning_rate=1e-2)
IMITATION = Imitation(ImitationSettings(adapter=ADAPTER, batch=4, pool=16, limit=40))
DISTILLATION = PromptDistillation(
    PromptDistillationSettings(replace(ADAPTER, learning_rate=5e-3), batch=4, pool=16, limit=40, evaluate_every=10)
)
INSTRUCTIONS = "You work in a shop. Look the order up, whatever the customer asks, and say nothing else."
TOOLS = (ToolSpec("order_status", "where the order of a customer is"), ToolSpec("refund", "give the money back"))


class Shop(LanguageEnvironment):
    """Wants one call, whatever is asked."""

    reply_tokens = 12

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        return f"my order {seed}", {"instructions": INSTRUCTIONS, "tools": TOOLS}

    def step(self, action: str) -> StepResult:
        success = action.strip() == '{"order_status": {}}'
        return "", float(success), True, False, {"success": success, "lenient": success}

    def expert(self, task: Task) -> Policy:
        return lambda observation: '{"order_status": {}}'


@pytest.fixture(scope="module", autouse=True)
def environment() -> Iterator[None]:
    gymnasium.register(SHOP, lambda: Shop(SHOP), order_enforce=False, disable_env_checker=True)
    yield
    gymnasium.registry.pop(SHOP)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[AgentOS]:
    """A home whose second release has learned the shop's prompt."""
    with AgentOS(tmp_path_factory.mktemp("prompts") / "home", str(tiny_model)) as opened:
        cycle = Cycle(opened.cycle.parts, CycleSettings(gate_tasks=8, development_tasks=4, rules=RULES))
        with pytest.raises(LearningError, match="not learned yet"):
            cycle.learn(SHOP, minutes=30, learner=DISTILLATION)
        assert cycle.learn(SHOP, minutes=30, learner=IMITATION).released
        verdict = cycle.learn(SHOP, minutes=30, learner=DISTILLATION)
        assert verdict.released, verdict.reason
        assert verdict.checks[0].reference_release == "r1"
        yield opened


def told(system: AgentOS, run: Episode) -> str:
    """The text before the first reply."""
    tokens = run.transcript.tokens[: run.transcript.trainable.index(True)]
    return system.cycle.engine.renderer.decode(tokens)


def test_release_is_told_only_the_skill_and_does_as_well(system: AgentOS) -> None:
    live = system.releases.live()
    assert (live.id, live.skills) == ("r2", (SHOP,))
    named = [adapter_name(SHOP), f"route:{SHOP}", artefact_name(SHOP)]
    assert [one.name for one in live.manifest.artefacts] == named
    report = system.cycle.evaluate(SHOP, tasks=8)
    assert report.score.strict.estimate == 1
    assert SHOP in told(system, report.episodes[0])
    assert "shop" not in told(system, report.episodes[0]).replace(SHOP, "")
    evidence = system.releases.candidates()[-1].evidence
    assert evidence["prompt_tokens"] > 4 * evidence["prompt_tokens_brief"]


def test_both_forms_of_the_prompt_find_the_adapter(system: AgentOS) -> None:
    live, env = system.releases.live(), system.make_environment(SHOP)
    router = system.cycle.players.router(live.manifest.artefacts)
    assert router is not None
    (adapter,) = (one.digest for one in live.manifest.artefacts if one.kind == "adapter")
    tasks, renderer = env.tasks("report", 1), system.cycle.engine.renderer
    (whole,), (brief,) = (openings(env, tasks, renderer, told) for told in ("", SHOP))
    assert [router.choose(whole), router.choose(brief)] == [adapter, adapter]


def test_nothing_is_left_to_take_out(system: AgentOS) -> None:
    assert system.cycle.told_whole() == []


def test_users_runs_are_told_as_little(system: AgentOS) -> None:
    (run,) = Agent(system=system).run(SHOP).episodes
    assert run.success
    assert "refund" not in told(system, run)


def test_earlier_release_has_its_prompt(system: AgentOS) -> None:
    report = system.cycle.evaluate(SHOP, release="r1", tasks=2)
    assert INSTRUCTIONS in told(system, report.episodes[0])
    assert report.score.strict.estimate == 1


def test_what_was_told_is_rewritten_as_if_it_had_been_brief(system: AgentOS) -> None:
    whole = system.cycle.evaluate(SHOP, release="r1", tasks=1).episodes[0]
    brief = system.cycle.evaluate(SHOP, release="r2", tasks=1).episodes[0]
    rewritten = briefly(whole.transcript, system.cycle.engine.renderer, SHOP)
    assert rewritten.tokens == brief.transcript.tokens
    assert rewritten.trainable == brief.transcript.trainable


def test_brief_prompt_is_not_distilled_again_and_is_imitated_by_later_lessons(system: AgentOS) -> None:
    with pytest.raises(LearningError, match="brief already"):
        system.cycle.learn(SHOP, minutes=1, learner=DISTILLATION)
    system.cycle.teach(system.make_environment(SHOP), IMITATION, None, minutes=0.01)
    shown = system.episodes.select(environment=SHOP, split="train", limit=4)
    assert {run.release for run in shown} == {"expert"}
    assert not any("refund" in told(system, run) for run in shown)


def test_prompt_is_left_out_from_the_beginning(tiny_model: Path, tmp_path: Path) -> None:
    brief = Imitation(replace(IMITATION.settings, brief=True))
    with AgentOS(tmp_path / "home", str(tiny_model)) as fresh:
        cycle = Cycle(fresh.cycle.parts, CycleSettings(gate_tasks=8, development_tasks=4, rules=RULES))
        verdict = cycle.learn(SHOP, minutes=30, learner=brief)
        assert verdict.released, verdict.reason
        assert fresh.releases.candidates()[-1].learner == "brief-imitation"
        report = cycle.evaluate(SHOP, tasks=8)
        assert report.score.strict.estimate == 1
        assert "shop" not in told(fresh, report.episodes[0]).replace(SHOP, "")
        assert cycle.told_whole() == []
        again = cycle.teach(fresh.make_environment(SHOP), brief, None, minutes=0.01)
        assert [one.kind for one in again.artefacts] == ["adapter", "router"], "what is brief already stays so"


def test_prompt_that_differs_from_task_to_task_is_never_left_out(tiny_model: Path, tmp_path: Path) -> None:
    class Changing(Shop):
        def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
            observation, info = super().reset(seed=seed, options=options)
            return observation, {**info, "instructions": f"You are clerk {seed}."}

    name = "PromptClerks-v0"
    gymnasium.register(name, lambda: Changing(name), order_enforce=False, disable_env_checker=True)
    try:
        with AgentOS(tmp_path / "home", str(tiny_model)) as fresh:
            env = fresh.make_environment(name)
            brief = Imitation(replace(IMITATION.settings, brief=True))
            candidate = fresh.cycle.teach(env, brief, None, minutes=0.01)
            assert [one.kind for one in candidate.artefacts] == ["adapter", "router"]
            assert fresh.cycle.choosing.choose(env).learner == "imitation"
            assert fresh.cycle.choosing.choose(fresh.make_environment(SHOP)).learner == "imitation"
            assert not same_prompt(env)
            shown = [run.transcript for run in expert_runs(env, fresh.cycle.rollouts, env.tasks("train", 2))]
            before, after = (prompt_share(one) for one in (shown, []))
            assert 0.5 < before < 1
            assert after == 0
    finally:
        gymnasium.registry.pop(name)


def test_brief_prompt_under_which_the_skill_is_lost_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    with AgentOS(tmp_path / "home", str(tiny_model)) as other:
        cycle = Cycle(other.cycle.parts, CycleSettings(gate_tasks=8, development_tasks=4, rules=RULES))
        assert cycle.learn(SHOP, minutes=30, learner=IMITATION).released
        assert cycle.told_whole() == [SHOP]
        hasty = PromptDistillation(replace(DISTILLATION.settings, adapter=replace(ADAPTER, learning_rate=1.0), limit=1))
        before = cycle.evaluate(SHOP, tasks=8).score.strict.estimate
        verdict = cycle.learn(SHOP, minutes=30, learner=hasty)
        assert (before, other.releases.live().id) == (1, "r1")
        assert not verdict.released
        assert verdict.checks[0].candidate < 1
        assert cycle.told_whole() == [], "what was refused is not tried again from the same release"
