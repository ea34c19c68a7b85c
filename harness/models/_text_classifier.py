"""Sequence classifiers of Transformers, on texts in windows: the guardrail's and the judges'."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tunegate.harness.models._model_folder import require_modules, resolve_folder
from tunegate.harness.models.adapters.weight_files import refuse_unsafe, weights_fingerprint
from tunegate.harness.records.errors import ModelError, error_reason

_HARMLESS = re.compile(
    r"^(?:label_0|safe|benign|legit\w*|harmless|clean|normal|neutral|no[_ -].*|not[_ -].*|non.*)$"
)
LONGEST_WINDOW = 512
"""Most tokens of a window."""
_AT_ONCE = 16
"""Windows in a batch."""


@dataclass(frozen=True)
class SequenceClassifier:
    """A loaded classifier."""

    model: Any = field(repr=False)
    tokenizer: Any = field(repr=False)
    weights_sha256: str

    @property
    def labels(self) -> Mapping[int, str]:
        """Class → its name."""
        return {int(at): str(name) for at, name in self.model.config.id2label.items()}

    def highest(
        self,
        classes: tuple[int, ...],
        text: str,
        *,
        before: str | None = None,
        after: str | None = None,
    ) -> float:
        """Return the probability of some classes in the window where it is highest.

        A text longer than the model's context is cut into windows that overlap by a quarter.
        """
        import torch

        size = _window(self.model, self.tokenizer)
        pair, cut, overlap = (text, after), "only_first", size // 4
        if before is not None:
            pair = _tail(self.tokenizer, before, size // 2), text
            cut, overlap = "only_second", size // 8
        encoded = self.tokenizer(
            *pair,
            truncation=cut,
            max_length=size,
            stride=overlap,
            return_overflowing_tokens=True,
            padding=True,
            return_tensors="pt",
        )
        names = [name for name in self.tokenizer.model_input_names if name in encoded]
        worst = 0.0
        with torch.inference_mode():
            for at in range(0, len(encoded["input_ids"]), _AT_ONCE):
                batch = {n: encoded[n][at : at + _AT_ONCE].to(self.model.device) for n in names}
                logits = self.model(**batch).logits.float()
                shares = logits.sigmoid() if logits.shape[-1] == 1 else logits.softmax(-1)
                worst = max(worst, float(shares[:, list(classes)].sum(-1).max()))
        return min(1.0, worst)


def load_classifier(what: str, target: str, *, gpu: bool = False) -> SequenceClassifier:
    """Load a classifier from a folder or the hub's cache."""
    require_modules("torch", "transformers", what=what)
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    try:
        folder = resolve_folder(target)
        refuse_unsafe(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    except (OSError, ValueError, KeyError, ModelError) as error:
        raise ModelError(
            f"{what} cannot be loaded ({error_reason(error):.200}); name the folder of a sequence "
            "classifier"
        ) from error
    device = "cuda" if gpu and torch.cuda.is_available() else "cpu"
    return SequenceClassifier(model.eval().to(device), tokenizer, weights_fingerprint(folder))


def harmful_classes(what: str, labels: Mapping[int, str]) -> tuple[int, ...]:
    """Return all classes without the name of a harmless one."""
    if len(labels) == 1:
        return (0,)
    harmful = tuple(at for at, name in labels.items() if not _HARMLESS.match(name.strip().lower()))
    if not harmful or len(harmful) == len(labels):
        raise ModelError(
            f"{what}: its labels are {', '.join(labels.values())}: cannot tell harmless ones from "
            "the others; rename them in its config.json (id2label), such as SAFE and UNSAFE"
        )
    return harmful


def _tail(tokenizer: Any, text: str, size: int) -> str:
    """Return the end of a text that has at most `size` tokens."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return text if len(ids) <= size else str(tokenizer.decode(ids[-size:]))


def _window(model: Any, tokenizer: Any) -> int:
    """Return the tokens of a window."""
    limits = (
        getattr(model.config, "max_position_embeddings", None),
        getattr(tokenizer, "model_max_length", None),
    )
    return min(LONGEST_WINDOW, *(size for size in limits if isinstance(size, int) and size > 0))
