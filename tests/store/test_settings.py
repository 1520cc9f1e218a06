from __future__ import annotations

from llmagentos.store.store import Store


def test_settings_keep_the_last_value(store: Store) -> None:
    assert store.settings.get("a") is None
    assert store.settings.get("a", 7) == 7
    store.settings.put("a", {"x": [1, "二"]})
    store.settings.put("b", None)
    store.settings.put("a", {"x": 2})
    assert store.settings.get("a") == {"x": 2}
    assert store.settings.names() == ["a", "b"]
    store.settings.delete("a")
    store.settings.delete("never")
    assert store.settings.names() == ["b"]
