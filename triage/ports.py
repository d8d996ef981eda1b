"""The seams of the service: what the runtime needs of the world, as Protocols.

Each port has one contract-test class (`tests/contracts/`) that runs over every implementation. Implementations raise
`StageError` subclasses and nothing else. Audio inside is int16 mono 16 kHz in 20 ms frames (`FRAME` samples); positions
are samples since the call connected. Nothing here waits by a clock of its own: the asyncio loop's time is the only one.
"""

from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fsm.events import Rung

RATE = 16_000
"""Samples per second inside the service."""
FRAME = 320
"""Samples per frame: 20 ms."""

Pcm = NDArray[np.int16]


# --- line


@dataclass(frozen=True, slots=True)
class Frame:
    """20 ms of the caller's audio."""

    pcm: Pcm
    """FRAME samples."""
    start: int
    """Position of its first sample since connect."""


class SignalKind(StrEnum):
    """What a line reports beside audio."""

    KEY = "key"  # DTMF from the caller; `value` is the digit
    HUNG_UP = "hung_up"  # the caller's leg ended
    ACCEPTED = "accepted"  # attempt: 202 / 100
    RINGING = "ringing"
    ANSWERED = "answered"  # a dialled nurse leg answered, held; or REFER's final 200
    REFUSED = "refused"  # `value` is the SIP status
    TIMED_OUT = "timed_out"  # outcome unknown
    PENDING = "pending"  # already being transferred
    NURSE_KEY = "nurse_key"  # the nurse pressed the accepting key
    NURSE_LOST = "nurse_lost"  # a dialled leg ended
    NURSE_DONE = "nurse_done"


@dataclass(frozen=True, slots=True)
class LineSignal:
    """One report of the line."""

    kind: SignalKind
    attempt: int = 0
    """Which transfer attempt it belongs to; 0 for the caller's leg."""
    value: str = ""
    takes_caller: bool = False
    """ANSWERED on a REFER: the carrier has taken the caller away from us."""
    source: str = "carrier"
    """Who says so: own clock, carrier, desk."""


@dataclass(frozen=True, slots=True)
class ShownNumber:
    """The caller's number as the network tells it; nobody has read it back."""

    number: str = ""
    """Empty where there is none."""
    withheld: bool = False
    """The caller asked that it be shown to nobody: it is for ringing them back, and leaves us on no other way."""


class Line(Protocol):
    """One caller's leg, with the signalling to reach nurses."""

    playout_delay: int
    """Samples between our send() and the caller's ear that are always there (a constant of the line)."""

    async def connect(self) -> None:
        """Answer the call; audio flows afterwards."""
        ...

    def frames(self) -> AsyncIterator[Frame]:
        """The caller's audio in order, gapless; ends when the leg has ended."""
        ...

    def signals(self) -> AsyncIterator[LineSignal]:
        """Everything the line reports; ends when the leg has ended and every attempt is settled."""
        ...

    def send(self, pcm: Pcm) -> None:
        """Accept up to FRAME samples for the caller, at once, never waiting. The caller hears silence when nothing is sent."""
        ...

    def queued(self) -> int:
        """Samples accepted and not yet on their way out."""
        ...

    def drop(self) -> int:
        """Forget what is queued at the line; returns how many samples that were."""
        ...

    def transfer(self, attempt: int, rung: Rung, *, code: str, timeout_s: float) -> None:
        """Start one attempt (REFER or dial) with the opaque packet code in a header; results come as signals."""
        ...

    def whisper(self, attempt: int, pcm: Pcm) -> None:
        """Say one line to the held nurse alone; the accepting key comes as NURSE_KEY."""
        ...

    def bridge(self, attempt: int) -> None:
        """Let nurse and caller hear each other."""
        ...

    def release(self, attempt: int, pcm: Pcm | None = None) -> None:
        """End a dialled leg, after saying `pcm` to it where given. Unknown attempts are ignored."""
        ...

    async def hang_up(self) -> None:
        """End the caller's leg. Idempotent."""
        ...

    async def close(self, *, keep_caller: bool = False) -> None:
        """Free everything; idempotent. The caller's leg ends, unless it is kept for somebody who comes after us."""
        ...


# --- voice activity


@dataclass(frozen=True, slots=True)
class VoiceWindow:
    """One decision of the detector."""

    end: int
    """Position just after the window's last sample."""
    probability: float


class VoiceActivity(Protocol):
    """Speech or not, window by window. Synchronous, well under a millisecond."""

    window: int
    """Samples per decision."""

    def feed(self, frame: Frame) -> list[VoiceWindow]:
        """Decisions that this frame completes (none, one or more)."""
        ...

    def reset(self) -> None:
        """Forget everything heard; the next frame may start anywhere."""
        ...


# --- speech to text


@dataclass(frozen=True, slots=True)
class Word:
    """One recognised word."""

    text: str
    confidence: float | None
    """0 to 1; None where the recogniser has none (yet)."""
    start: int = 0
    end: int = 0
    """Positions in samples since connect; 0 where unknown."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """What the recogniser returned for one utterance, so far (interim) or for good (final)."""

    utterance: int
    """Counts up; a new one starts after each final."""
    final: bool
    text: str
    words: tuple[Word, ...]
    start: int
    """Position where the utterance began."""
    end: int
    """Position up to which audio was heard."""
    ends_turn: bool | None = None
    """The recogniser's own turn model; None where it has none."""


