"""Promise: an auditor gets along at the terminal: list, verify, show, export, drill, wipe; every trouble is one line."""

import json
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import typer
from freezegun import freeze_time

from audit import verify_export
from audit.access import AccessLog
from audit.errors import RecordMissing
from audit.folder import AuditFolder
from audit.records import Stage
from audit.store import SqliteStore
from tests.audit.forge import WALL
from tests.audit.stores import CALLS, Setup, say, settled
from triage.cli_audit import audit_app
from triage.errors import TriageError

Ran = tuple[int, str]
Run = Callable[..., Ran]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    setup = Setup(tmp_path / "data", inline=True)
    for name in CALLS[:3]:
        call = setup.writer.open_call(name, monotonic_ns=10**9, wall_ns=WALL)
        call.append(Stage.STT_FINAL, {"text": "here, in my chest"}, turn=1, monotonic_ns=3 * 10**9, wall_ns=WALL)
        call.append(
            Stage.ASSESSMENT,
            {"level": "nurse_now", "category": "cardiac"},
            turn=1,
            monotonic_ns=3 * 10**9,
            wall_ns=WALL,
        )
        step = {
            "before": "LISTENING",
            "after": "HANDOFF",
            "event": {"type": "UrgencyFound"},
            "effects": [{"type": "Play"}],
        }
        call.append(Stage.STEP, step, turn=1, monotonic_ns=3 * 10**9, wall_ns=WALL)
        call.append(Stage.STEP, {**step, "before": "HANDOFF"}, turn=1, monotonic_ns=3 * 10**9, wall_ns=WALL)
        call.append(Stage.STT_FINAL, {"text_withheld": {"length": 12}}, turn=2, monotonic_ns=4 * 10**9, wall_ns=WALL)
        call.finish(monotonic_ns=5 * 10**9, wall_ns=WALL)
    setup.writer.close()
    return tmp_path / "data"


