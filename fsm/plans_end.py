"""What is ordered when a call ends and after: nothing revives it, but nobody urgent is forgotten.

The last words still go through recogniser and classifier; only then is the record sealed, once.
"""

from fsm import alarms
from fsm import effects as fx
from fsm import events as ev
from fsm.call import Call
from fsm.draft import Draft
from fsm.effects import Effect
from fsm.guards import attempt_of, needs_nurse
from fsm.plans_handoff import change_attempt, send_packet
from fsm.states import Declared, Phase, Reason
from fsm.states import TimerName as T
from fsm.timers import CALLBACK_WITHIN_S

Outcome = tuple[Call, tuple[Effect, ...]]


def _end(draft: Draft) -> None:
    """The call is over: no timer but the drain's."""
    draft.note(phase=Phase.ENDED)
    draft.cancel_all_but()
    draft.order(fx.DrainTail())
    draft.start(T.DRAIN)


def _open_callback(draft: Draft) -> None:
    draft.note(callback=True)
    draft.order(_callback(draft.call))


def _callback(call: Call) -> fx.OpenCallback:
    handoff = call.handoff
    return fx.OpenCallback(reason=handoff.reason or Reason.URGENT, level=handoff.level, within_s=CALLBACK_WITHIN_S)


def owed_callback(call: Call) -> fx.OpenCallback | None:
    """What the machine would still order, were the call to end as it stands and no machine there to order it.

    A caller who must have a nurse, whom none has and who is on no list. One whom a queue has and of whom no person there
    has said so yet counts as one whom none has.
    """
    handoff = call.handoff
    taken = handoff.taken and not call.runs(T.PERSON_SIGN)
    reached = handoff.bridged or taken or any(attempt.person for attempt in handoff.open)
    return None if call.callback or reached or not needs_nurse(call) else _callback(call)


def leave_before_greeting(call: Call, event: ev.HungUp) -> Outcome:
    """They hung up before we said a word."""
    draft = Draft(call)
    _end(draft)
    return draft.outcome()


def caller_left(call: Call, event: ev.HungUp) -> Outcome:
    """They hung up while we talked: end all work."""
    draft = Draft(call)
    draft.drop_reply()
    _end(draft)
    return draft.outcome()


def caller_left_waiting(call: Call, event: ev.HungUp) -> Outcome:
    """They hung up on the way to a nurse, or with one: let the nurses go."""
    draft = Draft(call)
    _leave_nurses(draft)
    _end(draft)
    return draft.outcome()


def urgent_caller_left(call: Call, event: ev.HungUp) -> Outcome:
    """They hung up and no nurse had them: somebody must ring them."""
    draft = Draft(call)
    _leave_nurses(draft)
    draft.page(alarms.URGENT_HANGUP)
    _end(draft)
    _open_callback(draft)
    return draft.outcome()


def _leave_nurses(draft: Draft) -> None:
    draft.flush()
    if draft.call.handoff.bridged:
        draft.order(fx.ReleaseNurse(attempt=draft.call.handoff.bridged, told=True))
    draft.order(fx.CancelTransfers())
    draft.note_handoff(current=0)


def hang_up(call: Call, event: ev.Event) -> Outcome:
    """The goodbye was heard to its end."""
    draft = Draft(call)
    draft.note(alive=0, reply_open=False, said=0)
    if call.paused:
        draft.flush()
    draft.order(fx.HangUp())
    _end(draft)
    return draft.outcome()


def hang_up_anyway(call: Call, event: ev.TimerFired) -> Outcome:
    """The goodbye began and its end never came."""
    draft = Draft(call)
    draft.forget(event.name)
    draft.drop_reply()
    draft.order(fx.HangUp())
    _end(draft)
    return draft.outcome()


def nurse_is_done(call: Call, event: ev.NurseFinished) -> Outcome:
    """The nurse ended the call."""
    draft = Draft(call)
    draft.order(fx.HangUp(), fx.CancelTransfers())
    _end(draft)
    return draft.outcome()


def carrier_took_caller(call: Call, event: ev.TransferAnswered) -> Outcome:
    """The REFER succeeded: the caller is with the nurse's side and hears us no more.

    Where the target is no declared person but its desk can give a person's sign, that sign is awaited.
    """
    draft = Draft(call)
    attempt = attempt_of(call, event.attempt)
    draft.flush()
    if call.handoff.bridged:
        draft.order(fx.ReleaseNurse(attempt=call.handoff.bridged, told=True))
    draft.order(fx.CancelTransfers())
    draft.note_handoff(taken=event.attempt, current=0, bridged=0)
    _end(draft)
    if attempt is not None and not attempt.person:
        rung = attempt.rung
        if rung.gives_person_sign and rung.declared is not Declared.PERSON:
            draft.start(T.PERSON_SIGN)
    return draft.outcome()


# --- after the end


def tail_drained(call: Call, event: ev.Event) -> Outcome:
    """The last words were judged (or never will be): seal, unless a person's sign is still awaited."""
    draft = Draft(call)
    draft.note(drained=True)
    draft.cancel(T.DRAIN)
    _seal_when_done(draft)
    return draft.outcome()


def drain_over(call: Call, event: ev.TimerFired) -> Outcome:
    """Two seconds are enough."""
    draft = Draft(call)
    draft.forget(event.name)
    draft.note(drained=True)
    _seal_when_done(draft)
    return draft.outcome()


def person_came(call: Call, event: ev.NurseAccepted) -> Outcome:
    """A person has the caller."""
    draft = Draft(call)
    change_attempt(draft, event.attempt, person=True)
    draft.cancel(T.PERSON_SIGN)
    _seal_when_done(draft)
    return draft.outcome()


def no_person_came(call: Call, event: ev.TimerFired) -> Outcome:
    """Nobody in the queue says that they have the caller: page, and a call-back."""
    draft = Draft(call)
    draft.forget(event.name)
    draft.page(alarms.NO_PERSON_SIGN)
    _open_callback(draft)
    _seal_when_done(draft)
    return draft.outcome()


def urgent_tail(call: Call, event: ev.UrgencyRaised) -> Outcome:
    """The last words were urgent and nobody has this caller: a call-back, and somebody is woken."""
    draft = Draft(call)
    draft.note_handoff(reason=Reason.URGENT, urgent=True, level=event.level, category=event.category, rank=event.rank)
    draft.page(alarms.URGENT_TAIL)
    _open_callback(draft)
    return draft.outcome()


def tail_for_nurse(call: Call, event: ev.UrgencyRaised) -> Outcome:
    """The last words were urgent and a nurse's side has the caller: renew the packet."""
    draft = Draft(call)
    if event.rank > call.handoff.rank:
        draft.note_handoff(level=event.level, category=event.category, rank=event.rank)
    send_packet(draft)
    return draft.outcome()


def _seal_when_done(draft: Draft) -> None:
    if draft.call.drained and not draft.call.sealed and not draft.call.runs(T.PERSON_SIGN):
        draft.note(sealed=True)
        draft.order(fx.Seal())
