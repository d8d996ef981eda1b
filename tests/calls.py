"""One whole call for a test: a `LiveCall` on a simulated line, in virtual time, with everything around it in the test's hand.

`ring(...)` lives through the call and returns what is left of it: every trace, both sides of the line as recorded, and
the sealed record. Each call is checked for what must hold of any call: the counts agree, the record verifies and opens,
and no task is left behind.

The default judge knows two dangers only, so that these tests do not depend on the red-flag rules; `rules()` are the real
ones. Caller speech is the project's own recordings.
"""

import asyncio
import atexit
import os
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import classifiers
from audit.folder import AuditFolder
from audit.journal import Journal
from audit.outbox import Callback, Outbox
from audit.reader import OpenedRecord, Reader
from audit.store import SqliteStore, Store
from audit.verify import Verified
from audit.writer import AuditWriter
from classifiers.second_opinion import SecondOpinion
from fsm import effects as fx
from fsm import events as ev
from fsm.machine import Step
from fsm.states import Declared, RungKind
from tests.sounds import places
from tests.stand_ins import NotedLine, Slow, TwoDangers
from triage import clock as clocks
from triage.call import Engines, Equipment, Finished, LiveCall, new_call_id
from triage.clips import ClipLibrary
from triage.clock import Clock
from triage.config import Settings, load
from triage.demo import cast
from triage.demo.patient import Cue, Patient, Utterance
from triage.dialogue.interview import Book
from triage.dialogue.scripted import ScriptedInterviewer
from triage.handoff.desk import FileDesk, Target
from triage.handoff.post import Post
from triage.keeper import Keeper, Summarised
from triage.lines.impairments import Impairments
from triage.lines.nurse_phones import NursePhone
from triage.ports import RATE, LanguageModel, Packet, SpeechToText, TextToSpeech, VoiceActivity
from triage.recorder import StoreAlarm
from triage.stages.flite_tts import FliteTextToSpeech
from triage.stages.pocketsphinx_stt import PocketsphinxSpeechToText
from triage.stages.scripted_stt import ScriptedSpeechToText
from triage.stages.silero import SileroVoiceActivity
from triage.tools import FakeTools
from triage.trace import Assessed, Measured, Observer, PacketMade, Paged, Said, StepTaken, Trace

T = TypeVar("T")
MS = RATE // 1000
"""Samples per millisecond."""
LONGEST_S = 1200.0
"""Virtual seconds after which a call counts as stuck."""

LINES = cast.CallerLines()
CLIPS = ClipLibrary.load()
BOOK = Book.load()


def scratch() -> Path:
    """A folder that is gone when this process ends; in memory where there is such a place, as every record is synced."""
    memory = Path("/dev/shm")
    folder = tempfile.mkdtemp(prefix="triage-test-", dir=memory if os.access(memory, os.W_OK) else None)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


# --- the caller


def says(line: str, cue: Cue = Cue.QUIET, delay_s: float = 0.6, **more: Any) -> Utterance:
    """The caller says one of the recorded lines."""
    spoken = LINES.get(line)
    return Utterance(pcm=spoken.pcm, text=spoken.text, cue=cue, delay_s=delay_s, **more)


def speaks(text: str, line: str, cue: Cue = Cue.QUIET, delay_s: float = 0.6, **more: Any) -> Utterance:
    """The sound of one recorded line, heard by a scripted recogniser as `text`."""
    return Utterance(pcm=LINES.get(line).pcm, text=text, cue=cue, delay_s=delay_s, **more)


def answers(prompt: str, line: str, delay_s: float = 0.4) -> Utterance:
    """What the caller says whenever this prompt has ended."""
    return says(line, Cue.PROMPT, delay_s, on_prompt=prompt)


def leaves(at_s: float) -> Utterance:
    """The caller puts the phone down so many seconds after the call began."""
    return Utterance(cue=Cue.AT, delay_s=at_s, hang_up=True)


