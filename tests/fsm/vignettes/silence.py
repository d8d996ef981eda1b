"""Vignettes of silence: ours, and the caller's."""

from fsm import effects as fx
from fsm.states import Reason
from fsm.states import TimerName as T
from tests.fsm.examples import CHEST_PAIN, CONNECTED, NURSE, QUEUE
from tests.fsm.vignettes.shorthand import (
    ASKED,
    COUGH,
    CUT_OFF,
    FLUSH,
    GASPING,
    GREETED,
    HALF_ASKED,
    HANDOFF,
    HOLD_ON,
    HUNG_UP,
    IDLE,
    INTERRUPT,
    LISTENING,
    OURS,
    SPEAKING,
    THINKING,
    VOICE,
    WAITING,
    WORDS,
    Row,
    audible,
    broke,
    callback,
    fired,
    heard_to_its_end,
    key,
    make_reply,
    packet,
    play,
    refused,
    reply_over,
    sentence,
    speak,
    the_four,
    to_nurse,
    transfer,
    turn,
)

# fmt: off
SILENCE: dict[str, list[Row]] = {
    # --- our silence
    "the model is slow: acknowledgement, filler, scripted interviewer, nurse": [
        *GREETED,
        (turn(1, silent_ms=300), THINKING, [make_reply(1, 1)]),
        (fired(T.OURS_ACK), THINKING, [play(2, "ack")]),
        (audible(2), THINKING, []),
        (heard_to_its_end(2), THINKING, []),
        (fired(T.OURS_FILLER), THINKING, [play(3, "filler")]),
        (heard_to_its_end(3), THINKING, []),
        (fired(T.OURS_SCRIPTED), THINKING, [*the_four(1), make_reply(2, 1, scripted=True)], {T.OURS_NURSE, T.CALL_TOO_LONG}),
        (sentence(1), THINKING, []),
        (fired(T.OURS_NURSE), HANDOFF, to_nurse(1, QUEUE, play(4, "apology"), Reason.NO_REPLY, reply=2), WAITING),
    ],
    "the scripted interviewer speaks in time": [
        *GREETED,
        (turn(1), THINKING, [make_reply(1, 1)]),
        (fired(T.OURS_SCRIPTED), THINKING, [*the_four(1), make_reply(2, 1, scripted=True)]),
        (sentence(2), THINKING, [speak(2, 2)]),
        (audible(2), SPEAKING, [], {T.PLAYOUT, T.CALL_TOO_LONG}),
    ],
    "the voice is slow: a filler could only be heard behind it": [
        *GREETED,
        (turn(1), THINKING, [make_reply(1, 1)]),
        (sentence(1), THINKING, [speak(2, 1)]),
        (fired(T.OURS_ACK), THINKING, []),
        (fired(T.OURS_FILLER), THINKING, [*the_four(1), make_reply(2, 1, scripted=True)]),
    ],
    "the model stalls between two sentences": [
        *HALF_ASKED,
        (heard_to_its_end(2), SPEAKING, [], {T.OURS_FILLER, T.OURS_SCRIPTED, T.OURS_NURSE, T.CALL_TOO_LONG}),
        (fired(T.OURS_FILLER), SPEAKING, [play(3, "filler")]),
        (audible(3), SPEAKING, []),  # a filler does not end our silence
        (heard_to_its_end(3), SPEAKING, [], {T.OURS_SCRIPTED, T.OURS_NURSE, T.CALL_TOO_LONG}),
        (fired(T.OURS_SCRIPTED), THINKING, [*the_four(1), make_reply(2, 1, scripted=True)]),
    ],
    "the reply ended after its last sentence was heard": [
        *HALF_ASKED,
        (heard_to_its_end(2), SPEAKING, []),
        (reply_over(1), LISTENING, [], {T.CALLER_SILENCE, T.CALL_TOO_LONG}),
    ],
    "a sentence that came twice is spoken once": [
        *HALF_ASKED,
        (sentence(1), SPEAKING, []),
        (sentence(1, 1), SPEAKING, [speak(3, 1, 1)]),
    ],
    "the model breaks: the scripted interviewer takes the turn, then breaks too": [
        *GREETED,
        (turn(1), THINKING, [make_reply(1, 1)]),
        (broke("MakeReply", "llm", generation=1), THINKING, [*the_four(1), make_reply(2, 1, scripted=True)], {*OURS, T.CALL_TOO_LONG}),
        (broke("MakeReply", "llm", generation=1), THINKING, []),
        (broke("Speak", "tts", generation=2), HANDOFF, to_nurse(1, QUEUE, play(2, "apology"), Reason.STAGE_FAILED, reply=2), WAITING),
    ],
    "the voice breaks in mid-sentence while somebody coughs": [
        *ASKED,
        (VOICE, INTERRUPT, [fx.PausePlayout()]),
        (broke("Speak", "tts", generation=1), THINKING, [*the_four(1), fx.PausePlayout(), make_reply(2, 1, scripted=True)],
         {*OURS, T.CONFIRM, T.CALL_TOO_LONG}),
        (COUGH, THINKING, [fx.ResumePlayout()]),
    ],
    "the model says nothing at all, twice": [
        *GREETED,
        (turn(1), THINKING, [make_reply(1, 1)]),
        (reply_over(1), THINKING, [*the_four(1), make_reply(2, 1, scripted=True)]),
        (reply_over(2), HANDOFF, to_nurse(1, QUEUE, play(2, "apology"), Reason.STAGE_FAILED, reply=2)),
    ],
    "the lane is stuck: the greeting never ends": [
        (CONNECTED, SPEAKING, ...),
        (fired(T.PLAYOUT), HANDOFF, to_nurse(1, QUEUE, play(2, "apology"), Reason.STAGE_FAILED)),
    ],
    "the recogniser cannot be restored": [
        *GREETED,
        (broke("", "stt"), HANDOFF, to_nurse(1, QUEUE, play(2, "apology"), Reason.STAGE_FAILED)),
    ],
    "a clip cannot be played": [
        *GREETED,
        (fired(T.CALLER_SILENCE), SPEAKING, [play(2, "are_you_there_1")]),
        (broke("Play", "clips", playback=2), HANDOFF, to_nurse(1, QUEUE, play(3, "apology"), Reason.STAGE_FAILED)),
    ],
    "the record's store breaks: page once, and the call goes on": [
        *ASKED,
        (broke("MakeReply", "store"), SPEAKING, [fx.Page(alarm="audit_store")]),
        (broke("Speak", "store"), SPEAKING, []),
        (heard_to_its_end(2), LISTENING, []),
    ],
    "the dialogue's rules end at a nurse": [
        *HALF_ASKED,
        (reply_over(1, nurse=Reason.DISPOSITION), SPEAKING, []),
        (heard_to_its_end(2), HANDOFF, to_nurse(1, QUEUE, play(3, "connecting_nurse"), Reason.DISPOSITION, reply=1), WAITING),
    ],
    "the dialogue's rules end at a nurse, said in no words": [
        *GREETED,
        (turn(1), THINKING, [make_reply(1, 1)]),
        (reply_over(1, nurse=Reason.CHILD_ALONE), HANDOFF, to_nurse(1, QUEUE, play(2, "child_nurse"), Reason.CHILD_ALONE, reply=1)),
    ],
    "the dialogue's rules end at a nurse after the last sentence was heard": [
        *HALF_ASKED,
        (heard_to_its_end(2), SPEAKING, []),
        (reply_over(1, nurse=Reason.DISPOSITION), HANDOFF, to_nurse(1, QUEUE, play(3, "connecting_nurse"), Reason.DISPOSITION, reply=1)),
    ],
    "the caller speaks over the sentence that leads to the nurse": [
        *HALF_ASKED,
        (reply_over(1, nurse=Reason.DISPOSITION), SPEAKING, []),
        (VOICE, INTERRUPT, [fx.PausePlayout()]),
        (WORDS, HANDOFF, to_nurse(1, QUEUE, play(3, "connecting_nurse"), Reason.DISPOSITION, reply=1)),
    ],
    "a whole turn over the sentence that leads to the nurse": [
        *HALF_ASKED,
        (reply_over(1, nurse=Reason.DISPOSITION), SPEAKING, []),
        (turn(2), HANDOFF, to_nurse(1, QUEUE, play(3, "connecting_nurse"), Reason.DISPOSITION, reply=1)),
    ],
    "hold on, over the sentence that leads to the nurse": [
        *HALF_ASKED,
        (reply_over(1, nurse=Reason.DISPOSITION), SPEAKING, []),
        (HOLD_ON, HANDOFF, to_nurse(1, QUEUE, play(3, "connecting_nurse"), Reason.DISPOSITION, reply=1)),
    ],
    "gasping over the sentence that leads to the nurse": [
        *HALF_ASKED,
        (reply_over(1, nurse=Reason.DISPOSITION), SPEAKING, []),
        (GASPING, HANDOFF, to_nurse(1, QUEUE, play(3, "connecting_nurse"), Reason.DISPOSITION, reply=1)),
    ],
    "a cough at the end of the sentence that leads to the nurse": [
        *HALF_ASKED,
        (reply_over(1, nurse=Reason.DISPOSITION), SPEAKING, []),
        (VOICE, INTERRUPT, [fx.PausePlayout()]),
        (heard_to_its_end(2), INTERRUPT, []),
        (COUGH, HANDOFF, to_nurse(1, QUEUE, play(3, "connecting_nurse"), Reason.DISPOSITION, reply=1)),
    ],
    "the voice breaks in the sentence that leads to the nurse": [
        *HALF_ASKED,
        (reply_over(1, nurse=Reason.DISPOSITION), SPEAKING, []),
        (broke("Speak", "tts", generation=1), HANDOFF, to_nurse(1, QUEUE, play(3, "connecting_nurse"), Reason.DISPOSITION, reply=1)),
    ],

    # --- the caller's silence
    "the caller falls silent: asked twice, then a nurse": [
        *GREETED,
        (VOICE, LISTENING, []),  # a noise resets nothing
        (fired(T.CALLER_SILENCE), SPEAKING, [play(2, "are_you_there_1")]),
        (heard_to_its_end(2), LISTENING, []),
        (COUGH, LISTENING, []),
        (fired(T.CALLER_SILENCE), SPEAKING, [play(3, "are_you_there_2")]),
        (heard_to_its_end(3), LISTENING, []),
        (fired(T.CALLER_SILENCE), HANDOFF, to_nurse(1, QUEUE, play(4, "nurse_will_talk"), Reason.SILENT), WAITING),
    ],
    "the caller answers the second are-you-there": [
        *GREETED,
        (fired(T.CALLER_SILENCE), SPEAKING, [play(2, "are_you_there_1")]),
        (heard_to_its_end(2), LISTENING, []),
        (fired(T.CALLER_SILENCE), SPEAKING, [play(3, "are_you_there_2")]),
        (WORDS, LISTENING, [FLUSH, CUT_OFF]),
        (turn(1), THINKING, [make_reply(1, 1)]),
        (sentence(1), THINKING, [speak(4, 1)]),
        (reply_over(1), THINKING, []),
        (heard_to_its_end(4), LISTENING, []),
        (fired(T.CALLER_SILENCE), SPEAKING, [play(5, "are_you_there_1")]),  # counted anew
    ],
    "hold on": [
        *ASKED,
        (HOLD_ON, SPEAKING, [*the_four(1), play(3, "take_your_time")]),
        (heard_to_its_end(3), LISTENING, [], {T.CALLER_SILENCE, T.CALL_TOO_LONG}),
        (fired(T.CALLER_SILENCE), SPEAKING, [play(4, "are_you_there_1")]),
    ],
    "words without an end: the recogniser is gone": [
        *GREETED,
        (WORDS, LISTENING, []),
        (fired(T.TURN_OPEN), HANDOFF, to_nurse(1, QUEUE, play(2, "apology"), Reason.STAGE_FAILED)),
    ],
    "gasping without words: press 1, and a nurse within six seconds": [
        *ASKED,
        (GASPING, SPEAKING, [*the_four(1), play(3, "press_one")], {T.WORDLESS, T.PLAYOUT, T.CALL_TOO_LONG}),
        (GASPING, SPEAKING, []),
        (VOICE, SPEAKING, []),  # they must hear it to its end, whatever sounds they make
        (heard_to_its_end(3), LISTENING, [], {T.WORDLESS, T.CALLER_SILENCE, T.CALL_TOO_LONG}),
        (fired(T.WORDLESS), HANDOFF, to_nurse(1, NURSE, play(4, "nurse_will_talk"), Reason.WORDLESS), WAITING),
        (HUNG_UP, IDLE, [FLUSH, fx.CancelTransfers(), fx.Page(alarm="urgent_hangup"), fx.DrainTail(), callback(Reason.WORDLESS, "")]),
    ],
    "gasping, and key 1": [
        *GREETED,
        (key("1"), LISTENING, []),  # nobody asked for it yet
        (GASPING, SPEAKING, [FLUSH, CUT_OFF, play(2, "press_one")]),
        (key("1"), HANDOFF, to_nurse(1, NURSE, play(3, "nurse_will_talk"), Reason.WORDLESS)),
        (CHEST_PAIN, HANDOFF, [packet()]),
        (refused(1), HANDOFF, [transfer(2, QUEUE)]),  # the ladder of who is urgent, and it goes on where it was
    ],
    "crying, and then words": [
        *GREETED,
        (GASPING, SPEAKING, [FLUSH, CUT_OFF, play(2, "press_one")]),
        (WORDS, LISTENING, [FLUSH, CUT_OFF], {T.TURN_OPEN, T.CALL_TOO_LONG}),
        (turn(1), THINKING, [make_reply(1, 1)]),
    ],
}
# fmt: on
