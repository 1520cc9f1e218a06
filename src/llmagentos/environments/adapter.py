"""Adapters: a plain Gymnasium environment in the language protocol, and a limit on the steps of any.

In: an environment with discrete, box, text or composed spaces. Out: the same world in words: observations as
compact text, or as it draws itself where it was made with `render_mode="ansi"`, actions read from the reply, success
from `info["success"]` or the registered reward threshold.
It does not know any particular environment.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any, TypeAlias, TypeGuard

import gymnasium
import numpy as np
from gymnasium import spaces

from llmagentos.environments.free_text import FreeText
from llmagentos.environments.language import LanguageEnvironment, Policy, StepResult, check_action, check_split
from llmagentos.errors import ConfigError, EnvironmentFault
from llmagentos.records.identity import JSON
from llmagentos.records.task import Split, Task

THRESHOLD, LIMIT = "reward_threshold", "max_episode_steps"
"""Options of a plain environment: from which sum of rewards on a run is a success, and after how many actions it is
ended. Gymnasium itself knows the second."""
LONGEST_RUN = 32
"""Actions of a run where an environment that is not the user's own allows more: each is a reply of a model."""
FEW_WORDS = 24
"""Tokens of `The best action here would be number 2.` and twice as many again."""
TOKENS_A_NUMBER = 8
READ_CHARACTERS = 2000
"""Only the end of a longer reply is searched for an action."""

MOST_LISTED, MOST_NUMBERS = 512, 64
"""Numbers that an action's form lists one by one, and numbers of one action that has a form at all."""
LONGEST_FORM = 256
"""Characters of a text that still has a form."""
_WHOLE = "-?[0-9]{1,9}"
_FRACTION = r"-?[0-9]{1,6}(\.[0-9]{1,3})?"

Texts: TypeAlias = FreeText | spaces.Text
_INTEGER = re.compile(r"-?\d{1,18}")
_COLOURED = re.compile(r"\x1b\[([0-9;]+)m(.*?)\x1b\[0?m", re.DOTALL)
_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_COLOURS = {
    str(base + place): name
    for base in (30, 40, 90, 100)
    for place, name in enumerate(("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"))
}
"""By the codes that a terminal has for them, of letters and of their background, plain and bright (ECMA-48)."""


class AdaptedEnvironment(LanguageEnvironment):
    """A plain environment, played in words.

    Its `expert(task)`, if it has one, gives a policy from observations, as numbers, texts, lists and dictionaries of
    them, to actions. Success is `info["success"]` of the last step where the environment gives one, else whether the
    sum of rewards reaches the `reward_threshold` it was registered with. A run is truncated after as many actions as
    it was registered with, or `LONGEST_RUN` where it is `limited`, and judged then.
    """

    def __init__(
        self,
        environment: gymnasium.Env[Any, Any],
        name: str,
        threshold: float | None = None,
        *,
        limited: bool = True,
    ) -> None:
        super().__init__(name)
        self._inner = environment
        self._words = action_words(environment.action_space)
        self._replies = action_form(environment.action_space)
        declared = environment.spec.reward_threshold if environment.spec is not None else None
        self._threshold = threshold if threshold is not None else declared
        self.replayable = environment.spec is None or not environment.spec.nondeterministic
        self.reply_tokens = reply_tokens(environment.action_space)
        self._drawn = environment.render_mode == "ansi"
        registered = (environment.spec.max_episode_steps if environment.spec is not None else None) or LONGEST_RUN
        self.most_steps = min(registered, LONGEST_RUN) if limited else registered
        if registered > self.most_steps:
            wanted = "" if self._threshold is None else f", and a success has a sum of rewards of {self._threshold:g}"
            self.remark = (
                f"A run is ended after {self.most_steps} of its {registered} actions{wanted}. The options "
                f"{LIMIT}= and {THRESHOLD}= say otherwise."
            )
        self._running, self._taken, self._total, self._well_formed = False, 0, 0.0, True

    def expert(self, task: Task) -> Policy | None:
        shows = getattr(self._inner.unwrapped, "expert", None)
        policy = shows(task) if callable(shows) else None
        if policy is None:
            return None
        in_words = self._drawn or isinstance(self._inner.observation_space, Texts)
        return lambda seen: observation_text(policy(seen if in_words else json.loads(seen)))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        chosen = dict(options or {})
        split = check_split(chosen.pop("split", "train"))
        number = seed if seed is not None else int(self.np_random.integers(2**31))
        observation, info = self._inner.reset(seed=split_seed(split, number), options=chosen or None)
        self._running, self._taken, self._total, self._well_formed = True, 0, 0.0, True
        instructions = "\n".join(filter(None, (info.get("instructions", ""), self._words)))
        tools = info.get("tools", ()) if isinstance(self._inner.action_space, Texts) else ()
        told = {"instructions": instructions, "tools": tools, "replies": info.get("replies", self._replies)}
        return self._seen(observation), told

    def step(self, action: str) -> StepResult:
        text = check_action(self.name, action, self._running)
        value, exact = read_action(self._inner.action_space, text)
        self._well_formed &= exact
        self._taken += 1
        late = self._taken >= self.most_steps
        if value is None:
            result = self._ended({}, over=False) if late else {}
            return f"error: {self._words or 'This is not in the action space.'}", 0.0, False, late, result
        observation, reward, terminated, truncated, info = self._inner.step(value)
        self._total += float(reward)
        over, cut = bool(terminated), bool(truncated) or (late and not terminated)
        result = {"replies": info["replies"]} if "replies" in info else {}
        if over or cut:
            result = self._ended(info, over=over)
        return self._seen(observation), float(reward), over, cut, result

    def close(self) -> None:
        self._inner.close()

    def _seen(self, observation: Any) -> str:
        return in_plain_text(str(self._inner.render())) if self._drawn else observation_text(observation)

    def _ended(self, info: dict[str, Any], *, over: bool) -> dict[str, Any]:
        """What info says at the end: a run that is not `over` is no success where only the environment could tell."""
        self._running = False
        reached = self._reached(info, over)
        return {"success": reached and self._well_formed, "lenient": reached}

    def _reached(self, info: dict[str, Any], over: bool) -> bool:
        if "success" in info:
            return bool(info["success"])
        if self._threshold is not None:
            return self._total >= self._threshold
        if not over:
            return False
        raise EnvironmentFault(
            f"{self.name} does not say when a run is a success. Say from which sum of rewards on it is one, as in "
            f"{self.skill}?reward_threshold=1, give info['success'] at the end of an episode, or register it with "
            "gymnasium.register(..., reward_threshold=...)."
        )