@pytest.fixture
def triage(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run `triage audit ...`: (exit code, what was said)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    app = typer.Typer()
    app.add_typer(audit_app)

    def run(*arguments: object) -> Ran:
        try:
            code = app(["audit", *map(str, arguments)], standalone_mode=False) or 0
        except TriageError as error:
            return error.exit_code, str(error)
        except SystemExit as ended:
            code = int(ended.code or 0)
        return code, capsys.readouterr().out

    return run


def test_list_shows_every_call_and_no_word(triage: Run, data: Path) -> None:
    code, said = triage("list", "--data", data)
    assert code == 0
    assert all(name in said for name in CALLS[:3])
    assert "chest" not in said


def test_verify_proves_one_or_all(triage: Run, data: Path) -> None:
    code, said = triage("verify", "--all", "--data", data)
    assert code == 0
    assert said.count("proven") == 5
    assert "7 records, chain open, 7 seals opened" in said
    assert triage("verify", CALLS[0], "--keyless", "--data", data)[1].count("0 seals opened") == 1
    assert triage("verify", "--data", data)[0] == 2
    assert triage("verify", "no such call", "--data", data) == (
        2,
        "call no such call is not in this store: see the list of calls",
    )


def test_every_verdict_says_that_without_a_checkpoint_a_cut_end_is_not_found(triage: Run, data: Path) -> None:
    """Today's limit, as it is: whoever can write the store can cut off its end, and nothing here can know."""
    cut = ("DELETE FROM record WHERE call = ? AND sequence > 3", "DELETE FROM job WHERE call = ?")
    with closing(sqlite3.connect(data / "audit.db", isolation_level=None)) as connection:
        for statement in cut:
            connection.execute(statement, (CALLS[0],))
    for command in (("verify", CALLS[0]), ("verify", "--all"), ("verify", CALLS[1], "--keyless")):
        code, said = triage(*command, "--data", data)
        assert code == 0 and "ALTERED" not in said
        assert said.splitlines()[-1].startswith("note     no checkpoint kept elsewhere")
        assert "cut off at the end" in said and "cannot be found" in said


def test_an_edit_ends_with_exit_code_1_and_says_where(triage: Run, data: Path) -> None:
    with closing(sqlite3.connect(data / "audit.db", isolation_level=None)) as connection:
        connection.execute(
            "UPDATE record SET nonce = zeroblob(12) WHERE call = ? AND segment = 0 AND sequence = 2", (CALLS[1],)
        )
    code, said = triage("verify", CALLS[1], "--data", data)
    assert code == 1
    assert "1 finding(s)" in said
    code, said = triage("show", CALLS[1], "--data", data)
    assert code == 1
    assert "record 2" in said


def test_show_reads_turn_by_turn_and_says_that_it_was_recorded(triage: Run, data: Path) -> None:
    with freeze_time("2026-11-21 12:00:00"):
        code, said = triage("show", CALLS[0], "--purpose", "complaint 7", "--data", data)
    assert code == 0
    assert '"here, in my chest"' in said
    assert "2.000 s" in said
    assert "LISTENING -> HANDOFF on UrgencyFound: Play" in said
    assert "HANDOFF -> HANDOFF" not in said
    assert "(withheld: 12 characters)" in said
    assert "read this call at 2026-11-21 12:00:00 UTC, purpose: complaint 7 (reading 1)" in said
    assert "(reading 2)" in triage("show", CALLS[0], "--everything", "--data", data)[1]
    lines = triage("show", CALLS[0], "--json", "--data", data)[1].splitlines()
    assert [json.loads(line)["stage"] for line in lines][:3] == ["call", "stt_final", "assessment"]


def test_a_summary_is_shown_as_a_reading(triage: Run, data: Path) -> None:
    code, said = triage("summary", CALLS[0], "--data", data)
    assert code == 2 and "no summary yet" in said
    close_with_summary(data, CALLS[0], "Complaint: \x1b[2J[red]here.")
    with freeze_time("2026-11-21 12:00:00"):
        code, said = triage("summary", CALLS[0], "--purpose", "complaint 7", "--data", data)
    assert code == 0 and said.startswith(f"# Call {CALLS[0]}\n\n## Situation\n\n- Complaint:  [2J[red]here.")
    assert "purpose: complaint 7 (reading 2)" in said and "\x1b" not in said
    with closing(SqliteStore(data / "audit.db")) as store:
        assert [reading.what for reading in AccessLog(store).readings()] == ["summary", "summary"]


def close_with_summary(data: Path, call: str, text: str) -> None:
    with closing(SqliteStore(data / "audit.db")) as store:
        state = store.chain_state(call)
    writer = AuditFolder(data).open_writer("keeper", inline=True)
    assert state is not None
    segment = writer.open_summary(state, monotonic_ns=1, wall_ns=WALL)
    statement = {"part": "Situation", "text": text, "turns": [1], "records": ["0/1"]}
    segment.append(Stage.SUMMARY, {"v": 1, "statements": [statement]}, turn=0, monotonic_ns=1, wall_ns=WALL)
    segment.close(monotonic_ns=1, wall_ns=WALL)
    writer.close()


HOSTILE = "\x1b[1A\x1b[2Kproven   [bold]call\x9b2J\u202eall"


def test_what_somebody_put_into_the_store_orders_no_terminal_about(triage: Run, data: Path, tmp_path: Path) -> None:
    """An escape sequence in a call's id could rewrite the verdict on the screen."""
    with closing(sqlite3.connect(data / "audit.db", isolation_level=None)) as connection:
        connection.execute("INSERT INTO chain (call, bucket, writer, closed) VALUES (?, 1, 'w', 0)", (HOSTILE,))
        connection.execute("INSERT INTO chain (call, bucket, writer, closed) VALUES ('../x', 'soon', 'w', 0)")
        connection.execute("UPDATE record SET call = ? WHERE call = ?", (HOSTILE, CALLS[1]))
    for command in (("list",), ("verify", "--all"), ("verify", HOSTILE), ("show", HOSTILE), ("verify", "\x1b[2J")):
        _, said = triage(*command, "--data", data)
        assert said and not set(said) & set("\x1b\x9b\u202e"), command
    _, said = triage("list", "--data", data)
    assert "[bold]call" in said, "text, no markup"
    code, said = triage("export", "../x", "--data", data)
    assert code == 2 and "--to" in said and not (tmp_path.parent / "x.jsonl").exists()
    with pytest.raises(RecordMissing) as found:
        raise RecordMissing("gone", call=HOSTILE)
    assert "\x1b" not in str(found.value) + found.value.place


def test_a_record_with_such_signs_is_shown_without_and_its_json_reads_back(triage: Run, data: Path) -> None:
    writer = AuditFolder(data).open_writer("w2", inline=True)
    call = writer.open_call(CALLS[5], monotonic_ns=1, wall_ns=WALL)
    call.append(Stage.STT_FINAL, {"text": HOSTILE}, turn=1, monotonic_ns=1, wall_ns=WALL)
    writer.close()
    for options in ((), ("--json",)):
        code, said = triage("show", CALLS[5], *options, "--data", data)
        assert code == 0 and not set(said) & set("\x1b\x9b\u202e")
    assert json.loads(said.splitlines()[1])["payload"]["text"] == HOSTILE


def test_the_second_verifier_prints_no_such_signs(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "forged.jsonl"
    lines = [{"kind": "call", "format": 1, "call": HOSTILE, "closed": False}, {"kind": "end"}, {"kind": "end"}]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert verify_export.main([str(file)]) == 1
    assert "NOT PROVEN" in (said := capsys.readouterr().err) and "\x1b" not in said


def test_drill_finds_the_very_byte_and_leaves_the_original(triage: Run, data: Path) -> None:
    with closing(sqlite3.connect(data / "audit.db")) as connection:
        before = connection.execute("SELECT * FROM record").fetchall()
    for seed in range(5):
        code, said = triage("drill", "--seed", seed, "--data", data)
        assert code == 0
        edited, found, untouched = said.splitlines()
        assert edited.removeprefix("edited   ").split(", in a copy")[0] in found
        assert untouched == "original untouched, and proven"
    assert triage("drill", "--seed", 3, "--data", data) == triage("drill", "--seed", 3, "--data", data)
    with closing(sqlite3.connect(data / "audit.db")) as connection:
        assert connection.execute("SELECT * FROM record").fetchall() == before


def test_export_writes_a_file_that_proves(triage: Run, data: Path, tmp_path: Path) -> None:
    code, said = triage("export", CALLS[2], "--to", tmp_path / "out.jsonl", "--data", data)
    assert code == 0
    assert "7 records, proven" in said
    assert triage("export", CALLS[2], "--to", tmp_path / "absent" / "x", "--data", data)[0] == 2


def test_wipe_asks_first_and_leaves_nothing(triage: Run, data: Path) -> None:
    (data / "calls" / CALLS[0]).mkdir(parents=True)
    (data / "calls" / CALLS[0] / "call.wav").write_bytes(b"RIFF")
    (data / "tools.db").write_bytes(b"bookings")
    code, said = triage("wipe", "--data", data)
    assert code == 2
    assert "--yes" in said
    assert (data / "audit.db").exists()
    code, said = triage("wipe", "--yes", "--data", data)
    assert code == 0
    assert list(data.iterdir()) == []
    assert triage("wipe", "--yes", "--data", data)[1].startswith("nothing to wipe")


def test_wipe_is_refused_while_a_call_is_recorded_and_outside_the_demo(
    triage: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = Setup(tmp_path / "live")
    settled(say(setup.writer.open_call(CALLS[0], monotonic_ns=0, wall_ns=WALL), 1))
    assert "being recorded" in triage("wipe", "--yes", "--data", tmp_path / "live")[1]
    setup.writer.close()
    monkeypatch.setenv("TRIAGE_PROFILE", "staging")
    monkeypatch.setenv("TRIAGE_KEEP_AUDIO", "false")
    assert "staging" in triage("wipe", "--yes", "--data", tmp_path / "live")[1]


def test_no_record_yet_is_one_line(triage: Run, tmp_path: Path) -> None:
    for command in (("list",), ("verify", "--all"), ("show", "x"), ("drill",)):
        code, said = triage(*command, "--data", tmp_path / "empty")
        assert code == 2
        assert "triage demo" in said
    assert not (tmp_path / "empty").exists()


def a_file(data: Path) -> None:
    (data / "audit.db").write_bytes(b"x" * 5000)


def lost_key(data: Path) -> None:
    (data / "keys" / "reader.private").unlink()


def wrong_key(data: Path) -> None:
    for path in (data / "keys").iterdir():
        path.unlink()
    AuditFolder(data).keyring().ensure()


def cut_key(data: Path) -> None:
    (data / "keys" / "reader.private").write_bytes(b"short")


@pytest.mark.parametrize(
    ("damage", "names"),
    [
        (a_file, "audit.db is not a database"),
        (lost_key, "reader.private is missing: restore it from a copy"),
        (wrong_key, "sealed for another key than this one"),
        (cut_key, "reader.private is damaged"),
    ],
)
def test_what_is_wrong_with_the_folder_is_one_line(
    triage: Run, data: Path, damage: Callable[[Path], None], names: str
) -> None:
    for path in data.glob("audit.db-*"):
        path.unlink()
    damage(data)
    code, said = triage("show", CALLS[0], "--data", data)
    assert code == 2
    assert names in said
    assert "\n" not in said


def test_a_locked_store_is_one_line(triage: Run, data: Path) -> None:
    with closing(sqlite3.connect(data / "audit.db", isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        other.execute("UPDATE alembic_version SET version_num = version_num")
        code, said = triage("list", "--data", data)
    assert code == 2
    assert "locked by another program" in said


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_read_only_place_is_one_line(tmp_path: Path) -> None:
    from audit.errors import AuditError

    with pytest.raises(AuditError, match="--data"):
        AuditFolder(Path("/proc/nowhere")).keyring().ensure()
