"""Promise P1 on whole calls: an urgent final hands over at once whatever is broken.

Measured at the line, in samples, on real caller audio. In virtual time computing costs nothing, so these bounds catch
every wait; one call in real time holds them against the wall clock as well.
"""

import asyncio
import errno
import sqlite3
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from audit.entries import Entry
from audit.journal import Journal
from audit.store import Store
from audit.writer import AuditWriter
from fsm.states import Reason
from tests.calls import CHEST, CLIPS, MS, Call, Living, Rung, says, speaks
from tests.handovers import OVER_GREETING, SILENT, handed_over, hang_up_after
from tests.stand_ins import Dead, Hanging, Slow
from triage.demo.patient import Cue, Utterance
from triage.ports import RATE
from triage.trace import Paged, Trace


class Stuck:
    """A store that takes the first batch and then hangs until it is let go."""

    def __init__(self, inner: Store) -> None:
        self._inner, self.free, self._batches = inner, threading.Event(), 0

    def append(self, rows: Sequence[Entry]) -> None:
        self._batches += 1
        if self._batches > 1:
            self.free.wait(30)
        self._inner.append(rows)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class Full:
    """A store, or a journal, whose disk is full until `free`."""

    def __init__(self, inner: Any) -> None:
        self._inner, self.full, self.refused = inner, False, 0

    def append(self, rows: Any) -> None:
        if self.full:
            self.refused += 1
            if isinstance(self._inner, Journal):
                raise OSError(errno.ENOSPC, "No space left on device")
            raise sqlite3.OperationalError("database or disk is full")
        self._inner.append(rows)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def bad_observer(trace: Trace) -> None:
    raise ValueError("an observer broke")


AFTER_QUESTION = [speaks("no it is not", "sore_no", delay_s=0.5), says(CHEST, delay_s=0.6)]
"""Danger is said after a first reply."""

TROUBLES: dict[str, dict[str, Any]] = {
    "nothing broken": {},
    "voice dead": {"voice": Dead()},
    "voice slow": {"voice": Slow()},
    "model hanging": {"model": Hanging()},
    "model dead": {"model": Dead()},
    "model and script dead": {"model": Dead(), "scripted": Dead()},
    "observer raises": {"observers": (bad_observer,)},
}


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("script", [OVER_GREETING, AFTER_QUESTION], ids=["over the greeting", "in a later turn"])
def test_an_urgent_final_hands_over_whatever_is_broken(trouble: str, script: list[Utterance]) -> None:
    call = Call(script=script, phones=SILENT, **TROUBLES[trouble]).ring(hang_up_after(24))
    if trouble == "model and script dead" and script is AFTER_QUESTION:  # handed over before danger was said
        assert call.reasons[0] == Reason.STAGE_FAILED.value
        return
    begins = handed_over(call)
    clip = CLIPS.clip("connecting_nurse").pcm
    assert np.array_equal(call.heard[begins : begins + len(clip)], clip), "nothing of the old speech is mixed into it"
    call.check_record()


@pytest.mark.engine
def test_an_urgent_final_of_the_real_recogniser_hands_over() -> None:
    handed_over(Call(script=OVER_GREETING, phones=SILENT, recogniser="pocketsphinx").ring(hang_up_after(30)))


def paged_at_once(call: Rung) -> bool:
    """Somebody was woken for the store while the caller was there, not when the record was to be sealed."""
    return any(t.alarm == "audit_store" and t.at_ns < call.finished.ended_ns for t in call.of(Paged))


async def after_real_time(living: Living) -> None:
    """The writer's threads live in real time: give them some before the call ends."""
    await living.until(19)
    await asyncio.to_thread(threading.Event().wait, 0.3)
    living.patient.hung_up = True


def test_an_urgent_final_waits_for_no_store() -> None:
    stores: list[Stuck] = []

    def stuck(inner: Store) -> Store:
        stores.append(Stuck(inner))
        return stores[0]

    call = Call(script=OVER_GREETING, phones=SILENT, store=stuck).ring(after_real_time)
    handed_over(call)
    assert paged_at_once(call), "the pager rings"
    stores[0].free.set()
    call.check_record()
    assert len(call.packets) == 1 and call.callbacks(), "what came while the store hung is there when it is back"


@pytest.mark.parametrize("how", ["while the process lives", "as it ends"])
def test_an_urgent_final_waits_for_no_disk_and_nothing_is_lost_when_it_is_free(how: str) -> None:
    disks: list[Full] = []

    def full(inner: Any) -> Any:
        disks.append(Full(inner))
        return disks[-1]

    async def story(living: Living) -> None:
        for disk in disks:
            disk.full = True
        await after_real_time(living)

    call = Call(script=OVER_GREETING, phones=SILENT, store=full, journal=full).ring(story)
    handed_over(call)
    assert all(disk.refused for disk in disks), "both were really tried"
    assert paged_at_once(call) and call.pages.count("audit_store") == 1, "somebody was woken, once"
    threading.Event().wait(0.1)  # the writer's threads live in real time: by now every row is in memory only
    for disk in disks:
        disk.full = False
    if how == "as it ends":  # the rows go from memory to the journal, and the next process brings them to the store
        call.settle()
        call.living.writer = call.audit.open_writer("test")
    joined(call.living.writer)
    call.check_record()


def joined(writer: AuditWriter) -> None:
    """Wait until the journal is empty; ten seconds at most."""
    for _ in range(1000):
        if not writer.spooling:
            return
        threading.Event().wait(0.01)
    raise AssertionError("the journal did not join")


@pytest.mark.realtime
def test_an_urgent_final_hands_over_by_the_wall_clock() -> None:
    stores: list[Stuck] = []

    def stuck(inner: Store) -> Store:
        stores.append(Stuck(inner))
        return stores[0]

    call = Call(
        script=[says(CHEST, Cue.AT, 0.2)],
        phones=SILENT,
        store=stuck,
        model=Hanging(),
        voice=Dead(),
        virtual=False,
    ).ring(hang_up_after(6.5))
    at = call.urgent_at
    first = next(start for start in call.line.audible_from if start >= at)  # what comes first is the clip: see above
    assert first - at <= 100 * MS
    assert 0 <= call.line.asked[0].at - at <= 200 * MS
    assert call.measured("clip_audible")[0] <= 100 and call.measured("refer_sent")[0] <= 200
    stores[0].free.set()
    call.check_record()


def test_an_emergency_says_the_number_first_and_never_to_stay() -> None:
    call = Call(script=[says("not_breathing", Cue.AT, 1.0)], phones=SILENT).ring(hang_up_after(25))
    begins = handed_over(call, "emergency_first")
    clip = CLIPS.clip("emergency_first")
    assert "nine one one" in " ".join(word.text for word in clip.words if word.end <= 3 * RATE).lower()
    assert np.array_equal(call.heard[begins : begins + len(clip.pcm)], clip.pcm)
