"""What is not the model's forward: `python -m benchmarks.overhead --tuned DIR`.

A whole run on the real model, written answers and multiple-choice questions, from the plan to the
report: every forward is timed by a hook, and the rest is tokenising, the engine's own work between
forwards, store, metrics, statistics, traces and report. It may take 3 % of the forwards' time.
Loading the model and importing libraries are done before, with a run of a few cases.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._forwards import watched
from benchmarks._prompts import prompts_suite
from tunegate.harness import suite as suites

MOST = 0.03
"""Allowed share of everything else, of the forwards' time."""
WARM = 4
"""Cases of the run before."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Where a run's seconds went."""

    forwards: int
    in_forwards: float
    in_run: float
    in_report: float

    @property
    def rest(self) -> float:
        """Seconds outside the forwards."""
        return self.in_run - self.in_forwards + self.in_report

    @property
    def share(self) -> float:
        """The rest as a share of the forwards' time."""
        return self.rest / self.in_forwards


def main() -> int:
    """Print where the time went; return 1 if the rest takes more than allowed."""
    options = _options()
    from tunegate.harness.models.open_arms import open_arms

    arms = open_arms({"base": options.base, "tuned": options.tuned}, dtype="float32")
    with tempfile.TemporaryDirectory() as place:
        judged(Path(place) / "warm", arms, _suites(Path(place) / "few", WARM, WARM, WARM))
        sized = _suites(
            Path(place) / "sized", options.prompts, options.new_tokens, options.questions
        )
        spent = judged(Path(place) / "run", arms, sized)
    print(
        f"{options.prompts} prompts of at most {options.new_tokens} new tokens and "
        f"{options.questions} questions, both arms, float32"
    )
    print(f"{spent.forwards:>5} forwards {spent.in_forwards:17.2f} s")
    print(f"{'everything else of the run':<23} {spent.in_run - spent.in_forwards:7.2f} s")
    print(f"{'report':<23} {spent.in_report:10.2f} s")
    held = spent.share <= MOST
    print(
        f"everything but the forwards takes {100 * spent.share:.1f} % of their time; target: at "
        f"most {100 * MOST:.0f} %: {'held' if held else 'MISSED'}"
    )
    return int(not held)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", help="default: the base that the adapter names")
    parser.add_argument("--tuned", required=True, help="folder of an adapter")
    parser.add_argument("--prompts", type=int, default=96)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--questions", type=int, default=200)
    return parser.parse_args()


def _suites(folder: Path, prompts: int, tokens: int, questions: int) -> list[suites.Suite]:
    """Return the production prompts and the first questions of general knowledge."""
    source = Path(__file__).resolve().parents[1] / "suites" / "general_knowledge"
    place = folder / "questions"
    place.mkdir(parents=True)
    lines = (source / "cases.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (place / "cases.jsonl").write_text("".join(lines[:questions]), encoding="utf-8")
    toml = (source / "suite.toml").read_text(encoding="utf-8")
    (place / "suite.toml").write_text(toml.replace("tolerance = 0.02", "tolerance = 0.5"))
    return [prompts_suite(folder / "prompts", prompts, tokens), suites.load_suite(place)]


def judged(folder: Path, arms: dict[str, Any], chosen: Sequence[suites.Suite]) -> Spent:
    """Judge the arms as `tunegate gate` does, with an empty store; return where the time went."""
    from tunegate.harness.records.answers import StoredAnswer
    from tunegate.harness.records.jsonl import JsonlRecords
    from tunegate.harness.records.run_folder import Run
    from tunegate.harness.run.evaluate import evaluate
    from tunegate.harness.run.options import RunOptions
    from tunegate.reports import page

    model = arms["base"].loaded.torch_model
    with watched(model) as watch:
        start = time.perf_counter()
        options = RunOptions(
            suites=chosen,
            specs={name: arm.spec for name, arm in arms.items()},
            folder=folder,
            store=folder.with_suffix(".sqlite"),
            stream=io.StringIO(),
            early_stop=False,
        )
        verdict = evaluate(options, dict(arms))
        in_run = time.perf_counter() - start
    wanted = len(arms) * sum(len(suite.cases) for suite in chosen)
    given = sum(c.status == "ok" for c in JsonlRecords(folder / "cells.jsonl", StoredAnswer))
    if given < wanted:
        raise SystemExit(f"{given} of {wanted} answers were given: {verdict.sentence}")
    start = time.perf_counter()
    page.write_all(Run.load(folder), folder)
    return Spent(len(watch.seen), watch.seconds, in_run, time.perf_counter() - start)


if __name__ == "__main__":
    sys.exit(main())
