"""SIP transactions over UDP (RFC 3261, section 17): repeating what may be lost, recognising what came twice.

The layer sits between the socket and the agent. It passes up each request and each response once, repeats requests
until answered and answers until acknowledged, and forgets a transaction 32 s after its last use. One thing is not by
the book: the 200 to an INVITE is repeated here as well, until the dialog says that its ACK came.
"""

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress

from triage.bench.sip.wire import Outgoing, SipRequest, SipResponse, response_to

T1_S = 0.5
T2_S = 4.0
TIMEOUT_S = 64 * T1_S
"""After this a request counts as unanswered, and an answer as never acknowledged: 32 s."""
MOST_OPEN = 2000
"""Transactions of others that are remembered; in a flood further requests are dropped, unless they are about a call
that lives, or give up one that rings."""
COOKIE = "z9hG4bK"

Address = tuple[str, int]
Send = Callable[[bytes, Address], None]


class ServerTransaction:
    """One request of a phone and our answer to it."""

    def __init__(self, layer: "Transactions", request: SipRequest, source: Address) -> None:
        self.request = request
        self.source = source
        self.status = 0
        """Last status sent; 0 before any."""
        self.on_unacknowledged: Callable[[], None] | None = None
        """Called when a final answer to an INVITE was repeated for 32 s and no ACK came."""
        self._layer = layer
        self._last = b""
        self._repeat: asyncio.TimerHandle | None = None
        self._acked = False

    def respond(
        self,
        status: int,
        *,
        to_tag: str = "",
        reason: str | None = None,
        headers: list[tuple[str, str]] | None = None,
        body: bytes = b"",
    ) -> None:
        """Send an answer; after a final one nothing more is sent."""
        if self.status >= 200:
            return
        self.status = status
        self._last = response_to(
            self.request, status, self.source, to_tag=to_tag, reason=reason, headers=headers or (), body=body
        )
        self._layer.send(self._last, self.source)
        if status >= 200:
            self._layer.forget_later(self)
            if self.request.method == "INVITE":
                self._repeat_in(T1_S, T1_S)

    def acknowledged(self) -> None:
        """The ACK came."""
        self._acked = True
        if self._repeat is not None:
            self._repeat.cancel()

    def again(self) -> None:
        """The request came again."""
        if self._last and not self._acked:
            self._layer.send(self._last, self.source)

    def _repeat_in(self, delay_s: float, waited_s: float) -> None:
        self._repeat = self._layer.loop.call_later(delay_s, self._repeat_now, delay_s, waited_s)

    def _repeat_now(self, delay_s: float, waited_s: float) -> None:
        if waited_s >= TIMEOUT_S:
            if self.on_unacknowledged is not None:
                self.on_unacknowledged()
            return
        self._layer.send(self._last, self.source)
        delay_s = min(2 * delay_s, T2_S, TIMEOUT_S - waited_s)
        self._repeat_in(delay_s, waited_s + delay_s)

    def stop(self) -> None:
        """Nothing is repeated any more."""
        if self._repeat is not None:
            self._repeat.cancel()


