"""One dialog (RFC 3261, section 12): who the two sides are, how requests in it are numbered, and where they go."""

import copy
import secrets
from collections.abc import Mapping, Sequence

from triage.bench.sip.wire import Outgoing, SipRequest, SipResponse, checked_headers, loopback_address

Address = tuple[str, int]
ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, NOTIFY, INFO"
"""What we say we take. INFO is taken to be refused, as the real service does."""


def new_tag() -> str:
    """Return a tag for From or To."""
    return secrets.token_hex(6)


class Dialog:
    """Made by `answering` for a call that came in, by `dialling` for one that we dialled."""

    def __init__(
        self, *, call_id: str, local_tag: str, local: str, remote: str, contact: str, address: Address
    ) -> None:
        self.call_id = call_id
        self.local_tag = local_tag
        self.remote_tag = ""
        self.contact = contact
        """Our Contact, with its angle brackets."""
        self._local = local
        self._remote = remote
        self._target = ""
        self._routes: Sequence[str] = ()
        self._address = address
        self._cseq = secrets.randbelow(10_000) + 1
        self._remote_cseq: int | None = None

    @classmethod
    def answering(cls, invite: SipRequest, source: Address, contact: str) -> "Dialog":
        """Return the dialog that our answer to this INVITE makes."""
        tag = new_tag()
        dialog = cls(
            call_id=invite.call_id, local_tag=tag, local=f"{invite.to.text};tag={tag}",
            remote=invite.from_.text, contact=contact, address=source,
        )  # fmt: skip
        dialog.remote_tag = invite.from_.tag
        dialog._remote_cseq = invite.cseq
        dialog._routes = tuple(invite.record_route)
        dialog._aim(invite, fallback=invite.from_.uri.text)
        return dialog

    @classmethod
    def dialling(cls, target_uri: str, from_user: str, host: str, port: int, address: Address) -> "Dialog":
        """Return the dialog that an answer to our INVITE will make."""
        tag = new_tag()
        dialog = cls(
            call_id=secrets.token_hex(12), local_tag=tag, local=f"<sip:{from_user}@{host}:{port}>;tag={tag}",
            remote=f"<{target_uri}>", contact=f"<sip:{from_user}@{host}:{port}>", address=address,
        )  # fmt: skip
        dialog._target = target_uri
        return dialog

    def beside(self) -> "Dialog":
        """Return a copy, for a second phone that answered the same INVITE."""
        return copy.copy(self)

    def established(self, response: SipResponse) -> None:
        """Take the other side's tag, route and target from its 2xx."""
        self.remote_tag = response.to.tag
        self._remote = response.to.text
        self._routes = tuple(reversed(response.record_route))
        self._aim(response, fallback=self._target)

    def refreshed(self, message: SipRequest | SipResponse) -> None:
        """Take a new Contact from a re-INVITE or its answer."""
        self._aim(message, fallback=self._target)

    def _aim(self, message: SipRequest | SipResponse, fallback: str) -> None:
        """Follow Contact or route, but only to loopback; else the address that messages come from stays."""
        self._target = message.contact.text if message.contact else fallback
        if self._routes:
            return  # through the proxy that the first message came through
        if message.contact and (found := loopback_address(message.contact.host, message.contact.port)):
            self._address = found

    @property
    def address(self) -> Address:
        """Where requests in this dialog are sent."""
        return self._address

    def holds(self, request: SipRequest) -> bool:
        """Whether a request carries this dialog's tags."""
        return request.to.tag == self.local_tag and request.from_.tag == self.remote_tag

    def in_order(self, request: SipRequest) -> bool:
        """Take the request's number; False when it is older than one that came before."""
        if self._remote_cseq is not None and request.cseq <= self._remote_cseq:
            return False
        self._remote_cseq = request.cseq
        return True

    def request(
        self,
        method: str,
        headers: Mapping[str, str] | None = None,
        own: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> Outgoing:
        """Return the next request: `headers` are somebody else's and checked, `own` are the protocol's.

        Raises: ValueError for a header that cannot be added.
        """
        self._cseq += 1
        return self._numbered(method, self._cseq, [*own, *checked_headers(headers)], body)

    def same_number(self, method: str, invite: Outgoing) -> Outgoing:
        """Return the ACK to a 2xx, or the CANCEL, that belongs to an INVITE of ours."""
        if method == "CANCEL":
            return Outgoing(
                method=method, uri=invite.uri, from_=invite.from_, to=invite.to, call_id=invite.call_id,
                cseq=invite.cseq, routes=invite.routes,
            )  # fmt: skip
        return self._numbered(method, invite.cseq, [], b"")

    def _numbered(self, method: str, cseq: int, headers: Sequence[tuple[str, str]], body: bytes) -> Outgoing:
        return Outgoing(
            method=method, uri=self._target, from_=self._local, to=self._remote, call_id=self.call_id, cseq=cseq,
            routes=self._routes, headers=headers, body=body,
        )  # fmt: skip
