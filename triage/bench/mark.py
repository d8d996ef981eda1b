"""How participants of the bench are told from real ones: an attribute that the production profile refuses.

Imports nothing, so that the worker may read it.
"""

from collections.abc import Mapping

MARK: Mapping[str, str] = {"triage.bench": "sip-bench"}
"""Attributes that every participant of the bench carries."""


def is_marked(attributes: Mapping[str, str]) -> bool:
    """Whether a participant with these attributes comes from the bench."""
    return any(name in attributes for name in MARK)
