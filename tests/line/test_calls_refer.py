"""Promise: however a carrier deals with our REFER, the record says what it was and no more, and the ladder goes on.

Callers are sipp over PCMU, one for each way; the recogniser is scripted. Several are in progress at a time: transfers at
once never mix. The line is the whole line, as `triage up` starts it.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from audit.folder import AuditFolder
from audit.store import SqliteStore
from tests.line.whole_line import (
    CHEST_PAIN,
    NURSE_A,
    QUEUE,
    CallRecord,
    Ladder,
    SippCaller,
    WholeLine,
    nurse_with_sipp,
    said,
    spoken,
    whole_line,
)
from triage.bench.impairer import ALIAS, Seen
from triage.bench.phones import sipp
from triage.bench.phones.hearing import Heard, find, onset, sound_s
from triage.clips import ClipLibrary
from triage.handoff.claims import claim
from triage.handoff.desk import shelf_of

pytestmark = pytest.mark.skipif(sipp.missing() is not None, reason=str(sipp.missing()))

ANSWER_WITHIN_S = 3
AT_ONCE, APART_S = 2, 1.5
STAYS_MS = 1200
REFUSED, UNKNOWN, TAKEN = "refused", "timed_out", "answered"


@dataclass(frozen=True)
class Shape:
    """How a carrier deals with a REFER, and what must come of it."""

    signal: str
    """Of the attempt: refused, timed_out (outcome unknown) or answered; with the SIP status where there is one."""
    climbs: bool
    """A nurse is dialled next."""
    stays_ms: int = STAYS_MS
    """The caller's own patience after it."""


LONG_MS = ANSWER_WITHIN_S * 1000 + STAYS_MS
SHAPES = {
    "ok": Shape(TAKEN, False),
    "notify_before_202": Shape(TAKEN, False),
    "ok_hangs_up_first": Shape(UNKNOWN, False),
    "busy_486": Shape(f"{REFUSED} 486", True),
    "down_503": Shape(f"{REFUSED} 503", True),
    "declined_603": Shape(f"{REFUSED} 603", True),
    "refused_403": Shape(f"{REFUSED} 403", True),
    "refused_603": Shape(f"{REFUSED} 603", True),
    "no_notify": Shape(UNKNOWN, True, LONG_MS),
    "trying_and_over": Shape(UNKNOWN, True, LONG_MS),
    "no_answer": Shape(UNKNOWN, True, LONG_MS),
    "late_200": Shape(UNKNOWN, True, LONG_MS),
    "hangs_up_while_ringing": Shape(UNKNOWN, False),
    "bye_without_notify": Shape(UNKNOWN, False),
    "holds_on_202": Shape(f"{REFUSED} 486", True),
}
OUTCOMES = {TAKEN: "transferred", REFUSED: "hung_up", UNKNOWN: "outcome_unknown"}
FAILED = [name for name, shape in SHAPES.items() if shape.signal != TAKEN]
STAYS_TO_HEAR = [name for name, shape in SHAPES.items() if shape.climbs and name != "holds_on_202"]
CLIP_WITHIN_S, REFER_WITHIN_S = 0.6, 0.3
"""What the line keeps on a busy machine; what it keeps on a quiet one is in the figures."""


@dataclass(frozen=True)
class Told:
    """What is left of one call."""

    result: sipp.Result
    messages: list[Seen]
    heard: Heard
    record: CallRecord
    began_s: float
    dialled: list[Seen]
    """INVITEs to nurses in the time of this call, of any caller."""


def number_of(name: str) -> str:
    return f"+1555777{list(SHAPES).index(name):04}"


async def evening(line: WholeLine, folder: Path) -> Mapping[str, Told]:
    line.script(CHEST_PAIN)
    room = asyncio.Semaphore(AT_ONCE)
    rang: dict[str, tuple[SippCaller, sipp.Result, float]] = {}

    async def ring(name: str) -> None:
        caller, began_s = SippCaller(folder / name), line.since()
        scenario = sipp.CALLERS[name](SHAPES[name].stays_ms)
        result = await caller.ring(line, scenario, spoken(0.6, "chest_pain_first"), number=number_of(name))
        rang[name] = caller, result, began_s
        room.release()

    climbing = sum(shape.climbs for shape in SHAPES.values())
    async with nurse_with_sipp(line, folder, NURSE_A, sipp.NURSES["rings_out"](0), calls=climbing) as nurse:
        async with asyncio.TaskGroup() as group:
            for name in SHAPES:
                await room.acquire()
                group.create_task(ring(name))
                await asyncio.sleep(APART_S)
        assert (await nurse).status == 0
    records = {}
    for count in range(1, len(SHAPES) + 1):
        record = await line.record(count=count)
        number = next(str(p["number"]) for p in record.payloads("call") if p.get("event") == "caller_number")
        records[number] = record
    told = {}
    for name, (caller, result, began_s) in rang.items():
        messages = [m for m in line.network.messages() if caller.port in (m.source, m.target)]
        heard = line.audio(caller.port)
        dialled = [m for m in line.network.messages(method="INVITE", source=line.port) if m.sent_s >= began_s]
        told[name] = Told(result, messages, heard, records[number_of(name)], began_s, dialled)
    return told


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeLine]:
    ladder = Ladder([(QUEUE, "refer", ANSWER_WITHIN_S), (NURSE_A, "dial", 5)])
    with whole_line(tmp_path_factory.mktemp("refer"), ladder, worker_idle_processes="3") as running:
        yield running


@pytest.fixture(scope="module")
def told(line: WholeLine, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Told]:
    return asyncio.run(evening(line, tmp_path_factory.mktemp("callers")))


