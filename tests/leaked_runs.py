"""A run one of whose cases was trained on, for the report's tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tunegate.harness.decision.gating.contamination_strata import compute_strata
from tunegate.harness.records.contamination import (
    ContaminationCheck,
    ContaminationCoverage,
    ContaminationMatch,
    ContaminationMode,
    FileState,
    OverlapKind,
    SuiteContamination,
    TrainingDataFile,
)
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.training_card import TrainingSummary

CARD = {
    "method": "sft",
    "seed": 7,
    "steps": 160,
    "peak_memory_bytes": 1_500_000_000,
    "hardware": {"cpu": "A processor", "cores": 2},
    "settings": {"training": {"learning_rate": 0.0006}},
}
MATCHES = (
    ContaminationMatch(
        case="billing-001", found=OverlapKind.SUSPECT, share=0.25, longest=9, where="t.jsonl:4"
    ),
    ContaminationMatch(
        case="returns-003", found=OverlapKind.RUN, share=0.9, longest=31, where="t.jsonl:17"
    ),
)
FILES = (
    TrainingDataFile(path="data/t.jsonl", sha256="ab" * 32, rows=750, state=FileState.SAME),
    TrainingDataFile(path="data/gone.jsonl", sha256="cd" * 32, rows=None, state=FileState.MISSING),
)


def with_leakage(run: Run, **changes: Any) -> Run:
    """Return a run one of whose cases was trained on, as the manifest and verdict say it."""
    cases = run.cases_of["support_json"]
    matches = tuple(
        match.model_copy(update={"case": cases[at].id}) for at, match in enumerate(MATCHES)
    )
    suite = SuiteContamination(name="support_json", n_cases=60, n_templates=2, matches=matches)
    facts: dict[str, Any] = {
        "mode": ContaminationMode.GATE,
        "checked": ContaminationCoverage.PART,
        "why": "data/gone.jsonl: not found",
        "files": FILES,
        "rows": 750,
        "suites": (suite,),
    }
    known = ContaminationCheck(**(facts | changes))
    training = TrainingSummary(card=CARD, notes=("tuned was trained with another tokenizer",))
    manifest = run.manifest.model_copy(update={"leakage": known, "training": training})
    verdict = run.verdict.model_copy(
        update={
            "leakage": compute_strata(manifest, run.cases_of, run.scores),
            "training": training.facts,
        }
    )
    return replace(run, manifest=manifest, verdict=verdict)
