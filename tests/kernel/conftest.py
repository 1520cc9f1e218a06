"""A small language environment that can misbehave on request, and kernels over a scripted engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from llmagentos.kernel.kernel import Kernel
from llmagentos.models.rendering import Renderer
from llmagentos.models.scripted import ScriptedEngine
from llmagentos.records.episode import Episode
from llmagentos.records.message import ToolSpec
from llmagentos.records.task import Task
from llmagentos.store.store import Store

OPEN_DOOR = ToolSpec("open_door", "open it", {"type": "object", "properties": {"key": {"type": "string"}}}, effect=True)


class Counter(gymnasium.Env[str, str]):
    """Counts actions; ends after `turns`. Options: turns, misbehave (raise | hang | exit | shape), at, reward, tools;
    replies by turn, and with them there are no tools."""

    action_space = gymnasium.spaces.Text(100)
    observation_space = gymnasium.spaces.Text(100)
    release = threading.Event()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.options = options or {}
        self.count = 0
        if self.options.get("reset_fails"):
            raise ValueError("no such shop")
        info = {"instructions": "Count.", "tools": self.options.get("tools", (OPEN_DOOR,))}
        if "replies" in self.options:
            info = {"instructions": "Count.", **self._replies()}
        return f"start {seed}", info

    def _replies(self) -> dict[str, Any]:
        said = self.options.get("replies", [])
        return {"replies": said[self.count]} if self.count < len(said) else {}

    def step(self, action: str) -> Any:
        self.count += 1
        if self.count == self.options.get("at", 1):
            self._misbehave(self.options.get("misbehave"))
        time.sleep(self.options.get("seconds", 0.0))
        done = self.count >= self.options.get("turns", 3)
        info: dict[str, Any] = {"success": True, "lenient": True, "odd": object()} if done else self._replies()
        return f"heard {action} ({self.count})", float(self.options.get("reward", done)), done, False, info

    def _misbehave(self, how: str | None) -> None:
        if how == "raise":
            raise RuntimeError("database gone")
        if how == "exit":
            raise SystemExit(3)
        if how == "hang":
            Counter.release.wait(20)


class Shapeless(Counter):
    def step(self, action: str) -> Any:
        return "only an observation"


def make_env(task: Task) -> Any:
    if task.environment == "CartPole-v1":
        return gymnasium.make("CartPole-v1")
    return Shapeless() if task.environment == "Shapeless-v0" else Counter()


def counting(seed: int = 0, **options: Any) -> Task:
    return Task("Counter-v0", seed, options=options)


@pytest.fixture(scope="session")
def renderer(tiny_model: Path) -> Renderer:
    return Renderer(tiny_model)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def recorded() -> list[Episode]:
    return []


@pytest.fixture
def build(store: Store, renderer: Renderer, recorded: list[Episode]) -> Iterator[Callable[..., Kernel]]:
    """`build(replies, delay=..., **kernel options)`; the engine is `kernel.engine` of the returned pair."""
    opened: list[Any] = []

    def make(replies: Any = None, *, delay: float = 0.0, engine: Any = None, **options: Any) -> Any:
        engine = engine or ScriptedEngine(renderer, replies or (lambda prompt: "ok"), delay=delay)
        options = {"environment": make_env, "record": recorded.append, **options}
        kernel = Kernel(store, engine, **options)
        opened.extend((kernel, engine))
        return kernel

    yield make
    Counter.release.set()
    for thing in opened:
        thing.close()
    Counter.release = threading.Event()
