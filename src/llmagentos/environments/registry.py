"""Environments by name: the built-in ones, any Gymnasium id, and a user's own Python file.

In: `SupportDesk-v0`, `Drills-v0?kind=sum&level=2` (options after the question mark go to the constructor),
`CartPole-v1`, or `./my_env.py:MyEnv-v0`. Out: an environment that speaks the language protocol.
A user's file is executed when, and only when, somebody asks for it by its path.
It does not know what is inside an environment: modules load when one is made.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote

import gymnasium
from gymnasium.envs.registration import EnvSpec

from llmagentos.environments.adapter import LIMIT, THRESHOLD, AdaptedEnvironment, TimeLimited
from llmagentos.environments.language import LanguageEnvironment
from llmagentos.environments.user_file import load_user_file
from llmagentos.errors import ConfigError, EnvironmentFault, LLMAgentOSError, NotFoundError
from llmagentos.records.identity import JSON


@dataclass(frozen=True, slots=True)
class EnvironmentEntry:
    """What is known about an environment without making it."""

    name: str
    summary: str
    entry_point: str = ""
    """Module and class, `module:Class`."""
    options: dict[str, str] = field(default_factory=dict)
    """Name of each option and what it takes."""
    extra: str = ""
    """The optional part of the installation that it needs, if any."""
    downloads: str = ""
    """What it fetches when first made; empty when it needs no network."""
    paths: tuple[str, ...] = ()
    """Options that are files: the environment's name has them whole, its skill by their last part."""


BUILT_IN: tuple[EnvironmentEntry, ...] = (
    EnvironmentEntry(
        "SupportDesk-v0",
        "a shop's support desk over a real database, with a customer who answers questions",
        "llmagentos.environments.support_desk:SupportDesk",
        {
            "intents": "comma-separated: where, refund, address, complaint",
            "renamed": "share of tasks whose tools are renamed, 0 to 1",
            "policy": "standard or generous",
        },
    ),
    EnvironmentEntry(
        "Drills-v0",
        "short exercises: sums, sorting, filtering, look-ups",
        "llmagentos.environments.drills:Drills",
        {"kind": "sum, sort, filter or lookup; left out, all of them", "level": "1 to 4"},
    ),
    EnvironmentEntry(
        "FunctionCalling-v0",
        "real questions of the Berkeley Function-Calling Leaderboard, exact calls",
        "llmagentos.environments.function_calling:FunctionCalling",
        {"category": "comma-separated: simple, multiple, live_simple, irrelevance"},
        downloads="the bfcl-eval package, 2 MB",
    ),
    EnvironmentEntry(
        "Requests-v0",
        "your own requests with what is right to do: a label, a call or an answer",
        "llmagentos.environments.requests:RequestsEnvironment",
        {
            "data": "a CSV, TSV, JSON, JSONL, Excel or Parquet file, or a folder of them",
            "request, label, call, answer, split": "columns, where they are not called so",
            "nothing": "labels that no tool fits, with commas (oos, out_of_scope)",
            "tools": "a JSON file that describes the tools",
            "instructions": "what the agent is told first",
            "most": "most training requests of each label",
            "alike": "share of the right answer's words that is enough, 0 to 1; left out, every word counts",
        },
        paths=("data", "tools"),
    ),
    EnvironmentEntry(
        "GridWorld-v0",
        "two rooms in words: take the key, open the door, walk to the goal",
        "llmagentos.environments.grid_world:GridWorld",
        {"size": "4 to 12", "level": "1: a goal alone; 2: key, door and goal"},
    ),
    EnvironmentEntry(
        "TextGame-v0",
        "a single-player game of TextArena, won or lost by its own rules",
        "llmagentos.environments.text_game:TextGame",
        {
            "name": "a game, such as GuessTheNumber or TowerOfHanoi",
            "replies": "a regular expression of its moves, where the game's own is not the right one",
            "reward_threshold": "the share of its reward from which it is won, 1 if you say nothing",
            "...": "the game's own settings",
        },
        extra="games",
    ),
    EnvironmentEntry(
        "Reasoning-v0",
        "any task of reasoning-gym, right only at score 1.0",
        "llmagentos.environments.reasoning:Reasoning",
        {"name": "a data set of reasoning-gym, such as chain_sum", "...": "the data set's own settings"},
        extra="reasoning",
    ),
)


def register_builtin() -> None:
    """Tell Gymnasium about the built-in environments; a second call changes nothing."""
    for entry in BUILT_IN:
        if entry.name not in gymnasium.registry:
            gymnasium.register(entry.name, entry.entry_point, order_enforce=False, disable_env_checker=True)


def names() -> tuple[str, ...]:
    """The built-in environments."""
    return tuple(entry.name for entry in BUILT_IN)


def describe(name: str) -> EnvironmentEntry:
    """What is known about the environment `name`, its options and path left aside; nothing is made or executed."""
    identifier = name.partition("?")[0]
    for entry in BUILT_IN:
        if entry.name == identifier:
            return entry
    if is_user_file(identifier):
        return EnvironmentEntry(identifier, "an environment of your own file")
    _check_registered(identifier)
    return EnvironmentEntry(identifier, "an environment of Gymnasium", str(gymnasium.registry[identifier].entry_point))


