"""Real calls for the tests of the line: phones of ours over SIP and RTP, the bench, real engines, a line in the room."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from livekit import api, rtc

from fsm.events import Rung
from fsm.states import RungKind
from tests.line import rooms as line_rooms
from tests.line.rooms import ANSWERED
from tests.line.stack import Stack, free_ports
from tests.line.telephony import tone
from triage.bench.faults import Faults
from triage.bench.media.codecs import encoder
from triage.bench.phones import sipp
from triage.bench.seam.room import Access
from triage.bench.service import SipBench
from triage.bench.sip.agent import Agent
from triage.bench.sip.ports import Call, IncomingCall, Pcm
from triage.clock import Clock
from triage.errors import SettingError
from triage.lines.livekit.line import LiveKitLine
from triage.lines.livekit.signalling import ServerSignalling
from triage.ports import LineSignal, SignalKind

CALLER = "+15557654321"
WAIT_S = 10.0
TARGETS = 4
"""Nurse phones that may be dialled."""


class Phone:
    """One end of a call with a telephone of ours: what it hears, with times, and a tone that it says."""

    def __init__(self, call: Call, *, hz: float = 0.0) -> None:
        self.call = call
        self.hz = hz
        self.heard: list[tuple[float, Pcm]] = []
        self.digits = ""
        self.ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        call.on_audio = self._hear
        call.on_digit = self._key
        call.on_end = lambda _: self.ended.set()
        self._at = 0
        self._talking = asyncio.ensure_future(self._talk())

    def _hear(self, pcm: Pcm) -> None:
        self.heard.append((self._loop.time(), pcm))

    def _key(self, key: str) -> None:
        self.digits += key

    async def _talk(self) -> None:
        """Silence is sent as well: a phone that sends nothing is cut off after a while."""
        rate = self.call.codec.rate
        due = self._loop.time()
        while self.call.ended is None:
            at = np.arange(self._at, self._at + rate // 50)
            self._at += rate // 50
            wave = 8000 * np.sin(2 * np.pi * self.hz * at / rate) if self.hz else np.zeros(len(at))
            self.call.send_audio(wave.astype(np.int16))
            due += 0.02
            await asyncio.sleep(max(0.0, due - self._loop.time()))

    def mute(self) -> None:
        """Send nothing at all from now on, as a phone that is held may."""
        self._talking.cancel()

    def loud(self, hz: float = 0.0, *, threshold: float = 0.02) -> list[float]:
        """Times at which frames came in which something (or this tone) was heard."""
        rate = self.call.codec.rate
        return [at for at, pcm in self.heard if amplitude(pcm, hz, rate) > threshold]

    async def stop(self) -> None:
        if self.call.ended is None:
            await self.call.hang_up()
        self._talking.cancel()
        await asyncio.gather(self._talking, return_exceptions=True)


def amplitude(pcm: Pcm, hz: float, rate: int) -> float:
    """Of one frequency, or of all together (0 Hz); full scale 1."""
    if not hz:
        return float(np.sqrt(np.mean((pcm / 32768.0) ** 2))) * 1.414
    wave = np.exp(-2j * np.pi * hz * np.arange(len(pcm)) / rate)
    return float(abs(np.mean(pcm / 32768 * wave))) * 2


class NursePhone:
    """A nurse's telephone: rings, and does what it was told."""

    def __init__(self, running: Agent, *, ring_s: float = 0.3, answers: bool = True, hz: float = 0.0, status: int = 0):
        self.agent, self.ring_s, self.answers, self.hz, self.status = running, ring_s, answers, hz, status
        self.calls: list[IncomingCall] = []
        self.phone: Phone | None = None
        self.rang, self.picked_up, self.gone = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._jobs: set[asyncio.Future[None]] = set()
        running.on_call = self._ring

    @property
    def uri(self) -> str:
        return f"sip:nurse@127.0.0.1:{self.agent.address[1]}"

    def _ring(self, call: IncomingCall) -> None:
        self.calls.append(call)
        call.on_end = lambda _: self.gone.set()
        job = asyncio.ensure_future(self._serve(call))
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def _serve(self, call: IncomingCall) -> None:
        if self.status:
            call.reject(self.status, "No")
            return
        call.ring()
        self.rang.set()
        if not self.answers:
            return
        await asyncio.sleep(self.ring_s)
        if call.ended is None:
            await call.answer()
            self.phone = Phone(call, hz=self.hz)
            ended = self.phone.ended

            def on_end(_: object) -> None:
                ended.set()
                self.gone.set()

            call.on_end = on_end
            self.picked_up.set()

    async def stop(self) -> None:
        if self.phone is not None:
            await self.phone.stop()
        await asyncio.gather(*self._jobs, return_exceptions=True)


