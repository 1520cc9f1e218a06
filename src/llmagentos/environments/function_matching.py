"""Whether a call is one of the allowed ones, by the rules of the Berkeley Function-Calling Leaderboard for Python.

In: a call, the function's parameters as the leaderboard describes them, and for each argument the list of allowed
values, in which an empty text says that the argument may be left out. Out: the reason why not, empty when it fits.
It does not know questions or files. The rules follow the leaderboard's published checker, oddities included, so
that a score means the same: https://github.com/ShishirPatil/gorilla (bfcl_eval, ast checker).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from llmagentos.records.identity import JSON

_TYPES: dict[str, Any] = {
    "string": str,
    "integer": int,
    "float": float,
    "boolean": bool,
    "array": list,
    "tuple": list,
    "dict": dict,
    "any": str,
}

_IGNORED = re.compile(r"[ ,./\-_*^]")
"""Characters that do not count when texts are compared."""


def mismatch(
    arguments: Mapping[str, JSON], parameters: Mapping[str, JSON], allowed: Mapping[str, Sequence[JSON]]
) -> str:
    """Why `arguments` are not an allowed call; empty when they are.

    `parameters` is the function's description with `properties` and `required`.
    """
    properties: Mapping[str, JSON] = parameters.get("properties", {})
    for name in parameters.get("required", ()):
        if name not in arguments:
            return f"{name} is missing"
    for name, value in arguments.items():
        if name not in properties or name not in allowed:
            return f"{name} is unexpected"
        if not _value_fits(value, properties[name], allowed[name]):
            return f"{name} has another value"
    for name, values in allowed.items():
        if name not in arguments and "" not in values:
            return f"{name} is missing"
    return ""


def example(parameters: Mapping[str, JSON], allowed: Mapping[str, Sequence[JSON]]) -> dict[str, JSON]:
    """The first allowed value of every argument that may not be left out."""
    required = parameters.get("required", ())
    return {name: _first(values) for name, values in allowed.items() if "" not in values or name in required}


def _first(values: Sequence[JSON]) -> JSON:
    """The first value that is not the mark of an optional argument, objects inside it made concrete."""
    return _concrete(next((value for value in values if value != ""), ""))


def _concrete(value: JSON) -> JSON:
    if isinstance(value, dict):
        return {
            name: _first(choices) if isinstance(choices, list) else choices
            for name, choices in value.items()
            if not (isinstance(choices, list) and "" in choices)
        }
    if isinstance(value, list):
        return [_concrete(item) if isinstance(item, dict) else item for item in value]
    return value


def _value_fits(value: JSON, description: Mapping[str, JSON], allowed: Sequence[JSON]) -> bool:
    kind = description.get("type", "any")
    expected: Any = _TYPES.get(kind, str)
    inner: Any = None
    if kind in ("array", "tuple"):
        inner = _TYPES.get((description.get("items") or {}).get("type", "any"), str)
    if kind == "float" and type(value) is int:
        value = _as_float(value)
    if not _type_fits(value, allowed, expected, inner):
        return False
    if not _is_variable(allowed, expected) and type(value) is expected:
        if expected is dict:
            return any(_dict_fits(value, option) for option in allowed)
        if expected is list and inner is dict:
            return any(_dicts_fit(value, option) for option in allowed)
        if expected is str:
            return plain_text(value) in [plain_text(option) for option in allowed if type(option) is str]
        if expected is list:
            return _plain_items(value) in [_plain_items(option) for option in allowed if isinstance(option, list | str)]
    return value in allowed


def plain_text(text: str) -> str:
    """`text` without case, blanks and light punctuation: `April 1, 2024` equals `april 1 2024`."""
    return _IGNORED.sub("", text).lower().replace("'", '"')


def _type_fits(value: JSON, allowed: Sequence[JSON], expected: Any, inner: Any) -> bool:
    """The described type, or, where the leaderboard allows a value of another type (a variable's name), that one."""
    if type(value) is expected:
        if inner is None:
            return True
        return any(
            not isinstance(option, list) or all(_type_fits(item, option, inner, None) for item in value)
            for option in allowed
        )
    stand_in = _stand_in(allowed)
    return stand_in is not None and type(value) is stand_in


def _is_variable(allowed: Sequence[JSON], expected: type) -> bool:
    """Whether the allowed values are of another type than described; they are then compared as they stand."""
    stand_in = _stand_in(allowed)
    return stand_in is not None and stand_in is not expected


def _stand_in(allowed: Sequence[JSON]) -> type | None:
    """The type of the first allowed value that is not the mark of an optional argument."""
    return next((type(option) for option in allowed if option != ""), None)


def _as_float(value: int) -> float | int:
    try:
        return float(value)
    except OverflowError:
        return value


def _plain_items(values: Sequence[JSON]) -> list[JSON]:
    return [plain_text(item) if type(item) is str else item for item in values]


def _dict_fits(value: Any, option: JSON) -> bool:
    """An object whose every value is allowed and which leaves out only what may be left out."""
    if not isinstance(value, dict) or not isinstance(option, dict):
        return False
    for name, part in value.items():
        choices = option.get(name)
        if not isinstance(choices, list):
            return False
        if (plain_text(part) if type(part) is str else part) not in _plain_items(choices):
            return False
    return all(name in value or "" in choices for name, choices in option.items())


def _dicts_fit(values: Sequence[JSON], option: JSON) -> bool:
    """Objects in the given order, each fitting its own."""
    if not isinstance(option, list | str) or len(values) != len(option):
        return False
    return all(_dict_fits(value, one) for value, one in zip(values, option, strict=True))
