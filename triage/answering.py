"""One telephone call in one process, from the room it rings in to the sealed record.

1. The room is noted as used, on disk, before anything else: a room that had a call of ours is rescued, never greeted.
2. The caller is found; a participant of the bench is refused where the profile is in earnest.
3. Everything that a call needs is ready (recogniser, nurse trunk) before the line is opened: opening it answers the call,
   and who is answered hears the greeting at once.
4. The record begins when the call is active. The caller's number comes on the side and goes into it sealed.

Nothing here imports LiveKit: rooms and lines come from outside, so that tests can bring their own.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from audit.folder import AuditFolder
from fsm import effects as fx
from fsm import events as ev
from fsm.events import Rung
from fsm.prompts import APOLOGY
from fsm.states import Declared, Reason, RungKind, State
from fsm.timers import CALLBACK_WITHIN_S
from triage.bench.mark import is_marked
from triage.call import Engines, Equipment, LiveCall, new_call_id
from triage.clock import Clock
from triage.config import Settings
from triage.errors import SettingError, StageError, StorageError, Unavailable
from triage.handoff.desk import FileDesk, Target
from triage.lines.livekit.rooms import ACTIVE, STATUS
from triage.once import Entered, UsedRooms, Visit
from triage.ports import FRAME, RATE, Line, Pcm, ShownNumber, SpeechToText
from triage.stages.pocketsphinx_stt import PocketsphinxSpeechToText
from triage.stages.reciting_stt import RecitingSpeechToText, read_script
from triage.stages.silero import SileroVoiceActivity
from triage.tools import FakeTools
from triage.trace import CallClosed, Paged, StepTaken, Trace
from triage.up.supervisor import leaf
from triage.watch import Watch

RESCUE = "rescue"
"""Dispatch metadata that sends us to a caller whose process died."""
CALLER_WITHIN_S = 10.0
"""Whoever rings is in the room within this, else nobody does, s."""
LOOK_EVERY_S = 0.02
HEARD_S = 0.2
"""What was said last is on its way for so long beyond the line's own delay, s."""
NUMBER_TRIES = 3
NUMBER_PAUSE_S = 0.5
IN_EARNEST = ("staging", "production")
APOLOGIES = (APOLOGY,)
LAST_WORDS = ("greeting_number", "goodbye")
"""What a caller hears to whom nobody else can be sent, before we hang up: the emergency number, and how to reach a nurse."""

log = logging.getLogger("triage.worker")


