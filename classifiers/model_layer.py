"""The trained model as a layer beside the rules: it may raise a call to a nurse, and does nothing else.

Its emergency head is advisory (it hears too few of them), so the level it raises to is `nurse_now`; `emergency_now` stays
with the rules. Below its threshold it still says how near it was, which grades the score of a harmless final.
"""

from classifiers.assessment import Evidence, Known
from classifiers.judge import THRESHOLD
from classifiers.layers import Opinion
from classifiers.levels import Category, Level
from classifiers.model import ModelVerdict, UrgencyModel


class ModelLayer:
    """Fulfils `layers.Layer`."""

    id = "model"

    def __init__(self, model: UrgencyModel) -> None:
        self._model = model
        self.version = model.version
        """Of weights and features."""

    @classmethod
    def load(cls) -> "ModelLayer":
        """The shipped model.

        Raises:
            ModelFileError: its file is missing, broken, or not the one that was tested.
        """
        return cls(UrgencyModel.load())

    def explained(self, text: str, question: str) -> ModelVerdict:
        """The model's own verdict, with the features that weighed most."""
        return self._model.judge(text, question)

    def judge(self, text: str, *, question: str, known: Known) -> Opinion:
        """Judge one final by its words and the question; what else is known of the call is the rules' part."""
        verdict = self._model.judge(text, question)
        if not verdict.urgent:
            near = min(verdict.score, THRESHOLD - 0.01)
            return Opinion(level=Level.ROUTINE, category=Category.NONE, score=near, rule="")
        category = verdict.category if verdict.category is not Category.NONE else Category.RESCUE
        return Opinion(
            level=Level.NURSE_NOW,
            category=category,
            score=max(THRESHOLD, verdict.score),
            rule=f"model:{category.value}",
            evidence=_evidence(text, verdict),
        )


def _evidence(text: str, verdict: ModelVerdict) -> tuple[Evidence, ...]:
    """Where the words stand that weighed most towards urgent, in the order of the text, none twice."""
    spans = sorted(
        {
            (start, end)
            for (_, weight), (start, end) in zip(verdict.top, verdict.spans, strict=True)
            if weight > 0 and end > start
        }
    )
    kept: list[tuple[int, int]] = []
    for start, end in spans:
        if kept and start < kept[-1][1]:
            kept[-1] = (kept[-1][0], max(end, kept[-1][1]))
        else:
            kept.append((start, end))
    return tuple(Evidence(start=start, end=end, text=text[start:end]) for start, end in kept)