TO_THE_END = [
    answers(prompt, line)
    for prompt, line in {
        "ask.emergency": "sore_emergency_no",
        "ask.callback": "sore_number",
        "ask.callback_ok": "sore_correct",
        "ask.location": "sore_location",
        "ask.who": "sore_for_me",
        "ask.age": "sore_age",
        "ask.sex": "sore_sex",
        "ask.pregnant": "sore_pregnant_no",
        "ask.complaint": "sore_throat_1",
        "ask.onset": "sore_since",
        "q.throat_closing": "sore_breathing_no",
        "q.fever": "sore_temperature_no",
        "q.worse": "sore_no",
        "ask.background": "sore_medicines_no",
        "ask.allergies": "sore_allergies_no",
        "ask.summary_ok": "sore_correct",
    }.items()
]
"""A sore throat, every question answered."""
CHEST = "chest_pain_first"
"""Caller line in which the default judge finds danger; `not_breathing` is the graver one."""


@cache
def rules() -> Any:
    """The real classifier."""
    return classifiers.load()


# --- the line


def rung(
    target: str = "nurse",
    kind: RungKind = RungKind.DIAL,
    *,
    declared: Declared = Declared.PERSON,
    within_s: float = 4.0,
    sign: bool = False,
) -> ev.Rung:
    return ev.Rung(kind=kind, target=target, declared=declared, answer_within_s=within_s, gives_person_sign=sign)


# --- the call


