"""TextGame-v0: the single-player games of TextArena by name; won or lost by the game's own rules.

In: the agent's moves as the game's prompt asks for them. Out: what the game says, and its reward at the end.
Most games read a move by one regular expression, which is the form that replies are held to.
The games draw from Python's global random numbers: here every game has its own, put in place for each of its turns.
It does not know any game.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import math
import random
import re
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from numbers import Real
from typing import Any

from llmagentos.environments.adapter import THRESHOLD, split_seed
from llmagentos.environments.language import LanguageEnvironment, StepResult, check_action, check_unchanged
from llmagentos.errors import ConfigError, EnvironmentFault, LLMAgentOSError, MissingExtraError
from llmagentos.records.identity import JSON

NAME = "TextGame-v0"

OURS = ("replies", THRESHOLD)
"""Options that the game itself does not take."""

MOST_CHARACTERS = 4_000
"""A longer reply is cut before it reaches the game."""

MADE_GOOD = 0.5
"""Of the game's reward after an invalid move that was made good: a clean game is worth more, as it is to who judges."""

OWN_MOVE = "PLAYER_ACTION"
"""Kind of what a game repeats of the player's own move."""

_READING = ("compile", "search", "match", "fullmatch", "findall", "finditer")
_EVALUATES = re.compile(r"\b(?:eval|exec|parse_expr|sympify)\(")
_DICE = threading.RLock()


class TextGame(LanguageEnvironment):
    """The game `name`, such as GuessTheNumber or TowerOfHanoi; `replies` is a regular expression of its moves, where
    the game's own is not the right one; `reward_threshold` in (0, 1] is the share of the game's reward from which it is
    won, all of it if that is not said; every other option is one of the game's settings."""

    reply_tokens = 24

    def __init__(self, **options: JSON) -> None:
        super().__init__(NAME)
        self._options = options
        self._game = make_game({key: value for key, value in options.items() if key not in OURS})
        self._threshold = _share(options.get(THRESHOLD, 1.0))
        kind: Any = type(self._game)
        self._replies = str(options["replies"]) if "replies" in options else move_form(kind)
        self._random: Any = None
        self._running = self._clean = False

    @property
    def task_options(self) -> dict[str, JSON]:
        return dict(self._options)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        split = check_unchanged(NAME, self._options, options or {})
        number = seed if seed is not None else int(self.np_random.integers(2**31))
        self._random = random.Random(split_seed(split, number)).getstate()
        with self._own_dice("started"):
            self._game.reset(num_players=1, seed=split_seed(split, number))
            said = self._heard()
        self._running = self._clean = True
        rules = [text for kind, text in said if kind == "PROMPT"]
        seen = [text for kind, text in said if kind != "PROMPT"]
        return "\n".join(seen) or "Begin.", {"instructions": "\n".join(rules), "tools": (), "replies": self._replies}

    def step(self, action: str) -> StepResult:
        text = check_action(self.name, action, self._running)
        with self._own_dice("played on"):
            over, _ = self._game.step(text[:MOST_CHARACTERS])
            said = self._heard()
            rewards, infos = self._game.close() if over else ({}, {})
        seen = "\n".join(heard for kind, heard in said if kind != OWN_MOVE)
        # An invalid move is told by the game's administration; it may be made good once and is no clean play.
        self._clean &= not any(kind == "GAME_ADMIN" for kind, _ in said)
        if not over:
            return seen, 0.0, False, False, {}
        self._running = False
        reward = _reward((rewards or {}).get(0))
        foul = bool(infos.get(0, {}).get("invalid_move", False))
        won = reward >= self._threshold and not foul
        given = 0.0 if foul else reward if self._clean else reward * MADE_GOOD
        return "", given, True, False, {"success": won and self._clean, "lenient": won}

    def _heard(self) -> list[tuple[str, str]]:
        """Kind and text of everything said since the last turn, each line without needless space."""
        _, messages = self._game.get_observation()
        # Some games swap the arguments of a player's move: then its kind is the move, a text.
        return [(getattr(kind, "name", OWN_MOVE), str(text).strip()) for _, text, kind in messages]

    @contextmanager
    def _own_dice(self, doing: str) -> Iterator[None]:
        """Python's random numbers are the game's own meanwhile; whatever it raises is a fault."""
        with _DICE:
            outside = random.getstate()
            random.setstate(self._random)
            try:
                yield
            except LLMAgentOSError:
                raise
            except Exception as problem:
                raise EnvironmentFault(
                    f"{self._options.get('name')} could not be {doing}: {type(problem).__name__}: {problem}"
                ) from problem
            finally:
                self._random = random.getstate()
                random.setstate(outside)


