"""Vignettes of hand-offs: a caller who asks for a person, danger, and the ladder of nurses."""

from fsm import effects as fx
from fsm import events as ev
from fsm.states import Reason
from fsm.states import TimerName as T
from tests.fsm.examples import CHEST_PAIN, CLASSIFIER_BROKE, CONNECTED, DESK, NOT_BREATHING, NURSE, QUEUE
from tests.fsm.vignettes.shorthand import (
    ASKED,
    ASKED_FOR_A_PERSON,
    BRIDGED,
    CUT_OFF,
    DRAINED,
    FLUSH,
    GREETED,
    HANDOFF,
    HUNG_UP,
    IDLE,
    INTERRUPT,
    NUMBER,
    NURSE_DONE,
    SPEAKING,
    THINKING,
    URGENT,
    VOICE,
    WAITED,
    WAITING,
    Row,
    accepted,
    answered,
    broke,
    callback,
    fired,
    heard_to_its_end,
    key,
    leg_lost,
    make_reply,
    nurse_needed,
    packet,
    play,
    refused,
    sentence,
    timed_out,
    to_nurse,
    transfer,
    turn,
    urgent,
)

# fmt: off
NURSES: dict[str, list[Row]] = {
    # --- a person, please
    "a caller asks for a person and the queue takes them": [
        *ASKED_FOR_A_PERSON,
        (ev.TransferAccepted(at_ns=0, attempt=1), HANDOFF, [], WAITING),
        (ev.TransferRinging(at_ns=0, attempt=1), HANDOFF, [], WAITING),
        (answered(1, takes_caller=True), IDLE, [FLUSH, fx.CancelTransfers(), fx.DrainTail()], {T.DRAIN, T.PERSON_SIGN}),
        (DRAINED, IDLE, [], {T.PERSON_SIGN}),  # in a queue is not yet with a person
        (accepted(1), IDLE, [fx.Seal()], set()),
    ],
    "the queue took them and no person says so": [
        *ASKED_FOR_A_PERSON,
        (answered(1, takes_caller=True), IDLE, ...),
        (fired(T.DRAIN), IDLE, []),
        (fired(T.PERSON_SIGN), IDLE, [fx.Page(alarm="nurse_no_person_sign"), callback(Reason.ASKED_PERSON, ""), fx.Seal()], set()),
    ],
    "key 0 over the greeting": [
        (CONNECTED, SPEAKING, ...),
        (key("0"), HANDOFF, to_nurse(1, QUEUE, play(2, "connecting_nurse"), Reason.PRESSED_ZERO), WAITING),
        (key("0"), HANDOFF, []),
    ],
    "a caller who asked for a person hangs up while waiting": [
        *ASKED_FOR_A_PERSON,
        (HUNG_UP, IDLE, [FLUSH, fx.CancelTransfers(), fx.DrainTail()], {T.DRAIN}),
        (answered(1, takes_caller=True), IDLE, []),  # nothing revives an ended call
        (DRAINED, IDLE, [fx.Seal()]),
    ],

    # --- danger
    "chest pain in the first sentence, over the greeting": [
        (CONNECTED, SPEAKING, ...),
        (VOICE, INTERRUPT, [fx.PausePlayout()]),
        (CHEST_PAIN, HANDOFF, urgent(play(2, "connecting_nurse")), WAITING),
        (turn(1), HANDOFF, []),
        (sentence(1), HANDOFF, []),
    ],
    "chest pain in the middle of our question": [
        *ASKED,
        (CHEST_PAIN, HANDOFF, urgent(play(3, "connecting_nurse"), reply=1), WAITING),
    ],
    "chest pain while the model thinks": [
        *GREETED,
        (turn(1), THINKING, [make_reply(1, 1)]),
        (CHEST_PAIN, HANDOFF, urgent(play(2, "connecting_nurse"), reply=1), WAITING),
    ],
    "a nurse is dialled, whispers are heard, she accepts, and finishes": [
        *BRIDGED,
        (accepted(1), HANDOFF, []),
        (CHEST_PAIN, HANDOFF, [packet()], set()),  # judged late: she gets it, and nothing is said over her
        (NURSE_DONE, IDLE, [fx.HangUp(), fx.CancelTransfers(), fx.DrainTail()], {T.DRAIN}),
        (DRAINED, IDLE, [fx.Seal()]),
    ],
    "the caller hangs up on the nurse": [
        *BRIDGED,
        (HUNG_UP, IDLE, [FLUSH, fx.ReleaseNurse(attempt=1, told=True), fx.CancelTransfers(), fx.DrainTail()]),
    ],
    "the nurse's leg is lost while the caller is there": [
        *BRIDGED,
        (leg_lost(1), HANDOFF, [fx.Listen(), FLUSH, play(3, "reconnecting"), transfer(2, QUEUE), packet()], WAITING),
        (answered(2, takes_caller=True), IDLE, ...),
    ],
    "an adult who is not breathing: the number comes first": [
        *GREETED,
        (NOT_BREATHING, HANDOFF,
         urgent(play(2, "emergency_breathing"), rank=90, level="emergency_now", category="breathing"), WAITING),
        (NOT_BREATHING, HANDOFF, [packet(level="emergency_now", category="breathing", rank=90)]),
    ],
    "on hold it becomes an emergency: the number once, no second transfer": [
        *URGENT,
        (NOT_BREATHING, HANDOFF, [FLUSH, play(3, NUMBER), packet(level="emergency_now", category="breathing", rank=90)], WAITING),
        (NOT_BREATHING, HANDOFF, [packet(level="emergency_now", category="breathing", rank=90)], WAITING),
        (CHEST_PAIN, HANDOFF, [packet(level="emergency_now", category="breathing", rank=90)], WAITING),
        (refused(1), HANDOFF, [transfer(2, QUEUE, rank=90)]),
    ],
    "asked for a person, and then says chest pain: the urgent ladder from its top": [
        *ASKED_FOR_A_PERSON,
        (CHEST_PAIN, HANDOFF, [packet()], WAITING),
        (nurse_needed(Reason.LANGUAGE), HANDOFF, []),
        (refused(1), HANDOFF, [transfer(2, NURSE)]),
        (refused(2), HANDOFF, [transfer(3, QUEUE)]),
    ],
    "the classifier breaks: a nurse, ranked behind every finding": [
        *GREETED,
        (CLASSIFIER_BROKE, HANDOFF,
         [FLUSH, play(2, "nurse_will_talk"), transfer(1, NURSE, Reason.CLASSIFIER_FAILED, 1), CUT_OFF, fx.DetachTools(),
          packet(Reason.CLASSIFIER_FAILED, category="classifier_failed", rank=1)], WAITING),
        (CHEST_PAIN, HANDOFF, [packet()]),
    ],
    "an urgent caller hangs up before a nurse had them": [
        *URGENT,
        (HUNG_UP, IDLE, [FLUSH, fx.CancelTransfers(), fx.Page(alarm="urgent_hangup"), fx.DrainTail(), callback()], {T.DRAIN}),
        (CHEST_PAIN, IDLE, []),  # their last words say no more than we knew
        (NOT_BREATHING, IDLE, [fx.Page(alarm="urgent_tail"), callback(level="emergency_now")]),
        (answered(1), IDLE, [fx.ReleaseNurse(attempt=1, told=True)]),
        (accepted(1), IDLE, [fx.ReleaseNurse(attempt=1, told=True)]),
        (DRAINED, IDLE, [fx.Seal()], set()),
    ],
    "the last words before hanging up were chest pain": [
        *GREETED,
        (HUNG_UP, IDLE, [FLUSH, CUT_OFF, fx.DrainTail()]),
        (CHEST_PAIN, IDLE, [fx.Page(alarm="urgent_tail"), callback()]),
        (broke("OpenCallback", "store"), IDLE, [fx.Page(alarm="callback_lost")]),
        (DRAINED, IDLE, [fx.Seal()]),
        (broke("Seal", "store"), IDLE, [fx.Page(alarm="audit_store")]),
    ],
    "the last words were judged after the carrier took the caller": [
        *URGENT,
        (refused(1), HANDOFF, [transfer(2, QUEUE)]),
        (answered(2, takes_caller=True), IDLE, ...),
        (NOT_BREATHING, IDLE, [packet(level="emergency_now", category="breathing", rank=90)]),
    ],

    # --- the ladder
    "the nurse is busy, the queue refuses, and we begin again": [
        *URGENT,
        (refused(1), HANDOFF, [transfer(2, QUEUE)], WAITING),
        (refused(1), HANDOFF, []),  # an old answer moves nothing
        (refused(2, 603), HANDOFF, [], {T.PERSON_DEADLINE, T.STILL_CONNECTING, T.LADDER_AGAIN}),
        (fired(T.LADDER_AGAIN), HANDOFF, [transfer(3, NURSE)], WAITING),
    ],
    "the nurse declines after the whisper": [
        *URGENT,
        (answered(1), HANDOFF, [fx.Whisper(attempt=1)]),
        (leg_lost(1), HANDOFF, [transfer(2, QUEUE)], WAITING),
    ],
    "voicemail answers and presses no key": [
        *URGENT,
        (answered(1), HANDOFF, [fx.Whisper(attempt=1)]),
        (answered(1), HANDOFF, []),
        (fired(T.ATTEMPT), HANDOFF, [fx.ReleaseNurse(attempt=1), transfer(2, QUEUE)], WAITING),
        (accepted(1), HANDOFF, [fx.ReleaseNurse(attempt=1, told=True)]),
        (answered(1), HANDOFF, [fx.ReleaseNurse(attempt=1, told=True)]),
    ],
    "a REFER without any answer, and its late success": [
        *ASKED_FOR_A_PERSON,
        (fired(T.ATTEMPT), HANDOFF, [transfer(2, NURSE, Reason.ASKED_PERSON, 0)], WAITING),
        (answered(1, takes_caller=True), IDLE, [FLUSH, fx.CancelTransfers(), fx.DrainTail()], {T.DRAIN, T.PERSON_SIGN}),
    ],
    "the REFER succeeds late, when a dialled nurse talks already": [
        *ASKED_FOR_A_PERSON,
        (timed_out(1), HANDOFF, [transfer(2, NURSE, Reason.ASKED_PERSON, 0)], WAITING),
        (answered(2), HANDOFF, [fx.Whisper(attempt=2)]),
        (accepted(2), HANDOFF, [FLUSH, fx.Bridge(attempt=2)], set()),
        (answered(1, takes_caller=True), IDLE, [FLUSH, fx.ReleaseNurse(attempt=2, told=True), fx.CancelTransfers(), fx.DrainTail()]),
    ],
    "a dialled nurse answers late, when another talks already": [
        *ASKED_FOR_A_PERSON,
        (refused(1), HANDOFF, [transfer(2, NURSE, Reason.ASKED_PERSON, 0)]),
        (timed_out(2), HANDOFF, [transfer(3, DESK, Reason.ASKED_PERSON, 0)]),
        (accepted(3), HANDOFF, [FLUSH, fx.Bridge(attempt=3), fx.ReleaseNurse(attempt=2, told=True)], set()),
        (answered(2), HANDOFF, [fx.ReleaseNurse(attempt=2, told=True)]),
        (accepted(2), HANDOFF, [fx.ReleaseNurse(attempt=2, told=True)]),
    ],
    "a dialled nurse answers late, when nobody else has": [
        *ASKED_FOR_A_PERSON,
        (refused(1), HANDOFF, [transfer(2, NURSE, Reason.ASKED_PERSON, 0)]),
        (timed_out(2), HANDOFF, [transfer(3, DESK, Reason.ASKED_PERSON, 0)]),
        (answered(2), HANDOFF, [fx.Whisper(attempt=2)]),
        (accepted(2), HANDOFF, [FLUSH, fx.Bridge(attempt=2), fx.ReleaseNurse(attempt=3, told=True)], set()),
    ],
    "a late leg that comes to nothing does not move the ladder": [
        *ASKED_FOR_A_PERSON,
        (timed_out(1), HANDOFF, [transfer(2, NURSE, Reason.ASKED_PERSON, 0)]),
        (refused(1, 480), HANDOFF, [], WAITING),
        (timed_out(2), HANDOFF, [transfer(3, DESK, Reason.ASKED_PERSON, 0)]),
        (leg_lost(2), HANDOFF, [], WAITING),
    ],
    "already being transferred: the earlier attempt stands": [
        *ASKED_FOR_A_PERSON,
        (timed_out(1), HANDOFF, [transfer(2, NURSE, Reason.ASKED_PERSON, 0)]),
        (ev.TransferPending(at_ns=0, attempt=2), HANDOFF, [transfer(3, DESK, Reason.ASKED_PERSON, 0)], WAITING),
        (ev.TransferPending(at_ns=0, attempt=2), HANDOFF, [], WAITING),
        (answered(1, takes_caller=True), IDLE, ...),
    ],
    "a person at the desk takes the caller while the carrier still transfers": [
        *ASKED_FOR_A_PERSON,
        (accepted(1), HANDOFF, [], WAITING),
        (answered(1, takes_caller=True), IDLE, [FLUSH, fx.CancelTransfers(), fx.DrainTail()], {T.DRAIN}),
    ],
    "nobody answers: the number at ten seconds, again every twenty, and the line stays open": [
        *WAITED,
        (fired(T.ATTEMPT), HANDOFF, [fx.ReleaseNurse(attempt=1), transfer(2, QUEUE)]),
        (heard_to_its_end(3), HANDOFF, []),
        (fired(T.STILL_CONNECTING), HANDOFF, [play(4, "still_connecting")]),
        (fired(T.NUMBER_AGAIN), HANDOFF, [FLUSH, play(5, NUMBER)], {T.NUMBER_AGAIN, T.STILL_CONNECTING, T.ATTEMPT}),
        (NOT_BREATHING, HANDOFF, [FLUSH, play(6, NUMBER), packet(level="emergency_now", category="breathing", rank=90)]),  # now it is one
        (NOT_BREATHING, HANDOFF, [packet(level="emergency_now", category="breathing", rank=90)]),
    ],
    "the transfer cannot even be tried": [
        *URGENT,
        (broke("Transfer", "line", attempt=1), HANDOFF, [transfer(2, QUEUE)], WAITING),
        (broke("Transfer", "line", attempt=1), HANDOFF, []),
        (broke("Transfer", "line", attempt=2), HANDOFF, [], {T.PERSON_DEADLINE, T.STILL_CONNECTING, T.LADDER_AGAIN}),
    ],
    "the whisper breaks, then the bridge": [
        *URGENT,
        (answered(1), HANDOFF, [fx.Whisper(attempt=1)]),
        (broke("Whisper", "clips", attempt=1), HANDOFF, [fx.ReleaseNurse(attempt=1), transfer(2, QUEUE)]),
        (refused(2), HANDOFF, []),
        (fired(T.LADDER_AGAIN), HANDOFF, [transfer(3, NURSE)]),
        (answered(3), HANDOFF, [fx.Whisper(attempt=3)]),
        (accepted(3), HANDOFF, [FLUSH, fx.Bridge(attempt=3)]),
        (broke("Bridge", "line", attempt=3), HANDOFF,
         [fx.Listen(), FLUSH, play(3, "reconnecting"), transfer(4, QUEUE), packet(), fx.ReleaseNurse(attempt=3, told=True)], WAITING),
    ],
    "the clip breaks: the number is tried once, then the timers go on": [
        *URGENT,
        (broke("Play", "clips", playback=2), HANDOFF, [FLUSH, play(3, NUMBER)], WAITING),
        (broke("Play", "clips", playback=3), HANDOFF, [], WAITING),
        (fired(T.PERSON_DEADLINE), HANDOFF, [FLUSH, play(4, NUMBER), fx.Page(alarm="nurse_handoff_unanswered")]),
    ],
    "the packet cannot be delivered": [
        *URGENT,
        (broke("SendPacket", "desk"), HANDOFF, [fx.Page(alarm="packet_undelivered")], WAITING),
    ],
    "the last words cannot be judged": [
        *ASKED,
        (HUNG_UP, IDLE, ...),
        (broke("DrainTail", "stt"), IDLE, [fx.Seal()], set()),
    ],
}
# fmt: on
