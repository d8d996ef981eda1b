"""A trivial pipeline to compare with: the same line, caller, detector and stub stages, and nothing else.

No machine, no record, no classifier, no words of its own: half a second of silence ends a turn, a voice over ours drops
what is queued. What it costs and how late it is, nobody can do without.
"""

import asyncio
from collections import deque

from benchmarks.stage import Caller, Sound, TimedLine
from benchmarks.stubs import StubModel, StubVoice
from triage.clock import Clock
from triage.ports import FRAME, RATE, Frame, Pcm, ReplyRequest, TextDelta
from triage.stages.silero import SileroVoiceActivity

SPEECH = 0.5
SILENCE = RATE // 2
"""Samples of silence that end a turn."""
AHEAD = RATE // 200
"""Samples the line still has when it gets the next frame."""


class BareCall:
    """One call of the trivial pipeline."""

    def __init__(self, voice: StubVoice, model: StubModel) -> None:
        self._voice, self._model = voice, model
        self.clock, self.caller = Clock(), Caller()
        self.line = TimedLine(self.clock, self.caller)
        self.line.now_ns, self.line.voice_began, self.line.clip_began = self.clock.now_ns, [], []
        self.line.clip_heads = {}
        self._vad = SileroVoiceActivity.load()
        self._queue: deque[Pcm] = deque()
        self._more, self._answered = asyncio.Event(), asyncio.Event()
        self._reply: asyncio.Task[None] | None = None
        self.turns_ended: list[int] = []
        self.seconds = 0.0

    async def carry(self, sounds: list[Sound]) -> None:
        """One turn of the caller's for each sound, each answered, then the end."""
        began = self.clock.now_ns()
        await self.line.connect()
        async with asyncio.TaskGroup() as group:
            hearing, sending = group.create_task(self._hear()), group.create_task(self._send())
            for sound in sounds:
                self.caller.place(sound, self.line.position() + RATE // 5)
                self._answered.clear()
                await self._answered.wait()
            hearing.cancel()
            sending.cancel()
        await self.line.close()
        self.seconds = (self.clock.now_ns() - began) / 1e9

    async def _hear(self) -> None:
        voiced, last = False, 0
        async for frame in self.line.frames():
            for window in self._vad.feed(frame):
                if window.probability >= SPEECH:
                    voiced, last = True, window.end
                    if self._queue:
                        self._queue.clear()
                        self.line.drop()
            if voiced and _end(frame) - last >= SILENCE:
                voiced = False
                self.turns_ended.append(self.clock.now_ns())
                self._reply = asyncio.ensure_future(self._answer())

    async def _answer(self) -> None:
        request = ReplyRequest(generation=1, turn=1, heard="", sayings=(), history=())
        async for delta in self._model.reply(request):
            if isinstance(delta, TextDelta):
                async for chunk in self._voice.speak(delta.text.strip()):
                    self._queue += [chunk.pcm[at : at + FRAME] for at in range(0, len(chunk.pcm), FRAME)]
                    self._more.set()
        await asyncio.sleep(len(self._queue) * FRAME / RATE + 0.1)
        self._answered.set()

    async def _send(self) -> None:
        while True:
            if not self._queue:
                self._more.clear()
                await self._more.wait()
            elif self.line.queued() <= AHEAD:
                self.line.send(self._queue.popleft())
            else:
                await asyncio.sleep((self.line.queued() - AHEAD) / RATE)

    def overheads_ms(self, stubs_ms: float) -> list[float]:
        """As `BenchCall.overheads_ms`."""
        return [
            (began - ended) / 1e6 - stubs_ms
            for ended, began in zip(self.turns_ended, self.line.voice_began, strict=False)
        ]


def _end(frame: Frame) -> int:
    return frame.start + len(frame.pcm)