def make_game(options: dict[str, JSON]) -> Any:
    """The game, without TextArena's wrappers. `ConfigError` for one that cannot be played here."""
    try:
        arena: Any = importlib.import_module("textarena")
    except ImportError as problem:
        raise MissingExtraError(NAME, "games") from problem
    registry = importlib.import_module("textarena.envs.registration").ENV_REGISTRY
    name = options.get("name")
    if type(name) is int:  # 2048 is a game
        name = str(name)
    if not isinstance(name, str):
        raise ConfigError(f"{NAME} needs a game. Write {NAME}?name=GuessTheNumber.")
    full = name if re.search(r"-v\d", name) else f"{name}-v0"
    raw = full if full.endswith("-raw") else f"{full}-raw"
    if raw not in registry:
        near = [one for one in sorted(registry) if one.startswith(name[:4]) and not one.endswith(("-raw", "-train"))]
        raise ConfigError(f"TextArena has no game {name!r}.{' It has: ' + ', '.join(near[:8]) + '.' if near else ''}")
    settings = {key: value for key, value in options.items() if key != "name"}
    try:
        game = arena.make(raw, **settings)
        game = getattr(game, "env", game)
        with _DICE:
            outside = random.getstate()
            try:
                game.reset(num_players=1, seed=0)
            finally:
                random.setstate(outside)
    except (AssertionError, ImportError) as problem:
        raise ConfigError(f"{name} cannot be played alone or lacks a part: {problem}") from problem
    except (TypeError, ValueError, KeyError) as problem:
        raise ConfigError(f"{name} does not take {settings}: {problem}") from problem
    except LookupError as problem:
        raise ConfigError(f"{name} {_lacking(str(problem))}") from problem
    except SyntaxError as problem:
        running = ".".join(map(str, sys.version_info[:2]))
        raise ConfigError(f"{name} cannot be read by Python {running}; a newer one may: {problem}") from problem
    _refuse_evaluation(name, game)
    return game


def _share(threshold: JSON) -> float:
    if not isinstance(threshold, int | float) or not 0 < threshold <= 1:
        raise ConfigError(f"{NAME}: {THRESHOLD}={threshold!r}. Give a share of the game's reward, above 0 up to 1.")
    return float(threshold)


def _reward(said: object) -> float:
    """In [0, 1]. Some games give an invalid move's reason in the place of its reward: that is 0."""
    return min(1.0, max(0.0, float(said))) if isinstance(said, Real) and not math.isnan(said) else 0.0


@lru_cache
def move_form(game: type) -> str:
    """The regular expression by which a game reads a move in brackets, or else the moves that it looks for one by one;
    empty where it has several forms, or none."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(game)))
    except (OSError, TypeError, SyntaxError):
        return ""
    found = {
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "re"
        and node.func.attr in _READING
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    }
    moves = [one for one in found if one.startswith((r"\[", r"\{")) and one.endswith((r"\]", r"\}"))]
    if not moves:
        return "|".join(map(re.escape, _looked_for(tree)))
    return _plainest(moves[0]) if len(moves) == 1 else ""


def _looked_for(tree: ast.AST) -> list[str]:
    """Words in brackets that a game compares with something: `"[hit]" in action`."""
    compared = (
        text.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        for text in (node.left, *node.comparators)
        if isinstance(text, ast.Constant) and isinstance(text.value, str)
    )
    return [text for text in dict.fromkeys(compared) if re.fullmatch(r"\[[\w ]+\]", text)]


def _plainest(form: str) -> str:
    """The same moves with one space where there may be many."""
    for spelled, plain in ((r"\s*", " ?"), (r"\s+", " "), (r"\s", " "), (r"\d", "[0-9]")):
        form = form.replace(spelled, plain)
    return form


def _lacking(said: str) -> str:
    """What a game lacks, from what NLTK says in many lines."""
    found = re.search(r"Resource\W+(?:\d+m)?(\w+)", said)
    if not found:
        return f"lacks a part: {said.strip()[:200]}"
    return (
        f"needs words that NLTK fetches from the network. Fetch them once: python -m nltk.downloader {found.group(1)}"
    )


def _refuse_evaluation(name: str, game: Any) -> None:
    """Raise `ConfigError` for a game that would run a reply as code in this process."""
    try:
        source = inspect.getsource(sys.modules[type(game).__module__])
    except (OSError, TypeError, KeyError) as problem:
        raise ConfigError(f"{NAME}: the rules of {name!r} cannot be read.") from problem
    if _EVALUATES.search(source):
        raise ConfigError(f"{NAME}: {name!r} would execute replies as Python code, which only a sandbox may do.")
