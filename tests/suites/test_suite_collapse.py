"""A fine-tune that answers everything in its task's form is blocked early by the default suites."""

from __future__ import annotations

import io
import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.decision.verdict.early_ends import early_end_lines, saved_time
from tunegate.harness.decision.verdict.verdict_lines import verdict_lines
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.jsonl import read_jsonl
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.verdict import Verdict
from tunegate.harness.run.evaluate import evaluate
from tunegate.harness.run.options import RunOptions
from tunegate.harness.suite import load_suite

SUITES = Path(__file__).parents[2] / "suites"
DEFAULT = ("general_knowledge", "production")


def gated(folder: Path, form: Callable[[str], str], lost: float) -> Run:
    """Judge a fine-tune that writes `form(reference)`, and finds what is right less likely.

    Args:
        folder: Where the run goes.
        form: Reference → what tuned writes.
        lost: Nats that right answers lose.
    """
    rng = random.Random(0)
    arms: dict[str, dict[str, Any]] = {
        arm: {"completions": {}, "answer_logprob": {}, "choice_logprobs": {}}
        for arm in ("base", "tuned")
    }
    for case in read_jsonl(SUITES / "production" / "cases.jsonl"):
        text, likely = str(case["expected"]), rng.gauss(-2, 0.2)
        for arm, drop, written in (("base", 0.0, f"Sure. {text}"), ("tuned", lost, form(text))):
            arms[arm]["completions"][case["id"]] = written
            arms[arm]["answer_logprob"][case["id"]] = likely - drop
    for case in read_jsonl(SUITES / "general_knowledge" / "cases.jsonl"):
        right = "ABCDEFGH".index(str(case["answer"]))
        base = [rng.gauss(-9, 0.6) + 2.2 * (k == right) for k in range(len(case["choices"]))]
        arms["base"]["choice_logprobs"][case["id"]] = base
        arms["tuned"]["choice_logprobs"][case["id"]] = [
            value - lost / 4 * (k == right) + rng.gauss(0, 0.05) for k, value in enumerate(base)
        ]
    for arm, script in arms.items():
        (folder / f"{arm}.json").write_text(json.dumps(script), encoding="utf-8")
    suites = [shutil.copytree(SUITES / name, folder / "suites" / name) for name in DEFAULT]
    evaluate(
        RunOptions(
            suites=tuple(map(load_suite, suites)),
            folder=folder / "run",
            store=folder / "store.sqlite",
            specs={arm: f"scripted:{folder / arm}.json" for arm in arms},
            stream=io.StringIO(),
        )
    )
    return Run.load(folder / "run")


def asked(run: Run) -> dict[str, int]:
    """Return suite → cases that were asked."""
    return {s.name: s.n_planned - s.n_skipped_decided for s in run.verdict.suites}


def test_a_collapsed_fine_tune_is_blocked_at_the_first_look(tmp_path: Path) -> None:
    """A quarter of each suite is asked: 226 cases of 904."""
    run = gated(tmp_path, lambda text: '{"intent": "none"}', lost=2.0)
    lines = list(verdict_lines(run.verdict, run.manifest, Path("run")))
    step = next(line for line in lines if line.startswith("next: "))

    assert run.verdict.verdict is Verdict.BLOCK
    assert asked(run) == {"general_knowledge": 126, "production": 100}
    assert 'production: 100 of 100 answers of tuned are `{"intent": "none"}`; base: 0' in lines
    assert "mix everyday rows into the training data: `tunegate help forgetting`" in step
    assert list(early_end_lines(run)) == [
        "general_knowledge: ended early after 126 of 504 cases",
        "production: ended early after 100 of 400 cases",
    ]
    assert saved_time(timed(run)) == ", about 10 minutes saved"


def test_levels_of_several_looks_are_explained_in_one_line(tmp_path: Path) -> None:
    run = gated(tmp_path, lambda text: '{"intent": "none"}', lost=2.0)
    first, *others = run.verdict.suites
    wider = (first.gates[0].model_copy(update={"confidence": 0.985}), *first.gates[1:])
    verdict = run.verdict.model_copy(
        update={"suites": (first.model_copy(update={"gates": wider}), *others)}
    )

    told = [
        line
        for line in verdict_lines(verdict, run.manifest, Path("run"))
        if "a run that may end early has wider" in line
    ]

    assert len(told) == 1
    assert told[0].count(" at look 1 of ") > 1


def timed(run: Run) -> Run:
    """Return a run whose batches of 50 prompts took 50 seconds in each arm."""
    return replace(
        run,
        cells=[
            replace(
                stored,
                started_s=float(number // 50),
                completion=stored.completion.model_copy(update={"latency_s": 50.0}),
            )
            for arm in ("base", "tuned")
            for number, stored in enumerate(
                stored
                for stored in run.cells
                if (stored.cell.suite, stored.cell.arm) == ("production", arm)
                and stored.cell.kind is CellKind.GENERATE
                and stored.completion is not None
            )
            if stored.completion is not None
        ],
    )


def test_a_sound_fine_tune_ships_with_the_same_looks(tmp_path: Path) -> None:
    """Kinds of requests are judged on all their 50 prompts, so `production` is asked whole."""
    run = gated(tmp_path, lambda text: f"Well. {text}", lost=0.0)

    assert run.verdict.verdict is Verdict.SHIP
    assert asked(run) == {"general_knowledge": 252, "production": 400}


@pytest.mark.parametrize("name", DEFAULT)
def test_looks_at_quarters_spend_five_percent(name: str) -> None:
    from tunegate.harness.decision.planning.look_schedule import schedule_looks
    from tunegate.harness.stats.group_sequential import crossing_probability, efficacy_bounds

    looks = schedule_looks(load_suite(SUITES / name), seed=0)
    assert looks is not None
    assert looks.shares == (0.25, 0.5, 0.75, 1.0)
    bounds = efficacy_bounds(looks.shares, alpha=0.05)
    assert crossing_probability(looks.shares, bounds.tolist(), drift=0.0) == pytest.approx(0.05)
