"""What is ordered on the way to a nurse: clip and transfer in one step, the ladder, the bridge, and its loss.

Once called, a nurse is never called off by us, and no question is asked again. Until a nurse has the caller a timer
always runs, so that nobody waits in silence: `still_connecting`, and after the deadline the emergency number.
"""

from collections.abc import Callable

from fsm import alarms, prompts
from fsm import effects as fx
from fsm import events as ev
from fsm.call import Attempt, Call
from fsm.draft import NS, Draft
from fsm.effects import Effect
from fsm.events import Rung
from fsm.guards import attempt_of, needs_nurse
from fsm.states import Phase, Reason, RungKind
from fsm.states import TimerName as T
from fsm.timers import SECONDS

Outcome = tuple[Call, tuple[Effect, ...]]
OPEN_KEPT = 8
"""Attempts kept in mind; the ladder may go round for as long as the caller waits."""


# --- calling a nurse


def call_nurse(draft: Draft, clip: str) -> None:
    """The clip and the first rung, in one step and in this order; everything that can wait comes after.

    `draft.call.handoff` says why.
    """
    spoke = draft.call.alive
    draft.silence_reply()  # 1. nothing of the model's
    draft.flush()  # 2. nothing of ours
    draft.play(clip)  # 3. the caller knows
    _try_rung(draft, 0)  # 4. the nurse is called
    draft.order(fx.TruncateHistory(generation=spoke), fx.DetachTools())
    send_packet(draft)
    draft.start(T.PERSON_DEADLINE)
    draft.start(T.STILL_CONNECTING)
    _guard_attempt(draft)
    draft.cancel_all_but(T.PERSON_DEADLINE, T.STILL_CONNECTING, T.ATTEMPT, T.LADDER_AGAIN)


def raise_urgency(call: Call, event: ev.UrgencyRaised) -> Outcome:
    """Danger: the clip of its level and category, and a nurse."""
    draft = Draft(call)
    _note_urgency(draft, event)
    draft.note_handoff(emergency=event.says_number)
    call_nurse(draft, event.clip)
    return draft.outcome()


def call_for(draft: Draft, reason: Reason) -> None:
    """A nurse for a reason that is no urgent finding."""
    draft.note_handoff(reason=reason)
    call_nurse(draft, prompts.FOR_REASON[reason])


def hand_over(call: Call, event: ev.NurseNeeded) -> Outcome:
    """A nurse, for the reason that came with the event."""
    draft = Draft(call)
    call_for(draft, event.reason)
    return draft.outcome()


def hand_over_for(reason: Reason) -> Callable[[Call, ev.Event], Outcome]:
    """A nurse, for this reason."""

    def plan(call: Call, event: ev.Event) -> Outcome:
        draft = Draft(call)
        call_for(draft, reason)
        return draft.outcome()

    plan.__name__ = f"hand_over_for_{reason.value}"
    return plan


def hand_over_as_decided(call: Call, event: ev.Event) -> Outcome:
    """A nurse, as the dialogue's rules decided: the last sentence was heard, or the caller speaks over it."""
    draft = Draft(call)
    decided = event.nurse if isinstance(event, ev.ReplyEnded) else call.nurse_next
    call_for(draft, decided or Reason.DISPOSITION)
    return draft.outcome()


def rescue(call: Call, event: ev.CallConnected) -> Outcome:
    """The process of this call died and we found the caller: say so, and a nurse. Never greet twice."""
    draft = Draft(call)
    draft.note(phase=Phase.LIVE, ladder=event.ladder, urgent_ladder=event.urgent_ladder)
    call_for(draft, Reason.RESCUED)
    return draft.outcome()


def send_packet(draft: Draft) -> None:
    """Make the nurse's packet, or renew it."""
    handoff = draft.call.handoff
    reason = handoff.reason or Reason.URGENT
    draft.order(fx.SendPacket(reason=reason, level=handoff.level, category=handoff.category, rank=handoff.rank))


