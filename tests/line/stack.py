"""Redis and livekit-server on free loopback ports, for the tests of the bench; and the bench beside them."""

import os
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from triage.errors import UsageError
from triage.up import engines, line_files
from triage.up.line_files import Access, Line, Ports

UP_S = 15.0


class Stack:
    """Two engines of one test module; each can be killed and started again."""

    def __init__(self, folder: Path, found: engines.Engines) -> None:
        self._found, self._folder = found, folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        redis, server, worker, media, sip = free_ports(socket.SOCK_STREAM, 3) + free_ports(socket.SOCK_DGRAM, 2)
        ports = Ports(redis=redis, server=server, media=media, sip=sip, worker=worker, rtp_first=20000, rtp_count=400)
        self.line = Line(folder, ports, Access("key-of-the-tests", "s" * 32, "p" * 32))
        self.line.file("redis.conf").write_text(line_files.redis_conf(self.line))
        self.line.file("livekit.yaml").write_text(line_files.livekit_yaml(self.line))

    def start(self, name: str) -> None:
        """Start `redis` or `server` and wait until it listens."""
        conf = {"redis": "redis.conf", "server": "livekit.yaml"}[name]
        program = {"redis": self._found.redis.path, "server": self._found.server.path}[name]
        argv = [str(program), *(["--config"] if name == "server" else []), str(self.line.file(conf))]
        with (self._folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={"PATH": os.environ["PATH"]}
            )
        port = getattr(self.line.ports, name)
        until = time.perf_counter() + UP_S
        while time.perf_counter() < until:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                return
            time.sleep(0.05)  # noqa: TID251 an engine outside our clocks
        raise RuntimeError(f"{name} did not start: {self.log(name)[-500:]}")

    def kill(self, name: str) -> None:
        """End it without a word."""
        program = self._running.pop(name)
        program.send_signal(signal.SIGKILL)
        program.wait(10)

    def log(self, name: str) -> str:
        """What it wrote."""
        return (self._folder / f"{name}.log").read_text(errors="replace")

    def stop(self) -> None:
        """End both."""
        for name in list(self._running):
            self.kill(name)


def free_ports(kind: socket.SocketKind, count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket(socket.AF_INET, kind)) for _ in range(count)]
        for bound in sockets:
            bound.bind(("127.0.0.1", 0))
        return [int(bound.getsockname()[1]) for bound in sockets]


def found_engines() -> engines.Engines:
    """Engines that are here already; skips where they are not."""
    try:
        return engines.find(dict(os.environ))
    except UsageError as error:
        pytest.skip(str(error))
