"""Offers a packet to the operator's own system: one signed POST, as often as it takes.

    POST <nurse_webhook_url>
    Content-Type: application/json
    X-Triage-Timestamp: 1767225600                     seconds since 1970, of this try
    X-Triage-Signature: v1=<hex>                       HMAC-SHA256 of timestamp, ".", body under the shared secret
    Idempotency-Key: <32 hex>-<version>                the same for every try of one version of one packet

    {"call": ..., "code": ..., "event": "packet", "level": ..., "made_ns": ..., "rank": ..., "v": 1, "version": ...}

The code opens the packet when a nurse claims it; nothing else here is about the caller's health, unless the setting
`nurse_webhook_words` says that the other system may have it (`category`, `reason` and the four parts are then added; not
of a caller who declined the record, and never a number that the caller withheld).
The receiver compares signatures in constant time, refuses a timestamp more than `REPLAY_WINDOW_S` from its clock, and
takes a key that it knows for delivered. A 2xx is a delivery. Redirects are not followed, proxies are not asked: the
address in the settings gets the code, and nobody else.
"""

import hashlib
import hmac
import http.client
import ipaddress
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from triage.errors import SettingError
from triage.handoff.packet import for_others
from triage.handoff.post import Undelivered
from triage.ports import Packet

REPLAY_WINDOW_S = 300
"""How far from its own clock a receiver may accept a timestamp, s."""
TRY_S = 3.0
"""One try ends after this, whatever the other side does, s."""
AGAIN = frozenset({408, 425, 429})
"""Answers below 500 after which another try may help."""
SECRET_BYTES = 16
"""The shortest secret."""
NS = 1_000_000_000


class Webhook:
    """One address that packets are offered to."""

    name = "webhook"
    delays_s: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
    """Rests between tries, s: about a minute in all."""

    def __init__(
        self,
        url: str,
        secret: bytes,
        *,
        words: bool = False,
        try_s: float = TRY_S,
        trusted: ssl.SSLContext | None = None,
    ) -> None:
        """`words`: send what was heard and found, too. `trusted`: certificates, instead of the system's.

        Raises:
            SettingError: the address is none that a code may be sent to, or the secret is too short.
        """
        self._url = checked(url)
        if len(secret) < SECRET_BYTES:
            raise SettingError(f"setting nurse_webhook_secret_file: the secret has under {SECRET_BYTES} bytes")
        self._secret, self._words, self._try_s = secret, words, try_s
        self._tls = (trusted or ssl.create_default_context()) if self._url.scheme == "https" else None

    def deliver(self, packet: Packet, *, wall_ns: int) -> None:
        """Offer one packet, once. Blocks for `try_s` at most.

        Raises:
            Undelivered: it was not taken; lasting where another try would be answered alike.
        """
        body = self._body(packet)
        timestamp = str(wall_ns // NS)
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": f"{hashlib.sha256(packet.code.encode()).hexdigest()[:32]}-{packet.version}",
            "User-Agent": "triage-line",
            "X-Triage-Signature": f"v1={signature(self._secret, timestamp, body)}",
            "X-Triage-Timestamp": timestamp,
        }
        path = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
        try:
            with self._connection() as connection:
                connection.request("POST", path, body, headers)
                status = connection.getresponse().status
        except TimeoutError:
            raise Undelivered("timed out") from None
        except ssl.SSLCertVerificationError:
            raise Undelivered("certificate refused", lasting=True) from None
        except (OSError, http.client.HTTPException) as error:
            raise Undelivered(type(error).__name__) from None
        if 200 <= status < 300:
            return
        raise Undelivered(f"http {status}", lasting=status < 500 and status not in AGAIN)

    def _body(self, packet: Packet) -> bytes:
        told = {
            "call": packet.call_id,
            "code": packet.code,
            "event": "packet",
            "level": packet.level,
            "made_ns": packet.made_ns,
            "rank": packet.rank,
            "v": 1,
            "version": packet.version,
        }
        if self._words and not packet.declined:
            parts = ("situation", "background", "assessment", "recommendation")
            told |= {"category": packet.category, "reason": packet.reason}
            told |= {part: dict(getattr(packet, part)) for part in parts}
            told["situation"] = for_others(packet.situation)
        return json.dumps(told, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()

    @contextmanager
    def _connection(self) -> Iterator[http.client.HTTPConnection]:
        """A connection that is cut when the try has taken too long, even by a side that drips."""
        host, port = self._url.hostname or "", self._url.port
        connection = (
            http.client.HTTPSConnection(host, port, timeout=self._try_s, context=self._tls)
            if self._tls is not None
            else http.client.HTTPConnection(host, port, timeout=self._try_s)
        )
        cut = threading.Event()

        def cuts() -> None:
            cut.set()
            if connection.sock is not None:
                with suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)

        alarm = threading.Timer(self._try_s, cuts)
        alarm.daemon = True
        alarm.start()
        try:
            yield connection
        except (OSError, http.client.HTTPException):
            if cut.is_set():
                raise TimeoutError from None
            raise
        finally:
            alarm.cancel()
            connection.close()


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """HMAC-SHA256, hex, of the timestamp, a full stop, and the body."""
    return hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def checked(url: str) -> SplitResult:
    """The address, taken apart.

    Raises:
        SettingError: not http(s), in clear to another machine, or with anything that does not belong there.
    """
    where = "setting nurse_webhook_url"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise SettingError(f"{where}: is no address such as https://desk.example/packets") from None
    if parts.scheme not in ("http", "https") or not host or any(c.isspace() or ord(c) < 32 for c in url):
        raise SettingError(f"{where}: is no address such as https://desk.example/packets")
    if parts.username is not None or parts.fragment:
        raise SettingError(f"{where}: takes no user name and no fragment; the signature says who we are")
    if parts.scheme == "http" and not _is_loopback(host):
        raise SettingError(f"{where}: http would carry the code in clear to another machine; use https")
    return parts


def read_secret(path: Path) -> bytes:
    """The shared secret: the file's bytes without blanks around them.

    Raises:
        SettingError: it cannot be read, others can read it too, or it is too short.
    """
    where = f"setting nurse_webhook_secret_file: {path}"
    try:
        if path.stat().st_mode & 0o077:
            raise SettingError(f"{where} can be read by others: chmod 600 it")
        secret = path.read_bytes().strip()
    except OSError as error:
        raise SettingError(f"{where} cannot be read ({error.strerror})") from error
    if len(secret) < SECRET_BYTES:
        raise SettingError(f"{where} has under {SECRET_BYTES} bytes; make one with: openssl rand -hex 32")
    return secret


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
