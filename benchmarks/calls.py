"""Our own overhead, barge-in, hand-off, CPU, memory and start-up, with stub stages of known latency and the real detector.

    python -m benchmarks.calls [--quick] [PART ...]

Every part runs in a process of its own, so that memory and CPU are its own too. Where it says so a part runs in virtual
time; everything else runs against the wall clock, on whatever else this machine is doing. n is printed with every figure
and nothing is asserted. What was audible and when is read from the line and its recording, not from the lane's books.
"""

import argparse
import asyncio
import difflib
import json
import os
import resource
import select
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from benchmarks import sounds, tape
from benchmarks.bare import BareCall
from benchmarks.report import Count, Line, Row
from benchmarks.stage import NS, BenchCall, House, Said, Sound, stagger
from benchmarks.stubs import LLM_MS, TTS_MS, StubModel, StubVoice
from fsm import effects as fx
from triage.clock import run
from triage.lines.impairments import Impairments
from triage.ports import RATE
from triage.trace import StepTaken

SWITCH_S = 0.001
"""How long the interpreter lets one thread work before another may; as the demo sets it."""
STUBS_MS = LLM_MS + TTS_MS

PHONE = Impairments(mulaw=True, noise_db=-50, loss=0.02)
ECHO = Impairments(echo_db=-20)


# --- overhead, CPU, memory


async def interview(call: BenchCall) -> None:
    """Answer question by question, to the booked call-back."""
    answers = sounds.interview_answers()
    await call.floor_is_free()
    while call.live_still and (sound := answers.get(call.live.replies.interview.pending)) is not None:
        call.say(sound, 0.2)
        if not await call.reply_begins() or not await call.floor_is_free():
            return


async def overhead(calls: int, at_once: int, *, virtual: bool = False) -> list[Line]:
    """First reply sample accepted by the line, less the end-of-turn decision, less the stubs' nominal latencies."""
    house = House(virtual=virtual)
    found: list[float] = []
    turns, seconds, booked, held = 0, 0.0, 0, 0.0
    cpu = time.process_time()
    for _ in range(0, calls, at_once):
        batch = [BenchCall(house) for _ in range(at_once)]
        await stagger(batch, interview)
        found += [value for call in batch for value in call.overheads_ms(STUBS_MS)]
        turns += sum(len(call.turns_ended) for call in batch)
        seconds += sum(call.seconds for call in batch)
        held = held or peak_mb()  # of the first batch: later ones stand on what the collector has not fetched yet
        booked += sum(call.outcome == "callback_booked" for call in batch)
    cpu = time.process_time() - cpu
    house.close()
    aim = {1: "p50 <= 8, p95 <= 12"}.get(at_once, "p95 < 100")
    cpu_aim = {1: "<= 2.5", 10: "<= 1.5"}.get(at_once, "")
    who = "one call" if at_once == 1 else f"{at_once} calls at once"
    commits = [] if virtual else disk(100)
    return [
        Row(f"own overhead, {who}", found, aim=aim),
        *commits,
        Count(f"turns that were answered, {who}", len(found), turns),
        Count(f"calls that came to the booked call-back, {who}", booked, calls),
        Row(f"CPU, {who} ({seconds / 60:.1f} call-minutes)", [cpu / seconds * 60], "CPU s per call-minute", cpu_aim),
        Row(f"memory, {who}: peak of the process", [held], "MB", "<= 150" if at_once == 1 else ""),
    ]


def disk(times: int) -> list[Line]:
    """What one durable commit of one record's size costs here and now; two lie between a turn's end and its reply."""
    took = []
    with tempfile.TemporaryDirectory(prefix="triage-bench-") as folder:
        store = sqlite3.connect(Path(folder) / "commit.db", isolation_level=None)
        store.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE record (sealed BLOB)")
        for _ in range(times):
            began = time.perf_counter()
            store.execute("INSERT INTO record VALUES (?)", (os.urandom(1300),))
            took.append(1000 * (time.perf_counter() - began))
            select.select((), (), (), 0.02)
        store.close()
    return [Row("this disk: one durable commit", took)]


