"""A tool: a typed Python function with what a model is told about it.

In: a function whose annotations and docstring say what it takes. Out: its specification as JSON Schema, and calls
with arguments that were checked against it.
It does not know permissions, processes or models.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, get_type_hints

import msgspec

from llmagentos.errors import ConfigError
from llmagentos.programs.registry import describe, qualified_name
from llmagentos.records.identity import JSON
from llmagentos.records.message import ToolSpec

KEY_PARAMETER = "idempotency_key"
"""A function with this parameter gets the call's key and promises to have its effect once for one key."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_NO_DEFAULT = inspect.Parameter.empty
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True)
class Tool:
    """A function that agents may be allowed to use."""

    spec: ToolSpec
    function: Callable[..., Any]
    types: Mapping[str, Any] = field(default_factory=dict)
    """Annotation of each argument."""
    idempotent: bool = False
    """The function takes `idempotency_key` and has its effect once for one key."""
    isolated: bool = False
    """It runs in a child process that is killed when it hangs."""

    @classmethod
    def of(cls, function: Callable[..., Any], *, name: str = "", effect: bool = False, isolated: bool = False) -> Tool:
        """The tool that a function is. ConfigError for one whose arguments cannot be described.

        `effect` says that a call changes something outside the run. The docstring's first paragraph becomes the
        description, the lines of its `Args:` section describe the arguments.
        """
        name = name or function.__name__
        if not _NAME.fullmatch(name):
            raise ConfigError(f"{name!r} cannot name a tool. Give name= with letters, digits and _ . - (at most 64).")
        if isolated and qualified_name(function) is None:
            raise ConfigError(
                f"Tool {name!r} cannot run in a child process: {describe(function)} is not found by its name. "
                "Define it at the top of an importable module."
            )
        types = _argument_types(name, function)
        idempotent = types.pop(KEY_PARAMETER, None) is not None
        summary, about = _docstring(function)
        parameters = _schema(name, function, types, about)
        return cls(ToolSpec(name, summary, parameters, effect), function, types, idempotent, isolated)

    def check(self, arguments: Mapping[str, JSON]) -> str:
        """What is wrong with `arguments`, empty when nothing is."""
        from jsonschema.exceptions import best_match

        problem = best_match(self._validator.iter_errors(dict(arguments)))
        if problem is None:
            return ""
        where = ".".join(str(part) for part in problem.absolute_path) or "arguments"
        known = ", ".join(self.types) or "none"
        return f"{self.spec.name}: {where}: {problem.message[:300]}. It takes: {known}."

    def invoke(self, arguments: Mapping[str, JSON], key: str = "") -> JSON:
        """Call the function with checked arguments; its result as JSON. Whatever it raises is raised."""
        values = {name: msgspec.convert(value, self.types[name]) for name, value in arguments.items()}
        if self.idempotent:
            values[KEY_PARAMETER] = key
        return msgspec.to_builtins(self.function(**values), str_keys=True)

    @cached_property
    def _validator(self) -> Any:
        from jsonschema import Draft202012Validator

        return Draft202012Validator(self.spec.parameters)


def _argument_types(name: str, function: Callable[..., Any]) -> dict[str, Any]:
    try:
        hints = get_type_hints(function, include_extras=True)
    except NameError as problem:
        raise ConfigError(f"The annotations of tool {name!r} cannot be read: {problem}.") from problem
    types: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in _BY_NAME:
            raise ConfigError(f"Tool {name!r} takes {parameter}; give every argument a name of its own.")
        if parameter.name not in hints:
            raise ConfigError(f"Argument {parameter.name!r} of tool {name!r} has no type. Annotate it, such as: str.")
        types[parameter.name] = hints[parameter.name]
    return types


def _schema(
    name: str, function: Callable[..., Any], types: Mapping[str, Any], about: Mapping[str, str]
) -> dict[str, JSON]:
    try:
        schemas, definitions = msgspec.json.schema_components(types.values(), ref_template="#/$defs/{name}")
    except TypeError as problem:
        raise ConfigError(f"An argument of tool {name!r} has a type that JSON cannot carry: {problem}") from problem
    defaults = {key: parameter.default for key, parameter in inspect.signature(function).parameters.items()}
    properties = {
        argument: {**schema, **({"description": about[argument]} if argument in about else {})}
        for argument, schema in zip(types, schemas, strict=True)
    }
    parameters: dict[str, JSON] = {"type": "object", "properties": properties, "additionalProperties": False}
    required = [argument for argument in types if defaults[argument] is _NO_DEFAULT]
    if required:
        parameters["required"] = required
    if definitions:
        parameters["$defs"] = definitions
    return parameters


def _docstring(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """First paragraph, and the lines `name: text` of a section `Args:`."""
    text = inspect.getdoc(function) or ""
    summary = " ".join(text.split("\n\n")[0].split())
    _, _, section = text.partition("Args:\n")
    about: dict[str, str] = {}
    for line in section.splitlines():
        if not line.startswith(" "):
            break
        name, colon, said = line.strip().partition(":")
        if colon:
            about[name.split(" ")[0]] = said.strip()
    return summary, about
