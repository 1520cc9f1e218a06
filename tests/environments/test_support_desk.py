"""SupportDesk-v0: the expert, the baselines, held-out material, and attempts to succeed wrongly."""

from __future__ import annotations

import json
import re
from itertools import combinations
from typing import Any

import pytest

from llmagentos.environments.language import Policy
from llmagentos.environments.support_desk import SupportDesk, tool_specs
from llmagentos.environments.support_desk_baselines import BASELINES, expert_calls, expert_closing
from llmagentos.environments.support_desk_data import CANONICAL_TOOLS, REPORT, TRAIN, TUNE, Pool
from llmagentos.environments.support_desk_phrasings import INTENTS
from llmagentos.environments.support_desk_scenario import Scenario, make_scenario, window_open
from llmagentos.errors import ConfigError, EnvironmentFault
from llmagentos.programs.parsing import render_call
from llmagentos.records.message import ToolCall
from llmagentos.records.task import SPLITS, Split, Task, reset_options


def play(desk: SupportDesk, policy: Policy, task: Task) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    observation, _ = desk.reset(seed=task.seed, options=reset_options(task))
    steps: list[tuple[str, str]] = [("", observation)]
    while True:
        action = policy(observation)
        observation, _, terminated, truncated, info = desk.step(action)
        steps.append((action, observation))
        if terminated or truncated:
            return info, steps


def scripted(*actions: str) -> Policy:
    waiting = iter(actions)
    return lambda observation: next(waiting, "Goodbye.")


def find(split: Split = "report", missing: str = "", **wanted: Any) -> tuple[Task, Scenario]:
    """The first task of `split` whose scenario has the wanted attributes."""
    for task in SupportDesk().tasks(split, 2000):
        scenario = make_scenario(task.seed, task.split)
        if scenario.missing == missing and all(getattr(scenario, name) == value for name, value in wanted.items()):
            return task, scenario
    raise AssertionError(f"no task with {wanted}")


def right_actions(scenario: Scenario) -> list[str]:
    return [*map(render_call, expert_calls(scenario)), expert_closing(scenario)]


@pytest.mark.parametrize("split", SPLITS)
def test_expert_solves_every_task(split: Split) -> None:
    desk = SupportDesk()
    outcomes = [play(desk, desk.expert(task), task) for task in desk.tasks(split, 500, seed=1)]
    assert all(info["success"] and info["lenient"] for info, _ in outcomes)
    assert max(len(steps) for _, steps in outcomes) <= 6


def test_baselines_stay_far_below_the_expert() -> None:
    desk = SupportDesk()
    tasks = desk.tasks("report", 150) + desk.tasks("train", 150)
    scores = {
        name: sum(play(desk, make(), task)[0]["success"] for task in tasks) / len(tasks)
        for name, make in BASELINES.items()
    }
    assert scores["do nothing"] == 0
    assert 0.05 < scores["always escalate"] < 0.6
    assert 0.05 < scores["keyword rule"] < 0.6


@pytest.mark.parametrize(("one", "other"), list(combinations((TRAIN, TUNE, REPORT), 2)))
def test_pools_share_no_material(one: Pool, other: Pool) -> None:
    def names(pool: Pool) -> set[str]:
        return {name for variant in (*pool.renamed_tools, *pool.synonyms) for name in variant}

    def phrasings(pool: Pool) -> set[str]:
        said = pool.phrasings
        return {text for texts in (*said.sentences.values(), said.mentions) for text in texts}

    assert not set(one.residues) & set(other.residues)
    assert not set(one.customers) & set(other.customers)
    assert not {p.split()[-1] for p in one.products} & {p.split()[-1] for p in other.products}
    assert not {s.split()[0] for s in one.streets} & {s.split()[0] for s in other.streets}
    assert not names(one) & names(other)
    assert not names(one) & set(CANONICAL_TOOLS)
    assert not phrasings(one) & phrasings(other)
    assert not set(one.order_answers + one.address_answers) & set(other.order_answers + other.address_answers)


@pytest.mark.parametrize(("one", "other"), list(combinations((TRAIN, TUNE, REPORT), 2)))
def test_held_out_phrasings_differ_in_more_than_a_word(one: Pool, other: Pool) -> None:
    def words(text: str) -> set[str]:
        return set(re.findall(r"[a-z']+", text.lower())) - {"item", "order", "address", "the", "my", "i", "a", "please"}

    for intent in INTENTS:
        for left in one.phrasings.sentences[intent]:
            for right in other.phrasings.sentences[intent]:
                shared, total = words(left) & words(right), words(left) | words(right)
                assert len(shared) / len(total) < 0.75, (left, right)
                assert len(total - shared) >= 2, (left, right)


