"""Promise of every line: frames in order, playout to the sample, and each transfer told in the order in which it happens.

`LineContract` runs over every variant of the simulated line; an adapter for another line subclasses it and makes the same
world: a caller who talks, presses 5 after 1 s where asked, hangs up where asked, and nurse phones by the names below.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from fsm.events import Rung
from fsm.states import RungKind
from tests.virtual import in_virtual_time
from triage.clock import Clock, run
from triage.demo.patient import Cue, Patient, Utterance
from triage.lines.impairments import Impairments
from triage.lines.nurse_phones import Behaviour, NursePhone
from triage.lines.simulated import SimulatedLine
from triage.ports import FRAME, RATE, Frame, Line, LineSignal, SignalKind

K = SignalKind
PHONES = {
    "answers": NursePhone(),
    "busy": NursePhone(Behaviour.BUSY),
    "refuses": NursePhone(Behaviour.REFUSES),
    "unavailable": NursePhone(Behaviour.UNAVAILABLE),
    "rings_out": NursePhone(Behaviour.RINGS_OUT),
    "silent": NursePhone(Behaviour.SILENT),
    "voicemail": NursePhone(Behaviour.VOICEMAIL),
    "drops": NursePhone(Behaviour.DROPS, drops_after_s=1.0),
}


def sound(seconds: float, level: int = 5000) -> Any:
    return (level * np.sin(np.arange(round(seconds * RATE)) * 0.3)).astype(np.int16)


class Watched:
    """A line, and everything it gave."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.frames: list[Frame] = []
        self.signals: list[LineSignal] = []
        self.frames_ended = self.signals_ended = False

    async def read_frames(self) -> None:
        async for frame in self.line.frames():
            self.frames.append(frame)
        self.frames_ended = True

    async def read_signals(self) -> None:
        async for signal in self.line.signals():
            self.signals.append(signal)
        self.signals_ended = True

    def of(self, attempt: int) -> list[tuple[SignalKind, str]]:
        return [(signal.kind, signal.value) for signal in self.signals if signal.attempt == attempt]

    def kinds(self, attempt: int) -> list[SignalKind]:
        return [kind for kind, _ in self.of(attempt)]

    def transfer(self, attempt: int, kind: RungKind, target: str, timeout_s: float = 9.0) -> None:
        self.line.transfer(attempt, Rung(kind=kind, target=target), code=f"code{attempt}", timeout_s=timeout_s)


