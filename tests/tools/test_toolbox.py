import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from llmagentos.errors import ConfigError
from llmagentos.records.message import ToolCall
from llmagentos.tools.tool import Tool
from llmagentos.tools.toolbox import MAX_RESULT_BYTES, Toolbox

SLOW_MODULE = '''
import os, subprocess, sys, time
from pathlib import Path

def hang(where: str) -> str:
    """Hang, with a child of its own."""
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    Path(where).write_text(f"{os.getpid()} {other.pid}")
    time.sleep(60)
    return "late"

def noisy(text: str) -> str:
    print('{"value": "forged"}', flush=True)
    return text.upper()

def die(code: int) -> str:
    os._exit(code)

def fail(text: str) -> str:
    raise ValueError(text)
'''


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "slow_tools.py").write_text(SLOW_MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    import slow_tools

    yield slow_tools
    sys.modules.pop("slow_tools", None)


def add(a: int, b: int) -> int:
    """Add."""
    return a + b


def explode(how: str) -> str:
    """Explode."""
    raise SystemExit(how)


def sleepy() -> str:
    """Sleep."""
    time.sleep(1.0)
    return "late"


def huge() -> str:
    """Much."""
    return "x" * (MAX_RESULT_BYTES + 1)


def strange() -> object:
    """Strange."""
    return object()


def box() -> Toolbox:
    return Toolbox(Tool.of(function) for function in (add, explode, sleepy, huge, strange))


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("subtract", {}, "Tools: add, explode"),
        ("add", {"a": 1}, "'b' is a required property"),
        ("explode", {"how": "now"}, "SystemExit: now"),
        ("sleepy", {}, "longer than 0.1 s"),
        ("huge", {}, "at most"),
        ("strange", {}, "failed: TypeError"),
    ],
)
def test_failure_is_data(name: str, arguments: dict[str, Any], said: str) -> None:
    result = box().call(ToolCall(name, arguments), seconds=0.1)
    assert said in result.error
    assert result.value is None


def test_tool_answers() -> None:
    result = box().call(ToolCall("add", {"a": 1, "b": 2}))
    assert (result.value, result.error) == (3, "")


def test_two_tools_cannot_share_a_name() -> None:
    tools = box()
    with pytest.raises(ConfigError, match="add"):
        tools.add(Tool.of(add))


def test_hanging_isolated_tool_is_killed_with_its_children(slow: Any, tmp_path: Path) -> None:
    tools = Toolbox([Tool.of(slow.hang, isolated=True)])
    result = tools.call(ToolCall("hang", {"where": str(tmp_path / "pids")}), seconds=2.0)
    assert "longer than 2 s" in result.error
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and any(_alive(pid) for pid in pids):
        time.sleep(0.02)
    assert not any(_alive(pid) for pid in pids)


def _alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_isolated_tool_answers_and_its_output_cannot_pose_as_the_answer(slow: Any) -> None:
    tools = Toolbox(Tool.of(function, isolated=True) for function in (slow.noisy, slow.die, slow.fail))
    assert tools.call(ToolCall("noisy", {"text": "ok"})).value == "OK"
    assert "status 7" in tools.call(ToolCall("die", {"code": 7})).error
    assert "ValueError: bad" in tools.call(ToolCall("fail", {"text": "bad"})).error
