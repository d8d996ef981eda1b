"""Figures of the telephone line: real phones, real engines, measured on the wire and in what reached the phones.

    python -m benchmarks.line [--quick] [--others 10] [PART ...]

Parts: refer, barge, dial (each alone, then with other calls beside) and many (calls at a time, and what each takes). Every packet passes through the impairer
(clean), whose clock is the machine's, as is that of the call's record; so a moment in the record and a packet at a phone
can be held against each other. The recogniser is scripted: ten local ones would fill two cores by themselves. Phones,
impairer and neighbours share the machine with the line. Nothing is asserted.
"""

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.report import Line, Row
from tests.line.telephony import CALLER_TONE, NURSE_TONE, level, tone
from tests.line.whole_line import (
    CHEST_PAIN,
    NURSE_A,
    QUEUE,
    CallRecord,
    Ladder,
    SippCaller,
    WholeLine,
    ringing,
    spoken,
    telephone,
    whole_line,
)
from triage.bench.phones import baresip, sipp
from triage.bench.phones.hearing import Heard, find, levels_db, onset, quiet_from
from triage.clips import ClipLibrary
from triage.ports import RATE, Pcm

UTTERANCE = "sore_for_me"
"""Spoken without a pause, so that one recording is one utterance; the script says what was meant."""
STEP = RATE // 50
TONE_LEVEL, TONE_SHARE = 0.015, 0.4
"""A tone is there when it is this strong and makes up this share of the power: a voice has some of every pitch."""
LOUD_DB = -45.0
ANSWERS = (
    "No it is not",
    "five five five zero one four two",
    "yes that is right",
    "I am at home on Lake Street in Denver",
    "I am calling about myself",
    "My name is Linda Green",
    "I am thirty four years old",
    "Female",
    "No",
    "I have had a sore throat for three days",
    "No",
    "No",
    "No",
)
GREETING_S, PAUSE_S = 12.3, 7.0
"""A caller who is there for the load hears the greeting out, and pauses between utterances: our reply fits in."""
LIMIT_MS = 1200.0
CLIP, CLIP_LIKENESS = ClipLibrary.load().clip("connecting_nurse").pcm, 0.5
"""Of the chest pain that every measured caller has; so alike right after the final, it is no other."""
APART_S = 1.3

Values = dict[str, list[float]]


def add(values: Values, name: str, ms: float) -> None:
    """Keep a figure; what did not happen is left out, and n shows it."""
    values.setdefault(name, [])
    if np.isfinite(ms):
        values[name].append(ms)