class ClientTransaction:
    """One request of ours. Answers come through `on_response`: each provisional one, and the final one."""

    def __init__(
        self,
        layer: "Transactions",
        outgoing: Outgoing,
        target: Address,
        on_response: Callable[[SipResponse], None],
        on_timeout: Callable[[], None],
        branch: str | None = None,
    ) -> None:
        self.outgoing = outgoing
        self.target = target
        self.branch = branch or COOKIE + secrets.token_hex(8)
        self.provisional = False
        """Whether a provisional answer has come (before it an INVITE cannot be cancelled)."""
        self.over = False
        """Whether a final answer came, or none in time."""
        self._layer = layer
        self._on_response = on_response
        self._on_timeout = on_timeout
        self._bytes = outgoing.render(layer.via(self.branch))
        self._final: int | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Send it, again and again until something comes back."""
        self._layer.send(self._bytes, self.target)
        self._repeat_in(T1_S, T1_S)

    def _repeat_in(self, delay_s: float, waited_s: float) -> None:
        self._timer = self._layer.loop.call_later(delay_s, self._repeat, delay_s, waited_s)

    def _repeat(self, delay_s: float, waited_s: float) -> None:
        invite = self.outgoing.method == "INVITE"
        if waited_s >= TIMEOUT_S and not (invite and self.provisional):
            self._finish()
            self._on_timeout()
            return
        if invite and self.provisional:  # it rings: who dialled decides for how long
            return
        self._layer.send(self._bytes, self.target)
        longest = T2_S if not invite else TIMEOUT_S
        delay_s = min(T2_S if self.provisional else 2 * delay_s, longest, TIMEOUT_S - waited_s)
        self._repeat_in(delay_s, waited_s + delay_s)

    def receive(self, response: SipResponse) -> None:
        """Take an answer."""
        invite = self.outgoing.method == "INVITE"
        if response.status < 200:
            if not self.over:
                self.provisional = True
                self._on_response(response)
            return
        if invite and response.status >= 300:
            self._layer.send(self._ack(response), self.target)
        if self.over and not (invite and response.status < 300):
            return
        # Every 2xx to an INVITE goes up: each wants its ACK, also when the phone repeats it.
        if not self.over:
            self._finish()
        self._on_response(response)

    def _ack(self, response: SipResponse) -> bytes:
        first = self.outgoing
        ack = Outgoing(
            method="ACK", uri=first.uri, from_=first.from_, to=response.to.text, call_id=first.call_id,
            cseq=first.cseq, routes=first.routes,
        )  # fmt: skip
        return ack.render(self._layer.via(self.branch))

    def _finish(self) -> None:
        self.over = True
        self.stop()
        self._layer.finished(self)

    def stop(self) -> None:
        """Nothing is repeated any more."""
        if self._timer is not None:
            self._timer.cancel()


class Transactions:
    """All transactions of one socket."""

    def __init__(self, send: Send, host: str, port: int) -> None:
        """`host` and `port` are ours, for Via."""
        self.loop = asyncio.get_running_loop()
        self.send = send
        self.on_request: Callable[[ServerTransaction], None] = lambda _: None
        """Gets each new request, ACK to a 2xx excepted."""
        self.on_ack: Callable[[SipRequest], None] = lambda _: None
        """Gets each ACK that belongs to no refusal."""
        self.is_living: Callable[[SipRequest], bool] = lambda _: False
        """Says whether a request belongs to a call that lives; asked in a flood."""
        self._here = f"{host}:{port}"
        self._server: dict[tuple[str, ...], ServerTransaction] = {}
        self._client: dict[tuple[str, str], ClientTransaction] = {}
        self._forgetting: set[asyncio.TimerHandle] = set()
        self._quiet = asyncio.Event()

    def via(self, branch: str) -> str:
        """Return our Via."""
        return f"SIP/2.0/UDP {self._here};branch={branch};rport"

    def receive(self, message: SipRequest | SipResponse, source: Address) -> None:
        """Take a message from the socket."""
        if isinstance(message, SipResponse):
            client = self._client.get((message.via[0].branch, message.cseq_method))
            if client is not None and client.outgoing.call_id == message.call_id:
                client.receive(message)
            return
        server = self._server.get(_key(message, message.method))
        if message.method == "ACK":
            if server is not None and server.status >= 300:
                server.acknowledged()
            else:
                self.on_ack(message)
        elif server is not None:
            server.again()
        elif len(self._server) < MOST_OPEN or self._is_due(message):
            server = ServerTransaction(self, message, source)
            self._server[_key(message, message.method)] = server
            self.on_request(server)

    def _is_due(self, request: SipRequest) -> bool:
        if request.method == "CANCEL":
            return self.invite_of(request) is not None
        return bool(request.to.tag) and self.is_living(request)

    def invite_of(self, cancel: SipRequest) -> ServerTransaction | None:
        """Return the INVITE that a CANCEL means."""
        return self._server.get(_key(cancel, "INVITE"))

    def request(
        self,
        outgoing: Outgoing,
        target: Address,
        on_response: Callable[[SipResponse], None],
        on_timeout: Callable[[], None],
        branch: str | None = None,
    ) -> ClientTransaction:
        """Send a request. A CANCEL takes the branch of its INVITE."""
        client = ClientTransaction(self, outgoing, target, on_response, on_timeout, branch)
        self._client[client.branch, outgoing.method] = client
        client.start()
        return client

    async def settled(self, limit_s: float) -> None:
        """Wait until no request of ours waits for its final answer, `limit_s` at most."""
        if any(not client.over for client in self._client.values()):
            self._quiet.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._quiet.wait(), limit_s)

    def finished(self, client: ClientTransaction) -> None:
        """A request of ours got its final answer, or will get none."""
        self.forget_later(client)
        if all(other.over for other in self._client.values()):
            self._quiet.set()

    def forget_later(self, transaction: ServerTransaction | ClientTransaction) -> None:
        """Keep it as long as the other side may repeat itself."""
        handle: asyncio.TimerHandle = self.loop.call_later(TIMEOUT_S + T2_S, lambda: self._forget(transaction, handle))
        self._forgetting.add(handle)

    def _forget(self, transaction: ServerTransaction | ClientTransaction, handle: asyncio.TimerHandle) -> None:
        self._forgetting.discard(handle)
        transaction.stop()
        if isinstance(transaction, ServerTransaction):
            self._server.pop(_key(transaction.request, transaction.request.method), None)
        else:
            self._client.pop((transaction.branch, transaction.outgoing.method), None)

    def stop(self) -> None:
        """Nothing is repeated any more, everything is forgotten."""
        for server in self._server.values():
            server.stop()
        for client in self._client.values():
            client.stop()
        for handle in self._forgetting:
            handle.cancel()
        self._server.clear()
        self._client.clear()
        self._forgetting.clear()


def _key(request: SipRequest, method: str) -> tuple[str, ...]:
    top = request.via[0]
    method = "INVITE" if method == "ACK" else method
    if top.branch.startswith(COOKIE):
        return (top.branch, f"{top.host}:{top.port}", method)
    # From before RFC 3261: recognised by what identifies the request itself (section 17.2.3).
    return (request.call_id, request.from_.tag, str(request.cseq), method, f"{top.host}:{top.port}")
