"""The local voice: flite 2.2 in this process, through its streaming callback, at 16 kHz.

One worker thread serves the whole process, because nobody promises that the library may be entered twice; it leaves the
interpreter free while it works, and a second of speech costs it about 15 ms. Word times come from the engine's own
segments and are known with the first chunk.
"""

import asyncio
import ctypes
import re
import threading
import unicodedata
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import cache
from typing import Any

import numpy as np

from triage.errors import Refused, StageError, Unavailable
from triage.ports import RATE, Pcm, SpeechChunk, SpokenWord

VOICES = ("slt", "rms", "awb", "kal16")
"""16 kHz voices whose speech may be redistributed (slt: woman; rms, awb, kal16: men)."""
REMEDY = "flite is not installed; run: apt-get install libflite1"
LEAD = RATE * 20 // 1000
"""Samples of silence left before the first word; the engine makes ten times as many."""

_PIECE = RATE * 25 // 1000
_STOP, _GO_ON = -1, 0
_LOCK = threading.Lock()
_WORKER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="flite")
_SEPARATORS = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-", "…": "."})
_TOKEN_START = b"daughter1.R:SylStructure.daughter1.daughter1.R:Segment.p.end"
_TOKEN_END = b"daughtern.R:SylStructure.daughtern.daughtern.R:Segment.end"

Sink = Callable[[Pcm, tuple[SpokenWord, ...]], bool]
"""Takes a piece and (with the first one) the words; returns whether to go on."""


class FliteTextToSpeech:
    """Voices one sentence at a time per caller; sentences of several callers take turns in the worker."""

    name = "flite"
    local = True

    def __init__(
        self,
        voice: str = "slt",
        *,
        pace: float = 1.0,
        busy: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        """`pace`: 1.1 speaks a tenth slower. `busy` is held while the worker has work of ours, for virtual time."""
        self._voice, self._pace, self._busy = voice, pace, busy

    async def speak(self, text: str, *, language: str = "en") -> AsyncGenerator[SpeechChunk, None]:
        """Stream one sentence; the first chunk carries all its words. Closing the iterator stops the engine.

        Raises:
            Refused: the language is not English.
            Unavailable: the library is missing or failed.
        """
        if language != "en":
            raise Refused("tts", "the local voice speaks English only")
        loop = asyncio.get_running_loop()
        chunks: asyncio.Queue[SpeechChunk | StageError | None] = asyncio.Queue()
        unwanted = threading.Event()
        work = ExitStack()

        def hand_over(item: SpeechChunk | StageError | None) -> bool:
            try:
                loop.call_soon_threadsafe(chunks.put_nowait, item)
            except RuntimeError:  # the loop was closed while we spoke
                unwanted.set()
            return not unwanted.is_set()

        def finished() -> None:
            work.close()
            chunks.put_nowait(None)

        def run() -> None:
            try:
                if not unwanted.is_set():
                    _engine(self._voice).voice(text, lambda pcm, words: hand_over(SpeechChunk(pcm, words)), self._pace)
            except StageError as error:
                hand_over(error)
            finally:
                try:
                    loop.call_soon_threadsafe(finished)
                except RuntimeError:  # as above
                    unwanted.set()

        work.enter_context(self._busy())
        _WORKER.submit(run)
        try:
            while (item := await chunks.get()) is not None:
                if isinstance(item, StageError):
                    raise item
                yield item
        finally:
            unwanted.set()

    async def close(self) -> None:
        """Nothing of ours stays open: the library belongs to the process."""


def synthesise(text: str, voice: str = "slt", *, pace: float = 1.0) -> tuple[Pcm, tuple[SpokenWord, ...]]:
    """A whole sentence at once, for scripts that render files. Blocks; not for a running call.

    Raises:
        Unavailable: the library is missing or failed; says which package to install.
    """
    pieces: list[Pcm] = []
    spoken: list[SpokenWord] = []

    def keep(pcm: Pcm, words: tuple[SpokenWord, ...]) -> bool:
        pieces.append(pcm)
        spoken.extend(words)
        return True

    _engine(voice).voice(text, keep, pace)
    return (np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.int16)), tuple(spoken)


# --- the library


class _Wave(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_char_p),
        ("rate", ctypes.c_int),
        ("length", ctypes.c_int),
        ("channels", ctypes.c_int),
        ("samples", ctypes.POINTER(ctypes.c_short)),
    )


class _Voice(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("features", ctypes.c_void_p))


class _Streaming(ctypes.Structure):
    pass


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(_Wave), ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.POINTER(_Streaming)
)
_Streaming._fields_ = (
    ("min_buffsize", ctypes.c_int),
    ("callback", _Callback),
    ("utterance", ctypes.c_void_p),
    ("item", ctypes.c_void_p),
    ("userdata", ctypes.c_void_p),
)
_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "flite_init": (ctypes.c_int, []),
    "srand": (None, [ctypes.c_uint]),
    "new_audio_streaming_info": (ctypes.POINTER(_Streaming), []),
    "audio_streaming_info_val": (ctypes.c_void_p, [ctypes.POINTER(_Streaming)]),
    "feat_set": (None, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]),
    "feat_set_float": (None, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_float]),
    "flite_synth_text": (ctypes.c_void_p, [ctypes.c_char_p, ctypes.c_void_p]),
    "delete_utterance": (None, [ctypes.c_void_p]),
    "utt_relation": (ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_char_p]),
    "relation_head": (ctypes.c_void_p, [ctypes.c_void_p]),
    "item_next": (ctypes.c_void_p, [ctypes.c_void_p]),
    "ffeature_float": (ctypes.c_float, [ctypes.c_void_p, ctypes.c_char_p]),
    "ffeature_string": (ctypes.c_char_p, [ctypes.c_void_p, ctypes.c_char_p]),
}


@cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libflite.so.1", mode=ctypes.RTLD_GLOBAL)
        for part in ("usenglish", "cmulex"):
            ctypes.CDLL(f"libflite_{part}.so.1", mode=ctypes.RTLD_GLOBAL)
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise Unavailable("tts", REMEDY) from error
    library.flite_init()
    return library


@cache
def _engine(voice: str) -> "_Engine":
    with _LOCK:
        return _Engine(voice)


class _Engine:
    """One loaded voice; entered by one thread at a time."""

    def __init__(self, voice: str) -> None:
        if voice not in VOICES:
            raise Unavailable("tts", f"no such local voice; choose one of {', '.join(VOICES)}")
        self._library = _library()
        try:
            register = getattr(ctypes.CDLL(f"libflite_cmu_us_{voice}.so.1"), f"register_cmu_us_{voice}")
        except (OSError, AttributeError) as error:
            raise Unavailable("tts", REMEDY) from error
        register.restype, register.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
        self._voice = register(None)
        self._features = ctypes.cast(self._voice, ctypes.POINTER(_Voice)).contents.features
        self._callback = _Callback(self._piece)  # the library keeps a bare pointer to it
        streaming = self._library.new_audio_streaming_info()
        streaming.contents.min_buffsize = _PIECE
        streaming.contents.callback = self._callback
        self._library.feat_set(self._features, b"streaming_info", self._library.audio_streaming_info_val(streaming))
        self._text = ""
        self._sink: Sink = lambda pcm, words: False
        self._skip = 0
        self._words: tuple[SpokenWord, ...] = ()
        self._failure: Exception | None = None

    def voice(self, text: str, sink: Sink, pace: float = 1.0) -> None:
        """Speak `text` into `sink`; returns when all is said or the sink has had enough."""
        plain = _speakable(text)
        if not plain:
            return
        with _LOCK:
            self._text, self._sink, self._skip, self._words, self._failure = text, sink, -1, (), None
            self._library.feat_set_float(self._features, b"duration_stretch", pace)
            self._library.srand(1)  # the voices' breath is noise: the same text shall give the same samples
            utterance = self._library.flite_synth_text(plain.encode("ascii"), self._voice)
            if not utterance:
                raise Unavailable("tts", "flite could not voice the sentence")
            self._library.delete_utterance(utterance)
            if self._failure is not None:
                raise Unavailable("tts", "flite's speech could not be taken") from self._failure

    def _piece(self, wave: Any, start: int, size: int, last: int, streaming: Any) -> int:
        """Called by the library, in its thread; an exception must not cross it."""
        try:
            if self._skip < 0:
                words = self._timed_words(streaming.contents.utterance)
                self._skip = max(0, min((word.start for word in words), default=0) - LEAD)
                self._words = tuple(SpokenWord(w.text, w.start - self._skip, w.end - self._skip) for w in words)
            if size <= 0 or start + size <= self._skip:
                return _GO_ON
            samples = np.ctypeslib.as_array(wave.contents.samples, shape=(start + size,))
            words, self._words = self._words, ()
            return _GO_ON if self._sink(samples[max(start, self._skip) :].copy(), words) else _STOP
        except Exception as error:  # C calls this: it stops the voice, whose thread raises it
            self._failure = error
            return _STOP

    def _timed_words(self, utterance: Any) -> tuple[SpokenWord, ...]:
        """The words of the text as it was given (not as it is pronounced), with the times of the engine's tokens."""
        tokens: list[tuple[str, int, int]] = []
        relation = self._library.utt_relation(utterance, b"Token") if utterance else None
        item = self._library.relation_head(relation) if relation else None
        while item:
            name = self._library.ffeature_string(item, b"name").decode("ascii", "replace")
            begins = round(self._library.ffeature_float(item, _TOKEN_START) * RATE)
            ends = round(self._library.ffeature_float(item, _TOKEN_END) * RATE)
            if ends > begins:
                tokens.append((name, begins, ends))
            item = self._library.item_next(item)
        return _align(self._text, tokens)


def _speakable(text: str) -> str:
    """ASCII for the engine; empty when there is nothing to pronounce in it."""
    folded = unicodedata.normalize("NFKD", text.translate(_SEPARATORS)).encode("ascii", "ignore").decode("ascii")
    return " ".join(folded.split()) if re.search(r"[A-Za-z0-9]", folded) else ""


def _align(text: str, tokens: list[tuple[str, int, int]]) -> tuple[SpokenWord, ...]:
    """Give each blank-separated word of `text` the time of the tokens it was read as.

    Words without a token of their own (a lone dash) take no time, where the word before them ended.
    """
    words: list[SpokenWord] = []
    waiting = list(tokens)
    now = waiting[0][1] if waiting else 0
    for written in text.split():
        left, start = _speakable(written).lower(), None
        while waiting and left and (at := left.find(waiting[0][0].lower())) >= 0:
            name, begins, now = waiting.pop(0)
            left = left[at + len(name) :]
            start = begins if start is None else start
        words.append(SpokenWord(written, now if start is None else start, now))
    return tuple(words)