class LiveCallLeg:
    """A caller's phone and the line that answered it."""

    def __init__(self, line: LiveKitLine, phone: Any, room: Any, signalling: ServerSignalling, identity: str) -> None:
        self.line, self.phone, self.room, self.signalling, self.identity = line, phone, room, signalling, identity
        self.frames: list[Any] = []
        self.arrived: list[float] = []
        self.signals: list[LineSignal] = []
        self.times: list[float] = []
        self.frames_ended, self.signals_ended = asyncio.Event(), asyncio.Event()
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._readers = [asyncio.ensure_future(self._read_frames()), asyncio.ensure_future(self._read_signals())]

    async def _read_frames(self) -> None:
        async for frame in self.line.frames():
            self.frames.append(frame)
            self.arrived.append(self._loop.time())
        self.frames_ended.set()

    async def _read_signals(self) -> None:
        async for signal in self.line.signals():
            self.signals.append(signal)
            self.times.append(self._loop.time())
            self._news.set()
        self.signals_ended.set()
        self._news.set()

    def of(self, attempt: int) -> list[tuple[SignalKind, str]]:
        return [(signal.kind, signal.value) for signal in self.signals if signal.attempt == attempt]

    def kinds(self, attempt: int) -> list[SignalKind]:
        return [kind for kind, _ in self.of(attempt)]

    def time_of(self, kind: SignalKind, attempt: int) -> float:
        return next(
            t
            for t, signal in zip(self.times, self.signals, strict=True)
            if (signal.kind, signal.attempt) == (kind, attempt)
        )

    async def until(self, true: Callable[[], bool], within_s: float = WAIT_S) -> None:
        async with asyncio.timeout(within_s):
            while not true():
                self._news.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), 0.05)

    def transfer(self, attempt: int, kind: RungKind, target: str, timeout_s: float = 8.0) -> None:
        self.line.transfer(attempt, Rung(kind=kind, target=target), code=f"code{attempt}", timeout_s=timeout_s)

    async def say(self, hz: float, seconds: float) -> float:
        """Play a tone as the playout does, one frame ahead; returns when its first sample was sent (loop time)."""
        wave = (8000 * np.sin(2 * np.pi * hz * np.arange(round(seconds * 16_000)) / 16_000)).astype(np.int16)
        began = self._loop.time()
        for n, at in enumerate(range(0, len(wave), 320)):
            self.line.send(wave[at : at + 320])
            await asyncio.sleep(max(0.0, began + (n + 1) * 0.02 - 0.005 - self._loop.time()))
        return began

    async def stop(self) -> None:
        async with asyncio.timeout(20):  # a close that hangs is a failure with a place, not a test that never ends
            await self.line.close()
        async with asyncio.timeout(5):
            await asyncio.gather(*self._readers)
        with suppress(Exception):
            await asyncio.wait_for(self.room.disconnect(), 3)
        async with asyncio.timeout(10):
            await self.signalling.close()
            if self.phone is not None:
                await self.phone.stop()


