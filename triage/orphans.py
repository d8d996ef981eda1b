"""Calls whose process died: who they are, what was known of them, and whether somebody must ring their caller back.

A call is an orphan when its summary job never got ready and everybody who wrote its chain is dead (`audit.writers`), for
`GRACE_S` by now: so long whoever was sent after the caller has to be on record as the call's heir. A writer of another
machine counts as living. What the machine knew is decided again from the recorded steps; where this version cannot do
that, whoever was urgent or in a hand-off counts as one whom nobody has: a superfluous task is struck off, a missing one
is never found.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from audit.errors import NotCanonical
from audit.outbox import Outbox
from audit.reader import OpenedRecord
from audit.records import Purpose, Stage
from audit.store import SqliteStore
from audit.writers import Life, life_of, writers_of
from fsm import effects as fx
from fsm.call import Call
from fsm.machine import step
from fsm.plans_end import owed_callback
from fsm.states import Reason, State, TimerName
from fsm.timers import CALLBACK_WITHIN_S
from triage.clock import NS
from triage.handoff.clock import Mark
from triage.once import UsedRooms
from triage.replay import restored
from triage.summary import Death

GRACE_S = 3.0
"""From when a call's writers were first seen dead, s."""
URGENT = ("emergency_now", "nurse_now")
"""Levels that nobody may be left alone with, gravest first."""


class Orphans:
    """Looks at the calls that have no end yet, round after round."""

    def __init__(self, spool: Path, rooms: UsedRooms, *, now_ns: Callable[[], int]) -> None:
        self._spool, self._rooms, self._now_ns = spool, rooms, now_ns
        self._writers: dict[str, list[str]] = {}
        self._dead_ns: dict[str, int] = {}
        """When their writers were first seen dead."""
        self.elsewhere: set[str] = set()
        """Calls without an end whose writers are of another machine, or cannot be told."""

    def due(self, store: SqliteStore) -> list[str]:
        """Orphans whose grace is over and whose journals have joined, oldest first.

        Raises:
            StoreFailed: the store cannot be read.
        """
        now_ns = self._now_ns()
        lives = {call: self._life(store, call) for call in Outbox(store).unfinished()}
        self.elsewhere = {call for call, life in lives.items() if life is Life.ELSEWHERE}
        self._writers = {call: writers for call, writers in self._writers.items() if call in lives}
        gone = [call for call, life in lives.items() if life in (Life.DEAD, Life.UNJOINED)]
        self._dead_ns = {call: self._dead_ns.get(call, now_ns) for call in gone}
        return [c for c in gone if lives[c] is Life.DEAD and now_ns - self._dead_ns[c] >= GRACE_S * NS]

    def heir(self, call: str) -> str:
        """The call in which another process went on with this one's caller; empty: none is known."""
        return self._rooms.heir(call)

    def _life(self, store: SqliteStore, call: str) -> Life:
        if (known := self._writers.get(call)) and (life := self._life_of(known)) is Life.LIVING:
            return life
        try:
            self._writers[call] = writers_of(store, call)  # again: a rescue may have come into the chain
        except NotCanonical:
            return Life.ELSEWHERE
        return self._life_of(self._writers[call])

    def _life_of(self, writers: Sequence[str]) -> Life:
        """Of all of them together: one who lives, or of whom nobody can tell, keeps the chain."""
        lives = {life_of(self._spool, writer) for writer in writers} or {Life.ELSEWHERE}
        return next(life for life in (Life.LIVING, Life.ELSEWHERE, Life.UNJOINED, Life.DEAD) if life in lives)


@dataclass(frozen=True, slots=True)
class Left:
    """What a dead call leaves behind."""

    death: Death
    last_ns: int
    """Wall time of the last thing written."""
    owed: fx.OpenCallback | None
    tasks: int
    """Call-back tasks that stand on its record."""


def left_behind(opened: Sequence[OpenedRecord], *, heir: str = "") -> Left:
    """Read a dead call's record, which is not empty. With an heir nothing is owed here: the heir's own record owes it."""
    carried = _carried(opened)
    first, last = carried[0].content.wall_ns, carried[-1]
    level = _gravest(carried)
    call = _call(carried)
    tasks = sum(_is_task(record) for record in opened)
    nurse = _reached(call) if call is not None else _person(carried)
    owed = None if heir or tasks or nurse else _owed(call, carried, level)
    into_s = (last.content.wall_ns - first) // NS
    told = (
        f"at {datetime.fromtimestamp(last.content.wall_ns // NS, UTC):%Y-%m-%d %H:%M:%S} UTC, {into_s} s into the call"
    )
    place = f"{last.header.segment}/{last.header.sequence}"
    return Left(Death(told, place, level, nurse, owed is not None, heir), last.content.wall_ns, owed, tasks)


def _carried(opened: Sequence[OpenedRecord]) -> list[OpenedRecord]:
    """What the call's own processes wrote: a summary that was begun and not ended is none of it."""
    for at, record in enumerate(opened):
        if at and record.header.opens is not None and record.header.opens.purpose is Purpose.SUMMARY:
            return list(opened[:at])
    return list(opened)


def _gravest(records: Sequence[OpenedRecord]) -> str:
    verdicts = (r.content.payload for r in records if r.content.stage is Stage.ASSESSMENT)
    found = {verdict.get("level") for verdict in verdicts if not verdict.get("suppressed")}
    return next((level for level in URGENT if level in found), "")


def _call(records: Sequence[OpenedRecord]) -> Call | None:
    """The machine as it stood; None where this version cannot decide the recorded steps again."""
    call = Call()
    try:
        for record in records:
            if record.content.stage is Stage.STEP:
                call = step(call, restored(record.content.payload)).after
    except Exception:  # whatever another version wrote: the caller counts as one whom nobody has
        return None
    return call


def _reached(call: Call) -> bool:
    """The nurses have the caller; in a queue only once somebody there had the time to say so."""
    handoff = call.handoff
    taken = handoff.taken and not call.runs(TimerName.PERSON_SIGN)
    return bool(handoff.bridged or taken or any(attempt.person for attempt in handoff.open))


def _person(records: Sequence[OpenedRecord]) -> bool:
    return any(r.content.stage is Stage.HANDOFF and r.content.payload.get("event") == Mark.PERSON for r in records)


def _is_task(record: OpenedRecord) -> bool:
    return record.content.stage is Stage.HANDOFF and record.content.payload.get("event") == "callback"


def _owed(call: Call | None, records: Sequence[OpenedRecord], level: str) -> fx.OpenCallback | None:
    """What whoever has no task on record and no nurse is owed, whatever the machine was about to order."""
    reason = Reason.URGENT if level else Reason.STAGE_FAILED
    if call is None:
        waited = any(r.content.payload.get("after") == State.HANDOFF for r in records if r.content.stage is Stage.STEP)
        return _order(reason, level) if level or waited else None
    if (order := owed_callback(replace(call, callback=False))) is not None:
        return order
    if call.state is State.HANDOFF:
        return _order(call.handoff.reason or reason, call.handoff.level or level)
    return _order(reason, level) if level else None


def _order(reason: Reason, level: str) -> fx.OpenCallback:
    return fx.OpenCallback(reason=reason, level=level, within_s=CALLBACK_WITHIN_S)
