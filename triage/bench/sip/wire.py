"""SIP messages: bytes in, one checked value out; and back. The only file that knows the parser library.

`parse` is the one place where foreign bytes meet the library, because the library needs care: it raises exception
objects that it shares (each failure would lengthen one traceback for ever, with the header's text in its frames), it
reads every header lazily, it takes an indented line with a colon for a header of its own, does not cut the body to
Content-Length, and tells parameter names by case. Everything that a caller will touch is therefore read here, once.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from sipmessage import URI, Address, Message
from sipmessage import Request as ParsedRequest
from sipmessage import Response as ParsedResponse

from triage.bench.sip.ports import BenchError, InvalidTarget

LARGEST = 4096
"""Bytes of a datagram that is looked at. A SIP message over UDP is already odd above 2 kB."""
MOST_HEADERS = 64
DEFAULT_PORT = 5060

REASONS = {
    100: "Trying",
    180: "Ringing",
    200: "OK",
    400: "Bad Request",
    405: "Method Not Allowed",
    415: "Unsupported Media Type",
    416: "Unsupported URI Scheme",
    420: "Bad Extension",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    491: "Request Pending",
    500: "Server Internal Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    603: "Decline",
}
"""Reason phrases of the statuses that the bench sends."""

_SINGLE = ("from", "to", "call-id", "cseq", "content-length", "max-forwards")
_TOKEN = re.compile(r"[A-Za-z0-9.!%*_+`'~-]{1,64}")
_STATUS_LINE = re.compile(r"SIP/2\.0 ([1-6]\d\d) ([^\r\n]*)")
_FOLD = re.compile(rb"\r\n[ \t]+")
_BARE = re.compile(rb"\x00|\r(?!\n)|(?<!\r)\n")
_LONG_TEL = re.compile(rb"tel:[^;>\s]{129}")
_KNOWN_SCHEME = re.compile(r"(?:sips?|tel):")
_REFERABLE = re.compile(r"(?:sips?|tel):[\x21\x23-\x3b\x3d\x3f-\x7e]{1,255}")


class Malformed(BenchError):
    """Bytes that are no SIP message we take; the message says what is wrong in fixed words."""


@dataclass(frozen=True, slots=True)
class Uri:
    """Where something is."""

    text: str
    """As it came."""
    user: str
    """Decoded; empty where there is none."""
    host: str
    port: int | None


@dataclass(frozen=True, slots=True)
class Party:
    """From or To."""

    text: str
    """The whole header, as it came."""
    uri: Uri
    tag: str
    """Empty where there is none yet."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One Via."""

    host: str
    port: int
    branch: str
    rport: bool
    """Whether the sender asks for its address as we see it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SipMessage:
    """What requests and responses have in common."""

    headers: Mapping[str, Sequence[str]]
    """Names in lower case and in their long form, values as they came."""
    via: Sequence[Hop]
    from_: Party
    to: Party
    call_id: str
    cseq: int
    cseq_method: str
    contact: Uri | None
    record_route: Sequence[str]
    """Addresses, each with its angle brackets, in the order of the message."""
    body: bytes = b""

    def first(self, name: str, default: str = "") -> str:
        """Return the first value of a header, by its lower-case name."""
        values = self.headers.get(name)
        return values[0] if values else default


@dataclass(frozen=True, slots=True, kw_only=True)
class SipRequest(SipMessage):
    """A request."""

    method: str
    uri: Uri
    scheme_known: bool = True
    """False for a URI that is not sip:, sips: or tel:, which has no user and no host here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SipResponse(SipMessage):
    """A response."""

    status: int
    reason: str


def parse(datagram: bytes) -> SipRequest | SipResponse:
    """Read one datagram.

    Raises: Malformed, with fixed wording and without a traceback into the library.
    """
    why = "not SIP"
    try:
        return _parse(datagram)
    except Malformed as error:
        why = str(error)
    except Exception as error:  # a foreign library on foreign bytes: whatever it raises, the message is refused
        # Its exceptions are shared objects: without this they keep every caller's header text alive.
        error.__traceback__ = error.__context__ = error.__cause__ = None
    raise Malformed(why)