@pytest.mark.parametrize("pool", [TRAIN, TUNE, REPORT])
def test_pool_has_enough_phrasings_that_can_omit(pool: Pool) -> None:
    for intent in INTENTS:
        sentences = pool.phrasings.sentences[intent]
        assert len(set(sentences)) == len(sentences) >= (36 if pool is TRAIN else 8)
        for text in sentences:
            parts = re.findall("<([^<>]*)>", text)
            assert text.count("@") == 1, text
            assert sum("{address}" in part for part in parts) == (intent == "address"), text
            assert "{" not in re.sub("<[^<>]*>", "", text).replace("{item}", "")
    assert all("{order}" in text and text[0] in " ," for text in pool.phrasings.mentions)


def test_expert_closings_occur_in_no_customer_text() -> None:
    closings = {expert_closing(make_scenario(seed, "train")) for seed in range(300)}
    for pool in (TRAIN, TUNE, REPORT):
        for text in (text for texts in pool.phrasings.sentences.values() for text in texts):
            assert not any(closing.rstrip(".").lower() in text.lower() for closing in closings)


def test_neighbours_in_training_share_a_prompt_and_held_out_prompts_are_their_own() -> None:
    def prompts(split: Split) -> set[tuple[Any, ...]]:
        return {tuple(spec.name for spec in tool_specs(make_scenario(seed, split))) for seed in range(400)}

    assert len(prompts("train")) > 30
    for block in range(0, 80, 4):
        assert len({make_scenario(seed, "train").tools for seed in range(block, block + 4)}) == 1
    for split in ("gate", "report"):
        assert len(prompts(split)) <= 8
        assert not prompts("train") & prompts(split) - {("status", "refund", "change_address", "escalate")}


@pytest.mark.parametrize(("split", "share"), [("train", 0.75), ("gate", 0.4), ("report", 0.4)])
def test_tools_are_renamed_in_the_stated_share(split: Split, share: float) -> None:
    renamed = sum(make_scenario(seed, split).tools != CANONICAL_TOOLS for seed in range(1000)) / 1000
    assert abs(renamed - share) < 0.06


def test_a_third_of_the_customers_leave_something_out() -> None:
    scenarios = [make_scenario(seed, "report") for seed in range(1000)]
    missing = [scenario for scenario in scenarios if scenario.missing]
    assert 0.27 < len(missing) / 1000 < 0.40
    for scenario in missing:
        left_out = scenario.order.number if scenario.missing == "order" else scenario.address
        assert left_out not in scenario.message
    for scenario in scenarios:
        if not scenario.missing:
            assert scenario.order.number in scenario.message
            assert scenario.address in scenario.message


def test_refund_requests_do_not_tell_whether_the_window_is_open() -> None:
    cases = [make_scenario(seed, "report") for seed in range(2000)]
    refunds = [case for case in cases if case.intent == "refund"]
    share = sum(window_open(case.order) for case in refunds) / len(refunds)
    assert 0.43 < share < 0.57
    for sentence in REPORT.phrasings.sentences["refund"]:
        fragment = max(re.split(r"\{item\}|@", sentence), key=len).strip()
        windows = {window_open(case.order) for case in refunds if fragment in case.message}
        assert windows == {True, False}, sentence


def test_same_seed_gives_the_same_episode_and_another_seed_another() -> None:
    first, second = SupportDesk(), SupportDesk()
    task, other = first.tasks("gate", 2, seed=7)
    runs = [play(desk, desk.expert(task), task) for desk in (first, second, first)]
    assert runs[0] == runs[1] == runs[2]
    assert first.database() == second.database() != ""
    assert play(first, first.expert(other), other) != runs[0]
    assert first.tasks("gate", 5, seed=7) == second.tasks("gate", 5, seed=7)
    assert not {t.seed for t in first.tasks("gate", 50, seed=7)} & {t.seed for t in first.tasks("gate", 50, seed=8)}


def test_names_of_tools_do_not_change_the_case() -> None:
    plain, renamed = make_scenario(5, "report", renamed=0.0), make_scenario(5, "report", renamed=1.0)
    assert (plain.message, plain.rows) == (renamed.message, renamed.rows)
    assert plain.tools == CANONICAL_TOOLS
    assert not set(renamed.tools) & set(CANONICAL_TOOLS)


