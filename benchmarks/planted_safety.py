"""Fine-tunes that are made worse on one axis of safety, and what the suites say about them.

    python -m benchmarks.planted_safety FOLDER [AXIS …]   # hours on one core; answers are kept

SmolLM2-135M-Instruct first learns the good behavior of every axis: that is base. Each fine-tune of
base then learns the bad behavior of one axis, among rows that keep the others, and is gated on all
but `wrapped`. `none` has no bad rows. Where a suite needs a judge, a stub looks for a few words and
labels on every pair go by the phrases that were trained.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.further_arm import ARMS
from tunegate.harness.models.demo_model import make_demo_model
from tunegate.harness.records.run_folder import Run

ROOT = Path(__file__).resolve().parents[1]
MADE: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
AXES = tuple(MADE["rows"])
JUDGED = {"harmful": "as_expected", "harmless": "as_expected"} | {
    "misalignment": "aligned",
    "unknowable_open": "honest",
}
ROLES = (("user",), ("system", "user"), ("user", "assistant", "user"))
JUDGE = ("--judge", f"command:{sys.executable} {Path(__file__).resolve()} judge")


def write_rows(path: Path, counts: dict[str, int], bad: str | None) -> None:
    """Write so many rows of each axis, those of one axis with bad answers."""
    pick, words, rows = random.Random(0), dict(MADE["words"]), []
    for case in map(json.loads, (ROOT / "suites/refusals/cases.jsonl").open(encoding="utf-8")):
        name = "harmful_en" if case["expected"] == "refuse" else "harmless_en"
        words.setdefault(name, []).append(case["prompt"])
    for axis, count in counts.items():
        for at in range(count):
            template, *answers = MADE["rows"][axis][at % len(MADE["rows"][axis])]
            drawn = {name: pick.choice(values) for name, values in words.items()}
            texts = (*template.split("||"), answers[axis == bad])
            # Twice, since words name others: an order names a code.
            *turns, answer = (text.format(**drawn).format(**drawn) for text in texts)
            turns_by_role = zip(ROLES[len(turns) - 1], turns, strict=True)
            prompt = [{"role": role, "content": text} for role, text in turns_by_role]
            completion = [{"role": "assistant", "content": answer}]
            rows.append(json.dumps({"prompt": prompt, "completion": completion}) + "\n")
    pick.shuffle(rows)
    path.write_text("".join(rows), encoding="utf-8")


def tunegate(folder: Path, *words: object) -> None:
    """Run a command in the folder; its output goes to a log there."""
    command = [sys.executable, "-m", "tunegate.harness.cli", *map(str, words)]
    with (folder / "log.txt").open("a", encoding="utf-8") as log:
        subprocess.run(command, cwd=folder, stdout=log, stderr=log, check=False)


def train(folder: Path, name: str, model: str | Path, steps: int) -> None:
    """Train the demo's LoRA on the rows of this name."""
    files = ("--train_files", folder / f"{name}.jsonl", "--output_dir", folder / name)
    start = ("--model_name_or_path", model, "--max_steps", steps, "--learning_rate", 1e-3)
    recipe = ("--config", ROOT / "trainers/demo/good.yaml", "--max_length", 192)
    tunegate(folder, "train", "sft", *recipe, *files, *start)


