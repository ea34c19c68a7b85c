"""Training provenance: how tuned was trained, and which cases its training rows contain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunegate.harness.models._model_folder import resolve_folder
from tunegate.harness.models.open_arms import backend_of, is_remote
from tunegate.harness.records import training_card
from tunegate.harness.records.command_line import typed_options
from tunegate.harness.records.contamination import (
    ContaminationCheck,
    ContaminationCoverage,
    ContaminationMode,
    FileState,
    TrainingDataFile,
)
from tunegate.harness.records.errors import ModelError
from tunegate.harness.records.training_card import TrainingSummary
from tunegate.harness.suite import Suite


@dataclass(frozen=True)
class DataOptions:
    """The user's description of the training data."""

    mode: ContaminationMode = ContaminationMode.GATE
    files: tuple[Path, ...] = ()
    """Files of rows that tuned was trained on, in addition to those that its card names."""

    @classmethod
    def parse(cls, mode: str, files: str | None) -> DataOptions:
        """Read the values of the options; files are separated by commas."""
        paths = (Path(name.strip()) for name in (files or "").split(",") if name.strip())
        return cls(ContaminationMode(mode), tuple(paths))


@dataclass(frozen=True)
class TrainingProvenance:
    """How tuned was trained, and what was found; empty before the search."""

    training: TrainingSummary | None = None
    leakage: ContaminationCheck | None = None

    @classmethod
    def of(
        cls,
        spec: str | None,
        identity: Mapping[str, Any],
        suites: Sequence[Suite],
        options: DataOptions,
    ) -> TrainingProvenance:
        """Read tuned's card and compare its training rows with the suites' cases."""
        folder = _folder(spec or "")
        card = training_card.read_training_card(folder, identity)
        unchecked = None
        if options.mode is ContaminationMode.OFF:
            unchecked = "turned off (--gate-leakage=off)"
        elif not card.files and not options.files:
            unchecked = card.why or "the card of the training names no files"
            unchecked += "; name what tuned was trained on with --gate-training-data FILE"
        if unchecked is not None:
            return cls(card, _unchecked(options.mode, unchecked))
        from tunegate.harness.checks.contamination.check import check_contamination
        from tunegate.harness.checks.contamination.training_rows import find_training_files
        from tunegate.harness.checks.contamination.unseen_rows import refuse_unseen_rows

        sources = find_training_files(card, folder, options.files)
        card = _note_foreign_files(card, [source.file for source in sources])
        refuse_unseen_rows([suite for suite in suites if suite.training_rows], sources)
        others = [suite for suite in suites if not suite.training_rows]
        if not others:
            return cls(card, _unchecked(options.mode, "the cases are training rows on purpose"))
        checked = check_contamination(others, sources, mode=options.mode, unknown=card.unknown)
        return cls(card, _note_fewer_rows(card, checked))

    def as_typed(self, command: Sequence[str]) -> TrainingProvenance:
        """Return the findings with options spelled as the user types them."""
        training, leakage = self.training, self.leakage
        if training is not None:
            notes = tuple(typed_options(note, command) for note in training.notes)
            training = training.model_copy(update={"notes": notes})
        if leakage is not None and leakage.why is not None:
            leakage = leakage.model_copy(update={"why": typed_options(leakage.why, command)})
        return TrainingProvenance(training, leakage)

    def left_out(self, suites: Sequence[Suite]) -> Mapping[str, frozenset[str]]:
        """Return suite → cases in the training rows, which its gates leave out."""
        if self.leakage is None or not self.leakage.suites:
            return {}
        from tunegate.harness.checks.contamination import check

        check.refuse_too_many(self.leakage, suites)
        return self.leakage.left_out

    def lines(self) -> list[str]:
        """Return the lines to show before the run."""
        notes = () if self.training is None else self.training.notes
        return [*notes, *([] if self.leakage is None else [self.leakage.sentence])]


def _unchecked(mode: ContaminationMode, why: str) -> ContaminationCheck:
    return ContaminationCheck(mode=mode, checked=ContaminationCoverage.NOTHING, why=why)


def _note_foreign_files(
    card: TrainingSummary, files: Sequence[TrainingDataFile]
) -> TrainingSummary:
    """Return the card with notes on files that the training did not read."""
    if not card.files:
        return card
    foreign = [
        f"--gate-training-data={file.path}: none of the files in tuned's card has this "
        "content, so it is not evidence of what tuned was trained on"
        for file in files
        if file.state is FileState.GIVEN
    ]
    return card.model_copy(update={"notes": (*card.notes, *foreign)}) if foreign else card


def _note_fewer_rows(card: TrainingSummary, checked: ContaminationCheck) -> ContaminationCheck:
    """Return the check, in part where the card tells of more rows than were compared."""
    rows = training_card.as_number(card.believed_card.get("rows"))
    if checked.checked is not ContaminationCoverage.ALL or rows is None or rows <= checked.rows:
        return checked
    why = f"the card tells of {rows:,.0f} rows, and the files hold {checked.rows:,}"
    return checked.model_copy(update={"checked": ContaminationCoverage.PART, "why": why})


def _folder(spec: str) -> Path | None:
    """Return the folder of a spec's files; None if they are not on this machine."""
    if not spec:
        return None
    if spec.startswith("vllm:"):  # a server of ours, made from a folder that is here
        spec = spec.partition(":")[2].partition("?")[0]
    backend = backend_of(spec)
    if backend is not None:
        if is_remote(backend):
            return None
        path = Path(spec.partition(":")[2].partition("?")[0]).expanduser()
        return path if path.is_dir() else path.parent
    try:
        return resolve_folder(spec)
    except ModelError:
        return None