def make(name: str, *, home: Path | None = None) -> LanguageEnvironment:
    """The environment `name`, its skill named after it and its options.

    `home` is where an environment that fetches data keeps it; left out, the configured home. Raises `NotFoundError`
    for a name nobody registered, `ConfigError` for options it does not take, `EnvironmentFault` when it cannot start.
    """
    identifier, _, query = name.partition("?")
    options = read_query(name)
    spec, registered, full_name = _found(identifier)
    suffix = short = f"?{query}" if query else ""
    built_in = next((entry for entry in BUILT_IN if entry.name == registered), None)
    paths = built_in.paths if built_in is not None else ()
    if any(path in options for path in paths):
        options |= {key: str(Path(str(options[key])).expanduser().resolve()) for key in paths if key in options}
        suffix = write_query(options)
        short = write_query({key: Path(str(one)).name if key in paths else one for key, one in options.items()})
    if home is not None and built_in is not None and built_in.downloads:
        options["home"] = str(home)
    threshold = options.pop(THRESHOLD, None) if built_in is None else None
    if isinstance(threshold, bool) or not isinstance(threshold, int | float | None):
        raise ConfigError(f"{name}: {THRESHOLD}={threshold!r} is no number.")
    environment = _create(spec, options)
    meant_so = is_user_file(identifier) or LIMIT in options
    return _speak(environment, full_name + suffix, registered + short, threshold, limited=not meant_so)


def meant(name: str) -> EnvSpec | None:
    """What `name` means now, another object once a user's file was changed; None where it reads files of its own, of
    which nobody here knows whether they were. Raises `NotFoundError` for a name nobody registered."""
    spec, registered, _ = _found(name.partition("?")[0])
    return None if any(entry.paths for entry in BUILT_IN if entry.name == registered) else spec


def _found(identifier: str) -> tuple[EnvSpec, str, str]:
    """What Gymnasium knows about an identifier, the name that it is registered by, and its full name."""
    register_builtin()
    if not is_user_file(identifier):
        _check_registered(identifier)
        return gymnasium.registry[identifier], identifier, identifier
    path, _, registered = identifier.rpartition(":")
    file = Path(path).expanduser().resolve()
    return load_user_file(file, registered), registered, f"{file}:{registered}"


def is_user_file(identifier: str) -> bool:
    """Whether an identifier names a Python file and an environment in it."""
    return identifier.rpartition(":")[0].endswith(".py")


def _create(spec: EnvSpec, options: dict[str, JSON]) -> gymnasium.Env[Any, Any]:
    try:
        return gymnasium.make(spec, disable_env_checker=True, **options)
    except LLMAgentOSError:
        raise
    except TypeError as problem:
        raise ConfigError(f"{spec.id} does not take the options {options}: {problem}") from problem
    except Exception as problem:
        raise EnvironmentFault(f"{spec.id} could not be made: {type(problem).__name__}: {problem}") from problem


def _speak(
    environment: gymnasium.Env[Any, Any], name: str, skill: str, threshold: float | None, *, limited: bool
) -> LanguageEnvironment:
    """`environment` in the language protocol, under its full name; a plain one is a success from `threshold` on, and
    may be `limited` to fewer actions than it was registered with."""
    inner = environment.unwrapped
    if isinstance(inner, LanguageEnvironment):
        if threshold is not None:
            raise ConfigError(f"{name} says itself what a success is; {THRESHOLD} is for plain Gymnasium environments.")
        inner.name, inner.skill = name, skill
        limit = environment.spec.max_episode_steps if environment.spec is not None else None
        return TimeLimited(inner, limit) if limit is not None else inner
    adapted = AdaptedEnvironment(environment, name, threshold, limited=limited)
    adapted.skill = skill
    return adapted


def read_query(name: str) -> dict[str, JSON]:
    """Options after the question mark of a name; a value is JSON where it can be read so, else text."""
    query = name.partition("?")[2]
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as problem:
        raise ConfigError(f"Cannot read the options of {name!r}. Write them as name?option=value&other=2.") from problem
    options: dict[str, JSON] = {}
    for key, text in pairs:
        if key in options:
            raise ConfigError(f"Option {key!r} is given twice in {name!r}.")
        try:
            options[key] = json.loads(text)
        except ValueError:
            options[key] = text
    return options


def write_query(options: dict[str, JSON]) -> str:
    """Options as they follow an environment's name."""
    return "?" + "&".join(f"{key}={quote(str(value), safe='/,:~ ')}" for key, value in options.items())


def _check_registered(identifier: str) -> None:
    """Raise `NotFoundError` with the nearest names when Gymnasium does not know `identifier`."""
    register_builtin()
    if identifier in gymnasium.registry:
        return
    near = difflib.get_close_matches(identifier, list(gymnasium.registry), n=3, cutoff=0.6)
    meant = f"Did you mean {' or '.join(near)}? " if near else ""
    raise NotFoundError(
        "environment",
        identifier,
        names(),
        f"{meant}Any other Gymnasium id works too, and a file of your own as ./my_env.py:MyEnv-v0.",
    )
