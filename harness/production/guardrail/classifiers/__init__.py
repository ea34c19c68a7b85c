"""Classifiers of the guardrail, one per file: how likely a text is an attack.

The specs are `hf:FOLDER_OR_ID` and `command:PROGRAM`. A module holds a function under its own name,
which gets what follows the colon and returns a `TextClassifier`.
"""

from __future__ import annotations

from typing import Protocol

from tunegate.harness.contracts import lookup
from tunegate.harness.records.errors import UsageError


class TextClassifier(Protocol):
    """A model that scores a text."""

    def attack_probability(self, text: str) -> float:
        """Return the probability that a text is an attack."""
        ...


def open_classifier(spec: str) -> TextClassifier:
    """Return the classifier that a spec names."""
    kind, colon, target = spec.partition(":")
    kinds = lookup.available_names(__name__)
    if not colon or not target or kind not in kinds:
        forms = "hf:FOLDER_OR_ID or command:PROGRAM ARGUMENTS"
        raise UsageError(f"guardrail: classifier={spec!r} must be {forms}")
    classifier: TextClassifier = lookup.find_object(__name__, kind, what="classifier")(target)
    return classifier
