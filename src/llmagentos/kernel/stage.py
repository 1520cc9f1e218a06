"""One environment in use by one process.

In: a task and actions as JSON. Out: observations and results as JSON-able records.
An environment that raises or breaks its protocol gives `EnvironmentFault`; hanging is the scheduler's affair.
It does not know programs, models or the journal.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from llmagentos.errors import EnvironmentFault
from llmagentos.kernel.collaborators import Env
from llmagentos.records.calls import ActResult, Observation
from llmagentos.records.identity import JSON
from llmagentos.records.message import ToolSpec
from llmagentos.records.task import Task, reset_options

REPLIES = "replies"
"""Under which `info` says what can be replied: a regular expression, or a list of all of it."""

ResultT = TypeVar("ResultT")


class Stage:
    """An environment between `reset` and `close`."""

    def __init__(self, task: Task, make: Callable[[Task], Env]) -> None:
        """Make the environment; anything may go wrong in there and becomes `EnvironmentFault`."""
        self._task = task
        self._env = self._guard("was made", lambda: make(task))
        self.replayable: bool = bool(getattr(self._env.unwrapped, "replayable", True))
        self.tool_names: tuple[str, ...] = ()

    def observe(self) -> Observation:
        """Reset to the task."""
        task = self._task
        answer: Any = self._guard("was reset", lambda: self._env.reset(seed=task.seed, options=reset_options(task)))
        if not isinstance(answer, tuple) or len(answer) != 2 or not isinstance(answer[1], Mapping):
            raise EnvironmentFault(
                f"{task.environment}: reset() must return (observation, info), got {_brief(answer)}."
            )
        raw, info = answer
        tools = self._guard("described its tools", lambda: tuple(_tool(one) for one in info.get("tools", ())))
        self.tool_names = tuple(tool.name for tool in tools)
        text, value = self._read(raw)
        return Observation(text, str(info.get("instructions", "")), tools, value, self._replies(info))

    def act(self, action: JSON) -> ActResult:
        """Step; the action is text, or JSON of an element of the action space."""
        task = self._task

        def step() -> Any:
            element = action
            if not isinstance(action, str):
                element = self._env.action_space.from_jsonable([action])[0]
            return self._env.step(element)

        answer = self._guard(f"was given {_brief(action)}", step)
        if not isinstance(answer, tuple) or len(answer) != 5 or not isinstance(answer[4], Mapping):
            raise EnvironmentFault(
                f"{task.environment}: step() must return (observation, reward, terminated, truncated, info), "
                f"got {_brief(answer)}."
            )
        raw, reward, terminated, truncated, info = answer
        number = self._guard("rewarded", lambda: float(reward))
        if not math.isfinite(number):
            raise EnvironmentFault(
                f"{task.environment} was given {_brief(action)} and rewarded it with {number}. "
                "A reward is a finite number; look for a division by zero or the logarithm of nothing in step()."
            )
        text, value = self._read(raw)
        told = _json_part({key: one for key, one in info.items() if key != REPLIES})
        return ActResult(text, number, bool(terminated), bool(truncated), told, value, self._replies(info))

    def close(self) -> None:
        """Let the environment free what it holds."""
        self._guard("was closed", self._env.close)

    def _read(self, raw: Any) -> tuple[str, JSON]:
        if isinstance(raw, str):
            return raw, None
        value = self._guard("observed", lambda: plain(self._env.observation_space.to_jsonable([raw])[0]))
        return msgspec.json.encode(value).decode(), value

    def _replies(self, info: Mapping[str, Any]) -> str:
        """What can be replied by `info`, as a regular expression; empty where it does not say."""
        said = info.get(REPLIES, "")
        if not isinstance(said, str):
            said = self._guard("listed the replies that there are", lambda: "|".join(map(re.escape, said)))
        try:
            re.compile(said)
        except re.error as problem:
            raise EnvironmentFault(
                f"{self._task.environment}: info[{REPLIES!r}] is {_brief(said)}, which is no regular expression "
                f"({problem}). Give one, or a list of all replies that there are."
            ) from problem
        return said

    def _guard(self, doing: str, action: Callable[[], ResultT]) -> ResultT:
        try:
            return action()
        except EnvironmentFault:
            raise
        except BaseException as problem:
            name = type(problem).__name__
            raise EnvironmentFault(f"{self._task.environment} raised {name} when it {doing}: {problem}") from problem


def plain(value: Any) -> JSON:
    """JSON of a value that may hold arrays and numpy numbers."""
    return msgspec.to_builtins(value, enc_hook=_array)


def _array(value: Any) -> JSON:
    import numpy as np

    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not JSON")


def _json_part(info: Mapping[str, Any]) -> dict[str, JSON]:
    part: dict[str, JSON] = {}
    for key, value in info.items():
        try:
            part[str(key)] = value if isinstance(value, bool | str | int | float) else plain(value)
        except (TypeError, ValueError):
            continue  # the record promises only the JSON-able part of info
    return part


def _tool(said: Any) -> ToolSpec:
    """A tool as a `ToolSpec`, as the same in JSON, or as chat APIs have it, inside `function`."""
    inside = isinstance(said, Mapping) and said.get("type") == "function"
    return msgspec.convert(said["function"] if inside else said, ToolSpec)


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + "..."
