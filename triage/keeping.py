"""`triage keeper`: the keeper's work in a process of its own, so that a summary exists soon after every hang-up.

1. One keeper per data folder: a lock says so, and the kernel frees it however the keeper ends.
2. Every round: what is due in the outbox is written; now and then journals of writers that died join the store, and nurses'
   packets that have expired are wiped.
3. A call whose process died is ended in its place, once its journal has joined and a short grace is over.
4. A store that is locked, full or gone is said once, and tried again for as long as it takes.
5. SIGTERM or Ctrl-C: what is due now is still written, then it ends. A second one: at once.

Whether it works is seen from outside by its heartbeat: a file, written anew after every round that reached its end.
"""

import asyncio
import logging
import os
import signal
from contextlib import suppress
from pathlib import Path

from audit.errors import AuditError
from audit.folder import AuditFolder
from audit.printable import printable
from audit.spool import join_spool
from audit.store import SqliteStore, explained
from audit.writer import AuditWriter
from triage import engines, heartbeat
from triage.alone import alone
from triage.clock import NS, Clock
from triage.config import Settings
from triage.errors import TriageError
from triage.handoff.desk import shelf_of
from triage.keeper import Keeper, Summarised
from triage.once import UsedRooms
from triage.orphans import Orphans
from triage.watch import CALLER_LEFT_ALONE

EVERY_S = 0.3
"""From the end of one round to the next, s."""
JOIN_EVERY_S = 2.0
"""Journals of the dead are looked for so often, s."""
LAST_ROUNDS = 20
"""Rounds at the end, at most: each writes up to ten summaries."""
LOCK = "keeper.lock"

log = logging.getLogger("triage.keeper")


def keep(settings: Settings) -> int:
    """Work until a signal ends it; returns the exit code.

    Raises:
        TriageError: another keeper works on this folder, or the folder or its keys cannot be used.
    """
    if warning := engines.keys(settings):
        log.warning("%s", warning)
    taken = f"a keeper works on {settings.data_dir} already; end it, or use another --data"
    with alone(settings.data_dir / LOCK, taken):
        return asyncio.run(_Service(settings).run())


class _Service:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = AuditFolder(settings.data_dir)
        self._writer: AuditWriter | None = None
        self._file: int | None = None
        """Number of the database's file, to see when it was replaced."""
        self._told: dict[str, str] = {}
        self._trouble = ""
        self._orphans: Orphans | None = None
        self._elsewhere: set[str] = set()
        self._asked = asyncio.Event()

    async def run(self) -> int:
        clock, loop = Clock(), asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        log.info("keeper: working on %s", self._settings.data_dir)
        rounds, joins_at = 0, 0.0
        try:
            while not self._asked.is_set():
                joins = loop.time() >= joins_at
                joins_at = loop.time() + JOIN_EVERY_S if joins else joins_at
                await asyncio.to_thread(self._round, clock, joins)
                rounds += 1
                with suppress(TimeoutError):
                    async with asyncio.timeout(EVERY_S):
                        await self._asked.wait()
            for _ in range(LAST_ROUNDS):  # calls that ended a moment ago
                if not await asyncio.to_thread(self._round, clock, True):
                    break
        finally:
            self._close()
            heartbeat.stop(self._settings.data_dir)
        log.info("keeper: ended after %d rounds", rounds)
        return 0

    def _end(self) -> None:
        if self._asked.is_set():
            os._exit(1)
        self._asked.set()

    def _round(self, clock: Clock, joins: bool) -> int:
        """Write what is due; returns how many summaries. Never raises for what may pass."""
        try:
            written = self._written(clock, joins)
        except (AuditError, TriageError, OSError) as error:
            self._say(f"{type(error).__name__}: {_reason(error)}")
            self._close()
            return 0
        self._say("")
        with suppress(OSError):  # seen from outside as a heart that stands still
            heartbeat.beat(self._settings.data_dir)
        return written

    def _written(self, clock: Clock, joins: bool) -> int:
        if joins:
            self._join()
            shelf_of(self._settings).sweep(wall_ns=clock.wall_ns())
        writer = self._opened()
        if self._orphans is None:
            rooms = UsedRooms(self._settings.data_dir / "line" / "rooms")
            self._orphans = Orphans(self._folder.spool, rooms, now_ns=clock.now_ns)
        keeper = Keeper(self._folder, writer, now_ns=clock.now_ns, wall_ns=clock.wall_ns, orphans=self._orphans)
        done = keeper.work()
        for one in done:
            self._told.pop(one.call_id, None)
            self._tell(one)
        for call in sorted(self._orphans.elsewhere - self._elsewhere):
            log.info("call %s: no end yet, and its writer is not known here; it counts as living", printable(call))
        self._elsewhere = self._orphans.elsewhere
        for call, kind in keeper.troubles.items():
            if self._told.get(call) != kind:
                self._told[call] = kind
                log.error("call %s: no summary yet (%s); it is tried again", printable(call), kind)
        return len(done)

    @staticmethod
    def _tell(one: Summarised) -> None:
        after_s = one.waited_ns / NS
        if not one.died:
            log.info("call %s: summary written %.1f s after its record was sealed", one.call_id, after_s)
            return
        log.error("call %s: its process died; summary written %.1f s after the last record", one.call_id, after_s)
        if one.owed:
            log.error("page %s call %s: a call-back task stands", CALLER_LEFT_ALONE, one.call_id)

    def _join(self) -> None:
        store = SqliteStore(self._folder.database)
        try:
            with explained(store.path):  # locked, full or damaged: said, and tried again
                found = join_spool(store, self._folder.spool)
            for joined in found:
                if joined.rows:
                    log.warning("%d records of a writer that died joined the store", joined.rows)
                if joined.damaged:
                    log.error("a journal is damaged in %d places: %s", len(joined.damaged), joined.path)
        finally:
            store.close()

    def _opened(self) -> AuditWriter:
        """The writer of the last segments, on the store as it is now."""
        if self._writer is not None and self._file != _file_number(self._folder.database):
            self._close()
        if self._writer is None:
            self._writer = self._folder.open_writer(f"keeper-{os.getpid()}", inline=True)
            self._file = _file_number(self._folder.database)
        return self._writer

    def _close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _say(self, trouble: str) -> None:
        """Once when it begins (or changes), once when it is over."""
        if trouble and trouble != self._trouble:
            log.error("keeper: %s; tried again", trouble)
        elif self._trouble and not trouble:
            log.info("keeper: works again")
        self._trouble = trouble


def _file_number(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, AuditError | TriageError) else getattr(error, "strerror", "") or ""
