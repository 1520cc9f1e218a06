import sqlite3
from pathlib import Path
from typing import Any

import pytest

from llmagentos.errors import ConfigError
from llmagentos.records.message import ToolCall
from llmagentos.store.store import Store
from llmagentos.tools.permissions import Permissions, Rule, only_refusals, read_rules


def decide(rules: list[Rule], name: str, arguments: dict[str, Any] | None = None, declared: bool = False) -> Any:
    return Permissions(rules).decide(ToolCall(name, arguments or {}), process="p", owner="ann", declared=declared)


def test_everything_is_denied_without_a_rule() -> None:
    decision = decide([], "search")
    assert not decision.allowed
    assert "No rule allows 'search'" in decision.reason


def test_a_log_may_have_refusals_alone() -> None:
    told: list[Any] = []

    def append(kind: str, body: Any, *, sync: bool = False) -> None:
        told.append((kind, body["tool"], body["allowed"], sync))

    rules = Permissions([Rule("pay", "deny"), Rule("send", "ask")], audit=only_refusals(append))
    for name in ("look", "pay", "send"):
        rules.decide(ToolCall(name, {}), process="p", owner="o", declared=True)
    assert told == [("permission", "pay", False, False), ("permission", "send", False, True)]


def test_environments_own_tools_are_allowed_unless_denied() -> None:
    assert decide([], "refund", declared=True).allowed
    assert not decide([Rule("refund", "deny")], "refund", declared=True).allowed


@pytest.mark.parametrize("order", [1, -1])
def test_denial_wins_whatever_the_order(order: int) -> None:
    rules = [Rule("*", "allow"), Rule("shell", "deny")][::order]
    assert not decide(rules, "shell").allowed
    assert decide(rules, "search").allowed


def test_tool_names_match_exactly_or_by_pattern() -> None:
    rules = [Rule("read_*", "allow")]
    assert decide(rules, "read_file").allowed
    for name in ("Read_file", "unread_file", "read", " read_file", "write_file"):
        assert not decide(rules, name).allowed


@pytest.mark.parametrize(
    "value",
    [
        "/home/ann/../bob/secret",
        "/home/ann/a/../../bob",
        "/home/annex/x",
        "/home/ann\\..\\bob",
        ["/home/ann/x"],
        {"path": "/home/ann/x"},
        "/HOME/ann/x",
        " /home/ann/x",
        None,
        7,
    ],
)
def test_allowance_cannot_be_stretched(value: Any) -> None:
    assert not decide([Rule("read", "allow", {"path": "/home/ann/*"})], "read", {"path": value}).allowed


def test_allowance_needs_its_argument() -> None:
    rule = Rule("read", "allow", {"path": "*"})
    assert not decide([rule], "read", {}).allowed
    assert not decide([rule], "read", {"Path": "x"}).allowed
    assert decide([rule], "read", {"path": "x"}).allowed


@pytest.mark.parametrize(
    "value",
    [
        "rm -rf /",
        "RM -RF /",
        "  rm -rf / ",
        ["ls", "rm -rf /"],
        {"command": {"inner": "rm -rf /"}},
        {"rm -rf /": 1},
        "ｒｍ -rf /",
        "x\nrm -rf /",
    ],
)
def test_denial_cannot_be_dodged_by_writing_it_otherwise(value: Any) -> None:
    rules = [Rule("run", "allow"), Rule("run", "deny", {"what": "*rm *"})]
    assert not decide(rules, "run", {"what": value}).allowed
    assert decide(rules, "run", {"what": "ls"}).allowed


def test_asking_without_anybody_to_ask_denies() -> None:
    rules = [Rule("pay", "ask"), Rule("*", "allow")]
    assert "nobody can be asked" in decide(rules, "pay").reason


@pytest.mark.parametrize("answer", [True, False])
def test_person_decides_where_a_rule_asks(answer: bool) -> None:
    permissions = Permissions([Rule("pay", "ask")], approve=lambda call, rule: answer)
    assert permissions.decide(ToolCall("pay"), process="p", owner="o", declared=True).allowed is answer


@pytest.mark.parametrize(
    "record",
    [
        {"tool": "*", "decision": "permit"},
        {"tool": "*"},
        {"tool": "*", "decision": "allow", "argument": {"path": "/home/*"}},
        {"tool": "", "decision": "allow"},
        {"tool": "read", "decision": "allow", "arguments": {"path": 3}},
    ],
)
def test_misspelt_rules_are_refused(record: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        read_rules([record])


def test_rules_are_read_from_json() -> None:
    rules = read_rules([{"tool": "read", "decision": "allow", "arguments": {"path": "a*"}}])
    assert rules == (Rule("read", "allow", {"path": "a*"}),)


def test_call_is_not_allowed_when_the_log_cannot_be_written() -> None:
    def full(kind: str, body: Any, *, sync: bool = False) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        Permissions([Rule("*", "allow")], audit=full).decide(ToolCall("x"), process="p", owner="o", declared=True)


@pytest.fixture
def audited(tmp_path: Path) -> Any:
    with Store.open(tmp_path) as store:
        permissions = Permissions([Rule("pay", "allow")], audit=store.audit.append)
        for name in ("pay", "steal", "pay"):
            permissions.decide(ToolCall(name, {"card": "4111-secret"}), process="p_1", owner="ann", declared=False)
    return tmp_path


def test_every_decision_is_in_the_log_without_argument_values(audited: Path) -> None:
    with Store.open(audited) as store:
        bodies = [entry.body for entry in store.audit.entries(kind="permission")]
        assert store.audit.first_broken() is None
    assert [(body["tool"], body["allowed"]) for body in bodies] == [("pay", True), ("steal", False), ("pay", True)]
    assert bodies[0]["digest"] == bodies[1]["digest"]
    assert "4111" not in str(bodies)


@pytest.mark.parametrize(
    ("attack", "found"),
    [
        ("UPDATE audit SET body = replace(body, '\"allowed\":false', '\"allowed\":true') WHERE number = 2", 2),
        ("UPDATE audit SET owner = 'bob' WHERE number = 1", 1),
        ("DELETE FROM audit WHERE number = 2", 3),
        ("DELETE FROM audit WHERE number = 1", 2),
        ("UPDATE audit SET digest = previous WHERE number = 3", 3),
    ],
)
def test_changed_or_missing_decision_is_found(audited: Path, attack: str, found: int) -> None:
    with sqlite3.connect(audited / "llmagentos.db") as database:
        for name in [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")]:
            database.execute(f"DROP TRIGGER {name}")
        if "replace(body" in attack:
            attack = attack.replace("replace(body", "CAST(replace(CAST(body AS TEXT)").replace(
                "true')", "true') AS BLOB)"
            )
        changed = database.execute(attack).rowcount
    assert changed == 1
    with Store.open(audited) as store:
        assert store.audit.first_broken() == found
