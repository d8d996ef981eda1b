"""The media thread: every 20 ms one packet to each phone, and whatever phones send, as it comes.

One thread for all calls, apart from the asyncio loop, with absolute deadlines: no drift, and whatever holds up the
loop does not hold up the beat (only what holds the GIL does). What it hears it hands to the loop, in one go per round.

Shrinking the queue at the first frame that waits would make silence and loss take turns; so a frame is dropped only
when more than one has been waiting for half a second without a break; what a stall has piled up goes in one piece.
"""

import asyncio
import logging
import os
import selectors
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from triage.bench.media.codecs import decoder, encoder
from triage.bench.media.rtp import KeyListener, Outflow, Packet, Reorder, key_events, parse_packet
from triage.bench.sip.ports import BenchError, Codec, Pcm

log = logging.getLogger("triage.bench.media")

TICK_S = 0.02
SLACK = 1
"""Frames that may wait."""
MOST_LATE = 5
"""More surplus frames than this are dropped at once: after a stall of the machine nobody is heard seconds late."""
WATCHED = 25
"""Ticks over which a queue must have been too long before a frame is dropped."""
LONGEST_QUEUE_S = 10.0
MOST_BEHIND_S = 0.2
"""A thread that is later than this skips what it missed instead of sending it in a burst."""
PER_ROUND = 32
"""Datagrams taken from one phone before the others have their turn."""
SWITCH_S = 0.0005
"""How long Python code of another thread may go on when the beat is due (the default is 5 ms)."""
PRIORITY = -15
"""Niceness of the thread, where we may set one. With it the longest gap of ten calls beside busy neighbours was 24 ms
instead of 28 to 93 (2 cores)."""
LARGEST_PAYLOAD = 1600
GAP_LIMIT_MS = 500
"""Longer gaps between packets are counted as this long; their maximum is kept as it was."""


@dataclass(frozen=True, slots=True)
class MediaSetup:
    """What the two sides have agreed; replaced as a whole."""

    codec: Codec
    events_type: int | None
    remote: tuple[str, int]
    sending: bool


@dataclass(slots=True)
class MediaCounts:
    """What went through one session."""

    sent: int = 0
    silent: int = 0
    """Of those: packets of silence, because nothing was queued."""
    dropped: int = 0
    """Frames thrown away because the queue was too long."""
    received: int = 0
    lost: int = 0


class Gaps:
    """Times between two packets sent to one phone, counted in tenths of a millisecond; what waits on hold is no gap."""

    _most_ms: float

    def __init__(self) -> None:
        self.clear()

    def add(self, gap_s: float) -> None:
        """Count one."""
        self._counts[min(int(gap_s * 10_000), GAP_LIMIT_MS * 10)] += 1
        self._most_ms = max(self._most_ms, gap_s * 1000)

    def clear(self) -> None:
        """Begin anew."""
        self._counts = [0] * (GAP_LIMIT_MS * 10 + 1)
        self._most_ms = 0.0

    def summary(self) -> dict[str, float]:
        """Return n, and p50, p99, p99.9 and max in ms; only n where there was nothing."""
        counts = np.array(self._counts)
        n = int(counts.sum())
        if not n:
            return {"n": 0}
        reached = np.cumsum(counts)
        found = {f"p{p:g}": float(np.searchsorted(reached, n * p / 100)) / 10 for p in (50, 99, 99.9)}
        return {"n": n, **found, "max": round(self._most_ms, 1)}


