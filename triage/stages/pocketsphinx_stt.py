"""The offline recogniser: pocketsphinx in a child process, for demos, tests and synthetic 16 kHz callers only.

It always returns words, also for a cough; so it is fed nothing but what the voice detector lets through, and its finals
carry a probability per word by which the runtime tells words from noise. Interims carry none.
"""

import asyncio
import importlib.util
import json
import sys
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from triage.errors import StageError, TimedOut, Unavailable
from triage.ports import FRAME, RATE, Frame, Pcm, Transcript, Word
from triage.stages.pocketsphinx_child import HEAD

LEAD_IN = 15
"""Frames from before the gate opened that are decoded too (300 ms)."""
STEP = 5
"""Frames per piece sent to the engine (100 ms)."""
BACKLOG = 100
"""Pieces sent and not answered, at which the engine is given up (10 s of speech)."""
BROKEN_MODEL = "its language model is missing or broken; install the package again"
NO_WHEEL = "pocketsphinx has no wheel for this Python; use Python 3.11 or 3.13 and install the package again"
CEPSTRAL_MEAN = "51.4,7.7,5.6,15.6,-1.9,0.8,4.9,-6.6,-3.8,-2.4,4.8,1.5,2.2"
"""Where the engine's channel estimate starts: the mean of its four flite voices; it adapts over the call."""

HESITATIONS = frozenset({"ah", "eh", "er", "hmm", "huh", "mm", "uh", "um"})
"""Heard in coughs, gasps and murmurs with full confidence; they are no words."""

_HOP = RATE // 100


def language_files() -> tuple[Path, Path]:
    """The shipped language model and the pronunciations that the engine's dictionary lacks."""
    folder = Path(str(files("triage.stages"))) / "lm"
    return folder / "triage.arpa.gz", folder / "extra.dict"


class PocketsphinxSpeechToText:
    """One caller's recogniser; it adapts to that caller, so make one per call."""

    name = "pocketsphinx"
    local = True

    def __init__(
        self,
        *,
        busy: Callable[[], AbstractContextManager[Any]] = nullcontext,
        cepstral_mean: str = CEPSTRAL_MEAN,
        language: tuple[Path, Path] | None = None,
    ) -> None:
        """`busy` is held while the child has work of ours, so that virtual time waits for it.

        `language`: another language model (ARPA, packed) and its extra pronunciations.
        """
        self._language = language or language_files()
        self._busy = busy
        self._cepstral_mean = cepstral_mean
        self._child: _Child | None = None
        self._lead_in: deque[Frame] = deque(maxlen=LEAD_IN)
        self._piece: list[Frame] = []
        self._open = _Utterance(1, 0)
        self._unanswered: deque[tuple[_Utterance, int, ExitStack]] = deque()
        self._out: asyncio.Queue[Transcript | StageError | None] = asyncio.Queue()
        self._position = 0
        self._over = False

    async def start(self) -> None:
        """Start the child and wait until it has loaded its model (about half a second).

        Raises:
            Unavailable: no wheel for this Python, a model file is missing, or the child died.
        """
        if self._child is not None or self._over:
            return
        try:
            self._child = await self._launch()
        except Unavailable as error:
            self._end(error)
            raise

    async def _launch(self) -> "_Child":
        if importlib.util.find_spec("pocketsphinx") is None:
            raise Unavailable("stt", NO_WHEEL)
        script = files("triage.stages") / "pocketsphinx_child.py"
        arguments = [*map(str, self._language), self._cepstral_mean]
        with self._busy():
            try:
                _, child = await asyncio.get_running_loop().subprocess_exec(
                    lambda: _Child(self._answered, self._died),
                    *(sys.executable, "-P", str(script), *arguments),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.DEVNULL,
                )
            except OSError as error:
                raise Unavailable("stt", "the recogniser's process cannot be started") from error
            await child.ready.wait()
            if child.refusal:
                await child.stop()
                raise Unavailable("stt", child.refusal)
        return child

    def feed(self, frame: Frame, *, voiced: bool) -> None:
        """Take audio in order; never waits. Unvoiced frames are kept as the lead-in of the next voiced one."""
        self._position = frame.start + len(frame.pcm)
        if not voiced:
            self._lead_in.append(frame)
            return
        self._piece += [*self._lead_in, frame]
        self._lead_in.clear()
        while len(self._piece) >= STEP:
            self._send(self._piece[:STEP])
            del self._piece[:STEP]

    def finish_utterance(self) -> None:
        """Ask for a final of what was decoded since the last one; an empty one where that is nothing."""
        if self._piece:
            self._send(self._piece)
            self._piece = []
        self._request(b"F", b"")
        self._open = _Utterance(self._open.number + 1, self._position)

    async def transcripts(self) -> AsyncIterator[Transcript]:
        """Interims and finals in order; ends after close().

        Raises:
            Unavailable: the child died; nothing more will come.
            TimedOut: the child stopped answering; nothing more will come.
        """
        while (item := await self._out.get()) is not None:
            if isinstance(item, StageError):
                raise item
            yield item

    async def close(self) -> None:
        """Stop the child; idempotent."""
        self._end(None)
        if self._child is not None:
            with self._busy():
                await self._child.stop()

    @property
    def unanswered(self) -> int:
        """Pieces and finishes sent to the engine that it has not answered yet."""
        return len(self._unanswered)

    @property
    def pid(self) -> int | None:
        """The child's process id; None before it was started."""
        return self._child.pid if self._child else None

    def _send(self, piece: list[Frame]) -> None:
        pcm: Pcm = np.concatenate([frame.pcm for frame in piece])
        for frame in piece:
            self._open.heard(frame)
        self._request(b"A", pcm.astype("<i2", copy=False).tobytes())

    def _request(self, kind: bytes, body: bytes) -> None:
        if self._over or self._child is None:
            return
        if len(self._unanswered) >= BACKLOG:
            self._child.kill()
            self._end(TimedOut("stt", "the recogniser does not keep up"))
            return
        work = ExitStack()
        work.enter_context(self._busy())
        self._unanswered.append((self._open, self._open.end, work))
        self._child.send(kind, body)

    def _answered(self, kind: bytes, body: bytes) -> None:
        """One reply of the child, which belongs to the oldest open request."""
        if self._over:
            return
        utterance, end, work = self._unanswered.popleft()
        words = utterance.words(json.loads(body), final=kind == b"E")
        if kind == b"E" or words:
            self._out.put_nowait(utterance.transcript(words, end, final=kind == b"E"))
        work.close()

    def _died(self) -> None:
        self._end(Unavailable("stt", "the recogniser's process died"))

    def _end(self, last: StageError | None) -> None:
        """Close the stream, once, with `last` as its last item."""
        if self._over:
            return
        self._over = True
        self._out.put_nowait(last)
        while self._unanswered:
            self._unanswered.popleft()[-1].close()


