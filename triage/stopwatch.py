"""Latencies of one call, from the Steps as they are taken: an observer that answers with `Measured` traces.

All figures are our process's own; the line's allowance is added where they are reported, never here.
"""

from collections.abc import Callable

from fsm import effects as fx
from fsm import events as ev
from fsm.machine import Step
from fsm.states import State
from triage.trace import Measured, StepTaken, Trace


class Stopwatch:
    """Turns Steps into turn_taking, first_sound, barge_in_pause, barge_in_stop, clip_audible and refer_sent."""

    def __init__(
        self,
        *,
        now_ns: Callable[[], int],
        onset_ns: Callable[[], int],
        word_end_ns: Callable[[int], int],
        playout_delay_ns: int,
        observe: Callable[[Trace], None],
    ) -> None:
        """`onset_ns`: when the latest voice began; `word_end_ns(turn)`: when the turn's last word ended."""
        self._now_ns, self._onset_ns, self._word_end_ns = now_ns, onset_ns, word_end_ns
        self._delay_ns, self._observe = playout_delay_ns, observe
        self._turn = 0
        self._first_sound_due = False
        self._spoken: set[int] = set()
        self._reply_due = False
        self._urgent_ns = 0

    def __call__(self, trace: Trace) -> None:
        """Take one trace; only Steps matter."""
        if isinstance(trace, StepTaken):
            self._event(trace.step)
            for effect in trace.step.effects:
                self._effect(effect, trace.step)

    def _event(self, step: Step) -> None:
        match step.event:
            case ev.TurnEnded(turn=turn) if step.after.state is State.THINKING:
                self._turn, self._first_sound_due, self._reply_due = turn, True, True
                self._spoken.clear()
            case ev.PlayoutStarted(at_ns=at_ns, playback=playback):
                audible_ns = at_ns + self._delay_ns
                if self._urgent_ns:
                    self._measured("clip_audible", audible_ns - self._urgent_ns)
                    self._urgent_ns = 0
                if self._first_sound_due:
                    self._first_sound_due = False
                    self._measured("first_sound", audible_ns - self._word_end_ns(self._turn))
                if self._reply_due and playback in self._spoken:
                    self._reply_due = False
                    self._measured("turn_taking", audible_ns - self._word_end_ns(self._turn))
            case ev.UrgencyRaised(at_ns=at_ns) if step.before.state is not State.HANDOFF:
                self._first_sound_due = self._reply_due = False
                if any(isinstance(effect, fx.Transfer) for effect in step.effects):
                    self._urgent_ns = at_ns
                    self._measured("refer_sent", self._now_ns() - at_ns)

    def _effect(self, effect: fx.Effect, step: Step) -> None:
        match effect:
            case fx.Speak(playback=playback):
                self._spoken.add(playback)
            case fx.PausePlayout():
                self._measured("barge_in_pause", self._now_ns() - self._onset_ns())
            case fx.FlushPlayout() if step.before.state in (State.INTERRUPT, State.SPEAKING) and isinstance(
                step.event, ev.WordsHeard | ev.TurnEnded
            ):
                self._measured("barge_in_stop", self._now_ns() - self._onset_ns())

    def _measured(self, name: str, ns: int) -> None:
        self._observe(Measured(at_ns=self._now_ns(), name=name, ms=ns / 1e6, turn=self._turn))
