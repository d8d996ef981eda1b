"""Loads for the figures of the telephone line: callers beside, more and more of them, and what a call takes."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from benchmarks.report import Line, Row
from tests.line.whole_line import SippCaller, WholeLine, spoken, until
from triage.bench.phones import sipp
from triage.bench.phones.hearing import LOUD_DB, Heard, levels_db, onset
from triage.ports import RATE

UTTERANCE = "sore_for_me"
"""Spoken without a pause, so that one recording is one utterance; the script says what was meant."""
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
APART_S = 1.3
RECENT_S = 0.5
ANSWERED_WITHIN_S = 15.0


def first_sound_s(heard: Heard, since_s: float) -> float:
    """When sound reached a phone for the first time since."""
    begun = onset(heard.pcm, heard.position(since_s))
    return heard.at_s(begun) if begun is not None else float("nan")


@dataclass
class Crowd:
    """Callers beside."""

    callers: list[SippCaller] = field(default_factory=list)
    dialling: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Whoever dials while another script is in force holds it: a call takes the script that it finds."""


@asynccontextmanager
async def others(line: WholeLine, folder: Path, count: int, seconds: float) -> AsyncIterator[Crowd]:
    """So many callers who talk with the machine; they ring one after the other, and again when their call ends."""
    said = spoken(GREETING_S, *([UTTERANCE, PAUSE_S] * 12), seconds=0)
    until_s = line.since() + seconds
    crowd = Crowd([SippCaller(folder / f"other{n}") for n in range(count)])

    async def talk(caller: SippCaller, number: str) -> None:
        while (left_s := until_s - line.since()) > 0:
            lasts_s = min(left_s, len(said) / RATE)
            scenario = sipp.calling("other").pause(round(lasts_s * 1000)).bye()
            async with crowd.dialling:
                line.script(*(ANSWERS * 4))
                call = asyncio.ensure_future(caller.ring(line, scenario, said, limit_s=lasts_s + 30, number=number))
                await asyncio.sleep(APART_S)
            await call

    async with contextlib.AsyncExitStack() as stack:
        for n, caller in enumerate(crowd.callers):
            talking = asyncio.ensure_future(talk(caller, f"+1555888{n:04}"))
            stack.push_async_callback(asyncio.gather, talking, return_exceptions=True)
            stack.callback(talking.cancel)
        with suppress(TimeoutError):  # who is not answered shows in the figures
            await until(lambda: standing(line, crowd.callers) == count, count * APART_S + ANSWERED_WITHIN_S)
        yield crowd  # at the end sipp is killed: nobody says BYE for it, so the legs end with the line


def standing(line: WholeLine, callers: Sequence[SippCaller]) -> int:
    """How many of them are in a call with the line at this moment: sound of ours reaches them."""
    now_s, found = line.since(), 0
    for caller in callers:
        with suppress(AssertionError):  # none was agreed on yet
            packets = line.network.packets(*line.ports_of(caller.port))
            found += bool(packets) and now_s - packets[-1].sent_s < RECENT_S
    return found


def gaps_ms(line: WholeLine, callers: Sequence[SippCaller], since_s: float) -> list[float]:
    """Between two packets of sound that the line sent one after the other, as the wire saw them."""
    found: list[float] = []
    for caller in callers:
        with suppress(AssertionError):
            sent = [p.sent_s for p in line.network.packets(*line.ports_of(caller.port)) if p.sent_s >= since_s]
            found += (np.diff(sent) * 1000).tolist()
    return found


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
            joining = others(line, folder / str(count), count - len(callers), last_s)
            callers += (await stack.enter_async_context(joining)).callers
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
            gaps = gaps_ms(line, callers, since_s)
            rows.append(
                f"   {answered} answered; CPU of the line {sum(cpu.values()):.0f} of {100 * (os.cpu_count() or 1)} %; "
                f"gaps between packets sent: n {len(gaps)}, p99.9 {np.percentile(gaps, 99.9) if gaps else 0:.0f} ms"
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
    more = ", at least: more were not tried" if held == steps[-1] else ""
    rows.append(Row(f"concurrent calls with p95 turn-taking within the aim{more}", [float(held)], "calls"))
    return [*rows, "memory is proportional (PSS); the worker keeps 2 processes ready", *costs]
