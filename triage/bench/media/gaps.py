"""Measure the beat: how far apart the packets are that the bench sends to its phones.

    python -m triage.bench.media.gaps --calls 10 --seconds 60 --setups 2

The side that is measured runs in a process of its own: it answers and plays a tone into each call. The phones are a
second process, which also rings and hangs up `--setups` further calls a second meanwhile.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence

import numpy as np

from triage.bench.sip.agent import Agent
from triage.bench.sip.ports import CODECS, Call, IncomingCall

MODULE = "triage.bench.media.gaps"
SETTLE_S = 1.0
RTP_OF_THE_LINE, RTP_OF_THE_PHONES = (31_000, 31_398), (31_400, 31_798)


async def play(call: Call) -> None:
    """Play a tone until the call is over."""
    rate = call.codec.rate
    wave = (6000 * np.sin(2 * np.pi * 500 * np.arange(rate // 50) / rate)).astype(np.int16)
    loop = asyncio.get_running_loop()
    due = loop.time()
    while call.ended is None:
        call.send_audio(wave)
        due += 0.02
        await asyncio.sleep(max(0.0, due - loop.time()))


async def serve() -> None:
    """Answer every call; on each line of standard input say what was measured since the last one, as JSON."""
    agent = Agent(port=0, rtp_ports=RTP_OF_THE_LINE, max_calls=100)
    async with asyncio.TaskGroup() as group:

        async def answered(call: IncomingCall) -> None:
            call.ring()
            await call.answer()
            await play(call)

        def rung(call: IncomingCall) -> None:
            group.create_task(answered(call))

        agent.on_call = rung
        await agent.start()
        print(agent.address[1], flush=True)
        loop = asyncio.get_running_loop()
        while (line := await loop.run_in_executor(None, sys.stdin.readline)) and line.strip() == "measured":
            print(json.dumps(agent.gaps.summary()), flush=True)
            agent.gaps.clear()
        await agent.stop()


async def measure(calls: int, seconds: float, setups: float, codecs: Sequence[str]) -> dict[str, float]:
    """Return what the line measured over so many calls, after they had all been set up."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", MODULE, "--serve",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert child.stdin is not None and child.stdout is not None
    port = int(await child.stdout.readline())
    target = f"sip:line@127.0.0.1:{port}"
    phones = Agent(port=0, rtp_ports=RTP_OF_THE_PHONES, allowed_targets=[f"127.0.0.1:{port}"], max_calls=100)
    await phones.start()
    try:
        for n in range(calls):
            await phones.dial(target, from_user=f"phone{n}", codecs=[codecs[n % len(codecs)]], ring_timeout_s=5)
        await asyncio.sleep(SETTLE_S)
        child.stdin.write(b"measured\n")
        await child.stdout.readline()
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while (left := until - loop.time()) > 0:
            await asyncio.sleep(min(left, 1 / setups if setups else left))
            if setups:
                await (await phones.dial(target, from_user="more", ring_timeout_s=5)).hang_up()
        child.stdin.write(b"measured\n")
        return dict(json.loads(await child.stdout.readline()))
    finally:
        child.stdin.close()
        await phones.stop()
        await child.wait()


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description="how far apart the packets are that the bench sends")
    parser.add_argument("--calls", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--setups", type=float, default=0, help="further calls set up and ended per second")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve())
        return
    found = asyncio.run(measure(given.calls, given.seconds, given.setups, CODECS))
    print(f"{given.calls} calls, {given.seconds:g} s, {given.setups:g} set-ups/s: ", end="")
    print("  ".join(f"{name} {value:g}{'' if name == 'n' else ' ms'}" for name, value in found.items()))


if __name__ == "__main__":
    main()
