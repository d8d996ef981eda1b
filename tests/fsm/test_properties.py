"""Promise: whatever happens, in whatever order, late, doubled or stale, the call keeps its promises to the caller."""

import pytest
from hypothesis import given, settings

from fsm import effects as fx
from fsm import events as ev
from fsm.call import Call
from fsm.machine import Step, step
from fsm.plans_end import owed_callback
from fsm.states import Phase, Reason, State
from fsm.states import TimerName as T
from tests.fsm.moves import MOVES, Choice, calls, events_of
from tests.fsm.world import World

Choices = list[Choice]
AUDIBLE = (fx.Play, fx.Speak)
MUST = (Reason.WORDLESS, Reason.RESCUED)
"""Reasons for which a caller must have a nurse, though nothing urgent was heard."""
many = settings(max_examples=250, deadline=None)


def steps_of(choices: Choices) -> list[Step]:
    return [step(call, event) for call, event in events_of(choices)]


def ordered(decided: Step, *kinds: type[fx.Effect]) -> list[fx.Effect]:
    return [effect for effect in decided.effects if isinstance(effect, kinds)]


@given(calls)
@many
def test_after_danger_the_next_audible_order_is_its_clip_and_then_the_transfer(choices: Choices) -> None:
    for decided in steps_of(choices):
        event = decided.event
        if isinstance(event, ev.UrgencyRaised) and decided.before.state not in (State.IDLE, State.HANDOFF):
            assert decided.after.state is State.HANDOFF
            kinds = [type(effect) for effect in decided.effects]
            first = kinds.index(fx.FlushPlayout)
            assert kinds[first : first + 3] == [fx.FlushPlayout, fx.Play, fx.Transfer]
            assert set(kinds[:first]) <= {fx.CancelReply, fx.CloseSpeech}
            (clip,) = ordered(decided, *AUDIBLE)
            assert isinstance(clip, fx.Play) and clip.prompts == (event.clip,)


@given(calls)
@many
def test_once_a_nurse_is_called_no_question_is_ever_asked_again(choices: Choices) -> None:
    called = False
    for decided in steps_of(choices):
        called |= decided.after.state is State.HANDOFF
        if called:
            assert decided.after.state in (State.HANDOFF, State.IDLE)
            assert ordered(decided, fx.MakeReply, fx.Speak, fx.ResumePlayout) == []


@given(calls)
@many
def test_no_model_or_voice_work_survives_a_barge_in_a_hand_off_or_a_hang_up(choices: Choices) -> None:
    world = World()
    for decided in steps_of(choices):
        world.follow(decided)
        after = decided.after
        if after.state in (State.LISTENING, State.HANDOFF, State.IDLE):
            assert world.model == set(), decided
            assert world.voice == set(), decided
        else:
            assert world.model <= {after.alive}
            assert world.voice <= {after.alive}


@given(calls)
@many
def test_nothing_is_said_to_a_caller_who_has_gone(choices: Choices) -> None:
    for decided in steps_of(choices):
        if decided.after.phase is Phase.ENDED:
            assert ordered(decided, *AUDIBLE, fx.MakeReply, fx.ResumePlayout, fx.Transfer, fx.Whisper, fx.Bridge) == []


@given(calls)
@many
def test_ended_is_ended_and_new_is_never_again(choices: Choices) -> None:
    order = [Phase.NEW, Phase.LIVE, Phase.ENDED]
    for decided in steps_of(choices):
        assert order.index(decided.after.phase) >= order.index(decided.before.phase)
        assert (decided.after.state is State.IDLE) is (decided.after.phase is not Phase.LIVE)


@given(calls)
@many
def test_one_transfer_at_a_time_and_never_a_second_for_a_second_urgency(choices: Choices) -> None:
    for decided in steps_of(choices):
        transfers = ordered(decided, fx.Transfer)
        assert len(transfers) <= 1
        before, event = decided.before.handoff, decided.event
        if transfers and decided.before.state is State.HANDOFF:
            assert not isinstance(event, ev.UrgencyRaised | ev.NurseNeeded)
            assert not before.bridged or decided.after.handoff.bridged == 0
        if transfers and before.current:  # only what ends the current attempt may begin another
            if isinstance(event, ev.TimerFired):
                assert event.name is T.ATTEMPT
            elif isinstance(event, ev.EffectFailed):
                assert event.effect in ("Transfer", "Whisper")
                assert event.attempt in (0, before.current)
            else:
                ends = ev.TransferRefused | ev.TransferTimedOut | ev.TransferPending | ev.NurseLegLost
                assert isinstance(event, ends) and event.attempt == before.current
                assert event.attempt == before.current


