"""Promise: what a stranger sends to the line is refused or survived with a clear line in the log, and no call is lost by it.

The whole line as `triage up` starts it. One caller is in a call while the rest is sent from raw sockets; their audio is
measured from the packets that reached their phone.
"""

import asyncio
import json
import random
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from tests.line.messages import SDP, request
from tests.line.whole_line import HEADACHE, CallRecord, SippCaller, WholeLine, spoken, until, whole_line
from triage.bench.impairer import ALIAS
from triage.bench.phones import sipp

pytestmark = pytest.mark.skipif(sipp.missing() is not None, reason=str(sipp.missing()))

LINE, STRANGER = "127.0.0.1", "127.0.0.9"
LONGEST_GAP_S = 0.2
"""Between two packets of audio at the phone of the call in progress, on a busy machine."""
FLOOD_GAP_S = 0.6
"""The same while fifty callers at once are given rooms on two cores."""
LEAST_SHARE = 0.95
"""Of the 50 packets a second that the phone should get; the rest came too late to be sent."""
TORRENT_SHARE = 0.85
"""The same while 300 calls a second ring."""
MESSAGES, SEED = 200, 20261121
FLOOD, FLOOD_S = 200, 2.0
TORRENT, TORRENT_A_S, MANY = 4000, 300, 1800
"""At most so many calls, so many a second; it remembers fewer, and not before so many are there can it have forgotten any."""
HANGS_UP_S = 8.0
"""From the end of the talk to the sealed record, at most; unheard, the BYE is repeated for half a minute."""
FORGOTTEN_S = 45.0
"""After this the bench has forgotten them."""
TALK_S = 9.0
NO_PANIC = re.compile(r"Traceback|could not be dealt with|could not be answered|not taken")


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeLine]:
    """Two calls at most; the carrier's addresses, written without a mask as people do, do not hold the stranger's."""
    folder = tmp_path_factory.mktemp("bad")
    carriers = f"{LINE},{ALIAS}"
    settings = {"worker_calls": "2", "worker_idle_processes": "1", "line_carrier_addresses": carriers}
    with whole_line(folder, **settings) as running:
        running.script(HEADACHE)
        yield running


@dataclass
class Sender:
    """A socket that says what it likes to the line's SIP port, and reads what comes back."""

    line: WholeLine
    host: str = LINE
    says: str = ""
    """Host that From and Contact tell, where it is not the truth."""
    answers: list[str] = field(default_factory=list)

    def __enter__(self) -> "Sender":
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((self.host, 0))
        self._socket.setblocking(False)
        self.port = int(self._socket.getsockname()[1])
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, datagram: bytes) -> None:
        with suppress(OSError):
            self._socket.sendto(datagram, (LINE, self.line.port))
        self.read()

    def read(self) -> list[str]:
        """First lines of everything that has come by now."""
        with suppress(BlockingIOError):
            while True:
                self.answers.append(self._socket.recv(65535).split(b"\r\n", 1)[0].decode("ascii", "replace"))
        return self.answers

    def invite(self, number: str, n: int, *headers: str, body: str = SDP) -> bytes:
        uri = f"sip:{number}@{LINE}:{self.line.port}"
        return self.of("INVITE", n, *headers, uri=uri, body=body)

    def of(self, method: str, n: int, *headers: str, uri: str = "", body: str = "") -> bytes:
        made = request(
            method,
            *headers,
            branch=f"z9hG4bK{self.port}x{n}",
            call_id=f"{self.port}-{n}",
            from_tag=f"t{n}",
            uri=uri or f"sip:{LINE}:{self.line.port}",
            port=self.port,
            body=body,
        )
        told = (self.says or f"{self.host}:{self.port}").encode()
        return made.replace(b"@127.0.0.1:%d>" % self.port, b"@%s>" % told).replace(
            b"UDP 127.0.0.1:", b"UDP %s:" % self.host.encode()
        )

    async def status(self, datagram: bytes, limit_s: float = 3.0) -> str:
        """The last answer that came within the time; empty when none did."""
        before = len(self.read())
        self.send(datagram)
        with suppress(TimeoutError):
            await until(lambda: any(int(a.split()[1]) >= 200 for a in self.read()[before:]), limit_s)
        return self.answers[-1] if len(self.answers) > before else ""


