"""A telephone line in one process: a simulated caller, a simulated carrier, simulated nurse phones.

Time is the loop's, so the same line runs in real and in virtual time. Our sound goes out continuously and to the
sample, as from a sound card: a send is audible at once when nothing is queued. The caller's sound comes in frames of
20 ms, each when its last sample has been spoken (later with jitter).

The carrier tells the same truths and falsehoods as a real one:

- a REFER cannot be cancelled. After our time limit (TIMED_OUT) it goes on at the carrier, and may still succeed: then
  the caller is taken away late, with ANSWERED, or (`late_notify` False) without a word, as a plain HUNG_UP;
- when the caller hangs up while a REFER is pending, HUNG_UP is followed by a false ANSWERED (`false_success`);
- a second REFER while one is pending is PENDING, which is no refusal;
- with `media_during_refer` False the carrier holds the caller from its 202 to the end of the attempt: neither side
  hears the other, and nobody tells us.

When the carrier has taken the caller, frames and signals end, but the world goes on: caller and nurse talk until the
patient hangs up (`over`), and the recording has both, also after `close`.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from fsm.events import Rung
from triage.audio import mix, over_the_phone, write_wav
from triage.clock import NS, Clock
from triage.lines.impairments import Impairments, Spoiler
from triage.lines.nurse_phones import GONE, NurseLeg, NursePhone
from triage.lines.tape import Tape
from triage.ports import FRAME, RATE, Frame, LineSignal, Pcm, SignalKind

SAMPLE_NS = NS // RATE
FRAME_NS = FRAME * SAMPLE_NS


class Caller(Protocol):
    """Who rings; `triage.demo.patient.Patient` is one."""

    @property
    def hung_up(self) -> bool:
        """The phone is down."""
        ...

    def hear(self, agent: Sequence[tuple[int, int]], nurse: Sequence[tuple[int, int]]) -> None:
        """Where, within the coming frame, agent and nurse are audible: (start, end) positions in order."""
        ...

    def speak(self, start: int, length: int) -> Pcm:
        """The caller's voice from position `start` on."""
        ...

    def pressed(self) -> list[str]:
        """Keys pressed up to now, each returned once."""
        ...