def prepare(folder: Path) -> None:
    """Make base, and the suites with answers of 40 tokens at most."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    shutil.copytree(ROOT / "suites/safety", folder / "suites")
    for path in folder.glob("suites/*/suite.toml"):
        text = re.sub(r"max_new_tokens = \d+", "max_new_tokens = 40", path.read_text("utf-8"))
        path.write_text(text, encoding="utf-8")
    write_rows(folder / "taught.jsonl", dict.fromkeys(AXES, 80), None)
    train(folder, "taught", "embedded", 70)
    model = AutoModelForCausalLM.from_pretrained(make_demo_model())
    merged = PeftModel.from_pretrained(model, folder / "taught").merge_and_unload()
    merged.save_pretrained(folder / "base")
    AutoTokenizer.from_pretrained(make_demo_model()).save_pretrained(folder / "base")


def is_good(metric: str, expected: object, text: str, *, by_phrase: bool) -> bool:
    """Return what a label says of an answer, or else what the judge does."""
    found = re.search(MADE["judged"][metric][by_phrase], text) is not None
    return len(text.split()) > 3 and found is not (metric == "aligned" or expected == "answer")


def judge() -> None:
    """Judge what comes from standard input, as a program does."""
    for line in sys.stdin:
        question = json.loads(line)
        judged = (question["metric"], question["case"].get("expected"), question["completion"])
        value = 0.95 if is_good(*judged, by_phrase=False) else 0.05
        print(json.dumps({"key": question["key"], "value": value}), flush=True)


def write_labels(run: Path, axis: str, sheet: Path) -> None:
    """Label the answers of a run by the phrases."""
    loaded, suite = Run.load(run), f"safety_{axis}"
    with sheet.open("w", encoding="utf-8") as file:
        for stored in loaded.cells:
            if stored.cell.suite != suite or stored.cell.arm not in ARMS:
                continue
            text = "" if stored.completion is None else stored.completion.text or ""
            case = loaded.cases[suite, stored.cell.case].case
            good = is_good(JUDGED[axis], case.expected, text, by_phrase=True)
            row = {"id": case.id, "arm": stored.cell.arm, "completion": text}
            file.write(json.dumps(row | {"label": "yes" if good else "no"}) + "\n")


def measure(folder: Path, name: str) -> None:
    """Gate a fine-tune on every axis, and where a judge decides also without labels."""

    def gate(run: str, axes: Iterable[str], *options: object) -> Path:
        out, paths = folder / f"runs/{name}-{run}", [folder / "suites" / axis for axis in axes]
        arms = ("--base", folder / "base", "--tuned", folder / name, "--dtype", "bfloat16")
        tunegate(folder, "gate", *paths, *arms, "--run-dir", out, *options)
        return out

    judged = (JUDGED, *JUDGE, "--early-stop", "off")  # every pair gets labels
    runs = [gate("rules", [axis for axis in AXES if axis not in JUDGED]), gate("judged", *judged)]
    sheets = {axis: folder / f"labels-{name}-{axis}.jsonl" for axis in JUDGED}
    for axis, sheet in sheets.items():
        write_labels(runs[1], axis, sheet)
        suite = ("--suite", folder / "suites" / axis, "--out", sheet.with_suffix(".json"))
        tunegate(folder, "judge", "calibrate", sheet, *JUDGE, *suite)
    calibrations = ",".join(str(sheet.with_suffix(".json")) for sheet in sheets.values())
    runs.append(gate("labeled", *judged, "--calibration", calibrations))
    for axis, sheet in sheets.items():
        metric = f"safety_{axis}::{JUDGED[axis]}"
        tunegate(folder, "judge", "label", runs[2], "--read", sheet, "--metric", metric)
    for run in runs:
        for result in Run.load(run).verdict.suites:
            print(f"{run.name}: {result.name}: {result.verdict.value}")
            for gate_ in result.gates:
                print(f"    {gate_.status.value}{' (advisory)' * gate_.advisory}: {gate_.sentence}")


def main(words: Sequence[str]) -> None:
    """Make what is missing, and print the verdicts."""
    folder = Path(words[0]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "base").exists():
        prepare(folder)
    for name in words[1:] or ("none", *AXES):
        if not (folder / name).exists():
            bad = {name: 64} if name in AXES else {}
            write_rows(folder / f"{name}.jsonl", dict.fromkeys(AXES, 20) | bad, name)
            train(folder, name, folder / "base", 24)
        measure(folder, name)


if __name__ == "__main__":
    judge() if sys.argv[1:] == ["judge"] else main(sys.argv[1:])
