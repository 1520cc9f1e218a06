"""A user's own environment: a Python file outside the package that registers with Gymnasium.

In: the file's path, given explicitly by the user, and the id that it should register. Out: the id in Gymnasium's
registry. It does not know what the file does; it runs with the user's own rights, as any script of theirs.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import threading
from pathlib import Path

import gymnasium
from gymnasium.envs.registration import EnvSpec

from llmagentos.errors import EnvironmentFault, NotFoundError

_LOADED: dict[Path, tuple[str, dict[str, EnvSpec]]] = {}
"""For each file executed: its digest then, and what it registered."""
_LOADING = threading.Lock()


def load_user_file(file: Path, registered: str) -> EnvSpec:
    """What `file` registered as `registered`; the file is executed unless this content already was.

    Raises `NotFoundError` for a missing file or id, `EnvironmentFault` when the file raises.
    """
    try:
        source = file.read_bytes()
    except OSError as problem:
        raise NotFoundError(
            "file", str(file), hint=f"{problem.strerror}. Give the path as ./my_env.py:{registered or 'MyEnv-v0'}."
        ) from problem
    digest = hashlib.sha256(source).hexdigest()
    with _LOADING:
        known_digest, specs = _LOADED.get(file, ("", {}))
        if known_digest != digest:
            specs = _execute(file, source, digest)
            _LOADED[file] = (digest, specs)
    if registered not in specs:
        raise NotFoundError(
            "environment",
            registered,
            sorted(specs),
            f"{file.name} has to call gymnasium.register(id={registered or 'MyEnv-v0'!r}, entry_point=...).",
        )
    return specs[registered]


def _execute(file: Path, source: bytes, digest: str) -> dict[str, EnvSpec]:
    """Run the file under a name of its own; what it registered. Names that were taken mean the same as before.

    The source just read is compiled: Python's cache of compiled files takes versions of one size and second for one.
    """
    module_name = f"llmagentos_user_{hashlib.sha256(f'{file}/{digest}'.encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(module_name, file)
    if spec is None or spec.loader is None:
        raise EnvironmentFault(f"{file} cannot be loaded as Python. Give a .py file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    before = dict(gymnasium.registry)
    gymnasium.registry.clear()
    try:
        exec(compile(source, str(file), "exec"), module.__dict__)
        return dict(gymnasium.registry)
    except Exception as problem:
        del sys.modules[module_name]
        raise EnvironmentFault(f"{file} raised while it was loaded: {type(problem).__name__}: {problem}") from problem
    finally:
        for name, entry in before.items():
            gymnasium.registry[name] = entry
