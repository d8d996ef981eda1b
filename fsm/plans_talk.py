"""What is ordered while we talk with the caller: greeting, listening, replies, barge-in, both kinds of silence.

In every plan the orders that wait for the record (`MakeReply`, `Speak`) come last, so that nothing stands behind them.
"""

from fsm import effects as fx
from fsm import events as ev
from fsm import prompts
from fsm.call import Call
from fsm.draft import OURS, Draft
from fsm.effects import Effect
from fsm.states import Phase, State
from fsm.states import TimerName as T
from fsm.timers import HOLD_S

Outcome = tuple[Call, tuple[Effect, ...]]
IN_REPLY = (T.OURS_FILLER, T.OURS_SCRIPTED, T.OURS_NURSE)
"""Between two sentences of a reply an acknowledgement would be out of place."""


def nothing(call: Call, event: ev.Event) -> Outcome:
    """Known, and without consequence here."""
    return call, ()


def expire(call: Call, event: ev.TimerFired) -> Outcome:
    """A timer that has nothing to do any more: strike it off, if it was the one that runs."""
    draft = Draft(call)
    if call.runs(event.name) and call.token_of(event.name) == event.token:
        draft.forget(event.name)
    return draft.outcome()


def greet(call: Call, event: ev.CallConnected) -> Outcome:
    """Begin: greeting and disclosure."""
    draft = Draft(call)
    draft.note(phase=Phase.LIVE, ladder=event.ladder, urgent_ladder=event.urgent_ladder)
    draft.play(*event.opening)
    draft.start(T.PLAYOUT)
    draft.start(T.CALL_TOO_LONG)
    return draft.outcome()


# --- we listen


def into_listening(draft: Draft) -> None:
    """The floor is the caller's and nothing is being said: their silence counts from here."""
    if draft.call.paused:
        draft.resume()
    draft.note(alive=0, reply_open=False, reply_from=0, sentences=0, scripted=False)
    draft.cancel(T.PLAYOUT, T.CONFIRM, T.TURN_OPEN, *OURS)
    draft.start(T.CALLER_SILENCE, HOLD_S if draft.call.hold else None)


def listen(call: Call, event: ev.Event) -> Outcome:
    """Give the caller the floor."""
    draft = Draft(call)
    draft.note(said=0)
    into_listening(draft)
    return draft.outcome()


def words_while_listening(call: Call, event: ev.WordsHeard) -> Outcome:
    """The caller speaks; now only the end of their turn is awaited."""
    draft = Draft(call)
    caller_is_back(draft)
    draft.start(T.TURN_OPEN)
    return draft.outcome()


def caller_is_back(draft: Draft) -> None:
    """Real words end every silence of the caller's and every doubt about their voice."""
    draft.note(silences=0, hold=False, unclear=0, judged=0)
    draft.cancel(T.CALLER_SILENCE, T.WORDLESS, T.CONFIRM)


def are_you_there(call: Call, event: ev.TimerFired) -> Outcome:
    """The caller is silent: ask."""
    draft = Draft(call)
    draft.forget(event.name)
    draft.play(prompts.ARE_YOU_THERE[call.silences])
    draft.note(silences=call.silences + 1, hold=False)
    draft.start(T.PLAYOUT)
    return draft.outcome()


def give_time(call: Call, event: ev.HoldRequested) -> Outcome:
    """The caller asked us to hold on: say that we wait, and wait longer."""
    draft = Draft(call)
    caller_is_back(draft)
    draft.drop_reply()
    draft.play(prompts.TAKE_YOUR_TIME)
    draft.note(hold=True)
    draft.cancel(T.TURN_OPEN, T.GOODBYE, *OURS)
    draft.start(T.PLAYOUT)
    return draft.outcome()


def offer_the_key(call: Call, event: ev.WordlessVoiceHeard) -> Outcome:
    """A voice without words: "press 1 if you cannot speak", and a nurse unless words come."""
    draft = Draft(call)
    draft.drop_reply()
    draft.play(prompts.PRESS_ONE)
    draft.cancel(T.CALLER_SILENCE, T.CONFIRM, T.TURN_OPEN, T.GOODBYE, *OURS)
    draft.start(T.WORDLESS)
    draft.start(T.PLAYOUT)
    return draft.outcome()


# --- we answer


def answer(call: Call, event: ev.TurnEnded) -> Outcome:
    """The caller's turn is over: make the reply; whatever we were saying is dropped."""
    draft = Draft(call)
    if call.state is not State.LISTENING:
        draft.drop_reply()
    draft.note(turn=event.turn, silences=0)
    draft.cancel(T.CALLER_SILENCE, T.WORDLESS, T.CONFIRM, T.TURN_OPEN, T.PLAYOUT, T.GOODBYE)
    draft.start_ours(*OURS, silent_ns=event.silent_ns)
    draft.make_reply()
    return draft.outcome()


def acknowledge(call: Call, event: ev.TimerFired) -> Outcome:
    """Nothing audible for a moment: a short sound that we are here."""
    return _fill(call, event, prompts.ACKNOWLEDGEMENT)


def fill(call: Call, event: ev.TimerFired) -> Outcome:
    """Nothing audible for long: say that it takes a moment."""
    return _fill(call, event, prompts.FILLER)


def _fill(call: Call, event: ev.TimerFired, prompt: str) -> Outcome:
    draft = Draft(call)
    draft.forget(event.name)
    draft.play(prompt)
    return draft.outcome()


