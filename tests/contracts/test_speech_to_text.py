"""Promise of every recogniser: interims, then one final per finish, in order, with words where they were said.

The same contract runs over every implementation, in real and in virtual time. Each brings a small world: how it is made,
and what it must be told before audio is fed (a scripted one needs the words; a real one hears them).
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

import numpy as np
import pytest

from tests.stages.engines import caller, needs_pocketsphinx
from triage.audio import first_sound, frames, last_sound, silence
from triage.clock import busy_hook, run
from triage.ports import FRAME, RATE, Frame, Pcm, SpeechToText, Transcript
from triage.stages.pocketsphinx_stt import PocketsphinxSpeechToText
from triage.stages.reciting_stt import RecitingSpeechToText
from triage.stages.scripted_stt import ScriptedSpeechToText

SAID = {
    "location_rms": "i am at home on park avenue in boston",
    "medication_2": "may i take ibuprofen when i am on blood pressure tablets",
    "yes_rms": "yes",
}


@dataclass
class World:
    """One recogniser on a call's time."""

    stt: SpeechToText
    position: int = 0

    def say(self, line: str, upto_s: float | None = None) -> tuple[int, int]:
        """Feed a caller line (its first seconds only); returns where its sound lies."""
        pcm = caller(line)
        sound = self.position + (first_sound(pcm) or 0), self.position + (last_sound(pcm) or 0)
        if isinstance(self.stt, ScriptedSpeechToText):
            self.stt.cue(SAID[line], *sound)
        elif isinstance(self.stt, RecitingSpeechToText):
            words = SAID[line].split()
            half = len(words) if upto_s is None else len(words) // 2  # it knows whole utterances only
            self.stt.add(" ".join(words[:half]))
            self.stt.add(" ".join(words[half:]))
        self.hear(pcm if upto_s is None else pcm[: round(upto_s * RATE)])
        return sound

    def hear(self, pcm: Pcm, *, voiced: bool = True) -> None:
        for frame in frames(pcm, self.position):
            self.stt.feed(frame, voiced=voiced)
            self.position += FRAME


async def closed(stt: SpeechToText) -> list[Transcript]:
    """Close and read the rest."""
    await stt.close()
    return [transcript async for transcript in stt.transcripts()]


async def up_to_final(stt: SpeechToText) -> list[Transcript]:
    """Everything up to and with the next final."""
    heard = []
    stream = stt.transcripts()
    assert isinstance(stream, AsyncGenerator)
    async with aclosing(stream):
        async for transcript in stream:
            heard.append(transcript)
            if transcript.final:
                break
    return heard


Make = Callable[[], SpeechToText]


@pytest.fixture(
    params=[
        pytest.param(ScriptedSpeechToText, id="scripted"),
        pytest.param(RecitingSpeechToText, id="reciting"),
        pytest.param(
            lambda: PocketsphinxSpeechToText(busy=busy_hook("stt")), marks=needs_pocketsphinx, id="pocketsphinx"
        ),
    ]
)
def make(request: pytest.FixtureRequest) -> Make:
    made: Make = request.param
    return made