class LineContract(ABC):
    """Subclass it, and say how to make a line whose caller does what the arguments say."""

    @abstractmethod
    def make(self, *, presses: bool = False, hangs_up_s: float | None = None) -> Line:
        """The line, with nurses' telephones as in `PHONES`."""

    slack_s = 0.0
    """How much later than due things may be on this line."""
    early_s = 0.0
    """How much before its time an attempt may be given up."""
    kinds: tuple[RungKind, ...] = (RungKind.DIAL, RungKind.DESK)
    """Ways to reach a nurse that this line dials."""
    untold: frozenset[tuple[RungKind, SignalKind]] = frozenset()
    """Progress that this line never hears of. What it does not hear it must not tell."""

    async def up(self, line: Line) -> None:
        """Bring the line up, until the call is answered."""
        await line.connect()

    def told(self, kind: RungKind, *signals: SignalKind) -> list[SignalKind]:
        """Those of the signals of an attempt that this line tells."""
        return [signal for signal in signals if (kind, signal) not in self.untold]

    @asynccontextmanager
    async def watched(self, **world: Any) -> AsyncIterator[Watched]:
        watched = Watched(self.make(**world))
        await self.up(watched.line)
        readers = [asyncio.ensure_future(watched.read_frames()), asyncio.ensure_future(watched.read_signals())]
        try:
            yield watched
        finally:
            await watched.line.close()
            async with asyncio.timeout(5):
                await asyncio.gather(*readers)

    # --- audio

    @in_virtual_time
    async def test_frames_come_in_order_whole_and_without_a_gap(self) -> None:
        async with self.watched() as seen:
            await asyncio.sleep(2.0 + self.slack_s + 0.001)
        assert [frame.start for frame in seen.frames[:100]] == [n * FRAME for n in range(100)]
        assert {(len(frame.pcm), frame.pcm.dtype) for frame in seen.frames} == {(FRAME, np.dtype(np.int16))}
        assert abs(len(seen.frames) - 100) <= 1 + self.slack_s * 50
        assert max(int(np.abs(frame.pcm).max()) for frame in seen.frames) > 1000, "the caller was heard"

    @in_virtual_time
    async def test_what_is_sent_is_queued_and_leaves_in_real_time(self) -> None:
        async with self.watched() as seen:
            await asyncio.sleep(0.1)
            assert seen.line.queued() == 0
            seen.line.send(sound(0.02))
            seen.line.send(sound(0.005))
            assert FRAME <= seen.line.queued() <= FRAME + 80
            await asyncio.sleep(0.05)
            assert seen.line.queued() == 0
            assert seen.line.drop() == 0

    @in_virtual_time
    async def test_drop_forgets_exactly_what_is_queued(self) -> None:
        async with self.watched() as seen:
            for _ in range(3):
                seen.line.send(sound(0.02))
            await asyncio.sleep(0.013)
            queued = seen.line.queued()
            assert 0 < queued < 3 * FRAME
            assert seen.line.drop() == queued
            assert seen.line.queued() == 0

    @in_virtual_time
    async def test_more_than_a_frame_is_refused(self) -> None:
        async with self.watched() as seen:
            with pytest.raises(ValueError, match="320"):
                seen.line.send(sound(0.021))

    def test_the_delay_is_a_constant_in_samples(self) -> None:
        async def main() -> int:
            return self.make().playout_delay

        assert run(main(), virtual=True) >= 0

    # --- the caller's leg

    @in_virtual_time
    async def test_keys_of_the_caller_are_told(self) -> None:
        async with self.watched(presses=True) as seen:
            await asyncio.sleep(3)
        assert [(s.kind, s.value, s.attempt) for s in seen.signals if s.kind is K.KEY] == [(K.KEY, "5", 0)]

    @in_virtual_time
    async def test_a_caller_who_hangs_up_ends_frames_and_signals(self) -> None:
        async with self.watched(hangs_up_s=1.0) as seen:
            await asyncio.sleep(2)
            assert (seen.frames_ended, seen.signals_ended) == (True, True)
            seen.line.send(sound(0.02))
            seen.line.drop()
        assert [s.kind for s in seen.signals] == [K.HUNG_UP]
        assert 48 <= len(seen.frames) <= 52

    @in_virtual_time
    async def test_we_can_hang_up_and_it_is_told_once(self) -> None:
        async with self.watched() as seen:
            await asyncio.sleep(0.5)
            await seen.line.hang_up()
            await seen.line.hang_up()
            await asyncio.sleep(1)
            assert (seen.frames_ended, seen.signals_ended) == (True, True)
        assert [s.kind for s in seen.signals] == [K.HUNG_UP]

    @in_virtual_time
    async def test_close_is_idempotent_and_may_come_before_connect(self) -> None:
        watched = Watched(self.make())
        await watched.line.close()
        await watched.line.close()
        async with asyncio.timeout(1):
            await watched.read_frames()
            await watched.read_signals()

    def caller_is_there(self, line: Line) -> bool:
        """The caller has the phone at their ear, and their leg stands."""
        raise NotImplementedError

    @in_virtual_time
    async def test_close_ends_the_callers_leg_unless_it_is_kept_for_somebody_else(self) -> None:
        for keep in (False, True):
            watched = Watched(self.make())
            await self.up(watched.line)
            await asyncio.sleep(0.5)
            watched.transfer(1, RungKind.DIAL, "rings_out")
            await asyncio.sleep(1)
            await watched.line.close(keep_caller=keep)
            async with asyncio.timeout(5):
                await watched.read_frames()
                await watched.read_signals()
            await asyncio.sleep(30)
            assert self.caller_is_there(watched.line) is keep
            assert not keep or K.HUNG_UP not in [signal.kind for signal in watched.signals]
            await watched.line.close()
            assert self.caller_is_there(watched.line) is keep, "the first word counts"

    # --- REFER

    @in_virtual_time
    async def test_a_refer_is_accepted_rings_and_is_answered_and_then_the_caller_is_gone(self) -> None:
        async with self.watched() as seen:
            seen.transfer(1, RungKind.REFER, "answers")
            await asyncio.sleep(3)
            assert (seen.frames_ended, seen.signals_ended) == (True, True)
        assert seen.kinds(1) == self.told(RungKind.REFER, K.ACCEPTED, K.RINGING, K.ANSWERED)
        assert [s.kind for s in seen.signals if s.takes_caller] == [K.ANSWERED]

    @in_virtual_time
    async def test_a_refusal_gives_the_status_and_the_caller_stays(self) -> None:
        async with self.watched() as seen:
            for attempt, target in enumerate(("busy", "refuses", "unavailable", "nobody"), start=1):
                seen.transfer(attempt, RungKind.REFER, target)
                await asyncio.sleep(2)
            frames = len(seen.frames)
            await asyncio.sleep(0.5)
            assert len(seen.frames) > frames
        assert seen.of(1)[-1] == (K.REFUSED, "486")
        assert seen.of(2)[-1] == (K.REFUSED, "603")
        assert seen.of(3)[-1] == (K.REFUSED, "503")
        assert seen.of(4)[-1] == (K.REFUSED, "404")

    @in_virtual_time
    async def test_no_outcome_within_the_limit_is_told_as_unknown(self) -> None:
        for target, before in (("silent", [K.ACCEPTED]), ("rings_out", [K.ACCEPTED, K.RINGING])):
            async with self.watched() as seen:
                seen.transfer(1, RungKind.REFER, target, timeout_s=4.0)
                known = self.told(RungKind.REFER, *before)
                await asyncio.sleep(3.9 - self.early_s)
                assert seen.kinds(1) == known
                await asyncio.sleep(0.2 + self.slack_s + self.early_s)
                assert seen.kinds(1) == [*known, K.TIMED_OUT]

    @in_virtual_time
    async def test_a_second_refer_is_pending_and_the_first_one_stands(self) -> None:
        async with self.watched() as seen:
            seen.transfer(1, RungKind.REFER, "answers")
            await asyncio.sleep(0.1)
            seen.transfer(2, RungKind.REFER, "busy")
            await asyncio.sleep(3)
        assert seen.kinds(2) == [K.PENDING]
        assert seen.kinds(1)[-1] is K.ANSWERED

    # --- dialled legs

    @in_virtual_time
    async def test_a_dialled_nurse_is_held_told_accepts_and_is_bridged(self) -> None:
        for kind in self.kinds:
            async with self.watched() as seen:
                seen.transfer(1, kind, "answers")
                await asyncio.sleep(4)
                assert seen.kinds(1) == self.told(kind, K.ACCEPTED, K.RINGING, K.ANSWERED)
                assert not any(s.takes_caller for s in seen.signals)
                seen.line.whisper(1, sound(0.5))
                await asyncio.sleep(3)
                assert seen.kinds(1)[-1] is K.NURSE_KEY
                seen.line.bridge(1)
                frames = len(seen.frames)
                await asyncio.sleep(1)
                assert len(seen.frames) > frames, "we stay as controller"
                assert not seen.signals_ended

    @in_virtual_time
    async def test_a_dialled_leg_that_nobody_answers_is_given_up(self) -> None:
        async with self.watched() as seen:
            seen.transfer(1, RungKind.DIAL, "rings_out", timeout_s=3.0)
            await asyncio.sleep(3.5 + self.slack_s)
            assert seen.kinds(1) == self.told(RungKind.DIAL, K.ACCEPTED, K.RINGING, K.TIMED_OUT)
            await asyncio.sleep(60)
        assert seen.kinds(1) == self.told(RungKind.DIAL, K.ACCEPTED, K.RINGING, K.TIMED_OUT)

    @in_virtual_time
    async def test_voicemail_answers_and_never_accepts(self) -> None:
        async with self.watched() as seen:
            seen.transfer(1, RungKind.DIAL, "voicemail")
            await asyncio.sleep(3)
            seen.line.whisper(1, sound(0.5))
            await asyncio.sleep(20)
        assert seen.kinds(1) == self.told(RungKind.DIAL, K.ACCEPTED, K.RINGING, K.ANSWERED)

    @in_virtual_time
    async def test_a_nurse_who_is_gone_again_is_lost_and_the_caller_stays(self) -> None:
        async with self.watched() as seen:
            seen.transfer(1, RungKind.DIAL, "drops")
            await asyncio.sleep(2)
            seen.line.whisper(1, sound(0.5))
            await asyncio.sleep(1.5)
            seen.line.bridge(1)
            await asyncio.sleep(2)
            assert seen.kinds(1)[-2:] == [K.NURSE_KEY, K.NURSE_LOST]
            assert not seen.frames_ended

    @in_virtual_time
    async def test_a_leg_that_we_release_is_not_told_as_lost(self) -> None:
        async with self.watched() as seen:
            seen.transfer(1, RungKind.DIAL, "answers")
            await asyncio.sleep(2)
            seen.line.release(1, sound(0.3))
            seen.line.release(1)
            seen.line.bridge(1)
            seen.line.whisper(1, sound(0.3))
            await asyncio.sleep(5)
            assert seen.kinds(1) == self.told(RungKind.DIAL, K.ACCEPTED, K.RINGING, K.ANSWERED)
            assert not seen.frames_ended

    @in_virtual_time
    async def test_unknown_attempts_are_ignored(self) -> None:
        async with self.watched() as seen:
            seen.line.release(77)
            seen.line.release(77, sound(0.1))
            seen.line.bridge(77)
            seen.line.whisper(77, sound(0.1))
            await asyncio.sleep(1)
        assert [signal.attempt for signal in seen.signals if signal.kind is not K.HUNG_UP] == []

    @in_virtual_time
    async def test_signals_go_on_while_a_nurse_leg_is_open(self) -> None:
        """A nurse who is held when the caller hangs up must still be told, so the leg is still ours."""
        async with self.watched(hangs_up_s=2.0) as seen:
            seen.transfer(1, RungKind.DIAL, "answers")
            await asyncio.sleep(4)
            assert (seen.frames_ended, seen.signals_ended) == (True, False)
            seen.line.release(1, sound(0.2))
            await asyncio.sleep(0.1)
            assert seen.signals_ended


