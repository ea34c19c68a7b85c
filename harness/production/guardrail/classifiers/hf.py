"""`hf:FOLDER_OR_ID`: a sequence classifier of Transformers, on a text in windows.

Llama Prompt Guard, DeBERTa prompt-injection models and any other two-class or multi-class model
serve. A text that is longer than the model reads is cut into windows that overlap by a quarter; the
worst window counts. The class of attacks is found by its name; LABEL_0 and LABEL_1 are taken as
harmless and attack, as such models have them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tunegate.harness.records.errors import MissingExtra, UsageError, error_reason

_HARMLESS = re.compile(
    r"^(?:label_0|safe|benign|legit\w*|harmless|clean|normal|no[_ -].*|not[_ -].*)$"
)
_LONGEST = 512
"""Tokens of a window, where the model reads more."""
_AT_ONCE = 16
"""Windows in a batch."""


@dataclass
class SequenceClassifier:
    """A loaded model."""

    model: Any
    tokenizer: Any
    attacks: tuple[int, ...]
    """Classes that are attacks."""

    def attack_probability(self, text: str) -> float:
        """Return the probability of the attack classes in the worst window."""
        import torch

        size = _window(self.model, self.tokenizer)
        encoded = self.tokenizer(
            text,
            truncation=True,
            max_length=size,
            stride=size // 4,
            return_overflowing_tokens=True,
            padding=True,
            return_tensors="pt",
        )
        worst = 0.0
        with torch.inference_mode():
            for at in range(0, len(encoded["input_ids"]), _AT_ONCE):
                batch = {
                    name: encoded[name][at : at + _AT_ONCE]
                    for name in ("input_ids", "attention_mask")
                }
                logits = self.model(**batch).logits.float()
                shares = logits.sigmoid() if logits.shape[-1] == 1 else logits.softmax(-1)
                worst = max(worst, float(shares[:, list(self.attacks)].sum(-1).max()))
        return min(1.0, worst)


def hf(target: str) -> SequenceClassifier:
    """Load a model from a folder or the hub's cache.

    Raises:
        UsageError: there is no sequence classifier.
        MissingExtra: torch or transformers is not installed.
    """
    try:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer
    except ImportError as error:
        raise MissingExtra("a classifier of the guardrail", "local") from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(target)
        model = AutoModelForSequenceClassification.from_pretrained(target).eval()
    except (OSError, ValueError) as error:
        raise UsageError(
            f"guardrail: classifier='hf:{target}' cannot be loaded "
            f"({error_reason(error):.200}); name the folder of a sequence classifier"
        ) from error
    return SequenceClassifier(model, tokenizer, attack_classes(model.config.id2label))


def attack_classes(names: Any) -> tuple[int, ...]:
    """Return the classes that are attacks: all but those with the name of a harmless one."""
    if len(names) == 1:
        return (0,)
    found = tuple(
        int(at) for at, name in names.items() if not _HARMLESS.match(str(name).strip().lower())
    )
    if not found or len(found) == len(names):
        shown = ", ".join(map(str, names.values()))
        raise UsageError(
            f"guardrail: the classifier's labels are {shown}: none, or all, of them mean harmless; "
            "rename them in its config.json (id2label), such as SAFE and INJECTION"
        )
    return found


def _window(model: Any, tokenizer: Any) -> int:
    """Return the tokens that the model reads at once."""
    known = (
        getattr(model.config, "max_position_embeddings", None),
        getattr(tokenizer, "model_max_length", None),
    )
    return min(_LONGEST, *(size for size in known if isinstance(size, int) and size > 0))