class TimeLimited(LanguageEnvironment):
    """A language environment whose episodes are truncated after `limit` actions, and then no success."""

    def __init__(self, environment: LanguageEnvironment, limit: int) -> None:
        super().__init__(environment.name)
        self._inner, self._limit, self._taken = environment, limit, 0
        self.skill, self.replayable = environment.skill, environment.replayable
        self.reply_tokens, self.expert_recovers = environment.reply_tokens, environment.expert_recovers
        self.most_steps, self.abstention, self.remark = limit, environment.abstention, environment.remark

    @property
    def task_options(self) -> dict[str, JSON]:
        return self._inner.task_options

    def tasks(self, split: Split, count: int, seed: int = 0) -> list[Task]:
        return self._inner.tasks(split, count, seed)

    def expert(self, task: Task) -> Policy | None:
        return self._inner.expert(task)

    def right_answer(self, task: Task) -> str | None:
        return self._inner.right_answer(task)

    def asked(self, turns: Sequence[str]) -> Task:
        return self._inner.asked(turns)

    def in_form(self, reply: str) -> str:
        return self._inner.in_form(reply)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        self._taken = 0
        return self._inner.reset(seed=seed, options=options)

    def step(self, action: str) -> StepResult:
        observation, given, terminated, truncated, info = self._inner.step(action)
        reward = float(given)
        self._taken += 1
        if self._taken >= self._limit and not terminated and not truncated:
            return observation, reward, False, True, {**info, "success": False, "lenient": False}
        return observation, reward, terminated, truncated, info

    def close(self) -> None:
        self._inner.close()


def split_seed(split: Split, seed: int) -> int:
    """The seed that a plain environment gets, so that the splits do not share episodes."""
    return int.from_bytes(hashlib.sha256(f"{split}/{seed}".encode()).digest()[:4], "big") // 2


def observation_text(observation: Any) -> str:
    """Compact text of an observation; floats are rounded to three digits after the point."""
    return observation if isinstance(observation, str) else json.dumps(_plain(observation), ensure_ascii=False)


def in_plain_text(drawn: str) -> str:
    """What was drawn for a terminal without its control characters: a red `F` is `<red:F>`."""
    return _CONTROL.sub("", _COLOURED.sub(_named, drawn)).strip("\n")


