"""Promise: the summary states what the records say, points at their turns, and leaves out what they do not say."""

import json
from typing import Any

import pytest

from triage.summary import FINDING, WITHHELD, Part, SourceRecord, Summary, SummarySource, summarise


class Chain:
    """Records of one call, numbered as they come."""

    def __init__(self) -> None:
        self.records: list[SourceRecord] = []

    def add(self, stage: str, turn: int = 0, **payload: Any) -> "Chain":
        self.records.append(SourceRecord(stage, payload, turn, 0, len(self.records)))
        return self

    def heard(self, turn: int, text: str, **verdict: Any) -> "Chain":
        self.add("stt_final", turn, text=text)
        given = {"kind": "final", "level": "routine", "category": "none", "evidence": [], "rule": "", "suppressed": ""}
        return self.add("assessment", turn, **{**given, **verdict})

    def answer(self, turn: int, slot: str, value: str, text: str = "", status: str = "given") -> "Chain":
        return self.add("tool", turn, name=FINDING, slot=slot, value=value, text=text, status=status)

    def said(self, turn: int, prompt: str, text: str, **how: Any) -> "Chain":
        return self.add("playout", turn, prompt=prompt, text=text, **how)

    def mark(self, name: str, ms: int, source: str = "own clock") -> "Chain":
        return self.add("handoff", 2, event=name, at_ns=ms * 1_000_000, source=source, attempt=1)

    def summary(self) -> Summary:
        return summarise(SummarySource("call-1", tuple(self.records)))


def sore_throat() -> Chain:
    chain = Chain().add("call", event="opened").heard(1, "no it is not an emergency")
    chain.heard(2, "my throat has been sore since tuesday").answer(
        2, "complaint", "sore throat", "my throat has been sore"
    )
    chain.answer(3, "age", "34 years", "thirty four").answer(4, "callback", "5550100", "five five five", "unconfirmed")
    chain.answer(4, "callback", "5550100", "five five five", "corrected").answer(5, "location", "unknown", "")
    chain.add(
        "tool", 6, name="book_callback", ok=True,
        arguments={"level": "routine", "within_s": "14400"}, values={"reference": "CB-0001", "within_s": "14400"},
    )  # fmt: skip
    chain.said(6, "again.sore_throat", "Ring again at once if swallowing gets hard.")
    return chain.add("call", event="finished", outcome="callback_booked")


def chest_pain() -> Chain:
    packet = {
        "background": {"patient": "self", "not asked": "age; sex"},
        "recommendation": {"outstanding": "age, sex"},
        "assessment": {"reported": 'chest pain: "my chest" (turn 2)', "denied": "nothing"},
    }
    order = {"type": "SendPacket", "reason": "urgent", "level": "nurse_now", "category": "chest", "rank": 50}
    chain = Chain().heard(1, "hello")
    chain.heard(
        2, "i have had pressure on my chest", level="nurse_now", category="chest", rule="chest.pressure",
        evidence=[[11, 31, "pressure on my chest"]],
    )  # fmt: skip
    chain.add("step", 2, event={"type": "UrgencyRaised"}, effects=[order]).add(
        "handoff", 2, event="packet", packet=packet
    )
    chain.mark("t_final", 1_000).mark("t_clip_audible", 1_011).mark("t_refer_sent", 1_004)
    chain.mark("t_answered", 2_200, "carrier").said(2, "connecting_nurse", "I am connecting you to a nurse now.")
    return chain.add("call", event="finished", outcome="nurse_bridged")


def lines(summary: Summary, part: Part) -> list[str]:
    return [statement.text for statement in summary.statements if statement.part is part]


def test_a_routine_call_says_what_was_understood_and_what_was_booked() -> None:
    summary = sore_throat().summary()
    assert lines(summary, Part.SITUATION) == [
        "How it ended: a call-back was booked and the call was ended with a goodbye.",
        'Complaint: "my throat has been sore".',
    ]
    assert lines(summary, Part.BACKGROUND) == [
        'Age: 34 years, "thirty four".',
        'Call-back number: 5550100, "five five five", corrected.',
        "Location: unknown.",
        "Not asked, or not understood: location, who the patient is, sex, onset.",
    ]
    assert lines(summary, Part.RECOMMENDATION) == [
        "A nurse rings back within 4 h (routine), reference CB-0001.",
        'The caller heard: "Ring again at once if swallowing gets hard."',
    ]


def test_an_urgent_call_says_what_decided_in_the_callers_words_and_how_fast() -> None:
    summary = chest_pain().summary()
    situation = lines(summary, Part.SITUATION)
    assert "Handed over: urgent finding (nurse now, chest)." in situation
    assert 'Found nurse now: chest on "pressure on my chest", by chest.pressure.' in situation
    assert lines(summary, Part.ASSESSMENT)[0] == 'Reported: chest pain: "my chest" (turn 2).'
    assert not any("Denied" in line for line in lines(summary, Part.ASSESSMENT))
    assert lines(summary, Part.RECOMMENDATION) == [
        "The caller was told: that a nurse is being connected.",
        "From the urgent words: clip audible after 11 ms (own clock); refer sent after 4 ms (own clock); "
        "answered after 1200 ms (carrier); person: not reported.",
    ]


