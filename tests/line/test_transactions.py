"""Promise: over a wire that loses and doubles, each message is dealt with once, and repeated as the RFC has it.

In virtual time, without sockets: what would be sent is noted with the second at which it would be.
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.line.messages import request, response
from triage import clock
from triage.bench.sip.transactions import MOST_OPEN, ClientTransaction, ServerTransaction, Transactions
from triage.bench.sip.wire import Outgoing, SipRequest, SipResponse, parse

PHONE = ("127.0.0.1", 5080)


class Wire:
    """What was sent, and when."""

    def __init__(self) -> None:
        self.sent: list[tuple[float, SipRequest | SipResponse]] = []
        self.layer = Transactions(self._send, "127.0.0.1", 5070)
        self.requests: list[ServerTransaction] = []
        self.acks: list[SipRequest] = []
        self.answers: list[int] = []
        self.timeouts: list[float] = []
        self.layer.on_request = self.requests.append
        self.layer.on_ack = self.acks.append
        self.layer.is_living = lambda request: request.to.tag == "us"
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()

    def _send(self, datagram: bytes, address: tuple[str, int]) -> None:
        assert address == PHONE
        self.sent.append((self.now(), parse(datagram)))

    def now(self) -> float:
        return round(self._loop.time() - self._began, 3)

    def receive(self, raw: bytes) -> None:
        self.layer.receive(parse(raw), PHONE)

    def times(self) -> list[float]:
        return [at for at, _ in self.sent]

    def ask(self, method: str) -> ClientTransaction:
        outgoing = Outgoing(
            method=method, uri="sip:nurse@127.0.0.1:5080", from_="<sip:line@127.0.0.1>;tag=us",
            to="<sip:nurse@127.0.0.1:5080>", call_id="call-1", cseq=1,
        )  # fmt: skip
        return self.layer.request(
            outgoing, PHONE, lambda answer: self.answers.append(answer.status), lambda: self.timeouts.append(self.now())
        )


def live(story: Callable[[Wire], Awaitable[None]]) -> None:
    async def main() -> None:
        wire = Wire()
        try:
            await story(wire)
        finally:
            wire.layer.stop()

    clock.run(main(), virtual=True)


# --- requests of ours


def test_a_request_is_repeated_ever_more_slowly_until_it_counts_as_unanswered() -> None:
    async def story(wire: Wire) -> None:
        wire.ask("BYE")
        await asyncio.sleep(60)
        assert wire.times() == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
        assert wire.timeouts == [32.0] and wire.answers == []

    live(story)


def test_an_invite_is_repeated_until_it_rings_and_then_waits_for_ever() -> None:
    async def story(wire: Wire) -> None:
        client = wire.ask("INVITE")
        await asyncio.sleep(2)
        assert wire.times() == [0, 0.5, 1.5]
        wire.receive(response(180, branch=client.branch))
        await asyncio.sleep(100)
        assert wire.times() == [0, 0.5, 1.5] and wire.timeouts == []
        assert client.provisional and not client.over

    live(story)


def test_a_refusal_is_acknowledged_each_time_and_told_once() -> None:
    async def story(wire: Wire) -> None:
        client = wire.ask("INVITE")
        for _ in range(3):
            wire.receive(response(486, branch=client.branch))
        assert wire.answers == [486]
        acks = [message for _, message in wire.sent if isinstance(message, SipRequest) and message.method == "ACK"]
        assert len(acks) == 3
        assert {(ack.via[0].branch, ack.to.tag, ack.cseq) for ack in acks} == {(client.branch, "them", 1)}

    live(story)


def test_each_200_to_an_invite_is_told_and_none_acknowledged_here() -> None:
    async def story(wire: Wire) -> None:
        client = wire.ask("INVITE")
        wire.receive(response(200, branch=client.branch))
        wire.receive(response(200, branch=client.branch))
        assert wire.answers == [200, 200] and len(wire.sent) == 1

    live(story)


def test_an_answer_that_comes_twice_or_to_somebody_else_is_dropped() -> None:
    async def story(wire: Wire) -> None:
        client = wire.ask("BYE")
        wire.receive(response(200, branch=client.branch, method="BYE", call_id="other"))
        wire.receive(response(200, branch="z9hG4bKother", method="BYE"))
        assert wire.answers == []
        wire.receive(response(200, branch=client.branch, method="BYE"))
        wire.receive(response(200, branch=client.branch, method="BYE"))
        assert wire.answers == [200]
        await asyncio.sleep(60)
        assert len(wire.sent) == 1 and wire.timeouts == []

    live(story)


@pytest.mark.parametrize(("answered", "waited_s"), [(True, 1.0), (False, 5.0)])
def test_a_farewell_waits_for_its_answer_but_not_for_ever(answered: bool, waited_s: float) -> None:
    async def story(wire: Wire) -> None:
        client = wire.ask("BYE")
        if answered:
            asyncio.get_running_loop().call_later(1, wire.receive, response(200, branch=client.branch, method="BYE"))
        await wire.layer.settled(5.0)
        assert wire.now() == waited_s

    live(story)


# --- requests of phones


def test_a_request_that_comes_again_gets_the_same_answer_and_is_told_once() -> None:
    async def story(wire: Wire) -> None:
        wire.receive(request("BYE"))
        wire.receive(request("BYE"))
        assert len(wire.requests) == 1 and wire.sent == []
        wire.requests[0].respond(200)
        wire.requests[0].respond(500)
        wire.receive(request("BYE"))
        assert [message.status for _, message in wire.sent if isinstance(message, SipResponse)] == [200, 200]

    live(story)


@pytest.mark.parametrize("status", [200, 486])
def test_the_answer_to_an_invite_is_repeated_until_it_is_acknowledged(status: int) -> None:
    async def story(wire: Wire) -> None:
        wire.receive(request("INVITE"))
        server = wire.requests[0]
        server.respond(status, to_tag="us")
        await asyncio.sleep(4)
        assert wire.times() == [0, 0.5, 1.5, 3.5]
        wire.receive(request("ACK", branch="z9hG4bKone" if status == 486 else "z9hG4bKtwo", to_tag="us"))
        assert len(wire.acks) == (status == 200)
        if status == 200:
            server.acknowledged()
        await asyncio.sleep(60)
        assert len(wire.sent) == 4

    live(story)


def test_an_answer_that_nobody_acknowledges_is_noticed() -> None:
    async def story(wire: Wire) -> None:
        wire.receive(request("INVITE"))
        noticed: list[float] = []
        wire.requests[0].on_unacknowledged = lambda: noticed.append(wire.now())
        wire.requests[0].respond(200, to_tag="us")
        await asyncio.sleep(100)
        assert noticed == [32.0]
        assert len([at for at in wire.times() if at < 30.3]) == 10

    live(story)


def test_a_cancel_finds_its_invite_and_no_other() -> None:
    async def story(wire: Wire) -> None:
        wire.receive(request("INVITE"))
        assert wire.layer.invite_of(parse(request("CANCEL"))) is wire.requests[0]  # type: ignore[arg-type]  # a request
        assert wire.layer.invite_of(parse(request("CANCEL", branch="z9hG4bKtwo"))) is None  # type: ignore[arg-type]  # a request

    live(story)


def test_phones_from_before_the_magic_cookie_are_told_apart() -> None:
    async def story(wire: Wire) -> None:
        for cseq in (1, 1, 2):
            wire.receive(request("BYE", branch="1", cseq=cseq))
        assert len(wire.requests) == 2

    live(story)


@pytest.mark.parametrize("method", ["BYE", "NOTIFY", "INVITE", "INFO"])
def test_a_flood_keeps_no_living_call_from_being_heard(method: str) -> None:
    """Whoever is in a call has our tag in To; calls that only ring may be cancelled."""

    async def story(wire: Wire) -> None:
        for n in range(MOST_OPEN + 500):
            wire.receive(request("INVITE", branch=f"z9hG4bK{n}"))
        assert len(wire.requests) == MOST_OPEN
        wire.receive(request(method, branch="z9hG4bKliving", to_tag="us"))
        assert wire.requests[-1].request.method == method and len(wire.requests) == MOST_OPEN + 1
        wire.receive(request("CANCEL", branch="z9hG4bK7"))
        assert wire.requests[-1].request.method == "CANCEL"
        wire.receive(request("OPTIONS", branch="z9hG4bKstranger"))
        assert len(wire.requests) == MOST_OPEN + 2

    live(story)


def test_a_flood_that_feigns_to_be_in_calls_is_bounded_too() -> None:
    async def story(wire: Wire) -> None:
        for n in range(MOST_OPEN + 50):
            wire.receive(request("BYE", branch=f"z9hG4bK{n}", to_tag=f"feigned{n}"))
            wire.receive(request("CANCEL", branch=f"z9hG4bKnothing{n}"))
        assert len(wire.requests) == MOST_OPEN
        wire.receive(request("BYE", branch="z9hG4bKliving", to_tag="us"))
        assert len(wire.requests) == MOST_OPEN + 1

    live(story)


def test_a_flood_is_bounded_and_forgotten() -> None:
    async def story(wire: Wire) -> None:
        for n in range(MOST_OPEN + 50):
            wire.receive(request("INVITE", branch=f"z9hG4bK{n}"))
        assert len(wire.requests) == MOST_OPEN
        for server in wire.requests:
            server.respond(503)
        await asyncio.sleep(40)
        wire.receive(request("INVITE", branch="z9hG4bKlater"))
        assert len(wire.requests) == MOST_OPEN + 1

    live(story)
