"""One rule set for all tests of this room, without the model: what a rule says must not depend on it."""

import pytest

from classifiers import Classifier
from classifiers.judge import load


@pytest.fixture(scope="session")
def classifier() -> Classifier:
    return load()
