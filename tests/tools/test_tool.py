from dataclasses import dataclass
from typing import Any, Literal

import pytest

from llmagentos.errors import ConfigError
from llmagentos.tools.tool import Tool


@dataclass
class Address:
    street: str
    number: int


def ship(order: str, to: Address, speed: Literal["slow", "fast"] = "slow", gifts: list[str] | None = None) -> str:
    """Send an order
    to an address.

    Args:
        order: number of the order
        speed (optional): how fast
    """
    return f"{order} to {to.street} {to.number} {speed} {gifts}"


def pay(amount: float, *, idempotency_key: str) -> dict[str, Any]:
    """Pay."""
    return {"amount": amount, "key": idempotency_key}


def test_function_becomes_a_schema() -> None:
    spec = Tool.of(ship, effect=True).spec
    assert (spec.name, spec.description, spec.effect) == ("ship", "Send an order to an address.", True)
    properties = spec.parameters["properties"]
    assert properties["order"] == {"type": "string", "description": "number of the order"}
    assert properties["speed"]["enum"] == ["fast", "slow"]
    assert properties["speed"]["description"] == "how fast"
    assert spec.parameters["required"] == ["order", "to"]
    assert spec.parameters["$defs"]["Address"]["type"] == "object"


def test_checked_arguments_arrive_with_their_types() -> None:
    tool = Tool.of(ship)
    arguments = {"order": "7", "to": {"street": "Mill", "number": 3}, "gifts": ["a"]}
    assert tool.check(arguments) == ""
    assert tool.invoke(arguments) == "7 to Mill 3 slow ['a']"


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"order": 7, "to": {"street": "Mill", "number": 3}},
        {"order": "7", "to": {"street": "Mill"}},
        {"order": "7", "to": {"street": "Mill", "number": "3"}},
        {"order": "7", "to": {"street": "Mill", "number": 3}, "speed": "warp"},
        {"order": "7", "to": {"street": "Mill", "number": 3}, "extra": 1},
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any]) -> None:
    problem = Tool.of(ship).check(arguments)
    assert problem.startswith("ship: ")
    assert "It takes: order, to, speed, gifts." in problem


def test_key_is_hidden_from_the_model_and_given_to_the_function() -> None:
    tool = Tool.of(pay)
    assert tool.idempotent
    assert "idempotency_key" not in tool.spec.parameters["properties"]
    assert tool.check({"amount": 1.0, "idempotency_key": "forged"})
    assert tool.invoke({"amount": 1.0}, "p_1:4") == {"amount": 1.0, "key": "p_1:4"}


def test_functions_that_cannot_be_described_are_refused() -> None:
    def untyped(order):  # type: ignore[no-untyped-def]
        return order

    def starred(*orders: str) -> str:
        return ""

    def strange(thing: "Unknown") -> str:  # type: ignore[name-defined]  # noqa: F821
        return ""

    with pytest.raises(ConfigError, match="no type"):
        Tool.of(untyped)
    with pytest.raises(ConfigError, match="orders"):
        Tool.of(starred)
    with pytest.raises(ConfigError, match="Unknown"):
        Tool.of(strange)
    with pytest.raises(ConfigError, match="cannot name a tool"):
        Tool.of(ship, name='a"b')
    with pytest.raises(ConfigError, match="child process"):
        Tool.of(lambda: None, name="x", isolated=True)
