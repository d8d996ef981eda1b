"""A LiveKit room in virtual time: a caller, telephones that can be dialled or referred to, and who hears whom.

It models what the tests of the line need of livekit-server and of the SIP service, the awkward parts included: a
telephone that answers asks at once to hear everybody, permission and subscription are two things, and a REFER whose
caller hangs up is a success.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from triage.clock import Clock
from triage.errors import SettingError
from triage.lines.livekit.line import LiveKitLine
from triage.lines.livekit.rooms import STATUS
from triage.lines.livekit.signalling import Fault, SignallingError
from triage.ports import FRAME, Pcm

CALLER = "sip_caller"
SIP, CLIENT_INITIATED, REMOVED, ROOM_CLOSED, TIMED_OUT = 3, 1, 4, 10, 14
"""Values of the SDK: a kind of participant, reasons to be gone."""
NETWORK_S = 0.004
"""What a request to livekit-server takes."""


@dataclass
class Telephone:
    """How a nurse's telephone behaves; seconds after the request."""

    answers_s: float | None = 1.2
    rings_s: float | None = 0.15
    refuses: int = 0
    """SIP status that comes instead of an answer."""
    key_s: float | None = None
    """It presses 1 this long after it heard something of ours."""
    key: str = "1"
    drops_s: float | None = None
    """It hangs up so long after the key."""
    joins_s: float = 0.05
    asks_s: float = 0.01
    """It asks to hear everybody so long after its answer was told."""


class Participant:
    def __init__(self, room: "FakeRoom", identity: str, status: str) -> None:
        self.identity, self.kind, self.attributes = identity, SIP, {STATUS: status}
        self.track_publications: dict[str, Any] = {}
        self.disconnect_reason: int | None = None
        self._room = room

    def publish(self) -> None:
        self._room.count += 1
        sid = f"TR_{self._room.count}"
        made = SimpleNamespace(sid=sid, subscribed=True, track=None, owner=self.identity)
        made.set_subscribed = lambda on: setattr(made, "subscribed", on)
        self.track_publications[sid] = made
        self._room.emit("track_published", made, self)

    def status(self, status: str) -> None:
        self.attributes[STATUS] = status
        self._room.emit("participant_attributes_changed", {STATUS: status}, self)


class FakeRoom:
    """As much of rtc.Room as a line uses."""

    def __init__(self) -> None:
        self.remote_participants: dict[str, Participant] = {}
        self.local_participant = SimpleNamespace(perform_rpc=self._rpc)
        self.handlers: dict[str, list[Callable[..., None]]] = {}
        self.count = 0
        self.rpcs: list[tuple[str, str]] = []
        self.rpc_answer: str | Exception = "{}"

    def on(self, name: str, handler: Callable[..., None]) -> None:
        self.handlers.setdefault(name, []).append(handler)

    def off(self, name: str, handler: Callable[..., None]) -> None:
        self.handlers[name].remove(handler)

    def emit(self, name: str, *told: Any) -> None:
        for handler in tuple(self.handlers.get(name, ())):
            handler(*told)

    def join(self, identity: str, status: str = "ringing", *, publishes: bool = True) -> Participant:
        there = self.remote_participants[identity] = Participant(self, identity, status)
        self.emit("participant_connected", there)
        if publishes:
            there.publish()
        return there

    def leave(self, identity: str, reason: int | None = CLIENT_INITIATED) -> None:
        there = self.remote_participants.pop(identity, None)
        if there is not None:
            there.disconnect_reason = reason
            self.emit("participant_disconnected", there)

    def press(self, identity: str, key: str) -> None:
        there = self.remote_participants.get(identity)
        self.emit("sip_dtmf_received", SimpleNamespace(digit=key, code=0, participant=there))

    async def _rpc(self, *, destination_identity: str, method: str, **_: Any) -> str:
        self.rpcs.append((destination_identity, method))
        if isinstance(self.rpc_answer, Exception):
            raise self.rpc_answer
        if destination_identity not in self.remote_participants:
            raise RuntimeError("nobody of that name")
        if method == "lk.sip.EndCall":
            self.leave(destination_identity)
        return self.rpc_answer


class FakeMouth:
    def __init__(self, sid: str, clock: Clock) -> None:
        self.sid, self._clock = sid, clock
        self.said: list[tuple[int, Pcm]] = []
        self.closed = False
        self.cancelled = 0

    async def capture(self, pcm: Pcm) -> None:
        try:
            await asyncio.sleep(0.0005)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self.said.append((self._clock.now_ns(), pcm))

    async def close(self) -> None:
        self.closed = True

    def loud(self) -> list[int]:
        """When something else than silence left, ns."""
        return [at for at, pcm in self.said if np.abs(pcm).max() > 100]


