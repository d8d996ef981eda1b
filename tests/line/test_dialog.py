"""Promise: requests in a call carry its tags, count up, and go where the phone is: to its Contact, but to loopback only."""

from typing import Any

import pytest

from tests.line.messages import SDP, request, response
from triage.bench.sip.dialog import Dialog
from triage.bench.sip.wire import SipRequest, SipResponse, parse

SOURCE = ("127.0.0.1", 5999)
US = "<sip:127.0.0.1:5070>"


def answered(*headers: str, contact: str | None = None, **parts: Any) -> Dialog:
    raw = request("INVITE", *headers, body=SDP, **parts)
    if contact is not None:
        raw = raw.replace(b"Contact: <sip:caller@127.0.0.1:5080>", contact.encode())
    invite = parse(raw)
    assert isinstance(invite, SipRequest)
    return Dialog.answering(invite, SOURCE, US)


def bye(**parts: Any) -> SipRequest:
    message = parse(request("BYE", **parts))
    assert isinstance(message, SipRequest)
    return message


def test_requests_to_a_caller_turn_from_and_to_around_and_count_up() -> None:
    dialog = answered()
    first, second = dialog.request("REFER"), dialog.request("BYE", {"X-Why": "done"})
    assert first.to == "<sip:caller@127.0.0.1:5080>;tag=phone"
    assert first.from_ == f"<sip:+15550199@127.0.0.1:5070>;tag={dialog.local_tag}"
    assert second.cseq == first.cseq + 1 and second.headers == [("X-Why", "done")]
    assert (first.uri, dialog.address) == ("sip:caller@127.0.0.1:5080", ("127.0.0.1", 5080))


@pytest.mark.parametrize(
    "contact", ["Contact: <sip:caller@192.0.2.1:5080>", "Contact: <sip:caller@phone.example>", "X-None: 1"]
)
def test_what_leads_elsewhere_is_answered_to_where_it_came_from(contact: str) -> None:
    assert answered(contact=contact).address == SOURCE


def test_through_a_proxy_the_route_is_kept() -> None:
    dialog = answered("Record-Route: <sip:b@127.0.0.1:2;lr>, <sip:a@127.0.0.1:1;lr>")
    assert dialog.request("BYE").routes == ("<sip:b@127.0.0.1:2;lr>", "<sip:a@127.0.0.1:1;lr>")
    assert dialog.address == SOURCE


def test_a_request_belongs_here_by_both_tags_and_comes_in_order() -> None:
    dialog = answered(cseq=7)
    assert dialog.holds(bye(to_tag=dialog.local_tag))
    assert not dialog.holds(bye(to_tag="other")) and not dialog.holds(bye(to_tag=dialog.local_tag, from_tag="x"))
    assert [dialog.in_order(bye(cseq=n)) for n in (7, 6, 8, 8, 20, 9)] == [False, False, True, False, True, False]


def test_a_call_that_we_dialled_takes_the_phones_tag_from_its_answer() -> None:
    dialog = Dialog.dialling("sip:nurse@127.0.0.1:5090", "line", "127.0.0.1", 5070, ("127.0.0.1", 5090))
    invite = dialog.request("INVITE")
    assert (invite.uri, invite.to) == ("sip:nurse@127.0.0.1:5090", "<sip:nurse@127.0.0.1:5090>")
    other = dialog.beside()
    answer = parse(response(200, branch="z9hG4bKx"))
    assert isinstance(answer, SipResponse)
    dialog.established(answer)
    assert (dialog.remote_tag, other.remote_tag) == ("them", "")
    ack, cancel = dialog.same_number("ACK", invite), dialog.same_number("CANCEL", invite)
    assert (ack.cseq, ack.to) == (invite.cseq, "<sip:nurse@127.0.0.1:5090>;tag=them")
    assert (cancel.cseq, cancel.to) == (invite.cseq, invite.to)
    assert dialog.request("BYE").cseq == invite.cseq + 1
