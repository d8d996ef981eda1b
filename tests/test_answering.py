"""Promise: a call that rings is answered only when all is ready, greeted once, and nothing of its caller is in a log.

The room and the line are the tests' own, in virtual time; the rest is what a worker's process has loaded.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fsm.events as ev
from audit.folder import AuditFolder
from audit.reader import OpenedRecord, Reader
from audit.store import SqliteStore
from tests.calls import leaves, rules, scratch
from tests.lines.world import found
from triage import answering, engines
from triage.answering import CALLER_WITHIN_S, Place, Ready, carry, desk_of, rooms_of, script_of, tools_of
from triage.bench.mark import MARK
from triage.clips import ClipLibrary
from triage.clock import Clock, run
from triage.config import Settings, load
from triage.demo.patient import Patient
from triage.errors import SettingError, TimedOut, Unavailable
from triage.handoff.desk import FileDesk
from triage.keeper import Keeper
from triage.lines.simulated import SimulatedLine
from triage.ports import RATE
from triage.runtime import Runtime
from triage.stages.silero import SileroVoiceActivity
from triage.watch import Watch

CLIPS = ClipLibrary.load("en", "us")
NUMBER, IDENTITY = "+15557654321", "sip_5afca772560f2d44"
NURSES = 'schema = 1\n[[target]]\nname = "queue"\nkind = "refer"\nuri = "sip:queue@nurses.example"\n'


@dataclass
class Participant:
    identity: str = IDENTITY
    attributes: dict[str, str] = field(default_factory=dict)


class RingingLine(SimulatedLine):
    """A simulated line that must be opened, and may break at each step."""

    def __init__(self, clock: Clock, *, breaks: Exception | None = None, patience_s: float = 3.0) -> None:
        super().__init__(clock, Patient([leaves(patience_s)]))
        self.steps: list[str] = []
        self.closed = 0
        self._breaks = breaks

    async def open(self) -> None:
        self.steps.append("open")

    async def connect(self) -> None:
        if self._breaks is not None:
            raise self._breaks
        if "connect" not in self.steps:
            self.steps.append("connect")
            await super().connect()

    async def close(self, *, keep_caller: bool = False) -> None:
        self.closed += 1
        await super().close(keep_caller=keep_caller)


@dataclass
class World:
    """A process with everything loaded, and the room its job is for."""

    ready: Ready
    folder: Path
    participants: list[Participant] = field(default_factory=lambda: [Participant()])
    number: Callable[[], Awaitable[str]] | None = None
    enter: Callable[[], Awaitable[None]] | None = None
    rescue: Callable[[], Awaitable[None]] | None = None
    breaks: Exception | None = None
    patience_s: float = 3.0
    connect: Callable[[RingingLine], Awaitable[None]] | None = None
    lines: list[RingingLine] = field(default_factory=list)
    rescues: int = 0

    orphaned: bool = False

    def place(self, name: str = "call_+15550100_a") -> Place:
        async def line(identity: str, clock: Clock, desk: FileDesk) -> RingingLine:
            assert identity == IDENTITY
            made = RingingLine(clock, breaks=self.breaks, patience_s=self.patience_s)
            if (connect := self.connect) is not None:
                made.connect = lambda: connect(made)  # type: ignore[method-assign]
            self.lines.append(made)
            return made

        async def number(identity: str) -> str:
            return await self.number() if self.number else NUMBER

        async def enter() -> None:
            if self.enter:
                await self.enter()

        async def rescue() -> None:
            self.rescues += 1
            if self.rescue:
                await self.rescue()

        return Place(
            name=name,
            enter=enter,
            callers=lambda: self.participants,
            line=line,
            number=number,
            gone=lambda: False,
            rescue=rescue,
            orphaned=lambda: self.orphaned,
        )

    def carry(self, name: str = "call_+15550100_a", **more: Any) -> str:
        async def job() -> str:
            return await carry(self.ready, self.place(name), **more)

        return run(job(), virtual=True)

    def records(self) -> list[list[OpenedRecord]]:
        """Of every call, the oldest first."""
        folder = AuditFolder(self.folder)
        with closing(SqliteStore(folder.database)) as store:
            reader = Reader(store, folder.keyring(), who="test", purpose="test", spool=folder.spool)
            return [list(reader.records(listed.call, at_ns=1)) for listed in Reader(store).calls()]


def payloads(records: Sequence[OpenedRecord], stage: str) -> list[Any]:
    return [record.content.payload for record in records if record.content.stage == stage]


def prompts(records: Sequence[OpenedRecord]) -> str:
    return " ".join(str(payload["prompt"]) for payload in payloads(records, "playout"))


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Callable[..., World]:
    monkeypatch.setattr("triage.engines.load_classifier", rules)

    def made(**given: str) -> World:
        folder = scratch()
        (folder / "script.txt").write_text("I have a headache\n")
        (folder / "nurses.toml").write_text(NURSES)
        env = {"stt": "scripted", "stt_script": str(folder / "script.txt"), "tts": "clips", "profile": "bench", **given}
        if env["profile"] in answering.IN_EARNEST:
            env |= {"keep_audio": "false", "line_sip": "livekit-sip", "nurse_directory": str(folder / "nurses.toml")}
        settings = load(env={f"TRIAGE_{name.upper()}": value for name, value in env.items()}, data=folder)
        AuditFolder(folder).keyring().ensure()
        loaded = engines.load(settings, writer="test", inline=True)
        ready = Ready(
            settings=settings,
            engines=loaded.engines,
            folder=loaded.folder,
            rooms=rooms_of(settings),
            desk=desk_of(settings),
            vad=SileroVoiceActivity.load(),
            tools=tools_of(settings),
            watch=Watch(),
        )
        return World(ready, folder)

    return made


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, logger="triage")
    return caplog


# --- an ordinary call


def test_a_call_is_answered_greeted_recorded_and_numbered(make: Callable[..., World], log: pytest.LogCaptureFixture) -> None:  # fmt: skip
    world = make()
    assert world.carry() == "hung_up"
    (records,) = world.records()
    assert "greeting" in prompts(records)
    (number,) = [p["number"] for p in payloads(records, "call") if p.get("event") == "caller_number"]
    assert number == NUMBER
    (line,) = world.lines
    assert line.steps == ["open", "connect"] and line.closed
    assert NUMBER not in log.text and IDENTITY not in log.text and "headache" not in log.text
    assert "first sound" in log.text and "closed: hung_up" in log.text
    assert world.ready.live is None


def test_nothing_is_answered_before_the_recogniser_is_ready(make: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    world, order = make(), list[str]()

    class Slow(answering.RecitingSpeechToText):
        async def start(self) -> None:
            if "recogniser" not in order:
                await asyncio.sleep(2)
                order.append("recogniser")

    async def enter() -> None:
        order.append("room")

    monkeypatch.setattr(answering, "RecitingSpeechToText", Slow)
    monkeypatch.setattr(RingingLine, "open", lambda self: _noted(order, "open"))
    world.enter = enter
    assert world.carry() == "hung_up"
    assert order == ["room", "recogniser", "open"]


async def _noted(order: list[str], what: str) -> None:
    order.append(what)


# --- once


def test_the_same_room_again_is_rescued_and_never_greeted(make: Callable[..., World]) -> None:
    world = make()
    world.carry()
    world.carry()
    first, second = world.records()
    assert "greeting" in prompts(first) and "greeting" not in prompts(second)
    assert "rescued" in prompts(second)
    assert [any(p.get("rescue") for p in payloads(r, "call")) for r in (first, second)] == [False, True]
    assert len(world.records()) == 2, "an id that has a record is not opened again"


def test_a_rescue_by_dispatch_does_not_greet(make: Callable[..., World]) -> None:
    world = make()
    world.carry(rescue=True)
    (records,) = world.records()
    assert "rescued" in prompts(records) and "greeting" not in prompts(records)


def test_a_room_whose_agent_lives_is_left_unless_we_are_sent_to_rescue(make: Callable[..., World]) -> None:
    world = make()
    living = world.ready.rooms.enter("call_+15550100_a")
    assert world.carry() == "a room that has its agent: left to that one"
    assert world.lines == [] and world.records() == []
    assert world.carry(rescue=True) == "hung_up"
    living.leave()


def test_a_disk_that_notes_no_room_lets_the_caller_in(make: Callable[..., World], log: pytest.LogCaptureFixture) -> None:  # fmt: skip
    world = make()
    (world.folder / "line").mkdir()
    (world.folder / "line" / "rooms").write_text("in the way")
    assert world.carry() == "hung_up"
    assert "cannot be noted" in log.text


# --- not answered


def test_nobody_in_the_room_is_waited_for_and_left(make: Callable[..., World]) -> None:
    world = make()
    world.participants = []

    async def job() -> float:
        assert await carry(world.ready, world.place()) == "a room without a caller: left"
        return asyncio.get_running_loop().time()

    assert run(job(), virtual=True) == pytest.approx(CALLER_WITHIN_S, abs=0.1)
    assert world.records() == []


@pytest.mark.parametrize("profile", answering.IN_EARNEST)
def test_a_participant_of_the_bench_is_refused_in_earnest(make: Callable[..., World], log: pytest.LogCaptureFixture, profile: str) -> None:  # fmt: skip
    world = make(profile=profile)
    world.participants = [Participant(attributes=dict(MARK))]
    assert "not answered" in world.carry()
    assert world.lines == [] and world.records() == []
    assert any(record.levelno >= logging.ERROR for record in log.records)


def test_the_bench_serves_its_own(make: Callable[..., World]) -> None:
    world = make()
    world.participants = [Participant(attributes=dict(MARK))]
    assert world.carry() == "hung_up"


@pytest.mark.parametrize("error", [Unavailable("line", "caller gone"), TimedOut("line", "never active")])
def test_a_caller_who_gives_up_while_it_rings_leaves_no_record(make: Callable[..., World], error: Exception) -> None:
    world = make()
    world.breaks = error
    assert "given up" in world.carry()
    assert world.records() == [] and world.lines[0].closed == 1


def test_a_recogniser_that_cannot_start_answers_nothing(make: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    world = make()

    async def fails(_: Any) -> None:
        raise Unavailable("stt", "no wheel")

    monkeypatch.setattr(answering.RecitingSpeechToText, "start", fails)
    assert world.carry() == "a call that was not answered: stt: no wheel"
    assert world.lines == []


def test_a_room_that_cannot_be_entered_ends_the_job(make: Callable[..., World]) -> None:
    world = make()

    async def refused() -> None:
        raise Unavailable("line", "room cannot be entered")

    world.enter = refused
    assert "room cannot be entered" in world.carry()


def test_a_script_that_is_gone_answers_nothing(make: Callable[..., World]) -> None:
    world = make()
    (world.folder / "script.txt").unlink()
    assert "stt_script" in world.carry()
    assert world.lines == []


# --- the number


def test_a_number_that_is_told_late_or_after_failures_is_still_noted(make: Callable[..., World]) -> None:
    world, tries = make(), list[int]()

    async def slow() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise RuntimeError(f"no answer from {IDENTITY}")
        return NUMBER

    world.number = slow
    assert world.carry() == "hung_up"
    (records,) = world.records()
    assert [p["number"] for p in payloads(records, "call") if p.get("event") == "caller_number"] == [NUMBER]


def test_a_number_that_never_comes_holds_nothing_up_and_its_error_is_not_quoted(make: Callable[..., World], log: pytest.LogCaptureFixture) -> None:  # fmt: skip
    world = make()

    async def never() -> str:
        raise RuntimeError(f"no answer from {IDENTITY} {NUMBER}")

    world.number = never
    assert world.carry() == "hung_up"
    assert IDENTITY not in log.text and NUMBER not in log.text and "RuntimeError" in log.text


def test_a_number_that_hangs_ends_with_the_call(make: Callable[..., World]) -> None:
    world = make()

    async def hangs() -> str:
        await asyncio.sleep(3600)
        return NUMBER

    world.number = hangs
    assert world.carry() == "hung_up"


# --- the worker ends, the call breaks


def test_the_end_of_the_worker_brings_a_nurse(make: Callable[..., World]) -> None:
    world = make()
    world.patience_s = 20.0

    async def job() -> None:
        async def later() -> None:
            await asyncio.sleep(4)
            world.ready.end()

        async with asyncio.TaskGroup() as group:
            group.create_task(later())
            await carry(world.ready, world.place())

    run(job(), virtual=True)
    (records,) = world.records()
    effects = [effect for payload in payloads(records, "step") for effect in payload["effects"]]
    assert any(effect.get("reason") == "stage_failed" for effect in effects)
    assert any(effect["type"] == "Transfer" for effect in effects)


def test_an_end_while_it_still_rings_answers_nothing(make: Callable[..., World]) -> None:
    world = make()

    async def enter() -> None:
        world.ready.end()

    world.enter = enter
    assert "left to the carrier" in world.carry()
    assert world.lines == [] and world.records() == []


def test_an_end_in_the_moment_of_the_answer_still_brings_a_nurse(make: Callable[..., World]) -> None:
    world = make()
    world.patience_s = 20.0
    real = RingingLine.connect

    async def connect(line: RingingLine) -> None:
        await real(line)
        world.ready.ending = True

    world.connect = connect
    assert world.carry() in ("hung_up", "transferred")
    (records,) = world.records()
    effects = [effect for payload in payloads(records, "step") for effect in payload["effects"]]
    assert any(effect["type"] == "Transfer" for effect in effects)


def test_what_breaks_after_the_answer_comes_out_as_it_is_and_frees_the_room(make: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    world = make()

    def breaks(*_: Any) -> Coroutine[Any, Any, None]:
        raise ZeroDivisionError

    monkeypatch.setattr("triage.call.Runtime.run", breaks)
    with pytest.raises(ZeroDivisionError):
        world.carry()
    assert world.ready.live is None
    assert world.ready.rooms.enter("call_+15550100_a").visit == "again"


def broken_after(monkeypatch: pytest.MonkeyPatch, seconds: float, *, bridged: int = 0) -> None:
    """The runtime lets something escape so long after the answer."""

    async def breaks(self: Runtime, connected: Callable[[], ev.CallConnected]) -> Any:
        self.call = replace(self.call, handoff=replace(self.call.handoff, bridged=bridged))
        await asyncio.sleep(seconds)
        raise ExceptionGroup("tasks", [ZeroDivisionError()])

    monkeypatch.setattr("triage.call.Runtime.run", breaks)


def heard(line: RingingLine, prompt: str) -> bool:
    return bool(found(CLIPS.clip(prompt).pcm, line.recording()[1]))


@pytest.mark.parametrize("after_s", [0.4, 20.0])
def test_the_caller_of_a_call_that_broke_hears_it_and_stands_for_whoever_comes(make: Callable[..., World], monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture, after_s: float) -> None:  # fmt: skip
    world = make()
    world.patience_s = 600.0
    sealed = list[bool]()

    async def rescue() -> None:
        sealed.append(world.ready.live is not None and world.ready.live._segment.finished)
        await asyncio.sleep(after_s)

    async def job() -> None:
        with pytest.raises(ExceptionGroup):
            await carry(world.ready, world.place())
        (line,) = world.lines
        assert line.talking and not line.ours and line.closed
        await asyncio.sleep(10)
        assert line.talking, "nobody hung up"
        assert heard(line, "apology") is (after_s > 5)
        assert not heard(line, "goodbye")

    broken_after(monkeypatch, 2.0)
    world.rescue = rescue
    run(job(), virtual=True)
    assert world.rescues == 1 and sealed == [True], "the record first"
    assert "broken off (ZeroDivisionError)" in log.text


@pytest.mark.parametrize("why", ["nobody comes", "a bug", "we are the rescue"])
def test_where_nobody_else_can_be_sent_the_number_is_said_and_then_hung_up(make: Callable[..., World], monkeypatch: pytest.MonkeyPatch, why: str) -> None:  # fmt: skip
    world = make()
    world.patience_s = 600.0

    async def rescue() -> None:
        await asyncio.sleep(8.0)
        raise Unavailable("worker", "nobody came") if why == "nobody comes" else RuntimeError

    broken_after(monkeypatch, 2.0)
    world.rescue = rescue
    with pytest.raises(ExceptionGroup):
        world.carry(rescue=why == "we are the rescue")
    (line,) = world.lines
    (number,) = found(CLIPS.clip("greeting_number").pcm, line.recording()[1])
    assert number / RATE < 2.0 + 8.0 + 0.1
    assert heard(line, "goodbye") and not line.talking
    assert world.rescues == (why != "we are the rescue")


@pytest.mark.parametrize("comes", [True, False])
def test_nurse_and_caller_who_talk_hear_nothing_of_a_call_that_broke(make: Callable[..., World], monkeypatch: pytest.MonkeyPatch, comes: bool) -> None:  # fmt: skip
    world = make()
    world.patience_s = 600.0

    async def rescue() -> None:
        await asyncio.sleep(6.0)
        if not comes:
            raise Unavailable("worker", "nobody came")

    broken_after(monkeypatch, 2.0, bridged=1)
    world.rescue = rescue
    with pytest.raises(ExceptionGroup):
        world.carry()
    (line,) = world.lines
    assert world.rescues == 1 and not np.any(line.recording()[1])


def test_nobody_is_sent_for_a_caller_who_is_gone(make: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> None:
    world = make()
    broken_after(monkeypatch, 6.0)
    with pytest.raises(ExceptionGroup):
        world.carry()
    assert world.rescues == 0 and world.lines[0].closed


def test_a_line_that_breaks_too_is_closed_and_the_first_error_comes_out(make: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    world = make()
    world.patience_s = 600.0

    def breaks(*_: Any) -> None:
        raise KeyError

    async def rescue() -> None:
        await asyncio.sleep(1)
        raise Unavailable("worker", "nobody came")

    broken_after(monkeypatch, 2.0)
    world.rescue = rescue
    monkeypatch.setattr(RingingLine, "send", breaks)
    with pytest.raises(ExceptionGroup, match="tasks"):
        world.carry()
    assert world.lines[0].closed and not world.lines[0].talking


def test_a_call_that_is_cut_off_is_sealed_and_summarised(make: Callable[..., World], log: pytest.LogCaptureFixture) -> None:  # fmt: skip
    world = make()
    world.patience_s = 60.0

    async def job() -> None:
        async def cut() -> None:
            await asyncio.sleep(4)
            job_task.cancel()

        async with asyncio.TaskGroup() as group:
            job_task = group.create_task(carry(world.ready, world.place()))
            group.create_task(cut())

    run(job(), virtual=True)
    (records,) = world.records()
    (end,) = [payload for payload in payloads(records, "call") if "outcome" in payload]
    assert end["outcome"] == "failed" and end["broken_off"]
    assert "broken off (CancelledError)" in log.text
    keeper = Keeper(world.ready.folder, world.ready.engines.writer, now_ns=lambda: 1, wall_ns=time.time_ns)
    assert [summarised.call_id for summarised in keeper.work()] == [records[0].header.call]


def test_a_call_that_is_cut_off_is_sealed_before_its_line_closes(make: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """A line that closes may wait for a server that is gone, and the worker does not wait for it."""
    world, sealed = make(), list[bool]()
    world.patience_s = 60.0

    async def close(line: RingingLine, *, keep_caller: bool = False) -> None:
        assert not keep_caller and world.ready.live is not None
        sealed.append(world.ready.live._segment.finished)
        await SimulatedLine.close(line)

    async def job() -> None:
        asyncio.get_running_loop().call_later(3, setattr, world.ready, "ending", True)
        with suppress(TimeoutError):
            async with asyncio.timeout(4):
                await carry(world.ready, world.place())

    monkeypatch.setattr(RingingLine, "close", close)
    run(job(), virtual=True)
    assert sealed == [True]


@pytest.mark.parametrize("how", ["cancelled", "cancelled, and something breaks"])
@pytest.mark.parametrize("urgent", [True, False])
def test_a_worker_that_is_gone_leaves_its_caller_standing_and_an_urgent_one_on_the_list(make: Callable[..., World], monkeypatch: pytest.MonkeyPatch, how: str, urgent: bool) -> None:  # fmt: skip
    world = make()
    world.patience_s = 600.0

    async def lives(self: Runtime, connected: Callable[[], ev.CallConnected]) -> Any:
        self.call = replace(self.call, handoff=replace(self.call.handoff, urgent=urgent))
        try:
            await asyncio.sleep(60)
        finally:
            if how != "cancelled":
                raise ExceptionGroup("tasks", [ZeroDivisionError()])

    async def job() -> None:
        carried = asyncio.ensure_future(carry(world.ready, world.place()))
        await asyncio.sleep(3)
        world.orphaned = True
        carried.cancel()
        with pytest.raises((asyncio.CancelledError, ExceptionGroup)):
            await carried
        (line,) = world.lines
        await asyncio.sleep(5)
        assert line.closed and line.talking, "nobody hung up"

    monkeypatch.setattr("triage.call.Runtime.run", lives)
    run(job(), virtual=True)
    assert world.rescues == 0, "there is nobody to send"
    (records,) = world.records()
    (end,) = [payload for payload in payloads(records, "call") if "outcome" in payload]
    assert end["broken_off"]
    assert [p["reason"] for p in payloads(records, "handoff") if p.get("event") == "callback"] == ["urgent"] * urgent


def test_a_worker_that_goes_while_another_process_is_waited_for_leaves_the_caller_standing(make: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    world = make()
    world.patience_s = 600.0

    async def job() -> None:
        carried = asyncio.ensure_future(carry(world.ready, world.place()))
        await asyncio.sleep(5)
        carried.cancel()
        with pytest.raises(asyncio.CancelledError):
            await carried
        await asyncio.sleep(5)
        assert world.lines[0].talking and world.lines[0].closed

    async def rescue() -> None:
        await asyncio.sleep(60)

    broken_after(monkeypatch, 2.0)
    world.rescue = rescue
    run(job(), virtual=True)


@pytest.mark.parametrize("ending", [True, False])
def test_a_telephone_that_was_being_answered_when_the_worker_went_rings_on(make: Callable[..., World], ending: bool) -> None:  # fmt: skip
    world = make()
    kept: list[bool] = []

    async def never(line: RingingLine) -> None:
        close = line.close

        async def noted(*, keep_caller: bool = False) -> None:
            kept.append(keep_caller)
            await close(keep_caller=keep_caller)

        line.close = noted  # type: ignore[method-assign]
        await asyncio.sleep(60)

    async def job() -> None:
        carried = asyncio.ensure_future(carry(world.ready, world.place()))
        await asyncio.sleep(2)
        world.ready.ending = ending
        carried.cancel()
        with pytest.raises(asyncio.CancelledError):
            await carried

    world.connect = never
    run(job(), virtual=True)
    assert kept == [not ending]


# --- settings


def test_without_a_directory_the_nurses_are_at_the_lines_address(make: Callable[..., World]) -> None:
    desk = desk_of(make(line_nurse_address="127.0.0.1:5099").ready.settings)
    ladder = desk.ladder(urgent=True, media_during_refer=True)
    assert [(rung.kind.value, desk.uri(rung.target)) for rung in ladder] == [
        ("refer", "sip:nurse@127.0.0.1:5099"),
        ("dial", "sip:nurse@127.0.0.1:5099"),
    ]
    assert desk.ladder(urgent=True, media_during_refer=False)[0].kind.value == "dial"


def test_a_directory_is_read(make: Callable[..., World], tmp_path: Path) -> None:
    (tmp_path / "nurses.toml").write_text(NURSES)
    desk = desk_of(make(nurse_directory=str(tmp_path / "nurses.toml")).ready.settings)
    assert desk.uri("queue") == "sip:queue@nurses.example"


def test_a_scripted_recogniser_needs_a_script(tmp_path: Path) -> None:
    settings: Settings = load(env={"TRIAGE_STT": "scripted"}, data=tmp_path)
    with pytest.raises(SettingError, match="stt_script"):
        script_of(settings)
    assert script_of(load(env={}, data=tmp_path)) == ()


def test_tools_that_have_no_file_work_in_memory(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    (tmp_path / "tools.db").mkdir()
    tools = tools_of(load(env={}, data=tmp_path))
    assert tools.specs() and "tools:" in log.text
