from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from llmagentos.errors import StoreError
from llmagentos.store import schema
from llmagentos.store.store import DATABASE_NAME, Store


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)


def test_store_reopened_loads_neither_sqlalchemy_nor_alembic(home: Path) -> None:
    Store.open(home).close()
    program = """
import sys
from pathlib import Path
import llmagentos.experience.episodes, llmagentos.knowledge.facts, llmagentos.releases.registry
from llmagentos.store.store import Store
store = Store.open(Path(sys.argv[1]))
store.journal.append("p", "k", 1)
store.processes.list()
print([name for name in ("sqlalchemy", "alembic", "numpy", "torch") if name in sys.modules])
"""
    done = run(program, str(home))
    assert done.stdout == "[]\n", done.stderr


def test_store_keeps_everything_over_a_reopening(home: Path) -> None:
    with Store.open(home) as store:
        store.journal.append("p", "k", {"a": 1})
        store.settings.put("colour", ["blue"])
    with Store.open(home) as store:
        assert store.journal.entries("p")[0].body == {"a": 1}
        assert store.settings.get("colour") == ["blue"]
        assert store.check() == []


def test_store_tables_are_those_that_the_migrations_make(store: Store) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from llmagentos.store.tables import metadata

    with store.database.reading() as connection:
        context = MigrationContext.configure(
            connection, opts={"include_name": lambda name, kind, parents: kind != "table" or "_text" not in name}
        )
        assert compare_metadata(context, metadata) == []
        for table in metadata.tables.values():
            if table.name not in ("episode_labels",):
                assert {"owner", "origin"} <= set(table.columns.keys()), table.name


def test_store_version_is_the_number_of_migrations(store: Store) -> None:
    folder = Path(schema.__file__).parent / "migrations" / "versions"
    assert len(list(folder.glob("r[0-9]*.py"))) == schema.VERSION
    assert store.database.execute("PRAGMA user_version") == [(schema.VERSION,)]


def test_store_schema_compiles_for_postgresql() -> None:
    from sqlalchemy.dialects import postgresql
    from sqlalchemy.schema import CreateTable

    from llmagentos.store.tables import metadata

    journal = str(CreateTable(metadata.tables["journal"]).compile(dialect=postgresql.dialect()))
    assert "BIGSERIAL" in journal
    for table in metadata.tables.values():
        CreateTable(table).compile(dialect=postgresql.dialect())


def test_store_opened_by_many_processes_at_once_is_made_once(home: Path) -> None:
    program = """
import sys
from pathlib import Path
from llmagentos.store.store import Store
with Store.open(Path(sys.argv[1])) as store:
    for index in range(20):
        store.journal.append("p", "k", index)
"""
    children = [subprocess.Popen([sys.executable, "-c", program, str(home)], stderr=subprocess.PIPE) for _ in range(3)]
    for child in children:
        _, errors = child.communicate()
        assert child.returncode == 0, errors.decode()
    with Store.open(home) as store:
        assert [entry.seq for entry in store.journal.entries("p")] == list(range(1, 61))


def test_store_killed_while_migrating_is_made_anew_at_the_next_opening(home: Path) -> None:
    program = """
import os, signal, sys
from pathlib import Path
from alembic import command
upgrade = command.upgrade
def killed(*arguments):
    upgrade(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
command.upgrade = killed
from llmagentos.store.store import Store
Store.open(Path(sys.argv[1]))
"""
    assert run(program, str(home)).returncode == -9
    with Store.open(home) as store:
        store.journal.append("p", "k", 1)
        assert store.check() == []


def test_store_read_by_another_process_while_the_owner_writes(home: Path) -> None:
    program = """
import sys
from pathlib import Path
from llmagentos.experience.episodes import Episodes
from llmagentos.store.store import Store
with Store.open(Path(sys.argv[1]), read_only=True) as store:
    counts = [store.journal.count() for _ in range(200)]
    assert counts == sorted(counts), counts
    assert Episodes(store).count() == 0
    try:
        store.journal.append("p", "k", 1)
    except Exception as error:
        print(type(error).__name__, error)
"""
    with Store.open(home) as store:
        store.journal.append("p", "k", 0)
        done = threading.Event()

        def write() -> None:
            while not done.is_set():
                store.journal.append("p", "k", 1)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            reader = run(program, str(home))
        finally:
            done.set()
            writer.join()
        assert reader.returncode == 0, reader.stderr
        assert reader.stdout.startswith("StoreError")
        assert "read-only" in reader.stdout
        assert store.journal.count() > 1


