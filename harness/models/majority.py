"""`majority:FILE`: always the most frequent label, as a base where no classifier is deployed yet.

FILE is JSONL of training rows or cases, each with its `label` or `expected`. The probabilities are
the labels' shares, as those of scikit-learn's `DummyClassifier(strategy="prior")`. Of labels that
are equally frequent the first in alphabetical order is answered.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.model import Prompt, Request
from tunegate.harness.models.classifier import read_texts
from tunegate.harness.records.answers import CellKind, Completion, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import ModelError
from tunegate.harness.records.files import numbered_lines
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.records.hashing import sha256

SPEC = "majority:FILE"
_KEYS = ("label", "expected")


@dataclass(frozen=True)
class MajorityArm:
    """An arm that knows how frequent each label is, and nothing else."""

    spec: str
    shares: Mapping[str, float]
    """Label → its share of the rows, in alphabetical order."""
    kinds: frozenset[CellKind] = frozenset({CellKind.GENERATE})

    @property
    def identity(self) -> Mapping[str, Any]:
        """The spec and the shares."""
        return {"spec": self.spec, "backend": "majority", "shares": dict(self.shares)}

    @property
    def fingerprint(self) -> str:
        """Hash of the shares."""
        return sha256(dict(self.shares))

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the rows."""
        return tuple(self.shares)

    @property
    def head_outputs(self) -> tuple[tuple[float, ...], ...]:
        """The shares, whatever the text."""
        return (tuple(self.shares.values()),)

    def cannot(self, kind: CellKind) -> str:
        """Return that it only names a label."""
        return f"{self.spec} gives a label and no {kind.value}; use a metric of classifiers"

    def prompt(self, case: Case, generation: GenerationSettings) -> Prompt:
        """Return the text, which changes nothing."""
        return read_texts(case, generation)

    def complete(self, requests: Sequence[Request]) -> Iterator[StoredAnswer]:
        """Answer each request with the most frequent label."""
        label = max(self.shares, key=lambda name: self.shares[name])
        completion = Completion(text=label, label_probabilities=dict(self.shares))
        for request in requests:
            yield StoredAnswer.of(request.cell, completion, None, time.time())


def majority(path: str) -> MajorityArm:
    """Count the labels of a file."""
    spec, counts = f"majority:{path}", Counter[str]()
    try:
        lines = [(n, line.decode("utf-8")) for n, line in numbered_lines(Path(path))]
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{spec}: cannot be read ({error}); write it as {SPEC}") from error
    for number, line in lines:
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ModelError(f"{spec}, line {number}: not JSON ({error})") from error
        labels = [row[key] for key in _KEYS if key in row] if isinstance(row, dict) else []
        if not labels or not isinstance(labels[0], str) or not labels[0].strip():
            raise ModelError(
                f"{spec}, line {number}: no label; each row needs one text as `label` or `expected`"
            )
        counts[labels[0].strip()] += 1
    if not counts:
        raise ModelError(f"{spec}: no rows in this file")
    total = counts.total()
    return MajorityArm(spec, {label: counts[label] / total for label in sorted(counts)})
