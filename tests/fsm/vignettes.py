"""Whole calls as tables: what happened, where the call is then, what was ordered, which timers run.

To be read and corrected by people who know callers, not code. `...` means: not looked at here. Orders about timers are
left out of the third column; the fourth names the timers that run afterwards. Every call begins with the greeting
(playback 1) unless it says otherwise; two rungs are tried for urgent callers (a nurse's telephone, then the queue),
three for the others (queue, telephone, desk).
"""

from types import EllipsisType

from fsm import effects as fx
from fsm import events as ev
from fsm import prompts
from fsm.states import Dismissal, Reason, State
from fsm.states import TimerName as T
from tests.fsm.examples import (
    CHEST_PAIN,
    CLASSIFIER_BROKE,
    CONNECTED,
    DESK,
    LADDER,
    NOT_BREATHING,
    NURSE,
    QUEUE,
    URGENT_LADDER,
)

Orders = list[fx.Effect] | EllipsisType
Row = tuple[ev.Event, State, Orders] | tuple[ev.Event, State, Orders, set[T]]

IDLE, LISTENING, THINKING, SPEAKING, INTERRUPT, HANDOFF = State

# --- what can happen, said shortly


def fired(name: T) -> ev.TimerFired:
    """The timer of that name; its token is filled in by the test from the running call."""
    return ev.TimerFired(at_ns=0, name=name, token=-1)


def turn(number: int, silent_ms: int = 0) -> ev.TurnEnded:
    return ev.TurnEnded(at_ns=0, turn=number, silent_ns=silent_ms * 1_000_000)


def sentence(generation: int, index: int = 0, text: str = "Since when?") -> ev.SentenceReady:
    return ev.SentenceReady(at_ns=0, generation=generation, index=index, text=text)


def reply_over(generation: int, **how: object) -> ev.ReplyEnded:
    return ev.ReplyEnded(at_ns=0, generation=generation, sentences=1, **how)  # type: ignore[arg-type]


def audible(playback: int) -> ev.PlayoutStarted:
    return ev.PlayoutStarted(at_ns=0, playback=playback)


def heard_to_its_end(playback: int) -> ev.PlayoutFinished:
    return ev.PlayoutFinished(at_ns=0, playback=playback)


def broke(effect: str, stage: str, **which: int) -> ev.EffectFailed:
    return ev.EffectFailed(at_ns=0, effect=effect, stage=stage, **which)


def answered(attempt: int, *, takes_caller: bool = False) -> ev.TransferAnswered:
    return ev.TransferAnswered(at_ns=0, attempt=attempt, takes_caller=takes_caller)


def refused(attempt: int, code: int = 486) -> ev.TransferRefused:
    return ev.TransferRefused(at_ns=0, attempt=attempt, code=code)


def timed_out(attempt: int) -> ev.TransferTimedOut:
    return ev.TransferTimedOut(at_ns=0, attempt=attempt)


def accepted(attempt: int) -> ev.NurseAccepted:
    return ev.NurseAccepted(at_ns=0, attempt=attempt)


def leg_lost(attempt: int) -> ev.NurseLegLost:
    return ev.NurseLegLost(at_ns=0, attempt=attempt)


def key(digit: str) -> ev.KeyPressed:
    return ev.KeyPressed(at_ns=0, digit=digit)


def nurse_needed(reason: Reason) -> ev.NurseNeeded:
    return ev.NurseNeeded(at_ns=0, reason=reason)


VOICE = ev.SpeechStarted(at_ns=0)
COUGH = ev.SpeechDismissed(at_ns=0, why=Dismissal.COUGH)
MM_HM = ev.SpeechDismissed(at_ns=0, why=Dismissal.BACKCHANNEL)
UNCLEAR = ev.SpeechUnclear(at_ns=0)
WORDS = ev.WordsHeard(at_ns=0)
HOLD_ON = ev.HoldRequested(at_ns=0)
GASPING = ev.WordlessVoiceHeard(at_ns=0)
HUNG_UP = ev.HungUp(at_ns=0)
NURSE_DONE = ev.NurseFinished(at_ns=0)
DRAINED = ev.TailDrained(at_ns=0)

# --- what is ordered, said shortly


def play(playback: int, *clips: str) -> fx.Play:
    return fx.Play(playback=playback, prompts=clips)


def speak(playback: int, generation: int, index: int = 0, text: str = "Since when?") -> fx.Speak:
    return fx.Speak(playback=playback, generation=generation, index=index, text=text)


def make_reply(generation: int, of_turn: int, *, scripted: bool = False) -> fx.MakeReply:
    return fx.MakeReply(generation=generation, turn=of_turn, scripted=scripted)


def transfer(attempt: int, rung: ev.Rung, reason: Reason = Reason.URGENT, rank: int = 50) -> fx.Transfer:
    return fx.Transfer(
        attempt=attempt,
        kind=rung.kind,
        target=rung.target,
        answer_within_s=rung.answer_within_s,
        reason=reason,
        rank=rank,
    )


def packet(
    reason: Reason = Reason.URGENT, level: str = "nurse_now", category: str = "chest", rank: int = 50
) -> fx.SendPacket:
    return fx.SendPacket(reason=reason, level=level, category=category, rank=rank)


def plain_packet(reason: Reason) -> fx.SendPacket:
    return fx.SendPacket(reason=reason, level="", category="", rank=0)


def stop(generation: int) -> list[fx.Effect]:
    """Cancel the model, close the voice, empty the lane."""
    return [fx.CancelReply(generation=generation), fx.CloseSpeech(generation=generation), fx.FlushPlayout()]


def the_four(generation: int) -> list[fx.Effect]:
    return [*stop(generation), fx.TruncateHistory(generation=generation)]


