from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmagentos.errors import StoreError
from llmagentos.records.calls import Act
from llmagentos.store.blobs import INLINE_LIMIT
from llmagentos.store.store import Store

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=json_values)
def test_journal_returns_every_body_unchanged(store: Store, body: object) -> None:
    seq = store.journal.append("p", "kind", body)
    assert store.journal.entries("p", after=seq - 1)[0].body == body


def test_journal_numbers_each_process_from_one(store: Store) -> None:
    assert [store.journal.append(name, "k", None) for name in ("a", "b", "a", "a", "b")] == [1, 1, 2, 3, 2]
    assert [entry.seq for entry in store.journal.entries("a")] == [1, 2, 3]
    assert (store.journal.count("a"), store.journal.count("b"), store.journal.count()) == (3, 2, 5)
    assert store.journal.entries("nobody") == []


def test_journal_keeps_half_surrogates_that_models_write(store: Store) -> None:
    body = {"text": "\ud83d broken", "n": [1, 2.5, None]}
    store.journal.append("p", "k", body)
    assert store.journal.entries("p")[0].body == body


def test_journal_takes_frozen_records_as_bodies(store: Store) -> None:
    store.journal.append("p", "act", Act("go"))
    assert store.journal.entries("p")[0].body == {"action": "go", "call": None}


def test_journal_moves_long_bodies_to_blobs(store: Store) -> None:
    body = "x" * (INLINE_LIMIT + 1)
    store.journal.append("p", "short", "y")
    store.journal.append("p", "long", body)
    assert [entry.body for entry in store.journal.entries("p")] == ["y", body]
    assert len(list(store.blobs.digests())) == 1
    assert store.database.execute("SELECT max(length(body)) FROM journal")[0][0] < 10


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bodies=st.lists(json_values, min_size=1, max_size=6), later=st.lists(json_values, max_size=3))
def test_packed_events_read_back_and_count_as_before(
    tmp_path_factory: pytest.TempPathFactory, bodies: list[object], later: list[object]
) -> None:
    with Store.open(tmp_path_factory.mktemp("home")) as store:
        journal = store.journal
        for body in bodies:
            journal.append("p", "k", body)
        journal.append("other", "k", 1)
        before = journal.entries("p")
        journal.pack("p")
        assert journal.entries("p") == before
        assert store.database.execute("SELECT count(*) FROM journal WHERE process = 'p'") == [(1,)]
        for body in later:
            journal.append("p", "later", body)
        journal.pack("p")
        assert [entry.body for entry in journal.entries("p")] == [*bodies, *later]
        assert [entry.body for entry in journal.entries("p", after=len(bodies))] == later
        assert (journal.count("p"), journal.count("other")) == (len(bodies) + len(later), 1)
        assert journal.count() == len(bodies) + len(later) + 1


def test_packing_keeps_blobs_and_half_surrogates_and_other_owners_apart(store: Store) -> None:
    bodies = ["x" * (INLINE_LIMIT + 1), {"text": "\ud83d broken"}, None]
    for body in bodies:
        store.journal.append("p", "k", body)
        store.journal.append("shared", "k", body)
    store.journal.append("shared", "k", 1, owner="somebody else")
    for process in ("p", "shared", "nobody"):
        store.journal.pack(process)
    assert [entry.body for entry in store.journal.entries("p")] == bodies
    assert store.journal.entries("nobody") == []
    assert store.database.execute("SELECT count(*) FROM journal WHERE process = 'shared'") == [(4,)]


def test_an_ended_run_takes_a_fraction_of_the_room(store: Store) -> None:
    for turn in range(40):
        store.journal.append("p", "call", {"n": turn, "name": "Generate", "messages": [f"You are in room {turn}."]})
    size = "SELECT sum(length(body)) FROM journal"
    before = store.database.execute(size)[0][0]
    store.journal.pack("p")
    assert store.database.execute(size)[0][0] < before / 4


def test_packed_events_that_are_damaged_are_told(store: Store) -> None:
    for body in (1, 2):
        store.journal.append("p", "k", body)
    store.journal.pack("p")
    store.database.execute("UPDATE journal SET body = ?", (b"not deflated",))
    with pytest.raises(StoreError, match=r"damaged.*llmagentos doctor"):
        store.journal.entries("p")


