"""Promise: no log line of any program keeps a telephone number, a caller's name or a secret."""

import random
import re

import pytest

from triage.up.scrubber import LONGEST_LINE, Scrubber

SECRET = "k3TxQm-notreal-Wd83"
CLEAN = Scrubber([SECRET]).clean


@pytest.mark.parametrize(
    "line",
    [
        'processing invite {"fromUser": "+15557654321", "toUser": "+15550100", "sip": 1}',
        'processing invite {"fromUser": "5557654321"}',
        "From: <sip:+15557654321@192.0.2.7:5060>;tag=9",
        "refer to tel:+1-555-765-4321;phone-context=x",
        "sip:%2B15557654321%40192.0.2.7",
        "(555) 765-4321 rang",
        "555.765.4321 rang",
        "+1 555 765 43 21 rang",
        "5 5 5 7 6 5 4 3 2 1 rang",
        "1555/765/4321",
        "1 (555) 765 - 4321",
        "identity sip_+15557654321 joined",
        "room call_+15557654321_GLWmw6cXkXqa",
        "\u0661\u0665\u0665\u0665\u0667\u0666\u0665\u0664\u0663\u0662\u0661 rang",
        "Phone +15557654321",
        'x15557654321y {"n":15557654321}',
        "555\u20147654321 rang",
        "555\u2011765\u20134321 rang",
        "1\u2212555\uff0d765\u20104321 rang",
        "1~555~765~4321 rang",
    ],
)
def test_a_telephone_number_is_dropped_however_it_is_written(line: str) -> None:
    left = CLEAN(line)
    assert "7654321" not in re.sub(r"\D", "", left)
    assert not re.search(r"765\D{0,2}43|4\D?321", left)


@pytest.mark.parametrize(
    ("line", "lost"),
    [
        ('{"fromUser": "4321"}', "4321"),
        ('{"msg": "{\\"fromUser\\": \\"4321\\"}"}', "4321"),
        ("from=4321 to=7000", "4321"),
        ("Phone 4321 joined", "4321"),
        ("identity sip_5afca772560f2d44 left", "5afca772560f2d44"),
        ('From: "Jane Doe" <sip:17@192.0.2.7>', "Jane"),
        ("From: Jane van Doe <sip:17@192.0.2.7>", "Doe"),
        ("Contact: Jane <tel:17>", "Jane"),
        ('"displayName":"Jane \\"Jay\\" Doe"', "Doe"),
        ("INVITE sip:jane.doe@192.0.2.7 SIP/2.0", "jane"),
        (f"requirepass {SECRET}", SECRET),
        ("555\u20141234 rang", "1234"),
        ("<sip:12345>", "12345"),
        ("to sip:4321;user=phone", "4321"),
        ("to sips:4321:5060", "4321"),
        ("sip%3A4321", "4321"),
        ("sip%3A%2B4321%3Btag", "4321"),
        ("<sip:janedoe>", "janedoe"),
        ('{"callerName":"Jane Doe"}', "Doe"),
        ('{"caller_name":"Jane Doe"}', "Doe"),
        ('{"name":"Jane Doe"}', "Doe"),
        ('{"msg":"{\\"name\\": \\"Jane Doe\\"}"}', "Doe"),
        ('{"participantName":"Jane Doe"}', "Doe"),
        ("fromName=Jane", "Jane"),
        ("from=John Smith left", "Smith"),
        ("from=Jane van der Doe toUser=4", "Doe"),
        ("caller: John Smith", "Smith"),
        ('fromUser="\\nJane \\"Doe\\"" toUser="1"', "Doe"),
        ('fromUser="\\n2026-11-21 INFO Jane" toUser="1"', "Jane"),
    ],
)
def test_short_numbers_names_and_secrets_are_dropped(line: str, lost: str) -> None:
    assert lost not in CLEAN(line)


@pytest.mark.parametrize(
    "line",
    [
        "2026-11-21T13:31:05.928Z WARN livekit could not publish",
        "412:M 21 Nov 2026 13:31:05.929 # Server initialized",
        '{"level":"warn","ts":1763731865.928,"msg":"slow"}',
        "listening on 127.0.0.1:7880 and 127.0.0.1:10000",
        "networks 192.0.2.0/28",
        "exit 143 after 12 s",
        "call 01a1feb9-9ae6-7515-b123-456f0e789012 closed",
        "hostname: build7, room_name: call, filename=livekit.yaml",
        "sip: 3 calls at sip:127.0.0.1:5070, <sip:nurses.example;lr>",
        "sip:[::1]:5070",
        "moved from here to there: done",
        "2026-11-21 13:31:05,929 WARNING triage.worker livekit-server on port 7880 is not well (503); going on",
    ],
)
def test_times_addresses_and_ports_stay(line: str) -> None:
    assert CLEAN(line) == line


@pytest.mark.parametrize("line", ["01a1feb9-9ae6-7515-b123-456f0e7890123", "01a1feb9-9ae6-1515-b123-456f0e789012"])
def test_what_only_looks_like_a_calls_id_is_a_number(line: str) -> None:
    assert "789012" not in CLEAN(line)


def test_a_date_is_no_hiding_place() -> None:
    assert "5557" not in CLEAN("ring 5557-65-43")


@pytest.mark.parametrize("before", range(LONGEST_LINE - 14, LONGEST_LINE + 2))
def test_nothing_is_kept_of_a_number_that_the_cut_goes_through(before: int) -> None:
    left = CLEAN("x" * before + "15557654321" + "x" * 500)
    assert not re.search(r"\d", left) and len(left) <= LONGEST_LINE


@pytest.mark.parametrize("line", ["from=John could not", "caller: John could not"])
def test_what_follows_a_name_stays(line: str) -> None:
    assert CLEAN(line).endswith(" could not")


def test_a_line_is_one_line_without_control_characters() -> None:
    assert CLEAN("a\x1b[31mb\rc\x00d\te").isprintable()


def test_a_number_between_anything_is_dropped() -> None:
    rng = random.Random(7)
    marks = "".join(chr(code) for code in range(33, 127) if not chr(code).isdigit())
    for _ in range(3000):
        around = ["".join(rng.choices(marks, k=rng.randrange(12))) for _ in range(2)]
        line = f"{around[0]}+15557654321{around[1]}"
        assert "765432" not in CLEAN(line), line
