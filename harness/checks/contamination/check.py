"""Contamination check: the training rows of a fine-tune against the cases of every suite.

What counts, and where it comes from:

- the whole prompt is a turn of a row (`exact`);
- 13 words in a row: GPT-3's unit of contamination (Brown et al. 2020, appendix C);
- half of the case's 8-grams, a near duplicate; a fifth is listed for review. PaLM asks for 70 %
  (Chowdhery et al. 2022), which lets light edits through;
- of a case with fewer than 13 words of its own, all of them: in one row as they are, or, if
  there are not eight in a row, within a text of a row that holds the right answer too.

Words are compared in lower case and without punctuation. What several cases of a suite share is a
template and no case's own (`tunegate.harness.checks.contamination.index`). A paraphrase is found
by none of this.

The rows that a model was trained on: found again by the card of the training, or given. A file
counts as the one of the training only if its hash is equal. It is looked for where the card says it
was, then next to the weights, then among the files that the user names.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tunegate.harness.checks.contamination.index import CaseIndex, CaseOverlap
from tunegate.harness.checks.contamination.scan import TrainingText, scan_rows
from tunegate.harness.checks.contamination.text import case_text, row_texts
from tunegate.harness.models.adapters.weight_files import content_sha256
from tunegate.harness.records.contamination import (
    MAX_TOUCHED_SHARE,
    ContaminationCheck,
    ContaminationCoverage,
    ContaminationMatch,
    ContaminationMode,
    FileState,
    OverlapKind,
    SuiteContamination,
    TrainingDataFile,
)
from tunegate.harness.records.errors import MissingExtra, NotComparable, UsageError, error_reason
from tunegate.harness.records.files import check_regular, read_file
from tunegate.harness.records.training_card import TrainingSummary
from tunegate.harness.suite import Suite

RUN = 13
"""Words in a row that are no accident."""
DIRTY, SUSPECT = 0.5, 0.2
"""Shares of a case's 8-grams."""
_NAMED = 10
"""Cases that a refusal names."""
_LARGEST = 20_000_000_000
"""Bytes of a file that a card names; more is not read, as a card may come from anywhere."""
_LONGEST_LINE = 100_000_000
"""Bytes of a row."""


def check_contamination(
    suites: Sequence[Suite],
    sources: Sequence[TrainingSource],
    *,
    mode: ContaminationMode,
    unknown: str = "",
) -> ContaminationCheck:
    """Compare training rows with the cases of suites.

    Args:
        suites: The suites with their cases.
        sources: The files of rows; each is read once, and no row is kept.
        mode: What is to be done with touched cases.
        unknown: What else tuned was trained on, of which there are no rows.

    Raises:
        UsageError: a file that the user names cannot be read.
    """
    index = CaseIndex.of([[case_text(case) for case in suite.cases] for suite in suites])
    rows = TrainingRowStream(sources)
    count = scan_rows(index, rows)
    overlaps = iter(index.overlaps)
    absent = [f"{file.path}: {file.state}" for file in rows.files if not file.compared]
    absent += [unknown] if unknown else []
    if not count:
        why = "; ".join(absent) or "the files of the training hold no rows"
        return ContaminationCheck(
            mode=mode, checked=ContaminationCoverage.NOTHING, why=why, files=tuple(rows.files)
        )
    return ContaminationCheck(
        mode=mode,
        checked=ContaminationCoverage.PART if absent else ContaminationCoverage.ALL,
        why="; ".join(absent),
        files=tuple(rows.files),
        rows=count,
        suites=tuple(_suite(suite, [next(overlaps) for _ in suite.cases]) for suite in suites),
    )


def refuse_too_many(leakage: ContaminationCheck, suites: Sequence[Suite]) -> None:
    """Refuse a run one of whose gating suites is known to the fine-tune.

    Raises:
        NotComparable: with the suite, how many of its cases are touched, and which.
    """
    gated = {suite.name for suite in suites if suite.gates}
    for suite in leakage.suites:
        if leakage.mode is ContaminationMode.GATE and suite.name in gated and suite.too_many:
            touched = suite.touched
            more = len(touched) - _NAMED
            named = ", ".join(touched[:_NAMED]) + (f" and {more} more" if more > 0 else "")
            raise NotComparable(
                f"{suite.name}: {len(touched)} of {suite.n_cases} cases are in the training "
                f"rows, more than {MAX_TOUCHED_SHARE:.0%}: {named}; judge on cases that tuned was "
                "not trained on, or train without them (--gate-leakage=report judges all the same, "
                "with a note)"
            )


