"""Tools in a child process that can be killed. This is no sandbox: the code is trusted, only its patience is not.

In: a function that is found by its name, JSON arguments, a time limit. Out: its JSON value.
Run as a module it is the child: a request on standard input, the answer on standard output, JSON both ways.
It does not know toolboxes or permissions.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from llmagentos.programs.registry import load, qualified_name
from llmagentos.records.identity import JSON


class ToolFailure(Exception):
    """The tool raised; the text says what."""


class ToolTimeout(Exception):
    """The tool took too long."""


def run_isolated(function: Callable[..., Any], arguments: Mapping[str, JSON], key: str, seconds: float) -> JSON:
    """Call `function` in a child process; after `seconds` it and its own children are killed."""
    request = {"function": qualified_name(function), "arguments": dict(arguments), "key": key}
    child = subprocess.Popen(
        [sys.executable, "-m", "llmagentos.tools.isolation"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        start_new_session=True,
    )
    try:
        output, _ = child.communicate(msgspec.json.encode(request), timeout=seconds)
    except subprocess.TimeoutExpired as late:
        _kill(child)
        raise ToolTimeout from late
    if child.returncode != 0 or not output:
        raise ToolFailure(f"its process ended with status {child.returncode} and no answer.")
    answer = msgspec.json.decode(output)
    if "error" in answer:
        raise ToolFailure(answer["error"])
    return answer["value"]


def _kill(child: subprocess.Popen[bytes]) -> None:
    """Kill the child's whole session; it has not been waited for, so its number is still its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.communicate()


def main() -> None:
    """The child's side; what the tool prints goes nowhere, so that it cannot pose as an answer."""
    from llmagentos.tools.tool import Tool

    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    request = msgspec.json.decode(sys.stdin.buffer.read())
    try:
        value = Tool.of(load(request["function"])).invoke(request["arguments"], request["key"])
        answer = msgspec.json.encode({"value": value})
    except BaseException as problem:  # noqa: BLE001 (whatever a tool raises is data)
        answer = msgspec.json.encode({"error": f"{type(problem).__name__}: {problem}"})
    answers.write(answer)
    answers.close()


if __name__ == "__main__":
    main()
