"""What livekit-server is asked about a call that comes in, and what a participant's attributes say of a call.

A question without From or To would end the whole server (it dereferences them unasked), so both are always there.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from triage.bench.mark import MARK
from triage.bench.seam import messages
from triage.bench.seam.rpc import RpcClient
from triage.bench.sip.ports import Call

IOINFO = "IOInfo"
"""Name of the service on the wire. The protocol has an `IOInfoSIP` too; nobody serves it."""
RING_S = 180.0
"""How long a call waits for a voice in the room, or a phone for its owner, when nothing is set."""
LONGEST_CALL_S = 24 * 3600.0
MEDIA_TIMEOUT_S = 15.0

STATUS = "sip.callStatus"
CALL_ID = "sip.callID"


class CallStatus(StrEnum):
    """Values of the attribute `sip.callStatus`."""

    DIALING = "dialing"
    RINGING = "ringing"
    AUTOMATION = "automation"
    ACTIVE = "active"
    HANGUP = "hangup"


class Verdict(StrEnum):
    """What is to be done with a call that comes in."""

    ACCEPT = "accept"
    REJECT = "reject"
    """No dispatch rule for it: 404."""
    DROP = "drop"
    """Say nothing more: it was not meant for us."""
    DIGEST = "digest"
    """The trunk wants a password, which the bench cannot ask for."""
    PIN = "pin"
    """The rule wants a PIN, which the bench cannot ask for."""


@dataclass(frozen=True)
class Dispatch:
    """Verdict on a call, and where it goes."""

    verdict: Verdict
    trunk_id: str = ""
    answer: Any = None
    """DispatchResponse, for ACCEPT."""


async def dispatch(
    server: RpcClient, lk_call_id: str, call: Call, address: tuple[str, int], ring: Callable[[], None]
) -> Dispatch:
    """Ask whose call this is and where it goes. `address` is ours, that was rung; `ring` is called in between.

    Raises: RpcError when the server does not answer, or not with an answer.
    """
    question = messages.Call(
        lk_call_id=lk_call_id,
        sip_call_id=call.call_id,
        source_ip=call.source_ip,
        address=messages.SipUri(host=address[0], port=address[1]),
        to=messages.SipUri(user=call.to_user, host=call.to_host),
        via=[messages.SipUri(host=host, port=port) for host, port in call.via],
        **{"from": messages.SipUri(user=call.from_user, host=call.from_host)},
    )
    auth = await server.ask("GetSIPTrunkAuthentication", messages.AuthRequest(call=question), messages.AuthResponse)
    if auth.drop:
        return Dispatch(Verdict.DROP)
    if auth.error_code:
        return Dispatch(Verdict.REJECT)
    if auth.username and auth.password:
        return Dispatch(Verdict.DIGEST, auth.sip_trunk_id)
    ring()
    asked = messages.DispatchRequest(sip_trunk_id=auth.sip_trunk_id, call=question)
    answer = await server.ask("EvaluateSIPDispatchRules", asked, messages.DispatchResponse)
    trunk = answer.sip_trunk_id or auth.sip_trunk_id
    if answer.result == messages.ACCEPT or (answer.result == 0 and not answer.request_pin and answer.room_name):
        return Dispatch(Verdict.ACCEPT, trunk, answer)
    if answer.result == messages.REQUEST_PIN or answer.request_pin:
        return Dispatch(Verdict.PIN, trunk)
    return Dispatch(Verdict.DROP if answer.result == messages.DROP else Verdict.REJECT, trunk)


@dataclass(frozen=True)
class HeaderRules:
    """Which headers of a phone become attributes, and which attributes become headers."""

    include: int = 0
    to_attributes: Mapping[str, str] = field(default_factory=dict)
    from_attributes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, message: Any) -> "HeaderRules":
        """Read them from a DispatchResponse or a CreateRequest."""
        return cls(message.include_headers, dict(message.headers_to_attributes), dict(message.attributes_to_headers))

    def attributes(self, call: Call) -> dict[str, str]:
        """What the phone's headers say, with the ids of the dialog."""
        found = {}
        for name, value in call.headers.items():
            if self.include == messages.ALL_HEADERS or (self.include == messages.X_HEADERS and name.startswith("x-")):
                found[f"sip.h.{name}"] = value
        wanted = {**_CARRIERS, **{name.lower(): attribute for name, attribute in self.to_attributes.items()}}
        for name, attribute in wanted.items():
            if name in call.headers:
                found[attribute] = call.headers[name]
        return {**found, "sip.callIDFull": call.call_id, "sip.callTag": _remote_tag(call)}

    def headers(self, attributes: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
        """Headers to send with INVITE, REFER or BYE: `given`, and what the attributes add."""
        added = {header: attributes[name] for name, header in self.from_attributes.items() if attributes.get(name)}
        return {**given, **added}


def _remote_tag(call: Call) -> str:
    # To carries the phone's tag where we dialled, From where it rang; To has none then.
    for name in ("to", "from"):
        if (found := re.search(r";\s*tag=([^;>\s]+)", call.headers.get(name, ""), re.IGNORECASE)) is not None:
            return found[1]
    return ""


_CARRIERS = {
    "x-twilio-accountsid": "sip.twilio.accountSid",
    "x-twilio-callsid": "sip.twilio.callSid",
    "x-call_leg_id": "sip.telnyx.callLegID",
    "x-call_session_id": "sip.telnyx.callSessionID",
}
"""Headers that become attributes unasked."""


def marked(attributes: Mapping[str, str], status: CallStatus) -> dict[str, str]:
    """Attributes of a participant of ours: status and the mark of the bench are always there."""
    return {**attributes, STATUS: status.value, **MARK}


_HIDDEN = frozenset({
    "route", "record-route", "via", "supported", "accept", "allow", "allow-events", "content-type", "content-length",
    "content-encoding", "content-disposition", "cseq", "event", "expires", "session-expires", "min-se", "max-forwards",
})  # fmt: skip
_SPELLING = {"call-id": "Call-ID", "mime-version": "MIME-Version", "p-asserted-identity": "P-Asserted-Identity"}


def remote_headers(headers: Mapping[str, str], asked: Mapping[str, Any]) -> dict[str, str]:
    """Answer of the room RPC `lk.sip.GetRemoteHeaders`: the phone's headers but for those of the transport.

    `asked` may hold lists `include` (only these) and `exclude`; case does not matter.
    """
    only = {str(name).lower() for name in asked.get("include") or ()}
    without = {str(name).lower() for name in asked.get("exclude") or ()} | _HIDDEN
    return {
        _SPELLING.get(name) or "-".join(part.capitalize() for part in name.split("-")): value
        for name, value in headers.items()
        if name not in without and (not only or name in only)
    }
