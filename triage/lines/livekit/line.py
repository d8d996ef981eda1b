"""A caller's leg in a LiveKit room, as a `ports.Line`.

The room is connected by whoever makes the line. What is heard and said goes over rtc tracks, signalling over
livekit-server's API. What the server tells is not always what happened; this is how it is read:

- The caller has hung up when their participant leaves or its `sip.callStatus` says so, whichever comes first. A
  participant that was cut off rather than left may come back within `RETURN_S`: a server that restarts loses nobody
  whose leg still stands. When our own room is lost for good the leg is over for us; a nurse who talks to the caller
  goes on doing so.
- A REFER has succeeded when the API says so *and* the caller's leg is still there `PROOF_S` later: the SIP service keeps
  it for a second, while a caller who hangs up in mid-transfer is reported as a success too. What cannot be told apart is
  told as unknown (TIMED_OUT), never as answered.
- Nobody tells Python of a REFER's 202 or of ringing, so ACCEPTED and RINGING are never told of one.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from secrets import token_hex
from typing import Any

from fsm.events import Rung
from fsm.states import RungKind
from triage.clock import Clock
from triage.errors import TimedOut, TriageError, Unavailable
from triage.lines.livekit.ending import end
from triage.lines.livekit.headers import PACKET_HEADER
from triage.lines.livekit.nurse_leg import Around, NurseLeg, Presence
from triage.lines.livekit.outcomes import GONE, NOT_FOUND, outcome_of
from triage.lines.livekit.rooms import ACTIVE, BRIDGED, HANGUP, LEFT, NURSE, SIP, STATUS
from triage.lines.livekit.signalling import Signalling, SignallingError
from triage.lines.livekit.sound import Hearing, Voice
from triage.lines.livekit.studio import Mouth, RtcStudio, Studio
from triage.lines.livekit.tasks import Tasks
from triage.ports import FRAME, Frame, LineSignal, Pcm, SignalKind

log = logging.getLogger("triage.lines.livekit")

ACTIVE_WITHIN_S = 30.0
"""A call whose voice we took is answered within this, or never."""
RETURN_S, ALL_RETURN_S = 5.0, 15.0
"""A caller who was cut off from the room, and did not leave it, may come back within this; longer when we all were."""
PROOF_S = 0.3
"""A caller whose leg stands this long after a REFER's success was really transferred."""
CLOSE_S = 8.0
"""Closing waits for nobody longer than this, a server that is gone included."""
LAST_WORD_S = 6.0
"""A nurse who is being told that she is not needed is told it to the end, within this."""
EVENTS = (
    "participant_connected",
    "participant_disconnected",
    "participant_attributes_changed",
    "track_published",
    "track_subscribed",
    "track_unsubscribed",
    "sip_dtmf_received",
    "local_track_subscribed",
    "local_track_republished",
    "reconnecting",
    "reconnected",
    "disconnected",
)