@dataclass(kw_only=True)
class Call:
    """What a call is made of; `ring` lives through it. Everything has a default that works."""

    script: Sequence[Utterance] = ()
    phones: dict[str, NursePhone] = field(
        default_factory=lambda: {"nurse": NursePhone(pcm=LINES.get("nurse_hello").pcm)}
    )
    ladder: tuple[ev.Rung, ...] = (rung(),)
    recogniser: str | Callable[[Patient, Clock], SpeechToText] = "scripted"
    model: LanguageModel | None = None
    scripted: LanguageModel | None = None
    voice: TextToSpeech | None = None
    flite: bool = False
    judge: Any = field(default_factory=TwoDangers)
    store: Callable[[Store], Store] | None = None
    """Wraps the store; the writer then has its own threads, as in production."""
    journal: Callable[[Journal], Journal] | None = None
    observers: Sequence[Observer] = ()
    impairments: Impairments | None = None
    media_during_refer: bool = True
    playout_delay: int = 0
    patience_s: float = 60.0
    settings: dict[str, str] = field(default_factory=dict)
    known: bool = False
    tools: FakeTools | None = None
    vad: Callable[[], VoiceActivity] = SileroVoiceActivity.load
    line: "type[NotedLine] | None" = None
    post: Post | None = None
    second_opinion: SecondOpinion | None = None
    alone: bool = True
    """No other call lives in this loop; then no task may be left behind."""
    writer: str = "test"
    """Calls in one folder need different ones."""
    virtual: bool = True
    folder: Path = field(default_factory=lambda: scratch())

    def ring(self, story: "Callable[[Living], Coroutine[Any, Any, None]] | None" = None) -> "Rung":
        """Live through the call, beside it `story`."""
        return clocks.run(self._live(story), virtual=self.virtual)

    @staticmethod
    def ring_together(*calls: "Call") -> "list[Rung]":
        """Live through several calls in one loop; none of them is `alone`."""

        async def together() -> "list[Rung]":
            return await asyncio.gather(*(call._live(None) for call in calls))

        return clocks.run(together(), virtual=True)

    async def _live(self, story: "Callable[[Living], Coroutine[Any, Any, None]] | None") -> "Rung":
        clock = Clock(wall_start_ns=1_700_000_000_000_000_000)
        patient = Patient(self.script, patience_s=self.patience_s)
        line = (self.line or NotedLine)(
            clock,
            patient,
            self.phones,
            impairments=self.impairments,
            media_during_refer=self.media_during_refer,
            playout_delay=self.playout_delay,
        )
        audit = AuditFolder(self.folder)
        audit.keyring().ensure()
        alarm = StoreAlarm()
        writer = self._writer(audit, alarm)
        settings = load(env=self.settings, data=self.folder)
        model = self.model or ScriptedInterviewer()
        desk = FileDesk(tuple(Target(rung, f"sip:{rung.target}@nurses.invalid") for rung in self.ladder))
        traces: list[Trace] = []
        call_id = new_call_id(clock.wall_ns())
        stt = self._recogniser(patient, clock)
        call = LiveCall(
            call_id,
            Engines(
                settings=settings,
                clips=CLIPS,
                classifier=self.judge,
                model=model,
                scripted=self.scripted or ScriptedInterviewer(),
                voice=FliteTextToSpeech(busy=clock.busy_hook("voice")) if self.flite else self.voice,
                writer=writer,
                book=BOOK,
                alarm=alarm,
                post=self.post,
                second_opinion=self.second_opinion,
            ),
            Equipment(
                line=line,
                vad=self.vad(),
                stt=stt,
                desk=desk,
                tools=self.tools or FakeTools(),
                media_during_refer=self.media_during_refer,
                known=self.known,
            ),
            clock,
            [
                *self.observers,
                traces.append,
                cast.prompt_ears(patient, [u.on_prompt for u in self.script if u.on_prompt]),
            ],
        )
        living = Living(call, line, patient, clock, traces, stt, writer)
        for engine in (model, self.voice):
            if isinstance(engine, Slow):
                engine.now_ns = clock.now_ns
        try:
            async with asyncio.timeout(LONGEST_S):
                beside = asyncio.ensure_future(story(living)) if story else None
                finished = await call.live()
                if beside is not None:
                    await beside
                await line.over()
        finally:
            await line.close()
        left = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert left == [] or not self.alone, "tasks were left behind"
        return Rung(finished, living, audit, desk, settings)

    def _writer(self, audit: AuditFolder, alarm: StoreAlarm) -> AuditWriter:
        if self.store is None and self.journal is None:
            return audit.open_writer(self.writer, on_trouble=alarm, inline=True)
        journal = Journal(audit.spool, self.writer)
        store: Store = SqliteStore(audit.database)
        return AuditWriter(
            self.store(store) if self.store else store,
            self.journal(journal) if self.journal else journal,
            audit.keyring().public_key(),
            writer=self.writer,
            on_trouble=alarm,
            hung_after_s=0.1,
            retry_s=0.05,
        )

    def _recogniser(self, patient: Patient, clock: Clock) -> SpeechToText:
        if callable(self.recogniser):
            stt = self.recogniser(patient, clock)
        elif self.recogniser == "pocketsphinx":
            return PocketsphinxSpeechToText(busy=clock.busy_hook("recogniser"))
        else:
            stt = ScriptedSpeechToText()
        if isinstance(stt, ScriptedSpeechToText):
            patient.listener = stt.cue
        return stt


@dataclass
class Living:
    """A call while it lives."""

    call: LiveCall
    line: NotedLine
    patient: Patient
    clock: Clock
    traces: list[Trace]
    stt: SpeechToText
    writer: AuditWriter

    async def until(self, seconds: float) -> None:
        """Wait for this second of the call."""
        await asyncio.sleep(max(0.0, seconds - self.line.position() / RATE))