class _Utterance:
    """Where in the call the pieces of one utterance lie: gated audio has gaps that the engine does not know of."""

    def __init__(self, number: int, began: int) -> None:
        self.number = number
        self._began = began
        self._offsets: list[int] = []
        self._positions: list[int] = []
        self._length = 0
        self.end = began
        """Position up to which audio went to the engine."""

    def heard(self, frame: Frame) -> None:
        """A frame goes to the engine."""
        if not self._positions or frame.start != self.end:
            self._offsets.append(self._length)
            self._positions.append(frame.start)
        self._length += FRAME
        self.end = frame.start + FRAME

    def words(self, segments: list[list[Any]], *, final: bool) -> tuple[Word, ...]:
        """The engine's segments without its silences, noises and variant marks."""
        words: list[Word] = []
        for text, first, last, probability in segments:
            if text[0] in "<[+":
                continue
            plain = text.partition("(")[0]
            if plain in HESITATIONS:
                continue
            confidence = min(1.0, max(0.0, probability)) if final else None
            words.append(Word(plain, confidence, self._place(first * _HOP), self._place((last + 1) * _HOP)))
        return tuple(words)

    def transcript(self, words: tuple[Word, ...], end: int, *, final: bool) -> Transcript:
        """What the port promises; `end` is how far the engine had been fed."""
        start = self._positions[0] if self._positions else self._began
        text = " ".join(word.text for word in words)
        return Transcript(self.number, final, text, words, start, max(end, start))

    def _place(self, offset: int) -> int:
        """Position in the call of a sample of the utterance's own audio."""
        if not self._offsets:
            return self._began
        at = bisect_right(self._offsets, min(offset, max(0, self._length - 1))) - 1
        return self._positions[at] + min(offset, self._length) - self._offsets[at]


class _Child(asyncio.SubprocessProtocol):
    """The pipes: cuts the child's output into replies, and tells when it is gone."""

    def __init__(self, answered: Callable[[bytes, bytes], None], died: Callable[[], None]) -> None:
        self._answered, self._died = answered, died
        self._transport: asyncio.SubprocessTransport | None = None
        self._received = bytearray()
        self._gone = asyncio.Event()
        self.ready = asyncio.Event()
        self.refusal = ""

    @property
    def pid(self) -> int | None:
        """Its process id."""
        return self._transport.get_pid() if self._transport else None

    def send(self, kind: bytes, body: bytes) -> None:
        """Queue one request; never waits."""
        pipe = self._transport.get_pipe_transport(0) if self._transport else None
        if isinstance(pipe, asyncio.WriteTransport) and not pipe.is_closing():
            pipe.write(HEAD.pack(kind, len(body)) + body)

    def kill(self) -> None:
        """End the child at once."""
        if self._transport is not None:
            self._transport.close()

    async def stop(self) -> None:
        """End the child and wait until it is gone."""
        self.kill()
        await self._gone.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The child runs."""
        assert isinstance(transport, asyncio.SubprocessTransport)
        self._transport = transport

    def pipe_data_received(self, fd: int, received: bytes) -> None:
        """Bytes of the child's stdout."""
        self._received += received
        while len(self._received) >= HEAD.size:
            kind, length = HEAD.unpack_from(self._received)
            if len(self._received) < HEAD.size + length:
                return
            body = bytes(self._received[HEAD.size : HEAD.size + length])
            del self._received[: HEAD.size + length]
            if kind == b"R":
                self.ready.set()
            elif kind == b"X":
                self.refusal = NO_WHEEL if json.loads(body) == "no wheel" else BROKEN_MODEL
                self.ready.set()
            else:
                self._answered(kind, body)

    def process_exited(self) -> None:
        """The child is gone, wanted or not; its last replies were read already or are lost."""
        if not self.ready.is_set():
            self.refusal = "the recogniser's process died while it loaded"
            self.ready.set()
        self._died()
        self.kill()

    def connection_lost(self, exc: Exception | None) -> None:
        """Process and pipes are closed."""
        self._gone.set()
