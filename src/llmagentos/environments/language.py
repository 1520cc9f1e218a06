"""The protocol of a language environment: text in, text out, on top of Gymnasium.

In: a task's seed and options at `reset`, the agent's whole reply at each `step`. Out: observations as text,
`info["instructions"]` and `info["tools"]` at `reset`, `info["success"]` and `info["lenient"]` at the end.
It does not know who acts, models, tokens or how an episode is stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar, cast, get_args

import gymnasium

from llmagentos.environments.free_text import FreeText
from llmagentos.errors import ConfigError, EnvironmentFault
from llmagentos.records.identity import JSON
from llmagentos.records.task import SPLITS, Split, Task

Policy: TypeAlias = Callable[[str], str]
"""Observation to action; may remember what it saw, so it is made fresh for every task."""

ChoiceT = TypeVar("ChoiceT", bound=str)

StepResult: TypeAlias = tuple[str, float, bool, bool, dict[str, Any]]

SEEDS_PER_DRAW = 1_000_000
"""Tasks drawn with another `seed` never share a task seed as long as a draw stays below this number."""


class LanguageEnvironment(gymnasium.Env[str, str]):
    """A Gymnasium environment whose observations and actions are texts.

    An action is the agent's whole reply. Where the environment has tools, a reply that is exactly one JSON
    object `{"tool": {"argument": value}}` is a call; anything else is a message to the person.

    `reset(seed, options)` returns the first observation and info with `instructions` (text) and `tools` (each a
    `ToolSpec`, the same in JSON, or as chat APIs have it, inside `function`), and may have `replies`: all that can
    be replied, as a regular expression or as a list. An agent says nothing else then, so that it comes across what
    is rewarded by itself; `step` may tell them anew in its info. The options are the task's own with `split` added
    (see `records.task.reset_options`), and without a split the task is one of `train`. `step` returns Gymnasium's
    five; when the episode ends, info has `success` (strict) and `lenient`, both bool.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 (Gymnasium's own declaration)
    skill: str
    """Name under which what is learned here is kept; by default the environment's id with its options."""
    reply_tokens: int = 128
    """Tokens that a sensible reply never needs more of; a longer one is cut."""
    most_steps: int = 16
    """Actions that a sensible run never needs more of; a longer one is ended as `truncated`."""
    expert_recovers: bool = False
    """Whether the expert knows what to do wherever an agent has got to, and not only on its own way."""
    replayable: bool = True
    """Whether `reset` with the same seed and options and the same actions give the same observations."""

    remark: str = ""
    """What somebody who has it learned should know of how it is played; empty where nothing is unusual."""

    finite: bool = False
    """Whether the tasks are records, each with one right reply that is known: those that are held out may then help
    with others, as long as none of them helps with itself (see `learning.second_opinion`)."""
    abstention: str = ""
    """The words that are right where no action is, in environments where that can be; empty elsewhere. An agent that is
    unsure may say them (see `learning.abstention`)."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.skill = name
        self.observation_space = FreeText()
        self.action_space = FreeText()

    @property
    def task_options(self) -> dict[str, JSON]:
        """Options that every task of this instance carries, so that it means the same elsewhere."""
        return {}

    def tasks(self, split: Split, count: int, seed: int = 0) -> list[Task]:
        """`count` tasks of `split`; another `seed` draws fresh ones, the same draws the same."""
        check_draw(split, count)
        first = seed * SEEDS_PER_DRAW
        return [self.task(split, first + index) for index in range(count)]

    def task(self, split: Split, seed: int) -> Task:
        """The task of `split` that has this seed."""
        return Task(self.name, seed, split, skill=self.skill, options=self.task_options)

    def expert(self, task: Task) -> Policy | None:
        """A fresh policy that plays `task` perfectly, or None where there is no expert."""
        return None

    def right_answer(self, task: Task) -> str | None:
        """The one right reply to `task`, where one reply ends it and somebody knows it; else None."""
        return None

    def asked(self, turns: Sequence[str]) -> Task:
        """The task of answering a person: `turns` is what they have said so far, and nobody knows the right reply.

        `ConfigError` for what cannot be asked, and where there are only tasks of the environment's own.
        """
        raise ConfigError(
            f"{self.skill} has tasks of its own and cannot be asked something new: llmagentos run '{self.skill}'. "
            "Skills that were learned from a file of requests can."
        )

    def in_form(self, reply: str) -> str:
        """A reply that a person calls right, as the agent is to say it; `ConfigError` for what can never be right."""
        return reply


def check_split(split: str) -> Split:
    """`split` if it is one of the four, else `ConfigError`."""
    if split not in get_args(Split):
        raise ConfigError(f"Unknown split {split!r}. Choose one of: {', '.join(SPLITS)}.")
    return cast("Split", split)


def check_draw(split: str, count: int) -> None:
    """Raise `ConfigError` for an unknown split or a count that one draw cannot give."""
    check_split(split)
    if not 0 <= count <= SEEDS_PER_DRAW:
        raise ConfigError(f"Cannot draw {count} tasks at once. Ask for 0 to {SEEDS_PER_DRAW}.")


def check_options(environment: str, options: Mapping[str, JSON], known: tuple[str, ...]) -> None:
    """Raise `ConfigError` for an option that `environment` does not have."""
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ConfigError(f"{environment} has no option {unknown[0]!r}. It has: {', '.join(known)}.")


def read_choices(environment: str, option: str, value: JSON, known: tuple[ChoiceT, ...]) -> tuple[ChoiceT, ...]:
    """Several of `known`, given as a list or as text with commas; else `ConfigError`."""
    asked = value.split(",") if isinstance(value, str) else value
    if not isinstance(asked, list | tuple) or not asked or any(one not in known for one in asked):
        raise ConfigError(f"{environment}: {option}={value!r}. Choose from: {', '.join(map(str, known))}.")
    return tuple(one for one in known if one in asked)


def check_unchanged(environment: str, made_with: Mapping[str, JSON], options: Mapping[str, JSON]) -> Split:
    """The split among a task's options; `ConfigError` where another option differs from what was made."""
    changed = {name: value for name, value in options.items() if name != "split" and made_with.get(name) != value}
    if changed:
        raise ConfigError(f"{environment} was made with {dict(made_with)}; a task cannot change it to {changed}.")
    return check_split(str(options.get("split", "train")))


def deal(words: str, shares: Sequence[tuple[Split, int]]) -> Split:
    """The split that a digest of `words` gives, for good; the shares are of a hundred."""
    place = int.from_bytes(hashlib.sha256(words.encode("utf-8", "surrogatepass")).digest()[:8], "big") % 100
    for split, share in shares:
        if place < share:
            return split
        place -= share
    raise AssertionError("the shares of the splits do not add up to 100")


def check_action(name: str, action: object, running: bool) -> str:
    """`action` if it is a text and an episode is running, else `EnvironmentFault`."""
    if not running:
        raise EnvironmentFault(f"{name}: step() without a running episode. Call reset() first.")
    if not isinstance(action, str):
        raise EnvironmentFault(f"{name}: an action must be a text, got {type(action).__name__}.")
    return action
