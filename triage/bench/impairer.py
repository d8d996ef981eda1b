"""A bad network between telephones and the line, and a witness of what went over it.

Whoever lives at 127.0.0.1:PORT has a second address here, 127.0.0.2:PORT. Who is rung there sees the caller come from
127.0.0.2 too: in every SIP message and its SDP the two addresses change places (and audio gets a port of ours), so that requests, answers and
audio of the whole call pass through. Only `Refer-To` stays as it is: it is for a third party.

    with Impairer(seed=1) as network:
        network.stand_for(5070)                   # the line; phones ring sip:+15550100@127.0.0.2:5070
        network.impair(5080, NETWORKS["loss_10"])   # the phone at 5080 has a bad line
        ...
        network.messages(method="REFER")          # what was said, and when
        network.packets(10002, 6200)              # audio from one port to another

Times are `perf_counter`, which on Linux is the monotonic clock that every process of the machine shares. The same seed
loses the same packets of the same phone. Nothing leaves loopback.
"""

import asyncio
import heapq
import logging
import random
import re
import selectors
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from types import TracebackType
from typing import Any, Self, cast

from triage.bench.sip.ports import BenchError

log = logging.getLogger("triage.bench.impairer")

TRUE, ALIAS = "127.0.0.1", "127.0.0.2"
LARGEST = 65_535
SOCKET_BYTES = 1 << 20
"""Asked of the kernel for each socket: what comes while Python code of others runs must not be lost here."""
ROUND_S = 0.05
"""Longest sleep of the thread, s."""
_SWAPPED = {TRUE.encode(): ALIAS.encode(), ALIAS.encode(): TRUE.encode()}
_ADDRESS = re.compile(rb"127\.0\.0\.[12](?!\d)")
_OF_OTHERS = re.compile(rb"refer-to\s*:|r\s*:", re.IGNORECASE)
_AUDIO_PORT = re.compile(rb"^m=audio (\d{1,5})", re.MULTILINE)
_LENGTH = re.compile(rb"^((?:content-length|l)\s*:\s*)\d+", re.IGNORECASE | re.MULTILINE)
_REQUEST = re.compile(r"([A-Z]+) sips?:(?:([^@;>\s]*)@)?\S+ SIP/2\.0")
_RESPONSE = re.compile(r"SIP/2\.0 (\d{3}) ")


@dataclass(frozen=True, slots=True)
class Network:
    """What happens to the packets of one phone, each way."""

    loss: float = 0.0
    """Share that never arrives, 0 to 1."""
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    """Each packet takes up to this much longer; none overtakes another, as in a queue."""
    freeze_ms: float = 0.0
    """Nothing arrives for this long, then everything at once."""
    freeze_after_s: float = 3.0
    """From the phone's first packet to the freeze."""

    def __post_init__(self) -> None:
        if not 0 <= self.loss <= 1 or min(self.delay_ms, self.jitter_ms, self.freeze_ms, self.freeze_after_s) < 0:
            raise ValueError("loss is 0 to 1, times are not negative")


NETWORKS: Mapping[str, Network] = {
    "clean": Network(),
    "loss_2": Network(loss=0.02),
    "loss_10": Network(loss=0.10),
    "jitter_60": Network(jitter_ms=60),
    "freeze_500": Network(freeze_ms=500),
    "telephone_280": Network(delay_ms=140),  # there and back: what the telephone network adds to a turn
}


@dataclass(frozen=True, slots=True)
class Seen:
    """One SIP message that went over the wire."""

    sent_s: float
    delivered_s: float | None
    """None: it was lost, or not yet due."""
    source: int
    target: int
    """Ports of who sent it and who got it."""
    first: str
    """Request line or status line."""
    headers: Mapping[str, str]
    """By lower-case name; of several with one name the first."""
    body: str

    @property
    def method(self) -> str:
        """Of a request; empty for a response."""
        return found[1] if (found := _REQUEST.match(self.first)) else ""

    @property
    def status(self) -> int:
        """Of a response; 0 for a request."""
        return int(found[1]) if (found := _RESPONSE.match(self.first)) else 0

    @property
    def call_id(self) -> str:
        """The dialog it belongs to."""
        return self.headers.get("call-id", "")

    @property
    def answers(self) -> str:
        """Method that a response answers, or the request's own."""
        return self.headers.get("cseq", "").partition(" ")[2].strip()


@dataclass(frozen=True, slots=True)
class Carried:
    """One packet of audio."""

    sent_s: float
    delivered_s: float | None
    """None: lost."""
    datagram: bytes


@dataclass(slots=True)
class _Flow:
    """Packets of one kind of one phone in one direction."""

    chance: random.Random
    last_due_s: float = 0.0


