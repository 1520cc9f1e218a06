"""Programs by name, and the names of functions.

In: a registered name or `module:function`, or the function itself. Out: the function with the name, source digest
and resumability that its process is recorded with.
It does not know how programs are run.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

from llmagentos.errors import ConfigError, NotFoundError
from llmagentos.records.calls import ProgramRun
from llmagentos.records.identity import JSON

ProgramFunction: TypeAlias = Callable[..., ProgramRun]

BUILT_IN: Mapping[str, str] = {
    "chat": "llmagentos.programs.chat:chat",
    "react": "llmagentos.programs.react:react",
    "policy": "llmagentos.programs.policy:policy",
    "demonstrate": "llmagentos.programs.demonstrate:demonstrate",
}
"""What each registered name stands for; modules load when a program is asked for."""


@dataclass(frozen=True, slots=True)
class Program:
    """A generator function and what a process needs to be started again with it."""

    name: str
    """Registered or qualified name; only a description where `resumable` is False."""
    function: ProgramFunction
    resumable: bool
    """False for a lambda, a closure or a function of `__main__`: another process could not find it."""
    digest: str
    """SHA-256 of the source file, empty where there is none."""


def resolve(program: str | ProgramFunction) -> Program:
    """The program of a registered name, a qualified name `module:function`, or a generator function."""
    if isinstance(program, str):
        function = load(BUILT_IN.get(program, program), kind="program", available=tuple(BUILT_IN))
        return Program(program, function, True, source_digest(function))
    name = qualified_name(program)
    return Program(name or describe(program), program, name is not None, source_digest(program))


def load(name: str, *, kind: str = "function", available: tuple[str, ...] = ()) -> Callable[..., Any]:
    """The function named `module:function`; NotFoundError when there is none."""
    module_name, colon, attribute = name.partition(":")
    hint = "Or give a function of an importable module as 'module:function'."
    if not colon or not module_name or not attribute:
        raise NotFoundError(kind, name, available, hint)
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as problem:
        raise NotFoundError(kind, name, available, f"Loading it said: {problem}. {hint}") from problem
    if not callable(found):
        raise ConfigError(f"{name!r} is a {type(found).__name__}, not a function. {hint}")
    return found  # type: ignore[no-any-return]


def as_function(function: Callable[..., Any] | str | None, purpose: str) -> Callable[..., Any]:
    """The function of an argument that is one or names one; ConfigError when there is none for `purpose`."""
    if isinstance(function, str):
        return load(function)
    if not callable(function):
        raise ConfigError(f"{purpose} needs a function, got {function!r}. An environment without an expert has none.")
    return function


def qualified_name(function: Callable[..., Any]) -> str | None:
    """`module:function` when another Python process can find the function by it, else None."""
    module = inspect.getmodule(function)
    name = getattr(function, "__qualname__", "")
    if module is None or module.__name__ == "__main__" or not name or "<" in name:
        return None
    found: Any = sys.modules.get(module.__name__)
    for part in name.split("."):
        found = getattr(found, part, None)
    return f"{module.__name__}:{name}" if found is function else None


def describe(function: Callable[..., Any]) -> str:
    """A name for people, also for functions that cannot be found by it."""
    module = inspect.getmodule(function)
    name = getattr(function, "__qualname__", type(function).__name__)
    return f"{module.__name__ if module else '?'}:{name}"


def journal_arguments(arguments: Mapping[str, Any]) -> tuple[dict[str, JSON], bool]:
    """Arguments as JSON with functions replaced by their names, and whether a resume could find them all."""
    plain: dict[str, JSON] = {}
    resumable = True
    for key, value in arguments.items():
        if callable(value):
            name = qualified_name(value)
            resumable = resumable and name is not None
            plain[key] = name or describe(value)
        else:
            plain[key] = value
    return plain, resumable


def source_digest(function: Callable[..., Any]) -> str:
    """SHA-256 of the file that a function is defined in; empty where there is no file."""
    try:
        path = inspect.getsourcefile(function)
    except TypeError:
        return ""
    return _file_digest(path) if path else ""


@lru_cache(maxsize=256)
def _file_digest(path: str) -> str:
    file = Path(path)
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