class SpeechToText(Protocol):
    """A stream of one caller's audio in, transcripts out."""

    name: str
    local: bool
    """Local recognisers serve demos and tests only, and say so at start."""

    async def start(self) -> None:
        """Be ready for audio.

        Raises:
            Unavailable: the engine cannot start.
        """
        ...

    def feed(self, frame: Frame, *, voiced: bool) -> None:
        """Take audio in order; never waits. `voiced`: the VAD's gate (with its lead-in) is open."""
        ...

    def finish_utterance(self) -> None:
        """The VAD heard the end, or a judgement is due: return a final of what was heard (an empty one too)."""
        ...

    def transcripts(self) -> AsyncIterator[Transcript]:
        """Interims and finals in order; ends after close().

        Raises:
            StageError: the recogniser died; nothing more will come.
        """
        ...

    async def close(self) -> None:
        """Stop and free; idempotent."""
        ...


# --- dialogue and language model


@dataclass(frozen=True, slots=True)
class LineSaid:
    """One entry of history: what a party said, as far as it was audible."""

    speaker: str
    """caller or agent."""
    text: str
    turn: int
    cut_off: bool = False


@dataclass(frozen=True, slots=True)
class Saying:
    """One sentence the dialogue rules want said next."""

    text: str
    prompt: str | None = None
    """Id of the fixed wording; a rendered clip exists. None: it must be voiced."""
    question: bool = False
    fallback: str | None = None
    """Id of the fixed wording to play when `prompt` is None and there is no voice."""


@dataclass(frozen=True, slots=True)
class ReplyRequest:
    """What a model may put into words: the rules' own next sentences and the history."""

    generation: int
    turn: int
    heard: str
    sayings: tuple[Saying, ...]
    history: tuple[LineSaid, ...] = ()
    language: str = "en"


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of a reply."""

    text: str


@dataclass(frozen=True, slots=True)
class FixedSentence:
    """A whole sentence in fixed wording."""

    saying: Saying


@dataclass(frozen=True, slots=True)
class Usage:
    """What a reply cost."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0


class LanguageModel(Protocol):
    """Words the next reply. It decides nothing."""

    name: str
    local: bool

    def reply(self, request: ReplyRequest) -> AsyncIterator[TextDelta | FixedSentence | Usage]:
        """Stream one reply. Closing the iterator (or cancelling its task) cancels the request.

        Raises:
            StageError: in the stream, when the engine fails.
        """
        ...

    async def close(self) -> None:
        """Free; idempotent."""
        ...


# --- text to speech


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A word of synthesised speech; positions in samples from the sentence's first."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class SpeechChunk:
    """A piece of synthesised speech."""

    pcm: Pcm
    words: tuple[SpokenWord, ...] = ()
    """Words that begin in this chunk or were learned with it; positions count from the sentence's first sample."""


class TextToSpeech(Protocol):
    """Voices one sentence."""

    name: str
    local: bool

    def speak(self, text: str, *, language: str = "en") -> AsyncIterator[SpeechChunk]:
        """Stream one sentence. Closing the iterator (or cancelling its task) stops the work.

        Raises:
            StageError: in the stream, when the engine fails.
        """
        ...

    async def close(self) -> None:
        """Free; idempotent."""
        ...


# --- nurses


@dataclass(frozen=True, slots=True)
class Packet:
    """What the nurse reads before saying hello. SBAR; made from findings without a model."""

    code: str
    """Opaque; travels in a SIP header; opens only when claimed."""
    call_id: str
    made_ns: int
    rank: int
    level: str
    category: str
    reason: str
    situation: Mapping[str, str]
    background: Mapping[str, str]
    assessment: Mapping[str, str]
    recommendation: Mapping[str, str]
    version: int = 1
    """Counts up when the packet is renewed while the caller waits."""
    declined: bool = False
    """The caller declined the record: the nurse who claims it reads their words, no other system is given them."""


class NurseDesk(Protocol):
    """Directory of targets, and where packets go."""

    def ladder(self, *, urgent: bool, media_during_refer: bool) -> tuple[Rung, ...]:
        """Rungs in order. With `media_during_refer` False, urgent calls get no REFER where anybody can be dialled."""
        ...

    def offer(self, packet: Packet) -> None:
        """Put a packet on the desk (again, when renewed); never waits, never raises."""
        ...


# --- record, keys, tools


class Receipt(Protocol):
    """Durability of one record."""

    def done(self) -> bool:
        """Whether the record is durable (or has failed)."""
        ...

    def wait(self) -> Awaitable[None]:
        """Wait until it is durable.

        Raises:
            Exception: neither the store nor the spool took it (yet); the writer goes on trying.
        """
        ...


class AuditStore(Protocol):
    """Durable, ordered storage for sealed records. Called from the writer's thread."""

    def append(self, rows: list[Any]) -> None:
        """Write rows in one transaction; returns when durable.

        Raises:
            Exception: nothing was written.
        """
        ...


class Keyring(Protocol):
    """Holds the reader's key pair. Writers get the public half only."""

    def public_key(self) -> bytes:
        """32 raw bytes to which data keys are wrapped."""
        ...

    def private_key(self) -> bytes:
        """32 raw bytes.

        Raises:
            StorageError: this process has no right or no file to read.
        """
        ...


class Latency(StrEnum):
    """How long a tool may take."""

    FAST = "fast"  # 500 ms
    SLOW = "slow"  # 2 s; an acknowledgement is spoken at once


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as declared to dialogue and model."""

    name: str
    latency: Latency
    reversible: bool


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool returned."""

    ok: bool
    values: Mapping[str, str] = field(default_factory=dict)


class Tools(Protocol):
    """Patient look-up, approved-text look-up, booking a call-back."""

    def specs(self) -> tuple[ToolSpec, ...]:
        """What exists."""
        ...

    async def call(self, name: str, arguments: Mapping[str, str]) -> ToolResult:
        """Run one tool. `arguments` of an irreversible tool carry an `idempotency_key`.

        Raises:
            StageError: it failed or took too long.
        """
        ...
