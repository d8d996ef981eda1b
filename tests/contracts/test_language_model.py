"""What every `LanguageModel` must keep, whoever makes the words."""

from collections.abc import AsyncGenerator, Callable

import pytest

from triage.dialogue.scripted import ScriptedInterviewer
from triage.ports import FixedSentence, LanguageModel, LineSaid, ReplyRequest, Saying, TextDelta, Usage

MODELS: dict[str, Callable[[], LanguageModel]] = {"scripted": ScriptedInterviewer}
REQUEST = ReplyRequest(
    generation=3,
    turn=2,
    heard="since yesterday",
    sayings=(Saying("I did not catch that.", "say.catch"), Saying("When did it start?", "ask.onset", question=True)),
    history=(LineSaid("agent", "What is the main problem today?", 1), LineSaid("caller", "my throat", 1)),
)


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> LanguageModel:
    return MODELS[request.param]()


class TestLanguageModel:
    async def test_the_reply_says_something_and_asks_what_the_rules_ask(self, model: LanguageModel) -> None:
        parts = [part async for part in model.reply(REQUEST)]
        assert all(isinstance(part, TextDelta | FixedSentence | Usage) for part in parts)
        words = "".join(p.text for p in parts if isinstance(p, TextDelta))
        words += " ".join(p.saying.text for p in parts if isinstance(p, FixedSentence))
        assert words.strip().endswith("?")

    async def test_a_fixed_sentence_is_one_of_the_rules_own(self, model: LanguageModel) -> None:
        async for part in model.reply(REQUEST):
            if isinstance(part, FixedSentence):
                assert part.saying in REQUEST.sayings

    async def test_nothing_to_say_is_nothing_said(self, model: LanguageModel) -> None:
        empty = ReplyRequest(generation=1, turn=1, heard="wait", sayings=())
        parts = [part async for part in model.reply(empty)]
        assert not [p for p in parts if isinstance(p, FixedSentence)]

    async def test_a_reply_can_be_dropped_in_the_middle_and_asked_for_again(self, model: LanguageModel) -> None:
        stream = model.reply(REQUEST)
        first = await anext(stream)
        assert isinstance(stream, AsyncGenerator)
        await stream.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        assert await anext(model.reply(REQUEST)) == first

    async def test_two_replies_do_not_mix(self, model: LanguageModel) -> None:
        other = ReplyRequest(
            generation=4, turn=3, heard="no", sayings=(Saying("Any allergies?", "ask.allergies", question=True),)
        )
        one, two = model.reply(REQUEST), model.reply(other)
        first, second = await anext(one), await anext(two)
        assert first != second

    async def test_it_says_what_it_is_and_closes_twice(self, model: LanguageModel) -> None:
        assert model.name
        assert isinstance(model.local, bool)
        await model.close()
        await model.close()


async def test_the_script_says_every_saying_word_for_word() -> None:
    parts = [part async for part in ScriptedInterviewer().reply(REQUEST)]
    assert parts == [FixedSentence(saying) for saying in REQUEST.sayings]
