"""What the programs of the telephone line read: configurations, secrets and ports, in `data_dir/line`.

`prepare` is for the one supervisor: it makes the secrets on the first run, finds the ports free, and writes everything
anew from the settings. `opened` is for everybody else (worker, SIP service, status): it reads what `prepare` settled.

Rules: secrets stand in files that only the owner may read, never on a command line, in the environment or in a message.
Every address is 127.0.0.1, but for that where telephones ring when it is set. No public STUN server is told to anybody, nothing is measured by anybody else.
"""

import dataclasses
import errno
import json
import os
import secrets
import socket
import sys
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from triage.config import Settings
from triage.errors import StorageError, UsageError

LOOPBACK = "127.0.0.1"
LOOPBACK_INTERFACE = "lo0" if sys.platform == "darwin" else "lo"
NO_STUN = f"{LOOPBACK}:9"
"""Stands where a STUN server is named, as an empty list means public ones. Nothing answers there."""

SECRETS, PORTS = "secrets.json", "ports.json"
LIVEKIT_YAML, REDIS_CONF, SIP_YAML = "livekit.yaml", "redis.conf", "sip.yaml"

SHORTEST_SECRET = 16
"""What is shorter is no secret of ours, characters."""
EMPTY_ROOM_S = 30
"""A room where nobody came is closed after this, s."""
LEFT_ROOM_S = 20
"""A room that everybody left is closed after this, s. A worker that is restarted finds it again."""


@dataclass(frozen=True)
class Ports:
    """Loopback ports of one line."""

    redis: int
    server: int
    media: int
    """UDP, as are `sip` and the audio ports."""
    sip: int
    worker: int
    rtp_first: int
    rtp_count: int

    @property
    def rtp_last(self) -> int:
        """Last audio port."""
        return self.rtp_first + self.rtp_count - 1


@dataclass(frozen=True)
class Access:
    """Who we are to livekit-server and Redis."""

    api_key: str
    api_secret: str = field(repr=False)
    redis_password: str = field(repr=False)

    @property
    def secrets(self) -> tuple[str, str]:
        """What must never be seen."""
        return self.api_secret, self.redis_password


@dataclass(frozen=True)
class Line:
    """One telephone line on this machine."""

    folder: Path
    ports: Ports
    access: Access

    @property
    def url(self) -> str:
        """Of livekit-server, for rooms; its API is there too."""
        return f"ws://{LOOPBACK}:{self.ports.server}"

    @property
    def api_url(self) -> str:
        """Of livekit-server, for its API."""
        return f"http://{LOOPBACK}:{self.ports.server}"

    @property
    def logs(self) -> Path:
        """Folder of the scrubbed logs."""
        return self.folder / "logs"

    def file(self, name: str) -> Path:
        """A configuration of this line."""
        return self.folder / name


def folder_of(settings: Settings) -> Path:
    """Where the line of these settings keeps its files."""
    return settings.data_dir / "line"


def prepare(settings: Settings) -> Line:
    """Make secrets (first run), settle the ports, write every configuration. Only the supervisor calls this.

    Raises:
        UsageError: a port is taken; names the setting.
        StorageError: the folder cannot be written, or holds something unreadable.
    """
    folder = folder_of(settings)
    try:
        for place in (folder, folder / "logs"):
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
            place.chmod(0o700)
        access = _access(folder) or _new_access(folder)
        line = Line(folder, free_ports(settings), access)
        for name, text in configurations(settings, line).items():
            write_private(folder / name, text)
        write_private(folder / PORTS, json.dumps(dataclasses.asdict(line.ports)))
    except OSError as error:
        raise StorageError(
            f"{error.filename or folder}: {error.strerror}; mend it or name another folder with --data"
        ) from error
    return line