def _named(coloured: re.Match[str]) -> str:
    """A coloured part of a drawing, by the last of its colours."""
    names = [_COLOURS[code] for code in coloured[1].split(";") if code in _COLOURS]
    return f"<{names[-1]}:{coloured[2]}>" if names else coloured[2]


def action_words(space: spaces.Space[Any]) -> str:
    """How a reply has to look for `space`; `ConfigError` for a space that has no form in words."""
    if isinstance(space, spaces.Discrete):
        return f"Reply with one number from {int(space.start)} to {int(space.start + space.n - 1)}."
    if isinstance(space, spaces.MultiDiscrete | spaces.MultiBinary):
        return f"Reply with {int(np.prod(space.shape))} whole numbers in a JSON list."
    if isinstance(space, spaces.Box):
        size, low, high = int(np.prod(space.shape)), float(space.low.min()), float(space.high.max())
        return f"Reply with {size} number{'s' * (size > 1)} from {low:g} to {high:g} in a JSON list."
    if isinstance(space, Texts):
        return f"Reply with at most {space.max_length} characters." if _short(space) else ""
    raise ConfigError(
        f"Actions of the space {type(space).__name__} cannot be written as text. "
        "Use Discrete, MultiDiscrete, MultiBinary, Box or FreeText, or derive from LanguageEnvironment."
    )


def action_form(space: spaces.Space[Any]) -> str:
    """A regular expression of the actions of `space` as `action_words` asks for them; empty for any text, and for what
    is too long for a form."""
    if isinstance(space, spaces.Discrete):
        return _numbers(int(space.start), int(space.n))
    if isinstance(space, Texts):
        return _letters(space) if _short(space) else ""
    size = int(np.prod(space.shape or ()))
    if isinstance(space, spaces.MultiBinary):
        each = ["[01]"] * size
    elif isinstance(space, spaces.MultiDiscrete):
        ends = zip(np.ravel(space.start).tolist(), np.ravel(space.nvec).tolist(), strict=True)
        each = [_numbers(start, count) for start, count in ends]
    elif isinstance(space, spaces.Box):
        each = [_WHOLE if np.issubdtype(space.dtype, np.integer) else _FRACTION] * size
    else:
        return ""
    return rf"\[{', '.join(f'({one})' for one in each)}\]" if size <= MOST_NUMBERS else ""


def _numbers(start: int, count: int) -> str:
    """Of so many whole numbers from `start` on."""
    return "|".join(map(str, range(start, start + count))) if count <= MOST_LISTED else _WHOLE


def _short(space: Texts) -> TypeGuard[spaces.Text]:
    """Whether a text has so few characters that it has a form."""
    return isinstance(space, spaces.Text) and space.max_length <= LONGEST_FORM


def _letters(space: spaces.Text) -> str:
    """Of as many characters of the space's own as it takes."""
    each = "".join(one if one.isalnum() else f"\\u{ord(one):04x}" for one in space.characters if ord(one) < 1 << 16)
    return f"[{each}]{{{space.min_length},{space.max_length}}}"


def reply_tokens(space: spaces.Space[Any]) -> int:
    """Tokens that an action written as text takes, with a few words around it."""
    if isinstance(space, Texts):
        return LanguageEnvironment.reply_tokens
    return FEW_WORDS + TOKENS_A_NUMBER * int(np.prod(space.shape or ()))


def read_action(space: spaces.Space[Any], text: str) -> tuple[Any, bool]:
    """The action in `text` and whether it was written exactly; None when there is none in the space."""
    if isinstance(space, Texts):
        return (text, True) if space.contains(text) else (None, False)
    body = text.strip()
    if isinstance(space, spaces.Discrete):
        found = _INTEGER.findall(body[-READ_CHARACTERS:])
        number = np.int64(found[-1]) if found else None
        return (number, body == found[-1]) if number is not None and space.contains(number) else (None, False)
    start, end = body.find("["), body.rfind("]")
    if start < 0 or end - start > READ_CHARACTERS:
        return None, False
    try:
        values = np.asarray(json.loads(body[start : end + 1]), dtype=space.dtype).reshape(space.shape)
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None, False
    return (values, start == 0 and end == len(body) - 1) if space.contains(values) else (None, False)


def _plain(value: Any) -> JSON:
    """JSON of an observation of any Gymnasium space."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    if isinstance(value, np.ndarray):
        return [_plain(part) for part in value] if value.ndim else _plain(value.item())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return round(value, 3)
    return value if isinstance(value, str | int | bool) or value is None else str(value)
