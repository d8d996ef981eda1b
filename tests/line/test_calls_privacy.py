"""Promise: a caller's number and words are in the sealed record and the nurse's sealed packet, and nowhere else.

Calls of one seeded number, with seeded words, go every way that leaves traces: transferred, refused and dialled, cut
after a second, broken by exceptions that hold both, and with the process of the call killed. Then everything is searched: logs, standard output, the
operator's webhook, what was written into Redis and what is left there, the rooms, and every file of the data folder.
"""

import asyncio
import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from livekit import api

from tests.line import breaking_line
from tests.line.breaking_line import BREAKS
from tests.line.whole_line import (
    NURSE_A,
    QUEUE,
    Ladder,
    SippCaller,
    WholeLine,
    nurse_with_sipp,
    spoken,
    whole_line,
)
from triage.bench.phones import sipp

pytestmark = pytest.mark.skipif(sipp.missing() is not None, reason=str(sipp.missing()))

NUMBER = "+15558460213"
DIGITS = NUMBER[2:]
WORDS = ("quartzite", "bandoneon")
"""Said by the caller; they stand in no other text of the project."""
SAYS = f"I have got a bad pain in my chest since the {WORDS[0]} and the {WORDS[1]}"
PASSING = {"PUBLISH", "SPUBLISH"}
"""livekit-server asks the SIP service through Redis, number and all, and nothing of it is kept."""


@dataclass
class Witness:
    """What Redis was told, and what the operator's system was offered."""

    commands: list[str] = field(default_factory=list)
    posted: list[str] = field(default_factory=list)
    seen_in_rooms: list[str] = field(default_factory=list)


def watch_redis(line: WholeLine, into: list[str]) -> None:
    """MONITOR, until Redis ends."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", line.line.ports.redis)) as sock:
        sock.sendall(f"AUTH {line.line.access.redis_password}\r\nMONITOR\r\n".encode())
        rest = b""
        while got := sock.recv(65536):
            *lines, rest = (rest + got).split(b"\r\n")
            into += [one.decode("utf-8", "replace") for one in lines]


@pytest.fixture(scope="module")
def operator() -> Iterator[tuple[str, list[str]]]:
    """The operator's own system: address, and what it got."""
    got: list[str] = []

    class Desk(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append(f"{self.headers}{body.decode()}")
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Desk)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/packets", got
    server.shutdown()
    thread.join()


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory, operator: tuple[str, list[str]]) -> Iterator[WholeLine]:
    folder = tmp_path_factory.mktemp("privacy")
    secret = folder / "webhook-secret"
    secret.write_text("s" * 32)
    secret.chmod(0o600)
    with whole_line(
        folder / "data",
        Ladder([(QUEUE, "refer", 3), (NURSE_A, "dial", 4)]),
        program=breaking_line.NAME,
        worker_idle_processes="1",
        nurse_webhook_url=operator[0],
        nurse_webhook_secret_file=str(secret),
    ) as running:
        yield running


async def calls(line: WholeLine, folder: Path, witness: Witness) -> None:
    line.script(SAYS)
    ring = (line, spoken(0.6, "sore_for_me"))

    async def called(scenario: sipp.Scenario, name: str) -> None:
        await SippCaller(folder / name).ring(ring[0], scenario, ring[1], number=NUMBER)

    await called(sipp.CALLERS["ok"](0), "transferred")
    async with nurse_with_sipp(line, folder, NURSE_A, sipp.NURSES["rings_out"](0)):
        busy = asyncio.ensure_future(called(sipp.CALLERS["busy_486"](2500), "refused"))
        await line.network.message(15, method="INVITE", source=line.port)
        witness.seen_in_rooms += await rooms_now(line)
        await busy
    await called(sipp.calling("short").pause(800).bye(), "short")
    line.script(f"{SAYS} {BREAKS}")
    with suppress(TimeoutError):  # what becomes of the caller is told elsewhere
        await asyncio.wait_for(called(sipp.CALLERS["ok"](0), "broken"), 25)
    line.script(SAYS)
    line.begin()
    killed = asyncio.ensure_future(called(sipp.CALLERS["ok"](0), "killed"))
    record = await line.record(closed=False)
    os.kill(record.pid, signal.SIGKILL)
    await asyncio.wait((killed,), timeout=25)
    killed.cancel()
    await asyncio.gather(killed, return_exceptions=True)