def _suite(suite: Suite, overlaps: Sequence[CaseOverlap]) -> SuiteContamination:
    matches = (_match(c.id, o) for c, o in zip(suite.cases, overlaps, strict=True))
    return SuiteContamination(
        name=suite.name,
        n_cases=len(suite.cases),
        n_templates=sum(not overlap.runs for overlap in overlaps),
        matches=tuple(match for match in matches if match is not None),
    )


def _match(case: str, overlap: CaseOverlap) -> ContaminationMatch | None:
    found = classify_overlap(overlap)
    if found is None:
        return None
    places = {
        OverlapKind.EXACT: overlap.exact_at,
        OverlapKind.RUN: overlap.longest_at,
        OverlapKind.WHOLE: overlap.one_at or overlap.answered_at,
    }
    return ContaminationMatch(
        case=case,
        found=found,
        share=round(overlap.seen / overlap.runs, 3) if overlap.runs else 0.0,
        longest=overlap.longest,
        where=places.get(found, overlap.one_at),
    )


def classify_overlap(overlap: CaseOverlap) -> OverlapKind | None:
    """Return the strongest thing that a case and the rows have in common; None if it is too little.

    Example:
        >>> classify_overlap(CaseOverlap(words=20, runs=13, seen=6, in_one=6, longest=13))
        <Found.RUN: '13 words in a row'>
    """
    if overlap.exact_at:
        return OverlapKind.EXACT
    if overlap.words < RUN:
        whole = overlap.answered_at or (overlap.runs and overlap.in_one == overlap.runs)
        return OverlapKind.WHOLE if whole else None
    if overlap.longest >= RUN:
        return OverlapKind.RUN
    share = overlap.seen / overlap.runs if overlap.runs else 0.0
    if share >= DIRTY:
        return OverlapKind.SHARE
    if overlap.answered_at:
        return OverlapKind.WHOLE
    return OverlapKind.SUSPECT if share >= SUSPECT else None


@dataclass(frozen=True, slots=True)
class TrainingSource:
    """A file of training rows and its state."""

    file: TrainingDataFile
    path: Path | None
    """Where it is read from; None if it is not."""


def find_training_files(
    training: TrainingSummary, folder: Path | None, given: Sequence[Path]
) -> list[TrainingSource]:
    """Return the files of the card and those that the user names.

    Args:
        training: The card.
        folder: Folder of the card.
        given: Files of rows that tuned was trained on, as the user declared.

    Raises:
        UsageError: a file that the user names is not there.
    """
    named = {}
    for path in given:
        if not path.exists():
            raise UsageError(f"--gate-training-data={path}: no such file or folder")
        named[path] = content_sha256(path)
    sources = [_training_source(file, folder, named) for file in training.files]
    used = {source.path for source in sources}
    for path, digest in named.items():
        if path not in used:
            state = TrainingDataFile(
                path=str(path), sha256=digest, rows=None, state=FileState.GIVEN
            )
            sources.append(TrainingSource(state, path))
    return sources


def _training_source(file: Any, folder: Path | None, given: dict[Path, str]) -> TrainingSource:
    """Return the file that a card names, if its content is still that of the training."""
    wanted, path = file["sha256"], Path(file["path"])
    places = [path] + ([] if folder is None else [folder / path.name])
    # A card may come from anywhere: what holds no rows is not read, however much of it there is.
    there = [place for place in places if place.is_file() or _is_folder_of_rows(place)]
    if any(map(_is_too_large, there)):
        unread = TrainingDataFile(
            path=str(path), sha256=wanted, rows=None, state=FileState.UNREADABLE
        )
        return TrainingSource(unread, None)
    hashes = {place: content_sha256(place) for place in there} | given
    same = next((place for place, digest in hashes.items() if digest == wanted), None)
    state = FileState.SAME
    if same is None:
        state = FileState.CHANGED if there else FileState.MISSING
    return TrainingSource(
        TrainingDataFile(path=str(same or path), sha256=wanted, rows=None, state=state), same
    )