class LiveKitLine:
    """One call; a `ports.Line`."""

    playout_delay = 1280
    """80 ms from `send` to the caller's phone: p50 as measured (`python -m tests.line.line_delay`), of which 10 are the
    block that waits until it is complete; the rest is Opus, its network buffer and RTP."""

    def __init__(
        self,
        room: Any,
        caller: str,
        *,
        signalling: Signalling,
        clock: Clock,
        address_of: Callable[[str], str],
        studio: Studio | None = None,
        series: str = "",
    ) -> None:
        """`room` is a connected rtc.Room, `caller` the identity of the caller's participant in it.

        `address_of` gives the SIP or tel URI of a target of the nurse directory, or raises a TriageError. `series` keeps
        the legs that we dial apart from those of a process before us, whose end may still be on its way.
        """
        self._room, self._caller, self._signalling, self._clock = room, caller, signalling, clock
        self._address_of, self._series = address_of, series
        self._studio: Studio = studio or RtcStudio(room)
        self._tasks = Tasks(self._broke)
        self._hearing = Hearing(clock)
        self._signals: asyncio.Queue[LineSignal | None] = asyncio.Queue()
        self._signals_ended = False
        self._mouth: Mouth | None = None
        self._voice: Voice | None = None
        self._pusher: asyncio.Task[None] | None = None
        self._listener: asyncio.Task[None] | None = None
        self._answered = asyncio.Event()
        self._ended = asyncio.Event()
        self._return: asyncio.TimerHandle | None = None
        self._attempts: set[int] = set()
        self._referring = False
        self._legs: dict[int, NurseLeg] = {}
        self._presence = Presence()
        self._around = Around(
            room, self._studio, signalling, self._tasks, clock, self._report, self._permit, self._presence
        )
        self._closed = False
        self._standing_by = False
        """A nurse has the caller, whom somebody before us joined; we hear and say nothing."""
        self.ours = True
        """The caller's leg is with us: nobody has hung up, nobody has taken it."""
        self._handlers = {name: self._guarded(name, getattr(self, f"_on_{name}")) for name in EVENTS}
        for name, handler in self._handlers.items():
            room.on(name, handler)

    # --- the caller's leg

    async def open(self) -> None:
        """Publish our voice for the caller alone; only then does the SIP service answer the call.

        Legs that somebody before us dialled and left behind, ringing or held, are put out. Where a nurse has the caller
        already, the two are left alone, unheard, for as long as she is there: this returns when the caller is alone.

        Raises:
            Unavailable: the room does not take our voice, or a nurse had the caller until they hung up.
        """
        others = [one for one in self._room.remote_participants.values() if one.identity.startswith(NURSE)]
        if others:
            self._series = self._series or token_hex(2)
        for other in others:
            if BRIDGED not in other.attributes:
                self._tasks.start(end(self._room, other.identity, self._signalling.remove), "leg left behind")
        for other in others:
            if BRIDGED in other.attributes:
                await self._until_alone(other)
        self._studio.permit({self._caller: None})
        self._mouth = await self._studio.publish("agent")
        self._permit()
        self._voice = Voice(self._mouth.capture, self._clock)
        self._pusher = self._tasks.start(self._voice.push(), "voice")
        caller = self._room.remote_participants.get(self._caller)
        if caller is None:
            self._leg_ended("carrier")
            return
        for publication in tuple(caller.track_publications.values()):
            self._on_track_published(publication, caller)
            if publication.track is not None:
                self._on_track_subscribed(publication.track, publication, caller)
        # A caller in a browser has no telephone that is answered later.
        self._status(caller.attributes.get(STATUS, "" if caller.kind == SIP else ACTIVE))

    async def _until_alone(self, nurse: Any) -> None:
        """Stand by as the silent controller of a bridge that somebody else made, until one of the two is gone."""
        log.warning("a nurse has the caller already: standing by")
        self._standing_by = True
        lost = asyncio.Event()
        around = replace(self._around, report=lambda _: lost.set())
        leg = self._legs[0] = NurseLeg(0, nurse.identity, "", "", "", 0.0, around)
        leg.take_over()
        if self._caller not in self._room.remote_participants:
            self._leg_ended("carrier")
        gone = [asyncio.ensure_future(event.wait()) for event in (lost, self._ended)]
        try:
            await asyncio.wait(gone, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiting in gone:
                waiting.cancel()
        if self._presence.lost:
            raise Unavailable("line", "our own room was lost while a nurse had the caller")
        if not self.ours:
            leg.release()
            raise Unavailable("line", "a nurse had the caller to the end")
        log.warning("the nurse is gone: the caller is ours")
        del self._legs[0]
        self._standing_by = False

    async def connect(self) -> None:
        """Wait until the call is answered; position 0 is then. After `open`.

        Raises:
            Unavailable: the caller was gone before.
            TimedOut: the SIP service never answered it.
        """
        try:
            async with asyncio.timeout(ACTIVE_WITHIN_S):
                await self._answered.wait()
        except TimeoutError:
            raise TimedOut("line", "never active") from None
        if not self.ours:
            raise Unavailable("line", "caller gone")
        self._hearing.begin()

    def frames(self) -> AsyncIterator[Frame]:
        """The caller's frames, in order and in step with time; silence where nothing comes.

        Raises:
            Unavailable: this line broke; its signals go on.
        """
        return self._hearing.frames()

    async def signals(self) -> AsyncIterator[LineSignal]:
        """What caller, carrier and nurses do."""
        while (signal := await self._signals.get()) is not None:
            yield signal

    def send(self, pcm: Pcm) -> None:
        """Sound for the caller.

        Raises:
            ValueError: more than FRAME samples.
        """
        if len(pcm) > FRAME:
            raise ValueError(f"a frame has at most {FRAME} samples, not {len(pcm)}")
        if self._voice is not None:
            self._voice.say(pcm)

    def queued(self) -> int:
        """Samples accepted whose time has not come (or, once the leg has ended, never will)."""
        return 0 if self._voice is None else self._voice.queued()

    def drop(self) -> int:
        """Forget them."""
        return 0 if self._voice is None else self._voice.drop()

    async def hang_up(self) -> None:
        """Put down our end; the caller's leg is gone."""
        if not self.ours:
            return
        self._leg_ended("own clock")
        await end(self._room, self._caller, self._signalling.end_call)

    async def close(self, *, keep_caller: bool = False) -> None:
        """Free everything, and put out whom nobody needs any more; idempotent, never raises.

        A caller who is kept stands in the room, in silence, for whoever comes next.
        """
        if self._closed:
            return
        self._closed = True
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._let_go(keep_caller=keep_caller)
        for name, handler in self._handlers.items():
            with suppress(Exception):
                self._room.off(name, handler)
        if self._return is not None:
            self._return.cancel()
        self._hearing.end()
        self._end_signals()
        if self._voice is not None:
            self._voice.end()
        pushers = [self._pusher, *(leg.silence() for leg in self._legs.values())]
        await self._tasks.end(spare={task for task in pushers if task is not None})
        for leg in self._legs.values():
            await leg.close()
        if self._mouth is not None:
            await self._mouth.close()

    async def _let_go(self, *, keep_caller: bool) -> None:
        """End the legs that need us. Nurse and caller who talk to each other do not."""
        parting = [leg.parting for leg in self._legs.values() if leg.parting is not None]
        if parting:
            await asyncio.wait(parting, timeout=LAST_WORD_S)
        bridged = any(leg.talks for leg in self._legs.values())
        work = [leg.leave() for leg in self._legs.values()] + ([] if bridged or keep_caller else [self.hang_up()])
        for gone in await asyncio.gather(*work, return_exceptions=True):
            if isinstance(gone, Exception):
                log.error("line: closing broke: %s", type(gone).__name__)

    # --- nurses

    def transfer(self, attempt: int, rung: Rung, *, code: str, timeout_s: float) -> None:
        """Start one attempt; what comes of it comes as signals. An attempt that exists is not started again."""
        if attempt in self._attempts or self._closed:
            return
        self._attempts.add(attempt)
        uri = None
        if rung.kind is not RungKind.DESK:  # a desk is reached by its packets, not by this line
            try:
                uri = self._address_of(rung.target)
            except TriageError:
                log.error("nurse directory: no target %s", rung.target)
        if uri is None:
            self._refuse(attempt, NOT_FOUND)
        elif not self.ours:
            self._refuse(attempt, GONE)
        elif rung.kind is RungKind.DIAL:
            identity = f"{NURSE}{attempt}_{self._series}".rstrip("_")
            leg = self._legs[attempt] = NurseLeg(attempt, identity, rung.target, uri, code, timeout_s, self._around)
            leg.start()
        elif self._referring:
            self._signal(LineSignal(SignalKind.PENDING, attempt, source="own clock"))
        else:
            self._referring = True
            self._tasks.start(self._refer(attempt, rung.target, uri, code, timeout_s), "transfer")

    def whisper(self, attempt: int, pcm: Pcm) -> None:
        """Say one line to a held nurse, and to nobody else; from then on her key is told."""
        if attempt in self._legs:
            self._legs[attempt].whisper(pcm)

    def bridge(self, attempt: int) -> None:
        """Let nurse and caller hear each other; ignored when one of them is not there."""
        if attempt in self._legs and self.ours:
            self._legs[attempt].bridge()

    def release(self, attempt: int, pcm: Pcm | None = None) -> None:
        """End a dialled leg, after a word to it where given. A REFER cannot be taken back: ignored."""
        if attempt in self._legs:
            self._legs[attempt].release(pcm)
            self._end_signals_when_settled()

    def _refuse(self, attempt: int, status: str) -> None:
        self._signal(LineSignal(SignalKind.REFUSED, attempt, status, source="own clock"))

    # --- REFER

    async def _refer(self, attempt: int, target: str, uri: str, code: str, timeout_s: float) -> None:
        signal = LineSignal(SignalKind.TIMED_OUT, attempt)
        try:
            signal = await self._referred(attempt, target, uri, code, timeout_s)
        finally:  # also when this breaks: nobody waits for an outcome for ever
            self._referring = False
            if signal.takes_caller:
                self._lose_leg()
            self._report(signal)

    async def _referred(self, attempt: int, target: str, uri: str, code: str, timeout_s: float) -> LineSignal:
        unknown = LineSignal(SignalKind.TIMED_OUT, attempt)
        try:
            async with asyncio.timeout(timeout_s):
                proven = await self._signalling.refer(
                    self._caller, uri, headers={PACKET_HEADER: code}, answer_within_s=max(timeout_s - 1.0, 1.0)
                )
        except TimeoutError:
            return LineSignal(SignalKind.TIMED_OUT, attempt, source="own clock")
        except SignallingError as error:
            return outcome_of(error, attempt, target)
        if self.ours and not proven:
            with suppress(TimeoutError):
                async with asyncio.timeout(PROOF_S):
                    await self._ended.wait()
        if not self.ours:
            log.warning("transfer to %s: reported as done, but the caller's leg had ended: outcome unknown", target)
            return unknown
        return LineSignal(SignalKind.ANSWERED, attempt, takes_caller=True)

    # --- what the room tells

    def _on_participant_connected(self, participant: Any) -> None:
        if participant.identity == self._caller:
            if self._return is not None:
                self._return.cancel()
                self._return = None
            self._stir()
            self._status(participant.attributes.get(STATUS, ""))
        elif (leg := self._leg_of(participant)) is not None:
            leg.came()

    def _on_participant_disconnected(self, participant: Any) -> None:
        if (leg := self._leg_of(participant)) is not None:
            leg.went(participant.disconnect_reason)
        if participant.identity != self._caller:
            return
        if participant.disconnect_reason in LEFT:
            self._leg_ended("carrier")
        elif self._return is None and self.ours:
            log.warning("the caller's leg was cut off from the room; waiting for it")
            self._wait_for_caller()

    def _wait_for_caller(self) -> None:
        self._return = asyncio.get_running_loop().call_later(
            ALL_RETURN_S if self._presence.cut_off else RETURN_S, self._stayed_away
        )

    def _stayed_away(self) -> None:
        self._return = None
        if self._presence.cut_off:  # as long as we are away ourselves nobody knows who is there
            self._wait_for_caller()
        else:
            self._leg_ended("own clock")

    def _on_participant_attributes_changed(self, changed: dict[str, str], participant: Any) -> None:
        if STATUS not in changed:
            return
        if participant.identity == self._caller:
            self._status(changed[STATUS])
        elif (leg := self._leg_of(participant)) is not None:
            leg.follow(changed[STATUS])

    def _on_track_published(self, publication: Any, participant: Any) -> None:
        wanted = participant.identity == self._caller and not self._standing_by
        if bool(publication.subscribed) is not wanted:
            publication.set_subscribed(wanted)
        for leg in self._legs.values():
            leg.published()

    def _on_track_subscribed(self, track: Any, publication: Any, participant: Any) -> None:
        if participant.identity != self._caller or self._standing_by:
            publication.set_subscribed(False)
            return
        if self._listener is not None:
            self._listener.cancel()
        self._listener = self._tasks.start(self._listen(track), "ear")

    def _on_track_unsubscribed(self, track: Any, publication: Any, participant: Any) -> None:
        if participant.identity == self._caller and self._listener is not None:
            self._listener.cancel()
            self._listener = None

    def _on_sip_dtmf_received(self, key: Any) -> None:
        if key.participant is None:
            return
        if key.participant.identity == self._caller and self.ours:
            self._signal(LineSignal(SignalKind.KEY, value=key.digit))
        elif (leg := self._leg_of(key.participant)) is not None:
            leg.pressed(key.digit)

    def _on_local_track_subscribed(self, track: Any) -> None:
        for leg in self._legs.values():
            leg.heard(str(track.sid))

    def _on_local_track_republished(self, *_: Any) -> None:
        self._permit()

    def _on_reconnecting(self) -> None:
        self._presence.cut_off = True
        for leg in self._legs.values():
            leg.cut_off()
        if self._return is not None:
            self._return.cancel()
            self._wait_for_caller()

    def _on_reconnected(self) -> None:
        self._presence.cut_off = False
        self._permit()
        self._stir()
        caller = self._room.remote_participants.get(self._caller)
        if caller is not None and not self._standing_by:  # a new server may know of no wish of ours
            for publication in tuple(caller.track_publications.values()):
                publication.set_subscribed(True)

    def _on_disconnected(self, *_: Any) -> None:
        if self.ours and not self._closed:
            log.error("our own room is lost; the call is over for us")
        self._presence.cut_off, self._presence.lost = False, True
        for leg in self._legs.values():
            leg.left_alone()
        self._leg_ended("own clock")

    async def _listen(self, track: Any) -> None:
        async for pcm in self._studio.listen(track):
            self._hearing.take(pcm)

    def _permit(self) -> None:
        if self._mouth is not None:
            ears = {leg.identity: leg.tracks for leg in self._legs.values() if not leg.settled and leg.tracks}
            self._studio.permit({self._caller: (self._mouth.sid,), **ears})

    def _stir(self) -> None:
        for leg in self._legs.values():
            leg.stir()

    def _leg_of(self, participant: Any) -> NurseLeg | None:
        return next((leg for leg in self._legs.values() if leg.identity == participant.identity), None)

    def _status(self, status: str) -> None:
        if status == ACTIVE:
            self._answered.set()
        elif status == HANGUP:
            self._leg_ended("carrier")

    # --- the end of the leg

    def _leg_ended(self, source: str) -> None:
        """The caller's leg with us is over, because somebody hung up."""
        if self.ours:
            self._lose_leg()
            self._signal(LineSignal(SignalKind.HUNG_UP, source=source))
            self._end_signals_when_settled()

    def _lose_leg(self) -> None:
        self.ours = False
        self._ended.set()
        self._answered.set()
        self._hearing.end()
        if self._voice is not None:
            self._voice.freeze()

    def _report(self, signal: LineSignal) -> None:
        """A signal of an attempt; it may be the last one."""
        self._signal(signal)
        self._end_signals_when_settled()

    def _signal(self, signal: LineSignal) -> None:
        if not self._signals_ended:
            self._signals.put_nowait(signal)

    def _end_signals_when_settled(self) -> None:
        if not self.ours and not self._referring and all(leg.settled for leg in self._legs.values()):
            self._end_signals()

    def _end_signals(self) -> None:
        if not self._signals_ended:
            self._signals_ended = True
            self._signals.put_nowait(None)

    # --- what breaks

    def _guarded(self, name: str, handler: Callable[..., None]) -> Callable[..., None]:
        """The SDK only logs what a handler lets escape, with the event's text in it; here the line fails instead."""

        def guarded(*told: Any) -> None:
            try:
                handler(*told)
            except Exception as error:  # the SDK would only log it
                self._broke(name, error)

        return guarded

    def _broke(self, name: str, error: Exception) -> None:
        log.error("line: %s broke: %s", name, type(error).__name__)
        self._hearing.fail(Unavailable("line", "broke"))
