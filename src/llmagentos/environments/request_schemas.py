"""Tools as records describe them, in JSON Schema that allows what the records call.

In: arguments under the names of types that JSON Schema or Python has; calls that are right. Out: schemas by which every
right call can be said: replies are held to them, and what a schema forbids no agent could ever say.
It does not know layouts of records, nor who answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from llmagentos.programs.constraining import sayable
from llmagentos.records.identity import JSON
from llmagentos.records.message import ToolCall, ToolSpec

_NAMES = {
    **{name: name for name in ("string", "integer", "number", "boolean", "array", "object", "null")},
    **{"str": "string", "int": "integer", "float": "number", "bool": "boolean", "none": "null"},
    **dict.fromkeys(("list", "set", "tuple", "sequence"), "array"),
    **dict.fromkeys(("dict", "mapping"), "object"),
}
_PLAIN = {"string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,)}
_SAID = {"description", "title", "default", "examples", "example"}
"""Keywords that forbid nothing."""
LONGEST_TYPE = 200
"""Characters of the name of a type; a longer one says nothing."""
_REMARK = re.compile(r",\s*(optional|default\b.*)$", re.IGNORECASE)


def argument_schema(parameters: JSON) -> dict[str, JSON]:
    """A JSON Schema of arguments; bare `{"argument": {"type": "str"}}` and Python's names of types are brought into
    its form. No bare argument must be given: such files say that an argument is optional, or forget to."""
    if not isinstance(parameters, dict) or not parameters:
        return {"type": "object", "properties": {}}
    if not isinstance(parameters.get("properties"), dict):
        if not all(isinstance(one, dict) for one in parameters.values()):
            return {"type": "object", "properties": {}}
        parameters = {"properties": parameters}
    properties = {name: _typed(one) for name, one in parameters["properties"].items()}
    return {**parameters, "type": "object", "properties": properties}


def allowing(tools: Sequence[ToolSpec], calls: Iterable[ToolCall]) -> tuple[ToolSpec, ...]:
    """The tools with schemas that allow `calls`: a right call that its schema forbids says that the schema is wrong.

    Of an argument that is forbidden only the description is kept, one that is not known becomes known, one that is left
    out need not be given. So of a held-out call an agent may see that its schema was wrong there, and no more. Tools
    whose calls are all allowed stay the objects they are.
    """
    found = {tool.name: tool for tool in tools}
    for call in calls:
        if call.name in found:
            found[call.name] = _allowing(found[call.name], call.arguments)
    return tuple(found.values())


def _allowing(tool: ToolSpec, arguments: Mapping[str, JSON]) -> ToolSpec:
    schema = tool.parameters
    known, required = schema.get("properties"), schema.get("required")
    known, required = known if isinstance(known, dict) else {}, required if isinstance(required, list) else []
    others = schema.get("additionalProperties", False)
    wrong = {
        name: {key: kept for key, kept in one.items() if key in _SAID} if isinstance(one, dict) else {}
        for name, value in arguments.items()
        if not allows(one := known.get(name, others), value, schema)
    }
    missing = [name for name in required if name not in arguments]
    if not wrong and not missing:
        return tool
    mended = {**schema, "properties": {**known, **wrong}}
    if missing:
        mended["required"] = [name for name in required if name in arguments]
    return replace(tool, parameters=mended)


def allows(schema: JSON, value: JSON, root: Mapping[str, JSON] | None = None) -> bool:
    """Whether a reply that is held to a schema can be a value: 1.0 is no integer. References lead into `root`."""
    plain = isinstance(schema, dict) and not set(schema) - _SAID - {"type", "items", "enum"}
    kind, choices = (schema.get("type"), schema.get("enum")) if plain else (None, None)
    if isinstance(kind, str) and kind in _PLAIN:  # nearly all arguments, and files have a million records
        fits = type(value) in _PLAIN[kind]
        return fits and (
            not isinstance(choices, list) or any(type(one) is type(value) and one == value for one in choices)
        )
    if kind == "array" and isinstance(value, list) and choices is None:
        return all(allows(schema.get("items", True), one, root) for one in value)
    if isinstance(schema, bool) or schema == {}:
        return schema is not False
    alone = {**(root or {}), "type": "object", "properties": {"value": schema}, "required": ["value"]}
    return sayable(ToolSpec("tool", "", alone), {"value": in_order(value, schema)})


def in_order(value: JSON, schema: JSON) -> JSON:
    """A value with the members of its objects in the order of their schema, the one that replies are held to."""
    schema = schema if isinstance(schema, dict) else {}
    if isinstance(value, list):
        return [in_order(one, schema.get("items")) for one in value]
    properties = schema.get("properties")
    if not isinstance(value, dict) or not isinstance(properties, dict):
        return value
    names = [name for name in properties if name in value] + [name for name in value if name not in properties]
    return {name: in_order(value[name], properties.get(name)) for name in names}


def _typed(schema: JSON) -> JSON:
    """The schema of one argument; types that neither JSON Schema nor Python has allow anything."""
    if not isinstance(schema, dict) or not isinstance(schema.get("type"), str):
        return schema
    rest = {key: value for key, value in schema.items() if key != "type"}
    said = schema["type"] if len(schema["type"]) <= LONGEST_TYPE else ""
    return {**_read_type(_REMARK.sub("", said.strip())), **rest}


def _read_type(said: str) -> dict[str, JSON]:
    """`List[int]` or `string` in JSON Schema; empty for what is no type."""
    name, _, inside = said.strip().partition("[")
    kind, parts = name.strip().rpartition(".")[2].lower(), _parts(inside.removesuffix("]"))
    if kind in ("optional", "union"):
        either = [one for one in map(_read_type, parts) if one]
        return (either[0] if len(either) == 1 else {"anyOf": either}) if len(either) == len(parts) and either else {}
    if kind not in _NAMES:
        return {}
    items = _read_type(parts[0]) if len(parts) == 1 else {}
    return {"type": _NAMES[kind], **({"items": items} if items and _NAMES[kind] == "array" else {})}


def _parts(inside: str) -> list[str]:
    """What stands between the commas of `int, List[str]`, those inside brackets left alone."""
    found, depth, begun = [], 0, 0
    for place, sign in enumerate(inside):
        depth += {"[": 1, "]": -1}.get(sign, 0)
        if sign == "," and depth == 0:
            found.append(inside[begun:place])
            begun = place + 1
    return [one for one in [*found, inside[begun:]] if one.strip()]
