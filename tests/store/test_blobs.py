from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmagentos.errors import StoreError
from llmagentos.store.blobs import INLINE_LIMIT, Blobs
from llmagentos.store.store import Store


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=2000))
def test_blobs_return_the_same_bytes_by_their_digest(store: Store, data: bytes) -> None:
    digest = store.blobs.put(data)
    assert store.blobs.get(digest) == data
    assert store.blobs.put(data) == digest
    assert store.blobs.exists(digest)
    store.blobs.verify(digest)


def test_blobs_report_a_changed_byte_with_the_remedy(store: Store) -> None:
    digest = store.blobs.put(b"weights")
    path = store.blobs.path(digest)
    path.write_bytes(b"weightz")
    for read in (store.blobs.get, store.blobs.verify):
        with pytest.raises(StoreError, match=r"damaged.*Restore .*llmagentos doctor"):
            read(digest)
    assert any(digest in line for line in store.check())
    store.blobs.put(b"weights")
    assert store.blobs.get(digest) == b"weights"


def test_blobs_report_a_missing_file_with_the_remedy(store: Store) -> None:
    digest = store.blobs.put(b"weights")
    store.blobs.path(digest).unlink()
    assert not store.blobs.exists(digest)
    for read in (store.blobs.get, store.blobs.verify):
        with pytest.raises(StoreError, match=r"missing.*Restore"):
            read(digest)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "a" * 63, "A" * 64, "g" * 64, "a" * 64 + "\n", "/" * 64])
def test_blobs_accept_no_name_but_a_digest(store: Store, name: str) -> None:
    for access in (store.blobs.get, store.blobs.path, store.blobs.exists, store.blobs.verify):
        with pytest.raises(StoreError, match="no blob's name"):
            access(name)


def test_blobs_refuse_to_write_when_read_only(home: Path) -> None:
    Store.open(home).close()
    with Store.open(home, read_only=True) as store, pytest.raises(StoreError, match="read-only"):
        store.blobs.put(b"x")


def test_blobs_survive_threads_putting_the_same_content(store: Store) -> None:
    digests: list[str] = []
    threads = [
        threading.Thread(target=lambda: digests.extend(store.blobs.put(bytes([i]) * 100) for i in range(30)))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(digests) == 150
    assert sorted(store.blobs.digests()) == sorted(set(digests))
    assert store.check() == []


def test_blobs_spill_only_what_is_over_the_limit(store: Store) -> None:
    small, large = b"s" * INLINE_LIMIT, b"l" * (INLINE_LIMIT + 1)
    assert store.blobs.spill(small) == (small, None)
    body, digest = store.blobs.spill(large)
    assert body is None
    assert store.blobs.restore(body, digest) == large
    with pytest.raises(StoreError, match="neither a body nor a blob"):
        store.blobs.restore(None, None)


def test_blobs_killed_while_writing_leave_no_half_blob(home: Path) -> None:
    Store.open(home).close()
    program = f"""
import os, signal, sys
from pathlib import Path
from llmagentos.store.blobs import Blobs
blobs = Blobs(Path({str(home / "blobs")!r}))
os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
blobs.put(b"x" * 1_000_000)
"""
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert child.returncode == -9, child.stderr
    with Store.open(home) as store:
        assert list(store.blobs.digests()) == []
        assert store.check() == []


def test_blobs_sweep_away_what_killed_writers_left_long_ago(tmp_path: Path) -> None:
    import os

    Blobs(tmp_path)
    old, fresh = tmp_path / ".partial" / "old", tmp_path / ".partial" / "fresh"
    old.touch()
    fresh.touch()
    os.utime(old, (0, 0))
    Blobs(tmp_path)
    assert not old.exists()
    assert fresh.exists()
