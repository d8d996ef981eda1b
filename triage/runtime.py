"""Carry out what the machine orders: one inbox, one loop, one `match` over effects.

- Events are stepped the moment they are told, in order, on the call's own loop: from an urgent final to the first clip
  sample there is no queue and no await.
- **Safety effects act at once.** Every other effect waits until the Step that ordered it is durable, at most
  `durable_wait_s`; then it goes on anyway (the spool has the Step).
- An effect that breaks becomes `EffectFailed`. If `step` itself raises there is exactly one answer, `triage.last_ladder`:
  the recorded apology, then every rung in turn, with no machine. A second failure ends the call's process, and not the
  caller's leg: `run` raises, and whoever made the line decides who has the caller next.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from fsm import effects as fx
from fsm import events as ev
from fsm.alarms import CALLBACK_LOST
from fsm.call import Call
from fsm.machine import Step, step
from fsm.plans_end import owed_callback
from fsm.states import Phase, Reason, State, TimerName
from fsm.timers import SECONDS
from triage.clips import ClipLibrary
from triage.clock import Clock
from triage.echo import EchoTap
from triage.errors import StageError
from triage.last_ladder import LastLadder
from triage.line_events import event_of
from triage.listening import Listening
from triage.playout import Playout
from triage.ports import Line, LineSignal, NurseDesk, Receipt, SignalKind
from triage.trace import Noted, Observer, Paged, StepTaken, Trace
from triage.watch import INBOX_FULL, MACHINE_FAILED

PROMPTS_JOINED_BY = "+"
"""Joins the ids of a playback that is made of several clips."""
INBOX = 1000
"""Events waiting at most; judged facts only, so this is never reached by a call that makes sense."""


class Record(Protocol):
    """Where Steps go. Never blocks, never raises."""

    def step(self, step: Step) -> Receipt:
        """Write one Step; the receipt tells when it is durable."""
        ...

    def note_error(self, where: str, code: str) -> None:
        """Write that something broke."""
        ...


class Speaking(Protocol):
    """Replies and voice: everything that makes sentences and sound."""

    def make(self, order: fx.MakeReply) -> None:
        """Start a reply; its sentences come back as events."""
        ...

    def cancel(self, generation: int) -> None:
        """Cancel the request of this generation."""
        ...

    def speak(self, order: fx.Speak) -> None:
        """Put one sentence into the lane, streaming."""
        ...

    def close(self, generation: int) -> None:
        """Close the voice of this generation."""
        ...

    def truncate(self, generation: int) -> None:
        """Cut history to what was audible."""
        ...

    def detach_tools(self) -> None:
        """Let an irreversible write run on by itself."""
        ...


class Nursing(Protocol):
    """Packet, whisper, call-back: the parts of a hand-off that are not signalling."""

    def send_packet(self, order: fx.SendPacket) -> None:
        """Make or renew the packet."""
        ...

    def told(self, prompts: tuple[str, ...]) -> None:
        """The caller is being told this on the way to a nurse."""
        ...

    def open_callback(self, order: fx.OpenCallback) -> None:
        """Open a call-back task."""
        ...

    def follow(self, signal: LineSignal, at_ns: int) -> None:
        """Mark the hand-off clock."""
        ...

    def sent(self, order: fx.Transfer, at_ns: int) -> None:
        """A transfer was asked for."""
        ...

    @property
    def code(self) -> str:
        """Opaque code of this call's packet."""
        ...


@dataclass(slots=True)
class Rooms:
    """What one call is made of."""

    line: Line
    outlet: EchoTap
    playout: Playout
    listening: Listening
    speaking: Speaking
    nursing: Nursing
    clips: ClipLibrary
    desk: NurseDesk
    record: Record
    clock: Clock
    observers: list[Observer] = field(default_factory=list)
    durable_wait_s: float = 0.05
    media_during_refer: bool = True
    """False where the carrier holds the caller, deaf to us, while it refers them."""


