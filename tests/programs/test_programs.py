from typing import Any

import pytest

from llmagentos.errors import ConfigError, EnvironmentFault, NotFoundError
from llmagentos.programs.chat import chat
from llmagentos.programs.demonstrate import demonstrate
from llmagentos.programs.opening import opening
from llmagentos.programs.policy import policy
from llmagentos.programs.react import react
from llmagentos.programs.registry import BUILT_IN, journal_arguments, qualified_name, resolve
from llmagentos.records.calls import Act, ActResult, CallTool, Generate, Observation, Observe, ProgramRun, ToolResult
from llmagentos.records.generation import Completion
from llmagentos.records.message import Message, ToolCall, ToolSpec

REFUND = ToolSpec(
    "refund",
    "pay the money back",
    {"type": "object", "properties": {"order": {"type": "string"}}, "required": ["order"]},
    effect=True,
)
CALL = '{"refund": {"order": "7"}}'


def said(text: str) -> Completion:
    return Completion((1,), text, None, "stop")


def answered(text: str, done: bool = False) -> ActResult:
    return ActResult(text, 0.0, done, False)


def drive(run: ProgramRun, replies: list[Any]) -> tuple[list[Any], Any]:
    """Play `run` against prepared replies; the calls it made and what it returned."""
    calls = [next(run)]
    for reply in replies:
        try:
            calls.append(run.send(reply))
        except StopIteration as end:
            return calls, end.value
    return calls, None


def expert(observation: str) -> str:
    return CALL if "money" in observation else "bye"


def test_chat_converses_until_the_environment_ends() -> None:
    calls, value = drive(
        chat(), [Observation("hi", "Be kind."), said("hello"), answered("more"), said("bye"), answered("", True)]
    )
    assert calls == [
        Observe(),
        Generate((Message("system", "Be kind."), Message("user", "hi", outside=True))),
        Act("hello"),
        Generate((Message("user", "more", outside=True),)),
        Act("bye"),
    ]
    assert value == "bye"


def test_chat_answers_messages_once() -> None:
    history = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    calls, value = drive(chat(history, instructions="Short."), [said("d")])
    roles = [message.role for message in calls[0].messages]
    assert roles == ["system", "user", "assistant", "user"]
    assert value == "d"


def test_react_keeps_to_the_replies_that_there_are_where_it_is_constrained_and_has_no_tools() -> None:
    later = ActResult("more", 0.0, False, False, replies="stay")
    replies = [Observation("hi", replies="go|stay"), said("go"), answered("on"), said("go"), later, said("stay")]
    calls, _ = drive(react(constrained=True), replies)
    asked = [call for call in calls if isinstance(call, Generate)]
    assert [call.replies for call in asked] == ["go|stay", "go|stay", "stay"]
    calls, _ = drive(react(), replies)
    assert {call.replies for call in calls if isinstance(call, Generate)} == {""}
    with_tools = [Observation("hi", tools=(REFUND,), replies="go|stay"), said("go"), later, said("stay")]
    calls, _ = drive(react(constrained=True), with_tools)
    assert {call.replies for call in calls if isinstance(call, Generate)} == {""}


def test_an_expert_says_what_an_agent_there_could_say() -> None:
    later = ActResult("more", 0.0, False, False, replies="stay")
    told = [Observation("hi", replies="go|stay"), said("go"), later]
    with pytest.raises(EnvironmentFault, match=r"'run', which is none of the replies that there are: go\|stay"):
        drive(demonstrate(lambda observation: "run"), told)
    with pytest.raises(EnvironmentFault, match="'go', which is none of the replies that there are: stay"):
        drive(demonstrate(lambda observation: "go"), told)
    calls, _ = drive(
        demonstrate(lambda observation: "go"), [Observation("hi", tools=(REFUND,), replies="stay"), said("go")]
    )
    assert calls[-1] == Act("go"), "with tools an agent is held to their calls"