def _parse(datagram: bytes) -> SipRequest | SipResponse:
    if len(datagram) > LARGEST:
        raise Malformed("too large")
    head, blank, body = datagram.partition(b"\r\n\r\n")
    if not blank:
        raise Malformed("no empty line")
    head = _FOLD.sub(b" ", head)
    if _BARE.search(head):
        raise Malformed("bare control character")
    if head.count(b"\r\n") > MOST_HEADERS:
        raise Malformed("too many headers")
    if _LONG_TEL.search(head):
        raise Malformed("number too long")
    lines = head.decode("utf-8").split("\r\n")
    first, uri_text, scheme_known = lines[0], "", True
    words = first.split(" ")
    if len(words) == 3 and words[2] == "SIP/2.0":
        uri_text = words[1]
        if not _KNOWN_SCHEME.match(uri_text):
            scheme_known, words[1] = False, "sip:unknown.invalid"
            first = " ".join(words)
    names = [_canonical(line) for line in lines[1:]]
    if any(names.count(single) > 1 for single in _SINGLE):
        raise Malformed("a header came twice")
    # A star is a Contact for REGISTER only, which is refused anyway; the library cannot read it.
    rest = [line for line, name in zip(lines[1:], names, strict=True) if not (name == "contact" and line[-1:] == "*")]
    message = Message.parse("\r\n".join([first, *rest, "", ""]).encode())
    headers: dict[str, list[str]] = {}
    for key in message.headers.keys():  # noqa: SIM118 not a mapping: it has no iteration of its own
        headers[key.lower()] = list(message.headers.getlist(key))
    return _checked(message, headers, _cut(body, headers), uri_text, scheme_known)


def _canonical(line: str) -> str:
    name, colon, _ = line.partition(":")
    if not colon or not _TOKEN.fullmatch(name):
        raise Malformed("bad header line")
    return _COMPACT.get(name.lower(), name.lower())


_COMPACT = {"f": "from", "t": "to", "i": "call-id", "l": "content-length", "m": "contact", "v": "via"}


def _cut(body: bytes, headers: Mapping[str, Sequence[str]]) -> bytes:
    told = headers.get("content-length")
    if told is None:
        return body
    if not re.fullmatch(r"[0-9]{1,5}", told[0]) or int(told[0]) > len(body):
        raise Malformed("wrong Content-Length")
    return body[: int(told[0])]


def _checked(
    message: Message, headers: Mapping[str, Sequence[str]], body: bytes, uri_text: str, scheme_known: bool
) -> SipRequest | SipResponse:
    hops = []
    for via in message.via:
        told = {name.lower(): value for name, value in via.parameters.items()}
        hops.append(Hop(via.host, _port(via.port) or DEFAULT_PORT, told.get("branch") or "", "rport" in told))
    if not hops:
        raise Malformed("no Via")
    call_id, sequence = message.call_id, message.cseq
    if not call_id or len(call_id) > 256 or not 0 <= sequence.sequence < 2**31:
        raise Malformed("bad Call-ID or CSeq")
    contacts = message.contact
    common: dict[str, Any] = {
        "headers": headers,
        "via": tuple(hops),
        "from_": _party(message.from_address, headers["from"][0]),
        "to": _party(message.to_address, headers["to"][0]),
        "call_id": call_id,
        "cseq": sequence.sequence,
        "cseq_method": sequence.method,
        "contact": _uri(contacts[0].uri, str(contacts[0].uri)) if contacts else None,
        "record_route": tuple(f"<{address.uri}>" for address in message.record_route),
        "body": body,
    }
    if isinstance(message, ParsedRequest):
        if not _TOKEN.fullmatch(message.method) or message.method != sequence.method:
            raise Malformed("methods differ")
        uri = _uri(message.uri, uri_text) if scheme_known else Uri(uri_text, "", "", None)
        return SipRequest(method=message.method, uri=uri, scheme_known=scheme_known, **common)
    assert isinstance(message, ParsedResponse)
    if not 100 <= message.code <= 699:
        raise Malformed("bad status")
    return SipResponse(status=message.code, reason=message.phrase, **common)


def _party(address: Address, text: str) -> Party:
    tag = next((value for name, value in address.parameters.items() if name.lower() == "tag"), None)
    return Party(text, _uri(address.uri, str(address.uri)), tag or "")


def _uri(uri: URI, text: str) -> Uri:
    return Uri(text, uri.user or "", uri.host, _port(uri.port))


def _port(port: int | None) -> int | None:
    if port is not None and not 0 < port < 65536:
        raise Malformed("bad port")
    return port