async def bare(calls: int, *, virtual: bool = False) -> list[Line]:
    """The trivial pipeline: what nobody can do without."""
    found: list[float] = []
    seconds = 0.0
    cpu = time.process_time()
    answers = list(sounds.interview_answers().values())
    for _ in range(calls):
        call = BareCall(StubVoice(), StubModel())
        await call.carry(answers)
        found += call.overheads_ms(STUBS_MS)
        seconds += call.seconds
    cpu = time.process_time() - cpu
    return [
        Row("trivial pipeline: overhead, one call", found),
        Row(f"trivial pipeline: CPU ({seconds / 60:.1f} call-minutes)", [cpu / seconds * 60], "CPU s per call-minute"),
        Row("trivial pipeline: peak of the process", [peak_mb()], "MB"),
    ]


# --- barge-in


async def barge_in(
    repeats: int, at_once: int, *, virtual: bool = False, impairments: Impairments | None = None, where: str = ""
) -> list[Line]:
    """Caller lines over a long reply, each at another phase of the detector's and the line's grid."""
    voice, model = StubVoice(seconds=6.0, speed=1.1), StubModel(sentences=8)
    house = House(voice, model, virtual=virtual)
    batch = [BenchCall(house, impairments=impairments) for _ in range(at_once)]
    said: dict[BenchCall, list[Said]] = {call: [] for call in batch}
    plan = list(enumerate(sounds.barge_ins(repeats)))
    shares = {call: plan[number::at_once] for number, call in enumerate(batch)}

    async def plot(call: BenchCall) -> None:
        await call.floor_is_free()
        call.say(sounds.line("sore_yes", sounds.AGAIN), 0.2)
        for number, sound in shares[call]:
            if not await call.reply_begins():
                return
            said[call].append(call.say(sound, 0.9 + 0.00431 * (number % 37)))

        await call.reply_begins()

    await stagger(batch, plot)
    stops, works, wrong, words = [], [], 0, 0
    for call in batch:
        found = tape.sentences(call.line.let_out(), voice.spoken)
        for deed in said[call]:
            end = tape.old_sound_ends(found, deed.onset)
            if end is not None:
                stops.append(max(0, end - deed.onset) * 1000 / RATE)
            onset, word = call.at_s(deed.onset), call.at_s(deed.first_word_ends)
            busy = [(began, end) for began, end in (*model.work, *voice.work) if began < onset and end > word]
            works += [1000 * (end - word) for _, end in busy] if at_once == 1 else []
        difference, total = words_apart(call, found)
        wrong, words = wrong + difference, words + total
    house.close()
    how = where or ("virtual time" if virtual else f"{at_once} call(s) at once")
    rows: list[Line] = [
        Row(f"old audio stops after the true onset, {how}", stops, aim="p50 <= 110, max <= 150"),
        Count(f"barge-ins over audible speech of ours, {how}", len(stops), repeats),
        Row(f"history less audible words, of {words}, {how}", [float(wrong)], "words", "0"),
    ]
    if at_once == 1:
        rows.append(Row(f"model and voice end after the first real word, {how}", works, aim="<= 200"))
    return rows


def words_apart(call: BenchCall, found: list[tape.Stretch]) -> tuple[int, int]:
    """How many words history and the recording do not share, and how many are on the recording."""
    agent = call.line.let_out()
    stretches = sorted([*found, *tape.clips(agent, call.house.clips, between=found)], key=lambda s: s.start)
    audible = [word for stretch in stretches for word in stretch.heard()]
    same = difflib.SequenceMatcher(None, audible, call.history_words(), autojunk=False).get_matching_blocks()
    return max(len(audible), len(call.history_words())) - sum(block.size for block in same), len(audible)


