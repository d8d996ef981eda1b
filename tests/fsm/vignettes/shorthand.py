"""What can happen in a vignette, what is ordered there, and how calls begin, said shortly."""

from collections.abc import Sequence
from types import EllipsisType

from fsm import effects as fx
from fsm import events as ev
from fsm import prompts
from fsm.states import Dismissal, Reason, State
from fsm.states import TimerName as T
from tests.fsm.examples import CHEST_PAIN, CONNECTED, NURSE, QUEUE

Orders = Sequence[fx.Effect] | EllipsisType
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


def reply_over(generation: int, *, ends_call: bool = False, nurse: Reason | None = None) -> ev.ReplyEnded:
    return ev.ReplyEnded(at_ns=0, generation=generation, sentences=1, ends_call=ends_call, nurse=nurse)


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


def urgent(
    clip: fx.Play, *, reply: int = 0, rank: int = 50, level: str = "nurse_now", category: str = "chest"
) -> list[fx.Effect]:
    return [
        *(stop(reply) if reply else [fx.FlushPlayout()]),
        clip,
        transfer(1, NURSE, Reason.URGENT, rank),
        fx.TruncateHistory(generation=reply),
        fx.DetachTools(),
        packet(level=level, category=category, rank=rank),
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
