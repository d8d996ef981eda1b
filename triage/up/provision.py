"""Tell livekit-server who may ring, what a call starts, and how the nurse queue is dialled. Running it twice is once.

Three objects, known by name: the inbound trunk (carrier's addresses, our number), the dispatch rule (always tied to
that trunk, so that an INVITE from elsewhere starts no job), the outbound trunk to the nurses. What stands as the
settings have it is kept, what differs is replaced under its id, doubles are deleted.

Rooms are named after the number that was called and a random part: LiveKit's individual rule would put the last four
digits of the caller's number into the room's name even where numbers are hidden.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from google.protobuf.duration_pb2 import Duration
from livekit import api

from triage.config import Settings
from triage.errors import UsageError
from triage.up.line_files import EMPTY_ROOM_S, LEFT_ROOM_S, Line

CALLERS, RULE, NURSES = "triage-callers", "triage-calls", "triage-nurses"
"""Names of inbound trunk, dispatch rule and outbound trunk."""
ROOM_PREFIX = "call"

ANSWER_S = 10.0
"""livekit-server has answered every question within this, s."""

_WRITTEN = re.compile(r"\+?[0-9() -]+")
"""What livekit-server takes for a number. Anything else it compares letter by letter."""

HEADERS_TO_ATTRIBUTES: dict[str, str] = {}
"""None: what a carrier writes into a header may be the caller's number or name."""


@dataclass(frozen=True)
class Provisioned:
    """What livekit-server now knows."""

    inbound_trunk: str
    dispatch_rule: str
    nurse_trunk: str
    changes: tuple[str, ...]
    """One line for each object that was made, replaced or deleted; empty when all stood already."""


def inbound_trunk(settings: Settings) -> Any:
    """Who may ring: only the carrier, only our number."""
    return api.SIPInboundTrunkInfo(
        name=CALLERS,
        numbers=[settings.line_number],
        allowed_addresses=list(settings.line_carrier_addresses),
        headers_to_attributes=HEADERS_TO_ATTRIBUTES,
        include_headers=api.SIPHeaderOptions.SIP_NO_HEADERS,
        ringing_timeout=_duration(settings.line_ringing_timeout_s),
        max_call_duration=_duration(settings.line_max_call_h * 3600),
        media=_media(settings),
    )


def dispatch_rule(settings: Settings, trunk: str) -> Any:
    """What a call on that trunk starts: a room of its own, and our agent by name."""
    return api.SIPDispatchRuleInfo(
        name=RULE,
        trunk_ids=[trunk],
        hide_phone_number=True,
        rule=api.SIPDispatchRule(
            dispatch_rule_callee=api.SIPDispatchRuleCallee(room_prefix=ROOM_PREFIX, randomize=True)
        ),
        room_config=api.RoomConfiguration(
            empty_timeout=EMPTY_ROOM_S,
            departure_timeout=LEFT_ROOM_S,
            agents=[api.RoomAgentDispatch(agent_name=settings.line_agent)],
        ),
        media=_media(settings),
    )


def nurse_trunk(settings: Settings) -> Any:
    """How the nurse queue is dialled: from our number, never from the caller's."""
    return api.SIPOutboundTrunkInfo(
        name=NURSES,
        address=settings.line_nurse_address,
        transport=api.SIPTransport.SIP_TRANSPORT_UDP,
        numbers=[settings.line_number],
        include_headers=api.SIPHeaderOptions.SIP_NO_HEADERS,
        media=_media(settings),
    )


async def provision(settings: Settings, line: Line) -> Provisioned:
    """Make livekit-server know what the settings say.

    Raises:
        UsageError: livekit-server does not answer, refuses our key or one of the objects, or knows somebody else's
            trunk or rule that would take our calls.
    """
    async with _service(line) as service:
        if rivals := await _rivals(service, settings):
            raise UsageError(f"livekit-server knows {'; '.join(rivals)}; delete it there, or set another line_number")
        changes: list[str] = []
        trunk = await _settle(_inbound(service), inbound_trunk(settings), changes)
        rule = await _settle(_rules(service), dispatch_rule(settings, trunk), changes)
        nurses = await _settle(_outbound(service), nurse_trunk(settings), changes)
        return Provisioned(trunk, rule, nurses, tuple(changes))


async def missing(settings: Settings, line: Line) -> tuple[str, ...]:
    """What `provision` would find to do, one line each; nothing is changed.

    Raises:
        UsageError: as `provision`.
    """
    async with _service(line) as service:
        trunks = await _inbound(service).standing(CALLERS)
        trunk = trunks[0].sip_trunk_id if trunks else ""
        found = [f"there is {rival}" for rival in await _rivals(service, settings)]
        for shelf, wanted in (
            (_inbound(service), inbound_trunk(settings)),
            (_rules(service), dispatch_rule(settings, trunk)),
            (_outbound(service), nurse_trunk(settings)),
        ):
            standing = await shelf.standing(wanted.name)
            if not standing:
                found.append(f"{shelf.what} is missing")
            elif len(standing) > 1:
                found.append(f"{shelf.what} stands {len(standing)} times")
            elif not _same(shelf, standing[0], wanted):
                found.append(f"{shelf.what} differs from the settings")
        return tuple(found)


async def nurse_trunk_id(line: Line) -> str:
    """The id of the trunk to the nurses, which changes whenever Redis forgets; empty where there is none.

    Raises:
        UsageError: livekit-server does not answer, or refuses our key.
    """
    async with _service(line) as service:
        standing = await _outbound(service).standing(NURSES)
        return str(standing[0].sip_trunk_id) if standing else ""


# --- how livekit-server is asked