def test_journal_refuses_a_format_it_does_not_know(store: Store) -> None:
    store.journal.append("p", "k", 1)
    store.database.execute("UPDATE journal SET format = 99")
    with pytest.raises(StoreError, match=r"format 99.*pip install --upgrade"):
        store.journal.entries("p")


def test_journal_reports_a_damaged_body(store: Store) -> None:
    store.journal.append("p", "k", 1)
    store.database.execute("UPDATE journal SET body = ?", (b"{broken",))
    with pytest.raises(StoreError, match=r"damaged.*llmagentos doctor"):
        store.journal.entries("p")


def test_journal_survives_threads_appending_at_once(store: Store) -> None:
    def work(name: str) -> None:
        for index in range(100):
            store.journal.append(name, "k", index, sync=index % 25 == 0)
            store.journal.append("shared", "k", [name, index])

    threads = [threading.Thread(target=work, args=(f"p{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(6):
        assert [entry.body for entry in store.journal.entries(f"p{number}")] == list(range(100))
    shared = store.journal.entries("shared")
    assert [entry.seq for entry in shared] == list(range(1, 601))
    assert {tuple(entry.body) for entry in shared} == {(f"p{n}", i) for n in range(6) for i in range(100)}


@pytest.mark.parametrize("sync", [False, True])
def test_journal_keeps_what_a_killed_process_had_appended(home: Path, sync: bool) -> None:
    program = f"""
import os, signal
from pathlib import Path
from llmagentos.store.store import Store
store = Store.open(Path({str(home)!r}))
for index in range(300):
    print(store.journal.append("p", "k", {{"index": index}}, sync={sync} and index % 50 == 0), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert child.returncode == -9, child.stderr
    assert child.stdout.split()[-1] == "300"
    with Store.open(home) as store:
        assert [entry.body["index"] for entry in store.journal.entries("p")] == list(range(300))
        assert store.check() == []


def test_journal_killed_in_the_middle_keeps_every_acknowledged_event(home: Path) -> None:
    program = f"""
from pathlib import Path
from llmagentos.store.store import Store
store = Store.open(Path({str(home)!r}))
index = 0
while True:
    index += 1
    store.journal.append("p", "k", {{"index": index, "pad": "x" * 500}})
    print(index, flush=True)
"""
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    acknowledged = 0
    for line in child.stdout:
        acknowledged = int(line)
        if acknowledged == 500:
            child.kill()
            break
    rest = child.stdout.read().split("\n")
    child.stdout.close()
    child.wait()
    acknowledged = max([acknowledged, *(int(line) for line in rest[:-1])])
    with Store.open(home) as store:
        indices = [entry.body["index"] for entry in store.journal.entries("p")]
    assert indices == list(range(1, len(indices) + 1))
    assert len(indices) >= acknowledged


def test_journal_syncs_the_log_only_where_asked(store: Store) -> None:
    levels: list[str] = []
    store.database._connection.set_trace_callback(levels.append)
    store.journal.append("p", "k", 1)
    assert not any("synchronous" in line for line in levels)
    store.journal.append("p", "k", 2, sync=True)
    pragmas = [line for line in levels if "synchronous" in line]
    assert pragmas == ["PRAGMA synchronous=FULL", "PRAGMA synchronous=NORMAL"]
    insert = next(index for index, line in enumerate(levels) if index > levels.index(pragmas[0]) and "INSERT" in line)
    assert levels.index(pragmas[0]) < insert < levels.index(pragmas[1])


def test_journal_refuses_a_synced_event_inside_an_unsynced_transaction(store: Store) -> None:
    with pytest.raises(StoreError, match="sync=True"), store.database.transaction():
        store.journal.append("p", "k", 1, sync=True)
    with store.database.transaction(sync=True):
        store.journal.append("p", "k", 1, sync=True)
    assert store.journal.count() == 1


def test_journal_event_inside_a_failed_transaction_is_rolled_back(store: Store) -> None:
    def fail_after_appending() -> None:
        with store.database.transaction():
            store.journal.append("p", "k", 1)
            raise ValueError

    with pytest.raises(ValueError):
        fail_after_appending()
    assert store.journal.count() == 0
    assert store.journal.append("p", "k", 2) == 1
