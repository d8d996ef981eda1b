"""What travels in SIP headers: the packet code on its way out, the caller's number on its way in."""

import asyncio
import json
import re
from typing import Any

from triage.ports import ShownNumber

PACKET_HEADER = "X-Triage-Packet"
"""Carries the opaque packet code on the REFER and on the INVITE to a nurse; nothing else of ours is sent."""
ASKED = ("From", "P-Asserted-Identity", "Privacy")
"""What is asked of a caller's leg: what they call themselves, what the network answers for, what they want hidden."""
HIDES = frozenset({"id", "user", "header"})
"""Values of Privacy by which a caller asks that their number be shown to nobody (RFC 3323, RFC 3325)."""
ANSWER_S, LEEWAY_S = 5.0, 1.0
"""How long the SIP service may take to tell them."""
WITHHELD = frozenset({"anonymous", "restricted", "unavailable", "unknown", "withheld", "private"})
"""User parts that say that there is no number."""
LONGEST = 64
_ADDRESS = re.compile(r"<([^<>]*)>[^<>]*$")
_USER = re.compile(r"\s*(?:sips?:([^@;>\s]+)@|tel:([^@;>\s]+))", re.IGNORECASE)


async def caller_number(room: Any, identity: str) -> ShownNumber:
    """The number that the network tells of this caller, and whether they withheld it.

    It comes from the caller's leg by a room RPC, so that no server keeps it. Never to be logged.

    Raises:
        Exception: the RPC failed (the SDK's own errors): the leg is gone, or does not answer in time.
    """
    async with asyncio.timeout(ANSWER_S + LEEWAY_S):  # the SDK may never say that its own time is up
        answer = await room.local_participant.perform_rpc(
            destination_identity=identity,
            method="lk.sip.GetRemoteHeaders",
            payload=json.dumps({"include": list(ASKED)}),
            response_timeout=ANSWER_S,
        )
    return number_in(answer)


def number_in(answer: str) -> ShownNumber:
    """The number in an answer to `lk.sip.GetRemoteHeaders`.

    What the network asserts counts before what the caller's own From says, which anybody can write. A caller who is
    anonymous there, or asks for privacy, has withheld it: it is kept, as somebody urgent must be rung back, and named so.
    """
    try:
        found = json.loads(answer).get("headers") or {}
        shown = {str(name).lower(): _first(value) for name, value in found.items()}
    except (ValueError, AttributeError):
        return ShownNumber()
    wants = {word.strip().lower() for word in re.split(r"[;,]", shown.get("privacy", ""))}
    own, asserted = _user(shown.get("from", "")), _user(shown.get("p-asserted-identity", ""))
    number = next((user for user in (asserted, own) if user and user.lower() not in WITHHELD), "")
    return ShownNumber(number, bool(number) and (own.lower() in WITHHELD or not wants.isdisjoint(HIDES)))


def _user(header: str) -> str:
    address = _ADDRESS.search(header)  # a name before it is the caller's own choice
    user = _USER.match(address[1] if address else header)
    return (user[1] or user[2])[:LONGEST] if user else ""


def _first(value: Any) -> str:
    return str(value[0]) if isinstance(value, list) and value else str(value)