@pytest.fixture(params=[False, True], ids=["real", "virtual"])
def virtual(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


class TestSpeechToText:
    def test_interims_lead_to_a_final_with_the_words_where_they_were_said(self, make: Make, virtual: bool) -> None:
        async def call() -> tuple[list[Transcript], tuple[int, int]]:
            world = World(make(), position=32_000)
            await world.stt.start()
            sound = world.say("location_rms")
            world.stt.finish_utterance()
            heard = await up_to_final(world.stt)
            await world.stt.close()
            return heard, sound

        (*interims, final), (start, end) = run(call(), virtual=virtual)
        assert interims
        assert not any(t.final for t in interims)
        assert {t.utterance for t in (*interims, final)} == {final.utterance}
        assert [t.end for t in interims] == sorted({t.end for t in interims})
        assert {"home", "park", "avenue"} <= set(final.text.split())
        assert final.text == " ".join(word.text for word in final.words)
        assert all(word.confidence is not None and 0 <= word.confidence <= 1 for word in final.words)
        assert [word.start for word in final.words] == sorted(word.start for word in final.words)
        assert abs(final.words[0].start - start) < 0.25 * RATE
        assert abs(final.words[-1].end - end) < 0.3 * RATE
        assert final.start <= final.words[0].start
        assert final.words[-1].end <= final.end + FRAME

    def test_each_finish_gives_one_final_and_the_next_utterance_follows(self, make: Make, virtual: bool) -> None:
        async def call() -> list[Transcript]:
            world, heard = World(make()), []
            await world.stt.start()
            for line in ("yes_rms", "location_rms"):
                world.say(line)
                world.stt.finish_utterance()
                heard += await up_to_final(world.stt)
            await world.stt.close()
            return heard

        heard = run(call(), virtual=virtual)
        first, second = (t for t in heard if t.final)
        assert first.text == "yes"
        assert "boston" in second.text
        assert second.utterance == first.utterance + 1
        assert first.end <= second.start
        assert [t.utterance for t in heard] == sorted(t.utterance for t in heard)

    def test_an_utterance_with_nothing_in_it_yields_an_empty_final(self, make: Make, virtual: bool) -> None:
        async def call() -> list[Transcript]:
            world = World(make())
            await world.stt.start()
            world.hear(silence(0.5), voiced=False)
            world.stt.finish_utterance()
            heard = await up_to_final(world.stt)
            await world.stt.close()
            return heard

        (final,) = run(call(), virtual=virtual)
        assert (final.final, final.text, final.words) == (True, "", ())

    def test_a_voice_that_goes_on_after_a_finish_is_the_next_utterance(self, make: Make, virtual: bool) -> None:
        async def call() -> list[Transcript]:
            world = World(make())
            await world.stt.start()
            pcm, half = caller("medication_2"), round(1.7 * RATE) // FRAME * FRAME
            world.say("medication_2", upto_s=half / RATE)
            world.stt.finish_utterance()
            world.hear(pcm[half:])
            world.stt.finish_utterance()
            finals = [(await up_to_final(world.stt))[-1] for _ in range(2)]
            await world.stt.close()
            return finals

        first, second = run(call(), virtual=virtual)
        assert "ibuprofen" in first.text.split()
        assert "tablets" not in first.text.split()
        assert "tablets" in second.text.split()
        assert "may" not in second.text.split()

    def test_a_caller_who_never_pauses_gives_interims_and_no_final(self, make: Make, virtual: bool) -> None:
        async def call() -> list[Transcript]:
            world = World(make())
            await world.stt.start()
            seen: list[Transcript] = []

            async def read() -> None:
                async for transcript in world.stt.transcripts():
                    seen.append(transcript)
                    if "tablets" in transcript.text:
                        return

            reader = asyncio.ensure_future(read())
            world.say("medication_2")
            await asyncio.wait_for(reader, 20)
            await world.stt.close()
            return seen

        heard = run(call(), virtual=virtual)
        assert len(heard) >= 5
        assert not any(t.final for t in heard)

    def test_close_ends_the_stream_and_may_be_called_twice(self, make: Make, virtual: bool) -> None:
        async def call() -> list[Transcript]:
            world = World(make())
            await world.stt.start()
            rest = await closed(world.stt)
            await world.stt.close()
            world.stt.feed(Frame(np.zeros(FRAME, dtype=np.int16), 0), voiced=True)
            world.stt.finish_utterance()
            return rest

        assert run(call(), virtual=virtual) == []

    def test_recognising_takes_no_virtual_time_but_the_callers(self, make: Make) -> None:
        async def call() -> tuple[float, float]:
            world = World(make())
            await world.stt.start()
            loop = asyncio.get_running_loop()
            began = loop.time()
            pcm = caller("location_rms")
            if isinstance(world.stt, ScriptedSpeechToText):
                world.stt.cue(SAID["location_rms"], first_sound(pcm) or 0, last_sound(pcm) or 0)
            elif isinstance(world.stt, RecitingSpeechToText):
                world.stt.add(SAID["location_rms"])
            for frame in frames(pcm):
                await asyncio.sleep(FRAME / RATE)
                world.stt.feed(frame, voiced=True)
            spoken = loop.time() - began
            world.stt.finish_utterance()
            await up_to_final(world.stt)
            replied = loop.time() - began - spoken
            await world.stt.close()
            return spoken, replied

        spoken, replied = run(call(), virtual=True)
        assert spoken == pytest.approx(-(-len(caller("location_rms")) // FRAME) * FRAME / RATE, abs=0.001)
        assert replied == 0.0
