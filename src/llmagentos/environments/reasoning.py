"""Reasoning-v0: any data set of reasoning-gym; an answer is right only at score 1.0.

In: one reply. Out: reward 1 when the data set's own verifier gives the reply its full score; partial credit counts
as nothing. Lenient success verifies the last line, or the last number, of a longer reply.
It does not know the data sets. They are generated: splits have other seeds, not other operands by construction.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from typing import Any

from llmagentos.environments.adapter import split_seed
from llmagentos.environments.language import LanguageEnvironment, StepResult, check_action, check_unchanged
from llmagentos.errors import ConfigError, EnvironmentFault, MissingExtraError
from llmagentos.records.identity import JSON
from llmagentos.records.task import Task

NAME = "Reasoning-v0"

INSTRUCTIONS = "Answer with the result only."

READ_CHARACTERS = 4000
"""Only the end of a longer reply is given to a verifier."""

_EVALUATES_ANSWER = re.compile(r"\bexec\(|\b(?:eval|parse_expr|sympify)\(\s*(?:str\(\s*)?answer")
_EVALUATES = re.compile(r"\b(?:eval|exec|parse_expr|sympify)\((?!\s*entry\b)")
"""What runs text as Python. reasoning-gym 0.1.25 does so with the reply in nine data sets, countdown among them,
and with its data in codeio;
a data set's own stored answer, `entry[...]`, comes from its generator and not from a model."""

_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, SyntaxError, RecursionError)
"""What verifiers raise at a reply that they cannot parse; such a reply is wrong."""

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


class Reasoning(LanguageEnvironment):
    """The data set `name`; every other option is one of its own settings."""

    def __init__(self, **options: JSON) -> None:
        super().__init__(NAME)
        try:
            self._gym: Any = importlib.import_module("reasoning_gym")
        except ModuleNotFoundError as problem:
            raise MissingExtraError(NAME, "reasoning") from problem
        if not isinstance(options.get("name"), str):
            raise ConfigError(f"{NAME} needs a data set. Write {NAME}?name=chain_sum.")
        self._options = options
        self._data, self._entry = self._create(0)
        self._refuse_evaluation()
        self._running = False

    @property
    def task_options(self) -> dict[str, JSON]:
        return dict(self._options)

    def right_answer(self, task: Task) -> str | None:
        """The answer that the data set was made with, where its own verifier gives that the full score."""
        data, entry = self._create(split_seed(task.split, task.seed))
        known = entry.get("answer")
        return known if isinstance(known, str) and _is_right(data, entry, known.strip()) else None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        split = check_unchanged(NAME, self._options, options or {})
        number = seed if seed is not None else int(self.np_random.integers(2**31))
        self._data, self._entry = self._create(split_seed(split, number))
        self._running = True
        return str(self._entry["question"]).strip(), {"instructions": INSTRUCTIONS, "tools": ()}

    def step(self, action: str) -> StepResult:
        text = check_action(self.name, action, self._running)
        self._running = False
        data, entry = self._data, self._entry
        success = _is_right(data, entry, text.strip())
        lenient = success or any(_is_right(data, entry, part) for part in last_parts(text))
        return "", float(success), True, False, {"success": success, "lenient": lenient}

    def _refuse_evaluation(self) -> None:
        """Raise `ConfigError` for a data set that would run a reply, or code of its own data, in this process."""
        kind = type(self._data)
        try:
            module, scoring = inspect.getsource(sys.modules[kind.__module__]), inspect.getsource(kind.score_answer)
        except (OSError, TypeError, KeyError) as problem:
            raise ConfigError(f"{NAME}: the verifier of {self._options['name']!r} cannot be read.") from problem
        if _EVALUATES_ANSWER.search(module) or _EVALUATES.search(scoring) or kind.__module__.endswith(".composite"):
            raise ConfigError(
                f"{NAME}: the data set {self._options['name']!r} would execute replies or its data as Python code, "
                "which only a sandbox may do. Choose another data set, such as chain_sum or number_sorting."
            )

    def _create(self, seed: int) -> tuple[Any, dict[str, Any]]:
        settings = {name: value for name, value in self._options.items() if name != "name"}
        try:
            data = self._gym.create_dataset(self._options["name"], size=1, seed=seed, **settings)
            return data, data[0]
        except (ValueError, TypeError, AssertionError, KeyError) as problem:
            raise ConfigError(f"reasoning-gym does not take {self._options}: {problem}") from problem
        except Exception as problem:
            raise EnvironmentFault(
                f"reasoning-gym could not make {self._options}: {type(problem).__name__}: {problem}"
            ) from problem


def _is_right(data: Any, entry: dict[str, Any], answer: str) -> bool:
    if not answer or len(answer) > READ_CHARACTERS:
        return False
    try:
        return float(data.score_answer(answer=answer, entry=entry)) == 1.0
    except _UNREADABLE:
        return False


def last_parts(text: str) -> list[str]:
    """What a person would take for the answer in a longer reply: its last line, and the last number."""
    end = text[-READ_CHARACTERS:].strip()
    lines = end.splitlines()
    return [part for part in (lines[-1].strip() if lines else "", *_NUMBER.findall(end)[-1:]) if part]
