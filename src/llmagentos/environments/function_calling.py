"""FunctionCalling-v0: real questions of the Berkeley Function-Calling Leaderboard; the exact call is right.

In: one reply, a call or words. Out: reward 1 when it is an allowed call by the leaderboard's rules, or plain words
where no function fits. It does not know the matching rules (`function_matching`) nor the files (`function_questions`).
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, cast

from llmagentos.config import load_settings
from llmagentos.environments.function_matching import example, mismatch
from llmagentos.environments.function_questions import CATEGORIES, Category, Question, fetch_questions
from llmagentos.environments.language import (
    LanguageEnvironment,
    Policy,
    StepResult,
    check_action,
    check_draw,
    check_options,
    check_split,
    read_choices,
)
from llmagentos.errors import EnvironmentFault
from llmagentos.programs.parsing import parse_call, render_call
from llmagentos.programs.tool_text import shorten
from llmagentos.records.identity import JSON
from llmagentos.records.message import ToolCall, ToolSpec
from llmagentos.records.task import Split, Task

NAME = "FunctionCalling-v0"

INSTRUCTIONS = "Call the tool that answers the question. If none fits, say so."
NO_TOOL = "No tool fits."
"""The expert's reply where nothing is to be called."""

DESCRIPTION_CHARACTERS = 80
"""Longer descriptions of a tool are cut after a word: prompts are paid for in every run."""
ENUM_CHARACTERS = 80
"""A longer list of choices is left out of the tool's description."""

_JSON_TYPES = {"dict": "object", "tuple": "array", "float": "number", "any": "string"}


class FunctionCalling(LanguageEnvironment):
    """Questions of the chosen `category` (comma-separated: simple, multiple, live_simple, irrelevance; default all).

    `home` is the folder below which the questions are kept; `questions` replaces them.
    """

    reply_tokens = 96

    def __init__(
        self, home: str | Path | None = None, questions: list[Question] | None = None, **options: JSON
    ) -> None:
        super().__init__(NAME)
        self._options = options
        _read_categories(options)
        self._questions = questions or fetch_questions((Path(home) if home else load_settings().home) / "assets")
        self._question: Question | None = None

    @property
    def task_options(self) -> dict[str, JSON]:
        return dict(self._options)

    def tasks(self, split: Split, count: int, seed: int = 0) -> list[Task]:
        """`count` different questions of `split`, fewer when it has no more; another `seed` shuffles otherwise."""
        check_draw(split, count)
        positions = list(range(len(self._of(split, self._options))))
        random.Random(f"{NAME}/{split}/{seed}").shuffle(positions)
        return [self.task(split, position) for position in positions[:count]]

    def expert(self, task: Task) -> Policy:
        """Replies with an allowed call that leaves out what may be left out."""
        reply = expert_reply(self._choose(task.split, task.seed, {**self._options, **task.options}))
        return lambda observation: reply

    def question(self, task: Task) -> Question:
        """The leaderboard's question behind `task`."""
        return self._choose(task.split, task.seed, {**self._options, **task.options})

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        chosen = {**self._options, **(options or {})}
        split = check_split(chosen.pop("split", "train"))
        number = seed if seed is not None else int(self.np_random.integers(2**31))
        self._question = question = self._choose(split, number, chosen)
        instructions = f"{INSTRUCTIONS}\n{question.context}".strip()
        return question.text, {"instructions": instructions, "tools": tuple(map(tool_spec, question.functions))}

    def step(self, action: str) -> StepResult:
        text = check_action(self.name, action, self._question is not None)
        question, self._question = cast("Question", self._question), None
        parsed = parse_call(text, [function["name"] for function in question.functions])
        if question.function:
            right = parsed.call is not None and call_fits(question, parsed.call)
        else:
            right = parsed.is_message and bool(text.strip())
        success = right and parsed.well_formed
        return "", float(success), True, False, {"success": success, "lenient": right}

    def _of(self, split: Split, options: dict[str, JSON]) -> list[Question]:
        categories = _read_categories(options)
        return [one for one in self._questions if one.split == split and one.category in categories]

    def _choose(self, split: Split, seed: int, options: dict[str, JSON]) -> Question:
        """The question at position `seed` of the split, counted on from the start where there are fewer."""
        there_are = self._of(split, options)
        if not there_are:
            raise EnvironmentFault(f"{NAME} has no questions of {options} in the split {split}.")
        return there_are[seed % len(there_are)]


def call_fits(question: Question, call: ToolCall) -> bool:
    """Whether `call` is an allowed one for `question`."""
    if call.name != question.function or question.allowed is None:
        return False
    return not mismatch(call.arguments, question.parameters, question.allowed)


def expert_reply(question: Question) -> str:
    """The first allowed value of every argument that must be given; words where nothing is to be called."""
    if question.allowed is None:
        return NO_TOOL
    return render_call(ToolCall(question.function, example(question.parameters, question.allowed)))


def tool_spec(function: dict[str, JSON]) -> ToolSpec:
    """A function of the leaderboard in JSON Schema, its description shortened."""
    parameters = function["parameters"]
    properties = {name: _schema(one) for name, one in parameters.get("properties", {}).items()}
    return ToolSpec(
        name=function["name"],
        description=_purpose(str(function.get("description", ""))),
        parameters={
            "type": "object",
            "properties": properties,
            "required": list(parameters.get("required", ())),
        },
    )


def _purpose(description: str) -> str:
    """The first sentence, shortened."""
    return shorten(" ".join(description.split()).split(". ")[0], DESCRIPTION_CHARACTERS)


def _schema(one: dict[str, JSON]) -> dict[str, JSON]:
    kind = one.get("type", "any")
    schema: dict[str, JSON] = {"type": _JSON_TYPES.get(kind, kind)}
    if "description" in one:
        schema["description"] = one["description"]
    if one.get("enum") and len("|".join(map(str, one["enum"]))) <= ENUM_CHARACTERS:
        schema["enum"] = list(one["enum"])
    if isinstance(one.get("items"), dict):
        schema["items"] = _schema(one["items"])
    if isinstance(one.get("properties"), dict):
        schema["properties"] = {name: _schema(part) for name, part in one["properties"].items()}
        schema["required"] = list(one.get("required", ()))
    return schema


def _read_categories(options: dict[str, JSON]) -> tuple[Category, ...]:
    check_options(NAME, options, ("category",))
    return read_choices(NAME, "category", options.get("category", list(CATEGORIES)), CATEGORIES)
