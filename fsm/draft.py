"""What a plan writes on: the call as it will be, and the orders in their order. Lives for one step only.

The four actions of a barge-in, the numbering of playbacks, and the books of the timers are here, once.
"""

from dataclasses import replace
from typing import Any

from fsm import effects as fx
from fsm.call import Call
from fsm.states import TimerName as T
from fsm.timers import ACK_AFTER_DECISION_S, SECONDS

OURS = (T.OURS_ACK, T.OURS_FILLER, T.OURS_SCRIPTED, T.OURS_NURSE)
"""The timers of our own silence."""
NS = 1_000_000_000


class Draft:
    """The outcome of one plan in the making."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self._orders: list[fx.Effect] = []

    def outcome(self) -> tuple[Call, tuple[fx.Effect, ...]]:
        """The finished plan."""
        return self.call, tuple(self._orders)

    def note(self, **changes: Any) -> None:
        """Remember something of the call."""
        self.call = replace(self.call, **changes)

    def note_handoff(self, **changes: Any) -> None:
        """Remember something of the hand-off."""
        self.call = replace(self.call, handoff=replace(self.call.handoff, **changes))

    def order(self, *effects: fx.Effect) -> None:
        """Append orders."""
        self._orders.extend(effects)

    # --- timers

    def start(self, name: T, seconds: float | None = None) -> None:
        """Start a timer, or start it anew; its length is the table's unless given (never negative)."""
        token = self.call.token + 1
        others = tuple(pair for pair in self.call.timers if pair[0] is not name)
        self.note(timers=(*others, (name, token)), token=token)
        length = SECONDS[name] if seconds is None else max(0.0, seconds)
        self.order(fx.StartTimer(name=name, token=token, seconds=length))

    def cancel(self, *names: T) -> None:
        """Cancel those of the timers that run."""
        for name in names:
            if self.call.runs(name):
                self.forget(name)
                self.order(fx.CancelTimer(name=name))

    def cancel_all_but(self, *kept: T) -> None:
        """Cancel every running timer that is not named."""
        self.cancel(*(name for name, _ in self.call.timers if name not in kept))

    def forget(self, name: T) -> None:
        """Strike off a timer that has fired."""
        self.note(timers=tuple(pair for pair in self.call.timers if pair[0] is not name))

    def start_ours(self, *names: T, silent_ns: int = 0) -> None:
        """Start timers of our own silence, shortened by the silence that has already passed."""
        for name in names:
            least = ACK_AFTER_DECISION_S if name is T.OURS_ACK else 0.0
            self.start(name, max(least, SECONDS[name] - silent_ns / NS))

    # --- the lane

    def play(self, *prompts: str) -> None:
        """Order clips, as one playback."""
        number = self.call.playback + 1
        self.note(playback=number, said=number, clip=number)
        self.order(fx.Play(playback=number, prompts=prompts))

    def speak(self, generation: int, index: int, text: str, prompt: str | None) -> None:
        """Order one sentence of the living reply, as one playback."""
        number = self.call.playback + 1
        first = self.call.reply_from or number
        self.note(playback=number, said=number, reply_from=first, sentences=index + 1)
        self.order(fx.Speak(playback=number, generation=generation, index=index, text=text, prompt=prompt))

    def pause(self) -> None:
        """Hold the lane: somebody may be speaking."""
        self.note(paused=True, unclear=0, judged=0)
        self.order(fx.PausePlayout())
        self.start(T.CONFIRM)

    def resume(self) -> None:
        """Go on where the lane was held."""
        self.cancel(T.CONFIRM)
        self.note(paused=False)
        self.order(fx.ResumePlayout())

    def flush(self) -> None:
        """Empty the lane; a held lane is open again."""
        self.note(said=0, flushed=self.call.playback, paused=False)
        self.order(fx.FlushPlayout())

    # --- the reply

    def silence_reply(self) -> None:
        """End all model and voice work of the living reply."""
        if self.call.alive:
            self.order(fx.CancelReply(generation=self.call.alive), fx.CloseSpeech(generation=self.call.alive))
        self.note(alive=0, reply_open=False, sentences=0, ends_call=False, nurse_next=None, reply_from=0)

    def drop_reply(self) -> None:
        """The four actions of a barge-in, in their order. What was decided with the reply is undecided with it."""
        spoke = self.call.alive
        self.silence_reply()  # 1. the model's request, 2. the voice's stream
        self.flush()  # 3. the lane
        self.order(fx.TruncateHistory(generation=spoke))  # 4. what the caller never heard

    def make_reply(self, *, scripted: bool = False) -> None:
        """Order the next reply."""
        number = self.call.generation + 1
        self.note(generation=number, alive=number, reply_open=True, scripted=scripted, sentences=0, reply_from=0)
        self.order(fx.MakeReply(generation=number, turn=self.call.turn, scripted=scripted))

    # --- people

    def page(self, alarm: str) -> None:
        """Wake somebody, once per call and alarm."""
        if alarm not in self.call.paged:
            self.note(paged=(*self.call.paged, alarm))
            self.order(fx.Page(alarm=alarm))
