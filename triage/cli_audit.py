"""`triage audit`: list, verify, show, summary, export, drill, erase and wipe. What an auditor does at the terminal.

Listing and verifying need no key and show no content. Showing, summaries and exports are readings: who, when and why is recorded
first. A record that does not verify ends with exit code 1 and one line that says where.
"""

import asyncio
import os
import pwd
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audit.printable import printable
from triage.errors import StorageError, TriageError, UsageError

if TYPE_CHECKING:
    from audit.folder import AuditFolder
    from audit.keyring import Keyring
    from audit.reader import Reader
    from audit.store import SqliteStore

audit_app = typer.Typer(
    name="audit", no_args_is_help=True, help="The sealed record: list, verify, show, export, drill."
)

DataFolder = Annotated[
    Path | None, typer.Option("--data", help="Data folder instead of the default.", show_default=False)
]
Purpose = Annotated[str, typer.Option("--purpose", help="Why you read; goes into the log of readings.")]
NO_CHECKPOINT = (
    "note     no checkpoint kept elsewhere: what somebody who can write this store cut off at the end (of a chain, of the "
    "numbering, of the log of readings) or wrote anew as a whole cannot be found here"
)
"""Said with every verdict: what it does not say."""
CallId = Annotated[str, typer.Argument(metavar="CALL", help="Id of the call, or how it begins.")]


@audit_app.command("list")
def list_calls(context: typer.Context, data: DataFolder = None) -> None:
    """List every call in the record. Needs no key."""
    from rich.table import Table
    from rich.text import Text

    with opened(context, data) as (folder, store):
        reader = _reader(folder, store)
        table = Table(box=None, padding=(0, 1, 0, 0))
        for name in ("no.", "call", "hour (UTC)", "records", "seg.", "chain"):
            table.add_column(name, no_wrap=True, justify="left" if name in ("call", "chain") else "right")
        for call in reader.calls():
            state = "erased" if call.erased else "closed" if call.closed else "open"
            number = "provisional" if call.number is None else str(call.number)
            table.add_row(
                number,
                Text(printable(call.call)),
                _hour(call.bucket),
                str(call.records),
                str(call.segments),
                state,
            )
        _print(table)


@audit_app.command()
def verify(
    context: typer.Context,
    call: Annotated[str, typer.Argument(metavar="[CALL]", help="Id of the call, or how it begins.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Every call, the numbering, the log of readings.")] = False,
    keyless: Annotated[bool, typer.Option("--keyless", help="Do not open the seals, even where the key is.")] = False,
    data: DataFolder = None,
) -> None:
    """Prove that what is there was not altered, or say where it was. Opens the seals too where the key is at hand.

    An end that was cut off, and whole calls or logs written anew, show only against a checkpoint kept elsewhere. This
    version makes none.
    """
    from audit.errors import ChainBroken, KeyMissing
    from audit.keyring import PRIVATE

    if bool(call) == everything:
        raise UsageError("name one call, or use --all (triage audit list shows the calls)")
    with opened(context, data) as (folder, store):
        with_key = not keyless and (folder.keys / PRIVATE).exists()
        reader = _reader(folder, store, keyring=folder.keyring().checked() if with_key else None)
        unsealing, broken = reader, 0
        for name in reader.known_calls() if everything else [reader.find(call)]:
            try:
                try:
                    proven, other_key = unsealing.verify(name), ""
                except KeyMissing:
                    if not everything:
                        raise
                    proven, other_key = _reader(folder, store).verify(name), "; sealed for another key"
            except ChainBroken as error:
                broken += 1
                typer.echo(f"ALTERED  {error}")
                continue
            chain = "closed" if proven.closed else "open"
            seals = "content erased" if proven.erased else f"{proven.opened} seals opened"
            gaps = f"; by way of the journal: segment {', '.join(map(str, proven.gaps))}" if proven.gaps else ""
            typer.echo(
                f"proven   call {printable(name)}: {proven.records} records, chain {chain}, {seals}{gaps}{other_key}"
            )
        if everything:
            for words, check in (("numbers", reader.verify_numbers), ("readings", reader.access.verify)):
                try:
                    typer.echo(f"proven   {words}: {check()}")
                except ChainBroken as error:
                    broken += 1
                    typer.echo(f"ALTERED  {error}")
        typer.echo(NO_CHECKPOINT)
        if broken:
            raise TriageError(f"the record does not verify: {broken} finding(s), see above")


@audit_app.command()
def show(
    context: typer.Context,
    call: CallId,
    purpose: Purpose = "audit",
    everything: Annotated[bool, typer.Option("--everything", help="Also steps and vendor requests.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON per record, unabridged.")] = False,
    data: DataFolder = None,
) -> None:
    """Show what was heard, decided and said, turn by turn. This is a reading, and is recorded first."""
    from triage.trail import json_line, trail

    with opened(context, data) as (folder, store):
        keyring = folder.keyring().checked()
        reader = _reader(folder, store, keyring=keyring, purpose=purpose)
        name = reader.find(call)
        now_ns = wall_now_ns()
        records = reader.records(name, at_ns=now_ns)
        if as_json:
            for record in records:
                typer.echo(json_line(record))
            return
        _print(trail(name, records, everything=everything))
        _say_recorded(reader, name, now_ns, purpose)


