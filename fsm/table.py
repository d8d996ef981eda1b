"""Every rule of the call, one row each. Read this file to know the product.

A row says: on this event, in one of these states, if the guard holds, do what the plan orders and go there (None: stay).
Rows of one cell (event, state) are tried from top to bottom; the last has no guard, so that no cell can fall silent.
What belongs to no row above it is an explicit `nothing`. What is finer than a state is asked by the guards
(`fsm.guards`); what is ordered stands in the plans: `plans_talk`, `plans_handoff`, `plans_end`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fsm import alarms
from fsm import effects as fx
from fsm import events as ev
from fsm import guards as g
from fsm import plans_end as end
from fsm import plans_handoff as nurse
from fsm import plans_talk as talk
from fsm.call import Call
from fsm.guards import always, both, broke, fired
from fsm.states import Reason as R
from fsm.states import State as S
from fsm.states import TimerName as T

E = TypeVar("E", bound=ev.Event)
Outcome = tuple[Call, tuple[fx.Effect, ...]]


@dataclass(frozen=True)
class Rule(Generic[E]):
    """On `event` in one of `source`, if `when`: do what `plan` says and go to `dest` (None: stay)."""

    event: type[E]
    source: tuple[S, ...]
    dest: S | None
    plan: Callable[[Call, E], Outcome]
    when: Callable[[Call, E], bool] = always


def all_but(*states: S) -> tuple[S, ...]:
    """Every state that is not named."""
    return tuple(state for state in S if state not in states)


ANY = tuple(S)
IDLE = (S.IDLE,)
LISTENING = (S.LISTENING,)
THINKING = (S.THINKING,)
SPEAKING = (S.SPEAKING,)
INTERRUPT = (S.INTERRUPT,)
HANDOFF = (S.HANDOFF,)
LIVE = all_but(S.IDLE)
TALK = (S.LISTENING, S.THINKING, S.SPEAKING, S.INTERRUPT)
"""Live, and no nurse was called."""
REPLY = (S.THINKING, S.SPEAKING, S.INTERRUPT)
"""A reply or a clip of ours is under way."""

for_reason = nurse.hand_over_for
nothing = talk.nothing

# fmt: off
TABLE: tuple[Rule[Any], ...] = (
    # --- Danger first: nothing below may shadow it.
    Rule(ev.UrgencyRaised,      TALK,           S.HANDOFF,   nurse.raise_urgency),
    Rule(ev.UrgencyRaised,      HANDOFF,        None,        nurse.renew_and_say_number, when=g.new_emergency),
    Rule(ev.UrgencyRaised,      HANDOFF,        None,        nurse.renew_urgency),
    Rule(ev.UrgencyRaised,      IDLE,           None,        end.tail_for_nurse,     when=g.with_nurse),
    Rule(ev.UrgencyRaised,      IDLE,           None,        nothing,                when=g.outranked),
    Rule(ev.UrgencyRaised,      IDLE,           None,        end.urgent_tail,        when=g.ended),
    Rule(ev.UrgencyRaised,      IDLE,           None,        nothing),

    Rule(ev.NurseNeeded,        TALK,           S.HANDOFF,   nurse.hand_over),
    Rule(ev.NurseNeeded,        (*IDLE, *HANDOFF), None,     nothing),

    Rule(ev.KeyPressed,         TALK,           S.HANDOFF,   for_reason(R.PRESSED_ZERO), when=g.pressed_zero),
    Rule(ev.KeyPressed,         TALK,           S.HANDOFF,   for_reason(R.WORDLESS), when=g.pressed_one),
    Rule(ev.KeyPressed,         ANY,            None,        nothing),

    Rule(ev.WordlessVoiceHeard, TALK,           None,        nothing,                when=g.offered_the_key),
    Rule(ev.WordlessVoiceHeard, TALK,           S.HANDOFF,   nurse.hand_over_as_decided, when=g.nurse_follows),
    Rule(ev.WordlessVoiceHeard, TALK,           S.SPEAKING,  talk.offer_the_key),
    Rule(ev.WordlessVoiceHeard, (*IDLE, *HANDOFF), None,     nothing),

    # --- The call begins, and the caller leaves.
    Rule(ev.CallConnected,      IDLE,           S.HANDOFF,   nurse.rescue,           when=g.new_and_known),
    Rule(ev.CallConnected,      IDLE,           S.SPEAKING,  talk.greet,             when=g.new),
    Rule(ev.CallConnected,      ANY,            None,        nothing),

    Rule(ev.HungUp,             TALK,           S.IDLE,      end.caller_left),
    Rule(ev.HungUp,             HANDOFF,        S.IDLE,      end.urgent_caller_left, when=g.urgent_and_alone),
    Rule(ev.HungUp,             HANDOFF,        S.IDLE,      end.caller_left_waiting),
    Rule(ev.HungUp,             IDLE,           None,        end.leave_before_greeting, when=g.new),
    Rule(ev.HungUp,             IDLE,           None,        nothing),

    Rule(ev.TailDrained,        IDLE,           None,        end.tail_drained,       when=g.ended),
    Rule(ev.TailDrained,        ANY,            None,        nothing),

    # --- The caller speaks. Over us: pause first, cancel on words.
    Rule(ev.SpeechStarted,      SPEAKING,       None,        nothing,                when=g.offered_the_key),
    Rule(ev.SpeechStarted,      SPEAKING,       S.INTERRUPT, talk.interrupt),
    Rule(ev.SpeechStarted,      THINKING,       None,        nothing,                when=g.paused),
    Rule(ev.SpeechStarted,      THINKING,       None,        talk.hold_back),
    Rule(ev.SpeechStarted,      (S.IDLE, S.LISTENING, S.INTERRUPT, S.HANDOFF), None, nothing),

    Rule(ev.WordsHeard,         LISTENING,      None,        talk.words_while_listening),
    Rule(ev.WordsHeard,         REPLY,          S.HANDOFF,   nurse.hand_over_as_decided, when=g.nurse_follows),
    Rule(ev.WordsHeard,         REPLY,          S.LISTENING, talk.give_way),
    Rule(ev.WordsHeard,         (*IDLE, *HANDOFF), None,     nothing),

    Rule(ev.TurnEnded,          TALK,           None,        nothing,                when=g.old_turn),
    Rule(ev.TurnEnded,          TALK,           S.HANDOFF,   nurse.hand_over_as_decided, when=g.nurse_follows),
    Rule(ev.TurnEnded,          TALK,           S.THINKING,  talk.answer),
    Rule(ev.TurnEnded,          (*IDLE, *HANDOFF), None,     nothing),

    Rule(ev.SpeechDismissed,    INTERRUPT,      S.SPEAKING,  talk.go_on_waiting,     when=both(g.lane_empty, g.more_to_come)),
    Rule(ev.SpeechDismissed,    INTERRUPT,      S.HANDOFF,   nurse.hand_over_as_decided, when=both(g.lane_empty, g.nurse_follows)),
    Rule(ev.SpeechDismissed,    INTERRUPT,      S.IDLE,      end.hang_up,            when=both(g.lane_empty, g.goodbye_said)),
    Rule(ev.SpeechDismissed,    INTERRUPT,      S.LISTENING, talk.listen,            when=g.lane_empty),
    Rule(ev.SpeechDismissed,    INTERRUPT,      S.SPEAKING,  talk.go_on),
    Rule(ev.SpeechDismissed,    THINKING,       None,        talk.go_on,             when=g.paused),
    Rule(ev.SpeechDismissed,    LISTENING,      None,        talk.listen,            when=g.turn_open),
    Rule(ev.SpeechDismissed,    all_but(S.INTERRUPT), None,  nothing),

    Rule(ev.SpeechUnclear,      (*THINKING, *INTERRUPT), S.LISTENING, talk.give_way_to_a_voice, when=g.unclear_too_often),
    Rule(ev.SpeechUnclear,      (*THINKING, *INTERRUPT), None, talk.count_unclear,   when=g.paused),
    Rule(ev.SpeechUnclear,      ANY,            None,        nothing),

    Rule(ev.HoldRequested,      TALK,           S.HANDOFF,   nurse.hand_over_as_decided, when=g.nurse_follows),
    Rule(ev.HoldRequested,      TALK,           S.SPEAKING,  talk.give_time),
    Rule(ev.HoldRequested,      (*IDLE, *HANDOFF), None,     nothing),

    # --- We answer.
    Rule(ev.SentenceReady,      REPLY,          None,        talk.say,               when=g.next_sentence),
    Rule(ev.SentenceReady,      ANY,            None,        nothing),

    Rule(ev.ReplyEnded,         REPLY,          None,        nothing,                when=g.old_reply),
    Rule(ev.ReplyEnded,         THINKING,       S.HANDOFF,   nurse.hand_over_as_decided, when=both(g.empty_reply, g.nurse_decided)),
    Rule(ev.ReplyEnded,         THINKING,       None,        talk.script_takes_turn, when=both(g.empty_reply, g.not_yet_scripted)),
    Rule(ev.ReplyEnded,         THINKING,       S.HANDOFF,   for_reason(R.STAGE_FAILED), when=g.empty_reply),
    Rule(ev.ReplyEnded,         SPEAKING,       S.HANDOFF,   nurse.hand_over_as_decided, when=both(g.lane_empty, g.nurse_decided)),
    Rule(ev.ReplyEnded,         SPEAKING,       S.IDLE,      end.hang_up,            when=both(g.lane_empty, g.goodbye_over)),
    Rule(ev.ReplyEnded,         SPEAKING,       S.LISTENING, talk.listen,            when=g.lane_empty),
    Rule(ev.ReplyEnded,         REPLY,          None,        talk.close_reply),
    Rule(ev.ReplyEnded,         (S.IDLE, S.LISTENING, S.HANDOFF), None, nothing),

    Rule(ev.PlayoutStarted,     THINKING,       S.INTERRUPT, talk.audible_while_paused, when=both(g.of_reply, g.paused)),
    Rule(ev.PlayoutStarted,     THINKING,       S.SPEAKING,  talk.reply_audible,     when=g.of_reply),
    Rule(ev.PlayoutStarted,     SPEAKING,       None,        talk.progress,          when=g.in_lane),
    Rule(ev.PlayoutStarted,     ANY,            None,        nothing),

    Rule(ev.PlayoutFinished,    LIVE,           None,        nothing,                when=g.old_playback),
    Rule(ev.PlayoutFinished,    THINKING,       None,        talk.clip_over,         when=g.not_of_reply),
    Rule(ev.PlayoutFinished,    (*THINKING, *SPEAKING), S.SPEAKING, talk.wait_for_more, when=g.more_to_come),
    Rule(ev.PlayoutFinished,    (*THINKING, *SPEAKING), S.HANDOFF, nurse.hand_over_as_decided, when=g.nurse_follows),
    Rule(ev.PlayoutFinished,    (*THINKING, *SPEAKING), S.IDLE, end.hang_up,         when=g.goodbye_said),
    Rule(ev.PlayoutFinished,    (*THINKING, *SPEAKING), S.LISTENING, talk.listen),
    Rule(ev.PlayoutFinished,    (S.LISTENING, S.INTERRUPT, S.HANDOFF), None, talk.clip_over),
    Rule(ev.PlayoutFinished,    IDLE,           None,        nothing),

    # --- Time passes. A timer whose row is not here for a state has nothing to do there.
    Rule(ev.TimerFired,         TALK,           S.HANDOFF,   for_reason(R.WORDLESS), when=fired(T.WORDLESS)),
    Rule(ev.TimerFired,         TALK,           S.HANDOFF,   for_reason(R.TOO_LONG), when=fired(T.CALL_TOO_LONG)),
    Rule(ev.TimerFired,         LISTENING,      S.HANDOFF,   for_reason(R.SILENT),   when=both(fired(T.CALLER_SILENCE), g.silent_too_often)),
    Rule(ev.TimerFired,         LISTENING,      S.SPEAKING,  talk.are_you_there,     when=fired(T.CALLER_SILENCE)),
    Rule(ev.TimerFired,         LISTENING,      S.HANDOFF,   for_reason(R.STAGE_FAILED), when=fired(T.TURN_OPEN)),
    Rule(ev.TimerFired,         THINKING,       None,        talk.acknowledge,       when=both(fired(T.OURS_ACK), g.room_for_a_clip)),
    Rule(ev.TimerFired,         THINKING,       None,        talk.fill,              when=both(fired(T.OURS_FILLER), g.room_for_a_clip)),
    Rule(ev.TimerFired,         THINKING,       None,        talk.script_takes_turn, when=both(fired(T.OURS_FILLER), g.voice_is_late)),
    Rule(ev.TimerFired,         SPEAKING,       None,        talk.fill,              when=both(fired(T.OURS_FILLER), g.lane_empty)),
    Rule(ev.TimerFired,         (*THINKING, *SPEAKING), S.THINKING, talk.script_takes_turn, when=both(fired(T.OURS_SCRIPTED), g.not_yet_scripted)),
    Rule(ev.TimerFired,         (*THINKING, *SPEAKING), S.HANDOFF, for_reason(R.NO_REPLY), when=fired(T.OURS_NURSE)),
    Rule(ev.TimerFired,         SPEAKING,       S.HANDOFF,   for_reason(R.STAGE_FAILED), when=fired(T.PLAYOUT)),
    Rule(ev.TimerFired,         SPEAKING,       S.IDLE,      end.hang_up_anyway,     when=fired(T.GOODBYE)),
    Rule(ev.TimerFired,         (*THINKING, *INTERRUPT), S.LISTENING, talk.give_way_to_a_voice, when=both(fired(T.CONFIRM), g.judged_too_often)),
    Rule(ev.TimerFired,         (*THINKING, *INTERRUPT), None, talk.judge,           when=fired(T.CONFIRM)),
    Rule(ev.TimerFired,         HANDOFF,        None,        nurse.give_up_attempt,  when=fired(T.ATTEMPT)),
    Rule(ev.TimerFired,         HANDOFF,        None,        nurse.begin_ladder_again, when=fired(T.LADDER_AGAIN)),
    Rule(ev.TimerFired,         HANDOFF,        None,        nurse.no_person_in_time, when=fired(T.PERSON_DEADLINE)),
    Rule(ev.TimerFired,         HANDOFF,        None,        nurse.say_number_again, when=fired(T.NUMBER_AGAIN)),
    Rule(ev.TimerFired,         HANDOFF,        None,        nurse.still_connecting, when=fired(T.STILL_CONNECTING)),
    Rule(ev.TimerFired,         IDLE,           None,        end.drain_over,         when=fired(T.DRAIN)),
    Rule(ev.TimerFired,         IDLE,           None,        end.no_person_came,     when=fired(T.PERSON_SIGN)),
    Rule(ev.TimerFired,         ANY,            None,        talk.expire),

    # --- The way to a nurse. Only the current attempt moves the ladder; a late success is honoured.
    Rule(ev.TransferAccepted,   ANY,            None,        nothing),
    Rule(ev.TransferRinging,    ANY,            None,        nothing),
    Rule(ev.TransferPending,    HANDOFF,        None,        nurse.climb,            when=g.current),  # the earlier one stands
    Rule(ev.TransferPending,    ANY,            None,        nothing),

    Rule(ev.TransferAnswered,   HANDOFF,        S.IDLE,      end.carrier_took_caller, when=g.takes_caller),
    Rule(ev.TransferAnswered,   HANDOFF,        None,        nothing,                when=g.never_ordered),
    Rule(ev.TransferAnswered,   HANDOFF,        None,        nothing,                when=g.held_already),
    Rule(ev.TransferAnswered,   HANDOFF,        None,        nurse.release_told,     when=g.bridged),
    Rule(ev.TransferAnswered,   HANDOFF,        None,        nurse.release_told,     when=g.settled),
    Rule(ev.TransferAnswered,   HANDOFF,        None,        nurse.hold_nurse),
    Rule(ev.TransferAnswered,   IDLE,           None,        nurse.release_told,     when=both(g.ended, g.by_dialled_leg)),
    Rule(ev.TransferAnswered,   (*IDLE, *TALK), None,        nothing),

    Rule(ev.TransferRefused,    HANDOFF,        None,        nurse.climb,            when=g.current),
    Rule(ev.TransferRefused,    HANDOFF,        None,        nurse.settle,           when=g.still_open),
    Rule(ev.TransferRefused,    ANY,            None,        nothing),
    Rule(ev.TransferTimedOut,   HANDOFF,        None,        nurse.climb_from_silent, when=g.current),
    Rule(ev.TransferTimedOut,   ANY,            None,        nothing),

    Rule(ev.NurseAccepted,      HANDOFF,        None,        nurse.note_person,      when=g.by_refer),
    Rule(ev.NurseAccepted,      HANDOFF,        None,        nothing,                when=g.never_ordered),
    Rule(ev.NurseAccepted,      HANDOFF,        None,        nothing,                when=g.by_bridged_nurse),
    Rule(ev.NurseAccepted,      HANDOFF,        None,        nurse.release_told,     when=g.bridged),
    Rule(ev.NurseAccepted,      HANDOFF,        None,        nurse.release_told,     when=g.settled),
    Rule(ev.NurseAccepted,      HANDOFF,        None,        nurse.bridge),
    Rule(ev.NurseAccepted,      IDLE,           None,        end.person_came,        when=g.of_taken_caller),
    Rule(ev.NurseAccepted,      IDLE,           None,        nurse.release_told,     when=both(g.ended, g.by_dialled_leg)),
    Rule(ev.NurseAccepted,      (*IDLE, *TALK), None,        nothing),

    Rule(ev.NurseLegLost,       HANDOFF,        None,        nurse.reconnect,        when=g.by_bridged_nurse),
    Rule(ev.NurseLegLost,       HANDOFF,        None,        nurse.climb,            when=g.current),
    Rule(ev.NurseLegLost,       HANDOFF,        None,        nurse.settle,           when=g.still_open),
    Rule(ev.NurseLegLost,       ANY,            None,        nothing),

    Rule(ev.NurseFinished,      HANDOFF,        S.IDLE,      end.nurse_is_done,      when=g.bridged),
    Rule(ev.NurseFinished,      ANY,            None,        nothing),

    # --- Orders break. Deaf, dumb or without a clock, we are no use to the caller: a nurse.
    Rule(ev.EffectFailed,       IDLE,           None,        nurse.page(alarms.CALLBACK_LOST), when=broke(fx.OpenCallback)),
    Rule(ev.EffectFailed,       IDLE,           None,        end.tail_drained,       when=both(g.ended, broke(fx.DrainTail))),
    Rule(ev.EffectFailed,       IDLE,           None,        nurse.page(alarms.AUDIT_STORE), when=broke(fx.Seal)),
    Rule(ev.EffectFailed,       ANY,            None,        nurse.page(alarms.AUDIT_STORE), when=g.store_broke),
    Rule(ev.EffectFailed,       TALK,           S.HANDOFF,   for_reason(R.STAGE_FAILED), when=g.recogniser_broke),
    Rule(ev.EffectFailed,       TALK,           S.HANDOFF,   for_reason(R.STAGE_FAILED),
         when=broke(fx.Play, fx.ResumePlayout, fx.FlushPlayout, fx.StartTimer)),
    Rule(ev.EffectFailed,       REPLY,          S.HANDOFF,   nurse.hand_over_as_decided, when=both(g.reply_broke, g.nurse_follows)),
    Rule(ev.EffectFailed,       REPLY,          S.THINKING,  talk.script_takes_turn, when=both(g.reply_broke, g.not_yet_scripted)),
    Rule(ev.EffectFailed,       REPLY,          S.HANDOFF,   for_reason(R.STAGE_FAILED), when=g.reply_broke),
    Rule(ev.EffectFailed,       HANDOFF,        None,        nurse.transfer_broke,   when=both(broke(fx.Transfer), g.about_current)),
    Rule(ev.EffectFailed,       HANDOFF,        None,        nurse.give_up_attempt,  when=both(broke(fx.Whisper), g.about_current)),
    Rule(ev.EffectFailed,       HANDOFF,        None,        nurse.bridge_broke,     when=both(broke(fx.Bridge), g.bridged)),
    Rule(ev.EffectFailed,       HANDOFF,        None,        nurse.number_instead,   when=both(broke(fx.Play, fx.StartTimer), g.first_broken_clip)),
    Rule(ev.EffectFailed,       HANDOFF,        None,        nurse.page(alarms.PACKET_UNDELIVERED), when=broke(fx.SendPacket)),
    Rule(ev.EffectFailed,       ANY,            None,        nothing),
)
# fmt: on
