"""Environments that take long to make are reset for the next run instead of made anew.

In: how an environment is made by its name. Out: one for a single run; closing it gives it back.
Whoever loads data when it is made, as environments do, would load it once for every run. That `reset` begins anew is
Gymnasium's contract; where making is quick every run has an environment of its own all the same, and so it has after
one that raised, hung or was left in the middle of a run.
It does not know what an environment does, nor who runs in it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from llmagentos.environments.language import LanguageEnvironment

SLOW = 0.005
"""Seconds of this thread's processor that making takes from which on an environment is used again."""
MOST = 64
"""Environments that wait for their next run; more are closed."""
UNKNOWN = 0.0
"""What making takes after the first time, which has modules to load besides."""


class Reusing:
    """Environments between their runs."""

    def __init__(
        self, make: Callable[[str], LanguageEnvironment], meant: Callable[[str], object], *, slow: float = SLOW
    ) -> None:
        """`meant` tells what a name means now, such as a user's file as it is; None is never used again."""
        self._make, self._meant, self._slow = make, meant, slow
        self._takes: dict[str, float] = {}
        self._waiting: list[tuple[str, object, LanguageEnvironment]] = []
        self._lock = threading.Lock()

    def take(self, name: str) -> Lent:
        """The environment `name` for one run. Raises what making it raises."""
        meant = self._meant(name)
        env = self._waited(name, meant)
        if env is None:
            began = time.thread_time()
            env = self._make(name)
            self._note(name, time.thread_time() - began)
        return Lent(env, partial(self._give_back, name, meant))

    def close(self) -> None:
        """Close what waits."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for _, _, env in waiting:
            env.close()

    def _waited(self, name: str, meant: object) -> LanguageEnvironment | None:
        """One that waits under this name; those of an earlier meaning are closed."""
        with self._lock:
            mine = [one for one in self._waiting if one[0] == name]
            old = [env for _, version, env in mine if version is not meant]
            found = next((env for _, version, env in mine if version is meant), None)
            gone = {id(env) for env in (*old, found)}
            self._waiting = [one for one in self._waiting if id(one[2]) not in gone]
        for env in old:
            env.close()
        return found

    def _note(self, name: str, seconds: float) -> None:
        with self._lock:
            known = self._takes.get(name)
            self._takes[name] = UNKNOWN if known is None else min(seconds, known or seconds)

    def _give_back(self, name: str, meant: object, env: LanguageEnvironment) -> None:
        with self._lock:
            keep = meant is not None and self._takes[name] > self._slow and len(self._waiting) < MOST
            if keep:
                self._waiting.append((name, meant, env))
        if not keep:
            env.close()


class Lent:
    """An environment in one run, as the kernel uses it."""

    def __init__(self, env: LanguageEnvironment, give_back: Callable[[LanguageEnvironment], None]) -> None:
        self._env, self._give_back, self._over = env, give_back, False
        self.action_space, self.observation_space = env.action_space, env.observation_space
        self.unwrapped = env.unwrapped

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """As the environment does."""
        return self._env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """As the environment does; after an end that it says itself it can be used again."""
        self._over = False
        answer = self._env.step(action)
        self._over = isinstance(answer, tuple) and len(answer) == 5 and bool(answer[2] or answer[3])
        return answer

    def close(self) -> None:
        """Give it back after the end of a run, else close it."""
        if self._over:
            self._give_back(self._env)
        else:
            self._env.close()