@dataclass(frozen=True)
class _Shelf:
    """One kind of object at livekit-server."""

    what: str
    id_field: str
    all_of_them: Callable[[], Awaitable[Any]]
    make: Callable[[Any], Awaitable[Any]]
    replace: Callable[[str, Any], Awaitable[Any]]
    delete: Callable[[str], Awaitable[Any]]

    async def standing(self, name: str) -> list[Any]:
        """Objects of that name, the oldest first."""
        found = [item for item in (await self.all_of_them()).items if item.name == name]
        return sorted(found, key=lambda item: (item.created_at.ToNanoseconds(), self.id_of(item)))

    def id_of(self, item: Any) -> str:
        return str(getattr(item, self.id_field))


def _inbound(service: Any) -> _Shelf:
    return _Shelf(
        "inbound trunk",
        "sip_trunk_id",
        lambda: service.list_inbound_trunk(api.ListSIPInboundTrunkRequest()),
        lambda item: service.create_inbound_trunk(api.CreateSIPInboundTrunkRequest(trunk=item)),
        service.update_inbound_trunk,
        lambda known: service.delete_trunk(api.DeleteSIPTrunkRequest(sip_trunk_id=known)),
    )


def _outbound(service: Any) -> _Shelf:
    return _Shelf(
        "nurse trunk",
        "sip_trunk_id",
        lambda: service.list_outbound_trunk(api.ListSIPOutboundTrunkRequest()),
        lambda item: service.create_outbound_trunk(api.CreateSIPOutboundTrunkRequest(trunk=item)),
        service.update_outbound_trunk,
        lambda known: service.delete_trunk(api.DeleteSIPTrunkRequest(sip_trunk_id=known)),
    )


def _rules(service: Any) -> _Shelf:
    return _Shelf(
        "dispatch rule",
        "sip_dispatch_rule_id",
        lambda: service.list_dispatch_rule(api.ListSIPDispatchRuleRequest()),
        lambda item: service.create_dispatch_rule(api.CreateSIPDispatchRuleRequest(dispatch_rule=item)),
        service.update_dispatch_rule,
        lambda known: service.delete_dispatch_rule(api.DeleteSIPDispatchRuleRequest(sip_dispatch_rule_id=known)),
    )


async def _rivals(service: Any, settings: Settings) -> list[str]:
    """Objects of somebody else that make a call ambiguous, or let in one that no trunk of ours allows.

    livekit-server takes them without a word and refuses the *calls*.
    """
    trunks = (await _inbound(service).all_of_them()).items
    rules = (await _rules(service).all_of_them()).items
    ours = {trunk.sip_trunk_id for trunk in trunks if trunk.name == CALLERS}
    number = normalised(settings.line_number)
    return (
        [
            f"another inbound trunk for our number ({trunk.sip_trunk_id})"
            for trunk in trunks
            if trunk.name != CALLERS and (not trunk.numbers or number in map(normalised, trunk.numbers))
        ]
        + [
            f"another dispatch rule that names no trunk ({rule.sip_dispatch_rule_id}): an INVITE from anywhere starts it"
            for rule in rules
            if rule.name != RULE and not rule.trunk_ids
        ]
        + [
            f"another dispatch rule for our trunk ({rule.sip_dispatch_rule_id})"
            for rule in rules
            if rule.name != RULE and ours.intersection(rule.trunk_ids)
        ]
    )


def normalised(number: str) -> str:
    """A number as livekit-server compares it: without the marks between its digits, and with a plus sign."""
    if not _WRITTEN.fullmatch(number):
        return number
    return "+" + re.sub(r"\D", "", number)


async def _settle(shelf: _Shelf, wanted: Any, changes: list[str]) -> str:
    """Leave exactly one such object, as wanted; gives its id."""
    standing = await shelf.standing(wanted.name)
    if not standing:
        changes.append(f"{shelf.what} made")
        return shelf.id_of(await shelf.make(wanted))
    kept, *doubles = standing
    for double in doubles:
        await shelf.delete(shelf.id_of(double))
        changes.append(f"{shelf.what}: a double deleted")
    if not _same(shelf, kept, wanted):
        await shelf.replace(shelf.id_of(kept), wanted)
        changes.append(f"{shelf.what} replaced")
    return shelf.id_of(kept)


def _same(shelf: _Shelf, standing: Any, wanted: Any) -> bool:
    bare = type(standing)()
    bare.CopyFrom(standing)
    for name in (shelf.id_field, "created_at", "updated_at"):
        bare.ClearField(name)
    return bool(bare == wanted)


@asynccontextmanager
async def _service(line: Line) -> AsyncIterator[Any]:
    client = api.LiveKitAPI(
        line.api_url,
        line.access.api_key,
        line.access.api_secret,
        timeout=aiohttp.ClientTimeout(total=ANSWER_S),
        failover=False,
    )
    where = f"livekit-server on port {line.ports.server}"
    try:
        yield client.sip
    except api.ServerError as error:
        if error.status in (401, 403):
            reason = "refuses our key; it was started with other secrets: end it and run `triage up`"
        else:
            reason = f"could not do it ({error.code}); see its log and that of Redis in {line.logs}"
        raise UsageError(f"{where} {reason}") from None  # the library's text may hold numbers
    except (aiohttp.ClientError, TimeoutError) as error:
        raise UsageError(f"{where} does not answer; start the line with `triage up`") from error
    finally:
        await client.aclose()


def _media(settings: Settings) -> Any:
    return api.SIPMediaConfig(media_timeout=_duration(settings.line_media_timeout_s))


def _duration(seconds: float) -> Any:
    return Duration(seconds=round(seconds))