def parse_sipfrag(body: bytes) -> tuple[int, str] | None:
    """Return status and reason phrase of the first line of a NOTIFY's body; None when there is none."""
    found = _STATUS_LINE.match(body[:256].decode("utf-8", "replace").lstrip())
    return (int(found[1]), found[2].strip()) if found else None


def loopback_address(host: str, port: int | None) -> tuple[str, int] | None:
    """Return where to send, or None when that is not an IPv4 loopback address: the bench sends nowhere else."""
    try:
        if host == "localhost" or (ip_address(host).is_loopback and ip_address(host).version == 4):
            return ("127.0.0.1" if host == "localhost" else host, port or DEFAULT_PORT)
    except ValueError:
        pass  # a name: no address at all
    return None


def parse_target(text: str) -> Uri:
    """Read a URI that is to be called. Raises: InvalidTarget."""
    text = text.strip()
    if text.startswith("<") and text.endswith(">"):
        text = text[1:-1]
    if not _REFERABLE.fullmatch(text):
        raise InvalidTarget("a target is a sip:, sips: or tel: URI")
    try:
        return _uri(URI.parse(text), text)
    except (ValueError, Malformed) as error:
        error.__traceback__ = None
        raise InvalidTarget("a target is a sip:, sips: or tel: URI") from None


# fmt: off
_OURS = frozenset({
    "via", "from", "to", "call-id", "cseq", "max-forwards", "contact", "content-length", "content-type",
    "record-route", "route", "refer-to", "event", "subscription-state", "allow", "require", "proxy-require",
    "supported", "authorization", "proxy-authorization",
})
# fmt: on


def checked_headers(headers: Mapping[str, str] | None) -> list[tuple[str, str]]:
    """Return headers that somebody wants to add to a request.

    Raises: ValueError for a name that is no token or is the protocol's own, and for a value that is not 1 to 1024
    printable ASCII characters.
    """
    for name, value in (headers or {}).items():
        if not _TOKEN.fullmatch(name) or name.lower() in _OURS:
            raise ValueError("this header cannot be added")
        if not 0 < len(value) <= 1024 or not value.isascii() or not value.isprintable():
            raise ValueError(f"header {name}: 1 to 1024 printable ASCII characters")
    return list((headers or {}).items())


def response_to(
    request: SipRequest,
    status: int,
    source: tuple[str, int],
    *,
    to_tag: str = "",
    reason: str | None = None,
    headers: Sequence[tuple[str, str]] = (),
    body: bytes = b"",
) -> bytes:
    """Build the answer to a request that came from `source`; a tag is added to To where it has none."""
    lines = [f"SIP/2.0 {status} {reason if reason is not None else REASONS.get(status, 'Unknown')}"]
    for index, value in enumerate(request.headers["via"]):
        if index == 0 and request.via[0].rport:
            here = f";received={source[0]};rport={source[1]}"
            value = re.sub(r";\s*rport\s*(?==|;|,|$)(=\d*)?", here, value, count=1, flags=re.IGNORECASE)
        lines.append(f"Via: {value}")
    lines += [f"Record-Route: {value}" for value in request.headers.get("record-route", ()) if 100 < status < 300]
    to = request.to.text if request.to.tag or not to_tag else f"{request.to.text};tag={to_tag}"
    lines += [f"From: {request.from_.text}", f"To: {to}", f"Call-ID: {request.call_id}"]
    lines += [f"CSeq: {request.cseq} {request.method}", *(f"{name}: {value}" for name, value in headers)]
    return _joined(lines, body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A request of ours, before its Via."""

    method: str
    uri: str
    from_: str
    to: str
    call_id: str
    cseq: int
    routes: Sequence[str] = ()
    headers: Sequence[tuple[str, str]] = field(default=())
    body: bytes = b""

    def render(self, via: str) -> bytes:
        """Return the bytes, with `via` as its only Via."""
        lines = [f"{self.method} {self.uri} SIP/2.0", f"Via: {via}", "Max-Forwards: 70"]
        lines += [f"Route: {route}" for route in self.routes]
        lines += [f"From: {self.from_}", f"To: {self.to}", f"Call-ID: {self.call_id}"]
        lines += [f"CSeq: {self.cseq} {self.method}", *(f"{name}: {value}" for name, value in self.headers)]
        return _joined(lines, self.body)


def _joined(lines: list[str], body: bytes) -> bytes:
    if any("\r" in line or "\n" in line or "\0" in line for line in lines):
        raise ValueError("a header must not contain line breaks")
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body
