"""Runs of other tools, compared, and copies of their files with one change."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.results.recorded_results import RECORDED, write_rows
from tunegate.harness.checks.recorded_results import compare_results
from tunegate.harness.contracts.result_set import read_results

HELM = "helm/simple_mcqa%3Amodel=simple_{},data_augmentation=lower,num_train_trials=2"


RUNS = {
    "lm_eval": ("lm_eval/base/ink-base", "lm_eval/tuned/ink-tuned", ""),
    "inspect": ("inspect/base", "inspect/tuned", ""),
    "promptfoo": ("promptfoo/results.json", "promptfoo/results.json", "#{}"),
    "deepeval": ("deepeval/base", "deepeval/tuned", ""),
    "verifiers": ("verifiers/base", "verifiers/tuned", ""),
    "lmms_eval": ("lmms_eval/base", "lmms_eval/tuned", ""),
    "nemo_evaluator": ("nemo_evaluator/base", "nemo_evaluator/tuned", ""),
    "bfcl": ("bfcl", "bfcl", "#{}-prompt"),
    "mlflow": ("mlflow/base.jsonl", "mlflow/tuned.jsonl", ""),
    "openai_evals": ("openai_evals/base.jsonl", "openai_evals/tuned.jsonl", ""),
    "helm": (HELM.format("base"), HELM.format("tuned"), ""),
    "tau2": ("tau2/base.json", "tau2/tuned.json", ""),
    "harbor": ("harbor", "harbor", "#offline/{}"),
}
"""Format → files of base and tuned, and what selects a run in them."""


def compare(base: str, tuned: str, scores: tuple[str, ...] | None = None) -> Mapping[str, Any]:
    """Compare two runs on all cases and scores of base."""
    runs = {"base": read_results(base), "tuned": read_results(tuned)}
    found = runs["base"]
    keys = scores or tuple(dict.fromkeys(summary.key for summary in found.scores))
    return compare_results(found.cases, runs, keys)


def specs(form: str) -> tuple[str, str]:
    """Return the specs of the recorded base and tuned."""
    base, tuned, run = RUNS[form]
    return f"{RECORDED / base}{run.format('base')}", f"{RECORDED / tuned}{run.format('tuned')}"


Edit = Callable[[Any], object]


def in_json(name: str, edit: Edit) -> Callable[[Path], None]:
    """Return an edit of the JSON files of a name."""

    def apply(place: Path) -> None:
        files = [place] if place.is_file() else sorted(place.rglob(name))
        assert files
        for file in files:
            found = json.loads(file.read_text(encoding="utf-8"))
            edit(found)
            file.write_text(json.dumps(found), encoding="utf-8")

    return apply


def in_lines(name: str, edit: Edit) -> Callable[[Path], None]:
    """Return an edit of each line of the JSON-lines files of a name."""

    def apply(place: Path) -> None:
        files = [place] if place.is_file() else sorted(place.rglob(name))
        assert files
        for file in files:
            lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
            for line in lines:
                edit(line)
            write_rows(file, lines)

    return apply


def sums(edit: Edit) -> Callable[[Path], None]:
    """Return an edit of the configuration of lm-eval's task `sums`."""
    return in_json("results_*.json", lambda found: edit(found["configs"]["sums"]))


def changed_copy(form: str, folder: Path, edit: Callable[[Path], None]) -> str:
    """Return the spec of a changed copy of the recorded tuned."""
    place, _, run = specs(form)[1].partition("#")
    copy = folder / Path(place).name
    (shutil.copytree if Path(place).is_dir() else shutil.copy)(place, copy)
    edit(copy)
    return f"{copy}#{run}" if run else str(copy)