@audit_app.command()
def summary(context: typer.Context, call: CallId, purpose: Purpose = "audit", data: DataFolder = None) -> None:
    """Show the summary that closes a call's record. This is a reading, and is recorded first."""
    from audit.records import Stage
    from triage.summary import page_of

    with opened(context, data) as (folder, store):
        reader = _reader(folder, store, keyring=folder.keyring().checked(), purpose=purpose)
        name, now_ns = reader.find(call), wall_now_ns()
        records = reader.records(name, at_ns=now_ns, what="summary")
        sealed = [record for record in records if record.content.stage is Stage.SUMMARY]
        if not sealed:
            raise UsageError(f"call {printable(name)} has no summary yet: the keeper writes it when the call has ended")
        typer.echo(printable(page_of(name, sealed[-1].content.payload), lines=True))
        _say_recorded(reader, name, now_ns, purpose)


@audit_app.command()
def export(
    context: typer.Context,
    call: CallId,
    to: Annotated[Path | None, typer.Option("--to", help="File to write (default: CALL.jsonl here).")] = None,
    purpose: Purpose = "audit",
    data: DataFolder = None,
) -> None:
    """Write one call's sealed records to a file that can be proven offline. Recorded like a reading."""
    from audit.export import export_call, verify_file
    from audit.records import is_call_id

    with opened(context, data) as (folder, store):
        reader = _reader(folder, store, purpose=purpose)
        name = reader.find(call)
        if to is None and not is_call_id(name):
            raise UsageError(f"call {printable(name)}: no id of ours, and no name for a file; name one with --to")
        path = to or Path(f"{name}.jsonl")
        count = export_call(reader, name, path, at_ns=wall_now_ns(), who=login(), purpose=purpose)
        verify_file(path)
        typer.echo(
            f"{printable(path)}: {count} records, proven. Prove it elsewhere: python -m audit.verify_export {printable(path)}"
        )


@audit_app.command()
def drill(
    context: typer.Context,
    seed: Annotated[int | None, typer.Option(help="Which record and byte; default: by chance.")] = None,
    data: DataFolder = None,
) -> None:
    """Copy the record, change one byte in the copy, and show that verify finds the very byte. The original stays."""
    from audit.errors import ChainBroken
    from audit.reader import Reader
    from audit.store import SqliteStore

    chosen = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    with opened(context, data) as (folder, store), tempfile.TemporaryDirectory(prefix="triage-drill-") as scratch:
        copy = Path(scratch) / "audit.db"
        with store.connection() as original, closing(sqlite3.connect(copy)) as target:
            original.backup(target)
            edited = _edit_one_byte(target, random.Random(chosen))
        typer.echo(f"edited   {edited}, in a copy (seed {chosen})")
        with closing(SqliteStore(copy)) as forged:
            try:
                Reader(forged).verify(edited.call)
            except ChainBroken as error:
                typer.echo(f"found    {error}")
                found = (error.call, error.segment, error.sequence, error.offset)
            else:
                raise TriageError("the edit was NOT found: do not trust this installation")
        _reader(folder, store).verify(edited.call)
        typer.echo("original untouched, and proven")
        if found != (edited.call, edited.segment, edited.sequence, edited.offset):
            raise TriageError("the edit was found, but at another place than it was made")


@audit_app.command()
def erase(
    context: typer.Context,
    call: Annotated[str, typer.Argument(metavar="CALL", help="The whole id of the call.")],
    purpose: Annotated[str, typer.Option("--purpose", help="Why; goes into the log of readings, for good.")],
    data: DataFolder = None,
) -> None:
    """Destroy for good what one call contained: its keys, recording, packet, bookings. Its chain still verifies."""
    from triage.erasing import erase as destroy
    from triage.handoff.desk import shelf_of

    settings = settings_of(context, data)
    with opened(context, data) as (folder, store):
        done = destroy(
            folder, store, shelf_of(settings), call, at_ns=wall_now_ns(), who=login(), purpose=printable(purpose)
        )
        _reader(folder, store).verify(call)
        typer.echo(
            f"erased   call {call}: {done.keys} keys, {done.files} files, {done.bookings} bookings; the chain is proven. "
            "Exports and backups are yours to erase"
        )


