"""P1, P2: orders are carried out at once where life depends on it, after the record where not, and nothing that breaks ends a call."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

import fsm.effects as fx
import fsm.events as ev
import triage.runtime as runtime_module
from classifiers.assessment import Assessment, Known
from classifiers.levels import Category, Level
from fsm.call import Call
from fsm.machine import Step
from fsm.states import RungKind, State
from triage.clips import ClipLibrary
from triage.clock import Clock, run
from triage.demo.patient import Patient
from triage.echo import EchoTap
from triage.errors import Unavailable
from triage.lines.nurse_phones import Behaviour, NursePhone
from triage.lines.simulated import SimulatedLine
from triage.listening import Listening
from triage.playout import Audible, Playout
from triage.ports import Frame, LineSignal, Packet, Receipt, VoiceWindow
from triage.runtime import Rooms, Runtime
from triage.stages.scripted_stt import ScriptedSpeechToText
from triage.trace import Observer, Paged, StepTaken, Trace

CLIPS = ClipLibrary.load()
REFER = ev.Rung(kind=RungKind.REFER, target="queue", answer_within_s=4.0)
DIAL = ev.Rung(kind=RungKind.DIAL, target="nurse", answer_within_s=4.0)
URGENT = ev.UrgencyRaised(
    at_ns=0, level="nurse_now", category="chest", rank=100, clip="connecting_nurse", says_number=False
)


class Silence:
    """A detector that hears nothing: events are told by the test."""

    window = 512

    def feed(self, frame: Frame) -> list[VoiceWindow]:
        return []

    def reset(self) -> None: ...


class Written:
    """A record whose durability the test decides."""

    withhold = False

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.errors: list[str] = []
        self.durable = asyncio.Event()
        self.durable.set()

    def step(self, step: Step) -> Receipt:
        self.steps.append(step)
        return self

    def note_error(self, where: str, code: str) -> None:
        self.errors.append(f"{where} {code}")

    def heard(self, *args: Any, **kwargs: Any) -> None: ...

    def assessed(self, *args: Any, **kwargs: Any) -> None: ...

    def done(self) -> bool:
        return self.durable.is_set()

    async def wait(self) -> None:
        await self.durable.wait()


class Speaking:
    """Notes what it is told; fails where the test wants it."""

    def __init__(self) -> None:
        self.orders: list[fx.Effect | str] = []
        self.broken = False

    def make(self, order: fx.MakeReply) -> None:
        self.orders.append(order)
        if self.broken:
            raise Unavailable("llm", "down")

    def speak(self, order: fx.Speak) -> None:
        self.orders.append(order)

    def cancel(self, generation: int) -> None:
        self.orders.append("cancel")

    def close(self, generation: int) -> None:
        self.orders.append("close")

    def truncate(self, generation: int) -> None:
        self.orders.append("truncate")

    def detach_tools(self) -> None:
        self.orders.append("detach")


class Nursing:
    code = "opaque"

    def __init__(self) -> None:
        self.packets: list[fx.SendPacket] = []
        self.callbacks: list[fx.OpenCallback] = []
        self.signals: list[LineSignal] = []

    def send_packet(self, order: fx.SendPacket) -> None:
        self.packets.append(order)

    def told(self, prompts: tuple[str, ...]) -> None: ...

    def open_callback(self, order: fx.OpenCallback) -> None:
        self.callbacks.append(order)

    def follow(self, signal: LineSignal, at_ns: int) -> None:
        self.signals.append(signal)

    def sent(self, order: fx.Transfer, at_ns: int) -> None: ...


class Desk:
    def ladder(self, *, urgent: bool, media_during_refer: bool) -> tuple[ev.Rung, ...]:
        return (DIAL,)

    def offer(self, packet: Packet) -> None: ...


class World:
    """A runtime on a simulated line whose caller says nothing; the test tells it events."""

    def __init__(
        self,
        phones: dict[str, NursePhone] | None = None,
        stt: ScriptedSpeechToText | None = None,
        line: Callable[[Clock, Patient], SimulatedLine] | None = None,
    ) -> None:
        self.clock = Clock()
        self.patient = Patient([], patience_s=600)
        self.line = line(self.clock, self.patient) if line else SimulatedLine(self.clock, self.patient, phones)
        self.outlet = EchoTap(self.line)
        self.record, self.speaking, self.nursing = Written(), Speaking(), Nursing()
        self.audible: list[Audible] = []
        self.traces: list[Trace] = []
        self.sealed = 0
        self.stt = stt or ScriptedSpeechToText()
        self.playout = Playout(self.outlet, self.clock, lambda e: self.runtime.tell(e), self.audible.append)
        listening = Listening(
            vad=Silence(),
            stt=self.stt,
            judge=_Calm(),
            ours=_Quiet(),
            ledger=self.record,
            tell=lambda e: self.runtime.tell(e),
            now_ns=self.clock.now_ns,
            observe=lambda t: None,
        )
        self.observers: list[Observer] = [self.traces.append]
        self.runtime = Runtime(
            Rooms(
                line=self.line,
                outlet=self.outlet,
                playout=self.playout,
                listening=listening,
                speaking=self.speaking,
                nursing=self.nursing,
                clips=CLIPS,
                desk=Desk(),
                record=self.record,
                clock=self.clock,
                observers=self.observers,
            ),
            seal=self._seal,
        )

    async def _seal(self, call: Call) -> None:
        self.sealed += 1
        await self.stt.close()

    def connected(self) -> ev.CallConnected:
        return ev.CallConnected(
            at_ns=self.clock.now_ns(), opening=("greeting",), ladder=(REFER, DIAL), urgent_ladder=(REFER, DIAL)
        )

    @property
    def pages(self) -> list[str]:
        return [trace.alarm for trace in self.traces if isinstance(trace, Paged)]

    def prompts(self) -> list[str]:
        return [a.prompt or "" for a in self.audible if a.samples]


class _Calm:
    known = Known()

    def assess(self, text: str, *, question: str = "", turn: int = 0) -> Assessment:
        return Assessment(level=Level.ROUTINE, category=Category.NONE, score=0.0)


class _Quiet:
    playing = False

    def recent_words(self, window_s: float) -> list[str]:
        return []


def live(story: Callable[[World], Coroutine[Any, Any, None]], **phones: NursePhone) -> World:
    """Let `story` act in a world, in virtual time, and hang up after it."""

    async def main() -> World:
        world = World(phones)
        running = asyncio.ensure_future(world.runtime.run(world.connected))
        await asyncio.sleep(0.1)
        await story(world)
        if not running.done():
            await world.line.hang_up()
            world.runtime.tell(ev.HungUp(at_ns=world.clock.now_ns()))
        await running
        await world.line.over()
        return world

    return run(main(), virtual=True)


def test_every_effect_has_an_arm() -> None:
    arms = inspect.getsource(runtime_module.Runtime)
    orders = [e for e in vars(fx).values() if isinstance(e, type) and issubclass(e, fx.Effect)]
    orders = [e for e in orders if e not in (fx.Effect, fx.SafetyEffect)]
    assert len(orders) > 20
    assert [e.__name__ for e in orders if f"case fx.{e.__name__}()" not in arms] == []


def test_from_the_urgent_final_to_the_clip_and_the_transfer_nothing_is_awaited() -> None:
    async def story(world: World) -> None:
        world.record.durable.clear()  # the store hangs
        world.runtime.tell(URGENT)
        # no await since: both are done
        assert world.runtime.call.state is State.HANDOFF
        assert world.line.queued() > 0
        assert world.line.code_sent(1) == "opaque"
        await asyncio.sleep(3)
        world.record.durable.set()

    world = live(story, queue=NursePhone(Behaviour.ANSWERS, answers_after_s=1.0), nurse=NursePhone(Behaviour.ANSWERS))
    assert world.prompts()[:2] == ["greeting", "connecting_nurse"]
    assert world.sealed == 1


def test_what_may_wait_waits_for_the_record_and_no_longer_than_50_ms() -> None:
    async def story(world: World) -> None:
        world.record.durable.clear()
        world.runtime.tell(ev.TurnEnded(at_ns=world.clock.now_ns(), turn=1))
        assert world.speaking.orders == ["truncate"]
        assert not any(isinstance(order, fx.MakeReply) for order in world.speaking.orders)
        world.record.durable.set()
        await asyncio.sleep(0.01)
        assert any(isinstance(order, fx.MakeReply) for order in world.speaking.orders)

    live(story)


def test_an_effect_that_breaks_becomes_an_event_and_the_call_goes_on() -> None:
    async def story(world: World) -> None:
        world.speaking.broken = True
        world.runtime.tell(ev.TurnEnded(at_ns=world.clock.now_ns(), turn=1))
        await asyncio.sleep(0.2)

    world = live(story, queue=NursePhone(Behaviour.SILENT), nurse=NursePhone(Behaviour.BUSY))
    failed = [s.event.effect for s in world.record.steps if isinstance(s.event, ev.EffectFailed)]
    assert failed == ["MakeReply", "MakeReply"]  # the model, then the script
    assert "apology" in world.prompts()
    assert world.line.code_sent(1) == "opaque"


def test_a_step_that_raises_is_answered_with_apology_and_every_rung(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(world: World) -> None:
        def broken(call: Call, event: ev.Event) -> Step:
            raise RuntimeError("a hole in the table")

        monkeypatch.setattr(runtime_module, "step", broken)
        world.runtime.tell(ev.WordsHeard(at_ns=world.clock.now_ns()))
        await asyncio.sleep(20)

    world = live(story, nurse=NursePhone(Behaviour.BUSY))
    assert "step RuntimeError" in world.record.errors
    assert world.pages == ["machine_failed"]
    assert world.prompts()[1:3] == ["apology", "emergency_number"]
    assert sum(world.line.code_sent(n) is not None for n in range(1_000_000, 1_000_010)) > 1
    assert world.sealed == 1


def test_the_last_ladder_refers_nobody_where_the_carrier_would_silence_us(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number is said between its rungs: who is held by the carrier would not hear it."""

    def broken(call: Call, event: ev.Event) -> Step:
        raise RuntimeError("no row")

    asked: list[bool] = []

    def ladder(self: Desk, *, urgent: bool, media_during_refer: bool) -> tuple[ev.Rung, ...]:
        asked.append(media_during_refer)
        return (DIAL,)

    monkeypatch.setattr(Desk, "ladder", ladder)

    async def story(world: World) -> None:
        world.runtime._rooms.media_during_refer = False
        monkeypatch.setattr(runtime_module, "step", broken)
        world.runtime.tell(URGENT)
        await asyncio.sleep(6)
        monkeypatch.undo()

    live(story, nurse=NursePhone(Behaviour.SILENT))
    assert asked and not any(asked)


