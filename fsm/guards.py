"""Questions that decide between the rows of one cell. They read, and read as English; nothing here orders anything."""

from collections.abc import Callable
from typing import Any

from fsm import effects as fx
from fsm import events as ev
from fsm.call import Attempt, Call
from fsm.states import Phase, Reason, RungKind, State
from fsm.states import TimerName as T
from fsm.timers import MAX_SILENCES, MAX_UNCLEAR

Guard = Callable[[Call, Any], bool]


def always(call: Call, event: ev.Event) -> bool:
    """The guard of every cell's last row."""
    return True


def both(*guards: Guard) -> Guard:
    """All of them hold. Named after its parts, for the diagram."""

    def all_hold(call: Call, event: Any) -> bool:
        return all(guard(call, event) for guard in guards)

    all_hold.__name__ = ", ".join(guard.__name__ for guard in guards)
    return all_hold


def fired(name: T) -> Guard:
    """A timer of that name fired, and it is the one that runs (an older token is stale)."""

    def timer_fired(call: Call, event: ev.TimerFired) -> bool:
        return event.name is name and call.runs(name) and event.token == call.token_of(name)

    timer_fired.__name__ = f"{name.value} timer"
    return timer_fired


# --- phases


def new(call: Call, event: ev.Event) -> bool:
    """The call has not begun."""
    return call.phase is Phase.NEW


def new_and_known(call: Call, event: ev.CallConnected) -> bool:
    """It has not begun here, but a record of it exists."""
    return call.phase is Phase.NEW and event.known


def ended(call: Call, event: ev.Event) -> bool:
    """The call is over."""
    return call.phase is Phase.ENDED


# --- the lane


def old_playback(call: Call, event: ev.PlayoutFinished) -> bool:
    """Not the end of what was ordered last: stale, or more follows."""
    return call.said == 0 or event.playback != call.said


def lane_empty(call: Call, event: ev.Event) -> bool:
    """Nothing is being said."""
    return call.said == 0


def paused(call: Call, event: ev.Event) -> bool:
    """The lane is held."""
    return call.paused


def not_of_reply(call: Call, event: ev.PlayoutFinished | ev.PlayoutStarted) -> bool:
    """A clip of ours, and no sentence of the living reply."""
    return not of_reply(call, event)


def of_reply(call: Call, event: ev.PlayoutFinished | ev.PlayoutStarted) -> bool:
    """A sentence of the living reply (while we think, no clip is ordered behind one)."""
    return 0 < call.reply_from <= event.playback <= call.playback


def in_lane(call: Call, event: ev.PlayoutStarted) -> bool:
    """It was ordered, and not flushed since."""
    return call.flushed < event.playback <= call.playback


# --- the reply


def more_to_come(call: Call, event: ev.Event) -> bool:
    """The reply may have more sentences."""
    return call.reply_open


def goodbye_said(call: Call, event: ev.Event) -> bool:
    """What was said was the goodbye."""
    return call.ends_call


def nurse_follows(call: Call, event: ev.Event) -> bool:
    """The dialogue's rules end at a nurse."""
    return call.nurse_next is not None


def old_reply(call: Call, event: ev.ReplyEnded) -> bool:
    """Not the end of the living reply."""
    return not call.reply_open or event.generation != call.alive


def empty_reply(call: Call, event: ev.ReplyEnded) -> bool:
    """It ended without a sentence."""
    return call.reply_from == 0


def nurse_decided(call: Call, event: ev.ReplyEnded) -> bool:
    """The dialogue's rules end at a nurse."""
    return event.nurse is not None


def goodbye_over(call: Call, event: ev.ReplyEnded) -> bool:
    """The reply was the goodbye."""
    return event.ends_call


def next_sentence(call: Call, event: ev.SentenceReady) -> bool:
    """A sentence of the living reply that was not ordered yet."""
    return call.reply_open and event.generation == call.alive and event.index >= call.sentences


def not_yet_scripted(call: Call, event: ev.Event) -> bool:
    """The scripted interviewer has not taken this turn."""
    return not call.scripted


def room_for_a_clip(call: Call, event: ev.Event) -> bool:
    """A clip ordered now would be heard now: the lane is not held, and no late sentence stands before it."""
    return not call.paused and call.reply_from == 0


def voice_is_late(call: Call, event: ev.Event) -> bool:
    """A sentence was ordered and is not audible: a clip would only be heard behind it."""
    return call.reply_from != 0 and not call.paused and not call.scripted


# --- the caller


def old_turn(call: Call, event: ev.TurnEnded) -> bool:
    """That turn was answered already. Its number may come again only where the caller went on speaking."""
    went_on = call.state is State.THINKING or call.runs(T.TURN_OPEN)
    return event.turn < call.turn or (event.turn == call.turn and not went_on)


def turn_open(call: Call, event: ev.Event) -> bool:
    """Words were heard, and the end of the turn was not."""
    return call.runs(T.TURN_OPEN)


def silent_too_often(call: Call, event: ev.Event) -> bool:
    """We asked twice whether they are there."""
    return call.silences >= MAX_SILENCES


def unclear_too_often(call: Call, event: ev.Event) -> bool:
    """One more "a voice, but no words" is enough: we do not talk over a voice."""
    return call.paused and call.unclear + 1 >= MAX_UNCLEAR


def judged_too_often(call: Call, event: ev.Event) -> bool:
    """Enough judgements were ordered and none decided."""
    return call.judged >= MAX_UNCLEAR