def to_nurse(attempt: int, rung: ev.Rung, clip: fx.Play, reason: Reason, *, reply: int = 0) -> list[fx.Effect]:
    """A hand-over for a reason that is no urgent finding."""
    return [
        *(stop(reply) if reply else [fx.FlushPlayout()]),
        clip,
        transfer(attempt, rung, reason, 0),
        fx.TruncateHistory(generation=reply),
        fx.DetachTools(),
        plain_packet(reason),
    ]


def urgent(clip: fx.Play, *, reply: int = 0, rank: int = 50, **what: str) -> list[fx.Effect]:
    return [
        *(stop(reply) if reply else [fx.FlushPlayout()]),
        clip,
        transfer(1, NURSE, Reason.URGENT, rank),
        fx.TruncateHistory(generation=reply),
        fx.DetachTools(),
        packet(rank=rank, **what),  # type: ignore[arg-type]
    ]


def callback(reason: Reason = Reason.URGENT, level: str = "nurse_now") -> fx.OpenCallback:
    return fx.OpenCallback(reason=reason, level=level, within_s=300)


NUMBER = prompts.EMERGENCY_NUMBER
FLUSH = fx.FlushPlayout()
WAITING = {T.PERSON_DEADLINE, T.STILL_CONNECTING, T.ATTEMPT}
OURS = {T.OURS_ACK, T.OURS_FILLER, T.OURS_SCRIPTED, T.OURS_NURSE}

# --- beginnings

GREETED: list[Row] = [
    (CONNECTED, SPEAKING, [play(1, "greeting", "disclosure")], {T.PLAYOUT, T.CALL_TOO_LONG}),
    (heard_to_its_end(1), LISTENING, [], {T.CALLER_SILENCE, T.CALL_TOO_LONG}),
]
ASKED: list[Row] = [  # the first turn is being answered: one sentence audible, the reply complete
    *GREETED,
    (WORDS, LISTENING, [], {T.TURN_OPEN, T.CALL_TOO_LONG}),
    (turn(1), THINKING, [make_reply(1, 1)], {*OURS, T.CALL_TOO_LONG}),
    (sentence(1), THINKING, [speak(2, 1)]),
    (reply_over(1), THINKING, []),
    (audible(2), SPEAKING, [], {T.PLAYOUT, T.CALL_TOO_LONG}),
]
HALF_ASKED: list[Row] = [  # one sentence audible, more to come
    *GREETED,
    (turn(1), THINKING, [make_reply(1, 1)]),
    (sentence(1), THINKING, [speak(2, 1)]),
    (audible(2), SPEAKING, []),
]
URGENT: list[Row] = [
    *GREETED,
    (CHEST_PAIN, HANDOFF, urgent(play(2, "connecting_nurse")), WAITING),
]
ASKED_FOR_A_PERSON: list[Row] = [
    *GREETED,
    (
        nurse_needed(Reason.ASKED_PERSON),
        HANDOFF,
        to_nurse(1, QUEUE, play(2, "connecting_nurse"), Reason.ASKED_PERSON),
        WAITING,
    ),
]
BRIDGED: list[Row] = [
    *URGENT,
    (answered(1), HANDOFF, [fx.Whisper(attempt=1)], WAITING),
    (accepted(1), HANDOFF, [FLUSH, fx.Bridge(attempt=1)], set()),
]
GOODBYE: list[Row] = [
    *GREETED,
    (turn(1), THINKING, [make_reply(1, 1)]),
    (
        sentence(1, text="A nurse rings you before noon."),
        THINKING,
        [speak(2, 1, text="A nurse rings you before noon.")],
    ),
    (audible(2), SPEAKING, []),
    (sentence(1, 1, "Goodbye."), SPEAKING, [speak(3, 1, 1, "Goodbye.")]),
    (reply_over(1, ends_call=True), SPEAKING, [], {T.GOODBYE, T.CALL_TOO_LONG}),
]
WAITED: list[Row] = [  # an urgent caller, ten seconds later
    *URGENT,
    (fired(T.STILL_CONNECTING), HANDOFF, [], WAITING),  # the clip is still running: nothing is stacked behind it
    (fired(T.PERSON_DEADLINE), HANDOFF, [FLUSH, play(3, NUMBER), fx.Page(alarm="nurse_handoff_unanswered")],
     {T.NUMBER_AGAIN, T.STILL_CONNECTING, T.ATTEMPT}),
]  # fmt: skip
CUT_OFF = fx.TruncateHistory(generation=0)

# fmt: off
VIGNETTES: dict[str, list[Row]] = {
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
         to_nurse(1, QUEUE, play(1, "rescued"), Reason.RESCUED), WAITING),
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
        (fired(T.WORDLESS), HANDOFF, to_nurse(1, QUEUE, play(4, "nurse_will_talk"), Reason.WORDLESS), WAITING),
        (HUNG_UP, IDLE, [FLUSH, fx.CancelTransfers(), fx.Page(alarm="urgent_hangup"), fx.DrainTail(), callback(Reason.WORDLESS, "")]),
    ],
    "gasping, and key 1": [
        *GREETED,
        (key("1"), LISTENING, []),  # nobody asked for it yet
        (GASPING, SPEAKING, [FLUSH, CUT_OFF, play(2, "press_one")]),
        (key("1"), HANDOFF, to_nurse(1, QUEUE, play(3, "nurse_will_talk"), Reason.WORDLESS)),
    ],
    "crying, and then words": [
        *GREETED,
        (GASPING, SPEAKING, [FLUSH, CUT_OFF, play(2, "press_one")]),
        (WORDS, LISTENING, [FLUSH, CUT_OFF], {T.TURN_OPEN, T.CALL_TOO_LONG}),
        (turn(1), THINKING, [make_reply(1, 1)]),
    ],

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