@asynccontextmanager
async def call_in_progress(
    line: WholeLine,
    folder: Path,
    talk_s: float = TALK_S,
    *,
    longest_gap_s: float = LONGEST_GAP_S,
    least_share: float = LEAST_SHARE,
) -> AsyncIterator[SippCaller]:
    """A caller who is in a call inside, hears it without a hole, and hangs up after it as ever."""
    line.begin()
    caller, began_s = SippCaller(folder), line.since()
    scenario = sipp.calling("in_progress").pause(round(talk_s * 1000)).bye()
    ringing = asyncio.ensure_future(caller.ring(line, scenario, spoken(seconds=talk_s + 5), limit_s=talk_s + 40))
    await until(lambda: len(packets_of(line, caller, began_s)) > 50, 20)
    sure_s = line.since()
    yield caller
    result = await ringing
    assert result.status == 0, result.said
    arrivals = packets_of(line, caller, sure_s)
    assert np.diff(arrivals).max() <= longest_gap_s, "the call in progress had a hole"
    assert arrivals[-1] - arrivals[0] > talk_s - 4
    assert len(arrivals) > least_share * 50 * (arrivals[-1] - arrivals[0])
    record: CallRecord = await line.record(limit_s=30)
    assert record.outcome == "hung_up" and "greeting" in str(record.payloads("playout"))


def packets_of(line: WholeLine, caller: SippCaller, since_s: float) -> np.ndarray:
    """When packets of audio reached the caller's phone."""
    try:
        ours, theirs = line.ports_of(caller.port)
    except AssertionError:
        return np.zeros(0)
    came = [p.delivered_s for p in line.network.packets(ours, theirs)]
    return np.array([at for at in came if at is not None and at >= since_s])


def calls_known(line: WholeLine) -> set[str]:
    return {listed.call for listed in line.calls()}


async def alive(line: WholeLine) -> None:
    """The SIP service answers, and it is still the same one."""
    with Sender(line) as asker:
        assert (await asker.status(asker.of("OPTIONS", 1))).startswith("SIP/2.0 200")


# --- malformed


