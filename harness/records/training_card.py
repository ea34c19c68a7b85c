"""Training card `tunegate_training.json` as the gate reads it, and the contamination record.

Any program may write such a file: what this tunegate does not know of it is shown and not used.
`tunegate.trainers.training_card` holds the form that our own trainers write.

A run's record of its training data: which cases the fine-tune has seen before it was judged. A
case that training rows hold shows what the model remembers, not what it has learned. Such cases are
*touched*: they are asked and shown apart, and the gates rest on the others. What was not compared
is `not checked`, which is never clean.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import Field

from tunegate.harness.records.cases import Json, Number, Record, Text, replace_surrogates
from tunegate.harness.records.files import read_file

FILE = "tunegate_training.json"
"""Name of the card in the folder of the weights."""
_LARGEST = 4_000_000
"""Bytes beyond which a file is no card."""
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
"""The part of a card that verdict.json repeats."""


class TrainingSummary(Record):
    """A run's knowledge of tuned's training."""

    card: Json = Field(default_factory=dict, repr=False)
    """The card; empty if there is none."""
    why: str = ""
    """Why there is none, or why it is not believed."""
    notes: tuple[str, ...] = ()
    """Differences between training and evaluation, a sentence each."""

    @property
    def believed(self) -> bool:
        """Whether there is a card, and it is of the weights that are judged."""
        return bool(self.card) and not self.why

    @property
    def believed_card(self) -> dict[str, Any]:
        """The card, if it is of the weights that are judged; else nothing."""
        return self.card if self.believed else {}

    @property
    def facts(self) -> dict[str, Any]:
        """The main facts of the card, and what speaks against believing it or the evaluation."""
        told = {name: self.card[name] for name in _FACTS if name in self.card}
        doubts = [*([self.why] if told and self.why else []), *self.notes]
        return told | ({"notes": doubts} if doubts else {})

    @property
    def files(self) -> tuple[Mapping[str, Any], ...]:
        """The files of training rows that the card names, those in a form that can be used."""
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
        """Further training data without a known file, in words; empty if there is none."""
        if self._earlier and not isinstance(self._earlier.get("files"), list):
            return f"what {self._earlier.get('path')} was trained on before is not known"
        return ""

    @property
    def _earlier(self) -> Mapping[str, Any]:
        earlier = self.card.get("went_on_from") if self.believed else None
        return earlier if isinstance(earlier, dict) else {}


def read_training_card(folder: Path | None, identity: Mapping[str, Any]) -> TrainingSummary:
    """Return the card in a folder, held against the arm that was opened from there.

    Args:
        folder: Where tuned's files are; None if it has none here.
        identity: What tuned is: hashes of its weights, template and tokenizer.
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
        return TrainingSummary(card=card, why=f"{path}: is of other weights than tuned's")
    return TrainingSummary(card=card, notes=_differences(replace_surrogates(card), identity))


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _differences(card: Mapping[str, Any], identity: Mapping[str, Any]) -> tuple[str, ...]:
    """Say where the prompts of the evaluation are made otherwise than those of the training."""
    base = card.get("base")
    template = card.get("chat_template_sha256")
    if template is None and isinstance(base, dict):
        template = base.get("chat_template_sha256")
    pairs = {
        "chat template": (template, identity.get("template_sha256")),
        "tokenizer": (card.get("tokenizer_sha256"), identity.get("tokenizer_sha256")),
    }
    return tuple(
        f"tuned was trained with another {what} ({trained[:10]}) than it is judged with "
        f"({used[:10]}): it is asked in a form that it has not learned"
        for what, (trained, used) in pairs.items()
        if isinstance(trained, str) and isinstance(used, str) and trained != used
    )


MOST = 0.10
"""Share of a suite's cases that may be touched before the run is refused."""


class ContaminationMode(StrEnum):
    """Treatment of touched cases."""

    GATE = "gate"
    """They are left out of the gates, and too many refuse the run."""
    REPORT = "report"
    """They are reported, and count in the gates like all others."""
    OFF = "off"
    """Nothing is compared."""


class ContaminationCoverage(StrEnum):
    """How far the training data was compared."""

    ALL = "checked"
    """Every file of the training, and each is the one that was trained on."""
    PART = "checked in part"
    """Some files were changed since, or are not there."""
    NOTHING = "not checked"
    """Nothing was compared."""


class OverlapKind(StrEnum):
    """Matches between a case and training rows, the strongest first."""

    EXACT = "exact"
    """A row's turns hold the whole prompt."""
    RUN = "13 words in a row"
    """One text of a row has 13 or more words in a row in common with the case."""
    SHARE = "half of its 8-grams"
    """At least half of the case's runs of 8 words occur in the rows: a near duplicate."""
    WHOLE = "whole short text"
    """A case of fewer than 13 words of its own is in a row word for word."""
    SUSPECT = "a fifth of its 8-grams"
    """At least a fifth of the runs occur: listed for review, and no reason to leave it out."""


class FileState(StrEnum):
    """State of a file of training rows."""

    SAME = "the file that was trained on"
    GIVEN = "given by the user"
    CHANGED = "changed since the training"
    MISSING = "not found"
    UNREADABLE = "not readable"


