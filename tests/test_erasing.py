"""Promise: what one call contained can be destroyed for good: nothing of it is left, its chain verifies, others are untouched."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from audit.access import AccessLog
from audit.entries import Entry, Kind
from audit.erasure import erase_call
from audit.errors import KeyErased, SpoolPending, StoreFailed
from audit.folder import AuditFolder
from audit.journal import Journal
from audit.outbox import Outbox
from audit.reader import Reader
from audit.sealing import reader_id
from audit.store import SqliteStore
from tests.calls import Call, Living, Rung, leaves, scratch, speaks
from tests.handoff.test_desk import PACKET
from tests.terminal import Terminal, terminal
from triage.call import new_call_id
from triage.cli_audit import wall_now_ns
from triage.config import load
from triage.erasing import erase
from triage.errors import UsageError
from triage.handoff.desk import shelf_of

WORD, NUMBER = "Zebulon Quartermain", "+15550147788"
DAY_NS = 24 * 3_600 * 1_000_000_000


def ended(folder: Path, writer: str) -> Rung:
    """A call that is over: word and number in its record, and everything else that a call can leave."""

    async def story(living: Living) -> None:
        await living.until(1.0)
        living.call.note_number(NUMBER)

    call = Call(script=[speaks(f"my name is {WORD}", "sore_no", delay_s=0.4), leaves(9)], folder=folder, writer=writer)
    rang = call.ring(story)
    rang.settle()
    for task in rang.callbacks():
        with closing(SqliteStore(rang.audit.database)) as store:
            Outbox(store).callback_done(task.id, at_ns=1)
    assert rang.kept()
    name = rang.finished.call_id
    room = folder / "calls" / name
    room.mkdir(parents=True)
    (room / "summary.md").write_text(f"{WORD} {NUMBER}")
    packet = replace(PACKET, call_id=name, code=f"code-{writer}", made_ns=wall_now_ns(), situation={"words": WORD})
    shelf = shelf_of(load(env={}, data=folder), rang.audit.keyring().public_key())
    shelf.deliver(packet, wall_ns=packet.made_ns)
    with closing(sqlite3.connect(folder / "tools.db")) as base, base:
        base.execute("CREATE TABLE IF NOT EXISTS callback (key TEXT PRIMARY KEY, number TEXT)")
        base.execute("INSERT INTO callback VALUES (?, ?)", (f"{name}:callback", f"{NUMBER} of {name}"))
    return rang


@pytest.fixture
def two() -> tuple[Rung, Rung]:
    folder = scratch() / "data"
    folder.mkdir()
    return ended(folder, "w1"), ended(folder, "w2")


@pytest.fixture
def triage(two: tuple[Rung, Rung], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return terminal(monkeypatch, capsys, "--data", str(two[0].audit.root))


def wraps(folder: AuditFolder, call: str) -> list[bytes]:
    with closing(SqliteStore(folder.database)) as store, store.connection() as connection:
        return [w for (w,) in connection.execute("SELECT wrapped FROM data_key WHERE call = ?", (call,)) if w]


def on_disk(folder: AuditFolder) -> bytes:
    return b"\n".join(path.read_bytes() for path in sorted(folder.root.rglob("*")) if path.is_file())


def test_nothing_of_the_call_is_left_and_its_chain_verifies(two: tuple[Rung, Rung], triage: Terminal) -> None:
    gone, stays = two
    call, folder = gone.finished.call_id, gone.audit
    keys = wraps(folder, call)
    assert len(keys) == 2 and all(key in on_disk(folder) for key in keys), "the call's own, and the summary's"
    code, out, err = triage("audit", "erase", call, "--purpose", "the caller asked")
    assert code == 0, err
    assert "2 keys, 2 files, 1 bookings" in out
    left = on_disk(folder)
    assert not any(key in left for key in keys), "not in the store, not in its write-ahead log"
    other = stays.finished.call_id
    for path in (path for path in folder.root.rglob("*") if path.is_file() and other not in str(path)):
        lying = path.read_bytes().replace(f"{NUMBER} of {other}".encode(), b"")  # the other caller's booking
        assert not any(secret.encode() in lying for secret in (WORD, *WORD.split(), NUMBER, NUMBER[1:])), path
    assert not (folder.root / "calls" / call).exists()
    code, out, _ = triage("audit", "verify", "--all")
    assert code == 0 and f"call {call}" in out and "content erased" in out
    for command in ("show", "summary"):
        assert triage("audit", command, call)[0] == 2
    with closing(SqliteStore(folder.database)) as store:
        reader = Reader(store, folder.keyring(), spool=folder.spool)
        with pytest.raises(KeyErased):
            reader.records(call, at_ns=1)
        (noted,) = [reading for reading in AccessLog(store).readings(call) if reading.what == "erase"]
        assert noted.purpose == "the caller asked" and "@" in noted.who
        assert NUMBER in str([record.content.payload for record in reader.records(other, at_ns=1)])
        assert [task.call for task in Outbox(store).callbacks(open_only=False) if task.call == call] == []
    assert (folder.root / "calls" / other / "summary.md").exists() and len(
        list((folder.root / "packets").iterdir())
    ) == 1


def test_it_is_in_the_log_before_anything_is_destroyed(two: tuple[Rung, Rung], triage: Terminal) -> None:
    call, folder = two[0].finished.call_id, two[0].audit
    with closing(sqlite3.connect(folder.database)) as connection:
        connection.execute("DROP TABLE access")
    assert triage("audit", "erase", call, "--purpose", "p")[0] == 2
    assert len(wraps(folder, call)) == 2 and (folder.root / "calls" / call).exists()


def test_it_can_be_said_again(two: tuple[Rung, Rung], triage: Terminal) -> None:
    call = two[0].finished.call_id
    assert [triage("audit", "erase", call, "--purpose", "p")[0] for _ in range(2)] == [0, 0]


def test_only_a_whole_id_of_a_call_is_erased_and_only_for_a_reason(two: tuple[Rung, Rung], triage: Terminal) -> None:
    call, folder = two[0].finished.call_id, two[0].audit
    with closing(sqlite3.connect(folder.database)) as connection, connection:
        connection.execute("INSERT INTO chain (call, bucket, writer, closed) VALUES ('../packets', 1, 'w', 1)")
    for arguments in (
        (call[:20], "--purpose", "p"),
        (call,),
        ("../packets", "--purpose", "p"),
        ("\x1b[2J", "--purpose", "p"),
    ):
        code, _, err = triage("audit", "erase", *arguments)
        assert code == 2 and "\x1b" not in err, arguments
    assert len(wraps(folder, call)) == 2 and len(list((folder.root / "packets").iterdir())) == 2


def test_a_call_that_may_go_on_and_one_that_waits_to_be_rung_back_are_left_alone(two: tuple[Rung, Rung]) -> None:
    folder, call = two[0].audit, new_call_id(wall_now_ns())
    writer = folder.open_writer("w3", inline=True)
    writer.open_call(call, monotonic_ns=1, wall_ns=wall_now_ns())
    writer.close()
    shelf = shelf_of(load(env={}, data=folder.root))
    with closing(SqliteStore(folder.database)) as store:
        with pytest.raises(UsageError, match="still be going on"):
            erase(folder, store, shelf, call, at_ns=wall_now_ns(), who="w", purpose="p")
        assert erase(folder, store, shelf, call, at_ns=wall_now_ns() + 2 * DAY_NS, who="w", purpose="p").keys == 1
        assert Outbox(store).unfinished() == [], "nobody tries it now"
        other = two[1].finished.call_id
        task = Entry(Kind.CALLBACK, (f"{other}/9", other, "urgent", "nurse_now", 1, 2))
        store.append([task])
        with pytest.raises(UsageError, match="is open"):
            erase(folder, store, shelf, other, at_ns=wall_now_ns(), who="w", purpose="p")


def test_a_journal_that_would_bring_its_keys_back_is_waited_for(two: tuple[Rung, Rung]) -> None:
    call, folder = two[0].finished.call_id, two[0].audit
    journal = Journal(folder.spool, "late")
    journal.append([Entry(Kind.KEY, ("k", reader_id(folder.keyring().public_key()), call, b"c", b"wrapped"))])
    with closing(SqliteStore(folder.database)) as store:
        with pytest.raises(SpoolPending, match=r"late\.journal"):
            erase_call(store, folder.spool, call, at_ns=1, who="w", purpose="p")
        journal.clear()
        assert erase_call(store, folder.spool, call, at_ns=1, who="w", purpose="p") == 2


def test_older_pages_that_somebody_still_reads_are_said(two: tuple[Rung, Rung]) -> None:
    call, folder = two[0].finished.call_id, two[0].audit
    with closing(SqliteStore(folder.database, busy_ms=20)) as store, store.connection() as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM record").fetchone()
        with pytest.raises(StoreFailed, match="erase the call once more"):
            erase_call(store, folder.spool, call, at_ns=1, who="w", purpose="p")
        other.execute("COMMIT")
        erase_call(store, folder.spool, call, at_ns=1, who="w", purpose="p")
        assert folder.database.with_name("audit.db-wal").stat().st_size == 0


def test_a_key_that_an_older_version_left_in_unused_space_is_found_and_packed_away(two: tuple[Rung, Rung]) -> None:
    call, folder = two[0].finished.call_id, two[0].audit
    (key, _) = wraps(folder, call)
    with closing(sqlite3.connect(folder.database)) as connection:
        connection.execute("PRAGMA secure_delete=OFF")
        connection.execute("CREATE TABLE older (wrapped BLOB)")
        connection.executemany("INSERT INTO older VALUES (?)", [(key,)] * 200)
        connection.commit()
        connection.execute("DROP TABLE older")
        connection.commit()
    with closing(SqliteStore(folder.database)) as store:
        erase_call(store, folder.spool, call, at_ns=1, who="w", purpose="p")
    assert key not in on_disk(folder)
    assert two[1].verified().closed and two[0].verified().erased