def offered_the_key(call: Call, event: ev.Event) -> bool:
    """We said "press 1 if you cannot speak" and await the answer."""
    return call.runs(T.WORDLESS)


def pressed_zero(call: Call, event: ev.KeyPressed) -> bool:
    """Key 0 is a nurse, at any time."""
    return event.digit == "0"


def pressed_one(call: Call, event: ev.KeyPressed) -> bool:
    """They cannot speak."""
    return event.digit == "1" and call.runs(T.WORDLESS)


# --- the nurse


def attempt_of(call: Call, number: int) -> Attempt | None:
    """The attempt of that number, if it may still succeed."""
    return next((attempt for attempt in call.handoff.open if attempt.number == number), None)


def never_ordered(call: Call, event: Any) -> bool:
    """No attempt has that number."""
    return not 0 < int(event.attempt) <= call.handoff.attempts


def current(call: Call, event: Any) -> bool:
    """It is about the attempt we wait for."""
    return call.handoff.current != 0 and bool(event.attempt == call.handoff.current)


def still_open(call: Call, event: Any) -> bool:
    """It is about an earlier attempt that might still have succeeded."""
    return attempt_of(call, event.attempt) is not None


def settled(call: Call, event: Any) -> bool:
    """It is about an attempt we have given up."""
    return attempt_of(call, event.attempt) is None


def takes_caller(call: Call, event: ev.TransferAnswered) -> bool:
    """The carrier has taken the caller: a fact, however late."""
    return event.takes_caller and not never_ordered(call, event)


def held_already(call: Call, event: ev.TransferAnswered) -> bool:
    """Her leg is held already, or talks to the caller."""
    attempt = attempt_of(call, event.attempt)
    return event.attempt == call.handoff.bridged or (attempt is not None and attempt.held)


def bridged(call: Call, event: ev.Event) -> bool:
    """A nurse talks to the caller."""
    return call.handoff.bridged != 0


def by_bridged_nurse(call: Call, event: Any) -> bool:
    """It is about the nurse who talks to the caller."""
    return call.handoff.bridged != 0 and bool(event.attempt == call.handoff.bridged)


def by_refer(call: Call, event: Any) -> bool:
    """It is about an open REFER: there is no leg that we could bridge."""
    attempt = attempt_of(call, event.attempt)
    return attempt is not None and attempt.rung.kind is RungKind.REFER


def by_dialled_leg(call: Call, event: Any) -> bool:
    """It is about a nurse's leg of ours, not about a REFER."""
    return not never_ordered(call, event) and not by_refer(call, event) and not getattr(event, "takes_caller", False)


def new_emergency(call: Call, event: ev.UrgencyRaised) -> bool:
    """The level says the emergency number, and no finding before did; that the number was said for less is no matter."""
    return event.says_number and not call.handoff.emergency and not call.handoff.bridged


def needs_nurse(call: Call) -> bool:
    """Somebody must take this caller: found urgent, unable to speak, or lost by a process that may have known more."""
    return call.handoff.urgent or call.handoff.reason in (Reason.WORDLESS, Reason.RESCUED)


def urgent_and_alone(call: Call, event: ev.Event) -> bool:
    """Nobody has this caller, and somebody must."""
    return needs_nurse(call) and not call.handoff.bridged


def with_nurse(call: Call, event: ev.Event) -> bool:
    """The call is over, and a nurse's side had the caller."""
    return call.phase is Phase.ENDED and (call.handoff.taken != 0 or call.handoff.bridged != 0)


def outranked(call: Call, event: ev.UrgencyRaised) -> bool:
    """A call-back is open already and this finding is not graver."""
    return call.phase is Phase.ENDED and call.callback and event.rank <= call.handoff.rank


def of_taken_caller(call: Call, event: ev.NurseAccepted) -> bool:
    """A person in the queue has the caller that the carrier took."""
    return call.phase is Phase.ENDED and event.attempt != 0 and event.attempt == call.handoff.taken


# --- failures


def broke(*effects: type[fx.Effect]) -> Guard:
    """One of these orders broke."""
    names = tuple(effect.__name__ for effect in effects)

    def order_broke(call: Call, event: ev.EffectFailed) -> bool:
        return event.effect in names

    order_broke.__name__ = f"{' or '.join(names)} broke"
    return order_broke


def store_broke(call: Call, event: ev.EffectFailed) -> bool:
    """The record's store broke; the call goes on, it spools."""
    return event.stage == "store"


def recogniser_broke(call: Call, event: ev.EffectFailed) -> bool:
    """We are deaf."""
    return event.stage == "stt"


def reply_broke(call: Call, event: ev.EffectFailed) -> bool:
    """Model or voice of the living reply broke (generation 0: the runtime could not say which)."""
    mine = call.alive != 0 and event.generation in (0, call.alive)
    return mine and event.effect in (fx.MakeReply.__name__, fx.Speak.__name__)


def about_current(call: Call, event: ev.EffectFailed) -> bool:
    """It broke for the attempt we wait for (0: the runtime could not say which)."""
    return call.handoff.current != 0 and event.attempt in (0, call.handoff.current)


def first_broken_clip(call: Call, event: ev.EffectFailed) -> bool:
    """The first time that a clip breaks while the caller waits for a nurse."""
    return not call.handoff.clip_broke and not call.handoff.bridged
