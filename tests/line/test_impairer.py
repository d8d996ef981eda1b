"""Promise: a whole call of real phones passes through the bad network, which spoils the same packets for the same seed."""

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.line.telephony import (
    AGENT_TONE,
    CALLER_TONE,
    NURSE_TONE,
    Answering,
    agent,
    baresip,
    heard_s,
    recording,
)
from triage.bench.impairer import ALIAS, NETWORKS, TRUE, Impairer, Network
from triage.bench.phones import baresip as baresip_phone
from triage.bench.phones.baresip import free_ports, phone
from triage.bench.phones.hearing import heard
from triage.bench.sip.ports import BenchError, EndReason, TransferOutcome

NEEDS_BARESIP = pytest.mark.skipif(baresip_phone.missing() is not None, reason=str(baresip_phone.missing()))


def rtp(number: int) -> bytes:
    return b"\x80\x00" + number.to_bytes(2, "big") + (number * 160).to_bytes(4, "big") + b"ssrc" + b"\xff" * 160


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    with ExitStack() as held:
        pair = [held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(2)]
        for sock in pair:
            sock.bind((TRUE, 0))
            sock.settimeout(1.0)
        yield pair[0], pair[1]


def sent_through(network: Network, ends: tuple[socket.socket, socket.socket], *, seed: int = 1, count: int = 200) -> list[tuple[int, float]]:  # fmt: skip
    """Numbers of the packets that arrived, and how long each took, in order of arrival."""
    caller, line = ends
    phone_port, line_port = caller.getsockname()[1], line.getsockname()[1]
    arrived: list[tuple[int, float]] = []
    with Impairer(seed) as between:
        where = between.stand_for(line_port)
        between.impair(phone_port, network)
        sent = []
        for number in range(count):
            sent.append(time.perf_counter())
            caller.sendto(rtp(number), where)
        line.settimeout(0.3 + (network.delay_ms + network.jitter_ms + network.freeze_ms) / 1000)
        try:
            while True:
                datagram, source = line.recvfrom(2048)
                assert source == (ALIAS, phone_port)
                number = int.from_bytes(datagram[2:4], "big")
                arrived.append((number, time.perf_counter() - sent[number]))
        except TimeoutError:
            pass  # all that comes has come
        noted = between.packets(phone_port, line_port)
    assert len(noted) == count
    assert [n for n, carried in enumerate(noted) if carried.delivered_s is not None] == sorted(n for n, _ in arrived)
    return arrived


def test_a_clean_network_changes_nothing(ends: tuple[socket.socket, socket.socket]) -> None:
    arrived = sent_through(NETWORKS["clean"], ends)
    assert [number for number, _ in arrived] == list(range(200))
    assert float(np.median([took for _, took in arrived])) < 0.02


def test_what_is_lost_depends_on_the_seed_alone(ends: tuple[socket.socket, socket.socket]) -> None:
    first, again, other = (
        [number for number, _ in sent_through(NETWORKS["loss_10"], ends, seed=seed)] for seed in (7, 7, 8)
    )
    assert first == again != other
    assert 160 <= len(first) <= 195


def test_delay_jitter_and_freeze_keep_the_order(ends: tuple[socket.socket, socket.socket]) -> None:
    for network, least_s, most_s in (
        (NETWORKS["telephone_280"], 0.139, 0.139),
        (NETWORKS["jitter_60"], 0.0, 0.03),
        (Network(freeze_ms=300, freeze_after_s=0), 0.25, 0.29),
    ):
        arrived = sent_through(network, ends, count=50)
        assert [number for number, _ in arrived] == list(range(50))
        took = [s for _, s in arrived]
        assert min(took) >= least_s and max(took) >= most_s
        assert max(took) < (network.delay_ms + network.jitter_ms + network.freeze_ms) / 1000 + 0.1


@pytest.mark.parametrize("bad", [{"loss": 1.1}, {"loss": -0.1}, {"jitter_ms": -1.0}])
def test_a_network_that_cannot_be_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        Network(**bad)


def test_an_address_that_somebody_else_has_is_named() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other, Impairer() as between:
        other.bind((ALIAS, 0))
        with pytest.raises(BenchError, match=rf"{ALIAS}:{other.getsockname()[1]}"):
            between.stand_for(other.getsockname()[1])


