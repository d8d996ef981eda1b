"""Promise: the store's file holds no plaintext, its errors are one line without a payload, and its schema is the migrations'."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from audit.errors import NotCanonical, StoreFailed
from audit.migrate import engine_for, schema_of, upgrade
from audit.records import Stage
from audit.store import REVISION, SqliteStore, explained, schema
from audit.tables import AuditTable
from tests.audit.forge import WALL
from tests.audit.stores import CALLS, Setup, say


def test_the_packaged_schema_is_what_the_migrations_make(tmp_path: Path) -> None:
    upgrade(tmp_path / "migrated.db")
    SqliteStore(tmp_path / "fresh.db").close()
    assert schema_of(tmp_path / "fresh.db") == schema_of(tmp_path / "migrated.db")
    assert f"VALUES ('{REVISION}')" in schema()[-1]


def test_the_tables_in_code_are_what_the_migrations_make(tmp_path: Path) -> None:
    upgrade(tmp_path / "migrated.db")
    engine = engine_for(tmp_path / "migrated.db")
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(connection)
            assert compare_metadata(context, AuditTable.metadata) == []
    finally:
        engine.dispose()


def test_the_writers_path_loads_no_orm() -> None:
    code = (
        "import sys, tempfile, pathlib\n"
        "from audit.folder import AuditFolder\n"
        "folder = AuditFolder(pathlib.Path(tempfile.mkdtemp())); folder.keyring().ensure()\n"
        "folder.open_writer('w').close()\n"
        "print(sorted({'sqlalchemy', 'sqlmodel', 'alembic', 'pydantic'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_every_connection_is_durable(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path / "audit.db")) as store, store.connection() as connection:
        asked = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
        assert asked == ["wal", 2], "2 is FULL"
        assert connection.execute("PRAGMA foreign_keys").fetchone()[0] == 1


def test_no_file_of_the_data_folder_holds_a_word_of_the_call(tmp_path: Path) -> None:
    setup = Setup(tmp_path, inline=True)
    call = setup.writer.open_call(CALLS[0], monotonic_ns=0, wall_ns=WALL, payload={"from": "+15550100"})
    say(call, 1, "crushing pain in my chest")
    setup.store.error = OSError("down")
    say(call, 2, "crushing pain in my chest")
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name != "keys"]
    assert {path.suffix for path in files} >= {".db", ".db-wal", ".journal"}
    held = b"".join(path.read_bytes() for path in files)
    assert CALLS[0].encode() in held
    for secret in (b"crushing", b"15550100", b"stt_final", call._key._raw if call._key else b""):
        assert secret
        assert secret not in held
    setup.store.error = None
    setup.writer.close()


def test_an_error_of_the_store_repeats_no_value(tmp_path: Path) -> None:
    setup = Setup(tmp_path, inline=True)
    call = setup.writer.open_call(CALLS[0], monotonic_ns=0, wall_ns=WALL)
    setup.store.error = sqlite3.OperationalError("crushing pain")
    say(call, 1, "crushing pain")
    assert "crushing" not in repr(setup.troubles)
    with pytest.raises(NotCanonical) as told:
        call.append(Stage.STT_FINAL, {"crushing": {"pain": 0.5}}, turn=1, monotonic_ns=1, wall_ns=WALL)
    assert "0.5" not in str(told.value)
    setup.store.error = None
    setup.writer.close()


def broken_file(path: Path) -> None:
    path.write_bytes(b"this is no database at all, only some text that is long enough" * 10)


def foreign_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE somebody_elses (x)")


def newer_store(path: Path) -> None:
    SqliteStore(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")


@pytest.mark.parametrize(
    ("damage", "names"),
    [
        (broken_file, "is not a database"),
        (foreign_database, "not an audit store"),
        (newer_store, "newer release"),
        (lambda path: path.mkdir(), "cannot be opened"),
    ],
    ids=["no database", "somebody else's", "newer", "a folder"],
)
def test_a_file_that_cannot_be_used_is_one_line(tmp_path: Path, damage: Callable[[Path], None], names: str) -> None:
    damage(tmp_path / "audit.db")
    with pytest.raises(StoreFailed, match=names) as told:
        SqliteStore(tmp_path / "audit.db")
    assert "\n" not in str(told.value)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreFailed, match="--data"):
        SqliteStore(tmp_path / "file" / "audit.db")


def test_a_locked_store_is_one_line(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "audit.db").close()
    with closing(sqlite3.connect(tmp_path / "audit.db", isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        other.execute("UPDATE alembic_version SET version_num = version_num")
        with pytest.raises(StoreFailed, match="locked by another program"):
            SqliteStore(tmp_path / "audit.db", busy_ms=10)


def test_a_read_only_store_is_one_line(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path / "audit.db")) as store, store.connection() as connection:
        connection.execute("PRAGMA query_only = 1")
        with pytest.raises(StoreFailed, match=r"audit\.db is read-only: .*--data"), explained(store.path):
            connection.execute("DELETE FROM record")


def test_a_full_disk_sends_the_call_to_the_journal(tmp_path: Path) -> None:
    setup = Setup(tmp_path, inline=True)
    call = setup.writer.open_call(CALLS[0], monotonic_ns=0, wall_ns=WALL)
    pages = setup.store.inner._append.execute("PRAGMA page_count").fetchone()[0]
    setup.store.inner._append.execute(f"PRAGMA max_page_count={pages}")
    receipts = [say(call, turn, "x" * 3000) for turn in range(10)]
    assert any(receipt.spooled for receipt in receipts)
    assert [trouble.code for trouble in setup.troubles] == ["SQLITE_FULL"]
    setup.store.inner._append.execute("PRAGMA max_page_count=1000000")
    assert not say(call, 11).spooled
    setup.writer.close()