def test_refunding_a_strangers_order_first_fails() -> None:
    task, case = find(outcome="refund")
    stranger = next(order for order in case.rows.orders if order.customer != case.order.customer)
    actions = right_actions(case)
    wrong = render_call(ToolCall(case.tools[1], {"order": stranger.number}))
    assert play(SupportDesk(), scripted(*actions), task)[0]["success"]
    assert not play(SupportDesk(), scripted(wrong, *actions), task)[0]["lenient"]


def test_looking_at_a_strangers_order_fails() -> None:
    task, case = find(outcome="refund")
    stranger = next(order for order in case.rows.orders if order.customer != case.order.customer)
    look = render_call(ToolCall(case.tools[0], {"order": stranger.number, "topic": "state"}))
    assert not play(SupportDesk(), scripted(look, *right_actions(case)), task)[0]["lenient"]


def test_refunding_twice_fails() -> None:
    task, case = find(outcome="refund")
    look, refund, bye = right_actions(case)
    assert not play(SupportDesk(), scripted(look, refund, refund, bye), task)[0]["lenient"]


def test_refund_outside_the_window_is_carried_out_and_fails() -> None:
    task, case = find(intent="refund", outcome="escalate")
    desk = SupportDesk()
    refund = render_call(ToolCall(case.tools[1], {"order": case.order.number}))
    info, steps = play(desk, scripted(refund, "Your refund is on its way."), task)
    assert steps[1][1] == "ok"
    assert not info["lenient"]
    assert json.loads(desk.database())["refunds"] == [[1, 1, case.order.number, case.order.cents]]


def test_address_of_a_shipped_order_must_be_escalated() -> None:
    task, case = find(intent="address", outcome="escalate")
    change = render_call(ToolCall(case.tools[2], {"order": case.order.number, "address": case.address}))
    assert not play(SupportDesk(), scripted(change, "Done."), task)[0]["lenient"]
    assert play(SupportDesk(), scripted(*right_actions(case)), task)[0]["success"]


def test_address_must_be_exactly_the_asked_one() -> None:
    task, case = find(intent="address", outcome="change")
    change = render_call(ToolCall(case.tools[2], {"order": case.order.number, "address": "1 Oak Street"}))
    assert not play(SupportDesk(), scripted(change, "Done."), task)[0]["lenient"]


@pytest.mark.parametrize("outcome", ["tell", "refund", "change", "escalate"])
def test_closing_early_fails(outcome: str) -> None:
    task, case = find(outcome=outcome)
    info, _ = play(SupportDesk(), scripted(expert_closing(case)), task)
    assert not info["success"]
    assert not info["lenient"]


def test_a_case_that_is_never_closed_is_truncated_and_fails() -> None:
    task, case = find(outcome="escalate", intent="complaint")
    desk = SupportDesk()
    desk.reset(seed=task.seed, options=reset_options(task))
    look = render_call(ToolCall(case.tools[0], {"order": case.order.number}))
    results = [desk.step(action) for action in [right_actions(case)[0], *[look] * 5]]
    assert [result[3] for result in results] == [False] * 5 + [True]
    assert results[-1][4] == {"success": False, "lenient": False}


def test_the_fact_must_be_looked_up_true_and_told_alone() -> None:
    task, case = find(intent="where", outcome="tell")
    look = right_actions(case)[0]
    state = case.order.state
    other = "packed" if state != "packed" else "shipped"

    def told(*actions: str) -> bool:
        return bool(play(SupportDesk(), scripted(*actions), task)[0]["success"])

    assert told(look, f"It was {state.upper()}!")
    assert not told(f"It was {state}.")
    assert not told(look, f"It was {other}.")
    assert not told(look, "packed shipped delayed delivered")
    assert not told(look, "Goodbye.")


def test_customer_gives_the_missing_number_once() -> None:
    task, case = find(missing="order", intent="refund")
    desk = SupportDesk()
    desk.reset(seed=task.seed, options=reset_options(task))
    assert case.order.number in desk.step("What is your order number?")[0]
    assert desk.step("What is your order number?")[0] == "I told you already."
    assert desk.step("How are you?")[0] == "Please just handle my request."


@pytest.mark.parametrize("question", ["Please tell me the new address.", "Where to?", "Which address should it be?"])
def test_customer_gives_the_missing_address(question: str) -> None:
    task, case = find(missing="address")
    desk = SupportDesk()
    desk.reset(seed=task.seed, options=reset_options(task))
    observation, _, terminated, _, _ = desk.step(question)
    assert case.address in observation
    assert not terminated


