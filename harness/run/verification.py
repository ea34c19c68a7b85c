"""Verification of a stored run: its verdict must follow from its scores, these from its answers.

Commands that read a stored verdict (`report`, `promote`, `card`, `history`, `compare`, `advise`)
first decide the run again from its files, so that an edited verdict is refused. A run folder is
data: no path, module or suite that it names is read or imported. If the user names the suites,
scores of bundled metrics are computed again from the stored answers; other scores are taken as
stored.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.further_arm import PROMPTED
from tunegate.harness.decision.answer_facts.answer_counts import AnswerCounts
from tunegate.harness.decision.scoring import score_suite
from tunegate.harness.decision.verdict.redecide import decide_again
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.files import record_json
from tunegate.harness.records.gate_results import GateResult
from tunegate.harness.records.manifest import SuiteRecord
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.records.verdict import Verdict, VerdictRecord
from tunegate.harness.records.versions import package_versions
from tunegate.harness.sandbox.chosen import is_same_sandbox
from tunegate.harness.suite import Suite, hash_without_code, load_suite
from tunegate.harness.suite.suite import with_prompted_goals
from tunegate.harness.suite.toml_file import read_toml

_UNDECIDABLE = (Verdict.ERROR, Verdict.NOT_COMPARABLE)
"""Verdicts of runs without scores, which cannot be decided again; they never ship."""
_MEANS = ("n", "base", "tuned", "delta")
"""Numbers of a gate that do not depend on the statistical method."""
_COPIED = frozenset({"arms", "attempts", "run_id", "seed", "versions"})
"""Fields of a verdict that are copied from the manifest."""
_CLOSE = 1e-5
"""Relative difference that rounding to six digits may leave between two machines."""


def load_verified(
    folder: Path, *, strict: bool = False, suites: Sequence[Path] = ()
) -> tuple[Run, tuple[str, ...]]:
    """Read a finished run and verify it; return it with notes on what was taken as stored.

    `suites` are its suite.toml files, to compute its scores again; `strict` refuses a run that
    cannot be decided here, as without a plugin of its gates.

    Raises:
        UsageError: the run was altered, or a suite has changed since.
    """
    run = Run.load(folder)
    loaded = load_run_suites(folder, run.manifest.suites, suites)
    if suites and not loaded:
        names = ", ".join(record.name for record in run.manifest.suites)
        raise UsageError(f"{suites[0]}: {folder} has no suite of that name; it has {names}")
    return run, refuse_altered(run, loaded, strict=strict)


def load_run_suites(
    folder: Path, records: Iterable[SuiteRecord], files: Iterable[Path]
) -> dict[str, Suite]:
    """Load the named suites of a run, after comparing their hashes."""
    records_by_name = {record.name: record for record in records}
    suites, problems = {}, []
    for file in files:
        record = records_by_name.get(str(read_toml(file).data.get("name")))
        if record is None:
            continue
        now = hash_without_code(file)
        if now in (None, record.hash):
            suite = load_suite(file, max_cases=record.n_cases - record.n_variants)
            suites[suite.name], now = suite, suite.hash
        if now != record.hash:
            problems.append(
                f"{file}: changed since {folder} was started ({record.hash[:10]} then, {now[:10]} "
                "on disk)"
            )
    if problems:
        remedy = "start a new run with `tunegate gate`; stored answers are not asked again"
        raise UsageError("\n".join([*problems, remedy]))
    return suites


def refuse_altered(
    run: Run, suites: Mapping[str, Suite], *, strict: bool = False
) -> tuple[str, ...]:
    """Decide a stored run again, and refuse it if the result differs."""
    if not run.verdict.suites:
        if run.verdict.verdict in _UNDECIDABLE:
            return ()
        raise UsageError(_refusal(run, f"says {run.verdict.verdict.value} and judges no suite"))
    try:
        again = decide_again(run)
    except UsageError as error:
        if strict:
            raise
        return (f"verdict taken as stored: {error}",)
    except ValueError as error:
        raise UsageError(_refusal(run, f"cannot be decided again ({error})")) from error
    if difference := next(_differences(run, again), None):
        raise UsageError(_refusal(run, difference))
    return _check_named_suites(run, suites)


def _check_named_suites(run: Run, suites: Mapping[str, Suite]) -> tuple[str, ...]:
    """Compute the scores of the named suites again; return notes on the others."""
    for record in run.manifest.suites:
        if record.name in suites:
            _check_scores(run, record, suites[record.name])
    stored = [record.name for record in run.manifest.suites if record.name not in suites]
    how = "--suite DIR computes them again"
    notes: tuple[str, ...] = (
        (f"scores taken as stored: {', '.join(stored)}: {how}",) if stored else ()
    )
    metrics = (metric for suite in suites.values() for metric in suite.metrics)
    if any(metric.job for metric in metrics) and not is_same_sandbox(run.manifest.sandbox):
        notes += (f"scores of programs taken as stored: they ran in {run.manifest.sandbox}",)
    return notes


def refuse_other_verdict(run: Run, answers: Mapping[str, AnswerCounts]) -> None:
    """Decide a run without texts again, and refuse it if the result differs.

    Args:
        run: The run.
        answers: Suite → what its texts show.
    """
    if not run.verdict.suites and run.verdict.verdict in _UNDECIDABLE:
        return
    try:
        again = decide_again(run, answers)
    except ValueError as error:
        raise UsageError(_refusal(run, f"cannot be decided again ({error})")) from error
    if difference := next(_differences(run, again), None):
        raise UsageError(_refusal(run, difference))


def _refusal(run: Run, difference: str) -> str:
    return (
        f"{run.folder / 'verdict.json'}: {difference}: the file was changed, or made by another "
        "version; judge the suites again with `tunegate gate`"
    )


def _differences(run: Run, again: VerdictRecord) -> Iterator[str]:
    """Yield where the stored verdict differs from the one decided again.

    With the same versions of all packages every field must match. With others wording and intervals
    may differ, but not decisions and means.
    """
    stored = run.verdict
    if stored.verdict is not again.verdict:
        yield f"says {stored.verdict.value}, and the scores give {again.verdict.value}"
    if _outline(stored) != _outline(again):
        yield "lists other suites or gates than manifest.json"
        return
    for old, new in zip(stored.suites, again.suites, strict=True):
        if old.verdict is not new.verdict:
            stored_verdict, computed = old.verdict.value, new.verdict.value
            yield f"says {stored_verdict} for {old.name}, and the scores give {computed}"
        for gate, decided in zip(old.gates, new.gates, strict=True):
            place = f"{old.name}: {gate.subject} {gate.kind}"
            yield from (f"{place}: {text}" for text in _gate_differences(gate, decided))
    ours, theirs = (json.loads(record_json(record)) for record in (stored, again))
    names = sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
    fixed = _COPIED if run.manifest.versions != package_versions() else frozenset(names)
    yield from (f"{name} is not what the run's other files give" for name in names if name in fixed)


def _gate_differences(gate: GateResult, decided: GateResult) -> Iterator[str]:
    """Yield the decision or means of a gate that differ."""
    if (gate.status, gate.advisory) != (decided.status, decided.advisory):
        yield f"says {gate.status}, and the scores give {decided.status}"
    for name in _MEANS:
        stored, computed = getattr(gate, name), getattr(decided, name)
        if not _is_close(stored, computed):
            yield f"says {name} {_number(stored)}, and the scores give {_number(computed)}"


def _outline(verdict: VerdictRecord) -> list[tuple[str, list[str]]]:
    """Return the suites' names with the ids of their gates."""
    return [(suite.name, [gate.id for gate in suite.gates]) for suite in verdict.suites]