class TelephoneLine(Line, Protocol):
    """A line whose call rings until somebody opens it."""

    ours: bool
    """The caller's leg is with us: nobody has hung up, nobody has taken it."""

    async def open(self) -> None:
        """Offer our voice to the caller, at which the SIP service answers."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """The room of one call, and what can be asked there. From LiveKit; a test brings its own."""

    name: str
    enter: Callable[[], Awaitable[None]]
    """Go into the room. Raises Unavailable where it cannot be entered."""
    callers: Callable[[], Sequence[Any]]
    """Participants whose call came in by a dispatch rule: `identity`, `attributes`."""
    line: Callable[[str, Clock, FileDesk], Awaitable[TelephoneLine]]
    """The line to the caller of this identity."""
    number: Callable[[str], Awaitable[ShownNumber]]
    """The number that the network shows for this identity."""
    gone: Callable[[], bool]
    """We are out of the room."""
    rescue: Callable[[], Awaitable[None]]
    """Have another process sent here, and return when it is in the room. Raises Unavailable where none comes (seconds)."""
    orphaned: Callable[[], bool] = lambda: False
    """The worker is gone: who sends others comes again, and finds the caller."""


@dataclass(slots=True)
class Ready:
    """What one process has loaded for the one call it will carry."""

    settings: Settings
    engines: Engines
    folder: AuditFolder
    rooms: UsedRooms
    desk: FileDesk
    vad: SileroVoiceActivity
    tools: FakeTools
    watch: Watch
    live: LiveCall | None = field(default=None, init=False)
    """The call in progress."""
    ending: bool = field(default=False, init=False)
    """We must stop soon."""

    def recogniser(self, clock: Clock) -> SpeechToText:
        """A recogniser for one caller. A script is read anew for each call.

        Raises:
            SettingError: it can no longer be read.
        """
        if self.settings.stt == "scripted":
            return RecitingSpeechToText(script_of(self.settings))
        return PocketsphinxSpeechToText(busy=clock.busy_hook("recogniser"))

    def end(self) -> None:
        """We must stop soon: a caller in a call is brought to a nurse, one who rings is left to the carrier. In the loop."""
        self.ending = True
        if (call := self.live) is not None:
            log.warning("call %s: the worker ends, a nurse takes over", call.call_id)
            call.runtime.tell(ev.NurseNeeded(at_ns=call.clock.now_ns(), reason=Reason.STAGE_FAILED))


def script_of(settings: Settings) -> tuple[str, ...]:
    """What the scripted recogniser says; nothing where another listens.

    Raises:
        SettingError: the script is missing, or cannot be read.
    """
    if settings.stt != "scripted":
        return ()
    if settings.stt_script is None:
        raise SettingError("setting stt_script: is missing, and stt = scripted needs one on a telephone line")
    return read_script(settings.stt_script)


def desk_of(settings: Settings) -> FileDesk:
    """The nurse desk of the settings. Without a directory the bench's: a REFER to `line_nurse_address`, then a dialled leg.

    Raises:
        SettingError: the directory cannot be read, or a target is wrong.
    """
    if settings.nurse_directory is not None:
        return FileDesk.load(settings.nurse_directory, media_during_refer=settings.line_media_during_refer)
    uri = f"sip:nurse@{settings.line_nurse_address}"
    return FileDesk(
        (
            Target(Rung(kind=RungKind.REFER, target="nurse-queue", declared=Declared.QUEUE), uri),
            Target(Rung(kind=RungKind.DIAL, target="nurse", declared=Declared.PERSON, answer_within_s=15.0), uri),
        )
    )


def tools_of(settings: Settings) -> FakeTools:
    """The local tools, on a file of the data folder; in memory where that cannot be had, as a call needs none of them."""
    try:
        return FakeTools(settings.data_dir / "tools.db")
    except StorageError as error:
        log.warning("tools: %s; bookings of this process are in its record alone", error)
        return FakeTools()


def rooms_of(settings: Settings) -> UsedRooms:
    """Where used rooms are noted."""
    return UsedRooms(Path(settings.data_dir) / "line" / "rooms")


async def carry(ready: Ready, place: Place, *, rescue: bool = False) -> str:
    """Carry the call of this room to its end; returns how it went, in fixed wording.

    `rescue`: we were sent because the process before us died, or its call broke. What breaks after the call was answered
    is raised, when its record is sealed and its caller is with somebody else: another process, once, or the carrier.
    """
    clock = Clock()
    began_ns = clock.now_ns()
    entered = _entered(ready, place.name)
    try:
        if entered.visit is Visit.TAKEN and not rescue:
            return _said("a room that has its agent: left to that one")
        try:
            stt = ready.recogniser(clock)
        except SettingError as error:
            return _said(f"a call that was not answered: {error}", logging.ERROR)
        try:
            try:
                caller = await _found(place, stt)
            except StageError as error:
                return _said(f"a call that was not answered: {error}", logging.ERROR)
            if caller is None:
                return _said("a room without a caller: left")
            if ready.settings.profile in IN_EARNEST and is_marked(caller.attributes):
                words = f"a call of the bench under the profile {ready.settings.profile}: not answered"
                return _said(words, logging.ERROR)
            answered_before = caller.attributes.get(STATUS) == ACTIVE  # by another machine, whose rooms we cannot know
            if ready.ending:
                return _said("a call that still rang when the worker ended: left to the carrier", logging.WARNING)
            number = _Number(place, caller.identity)
            async with _beside(number.ask()):
                line = await _answered(place, caller.identity, ready, clock)
                if line is None:
                    return _said("a call that nobody answered in time, or that was given up", logging.WARNING)
                known = rescue or entered.visit is not Visit.FIRST or answered_before
                call = ready.live = _call(ready, line, stt, clock, known=known, began_ns=began_ns)
                entered.note(call.call_id)
                number.give_to(call)
                if ready.ending:  # said between the answer and here
                    asyncio.get_running_loop().call_soon(ready.end)
                try:
                    return (await call.live()).outcome
                except BaseException as error:  # whatever ended it: the record and the caller come first
                    log.error("call %s: broken off (%s)", call.call_id, type(leaf(error)).__name__)
                    call.break_off(alone=not _promised(call))  # nobody knows yet whether another process comes
                    if isinstance(error, Exception) and not place.orphaned():
                        await _hand_on(ready, place, line, call, rescued=rescue)
                    else:
                        await _left_behind(ready, line, call)
                    raise
        finally:
            await stt.close()
    finally:
        ready.live = None
        entered.leave()


async def _found(place: Place, stt: SpeechToText) -> Any:
    """The caller, once the recogniser is ready too; None where nobody came.

    Raises:
        StageError: recogniser or room cannot be had; who rings goes back to the carrier.
    """
    async with _beside(stt.start()) as starting:
        await place.enter()
        caller = await _caller(place)
        await starting
    return caller


async def _answered(place: Place, identity: str, ready: Ready, clock: Clock) -> TelephoneLine | None:
    """The line, once its caller can hear us; None where they were gone before."""
    line = await place.line(identity, clock, ready.desk)
    try:
        await line.open()
        await line.connect()
    except StageError as error:
        log.info("the call was not to be had: %s", error)
        await line.close()
        return None
    except asyncio.CancelledError:
        await _left_behind(ready, line)
        raise
    except BaseException:
        await line.close()
        raise
    return line


def _promised(call: LiveCall) -> bool:
    """A call-back for a caller who waits for a nurse and whom none has; those who must have one are not our business here."""
    now = call.runtime.call
    handoff = now.handoff
    reached = handoff.bridged or handoff.taken or any(attempt.person for attempt in handoff.open)
    if now.state is not State.HANDOFF or handoff.urgent or reached or now.callback:
        return False
    reason = handoff.reason or Reason.STAGE_FAILED
    try:
        call.nursing.open_callback(fx.OpenCallback(reason=reason, level=handoff.level, within_s=CALLBACK_WITHIN_S))
    except Exception as error:  # the record ends all the same
        log.error("call %s: no call-back could be promised (%s)", call.call_id, type(error).__name__)
        return False
    return True


async def _left_behind(ready: Ready, line: TelephoneLine, call: LiveCall | None = None) -> None:
    """Nobody can be sent now. A worker that is gone comes again, and looks. One that was told to end ends the call.

    A caller whom no nurse has then hears where to turn. `call`: where one was in progress.
    """
    line.drop()
    try:
        if not ready.ending:
            log.error("the worker is gone; the caller is left to the next one")
        elif call is not None and line.ours and not call.runtime.call.handoff.bridged:
            await _told(line, [call.engines.clips.clip(name).pcm for name in LAST_WORDS])
    finally:
        await line.close(keep_caller=not ready.ending)


async def _hand_on(ready: Ready, place: Place, line: TelephoneLine, call: LiveCall, *, rescued: bool) -> None:
    """The caller of a call that broke is not dropped: another process comes, once; else they hear where to turn. Never raises.

    `rescued`: we are that other process.
    """
    clips, talking = call.engines.clips, bool(call.runtime.call.handoff.bridged)
    apology, last_words = (
        [] if talking else [clips.clip(name).pcm for name in names] for names in (APOLOGIES, LAST_WORDS)
    )
    try:
        if not line.ours:
            return
        line.drop()
        if rescued:
            raise Unavailable("worker", "a rescue broke")
        async with _beside(_told(line, apology)):
            await place.rescue()
        log.warning("call %s: another process has its caller", call.call_id)
        await line.close(keep_caller=True)
    except asyncio.CancelledError:
        await _left_behind(ready, line, call)
        raise
    except Exception as error:  # nobody came, whatever kept them: then we say it
        log.error("call %s: nobody else comes to its caller (%s)", call.call_id, type(error).__name__)
        line.drop()
        await _told(line, last_words)
    finally:
        await line.close()


async def _told(line: TelephoneLine, sounds: Sequence[Pcm]) -> None:
    """Say something with nothing but the line, to its end. Never raises: what comes after it matters more."""
    try:
        for pcm in sounds:
            for at in range(0, len(pcm), FRAME):
                line.send(pcm[at : at + FRAME])
            await asyncio.sleep((len(pcm) + line.playout_delay) / RATE + HEARD_S)
    except Exception as error:  # the line itself is broken: nothing more can be said on it
        log.error("a caller cannot be told anything (%s)", type(error).__name__)


def _call(
    ready: Ready, line: TelephoneLine, stt: SpeechToText, clock: Clock, *, known: bool, began_ns: int
) -> LiveCall:
    settings = ready.settings
    call = LiveCall(
        new_call_id(clock.wall_ns()),
        ready.engines,
        Equipment(
            line=line,
            vad=ready.vad,
            stt=stt,
            desk=ready.desk,
            tools=ready.tools,
            media_during_refer=settings.line_media_during_refer,
            known=known,
        ),
        clock,
    )
    page = call.runtime.page
    call.observers.append(ready.watch.observer(page, allowance_ms=settings.allowance_ms("telephone")))
    call.observers.append(_Diary(call, clock, began_ns, known=known).observe)
    return call


class _Diary:
    """What the log says of a call: its id, times and codes, nothing of the caller's."""

    def __init__(self, call: LiveCall, clock: Clock, began_ns: int, *, known: bool) -> None:
        self._id, self._active_ns, self._greeted = call.call_id, clock.now_ns(), False
        ringing_ms = (self._active_ns - began_ns) / 1e6
        how = "rescued" if known else "answered"
        log.info("call %s %s %.0f ms after its job began", self._id, how, ringing_ms)

    def observe(self, trace: Trace) -> None:
        """Take one trace of the call."""
        match trace:
            case Paged(alarm=alarm):
                log.error("page %s call %s", alarm, self._id)
            case StepTaken(step=step) if isinstance(step.event, ev.PlayoutStarted) and not self._greeted:
                self._greeted = True
                log.info("call %s first sound %.0f ms after active", self._id, (trace.at_ns - self._active_ns) / 1e6)
            case CallClosed(outcome=outcome, counts=counts):
                log.info("call %s closed: %s, %d records", self._id, outcome, counts["records"])