async def rooms_now(line: WholeLine) -> list[str]:
    """Everything that the server tells of its rooms and who is in them."""
    client = api.LiveKitAPI(line.line.api_url, line.line.access.api_key, line.line.access.api_secret)
    try:
        rooms = (await client.room.list_rooms(api.ListRoomsRequest())).rooms
        people = [await client.room.list_participants(api.ListParticipantsRequest(room=room.name)) for room in rooms]
        return [str(one) for one in (*rooms, *(p for listed in people for p in listed.participants))]
    finally:
        await client.aclose()


@pytest.fixture(scope="module")
def witness(line: WholeLine, operator: tuple[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Witness:
    made = Witness(posted=operator[1])
    threading.Thread(target=watch_redis, args=(line, made.commands), daemon=True).start()
    asyncio.run(calls(line, tmp_path_factory.mktemp("callers"), made))
    return made


def holds(text: str) -> bool:
    """Whether the number, however it is written, or a word of the caller is in it."""
    digits = re.sub(r"[\s().\-/]", "", text)
    return DIGITS in digits or any(word in text.lower() for word in WORDS)


def test_the_record_has_number_and_words(line: WholeLine, witness: Witness) -> None:
    records = [line.read(listed.call) for listed in line.calls()]
    numbers = [p.get("number") for r in records for p in r.payloads("call") if p.get("event") == "caller_number"]
    assert len(numbers) >= 4 and set(numbers) == {NUMBER}  # also of the call that was cut after a second
    assert any(WORDS[0] in str(p.get("text")) for r in records for p in r.payloads("stt_final"))


def test_no_log_of_any_process_has_them(line: WholeLine, witness: Witness) -> None:
    logs = {path.name: path.read_text(errors="replace") for path in line.line.logs.iterdir()}
    assert {"worker.log", "sip-bench.log", "livekit-server.log", "redis.log", "keeper.log"} <= set(logs)
    assert "processing invite" in logs["sip-bench.log"]  # which the SIP service writes with the number
    assert "died" in logs["worker.log"]
    assert [name for name, text in logs.items() if holds(text)] == []
    assert not holds(line.said)
    (digest,) = set(
        re.findall(r"sip_[0-9a-f]{16}", "".join(witness.seen_in_rooms))
    )  # the number, to whoever tries them all
    assert [name for name, text in logs.items() if digest in text] == []


def test_an_exception_that_holds_them_leaves_its_kind_and_place(line: WholeLine, witness: Witness) -> None:
    """Wherever it came out: of the call, of the loop, of a task that nobody awaits, of a thread."""
    log = line.log("worker")
    assert "broken off (ValueError)" in log
    place = r"\(?ValueError at tests\.line\.breaking_line:\d+\)?"
    assert re.search(rf"unhandled exception while running the job task {place}", log), log[-3000:]
    assert len(re.findall(place, log)) >= 4, log[-3000:]
    assert "Traceback" not in log
    assert not holds(log)


def test_the_operator_s_system_is_told_neither(witness: Witness) -> None:
    assert len(witness.posted) >= 2
    assert [body for body in witness.posted if holds(body)] == []


def test_no_room_no_identity_and_no_attribute_has_the_number(witness: Witness) -> None:
    assert len(witness.seen_in_rooms) >= 3  # a room, the caller, the agent
    assert [one for one in witness.seen_in_rooms if holds(one)] == []


def test_redis_keeps_neither(line: WholeLine, witness: Witness) -> None:
    told = [one for one in witness.commands if holds(one)]
    assert told, "the number passes through Redis: is anything watched?"
    kept = [one for one in told if _command(one) not in PASSING]
    assert kept == []


def _command(monitored: str) -> str:
    found = re.match(r'\+?[\d.]+ \[[^]]*\] "([^"]*)"', monitored)
    return found[1].upper() if found else monitored


def test_nothing_is_left_in_redis_when_the_rooms_are_closed(line: WholeLine, witness: Witness) -> None:
    import redis

    client = redis.Redis(port=line.line.ports.redis, password=line.line.access.redis_password)
    found = []
    for key in client.scan_iter():
        kind = client.type(key)
        value = {b"string": client.get, b"hash": client.hgetall}.get(kind, lambda k: client.dump(k))(key)
        if holds(f"{key!r} {value!r}"):
            found.append(key)
    assert found == []


def test_no_file_of_the_data_folder_has_them(line: WholeLine, witness: Witness) -> None:
    script = line.settings.stt_script
    files = [path for path in line.settings.data_dir.rglob("*") if path.is_file() and path != script]
    assert any(path.name == "audit.db" for path in files)
    assert [path.name for path in files if holds(path.read_bytes().decode("latin-1"))] == []