def test_store_reads_a_closed_home_without_changing_it(home: Path) -> None:
    with Store.open(home) as store:
        store.journal.append("p", "k", 1)
    before = (home / DATABASE_NAME).read_bytes()
    with Store.open(home, read_only=True) as store:
        assert store.journal.entries("p")[0].body == 1
    assert (home / DATABASE_NAME).read_bytes() == before


def test_store_read_only_makes_no_home(home: Path) -> None:
    with pytest.raises(StoreError, match=r"no database in .*LLMAGENTOS_HOME"):
        Store.open(home, read_only=True)
    assert not home.exists()


def test_store_refuses_a_file_that_is_no_database(home: Path) -> None:
    home.mkdir()
    (home / DATABASE_NAME).write_bytes(b"this is a text file, not a database at all\n" * 100)
    with pytest.raises(StoreError, match=r"damaged.*Restore it from a backup"):
        Store.open(home)


def test_store_refuses_another_programs_database(home: Path) -> None:
    home.mkdir()
    with sqlite3.connect(home / DATABASE_NAME) as foreign:
        foreign.execute("CREATE TABLE theirs (a)")
    foreign.close()
    with pytest.raises(StoreError, match="belongs to another program"):
        Store.open(home)


def test_store_refuses_a_newer_version(home: Path) -> None:
    with Store.open(home) as store:
        store.database.execute("PRAGMA user_version=999")
    with pytest.raises(StoreError, match=r"version 999.*pip install --upgrade"):
        Store.open(home)


def test_store_read_only_does_not_migrate(home: Path) -> None:
    with Store.open(home) as store:
        store.database.execute("PRAGMA user_version=0")
    with pytest.raises(StoreError, match=r"read-only.*llmagentos doctor"):
        Store.open(home, read_only=True)


@pytest.mark.parametrize("first_page", [1, 60])
def test_store_explains_damaged_pages(home: Path, first_page: int) -> None:
    with Store.open(home) as store:
        for index in range(2000):
            store.journal.append("p", "k", f"{index}" * 50)
    path = home / DATABASE_NAME
    data = bytearray(path.read_bytes())
    for page in range(first_page, len(data) // 4096):
        data[page * 4096 : page * 4096 + 200] = b"\xff" * 200
    path.write_bytes(data)

    def read_and_check() -> None:
        with Store.open(home) as store:
            if first_page > 1:
                assert store.check() != []
            store.journal.entries("p")

    with pytest.raises(StoreError, match=r"damaged.*Restore it from a backup.*\.recover"):
        read_and_check()


def test_store_explains_damage_met_through_sqlalchemy(home: Path) -> None:
    with Store.open(home) as store:
        store.database.execute("DROP TABLE settings")
        with pytest.raises(StoreError, match="llmagentos doctor"):
            store.settings.get("a")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser writes anywhere")
def test_store_explains_a_home_that_cannot_be_made(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match=r"cannot be made.*LLMAGENTOS_HOME"):
        Store.open(tmp_path / "home")


def test_store_explains_a_home_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    with pytest.raises(StoreError, match=r"cannot be made.*LLMAGENTOS_HOME"):
        Store.open(tmp_path / "home")


def test_store_after_closing_says_that_it_is_closed(home: Path) -> None:
    store = Store.open(home)
    store.settings.put("a", 1)
    assert store.settings.get("a") == 1
    store.close()
    store.close()
    for use in (
        lambda: store.journal.append("p", "k", 1),
        lambda: store.journal.entries("p"),
        lambda: store.settings.get("a"),
        lambda: store.settings.put("a", 2),
    ):
        with pytest.raises(StoreError, match=r"is closed.*Store\.open"):
            use()


def test_store_home_is_private(home: Path) -> None:
    Store.open(home).close()
    assert home.stat().st_mode & 0o077 == 0


def test_store_transaction_is_all_or_nothing(store: Store) -> None:
    def put_and_fail() -> None:
        with store.database.transaction():
            store.settings.get("a")
            with store.database.transaction():
                store.audit.append("k", 1)
            assert len(store.audit.entries()) == 1
            raise ValueError

    with pytest.raises(ValueError):
        put_and_fail()
    assert store.audit.entries() == []


def test_store_readers_see_nothing_of_an_unfinished_transaction(store: Store) -> None:
    seen: list[int] = []
    with store.database.transaction():
        store.audit.append("k", 1)
        other = threading.Thread(target=lambda: seen.append(len(store.audit.entries())))
        other.start()
        other.join()
    assert seen == [0]
    assert len(store.audit.entries()) == 1