def test_react_acts_with_the_whole_reply_and_names_the_call() -> None:
    calls, _ = drive(react(), [Observation("my money", "Desk.", (REFUND,)), said(CALL), answered("paid"), said("ok")])
    assert calls[2] == Act(CALL, ToolCall("refund", {"order": "7"}))
    assert calls[3] == Generate((Message("tool", "paid", outside=True),))
    assert calls[4] == Act("ok")


def test_react_uses_system_tools_beside_the_environment() -> None:
    search = {"name": "search", "description": "find"}
    calls, _ = drive(
        react(tools=[search]),
        [Observation("q", "", (REFUND,)), said('{"search": {}}'), ToolResult(["x"]), said(CALL), answered("paid")],
    )
    assert calls[2] == CallTool(ToolCall("search"))
    assert calls[3] == Generate((Message("tool", '["x"]', outside=True),))
    assert isinstance(calls[4], Act)


def test_react_keeps_the_environments_tool_when_names_collide() -> None:
    calls, _ = drive(react(tools=[{"name": "refund"}]), [Observation("q", "", (REFUND,)), said(CALL)])
    assert isinstance(calls[2], Act)


def test_react_without_environment_ends_with_words() -> None:
    calls, value = drive(
        react(goal="find it", tools=[{"name": "search"}]),
        [said('{"nothing": {}}'), said('{"search": {}}'), ToolResult(None, "broken"), said("not found")],
    )
    assert "No tool named" in calls[1].messages[0].content
    assert calls[3].messages == (Message("tool", "broken", outside=True),)
    assert value == "not found"


def test_examples_are_prompt_not_outside_text() -> None:
    messages = opening("i", (), [["o1", "r1", "o2", "r2"]], Message("user", "now", outside=True))
    assert [message.role for message in messages] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert [message.outside for message in messages] == [False] * 5 + [True]


def test_demonstration_asks_exactly_what_react_asks() -> None:
    seen = Observation("money?", "Desk.", (REFUND,))
    sampled, _ = drive(react(), [seen, said(CALL), answered("paid"), said("bye"), answered("", True)])
    forced, _ = drive(demonstrate(expert), [seen, said(CALL), answered("paid"), said("bye"), answered("", True)])
    assert [call.forced for call in forced if isinstance(call, Generate)] == [CALL, "bye"]
    prompts = [[call.messages for call in calls if isinstance(call, Generate)] for calls in (sampled, forced)]
    assert prompts[0] == prompts[1]


def test_policy_never_generates_and_sees_values() -> None:
    def double(value: Any) -> Any:
        return value * 2

    seen = Observation("4", value=4)
    calls, _ = drive(policy(double), [seen, ActResult("5", 0, False, False, value=5), answered("", True)])
    assert calls == [Observe(), Act(8), Act(10)]


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_registered_program_is_found_with_a_digest(name: str) -> None:
    program = resolve(name)
    assert program.resumable
    assert len(program.digest) == 64


def test_function_of_a_module_is_resumable_and_a_closure_is_not() -> None:
    def inner() -> ProgramRun:
        yield Observe()

    assert resolve(inner).resumable is False
    assert resolve(chat).name == "llmagentos.programs.chat:chat"
    assert qualified_name(lambda: None) is None
    assert journal_arguments({"function": inner, "n": 1})[1] is False
    assert journal_arguments({"function": chat}) == ({"function": "llmagentos.programs.chat:chat"}, True)


def test_unknown_program_names_those_there_are() -> None:
    with pytest.raises(NotFoundError, match="react"):
        resolve("telepathy")
    with pytest.raises(NotFoundError, match="no_such_module"):
        resolve("no_such_module:f")
    with pytest.raises(NotFoundError):
        resolve("llmagentos.programs.chat:nothing")
    with pytest.raises(ConfigError, match="not a function"):
        resolve("llmagentos.programs.registry:BUILT_IN")


@pytest.mark.parametrize("program", [demonstrate, policy])
def test_missing_expert_is_refused_instead_of_sampled(program: Any) -> None:
    with pytest.raises(ConfigError, match="without an expert"):
        next(program(None))
