"""baresip as a telephone: one folder, one WAV to speak, both directions recorded, driven over its control port.

It is a real phone: it follows a REFER by ringing the target itself. One instance is one telephone; each needs its own
folder, ports and WAV (mono, at the codec's rate, longer than the call, which ends with the file).
"""

import asyncio
import json
import shutil
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triage.errors import UsageError

RATES = {"PCMU": 8000, "PCMA": 8000, "G722": 16000}
MODULE_FOLDERS = (
    "/usr/lib/baresip/modules",
    "/usr/lib/x86_64-linux-gnu/baresip/modules",
    "/usr/local/lib/baresip/modules",
)
MODULES = ("g711", "g722", "aufile", "sndfile")
APPLICATIONS = ("menu", "ctrl_tcp")
START_S = 5.0


@dataclass(frozen=True, slots=True)
class PhoneSettings:
    """One telephone."""

    folder: Path
    user: str
    sip_port: int
    control_port: int
    rtp_ports: tuple[int, int]
    wav: Path
    """What it says: mono, at the codec's rate."""
    codec: str = "PCMU"
    """PCMU, PCMA or G722; the only one it offers."""
    answers: bool = True
    """Whether it answers by itself; else `accept` does."""
    follows_refer: bool = True

    @property
    def uri(self) -> str:
        """How it is rung."""
        return f"sip:{self.user}@127.0.0.1:{self.sip_port}"


def missing() -> str | None:
    """Return what is missing to run a phone, as one line, or None."""
    if shutil.which("baresip") is None:
        return "baresip is not installed; apt-get install baresip"
    if not any(Path(folder).is_dir() for folder in MODULE_FOLDERS):
        return "baresip has no modules where they are looked for; apt-get install baresip-core"
    return None


def write_config(settings: PhoneSettings) -> None:
    """Write the phone's folder: config, account, an empty phone book, a place for its recordings."""
    rate = RATES[settings.codec]
    # The account counts G.722 by its audio, unlike SDP; a name that it does not know makes it offer everything.
    codec = f"{settings.codec}/{rate}"
    modules = next((folder for folder in MODULE_FOLDERS if Path(folder).is_dir()), MODULE_FOLDERS[0])
    lines = [
        "poll_method epoll",
        "net_interface 127.0.0.1",
        f"sip_listen 127.0.0.1:{settings.sip_port}",
        f"rtp_ports {settings.rtp_ports[0]}-{settings.rtp_ports[1]}",
        "call_local_timeout 120",
        "call_max_calls 4",
        f"audio_source aufile,{settings.wav}",
        f"ausrc_srate {rate}",
        f"auplay_srate {rate}",
        "ausrc_channels 1",
        "auplay_channels 1",
        "audio_buffer 20-160",
        f"snd_path {_recordings_of(settings)}",
        f"module_path {modules}",
        *(f"module {name}.so" for name in MODULES),
        *(f"module_tmp {name}.so" for name in ("uuid", "account")),
        *(f"module_app {name}.so" for name in APPLICATIONS),
        f"ctrl_tcp_listen 127.0.0.1:{settings.control_port}",
    ]
    account = [
        f"<{settings.uri}>",
        "regint=0",
        f"answermode={'auto' if settings.answers else 'manual'}",
        f"call_transfer={'yes' if settings.follows_refer else 'no'}",
        f"audio_codecs={codec}",
    ]
    _recordings_of(settings).mkdir(parents=True, exist_ok=True)
    (settings.folder / "config").write_text("\n".join([*lines, ""]), encoding="utf-8")
    (settings.folder / "accounts").write_text(";".join(account) + "\n", encoding="utf-8")
    (settings.folder / "contacts").write_text("", encoding="utf-8")


def _recordings_of(settings: PhoneSettings) -> Path:
    return settings.folder / "recordings"


