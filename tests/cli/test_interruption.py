"""Ctrl-C and kill in the middle of learning: clean ends, nothing lost, the same command goes on."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmagentos.agentos import AgentOS

ROOT = Path(__file__).parent.parent.parent
LEARN = ["learn", "--env", f"{ROOT / 'examples' / 'odd_or_even.py'}:OddOrEven-v0", "--learner", "imitation"]


@pytest.fixture
def home(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("LLMAGENTOS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LLMAGENTOS_MODEL", str(tiny_model))
    monkeypatch.setenv("LLMAGENTOS_THREADS", "1")
    yield tmp_path / "home"
    AgentOS(tmp_path / "home").close()


def stopped(minutes: float, how: signal.Signals) -> tuple[int, str]:
    """Start to learn, stop when a tenth is done; the exit code and what was said."""
    command = [sys.executable, "-c", "from llmagentos.cli.main import main; main()", *LEARN, "--minutes", str(minutes)]
    # A job in the background of a shell inherits that Ctrl-C is ignored; a person's terminal does not do that.
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heed) as learner:
        assert learner.stderr is not None
        said = ""
        for line in learner.stderr:
            said += line
            if line.startswith("imitation") and any(f"· {step}/" in line for step in range(11, 10_000)):
                os.kill(learner.pid, how)
                break
        said += learner.stderr.read()
        return learner.wait(60), said


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_interrupted_learning_goes_on_where_it_was(how: signal.Signals, code: int, home: Path) -> None:
    ended, said = stopped(20.0, how)
    assert ended == code, said
    assert "Traceback" not in said
    (checkpoint,) = (home / "checkpoints").glob("*.safetensors")
    assert checkpoint.stat().st_size > 0
    ended, again = stopped(20.0, signal.SIGKILL)
    first = next(line for line in again.splitlines() if line.startswith("imitation"))
    assert int(first.split("· ")[1].split("/")[0]) > 10, f"it began anew: {first}"
    with AgentOS(home) as system:
        assert system.store.check() == []
        assert system.releases.live().id == "r0"
