"""`tunegate doctor`: installation checks; `--aa SUITE` runs A/A tests of the suite.

`tunegate doctor --aa SUITE`: base against itself and against a null adapter; neither may ship.

The answers come from the gate's own engine, store and statistics: what goes wrong here would go
wrong there. A run folder each is kept in `.tunegate/aa/<suite>/`.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sqlite3
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunegate.harness.cli._output import say
from tunegate.harness.contracts import lookup
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.wording import count_noun

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    from tunegate.harness.contracts.model import Arm
    from tunegate.harness.records.gate_results import GateResult
    from tunegate.harness.records.run_folder import Run
    from tunegate.harness.records.verdict import VerdictRecord
    from tunegate.harness.run.options import RunOptions
    from tunegate.harness.suite import Suite

ORDER = 170


@dataclass(frozen=True, slots=True)
class DoctorFinding:
    """One line of the doctor's report."""

    good: bool
    needed: bool
    what: str
    detail: str


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(
    aa: Annotated[
        str,
        typer.Option(
            metavar="SUITE",
            help="Judge base against itself and against a null adapter instead: neither may ship.",
        ),
    ] = "",
    base: Annotated[
        str, typer.Option(metavar="SPEC", help="Base model of --aa. Default: the embedded one.")
    ] = "",
    dtype: Annotated[str, typer.Option(help="Number format of the model of --aa.")] = "auto",
    max_cases: Annotated[
        int | None, typer.Option(min=1, help="Only the first N cases of the suite of --aa.")
    ] = None,
) -> None:
    """Report what is installed, what works here, and how to get what is missing."""
    if aa:
        raise typer.Exit(run_aa_test(aa, base=base, dtype=dtype, max_cases=max_cases))
    if base or max_cases or dtype != "auto":
        raise UsageError("--base, --dtype and --max-cases belong to --aa SUITE; name the suite")
    findings = [*_python(), *_extras(), *_combination(), *_plugins()]
    findings += [*_machine(), *_store(), *_browser(), *_model(), *_vllm()]
    for finding in findings:
        mark = "ok  " if finding.good else ("FAIL" if finding.needed else "-   ")
        say(f"{mark} {finding.what:<22} {finding.detail}")
    if any(f.needed and not f.good for f in findings):
        raise typer.Exit(2)


def _python() -> Iterator[DoctorFinding]:
    from tunegate.harness.records.versions import installed_versions

    yield DoctorFinding(
        True, True, "python", f"{platform.python_version()} on {platform.machine()}"
    )
    yield DoctorFinding(True, True, "tunegate", installed_versions(("tunegate",))["tunegate"])


_SHOWN = 5
"""Packages of an extra that its line names."""


def extra_requirements() -> dict[str, tuple[Requirement, ...]]:
    """Return extra → the packages that it brings, as the installed tunegate declares them.

    `all` and what an extra takes from another one are left out.
    """
    from importlib import metadata

    from packaging.requirements import Requirement

    installed = metadata.distribution("tunegate")
    required = [Requirement(text) for text in installed.requires or ()]
    optional = [
        one
        for one in required
        if one.name != "tunegate" and one.marker and not one.marker.evaluate({"extra": ""})
    ]
    extras = sorted({*(installed.metadata.get_all("Provides-Extra") or ())} - {"all"})
    return {
        extra: tuple(r for r in optional if r.marker and r.marker.evaluate({"extra": extra}))
        for extra in extras
    }


def _extras() -> Iterator[DoctorFinding]:
    """Check the optional packages without importing them."""
    from tunegate.harness.records.versions import installed_versions

    for extra, required in extra_requirements().items():
        found = installed_versions(one.name for one in required)
        missing = list(dict.fromkeys(one.name for one in required if one.name not in found))
        other = [
            f"{one.name} {found[one.name]} (needs {one.specifier})"
            for one in required
            if one.name in found and not one.specifier.contains(found[one.name], prereleases=True)
        ]
        problems = [*([f"missing {', '.join(missing)}"] if missing else []), *other]
        present = [f"{name} {version}" for name, version in found.items()]
        more = [f"{len(present) - _SHOWN} more"] if len(present) > _SHOWN else []
        remedy = f"{', '.join(problems)}: pip install 'tunegate[{extra}]'"
        detail = remedy if problems else ", ".join([*present[:_SHOWN], *more])
        yield DoctorFinding(not problems, False, f"extra {extra}", detail)