@audit_app.command()
def wipe(
    context: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", help="Really do it.")] = False,
    data: DataFolder = None,
) -> None:
    """Remove the demo's record, keys, journals, recordings, packets and bookings for good. Refused outside the demo profile."""
    from triage.erasing import TOOLS
    from triage.handoff.shelf import FOLDER as PACKETS

    settings = settings_of(context, data)
    if settings.profile != "demo":
        raise UsageError(f"profile {settings.profile}: a record that is not the demo's is never wiped")
    folder = _folder(settings.data_dir)
    rooms = (folder.keys, folder.spool, folder.root / "calls", folder.root / PACKETS)
    files = [*sorted(folder.root.glob("audit.db*")), *sorted(folder.root.glob(f"{TOOLS}*"))]
    doomed = [*files, *(path for path in rooms if path.exists())]
    if not doomed:
        typer.echo(f"nothing to wipe in {folder.root}")
        return
    if not yes:
        names = ", ".join(path.name for path in doomed)
        raise UsageError(f"would remove {names} from {folder.root} for good: say --yes to do it")
    _refuse_while_written(folder)
    for path in doomed:
        try:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        except OSError as error:
            raise StorageError(f"{path} cannot be removed ({error.strerror}): check its rights") from None
    typer.echo(f"wiped {len(doomed)} files and folders in {folder.root}: what was sealed can never be read again")


# --- opening things


@contextmanager
def opened(context: typer.Context, data: Path | None) -> "Iterator[tuple[AuditFolder, SqliteStore]]":
    """The record of the data folder; every error of `audit` becomes one of ours, in one line."""
    from audit.errors import AuditError, ChainBroken, UnknownCall
    from audit.store import SqliteStore

    folder = _folder(settings_of(context, data).data_dir)
    if not folder.database.exists():
        raise UsageError(f"there is no record in {folder.root} yet: run triage demo, or name the folder with --data")
    folder.tighten()
    try:
        with closing(SqliteStore(folder.database)) as store:
            yield folder, store
    except ChainBroken as error:
        raise TriageError(f"the record does not verify: {error}") from error
    except UnknownCall as error:
        raise UsageError(str(error)) from error
    except AuditError as error:
        raise StorageError(str(error)) from error


def settings_of(context: typer.Context, data: Path | None) -> Any:
    """The settings as this command was asked to read them.

    Raises:
        SettingError: one of them is wrong.
    """
    from triage.config import load

    common = context.find_root().obj
    return common.settings(data) if common is not None else load(data=data)


def _say_recorded(reader: "Reader", call: str, now_ns: int, purpose: str) -> None:
    count = len(reader.access.readings(call))
    typer.echo(f"recorded: {login()} read this call at {_utc(now_ns)}, purpose: {printable(purpose)} (reading {count})")


def _folder(root: Path) -> "AuditFolder":
    from audit.folder import AuditFolder

    return AuditFolder(root)


def _reader(
    folder: "AuditFolder", store: "SqliteStore", *, keyring: "Keyring | None" = None, purpose: str = ""
) -> "Reader":
    from audit.reader import Reader

    return Reader(store, keyring, who=login(), purpose=purpose, spool=folder.spool)


def _refuse_while_written(folder: "AuditFolder") -> None:
    from audit.spool import writers_alive

    if alive := writers_alive(folder.spool):
        raise StorageError(f"a call is being recorded here ({alive[0].name}): end it first")


def login() -> str:
    """The person at the terminal, as the system knows them: login and host."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = f"uid {os.getuid()}"
    return printable(f"{name}@{os.uname().nodename}")


def wall_now_ns() -> int:
    """Wall time, ns since 1970."""
    from triage.clock import Clock

    with closing(asyncio.new_event_loop()) as loop:
        return Clock(loop).wall_ns()


# --- drill


class _Edit:
    """One byte that was changed on purpose."""

    def __init__(self, call: str, segment: int, sequence: int, offset: int) -> None:
        self.call, self.segment, self.sequence, self.offset = call, segment, sequence, offset

    def __str__(self) -> str:
        return f"call {printable(self.call)}, segment {self.segment}, record {self.sequence}, byte {self.offset}"


def _edit_one_byte(connection: sqlite3.Connection, chance: random.Random) -> _Edit:
    """Change one byte of one record.

    Raises:
        UsageError: there is no record.
    """
    places = connection.execute("SELECT call, segment, sequence FROM record ORDER BY 1, 2, 3").fetchall()
    if not places:
        raise UsageError("there is no call in the record yet: run triage demo first")
    call, segment, sequence = chance.choice(places)
    where = "WHERE call = ? AND segment = ? AND sequence = ?"
    parts = connection.execute(
        f"SELECT header, nonce, sealed FROM record {where}", (call, segment, sequence)
    ).fetchone()
    body = bytearray(b"".join(parts))
    offset = chance.randrange(len(body))
    body[offset] ^= 1 << chance.randrange(8)
    first, second = len(parts[0]), len(parts[0]) + len(parts[1])
    connection.execute(
        f"UPDATE record SET header = ?, nonce = ?, sealed = ? {where}",
        (bytes(body[:first]), bytes(body[first:second]), bytes(body[second:]), call, segment, sequence),
    )
    connection.commit()
    return _Edit(call, segment, sequence, offset)


def _hour(bucket: int) -> str:
    try:
        return f"{datetime.fromtimestamp(bucket * 3600, UTC):%Y-%m-%d %H}h"
    except (TypeError, ValueError, OverflowError, OSError):  # an altered index holds anything
        return "?"


def _utc(at_ns: int) -> str:
    return f"{datetime.fromtimestamp(at_ns // 1_000_000_000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _print(thing: Any) -> None:
    from rich.console import Console

    Console().print(thing)
