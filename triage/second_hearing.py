"""Asks the second opinion beside the call: one short task for each final, and nothing ever waits for it.

What comes back in time and above the first verdict is handed to the ear as one more assessment; everything else (late,
broken, lower, unsure) leaves no trace but a count. The deadline runs on the loop's clock.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any

from classifiers import Classifier
from classifiers.assessment import Assessment, Known
from classifiers.second_opinion import SecondCounts, SecondOpinion, SecondQuestion, raised_by

Answer = Callable[[Assessment], None]
"""Takes an assessment that was raised."""


class SecondHearing:
    """One call's questions to the judge beside. Fulfils `listening.Beside`."""

    def __init__(
        self,
        judge: SecondOpinion,
        classifier: Classifier,
        *,
        known: Callable[[], Known],
        spawn: "Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]",
    ) -> None:
        self._judge, self._classifier, self._known, self._spawn = judge, classifier, known, spawn
        self.counts = SecondCounts()
        """How the judge did in this call."""

    def ask(self, text: str, question: str, first: Assessment, answer: Answer) -> None:
        """Ask about one final; `answer` is called at most once, later. Returns at once, never raises."""
        with suppress(Exception):  # a call that is over has no room for tasks
            shown = SecondQuestion(
                text=text, question=question, known=self._known(), first=first, language=first.language
            )
            self._spawn(self._asked(shown, answer))

    async def _asked(self, shown: SecondQuestion, answer: Answer) -> None:
        raised = await raised_by(self._judge, shown, self._classifier, counts=self.counts)
        if raised is not None:
            answer(replace(raised, language=shown.language))
