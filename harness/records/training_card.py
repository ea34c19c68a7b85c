"""Training card `tunegate_training.json`, as the gate reads it.

Any program may write such a file: facts that this tunegate does not know are shown, not used.
`tunegate.trainers.training_card` holds the form that our own trainers write.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from tunegate.harness.records.files import read_file
from tunegate.harness.records.record import Json, Record, replace_surrogates

FILE = "tunegate_training.json"
"""Name of the card in the folder of the weights."""
_LARGEST = 4_000_000
"""Bytes; larger files are not read."""
_FACTS = (
    "method",
    "base",
    "rows",
    "seed",
    "steps",
    "final_loss",
    "seconds",
    "peak_memory_bytes",
    "peak_cuda_memory_bytes",
    "cost_usd",
    "hardware",
    "weights_sha256",
    "chat_template_sha256",
    "tokenizer_sha256",
    "files",
    "went_on_from",
    "eval_files",
)
"""Facts of a card that verdict.json repeats."""


class TrainingSummary(Record):
    """What a run knows of tuned's training."""

    card: Json = Field(default_factory=dict, repr=False)
    """The card; empty without one."""
    why: str = ""
    """Why the card is missing or not believed."""
    notes: tuple[str, ...] = ()
    """Differences between training and evaluation, one sentence each."""

    @property
    def believed(self) -> bool:
        """Whether there is a card of the weights that are judged."""
        return bool(self.card) and not self.why

    @property
    def believed_card(self) -> dict[str, Any]:
        """The card if it is believed, else nothing."""
        return self.card if self.believed else {}

    @property
    def facts(self) -> dict[str, Any]:
        """The main facts of the card, with `notes` of doubts about it or the evaluation."""
        facts = {name: self.card[name] for name in _FACTS if name in self.card}
        doubts = [*([self.why] if facts and self.why else []), *self.notes]
        return facts | ({"notes": doubts} if doubts else {})

    @property
    def files(self) -> tuple[Mapping[str, Any], ...]:
        """The files of training rows that the card names with a path and a hash."""
        if not self.believed:
            return ()
        found = [self.card.get("files"), self._earlier.get("files")]
        named = [file for files in found if isinstance(files, list) for file in files]
        return tuple(
            file
            for file in named
            if isinstance(file, dict)
            and isinstance(file.get("path"), str)
            and isinstance(file.get("sha256"), str)
        )

    @property
    def unknown(self) -> str:
        """A sentence on earlier training whose files are unknown; empty if there was none."""
        if self._earlier and not isinstance(self._earlier.get("files"), list):
            return f"what {self._earlier.get('path')} was trained on before is not known"
        return ""

    @property
    def _earlier(self) -> Mapping[str, Any]:
        earlier = self.card.get("went_on_from") if self.believed else None
        return earlier if isinstance(earlier, dict) else {}


def read_training_card(folder: Path | None, identity: Mapping[str, Any]) -> TrainingSummary:
    """Return the card in tuned's folder, checked against the arm that was opened from there.

    Args:
        folder: Where tuned's files are; None if they are elsewhere.
        identity: The identity of tuned: hashes of its weights, template and tokenizer.
    """
    path = None if folder is None else folder / FILE
    if path is None or not path.exists():
        return TrainingSummary(why=f"there is no {FILE} next to tuned")
    try:
        card = json.loads(read_file(path, _LARGEST), parse_constant=_refuse)
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        return TrainingSummary(why=f"{path}: cannot be read ({reason})")
    if not isinstance(card, dict):
        return TrainingSummary(why=f"{path}: not a JSON object")
    judged = identity.get("adapter_sha256") or identity.get("weights_sha256")
    if judged is not None and card.get("weights_sha256") not in (None, judged):
        return TrainingSummary(card=card, why=f"{path}: describes other weights than tuned's")
    return TrainingSummary(card=card, notes=_differences(replace_surrogates(card), identity))


def as_number(fact: Any) -> float | None:
    """Return a card's fact if it is a number of usual size; None for anything else."""
    fine = isinstance(fact, int | float) and not isinstance(fact, bool) and abs(fact) < 1e15
    return fact if fine else None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _differences(card: Mapping[str, Any], identity: Mapping[str, Any]) -> tuple[str, ...]:
    """Return how the evaluation makes prompts differently than the training did."""
    base = card.get("base")
    template = card.get("chat_template_sha256")
    if template is None and isinstance(base, dict):
        template = base.get("chat_template_sha256")
    pairs = {
        "chat template": (template, identity.get("template_sha256")),
        "tokenizer": (card.get("tokenizer_sha256"), identity.get("tokenizer_sha256")),
    }
    found = tuple(
        f"tuned was trained with another {what} ({trained[:10]}) than it is judged with "
        f"({used[:10]}), so its prompts have a form that it has not learned"
        for what, (trained, used) in pairs.items()
        if isinstance(trained, str) and isinstance(used, str) and trained != used
    )
    precision = precision_note(card, identity.get("stored"))
    return (*found, precision) if precision else found


def precision_note(card: Mapping[str, Any], stored: Any) -> str:
    """Return that an adapter was trained on weights of another precision; empty if it was not.

    Args:
        card: The training card.
        stored: The precision of the weights that it is put on.
    """
    base = card.get("base")
    trained = base.get("trained_as") if isinstance(base, dict) else None
    if not isinstance(trained, str) or not isinstance(stored, str) or trained == stored:
        return ""
    return (
        f"the adapter was trained on weights in {trained} and is put on weights in {stored}: it "
        "corrects rounding errors that these weights do not have"
    )
