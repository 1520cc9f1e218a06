from __future__ import annotations

import pytest

from llmagentos.store.store import Store


def filled(store: Store) -> Store:
    for index in range(5):
        store.audit.append("permission", {"tool": f"t{index}", "allowed": index % 2 == 0}, sync=index == 3, owner="ann")
    return store


def test_audit_returns_entries_in_order(store: Store) -> None:
    filled(store)
    store.audit.append("approval", "yes")
    assert [entry.number for entry in store.audit.entries()] == [1, 2, 3, 4, 5, 6]
    assert store.audit.entries(kind="permission", limit=1)[0].body == {"tool": "t4", "allowed": True}
    assert {entry.owner for entry in store.audit.entries(kind="permission")} == {"ann"}
    assert store.audit.first_broken() is None


@pytest.mark.parametrize(
    ("attack", "broken"),
    [
        ("UPDATE audit SET body = x'7b7d' WHERE number = 2", 2),
        ("UPDATE audit SET owner = 'eve' WHERE number = 4", 4),
        ("UPDATE audit SET created = 0 WHERE number = 1", 1),
        ("DELETE FROM audit WHERE number = 3", 4),
        ("DELETE FROM audit WHERE number = 1", 2),
    ],
)
def test_audit_notices_a_change_of_the_past(store: Store, attack: str, broken: int) -> None:
    filled(store).database.execute(attack)
    assert store.audit.first_broken() == broken
    assert any(f"entry {broken}" in line for line in store.check())