def mutated(valid: Callable[[int], bytes], count: int, seed: int) -> list[bytes]:
    """Messages that were valid once: cut, doubled, flipped, swollen, in the headers or in the SDP."""
    chance = random.Random(seed)
    wrong_lines = (
        b"m=audio 99999 RTP/AVP 0", b"m=audio -1 RTP/AVP 0", b"m=audio x RTP/AVP 0", b"m=audio 4000 RTP/AVP",
        b"m=audio 4000 RTP/AVP 0 0 0 999 -3 x", b"m=video 4000 RTP/AVP 31", b"c=IN IP4 192.0.2.1", b"c=IN IP6 ::1",
        b"c=IN IP4 999.1.1.1", b"c=", b"v=9", b"o=", b"a=rtpmap:0 PCMU/0", b"a=rtpmap:101 " + b"x" * 3000, b"\xff\xfe\x00",
        b"Content-Length: -5", b"Content-Length: 99999999999", b"Content-Length: x", b"CSeq: x INVITE", b"CSeq: 1 BYE",
        b"CSeq: 99999999999999999999 INVITE", b"Via: nonsense", b"Via: SIP/2.0/TCP", b"From: <sip:", b"To: \"",
        b"Call-ID:", b"Contact: *", b"Max-Forwards: -1", b"Content-Type: text/plain", b"Require: everything",
        b"X-Long: " + b"y" * 20000, b"Route: <sip:192.0.2.1;lr>", b"Contact: <sip:a@192.0.2.1:5060>", b"Replaces: a;b",
    )  # fmt: skip

    def swap_line(raw: bytes) -> bytes:
        lines = raw.split(b"\r\n")
        lines[chance.randrange(len(lines))] = chance.choice(wrong_lines)
        return b"\r\n".join(lines)

    def flip(raw: bytes) -> bytes:
        changed = bytearray(raw)
        for _ in range(chance.randrange(1, 12)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        return bytes(changed)

    def drop_line(raw: bytes) -> bytes:
        lines = raw.split(b"\r\n")
        del lines[chance.randrange(len(lines))]
        return b"\r\n".join(lines)

    def insert(raw: bytes) -> bytes:
        at = chance.randrange(len(raw))
        return raw[:at] + chance.choice((b"\x00", b"\r\n\r\n", b"%00%ff", b"\xc3\x28" * 50, b'"' * 99)) + raw[at:]

    def cut(raw: bytes) -> bytes:
        return raw[: chance.randrange(1, len(raw))]

    def method(raw: bytes) -> bytes:
        word = chance.choice((b"BYE", b"CANCEL", b"ACK", b"NOTIFY", b"REFER", b"PRACK", b"invite", b"\xe9", b"A" * 500))
        return raw.replace(b"INVITE", word, chance.choice((1, 2)))

    def answer(raw: bytes) -> bytes:
        status = chance.choice((b"200 OK", b"999 X", b"-1 Y", b"x", b"", b"183 Early"))
        return b"SIP/2.0 " + status + b"\r\n" + raw.split(b"\r\n", 1)[1]

    def double(raw: bytes) -> bytes:
        lines = raw.split(b"\r\n")
        lines.insert(1, chance.choice(lines[1:8]))
        return b"\r\n".join(lines)

    ways = (swap_line, swap_line, swap_line, flip, flip, drop_line, insert, cut, method, answer, double)
    made = []
    for n in range(count):
        raw = valid(n)
        for _ in range(chance.choice((1, 1, 2, 3))):
            raw = chance.choice(ways)(raw)
        made.append(raw)
    return made


def test_the_same_seed_spoils_alike_and_most_are_spoilt() -> None:
    def valid(n: int) -> bytes:
        return request("INVITE", call_id=f"c{n}", body=SDP)

    once = mutated(valid, MESSAGES, SEED)
    assert once == mutated(valid, MESSAGES, SEED)
    assert sum(raw == valid(n) for n, raw in enumerate(once)) < MESSAGES // 20


async def test_malformed_sip_and_sdp_end_nothing(line: WholeLine, tmp_path: Path) -> None:
    """200 messages in two seconds during a call: the bench answers or drops each, and says so in its log, without a panic."""
    pid = line.programs()["sip-bench"].pid
    before = line.log("sip-bench")
    async with call_in_progress(line, tmp_path):
        with Sender(line) as stranger:
            for raw in mutated(lambda n: stranger.invite("+15550999", n), MESSAGES, SEED):
                stranger.send(raw[:60000])
                await asyncio.sleep(0.01)
            await asyncio.sleep(1.0)
            answers = [int(a.split()[1]) for a in stranger.read()]
    said = line.log("sip-bench")[len(before) :]
    assert not NO_PANIC.search(said), said[-3000:]
    assert re.search(r"refused \d+ SIP message", said), "the log says that there was something"
    assert any(400 <= status < 500 for status in answers) and not any(status >= 600 for status in answers)
    assert 500 not in answers, "no bug of ours was hit"
    assert line.programs()["sip-bench"].pid == pid
    await alive(line)


# --- who may ring, and how many


async def test_an_unknown_number_starts_nothing(line: WholeLine) -> None:
    known = calls_known(line)
    with Sender(line) as caller:
        answer = await caller.status(caller.invite("+15550998", 1))
        assert not re.match(r"SIP/2.0 [2-6]", answer), f"{answer}: it rings in vain, as with livekit-sip"
        caller.send(caller.of("CANCEL", 1, uri=f"sip:+15550998@{LINE}:{line.port}"))
    assert calls_known(line) == known
    assert "no rule for it" in line.log("sip-bench")


async def test_an_invite_from_elsewhere_than_the_carrier_starts_no_job(line: WholeLine) -> None:
    known, jobs = calls_known(line), line.log("worker")
    with Sender(line, STRANGER) as caller:
        answer = await caller.status(caller.invite(line.settings.line_number, 1))
        assert not re.match(r"SIP/2.0 [2-6]", answer), answer
        caller.send(caller.of("CANCEL", 1, uri=f"sip:{line.settings.line_number}@{LINE}:{line.port}"))
    assert calls_known(line) == known
    assert "call " not in line.log("worker")[len(jobs) :]
    line.begin()
    with Sender(line) as carrier:  # the same words from the carrier ring
        answer = await carrier.status(carrier.invite(line.settings.line_number, 2), limit_s=15)
        assert answer.startswith("SIP/2.0 200"), answer
        carrier.send(carrier.of("BYE", 2, uri=f"sip:{LINE}:{line.port}"))
    await line.record(closed=False)


async def test_what_a_stranger_writes_into_from_forges_no_line_and_leaves_no_name(line: WholeLine) -> None:
    """The bench logs who rings, as livekit-sip does; the user part of an address may hold anything, escaped."""
    before = line.log("sip-bench")
    users = (
        b"%0AJane%20Doe",
        b"%22%20Jane%20Doe",
        b"x%0D%0A2026-11-21%20CRITICAL%20Jane%20Doe",
        b"Jane%5C%22Doe%E2%80%A8",
    )
    with Sender(line) as caller:
        for n, user in enumerate(users):
            caller.send(caller.invite("+15550998", n).replace(b"<sip:caller@", b"<sip:" + user + b"@"))
        await until(lambda: line.log("sip-bench")[len(before) :].count("processing invite") >= len(users), 5)
        for n, user in enumerate(users):
            cancel = caller.of("CANCEL", n, uri=f"sip:+15550998@{LINE}:{line.port}")
            caller.send(cancel.replace(b"<sip:caller@", b"<sip:" + user + b"@"))
    said = line.log("sip-bench")[len(before) :]
    assert "Jane" not in said and "Doe" not in said, said
    lines = [text for text in said.splitlines() if "processing invite" in text]
    assert len(lines) == len(users) and all("fromUser=[caller] toHost=" in text for text in lines), lines


@pytest.mark.parametrize("says", [LINE, f"{LINE}/32", f"{LINE}:5060", "[::ffff:7f00:1]"])
async def test_an_invite_from_elsewhere_that_says_it_comes_from_the_carrier_starts_no_job(
    says: str, line: WholeLine
) -> None:
    """livekit-server also compares the host of From with the listed addresses, letter by letter."""
    known, jobs = calls_known(line), line.log("worker")
    with Sender(line, STRANGER, says) as caller:
        answer = await caller.status(caller.invite(line.settings.line_number, 1))
        assert not re.match(r"SIP/2.0 [2-6]", answer), answer
        caller.send(caller.of("CANCEL", 1, uri=f"sip:{line.settings.line_number}@{LINE}:{line.port}"))
    assert calls_known(line) == known
    assert "call " not in line.log("worker")[len(jobs) :]


async def test_a_flood_of_invites_takes_nothing_from_a_call_in_progress(line: WholeLine, tmp_path: Path) -> None:
    """200 calls in two seconds from one socket of the carrier, to the right number; afterwards the line is rung as ever."""
    async with call_in_progress(line, tmp_path, 12.0, longest_gap_s=FLOOD_GAP_S):
        with Sender(line) as flooder:
            for n in range(FLOOD):
                flooder.send(flooder.invite(line.settings.line_number, n))
                await asyncio.sleep(FLOOD_S / FLOOD)
            await asyncio.sleep(3.0)
            refused = sum(answer.startswith("SIP/2.0 503") for answer in flooder.read())
            for n in range(FLOOD):
                flooder.send(flooder.of("CANCEL", n, uri=f"sip:{line.settings.line_number}@{LINE}:{line.port}"))
    assert refused > FLOOD // 2, "more than the line carries are told so at once"
    assert not NO_PANIC.search(line.log("sip-bench"))
    await alive(line)
    async with call_in_progress(line, tmp_path / "after", 3.0):
        pass


async def test_a_torrent_of_invites_keeps_no_call_from_hanging_up(line: WholeLine, tmp_path: Path) -> None:
    """Calls until the bench remembers no more of them and drops the rest: it hears the BYE of the call in progress."""
    async with call_in_progress(line, tmp_path, 12.0, longest_gap_s=FLOOD_GAP_S, least_share=TORRENT_SHARE):
        began_s = line.since()
        with Sender(line) as flooder, Sender(line) as asker:
            for n in range(TORRENT):
                flooder.send(flooder.invite(line.settings.line_number, n))
                await asyncio.sleep(1 / TORRENT_A_S)
                if n >= MANY and not n % 100 and not await asker.status(asker.of("OPTIONS", n), 0.5):
                    break
            else:
                pytest.fail("the bench remembers more than it should")
            assert len(flooder.read()) > MANY // 2, "they were heard"
    assert line.since() - began_s < 12.0 + HANGS_UP_S, "the BYE was heard when it came"
    assert not NO_PANIC.search(line.log("sip-bench"))
    await asyncio.sleep(FORGOTTEN_S - TALK_S)
    await alive(line)
    async with call_in_progress(line, tmp_path / "after", 3.0):
        pass


# --- settings and keys


def started(line: WholeLine, *command: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """A command of ours, with some of the line's settings changed."""
    return subprocess.run(
        [sys.executable, "-m", "triage", *command],
        env={**line.env, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", ["worker", "up"])
def test_a_nurse_target_that_is_no_sip_uri_is_named_at_start(command: str, line: WholeLine, tmp_path: Path) -> None:
    directory = tmp_path / "nurses.toml"
    row = '[[target]]\nname = "ward"\nkind = "dial"\nuri = "https://ward.example/"\n'
    directory.write_text(f"schema = 1\n{row}", encoding="utf-8")
    told = started(line, command, TRIAGE_NURSE_DIRECTORY=str(directory))
    assert told.returncode == 2, told.stdout + told.stderr
    assert told.stderr.count("\n") == 1 and "target 1: uri must be a SIP or tel address" in told.stderr


def test_a_wrong_api_key_is_one_line_without_the_key(line: WholeLine, tmp_path: Path) -> None:
    folder = tmp_path / "line"
    folder.mkdir(mode=0o700)
    for name in ("secrets.json", "ports.json"):
        told = json.loads((line.line.folder / name).read_text(encoding="utf-8"))
        if name == "secrets.json":
            told["api_secret"] = wrong = "w" * 43
        (folder / name).write_text(json.dumps(told), encoding="utf-8")
        (folder / name).chmod(0o600)
    for command in (("worker",), ("line", "provision")):
        told = started(line, *command, TRIAGE_DATA_DIR=str(tmp_path))
        assert told.returncode in (1, 2) and "key" in told.stderr and wrong not in told.stderr + told.stdout
        assert "Traceback" not in told.stderr
