"""Put one call together and live through it.

`Engines` are loaded once per process and shared; everything else here belongs to one call. The order of events in a call
is the runtime's business; this module only joins rooms, so it is also the place to see what a call is made of.
"""

import asyncio
import os
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from audit.chain import SegmentWriter
from audit.trouble import Trouble, TroubleKind
from audit.writer import AuditWriter
from classifiers import Classifier
from classifiers.assessment import CallJudge, Known
from classifiers.second_opinion import SecondOpinion
from fsm import events as ev
from fsm.alarms import AUDIT_STORE
from fsm.call import Call
from fsm.plans_end import owed_callback
from fsm.states import RungKind
from triage.clips import ClipLibrary
from triage.clock import Clock
from triage.config import Settings
from triage.dialogue.interview import Book, Interview, opening
from triage.echo import EchoTap
from triage.handoff.post import Post
from triage.listening import HearingLimits, Listening
from triage.nursing import NurseSide
from triage.playout import Audible, HeardWord, Playout
from triage.ports import LanguageModel, Line, NurseDesk, SpeechToText, TextToSpeech, Tools, VoiceActivity
from triage.recorder import Recorder, StoreAlarm
from triage.replies import Replies
from triage.runtime import Rooms, Runtime
from triage.second_hearing import SecondHearing
from triage.stages.endpointing import Silences
from triage.stopwatch import Stopwatch
from triage.trace import Assessed, CallClosed, Noted, Observer, Paged, Trace
from triage.voice import Thresholds, WordlessLimits
from triage.watch import CLASSIFIER_LAYER

DURABLE_AT_END_S = 2.0
"""How long the end of a call waits for its last record."""


@dataclass(frozen=True, slots=True)
class Engines:
    """What every call of a process shares: loaded, checked and warm."""

    settings: Settings
    clips: ClipLibrary
    classifier: Classifier
    model: LanguageModel
    scripted: LanguageModel
    """Takes over when the model fails or is late."""
    voice: TextToSpeech | None
    writer: AuditWriter
    book: Book
    alarm: StoreAlarm = field(default_factory=StoreAlarm)
    """What `writer` reports its troubles to, so that live calls page."""
    post: Post | None = None
    """Takes packets out of this process. None: they stay on the call's desk."""
    second_opinion: SecondOpinion | None = None
    """A judge asked beside on each final; it can only raise. None: nobody is."""

    def close(self) -> None:
        """Give packets on their way and records not yet durable their time (seconds), and free both. No call may live."""
        if self.post is not None:
            self.post.close()
        self.writer.close()


@dataclass(frozen=True, slots=True)
class Equipment:
    """What belongs to one call alone."""

    line: Line
    vad: VoiceActivity
    stt: SpeechToText
    desk: NurseDesk
    tools: Tools
    media_during_refer: bool = True
    """False where the carrier holds the caller, deaf to us, while it refers them."""
    known: bool = False
    """A record of this call exists: this process rescues the caller."""


@dataclass(frozen=True, slots=True)
class Finished:
    """What remains of a call when its record is sealed."""

    call_id: str
    outcome: str
    """nurse_bridged, transferred, outcome_unknown, callback_booked, hung_up or failed."""
    call: Call
    known: Known
    counts: dict[str, int]
    ended_ns: int
    """Monotonic time of the hang-up (or of the transfer that took the caller)."""


class _Ours:
    """What the ear knows of our voice: the lane, as words."""

    def __init__(self) -> None:
        self.playout: Playout | None = None

    @property
    def playing(self) -> bool:
        """Something is in the lane (a held lane counts: it is our floor still)."""
        return self.playout is not None and not self.playout.empty

    def recent_words(self, window_s: float) -> list[str]:
        """Words of ours that could be heard within the window."""
        heard: list[HeardWord] = self.playout.recent_words(window_s) if self.playout else []
        return [word.text for word in heard]


