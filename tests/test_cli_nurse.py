"""Promise: a nurse opens a caller's packet by its code alone and reads it at once; every mistake is one line; the list names nobody."""

import os
import re
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from audit.access import AccessLog
from audit.chain import callback_task
from audit.folder import AuditFolder
from audit.outbox import Outbox
from audit.store import SqliteStore
from tests.calls import CHEST, Call, Rung, leaves, says
from tests.handoff.test_desk import PACKET
from tests.terminal import Terminal, terminal
from triage.call import new_call_id
from triage.cli_audit import login, wall_now_ns
from triage.cli_nurse import nurse_app
from triage.config import load
from triage.demo.patient import Cue
from triage.handoff.desk import shelf_of
from triage.lines.nurse_phones import Behaviour, NursePhone

MINUTE_NS = 60 * 1_000_000_000


@pytest.fixture
def folder(tmp_path: Path) -> AuditFolder:
    """A data folder with one packet on its shelf."""
    folder = AuditFolder(tmp_path)
    folder.keyring().ensure()
    SqliteStore(folder.database).close()
    packet = replace(
        PACKET,
        made_ns=wall_now_ns() - MINUTE_NS,
        situation={"why": "nurse now: chest", "caller's words": '"[red]my chest\x1b[2J" (turn 2)'},
    )
    shelf_of(load(env={}, data=tmp_path), folder.keyring().public_key()).deliver(packet, wall_ns=packet.made_ns)
    return folder


