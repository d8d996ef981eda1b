"""Promise: the caller's number is read from the SIP headers as the network showed it, the asserted one first, and what is withheld is named so."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from triage.clock import run
from triage.lines.livekit.headers import caller_number, number_in
from triage.ports import ShownNumber


@pytest.mark.parametrize(
    ("headers", "number"),
    [
        ({"From": '"A name" <sip:+15557654321@carrier.example;user=phone>;tag=x'}, "+15557654321"),
        ({"from": "sip:+15557654321@carrier.example"}, "+15557654321"),
        ({"From": "<sips:0301234@192.0.2.1:5061>"}, "0301234"),
        ({"From": "<tel:+15557654321;phone-context=x>"}, "+15557654321"),
        ({"From": ["<sip:+15557654321@c>"]}, "+15557654321"),
        ({"From": "<sip:anonymous@anonymous.invalid>"}, ""),
        ({"From": "<sip:c.example>", "p-asserted-identity": "<tel:+15557654321>"}, "+15557654321"),
        ({"From": "<sip:+15550666@forged>", "P-Asserted-Identity": "<sip:+15557654321@c>"}, "+15557654321"),
        ({"From": "<sip:+15557654321@c>", "P-Asserted-Identity": "<sip:unknown@c>"}, "+15557654321"),
        ({"From": "<sip:+15557654321@c>", "Privacy": "none"}, "+15557654321"),
        ({"From": "<sip:restricted@c>", "P-Asserted-Identity": "<sip:unknown@c>"}, ""),
        ({"From": '"sip:999@a <sip:998@b>" <sip:+15557654321@c>;tag=1'}, "+15557654321"),
        ({"From": "nonsense"}, ""),
        ({}, ""),
    ],
)
def test_number(headers: dict[str, Any], number: str) -> None:
    assert number_in(json.dumps({"headers": headers})) == ShownNumber(number)


@pytest.mark.parametrize(
    "headers",
    [
        {"From": "<sip:Anonymous@c>", "P-Asserted-Identity": "<sip:+15557654321@c>"},
        {"From": "<sip:c.example>", "P-Asserted-Identity": "<sip:+15557654321@c>", "privacy": "id"},
        {"From": "<sip:+15557654321@c>", "Privacy": "Header; critical"},
        {"From": "<sip:+15557654321@c>", "Privacy": ["user"]},
    ],
)
def test_a_number_that_the_caller_withheld_is_kept_and_named_so(headers: dict[str, Any]) -> None:
    assert number_in(json.dumps({"headers": headers})) == ShownNumber("+15557654321", withheld=True)


@pytest.mark.parametrize("answer", ["", "no json", "[]", "3", '{"headers": null}', '{"headers": []}', "{}"])
def test_an_answer_that_makes_no_sense_is_no_number(answer: str) -> None:
    assert number_in(answer) == ShownNumber()


def test_the_leg_itself_is_asked_for_three_headers_and_no_more() -> None:
    asked: list[dict[str, Any]] = []

    async def perform_rpc(**what: Any) -> str:
        asked.append(what)
        return json.dumps({"headers": {"From": "<sip:+15557654321@c>"}})

    room = SimpleNamespace(local_participant=SimpleNamespace(perform_rpc=perform_rpc))
    assert run(caller_number(room, "sip_x"), virtual=True) == ShownNumber("+15557654321")
    assert asked[0]["destination_identity"] == "sip_x" and asked[0]["method"] == "lk.sip.GetRemoteHeaders"
    assert json.loads(asked[0]["payload"]) == {"include": ["From", "P-Asserted-Identity", "Privacy"]}