@dataclass
class LiveCall:
    """One call from ring to sealed record. Build it, then `await live()` once."""

    call_id: str
    engines: Engines
    equipment: Equipment
    clock: Clock
    observers: list[Observer] = field(default_factory=list)

    def __post_init__(self) -> None:
        settings, equipment, clips = self.engines.settings, self.equipment, self.engines.clips
        self._judge: CallJudge = self.engines.classifier.begin()
        self._segment: SegmentWriter = self.engines.writer.open_call(
            self.call_id,
            monotonic_ns=self.clock.now_ns(),
            wall_ns=self.clock.wall_ns(),
            payload={
                "profile": settings.profile,
                "stages": {"stt": equipment.stt.name, "llm": self.engines.model.name, "tts": _name(self.engines.voice)},
                "rescue": equipment.known,
            },
            versions=dict(self.engines.classifier.versions),
        )
        self.recorder = Recorder(self._segment, now_ns=self.clock.now_ns, wall_ns=self.clock.wall_ns)
        ours, outlet = _Ours(), EchoTap(equipment.line)
        self.listening = Listening(
            vad=equipment.vad,
            stt=equipment.stt,
            judge=self._judge,
            ours=ours,
            ledger=self.recorder,
            tell=self._tell,
            now_ns=self.clock.now_ns,
            observe=self._observe,
            limits=hearing_limits(settings),
            beside=self._beside(),
        )
        self.playout = ours.playout = Playout(outlet, self.clock, self._played, self._heard)
        self.nursing = NurseSide(
            call_id=self.call_id,
            desk=equipment.desk,
            recorder=self.recorder,
            segment=self._segment,
            clock=self.clock,
            known=lambda: self._judge.known,
            answers=lambda: self.replies.interview.answers,
            listening=self.listening,
            observe=self._observe,
            tell=self._tell,
            post=self.engines.post,
        )
        self.replies = Replies(
            interview=Interview.begin(self.engines.book, call_id=self.call_id),
            model=self.engines.model,
            scripted=self.engines.scripted,
            voice=self.engines.voice,
            tools=equipment.tools,
            clips=clips,
            playout=self.playout,
            listening=self.listening,
            recorder=self.recorder,
            tell=self._tell,
            now_ns=self.clock.now_ns,
            observe=self._observe,
            spawn=self._spawn,
            known=lambda: self._judge.known,
            tool_done=self.nursing.tool_done,
        )
        self.runtime = Runtime(
            Rooms(
                line=equipment.line,
                outlet=outlet,
                playout=self.playout,
                listening=self.listening,
                speaking=self.replies,
                nursing=self.nursing,
                clips=clips,
                desk=equipment.desk,
                record=self.recorder,
                clock=self.clock,
                observers=self.observers,
                durable_wait_s=settings.durable_wait_ms / 1000,
                media_during_refer=equipment.media_during_refer,
            ),
            seal=self._seal,
        )
        self.observers.append(
            Stopwatch(
                now_ns=self.clock.now_ns,
                onset_ns=self.listening.onset_ns,
                word_end_ns=self.listening.word_end_ns,
                playout_delay_ns=equipment.line.playout_delay * 62_500,
                observe=self._observe,
            )
        )
        self.observers.append(self.nursing.observe_step)
        self.observers.append(self._watch_layers)
        self._layer_faults = sum(self.engines.classifier.layer_faults.values())
        self._outcome = "failed"

    def _beside(self) -> SecondHearing | None:
        judge, classifier = self.engines.second_opinion, self.engines.classifier
        if judge is None:
            return None
        return SecondHearing(judge, classifier, known=lambda: self._judge.known, spawn=self._spawn)

    def _watch_layers(self, trace: Trace) -> None:
        """A layer that breaks changes nothing for the caller; somebody is woken, once."""
        faults = sum(self.engines.classifier.layer_faults.values())
        if isinstance(trace, Assessed) and faults > self._layer_faults:
            self.observers.remove(self._watch_layers)
            self.runtime.page(CLASSIFIER_LAYER)

    async def live(self) -> Finished:
        """Answer, live through the call, and return when its record is sealed.

        Raises:
            StageError: the recogniser or the line could not be started; nothing was answered.
        """
        await self.equipment.stt.start()
        try:
            with self.engines.alarm.watching(self._store_troubled):
                call = await self.runtime.run(self._connected)
        finally:
            await self.equipment.stt.close()
        return Finished(self.call_id, self._outcome, call, self._judge.known, self.counts(), self.runtime.ended_ns)

    def break_off(self, *, alone: bool = False) -> None:
        """`live` was cancelled, or raised: end the record as it stands, so that it is sealed and summarised. Never raises.

        `alone`: nobody can be sent to the caller now. One who must have a nurse and has none gets a call-back task.
        """
        if self._segment.finished:
            return
        if alone:
            with suppress(Exception):  # the record ends all the same
                if (order := owed_callback(self.runtime.call)) is not None:
                    self.nursing.open_callback(order)
        outcome = outcome_of(self.runtime.call, booked=self.nursing.booked)
        payload = {
            "outcome": "failed" if outcome in ("hung_up", "outcome_unknown") else outcome,
            "broken_off": True,
            "counts": self.counts(),
            "audio_origin_ns": self.listening.origin_ns,
        }
        with suppress(Exception):  # the process ends all the same
            self._segment.finish(monotonic_ns=self.clock.now_ns(), wall_ns=self.clock.wall_ns(), payload=payload)

    def note_number(self, number: str, *, withheld: bool = False) -> None:
        """The caller's number as the network shows it, in the call's own loop; empty when there is none. Never raises.

        It goes sealed into the record and, when there is one, into the nurse's packet: unverified, as nobody read it back.
        Comes any time between the ring and the sealed record; later it is too late for the record, and dropped.
        """
        if not self._segment.finished:
            self.nursing.note_number(number, withheld=withheld)

    def counts(self) -> dict[str, int]:
        """Finals, stretches, tails and assessments (which must agree), pauses, and records written."""
        heard = self.listening.counts
        return {
            "finals": heard.finals,
            "stretches": heard.stretches,
            "tails": heard.tails,
            "assessments": heard.assessments,
            "pauses": self.runtime.pauses,
            "false_pauses": self.runtime.false_pauses,
            "records": self._segment.records,
            "records_failed": self.recorder.failed,
        }

    def _connected(self) -> ev.CallConnected:
        desk, during = self.equipment.desk, self.equipment.media_during_refer
        first = self.replies.interview
        self.listening.question, self.listening.phase = first.question, first.phase
        return ev.CallConnected(
            at_ns=self.clock.now_ns(),
            opening=opening(),
            ladder=desk.ladder(urgent=False, media_during_refer=during),
            urgent_ladder=desk.ladder(urgent=True, media_during_refer=during),
            known=self.equipment.known,
        )

    async def _seal(self, call: Call) -> None:
        self._outcome = outcome_of(call, booked=self.nursing.booked)
        self.nursing.finish()
        heard = self.listening
        receipt = self._segment.finish(
            monotonic_ns=self.clock.now_ns(),
            wall_ns=self.clock.wall_ns(),
            payload={"outcome": self._outcome, "counts": self.counts(), "audio_origin_ns": heard.origin_ns},
        )
        if not receipt.done():
            try:
                await asyncio.wait_for(receipt.wait(), DURABLE_AT_END_S)
            except Exception:  # the writer keeps trying; the record has ended, so this page stands in none
                if AUDIT_STORE not in self.runtime.call.paged:
                    self._observe(Paged(at_ns=self.clock.now_ns(), alarm=AUDIT_STORE))
        self._observe(
            CallClosed(at_ns=self.clock.now_ns(), call_id=self.call_id, outcome=self._outcome, counts=self.counts())
        )

    # --- joints

    def _store_troubled(self, trouble: Trouble) -> None:
        """The call goes on, its record spools; somebody is woken."""
        self._observe(Noted(at_ns=self.clock.now_ns(), text=f"record: {trouble.kind.value} {trouble.code}".rstrip()))
        if trouble.kind is not TroubleKind.STORE_BACK:
            self.runtime.tell(ev.EffectFailed(at_ns=self.clock.now_ns(), effect="Record", stage="store"))

    def _tell(self, event: ev.Event) -> None:
        self.runtime.tell(event)

    def _observe(self, trace: Any) -> None:
        self.runtime.observe(trace)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        return self.runtime.spawn(work)

    def _played(self, event: ev.Event) -> None:
        if isinstance(event, ev.PlayoutStarted):
            self.replies.started(event.playback)
        self.runtime.tell(event)

    def _heard(self, audible: Audible) -> None:
        self.replies.heard(audible)