@pytest.fixture
def triage(folder: AuditFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    """Run one command on that folder."""
    monkeypatch.setenv("COLUMNS", "90")
    return terminal(monkeypatch, capsys, "--data", str(folder.root))


@pytest.fixture
def cut() -> Rung:
    """A caller who names a danger and hangs up before a nurse answers."""
    phones = {"nurse": NursePhone(Behaviour.SILENT)}
    call = Call(script=[says(CHEST, Cue.AT, 1.0), leaves(9)], phones=phones).ring()
    call.settle()
    return call


def test_a_packet_shows_who_claims_it_and_the_callers_own_words(triage: Terminal, folder: AuditFolder) -> None:
    code, out, _ = triage("nurse", "open", PACKET.code, "--who", "Ana Ruiz")
    assert code == 0
    assert "CLAIMED BY ANA RUIZ" in out and "NURSE NOW" in out and PACKET.call_id in out and "1 min 0 s ago" in out
    with closing(SqliteStore(folder.database)) as store:
        (reading,) = AccessLog(store).readings()
    assert (reading.who, reading.what, reading.purpose) == (f"Ana Ruiz ({login()})", "packet", "hand-off")
    assert re.fullmatch(r"\S+@\S+", login()), "login and host are recorded, whatever name is given"


def test_what_was_said_is_text_and_neither_markup_nor_an_order_to_the_terminal(triage: Terminal) -> None:
    _, out, _ = triage("nurse", "open", PACKET.code)
    assert '"[red]my chest [2J" (turn 2)' in out and "\x1b[2J" not in out


def test_the_second_nurse_reads_it_too_and_sees_who_was_first(triage: Terminal) -> None:
    triage("nurse", "open", PACKET.code, "--who", "ana")
    code, out, _ = triage("nurse", "open", PACKET.code, "--who", "ben", "--purpose", "took over")
    assert code == 0 and "CLAIMED BY ANA" in out and "before you" in out and "claim 2 of this call" in out
    assert "recorded: ben" in out and "took over" in out
    again = triage("nurse", "open", PACKET.code, "--who", "ana")[1]
    assert "CLAIMED BY ANA" in again and "by you, or by" in again


def test_two_nurses_at_one_login_do_not_both_hold_a_caller(triage: Terminal) -> None:
    first, second = (triage("nurse", "open", PACKET.code)[1] for _ in range(2))
    assert f"CLAIMED BY {login().upper()}" in first and "ago: by you, or by" not in first
    assert "by you, or by" in second and "claim 2 of this call" in second


def test_a_wrong_or_expired_code_is_one_line(
    triage: Terminal, folder: AuditFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = triage("nurse", "open", "guessed-guessed")
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert "no packet with this code" in err and "24 h" in err and "guessed" not in err
    monkeypatch.setenv("TRIAGE_NURSE_PACKET_H", "0.1")
    late = shelf_of(load(env={}, data=folder.root), folder.keyring().public_key())
    late.deliver(replace(PACKET, code="old", made_ns=wall_now_ns() - 7 * MINUTE_NS), wall_ns=wall_now_ns())
    assert triage("nurse", "open", "old")[0] == 2


def test_what_a_terminal_makes_of_a_paste_is_no_crash(triage: Terminal) -> None:
    assert triage("nurse", "open", "\udcff\udc80")[0] == 2
    code, out, err = triage("nurse", "open", f" {PACKET.code}\n", "--who", "an\x1b[2Ja\udcff" + "a" * 200)
    assert code == 0 and "CLAIMED BY AN [2JA" in out and err == ""


def test_without_the_readers_key_nothing_opens(triage: Terminal, folder: AuditFolder) -> None:
    os.remove(folder.keys / "reader.private")
    code, out, err = triage("nurse", "open", PACKET.code)
    assert code != 0 and out == "" and "reader.private" in err and err.count("\n") == 1


def test_before_the_first_call_there_is_nothing_to_open(tmp_path: Path, triage: Terminal) -> None:
    code, _, err = triage("--data", str(tmp_path / "none"), "nurse", "callbacks")
    assert code == 2 and "no record" in err


def test_the_list_puts_overdue_first_and_names_nobody(triage: Terminal, folder: AuditFolder) -> None:
    assert triage("nurse", "callbacks")[1] == "nobody waits for a call-back\n"
    now = wall_now_ns()
    with closing(SqliteStore(folder.database)) as store:
        for n, due in enumerate((now + 90 * MINUTE_NS, now - 5 * MINUTE_NS, now + 10 * MINUTE_NS)):
            task = callback_task(f"call-{n}", reason="urgent_hangup", level="nurse_now", opened_ns=1, due_ns=due)
            store.append([task])
    code, out, _ = triage("nurse", "callbacks")
    assert code == 0 and out.endswith("3 open, 1 overdue\n")
    assert [out.index(f"call-{n}/0") for n in (1, 2, 0)] == sorted(out.index(f"call-{n}/0") for n in (1, 2, 0))
    assert "5 min 0 s OVERDUE" in out and "in 1 h 29 min" in out and "nobody" in out


@pytest.mark.parametrize("columns", ["80", "40"])
def test_each_call_back_is_one_line_whose_id_can_be_copied(
    columns: str, triage: Terminal, folder: AuditFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    now, call = wall_now_ns(), new_call_id(wall_now_ns())
    with closing(SqliteStore(folder.database)) as store:
        due_ns = now - 30 * 60 * MINUTE_NS
        store.append([callback_task(call, reason="urgent_hangup", level="emergency_now", opened_ns=1, due_ns=due_ns)])
        Outbox(store).claim_callback(f"{call}/0", owner="n" * 80)
    (row,) = [line for line in triage("nurse", "callbacks")[1].splitlines() if "OVERDUE" in line]
    assert row.split()[5] == f"{call}/0" and row.index(f"{call}/0") + len(f"{call}/0") <= 80
    assert "emergency now" in row and "urgent hangup" in row and row.rstrip().endswith("n" * 80)


def test_a_call_back_done_leaves_the_list_and_stands_in_the_log(triage: Terminal, folder: AuditFolder) -> None:
    with closing(SqliteStore(folder.database)) as store:
        store.append([callback_task("call-1", reason="urgent", level="", opened_ns=1, due_ns=2)])
    assert triage("nurse", "callbacks", "--done", "call-1", "--who", "ana") == (
        0,
        f"recorded: ana ({login()}) rang back call call-1\n",
        "",
    )
    assert "nobody waits" in triage("nurse", "callbacks")[1]
    code, _, err = triage("nurse", "callbacks", "--done", "call-1", "--who", "ben")
    assert code == 2 and "by ana" in err
    assert triage("nurse", "callbacks", "--done", "elsewhere")[0] == 2
    assert triage("nurse", "callbacks", "--done", "a", "--open", "b")[0] == 2
    with closing(SqliteStore(folder.database)) as store:
        assert [(r.who, r.what) for r in AccessLog(store).readings()] == [(f"ana ({login()})", "callback done")]


def test_the_second_who_takes_a_call_back_on_is_told_who_has_it(triage: Terminal, cut: Rung) -> None:
    data = ("--data", str(cut.audit.root))
    (task,) = cut.callbacks()
    first = triage(*data, "nurse", "callbacks", "--open", task.id, "--who", "ana")[1]
    second = triage(*data, "nurse", "callbacks", "--open", task.id, "--who", "ben")[1]
    assert "TAKEN ON" not in first and f"TAKEN ON BEFORE by ana ({login()})" in second
    assert "number the caller gave: " in second, "somebody has to ring"
    assert "this login" in triage(*data, "nurse", "callbacks", "--open", task.id, "--who", "ana")[1]
    assert "ana" in triage(*data, "nurse", "callbacks")[1]


def test_help_says_that_opening_is_a_claim() -> None:
    told = CliRunner().invoke(nurse_app, ["open", "--help"])
    assert told.exit_code == 0 and "recorded first" in told.output