def say(call: Call, event: ev.SentenceReady) -> Outcome:
    """The next sentence of the reply goes to the lane."""
    draft = Draft(call)
    draft.speak(event.generation, event.index, event.text, event.prompt)
    return draft.outcome()


def reply_audible(call: Call, event: ev.PlayoutStarted) -> Outcome:
    """The first sample of a reply's sentence: our silence is over."""
    draft = Draft(call)
    draft.cancel(*OURS)
    guard_playout(draft)
    return draft.outcome()


def audible_while_paused(call: Call, event: ev.PlayoutStarted) -> Outcome:
    """It began just before the pause took hold; the caller may be speaking over it."""
    draft = Draft(call)
    draft.cancel(*OURS)
    return draft.outcome()


def progress(call: Call, event: ev.PlayoutStarted) -> Outcome:
    """Another playback began: the lane is not stuck. A filler does not end our silence."""
    draft = Draft(call)
    if not call.runs(T.OURS_NURSE):
        guard_playout(draft)
    elif event.playback != call.clip:
        draft.cancel(*OURS)
        guard_playout(draft)
    return draft.outcome()


def guard_playout(draft: Draft) -> None:
    """Start the guard over what is being said: the goodbye's, or the usual one."""
    ends = draft.call.ends_call
    draft.cancel(T.PLAYOUT if ends else T.GOODBYE)
    draft.start(T.GOODBYE if ends else T.PLAYOUT)


def wait_for_more(call: Call, event: ev.Event) -> Outcome:
    """All ordered sentences were heard and the reply is not complete: our silence counts again."""
    draft = Draft(call)
    if call.paused:
        draft.resume()
    draft.note(said=0)
    draft.cancel(T.PLAYOUT)
    if not call.runs(T.OURS_NURSE):
        draft.start_ours(*IN_REPLY)
    return draft.outcome()


def clip_over(call: Call, event: ev.PlayoutFinished) -> Outcome:
    """The lane is empty; what is awaited is something else."""
    draft = Draft(call)
    draft.note(said=0)
    return draft.outcome()


def close_reply(call: Call, event: ev.ReplyEnded) -> Outcome:
    """No more sentences; what follows is decided when the last was heard."""
    draft = Draft(call)
    draft.note(reply_open=False, ends_call=event.ends_call, nurse_next=event.nurse)
    if call.state is State.SPEAKING and not call.runs(T.OURS_NURSE):
        guard_playout(draft)
    return draft.outcome()


def script_takes_turn(call: Call, event: ev.Event) -> Outcome:
    """Model or voice broke, or is late: the scripted interviewer takes the same turn."""
    draft = Draft(call)
    if isinstance(event, ev.TimerFired):
        draft.forget(event.name)
    draft.drop_reply()
    if call.paused:  # the flush opened the lane, and the caller may still be speaking
        draft.order(fx.PausePlayout())
        draft.note(paused=True)
    draft.cancel(T.PLAYOUT, T.GOODBYE)
    if not draft.call.runs(T.OURS_NURSE):
        draft.start_ours(*OURS)
    draft.make_reply(scripted=True)
    return draft.outcome()


# --- somebody speaks over us


def interrupt(call: Call, event: ev.SpeechStarted) -> Outcome:
    """Pause at once; whether it counts is judged later."""
    draft = Draft(call)
    draft.pause()
    draft.cancel(T.PLAYOUT, T.GOODBYE, *OURS)
    return draft.outcome()


def hold_back(call: Call, event: ev.SpeechStarted) -> Outcome:
    """Somebody speaks while we think: nothing of ours may start over them."""
    draft = Draft(call)
    draft.pause()
    return draft.outcome()


def judge(call: Call, event: ev.TimerFired) -> Outcome:
    """The voice goes on: have it judged now, and again."""
    draft = Draft(call)
    draft.forget(event.name)
    draft.note(judged=call.judged + 1)
    draft.order(fx.JudgeSpeech())
    draft.start(T.CONFIRM)
    return draft.outcome()


def count_unclear(call: Call, event: ev.SpeechUnclear) -> Outcome:
    """A voice, but no words: count it."""
    draft = Draft(call)
    draft.note(unclear=call.unclear + 1)
    return draft.outcome()


def go_on(call: Call, event: ev.SpeechDismissed) -> Outcome:
    """It was nothing: on at the very next sample."""
    draft = Draft(call)
    draft.resume()
    if call.state is State.INTERRUPT:
        guard_playout(draft)
    return draft.outcome()


def go_on_waiting(call: Call, event: ev.SpeechDismissed) -> Outcome:
    """It was nothing, all ordered sentences were heard, and more will come."""
    draft = Draft(call)
    draft.resume()
    draft.start_ours(*IN_REPLY)
    return draft.outcome()


def give_way(call: Call, event: ev.Event) -> Outcome:
    """Words: the four actions, and the caller has the floor until their turn ends."""
    draft = Draft(call)
    draft.drop_reply()
    caller_is_back(draft)
    draft.cancel(T.PLAYOUT, T.GOODBYE, *OURS)
    draft.start(T.TURN_OPEN)
    return draft.outcome()


def give_way_to_a_voice(call: Call, event: ev.Event) -> Outcome:
    """A voice goes on and no word of it can be told: the same four. No words may ever come, so their silence counts."""
    draft = Draft(call)
    if isinstance(event, ev.TimerFired):
        draft.forget(event.name)
    draft.drop_reply()
    draft.cancel(T.GOODBYE)
    into_listening(draft)
    return draft.outcome()
