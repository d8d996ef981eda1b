"""The interviewer without a model: says the rules' own wording, word for word. Needs no key and no network."""

from collections.abc import AsyncGenerator

from triage.ports import FixedSentence, ReplyRequest, TextDelta, Usage


class ScriptedInterviewer:
    """A `LanguageModel` that adds nothing. It never fails; it is what stands in when another one does."""

    name = "scripted"
    local = True

    async def reply(self, request: ReplyRequest) -> AsyncGenerator[TextDelta | FixedSentence | Usage, None]:
        """Each saying as it stands, in order."""
        for saying in request.sayings:
            yield FixedSentence(saying)

    async def close(self) -> None:
        """Nothing to free."""