class TrainingDataFile(Record):
    """One file of training rows, as the run found it."""

    path: Text
    """Where it was read, or its place in the record of the training."""
    sha256: str | None
    """Of what was trained on, where that is known; else of what was read."""
    rows: int | None
    """Rows that were compared; None if none were."""
    state: FileState
    """Whether it was compared, and why not."""

    @property
    def compared(self) -> bool:
        """Whether its rows were compared with the cases."""
        return self.state in (FileState.SAME, FileState.GIVEN)


class ContaminationMatch(Record):
    """One case that training rows have much in common with."""

    case: Text
    """Its id."""
    found: OverlapKind
    """The strongest thing they have in common."""
    share: float
    """Share of the case's own runs of 8 words that occur in the rows, to three digits."""
    longest: int
    """Words of the longest common run; 0 if it is shorter than 8."""
    where: Text
    """File and line of the row that has the most in common."""

    @property
    def touched(self) -> bool:
        """Whether the case is left out of the gates."""
        return self.found is not OverlapKind.SUSPECT


class SuiteContamination(Record):
    """One suite's cases against the training rows."""

    name: str
    """Its name in suite.toml."""
    n_cases: int
    """Cases that were compared."""
    n_templates: int
    """Cases without 8 words in a row of their own: compared only as a whole."""
    matches: tuple[ContaminationMatch, ...]
    """Touched and suspect cases, in the order of the suite."""

    @property
    def touched(self) -> tuple[str, ...]:
        """Ids of the touched cases."""
        return tuple(match.case for match in self.matches if match.touched)

    @property
    def suspect(self) -> tuple[str, ...]:
        """Ids of the cases to look at."""
        return tuple(match.case for match in self.matches if not match.touched)

    @property
    def too_many(self) -> bool:
        """Whether more of them are touched than a verdict tolerates."""
        return len(self.touched) > MOST * self.n_cases * (1 + 1e-9)


class ContaminationCheck(Record):
    """Findings before the run about cases that tuned was trained on."""

    mode: ContaminationMode
    checked: ContaminationCoverage
    why: str = ""
    """Why nothing, or not everything, was compared."""
    files: tuple[TrainingDataFile, ...] = ()
    rows: int = 0
    """Training rows that were compared."""
    suites: tuple[SuiteContamination, ...] = Field(default=(), repr=False)
    """One a suite; none if nothing was compared."""

    @property
    def left_out(self) -> Mapping[str, frozenset[str]]:
        """Suite → cases that its gates leave out."""
        if self.mode is not ContaminationMode.GATE:
            return {}
        return {suite.name: frozenset(suite.touched) for suite in self.suites if suite.touched}

    @property
    def touched(self) -> Mapping[tuple[str, str], ContaminationMatch]:
        """(suite, case) → what training rows have in common with it; of touched cases alone."""
        return {(s.name, m.case): m for s in self.suites for m in s.matches if m.touched}

    @property
    def sentence(self) -> str:
        """The finding, in words."""
        if self.checked is ContaminationCoverage.NOTHING:
            return f"leakage not checked: {self.why}"
        cases = sum(suite.n_cases for suite in self.suites)
        touched = sum(len(suite.touched) for suite in self.suites)
        told = f"leakage: {touched or 'none'} of {cases} cases are in {self.rows} training rows"
        if touched:
            told += " and " + (
                "are left out of the gates"
                if self.mode is ContaminationMode.GATE
                else f"count in the gates all the same (--gate-leakage={self.mode})"
            )
        return f"{told}; {self.why}" if self.why else told


class MetricStratum(Record):
    """One metric on the clean or on the touched cases of a suite."""

    n: int
    """Complete pairs."""
    base: Number
    """Base's level; None without a pair."""
    tuned: Number
    """Tuned's level, likewise."""
    delta: Number
    """tuned − base."""
    low: Number
    """Lower end of the 90 % interval; None where there is too little for one."""
    high: Number
    """Upper end, likewise."""


class MetricStrata(Record):
    """One metric, apart on clean and on touched cases."""

    metric: str
    """Its name within the suite."""
    clean: MetricStratum
    """On the cases that no row holds."""
    touched: MetricStratum
    """On those that one does."""


class SuiteStrata(Record):
    """One suite's cases, those that are in the training rows apart."""

    name: str
    """Its name in suite.toml."""
    n_cases: int
    """Cases that were compared with the rows."""
    touched: tuple[Text, ...]
    """Ids of the cases that are in the rows."""
    suspect: tuple[Text, ...]
    """Ids of cases with a fifth of their text in the rows; they count as clean."""
    metrics: tuple[MetricStrata, ...] = ()
    """Gated metrics; none where no case is touched."""


class ContaminationResult(Record):
    """Training rows against cases, and the difference with and without what was seen before."""

    mode: ContaminationMode
    """Treatment of touched cases: `gate` left them out."""
    checked: ContaminationCoverage
    """How far the training data was compared."""
    sentence: str
    """The finding, in words."""
    rows: int
    """Training rows that were compared."""
    files: tuple[TrainingDataFile, ...]
    """Their files, and those that could not be compared."""
    suites: tuple[SuiteStrata, ...]
    """In the order of the run; none if nothing was compared."""
