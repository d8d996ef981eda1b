"""What the runtime must do: orders in the imperative, plain data.

**Safety effects** (`Effect.safety`) wait for nothing: not for the record, not for a lock. All others wait until the
Step that ordered them is durable, 50 ms at most. Effects of one Step are carried out in order.
"""

from dataclasses import dataclass
from typing import ClassVar

from fsm.states import Reason, RungKind, TimerName


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """Base of everything the machine may order."""

    safety: ClassVar[bool] = False


@dataclass(frozen=True, kw_only=True, slots=True)
class SafetyEffect(Effect):
    """An order that waits for nothing."""

    safety: ClassVar[bool] = True


# --- the playout lane


@dataclass(frozen=True, kw_only=True, slots=True)
class Play(SafetyEffect):
    """Append rendered clips to the lane, as one playback."""

    playback: int
    prompts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Speak(Effect):
    """Append one sentence to the lane: its clip when `prompt` names one, else the voice."""

    playback: int
    generation: int
    index: int
    text: str
    prompt: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PausePlayout(SafetyEffect):
    """Hold the lane at the sample; nothing ordered later starts while it is held."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ResumePlayout(SafetyEffect):
    """Go on at the very next sample."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FlushPlayout(SafetyEffect):
    """Drop everything in the lane and at the line; a held lane is open again."""


# --- reply


@dataclass(frozen=True, kw_only=True, slots=True)
class MakeReply(Effect):
    """Answer this turn; sentences come back as `SentenceReady` with this generation."""

    generation: int
    turn: int
    scripted: bool = False
    """Use the scripted interviewer, whatever is configured: the model failed or is late."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CancelReply(SafetyEffect):
    """Cancel the LLM request of this generation."""

    generation: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CloseSpeech(SafetyEffect):
    """Close the TTS stream of this generation."""

    generation: int


@dataclass(frozen=True, kw_only=True, slots=True)
class TruncateHistory(SafetyEffect):
    """Cut the agent's last turn in history to what was audible, and mark it as cut off."""

    generation: int
    """0: what was cut off, if anything, was a clip."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DetachTools(SafetyEffect):
    """Let an irreversible write under way run on by itself; its result goes into the packet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeSpeech(SafetyEffect):
    """Judge now what the caller has said since the pause; answered by WordsHeard, SpeechDismissed or SpeechUnclear."""


# --- timers


@dataclass(frozen=True, kw_only=True, slots=True)
class StartTimer(SafetyEffect):
    """Send `TimerFired(name, token)` after so many seconds; replaces a running timer of that name."""

    name: TimerName
    token: int
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class CancelTimer(SafetyEffect):
    """Forget the running timer of that name, if any."""

    name: TimerName


# --- hand-off


@dataclass(frozen=True, kw_only=True, slots=True)
class Transfer(SafetyEffect):
    """Try one rung."""

    attempt: int
    kind: RungKind
    target: str
    answer_within_s: float
    reason: Reason
    rank: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SendPacket(SafetyEffect):
    """Make (or renew) the nurse's packet and offer it to the desk."""

    reason: Reason
    level: str
    category: str
    rank: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Whisper(SafetyEffect):
    """Tell the held nurse one line and wait for the accepting key."""

    attempt: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Bridge(SafetyEffect):
    """Let nurse and caller hear each other; we fall silent and stop transcribing."""

    attempt: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Listen(SafetyEffect):
    """Transcribe again (the nurse's leg was lost)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleaseNurse(SafetyEffect):
    """End one dialled leg; with `told`, after a word that the caller has gone or is served."""

    attempt: int
    told: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class CancelTransfers(SafetyEffect):
    """End every ringing or held nurse leg."""


# --- ends


@dataclass(frozen=True, kw_only=True, slots=True)
class HangUp(SafetyEffect):
    """End the caller's leg."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DrainTail(SafetyEffect):
    """Run what the caller last said through recogniser and classifier; answered by `TailDrained`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Seal(Effect):
    """Close the call's segment and put the summary into the outbox. The last order of a call.

    What the very last words order behind it (a call-back) is carried out before the segment closes.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenCallback(Effect):
    """A task with owner and deadline: somebody must ring this caller."""

    reason: Reason
    level: str
    within_s: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Page(SafetyEffect):
    """Wake somebody. `alarm` is the runbook's name."""

    alarm: str