@NEEDS_BARESIP
@pytest.mark.parametrize("codec", ["PCMU", "G722"])
async def test_a_call_and_its_transfer_pass_through_and_are_witnessed(codec: str, tmp_path: Path) -> None:
    caller_of = baresip(tmp_path, "caller", CALLER_TONE, codec)
    nurse_of = baresip(tmp_path, "nurses", NURSE_TONE, codec)
    (queue,) = free_ports(1)
    with Impairer() as between:
        async with agent() as running, phone(nurse_of) as nurse, phone(caller_of) as caller:
            desk, line = Answering(running), running.address[1]
            between.stand_for(line)
            between.route(queue, {"nurses": nurse_of.sip_port})
            await caller.command("dial", f"sip:+15550199@{ALIAS}:{line}")
            call = await desk.next_call()
            assert call.source_ip == ALIAS
            await asyncio.sleep(1.1)
            transfer = call.refer(f"sip:nurses@{ALIAS}:{queue}", {"X-Code": "abc"}, timeout_s=8)
            assert (await asyncio.wait_for(transfer.wait(), 8)).outcome is TransferOutcome.TRANSFERRED
            assert await desk.end() is EndReason.TRANSFERRED
            await asyncio.sleep(1.2)
            await caller.command("hangup")
            await nurse.event("CALL_CLOSED")
        said = [message.method or f"{message.status} {message.answers}" for message in between.messages()]
        wanted = ["INVITE", "200 INVITE", "ACK", "REFER", "202 REFER", "INVITE", "200 INVITE", "NOTIFY", "BYE"]
        at = iter(said)
        assert [what for what in wanted if what in at] == wanted, said
        (refer,) = between.messages(method="REFER")
        assert (refer.source, refer.target, refer.headers["x-code"]) == (line, caller_of.sip_port, "abc")
        assert f"sip:nurses@{ALIAS}:{queue}" in refer.headers["refer-to"]
        (reached,) = between.messages(method="INVITE", target=nurse_of.sip_port)
        assert reached.source == caller_of.sip_port and reached.sent_s > refer.sent_s
        invite, ours = between.messages(method="INVITE")[0], between.messages(status=200, answers="INVITE")[0]
        ports = between.audio_port(ours), between.audio_port(invite)
        assert heard_s(heard(between.packets(*ports)).pcm, AGENT_TONE, 16_000) > 1.0
        assert heard_s(heard(between.packets(*reversed(ports))).pcm, CALLER_TONE, 16_000) > 1.0
        arrivals = heard(between.packets(*ports)).arrivals
        assert all(earlier <= later for earlier, later in pairwise(arrivals[~np.isnan(arrivals)]))
    before, after = caller.recordings("dec")
    assert heard_s(recording(before), AGENT_TONE, 16_000) > 1.0
    assert heard_s(recording(after), NURSE_TONE, 16_000) > 1.0
    assert heard_s(recording(nurse.recordings("dec")[0]), CALLER_TONE, 16_000) > 1.0


@NEEDS_BARESIP
async def test_a_call_is_set_up_and_ended_on_a_network_that_loses_a_tenth(tmp_path: Path) -> None:
    caller_of = baresip(tmp_path, "caller", CALLER_TONE)
    with Impairer(seed=3) as between:
        async with agent() as running, phone(caller_of) as caller:
            desk, line = Answering(running), running.address[1]
            between.stand_for(line)
            between.impair(caller_of.sip_port, NETWORKS["loss_10"])
            await caller.command("dial", f"sip:+15550199@{ALIAS}:{line}")
            await desk.next_call()
            await asyncio.sleep(2.0)
            await caller.command("hangup")
            assert await desk.end() is EndReason.REMOTE_BYE
        invite = between.messages(method="INVITE")[0]
        ours = next(m for m in between.messages(status=200, answers="INVITE") if m.delivered_s)
        carried = between.packets(between.audio_port(ours), between.audio_port(invite))
        lost = sum(packet.delivered_s is None for packet in carried) / len(carried)
        assert 0.02 < lost < 0.25
