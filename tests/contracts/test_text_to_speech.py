"""Promise of every voice: audio in order, the text's own words with their times, and silence at once when closed."""

import asyncio
import itertools
from collections.abc import AsyncGenerator

import numpy as np
import pytest

from tests.stages.engines import needs_flite
from triage.audio import level_db
from triage.clock import busy_hook, run
from triage.errors import StageError
from triage.ports import RATE, SpeechChunk, TextToSpeech
from triage.stages.flite_tts import FliteTextToSpeech

SENTENCE = "Please sit down, Mr. Lee; 2.5 mg is what the label says."


async def spoken(tts: TextToSpeech, text: str) -> list[SpeechChunk]:
    return [chunk async for chunk in tts.speak(text)]


@pytest.fixture(params=[pytest.param(FliteTextToSpeech, marks=needs_flite, id="flite")])
def tts(request: pytest.FixtureRequest) -> TextToSpeech:
    made: TextToSpeech = request.param(busy=busy_hook("voice"))
    return made


@pytest.fixture(params=[False, True], ids=["real", "virtual"])
def virtual(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


class TestTextToSpeech:
    def test_a_sentence_comes_as_audible_int16_in_pieces(self, tts: TextToSpeech, virtual: bool) -> None:
        chunks = run(spoken(tts, SENTENCE), virtual=virtual)
        pcm = np.concatenate([chunk.pcm for chunk in chunks])
        assert len(chunks) > 1
        assert pcm.dtype == np.int16
        assert 2 * RATE < len(pcm) < 10 * RATE
        assert level_db(pcm) > -40

    def test_its_words_are_the_texts_words_in_order_with_times_inside_the_audio(
        self, tts: TextToSpeech, virtual: bool
    ) -> None:
        chunks = run(spoken(tts, SENTENCE), virtual=virtual)
        words = [word for chunk in chunks for word in chunk.words]
        length = sum(len(chunk.pcm) for chunk in chunks)
        assert " ".join(word.text for word in words) == SENTENCE
        assert all(a.end <= b.start + 1 and b.start < b.end for a, b in itertools.pairwise(words))
        assert words[0].start >= 0
        assert words[-1].end <= length

    def test_a_word_is_known_before_its_audio(self, tts: TextToSpeech) -> None:
        passed = 0
        for chunk in run(spoken(tts, SENTENCE), virtual=False):
            assert all(word.start >= passed for word in chunk.words)
            passed += len(chunk.pcm)

    def test_nothing_to_say_is_said_as_nothing(self, tts: TextToSpeech, virtual: bool) -> None:
        assert run(spoken(tts, "  — "), virtual=virtual) == []

    def test_closing_stops_the_work_and_the_next_sentence_is_whole(self, tts: TextToSpeech, virtual: bool) -> None:
        async def interrupted() -> list[SpeechChunk]:
            stream = tts.speak("This one is cut off after its first piece, because nobody wants the rest of it.")
            first = await anext(aiter(stream))
            assert isinstance(stream, AsyncGenerator)
            await stream.aclose()
            assert len(first.pcm) < RATE
            return await spoken(tts, "Short.")

        chunks = run(interrupted(), virtual=virtual)
        assert [word.text for chunk in chunks for word in chunk.words] == ["Short."]

    def test_cancelling_the_reader_stops_the_work(self, tts: TextToSpeech, virtual: bool) -> None:
        async def cancelled() -> list[SpeechChunk]:
            reader = asyncio.ensure_future(
                spoken(tts, "Nobody will ever hear the end of this long sentence, will they?")
            )
            await asyncio.sleep(0)
            reader.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reader
            return await spoken(tts, "Short.")

        assert run(cancelled(), virtual=virtual)

    def test_two_callers_are_voiced_apart(self, tts: TextToSpeech, virtual: bool) -> None:
        async def both() -> list[list[SpeechChunk]]:
            return list(await asyncio.gather(spoken(tts, "One caller."), spoken(tts, "Another caller.")))

        first, second = run(both(), virtual=virtual)
        assert [w.text for c in first for w in c.words] == ["One", "caller."]
        assert [w.text for c in second for w in c.words] == ["Another", "caller."]

    def test_voicing_takes_no_virtual_time(self, tts: TextToSpeech) -> None:
        async def timed() -> float:
            await spoken(tts, SENTENCE)
            return asyncio.get_running_loop().time()

        assert run(timed(), virtual=True) == 0.0

    def test_an_unknown_language_is_refused_in_the_stream(self, tts: TextToSpeech, virtual: bool) -> None:
        async def foreign() -> None:
            async for _ in tts.speak("Hola", language="xx"):
                pass

        with pytest.raises(StageError):
            run(foreign(), virtual=virtual)

    def test_close_may_be_called_twice(self, tts: TextToSpeech) -> None:
        async def closed() -> None:
            await tts.close()
            await tts.close()

        run(closed(), virtual=False)
