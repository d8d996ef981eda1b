"""One classifier for all tests of this room: it is immutable and shared, as in the service."""

import pytest

import classifiers
from classifiers import Classifier


@pytest.fixture(scope="session")
def classifier() -> Classifier:
    return classifiers.load()
