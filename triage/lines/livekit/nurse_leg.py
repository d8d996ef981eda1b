"""A nurse dialled into the caller's room: kept apart until she accepts, joined to the caller then, told when it is off.

The SIP service lets a dialled telephone hear the whole room the moment it answers, and the caller hear the telephone.
So the leg is made deaf by permission while it rings, and both sides lose their subscriptions to each other. After the
answer it may hear again, when its own wish to hear everybody has been overridden, and what is left to it is a track of
ours that nobody else may hear. The hold is put down anew every second, as a leg that reconnects asks for everybody
again; more often while somebody comes back. A bridge is the two of them subscribed to each other; nothing of ours is part
of it. Who cannot be joined to the caller is told as lost; once the two talk they are joined again whenever one of them has
come back, for as long as it takes.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from itertools import chain, repeat
from typing import Any

from triage.clock import NS, Clock
from triage.errors import Unavailable
from triage.lines.livekit.ending import ended
from triage.lines.livekit.headers import PACKET_HEADER
from triage.lines.livekit.outcomes import outcome_of
from triage.lines.livekit.rooms import ACTIVE, AGENT, BRIDGED, HANGUP, LEFT, NURSE, RINGING, STATUS
from triage.lines.livekit.signalling import Fault, Signalling, SignallingError
from triage.lines.livekit.sound import Voice
from triage.lines.livekit.studio import Mouth, Studio
from triage.lines.livekit.tasks import END_S, Tasks
from triage.ports import RATE, LineSignal, Pcm, SignalKind

log = logging.getLogger("triage.lines.livekit")

ACCEPTING_KEY = "1"
"""The key that the whisper asks for."""
SETTLE_S = 0.15
"""After its answer a leg asks to hear the room; by now it has."""
HOLD_AGAIN_S = 1.0
HOLD_HARD_S, HARD_FOR_S, ANSWERED_FOR_S = 0.04, 4.0, 2.0
"""Who comes back into the room (after a server that restarted) asks to hear everybody at a moment that nobody is told: for
so long after it the hold is put down anew at the shorter interval, and so long after an answer, as the SIP service asks when
its word of that has gone through."""
HEARD_WITHIN_S = 0.6
"""The whisper begins when the leg can hear it, or after this all the same."""
TAIL_S = 0.25
"""What was said last is still on its way for so long."""
RETURN_S, ALL_RETURN_S = 1.0, 15.0
"""A leg that was cut off from the room, and did not leave it, may come back within this; longer when we all were."""
JOIN_S, JOIN_AGAIN_S = (0.0, 0.1, 0.3, 0.6), 1.0
"""Pauses before the first tries to join nurse and caller, and before every other one."""
JOINED_WITHIN_S = 2.5
"""Both are in silence until they are joined; a nurse for whom this takes longer is told as lost."""
MARK_AGAIN_S = 5.0
PUT_OUT_S = (0.0, 0.3, 0.7, 1.0)
"""Pauses before each try to put a leg out; a leg that was only just dialled may still be on its way in."""


class Stage(Enum):
    """How far a nurse's leg is."""

    RINGING = auto()
    HELD = auto()
    BRIDGED = auto()
    RELEASED = auto()  # off, and being told so
    ALONE = auto()  # with the caller, in a room that we have lost
    OVER = auto()


@dataclass
class Presence:
    """Whether we ourselves are in the room; who is away knows nothing of the others."""

    cut_off: bool = False
    """We are entering it anew."""
    lost: bool = False
    """For good."""


@dataclass(frozen=True)
class Around:
    """What every nurse's leg of one call needs."""

    room: Any
    """rtc.Room."""
    studio: Studio
    signalling: Signalling
    tasks: Tasks
    clock: Clock
    report: Callable[[LineSignal], None]
    permit: Callable[[], None]
    """Renew who may hear which track of ours."""
    presence: Presence


