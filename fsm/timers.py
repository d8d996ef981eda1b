"""One table of timers. Seconds, measured from the order that starts them."""

from fsm.states import TimerName as T

SECONDS: dict[T, float] = {
    # Our silence: counted from the end of the caller's speech (the table subtracts what has already passed).
    T.OURS_ACK: 0.8,
    T.OURS_FILLER: 3.0,
    T.OURS_SCRIPTED: 6.0,
    T.OURS_NURSE: 10.0,
    # The caller's silence: counted from our last audible sample, three times (6, 12, 18 s), stretched by "hold on".
    T.CALLER_SILENCE: 6.0,
    # Guard over one playback (the longest is the greeting): its end never came, so the lane or the voice is stuck.
    T.PLAYOUT: 40.0,
    # A pause of our playout is judged after this long, again and again while the voice goes on.
    T.CONFIRM: 0.6,
    # Words were heard and no turn end ever came: the recogniser is gone (its own limit is a 30 s turn).
    T.TURN_OPEN: 35.0,
    # After "press 1 if you cannot speak".
    T.WORDLESS: 6.0,
    # Guard over one attempt of the ladder; the rung's own limits are shorter.
    T.ATTEMPT: 16.0,
    T.LADDER_AGAIN: 3.0,
    # One deadline for all rungs, from the final.
    T.PERSON_DEADLINE: 10.0,
    T.NUMBER_AGAIN: 20.0,
    T.STILL_CONNECTING: 7.0,
    T.PERSON_SIGN: 10.0,
    T.CALL_TOO_LONG: 30 * 60.0,
    # The goodbye was ordered and its end never came.
    T.GOODBYE: 20.0,
    T.DRAIN: 2.0,
}
ACK_AFTER_DECISION_S = 0.3
"""An acknowledgement waits at least this long after the end of the turn was decided, however long the silence was: many
replies are audible by then, and one that has just begun would delay them."""
HOLD_S = 60.0
"""Caller's silence timer after "hold on"."""
MAX_SILENCES = 2
"""Are-you-there prompts before a nurse is called."""
MAX_UNCLEAR = 4
"""Judgements of an unclear voice before it is taken for words (we do not talk over a voice)."""
CALLBACK_WITHIN_S = 300
"""Deadline of a call-back task that the machine opens: somebody urgent went away without a nurse."""