def _is_close(said: float | None, found: float | None) -> bool:
    if said is None or found is None:
        return said is found
    return math.isclose(said, found, rel_tol=_CLOSE, abs_tol=1e-9)


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"


_NOT_HERE = ("MissingExtra", "ran out of time", "the sandbox failed")
"""Reasons of scores that depend on the machine."""


def _check_scores(run: Run, record: SuiteRecord, suite: Suite) -> None:
    """Compute the scores of bundled metrics again; programs run only in the sandbox of the run."""
    _check_plan(run, record, suite)
    stored = {
        (row.metric, row.case, row.arm): row for row in run.scores if row.suite == record.name
    }
    programs = is_same_sandbox(run.manifest.sandbox)
    metrics = tuple(
        metric
        for metric in suite.metrics
        if metric.judge is None and metric.is_bundled and (programs or metric.job is None)
    )
    answered = (cell for cell in run.cells if cell.status != "skipped")
    arms = tuple(dict.fromkeys(cell.arm for cell in run.manifest.plan))
    for row in score_suite(replace(suite, metrics=metrics), answered, arms):
        old = stored.get((row.metric, row.case, row.arm))
        reasons = f"{row.reason} {old and old.reason}"
        if not any(text in reasons for text in _NOT_HERE) and not _same_score(old, row):
            stored_score = "no score" if old is None else _number(old.value)
            raise UsageError(
                f"{run.folder / 'scores.jsonl'}: {row.metric} of {row.arm} on {row.case!r} is "
                f"{stored_score}, and the stored answer gives {_number(row.value)}: the file was "
                "changed, or made by another version; judge the suites again with `tunegate gate`"
            )


def _check_plan(run: Run, record: SuiteRecord, suite: Suite) -> None:
    """Compare what was judged with the suite."""
    if PROMPTED in record.arm_prompts:  # --prompted adds goals that suite.toml does not have
        suite = replace(suite, gates=with_prompted_goals(suite.gates))
    if _rules(record) != _rules(suite.record()):
        raise UsageError(
            f"{run.folder / 'manifest.json'}: its gates or metrics are not those of {suite.path}, "
            "whose hash it names: the file was changed; judge the suite again with `tunegate gate`"
        )
    if run.cases_of[record.name] != suite.cases:
        raise UsageError(
            f"{run.folder / 'cases.jsonl'}: its cases are not those of {suite.path}: the file "
            "was changed; judge the suite again with `tunegate gate`"
        )


def _rules(record: SuiteRecord) -> Any:
    """Return what decides a suite, without judges' calibrations and versions of libraries."""
    other = {"judge": None, "signature": None}
    metrics = [metric.model_copy(update=other) for metric in record.metrics]
    gates = [gate.model_copy(update={"where": ""}) for gate in record.gates]
    rules = record.goal_rule, record.max_unscored, record.alpha_per_attempt
    return metrics, gates, *rules, record.base_expects, record.equal_prompts


def _same_score(old: ScoreRow | None, new: ScoreRow) -> bool:
    if old is None or (old.counts is None) is not (new.counts is None):
        return False
    pairs: Mapping[int, tuple[float, float]] = dict(
        enumerate(zip(old.counts or (), new.counts or (), strict=False))
    )
    return _is_close(old.value, new.value) and all(_is_close(*pair) for pair in pairs.values())
