"""`triage replay`: a recorded call decision by decision, each made again by today's machine; or its sound."""

import asyncio
import sys
from contextlib import closing

from rich.console import Console
from rich.text import Text

from audit.folder import AuditFolder
from audit.printable import printable
from audit.reader import OpenedRecord, Reader
from audit.records import Stage
from audit.store import SqliteStore
from triage.cli_audit import login
from triage.clock import Clock
from triage.config import Settings
from triage.errors import UsageError
from triage.replay import redecide

SHOWN = frozenset({Stage.STT_FINAL, Stage.ASSESSMENT, Stage.PLAYOUT, Stage.HANDOFF, Stage.ERROR})
"""Stages told beside the decisions."""


def step_again(call: str, settings: Settings, *, wait: bool) -> int:
    """Step through a call; 0 when every decision is made alike today, 1 when one differs.

    Raises:
        AuditError: no such call, no key, or the record does not open.
        StorageError: the record is of another version.
        UsageError: there is no record here.
    """
    console = Console()
    with closing(_opened(settings)) as store:
        folder = AuditFolder(settings.data_dir)
        reader = Reader(store, folder.keyring().checked(), who=login(), purpose="replay", spool=folder.spool)
        name = reader.find(call)
        records = reader.records(name, at_ns=_now_ns(), what="replay")
    console.print(Text(f"call {printable(name)}: this reading is recorded"), style="dim", soft_wrap=True)
    decisions = iter(redecide(record.content.payload for record in records if record.content.stage is Stage.STEP))
    began = records[0].content.monotonic_ns if records else 0
    total = differing = 0
    for record in records:
        at = f"{(record.content.monotonic_ns - began) / 1e9:9.3f} s  "
        if record.content.stage is Stage.STEP:
            one = next(decisions)
            total += 1
            differing += bool(one.difference)
            console.print(_decision(at, one.recorded, one.difference), soft_wrap=True)
            if wait and sys.stdin.isatty():
                sys.stdin.readline()
        elif record.content.stage in SHOWN:
            console.print(Text(printable(at + _told(record)), style="dim"), soft_wrap=True)
    words = f"{total} decisions, all made alike by today's machine"
    if differing:
        words = f"{total} decisions, {differing} of them made differently by today's machine"
    console.print(words, style="bold red" if differing else "bold green")
    return 1 if differing else 0


def hear_again(call: str, settings: Settings) -> int:
    """Play a call's recording.

    Raises:
        UsageError: there is no recording of this call, or of several that begin like this.
    """
    from triage.demo.run import play

    folder = settings.data_dir / "calls"
    found = sorted(folder.glob(f"{call}*/call.wav")) if call.replace("-", "").isalnum() else []
    if len(found) != 1:
        many = "several recordings begin" if found else "no recording of a call begins"
        raise UsageError(f"{many} with {call!r} in {folder}; the demo prints the whole id")
    return 0 if play(found[0], Console()) else 1


def _opened(settings: Settings) -> SqliteStore:
    folder = AuditFolder(settings.data_dir)
    if not folder.database.exists():
        raise UsageError(
            f"there is no record in {settings.data_dir} yet: run triage demo, or name the folder with --data"
        )
    return SqliteStore(folder.database)


def _decision(at: str, recorded: object, difference: str) -> Text:
    assert isinstance(recorded, dict)
    orders = ", ".join(str(effect.get("type", "?")) for effect in recorded["effects"]) or "nothing to do"
    line = Text(at)
    line.append(printable(f"{recorded['before']} → {recorded['after']}"), style="cyan")
    line.append(printable(f"  {recorded['event']['type']}: {orders}"))
    if difference:
        line.append(printable(f"   DIFFERS: {difference}"), style="bold red")
    return line


def _told(record: OpenedRecord) -> str:
    payload = record.content.payload
    what = payload.get("text") or payload.get("event") or payload.get("level") or payload.get("code") or ""
    return f"{record.content.stage.value}: {what}"


def _now_ns() -> int:
    with closing(asyncio.new_event_loop()) as loop:
        return Clock(loop).wall_ns()