def quiet_tone(hz: float, seconds: float = 60.0) -> Pcm:
    """Whom the other side is known by; no voice."""
    return np.asarray(tone(hz, seconds, RATE) // 6, np.int16)


def first_tone_s(heard: Heard, hz: float, since_s: float) -> float:
    """When a tone reached a phone for the first time since."""
    for at in range(heard.position(since_s), len(heard.pcm) - STEP + 1, STEP):
        if has_tone(heard.pcm[at : at + STEP], hz):
            return heard.at_s(at)
    return float("nan")


def has_tone(pcm: Pcm, hz: float) -> bool:
    """Whether a tone sounds here."""
    found = level(pcm, hz, RATE)
    power = float(np.mean((pcm / 32768.0) ** 2))
    return found > TONE_LEVEL and found**2 / 2 > TONE_SHARE * power


def first_sound_s(heard: Heard, since_s: float) -> float:
    """When sound reached a phone for the first time since."""
    begun = onset(heard.pcm, heard.position(since_s))
    return heard.at_s(begun) if begun is not None else float("nan")


# --- one call of each kind


@dataclass
class Caller:
    """One measured call."""

    line: WholeLine
    folder: Path
    values: Values

    def phones(self, nurse: str, *, wait_s: float) -> tuple[baresip.PhoneSettings, baresip.PhoneSettings]:
        """A caller who says one thing after a while over a tone, and a nurse with another tone."""
        words = spoken(wait_s, UTTERANCE, seconds=0)
        said = quiet_tone(CALLER_TONE)
        said[: len(words)] += words // 2
        return telephone(self.folder, "caller", said), telephone(self.folder, nurse, quiet_tone(NURSE_TONE))

    def set_up(self, port: int, since_s: float) -> None:
        """Ring to greeting."""
        network = self.line.network
        invite = network.messages(method="INVITE", source=port, since_s=since_s)[0]
        answer = network.messages(status=200, answers="INVITE", target=port, since_s=since_s)[0]
        greeting_s = first_sound_s(self.line.audio(port, since_s=since_s), answer.sent_s)
        add(self.values, "ring -> answered (200 on the wire)", (answer.sent_s - invite.sent_s) * 1000)
        add(self.values, "ring -> greeting at the phone", (greeting_s - invite.sent_s) * 1000)
        add(self.values, "answered -> greeting at the phone", (greeting_s - answer.sent_s) * 1000)

    def clip(self, port: int, since_s: float, final_s: float) -> None:
        """Final to clip. What was on its way of the greeting may still arrive meanwhile, so the clip itself is looked for."""
        heard = self.line.audio(port, since_s=since_s)
        match = find(CLIP, heard.pcm, after=heard.position(final_s))
        audible_s = heard.at_s(match.start + (onset(CLIP) or 0)) if match.likeness > CLIP_LIKENESS else float("nan")
        add(self.values, "final -> clip audible at the caller's phone", (audible_s - final_s) * 1000)


async def refer(line: WholeLine, folder: Path, values: Values) -> None:
    """One urgent call, referred to a nurse who answers at once."""
    line.script(CHEST_PAIN)
    line.begin()
    call, since_s = Caller(line, folder, values), line.since()
    caller_of, nurse_of = call.phones(QUEUE, wait_s=1.2)
    line.nurses(queue=nurse_of.sip_port)
    async with baresip.phone(nurse_of) as nurse, ringing(line, caller_of) as caller:
        await nurse.event("CALL_ESTABLISHED", limit_s=20)
        await asyncio.sleep(0.8)
        both = line.audio(caller_of.sip_port, since_s=since_s, line=nurse_of.sip_port)
        to_nurse = line.heard_between(caller_of.sip_port, nurse_of.sip_port, since_s=since_s)
        await caller.command("hangup")
    record = await our_record(line)
    final_s = record.mark_s("t_final")
    call.set_up(caller_of.sip_port, since_s)
    call.clip(caller_of.sip_port, since_s, final_s)
    sent = line.network.messages(method="REFER", target=caller_of.sip_port, since_s=since_s)[0]
    rung = line.network.messages(method="INVITE", target=nurse_of.sip_port, since_s=since_s)[0]
    answered = line.network.messages(status=200, answers="INVITE", source=nurse_of.sip_port, since_s=since_s)[0]
    two_way_s = max(first_tone_s(both, NURSE_TONE, rung.sent_s), first_tone_s(to_nurse, CALLER_TONE, rung.sent_s))
    add(values, "final -> REFER on the wire", (sent.sent_s - final_s) * 1000)
    add(values, "REFER: final -> nurse's phone rings", (rung.sent_s - final_s) * 1000)
    add(values, "REFER: final -> nurse's phone has answered", (answered.sent_s - final_s) * 1000)
    add(values, "REFER: final -> nurse and caller hear each other", (two_way_s - final_s) * 1000)
    known_s = record.mark_s("t_answered")
    add(values, "REFER: final -> we know (API)", (known_s - final_s) * 1000)


async def our_record(line: WholeLine) -> CallRecord:
    """Of the calls on record since, the one that was handed over; those that load the line never are."""
    async with asyncio.timeout(20):
        while True:
            for listed in line.calls():
                if listed.call not in line.known:
                    record = line.read(listed.call)
                    if record.payloads("handoff") and listed.closed:
                        return record
            await asyncio.sleep(0.2)


async def dial(line: WholeLine, folder: Path, values: Values) -> None:
    """One urgent call to a dialled nurse, who accepts when she has heard the whisper."""
    line.script(CHEST_PAIN)
    line.begin()
    call, since_s = Caller(line, folder, values), line.since()
    caller_of, nurse_of = call.phones(NURSE_A, wait_s=1.2)
    line.nurses(nurse_a=nurse_of.sip_port)
    async with baresip.phone(nurse_of) as nurse, ringing(line, caller_of) as caller:
        await nurse.event("CALL_ESTABLISHED", limit_s=20)
        await asyncio.sleep(2.2)
        await nurse.command("sndcode", "1")
        await asyncio.sleep(1.5)
        to_caller = line.audio(caller_of.sip_port, since_s=since_s)
        to_nurse = line.audio(nurse_of.sip_port, since_s=since_s)
        pressed_s = key_s(line, nurse_of.sip_port, since_s)
        await caller.command("hangup")
        with suppress(TimeoutError):
            await nurse.event("CALL_CLOSED", limit_s=3)
    record = await our_record(line)
    final_s = record.mark_s("t_final")
    call.set_up(caller_of.sip_port, since_s)
    call.clip(caller_of.sip_port, since_s, final_s)
    rung = line.network.messages(method="INVITE", target=nurse_of.sip_port, since_s=since_s)[0]
    answered = line.network.messages(status=200, answers="INVITE", source=nurse_of.sip_port, since_s=since_s)[0]
    add(values, "dialled: final -> nurse's phone rings", (rung.sent_s - final_s) * 1000)
    add(values, "dialled: final -> nurse's phone has answered", (answered.sent_s - final_s) * 1000)
    add(values, "dialled: answered -> whisper at her phone", (first_sound_s(to_nurse, answered.sent_s) - answered.sent_s) * 1000)  # fmt: skip
    for who, heard, hz in (("nurse", to_nurse, CALLER_TONE), ("caller", to_caller, NURSE_TONE)):
        add(
            values,
            f"dialled: her key -> {who} hears the other",
            (first_tone_s(heard, hz, pressed_s) - pressed_s) * 1000,
        )
    leak = to_nurse.pcm[: to_nurse.position(pressed_s)]
    add(values, "dialled: caller's voice at her phone before the key", _tone_ms(leak, CALLER_TONE))


def _tone_ms(pcm: Pcm, hz: float) -> float:
    return 20.0 * sum(has_tone(pcm[at : at + STEP], hz) for at in range(0, len(pcm) - STEP + 1, STEP))


def key_s(line: WholeLine, port: int, since_s: float) -> float:
    """When the first packet of a key left this phone."""
    ours, theirs = line.ports_of(port, since_s=since_s)
    keys = [p.sent_s for p in line.network.packets(theirs, ours) if p.datagram[1] & 0x7F >= 96]
    return keys[0] if keys else float("nan")


async def barge(line: WholeLine, folder: Path, values: Values) -> None:
    """A caller speaks over the greeting: when does it stop at the phone, and where does the time go?"""
    line.script(*ANSWERS)
    line.begin()
    since_s = line.since()
    caller_of = telephone(folder, "caller", spoken(2.5, UTTERANCE))
    async with ringing(line, caller_of) as caller:
        await caller.event("CALL_ESTABLISHED")
        await asyncio.sleep(5.0)
        heard = line.audio(caller_of.sip_port, since_s=since_s)
        spoke = line.audio(caller_of.sip_port, since_s=since_s, to_line=True)
        number = caller_of.user
        await caller.command("hangup")
    voice = onset(spoke.pcm)
    if voice is None:
        return
    spoke_s = spoke.at_s(voice)
    stopped = quiet_from(heard.pcm, heard.position(spoke_s))
    stopped_s = heard.at_s(stopped) if stopped is not None else float("nan")
    record = await record_of(line, number)
    steps = [p for p in record.payloads("step") if any(e["type"] == "PausePlayout" for e in p["effects"])]
    decided_s = steps[0]["event"]["at_ns"] / 1e9 if steps else float("nan")
    Caller(line, folder, values).set_up(caller_of.sip_port, since_s)
    add(values, "barge-in: voice leaves the phone -> our sound stops at it", (stopped_s - spoke_s) * 1000)
    add(values, "  of it: voice to our decision (way in, detector)", (decided_s - spoke_s) * 1000)
    add(values, "  of it: our pause to silence at the phone (LiveKit, SIP service)", (stopped_s - decided_s) * 1000)


async def record_of(line: WholeLine, number: str) -> CallRecord:
    """The closed record since `begin` whose network number is this."""
    async with asyncio.timeout(20):
        while True:
            for listed in line.calls():
                if listed.call not in line.known and listed.closed:
                    record = line.read(listed.call)
                    if any(p.get("number") == number for p in record.payloads("call")):
                        return record
            await asyncio.sleep(0.2)


# --- many calls


@asynccontextmanager
async def others(line: WholeLine, folder: Path, count: int, seconds: float) -> AsyncIterator["list[SippCaller]"]:
    """So many callers who talk with the machine beside; they ring one after the other."""
    line.script(*(ANSWERS * 4))
    said = spoken(GREETING_S, *([UTTERANCE, PAUSE_S] * 12), seconds=0)
    callers = [SippCaller(folder / f"other{n}") for n in range(count)]
    ringing_them = []
    try:
        for n, caller in enumerate(callers):
            scenario = sipp.calling("other").pause(round(seconds * 1000)).bye()
            ringing_them.append(
                asyncio.ensure_future(caller.ring(line, scenario, said, limit_s=seconds + 30, number=f"+1555888{n:04}"))
            )
            await asyncio.sleep(APART_S)
        yield callers
    finally:
        for task in ringing_them:
            task.cancel()
        await asyncio.gather(*ringing_them, return_exceptions=True)
        # sipp was killed: nobody says BYE for it, so the legs are ended by the line's own end


def turns_ms(line: WholeLine, caller: SippCaller, since_s: float) -> list[float]:
    """From the end of each utterance that left a phone to the first sound of ours that reached it."""
    spoke = line.audio(caller.port, to_line=True)
    heard = line.audio(caller.port)
    loud = levels_db(spoke.pcm) >= LOUD_DB
    found: list[float] = []
    ends = [
        index
        for index in np.flatnonzero(loud[:-1] & ~loud[1:])
        if not loud[index + 1 : index + 101].any() and index + 101 < len(loud)
    ]
    for index in ends:
        end_s = spoke.at_s((index + 1) * (RATE // 100))
        if end_s < since_s:
            continue
        place = heard.position(end_s)
        if place >= len(heard.pcm) or (levels_db(heard.pcm[place : place + RATE // 10]) >= LOUD_DB).any():
            continue  # we are speaking: no turn of theirs
        reply_s = first_sound_s(heard, end_s)
        if np.isfinite(reply_s) and reply_s - end_s < PAUSE_S - 1:
            found.append((reply_s - end_s) * 1000)
    return found


@dataclass
class Cost:
    """CPU and memory of the line's programs."""

    line: WholeLine
    before: dict[str, float] = field(default_factory=dict)
    began_s: float = 0.0

    def trees(self) -> dict[str, list[psutil.Process]]:
        """Programs with all their children."""
        found: dict[str, list[psutil.Process]] = {}
        for name, top in self.line.programs().items():
            with suppress(psutil.Error):
                found[name] = [top, *top.children(recursive=True)]
        return found

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds so far, by program."""
        spent = {}
        for name, processes in self.trees().items():
            spent[name] = 0.0
            for process in processes:
                with suppress(psutil.Error):
                    times = process.cpu_times()
                    spent[name] += times.user + times.system
        return spent

    def begin(self) -> None:
        """Count from here."""
        self.before, self.began_s = self.cpu_s(), time.perf_counter()

    def cpu_percent(self) -> dict[str, float]:
        """Of one core, since `begin`."""
        took_s = time.perf_counter() - self.began_s
        return {name: 100 * (now - self.before.get(name, 0.0)) / took_s for name, now in self.cpu_s().items()}

    def memory_mb(self) -> dict[str, float]:
        """Proportional: what is shared counts in parts."""
        used: dict[str, float] = {}
        for name, processes in self.trees().items():
            for process in processes:
                with suppress(psutil.Error):
                    used[name] = used.get(name, 0.0) + process.memory_full_info().pss / 2**20
        return used


GROUPS = {"server": ("livekit-server", "redis"), "SIP service": ("sip-bench", "livekit-sip"), "worker": ("worker",)}


def grouped(by_program: dict[str, float]) -> dict[str, float]:
    """Server (with Redis), SIP service, worker."""
    return {group: sum(by_program.get(name, 0.0) for name in names) for group, names in GROUPS.items()}


async def many(line: WholeLine, folder: Path, steps: Sequence[int], seconds: float) -> list[Line]:
    """More and more calls at a time, until turn-taking as the phones hear it is too slow; what they take meanwhile."""
    measure = Cost(line)
    measure.begin()
    await asyncio.sleep(4.0)
    idle, idle_mb = grouped(measure.cpu_percent()), grouped(measure.memory_mb())
    rows: list[Line] = []
    costs: list[Line] = []
    held, callers = 0, list[SippCaller]()
    last_s = sum(steps) * APART_S + len(steps) * seconds + 60.0
    async with contextlib.AsyncExitStack() as stack:
        for count in steps:
            more = others(line, folder / str(count), count - len(callers), last_s)
            callers += await stack.enter_async_context(more)
            await asyncio.sleep(GREETING_S)
            since_s = line.since()
            measure.begin()
            await asyncio.sleep(seconds)
            cpu, mb = grouped(measure.cpu_percent()), grouped(measure.memory_mb())
            turns = [ms for caller in callers for ms in turns_ms(line, caller, since_s)]
            answered = sum(bool(line.network.messages(status=200, answers="INVITE", target=c.port)) for c in callers)
            rows.append(
                Row(f"{count:2} calls: utterance ends -> reply, both at the phone", turns, aim=f"p95 {LIMIT_MS:.0f}")
            )
            rows.append(
                f"   {answered} answered; CPU of the line {sum(cpu.values()):.0f} of {100 * (os.cpu_count() or 1)} %"
            )
            print(f"  {rows[-2]}\n  {rows[-1]}", file=sys.stderr, flush=True)
            for group in GROUPS:
                per = count or 1
                costs.append(
                    f"{count:2} calls, each: {group:<12} {(cpu[group] - idle[group]) / per:6.1f} % of a core, "
                    f"{(mb[group] - idle_mb[group]) / per:6.1f} MB"
                )
            if answered < count or not turns or float(np.percentile(turns, 95)) > LIMIT_MS:
                break
            held = count
    rows.append(Row("concurrent calls with p95 turn-taking within the aim", [float(held)], "calls"))
    return [*rows, "memory is proportional (PSS); the worker keeps 2 processes ready", *costs]


# --- the evening


async def repeated(
    what: Callable[[WholeLine, Path, Values], Coroutine[Any, Any, None]], line: WholeLine, folder: Path, times: int
) -> list[Line]:
    """One kind of call so many times, one after the other."""
    values: Values = {}
    failed = 0
    for n in range(times):
        place = folder / f"{what.__name__}{n}"
        place.mkdir(parents=True)
        try:
            async with asyncio.timeout(45):
                await what(line, place, values)
        except (Exception, BaseExceptionGroup) as error:
            failed += 1
            print(f"  {what.__name__} {n + 1} failed: {type(error).__name__}", file=sys.stderr)
        line.nurses()
        await asyncio.sleep(APART_S)
    rows: list[Line] = [Row(name, found) for name, found in values.items()]
    return [*rows, *([f"{failed} of {times} calls failed"] if failed else [])]


def told(title: str, rows: Sequence[Line]) -> None:
    """Print one part."""
    print(f"\n{title}")
    for row in rows:
        print(f"  {row}")
    sys.stdout.flush()


Kind = Callable[[WholeLine, Path, Values], Coroutine[Any, Any, None]]
SETTINGS = {"worker_idle_processes": "2"}


async def evening(parts: Sequence[str], *, beside: int, quick: bool, folder: Path) -> None:
    """Every part that was asked for."""
    calls, loaded = (2, 0) if quick else (8, 4)
    lines: list[tuple[Ladder, dict[str, Kind]]] = [
        (Ladder([(QUEUE, "refer", 8)]), {"refer": refer, "barge": barge}),
        (Ladder([(NURSE_A, "dial", 8)]), {"dial": dial}),
    ]
    for number, (ladder, kinds) in enumerate(lines):
        wanted = {name: kind for name, kind in kinds.items() if name in parts}
        if not wanted:
            continue
        place = folder / str(number)
        with whole_line(place / "line", ladder, **SETTINGS) as line:
            for name, kind in wanted.items():
                told(f"{name}, no other call", await repeated(kind, line, place / name, calls))
            if loaded:
                async with others(line, place / "others", beside, 240.0):
                    await asyncio.sleep(2.0)
                    for name, kind in wanted.items():
                        rows = await repeated(kind, line, place / f"{name}-loaded", loaded)
                        told(f"{name}, {beside} other calls", rows)
    if "many" in parts:
        with whole_line(folder / "many" / "line", Ladder([(QUEUE, "refer", 8)]), **SETTINGS) as line:
            steps = (1, 2) if quick else (2, 4, 6, 8, 10, 12)
            told("many", await many(line, folder / "many", steps, 9.0 if quick else 16.0))


PARTS = ("refer", "barge", "dial", "many")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.line", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("parts", nargs="*", default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="two of each, idle only: whether it runs")
    parser.add_argument("--others", type=int, default=10, help="calls beside the measured one")
    given = parser.parse_args(arguments)
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    for lack in (baresip.missing(), sipp.missing()):
        if lack is not None:
            parser.error(lack)
    began_s = time.perf_counter()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start")
    with tempfile.TemporaryDirectory(prefix="triage-line-") as folder:
        asyncio.run(evening(given.parts, beside=given.others, quick=given.quick, folder=Path(folder)))
    print(f"\n{time.perf_counter() - began_s:.0f} s; load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
