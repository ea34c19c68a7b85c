"""`hf:FOLDER_OR_ID`: a sequence classifier of Transformers, on a text in windows.

Llama Prompt Guard, DeBERTa prompt-injection models and other sequence classifiers work. A text
longer than the model's context is cut into windows that overlap by a quarter; the worst window
counts. Attack classes are found by their names; LABEL_0 and LABEL_1 mean harmless and attack, as is
usual.
"""

from __future__ import annotations

from dataclasses import dataclass

from tunegate.harness.models._text_classifier import (
    SequenceClassifier,
    harmful_classes,
    load_classifier,
)


@dataclass(frozen=True)
class AttackClassifier:
    """A loaded model."""

    classifier: SequenceClassifier
    attacks: tuple[int, ...]
    """Attack classes."""

    def attack_probability(self, text: str) -> float:
        """Return the probability of the attack classes in the worst window."""
        return self.classifier.highest(self.attacks, text)


def hf(target: str) -> AttackClassifier:
    """Load a model from a folder or the hub's cache."""
    what = f"guardrail: classifier='hf:{target}'"
    found = load_classifier(what, target)
    return AttackClassifier(found, harmful_classes(what, found.labels))
