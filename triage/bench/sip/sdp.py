"""SDP: reading an offer or answer, agreeing on one codec, and writing ours.

Only what a telephone call on loopback needs: one audio stream, RTP/AVP, our three codecs and telephone-event. Further
offered streams are refused in the answer with port 0, as the RFC (3264, section 6) wants it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from triage.bench.sip.ports import CODECS, BenchError, Codec

RATES = {"PCMU": 8000, "PCMA": 8000, "G722": 16000}
"""Samples per second of each codec's audio."""
STATIC = {"PCMU": 0, "PCMA": 8, "G722": 9}
EVENTS_TYPE = 101
"""Payload type that we offer for telephone-event."""
DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
MOST_LINES = 200

_REVERSED = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}
_BY_TYPE = {number: name for name, number in STATIC.items()}


class BadSdp(BenchError):
    """No SDP we take; the message says what is wrong in fixed words."""


@dataclass(frozen=True, slots=True)
class RemoteMedia:
    """What the other side says about its audio, and about everything else it offers."""

    host: str
    port: int
    direction: str
    """As seen from the other side: one of DIRECTIONS."""
    codecs: Sequence[Codec]
    """Those of ours that it has, in its order."""
    events_type: int | None
    """Payload type of telephone-event, or None."""
    sections: Sequence[str]
    """Every m= line in order, as it came."""
    audio_index: int
    """Which of them is ours."""

    @property
    def holds_us(self) -> bool:
        """Whether nothing may be sent there."""
        return self.direction in ("sendonly", "inactive")


def parse(body: bytes) -> RemoteMedia:
    """Read an offer or an answer. Raises: BadSdp."""
    try:
        lines = body.decode("utf-8").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError:
        raise BadSdp("not text") from None
    if len(lines) > MOST_LINES or not lines or lines[0].strip() != "v=0":
        raise BadSdp("not SDP")
    session: list[str] = []
    sections: list[list[str]] = []
    for line in lines:
        line = line.strip()
        if line.startswith("m="):
            sections.append([line])
        else:
            (sections[-1] if sections else session).append(line)
    for index, section in enumerate(sections):
        found = re.fullmatch(r"m=audio (\d{1,5})(?:/1)? RTP/AVP((?: \d{1,3}){1,32})", section[0])
        if found and 0 < int(found[1]) < 65536:
            return _audio(session, section, int(found[1]), found[2].split(), [s[0] for s in sections], index)
    raise BadSdp("no audio over RTP/AVP")


def _audio(
    session: list[str], section: list[str], port: int, types: list[str], all_sections: list[str], index: int
) -> RemoteMedia:
    host = _connection(section) or _connection(session)
    if host is None:
        raise BadSdp("no address")
    named = {}
    for line in section:
        if found := re.fullmatch(r"a=rtpmap:(\d{1,3}) ([\w.-]{1,32})/(\d{1,6})(?:/1)?", line):
            named[int(found[1])] = (found[2].upper(), int(found[3]))
    codecs: list[Codec] = []
    events = None
    for number in map(int, types):
        name, clock = named.get(number, (_BY_TYPE.get(number, ""), 8000))
        if clock != 8000 or number > 127:
            continue
        if name == "TELEPHONE-EVENT" and events is None:
            events = number
        elif name in RATES and all(name != codec.name for codec in codecs):
            codecs.append(Codec(name, RATES[name], number))
    direction = _direction(section) or _direction(session) or "sendrecv"
    if host == "0.0.0.0":  # the old way to hold (RFC 2543)
        direction = "inactive" if direction in ("recvonly", "inactive") else "sendonly"
    return RemoteMedia(host, port, direction, tuple(codecs), events, tuple(all_sections), index)


def _connection(lines: list[str]) -> str | None:
    for line in lines:
        if line.startswith("c="):
            found = re.fullmatch(r"c=IN IP4 ([\d.]{7,15})", line)
            try:
                return str(ip_address(found[1])) if found else None
            except ValueError:
                return None
    return None


def _direction(lines: list[str]) -> str | None:
    return next((line[2:] for line in lines if line[:2] == "a=" and line[2:] in DIRECTIONS), None)


def agreed(remote: RemoteMedia, wanted: Sequence[str] = CODECS, rate: int | None = None) -> Codec | None:
    """Return the codec to use: the first of theirs that we want, at `rate` where one is given; None if there is none."""
    return next((c for c in remote.codecs if c.name in wanted and rate in (None, c.rate)), None)


def offer(host: str, port: int, codecs: Sequence[str], version: int) -> bytes:
    """Write our offer. `version` counts up within a call."""
    types = [STATIC[name] for name in codecs]
    maps = [f"a=rtpmap:{STATIC[name]} {name}/8000" for name in codecs]
    return _written(host, version, [_media_line(port, [*types, EVENTS_TYPE]), *maps, *_tail(EVENTS_TYPE, "sendrecv")])


def answer(remote: RemoteMedia, codec: Codec, host: str, port: int, version: int) -> bytes:
    """Write our answer to an offer: one codec, keys where they were offered, every other stream refused."""
    types = [codec.payload_type] + ([remote.events_type] if remote.events_type is not None else [])
    ours = [_media_line(port, types), f"a=rtpmap:{codec.payload_type} {codec.name}/8000"]
    ours += _tail(remote.events_type, _REVERSED[remote.direction])
    lines: list[str] = []
    for index, section in enumerate(remote.sections):
        lines += ours if index == remote.audio_index else [_refused(section)]
    return _written(host, version, lines)


def _refused(section: str) -> str:
    kind, _, rest = section.partition(" ")
    return f"{kind} 0 {rest.partition(' ')[2]}"


def _media_line(port: int, types: Sequence[int]) -> str:
    return f"m=audio {port} RTP/AVP {' '.join(map(str, types))}"


def _tail(events_type: int | None, direction: str) -> list[str]:
    keys = [] if events_type is None else [f"a=rtpmap:{events_type} telephone-event/8000", f"a=fmtp:{events_type} 0-15"]
    return [*keys, "a=ptime:20", f"a={direction}"]


def _written(host: str, version: int, media: Sequence[str]) -> bytes:
    head = ["v=0", f"o=bench 1 {version} IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0"]
    return "\r\n".join([*head, *media, ""]).encode()