class NurseLeg:
    """One attempt to get a nurse on the line by dialling."""

    def __init__(
        self, attempt: int, identity: str, target: str, uri: str, code: str, timeout_s: float, around: Around
    ) -> None:
        self.attempt, self.identity = attempt, identity
        self.stage = Stage.RINGING
        self.parting: asyncio.Task[None] | None = None
        """Takes the leg off, with a last word to it."""
        self._target, self._uri, self._code, self._timeout_s, self._around = target, uri, code, timeout_s, around
        self._mouth: Mouth | None = None
        self._voice: Voice | None = None
        self._pusher: asyncio.Task[None] | None = None
        self._to_say: list[Pcm] = []
        self._whispered = self._accepted = self._rang = False
        self._can_hear = asyncio.Event()
        self._turn = asyncio.Lock()
        """Requests about who hears whom go one after the other, so that the last one stands."""
        self._stirred = asyncio.Event()
        self._hard_until_ns = 0
        self._dialling = False
        self._open = self._permitted = self._preparing = False
        self._to_join = self._joined = False
        self._joining: asyncio.Task[None] | None = None
        self._marking: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._return: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Ring the telephone; what comes of it is reported."""
        self._dialling = True
        self._around.tasks.start(self._dial(), "nurse's telephone")
        self._timer = asyncio.get_running_loop().call_later(self._timeout_s, self._time_is_up)

    def take_over(self) -> None:
        """The leg was dialled and joined to the caller by somebody before us, who is gone: from now on it is followed."""
        self.stage = Stage.BRIDGED
        self._permitted = self._joined = True
        self._join()
        self.follow(self._attributes().get(STATUS, ""))

    @property
    def answered(self) -> bool:
        """Somebody, or something, picked up."""
        return self.stage in (Stage.HELD, Stage.BRIDGED)

    @property
    def settled(self) -> bool:
        """Nothing more comes of it."""
        return self.stage in (Stage.RELEASED, Stage.ALONE, Stage.OVER)

    @property
    def talks(self) -> bool:
        """She and the caller are left to each other."""
        return self.stage in (Stage.BRIDGED, Stage.ALONE)

    @property
    def tracks(self) -> tuple[str, ...]:
        """Ids of our tracks that this leg may hear."""
        return () if self._mouth is None else (self._mouth.sid,)

    # --- what is ordered

    def whisper(self, pcm: Pcm) -> None:
        """Say something to the held nurse alone; from now on the key counts."""
        if self.stage is Stage.HELD:
            self._whispered = True
            self._say(pcm)

    def bridge(self) -> None:
        """Join nurse and caller; what is left of the whisper is not said into their talk."""
        if self.stage is Stage.HELD:
            self.stage = Stage.BRIDGED
            self._to_say.clear()
            if self._voice is not None:
                self._voice.drop()
            self._join_in_time()
            self._join()

    def release(self, pcm: Pcm | None = None) -> None:
        """End the leg, after a word to it where given and where somebody is there."""
        if self.settled:
            return
        spoken_to = self.answered and pcm is not None
        self.stage = Stage.RELEASED
        self._stop_timers()
        if pcm is not None and spoken_to:
            self._say(pcm)
        self.parting = self._around.tasks.start(self._part(spoken_to), "end of a nurse's leg")

    async def leave(self) -> None:
        """The line closes: a leg that talks to the caller stays as it is, any other one goes now."""
        if not self.talks:
            over = self.stage is Stage.OVER and not self._dialling
            self.stage = Stage.OVER
            if not over:
                await self._remove()
        self._stop_timers()

    def left_alone(self) -> None:
        """Our own room is lost: who talks to the caller goes on without us. Whoever does not yet can still be released."""
        self._stop_timers()
        if self.stage is Stage.BRIDGED and self._joined:
            self.stage = Stage.ALONE

    def silence(self) -> "asyncio.Task[None] | None":
        """Say nothing more; returns the task that must end by itself."""
        if self._voice is not None:
            self._voice.end()
        return self._pusher

    async def close(self) -> None:
        """Give the track back, when its voice has ended; idempotent."""
        if (pusher := self.silence()) is not None:
            await asyncio.wait([pusher], timeout=END_S)
        if self._mouth is not None:
            await self._mouth.close()
            self._mouth = None

    # --- what the room tells

    def came(self) -> None:
        """Its participant is in the room (again)."""
        if self._return is not None:
            self._return.cancel()
            self._return = None
        if self.settled:
            self._put_out()
            return
        if self.stage is Stage.RINGING:
            self._around.tasks.start(self._deafen(), "hold")
        else:
            self.stir()
        self.published()
        self.follow(self._attributes().get(STATUS, ""))

    def follow(self, status: str) -> None:
        """Its `sip.callStatus` is this now."""
        if status == ACTIVE:
            self._picked_up()
        elif status == HANGUP and self.answered:
            self._lost()
        elif status == RINGING and self.stage is Stage.RINGING and not self._rang:
            self._rang = True
            self._report(SignalKind.RINGING)
            self._prepare()

    def went(self, reason: int | None) -> None:
        """Its participant has left the room, or was cut off."""
        if not self.answered:
            return
        if reason in LEFT:
            self._lost()
        elif self._return is None:
            self._wait_for_it()

    def cut_off(self) -> None:
        """We were: the SDK tells first that everybody is gone, then that it is we who are."""
        if self._return is not None:
            self._return.cancel()
            self._wait_for_it()

    def _wait_for_it(self) -> None:
        patience_s = ALL_RETURN_S if self._around.presence.cut_off else RETURN_S
        self._return = asyncio.get_running_loop().call_later(patience_s, self._stayed_away)

    def _stayed_away(self) -> None:
        self._return = None
        if self._around.presence.cut_off:
            self._wait_for_it()
        else:
            self._lost()

    def pressed(self, key: str) -> None:
        """A key of its telephone."""
        if self.stage is Stage.HELD and self._whispered and not self._accepted and key == ACCEPTING_KEY:
            self._accepted = True
            self._report(SignalKind.NURSE_KEY, key)

    def stir(self, for_s: float = HARD_FOR_S) -> None:
        """The nurse, the caller or we ourselves have come back into the room: hold her hard for a while."""
        self._hard_until_ns = max(self._hard_until_ns, self._around.clock.now_ns() + round(for_s * NS))
        self._stirred.set()

    def published(self) -> None:
        """Somebody in the room has a new track."""
        if not self._present():
            return
        if self.stage in (Stage.RINGING, Stage.HELD):
            self._around.tasks.start(self._separate_twice(), "hold")
        elif self.stage is Stage.BRIDGED:  # one of the two came back with a new track
            self._join()

    def heard(self, sid: str) -> None:
        """One of our tracks is being listened to."""
        if sid in self.tracks and self._open:
            self._can_hear.set()

    # --- dialling

    async def _dial(self) -> None:
        try:
            await self._around.signalling.dial(
                self._uri,
                self.identity,
                headers={PACKET_HEADER: self._code},
                answer_within_s=max(self._timeout_s - 1.0, 1.0),
            )
        except SignallingError as error:
            self._dialling = False
            if self.stage is Stage.RINGING:
                self._end(outcome_of(error, self.attempt, self._target))
        else:
            self._dialling = False
            self._picked_up()
        finally:
            self._dialling = False

    def _picked_up(self) -> None:
        if self.settled:
            self._put_out()
        elif self.stage is Stage.RINGING:
            self.stage = Stage.HELD
            self._stop_timers()
            self._report(SignalKind.ANSWERED)
            self._prepare()
            self._around.tasks.start(self._hold(), "hold")

    def _time_is_up(self) -> None:
        if self.stage is Stage.RINGING:
            self._end(LineSignal(SignalKind.TIMED_OUT, self.attempt, source="own clock"))

    def _lost(self) -> None:
        if self.answered:
            self._end(LineSignal(SignalKind.NURSE_LOST, self.attempt))

    def _end(self, signal: LineSignal) -> None:
        self.stage = Stage.OVER
        self._stop_timers()
        self._around.tasks.start(self._part(False), "end of a nurse's leg")
        self._around.report(signal)

    def _report(self, kind: SignalKind, value: str = "") -> None:
        self._around.report(LineSignal(kind, self.attempt, value))

    def _stop_timers(self) -> None:
        for timer in (self._timer, self._return):
            if timer is not None:
                timer.cancel()
        self._timer = self._return = None

    # --- apart and together

    async def _deafen(self) -> None:
        """Before the answer: it hears nobody, and nobody hears it."""
        async with self._turn:
            if self.stage is Stage.RINGING:
                self._permitted = False
                await self._ask(self._around.signalling.may_hear(self.identity, False))
        await self._separate_twice()

    async def _separate_twice(self) -> None:
        """Now, and once more when who has just come has asked to hear everybody."""
        await self._separate()
        await asyncio.sleep(SETTLE_S)
        await self._separate()

    async def _separate(self) -> None:
        """Take it out of everybody's ears, and everybody out of its own."""
        async with self._turn:
            if self.stage in (Stage.RINGING, Stage.HELD):
                await self._subscribe(self._others(), False)

    async def _hold(self) -> None:
        self.stir(ANSWERED_FOR_S)
        await self._separate_twice()
        opened = False
        while self.stage is Stage.HELD:
            if not opened:
                opened = await self._open_ear()
            hard = self._around.clock.now_ns() < self._hard_until_ns
            with suppress(TimeoutError):
                async with asyncio.timeout(HOLD_HARD_S if hard else HOLD_AGAIN_S):
                    await self._stirred.wait()
            self._stirred.clear()
            await self._separate()

    async def _open_ear(self) -> bool:
        """Let the held leg hear what is left to it, the whisper."""
        async with self._turn:
            if self.stage is not Stage.HELD:
                return True
            self._open = True
            opened = await self._permit()
            opened &= await self._ask(self._around.signalling.subscribe(self.identity, self.tracks, True))
        self._around.tasks.start(self._speak_when_heard(), "whisper")
        return opened

    async def _permit(self) -> bool:
        """Let it hear what it is subscribed to; says whether it may. A permission once given stays, whatever is said later."""
        self._permitted |= await self._ask(self._around.signalling.may_hear(self.identity, True))
        return self._permitted

    def _join_in_time(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(JOINED_WITHIN_S, self._not_joined)

    def _not_joined(self) -> None:
        if self._joined or self.stage is not Stage.BRIDGED:
            return
        if self._around.presence.cut_off or not any(self._callers()):  # who is away may still come back
            self._join_in_time()
            return
        log.error("nurse target %s: she accepted, but livekit-server does not join her to the caller", self._target)
        self._end(LineSignal(SignalKind.NURSE_LOST, self.attempt, source="own clock"))

    def _join(self) -> None:
        """Join nurse and caller, or join them again."""
        self._to_join = True
        if self._joining is None or self._joining.done():
            self._joining = self._around.tasks.start(self._keep_joining(), "bridge")

    async def _keep_joining(self) -> None:
        pauses = chain(JOIN_S, repeat(JOIN_AGAIN_S))
        while self._to_join:
            await asyncio.sleep(next(pauses))
            async with self._turn:
                if self.stage is not Stage.BRIDGED:
                    return
                self._to_join = False
                there = any(self._callers()) and bool(self._tracks_of(self._participant()))
                permitted = await self._permit()
                joined = await self._subscribe(self._callers(), True) and permitted and there
            self._to_join |= not joined
            if joined:
                self._joined = True
                if self._marking is None or self._marking.done():
                    self._marking = self._around.tasks.start(self._mark(), "bridge")

    async def _mark(self) -> None:
        while self.stage is Stage.BRIDGED:
            if await self._ask(self._around.signalling.mark(self.identity, {BRIDGED: "yes"})):
                return
            await asyncio.sleep(MARK_AGAIN_S)

    async def _subscribe(self, others: Iterable[Any], on: bool) -> bool:
        """Let it and others hear each other, or no longer; says whether livekit-server did it."""
        ours = self._tracks_of(self._participant())
        others = tuple(others)
        theirs = [sid for other in others for sid in self._tracks_of(other)]
        subscribe = self._around.signalling.subscribe
        asked = [subscribe(self.identity, theirs, on)] if theirs else []
        asked += [subscribe(other.identity, ours, on) for other in others if ours]
        return all(await asyncio.gather(*(self._ask(request) for request in asked)))

    async def _ask(self, request: Any) -> bool:
        try:
            await request
        except SignallingError as error:
            if error.kind is not Fault.GONE:
                log.warning("nurse's leg: livekit-server did not do it: %s", error.kind.value)
            return False
        return True

    # --- the word to the nurse

    def _prepare(self) -> None:
        """Somebody may hear us soon; a telephone that never rings costs no track."""
        if not self._preparing:
            self._preparing = True
            self._around.tasks.start(self._publish(), "whisper")

    async def _publish(self) -> None:
        try:
            mouth = await self._around.studio.publish(self.identity)
        except Unavailable:
            log.warning("nurse's leg: no track for the whisper")
            return
        self._mouth = mouth
        if self.stage is Stage.OVER:
            await self.close()
            return
        self._around.permit()
        self._voice = Voice(mouth.capture, self._around.clock)
        self._pusher = self._around.tasks.start(self._voice.push(), "voice for a nurse")
        self._flush()

    async def _speak_when_heard(self) -> None:
        try:
            async with asyncio.timeout(HEARD_WITHIN_S):
                await self._can_hear.wait()
        except TimeoutError:
            self._can_hear.set()
        self._flush()

    def _say(self, pcm: Pcm) -> None:
        self._to_say.append(pcm)
        self._flush()

    def _flush(self) -> None:
        if self._voice is not None and self._can_hear.is_set():
            for pcm in self._to_say:
                self._voice.say(pcm)
            self._to_say.clear()

    # --- the end

    async def _part(self, spoken_to: bool) -> None:
        if spoken_to:
            await self._speak_when_heard()
            if self._voice is not None:
                await asyncio.sleep(self._voice.queued() / RATE + TAIL_S)
        await self._remove()
        self.stage = Stage.OVER
        await self.close()

    def _put_out(self) -> None:
        """It came, or was answered, when nobody wanted it any more."""
        if not self.talks:
            self._around.tasks.start(self._remove(), "late nurse")

    async def _remove(self) -> None:
        """Put it out of the room; the SIP service hangs up, or stops ringing."""
        for pause_s in PUT_OUT_S:
            await asyncio.sleep(pause_s)
            if await ended(self._around.room, self.identity, self._around.signalling.remove) and not self._dialling:
                return

    # --- who is in the room

    def _participant(self) -> Any:
        return self._around.room.remote_participants.get(self.identity)

    def _present(self) -> bool:
        return self._participant() is not None

    def _attributes(self) -> dict[str, str]:
        there = self._participant()
        return dict(there.attributes) if there is not None else {}

    def _others(self) -> Iterator[Any]:
        for participant in tuple(self._around.room.remote_participants.values()):
            if participant.identity != self.identity and participant.kind != AGENT:
                yield participant

    def _callers(self) -> Iterator[Any]:
        return (other for other in self._others() if not other.identity.startswith(NURSE))

    @staticmethod
    def _tracks_of(participant: Any) -> list[str]:
        return [] if participant is None else [str(sid) for sid in participant.track_publications]