def _combination() -> Iterator[DoctorFinding]:
    """Say whether the installed versions were tested together, and what else is installed."""
    from tunegate.harness.contracts import tested_stacks
    from tunegate.harness.records.versions import installed_versions

    installed = installed_versions(tested_stacks.STACK)
    installed["python"] = platform.python_version()
    found = tested_stacks.explain_combination(installed, tested_stacks.tested_stacks())
    if found is not None:
        tested = found[0] is tested_stacks.CombinationStatus.TESTED
        yield DoctorFinding(tested, False, "combination", f"{found[0]}: {found[1]}")
    others = installed_versions(tested_stacks.NEIGHBOURS)
    if others:
        told = ", ".join(f"{name} {version}" for name, version in others.items())
        yield DoctorFinding(True, False, "installed together with", told)


def _plugins() -> Iterator[DoctorFinding]:
    """Import what installed packages add: metrics, judges, backends, sources, report sections."""
    for plugin, problem in lookup.installed_plugins():
        name = f"{lookup.kind_of(plugin.group)} {plugin.name}"
        given = f"{plugin.value} of the package {lookup.provider(plugin)}"
        yield DoctorFinding(problem is None, False, name, problem or given)


def _machine() -> Iterator[DoctorFinding]:
    yield DoctorFinding(True, False, "processors", f"{os.cpu_count()}")
    if importlib.util.find_spec("torch") is not None:
        import torch

        gpu = torch.cuda.is_available()
        name = torch.cuda.get_device_name(0) if gpu else "none: models run in float32 on the CPU"
        yield DoctorFinding(gpu, False, "GPU", name)
        policy = os.environ.get("OMP_WAIT_POLICY", "unset")
        yield DoctorFinding(
            policy.upper() == "PASSIVE",
            False,
            "OMP_WAIT_POLICY",
            policy
            if policy.upper() == "PASSIVE"
            else f"{policy}: export OMP_WAIT_POLICY=PASSIVE, "
            "or torch slows down up to 30 times next to another process",
        )


def _store() -> Iterator[DoctorFinding]:
    """Measure what one durable row costs in this folder."""
    try:
        with tempfile.TemporaryDirectory(dir=".") as folder:
            db = sqlite3.connect(Path(folder) / "probe.sqlite", isolation_level=None)
            mode = db.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            db.execute("PRAGMA synchronous=FULL")
            db.execute("CREATE TABLE probe (x)")
            start = time.perf_counter()
            for i in range(10):
                db.execute("INSERT INTO probe VALUES (?)", (i,))
            cost = (time.perf_counter() - start) * 100
            db.close()
    except (OSError, sqlite3.Error) as error:
        yield DoctorFinding(False, True, "store", f"this folder cannot be written: {error}")
        return
    yield DoctorFinding(
        mode == "wal", False, "store", f"journal {mode}, {cost:.1f} ms a stored answer"
    )


def _browser() -> Iterator[DoctorFinding]:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    yield DoctorFinding(
        chromium is not None, False, "browser", chromium or "none: only its own tests need one"
    )


def _model() -> Iterator[DoctorFinding]:
    from tunegate.harness.models.demo_model import FOLDER, cache_folder, existing_demo_model

    place = cache_folder() / "models" / FOLDER
    there = existing_demo_model() is not None
    detail = str(place) if there else f"not fetched yet: `tunegate demo` does, into {place}"
    yield DoctorFinding(there, False, "embedded model", detail)


def _vllm() -> Iterator[DoctorFinding]:
    """Look for the environment of `vllm:` specs, and whether its version was tested."""
    from tunegate.harness.models.servers.vllm_command import find_installation

    try:
        found = find_installation()
    except UsageError as error:
        yield DoctorFinding(False, False, "engine vllm", str(error))
        return
    place = "CPU" if found.cpu else "GPU"
    note = f"; {found.untested}" if found.untested else ""
    detail = f"{found.version} for the {place}, {found.python}{note}"
    yield DoctorFinding(not found.untested, False, "engine vllm", detail)


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
        from tunegate.harness.records.verdict import Verdict

        return self.verdict.verdict in (Verdict.NOT_COMPARABLE, Verdict.ERROR)


