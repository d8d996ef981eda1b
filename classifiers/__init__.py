"""How urgent are these words, after that question, in this call? Rules, call-level accumulation, later a model."""

from classifiers.assessment import Assessment, CallJudge, Evidence, Finding, Known
from classifiers.judge import Classifier, load
from classifiers.levels import Category, Level

__all__ = ["Assessment", "CallJudge", "Category", "Classifier", "Evidence", "Finding", "Known", "Level", "load"]