@given(calls)
@many
def test_nobody_is_left_in_silence_every_wait_has_a_timer(choices: Choices) -> None:
    for decided in steps_of(choices):
        call = decided.after
        running = {name for name, _ in call.timers}
        match call.state:
            case State.LISTENING:
                assert running & {T.CALLER_SILENCE, T.TURN_OPEN}, decided
            case State.THINKING:
                assert T.OURS_NURSE in running, decided
                assert not call.paused or T.CONFIRM in running, decided
            case State.SPEAKING:
                assert running & {T.PLAYOUT, T.GOODBYE, T.OURS_NURSE}, decided
            case State.INTERRUPT:
                assert T.CONFIRM in running, decided
            case State.HANDOFF if not call.handoff.bridged:
                assert T.STILL_CONNECTING in running, decided
                assert running & {T.ATTEMPT, T.LADDER_AGAIN}, decided
                assert running & {T.PERSON_DEADLINE, T.NUMBER_AGAIN}, decided
            case State.HANDOFF:
                assert not running, "a nurse talks: nothing of ours may fire"
            case State.IDLE if call.phase is Phase.ENDED and not call.sealed:
                assert running & {T.DRAIN, T.PERSON_SIGN}, decided
            case State.IDLE:
                assert running <= {T.PERSON_SIGN}


@given(calls)
@many
def test_the_books_agree_with_the_world(choices: Choices) -> None:
    world = World()
    for decided in steps_of(choices):
        world.follow(decided)
        call = decided.after
        assert world.timers == dict(call.timers), decided
        assert world.held == call.paused, decided
        assert world.lane == [] or world.lane[-1] == call.said or call.phase is Phase.ENDED, decided
        assert not call.paused or call.state in (State.THINKING, State.INTERRUPT), "the lane is held and nobody judges"
        assert call.state is not State.INTERRUPT or call.paused


@given(calls)
@many
def test_the_four_actions_of_a_barge_in_come_in_their_order(choices: Choices) -> None:
    for decided in steps_of(choices):
        if isinstance(decided.event, ev.WordsHeard) and decided.before.state in (State.SPEAKING, State.INTERRUPT):
            four = [type(effect) for effect in decided.effects][:4]
            if decided.after.state is State.LISTENING and decided.before.alive:
                assert four == [fx.CancelReply, fx.CloseSpeech, fx.FlushPlayout, fx.TruncateHistory]
            elif decided.after.state is State.LISTENING:
                assert four[:2] == [fx.FlushPlayout, fx.TruncateHistory]


@given(calls)
@many
def test_sealed_exactly_once_and_always_in_the_end(choices: Choices) -> None:
    taken = steps_of(choices)
    call = taken[-1].after if taken else Call()
    world = World()
    for decided in taken:
        world.follow(decided)
    if call.phase is Phase.ENDED:
        while call.timers:  # nothing but time passes any more
            name, token = call.timers[0]
            decided = step(call, ev.TimerFired(at_ns=0, name=name, token=token))
            world.follow(decided)
            call = decided.after
        assert world.seals == 1
    else:
        assert world.seals == 0


@given(calls)
@many
def test_numbers_count_up_and_are_never_used_twice(choices: Choices) -> None:
    playbacks, generations, attempts, tokens = [0], [0], [0], [0]
    for decided in steps_of(choices):
        for effect in decided.effects:
            match effect:
                case fx.Play(playback=number) | fx.Speak(playback=number):
                    playbacks.append(number)
                case fx.MakeReply(generation=number):
                    generations.append(number)
                case fx.Transfer(attempt=number):
                    attempts.append(number)
                case fx.StartTimer(token=number, seconds=seconds):
                    assert seconds >= 0
                    tokens.append(number)
                case _:
                    pass
    for numbers in (playbacks, generations, attempts, tokens):
        assert numbers == list(range(len(numbers)))


@given(calls)
@many
def test_orders_that_wait_for_the_record_come_last(choices: Choices) -> None:
    for decided in steps_of(choices):
        waits = [not effect.safety for effect in decided.effects]
        assert waits == sorted(waits), decided


@given(calls)
@many
def test_an_urgent_caller_who_leaves_without_a_nurse_is_rung_back(choices: Choices) -> None:
    for decided in steps_of(choices):
        way = decided.before.handoff
        if isinstance(decided.event, ev.HungUp) and decided.before.state is State.HANDOFF:
            owed = (way.urgent or way.reason in MUST) and not way.bridged
            assert not owed or len(ordered(decided, fx.OpenCallback)) == 1


@given(calls)
@many
def test_no_call_that_has_ended_owes_anybody_a_call_back(choices: Choices) -> None:
    """Whoever was found urgent at any time, was rescued or could not speak, unless a nurse's side had them."""
    danger = promised = False
    for decided in steps_of(choices):
        after = decided.after
        danger |= isinstance(decided.event, ev.UrgencyRaised) and decided.before.phase is not Phase.NEW
        danger |= after.handoff.reason in MUST
        promised |= bool(ordered(decided, fx.OpenCallback))
        if after.phase is Phase.ENDED:
            assert promised or not danger or after.handoff.taken or after.handoff.bridged
            assert owed_callback(after) is None or after.handoff.taken, "what is asked without a machine says the same"


@given(calls)
@many
def test_same_events_same_steps(choices: Choices) -> None:
    first = steps_of(choices)
    call = Call()
    for decided in first:
        again = step(call, decided.event)
        assert again == decided
        call = again.after


@pytest.mark.parametrize("name", ["stale timer", "old finished", "old reply ended"])
def test_stale_events_change_nothing(name: str) -> None:
    call = Call()
    for move in ("connected", "finished", "words", "turn", "sentence", "started"):
        call = step(call, MOVES[move](call, 0)).after
    decided = step(call, MOVES[name](call, 0))
    assert (decided.after, decided.effects) == (call, ())