class Telephony:
    """Engines, SIP service and telephones."""

    def __init__(self, engines: Stack, lk: Any, bench: SipBench, sip_port: int, nurses: list[Agent]) -> None:
        self.stack, self.lk, self.bench, self.sip_port, self.nurses = engines, lk, bench, sip_port, nurses
        self.phones: dict[str, str] = {}
        """Directory: name to uri."""
        self._inside = AsyncExitStack()

    def address_of(self, name: str) -> str:
        if name not in self.phones:
            raise SettingError(f"nurse directory: no target {name}")
        return self.phones[name]

    def nurse(self, name: str, number: int = 0, **how: Any) -> NursePhone:
        """Put a nurse's phone at one of the targets, under a name of the directory."""
        made = NursePhone(self.nurses[number], **how)
        self.phones[name] = made.uri
        return made

    async def next_room(self, before: set[str]) -> str:
        async with asyncio.timeout(WAIT_S):
            while not (new := await line_rooms.rooms(self.lk) - before):  # noqa: ASYNC110 the API tells nobody
                await asyncio.sleep(0.02)
        return new.pop()

    async def line_in(
        self, room_name: str, *, auto_subscribe: bool = True
    ) -> tuple[LiveKitLine, Any, ServerSignalling, str]:
        """Enter a room as the worker does, and make a line of the caller in it."""
        access = self.stack.line.access
        token = (
            api.AccessToken(access.api_key, access.api_secret)
            .with_identity("agent")
            .with_kind("agent")
            .with_grants(api.VideoGrants(room_join=True, room=room_name))
        )
        room: Any = rtc.Room()
        await room.connect(self.stack.line.url, token.to_jwt(), rtc.RoomOptions(auto_subscribe=auto_subscribe))
        async with asyncio.timeout(WAIT_S):
            while not (sip := [p for p in room.remote_participants.values() if p.kind == 3]):  # noqa: ASYNC110 the SDK tells of them one by one
                await asyncio.sleep(0.01)
        signalling = ServerSignalling(
            self.stack.line.api_url, access.api_key, access.api_secret, room_name, "", "none", ANSWERED
        )
        identity = next(one.identity for one in sip if not one.identity.startswith("nurse_"))
        line = LiveKitLine(room, identity, signalling=signalling, clock=Clock(), address_of=self.address_of)
        return line, room, signalling, identity

    async def answered(
        self, before: set[str], dialling: "asyncio.Future[Any]", *, auto_subscribe: bool = True, **how: Any
    ) -> LiveCallLeg:
        """Answer the call that comes into the next room; `dialling` gives the phone's end of it, where there is one."""
        line, room, signalling, identity = await self.line_in(
            await self.next_room(before), auto_subscribe=auto_subscribe
        )
        await line.open()
        await line.connect()
        phone = Phone(await dialling, **how) if how else None
        return LiveCallLeg(line, phone, room, signalling, identity)

    @asynccontextmanager
    async def call(
        self, *, hz: float = 0.0, codec: str = "PCMU", auto_subscribe: bool = True
    ) -> AsyncIterator[LiveCallLeg]:
        """A caller's phone that rings and is answered by a line."""
        before = await line_rooms.rooms(self.lk)
        start = 30_000 + free_ports(socket.SOCK_DGRAM, 1)[0] % 100 * 100
        handset = Agent(port=0, rtp_ports=(start, start + 98), allowed_targets=(f"127.0.0.1:{self.sip_port}",))
        await handset.start()
        try:
            dialling = asyncio.ensure_future(
                handset.dial(
                    f"sip:{ANSWERED}@127.0.0.1:{self.sip_port}", from_user=CALLER, codecs=(codec,), ring_timeout_s=10
                )
            )
            leg = await self.answered(before, dialling, auto_subscribe=auto_subscribe, hz=hz)
            try:
                yield leg
            finally:
                await leg.stop()
        finally:
            async with asyncio.timeout(10):
                await handset.stop()

    @asynccontextmanager
    async def ringing(self) -> AsyncIterator[tuple[LiveKitLine, "asyncio.Future[Any]"]]:
        """A caller's phone that rings and is not answered yet: the line, and the phone's dialling."""
        before = await line_rooms.rooms(self.lk)
        start = 30_000 + free_ports(socket.SOCK_DGRAM, 1)[0] % 100 * 100
        handset = Agent(port=0, rtp_ports=(start, start + 98), allowed_targets=(f"127.0.0.1:{self.sip_port}",))
        await handset.start()
        dialling = asyncio.ensure_future(
            handset.dial(f"sip:{ANSWERED}@127.0.0.1:{self.sip_port}", from_user=CALLER, ring_timeout_s=10)
        )
        try:
            line, room, signalling, _ = await self.line_in(await self.next_room(before))
            try:
                yield line, dialling
            finally:
                await line.close()
                with suppress(Exception):
                    await asyncio.wait_for(room.disconnect(), 3)
                await signalling.close()
        finally:
            dialling.cancel()
            await asyncio.gather(dialling, return_exceptions=True)
            await handset.stop()

    @asynccontextmanager
    async def scripted(self, scenario: sipp.Scenario, folder: Path) -> AsyncIterator[tuple[LiveCallLeg, Any]]:
        """A caller who follows a scenario of sipp, answered by a line; and the scenario's result to come."""
        (folder / sipp.TONE).write_bytes(encoder("PCMU").encode(tone(700, 1.0, 8000)))
        before = await line_rooms.rooms(self.lk)
        port, media = free_ports(socket.SOCK_DGRAM, 2)
        caller = asyncio.ensure_future(
            sipp.run(
                scenario,
                folder,
                port=port,
                media_port=media & ~1,
                remote=("127.0.0.1", self.sip_port),
                limit_s=40,
                service=ANSWERED,
            )
        )
        try:
            leg = await self.answered(before, caller)
            try:
                yield leg, caller
            finally:
                await leg.stop()
        finally:
            caller.cancel()
            await asyncio.gather(caller, return_exceptions=True)