async def cough(repeats: int, *, virtual: bool = False) -> list[Line]:
    """A cough over our speech: it may hold us, and we go on at the very next sample."""
    voice = StubVoice(seconds=5.0)
    house = House(voice, virtual=virtual)
    call = BenchCall(house)
    coughs: list[Said] = []

    async def plot(call: BenchCall) -> None:
        await call.floor_is_free()
        for number in range(repeats):
            call.say(sounds.line("sore_yes", sounds.AGAIN), 0.3)
            if not await call.reply_begins():
                return
            sound = sounds.line(("cough", "cough_2", "mm_hm")[number % 3], "")
            coughs.append(call.say(sound, 1.0 + 0.00431 * (number % 37)))
            await call.floor_is_free()

    await call.carry(plot)
    found = tape.sentences(call.line.let_out(), voice.spoken)
    over = [next((s for s in found if s.start <= c.onset < s.end), None) for c in coughs]
    heard = [s for s in over if s is not None]
    total = int(voice.seconds * RATE)
    held = [s for s in heard if len(s.parts) > 1]
    gaps = [(s.parts[1][0] - s.parts[0][1]) * 1000 / RATE for s in held]
    house.close()
    return [
        Count(
            "said to the end, to the sample, in spite of a cough",
            sum(s.whole and s.samples == total for s in heard),
            len(heard),
            "all",
        ),
        Count("of those, held for a moment and resumed", sum(s.whole and s.samples == total for s in held), len(heard)),
        Row("how long a cough held us", gaps),
    ]


async def greeting(repeats: int, at_once: int, *, virtual: bool = False) -> list[Line]:
    """A caller who speaks in the first second of the greeting."""
    house = House(virtual=virtual)
    deeds: dict[BenchCall, Said] = {}
    batch = [BenchCall(house) for _ in range(repeats)]
    numbers = {call: number for number, call in enumerate(batch)}

    async def plot(call: BenchCall) -> None:
        name = sounds.BARGE_INS[numbers[call] % len(sounds.BARGE_INS)]
        deeds[call] = call.say(sounds.line(name), 0.05 + 0.107 * (numbers[call] % 9) - 0.1)
        await call.until(lambda _: bool(call.turns_ended))

    for first in range(0, repeats, at_once):
        await stagger(batch[first : first + at_once], plot)
    heard, stops = 0, []
    for call in batch:
        onset = deeds[call].onset
        clips = tape.clips(call.line.let_out(), house.clips)
        end = tape.old_sound_ends([s for s in clips if s.start < onset], onset)
        if end is not None:
            stops.append(max(0, end - onset) * 1000 / RATE)
        heard += bool(call.words_heard) and call.live.listening.text_of(1) != ""
    house.close()
    return [
        Count("barge-in in the first second of the greeting is heard", heard, repeats, "all"),
        Row("the greeting stops after the true onset", stops),
    ]


# --- danger