class TestSimulatedLine(LineContract):
    def make(self, *, presses: bool = False, hangs_up_s: float | None = None) -> Line:
        return SimulatedLine(Clock(), _caller(presses, hangs_up_s), PHONES, **self.options())

    def caller_is_there(self, line: Line) -> bool:
        assert isinstance(line, SimulatedLine)
        return line.talking

    def options(self) -> dict[str, Any]:
        return {}


class TestSimulatedLineOverABadConnection(TestSimulatedLine):
    slack_s = 0.06

    def options(self) -> dict[str, Any]:
        return {
            "impairments": Impairments(
                mulaw=True, noise_db=-40, loss=0.05, concealment="repeat", jitter_ms=50, echo_db=-20, echo_ms=80
            )
        }


class TestSimulatedLineThatIsFarAway(TestSimulatedLine):
    def options(self) -> dict[str, Any]:
        return {"playout_delay": 2240, "media_during_refer": False}


def _caller(presses: bool, hangs_up_s: float | None) -> Patient:
    deeds = [Utterance(pcm=sound(0.5), text="hello", cue=Cue.AT, delay_s=0.2)]
    if presses:
        deeds.append(Utterance(cue=Cue.AT, delay_s=1.0, keys="5"))
    if hangs_up_s is not None:
        deeds.append(Utterance(cue=Cue.AT, delay_s=hangs_up_s, hang_up=True))
    return Patient(deeds, patience_s=3600)