@asynccontextmanager
async def telephony(engines: Stack, *, rooms_stay_s: int = 0, **faults: Any) -> AsyncIterator[Telephony]:
    """Everything up. `rooms_stay_s`: how long a room stays that everybody left; needed where the server is restarted."""
    lk = line_rooms.client(engines)
    conf = engines.line
    async with AsyncExitStack() as inside:
        inside.push_async_callback(lk.aclose)
        if not (await lk.sip.list_dispatch_rule(api.ListSIPDispatchRuleRequest())).items:
            await line_rooms.provision(lk)
        if rooms_stay_s:
            for rule in (await lk.sip.list_dispatch_rule(api.ListSIPDispatchRuleRequest())).items:
                rule.room_config.departure_timeout = rule.room_config.empty_timeout = rooms_stay_s
                await lk.sip.update_dispatch_rule(rule.sip_dispatch_rule_id, rule)
        nurses = []
        for n in range(TARGETS):
            start = 40_000 + free_ports(socket.SOCK_DGRAM, 1)[0] % 50 * 400 + n * 100
            agent = Agent(port=0, rtp_ports=(start, start + 98))
            await agent.start()
            inside.push_async_callback(agent.stop)
            nurses.append(agent)
        (sip_port,) = free_ports(socket.SOCK_DGRAM, 1)
        first = 21_000 + sip_port % 80 * 100
        service = Agent(
            port=sip_port,
            rtp_ports=(first, first + 98),
            allowed_targets=tuple(f"127.0.0.1:{nurse.address[1]}" for nurse in nurses),
        )
        bench = SipBench(
            service,
            Access(conf.url, conf.access.api_key, conf.access.api_secret),
            redis=("127.0.0.1", conf.ports.redis),
            redis_password=conf.access.redis_password,
            faults=Faults(**faults),
        )
        await inside.enter_async_context(bench)
        yield Telephony(engines, lk, bench, sip_port, nurses)