def _is_folder_of_rows(path: Path) -> bool:
    """Return whether `datasets` saved a folder."""
    return any((path / name).is_file() for name in ("state.json", "dataset_dict.json"))


def _is_too_large(path: Path) -> bool:
    files = (path,) if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file()) > _LARGEST


class TrainingRowStream:
    """The rows of all files that are read, one after the other."""

    def __init__(self, sources: Sequence[TrainingSource]) -> None:
        """Take the files; nothing is read yet."""
        self._sources = sources
        self.files = [source.file for source in sources]
        """The state of each file; complete after the last row."""

    def __iter__(self) -> Iterator[TrainingText]:
        """Yield every row.

        Raises:
            UsageError: a file that the user names is no file of rows.
        """
        for number, (file, path) in enumerate((s.file, s.path) for s in self._sources):
            if path is None:
                continue
            count = 0
            state = file.state
            try:
                for where, row in _read(path):
                    yield TrainingText(f"{path.name}:{where}", tuple(row_texts(row)))
                    count += 1
            except (ValueError, OSError, RecursionError, MissingExtra) as error:
                reason = error_reason(error)
                if file.state is FileState.GIVEN:
                    raise UsageError(
                        f"--gate-training-data={path}: after {count} rows: {reason}; give JSONL "
                        "with a row per line, a JSON list, CSV, Parquet, or a folder of `datasets`"
                    ) from error
                state = FileState.UNREADABLE
            self.files[number] = file.model_copy(update={"rows": count, "state": state})


def _read(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield (place within the file, row).

    Raises:
        ValueError: the file is not in the form that its name promises.
    """
    if path.is_dir():
        yield from _folder(path)
        return
    check_regular(path)
    if path.suffix == ".parquet":
        yield from _parquet(path)
    elif path.suffix in (".csv", ".tsv"):
        yield from _table(path, "," if path.suffix == ".csv" else "\t")
    elif path.suffix == ".json":
        rows = json.loads(read_file(path))
        if not isinstance(rows, list):
            raise ValueError("not a list of rows")
        yield from ((f"row {number}", row) for number, row in enumerate(rows, start=1))
    else:
        with path.open("rb") as lines:
            parts = iter(partial(lines.readline, _LONGEST_LINE), b"")
            for number, line in enumerate(parts, start=1):
                if line.strip():
                    yield str(number), _object(line, number)


def _table(path: Path, delimiter: str) -> Iterator[tuple[str, Any]]:
    """Yield the rows of a CSV file, whose first line names the columns."""
    with path.open(encoding="utf-8-sig", newline="") as lines:
        rows = csv.DictReader(lines, delimiter=delimiter)
        try:
            yield from ((str(rows.line_num), row) for row in rows)
        except csv.Error as error:
            raise ValueError(f"after line {rows.line_num}: {error}") from error


def _object(line: bytes, number: int) -> Any:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"line {number} is not one JSON object ({error})") from error
    if not isinstance(row, dict):
        raise ValueError(f"line {number} is not one JSON object")
    return row


def _folder(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the rows of a folder that `datasets` saved; of one with splits, those of `train`."""
    try:
        import datasets  # type: ignore[import-untyped]  # ships no types
    except ImportError as error:
        raise MissingExtra("a folder of rows", "train") from error
    rows = datasets.load_from_disk(str(path))
    if isinstance(rows, datasets.DatasetDict):
        if "train" not in rows:
            raise ValueError("no split 'train'; name one of its folders")
        rows = rows["train"]
    yield from ((f"row {number}", row) for number, row in enumerate(rows, start=1))


def _parquet(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        from pyarrow import ArrowException  # type: ignore[import-untyped]  # ships no types
        from pyarrow.parquet import ParquetFile  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtra("a parquet file", "sources") from error
    number = 0
    try:
        with ParquetFile(path) as file:
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    yield f"row {number}", row
    except ArrowException as error:
        raise ValueError(str(error)) from error