async def urgent(repeats: int, at_once: int, *, virtual: bool = False) -> list[Line]:
    """Urgent final to the first clip sample and to the transfer request, in three situations."""
    voice = StubVoice(seconds=6.0, speed=1.1)
    house = House(voice, StubModel(sentences=8), virtual=virtual)
    situations = ("into silence", "over us, sure interims", "over us, only the final is sure")
    batch = [(BenchCall(house, sure=number % 3 != 2), number) for number in range(repeats)]
    numbers = dict(batch)

    async def plot(call: BenchCall) -> None:
        situation = numbers[call] % 3
        await call.floor_is_free()
        if situation:
            call.say(sounds.line("sore_yes", sounds.AGAIN), 0.2)
            await call.reply_begins()
        call.say(
            sounds.line(("chest_pain_first", "not_breathing")[numbers[call] // 3 % 2]), 0.7 + 0.0093 * numbers[call]
        )
        await call.until(
            lambda trace: isinstance(trace, StepTaken) and any(isinstance(e, fx.Transfer) for e in trace.step.effects)
        )
        await asyncio.sleep(3.0)

    for first in range(0, repeats, at_once):
        await stagger([call for call, _ in batch[first : first + at_once]], plot)
    clip_ms: dict[int, list[float]] = {0: [], 1: [], 2: []}
    refer_ms, old = [], 0
    for call, number in batch:
        if not call.urgent or not call.line.clip_began:
            continue
        done = call.urgent[0][1]
        final = max(at for at in call.stt.finals if at <= done)
        began = next((at for _, at in call.line.clip_began if at >= final), None)
        if began is not None:
            clip_ms[number % 3].append((began - final) / 1e6)
            refer_ms.append((done - final) / 1e6)
            position = (began - call.line.connected_ns) * RATE // NS
            found = tape.sentences(call.line.let_out(), voice.spoken)
            old += any(s.end > position for s in found)
    house.close()
    every = [value for values in clip_ms.values() for value in values]
    return [
        Row("urgent final to first clip sample at the line", every, aim="<= 12"),
        *(Row(f"  said {name}", clip_ms[n]) for n, name in enumerate(situations)),
        Row("urgent final to transfer requested (step done)", refer_ms, aim="<= 200"),
        Count("calls with an old sample after the clip began", old, len(every), "0"),
    ]


# --- what is no speech


async def false_pauses(seconds: float, *, virtual: bool = True, only: str = "") -> list[Line]:
    """How often our speech is held for nothing, per minute of it; `only` kinds with this word in their name."""
    n = seconds + 2
    kinds: dict[str, tuple[Impairments, Any]] = {
        "silence": (Impairments(), None),
        "noise at -50 dBFS": (Impairments(noise_db=-50), None),
        "noise at -35 dBFS": (Impairments(noise_db=-35), None),
        "telephone, noise at -50, 2 % loss": (Impairments(mulaw=True, noise_db=-50, loss=0.02), None),
        "hum": (Impairments(), sounds.hum(n)),
        "keyboard": (Impairments(), sounds.keyboard(n)),
        "heavy breath": (Impairments(), sounds.breathing(n)),
        "speakerphone echo, -30 dB": (Impairments(echo_db=-30), None),
        "speakerphone echo, -15 dB": (Impairments(echo_db=-15), None),
        "echo -15 dB over a telephone, 200 ms": (Impairments(echo_db=-15, echo_ms=200, mulaw=True, noise_db=-60), None),
        "12 coughs a minute": (
            Impairments(),
            sounds.every(5.0, [sounds.line("cough").pcm, sounds.line("cough_2").pcm], n),
        ),
    }
    kinds = {name: kind for name, kind in kinds.items() if only in name}
    rows: list[Line] = []
    total = 0
    for name, (impairments, sound) in kinds.items():
        voice = StubVoice(seconds=seconds, sound=sounds.our_speech(seconds))
        house = House(voice, virtual=virtual)
        call = BenchCall(house, impairments=impairments)
        pauses = 0

        async def plot(call: BenchCall, name: str = name, sound: Any = sound) -> None:
            nonlocal pauses
            await call.floor_is_free()
            call.say(sounds.line("sore_yes", sounds.AGAIN), 0.2)
            await call.until(lambda _: bool(call.turns_ended))
            before = call.live.runtime.pauses
            await asyncio.sleep(0.5)
            if sound is not None:
                call.say(Sound(name, sound, ""), 0.0)
            await asyncio.sleep(seconds)
            pauses = call.live.runtime.pauses - before

        await call.carry(plot)
        house.close()
        rows.append(
            Row(f"false pauses: {name}", [pauses * 60 / seconds], f"per minute (n={pauses} in {seconds:.0f} s)")
        )
        total += pauses if "cough" not in name else 0
    minutes = seconds * sum("cough" not in name for name in kinds) / 60
    rows.append(Row("false pauses: all but coughs", [total / minutes], f"per minute (n={total} in {minutes:.1f} min)"))
    return rows


# --- start-up


def start_up(times: int) -> list[Line]:
    """From starting the interpreter to a call that could be answered, in fresh processes; and what that process holds."""
    ready, held = [], []
    for _ in range(times):
        began = time.perf_counter()
        told = subprocess.run(
            [sys.executable, "-m", "benchmarks.calls", "--ready"], check=True, capture_output=True, text=True
        ).stdout
        at, mb = json.loads(told)
        ready.append(1000 * (at - began))
        held.append(mb)
    return [Row("start-up: interpreter to ready", ready), Row("memory when ready, no call yet", held, "MB")]


def tell_ready() -> None:
    """In the fresh process: build everything a call needs, and say when (the clock is the machine's, not ours)."""

    async def get_ready() -> None:
        house = House()
        BenchCall(house)
        print(json.dumps([time.perf_counter(), peak_mb()]))
        house.close()

    run(get_ready(), virtual=False)


def peak_mb() -> float:
    """Most memory this process has held, MB (1e6 bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


# --- all of it

Work = Callable[[bool], Coroutine[Any, Any, list[Line]]]
PARTS: dict[str, tuple[Work, bool]] = {
    "one": (lambda quick: overhead(1 if quick else 4, 1), False),
    "bare": (lambda quick: bare(1 if quick else 2), False),
    "ten": (lambda quick: overhead(10, 10), False),
    "thirty": (lambda quick: overhead(30, 30), False),
    "barge-in": (lambda quick: barge_in(8 if quick else 40, 1), False),
    "barge-in-grid": (lambda quick: barge_in(60 if quick else 240, 4, virtual=True), True),
    "barge-in-phone": (
        lambda quick: barge_in(60 if quick else 240, 4, virtual=True, impairments=PHONE, where="bad telephone"),
        True,
    ),
    "barge-in-echo": (
        lambda quick: barge_in(60 if quick else 240, 4, virtual=True, impairments=ECHO, where="echo -20 dB"),
        True,
    ),
    "cough": (lambda quick: cough(3 if quick else 12), False),
    "greeting": (lambda quick: greeting(4 if quick else 18, 3), False),
    "urgent": (lambda quick: urgent(3 if quick else 18, 3), False),
    "pauses": (lambda quick: false_pauses(20.0 if quick else 60.0), True),
}
"""Work by name, and whether it runs in virtual time."""


def carry_out(name: str, quick: bool) -> None:
    """One part, in this process."""
    sys.setswitchinterval(SWITCH_S)
    work, virtual = PARTS[name]
    for row in run(work(quick), virtual=virtual):
        print(row, flush=True)


def main() -> None:
    """Run the parts that were asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few minutes instead of fifteen; smaller n")
    parser.add_argument("--here", action="store_true", help="run the parts in this process")
    parser.add_argument("--ready", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"default all: start-up {' '.join(PARTS)}")
    asked = parser.parse_args()
    if asked.ready:
        tell_ready()
        return
    if strange := [name for name in asked.parts if name not in PARTS and name != "start-up"]:
        parser.error(f"there is no part {strange[0]}; choose from: start-up {' '.join(PARTS)}")
    if not asked.here:
        load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
        print(f"stubs: model {LLM_MS} ms, voice {TTS_MS} ms; {os.cpu_count()} cores; load {load}\n", flush=True)
    for name in asked.parts or ("start-up", *PARTS):
        if name == "start-up":
            print(*start_up(3 if asked.quick else 7), sep="\n", flush=True)
        elif asked.here:
            carry_out(name, asked.quick)
        else:
            options = ["--quick"] if asked.quick else []
            subprocess.run([sys.executable, "-m", "benchmarks.calls", "--here", *options, name], check=True)


if __name__ == "__main__":
    main()