def _note_urgency(draft: Draft, event: ev.UrgencyRaised) -> None:
    # A classifier that failed arrives as a finding of that category; the reason says so.
    failed = event.category == Reason.CLASSIFIER_FAILED.value
    reason = Reason.CLASSIFIER_FAILED if failed else Reason.URGENT
    draft.note_handoff(reason=reason, urgent=True, level=event.level, category=event.category, rank=event.rank)


# --- urgent again


def renew_urgency(call: Call, event: ev.UrgencyRaised) -> Outcome:
    """A nurse is being called already: never a second transfer; rank and packet follow the graver finding."""
    draft = Draft(call)
    _follow_graver(draft, event)
    send_packet(draft)
    _number_in_time(draft, event)
    return draft.outcome()


def renew_and_say_number(call: Call, event: ev.UrgencyRaised) -> Outcome:
    """Now it is an emergency: the number, at once. No clip that may be running is worth more than it."""
    draft = Draft(call)
    draft.flush()
    _say_number(draft)
    draft.note_handoff(emergency=True)
    _follow_graver(draft, event)
    send_packet(draft)
    _number_in_time(draft, event)
    return draft.outcome()


def _number_in_time(draft: Draft, event: ev.UrgencyRaised) -> None:
    """The deadline counts from every urgent final, also where an earlier one has passed and the number was said then."""
    within_s = SECONDS[T.PERSON_DEADLINE]
    if draft.call.runs(T.NUMBER_AGAIN) and draft.call.handoff.number_due_ns > event.at_ns + within_s * NS:
        _number_again(draft, event, within_s)


def _follow_graver(draft: Draft, event: ev.UrgencyRaised) -> None:
    handoff = draft.call.handoff
    if not needs_nurse(draft.call):
        draft.note_handoff(rung=-1)  # the urgent ladder is another one: begin at its top when this attempt fails
    if not handoff.urgent or event.rank > handoff.rank:
        _note_urgency(draft, event)


# --- the ladder


def _rungs(call: Call) -> tuple[Rung, ...]:
    first, second = (call.urgent_ladder, call.ladder) if needs_nurse(call) else (call.ladder, call.urgent_ladder)
    return first or second


def _try_rung(draft: Draft, index: int) -> None:
    rungs = _rungs(draft.call)
    if not rungs:  # nobody can be reached: the deadline says the number, and we look again
        draft.note_handoff(current=0, rung=-1)
        return
    handoff = draft.call.handoff
    rung, number = rungs[index], handoff.attempts + 1
    kept = (*handoff.open, Attempt(number=number, rung=rung))[-OPEN_KEPT:]
    draft.note_handoff(attempts=number, current=number, open=kept, rung=index)
    draft.order(
        fx.Transfer(
            attempt=number,
            kind=rung.kind,
            target=rung.target,
            answer_within_s=rung.answer_within_s,
            reason=handoff.reason or Reason.URGENT,
            rank=handoff.rank,
        )
    )


def _guard_attempt(draft: Draft) -> None:
    """The rung's own limits are shorter; without any rung the round begins again later."""
    handoff = draft.call.handoff
    if handoff.current == 0:
        draft.cancel(T.ATTEMPT)
        draft.start(T.LADDER_AGAIN)
        return
    attempt = attempt_of(draft.call, handoff.current)
    within_s = attempt.rung.answer_within_s if attempt else 0.0
    draft.cancel(T.LADDER_AGAIN)
    draft.start(T.ATTEMPT, max(SECONDS[T.ATTEMPT], within_s + 1.0))


def next_rung(draft: Draft) -> None:
    """The next rung at once; after the last one a short rest, then from the top."""
    index = draft.call.handoff.rung + 1
    if index < len(_rungs(draft.call)):
        _try_rung(draft, index)
    else:
        draft.note_handoff(current=0, rung=-1)
    _guard_attempt(draft)


