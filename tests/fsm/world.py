"""What a call's orders do to the world outside: which work is alive, what is in the lane, which timers run.

Kept apart from the machine's own books on purpose: the tests compare the two.
"""

from dataclasses import dataclass, field

from fsm import effects as fx
from fsm import events as ev
from fsm.machine import Step
from fsm.states import TimerName


@dataclass
class World:
    """Follows the Steps of one call."""

    model: set[int] = field(default_factory=set)
    """Generations whose LLM request is open."""
    voice: set[int] = field(default_factory=set)
    """Generations whose TTS stream is open."""
    lane: list[int] = field(default_factory=list)
    held: bool = False
    timers: dict[TimerName, int] = field(default_factory=dict)
    seals: int = 0
    transfers: int = 0

    def follow(self, step: Step) -> None:
        """First what happened, then what was ordered."""
        self._happened(step.event)
        for effect in step.effects:
            self._ordered(effect)

    def _happened(self, event: ev.Event) -> None:
        match event:
            case ev.ReplyEnded(generation=generation):
                self.model.discard(generation)
            case ev.EffectFailed(effect="MakeReply", generation=generation):
                self.model.discard(generation)
            case ev.PlayoutFinished(playback=playback) if self.lane and playback == self.lane[-1]:
                self.lane.clear()
                self.voice.clear()
            case ev.TimerFired(name=name, token=token) if self.timers.get(name) == token:
                del self.timers[name]
            case _:
                pass

    def _ordered(self, effect: fx.Effect) -> None:
        match effect:
            case fx.MakeReply(generation=generation):
                self.model.add(generation)
            case fx.Speak(generation=generation, playback=playback):
                self.voice.add(generation)
                self.lane.append(playback)
            case fx.Play(playback=playback):
                self.lane.append(playback)
            case fx.CancelReply(generation=generation):
                self.model.discard(generation)
            case fx.CloseSpeech(generation=generation):
                self.voice.discard(generation)
            case fx.FlushPlayout():
                self.lane.clear()
                self.held = False
            case fx.PausePlayout():
                self.held = True
            case fx.ResumePlayout():
                self.held = False
            case fx.StartTimer(name=name, token=token):
                self.timers[name] = token
            case fx.CancelTimer(name=name):
                self.timers.pop(name, None)
            case fx.Seal():
                self.seals += 1
            case fx.Transfer():
                self.transfers += 1
            case _:
                pass
