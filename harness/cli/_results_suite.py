"""Suite over another tool's results: suite.toml with a metric for each score."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tunegate.harness.records.errors import TunegateError, UsageError

if TYPE_CHECKING:
    from tunegate.harness.contracts.result_set import ResultSet, ScoreSummary

PREFIX = "results:"
USUAL_MARGIN = 0.02
"""Loss that a written suite tolerates, where its cases can prove it."""


def start_results_suite(spec: str, folder: Path, task: Sequence[str], *, name: str) -> list[str]:
    """Write suite.toml with a metric for each score; return what was written and what comes next.

    Args:
        spec: The results, as behind `results:`.
        folder: The suite's folder, which is made.
        task: The tasks that are taken; all if empty.
        name: The suite's name.

    Raises:
        UsageError: the results cannot be read, the tasks have different scores, or none has a
            number.
    """
    from tunegate.harness.contracts.result_set import read_results

    results = read_results(spec)
    wanted = list(task or sorted(results.tasks))
    missing = [task_name for task_name in wanted if task_name not in results.tasks]
    if missing:
        raise UsageError(
            f"no task {missing[0]!r} in {results.spec.path}; there are: {', '.join(results.tasks)}"
        )
    summaries = _shared_scores(results, wanted)
    folder.mkdir(parents=True)
    file = folder / "suite.toml"
    text = _suite_text(spec, folder, results, wanted, summaries, name=name)
    file.write_text(text + _gate_text(summaries), encoding="utf-8")
    file.write_text(text + _gate_text(summaries, _provable_margin(folder)), encoding="utf-8")
    count = sum(results.tasks[task_name] for task_name in wanted)
    return [
        f"wrote {folder}/suite.toml: {count} cases, scores {', '.join(s.key for s in summaries)}",
        "next: set the losses that you tolerate, before you look at tuned; `tunegate suite check "
        f"{folder}` shows which of them {count} cases can prove",
        f"then: tunegate gate {folder} --base {PREFIX}{spec.removeprefix(PREFIX)} --tuned "
        f"{PREFIX}OTHER",
    ]


def _provable_margin(folder: Path) -> float:
    """Return the narrowest usual tolerance that the written suite's cases can prove.

    The usual margin if none can be proven, or if the suite cannot be read.
    """
    from tunegate.harness.decision.planning.unreachable_gates import TOLERANCES, unreachable_gates
    from tunegate.harness.suite import load_suite

    try:
        suite = load_suite(folder)
    except TunegateError:
        return USUAL_MARGIN
    for margin in TOLERANCES:
        gates = tuple(
            gate.model_copy(
                update={"margin": f"{100 * margin:g}%" if isinstance(gate.margin, str) else margin}
            )
            for gate in suite.gates
        )
        if not unreachable_gates(replace(suite, gates=gates)):
            return margin
    return USUAL_MARGIN


def _shared_scores(results: ResultSet, tasks: Sequence[str]) -> list[ScoreSummary]:
    """Return the scores that have numbers in every task, each summarised over all of them."""
    by_key: dict[str, list[ScoreSummary]] = {}
    for summary in results.scores:
        if summary.task in tasks and summary.values:
            by_key.setdefault(summary.key, []).append(summary)
    shared = {key: summaries for key, summaries in by_key.items() if len(summaries) == len(tasks)}
    if not shared:
        scores = sorted(by_key)
        if not scores:
            reason = next((s.reason for s in results.scores if s.task in tasks), "no score at all")
            raise UsageError(f"{results.spec.path}: no score with a number ({reason})")
        raise UsageError(
            f"{results.spec.path}: its {len(tasks)} tasks have different scores; make a suite of "
            f"each: --task {tasks[0]}"
        )
    return [_merge(summaries) for summaries in shared.values()]


def _merge(summaries: Sequence[ScoreSummary]) -> ScoreSummary:
    return replace(
        summaries[0],
        low=min(summary.low for summary in summaries),
        high=max(summary.high for summary in summaries),
        binary=all(summary.binary for summary in summaries),
    )


def _suite_text(
    spec: str,
    folder: Path,
    results: ResultSet,
    tasks: Sequence[str],
    summaries: Sequence[ScoreSummary],
    *,
    name: str,
) -> str:
    rest = spec.removeprefix(PREFIX).removeprefix(str(results.spec.path))
    path = os.path.relpath(results.spec.path, folder) + rest
    named = [task for task in tasks if task]
    lines = [
        f"name = {json.dumps(name)}",
        "",
        "[cases]",
        'from = "results"                 # ids, prompts and right answers of these results',
        f"path = {json.dumps(path)}",
        *([f"task = {json.dumps(named[0] if len(named) == 1 else named)}"] if named else []),
        '# columns = { tags = ["doc.subject"], cluster = "doc.passage_id" }   # of its records',
        "",
    ]
    if results.samples > 1:
        lines += ["[generation]", f"samples = {results.samples}", ""]
    names = _metric_names([summary.key for summary in summaries])
    for summary, metric in zip(summaries, names, strict=True):
        lines += [*_metric_lines(summary, metric, results), ""]
    return "\n".join(lines) + "\n"


def _gate_text(summaries: Sequence[ScoreSummary], margin: float = USUAL_MARGIN) -> str:
    """Return the table of the first score's gate."""
    first = summaries[0]
    (name, *_) = _metric_names([summary.key for summary in summaries])
    bounded = first.binary or (first.low >= 0 and first.high <= 1)
    written = f"{margin:g}" if bounded else f'"{100 * margin:g}%"'
    of = "" if bounded else "of base's level: "
    why = "" if margin == USUAL_MARGIN else "; the narrowest that these cases can prove"
    lines = [
        "[[gates]]                        # one for each score that must not fall",
        f"metric = {json.dumps(name)}",
        f"tolerance = {written:<18} # {of}the loss that you can live with{why}",
    ]
    return "\n".join(lines) + "\n"


def _metric_lines(summary: ScoreSummary, name: str, results: ResultSet) -> Iterator[str]:
    yield "[[metrics]]"
    yield 'use = "recorded"'
    yield f"name = {json.dumps(name)}"
    yield f"score = {json.dumps(summary.key)}"
    if summary.traits.higher_is_better is False:
        yield "higher_is_better = false"
    elif summary.traits.higher_is_better is None:
        yield "# higher_is_better = false     # not in the files"
    if summary.traits.deterministic is False:
        yield "deterministic = false          # a judge or more than the answer's text made it"
    if summary.binary:
        yield f"binary = true{'' if results.samples == 1 else '                    # each sample'}"
        return
    low, high = summary.traits.range or (0.0, 1.0)
    if summary.traits.range and low <= summary.low and summary.high <= high:
        yield f"range = [{low:g}, {high:g}]                   # as {results.tool} defines it"
    else:
        seen = f"{summary.low:g} to {summary.high:g} were recorded"
        yield f"# range = [0, 1]               # the files do not have it; {seen}"


def _metric_names(keys: Sequence[str]) -> list[str]:
    """Return a short name for each score: without its filter where that is unambiguous."""
    short = [re.sub(r"[^A-Za-z0-9._-]+", "_", key.split(",")[0]).strip("_") for key in keys]
    whole = [re.sub(r"[^A-Za-z0-9._-]+", "_", key).strip("_") for key in keys]
    times = Counter(short)
    names = [s if times[s] == 1 else w for s, w in zip(short, whole, strict=True)]
    return [
        name if names.index(name) == at and name else f"score_{at + 1}"
        for at, name in enumerate(names)
    ]