@dataclass(slots=True)
class _Phone:
    network: Network
    number: int
    began_s: float | None = None
    flows: dict[tuple[str, str], _Flow] = field(default_factory=dict)


class Impairer:
    """Carries every packet between addresses of the two kinds. Use as a context manager; methods are for any thread."""

    def __init__(self, seed: int = 0) -> None:
        """The same `seed` spoils the same packets."""
        self._seed = seed
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._sockets: dict[int, socket.socket] = {}
        self._owner: dict[int, int] = {}
        """Audio port to the SIP port of its phone."""
        self._phones: dict[int, _Phone] = {}
        self._routes: dict[int, dict[str, int]] = {}
        self._taken: dict[tuple[int, str], int] = {}
        """Where a call that was routed by name went: (port that was rung, Call-ID) to the phone's port."""
        self._due: list[tuple[float, int, int, int, bytes]] = []
        self._order = count()
        self._seen: list[Seen] = []
        self._carried: dict[tuple[int, int], list[Carried]] = {}
        self._ending = False
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="impairer", daemon=True)

    def __enter__(self) -> Self:
        self._selector.register(self._wake_out, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending = True
        self._wake()
        self._thread.join()
        self._selector.close()
        for sock in (*self._sockets.values(), self._wake_in, self._wake_out):
            sock.close()

    # --- setting up

    def stand_for(self, port: int) -> tuple[str, int]:
        """Give whoever lives at this port their second address, and return it.

        Raises: BenchError when it is taken.
        """
        with self._lock:
            self._opened(port)
        self._wake()
        return ALIAS, port

    def impair(self, port: int, network: Network) -> None:
        """Spoil what goes to and from the phone at this SIP port, audio included, from now on."""
        with self._lock:
            known = self._phones.get(port)
            if known is None:
                self._phones[port] = _Phone(network, len(self._phones))
            else:
                known.network, known.began_s = network, None

    def route(self, port: int, phones: Mapping[str, int]) -> None:
        """Who rings `name` at this port reaches the phone at `phones[name]`: several phones behind one address.

        Other names reach the port itself. Raises: BenchError as `stand_for`.
        """
        self.stand_for(port)
        with self._lock:
            self._routes[port] = dict(phones)

    # --- looking

    def messages(
        self,
        *,
        method: str = "",
        status: int = 0,
        answers: str = "",
        source: int = 0,
        target: int = 0,
        since_s: float = 0.0,
    ) -> list[Seen]:
        """SIP messages so far, in order of sending; only those that fit what is given."""
        with self._lock:
            seen = list(self._seen)
        return [
            message
            for message in seen
            if (not method or message.method == method)
            and (not status or message.status == status)
            and (not answers or (message.status and message.answers == answers))
            and (not source or message.source == source)
            and (not target or message.target == target)
            and message.sent_s >= since_s
        ]

    async def message(self, limit_s: float = 10.0, count: int = 1, **wanted: Any) -> Seen:
        """The `count`th message that fits (as `messages`), as soon as it is there. Raises: TimeoutError."""
        async with asyncio.timeout(limit_s):
            while len(found := self.messages(**wanted)) < count:  # noqa: ASYNC110 a thread tells nobody
                await asyncio.sleep(0.01)
        return found[count - 1]

    def packets(self, source: int, target: int) -> list[Carried]:
        """Audio packets from one port to another, in order of sending."""
        with self._lock:
            return list(self._carried.get((source, target), ()))

    def audio_port(self, message: Seen) -> int:
        """Where the sender of this message wants its audio; 0 when it does not say."""
        found = _AUDIO_PORT.search(message.body.encode())
        return int(found[1]) if found else 0

    # --- the thread

    def _wake(self) -> None:
        with suppress(BlockingIOError):
            self._wake_in.send(b"\0")

    def _run(self) -> None:
        while not self._ending:
            now = time.perf_counter()
            with self._lock:
                wait_s = min(ROUND_S, max(0.0, self._due[0][0] - now)) if self._due else ROUND_S
            for key, _ in self._selector.select(wait_s):
                if key.data is None:
                    with suppress(BlockingIOError):
                        self._wake_out.recv(4096)
                else:
                    self._drain(cast(socket.socket, key.fileobj), key.data)
            self._deliver()

    def _drain(self, sock: socket.socket, port: int) -> None:
        for _ in range(64):  # then the others have their turn
            try:
                datagram, (host, source) = sock.recvfrom(LARGEST)
            except (BlockingIOError, ConnectionError):
                return
            now = time.perf_counter()
            if host != TRUE:
                continue
            try:
                with self._lock:
                    self._take(now, source, port, datagram)
            except BenchError as error:
                log.warning("%s", error)

    def _take(self, now: float, source: int, port: int, datagram: bytes) -> None:
        """Note a packet that has come, and put it where it waits for its time."""
        if datagram[:1] and 0x80 <= datagram[0] < 0xC0:
            self._opened(source, exactly=False)
            due = self._when(now, source, port, "audio")
            self._carried.setdefault((source, port), []).append(Carried(now, due, datagram))
            if due is not None:
                heapq.heappush(self._due, (due, next(self._order), source, port, datagram))
            return
        changed = _swapped(datagram)
        self._opened(source)
        message = _read(datagram)
        target = self._routed(port, message)
        if (found := _AUDIO_PORT.search(datagram)) and int(found[1]):
            audio = int(found[1])
            self._owner[audio] = source
            changed = _with_audio_port(changed, self._opened(audio, exactly=False))
        due = self._when(now, source, target, "sip")
        self._seen.append(Seen(now, due, source, target, message.first, message.headers, message.body))
        if due is not None:
            heapq.heappush(self._due, (due, next(self._order), source, target, changed))

    def _routed(self, port: int, message: Seen) -> int:
        phones = self._routes.get(port)
        if not phones or not message.method:
            return port
        key = port, message.call_id
        if key not in self._taken:
            found = _REQUEST.match(message.first)
            self._taken[key] = phones.get((found[2] or "") if found else "", port)
            self._opened(self._taken[key])
        return self._taken[key]

    def _when(self, now: float, source: int, target: int, kind: str) -> float | None:
        """When a packet arrives; None when it never does."""
        direction = "out"
        phone = self._phones.get(self._owner.get(source, source))
        if phone is None:
            direction = "in"
            phone = self._phones.get(self._owner.get(target, target))
        if phone is None:
            return now
        network = phone.network
        if phone.began_s is None:
            phone.began_s = now
        flow = phone.flows.setdefault(
            (direction, kind), _Flow(random.Random(f"{self._seed} {phone.number} {direction} {kind}"))
        )
        if flow.chance.random() < network.loss:
            return None
        due = now + (network.delay_ms + flow.chance.random() * network.jitter_ms) / 1000
        frozen_s = phone.began_s + network.freeze_after_s
        if frozen_s <= due < frozen_s + network.freeze_ms / 1000:
            due = frozen_s + network.freeze_ms / 1000
        flow.last_due_s = due = max(due, flow.last_due_s)
        return due

    def _deliver(self) -> None:
        now = time.perf_counter()
        while True:
            with self._lock:
                if not self._due or self._due[0][0] > now:
                    return
                _, _, source, target, datagram = heapq.heappop(self._due)
                sock = self._sockets[source]
            with suppress(OSError):  # nobody there any more
                sock.sendto(datagram, (TRUE, target))

    def _opened(self, port: int, *, exactly: bool = True) -> int:
        """Have a second address for this port; returns its port, which may be another where `exactly` is not asked."""
        if port not in self._sockets:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BYTES)
                sock.setblocking(False)
                try:
                    sock.bind((ALIAS, port))
                except OSError:
                    if exactly:
                        raise
                    sock.bind((ALIAS, 0))  # some phones hold their audio port on every address
            except OSError as error:
                sock.close()
                raise BenchError(f"{ALIAS}:{port} cannot be had ({error.strerror}); end what holds it") from error
            self._sockets[port] = sock
            self._selector.register(sock, selectors.EVENT_READ, port)
        return int(self._sockets[port].getsockname()[1])


def _swapped(datagram: bytes) -> bytes:
    """The message as the other side must read it."""
    head, gap, body = datagram.partition(b"\r\n\r\n")
    lines = [line if _OF_OTHERS.match(line) else _ADDRESS.sub(_other, line) for line in head.split(b"\r\n")]
    return b"\r\n".join(lines) + gap + _ADDRESS.sub(_other, body)


def _with_audio_port(message: bytes, port: int) -> bytes:
    """The message with its audio at another port."""
    head, gap, body = message.partition(b"\r\n\r\n")
    body = _AUDIO_PORT.sub(b"m=audio %d" % port, body)
    return _LENGTH.sub(b"\\g<1>%d" % len(body), head) + gap + body


def _other(found: "re.Match[bytes]") -> bytes:
    return _SWAPPED[found[0]]


def _read(datagram: bytes) -> Seen:
    """First line, headers and body, as far as they can be told."""
    head, _, body = datagram.decode("utf-8", "replace").partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            headers.setdefault(name.strip().lower(), value.strip())
    return Seen(0.0, None, 0, 0, first, headers, body)