def run_aa_test(word: str, *, base: str, dtype: str, max_cases: int | None) -> int:
    """Run the A/A check of a suite and print it; return the exit code.

    Raises:
        UsageError: the suite or the model cannot be had.
        RunInterrupted: the user stopped it; the same command continues.
    """
    from tunegate.harness.cli.gate import refuse_unknown
    from tunegate.harness.decision.planning.unreachable_gates import unreachable_gates

    suite = _suite(word, max_cases)
    spec = base or _demo_model()
    refuse_unknown(dtype)
    with _arms(spec, dtype) as arms:
        comparisons = [_compare_arms(suite, name, arms["base"], arm) for name, arm in arms.items()]
    for problem in unreachable_gates(suite):
        say(f"\nnote: nothing could ship here: {problem}")
    found = [claim for c in comparisons for claim in _print(c, suite)]
    if "null" not in arms:
        print("\nNo null adapter: only a model that is loaded here can be given one.")
    return _conclude(comparisons, found)


def _suite(word: str, max_cases: int | None) -> Suite:
    from tunegate.harness.suite import load_suite
    from tunegate.harness.suite.find import find_suites

    paths = find_suites(word)
    if len(paths) > 1:
        raise UsageError(f"{word}: holds {len(paths)} suites; name one of them, as {paths[0]}")
    return load_suite(Path(paths[0]), max_cases=max_cases)


def _demo_model() -> str:
    from tunegate.harness.models.demo_model import existing_demo_model

    folder = existing_demo_model()
    if folder is None:
        raise UsageError(
            "no base model: the embedded one is not fetched yet; `tunegate demo` fetches it, "
            "or name a model with --base SPEC"
        )
    return str(folder)


def _option(name: str) -> Any:
    from tunegate.harness.plugin.options import OPTIONS

    return next(o for o in OPTIONS if o.name == name)


@contextmanager
def _arms(spec: str, dtype: str) -> Iterator[Mapping[str, Arm]]:
    """Open base and, where it is a model, a null adapter on the same load.

    Yields:
        `base` for the comparison with itself, `null` for the other one.
    """
    from tunegate.harness.models._model_folder import resolve_folder
    from tunegate.harness.models.adapters.null_adapter import make_null_adapter
    from tunegate.harness.models.open_arms import computes_here, open_arms
    from tunegate.harness.records.errors import hide_credentials

    say(f"tunegate: opening {hide_credentials(spec)}", file=sys.stderr, flush=True)
    if not computes_here(spec) or spec.startswith("gguf:"):  # an adapter is made for a folder
        yield {"base": open_arms({"base": spec, "tuned": spec}, dtype=dtype)["base"]}
        return
    with tempfile.TemporaryDirectory() as folder:
        make_null_adapter(resolve_folder(spec), Path(folder))
        arms: dict[str, Any] = dict(open_arms({"base": spec, "tuned": folder}, dtype=dtype))
        # The temporary folder is no name that anybody could look up later.
        yield {"base": arms["base"], "null": replace(arms["tuned"], spec="null adapter")}


def _compare_arms(suite: Suite, name: str, base: Arm, other: Arm) -> AaTestResult:
    """Make one comparison in its run folder.

    The suite's gates are judged as they are, few cases or not: a cap at UNDECIDED, as a shortened
    run of `tunegate gate` gets, would hide what is looked for. All cases are asked, whatever they
    decide early, for the noise floor's sake; the looks of a gate run are computed afterwards.
    """
    from tunegate.harness.models.adapters.null_adapter import WORDS
    from tunegate.harness.run.options import RunOptions

    arms = {"base": base, "tuned": other}
    label = "itself" if name == "base" else name
    title = "base against itself" if name == "base" else f"base against a null adapter ({WORDS})"
    say(f"tunegate: {title}", file=sys.stderr, flush=True)
    options = RunOptions(
        suites=(suite,),
        specs={"base": None, "tuned": None},
        folder=(RUNS / suite.name / label).absolute(),
        store=Path(_option("store").default).absolute(),
        self_check=True,
        early_stop=False,
    )
    return AaTestResult(title, RUNS / suite.name / label, name != "base", _run(options, arms))


def _run(options: RunOptions, arms: dict[str, Arm]) -> VerdictRecord:
    from tunegate.harness.engine.interrupts import last_signal
    from tunegate.harness.records.errors import BackendError, RunInterrupted
    from tunegate.harness.run.evaluate import evaluate_once

    try:
        return evaluate_once(options, arms, session=uuid.uuid4().hex)
    except KeyboardInterrupt:
        raise RunInterrupted(_again(f"stopped by signal {last_signal()}"), last_signal()) from None
    except RunInterrupted as error:
        raise RunInterrupted(_again(str(error)), error.exit_code - 128) from error
    except BackendError as error:
        raise BackendError(_again(str(error))) from error