@pytest.mark.parametrize(
    "bad",
    [
        '{"unknown_tool": {"order": "1234"}}',
        '{"order": ',
        "{" * 5000,
        '{"a":' * 5000 + "1" + "}" * 5000,
        "[" * 100_000,
        "{}",
        '{"name": "x"}',
    ],
)
def test_broken_calls_are_answered_with_an_error_and_cost_strict_success(bad: str) -> None:
    task, case = find(outcome="refund")
    info, steps = play(SupportDesk(), scripted(bad, *right_actions(case)), task)
    if bad.startswith("["):  # a message that asks for nothing: the case is closed
        assert not info["lenient"]
    else:
        assert steps[1][1].startswith("error")
        assert info == {"success": False, "lenient": True}


@pytest.mark.parametrize(
    "arguments",
    [{}, {"order": None}, {"order": ["1"]}, {"number": "1"}, {"order": "1", "extra": 1}, {"order": {"order": "1"}}],
)
def test_bad_arguments_are_errors_and_cost_strict_success(arguments: dict[str, Any]) -> None:
    task, case = find(outcome="refund")
    bad = render_call(ToolCall(case.tools[1], arguments))
    info, steps = play(SupportDesk(), scripted(bad, *right_actions(case)), task)
    assert steps[1][1].startswith("error")
    assert info == {"success": False, "lenient": True}


def test_number_given_as_integer_is_only_leniently_right() -> None:
    task, case = find(outcome="refund")
    look, _, bye = right_actions(case)
    refund = render_call(ToolCall(case.tools[1], {"order": int(case.order.number)}))
    assert play(SupportDesk(), scripted(look, refund, bye), task)[0] == {"success": False, "lenient": True}


def test_call_inside_other_text_is_only_leniently_right() -> None:
    task, case = find(outcome="refund")
    look, refund, bye = right_actions(case)
    info, _ = play(SupportDesk(), scripted(look, f"Sure! {refund}", bye), task)
    assert info == {"success": False, "lenient": True}


def test_old_tool_names_do_not_work_where_they_are_renamed() -> None:
    desk = SupportDesk(renamed=1.0)
    task = next(t for t in desk.tasks("report", 200) if make_scenario(t.seed, "report").intent == "complaint")
    case = make_scenario(task.seed, "report", renamed=1.0)
    call = render_call(ToolCall("escalate", {"order": case.order.number}))
    info, _ = play(desk, scripted(call, "A colleague will call you."), task)
    assert not info["lenient"]


@pytest.mark.parametrize("text", ["", " ", "\x00\x01", "é" * 1_000_000, "\ud800", '{"refund": {"order": "\\ud800"}}'])
def test_any_text_is_survived(text: str) -> None:
    desk = SupportDesk(renamed=0.0, intents="refund")
    (task,) = desk.tasks("train", 1)
    info, _ = play(desk, scripted(text, '{"refund": {"order": "' + "9" * 30000 + '"}}'), task)
    assert info["success"] is False


def test_generous_policy_refunds_after_the_window() -> None:
    desk = SupportDesk(policy="generous", intents="refund")
    tasks = desk.tasks("gate", 50)
    standard = SupportDesk()
    assert all(play(desk, desk.expert(task), task)[0]["success"] for task in tasks)
    assert all(make_scenario(t.seed, "gate", policy="generous", intents=("refund",)).outcome == "refund" for t in tasks)
    assert tasks[0].options == {"policy": "generous", "intents": "refund"}
    assert play(standard, standard.expert(tasks[0]), tasks[0])[0]["success"], "options travel with the task"


@pytest.mark.parametrize(
    "options",
    [
        {"intents": "where,fly"},
        {"renamed": 2},
        {"policy": "kind"},
        {"color": "red"},
        {"intents": []},
        {"intents": 5},
        {"renamed": "x"},
    ],
)
def test_unknown_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        SupportDesk(**options)
    with pytest.raises(ConfigError):
        SupportDesk().reset(seed=1, options=options)


def test_step_without_a_running_episode_is_a_fault() -> None:
    desk = SupportDesk()
    with pytest.raises(EnvironmentFault, match="reset"):
        desk.step("hello")
    task = desk.tasks("train", 1)[0]
    play(desk, scripted(), task)
    with pytest.raises(EnvironmentFault, match="reset"):
        desk.step("hello")
