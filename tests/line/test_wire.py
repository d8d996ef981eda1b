"""Promise: a message is read whole and checked once, or refused in fixed words; bad ones leave nothing behind."""

import gc
import time
import traceback
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.line.messages import SDP, request, response
from triage.bench.sip.ports import InvalidTarget
from triage.bench.sip.wire import (
    LARGEST,
    Malformed,
    Outgoing,
    SipRequest,
    SipResponse,
    checked_headers,
    loopback_address,
    parse,
    parse_sipfrag,
    parse_target,
    response_to,
)

pytestmark = pytest.mark.line

HERE = ("127.0.0.1", 5081)


def invite(*headers: str, **parts: Any) -> SipRequest:
    message = parse(request("INVITE", *headers, body=SDP, **parts))
    assert isinstance(message, SipRequest)
    return message


def test_a_request_is_read_whole() -> None:
    message = invite("X-Carrier: 7", "X-Carrier: 8")
    assert (message.method, message.uri.user, message.uri.host, message.uri.port) == (
        "INVITE", "+15550199", "127.0.0.1", 5070,
    )  # fmt: skip
    assert (message.from_.uri.user, message.from_.tag, message.to.tag) == ("caller", "phone", "")
    assert (message.call_id, message.cseq, message.cseq_method) == ("call-1", 1, "INVITE")
    assert [(hop.host, hop.port, hop.branch, hop.rport) for hop in message.via] == [
        ("127.0.0.1", 5080, "z9hG4bKone", True)
    ]
    assert message.headers["x-carrier"] == ["7", "8"] and message.first("x-carrier") == "7"
    assert message.body.decode() == SDP


def test_a_response_is_read_whole() -> None:
    message = parse(response(486, branch="z9hG4bKx"))
    assert isinstance(message, SipResponse)
    assert (message.status, message.reason, message.to.tag) == (486, "Whatever", "them")


def test_compact_names_and_any_case_are_understood() -> None:
    raw = request("BYE").replace(b"From:", b"f:").replace(b"To:", b"t:").replace(b"Call-ID", b"I").replace(b"Via", b"V")
    assert parse(raw.replace(b";tag=", b";TAG=")).from_.tag == "phone"


def test_the_body_is_cut_to_what_was_said() -> None:
    assert parse(request("BYE") + b"more than was said").body == b""


def test_a_folded_line_is_no_header_of_its_own() -> None:
    message = invite("Subject: first\r\n To: <sip:evil@127.0.0.1>;tag=evil")
    assert message.to.tag == "" and "evil" in message.first("subject")


def test_a_star_for_contact_and_a_strange_scheme_do_no_harm() -> None:
    assert parse(request("REGISTER").replace(b"<sip:caller@127.0.0.1:5080>\r\n", b"*\r\n", 1)).contact is None
    message = parse(
        request("INVITE", uri="urn:service:sos").replace(b"To: <urn:service:sos>", b"To: <sip:a@b.example>")
    )
    assert isinstance(message, SipRequest) and not message.scheme_known


BROKEN: dict[str, bytes] = {
    "nothing": b"",
    "no empty line": request("BYE").rstrip(),
    "only line feeds": request("BYE").replace(b"\r\n", b"\n"),
    "too large": request("INVITE", "X-Long: " + "x" * LARGEST),
    "NUL in a value": request("BYE", "X-A: a\0b"),
    "bare CR in a value": request("BYE", "X-A: a\rVia: evil"),
    "bare LF in a value": request("BYE", "X-A: a\nVia: evil"),
    "latin-1": request("BYE", "Subject: caf").replace(b"caf", b"caf\xe9"),
    "no colon": request("BYE", "nonsense"),
    "space before the colon": request("BYE", "X-A : 1"),
    "two From": request("BYE", "From: <sip:other@127.0.0.1>;tag=other"),
    "two From, one compact": request("BYE", "f: <sip:other@127.0.0.1>;tag=other"),
    "two Call-ID": request("BYE", "Call-ID: other"),
    "no Via": request("BYE").replace(b"Via:", b"X-Via:"),
    "no From": request("BYE").replace(b"From:", b"X-From:"),
    "no Call-ID": request("BYE").replace(b"Call-ID:", b"X-Id:"),
    "methods differ": request("BYE").replace(b"1 BYE", b"1 INVITE"),
    "CSeq too large": request("BYE", cseq=2**31),
    "negative length": request("BYE").replace(b"Length: 0", b"Length: -1"),
    "longer than it is": request("BYE").replace(b"Length: 0", b"Length: 10"),
    "a port that is none": request("BYE", uri="sip:a@127.0.0.1:99999"),
    "a long number": request("BYE", uri="tel:" + "1" * 3000),
    "many headers": request("BYE", *["X-A: 1"] * 100),
    "a parameter called self": request("BYE").replace(b";tag=phone", b";tag=phone;self=1"),
    "a status that is none": response(999, branch="x"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_refused(name: str) -> None:
    with pytest.raises(Malformed):
        parse(BROKEN[name])


@pytest.mark.parametrize("name", ["two From", "no Via", "latin-1", "a parameter called self"])
def test_a_refusal_says_nothing_of_the_message_and_keeps_nothing(name: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse(BROKEN[name])
    said = "".join(traceback.format_exception(caught.value))
    assert "caller" not in said and "15550199" not in said
    assert caught.value.__context__ is None and caught.value.__cause__ is None


def test_bad_headers_do_not_pile_up_in_the_parser() -> None:
    """The library raises one shared object for each kind of bad header; its traceback must not grow."""
    from sipmessage import address, via

    bad = [request("BYE").replace(b"From: <", b"From: <<"), request("BYE").replace(b"SIP/2.0/UDP", b"nonsense")]
    for raw in bad * 50:
        with pytest.raises(Malformed):
            parse(raw)
    assert address.ADDRESS_EXCEPTION.__traceback__ is None and via.VIA_EXCEPTION.__traceback__ is None
    gc.collect()


def test_nothing_within_the_limit_takes_long() -> None:
    """Whatever fits into a datagram is read or refused before the next packet of audio is due."""
    nasty = [
        request("BYE", uri="tel:" + "1" * 128),
        request("BYE", "Contact: " + '"' * 3500),
        request("BYE", "Record-Route: <sip:" + "a-" * 1600 + ">"),
        request("BYE", "Via: SIP/2.0/UDP a;" + "b=c;" * 800 + "!"),
        request("BYE", uri="sip:" + "a." * 1500 + "_@"),
        request("BYE", "Contact: <sip:a>" + ";a=b" * 800 + "@"),
    ]
    for raw in nasty:
        began = time.perf_counter()
        try:
            parse(raw)
        except Malformed:
            pass  # or not: only the time counts
        assert time.perf_counter() - began < 0.02, raw[:40]


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_mutated_messages_are_read_or_refused(data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.sampled_from([request("INVITE", body=SDP), response(200, branch="z9hG4bKx")])))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(raw) - 1))
        piece = data.draw(
            st.binary(max_size=4) | st.sampled_from([b"\r\n", b" ", b";", b",", b'"', b"<", b"%00", b":"])
        )
        raw[at : at + data.draw(st.integers(0, 4))] = piece
        if not raw:
            return
    try:
        message = parse(bytes(raw))
    except Malformed:
        return
    assert message.via and message.call_id and isinstance(message.from_.tag, str)
    if isinstance(message, SipRequest):
        parse(response_to(message, 481, HERE, to_tag="none"))