def outcome_of(call: Call, *, booked: bool) -> str:
    """How a call ended, in fixed wording."""
    if call.handoff.bridged or any(attempt.person for attempt in call.handoff.open):
        return "nurse_bridged"
    if call.handoff.taken:
        return "transferred"
    if any(attempt.rung.kind is RungKind.REFER for attempt in call.handoff.open):
        return "outcome_unknown"  # their leg ended while a carrier may have been moving them: it tells us the same way
    return "callback_booked" if booked else "hung_up"


def hearing_limits(settings: Settings) -> HearingLimits:
    """The ear's limits, from the settings."""
    return HearingLimits(
        thresholds=Thresholds(
            pause=settings.vad_pause_threshold, speech=settings.vad_speech_threshold, off=settings.vad_off_threshold
        ),
        confidence_real=settings.confidence_real,
        always_interrupt=frozenset(settings.always_interrupt),
        promote_s=settings.interim_promotion_s,
        stretch_still_s=settings.stretch_stable_s,
        stretch_s=settings.stretch_s,
        stretch_words=settings.stretch_words,
        turn_cut_s=settings.turn_cut_s,
        echo_window_s=settings.echo_window_s,
        silences=Silences(
            backstop_ms=settings.turn_silence_ms,
            short_ms=settings.turn_silence_short_ms,
            unfinished_ms=settings.turn_silence_unfinished_ms,
            dictation_ms=settings.turn_silence_spelling_ms,
        ),
        wordless=WordlessLimits(
            voice_s=settings.wordless_voice_s,
            burst_ms=settings.wordless_burst_ms,
            bursts=settings.wordless_bursts,
            window_s=settings.wordless_window_s,
        ),
    )


def new_call_id(wall_ns: int) -> str:
    """A UUIDv7: sortable by time, unguessable otherwise."""
    random = int.from_bytes(os.urandom(10), "big")
    value = (wall_ns // 1_000_000) << 80 | 7 << 76 | (random >> 68 & 0xFFF) << 64 | 2 << 62 | random & (1 << 62) - 1
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _name(voice: TextToSpeech | None) -> str:
    return "clips" if voice is None else voice.name
