"""A/A test: base is compared with itself and with a null adapter; neither may ship.

The answers come from the gate's own engine, store and statistics: what goes wrong here would go
wrong there. Each comparison keeps its run folder in `.tunegate/aa/<suite>/`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tunegate.harness.comparison.interim_look import InterimLook
from tunegate.harness.contracts.model import Arm
from tunegate.harness.decision.planning.look_schedule import schedule_looks
from tunegate.harness.decision.verdict.false_claims import claims_at_looks
from tunegate.harness.engine.interrupts import last_signal
from tunegate.harness.models._model_folder import resolve_folder
from tunegate.harness.models.adapters.null_adapter import WORDS, make_null_adapter
from tunegate.harness.models.open_arms import computes_here, open_arms
from tunegate.harness.records.errors import BackendError, RunInterrupted
from tunegate.harness.records.gate_results import GateResult
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.verdict import Verdict, VerdictRecord
from tunegate.harness.run import STORE
from tunegate.harness.run.evaluate import evaluate_once
from tunegate.harness.run.options import RunOptions
from tunegate.harness.suite import Suite

RUNS = Path(".tunegate/aa")


@dataclass(frozen=True)
class AaTestResult:
    """One of the two comparisons, as it ended."""

    title: str
    folder: Path
    adapter: bool
    """Whether the other arm has a null adapter."""
    verdict: VerdictRecord

    @property
    def unchecked(self) -> bool:
        """Whether it ended before anything was compared."""
        return self.verdict.verdict in (Verdict.NOT_COMPARABLE, Verdict.ERROR)


@contextmanager
def open_aa_arms(spec: str, dtype: str) -> Iterator[Mapping[str, Arm]]:
    """Open base and, where the model is loaded here, a null adapter on the same load."""
    if not computes_here(spec) or spec.startswith("gguf:"):  # an adapter is made for a folder
        yield {"base": open_arms({"base": spec, "tuned": spec}, dtype=dtype)["base"]}
        return
    with tempfile.TemporaryDirectory() as folder:
        make_null_adapter(resolve_folder(spec), Path(folder))
        arms: dict[str, Any] = dict(open_arms({"base": spec, "tuned": folder}, dtype=dtype))
        # Nobody could look up the temporary folder later.
        yield {"base": arms["base"], "null": replace(arms["tuned"], spec="null adapter")}


def compare_arms(suite: Suite, name: str, base: Arm, other: Arm) -> AaTestResult:
    """Compare base with itself or with the null adapter, in a run folder of its own.

    The gates are judged however few cases there are: the cap at UNDECIDED of a shortened run would
    hide a false claim. All cases are asked, for the noise floor; `claims_of_early_stop` computes
    what a run that may stop early would have claimed.
    """
    label = "itself" if name == "base" else name
    title = "base against itself" if name == "base" else f"base against a null adapter ({WORDS})"
    options = RunOptions(
        suites=(suite.without_references(),),
        specs={"base": None, "tuned": None},
        folder=(RUNS / suite.name / label).absolute(),
        store=STORE.absolute(),
        self_check=True,
        early_stop=False,
    )
    options.say(title)
    verdict = _evaluate(options, {"base": base, "tuned": other})
    return AaTestResult(title, RUNS / suite.name / label, name != "base", verdict)


def _evaluate(options: RunOptions, arms: dict[str, Arm]) -> VerdictRecord:
    try:
        return evaluate_once(options, arms)
    except KeyboardInterrupt:
        text = f"stopped by signal {last_signal()}"
        raise RunInterrupted(_how_to_continue(text), last_signal()) from None
    except RunInterrupted as error:
        raise RunInterrupted(_how_to_continue(str(error)), error.exit_code - 128) from error
    except BackendError as error:
        raise BackendError(_how_to_continue(str(error))) from error


def _how_to_continue(text: str) -> str:
    return f"{text}\nfinished answers are stored: the same command continues from there"


def claims_of_early_stop(
    comparison: AaTestResult, suite: Suite, run: Run
) -> tuple[InterimLook, list[GateResult]] | None:
    """Return where a run that may stop early would have ended, and its false claims there.

    None where such a run has no interim looks.
    """
    recorded = any(
        arm.get("backend") in ("replay", "results") for arm in run.manifest.arms.values()
    )
    judged = any(metric.judge is not None or metric.votes for metric in suite.gated_metrics)
    looks = None if recorded or judged else schedule_looks(suite, seed=run.manifest.seed)
    if looks is None:
        return None
    look, claims = claims_at_looks(run, looks, adapter=comparison.adapter)
    return look, list(claims)