# --- what is written


def test_an_answer_goes_back_the_way_it_came() -> None:
    message = invite("Record-Route: <sip:proxy@127.0.0.1:5061;lr>")
    answer = parse(response_to(message, 180, HERE, to_tag="us"))
    assert isinstance(answer, SipResponse)
    assert (answer.status, answer.reason, answer.to.tag, answer.from_.tag) == (180, "Ringing", "us", "phone")
    assert answer.first("via") == "SIP/2.0/UDP 127.0.0.1:5080;branch=z9hG4bKone;received=127.0.0.1;rport=5081"
    assert answer.record_route == ("<sip:proxy@127.0.0.1:5061;lr>",)
    assert parse(response_to(message, 100, HERE)).to.tag == ""


def test_a_line_break_never_gets_into_a_header() -> None:
    plain: dict[str, Any] = {
        "method": "BYE",
        "uri": "sip:a@b",
        "from_": "<sip:a@b>",
        "to": "<sip:a@b>",
        "call_id": "x",
        "cseq": 1,
    }
    with pytest.raises(ValueError):
        Outgoing(**plain, headers=[("X-A", "1\r\nX-B: 2")]).render("SIP/2.0/UDP a;branch=b")


@pytest.mark.parametrize(
    "headers",
    [
        {"X-A": ""},
        {"X-A": "x" * 1025},
        {"X-A": "a\r\nVia: b"},
        {"X-A": "é"},
        {"X A": "1"},
        {"Refer-To": "<sip:a@b>"},
        {"CONTACT": "<sip:a@b>"},
    ],
)
def test_headers_of_others_are_checked(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError):
        checked_headers(headers)
    assert checked_headers({"X-Triage-Code": "a b", "User-to-User": "1"}) == [
        ("X-Triage-Code", "a b"),
        ("User-to-User", "1"),
    ]


@pytest.mark.parametrize("text", ["sip:nurses@127.0.0.1:5090", "<sip:nurses@example.com;user=phone>", "tel:+15550111"])
def test_targets(text: str) -> None:
    assert parse_target(text).text == text.strip("<>")


@pytest.mark.parametrize("text", ["", "+15550111", "nurses", "sip:", "http://a", "sip:a@b>\r\nX: 1", "sip:a b@c"])
def test_what_is_no_target(text: str) -> None:
    with pytest.raises(InvalidTarget):
        parse_target(text)


def test_status_lines_of_a_notify() -> None:
    assert parse_sipfrag(b"SIP/2.0 180 Ringing\r\n") == (180, "Ringing")
    assert parse_sipfrag(b"SIP/2.0 200 OK") == (200, "OK")
    assert parse_sipfrag(b"SIP/2.0 999 No") is None and parse_sipfrag(b"") is None and parse_sipfrag(b"\xff") is None


def test_only_loopback_is_an_address() -> None:
    assert loopback_address("127.0.0.1", None) == ("127.0.0.1", 5060)
    assert loopback_address("127.9.9.9", 7) == ("127.9.9.9", 7)
    assert loopback_address("localhost", 7) == ("127.0.0.1", 7)
    for host in ("192.0.2.1", "example.com", "0.0.0.0", "::1", ""):
        assert loopback_address(host, 7) is None
