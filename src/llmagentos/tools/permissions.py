"""Who may call which tool with which arguments: denied unless a rule allows it.

In: rules and tool calls. Out: decisions, each written to the audit log before it counts.
A rule that denies wins over one that asks, and that over one that allows, whatever their order. Nothing that came
from outside (a web page, a tool's result) can change the rules: they are fixed when the system is put together.
It does not know what tools do, nor how the log is kept.
"""

from __future__ import annotations

import fnmatch
import hashlib
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Protocol, TypeAlias, get_args

import msgspec

from llmagentos.errors import ConfigError
from llmagentos.records.identity import JSON
from llmagentos.records.message import ToolCall

Effect: TypeAlias = Literal["allow", "deny", "ask"]
_STRICTEST: tuple[Effect, ...] = ("deny", "ask", "allow")


class Audit(Protocol):
    """Appends one decision to a log that shows whether it was changed; raising means not decided."""

    def __call__(self, kind: str, body: JSON, *, sync: bool = False) -> object: ...


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. Patterns are those of a shell: `*`, `?`, `[abc]`."""

    tool: str
    """Pattern of the tool's name."""
    decision: Effect
    arguments: Mapping[str, str] = field(default_factory=dict)
    """Pattern of each named argument. All must match for the rule to count; an argument that is not there does not.
    To allow, the argument must be one plain value. To deny or ask, any text inside it suffices, whatever its case."""

    def __post_init__(self) -> None:
        if self.decision not in get_args(Effect):
            raise ConfigError(f"A rule cannot decide {self.decision!r}. Choose one of: {', '.join(_STRICTEST)}.")
        if not self.tool:
            raise ConfigError("A rule needs the pattern of a tool's name; '*' means every tool.")

    def matches(self, call: ToolCall) -> bool:
        """Whether the rule speaks about a call."""
        if not fnmatch.fnmatchcase(call.name, self.tool):
            return False
        matches = _may if self.decision == "allow" else _must_not
        return all(
            name in call.arguments and matches(call.arguments[name], pattern)
            for name, pattern in self.arguments.items()
        )


@dataclass(frozen=True, slots=True)
class PermissionDecision:
    """What was decided about one call."""

    allowed: bool
    reason: str
    """One sentence; for a refusal it says what would allow the call."""
    rule: Rule | None = None
    """The rule that decided, None for the default."""


class Permissions:
    """Decides by rules; thread-safe."""

    def __init__(
        self,
        rules: Iterable[Rule] = (),
        *,
        audit: Audit | None = None,
        approve: Callable[[ToolCall, Rule], bool] | None = None,
    ) -> None:
        """`approve` asks a person, for rules that say so; without it such calls are denied."""
        self._rules = tuple(rules)
        self._audit = audit
        self._approve = approve

    @property
    def rules(self) -> tuple[Rule, ...]:
        return self._rules

    def decide(self, call: ToolCall, *, process: str, owner: str, declared: bool) -> PermissionDecision:
        """Decide about a call and log it. `declared`: the environment offers the tool, allowed unless a rule denies.

        When the log cannot be written its error is raised, and the call must not be made.
        """
        decision = self._decide(call, declared)
        if self._audit is not None:
            asked = decision.rule is not None and decision.rule.decision == "ask"
            self._audit("permission", _log_entry(call, decision, process, owner), sync=asked)
        return decision

    def _decide(self, call: ToolCall, declared: bool) -> PermissionDecision:
        for effect in _STRICTEST:
            rule = next((rule for rule in self._rules if rule.decision == effect and rule.matches(call)), None)
            if rule is None:
                continue
            if effect == "deny":
                return PermissionDecision(False, f"A rule denies {call.name!r}{_said(rule)}.", rule)
            if effect == "ask":
                return self._ask(call, rule)
            return PermissionDecision(True, f"A rule allows {call.name!r}{_said(rule)}.", rule)
        if declared:
            return PermissionDecision(True, f"The environment offers {call.name!r}.")
        return PermissionDecision(False, f"No rule allows {call.name!r} with these arguments.")

    def _ask(self, call: ToolCall, rule: Rule) -> PermissionDecision:
        if self._approve is None:
            return PermissionDecision(False, f"{call.name!r} needs a person's approval and nobody can be asked.", rule)
        if self._approve(call, rule):
            return PermissionDecision(True, f"A person approved {call.name!r}.", rule)
        return PermissionDecision(False, f"A person refused {call.name!r}.", rule)


def only_refusals(audit: Audit) -> Audit:
    """The part of a log that says what was not allowed: for runs of which nothing else is kept."""

    def append(kind: str, body: JSON, *, sync: bool = False) -> object:
        return audit(kind, body, sync=sync) if isinstance(body, dict) and not body.get("allowed") else None

    return append


def read_rules(records: Sequence[Mapping[str, JSON]]) -> tuple[Rule, ...]:
    """Rules from JSON `{"tool", "decision", "arguments"}`; ConfigError for anything else, misspelt fields too."""
    known = {item.name for item in fields(Rule)}
    for record in records:
        unknown = sorted(set(record) - known)
        if unknown:
            raise ConfigError(f"A rule has no field {unknown[0]!r}. It has: {', '.join(sorted(known))}.")
    try:
        return msgspec.convert(list(records), tuple[Rule, ...])
    except msgspec.ValidationError as problem:
        raise ConfigError(f"The permission rules cannot be read: {problem}") from problem


def _may(value: JSON, pattern: str) -> bool:
    """Whether a plain value matches a pattern that allows: exactly as written, and with no way out of a folder."""
    if isinstance(value, Mapping | list | tuple):
        return False
    text = _text(value)
    if "/" in pattern and ".." in text.replace("\\", "/").split("/"):
        return False
    return fnmatch.fnmatchcase(text, pattern)


def _must_not(value: JSON, pattern: str) -> bool:
    """Whether any text inside a value matches a pattern that denies, written in whatever way."""
    folded = _fold(pattern)
    return any(fnmatch.fnmatchcase(_fold(text), folded) for text in _texts(value))


def _texts(value: JSON) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key)
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
    else:
        yield _text(value)


def _text(value: JSON) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _fold(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold().strip()


def _said(rule: Rule) -> str:
    return f" where {', '.join(f'{name} is {pattern!r}' for name, pattern in rule.arguments.items())}" * bool(
        rule.arguments
    )


def _log_entry(call: ToolCall, decision: PermissionDecision, process: str, owner: str) -> dict[str, Any]:
    """Names and a digest, not the values: those are in the journal, where a person's data can be forgotten."""
    content = msgspec.json.encode(call.arguments, order="deterministic")
    return {
        "tool": call.name,
        "arguments": sorted(call.arguments),
        "digest": hashlib.sha256(content).hexdigest(),
        "process": process,
        "owner": owner,
        "allowed": decision.allowed,
        "reason": decision.reason,
    }
