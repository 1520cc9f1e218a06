from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmagentos.errors import HomeLockedError
from llmagentos.store.lock import HomeLock, holder_of
from llmagentos.store.store import Store

HOLD = """
import sys, time
from pathlib import Path
from llmagentos.store.lock import HomeLock
HomeLock(Path(sys.argv[1])).acquire()
print("held", flush=True)
time.sleep(60)
"""


def hold_in_child(home: Path) -> subprocess.Popen[str]:
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(home)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child


def end(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.wait()
    assert child.stdout is not None
    child.stdout.close()


def test_lock_names_the_process_that_owns_the_home(home: Path) -> None:
    child = hold_in_child(home)
    try:
        with pytest.raises(HomeLockedError, match=rf"process {child.pid} .*kill {child.pid}.*LLMAGENTOS_HOME"):
            HomeLock(home).acquire()
        holder = holder_of(home)
        assert holder is not None
        assert holder.pid == child.pid
    finally:
        end(child)


def test_lock_of_a_killed_process_does_not_block(home: Path) -> None:
    end(hold_in_child(home))
    assert (home / "owner.lock").read_text() != ""
    assert holder_of(home) is None
    with HomeLock(home) as lock:
        assert lock.held
        holder = holder_of(home)
        assert holder is not None
        assert holder.pid == os.getpid()


def test_lock_is_exclusive_within_one_process(home: Path) -> None:
    with HomeLock(home), pytest.raises(HomeLockedError, match="This process already owns"):
        HomeLock(home).acquire()
    with HomeLock(home):
        pass
    assert holder_of(home) is None


def test_lock_taken_twice_by_one_object_is_one_lock(home: Path) -> None:
    lock = HomeLock(home)
    lock.acquire().acquire()
    lock.release()
    lock.release()
    assert not lock.held
    assert holder_of(home) is None


def test_lock_file_of_garbage_does_not_block(home: Path) -> None:
    home.mkdir()
    (home / "owner.lock").write_bytes(b"\xff\x00 no json")
    with HomeLock(home) as lock:
        assert lock.held


def test_lock_dies_with_its_owner_although_a_forked_child_lives_on(home: Path) -> None:
    program = """
import os, sys, time
from pathlib import Path
from llmagentos.store.lock import HomeLock
lock = HomeLock(Path(sys.argv[1])).acquire()
if os.fork() == 0:
    os.close(1)
    time.sleep(5)
    os._exit(0)
print("held", flush=True)
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", program, str(home)], stdout=subprocess.PIPE, check=True)
    with HomeLock(home) as lock:
        assert lock.held


def test_lock_does_not_keep_readers_out(home: Path) -> None:
    with HomeLock(home), Store.open(home) as owner:
        owner.journal.append("p", "k", 1)
        with Store.open(home, read_only=True) as reader:
            assert reader.journal.count() == 1