def opened(settings: Settings) -> Line:
    """The line that `prepare` settled last.

    Raises:
        UsageError: there was none yet.
        StorageError: its files are unreadable.
    """
    folder = folder_of(settings)
    access, ports = _access(folder), _read(folder / PORTS)
    if access is None or ports is None:
        raise UsageError(f"{folder} holds no telephone line yet; start one with `triage up`")
    try:
        return Line(folder, Ports(**{name: int(ports[name]) for name in Ports.__dataclass_fields__}), access)
    except (KeyError, TypeError, ValueError) as error:
        raise _broken(folder / PORTS) from error


# --- configurations


def configurations(settings: Settings, line: Line) -> dict[str, str]:
    """File name to text, for every program of the line."""
    return {
        LIVEKIT_YAML: livekit_yaml(line),
        REDIS_CONF: redis_conf(line),
        SIP_YAML: sip_yaml(settings, line),
    }


def livekit_yaml(line: Line) -> str:
    """For livekit-server, which refuses a key it does not know."""
    ports, access = line.ports, line.access
    return f"""\
# livekit-server; written anew by every `triage up`
port: {ports.server}
bind_addresses: ["{LOOPBACK}"]
logging:
  level: warn
  pion_level: error
  json: true
keys:
  {_quoted(access.api_key)}: {_quoted(access.api_secret)}
redis:
  address: {_quoted(f"{LOOPBACK}:{ports.redis}")}
  password: {_quoted(access.redis_password)}
rtc:
  udp_port: {ports.media}
  tcp_port: 0  # it would listen on every interface
  node_ip: {LOOPBACK}  # set by hand: nobody is asked for our address
  use_external_ip: false
  enable_loopback_candidate: true
  interfaces:
    includes: [{LOOPBACK_INTERFACE}]
  stun_servers: ["{NO_STUN}"]  # an empty list would send everybody to public ones
room:
  auto_create: true  # the SIP service makes a room by entering it
  empty_timeout: {EMPTY_ROOM_S}
  departure_timeout: {LEFT_ROOM_S}
agents:
  target_load: 1.0  # the worker alone decides what it takes
  enable_user_data_recording: false
  enable_user_data_redaction: true
"""


def redis_conf(line: Line) -> str:
    """For Redis: in memory only, as numbers of callers pass through it."""
    return f"""\
# Redis; written anew by every `triage up`
bind {LOOPBACK}
port {line.ports.redis}
protected-mode yes
requirepass {_quoted(line.access.redis_password)}
daemonize no
dir {_quoted(str(line.folder))}
save ""
appendonly no
loglevel warning
logfile ""
"""


def sip_yaml(settings: Settings, line: Line) -> str:
    """For LiveKit's own SIP service (v1.11.0), where somebody has it. No health port: it would be open to all."""
    ports, access = line.ports, line.access
    return f"""\
# livekit-sip; written anew by every `triage up`
api_key: {_quoted(access.api_key)}
api_secret: {_quoted(access.api_secret)}
ws_url: {_quoted(line.url)}
redis:
  address: {_quoted(f"{LOOPBACK}:{ports.redis}")}
  password: {_quoted(access.redis_password)}
sip_port: {ports.sip}
listen_ip: {settings.line_sip_address}
nat_1_to_1_ip: {settings.line_public_address or settings.line_sip_address}
use_external_ip: false
media_use_external_ip: false
rtp_port: {ports.rtp_first}-{ports.rtp_last}
rtp_draining_idle_timeout: -1s
max_cpu_utilization: 1
media_timeout: {settings.line_media_timeout_s:.0f}s
media_timeout_initial: 30s
sip_ringing_interval: 1s
logging:
  level: warn  # from info on it writes the caller's number
  json: true
"""


def _quoted(text: str) -> str:
    return json.dumps(text)


# --- secrets


def _new_access(folder: Path) -> Access:
    access = Access(
        api_key="triage" + secrets.token_hex(6),
        api_secret=secrets.token_urlsafe(32),
        redis_password=secrets.token_urlsafe(32),
    )
    write_private(folder / SECRETS, json.dumps(dataclasses.asdict(access)))
    return access