def _entered(ready: Ready, room: str) -> Entered:
    try:
        return ready.rooms.enter(room)
    except OSError as error:  # a full disk must not leave a caller ringing
        log.error("the room cannot be noted (%s): a second job for it would greet again", error.strerror)
        return Entered(Visit.FIRST)


async def _caller(place: Place) -> Any:
    """Whoever rings; None where nobody came in time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(CALLER_WITHIN_S):
            while not place.gone():
                if found := place.callers():
                    return found[0]
                await asyncio.sleep(LOOK_EVERY_S)
    return None


class _Number:
    """The number goes from the network straight into the record; the log hears only where it could not be had."""

    def __init__(self, place: Place, identity: str) -> None:
        self._place, self._identity = place, identity
        self._number: ShownNumber | None = None
        self._call: LiveCall | None = None

    async def ask(self) -> None:
        """Ask the SIP service, while the telephone still rings."""
        for left in reversed(range(NUMBER_TRIES)):
            try:
                self._number = await self._place.number(self._identity)
            except Exception as error:  # the SDK's own; what it says may hold the identity
                if not left:
                    log.warning("the number of a call could not be had (%s)", type(error).__name__)
                await asyncio.sleep(NUMBER_PAUSE_S)
            else:
                self._pass_on()
                return

    def give_to(self, call: LiveCall) -> None:
        """The call whose record it belongs to."""
        self._call = call
        self._pass_on()

    def _pass_on(self) -> None:
        if self._call is not None and self._number is not None:
            self._call.note_number(self._number.number, withheld=self._number.withheld)


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator["asyncio.Task[None]"]:
    """Run something beside the block, for no longer than it lasts. What either raises comes out as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(work)
            try:
                yield task
            finally:
                task.cancel()
    except BaseExceptionGroup as raised:
        raise raised.exceptions[0] from None


def _said(words: str, level: int = logging.INFO) -> str:
    log.log(level, "%s", words)
    return words
