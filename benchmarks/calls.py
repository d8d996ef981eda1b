"""Our own overhead, barge-in, hand-off, CPU and memory, with stub stages of known latency and the real voice detector.

    python -m benchmarks.calls [--quick]

Everything runs on the wall clock against the simulated line. Each part runs in a process of its own, so that memory and
CPU are its own too. Prints n with every figure; asserts nothing.
"""

import argparse
import asyncio
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import classifiers
from audit.folder import AuditFolder
from benchmarks.stubs import LLM_MS, TTS_MS, StubModel, StubRecogniser, StubVoice, line_of
from fsm import effects as fx
from fsm import events as ev
from fsm.states import RungKind
from triage.call import Engines, Equipment, LiveCall, new_call_id
from triage.clips import ClipLibrary
from triage.clock import Clock, run
from triage.config import load as load_settings
from triage.demo.cast import CallerLines
from triage.demo.patient import Cue, Patient, Utterance
from triage.demo.scenario import load as load_scenario
from triage.dialogue.interview import Book
from triage.dialogue.scripted import ScriptedInterviewer
from triage.lines.nurse_phones import NursePhone
from triage.lines.simulated import SimulatedLine
from triage.ports import RATE, LanguageModel, Packet
from triage.stages.silero import SileroVoiceActivity
from triage.tools import FakeTools
from triage.trace import Measured, Said, StepTaken, Trace

LINES = CallerLines()


class Desk:
    """One nurse, by REFER."""

    def ladder(self, *, urgent: bool, media_during_refer: bool) -> tuple[ev.Rung, ...]:
        """Her."""
        return (ev.Rung(kind=RungKind.REFER, target="nurse"),)

    def offer(self, packet: Packet) -> None:
        """Nobody reads it."""


@dataclass
class Process:
    """What the calls of one process share."""

    voice: StubVoice
    model: LanguageModel
    data: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="triage-bench-")))

    def __post_init__(self) -> None:
        folder = AuditFolder(self.data)
        folder.keyring().ensure()
        self.engines = Engines(
            settings=load_settings(data=self.data, env={}),
            clips=ClipLibrary.load(),
            classifier=classifiers.load(),
            model=self.model,
            scripted=ScriptedInterviewer(),
            voice=self.voice,
            writer=folder.open_writer("bench"),
            book=Book.load(),
        )
        self.vad = SileroVoiceActivity.load()


class BenchCall:
    """One call on a simulated line, with everything that was measured about it."""

    def __init__(self, process: Process, script: Sequence[Utterance], *, answers: bool = False) -> None:
        clock = Clock()
        self.patient = Patient(script, patience_s=8.0)
        self.line = SimulatedLine(clock, self.patient, {"nurse": NursePhone(answers_after_s=4.0)})
        stt = StubRecogniser()
        self.patient.listener = stt.cue
        self.measured: dict[str, list[float]] = {}
        self.overheads: list[float] = []
        self.words_ns: list[int] = []
        self._speaks: set[int] = set()
        self._ended_ns = 0
        equipment = Equipment(self.line, SileroVoiceActivity.load(), stt, Desk(), FakeTools())
        self.call = LiveCall(new_call_id(clock.wall_ns()), process.engines, equipment, clock, [self._observe])
        self._answers = answers

    async def live(self) -> None:
        """From ring to sealed record."""
        await self.call.live()
        await self.line.over()

    def _observe(self, trace: Trace) -> None:
        match trace:
            case Measured(name=name, ms=ms):
                self.measured.setdefault(name, []).append(ms)
            case Said() if not trace.cut_off and self._answers:
                self.patient.heard_prompt(self.call.replies.interview.pending, "finished")
            case StepTaken(step=step):
                self._step(step.event, step.effects)

    def _step(self, event: ev.Event, effects: Sequence[fx.Effect]) -> None:
        match event:
            case ev.TurnEnded(at_ns=at_ns):
                self._ended_ns = at_ns
                self._speaks.clear()
            case ev.WordsHeard(at_ns=at_ns):
                self.words_ns.append(at_ns)
            case ev.PlayoutStarted(at_ns=at_ns, playback=playback) if playback in self._speaks and self._ended_ns:
                self.overheads.append((at_ns - self._ended_ns) / 1e6 - LLM_MS - TTS_MS)
                self._ended_ns = 0
        self._speaks.update(effect.playback for effect in effects if isinstance(effect, fx.Speak))


def say(line: str, cue: Cue = Cue.QUIET, delay_s: float = 0.3, **more: Any) -> Utterance:
    """One caller line."""
    spoken = LINES.get(line)
    return Utterance(pcm=spoken.pcm, text=spoken.text, cue=cue, delay_s=delay_s, **more)


def interview_script() -> list[Utterance]:
    """Answers to every question of the routine scenario, by question id."""
    answers = load_scenario("sore_throat").answers
    return [
        say(line if isinstance(line, str) else line[0], Cue.PROMPT, 0.2, on_prompt=prompt.removeprefix("ask."))
        for prompt, line in answers.items()
    ]


# --- parts; each runs in a process of its own and prints its lines