class Runtime:
    """One call's loop."""

    def __init__(self, rooms: Rooms, *, seal: Callable[[Call], Awaitable[None]]) -> None:
        self._rooms, self._seal = rooms, seal
        self.call = Call()
        self._inbox: deque[ev.Event] = deque()
        self._stepping = False
        self._timers: dict[TimerName, asyncio.TimerHandle] = {}
        self._later: asyncio.Queue[tuple[Receipt, fx.Effect]] = asyncio.Queue()
        self._group: asyncio.TaskGroup | None = None
        self._sealed = asyncio.Event()
        self._last: LastLadder | None = None
        self._last_tasks: list[asyncio.Task[None]] = []
        self._broken: Exception | None = None
        self._drained = asyncio.Event()
        """The last words were judged; told where no machine hears it."""
        self._ending = self._closing = False
        self.ended_ns = 0
        """When the caller had gone (or was gone from us); 0 while the call lives."""
        self.pauses = 0
        """Times our playout was held for a sound of the caller's."""
        self.false_pauses = 0
        """Of those, how often it was for nothing."""

    # --- events

    def now_ns(self) -> int:
        """The call's monotonic clock."""
        return self._rooms.clock.now_ns()

    def tell(self, event: ev.Event) -> None:
        """Hand the machine one event; it is stepped at once unless a step is already under way."""
        if len(self._inbox) >= INBOX:
            self.page(INBOX_FULL)
            return
        self._inbox.append(event)
        if self._stepping:
            return
        self._stepping = True
        try:
            while self._inbox:
                self._step(self._inbox.popleft())
        finally:
            self._stepping = False

    def _step(self, event: ev.Event) -> None:
        if self._last is not None:
            self._without_machine(event)
            return
        try:
            self._decided(event, step(self.call, event))
        except Exception as error:  # the machine itself is broken: a nurse is rung without it
            self._start_last_ladder(error, event)

    def _decided(self, event: ev.Event, decided: Step) -> None:
        receipt = self._rooms.record.step(decided)
        self.call = decided.after
        if decided.after.phase is Phase.ENDED and not self.ended_ns:
            self.ended_ns = event.at_ns
        self._count_pauses(decided)
        for effect in decided.effects:
            if effect.safety:
                self._carry_out(effect)
            else:
                self._later.put_nowait((receipt, effect))
        self.observe(StepTaken(at_ns=event.at_ns, step=decided))

    def _count_pauses(self, decided: Step) -> None:
        if any(isinstance(effect, fx.PausePlayout) for effect in decided.effects):
            self.pauses += 1
        if any(isinstance(effect, fx.ResumePlayout) for effect in decided.effects):
            self.false_pauses += 1

    # --- effects

    def _carry_out(self, effect: fx.Effect) -> None:
        try:
            self._execute(effect)
        except StageError as error:
            self._failed(effect, error.stage, error.code)
        except Exception as error:  # an order that breaks is an event, never the end of the call
            self._failed(effect, "runtime", type(error).__name__)

    def _failed(self, effect: fx.Effect, stage: str, code: str) -> None:
        self._rooms.record.note_error(type(effect).__name__, code)
        self.observe(Noted(at_ns=self.now_ns(), text=f"{type(effect).__name__} failed: {stage} {code}"))
        self.tell(
            ev.EffectFailed(
                at_ns=self.now_ns(),
                effect=type(effect).__name__,
                stage=stage,
                generation=getattr(effect, "generation", 0),
                playback=getattr(effect, "playback", 0),
                attempt=getattr(effect, "attempt", 0),
            )
        )

    def _execute(self, effect: fx.Effect) -> None:
        rooms = self._rooms
        match effect:
            case fx.Play():
                self._play(effect)
            case fx.Speak():
                rooms.speaking.speak(effect)
            case fx.PausePlayout():
                rooms.playout.pause()
            case fx.ResumePlayout():
                rooms.playout.resume()
            case fx.FlushPlayout():
                rooms.playout.flush(through=self.call.flushed)
            case fx.MakeReply():
                rooms.speaking.make(effect)
            case fx.CancelReply():
                rooms.speaking.cancel(effect.generation)
            case fx.CloseSpeech():
                rooms.speaking.close(effect.generation)
            case fx.TruncateHistory():
                rooms.speaking.truncate(effect.generation)
            case fx.DetachTools():
                rooms.speaking.detach_tools()
            case fx.JudgeSpeech():
                rooms.listening.judge_speech()
            case fx.StartTimer():
                self._start_timer(effect)
            case fx.CancelTimer():
                self._cancel_timer(effect.name)
            case fx.Transfer():
                self._transfer(effect)
            case fx.SendPacket():
                rooms.nursing.send_packet(effect)
            case fx.Whisper():
                rooms.line.whisper(effect.attempt, rooms.clips.clip("nurse_whisper").pcm)
            case fx.Bridge():
                rooms.listening.deaf = True
                rooms.line.bridge(effect.attempt)
            case fx.Listen():
                rooms.listening.listen_again()
            case fx.ReleaseNurse():
                rooms.line.release(effect.attempt, rooms.clips.clip("nurse_released").pcm if effect.told else None)
            case fx.CancelTransfers():
                for attempt in range(1, self.call.handoff.attempts + 1):
                    rooms.line.release(attempt)
            case fx.HangUp():
                self._spawn(rooms.line.hang_up(), effect)
            case fx.DrainTail():
                rooms.listening.drain()
            case fx.Seal():
                rooms.listening.give_up_draining()
                self._spawn(self._close(), effect)
            case fx.OpenCallback():
                rooms.nursing.open_callback(effect)
            case fx.Page():
                self.page(effect.alarm)
            case _:
                raise AssertionError(f"no way to carry out {type(effect).__name__}")

    def _play(self, order: fx.Play) -> None:
        """Variants of one prompt take turns, so that an acknowledgement does not sound like a machine's."""
        library = self._rooms.clips
        variants = [library.variants(prompt) or (prompt,) for prompt in order.prompts]
        clips = [library.clip(ids[order.playback % len(ids)]) for ids in variants]
        name = PROMPTS_JOINED_BY.join(clip.id for clip in clips)
        if self.call.state is State.HANDOFF:
            self._rooms.nursing.told(order.prompts)
        for clip in clips:
            self._rooms.playout.append(
                order.playback, clip.pcm, text=clip.text, words=clip.words, prompt=name, last=clip is clips[-1]
            )

    def _transfer(self, order: fx.Transfer) -> None:
        rung = ev.Rung(kind=order.kind, target=order.target, answer_within_s=order.answer_within_s)
        self._rooms.line.transfer(
            order.attempt, rung, code=self._rooms.nursing.code, timeout_s=order.answer_within_s + 1.0
        )
        self._rooms.nursing.sent(order, self.now_ns())

    def _start_timer(self, order: fx.StartTimer) -> None:
        self._cancel_timer(order.name)
        loop = asyncio.get_running_loop()
        self._timers[order.name] = loop.call_later(order.seconds, self._timer_fired, order.name, order.token)

    def _cancel_timer(self, name: TimerName) -> None:
        if (handle := self._timers.pop(name, None)) is not None:
            handle.cancel()

    def _timer_fired(self, name: TimerName, token: int) -> None:
        self._timers.pop(name, None)
        self.tell(ev.TimerFired(at_ns=self.now_ns(), name=name, token=token))

    def page(self, alarm: str) -> None:
        """Wake somebody; written down and shown, never waited for."""
        self._rooms.record.note_error("page", alarm)
        self.observe(Paged(at_ns=self.now_ns(), alarm=alarm))

    def observe(self, trace: Trace) -> None:
        """Show one trace to every observer; an observer that raises is removed."""
        for observer in tuple(self._rooms.observers):
            try:
                observer(trace)
            except Exception:  # an observer's own trouble: it is asked no more
                self._rooms.observers.remove(observer)
                self._rooms.record.note_error("observer", "raised")

    # --- the loop

    async def run(self, connected: Callable[[], ev.CallConnected]) -> Call:
        """Live through one call, from answering the line to the sealed record; returns the last state, the line closed.

        Raises:
            Exception: it broke, the last ladder included.
            CancelledError: it was cut off. Either way the line is left as it is, with the caller in it: the record is sealed
                first, and a line that closes may wait for a server that is gone.
        """
        rooms = self._rooms
        await rooms.line.connect()
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                work = [
                    group.create_task(self._guard(rooms.playout.run(), "Play", "line")),
                    group.create_task(self._guard(self._hear(), "Transcribe", "stt")),
                    group.create_task(self._guard(self._follow_line(), "Play", "line")),
                    group.create_task(self._guard(rooms.listening.read_transcripts(), "Transcribe", "stt")),
                    group.create_task(self._carry_out_later()),
                ]
                self.tell(connected())
                await self._sealed.wait()
                if self._broken is not None:
                    raise self._broken
                for task in (*work, *self._last_tasks):
                    task.cancel()
        except BaseException as error:
            while not self._later.empty():
                self._keep_promise(self._later.get_nowait()[1])
            if isinstance(error, Exception):
                self._let_nurses_go(but=self.call.handoff.bridged)  # one who has the caller keeps them
            raise
        finally:
            for name in tuple(self._timers):
                self._cancel_timer(name)
        await rooms.line.close()
        return self.call

    async def _hear(self) -> None:
        async for frame in self._rooms.line.frames():
            self._rooms.listening.hear(frame, self._rooms.outlet.went_out(len(frame.pcm)))

    async def _follow_line(self) -> None:
        async for signal in self._rooms.line.signals():
            self._rooms.nursing.follow(signal, self.now_ns())
            if self._last is None:
                self.tell(event_of(signal, self.now_ns()))
            if self._last is not None:  # also where this very signal was too much for the machine
                self._follow_last(self._last, signal)

    async def _carry_out_later(self) -> None:
        while True:
            receipt, effect = await self._later.get()
            try:
                if not receipt.done():
                    await self._durable(receipt)
            except asyncio.CancelledError:
                self._keep_promise(effect)
                raise
            self._carry_out(effect)
            self._later.task_done()

    def _keep_promise(self, effect: fx.Effect) -> None:
        """The call breaks off: a call-back that was ordered and still waits for the record is opened now."""
        if isinstance(effect, fx.OpenCallback):
            self._carry_out(effect)

    async def _durable(self, receipt: Receipt) -> None:
        try:
            async with asyncio.timeout(self._rooms.durable_wait_s):
                await receipt.wait()
        except Exception:  # late or lost: the writer has told the pager; the call goes on
            return

    async def _guard(self, work: Coroutine[Any, Any, None], effect: str, stage: str) -> None:
        """Deaf, dumb or cut off from the line: what breaks here is told as the failure of that order (a nurse comes)."""
        try:
            await work
        except asyncio.CancelledError:
            raise
        except Exception as error:  # whatever an engine raises is an event of its stage
            self._rooms.record.note_error(stage, type(error).__name__)
            self.tell(ev.EffectFailed(at_ns=self.now_ns(), effect=effect, stage=stage))

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run something in the call's TaskGroup. What it lets escape is written down and ends nothing but itself."""
        assert self._group is not None
        task = self._group.create_task(self._contained(work))
        task.add_done_callback(lambda _: work.close())  # cancelled before it began, it was never awaited
        return task

    async def _contained(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # side work: it may not end the call
            self._rooms.record.note_error("task", type(error).__name__)

    def _spawn(self, work: Coroutine[Any, Any, None], effect: fx.Effect) -> None:
        async def guarded() -> None:
            try:
                await work
            except StageError as error:
                self._failed(effect, error.stage, error.code)
            except Exception as error:  # as above
                self._failed(effect, "runtime", type(error).__name__)

        self.spawn(guarded())

    async def _close(self) -> None:
        if self._closing:
            return
        self._closing = True
        try:
            await self._later.join()  # what the last words ordered stands behind `Seal`, and belongs into the record
            await self._seal(self.call)
        finally:
            self._sealed.set()

    # --- when the machine itself breaks

    def _start_last_ladder(self, error: Exception, event: ev.Event) -> None:
        """The one answer to a `step` that raises: apology, every rung, no machine. When that breaks too, `run` raises.

        A caller who has gone is not climbed for: what is due to them is done, and the record sealed.
        """
        rooms, handoff = self._rooms, self.call.handoff
        rooms.record.note_error("step", type(error).__name__)
        taken = isinstance(event, ev.TransferAnswered) and event.takes_caller
        gone = taken or isinstance(event, ev.HungUp) or self.call.phase is Phase.ENDED
        self._last = LastLadder(
            rooms.line,
            rooms.clips,
            rungs=lambda: rooms.desk.ladder(urgent=True, media_during_refer=rooms.media_during_refer),
            code=rooms.nursing.code,
            say=self._say_clip,
            silence=self._fall_silent,
            bridged=handoff.bridged,
            held=[attempt.number for attempt in handoff.open if attempt.held],
            gone=gone,
        )
        self.page(MACHINE_FAILED)
        self._without_machine(event)
        if gone:
            self._end_without_machine()
            return
        if not isinstance(event, ev.UrgencyRaised):
            self._offer_packet()
        try:
            rooms.playout.flush(through=self.call.flushed)
            self._last.apologise()
            self._last_tasks = [self.spawn(self._unguarded(work)) for work in (self._last.climb, self._last.say_number)]
        except Exception as second:  # the last ladder too: whoever runs the call is told
            self._give_up(second)

    def _say_clip(self, playback: int, prompt: str) -> None:
        clip = self._rooms.clips.clip(prompt)
        self._rooms.playout.append(playback, clip.pcm, text=clip.text, words=clip.words, prompt=clip.id)

    def _fall_silent(self) -> None:
        self._rooms.listening.deaf = True
        self._rooms.playout.flush(through=self.call.flushed)

    def _follow_last(self, ladder: LastLadder, signal: LineSignal) -> None:
        """What a nurse does without a machine to hear of it; the call as it ends says who had the caller."""
        ladder.follow(signal)
        self._note_handoff(bridged=ladder.bridged, taken=ladder.taken or self.call.handoff.taken)
        served = signal.kind is SignalKind.NURSE_DONE and ladder.bridged
        if ladder.taken or served or signal.kind is SignalKind.HUNG_UP:
            self._end_without_machine()

    def _without_machine(self, event: ev.Event) -> None:
        """What an event means when no machine decides: danger counts, and that the caller has gone. No more."""
        match event:
            case ev.UrgencyRaised():
                handoff = self.call.handoff
                if not handoff.urgent or event.rank > handoff.rank:
                    self._note_handoff(
                        reason=Reason.URGENT,
                        urgent=True,
                        level=event.level,
                        category=event.category,
                        rank=event.rank,
                    )
                    self._offer_packet()
            case ev.TransferAnswered(takes_caller=True):
                self._note_handoff(taken=event.attempt)
            case ev.HungUp():
                self._end_without_machine()
            case ev.TailDrained():
                self._drained.set()
            case _:
                return

    def _offer_packet(self) -> None:
        """Whoever takes the caller reads what is known of them. Never raises: no nurse waits for it."""
        handoff = self.call.handoff
        reason = handoff.reason or Reason.STAGE_FAILED
        try:
            self._rooms.nursing.send_packet(
                fx.SendPacket(reason=reason, level=handoff.level, category=handoff.category, rank=handoff.rank)
            )
        except Exception as error:  # without it the nurse asks
            self._rooms.record.note_error("packet", type(error).__name__)

    def _note_handoff(self, **changes: Any) -> None:
        self.call = replace(self.call, handoff=replace(self.call.handoff, **changes))

    def _end_without_machine(self) -> None:
        """The caller has gone, or is taken: no nurse is rung any more, the last words are judged, the record is sealed."""
        if self._ending:
            return
        self._ending = True
        self.ended_ns = self.ended_ns or self.now_ns()
        for task in self._last_tasks:
            task.cancel()
        self._let_nurses_go(but=0)
        self.spawn(self._close_without_machine())

    async def _close_without_machine(self) -> None:
        listening, nursing = self._rooms.listening, self._rooms.nursing
        try:
            if not self.call.drained:
                listening.drain()
                with suppress(TimeoutError):
                    async with asyncio.timeout(SECONDS[TimerName.DRAIN]):
                        await self._drained.wait()
                listening.give_up_draining()
            if (order := owed_callback(self.call)) is not None:
                nursing.open_callback(order)
                self.call = replace(self.call, callback=True)
        except Exception as error:  # the record is sealed all the same, and somebody is woken
            self._rooms.record.note_error("last words", type(error).__name__)
            self.page(CALLBACK_LOST)
        await self._close()

    def _let_nurses_go(self, but: int) -> None:
        """Nobody in here can bring them to the caller any more. `but` is the attempt that stays; 0: none."""
        last = self._last.attempts if self._last is not None else ()
        for attempt in (*range(1, self.call.handoff.attempts + 1), *last):
            if attempt != but:
                with suppress(Exception):  # whatever broke may break this too
                    self._rooms.line.release(attempt)

    async def _unguarded(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception as error:  # the last ladder has nothing behind it
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        """The second failure: nothing in here can help the caller any more."""
        self._rooms.record.note_error("last ladder", type(error).__name__)
        self._broken = self._broken or error
        self._sealed.set()