def _again(text: str) -> str:
    return f"{text}\nfinished answers are stored: the same command continues from there"


def _print(comparison: AaTestResult, suite: Suite) -> list[GateResult]:
    """Print a comparison's block; return its false claims."""
    from tunegate.harness.decision.score_table import tables_of
    from tunegate.harness.decision.verdict.false_claims import (
        broken_levels,
        false_claims,
        noise_floors,
    )
    from tunegate.harness.records.answers import CellKind
    from tunegate.harness.records.run_folder import Run

    verdict = comparison.verdict
    say(f"\n{comparison.title}: {verdict.verdict.value.replace('_', ' ')}")
    if comparison.unchecked:
        say(f"  could not be checked: {verdict.sentence}")
        return []
    run = Run.load(comparison.folder)
    [table] = tables_of(run.manifest, run.cases_of, run.scores, {})
    [result] = verdict.suites
    floors = noise_floors(table)
    width = max(len(f.metric.name) for f in floors)
    for floor in floors:
        say(f"  {floor.metric.name:<{width}}  {_noise(floor)}")
    for gate in broken_levels(result):
        say(
            f"  {gate.subject} breaks its {gate.kind} with base already: floors are about "
            "the level, not the difference; not counted"
        )
    if comparison.adapter and any(f.metric.needs is CellKind.LATENCY for f in floors):
        print("  an adapter takes time of its own: differences of measured times are not counted")
    claims = false_claims(table.suite, result, adapter=comparison.adapter)
    found = (*_claims_at_looks(comparison, suite, run), *claims)
    return list({(gate.metric, gate.tag, gate.kind): gate for gate in found}.values())


def _claims_at_looks(comparison: AaTestResult, suite: Suite, run: Run) -> Iterator[GateResult]:
    """Print at which look a gate run would have ended; yield what it would have claimed falsely."""
    from tunegate.harness.decision.planning.look_schedule import schedule_looks
    from tunegate.harness.decision.verdict.false_claims import claims_at_looks

    recorded = any(
        arm.get("backend") in ("replay", "results") for arm in run.manifest.arms.values()
    )
    judged = any(metric.judge is not None for metric in suite.gated_metrics)
    looks = None if recorded or judged else schedule_looks(suite, seed=run.manifest.seed)
    if looks is None:
        return
    look, claims = claims_at_looks(run, looks, adapter=comparison.adapter)
    seen = len(look.seen)
    say(f"  with early stopping: ends at {look}, after {seen} of {len(looks.order)} cases")
    yield from claims


def _noise(floor: Any) -> str:
    from tunegate.harness.comparison.delta import Delta

    delta = Delta(floor.pairs)
    if not delta.n:
        return "no case has a score in both arms"
    cases = count_noun(delta.n, "case")
    apart = f"mean |difference| {floor.size:.2g} over {cases}"
    if floor.flips is not None:
        apart = f"{100 * floor.size:.2g} % flipped ({floor.flips} of {cases})"
    return (
        f"base {delta.base:.4g}, difference {delta.estimate:+.2g} "
        f"[{delta.low:+.2g}, {delta.high:+.2g}] at {100 * delta.confidence:g} %; "
        f"noise floor: {apart}"
    )


def _conclude(comparisons: list[AaTestResult], claims: list[GateResult]) -> int:
    """Print the sentence at the end and return the exit code."""
    from tunegate.harness.records.verdict import Verdict

    print()
    if claims:
        for gate in claims:
            say(f"FAIL: a difference was claimed where there is none: {gate.sentence}")
        print(
            "By chance this happens in one check of twenty for a gate at 90 %, and with a null "
            "adapter where a margin is smaller than its effect; otherwise do not trust the suite."
        )
        return Verdict.BLOCK.exit_code
    unchecked = [c.verdict.verdict for c in comparisons if c.unchecked]
    if unchecked:
        print("The check is not complete.")
        return Verdict.worst(unchecked).exit_code
    say(_fine(comparisons))
    return 0


def _fine(comparisons: list[AaTestResult]) -> str:
    from tunegate.harness.records.verdict import SuiteResult

    results: list[SuiteResult] = [s for c in comparisons for s in c.verdict.suites]
    if any(r.has_goal for r in results):
        both = "neither ships" if len(comparisons) > 1 else "it does not ship"
        return f"{both}: as it should be"
    return (
        "no regression is claimed: as it should be (the suite has no goal, so SHIP means "
        '"no worse", which is the right answer here)'
    )