@pytest.mark.parametrize("chain", [sore_throat(), chest_pain()], ids=["routine", "urgent"])
def test_every_statement_made_from_the_callers_words_points_at_its_turn(chain: Chain) -> None:
    places = {record.place: record for record in chain.records}
    for statement in chain.summary().statements:
        assert set(statement.records) <= set(places)
        rested = {places[place].turn for place in statement.records} - {0}
        assert not rested or set(statement.turns) == rested
        if '"' in statement.text:
            assert statement.turns, statement.text


def test_turns_stand_behind_their_statement_on_the_page() -> None:
    page = chest_pain().summary().text()
    assert page.startswith("# Call call-1\n\n## Situation\n")
    assert "by chest.pressure. [turn 2]" in page
    assert "2 finals, 2 verdicts (0 on stretches, 0 on the last words); 1 urgent. [turns 1 to 2]" in page
    assert [line for line in page.splitlines() if line.startswith("## ")] == [f"## {part.value}" for part in Part]


def test_withheld_words_stay_withheld() -> None:
    chain = Chain().add("stt_final", 1, text_withheld={"sha256": "0" * 64, "length": 12})
    summary = chain.add(
        "assessment", 1, kind="final", level="nurse_now", category="chest", evidence=[[0, 3, ""]], rule="r"
    ).summary()
    assert lines(summary, Part.SITUATION)[-1] == f"The caller's first words: {WITHHELD}."
    assert "Found nurse now: chest, by r." in lines(summary, Part.SITUATION)


def test_a_call_whose_process_died_is_summarised_from_what_there_is() -> None:
    summary = Chain().heard(1, "hello").summary()
    assert lines(summary, Part.SITUATION)[0].startswith("How it ended: not on record")
    assert summary.outcome == ""


def test_a_call_without_a_word_says_so() -> None:
    summary = Chain().add("call", event="finished", outcome="hung_up").summary()
    assert lines(summary, Part.SITUATION) == [
        "How it ended: the caller hung up.",
        "No words of the caller were recognised.",
    ]
    assert "nothing" in summary.text()


def test_an_echo_that_was_not_raised_is_told_and_not_counted_as_urgent() -> None:
    chain = Chain().heard(1, "nine one one", level="nurse_now", category="rescue", rule="r", suppressed="echo")
    summary = chain.summary()
    assert "Found urgent and not raised: echo." in lines(summary, Part.ASSESSMENT)
    assert not any(line.startswith("Found") for line in lines(summary, Part.SITUATION))
    assert any("0 urgent" in line for line in lines(summary, Part.ASSESSMENT))


def test_a_hand_over_over_which_nothing_was_audible_says_so() -> None:
    order = {"type": "SendPacket", "reason": "asked_person", "level": "", "category": "", "rank": 0}
    summary = Chain().add("step", 1, effects=[order]).summary()
    assert "Handed over: asked for a person." in lines(summary, Part.SITUATION)
    assert "nothing of ours was audible" in lines(summary, Part.RECOMMENDATION)[0]


def test_what_was_owed_and_what_broke_is_told() -> None:
    chain = chest_pain().add("handoff", 2, event="callback", reason="urgent", within_ns=300 * 10**9)
    chain.add("tool", 2, name="book_callback", ok=False, arguments={}, values={}).add(
        "error", 2, where="gate", code="dose"
    )
    summary = chain.summary()
    assert "Somebody must ring this caller within 5 min: urgent." in lines(summary, Part.RECOMMENDATION)
    assert "A nurse's call-back could not be booked." in lines(summary, Part.RECOMMENDATION)
    assert "Broke during the call: gate: dose." in lines(summary, Part.ASSESSMENT)


def test_advice_that_was_cut_off_says_so() -> None:
    summary = Chain().said(3, "close.4h", "A nurse will", cut_off=True).summary()
    assert lines(summary, Part.RECOMMENDATION) == ['The caller heard: "A nurse will" (cut off).']


def test_the_same_records_make_the_same_summary() -> None:
    assert chest_pain().summary() == chest_pain().summary()


@pytest.mark.parametrize("chain", [sore_throat(), chest_pain(), Chain()], ids=["routine", "urgent", "empty"])
def test_what_is_sealed_is_canonical_and_says_the_same_as_the_page(chain: Chain) -> None:
    from audit.records import canonical

    summary = chain.summary()
    sealed = json.loads(canonical(summary.payload()))
    assert [s["text"] for s in sealed["statements"]] == [s.text for s in summary.statements]
    assert sealed["made_by"] == "template"
    assert all(s["text"] in summary.text() for s in sealed["statements"])


def test_nothing_is_concluded() -> None:
    page = chest_pain().summary().text().lower()
    for never in ("heart attack", "probably", "likely", "suspect", "diagnos"):
        assert never not in page


def test_what_the_packet_lists_as_not_asked_is_not_stated_as_known() -> None:
    summary = chest_pain().summary()
    assert lines(summary, Part.BACKGROUND) == [
        "Patient: self.",
        "Not asked, or not understood: age, sex.",
    ]


def test_the_first_mark_of_the_clock_counts_and_turn_zero_is_no_turn() -> None:
    chain = chest_pain().mark("t_answered", 9_000, "carrier")
    times = next(s for s in chain.summary().statements if s.text.startswith("From the urgent words"))
    assert "answered after 1200 ms" in times.text
    ended = next(s for s in chain.summary().statements if s.text.startswith("How it ended"))
    assert ended.turns == ()
    assert ended.records
