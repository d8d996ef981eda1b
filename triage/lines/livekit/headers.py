"""What travels in SIP headers: the packet code on its way out, the caller's number on its way in."""

import asyncio
import json
import re
from typing import Any

PACKET_HEADER = "X-Triage-Packet"
"""Carries the opaque packet code on the REFER and on the INVITE to a nurse; nothing else of ours is sent."""
ASKED = ("From", "P-Asserted-Identity")
"""Headers that may hold the caller's number, the better one first."""
ANSWER_S, LEEWAY_S = 5.0, 1.0
"""How long the SIP service may take to tell them."""
WITHHELD = frozenset({"anonymous", "restricted", "unavailable", "unknown", "withheld", "private"})
"""User parts that say that there is no number."""
LONGEST = 64
_ADDRESS = re.compile(r"<([^<>]*)>[^<>]*$")
_USER = re.compile(r"\s*(?:sips?:([^@;>\s]+)@|tel:([^@;>\s]+))", re.IGNORECASE)


async def caller_number(room: Any, identity: str) -> str:
    """The number that the network showed for this caller, as it stands in the SIP headers; "" when it is withheld.

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


def number_in(answer: str) -> str:
    """The number in an answer to `lk.sip.GetRemoteHeaders`; "" when there is none."""
    try:
        found = json.loads(answer).get("headers") or {}
        shown = {str(name).lower(): _first(value) for name, value in found.items()}
    except (ValueError, AttributeError):
        return ""
    for name in ASKED:
        header = shown.get(name.lower(), "")
        address = _ADDRESS.search(header)  # a name before it is the caller's own choice
        user = _USER.match(address[1] if address else header)
        number = (user[1] or user[2])[:LONGEST] if user else ""
        if number and number.lower() not in WITHHELD:
            return number
    return ""


def _first(value: Any) -> str:
    return str(value[0]) if isinstance(value, list) and value else str(value)
