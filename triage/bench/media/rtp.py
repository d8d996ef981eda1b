"""RTP packets (RFC 3550), their order, and keys as events (RFC 4733). Pure: bytes and values, no sockets, no clock."""

import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

KEYS = "0123456789*#ABCD"
"""Keys by event code."""
TICK = 160
"""Steps of the RTP clock in 20 ms, in each of our codecs."""
HOLD = 3
"""Packets that may wait for one that is missing."""
LONGEST_GAP = 25
"""Missing packets that are filled; a longer gap is a break, after which we go on as from a new start."""
KEY_PACKETS = 5
"""Packets of 20 ms of one key, before the three that end it."""
KEY_PAUSE = 3
"""Ticks of audio between two keys."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One RTP packet."""

    payload_type: int
    sequence: int
    """0 to 65535."""
    timestamp: int
    """0 to 2**32 - 1."""
    ssrc: int
    payload: bytes
    marker: bool = False

    def to_bytes(self) -> bytes:
        """Return the datagram."""
        kind = self.payload_type | (0x80 if self.marker else 0)
        return struct.pack(">BBHII", 0x80, kind, self.sequence, self.timestamp, self.ssrc) + self.payload


def parse_packet(datagram: bytes) -> Packet | None:
    """Read one datagram; None for what is no RTP packet (RTCP, too short, lying about its parts)."""
    if len(datagram) < 12 or datagram[0] >> 6 != 2:
        return None
    first, kind, sequence, timestamp, ssrc = struct.unpack_from(">BBHII", datagram)
    if 72 <= kind & 0x7F <= 76:  # RTCP's packet types, seen as RTP (RFC 5761)
        return None
    start, end = 12 + 4 * (first & 0x0F), len(datagram)
    if first & 0x10:
        if end < start + 4:
            return None
        start += 4 + 4 * int(struct.unpack_from(">H", datagram, start + 2)[0])
    if first & 0x20:
        padding = datagram[-1]
        end -= padding
        if not padding:
            return None
    if start > end:
        return None
    return Packet(kind & 0x7F, sequence, timestamp, ssrc, datagram[start:end], bool(kind & 0x80))


class Reorder:
    """Puts packets back into order: up to HOLD of them wait for a missing one, then it counts as lost."""

    def __init__(self) -> None:
        self._ssrc: int | None = None
        self._next = 0
        self._held: dict[int, Packet] = {}
        self.lost = 0
        """Packets given up so far."""

    def push(self, packet: Packet) -> list[Packet | None]:
        """Take one packet; return what is now due, in order, with None for each one that is lost."""
        ahead = (packet.sequence - self._next) & 0xFFFF
        if packet.ssrc != self._ssrc or LONGEST_GAP < ahead < 0x10000 - LONGEST_GAP:
            self._ssrc, self._next = packet.ssrc, packet.sequence
            self._held.clear()
            ahead = 0
        if ahead > 0x8000 or packet.sequence in self._held:  # late, or doubled
            return []
        self._held[packet.sequence] = packet
        due: list[Packet | None] = []
        while self._held and (self._next in self._held or len(self._held) > HOLD):
            due.append(self._held.pop(self._next, None))
            self.lost += due[-1] is None
            self._next = (self._next + 1) & 0xFFFF
        return due


class KeyListener:
    """Hears each key once, at its first packet: all packets of a key share their timestamp."""

    def __init__(self) -> None:
        self._heard: deque[tuple[int, int]] = deque(maxlen=8)

    def push(self, packet: Packet) -> str | None:
        """Take a telephone-event packet; return the key if it is a new one."""
        if len(packet.payload) < 4 or packet.payload[0] >= len(KEYS):
            return None
        press = (packet.ssrc, packet.timestamp)
        if press in self._heard:
            return None
        self._heard.append(press)
        return KEYS[packet.payload[0]]


def key_events(key: str) -> Iterator[tuple[bytes, bool] | None]:
    """Yield (payload, marker) of a key, one for each tick, then None for each tick of the pause after it.

    Raises: ValueError for a key that is none.
    """
    code = KEYS.index(key)
    for n in range(1, KEY_PACKETS + 1):
        yield struct.pack(">BBH", code, 10, n * TICK), n == 1
    for _ in range(3):
        yield struct.pack(">BBH", code, 0x80 | 10, KEY_PACKETS * TICK), False
    for _ in range(KEY_PAUSE):
        yield None


class Outflow:
    """Numbers what is sent. The clock runs on through everything that is not sent."""

    def __init__(self, ssrc: int, sequence: int, timestamp: int) -> None:
        self._ssrc = ssrc
        self._sequence = sequence
        self.timestamp = timestamp
        """Of the tick that is now."""

    def tick(self) -> None:
        """20 ms have passed."""
        self.timestamp = (self.timestamp + TICK) & 0xFFFFFFFF

    def packet(self, payload_type: int, payload: bytes, *, marker: bool = False, timestamp: int | None = None) -> bytes:
        """Return the next datagram; `timestamp` for one that belongs to an earlier tick."""
        stamp = self.timestamp if timestamp is None else timestamp
        packet = Packet(payload_type, self._sequence, stamp, self._ssrc, payload, marker)
        self._sequence = (self._sequence + 1) & 0xFFFF
        return packet.to_bytes()