@dataclass
class Rung:
    """What is left of a call that has ended."""

    finished: Finished
    living: Living
    audit: AuditFolder
    desk: FileDesk
    settings: Settings

    def __post_init__(self) -> None:
        self.line = self.living.line
        self.caller, self.heard = self.line.recording()
        """What the caller said and what the caller heard, sample-aligned."""
        counts = self.finished.counts
        assert counts["finals"] + counts["stretches"] + counts["tails"] == counts["assessments"]

    # --- traces

    def of(self, kind: type[T]) -> list[T]:
        return [trace for trace in self.living.traces if isinstance(trace, kind)]

    @property
    def steps(self) -> list[Step]:
        return [trace.step for trace in self.of(StepTaken)]

    def events(self, kind: type[T]) -> list[T]:
        return [step.event for step in self.steps if isinstance(step.event, kind)]

    def effects(self, kind: type[T]) -> list[T]:
        return [effect for step in self.steps for effect in step.effects if isinstance(effect, kind)]

    @property
    def pages(self) -> list[str]:
        return [trace.alarm for trace in self.of(Paged)]

    @property
    def packets(self) -> list[Packet]:
        return [trace.packet for trace in self.of(PacketMade)]

    @property
    def prompts(self) -> list[str]:
        """Clips of which the caller heard at least a word, in order."""
        return [said.prompt for said in self.of(Said) if said.prompt and said.text]

    @property
    def reasons(self) -> list[str]:
        return [effect.reason.value for effect in self.effects(fx.SendPacket)]

    def measured(self, name: str) -> list[float]:
        return [trace.ms for trace in self.of(Measured) if trace.name == name]

    @property
    def urgent_at(self) -> int:
        """Position at which the first urgent final was there."""
        return self.position(self.events(ev.UrgencyRaised)[0].at_ns)

    def position(self, at_ns: int) -> int:
        """A monotonic time as a position of the line."""
        assert self.line._start_ns is not None
        return (at_ns - self.line._start_ns) * RATE // 1_000_000_000

    def assessed(self) -> list[Assessed]:
        return self.of(Assessed)

    # --- the recording

    def starts(self, prompt: str, whole: bool = True) -> list[int]:
        """Positions at which this clip begins in what the caller heard, sample for sample (to its end, when `whole`)."""
        clip = CLIPS.clip(prompt).pcm
        return places(self.heard, clip if whole else clip[: RATE // 2])

    # --- the record

    def settle(self) -> None:
        """Let the writer finish; idempotent."""
        self.living.writer.close()

    def settled(self) -> Path:
        """The data folder, when everything is in it."""
        self.settle()
        return self.audit.root

    def records(self) -> list[OpenedRecord]:
        self.settle()
        with closing(SqliteStore(self.audit.database)) as store:
            reader = Reader(store, self.audit.keyring(), who="test", purpose="test", spool=self.audit.spool)
            return reader.records(self.finished.call_id, at_ns=1)

    def payloads(self, stage: str) -> list[dict[str, Any]]:
        return [dict(r.content.payload) for r in self.records() if r.content.stage.value == stage]

    def verified(self) -> Verified:
        self.settle()
        with closing(SqliteStore(self.audit.database)) as store:
            return Reader(store, self.audit.keyring(), spool=self.audit.spool).verify(self.finished.call_id)

    def callbacks(self) -> list[Callback]:
        self.settle()
        with closing(SqliteStore(self.audit.database)) as store:
            return Outbox(store).callbacks()

    def kept(self) -> list[Summarised]:
        """One round of the keeper."""
        wall_ns = self.living.clock.wall_start_ns + 3_600 * 1_000_000_000
        writer = self.audit.open_writer("keeper", inline=True)
        try:
            return Keeper(self.audit, writer, now_ns=lambda: 1, wall_ns=lambda: wall_ns).work()
        finally:
            writer.close()

    def bytes_on_disk(self) -> bytes:
        """Everything in the data folder, one file after the other."""
        self.settle()
        return b"\n".join(path.read_bytes() for path in sorted(self.audit.root.rglob("*")) if path.is_file())

    def check_record(self) -> None:
        """The record is whole, opens, and holds one assessment for every final, stretch and tail."""
        counts = self.finished.counts
        assessments = [found for found in self.payloads("assessment") if found["kind"] != "second_opinion"]
        assert len(assessments) == counts["assessments"]
        assert len(self.payloads("stt_final")) == counts["finals"] + counts["tails"]
        assert len(self.payloads("step")) == len(self.steps)
        assert counts["records_failed"] == 0
        assert self.verified().records >= counts["records"]