class FakeStudio:
    def __init__(self, world: "World") -> None:
        self._world = world
        self.mouths: dict[str, FakeMouth] = {}
        self.allowed: dict[str, set[str] | None] = {}
        self.voice: asyncio.Queue[Pcm | None] = asyncio.Queue()

    async def publish(self, name: str) -> FakeMouth:
        await asyncio.sleep(0.1)
        self._world.room.count += 1
        mouth = self.mouths[name] = FakeMouth(f"TR_ours_{name}", self._world.clock)
        self._world.published(name)
        return mouth

    async def listen(self, track: Any) -> AsyncIterator[Pcm]:
        while (pcm := await self.voice.get()) is not None:
            yield pcm

    def permit(self, allowed: Mapping[str, Sequence[str] | None]) -> None:
        self.allowed = {who: None if sids is None else set(sids) for who, sids in allowed.items()}


@dataclass
class World:
    """One call's room, its telephones, and livekit-server's API (`Signalling`)."""

    telephones: dict[str, Telephone] = field(default_factory=dict)
    talks_from_s: float = 0.2
    talks_to_s: float = 0.7
    presses: bool = False
    hangs_up_s: float | None = None
    empty_success: bool = True
    """A REFER's success has nothing in it, as with servers up to 1.13.5."""

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.room = FakeRoom()
        self.studio = FakeStudio(self)
        self.asked: list[tuple[Any, ...]] = []
        """Every request to livekit-server."""
        self.failing: dict[str, SignallingError] = {}
        """Requests that fail, by name."""
        self.wished: dict[str, set[str]] = {}
        """Tracks that a participant is subscribed to, permission aside."""
        self.deaf: set[str] = set()
        self.leaks: list[tuple[str, str, float]] = []
        self._dials: dict[str, asyncio.Future[None]] = {}
        self._refers: list[asyncio.Future[bool]] = []
        self._jobs: set[asyncio.Future[None]] = set()
        self.room.join(CALLER)
        self.line = LiveKitLine(
            self.room, CALLER, signalling=self, clock=self.clock, address_of=self.address_of, studio=self.studio
        )

    def address_of(self, name: str) -> str:
        if name not in self.telephones:
            raise SettingError(f"nurse directory: no target {name}")
        return f"sip:{name}@127.0.0.1"

    # --- the caller

    def published(self, name: str) -> None:
        """Our voice is there: the SIP service answers, the phone talks."""
        if name == "agent":
            self._start(self._caller())

    async def _caller(self) -> None:
        await asyncio.sleep(0.1)
        caller = self.room.remote_participants.get(CALLER)
        if caller is None:
            return
        caller.status("active")
        publication = next(iter(caller.track_publications.values()))
        self.room.emit("track_subscribed", object(), publication, caller)
        n = 0
        while CALLER in self.room.remote_participants:
            await asyncio.sleep(0.02)
            n += 1
            at_s = n * 0.02
            loud = self.talks_from_s <= at_s < self.talks_to_s
            self.studio.voice.put_nowait(np.full(FRAME, 5000 if loud else 0, np.int16))
            if self.presses and n == 50:
                self.room.press(CALLER, "5")
            if self.hangs_up_s is not None and at_s >= self.hangs_up_s:
                self.hang_up()
        self.studio.voice.put_nowait(None)

    def hang_up(self) -> None:
        """The caller's phone is put down: a REFER that is pending succeeds, so the API says."""
        caller = self.room.remote_participants.get(CALLER)
        if caller is not None:
            for refer in self._refers:
                if not refer.done():
                    refer.set_result(False)
            caller.status("hangup")
            self.room.leave(CALLER)

    # --- who hears whom

    def hears(self, identity: str) -> set[str]:
        """Whose voice a telephone gets: identities of telephones, names of our tracks."""
        if identity in self.deaf or identity not in self.room.remote_participants:
            return set()
        wished = self.wished.get(identity, set())
        others = {
            other.identity
            for other in self.room.remote_participants.values()
            if other.identity != identity and wished & set(other.track_publications)
        }
        allowed = self.studio.allowed.get(identity, set())
        ours = {
            name
            for name, mouth in self.studio.mouths.items()
            if identity in self.studio.allowed and (allowed is None or mouth.sid in allowed)
        }
        return others | {name for name in ours if self.studio.mouths[name].sid in wished or name == "agent"}

    def _everybody(self, identity: str) -> set[str]:
        there = {
            sid
            for p in self.room.remote_participants.values()
            if p.identity != identity
            for sid in p.track_publications
        }
        return there | {mouth.sid for mouth in self.studio.mouths.values()}

    # --- Signalling

    async def refer(self, caller: str, uri: str, *, headers: Mapping[str, str], answer_within_s: float) -> bool:
        await self._request("refer", caller, uri, dict(headers), answer_within_s)
        if caller not in self.room.remote_participants:
            raise SignallingError(Fault.GONE)
        telephone = self.telephones[uri.split(":")[1].split("@")[0]]
        result: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._refers.append(result)
        try:
            async with asyncio.timeout(answer_within_s):
                if telephone.answers_s is None and not telephone.refuses:
                    return await result
                with suppress(TimeoutError):
                    async with asyncio.timeout(telephone.answers_s or 0.5):
                        return await asyncio.shield(result)
        except TimeoutError:
            raise SignallingError(Fault.UNKNOWN) from None
        if telephone.refuses:
            raise SignallingError(Fault.REFUSED, telephone.refuses)
        self._start(self._taken())
        return not self.empty_success

    async def _taken(self) -> None:
        """The SIP service leaves a caller who was transferred alone for a second."""
        await asyncio.sleep(1.0)
        caller = self.room.remote_participants.get(CALLER)
        if caller is not None:
            caller.status("hangup")
            self.room.leave(CALLER)

    async def dial(self, uri: str, identity: str, *, headers: Mapping[str, str], answer_within_s: float) -> None:
        await self._request("dial", uri, identity, dict(headers), answer_within_s)
        telephone = self.telephones[uri.split(":")[1].split("@")[0]]
        dialling = self._dials[identity] = asyncio.ensure_future(self._ring(telephone, identity))
        try:
            async with asyncio.timeout(answer_within_s):
                await asyncio.shield(dialling)
        except TimeoutError:
            dialling.cancel()
            self.room.leave(identity)
            raise SignallingError(Fault.UNKNOWN) from None
        except asyncio.CancelledError:
            if dialling.cancelled():
                raise SignallingError(Fault.UNKNOWN) from None
            raise

    async def _ring(self, telephone: Telephone, identity: str) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()

        async def at(seconds: float) -> None:
            await asyncio.sleep(max(0.0, began + seconds - loop.time()))

        await at(telephone.joins_s)
        self.room.join(identity, "dialing")
        if CALLER in self.room.remote_participants:  # the caller's leg hears everybody who publishes
            self.wished.setdefault(CALLER, set()).update(self.room.remote_participants[identity].track_publications)
        if telephone.rings_s is not None:
            await at(telephone.rings_s)
            self._status(identity, "ringing")
        if telephone.refuses:
            await at(telephone.answers_s or 0.5)
            self.room.leave(identity)
            raise SignallingError(Fault.REFUSED, telephone.refuses)
        if telephone.answers_s is None:
            await asyncio.Event().wait()
        await at(telephone.answers_s or 0)
        self._status(identity, "active")
        await asyncio.sleep(telephone.asks_s)
        self.wished.setdefault(identity, set()).update(self._everybody(identity))
        self._start(self._listen(telephone, identity))

    async def _listen(self, telephone: Telephone, identity: str) -> None:
        """Wait for a word of ours, then press the key."""
        while not (identity in self.studio.mouths and self.studio.mouths[identity].loud()):
            if identity not in self.room.remote_participants:
                return
            await asyncio.sleep(0.02)
        if telephone.key_s is not None:
            await asyncio.sleep(telephone.key_s)
            self.room.press(identity, telephone.key)
            if telephone.drops_s is not None:
                await asyncio.sleep(telephone.drops_s)
                self._status(identity, "hangup")
                self.room.leave(identity)

    def _status(self, identity: str, status: str) -> None:
        there = self.room.remote_participants.get(identity)
        if there is not None:
            there.status(status)

    async def subscribe(self, identity: str, tracks: Sequence[str], on: bool) -> None:
        await self._request("subscribe", identity, tuple(tracks), on)
        wished = self.wished.setdefault(identity, set())
        wished.update(tracks) if on else wished.difference_update(tracks)
        self._tell_heard()

    async def may_hear(self, identity: str, may: bool) -> None:
        await self._request("may_hear", identity, may)
        self.deaf.discard(identity) if may else self.deaf.add(identity)
        self._tell_heard()

    def _tell_heard(self) -> None:
        for name, mouth in self.studio.mouths.items():
            if name != "agent" and name in self.hears(name):
                self.room.emit("local_track_subscribed", mouth)

    async def mark(self, identity: str, attributes: Mapping[str, str]) -> None:
        await self._request("mark", identity, dict(attributes))
        self.room.remote_participants[identity].attributes.update(attributes)

    async def remove(self, identity: str) -> None:
        await self._request("remove", identity)
        if identity not in self.room.remote_participants:
            raise SignallingError(Fault.GONE)
        dialling = self._dials.get(identity)
        if dialling is not None and not dialling.done():
            dialling.cancel()
        self.room.leave(identity, REMOVED)

    async def end_call(self, identity: str) -> None:
        await self._request("end_call", identity)
        if identity not in self.room.remote_participants:
            raise SignallingError(Fault.GONE)
        self.room.leave(identity, REMOVED)

    async def _request(self, name: str, *what: Any) -> None:
        self.asked.append((name, *what))
        await asyncio.sleep(NETWORK_S)
        if name in self.failing:
            raise self.failing[name]

    # --- for tests

    def requests(self, name: str) -> list[tuple[Any, ...]]:
        return [asked[1:] for asked in self.asked if asked[0] == name]

    def _start(self, work: Any) -> None:
        job = asyncio.ensure_future(work)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def end(self) -> None:
        for job in (*self._jobs, *self._dials.values()):
            job.cancel()
        await asyncio.gather(*self._jobs, *self._dials.values(), return_exceptions=True)