class MediaSession:
    """Audio of one call. Made by `MediaThread.open`; methods may be called from any thread."""

    def __init__(self, sock: socket.socket, first_media_timeout_s: float, gaps: Gaps) -> None:
        self.port = int(sock.getsockname()[1])
        """Our RTP port."""
        self.on_audio: Callable[[Pcm], None] | None = None
        self.on_digit: Callable[[str], None] | None = None
        self.on_timeout: Callable[[bool], None] | None = None
        """Gets True when a packet had come before; called once."""
        self.media_timeout_s = 0.0
        self.counts = MediaCounts()
        self._sock = sock
        self._gaps = gaps
        self._sent_at: float | None = None
        self._first_timeout_s = first_media_timeout_s
        self._setup: MediaSetup | None = None
        self._applied: MediaSetup | None = None
        self._queue: deque[Pcm] = deque()
        self._lone = False
        self._waiting: deque[int] = deque(maxlen=WATCHED)
        self._keys: deque[str] = deque()
        self._events: Iterator[tuple[bytes, bool] | None] | None = None
        self._key_stamp = 0
        self._out = Outflow(*(int.from_bytes(os.urandom(n), "big") for n in (4, 2, 4)))
        self._restart = True
        self._reorder = Reorder()
        self._listener = KeyListener()
        self._rest: Pcm = np.zeros(0, np.int16)
        self._alive_at: float | None = None
        self._timed_out = False

    @property
    def setup(self) -> MediaSetup | None:
        """What is in force; None before the media were started."""
        return self._setup

    def start(self, setup: MediaSetup | None) -> None:
        """Begin, or go on with something else: the next tick takes it up. None stops what is sent."""
        self._setup = setup

    def send(self, pcm: Pcm) -> None:
        """Queue audio, once the media run. Raises: ValueError for what is no int16 or no multiple of 10 ms."""
        setup = self._setup
        if setup is None:
            return
        block = setup.codec.rate // 100
        if pcm.dtype != np.int16 or pcm.ndim != 1 or len(pcm) % block:
            raise ValueError("audio is int16, mono, a multiple of 10 ms")
        if len(self._queue) * 0.01 < LONGEST_QUEUE_S:
            self._queue.extend(pcm[at : at + block].copy() for at in range(0, len(pcm), block))

    def flush(self) -> None:
        """Forget what is queued."""
        self._queue.clear()

    def press(self, keys: str) -> None:
        """Queue keys. Raises: ValueError for one that is none."""
        for key in keys:
            next(key_events(key))
        self._keys.extend(keys)

    # --- on the media thread

    def tick(self, now: float, _: Callable[..., None] | None = None) -> None:
        """Send what is due."""
        setup = self._setup
        if setup is None:
            return
        if setup is not self._applied:
            self._apply(setup, now)
        self._out.tick()
        if not setup.sending:
            self._queue.clear()
            self._restart = True
            self._sent_at = None
        elif (datagram := self._key(setup) or self._audio(setup)) is not None:
            try:
                self._sock.sendto(datagram, setup.remote)
                self._count()
            except OSError:  # nobody there (ICMP), or no room: the next tick comes in 20 ms
                pass

    def _count(self) -> None:
        self.counts.sent += 1
        at = _now()
        if self._sent_at is not None:
            self._gaps.add(at - self._sent_at)
        self._sent_at = at

    def _apply(self, setup: MediaSetup, now: float) -> None:
        before, self._applied = self._applied, setup
        if before is None:
            self._alive_at = now
        if before is None or before.codec != setup.codec:
            self._encoder, self._decoder = encoder(setup.codec.name), decoder(setup.codec.name)
            self._silence = np.zeros(setup.codec.rate // 50, np.int16)

    def _key(self, setup: MediaSetup) -> bytes | None:
        if setup.events_type is None:
            self._keys.clear()
            return None
        if self._events is None:
            if not self._keys:
                return None
            self._events, self._key_stamp = key_events(self._keys.popleft()), self._out.timestamp
        try:
            event = next(self._events)
        except StopIteration:
            self._events = None
            return None
        if event is None:
            return None
        self._next_frame()  # a key takes the place of the audio, which goes on behind it (RFC 4733)
        return self._out.packet(setup.events_type, event[0], marker=event[1], timestamp=self._key_stamp)

    def _audio(self, setup: MediaSetup) -> bytes:
        frame = self._next_frame()
        if frame is None or len(frame) != len(self._silence):
            frame = self._silence
            self.counts.silent += 1
        marker, self._restart = self._restart, False
        return self._out.packet(setup.codec.payload_type, self._encoder.encode(frame), marker=marker)

    def _next_frame(self) -> Pcm | None:
        queue = self._queue
        try:
            if len(queue) >= 2:
                frame = np.concatenate((queue.popleft(), queue.popleft()))
                self._lone = False
            elif queue and self._lone:  # half a frame whose other half did not come
                frame = np.concatenate((half := queue.popleft(), np.zeros_like(half)))
                self._lone = False
            else:
                self._lone = bool(queue)
                self._waiting.append(0)
                return None
            self._waiting.append(len(queue) // 2)
            if len(self._waiting) == WATCHED and (surplus := min(self._waiting) - SLACK) > 0:
                for _ in range(surplus if surplus > MOST_LATE else 1):
                    queue.popleft()
                    queue.popleft()
                    self.counts.dropped += 1
                self._waiting.clear()
        except IndexError:  # flushed meanwhile
            return None
        return frame

    def read(self, now: float, deliver: Callable[..., None]) -> None:
        """Take what has come in; `deliver(callback, argument)` for everything that is to be heard."""
        for _ in range(PER_ROUND):
            try:
                datagram = self._sock.recv(2048)
            except OSError:
                return
            setup = self._applied
            packet = parse_packet(datagram)
            if setup is None or packet is None or len(packet.payload) > LARGEST_PAYLOAD:
                continue
            if packet.payload_type not in (setup.codec.payload_type, setup.events_type):
                continue
            self._alive_at = now
            self.counts.received += 1
            if packet.payload_type == setup.events_type and (key := self._listener.push(packet)):
                deliver(self, "on_digit", key)
            for due in self._reorder.push(packet):
                self._hear(due, setup, deliver)
            self.counts.lost = self._reorder.lost

    def _hear(self, packet: Packet | None, setup: MediaSetup, deliver: Callable[..., None]) -> None:
        if packet is None:
            pcm = self._silence
        elif packet.payload_type == setup.codec.payload_type:
            pcm = self._decoder.decode(packet.payload)
        else:
            return
        size = setup.codec.rate // 50
        if len(self._rest) or len(pcm) != size:  # a phone with other packets than 20 ms
            pcm = np.concatenate((self._rest, pcm))
        whole = len(pcm) - len(pcm) % size
        for at in range(0, whole, size):
            deliver(self, "on_audio", pcm[at : at + size])
        self._rest = pcm[whole:]

    def check(self, now: float, deliver: Callable[..., None]) -> None:
        """Say so, once, when nothing has come for too long."""
        if self._alive_at is None or self._timed_out:
            return
        heard = self.counts.received > 0
        limit = self.media_timeout_s if heard else self._first_timeout_s
        if limit and now - self._alive_at > limit:
            self._timed_out = True
            deliver(self, "on_timeout", heard)

    def close(self) -> None:
        """Give the port back."""
        self._setup = None
        self._sock.close()


class MediaThread:
    """All sessions of one agent. Callbacks run on the loop that `start` was called on."""

    def __init__(self, host: str, ports: tuple[int, int]) -> None:
        """`ports` is the first and the last that may be used; even ones are taken."""
        self._host = host
        self._ports = range(ports[0] + ports[0] % 2, ports[1] + 1, 2)
        self._next_port = 0
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = socket.socketpair()
        self._orders: deque[Callable[[], None]] = deque()
        self._sessions: list[MediaSession] = []
        self._heard: list[tuple[MediaSession, str, Any]] = []
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self.gaps = Gaps()
        """Of all calls together, since the start or the last `clear`."""
        self.late_ticks = 0
        """Ticks that came more than 20 ms after they were due."""

    def start(self) -> None:
        """Start the thread. Sets Python's switch interval for the whole process."""
        sys.setswitchinterval(SWITCH_S)
        self._loop = asyncio.get_running_loop()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="media", daemon=True)
        self._thread.start()
        self._order(lambda: None)

    def open(self, first_media_timeout_s: float) -> MediaSession:
        """Bind a port for one call. Raises: BenchError when none is free."""
        for attempt in range(len(self._ports)):
            port = self._ports[(self._next_port + attempt) % len(self._ports)]
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                sock.bind((self._host, port))
            except OSError:
                sock.close()
                continue
            self._next_port = (self._next_port + attempt + 1) % len(self._ports)
            sock.setblocking(False)
            session = MediaSession(sock, first_media_timeout_s, self.gaps)
            self._order(partial(self._add, session, sock))
            return session
        raise BenchError("no RTP port is free; widen the range or end calls")

    def close(self, session: MediaSession) -> None:
        """End one call's media."""
        session.on_audio = session.on_digit = session.on_timeout = None
        self._order(lambda: self._remove(session))

    async def stop(self) -> None:
        """End the thread and everything in it."""
        self._stopping = True
        if self._thread is not None:
            self._order(lambda: None)
            await asyncio.get_running_loop().run_in_executor(None, self._thread.join, 2.0)
            self._thread = None
        for session in self._sessions:
            session.close()
        self._sessions.clear()
        self._selector.close()
        self._wake_read.close()
        self._wake_write.close()

    def _order(self, order: Callable[[], None]) -> None:
        self._orders.append(order)
        if self._thread is not None:
            with suppress(BlockingIOError):  # it is full: the thread is about to wake up anyway
                self._wake_write.send(b"x")

    # --- on the media thread

    def _add(self, session: MediaSession, sock: socket.socket) -> None:
        self._sessions.append(session)
        self._selector.register(sock, selectors.EVENT_READ, session)

    def _remove(self, session: MediaSession) -> None:
        if session in self._sessions:
            self._sessions.remove(session)
            self._selector.unregister(session._sock)
            session.close()

    def _run(self) -> None:
        if sys.platform == "linux":  # there a priority belongs to a thread; elsewhere it would be the whole process
            with suppress(OSError):  # not allowed: the beat is then as good as the machine is idle
                os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
        due = _now()
        while not self._stopping:
            at = _now()
            if at >= due:
                self._tick(at)
                self.late_ticks += at - due > TICK_S
                due += TICK_S
                if at - due > MOST_BEHIND_S:
                    due = at + TICK_S
            else:
                for key, _ in self._selector.select(due - at):
                    if key.data is None:
                        self._obey()
                    elif key.data in self._sessions:
                        self._guarded(key.data, key.data.read, _now())
            self._hand_over()

    def _tick(self, at: float) -> None:
        for session in self._sessions:
            self._guarded(session, session.tick, at)
        for session in self._sessions:
            session.check(at, self._deliver)

    def _guarded(self, session: MediaSession, step: Callable[..., None], at: float) -> None:
        try:
            step(at, self._deliver)
        except Exception:  # one call's trouble must not stop the others' audio
            log.exception("media of a call stopped")
            session.start(None)

    def _obey(self) -> None:
        try:
            self._wake_read.recv(4096)
        except BlockingIOError:
            pass  # woken for orders that are done already
        while self._orders:
            self._orders.popleft()()

    def _deliver(self, session: MediaSession, name: str, argument: object) -> None:
        self._heard.append((session, name, argument))

    def _hand_over(self) -> None:
        if not self._heard:
            return
        heard, self._heard = self._heard, []
        try:
            assert self._loop is not None
            self._loop.call_soon_threadsafe(_call_back, heard)
        except RuntimeError:  # the loop is closed: nobody listens any more
            self._stopping = True


def _now() -> float:
    return time.monotonic()  # noqa: TID251 the beat of a thread of its own, which no loop's time may hold up


def _call_back(heard: list[tuple[MediaSession, str, Any]]) -> None:
    for session, name, argument in heard:
        callback = getattr(session, name)
        if callback is None:
            continue
        try:
            callback(argument)
        except Exception:  # a listener's trouble must not cost the other calls their audio
            log.exception("a listener of a call failed")