def test_every_way_of_a_carrier_has_its_row() -> None:
    assert set(SHAPES) == set(sipp.CALLERS)


@pytest.mark.parametrize("name", SHAPES)
def test_the_carrier_s_scenario_was_followed_to_its_end(told: Mapping[str, Told], name: str) -> None:
    call = told[name]
    assert call.result.status == 0, call.result.said + "\n".join(map(said, call.messages))


@pytest.mark.parametrize("name", SHAPES)
def test_one_refer_goes_out_at_once(told: Mapping[str, Told], line: WholeLine, name: str) -> None:
    call = told[name]
    refers = [m for m in call.messages if m.method == "REFER"]
    assert len({m.headers["cseq"] for m in refers}) == 1
    assert len(refers) == 1 or name == "no_answer"
    assert refers[0].headers["refer-to"] == f"<sip:{QUEUE}@{ALIAS}:{line.queue}>"
    assert refers[0].headers["x-triage-packet"]
    assert refers[0].sent_s - call.record.mark_s("t_final") < REFER_WITHIN_S


def test_the_code_that_came_with_a_caller_opens_that_caller_s_packet(told: Mapping[str, Told], line: WholeLine) -> None:
    folder, codes = AuditFolder(line.settings.data_dir), set()
    private = folder.keyring().checked().private_key()
    with closing(SqliteStore(folder.database)) as store:
        for name, call in told.items():
            code = next(m.headers["x-triage-packet"] for m in call.messages if m.method == "REFER")
            opened = claim(
                shelf_of(line.settings), private, store, code, who="nurse", purpose="test", at_ns=time.time_ns()
            )
            assert opened.packet.call_id == call.record.call, name
            codes.add(code)
    assert len(codes) == len(SHAPES)


@pytest.mark.parametrize("name", STAYS_TO_HEAR)
def test_the_caller_hears_the_clip_at_once_and_it_runs_on(told: Mapping[str, Told], name: str) -> None:
    """What the machine measured, with headroom for a busy one; the figures are in benchmarks."""
    call, clip = told[name], ClipLibrary.load().clip("connecting_nurse").pcm
    final_s = call.record.mark_s("t_final")
    match = find(clip, call.heard.pcm, after=call.heard.position(final_s))
    assert match.likeness > 0.5, match  # with the place where it must stand: the same clip, though it stutters
    audible_s = call.heard.at_s(match.start + (onset(clip) or 0)) - final_s
    assert 0 < audible_s < CLIP_WITHIN_S
    refer = next(m.sent_s for m in call.messages if m.method == "REFER")
    after = call.heard.pcm[call.heard.position(refer) :]
    assert sound_s(after) > 0.4


@pytest.mark.parametrize("name", SHAPES)
def test_the_outcome_on_record_is_what_it_was(told: Mapping[str, Told], name: str) -> None:
    call, shape = told[name], SHAPES[name]
    signals = [event for event in call.record.events(attempt=1) if not event.startswith("t_")]
    assert signals[-1:] == [shape.signal], signals
    assert (TAKEN in signals) == (shape.signal == TAKEN)
    assert call.record.outcome == OUTCOMES[shape.signal.partition(" ")[0]]


@pytest.mark.parametrize("name", FAILED)
def test_an_urgent_caller_whom_no_nurse_had_becomes_a_call_back(told: Mapping[str, Told], name: str) -> None:
    assert "callback" in told[name].record.events()


@pytest.mark.parametrize("name", SHAPES)
def test_a_nurse_is_dialled_where_the_transfer_failed_and_nowhere_else(told: Mapping[str, Told], name: str) -> None:
    call = told[name]
    code = next(m.headers["x-triage-packet"] for m in call.messages if m.method == "REFER")
    dialled = [m for m in call.dialled if m.headers.get("x-triage-packet") == code]
    assert bool(dialled) == SHAPES[name].climbs
    for invite in dialled:
        assert invite.first.startswith(f"INVITE sip:{NURSE_A}@")


@pytest.mark.parametrize("name", [name for name, shape in SHAPES.items() if shape.climbs])
def test_a_ringing_nurse_is_let_go_when_the_caller_hangs_up(
    told: Mapping[str, Told], line: WholeLine, name: str
) -> None:
    call = told[name]
    code = next(m.headers["x-triage-packet"] for m in call.messages if m.method == "REFER")
    invite = next(m for m in call.dialled if m.headers.get("x-triage-packet") == code)
    cancel = next(m for m in line.network.messages(method="CANCEL") if m.call_id == invite.call_id)
    bye = next(m.sent_s for m in call.messages if m.method == "BYE")
    assert 0 < cancel.sent_s - bye < 1.0


def test_the_line_says_bye_only_after_a_transfer_that_worked(told: Mapping[str, Told], line: WholeLine) -> None:
    for name, call in told.items():
        ours = [m for m in call.messages if m.method == "BYE" and m.source == line.port]
        assert bool(ours) == (SHAPES[name].signal == TAKEN), name


def test_no_packet_is_missing_in_what_reaches_a_phone(told: Mapping[str, Told]) -> None:
    for name, call in told.items():
        if name != "holds_on_202":  # nothing is sent to a phone that holds
            assert len(call.heard.arrivals) > 50 and not np.isnan(call.heard.arrivals).any(), name


def test_nothing_broke_in_any_log(told: Mapping[str, Told], line: WholeLine) -> None:
    for name in ("worker", "sip-bench", "keeper"):
        assert "Traceback" not in line.log(name), line.log(name)[-3000:]
