"""How urgent are these words, after that question, in this call? Rules, call-level accumulation, and a model beside them."""

from collections.abc import Callable

from classifiers.assessment import Assessment, CallJudge, Evidence, Finding, Known
from classifiers.judge import Classifier
from classifiers.judge import load as load_layers
from classifiers.levels import Category, Level
from classifiers.model_layer import ModelLayer

__all__ = ["Assessment", "CallJudge", "Category", "Classifier", "Evidence", "Finding", "Known", "Level", "load"]


def load(clock: Callable[[], float] | None = None) -> Classifier:
    """Everything that ships: the rules, and the model as a layer that may only raise. `clock` (seconds) measures.

    Raises:
        RuleFileError: a rule file is missing or broken.
        ModelFileError: the model's file is.
    """
    return load_layers((ModelLayer.load(),), clock)
