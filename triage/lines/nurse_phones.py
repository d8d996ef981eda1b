"""Simulated nurse phones: how each behaves when it is the target of a REFER, and as a leg that we dial.

A phone is plain data; `NurseLeg` is one attempt to reach it. The leg does the phone's part (answer, speak, press the
accepting key, drop) by the loop's timers and tells the line what the far side signals; what a signal means for the
caller is the line's business.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from fsm.states import RungKind
from triage.clock import NS, Clock
from triage.lines.tape import Tape
from triage.ports import LineSignal, Pcm, SignalKind

BUSY, DECLINED, UNAVAILABLE, NOT_FOUND, NO_ANSWER, GONE = 486, 603, 503, 404, 408, 481
"""SIP statuses."""
CARRIER_GIVES_UP_S = 30.0
"""How long a carrier lets the target of a REFER ring, or waits for it."""


class Behaviour(StrEnum):
    """What a nurse phone does when it is called."""

    ANSWERS = "answers"
    BUSY = "busy"  # 486, without ringing
    REFUSES = "refuses"  # rings, then a person declines: 603
    UNAVAILABLE = "unavailable"  # 503 at once, not even accepted
    RINGS_OUT = "rings_out"  # rings for ever
    SILENT = "silent"  # accepted, then nothing at all: outcome unknown
    VOICEMAIL = "voicemail"  # answers and talks, never presses the key
    DROPS = "drops"  # answers, accepts, and is gone again
    LATE = "late"  # answers after our time limit


def _no_sound() -> Pcm:
    return np.zeros(0, dtype=np.int16)


@dataclass(frozen=True, slots=True)
class NursePhone:
    """One simulated phone. Times are seconds after what is named."""

    behaviour: Behaviour = Behaviour.ANSWERS
    pcm: Pcm = field(default_factory=_no_sound)
    """The line its nurse (or its voicemail) says once somebody can hear it."""
    text: str = ""
    """The same in words, for reports."""
    accepted_after_s: float = 0.05
    """After the request."""
    rings_after_s: float = 0.15
    """After the request."""
    answers_after_s: float = 1.2
    """After the request; also when a refusal comes. LATE: give more than the time limit."""
    speaks_after_s: float = 0.5
    """After the caller is connected; voicemail: after it answered."""
    key_after_s: float = 1.0
    """Dialled leg: after the whisper began."""
    drops_after_s: float = 2.0
    """DROPS: after the accepting key; after a REFER: after the answer."""
    done_after_s: float | None = None
    """After the caller is connected the nurse marks the call as done (dialled leg and desk only)."""


@dataclass(slots=True)
class NurseLeg:
    """One attempt to reach one phone."""

    attempt: int
    kind: RungKind
    phone: NursePhone | None
    """None: the directory names nobody."""
    clock: Clock
    timeout_s: float
    code: str
    """Opaque packet code, as it stood in the header."""
    report: Callable[["NurseLeg", LineSignal], None]
    """Gets each signal of the far side, and our own time limit."""
    speak: Callable[["NurseLeg", Pcm], None]
    """The nurse says something into the phone."""
    accepted: bool = False
    answered: bool = False
    connected: bool = False
    """Nurse and caller hear each other."""
    timed_out: bool = False
    settled: bool = False
    """Nothing more can come of it."""
    heard: Tape = field(default_factory=Tape)
    """What the nurse heard, at positions of the call."""
    whispered: list[tuple[int, int]] = field(default_factory=list)
    """(start, end) of everything we said to the nurse alone."""
    _timers: list[asyncio.TimerHandle] = field(default_factory=list)

    @property
    def is_refer(self) -> bool:
        """The carrier connects the two, we are gone."""
        return self.kind is RungKind.REFER

    def start(self) -> None:
        """Send the request."""
        phone = self.phone
        if phone is None:
            self._after(0.05, self._signal, SignalKind.REFUSED, str(NOT_FOUND), True)
            return
        self._after(self.timeout_s, self._time_is_up)
        if self.is_refer and phone.behaviour is not Behaviour.LATE:
            self._after(CARRIER_GIVES_UP_S, self._carrier_gives_up)
        if phone.behaviour is Behaviour.UNAVAILABLE:
            self._after(phone.accepted_after_s, self._signal, SignalKind.REFUSED, str(UNAVAILABLE), True)
            return
        self._after(phone.accepted_after_s, self._signal, SignalKind.ACCEPTED)
        if phone.behaviour is Behaviour.SILENT:
            return
        if phone.behaviour is Behaviour.BUSY:
            self._after(phone.rings_after_s, self._signal, SignalKind.REFUSED, str(BUSY), True)
            return
        self._after(phone.rings_after_s, self._signal, SignalKind.RINGING)
        if phone.behaviour is Behaviour.REFUSES:
            self._after(phone.answers_after_s, self._signal, SignalKind.REFUSED, str(DECLINED), True)
        elif phone.behaviour is not Behaviour.RINGS_OUT:
            self._after(phone.answers_after_s, self._answer)

    def whisper_began(self) -> None:
        """The nurse hears our line; a person presses the accepting key in a while."""
        phone = self.phone
        if phone is None or phone.behaviour is Behaviour.VOICEMAIL:
            return
        self._after(phone.key_after_s, self._signal, SignalKind.NURSE_KEY, "1")
        if phone.behaviour is Behaviour.DROPS:
            self._after(phone.key_after_s + phone.drops_after_s, self._signal, SignalKind.NURSE_LOST, "", True)

    def connect(self) -> None:
        """From now on nurse and caller hear each other."""
        if self.connected or self.settled:
            return
        self.connected = True
        phone = self.phone
        if phone is not None and phone.behaviour is not Behaviour.VOICEMAIL:
            self._after(phone.speaks_after_s, self.speak, self, phone.pcm)
            if phone.done_after_s is not None and not self.is_refer:
                self._after(phone.done_after_s, self._signal, SignalKind.NURSE_DONE)
            if phone.behaviour is Behaviour.DROPS and self.is_refer:
                self._after(phone.drops_after_s, self.end)

    def end(self) -> None:
        """Put the phone down; nothing more comes of it."""
        self.settled = True
        self.connected = False
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _answer(self) -> None:
        if self.settled:
            return
        self.answered = True
        self.report(self, LineSignal(SignalKind.ANSWERED, self.attempt, takes_caller=self.is_refer))
        phone = self.phone
        if phone is not None and phone.behaviour is Behaviour.VOICEMAIL:
            self._after(phone.speaks_after_s, self.speak, self, phone.pcm)

    def _time_is_up(self) -> None:
        if self.answered or self.settled:
            return
        self.timed_out = True
        signal = LineSignal(SignalKind.TIMED_OUT, self.attempt, source="own clock")
        if not self.is_refer:  # a leg of ours can be cancelled, a REFER cannot
            self.end()
        self.report(self, signal)

    def _carrier_gives_up(self) -> None:
        if not self.answered:
            self._signal(SignalKind.REFUSED, str(NO_ANSWER), True)

    def _signal(self, kind: SignalKind, value: str = "", last: bool = False) -> None:
        if self.settled:
            return
        self.accepted = self.accepted or kind is SignalKind.ACCEPTED
        if last:
            self.end()
        source = "desk" if self.kind is RungKind.DESK else "carrier"
        self.report(self, LineSignal(kind, self.attempt, value, source=source))

    def _after(self, seconds: float, callback: Callable[..., object], *args: object) -> None:
        at_ns = self.clock.now_ns() + round(seconds * NS)
        self._timers.append(self.clock.call_at_ns(at_ns, callback, *args))
