"""Measures what the LiveKit line's sound takes: `.venv-line/bin/python -m tests.line.line_delay [--calls N] [--codec C]`.

Real engines, the bench and phones of ours on this machine, all phones in this process, nothing impaired. `LiveKitLine.
playout_delay` is the p50 of "send to ear". The phone has no jitter buffer: a packet is at the ear when it arrives.
"""

import argparse
import asyncio
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from fsm.states import RungKind
from tests.line.livekit_calls import LiveCallLeg, Telephony, telephony
from tests.line.stack import Stack, found_engines
from triage.ports import FRAME, RATE, SignalKind

LOUD = 2000
HZ, CALLER_HZ, NURSE_HZ = 1000.0, 700.0, 1100.0
TIMES = 12


def wave(seconds: float) -> Any:
    return (12_000 * np.sin(2 * np.pi * HZ * np.arange(round(seconds * RATE)) / RATE)).astype(np.int16)


def onset(heard: list[tuple[float, Any]], after: float, rate: int) -> float | None:
    """When the first loud sample after a moment was at the ear."""
    for at, pcm in heard:
        loud = np.abs(pcm.astype(np.int32)) > LOUD
        if at > after and loud.any():
            return float(at + np.argmax(loud) / rate)
    return None


async def sounds(leg: LiveCallLeg, figures: dict[str, list[float]]) -> None:
    loop = asyncio.get_running_loop()
    rate = leg.phone.call.codec.rate
    for n in range(TIMES):
        began = loop.time()
        for at in range(0, 4800, FRAME):
            leg.line.send(wave(0.3)[at : at + FRAME])
            await asyncio.sleep(max(0.0, began + (at + FRAME) / RATE - 0.005 - loop.time()))
        await asyncio.sleep(0.3 + 0.0071 * n)
        heard = onset(leg.phone.heard, began, rate)
        if heard is not None:
            figures["send to ear"].append(heard - began)
        for _ in range(20):
            leg.line.send(wave(0.02))
        await asyncio.sleep(0.2 + 0.0043 * n)
        leg.line.drop()
        dropped = loop.time()
        await asyncio.sleep(0.35)
        last = [(at, pcm) for at, pcm in leg.phone.heard if np.abs(pcm.astype(np.int32)).max() > LOUD][-1]
        quiet = rate // 50 - np.argmax(np.abs(last[1][::-1].astype(np.int32)) > LOUD)
        figures["drop to silence at the ear"].append(last[0] + quiet / rate - dropped)


async def upwards(leg: LiveCallLeg, figures: dict[str, list[float]]) -> None:
    loop = asyncio.get_running_loop()
    for n in range(TIMES):
        await asyncio.sleep(0.3 + 0.0071 * n)
        first, spoke = len(leg.frames), loop.time()
        leg.phone.hz = HZ
        await asyncio.sleep(0.2)
        leg.phone.hz = 0.0
        frames = [(at - FRAME / RATE, f.pcm) for at, f in zip(leg.arrived[first:], leg.frames[first:], strict=True)]
        heard = onset(frames, 0.0, RATE)
        if heard is not None:
            figures["phone to frame (up to 20 ms of it waiting for its packet)"].append(heard + FRAME / RATE - spoke)


async def nurses(world: Telephony, leg: LiveCallLeg, figures: dict[str, list[float]], attempt: int) -> None:
    loop = asyncio.get_running_loop()
    nurse = world.nurse(f"nurse{attempt}", attempt % 4, hz=NURSE_HZ, ring_s=0.5)
    leg.phone.hz = CALLER_HZ
    leg.phone.heard.clear()
    asked = loop.time()
    leg.transfer(attempt, RungKind.DIAL, f"nurse{attempt}")
    await asyncio.wait_for(nurse.rang.wait(), 5)
    figures["dial to ringing"].append(loop.time() - asked)
    await asyncio.wait_for(nurse.picked_up.wait(), 5)
    picked_up = loop.time()
    await leg.until(lambda: SignalKind.ANSWERED in leg.kinds(attempt))
    figures["picked up to ANSWERED"].append(leg.time_of(SignalKind.ANSWERED, attempt) - picked_up)
    whispered = loop.time()
    leg.line.whisper(attempt, wave(0.3))
    await asyncio.sleep(1.2)
    assert nurse.phone is not None
    figures["whisper ordered to heard, right after the answer"].append(nurse.phone.loud(HZ)[0] - whispered)
    figures["patient heard by the held nurse"].append(0.02 * len(nurse.phone.loud(CALLER_HZ)))
    figures["nurse heard by the patient before the bridge"].append(0.02 * len(leg.phone.loud(NURSE_HZ)))
    bridged = loop.time()
    leg.line.bridge(attempt)
    await asyncio.sleep(1.0)
    both = [nurse.phone.loud(CALLER_HZ), leg.phone.loud(NURSE_HZ)]
    if all(any(at > bridged for at in ear) for ear in both):
        figures["bridge to both hear each other"].append(
            max(min(t for t in ear if t > bridged) for ear in both) - bridged
        )
    leg.line.release(attempt)
    await asyncio.wait_for(nurse.gone.wait(), 5)
    leg.phone.hz = 0.0
    await nurse.stop()


async def measure(engines: Stack, calls: int, codec: str) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {
        name: []
        for name in (
            "send to ear",
            "drop to silence at the ear",
            "phone to frame (up to 20 ms of it waiting for its packet)",
            "dial to ringing",
            "picked up to ANSWERED",
            "whisper ordered to heard, right after the answer",
            "patient heard by the held nurse",
            "nurse heard by the patient before the bridge",
            "bridge to both hear each other",
        )
    }
    async with telephony(engines) as world:
        for n in range(calls):
            async with world.call(codec=codec) as leg:
                await asyncio.sleep(0.8)
                await sounds(leg, figures)
                await upwards(leg, figures)
                await nurses(world, leg, figures, n + 1)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=5)
    parser.add_argument("--codec", choices=("PCMU", "PCMA", "G722"), default="PCMU")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        engines = Stack(Path(folder), found_engines())
        try:
            engines.start("redis")
            engines.start("server")
            figures = asyncio.run(measure(engines, asked.calls, asked.codec))
        finally:
            engines.stop()
    print(f"{asked.codec}, ms: n p50 p95 max")
    for name, seconds in figures.items():
        if seconds:
            p50, p95, most = np.percentile(np.array(seconds) * 1000, [50, 95, 100])
            print(f"{name}: {len(seconds)} {p50:.0f} {p95:.0f} {most:.0f}")


if __name__ == "__main__":
    main()
