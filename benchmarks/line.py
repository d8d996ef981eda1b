"""Figures of the telephone line: real phones, real engines, measured on the wire and in what reached the phones.

    python -m benchmarks.line [--quick] [--others 10] [PART ...]

Parts: refer, barge, dial (each alone, then with other calls beside) and many (calls at a time, and what each takes).
Every packet passes through the impairer (clean), whose clock is the machine's, as is that of the call's record; so a
moment in the record and a packet at a phone can be held against each other. The recogniser is scripted: ten local ones would fill two cores by themselves. Phones,
impairer and neighbours share the machine with the line. Nothing is asserted.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.line_load import ANSWERS, APART_S, UTTERANCE, Crowd, first_sound_s, many, others, standing
from benchmarks.report import Line, Row
from tests.line.telephony import CALLER_TONE, NURSE_TONE, level, tone
from tests.line.whole_line import (
    CHEST_PAIN,
    NURSE_A,
    PRIORITY,
    QUEUE,
    CallRecord,
    Ladder,
    WholeLine,
    ringing,
    spoken,
    telephone,
    whole_line,
)
from triage.bench.phones import baresip, sipp
from triage.bench.phones.hearing import Heard, find, onset, quiet_from
from triage.clips import ClipLibrary
from triage.ports import RATE, Pcm

STEP = RATE // 50
TONE_LEVEL, TONE_SHARE = 0.015, 0.4
"""A tone is there when it is this strong and makes up this share of the power: a voice has some of every pitch."""
CLIP, CLIP_LIKENESS = ClipLibrary.load().clip("connecting_nurse").pcm, 0.5
"""Of the chest pain that every measured caller has; so alike right after the final, it is no other."""

Values = dict[str, list[float]]
Kind = Callable[[WholeLine, Path, Values], Coroutine[Any, Any, None]]


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


# --- one call of each kind


@dataclass(frozen=True)
class HandedOver:
    """One hand-off: its record, and moments in s of the machine's clock."""

    record: CallRecord
    final_s: float
    rung_s: float
    answered_s: float


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

    async def handed_over(self, kind: str, caller: int, nurse: int, since_s: float) -> HandedOver:
        """The record of the call, and when the nurse's phone rang and answered."""
        record, network = await our_record(self.line), self.line.network
        final_s = record.mark_s("t_final")
        self.set_up(caller, since_s)
        self.clip(caller, since_s, final_s)
        rung = network.messages(method="INVITE", target=nurse, since_s=since_s)[0]
        answered = network.messages(status=200, answers="INVITE", source=nurse, since_s=since_s)[0]
        add(self.values, f"{kind}: final -> nurse's phone rings", (rung.sent_s - final_s) * 1000)
        add(self.values, f"{kind}: final -> nurse's phone has answered", (answered.sent_s - final_s) * 1000)
        return HandedOver(record, final_s, rung.sent_s, answered.sent_s)


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
    over = await call.handed_over("REFER", caller_of.sip_port, nurse_of.sip_port, since_s)
    sent = line.network.messages(method="REFER", target=caller_of.sip_port, since_s=since_s)[0]
    two_way_s = max(first_tone_s(both, NURSE_TONE, over.rung_s), first_tone_s(to_nurse, CALLER_TONE, over.rung_s))
    add(values, "final -> REFER on the wire", (sent.sent_s - over.final_s) * 1000)
    add(values, "REFER: final -> nurse and caller hear each other", (two_way_s - over.final_s) * 1000)
    add(values, "REFER: final -> we know (API)", (over.record.mark_s("t_answered") - over.final_s) * 1000)


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
    over = await call.handed_over("dialled", caller_of.sip_port, nurse_of.sip_port, since_s)
    whisper_s = first_sound_s(to_nurse, over.answered_s)
    add(values, "dialled: answered -> whisper at her phone", (whisper_s - over.answered_s) * 1000)
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


# --- the evening


async def repeated(what: Kind, line: WholeLine, folder: Path, times: int, beside: Crowd | None = None) -> list[Line]:
    """One kind of call so many times, one after the other; how many of those beside stood meanwhile."""
    values: Values = {}
    crowd = beside or Crowd()
    failed, stood = 0, list[int]()
    for n in range(times):
        place = folder / f"{what.__name__}{n}"
        place.mkdir(parents=True)
        async with crowd.dialling:
            stood.append(standing(line, crowd.callers))
            try:
                async with asyncio.timeout(LONGEST_S):
                    await what(line, place, values)
            except (Exception, BaseExceptionGroup) as error:
                failed += 1
                print(f"  {what.__name__} {n + 1} failed: {type(error).__name__}", file=sys.stderr)
        line.nurses()
        await asyncio.sleep(APART_S)
    rows: list[Line] = [Row(name, found) for name, found in values.items()]
    if beside:
        rows.append(f"other calls that stood when each began: {min(stood)} to {max(stood)}")
    return [*rows, *([f"{failed} of {times} calls failed"] if failed else [])]


def told(title: str, rows: Sequence[Line]) -> None:
    """Print one part."""
    print(f"\n{title}")
    for row in rows:
        print(f"  {row}")
    sys.stdout.flush()


SETTINGS = {"worker_idle_processes": "2"}
CALLS = 8
LONGEST_S = 45.0
"""One measured call, s."""


async def evening(parts: Sequence[str], *, beside: int, quick: bool, folder: Path) -> None:
    """Every part that was asked for."""
    calls, loaded = (2, 0) if quick else (CALLS, CALLS)
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
                async with others(line, place / "others", beside, len(wanted) * loaded * LONGEST_S) as crowd:
                    await asyncio.sleep(2.0)
                    for name, kind in wanted.items():
                        rows = await repeated(kind, line, place / f"{name}-loaded", loaded, crowd)
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
    print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start; line and phones at nice {PRIORITY} where allowed"
    )
    with tempfile.TemporaryDirectory(prefix="triage-line-") as folder:
        asyncio.run(evening(given.parts, beside=given.others, quick=given.quick, folder=Path(folder)))
    print(f"\n{time.perf_counter() - began_s:.0f} s; load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
