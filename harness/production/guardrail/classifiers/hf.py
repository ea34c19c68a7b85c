"""`hf:FOLDER_OR_ID`: a sequence classifier of Transformers, on a text in windows.

Llama Prompt Guard, DeBERTa prompt-injection models and other sequence classifiers work. A text
longer than the model's context is cut into windows that overlap by a quarter; the worst window
counts. Attack classes are found by their names; LABEL_0 and LABEL_1 mean harmless and attack, as is
usual.
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
"""Most tokens of a window."""
_AT_ONCE = 16
"""Windows in a batch."""


@dataclass
class SequenceClassifier:
    """A loaded model."""

    model: Any
    tokenizer: Any
    attacks: tuple[int, ...]
    """Attack classes."""

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
        UsageError: it is not a sequence classifier.
        MissingExtra: torch or transformers is not installed.
    """
    try:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer
    except ImportError as error:
        raise MissingExtra("a classifier of the guardrail", "hf") from error
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
    """Return the attack classes: all without the name of a harmless one."""
    if len(names) == 1:
        return (0,)
    found = tuple(
        int(at) for at, name in names.items() if not _HARMLESS.match(str(name).strip().lower())
    )
    if not found or len(found) == len(names):
        shown = ", ".join(map(str, names.values()))
        raise UsageError(
            f"guardrail: the classifier's labels are {shown}: cannot tell harmless ones from "
            "the attacks; rename them in its config.json (id2label), such as SAFE and INJECTION"
        )
    return found


def _window(model: Any, tokenizer: Any) -> int:
    """Return the tokens of a window."""
    known = (
        getattr(model.config, "max_position_embeddings", None),
        getattr(tokenizer, "model_max_length", None),
    )
    return min(_LONGEST, *(size for size in known if isinstance(size, int) and size > 0))