def _settle(draft: Draft, number: int) -> None:
    """An attempt comes to nothing any more."""
    handoff = draft.call.handoff
    draft.note_handoff(
        open=tuple(attempt for attempt in handoff.open if attempt.number != number),
        current=0 if handoff.current == number else handoff.current,
    )


def settle(call: Call, event: ev.TransferRefused | ev.NurseLegLost) -> Outcome:
    """An earlier attempt came to nothing; another is under way."""
    draft = Draft(call)
    _settle(draft, event.attempt)
    return draft.outcome()


def climb(call: Call, event: ev.TransferRefused | ev.TransferPending | ev.NurseLegLost) -> Outcome:
    """Refused, lost before it was bridged, or not even made: the next rung.

    It is not made where the carrier still transfers for an earlier attempt, which stays open and may yet succeed.
    """
    draft = Draft(call)
    _settle(draft, event.attempt)
    next_rung(draft)
    return draft.outcome()


def climb_from_silent(call: Call, event: ev.TransferTimedOut) -> Outcome:
    """No answer in time. The outcome is unknown: the attempt stays open while the next rung is tried."""
    draft = Draft(call)
    next_rung(draft)
    return draft.outcome()


def give_up_attempt(call: Call, event: ev.Event) -> Outcome:
    """Neither answer nor key, or its order broke: end the leg where it is ours, and the next rung."""
    draft = Draft(call)
    if isinstance(event, ev.TimerFired):
        draft.forget(event.name)
    number = call.handoff.current
    attempt = attempt_of(call, number)
    if attempt is not None and attempt.rung.kind is not RungKind.REFER:
        draft.order(fx.ReleaseNurse(attempt=number))
        _settle(draft, number)
    next_rung(draft)
    return draft.outcome()


def transfer_broke(call: Call, event: ev.EffectFailed) -> Outcome:
    """The attempt could not even be made: the next rung."""
    draft = Draft(call)
    _settle(draft, call.handoff.current)
    next_rung(draft)
    return draft.outcome()


def begin_ladder_again(call: Call, event: ev.TimerFired) -> Outcome:
    """From the top."""
    draft = Draft(call)
    draft.forget(event.name)
    next_rung(draft)
    return draft.outcome()


# --- while the caller waits


def _say_number(draft: Draft) -> None:
    draft.play(prompts.EMERGENCY_NUMBER)


def _number_again(draft: Draft, event: ev.Event, within_s: float) -> None:
    draft.start(T.NUMBER_AGAIN, within_s)
    draft.note_handoff(number_due_ns=event.at_ns + int(within_s * NS))


def no_person_in_time(call: Call, event: ev.TimerFired) -> Outcome:
    """The deadline of the whole ladder: the emergency number aloud, and somebody is woken."""
    draft = Draft(call)
    draft.forget(event.name)
    draft.flush()
    _say_number(draft)
    draft.page(alarms.HANDOFF_UNANSWERED)
    _number_again(draft, event, SECONDS[T.NUMBER_AGAIN])
    return draft.outcome()


def say_number_again(call: Call, event: ev.TimerFired) -> Outcome:
    """Still nobody: the number once more."""
    draft = Draft(call)
    draft.forget(event.name)
    draft.flush()
    _say_number(draft)
    _number_again(draft, event, SECONDS[T.NUMBER_AGAIN])
    return draft.outcome()


def still_connecting(call: Call, event: ev.TimerFired) -> Outcome:
    """Nobody waits in silence; but nothing is stacked behind a clip that is still running."""
    draft = Draft(call)
    draft.forget(event.name)
    if call.said == 0:
        draft.play(prompts.STILL_CONNECTING)
    draft.start(T.STILL_CONNECTING)
    return draft.outcome()


