"""Promise: the code in the SIP header of a real transfer opens that caller's packet, which is offered, signed, and shows the number.

The whole line, sipp as the caller, an HTTP server on loopback as the operator's own system.
"""

import asyncio
import hashlib
import hmac
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.handoff.receivers import Receiver, receiving
from tests.line.whole_line import CHEST_PAIN, SippCaller, WholeLine, spoken, until, whole_line
from triage.bench.impairer import Seen
from triage.bench.phones import sipp
from triage.lines.livekit.headers import PACKET_HEADER

pytestmark = pytest.mark.skipif(sipp.missing() is not None, reason=str(sipp.missing()))

SECRET = b"a secret of the operator's"
NUMBERS = ("+15550142001", "+15550142002")


@dataclass(frozen=True)
class Evening:
    """Two callers in danger at the same time, each with the REFER that was sent for them."""

    line: WholeLine
    receiver: Receiver
    refers: dict[str, Seen]
    """By the caller's number."""

    def code(self, number: str) -> str:
        return self.refers[number].headers[PACKET_HEADER.lower()]

    def nurse(self, *command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "triage", "nurse", *command],
            env={**self.line.env, "COLUMNS": "120"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture(scope="module")
def evening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evening]:
    folder = tmp_path_factory.mktemp("packet")
    secret = folder / "secret"
    secret.write_bytes(SECRET)
    secret.chmod(0o600)
    with receiving(500) as receiver:
        offered = {"nurse_webhook_url": receiver.url, "nurse_webhook_secret_file": str(secret)}
        with whole_line(folder, **offered) as line:
            line.script(CHEST_PAIN)
            yield Evening(line, receiver, asyncio.run(_rung(line, folder)))


async def _rung(line: WholeLine, folder: Path) -> dict[str, Seen]:
    async def ring(number: str) -> Seen:
        caller = SippCaller(folder / number)
        scenario = sipp.CALLERS["busy_486"](5000)
        result = await caller.ring(line, scenario, spoken(0.6, "chest_pain_first"), number=number)
        assert result.status == 0, result.said
        (refer,) = line.network.messages(source=line.port, target=caller.port, method="REFER")
        return refer

    refers = await asyncio.gather(*(ring(number) for number in NUMBERS))
    await line.record(count=2, limit_s=30)
    return dict(zip(NUMBERS, refers, strict=True))


def test_each_refer_has_a_code_of_its_own_and_no_word_of_ours_beside_it(evening: Evening) -> None:
    assert len({evening.code(number) for number in NUMBERS}) == 2
    for refer in evening.refers.values():
        ours = {name for name in refer.headers if name.startswith("x-")}
        assert ours == {PACKET_HEADER.lower()}
        assert not {"chest", "urgent", "pain", "nurse_now"} & set(str(refer.headers).lower().split())


def test_the_code_of_each_transfer_opens_its_own_callers_packet(evening: Evening) -> None:
    for number in NUMBERS:
        told = evening.nurse("open", evening.code(number), "--who", "ana")
        assert told.returncode == 0, told.stderr
        assert "CLAIMED BY ANA" in told.stdout and "pain in my chest" in told.stdout
        assert f"{number} (number shown by the network, not read back)" in told.stdout
        (other,) = set(NUMBERS) - {number}
        assert other not in told.stdout


def test_every_packet_was_offered_signed_although_the_first_answer_was_a_500(evening: Evening) -> None:
    offered: dict[str, int] = {}
    for _, headers, body in evening.receiver.requests:
        signed = hmac.new(SECRET, headers["x-triage-timestamp"].encode() + b"." + body, hashlib.sha256).hexdigest()
        assert headers["x-triage-signature"] == f"v1={signed}"
        told = json.loads(body)
        assert told["level"] == "nurse_now" and "chest" not in str(told)
        offered[told["code"]] = max(told["version"], offered.get(told["code"], 0))
    assert set(offered) == {evening.code(number) for number in NUMBERS}


async def test_the_record_has_how_each_delivery_ended(evening: Evening) -> None:
    for listed in evening.line.calls():
        posted = [p for p in evening.line.read(listed.call).payloads("handoff") if p["event"] == "packet_posted"]
        assert {(p["place"], p["outcome"]) for p in posted} >= {("shelf", "delivered"), ("webhook", "delivered")}


def test_the_callers_are_on_the_list_and_their_number_is_in_the_record_alone(evening: Evening) -> None:
    told = evening.nurse("callbacks")
    ids = [word for word in told.stdout.split() if word.endswith("/0")]
    assert len(ids) == 2 and not any(number in told.stdout for number in NUMBERS)
    shown = [evening.nurse("callbacks", "--open", task).stdout for task in ids]
    assert sorted(number for number in NUMBERS for text in shown if number in text) == list(NUMBERS)
    assert evening.nurse("callbacks", "--done", ids[0], "--who", "ana").returncode == 0
    assert "1 open" in evening.nurse("callbacks").stdout


async def test_no_log_and_no_file_in_clear_has_a_number_a_code_or_a_word(evening: Evening) -> None:
    await until(lambda: all(listed.closed for listed in evening.line.calls()))
    secrets = [*NUMBERS, *(evening.code(number) for number in NUMBERS), "pain in my chest"]
    logs = {path.name: path.read_text(errors="replace") for path in evening.line.line.logs.iterdir()}
    packets = {path.name: path.read_bytes().decode("latin-1") for path in (evening.line.settings.data_dir / "packets").iterdir()}  # fmt: skip
    assert len(packets) == 2
    for name, text in {**logs, **packets}.items():
        assert [secret for secret in secrets if secret in text] == [], name
