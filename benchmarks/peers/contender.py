"""Contenders as processes of their own that run only when it is their turn, each in its own environment.

In: a command, requests. Out: seconds and what was made. It does not know what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from measuring import JSON, Units, add_model_options, add_results_options, open_units, tell

from llmagentos.config import load_settings
from llmagentos.models.library import ModelLibrary

HERE = Path(__file__).parent


@dataclass
class Contender:
    """One process that works when it is its turn."""

    name: str
    command: list[str]
    work: Path
    more: JSON = field(default_factory=dict)
    """What else is said with every request."""
    process: subprocess.Popen[str] | None = None

    @property
    def log(self) -> Path:
        """Where its libraries' words go."""
        return self.work / f"{self.name.replace(' ', '-')}.log"

    def ask(self, **request: Any) -> tuple[float, Any]:
        """Seconds, and what came of it. The process runs only meanwhile."""
        if self.process is None:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.log.open("w"),
                text=True,
                start_new_session=True,
            )
            self._answer()
        with self._awake(self.process):
            assert self.process.stdin is not None
            with suppress(BrokenPipeError):  # what has ended has no answer either
                print(json.dumps({**request, **self.more}), file=self.process.stdin, flush=True)
            answer = self._answer()
        return answer["seconds"], answer["made"]

    def close(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def _answer(self) -> JSON:
        assert self.process is not None
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise ChildProcessError(f"{self.name} ended; its last words are in {self.log}")
        return dict(json.loads(line))

    @staticmethod
    @contextmanager
    def _awake(process: subprocess.Popen[str]) -> Iterator[None]:
        os.killpg(process.pid, signal.SIGCONT)
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGSTOP)


def environment(work: Path, name: str) -> str | None:
    """The Python of a peer's own environment; None where it cannot be installed."""
    place = work / name
    python = place / "bin" / "python"
    if (place / "installed").exists():
        return str(python)
    tell(f"installing {name} into {place}")
    try:
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        install = [python, "-m", "pip", "install", "--quiet", "-r", HERE / f"requirements-{name}.txt"]
        subprocess.run(install, check=True)
        if name == "vllm":  # built for another torch; vLLM runs without them
            extra = ["torchvision", "torchaudio", "torchcodec"]
            subprocess.run([python, "-m", "pip", "uninstall", "--quiet", "--yes", *extra], check=True)
    except (subprocess.CalledProcessError, OSError) as problem:
        tell(f"{name} is left out: {problem}")
        return None
    (place / "installed").touch()
    return str(python)


def left_out(options: argparse.Namespace) -> dict[str, str]:
    """Contenders that are not asked at all, with the reason, as `turn` takes them for failed ones."""
    return dict.fromkeys(options.leave_out, "left out by request")


def turn(everybody: list[Contender], failed: dict[str, str], ask: Callable[[Contender], Any]) -> dict[str, Any]:
    """What `ask` finds for each contender by name, one after another; who ends is noted in `failed` and left out."""
    found = {}
    for one in everybody:
        if one.name in failed:
            continue
        try:
            found[one.name] = ask(one)
        except ChildProcessError as problem:
            failed[one.name] = str(problem)
            tell(f"  {problem}")
            one.close()
    return found


def add_options(parser: argparse.ArgumentParser, benchmark: str, peers: list[str]) -> None:
    """The options that every comparison with peers has."""
    parser.add_argument("--peers", nargs="*", choices=peers, default=peers)
    parser.add_argument(
        "--leave-out", nargs="+", default=[], help="contenders by name, such as a peer's precision that proved slower"
    )
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    add_model_options(parser)
    add_results_options(parser, benchmark)


def prepare(options: argparse.Namespace, benchmark: str) -> tuple[Path, Path, Units]:
    """The model's folder, the folder of the peers' environments and files, and the units measured before."""
    home = load_settings(options.home).home
    work = home / "benchmarks" / "peers"
    work.mkdir(parents=True, exist_ok=True)
    return ModelLibrary(home).pull(options.model), work, open_units(options, benchmark)


def measure_units(
    units: Units, options: argparse.Namespace, wanted: dict[str, Callable[[], JSON]], everybody: list[Contender]
) -> dict[str, JSON]:
    """Measure what is wanted and not there yet; all contenders are ended."""
    settings = {key: getattr(options, key) for key in ("model", "peers", "repetitions", "threads")}
    try:
        return {name: units.measure(name, settings, measure) for name, measure in wanted.items()}
    finally:
        for one in everybody:
            one.close()