def number_instead(call: Call, event: ev.EffectFailed) -> Outcome:
    """A clip or a timer broke while the caller waits: try the number, once; the timers go on trying."""
    draft = Draft(call)
    draft.note_handoff(clip_broke=True)
    draft.flush()
    _say_number(draft)
    return draft.outcome()


# --- nurses


def hold_nurse(call: Call, event: ev.TransferAnswered) -> Outcome:
    """A nurse answered on our leg: one line for her alone, and she accepts by key. Voicemail does not."""
    draft = Draft(call)
    change_attempt(draft, event.attempt, held=True)
    draft.order(fx.Whisper(attempt=event.attempt))
    if event.attempt == call.handoff.current:
        _guard_attempt(draft)
    return draft.outcome()


def change_attempt(draft: Draft, number: int, *, held: bool | None = None, person: bool | None = None) -> None:
    """Note something of one open attempt."""
    changed = tuple(
        Attempt(
            number=a.number,
            rung=a.rung,
            held=a.held if held is None else held,
            person=a.person if person is None else person,
        )
        if a.number == number
        else a
        for a in draft.call.handoff.open
    )
    draft.note_handoff(open=changed)


def note_person(call: Call, event: ev.NurseAccepted) -> Outcome:
    """A person at the desk takes what the carrier is still transferring."""
    draft = Draft(call)
    change_attempt(draft, event.attempt, person=True)
    return draft.outcome()


def bridge(call: Call, event: ev.NurseAccepted) -> Outcome:
    """A person: nurse and caller hear each other, we fall silent, and every other nurse is let go."""
    draft = Draft(call)
    draft.flush()
    draft.order(fx.Bridge(attempt=event.attempt))
    for attempt in call.handoff.open:
        if attempt.number != event.attempt and attempt.rung.kind is not RungKind.REFER:
            draft.order(fx.ReleaseNurse(attempt=attempt.number, told=True))
    refers = tuple(attempt for attempt in call.handoff.open if attempt.rung.kind is RungKind.REFER)
    draft.note_handoff(bridged=event.attempt, current=0, open=refers)
    draft.cancel_all_but()
    return draft.outcome()


def release_told(call: Call, event: ev.TransferAnswered | ev.NurseAccepted) -> Outcome:
    """A nurse comes too late: the caller is served, or gone. Tell her so."""
    draft = Draft(call)
    draft.order(fx.ReleaseNurse(attempt=event.attempt, told=True))
    _settle(draft, event.attempt)
    return draft.outcome()


def reconnect(call: Call, event: ev.NurseLegLost) -> Outcome:
    """The nurse is gone and the caller is not: say so, listen again, call the next one, with a new deadline."""
    draft = Draft(call)
    _reconnect(draft)
    return draft.outcome()


def bridge_broke(call: Call, event: ev.EffectFailed) -> Outcome:
    """They could not hear each other: let this nurse go, with a word, and call the next."""
    draft = Draft(call)
    released = call.handoff.bridged
    _reconnect(draft)
    draft.order(fx.ReleaseNurse(attempt=released, told=True))
    return draft.outcome()


def _reconnect(draft: Draft) -> None:
    draft.order(fx.Listen())
    draft.flush()
    draft.play(prompts.RECONNECTING)
    draft.note_handoff(bridged=0)
    index = draft.call.handoff.rung + 1
    _try_rung(draft, index if index < len(_rungs(draft.call)) else 0)
    send_packet(draft)
    draft.start(T.PERSON_DEADLINE)
    draft.start(T.STILL_CONNECTING)
    _guard_attempt(draft)


# --- failures that only somebody else can mend


def page(alarm: str) -> Callable[[Call, ev.EffectFailed], Outcome]:
    """Wake somebody; the call goes on."""

    def plan(call: Call, event: ev.EffectFailed) -> Outcome:
        draft = Draft(call)
        draft.page(alarm)
        return draft.outcome()

    plan.__name__ = f"page_{alarm}"
    return plan