def test_an_observer_that_raises_is_removed_and_nothing_else_happens() -> None:
    async def story(world: World) -> None:
        def bad(trace: Trace) -> None:
            raise ValueError

        world.observers.insert(0, bad)
        world.runtime.tell(ev.WordsHeard(at_ns=world.clock.now_ns()))
        assert isinstance(world.traces[-1], StepTaken)

    assert "observer raised" in live(story).record.errors


def test_timers_come_back_in_their_own_time_and_cancelled_ones_never() -> None:
    async def story(world: World) -> None:
        await asyncio.sleep(len(CLIPS.clip("greeting").pcm) / 16_000 + 6.5)

    world = live(story)
    fired = [s.event.name.value for s in world.record.steps if isinstance(s.event, ev.TimerFired)]
    assert fired == ["caller_silence"]
    assert "are_you_there_1" in world.prompts()


def test_a_stage_task_that_dies_is_an_event() -> None:
    class Deaf(ScriptedSpeechToText):
        async def transcripts(self) -> AsyncIterator[Any]:
            raise KeyError("boom")
            yield

    async def main() -> World:
        world = World({"queue": NursePhone(Behaviour.SILENT)}, Deaf())
        running = asyncio.ensure_future(world.runtime.run(world.connected))
        await asyncio.sleep(0.1)
        assert world.runtime.call.state is State.HANDOFF
        await world.line.hang_up()
        await running
        return world

    assert "apology" in run(main(), virtual=True).prompts()