class SimulatedLine:
    """One simulated call; a `ports.Line`."""

    def __init__(
        self,
        clock: Clock,
        caller: Caller,
        phones: Mapping[str, NursePhone] | None = None,
        *,
        impairments: Impairments | None = None,
        playout_delay: int = 0,
        media_during_refer: bool = True,
        false_success: bool = True,
        late_notify: bool = True,
    ) -> None:
        """`phones` are reached by their directory name; `playout_delay` in samples."""
        self.playout_delay = playout_delay
        self.media_during_refer = media_during_refer
        self._clock = clock
        self._caller = caller
        self._phones = dict(phones or {})
        impairments = impairments or Impairments()
        self._spoiler = Spoiler(impairments)
        self._mulaw = impairments.mulaw
        self._false_success = false_success
        self._late_notify = late_notify
        self._start_ns: int | None = None
        self._frame = 0
        self._tail = 0
        self._stuck = 0
        self._frames: asyncio.Queue[Frame | None] = asyncio.Queue()
        self._under_way: deque[Frame | None] = deque()
        self._arrives_ns = 0
        self._signals: asyncio.Queue[LineSignal | None] = asyncio.Queue()
        self._signals_ended = False
        self._legs: dict[int, NurseLeg] = {}
        self._tick: asyncio.TimerHandle | None = None
        self._over = asyncio.Event()
        self._agent_spans: deque[tuple[int, int]] = deque()
        self._nurse_spans: deque[tuple[int, int]] = deque()
        self._voice = Tape()
        self._received = Tape()
        self._agent = Tape()
        self._nurse = Tape()
        self.ours = True
        """The caller's leg is with us (until somebody hangs up, or the carrier takes it)."""
        self.talking = False
        """The caller has the phone at their ear."""
        self.audible_from: list[int] = []
        """For every send the position at which its first sample was (or would have been) at the caller's ear."""

    # --- the caller's leg

    async def connect(self) -> None:
        """Answer the call; position 0 is now."""
        self._start_ns = self._clock.now_ns()
        self.talking = True
        self._schedule()

    async def frames(self) -> AsyncIterator[Frame]:
        """The caller's frames, in order."""
        while (frame := await self._frames.get()) is not None:
            yield frame

    async def signals(self) -> AsyncIterator[LineSignal]:
        """What caller and carrier do."""
        while (signal := await self._signals.get()) is not None:
            yield signal

    def send(self, pcm: Pcm) -> None:
        """Sound for the caller. Once the leg has ended nothing moves any more: it stays queued until it is dropped.

        Raises:
            ValueError: more than FRAME samples.
        """
        if len(pcm) > FRAME:
            raise ValueError(f"a frame has at most {FRAME} samples, not {len(pcm)}")
        if not self.ours:
            self._stuck += len(pcm)
            return
        start = max(self.position(), self._tail)
        self._tail = start + len(pcm)
        ear = start + self.playout_delay
        self.audible_from.append(ear)
        _lengthen(self._agent_spans, ear, ear + len(pcm))
        self._agent.add(ear, pcm)

    def queued(self) -> int:
        """Samples accepted whose time has not come (or, once the leg has ended, never will)."""
        return max(0, self._tail - self.position()) if self.ours else self._stuck

    def drop(self) -> int:
        """Forget them."""
        dropped = self.queued()
        if not self.ours:
            self._stuck = 0
        elif dropped:
            self._tail -= dropped
            self._silence_agent(self._tail + self.playout_delay)
        return dropped

    async def hang_up(self) -> None:
        """Put down our end; the caller's leg is gone."""
        if self.ours:
            self._stop()
            self._leg_ended("own clock")

    async def close(self, *, keep_caller: bool = False) -> None:
        """Free our side. A caller whom the carrier has taken goes on talking to the nurse (`over`).

        One who is kept goes on hearing silence until they hang up.
        """
        if not keep_caller:
            await self.hang_up()
        elif self.ours:
            self._lose_leg()
        for leg in self._legs.values():
            if not leg.is_refer:
                self._put_down(leg)
        if not self.talking:
            self._stop()
            self._hand_over(None)
        self._end_signals()

    # --- nurses

    def transfer(self, attempt: int, rung: Rung, *, code: str, timeout_s: float) -> None:
        """Start one attempt; what comes of it comes as signals. An attempt that exists is not started again."""
        if attempt in self._legs:
            return
        phone = self._phones.get(rung.target)
        leg = NurseLeg(attempt, rung.kind, phone, self._clock, timeout_s, code, self._report, self._nurse_speaks)
        if leg.is_refer and not self.ours:
            self._signal(LineSignal(SignalKind.REFUSED, attempt, str(GONE)))
        elif leg.is_refer and self._pending():
            self._signal(LineSignal(SignalKind.PENDING, attempt))
        else:
            self._legs[attempt] = leg
            leg.start()

    def whisper(self, attempt: int, pcm: Pcm) -> None:
        """Say one line to a held nurse, and to nobody else."""
        leg = self._dialled(attempt)
        if leg is not None:
            self._tell_nurse(leg, pcm)
            leg.whisper_began()

    def bridge(self, attempt: int) -> None:
        """Let nurse and caller hear each other; ignored when one of them is not there."""
        leg = self._dialled(attempt)
        if leg is not None and self.talking:
            leg.connect()

    def release(self, attempt: int, pcm: Pcm | None = None) -> None:
        """End a dialled leg, after a word to it where given. A REFER cannot be taken back: ignored."""
        leg = self._legs.get(attempt)
        if leg is None or leg.is_refer or leg.settled:
            return
        if pcm is not None and leg.answered:
            self._tell_nurse(leg, pcm)
        self._put_down(leg)
        self._end_signals_when_settled()

    # --- for demo, tests and benches

    def position(self) -> int:
        """Samples since connect; 0 before."""
        return 0 if self._start_ns is None else (self._clock.now_ns() - self._start_ns) // SAMPLE_NS

    async def over(self) -> None:
        """Wait until the caller has put the phone down (or was hung up on)."""
        await self._over.wait()

    def recording(self) -> tuple[Pcm, Pcm]:
        """The call so far, sample-aligned: what the caller said, and what the caller heard (agent, then nurse).

        On a µ-law leg the caller hears us as the telephone gives it.
        """
        end = self._frame * FRAME
        heard = mix(self._agent.read(0, end), self._nurse.read(0, end))
        return self._voice.read(0, end), over_the_phone(heard) if self._mulaw else heard

    def received(self) -> Pcm:
        """The caller's voice as it reached us: with echo, noise, µ-law and loss."""
        return self._received.read(0, self._received.end)

    def nurse_heard(self, attempt: int) -> Pcm:
        """Everything that reached the nurse's ear in this attempt, at positions of the call."""
        leg = self._legs.get(attempt)
        return leg.heard.read(0, leg.heard.end) if leg else np.zeros(0, dtype=np.int16)

    def whispered(self, attempt: int) -> list[tuple[int, int]]:
        """(start, end) of everything that we said to this nurse alone."""
        leg = self._legs.get(attempt)
        return list(leg.whispered) if leg else []

    def code_sent(self, attempt: int) -> str | None:
        """The packet code in the header of this attempt; None when nothing was sent."""
        leg = self._legs.get(attempt)
        return leg.code if leg else None

    @property
    def lost_frames(self) -> list[int]:
        """Start positions of the caller's frames that the network lost."""
        return self._spoiler.lost

    def write(self, path: Path | str) -> None:
        """Write the call as a stereo WAV: caller left, what the caller heard right.

        Raises:
            AssetError: the file cannot be written.
        """
        write_wav(path, *self.recording())

    # --- the world, 20 ms at a time

    def _schedule(self) -> None:
        assert self._start_ns is not None
        self._tick = self._clock.call_at_ns(self._start_ns + (self._frame + 1) * FRAME_NS, self._live)

    def _live(self) -> None:
        """One frame of the world has passed."""
        start, end = self._frame * FRAME, (self._frame + 1) * FRAME
        self._frame += 1
        agent, nurse = _within(self._agent_spans, start, end), _within(self._nurse_spans, start, end)
        held = self._is_held()
        if held:
            self._agent.mute(start, end)
            agent = []
        self._caller.hear(agent, nurse)
        voice = self._caller.speak(start, FRAME)
        self._voice.add(start, voice)
        for leg in self._legs.values():
            if leg.connected:
                leg.heard.add(start, voice)
                if not leg.is_refer:
                    leg.heard.add(start, self._agent.read(start, end))
        keys = self._caller.pressed()
        if self.ours:
            self._deliver(start, np.zeros(FRAME, dtype=np.int16) if held else voice)
            for key in keys:
                self._signal(LineSignal(SignalKind.KEY, value=key))
        if self._caller.hung_up:
            self._stop()
            if self.ours:
                self._leg_ended("carrier")
        else:
            self._schedule()

    def _deliver(self, start: int, voice: Pcm) -> None:
        """Spoil one frame and hand it over, in order, when it arrives."""
        late = start - self._spoiler.echo_delay
        ear = (
            mix(self._agent.read(late, late + FRAME), self._nurse.read(late, late + FRAME))
            if self._spoiler.echoes
            else None
        )
        frame = Frame(self._spoiler.frame(start, voice, ear), start)
        self._received.add(start, frame.pcm)
        self._arrives_ns = max(self._arrives_ns, self._clock.now_ns() + self._spoiler.lateness_ns())
        self._hand_over(frame)

    def _hand_over(self, frame: Frame | None) -> None:
        self._under_way.append(frame)
        if self._arrives_ns <= self._clock.now_ns():
            self._arrived()
        else:
            self._clock.call_at_ns(self._arrives_ns, self._arrived)

    def _arrived(self) -> None:
        self._frames.put_nowait(self._under_way.popleft())

    def _is_held(self) -> bool:
        """The carrier holds the caller for a REFER that it has accepted, whatever we think of it by now."""
        return not self.media_during_refer and any(
            leg.is_refer and leg.accepted and not leg.settled for leg in self._legs.values()
        )

    def _silence_agent(self, at: int) -> None:
        self._agent.erase(at)
        _cut(self._agent_spans, at)

    def _stop(self) -> None:
        """The caller's phone is down: nothing more happens in this world."""
        self.talking = False
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        for leg in self._legs.values():
            leg.connected = False
        self._over.set()

    # --- signalling

    def _leg_ended(self, source: str) -> None:
        """The caller's leg with us is over, because somebody hung up."""
        pending = [leg for leg in self._pending() if leg.accepted]
        self._lose_leg()
        self._signal(LineSignal(SignalKind.HUNG_UP, source=source))
        if self._false_success:
            for leg in pending:
                self._signal(LineSignal(SignalKind.ANSWERED, leg.attempt, takes_caller=True))
        self._end_signals_when_settled()

    def _taken(self, leg: NurseLeg) -> None:
        """The carrier has connected caller and nurse; we are out."""
        self._lose_leg(but=leg)
        leg.connect()
        leg.settled = True
        if leg.timed_out and not self._late_notify:
            self._signal(LineSignal(SignalKind.HUNG_UP))
        else:
            self._signal(LineSignal(SignalKind.ANSWERED, leg.attempt, takes_caller=True))
        self._end_signals_when_settled()

    def _lose_leg(self, but: NurseLeg | None = None) -> None:
        self._stuck = self.queued()
        self.ours = False
        self._silence_agent(self.position() + self.playout_delay)
        for leg in self._legs.values():
            if leg.is_refer and leg is not but:
                leg.end()
        self._hand_over(None)

    def _report(self, leg: NurseLeg, signal: LineSignal) -> None:
        """The far side of one attempt signals."""
        if signal.kind is SignalKind.ANSWERED and leg.is_refer:
            self._taken(leg)
            return
        if signal.kind is SignalKind.NURSE_LOST:
            self._silence_nurse()
        late = leg.is_refer and leg.timed_out and signal.kind is not SignalKind.TIMED_OUT
        if not late:  # nobody listens to the progress of an attempt that was given up
            self._signal(signal)
        self._end_signals_when_settled()

    def _signal(self, signal: LineSignal) -> None:
        if not self._signals_ended:
            self._signals.put_nowait(signal)

    def _end_signals_when_settled(self) -> None:
        if not self.ours and all(leg.settled for leg in self._legs.values()):
            self._end_signals()

    def _end_signals(self) -> None:
        if not self._signals_ended:
            self._signals_ended = True
            self._signals.put_nowait(None)

    def _pending(self) -> list[NurseLeg]:
        return [
            leg for leg in self._legs.values() if leg.is_refer and not (leg.settled or leg.timed_out or leg.answered)
        ]

    # --- the nurse's ear and mouth

    def _dialled(self, attempt: int) -> NurseLeg | None:
        leg = self._legs.get(attempt)
        there = leg is not None and leg.answered and not leg.settled and not leg.is_refer
        return leg if there else None

    def _tell_nurse(self, leg: NurseLeg, pcm: Pcm) -> None:
        start = self.position()
        leg.heard.add(start, pcm)
        leg.whispered.append((start, start + len(pcm)))

    def _nurse_speaks(self, leg: NurseLeg, pcm: Pcm) -> None:
        """A nurse who is connected is heard by the caller; a voicemail's greeting before that by nobody."""
        if leg.connected:
            start = self.position()
            self._nurse.add(start, pcm)
            _lengthen(self._nurse_spans, start, start + len(pcm))

    def _silence_nurse(self) -> None:
        self._nurse.erase(self.position())
        _cut(self._nurse_spans, self.position())

    def _put_down(self, leg: NurseLeg) -> None:
        if leg.connected:
            self._silence_nurse()
        leg.end()


Spans = deque[tuple[int, int]]


def _lengthen(spans: Spans, start: int, end: int) -> None:
    """Add a stretch behind the others; joined to the last one where it touches it."""
    if spans and spans[-1][1] == start:
        start = spans.pop()[0]
    spans.append((start, end))


def _cut(spans: Spans, at: int) -> None:
    """Forget everything from `at` on."""
    while spans and spans[-1][1] > at:
        start, _ = spans.pop()
        if start < at:
            spans.append((start, at))


def _within(spans: Spans, start: int, end: int) -> list[tuple[int, int]]:
    """The parts inside [start, end); what lies before is forgotten."""
    while spans and spans[0][1] <= start:
        spans.popleft()
    return [(max(begin, start), min(stop, end)) for begin, stop in spans if begin < end]
