"""Vignettes of talk: the ordinary call, and who speaks over whom."""

from fsm import effects as fx
from fsm import events as ev
from fsm.states import Dismissal, Reason
from fsm.states import TimerName as T
from tests.fsm.examples import CONNECTED, LADDER, NURSE, QUEUE, URGENT_LADDER
from tests.fsm.vignettes.shorthand import (
    ASKED,
    COUGH,
    CUT_OFF,
    DRAINED,
    FLUSH,
    GOODBYE,
    GREETED,
    HALF_ASKED,
    HANDOFF,
    HUNG_UP,
    IDLE,
    INTERRUPT,
    LISTENING,
    MM_HM,
    OURS,
    SPEAKING,
    THINKING,
    UNCLEAR,
    VOICE,
    WAITING,
    WORDS,
    Row,
    audible,
    callback,
    fired,
    heard_to_its_end,
    make_reply,
    play,
    reply_over,
    sentence,
    speak,
    the_four,
    to_nurse,
    turn,
)

# fmt: off
TALK: dict[str, list[Row]] = {
    # --- the ordinary call
    "a sore throat, one question and its answer": [
        *ASKED,
        (heard_to_its_end(2), LISTENING, [], {T.CALLER_SILENCE, T.CALL_TOO_LONG}),
        (WORDS, LISTENING, []),
        (turn(2), THINKING, [make_reply(2, 2)]),
    ],
    "to the end: read back, call-back booked, goodbye, hang up": [
        *GOODBYE,
        (audible(3), SPEAKING, [], {T.GOODBYE, T.CALL_TOO_LONG}),
        (heard_to_its_end(3), IDLE, [fx.HangUp(), fx.DrainTail()], {T.DRAIN}),
        (HUNG_UP, IDLE, []),
        (DRAINED, IDLE, [fx.Seal()], set()),
        (DRAINED, IDLE, []),
    ],
    "the goodbye was heard before its reply ended": [
        *HALF_ASKED,
        (heard_to_its_end(2), SPEAKING, [], {*OURS, T.CALL_TOO_LONG} - {T.OURS_ACK}),
        (reply_over(1, ends_call=True), IDLE, [fx.HangUp(), fx.DrainTail()], {T.DRAIN}),
    ],
    "the goodbye began and its end never came": [
        *GOODBYE,
        (fired(T.GOODBYE), IDLE, [*the_four(1), fx.HangUp(), fx.DrainTail()], {T.DRAIN}),
        (fired(T.DRAIN), IDLE, [fx.Seal()], set()),
    ],
    "one more question over the goodbye": [
        *GOODBYE,
        (VOICE, INTERRUPT, [fx.PausePlayout()]),
        (WORDS, LISTENING, the_four(1)),
        (turn(2), THINKING, [make_reply(2, 2)]),
        (sentence(2), THINKING, [speak(4, 2)]),
        (reply_over(2), THINKING, []),
        (audible(4), SPEAKING, []),
        (heard_to_its_end(4), LISTENING, []),
    ],
    "a goodbye of one short sentence whose start was never reported": [
        *GREETED,
        (turn(1), THINKING, [make_reply(1, 1)]),
        (sentence(1), THINKING, [speak(2, 1)]),
        (reply_over(1, ends_call=True), THINKING, []),
        (heard_to_its_end(2), IDLE, [fx.HangUp(), fx.DrainTail()]),
    ],
    "a call whose process died is rescued, and never greeted twice": [
        (ev.CallConnected(at_ns=0, opening=("greeting",), ladder=LADDER, urgent_ladder=URGENT_LADDER, known=True), HANDOFF,
         to_nurse(1, NURSE, play(1, "rescued"), Reason.RESCUED), WAITING),
    ],
    "a rescued caller who hangs up before a nurse had them is rung back: what was found before is not known": [
        (ev.CallConnected(at_ns=0, opening=("greeting",), ladder=LADDER, urgent_ladder=URGENT_LADDER, known=True), HANDOFF, ...),
        (HUNG_UP, IDLE, [FLUSH, fx.CancelTransfers(), fx.Page(alarm="urgent_hangup"), fx.DrainTail(), callback(Reason.RESCUED, "")]),
    ],
    "they hang up before we answered": [
        (HUNG_UP, IDLE, [fx.DrainTail()], {T.DRAIN}),
        (CONNECTED, IDLE, []),
        (fired(T.DRAIN), IDLE, [fx.Seal()]),
    ],
    "they hang up in the middle of our sentence": [
        *ASKED,
        (HUNG_UP, IDLE, [*the_four(1), fx.DrainTail()], {T.DRAIN}),
        (sentence(1, 1), IDLE, []),
        (DRAINED, IDLE, [fx.Seal()], set()),
    ],
    "the half hour is over": [
        *GREETED,
        (fired(T.CALL_TOO_LONG), HANDOFF, to_nurse(1, QUEUE, play(2, "connecting_nurse"), Reason.TOO_LONG), WAITING),
    ],

    # --- barge-in
    "the caller interrupts our question": [
        *ASKED,
        (VOICE, INTERRUPT, [fx.PausePlayout()], {T.CONFIRM, T.CALL_TOO_LONG}),
        (VOICE, INTERRUPT, []),
        (WORDS, LISTENING, the_four(1), {T.TURN_OPEN, T.CALL_TOO_LONG}),
        (heard_to_its_end(2), LISTENING, []),
        (turn(2), THINKING, [make_reply(2, 2)]),
    ],
    "a cough over our question does not count": [
        *ASKED,
        (VOICE, INTERRUPT, [fx.PausePlayout()]),
        (COUGH, SPEAKING, [fx.ResumePlayout()], {T.PLAYOUT, T.CALL_TOO_LONG}),
        (heard_to_its_end(2), LISTENING, []),
    ],
    "mm-hm over the last sample of our question": [
        *ASKED,
        (VOICE, INTERRUPT, [fx.PausePlayout()]),
        (heard_to_its_end(2), INTERRUPT, []),
        (MM_HM, LISTENING, [fx.ResumePlayout()], {T.CALLER_SILENCE, T.CALL_TOO_LONG}),
    ],
    "a cough between two sentences of a slow reply": [
        *HALF_ASKED,
        (heard_to_its_end(2), SPEAKING, []),
        (VOICE, INTERRUPT, [fx.PausePlayout()], {T.CONFIRM, T.CALL_TOO_LONG}),
        (COUGH, SPEAKING, [fx.ResumePlayout()], {T.OURS_FILLER, T.OURS_SCRIPTED, T.OURS_NURSE, T.CALL_TOO_LONG}),
        (sentence(1, 1), SPEAKING, [speak(3, 1, 1)]),
        (audible(3), SPEAKING, [], {T.PLAYOUT, T.CALL_TOO_LONG}),
    ],
    "a cough over the last sample of the goodbye": [
        *GOODBYE,
        (VOICE, INTERRUPT, [fx.PausePlayout()]),
        (heard_to_its_end(3), INTERRUPT, []),
        (COUGH, IDLE, [FLUSH, fx.HangUp(), fx.DrainTail()]),
    ],
    "a voice without trusted words is judged four times, then we give way": [
        *ASKED,
        (VOICE, INTERRUPT, [fx.PausePlayout()]),
        (fired(T.CONFIRM), INTERRUPT, [fx.JudgeSpeech()], {T.CONFIRM, T.CALL_TOO_LONG}),
        (UNCLEAR, INTERRUPT, []),
        (fired(T.CONFIRM), INTERRUPT, [fx.JudgeSpeech()]),
        (UNCLEAR, INTERRUPT, []),
        (fired(T.CONFIRM), INTERRUPT, [fx.JudgeSpeech()]),
        (UNCLEAR, INTERRUPT, []),
        (fired(T.CONFIRM), INTERRUPT, [fx.JudgeSpeech()]),
        (UNCLEAR, LISTENING, the_four(1), {T.CALLER_SILENCE, T.CALL_TOO_LONG}),
    ],
    "the recogniser never answers whether it was a word": [
        *ASKED,
        (VOICE, INTERRUPT, [fx.PausePlayout()]),
        *[(fired(T.CONFIRM), INTERRUPT, [fx.JudgeSpeech()]) for _ in range(4)],
        (fired(T.CONFIRM), LISTENING, the_four(1), {T.CALLER_SILENCE, T.CALL_TOO_LONG}),
    ],
    "the turn ends before its first word was trusted": [
        *ASKED,
        (VOICE, INTERRUPT, [fx.PausePlayout()]),
        (turn(2), THINKING, [*the_four(1), make_reply(2, 2)], {*OURS, T.CALL_TOO_LONG}),
    ],
    "words over our question and no onset was seen": [
        *ASKED,
        (turn(2), THINKING, [*the_four(1), make_reply(2, 2)]),
    ],
    "in the first second of the greeting": [
        (CONNECTED, SPEAKING, [play(1, "greeting", "disclosure")]),
        (audible(1), SPEAKING, []),
        (VOICE, INTERRUPT, [fx.PausePlayout()]),
        (WORDS, LISTENING, [FLUSH, CUT_OFF], {T.TURN_OPEN, T.CALL_TOO_LONG}),
    ],
    "the caller goes on speaking while we think": [
        *GREETED,
        (turn(1), THINKING, [make_reply(1, 1)]),
        (VOICE, THINKING, [fx.PausePlayout()], {*OURS, T.CONFIRM, T.CALL_TOO_LONG}),
        (VOICE, THINKING, []),
        (fired(T.OURS_ACK), THINKING, []),  # nothing of ours may start over them
        (WORDS, LISTENING, the_four(1), {T.TURN_OPEN, T.CALL_TOO_LONG}),
        (sentence(1), LISTENING, []),
        (turn(1), THINKING, [make_reply(2, 1)]),
    ],
    "a cough while we think, and the reply was ready": [
        *GREETED,
        (turn(1), THINKING, [make_reply(1, 1)]),
        (VOICE, THINKING, [fx.PausePlayout()]),
        (sentence(1), THINKING, [speak(2, 1)]),
        (COUGH, THINKING, [fx.ResumePlayout()], {*OURS, T.CALL_TOO_LONG}),
        (audible(2), SPEAKING, []),
    ],
    "our sentence began in the instant before the pause": [
        *GREETED,
        (turn(1), THINKING, [make_reply(1, 1)]),
        (sentence(1), THINKING, [speak(2, 1)]),
        (VOICE, THINKING, [fx.PausePlayout()]),
        (audible(2), INTERRUPT, [], {T.CONFIRM, T.CALL_TOO_LONG}),
        (COUGH, SPEAKING, [fx.ResumePlayout()]),
    ],
    "words that were an echo after all": [
        *GREETED,
        (WORDS, LISTENING, []),
        (ev.SpeechDismissed(at_ns=0, why=Dismissal.ECHO), LISTENING, [], {T.CALLER_SILENCE, T.CALL_TOO_LONG}),
    ],
    "the same turn reported twice": [
        *ASKED,
        (turn(1), SPEAKING, []),
        (heard_to_its_end(2), LISTENING, []),
        (turn(1), LISTENING, []),
    ],
}
# fmt: on
