"""Promise: each simulated nurse phone does what its name says, at its own times, as REFER target and as dialled leg."""

import asyncio

import pytest

from fsm.states import RungKind
from tests.lines.world import Call, call, noise
from tests.virtual import in_virtual_time
from triage.clock import run
from triage.lines.nurse_phones import CARRIER_GIVES_UP_S, Behaviour, NursePhone

REFER, DIAL, DESK = RungKind.REFER, RungKind.DIAL, RungKind.DESK


def history(seen: Call, attempt: int = 1) -> list[tuple[float, str, str]]:
    return [(round(at, 3), str(s.kind), s.value) for at, s in seen.signals if s.attempt == attempt]


async def rung(phone: NursePhone, kind: RungKind, *, timeout_s: float = 9.0, wait_s: float = 35.0) -> Call:
    """Call that phone, whisper once it answers, and watch for longer than any carrier waits."""
    async with call(phones={"nurse": phone}) as seen:
        seen.transfer(1, kind, timeout_s=timeout_s)
        for _ in range(200):
            await asyncio.sleep(0.05)
            if "answered" in seen.kinds(1):
                seen.line.whisper(1, noise(0.4, 1))
                break
        await asyncio.sleep(wait_s)
        if kind is not REFER:
            seen.line.release(1)
    return seen


CASES = [
    (NursePhone(), REFER, [(0.05, "accepted", ""), (0.15, "ringing", ""), (1.2, "answered", "")]),
    (
        NursePhone(answers_after_s=0.5, key_after_s=2.0),
        DIAL,
        [(0.05, "accepted", ""), (0.15, "ringing", ""), (0.5, "answered", ""), (2.5, "nurse_key", "1")],
    ),
    (NursePhone(Behaviour.BUSY), REFER, [(0.05, "accepted", ""), (0.15, "refused", "486")]),
    (NursePhone(Behaviour.BUSY), DIAL, [(0.05, "accepted", ""), (0.15, "refused", "486")]),
    (NursePhone(Behaviour.REFUSES), REFER, [(0.05, "accepted", ""), (0.15, "ringing", ""), (1.2, "refused", "603")]),
    (NursePhone(Behaviour.UNAVAILABLE), REFER, [(0.05, "refused", "503")]),
    (NursePhone(Behaviour.UNAVAILABLE), DIAL, [(0.05, "refused", "503")]),
    (NursePhone(Behaviour.RINGS_OUT), DIAL, [(0.05, "accepted", ""), (0.15, "ringing", ""), (9.0, "timed_out", "")]),
    (NursePhone(Behaviour.RINGS_OUT), REFER, [(0.05, "accepted", ""), (0.15, "ringing", ""), (9.0, "timed_out", "")]),
    (NursePhone(Behaviour.SILENT), REFER, [(0.05, "accepted", ""), (9.0, "timed_out", "")]),
    (NursePhone(Behaviour.VOICEMAIL), DIAL, [(0.05, "accepted", ""), (0.15, "ringing", ""), (1.2, "answered", "")]),
    (
        NursePhone(Behaviour.DROPS, answers_after_s=1.0, key_after_s=1.0, drops_after_s=2.0),
        DIAL,
        [
            (0.05, "accepted", ""),
            (0.15, "ringing", ""),
            (1.0, "answered", ""),
            (2.0, "nurse_key", "1"),
            (4.0, "nurse_lost", ""),
        ],
    ),
    (
        NursePhone(Behaviour.LATE, answers_after_s=12.0),
        REFER,
        [(0.05, "accepted", ""), (0.15, "ringing", ""), (9.0, "timed_out", ""), (12.0, "answered", "")],
    ),
    (
        NursePhone(Behaviour.LATE, answers_after_s=12.0),
        DIAL,
        [(0.05, "accepted", ""), (0.15, "ringing", ""), (9.0, "timed_out", "")],
    ),
]


@pytest.mark.parametrize(("phone", "kind", "expected"), CASES, ids=[f"{p.behaviour}-{k}" for p, k, _ in CASES])
def test_a_phone_signals_what_it_does_and_when(
    phone: NursePhone, kind: RungKind, expected: list[tuple[float, str, str]]
) -> None:
    assert history(run(rung(phone, kind), virtual=True)) == expected


def test_an_unknown_target_is_not_found() -> None:
    async def main() -> Call:
        async with call() as seen:
            seen.transfer(1, REFER, "nobody")
            seen.transfer(2, DIAL, "nobody")
            await asyncio.sleep(1)
        return seen

    seen = run(main(), virtual=True)
    assert [history(seen, n)[-1][1:] for n in (1, 2)] == [("refused", "404"), ("refused", "404")]


def test_a_target_that_rings_for_ever_is_given_up_by_the_carrier_in_the_end() -> None:
    seen = run(rung(NursePhone(Behaviour.RINGS_OUT), REFER, timeout_s=50.0), virtual=True)
    assert history(seen)[-1] == (CARRIER_GIVES_UP_S, "refused", "408")


def test_signals_say_who_says_so() -> None:
    seen = run(rung(NursePhone(), DESK), virtual=True)
    assert {(str(s.kind), s.source) for _, s in seen.signals if s.attempt} >= {("nurse_key", "desk")}
    lost = run(rung(NursePhone(Behaviour.RINGS_OUT), DIAL), virtual=True)
    assert [s.source for _, s in lost.signals if s.attempt] == ["carrier", "carrier", "own clock"]


@in_virtual_time
async def test_no_key_is_pressed_before_the_whisper() -> None:
    async with call(phones={"nurse": NursePhone()}) as seen:
        seen.transfer(1, DIAL)
        await asyncio.sleep(20)
        assert seen.kinds(1)[-1] == "answered"
        seen.line.whisper(1, noise(0.4, 1))
        await asyncio.sleep(1.1)
        assert seen.kinds(1)[-1] == "nurse_key"


@in_virtual_time
async def test_a_nurse_can_mark_the_call_as_done() -> None:
    async with call(phones={"nurse": NursePhone(done_after_s=3.0)}) as seen:
        seen.transfer(1, DESK)
        await asyncio.sleep(2)
        seen.line.whisper(1, noise(0.4, 1))
        await asyncio.sleep(2)
        seen.line.bridge(1)
        await asyncio.sleep(3.1)
    assert history(seen)[-1] == (7.0, "nurse_done", "")


@in_virtual_time
async def test_a_released_phone_does_nothing_more() -> None:
    async with call(phones={"nurse": NursePhone(answers_after_s=5)}) as seen:
        seen.transfer(1, DIAL)
        await asyncio.sleep(1)
        seen.line.release(1)
        await asyncio.sleep(60)
        assert seen.kinds(1) == ["accepted", "ringing"]


@in_virtual_time
async def test_releasing_a_refer_takes_nothing_back() -> None:
    async with call(phones={"nurse": NursePhone(answers_after_s=5)}) as seen:
        seen.transfer(1, REFER)
        await asyncio.sleep(1)
        seen.line.release(1)
        await asyncio.sleep(5)
        assert seen.kinds(1)[-1] == "answered"
