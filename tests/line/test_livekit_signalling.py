"""Promise: what livekit-server answers is read as what it is, old servers and new ones, and no text of theirs goes on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("livekit", reason="the telephone line's packages are not here: requirements-line.txt")

from aiohttp import web
from livekit import api
from livekit.protocol.sip import SIPTransferStatus, TransferSIPParticipantResponse

from triage.lines.livekit.outcomes import outcome_of
from triage.lines.livekit.signalling import Fault, ServerSignalling, SignallingError
from triage.lines.livekit.studio import RtcStudio
from triage.lines.livekit.tasks import Tasks
from triage.ports import LineSignal, SignalKind

Answer = Callable[[str, bytes], web.Response]


@asynccontextmanager
async def server(answer: Answer, *, nurse_trunk: str = "", nurse_address: str = "") -> AsyncIterator[ServerSignalling]:
    """A livekit-server that answers as the test says."""

    async def asked(request: web.Request) -> web.Response:
        return answer(request.path.rsplit("/", 1)[1], await request.read())

    app = web.Application()
    app.router.add_post("/{rest:.*}", asked)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    signalling = ServerSignalling(f"http://127.0.0.1:{port}", "key", "s" * 32, "room", nurse_trunk, nurse_address)
    try:
        yield signalling
    finally:
        await signalling.close()
        await signalling.close()
        await runner.cleanup()


def done(message: Any = b"") -> web.Response:
    body = message if isinstance(message, bytes) else message.SerializeToString()
    return web.Response(body=body, content_type="application/protobuf")


def failed(code: str, text: str, status: int, **meta: str) -> web.Response:
    return web.json_response({"code": code, "msg": text, "meta": meta}, status=status)


async def refer(answer: Answer) -> bool:
    async with server(answer) as asked:
        return await asked.refer("sip_x", "sip:n@127.0.0.1", headers={"X-Triage-Packet": "K7"}, answer_within_s=2.5)


async def test_what_a_refer_says() -> None:
    said = []

    def answer(method: str, raw: bytes) -> web.Response:
        assert method == "TransferSIPParticipant"
        said.append(api.TransferSIPParticipantRequest.FromString(raw))
        return done()

    await refer(answer)
    (request,) = said
    assert (request.room_name, request.participant_identity, request.transfer_to) == (
        "room",
        "sip_x",
        "sip:n@127.0.0.1",
    )
    assert request.play_dialtone is False and dict(request.headers) == {"X-Triage-Packet": "K7"}
    assert request.ringing_timeout.ToNanoseconds() == 2_500_000_000


async def test_an_empty_answer_is_no_proof_and_a_filled_one_is_read() -> None:
    assert await refer(lambda *_: done()) is False
    filled = TransferSIPParticipantResponse(transfer_id="T", status=SIPTransferStatus.STS_TRANSFER_SUCCESSFUL)
    assert await refer(lambda *_: done(filled)) is True


@pytest.mark.parametrize(("code", "kind"), [(486, Fault.REFUSED), (0, Fault.UNKNOWN)])
async def test_a_filled_answer_that_is_no_success(code: int, kind: Fault) -> None:
    filled = TransferSIPParticipantResponse(transfer_id="T", status=SIPTransferStatus.STS_TRANSFER_FAILED)
    if code:
        filled.sip_status.code = code
    with pytest.raises(SignallingError) as told:
        await refer(lambda *_: done(filled))
    assert (told.value.kind, told.value.sip_status) == (kind, code)


@pytest.mark.parametrize(
    ("answer", "kind", "status"),
    [
        (("resource_exhausted", "+15557654321 busy", 429, "486"), Fault.REFUSED, 486),
        (("permission_denied", "", 403, "603"), Fault.REFUSED, 603),
        (("deadline_exceeded", "", 408, "408"), Fault.REFUSED, 408),
        (("canceled", "refer canceled", 408, ""), Fault.UNKNOWN, 0),
        (("deadline_exceeded", "request timed out", 408, ""), Fault.UNKNOWN, 0),
        (("unavailable", "no response from servers", 503, ""), Fault.UNKNOWN, 0),
        (("unknown", "dial tcp: connection refused", 500, ""), Fault.UNKNOWN, 0),
        (("internal", "", 500, ""), Fault.UNKNOWN, 0),
        (("not_found", "participant does not exist", 404, ""), Fault.GONE, 0),
        (("invalid_argument", "no SIP session associated with participant", 400, ""), Fault.GONE, 0),
        (("failed_precondition", "can't transfer non established call", 412, ""), Fault.GONE, 0),
        (("invalid_argument", "call already being transferred elsewhere", 400, ""), Fault.PENDING, 0),
        (("invalid_argument", "transfer_to must start with sip:", 400, ""), Fault.INVALID, 0),
        (("unauthenticated", "", 401, ""), Fault.FORBIDDEN, 0),
        (("permission_denied", "permissions denied", 403, ""), Fault.FORBIDDEN, 0),
    ],
)
async def test_every_error_has_one_meaning(answer: tuple[str, str, int, str], kind: Fault, status: int) -> None:
    code, text, http, sip = answer
    meta = {"sip_status_code": sip, "sip_status": "told by +15557654321"} if sip else {}
    with pytest.raises(SignallingError) as told:
        await refer(lambda *_: failed(code, text, http, **meta))
    assert (told.value.kind, told.value.sip_status) == (kind, status)
    assert "1555" not in str(told.value) + repr(told.value) and told.value.__cause__ is None


async def test_an_answer_that_makes_no_sense_is_an_unknown_outcome() -> None:
    for nonsense in (web.Response(body=b"\xff\xff\xff"), web.Response(text="<html>", status=502)):
        with pytest.raises(SignallingError) as told:
            await refer(lambda *_, said=nonsense: said)
        assert told.value.kind is Fault.UNKNOWN


@pytest.mark.parametrize(
    ("uri", "trunk", "address", "dialled"),
    [
        ("sip:n@10.0.0.1:5090", "ST_1", "10.0.0.1:5090", ("ST_1", "", "n")),
        ("sip:n@10.0.0.1:5090", "ST_1", "", ("ST_1", "", "n")),
        ("tel:+15550111", "ST_1", "10.0.0.1:5090", ("ST_1", "", "+15550111")),
        ("<sip:n@10.0.0.2:5090;transport=udp>", "ST_1", "10.0.0.1:5090", ("", "10.0.0.2:5090", "n")),
        ("sip:n@10.0.0.1:5090", "", "10.0.0.1:5090", ("", "10.0.0.1:5090", "n")),
    ],
)
async def test_a_nurse_is_dialled_by_the_trunk_or_at_her_own_host(
    uri: str, trunk: str, address: str, dialled: tuple[str, str, str]
) -> None:
    said = []

    def answer(method: str, raw: bytes) -> web.Response:
        assert method == "CreateSIPParticipant"
        said.append(api.CreateSIPParticipantRequest.FromString(raw))
        return done()

    async with server(answer, nurse_trunk=trunk, nurse_address=address) as asked:
        await asked.dial(uri, "nurse_1", headers={"X-Triage-Packet": "K7"}, answer_within_s=3)
    (request,) = said
    assert (request.sip_trunk_id, request.trunk.hostname, request.sip_call_to) == dialled
    assert request.wait_until_answered and not request.play_dialtone and not request.krisp_enabled
    assert request.media.media_timeout.seconds == 600, (
        "a nurse may be on hold for minutes; without a trunk nobody else says"
    )
    assert request.hide_phone_number, "livekit-server would show the nurse's number to everybody in the room"
    assert (request.participant_identity, dict(request.headers)) == ("nurse_1", {"X-Triage-Packet": "K7"})


@pytest.mark.parametrize("uri", ["tel:+15550111", "+15550111", "https://x", ""])
async def test_what_cannot_be_dialled(uri: str) -> None:
    async with server(lambda *_: done()) as asked:
        with pytest.raises(SignallingError) as told:
            await asked.dial(uri, "nurse_1", headers={}, answer_within_s=3)
    assert told.value.kind is Fault.INVALID


@pytest.mark.parametrize(
    "uri", ["sip:queue.nurses.example", "sips:n@h", "sip:n@h;transport=tls", "sip:n@h;transport=TCP"]
)
async def test_what_would_be_dialled_otherwise_than_it_says_is_not(uri: str) -> None:
    """The directory refuses these at the start; here they would ring a user of that name, or in clear."""
    async with server(lambda *_: done(), nurse_trunk="ST_1", nurse_address="10.0.0.9:5060") as asked:
        with pytest.raises(SignallingError) as told:
            await asked.dial(uri, "nurse_1", headers={}, answer_within_s=3)
    assert told.value.kind is Fault.INVALID


async def test_a_trunk_that_is_not_there_is_a_fault_of_ours_and_not_of_the_call() -> None:
    async with server(lambda *_: failed("not_found", "trunk", 404), nurse_trunk="ST_1") as asked:
        with pytest.raises(SignallingError) as told:
            await asked.dial("sip:n@h", "nurse_1", headers={}, answer_within_s=3)
    assert told.value.kind is Fault.INVALID


@pytest.mark.parametrize(
    ("uri", "host"), [("sip:n@10.0.0.1:5090", "10.0.0.1:5090"), ("tel:+15550111", "10.0.0.9:5060")]
)
async def test_a_trunk_that_redis_has_forgotten_is_gone_past(uri: str, host: str) -> None:
    said = []

    def answer(_: str, raw: bytes) -> web.Response:
        said.append(api.CreateSIPParticipantRequest.FromString(raw))
        return failed("not_found", "trunk", 404) if said[-1].sip_trunk_id else done()

    async with server(answer, nurse_trunk="ST_1", nurse_address="10.0.0.9:5060" if "tel" in uri else "") as asked:
        await asked.dial(uri, "nurse_1", headers={"X-Triage-Packet": "K7"}, answer_within_s=3)
        await asked.dial(uri, "nurse_2", headers={}, answer_within_s=3)
    assert [request.sip_trunk_id for request in said] == ["ST_1", "", ""]
    assert [request.trunk.hostname for request in said] == ["", host, host]
    assert dict(said[1].headers) == {"X-Triage-Packet": "K7"}


async def test_permission_to_hear_leaves_everything_else_as_it_was() -> None:
    said = []

    def answer(method: str, raw: bytes) -> web.Response:
        said.append(api.UpdateParticipantRequest.FromString(raw))
        return done()

    async with server(answer) as asked:
        await asked.may_hear("nurse_1", False)
        await asked.subscribe("nurse_1", [], True)
    (request,) = said
    may = request.permission
    assert not may.can_subscribe and may.can_publish and may.can_publish_data and may.can_update_metadata
    assert not request.attributes and not request.metadata and not request.name


def test_a_fault_becomes_the_signal_of_its_attempt() -> None:
    assert outcome_of(SignallingError(Fault.REFUSED, 503), 3, "queue") == LineSignal(SignalKind.REFUSED, 3, "503")
    assert outcome_of(SignallingError(Fault.UNKNOWN), 4, "queue") == LineSignal(SignalKind.TIMED_OUT, 4)


async def test_a_task_that_breaks_is_told_by_its_name_and_takes_nobody_with_it() -> None:
    told: list[tuple[str, str]] = []
    tasks = Tasks(lambda name, error: told.append((name, type(error).__name__)))
    ended = asyncio.Event()

    async def breaks() -> None:
        raise ZeroDivisionError

    async def by_itself() -> None:
        await ended.wait()

    tasks.start(breaks(), "one")
    waits = tasks.start(asyncio.Event().wait(), "two")  # type: ignore[arg-type]  # what it returns is nobody's
    spared = tasks.start(by_itself(), "three")
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0.05, ended.set)
    await tasks.end(spare={spared})
    assert told == [("one", "ZeroDivisionError")]
    assert waits.cancelled() and spared.done() and not spared.cancelled()


def test_permissions_name_everybody_who_may_hear() -> None:
    said: dict[str, Any] = {}

    class Local:
        def set_track_subscription_permissions(self, **what: Any) -> None:
            said.update(what)

    class Room:
        local_participant = Local()

    RtcStudio(Room()).permit({"sip_x": None, "nurse_1": ("TR_1",)})
    assert said["allow_all_participants"] is False
    everybody, one = said["participant_permissions"]
    assert (everybody.participant_identity, everybody.allow_all) == ("sip_x", True)
    assert (one.participant_identity, one.allow_all, list(one.allowed_track_sids)) == ("nurse_1", False, ["TR_1"])
