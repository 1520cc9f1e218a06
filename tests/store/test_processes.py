from __future__ import annotations

import pytest

from llmagentos.errors import NotFoundError
from llmagentos.records.generation import Sampling
from llmagentos.records.process import Limits, ProcessInfo
from llmagentos.records.task import Task
from llmagentos.store.store import Store


def test_processes_return_what_was_put_last(store: Store) -> None:
    info = ProcessInfo(
        "proc_1",
        "llmagentos.programs.react",
        {"deep": [1, {"a": None}]},
        Task("X-v0", 3, options={"level": 2}),
        sampling=Sampling(temperature=0.5, stop=("a", "b")),
        limits=Limits(steps=3),
        created=5.0,
        labels={"run": "1"},
    )
    store.processes.put(info)
    assert store.processes.get("proc_1") == info
    changed = ProcessInfo("proc_1", "p", state="failed", error="it broke \ud800", created=5.0)
    store.processes.put(changed, sync=True)
    assert store.processes.get("proc_1") == changed
    assert store.processes.list() == [changed]


def test_processes_are_listed_newest_first_by_state(store: Store) -> None:
    for index in range(10):
        state = "finished" if index % 2 else "running"
        store.processes.put(ProcessInfo(f"p{index}", "x", state=state, created=float(index)))
    assert [info.id for info in store.processes.list(["running"], limit=3)] == ["p8", "p6", "p4"]
    assert [info.id for info in store.processes.list(limit=2)] == ["p9", "p8"]
    assert len(store.processes.list(("running", "finished"), limit=None)) == 10
    assert store.processes.list([]) == []


def test_processes_name_the_unknown_one(store: Store) -> None:
    with pytest.raises(NotFoundError, match=r"'nobody'.*llmagentos ps"):
        store.processes.get("nobody")