class Phone:
    """A running telephone; see `phone`."""

    def __init__(self, settings: PhoneSettings, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.settings = settings
        self.events: list[dict[str, Any]] = []
        """What it said about its calls so far (CALL_INCOMING, CALL_ESTABLISHED, CALL_CLOSED, ...)."""
        self._reader = reader
        self._writer = writer
        self._news = asyncio.Condition()
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def command(self, name: str, params: str = "") -> dict[str, Any]:
        """Give a command (dial, accept, hangup, hold, resume, sndcode, quit) and return its answer.

        Raises: TimeoutError when there is none within 5 s.
        """
        body = json.dumps({"command": name, "params": params, "token": name}).encode()
        self._writer.write(b"%d:%s," % (len(body), body))
        await self._writer.drain()
        return await asyncio.wait_for(self._answers.get(), 5.0)

    async def event(self, kind: str, count: int = 1, limit_s: float = 10.0) -> dict[str, Any]:
        """Return the `count`th event of a kind as soon as it has come. Raises: TimeoutError."""
        async with self._news:
            await asyncio.wait_for(self._news.wait_for(lambda: len(self._of(kind)) >= count), limit_s)
        return self._of(kind)[count - 1]

    def _of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event.get("type") == kind]

    def recordings(self, direction: str) -> list[Path]:
        """Return its recordings, oldest first: `dec` is what it heard, `enc` what it said; one each per call.

        They are named by the second in which they begin: of two that begin in one, the first is lost.
        """
        found = _recordings_of(self.settings).glob(f"dump-*-{direction}.wav")
        return sorted(found, key=lambda path: path.stat().st_mtime_ns)

    async def listen(self) -> None:
        """Read what it says, until it is gone."""
        with suppress(asyncio.IncompleteReadError, ValueError, ConnectionError):
            while True:
                length = int((await self._reader.readuntil(b":"))[:-1])
                said = json.loads((await self._reader.readexactly(length + 1))[:-1])
                if said.get("event"):
                    async with self._news:
                        self.events.append(said)
                        self._news.notify_all()
                elif said.get("response"):
                    self._answers.put_nowait(said)


@asynccontextmanager
async def phone(settings: PhoneSettings) -> AsyncIterator[Phone]:
    """Run a telephone for the length of a block.

    Raises: UsageError when baresip is missing or does not start.
    """
    if (lack := missing()) is not None:
        raise UsageError(lack)
    write_config(settings)
    log = (settings.folder / "log").open("wb")
    child = await asyncio.create_subprocess_exec(
        "baresip", "-f", str(settings.folder), "-s", stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
    )
    try:
        reader, writer = await _connected(settings, child)
        telephone = Phone(settings, reader, writer)
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(telephone.listen())
            try:
                yield telephone
            finally:
                with suppress(TimeoutError, ConnectionError):
                    await telephone.command("quit")
                writer.close()
                listening.cancel()
    finally:
        if child.returncode is None:
            with suppress(TimeoutError):
                await asyncio.wait_for(child.wait(), 2.0)
        if child.returncode is None:
            child.kill()
            await child.wait()
        log.close()


async def _connected(
    settings: PhoneSettings, child: asyncio.subprocess.Process
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    for _ in range(round(START_S / 0.05)):
        if child.returncode is not None:
            break
        with suppress(OSError):
            return await asyncio.open_connection("127.0.0.1", settings.control_port)
        await asyncio.sleep(0.05)
    raise UsageError(f"baresip did not start; read {settings.folder / 'log'}")


def free_ports(count: int) -> Sequence[int]:
    """Return ports of loopback that were free just now, each with what a phone binds beside it: TCP, and TLS one above."""
    ports: list[int] = []
    with ExitStack() as held:
        while len(ports) < count:
            with ExitStack() as all_three, suppress(OSError, OverflowError):
                port = _bind(all_three, socket.SOCK_DGRAM, 0)
                for number in (port, port + 1):
                    _bind(all_three, socket.SOCK_STREAM, number)
                ports.append(port)
                held.push(all_three.pop_all())
    return ports


def _bind(held: ExitStack, kind: socket.SocketKind, port: int) -> int:
    sock = held.enter_context(socket.socket(socket.AF_INET, kind))
    sock.bind(("127.0.0.1", port))
    return int(sock.getsockname()[1])
