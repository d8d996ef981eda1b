"""The most urgent rule that holds decides, and the read-back holds facts and nothing made of them."""

from triage.dialogue.closing import WITHIN_S, Disposition, arguments, decide, summary
from triage.dialogue.gate import refusal
from triage.dialogue.protocols import WINDOWS, load_protocols

PROTOCOLS = {p.id: p for p in load_protocols()}


def test_nothing_known_is_what_the_protocol_says_otherwise() -> None:
    assert decide(PROTOCOLS["sore_throat"], {}) == Disposition("routine", "24h")


def test_the_most_urgent_of_all_that_hold_wins_and_every_reason_is_kept() -> None:
    decided = decide(PROTOCOLS["headache"], {"pregnant": "yes", "fever": "yes", "age": "70 years"})
    assert (decided.level, decided.window) == ("nurse_now", "")
    assert decided.why == ("headache in pregnancy or after a birth", "from 50 years on", "with a fever")


def test_of_two_windows_the_shorter_one_wins() -> None:
    decided = decide(PROTOCOLS["headache"], {"fever": "yes", "head_blow": "yes"})
    assert (decided.level, decided.window) == ("nurse_soon", "1h")


def test_a_rule_about_a_question_that_was_not_asked_yet_waits() -> None:
    assert decide(PROTOCOLS["low_mood"], {}).level == "nurse_soon"
    assert decide(PROTOCOLS["low_mood"], {"safe": "unknown"}).level == "nurse_now"


def test_a_positive_answer_decides_by_itself() -> None:
    assert decide(PROTOCOLS["rash"], {"swelling": "maybe"}).level == "nurse_now"
    assert decide(PROTOCOLS["rash"], {"rash_new": "yes"}).window == "1h"


def test_every_window_has_its_seconds() -> None:
    assert set(WITHIN_S) == set(WINDOWS)


def test_the_read_back_leaves_out_what_is_unknown_and_what_is_long() -> None:
    values = {"onset": "unknown", "age": "3 weeks", "location": "word " * 30, "callback": "5551234"}
    assert (
        summary(values, PROTOCOLS["rash"])
        == "I noted a rash. Age: 3 weeks. Your number: five five five, one two three four."
    )


def test_the_read_back_of_every_protocol_passes_the_gate() -> None:
    values = {"onset": "since yesterday", "age": "42 years", "location": "at home", "callback": "5551234567"}
    for protocol in PROTOCOLS.values():
        assert refusal(summary(values, protocol)) is None, protocol.id


def test_the_booking_says_whether_the_number_was_confirmed() -> None:
    decided = Disposition("routine", "24h")
    assert arguments({"callback": "5551234"}, PROTOCOLS["rash"], decided, "c9") == {
        "number": "5551234",
        "confirmed": "no",
        "level": "routine",
        "within_s": "86400",
        "protocol": "rash/1",
        "idempotency_key": "c9:callback",
    }