async def overhead(calls: int, at_once: int) -> None:
    """First reply sample accepted by the line, minus the end-of-turn decision, minus the stubs' latencies."""
    process = Process(StubVoice(), StubModel())
    found: list[float] = []
    turns: list[float] = []
    cpu, began = time.process_time(), time.perf_counter()
    for _ in range(0, calls, at_once):
        batch = [BenchCall(process, interview_script(), answers=True) for _ in range(at_once)]
        await asyncio.gather(*(stagger(call, n) for n, call in enumerate(batch)))
        found += [value for call in batch for value in call.overheads]
        turns += [value for call in batch for value in call.measured.get("turn_taking", [])]
    minutes = (time.perf_counter() - began) / 60 * at_once
    aim = "p50 <= 8, p95 <= 12" if at_once == 1 else "p95 < 100"
    print(line_of(f"overhead, {at_once} call(s) at once", found, aim))
    print(line_of(f"turn-taking with stubs, {at_once} at once", turns, "p95 < 1200"))
    print(f"{'CPU':<44} {(time.process_time() - cpu) / minutes:.2f} CPU s per call-minute ({minutes:.1f} call-minutes)")
    print(f"{'memory':<44} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB peak")
    process.engines.writer.close()


async def stagger(call: BenchCall, n: int) -> None:
    """Callers do not ring in step."""
    await asyncio.sleep(n * 0.37)
    await call.live()


async def barge_in(repeats: int) -> None:
    """True onset of a barge-in to the last old sample at the line; cancel of model and voice; cough; first second."""
    voice, model = StubVoice(seconds=6.0), StubModel(sentences=4)
    process = Process(voice, model)
    stops, works, coughs, early = [], [], [], 0
    for n in range(repeats):
        delay = 0.6 + 0.137 * (n % 8)
        script = [
            say("sore_emergency_no", Cue.OVER, 0.3),  # in the first second of the greeting
            say("barge_in_1" if n % 2 else "barge_in_2", Cue.OVER, delay),
            say("cough", Cue.OVER, 1.1),
            Utterance(cue=Cue.AT, delay_s=22.0, hang_up=True),
        ]
        call = BenchCall(process, script)
        await call.live()
        _, agent = call.line.recording()
        said = call.patient.said
        early += any(ns - call.call.listening.origin_ns < 2.6e9 for ns in call.words_ns)
        for _, start, _ in said[:2]:
            stops.append((last_sound_after(agent, start) - start) / 16)
        if len(said) > 2:
            start = said[2][1]
            coughs.append(float(np.any(agent[start + RATE : start + 3 * RATE])))
        words = call.words_ns[1] / 1e9 if len(call.words_ns) > 1 else None
        if words is not None:
            late = [end - words for end in (*model.ended, *voice.ended) if 0 <= end - words < 1.0]
            works.append(1000 * max(late, default=0.0))
        model.ended.clear()
        voice.ended.clear()
    print(line_of("old audio stops after the true onset", stops, "p50 <= 110, max <= 150"))
    print(line_of("model and voice end after real words", works, "<= 200"))
    print(f"{'playout goes on after a cough':<44} {sum(coughs):.0f} of {len(coughs)}")
    print(f"{'barge-in in the first second is heard':<44} {early} of {repeats}")
    process.engines.writer.close()


def last_sound_after(agent: np.ndarray[Any, Any], start: int) -> int:
    """Position after the last sample of ours before the first 40 ms of silence at or after `start`."""
    quiet = 0
    for at in range(start, len(agent) - 16, 16):
        quiet = quiet + 16 if not agent[at : at + 16].any() else 0
        if quiet >= RATE * 40 // 1000:
            return max(start, at + 16 - quiet)
    return len(agent)


async def urgent(repeats: int) -> None:
    """Urgent final to the first clip sample at the line and to the transfer request; nothing old after the clip began."""
    voice = StubVoice(seconds=6.0)
    process = Process(voice, StubModel(sentences=3))
    clip, refer, old = [], [], 0
    for n in range(repeats):
        script = [
            say("sore_emergency_no", Cue.QUIET, 0.2),
            say("chest_pain_first", Cue.OVER, 0.8 + 0.11 * (n % 5)),
        ]
        call = BenchCall(process, script)
        await call.live()
        clip += call.measured.get("clip_audible", [])
        refer += call.measured.get("refer_sent", [])
        old += old_tone_after_clip(call)
    print(line_of("urgent final to first clip sample", clip, "<= 12"))
    print(line_of("urgent final to transfer request", refer, "<= 200"))
    print(f"{'old samples after the clip began':<44} {old}")
    process.engines.writer.close()


def old_tone_after_clip(call: BenchCall) -> int:
    """Calls in which anything but the clip was heard after it began (0 or 1)."""
    _, agent = call.line.recording()
    pcm = call.call.engines.clips.clip("connecting_nurse").pcm
    probe = pcm[:1600].astype(np.float64)
    scores = np.correlate(agent.astype(np.float64), probe, "valid")
    at = int(np.argmax(scores))
    return int(not np.array_equal(agent[at : at + len(pcm)], pcm))


def part(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run one part in a fresh process."""
    child = multiprocessing.get_context("fork").Process(target=lambda: run(work(), virtual=False))
    child.start()
    child.join()


def main() -> None:
    """Run all parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer calls: a minute or two instead of ten")
    quick = parser.parse_args().quick
    print(f"stubs: model {LLM_MS} ms, voice {TTS_MS} ms; wall clock; {multiprocessing.cpu_count()} cores\n")
    part(lambda: overhead(1 if quick else 3, 1))
    part(lambda: overhead(10, 10))
    if not quick:
        part(lambda: overhead(30, 30))
    part(lambda: barge_in(3 if quick else 12))
    part(lambda: urgent(3 if quick else 12))


if __name__ == "__main__":
    main()