def _access(folder: Path) -> Access | None:
    path = folder / SECRETS
    read = _read(path)
    if read is None:
        return None
    if path.stat().st_mode & 0o077:
        raise StorageError(f"{path}: others may read it; remove it (new secrets are made) or `chmod 600` it")
    values = {name: str(read.get(name) or "") for name in Access.__dataclass_fields__}
    if not all(len(value) >= SHORTEST_SECRET for value in values.values()):
        raise _broken(path)
    return Access(**values)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _broken(path) from error
    if not isinstance(read, dict):
        raise _broken(path)
    return read


def _broken(path: Path) -> StorageError:
    return StorageError(f"{path}: unreadable; stop the line, remove the file and run `triage up`, which makes it anew")


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    handle, made = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # 0600 from the first byte
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(made, path)
    except OSError:
        with suppress(OSError):
            os.unlink(made)
        raise


# --- ports

_ONE_PORT = {  # field of Ports -> kinds of socket
    "redis": (socket.SOCK_STREAM,),
    "server": (socket.SOCK_STREAM,),
    "media": (socket.SOCK_DGRAM,),
    "sip": (socket.SOCK_DGRAM, socket.SOCK_STREAM),
    "worker": (socket.SOCK_STREAM,),
}
_TRIES = 50
"""Free ports looked at until one will do."""


def free_ports(settings: Settings) -> Ports:
    """The ports of these settings, each found free; any free one where the setting is 0.

    Raises:
        UsageError: one of them is taken; names the setting.
    """
    first, count = settings.line_rtp_first_port, settings.line_rtp_ports
    audio = range(first, first + count)
    _own(settings.line_sip_address)
    chosen: dict[str, int] = {}
    with ExitStack() as held:  # until all are found, so that no two are the same
        for name, kinds in _ONE_PORT.items():
            setting = f"line_{name}_port"
            wanted: int = getattr(settings, setting)
            if wanted in audio:
                raise UsageError(f"port {wanted} (setting {setting}) lies among the audio ports; set another")
            host = settings.line_sip_address if name == "sip" else LOOPBACK
            chosen[name] = _hold(held, setting, wanted, kinds, host) if wanted else _any(held, kinds, audio, host)
        for port in audio:
            _hold(held, "line_rtp_first_port", port, (socket.SOCK_DGRAM,))
    return Ports(rtp_first=first, rtp_count=count, **chosen)


def _own(address: str) -> None:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as tried:
            tried.bind((address, 0))
    except OSError as error:
        raise UsageError(
            f"{address} (setting line_sip_address) is no address of this machine; set one of its own"
        ) from error


def _hold(held: ExitStack, setting: str, port: int, kinds: tuple[socket.SocketKind, ...], host: str = LOOPBACK) -> int:
    try:
        return _bind(held, port, kinds, host)
    except OSError as error:
        why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be had ({error.strerror})"
        how = "" if setting == "line_rtp_first_port" else " (0: any free one)"
        raise UsageError(f"port {port} (setting {setting}) {why}; end what holds it or set another{how}") from error


def _any(held: ExitStack, kinds: tuple[socket.SocketKind, ...], audio: range, host: str) -> int:
    for _ in range(_TRIES):
        with ExitStack() as tried, suppress(OSError):
            port = _bind(tried, 0, kinds, host)
            if port not in audio:
                held.push(tried.pop_all())
                return port
    raise UsageError("no free loopback port was found; set the ports of the line by hand (see: triage settings)")


def _bind(held: ExitStack, port: int, kinds: tuple[socket.SocketKind, ...], host: str) -> int:
    for kind in kinds:
        bound = held.enter_context(socket.socket(socket.AF_INET, kind))
        if kind == socket.SOCK_STREAM:  # connections of the line before may still be fading
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        port = int(bound.getsockname()[1])
    return port
