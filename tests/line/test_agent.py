"""Promise: whatever comes to the socket gets the answer that the book and the real service give, and hurts no call."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.line.messages import SDP, request
from tests.line.telephony import Answering, agent
from triage.bench.sip.agent import Agent
from triage.bench.sip.ports import (
    BenchError,
    CallOver,
    CallTimedOut,
    EndReason,
    IncomingCall,
    InvalidTarget,
    TransferOutcome,
    TransferPending,
)
from triage.bench.sip.wire import SipRequest, SipResponse, parse


class Handset(asyncio.DatagramProtocol):
    """A socket that says exactly what a test wants and notes what comes back."""

    def __init__(self, line: tuple[str, int]) -> None:
        self.line = line
        self.came: asyncio.Queue[SipRequest | SipResponse] = asyncio.Queue()
        self.port = 0
        self.transport: asyncio.DatagramTransport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.came.put_nowait(parse(data))

    def say(self, raw: bytes) -> None:
        self.transport.sendto(raw, self.line)

    async def hear(self) -> SipRequest | SipResponse:
        return await asyncio.wait_for(self.came.get(), 3)

    async def status(self) -> int:
        heard = await self.hear()
        assert isinstance(heard, SipResponse)
        return heard.status

    async def ask(self, raw: bytes) -> int:
        self.say(raw)
        return await self.status()

    async def nothing(self) -> None:
        await asyncio.sleep(0.05)
        assert self.came.empty(), self.came.get_nowait()


@asynccontextmanager
async def handset(running: Agent) -> AsyncIterator[Handset]:
    loop = asyncio.get_running_loop()
    transport, phone = await loop.create_datagram_endpoint(
        lambda: Handset(running.address), local_addr=("127.0.0.1", 0)
    )
    phone.transport, phone.port = transport, int(transport.get_extra_info("sockname")[1])
    try:
        yield phone
    finally:
        transport.close()


class Established:
    """A call that was set up by hand; `made` writes further requests in its dialog."""

    def __init__(self, phone: Handset, call: IncomingCall, to_tag: str) -> None:
        self._phone = phone
        self.call = call
        self._to_tag = to_tag
        self._n = 0

    def made(self, method: str, *headers: str, **parts: Any) -> bytes:
        self._n += 1
        plain: dict[str, Any] = {
            "to_tag": self._to_tag,
            "cseq": 10 + self._n,
            "branch": f"z9hG4bKin{self._n}",
            "port": self._phone.port,
        }
        return request(method, *headers, **{**plain, **parts})


async def established(running: Agent, phone: Handset, desk: Answering) -> Established:
    phone.say(request("INVITE", body=SDP, port=phone.port))
    statuses = [await phone.status() for _ in range(2)]
    assert statuses == [100, 180]
    answer = await phone.hear()
    assert isinstance(answer, SipResponse) and answer.status == 200
    phone.say(request("ACK", branch="z9hG4bKack", to_tag=answer.to.tag, port=phone.port))
    return Established(phone, await desk.next_call(), answer.to.tag)


@pytest.mark.parametrize(
    ("method", "status"),
    [
        ("OPTIONS", 200),
        *((method, 405) for method in ("REGISTER", "MESSAGE", "SUBSCRIBE", "REFER", "PUBLISH", "UPDATE", "PRACK")),
        ("FOO", 501),
        ("BYE", 481),
        ("NOTIFY", 481),
        ("INFO", 481),
        ("CANCEL", 481),
    ],
)
async def test_outside_of_a_call(method: str, status: int) -> None:
    async with agent() as running, handset(running) as phone:
        Answering(running)
        assert await phone.ask(request(method, port=phone.port)) == status


async def test_invites_that_are_refused() -> None:
    async with agent(max_calls=1) as running, handset(running) as phone:

        def asked(*headers: str, **parts: Any) -> bytes:
            return request("INVITE", *headers, port=phone.port, **parts)

        assert await phone.ask(asked(branch="z9hG4bKa", body=SDP)) == 480
        desk = Answering(running)
        assert await phone.ask(asked(branch="z9hG4bKb")) == 488
        assert await phone.ask(asked("Content-Type: text/plain", branch="z9hG4bKc", body="hello")) == 415
        assert await phone.ask(asked("Require: 100rel", branch="z9hG4bKd", body=SDP)) == 420
        assert await phone.ask(asked(branch="z9hG4bKe", body=SDP, to_tag="gone")) == 481
        sos = asked(branch="z9hG4bKf", body=SDP, uri="urn:service:sos")
        assert await phone.ask(sos.replace(b"To: <urn:service:sos>", b"To: <sip:a@b.example>")) == 416
        await established(running, phone, desk)
        assert await phone.ask(asked(branch="z9hG4bKg", body=SDP, call_id="call-2")) == 503
        assert running.calls == 1


async def test_inside_of_a_call() -> None:
    async with agent() as running, handset(running) as phone:
        desk = Answering(running)
        here = await established(running, phone, desk)
        assert await phone.ask(here.made("OPTIONS")) == 200
        assert await phone.ask(here.made("INFO")) == 415
        assert await phone.ask(here.made("NOTIFY", "Event: refer")) == 481
        assert await phone.ask(here.made("INFO", cseq=5)) == 500
        assert await phone.ask(here.made("BYE", from_tag="stranger")) == 481
        assert await phone.ask(here.made("INVITE")) == 488
        assert here.call.ended is None
        bye = here.made("BYE")
        assert await phone.ask(bye) == 200
        assert await phone.ask(bye) == 200
        assert await phone.ask(here.made("BYE")) == 200
        assert await phone.ask(here.made("INFO")) == 481
        assert await desk.end() is EndReason.REMOTE_BYE


async def test_a_repeated_invite_repeats_the_answer_and_is_no_second_call() -> None:
    async with agent() as running, handset(running) as phone:
        desk = Answering(running)
        await established(running, phone, desk)
        phone.say(request("INVITE", body=SDP, port=phone.port))
        await phone.nothing()  # acknowledged already
        assert running.calls == 1 and desk.calls.empty()


async def test_a_200_without_an_ack_comes_again() -> None:
    async with agent() as running, handset(running) as phone:
        Answering(running)
        phone.say(request("INVITE", body=SDP, port=phone.port))
        assert [await phone.status() for _ in range(4)] == [100, 180, 200, 200]


async def test_180_comes_each_second_until_the_phone_gives_up() -> None:
    async with agent() as running, handset(running) as phone:
        desk = Answering(running, answers=False)
        phone.say(request("INVITE", body=SDP, port=phone.port))
        assert [await phone.status() for _ in range(3)] == [100, 180, 180]
        phone.say(request("CANCEL", port=phone.port))
        assert sorted([await phone.status(), await phone.status()]) == [200, 487]
        assert await desk.end() is EndReason.CANCELLED
        call = await desk.next_call()
        with pytest.raises(CallOver):
            await call.answer()
        with pytest.raises(CallOver):
            call.refer("sip:nurses@127.0.0.1:5090", timeout_s=1)
        phone.say(request("ACK", port=phone.port))
        await asyncio.sleep(0.6)
        await phone.nothing()


async def test_a_call_that_is_not_wanted() -> None:
    async with agent() as running, handset(running) as phone:
        desk = Answering(running, answers=False)
        phone.say(request("INVITE", body=SDP, port=phone.port))
        call = await desk.next_call()
        call.reject(486, "Rejected")
        assert [await phone.status() for _ in range(3)] == [100, 180, 486]
        assert call.ended is EndReason.LOCAL
        call.reject()
        await call.hang_up()


async def test_a_bye_before_the_answer_ends_the_invite_too() -> None:
    async with agent() as running, handset(running) as phone:
        desk = Answering(running, answers=False)
        phone.say(request("INVITE", body=SDP, port=phone.port))
        call = await desk.next_call()
        bye = request("BYE", to_tag=call.local_tag, cseq=2, branch="z9hG4bKbye", port=phone.port)
        assert [await phone.status(), await phone.status()] == [100, 180]
        assert await phone.ask(bye) == 200
        assert await phone.status() == 487


async def test_refer_is_written_as_the_real_service_writes_it() -> None:
    async with agent() as running, handset(running) as phone:
        desk = Answering(running)
        here = await established(running, phone, desk)
        for bad in ("+15550111", "nurses", ""):
            with pytest.raises(InvalidTarget):
                here.call.refer(bad, timeout_s=1)
        with pytest.raises(ValueError):
            here.call.refer("tel:+15550111", {"Refer-To": "sip:evil@127.0.0.1"}, timeout_s=1)
        transfer = here.call.refer("sip:nurses@127.0.0.1:5090", {"X-Triage-Code": "abc"}, timeout_s=0.3)
        with pytest.raises(TransferPending):
            here.call.refer("tel:+15550111", timeout_s=1)
        refer = await phone.hear()
        assert isinstance(refer, SipRequest)
        assert (refer.first("refer-to"), refer.first("x-triage-code"), refer.first("referred-by")) == (
            "<sip:nurses@127.0.0.1:5090>", "abc", "",
        )  # fmt: skip
        assert (await transfer.wait()).outcome is TransferOutcome.TIMED_OUT
        assert here.call.transfer is None
        here.call.refer("tel:+15550111", timeout_s=5)
        second = await phone.hear()
        while (
            isinstance(second, SipRequest) and second.cseq == refer.cseq
        ):  # the first is repeated: it is not cancelled
            second = await phone.hear()
        assert isinstance(second, SipRequest) and second.first("refer-to") == "tel:+15550111"


async def test_notifies_about_another_refer_or_without_a_status_decide_nothing() -> None:
    async with agent() as running, handset(running) as phone:
        desk = Answering(running)
        here = await established(running, phone, desk)
        transfer = here.call.refer("sip:nurses@127.0.0.1:5090", timeout_s=5)
        refer = await phone.hear()
        ok = "SIP/2.0 200 OK"

        def told(event: str, body: str) -> bytes:
            return here.made("NOTIFY", f"Event: {event}", body=body)

        assert await phone.ask(told("refer;id=99999", ok)) == 200
        assert await phone.ask(told("presence", ok)) == 481
        assert await phone.ask(told("refer", "nothing")) == 400
        assert transfer.done is None
        assert await phone.ask(told(f"refer;id={refer.cseq}", ok)) == 200
        assert transfer.done is None  # the REFER itself is not answered yet
        phone.say(_answered(refer))
        assert (await transfer.wait()).outcome is TransferOutcome.TRANSFERRED


async def test_a_fault_can_lose_or_delay_what_a_phone_reports() -> None:
    async with agent() as running, handset(running) as phone:
        desk = Answering(running)
        here = await established(running, phone, desk)
        here.call.notify_delay = lambda status: None if status == 486 else 0.2
        transfer = here.call.refer("sip:nurses@127.0.0.1:5090", timeout_s=5)
        phone.say(_answered(await phone.hear()))
        assert await phone.ask(here.made("NOTIFY", "Event: refer", body="SIP/2.0 486 Busy")) == 200
        assert await phone.ask(here.made("NOTIFY", "Event: refer", body="SIP/2.0 200 OK")) == 200
        assert transfer.done is None
        assert (await transfer.wait()).outcome is TransferOutcome.TRANSFERRED


def _answered(refer: SipRequest | SipResponse) -> bytes:
    lines = ["SIP/2.0 202 Accepted", f"Via: {refer.first('via')}", f"From: {refer.from_.text}", f"To: {refer.to.text}"]
    lines += [f"Call-ID: {refer.call_id}", f"CSeq: {refer.cseq} REFER", "Content-Length: 0", "", ""]
    return "\r\n".join(lines).encode()


async def test_an_answer_that_comes_after_we_gave_up_is_hung_up_on() -> None:
    """Also when nothing came before it, so that there was nothing to cancel."""
    async with agent() as quiet, handset(quiet) as phone, agent(allowed_targets=[f"127.0.0.1:{phone.port}"]) as running:
        with pytest.raises(CallTimedOut):
            await running.dial(f"sip:nurse@127.0.0.1:{phone.port}", from_user="line", ring_timeout_s=0.2)
        invite = await phone.hear()
        assert isinstance(invite, SipRequest) and invite.method == "INVITE"
        lines = ["SIP/2.0 200 OK", f"Via: {invite.first('via')}", f"From: {invite.from_.text}"]
        lines += [f"To: {invite.to.text};tag=late", f"Call-ID: {invite.call_id}", f"CSeq: {invite.cseq} INVITE"]
        phone.line = running.address
        phone.say("\r\n".join([*lines, "Content-Length: 0", "", ""]).encode())
        methods: list[str] = []
        while len(methods) < 2:
            message = await phone.hear()
            assert isinstance(message, SipRequest)
            if message.method != "INVITE":
                assert message.to.tag == "late"
                methods.append(message.method)
        assert methods == ["ACK", "BYE"]


async def test_rubbish_is_refused_with_one_line_and_calls_go_on(caplog: pytest.LogCaptureFixture) -> None:
    async with agent() as running, handset(running) as phone:
        desk = Answering(running)
        here = await established(running, phone, desk)
        with caplog.at_level(logging.INFO):
            for raw in (b"\r\n\r\n", b"\0", b"rubbish", request("BYE", "From: <sip:+15550100@a>")) * 20:
                phone.say(raw)
            await phone.nothing()
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "15550100" not in caplog.text
        assert await phone.ask(here.made("OPTIONS")) == 200


async def test_a_desk_that_fails_is_500_and_no_open_call() -> None:
    async with agent() as running, handset(running) as phone:

        def fails(_: IncomingCall) -> None:
            raise RuntimeError("broken")

        running.on_call = fails
        phone.say(request("INVITE", body=SDP, port=phone.port))
        assert [await phone.status(), await phone.status()] == [100, 500]
        assert running.calls == 0


async def test_stopping_says_goodbye_to_everybody() -> None:
    async with agent() as running, handset(running) as phone:
        desk = Answering(running)
        await established(running, phone, desk)
        desk2 = Answering(running, answers=False)
        phone.say(request("INVITE", body=SDP, port=phone.port, call_id="call-2", branch="z9hG4bKtwo"))
        await desk2.next_call()
        assert [await phone.status(), await phone.status()] == [100, 180]
        await running.stop()
        said = [await phone.hear(), await phone.hear()]
        assert sorted(m.method if isinstance(m, SipRequest) else str(m.status) for m in said) == ["503", "BYE"]
        assert await desk.end() is EndReason.STOPPED and await desk2.end() is EndReason.STOPPED


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.com", "::1"])
def test_it_listens_nowhere_but_on_loopback(host: str) -> None:
    with pytest.raises(BenchError):
        Agent(host)


@pytest.mark.parametrize("target", ["192.0.2.1:5060", "127.0.0.1", "127.0.0.1:0", "nurse:x", ""])
def test_only_loopback_phones_can_be_listed(target: str) -> None:
    with pytest.raises(BenchError):
        Agent(allowed_targets=[target])


async def test_a_port_that_is_taken_is_named() -> None:
    async with agent() as running:
        second = Agent(port=running.address[1])
        with pytest.raises(BenchError, match=str(running.address[1])):
            await second.start()
        await second.stop()


async def test_a_codec_changes_in_mid_call_at_the_same_rate_only() -> None:
    async with agent() as running, handset(running) as phone:
        desk = Answering(running)
        here = await established(running, phone, desk)
        alaw = SDP.replace("RTP/AVP 0 101", "RTP/AVP 8 101")
        assert await phone.ask(here.made("INVITE", body=alaw)) == 200
        assert here.call.codec.name == "PCMA"
        wide = SDP.replace("RTP/AVP 0 101", "RTP/AVP 9 101")
        assert await phone.ask(here.made("INVITE", body=wide)) == 488
        assert here.call.codec.name == "PCMA" and here.call.ended is None


@pytest.mark.parametrize(
    ("direction", "ours", "held"),
    [("sendonly", "recvonly", True), ("inactive", "inactive", True), ("recvonly", "sendonly", False)],
)
async def test_holding_is_answered_with_the_reverse(direction: str, ours: str, held: bool) -> None:
    async with agent() as running, handset(running) as phone:
        desk = Answering(running)
        here = await established(running, phone, desk)
        phone.say(here.made("INVITE", body=SDP + f"a={direction}\r\n"))
        answer = await phone.hear()
        assert f"a={ours}\r\n".encode() in answer.body
        assert here.call.held is held
        before = here.call.counts.sent  # type: ignore[attr-defined]  # a call of the agent's own
        await asyncio.sleep(0.3)
        assert (here.call.counts.sent - before > 10) is not held  # type: ignore[attr-defined]  # as above


async def test_a_flood_of_invites_is_refused_and_the_call_in_progress_does_not_notice() -> None:
    async with agent(max_calls=3) as running, handset(running) as phone:
        desk = Answering(running)
        here = await established(running, phone, desk)
        running.gaps.clear()
        for n in range(600):
            phone.say(request("INVITE", body=SDP, port=phone.port, call_id=f"f{n}", branch=f"z9hG4bKf{n}"))
            if n % 20 == 0:
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.3)
        assert running.calls == 3
        seen = [await phone.hear() for _ in range(phone.came.qsize())]
        refused = [m for m in seen if isinstance(m, SipResponse) and m.status == 503]
        assert len({m.call_id for m in refused}) > 100  # the socket itself may lose some
        assert here.call.ended is None
        assert running.gaps.summary()["max"] < 200
