"""The system's tools by name, and calls of them that always come back.

In: a tool call with its key and time limit. Out: a `ToolResult`; whatever goes wrong is its `error`.
It does not know who may call what (see `permissions`).
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from llmagentos.errors import ConfigError
from llmagentos.records.calls import ToolResult
from llmagentos.records.identity import JSON
from llmagentos.records.message import ToolCall, ToolSpec
from llmagentos.tools.isolation import ToolFailure, ToolTimeout, run_isolated
from llmagentos.tools.tool import Tool

MAX_RESULT_BYTES = 1_000_000
"""A larger result fits no model's window and would fill the journal."""


class Toolbox:
    """A set of tools; thread-safe once it is filled."""

    def __init__(self, tools: Iterable[Tool] = ()) -> None:
        """ConfigError when two tools have one name."""
        self._tools: dict[str, Tool] = {}
        for tool in tools:
            self.add(tool)

    def add(self, tool: Tool) -> None:
        """Add a tool under its name."""
        if tool.spec.name in self._tools:
            raise ConfigError(f"There is a tool named {tool.spec.name!r} already. Give one of them another name=.")
        self._tools[tool.spec.name] = tool

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """What a model is told about each tool."""
        return tuple(tool.spec for tool in self._tools.values())

    def spec(self, name: str) -> ToolSpec | None:
        """One specification, None for an unknown name."""
        tool = self._tools.get(name)
        return tool.spec if tool is not None else None

    def idempotent(self, name: str) -> bool:
        """Whether a tool has its effect once for one key."""
        tool = self._tools.get(name)
        return tool is not None and tool.idempotent

    def call(self, call: ToolCall, *, key: str = "", seconds: float = 30.0) -> ToolResult:
        """Use a tool. Unknown names, wrong arguments, exceptions and time-outs are data in the result.

        After `seconds` an isolated tool is killed; another one is left behind in a daemon thread.
        """
        tool = self._tools.get(call.name)
        if tool is None:
            known = ", ".join(self._tools) or "none"
            return ToolResult(None, f"No tool named {call.name[:100]!r}. Tools: {known}.")
        problem = tool.check(call.arguments)
        if problem:
            return ToolResult(None, problem)
        try:
            if tool.isolated:
                value = run_isolated(tool.function, call.arguments, key if tool.idempotent else "", seconds)
            else:
                value = _within(seconds, lambda: tool.invoke(call.arguments, key))
        except ToolTimeout:
            return ToolResult(None, f"{call.name} took longer than {seconds:g} s and was given up.")
        except ToolFailure as failure:
            return ToolResult(None, f"{call.name} failed: {failure}")
        return _checked(call.name, value)


def _checked(name: str, value: JSON) -> ToolResult:
    try:
        size = len(msgspec.json.encode(value))
    except (TypeError, ValueError) as problem:
        return ToolResult(None, f"{name} returned what is not JSON: {problem}")
    if size > MAX_RESULT_BYTES:
        return ToolResult(None, f"{name} returned {size} bytes; at most {MAX_RESULT_BYTES} are taken.")
    return ToolResult(value)


def _within(seconds: float, function: Callable[[], Any]) -> JSON:
    """The function's value, `ToolFailure` for whatever it raises, `ToolTimeout` when it takes too long."""
    answers: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def work() -> None:
        try:
            answers.put((function(), None))
        except BaseException as problem:  # noqa: BLE001 (whatever a tool raises is data)
            answers.put((None, problem))

    threading.Thread(target=work, name="tool", daemon=True).start()
    try:
        value, problem = answers.get(timeout=seconds)
    except queue.Empty as late:
        raise ToolTimeout from late
    if problem is not None:
        raise ToolFailure(f"{type(problem).__name__}: {problem}") from problem
    return value
