"""Promise: what the bench puts on LiveKit's bus, and reads from it, has the bytes that LiveKit's own programs use."""

import pytest

pytest.importorskip("livekit", reason="the telephone line's packages are not here: requirements-line.txt")

from triage.bench.seam import messages

pytestmark = pytest.mark.line


def varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def text(number: int, value: str | bytes) -> bytes:
    """A field of type string, bytes or message, by hand."""
    raw = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def whole(number: int, value: int) -> bytes:
    """A field of type int or bool, by hand."""
    return varint(number << 3) + varint(value)


def entry(key: str, value: str) -> bytes:
    return text(1, key) + text(2, value)


def test_a_request_has_the_bytes_of_livekits_own() -> None:
    request = messages.Request(
        request_id="REQ_1", client_id="CLI_1", sent_at=5, expiry=2**40, metadata={"a": "b"}, raw_request=b"\x0a\x01x"
    )
    inner = text(1, "REQ_1") + text(2, "CLI_1") + whole(3, 5) + whole(4, 2**40) + text(7, entry("a", "b"))
    inner += text(8, b"\x0a\x01x")
    assert messages.wrapped(request) == text(1, "type.googleapis.com/internal.Request") + text(2, inner)


def test_an_error_carries_its_status_as_livekits_own_type() -> None:
    answer = messages.Response(request_id="REQ_1", server_id="SRV_1", error="busy", code="resource_exhausted")
    answer.error_details.append(messages.status_detail(486, "Busy Here"))
    status = text(1, "type.googleapis.com/livekit.SIPStatus") + text(2, whole(1, 486) + text(2, "Busy Here"))
    inner = text(1, "REQ_1") + text(2, "SRV_1") + text(5, "busy") + text(6, "resource_exhausted") + text(8, status)
    assert messages.wrapped(answer) == text(1, "type.googleapis.com/internal.Response") + text(2, inner)


def test_a_status_without_a_name_passes_as_its_number() -> None:
    assert messages.SipStatus.FromString(messages.status_detail(799, "").value).code == 799


def test_a_transfer_request_is_read() -> None:
    seconds = whole(1, 5) + whole(2, 500_000_000)
    raw = text(1, "SCL_1") + text(2, "tel:+15550111") + whole(3, 1) + text(4, entry("X-Code", "42"))
    raw += text(5, seconds) + text(6, entry("feature", "on"))  # feature flags: a field that we have no use for
    read = messages.TransferRequest.FromString(raw)
    assert (read.sip_call_id, read.transfer_to, read.play_dialtone) == ("SCL_1", "tel:+15550111", True)
    assert dict(read.headers) == {"X-Code": "42"} and read.ringing_timeout.ToNanoseconds() == 5_500_000_000


def test_a_request_to_dial_is_read() -> None:
    raw = text(2, "127.0.0.1:5090") + text(3, "+1555") + text(4, "nurse") + text(7, "room") + text(8, "identity")
    raw += text(13, "SCL_2") + text(17, entry("sip.callID", "SCL_2")) + text(21, entry("X-Code", "42")) + whole(29, 1)
    raw += text(23, whole(1, 8)) + text(34, text(4, whole(1, 300)))
    read = messages.CreateRequest.FromString(raw)
    assert (read.address, read.number, read.call_to) == ("127.0.0.1:5090", "+1555", "nurse")
    assert (read.room_name, read.participant_identity, read.sip_call_id) == ("room", "identity", "SCL_2")
    assert dict(read.participant_attributes) == {"sip.callID": "SCL_2"} and read.wait_until_answered
    assert read.ringing_timeout.ToNanoseconds() == 8 * 10**9 and read.media.media_timeout.seconds == 300


def test_a_question_about_a_call_has_both_its_ends() -> None:
    call = messages.Call(lk_call_id="SCL_3", source_ip="127.0.0.1", **{"from": messages.SipUri(user="a", host="h")})
    call.to.user = "b"
    raw = text(1, "SCL_3") + text(2, "127.0.0.1") + text(4, text(1, "a") + text(2, "h")) + text(5, text(1, "b"))
    assert messages.AuthRequest(call=call).SerializeToString() == text(8, raw)
    assert messages.DispatchRequest(sip_trunk_id="ST_1", call=call).SerializeToString() == text(10, "ST_1") + text(
        12, raw
    )


def test_a_verdict_is_read() -> None:
    config = text(1, "") + whole(2, 7)
    raw = text(1, "call_1") + text(2, "sip_x") + whole(6, messages.ACCEPT) + text(9, "ST_1") + text(10, "SDR_1")
    raw += text(11, entry("sip.trunkID", "ST_1")) + text(16, whole(1, 20)) + whole(19, messages.X_HEADERS)
    read = messages.DispatchResponse.FromString(raw + text(21, config))
    assert (read.room_name, read.participant_identity, read.result) == ("call_1", "sip_x", messages.ACCEPT)
    assert dict(read.participant_attributes) == {"sip.trunkID": "ST_1"}
    assert read.ringing_timeout.seconds == 20 and read.include_headers == messages.X_HEADERS
    assert read.HasField("room_config") and read.room_config.empty_timeout == 7 and not read.HasField("media")


@pytest.mark.parametrize(
    "message",
    [
        messages.Request(request_id="1"),
        messages.ClaimRequest(request_id="1", server_id="2", affinity=1.0),
        messages.ClaimResponse(request_id="1", server_id="2"),
        messages.Response(request_id="1", raw_response=b"x"),
    ],
    ids=lambda message: message.DESCRIPTOR.name,
)
def test_what_was_wrapped_is_unwrapped(message: object) -> None:
    assert messages.unwrapped(messages.wrapped(message)) == message


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\xff\xff\xff",
        text(1, "type.googleapis.com/internal.Stream") + text(2, b""),
        text(1, "type.googleapis.com/internal.Msg") + text(2, b""),
        text(1, "type.googleapis.com/internal.Request") + text(2, b"\x0a\x7f"),
    ],
)
def test_anything_else_is_refused(garbage: bytes) -> None:
    with pytest.raises(ValueError, match="not a message"):
        messages.unwrapped(garbage)
