"""Judging stage of a run: every judge metric on every completion, each task once.

What comes out are score rows, which verdict and report treat like any other metric's, and the
judgements behind them. Identical completions are one task, whichever arm they are from.

A stored run is judged again without running its models. The judge metrics and their gates are then
taken from the suites as they are now, so that one which was added since is judged too; everything
else of the run is what it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

from tunegate.harness import suite as suites
from tunegate.harness.contracts import lookup
from tunegate.harness.contracts.further_arm import further_arm
from tunegate.harness.contracts.metric import Metric
from tunegate.harness.engine.answer_cache import AnswerCache
from tunegate.harness.engine.interrupts import stop_on_signal
from tunegate.harness.engine.progress import ProgressReporter
from tunegate.harness.judges.asking import stage
from tunegate.harness.judges.asking.instructions import instruction_findings
from tunegate.harness.judges.asking.juror import (
    JudgedTask,
    JudgementOutcome,
    JudgementTarget,
    JudgementTask,
    Juror,
    are_recorded,
    combine_jurors,
)
from tunegate.harness.records.answers import CellKind, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import RunInterrupted, UsageError
from tunegate.harness.records.judgements import Judgement
from tunegate.harness.records.manifest import Manifest, SuiteRecord
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.scores import Score, ScoreRow
from tunegate.harness.suite import Suite

NO_JUDGE = "no judge was asked; name one with --gate-judge SPEC"


@dataclass(frozen=True)
class JudgingResult:
    """The judgements of a run."""

    rows: tuple[ScoreRow, ...] = field(repr=False, default=())
    judgements: tuple[Judgement, ...] = field(repr=False, default=())


@dataclass(frozen=True)
class _CompletionToJudge:
    """A completion, or a pair, with where it is."""

    metric: Metric
    case: Case
    """As the model saw it, the suite's system prompt included."""
    cells: tuple[StoredAnswer, ...]
    """One, or base's and tuned's."""

    @property
    def place(self) -> JudgementTarget:
        cell = self.cells[-1].cell
        return JudgementTarget(cell.suite, self.metric.name, cell.case, cell.arm, cell.sample)

    @property
    def missing(self) -> str | None:
        """Why there is nothing to judge; None if there is."""
        for stored in self.cells:
            if stored.completion is None:
                return stored.error or "there is no completion"
            if stored.completion.text is None:
                return "the completion has no text"
        return None

    @property
    def task(self) -> JudgementTask:
        assert self.metric.judge is not None
        given = tuple(c.completion for c in self.cells if c.completion is not None)
        return JudgementTask(
            self.metric.name, self.metric.judge, self.case, given, place=self.place
        )


def judge_metrics(suites: Iterable[Suite]) -> list[tuple[Suite, Metric]]:
    """Return the metrics that ask a judge, with their suites."""
    return [(s, m) for s in suites for m in s.metrics if m.judge is not None]


def run_judges(
    suites: Sequence[Suite],
    cells: Iterable[StoredAnswer],
    jurors: Sequence[Juror],
    *,
    stream: TextIO | None = None,
) -> JudgingResult:
    """Judge the completions of a run.

    Args:
        suites: The suites.
        cells: Its cells, those that were asked.
        jurors: Who judges; with none, every judge metric is unscored, with that as its reason.
        stream: Where progress is written; None writes nothing.

    Raises:
        RunInterrupted: the user asked to stop; replies that came are stored.
        BackendError: the store failed.
    """
    asked = list(_completions_to_judge(suites, cells)) if judge_metrics(suites) else []
    places: dict[str, list[JudgementTarget]] = {}
    tasks: dict[str, JudgementTask] = {}
    recorded = are_recorded(jurors)
    for one in asked if jurors else ():
        if one.missing is None:
            task = replace(one.task, apart=one.case.id) if recorded else one.task
            tasks.setdefault(task.key, task)
            places.setdefault(task.key, []).append(one.place)
    found: dict[JudgementTarget, list[JudgementOutcome]] = {}
    judgements: list[Judgement] = []
    for told in _outcomes(list(tasks.values()), jurors, stream):
        where = places[told.task.key]
        judgements += told.judgements(where)
        for place in where:
            found.setdefault(place, []).append(told.outcome)
    order = {one.place: number for number, one in enumerate(asked)}
    specs = [juror.identity["spec"] for juror in jurors]
    judgements.sort(key=lambda j: (order[_place_of(j)], specs.index(j.judge)))
    return JudgingResult(tuple(_rows(asked, found)), tuple(judgements))


def _place_of(line: Judgement) -> JudgementTarget:
    return JudgementTarget(line.suite, line.metric, line.case, line.arm, line.sample)


def _outcomes(
    tasks: Sequence[JudgementTask], jurors: Sequence[Juror], stream: TextIO | None
) -> Iterator[JudgedTask]:
    """Yield every task's outcome of every juror; Ctrl-C waits only for what is in progress."""
    progress = (
        None if stream is None else ProgressReporter(float(len(tasks) * len(jurors)), stream=stream)
    )
    try:
        with stop_on_signal() as stop:
            for juror in jurors:
                for task, outcome in juror.judge(tasks) if tasks else ():
                    yield JudgedTask(task, outcome, juror)
                    if progress is not None:
                        tokens = outcome.output_tokens or 0
                        progress.add(1.0, tokens=tokens, label=f"judging · {task.metric}")
                    if stop.requested:
                        ask_no_more = getattr(juror, "stop", None)
                        if ask_no_more is None:
                            break
                        ask_no_more()  # a model still answers what it was asked
                if stop.requested:
                    raise RunInterrupted(
                        f"stopped by signal {stop.signal_number}", stop.signal_number
                    )
    finally:
        if progress is not None:
            progress.close()


def _completions_to_judge(
    suites: Sequence[Suite], cells: Iterable[StoredAnswer]
) -> Iterator[_CompletionToJudge]:
    """Yield what is to be judged, in the order of suites, metrics, cases, arms and samples."""
    metrics = judge_metrics(suites)
    names = {suite.name for suite, _ in metrics}
    by_case: dict[tuple[str, str], list[StoredAnswer]] = {}
    for stored in cells:
        if stored.cell.kind is CellKind.GENERATE and stored.cell.suite in names:
            by_case.setdefault((stored.cell.suite, stored.cell.case), []).append(stored)
    for suite, metric in metrics:
        for case in (case_with_system(c, suite.generation.system) for c in suite.cases):
            found = by_case.get((suite.name, case.id), [])
            if metric.judge is not None and metric.judge.pairs:
                for pair in _pairs(found):
                    yield _CompletionToJudge(metric, case, pair)
            else:
                for stored in found:
                    yield _CompletionToJudge(metric, case, (stored,))


def case_with_system(case: Case, system: str | None) -> Case:
    """Return a case as the model saw it: with the suite's system prompt as a turn."""
    if system is None:
        return case
    turns = case.input_messages(system)
    return case.model_copy(update={"prompt": None, "messages": turns})


def _pairs(cells: Sequence[StoredAnswer]) -> list[tuple[StoredAnswer, StoredAnswer]]:
    """Return base's and tuned's completions of the same sample."""
    arms = {(c.cell.arm, c.cell.sample): c for c in cells}
    samples = sorted({c.cell.sample for c in cells if further_arm(c.cell.arm).reported})
    return [
        (arms["base", sample], arms["tuned", sample])
        for sample in samples
        if ("base", sample) in arms and ("tuned", sample) in arms
    ]


def _rows(
    asked: Sequence[_CompletionToJudge], found: Mapping[JudgementTarget, list[JudgementOutcome]]
) -> Iterator[ScoreRow]:
    """Yield a row for each metric, case and arm: the mean over the samples."""
    scores: dict[tuple[str, str, str, str], list[Score]] = {}
    for one in asked:
        place, outcomes = one.place, found.get(one.place)
        if one.missing is not None:
            score = Score.unscored(one.missing)
        else:
            score = Score.unscored(NO_JUDGE) if outcomes is None else combine_jurors(outcomes)
        pairs = one.metric.judge is not None and one.metric.judge.pairs
        for arm, own in _split_advantage(score) if pairs else [(place.arm, score)]:
            scores.setdefault((place.suite, place.metric, place.case, arm), []).append(own)
    for (suite, metric, case, arm), samples in scores.items():
        values = [score.value for score in samples if score.value is not None]
        unscored = [score.reason for score in samples if score.value is None]
        reasons = [score.reason for score in samples if score.reason]
        yield ScoreRow(
            suite=suite,
            metric=metric,
            case=case,
            arm=arm,
            value=None if unscored else sum(values) / len(values),
            reason=(unscored or reasons or [None])[0],
            parts=None if unscored else _means(samples),
        )


def _split_advantage(advantage: Score) -> list[tuple[str, Score]]:
    """Return a pair's score as two, whose difference is tuned's advantage, from -1 to 1."""
    if advantage.value is None:
        return [("base", advantage), ("tuned", advantage)]
    base, tuned = (1 - advantage.value) / 2, (1 + advantage.value) / 2
    return [
        (arm, Score.of(value, advantage.reason, parts=advantage.parts))
        for arm, value in (("base", base), ("tuned", tuned))
    ]


def _means(samples: Sequence[Score]) -> dict[str, float] | None:
    found: dict[str, list[float]] = {}
    for score in samples:
        for name, value in (score.parts or {}).items():
            found.setdefault(name, []).append(value)
    return {name: sum(values) / len(values) for name, values in found.items()} or None


NONE = "none"
"""Reports a run without a judge: its judge metrics are unscored, their gates advisory."""
ROOM = "tunegate.harness.judges.backends"


def specs_of(given: str | None) -> tuple[str, ...]:
    """Return the specs of an option's value; commas part the judges of a jury.

    Raises:
        UsageError: one is empty, or named twice.
    """
    if given is None or given.strip() == NONE:
        return ()
    specs = tuple(spec.strip() for spec in given.split(","))
    if not all(specs):
        raise UsageError(f"judge={given!r} has an empty name; write SPEC, or SPEC,SPEC for a jury")
    if len(set(specs)) < len(specs):
        raise UsageError(f"judge={given!r} names a judge twice: its vote would count double")
    return specs


def refuse_unjudged(suites: Sequence[Suite], given: str | None) -> None:
    """Refuse gates on a judge's metric where no judge was named.

    Raises:
        UsageError: in one line, what to give.
    """
    if given is not None:
        _refuse_other_judges(suites, specs_of(given))
        return
    for suite, metric in judge_metrics(suites):
        if metric in suite.gated_metrics:
            specs = ", ".join(lookup.defined_texts(ROOM, "SPEC").values())
            raise UsageError(
                f"{suite.name}: the gate on {metric.name!r} needs a judge: name one with "
                f"--gate-judge SPEC ({specs}), or run without a judge with --gate-judge none"
            )


def _refuse_other_judges(suites: Sequence[Suite], specs: Sequence[str]) -> None:
    """Refuse judges that know one question only, where a metric asks another one."""
    alone = lookup.defined_texts(ROOM, "JUDGES")
    for spec in specs:
        prefix, only = spec.partition(":")[0], alone.get(backend_of(spec)[0])
        for suite, metric in judge_metrics(suites) if only else ():
            if metric.judge is not None and metric.judge.name != only:
                raise UsageError(
                    f"{suite.name}: {prefix} judges {only} alone, and the metric {metric.name!r} "
                    f"asks {metric.judge.name}; take the metric out, or name another judge"
                )


def open_jurors(specs: Sequence[str], store: AnswerCache | None) -> tuple[Juror, ...]:
    """Open the judges.

    Raises:
        UsageError: one cannot be opened.
    """
    return tuple(_open_juror(spec, store) for spec in specs)


def _open_juror(spec: str, store: AnswerCache | None) -> Juror:
    name, target = backend_of(spec)
    factory: Any = lookup.find_object(ROOM, name, what="judge backend")
    opened: Any = factory(target)
    if hasattr(opened, "keeping"):
        opened = opened.keeping(store)
    if hasattr(opened, "ask"):
        from tunegate.harness.judges.asking.conversation import ModelJuror

        return ModelJuror(opened, store)
    juror: Juror = opened
    return juror


def backend_of(spec: str) -> tuple[str, str]:
    """Return the name of a spec's backend, and what the backend is given."""
    prefix, has_prefix, target = spec.partition(":")
    name = prefix.replace("-", "_")
    if has_prefix and name in lookup.available_names(ROOM):
        return name, target
    return "local", spec


def suites_of(run: Run, given: Sequence[Path]) -> list[Suite]:
    """Load the suites of a run as they are now, with the cases that the run has.

    Args:
        run: The run.
        given: Its suites, which the user names.

    Raises:
        UsageError: a suite is missing, its cases or prompts are others, or none asks a judge.
    """
    if not given:
        raise UsageError(
            f"{run.folder}: name its suites with --suite DIR: a run folder is data, and the code "
            "of a suite is run for the user alone"
        )
    named = {suite.name: suite for suite in map(suites.load_suite, given)}
    names = {record.name for record in run.manifest.suites}
    stranger = next((name for name in named if name not in names), None)
    if stranger is not None:
        raise UsageError(f"{named[stranger].path}: {run.folder} has no suite {stranger!r}")
    if missing := sorted(names - named.keys()):
        raise UsageError(
            f"{run.folder}: was made with {missing[0]!r} too; name it with --suite DIR"
        )
    found = [_keep_cases(run, record, named[record.name]) for record in run.manifest.suites]
    if not stage.judge_metrics(found):
        raise UsageError(
            f"{run.folder}: no metric of its suites asks a judge; add one to suite.toml, such as "
            'use = "rubric" with criteria'
        )
    return found


def update_manifest(run: Run, found: Sequence[Suite], jurors: Sequence[Juror]) -> Manifest:
    """Return the run's manifest with the judges, and the judge metrics, of now."""
    records = [
        _update_judges(record, suite)
        for record, suite in zip(run.manifest.suites, found, strict=True)
    ]
    attempts = dict(run.manifest.attempts)
    for old, new in zip(run.manifest.suites, records, strict=True):
        if old.hash in attempts:
            attempts[new.hash] = attempts[old.hash]
    before = run.manifest.findings
    now = [one for one in instruction_findings(found, run.cells) if one not in before]
    return run.manifest.model_copy(
        update={
            "suites": tuple(records),
            "attempts": attempts,
            "findings": (*before, *now),
            "judges": tuple(dict(juror.identity) for juror in jurors),
        }
    )


def _keep_cases(run: Run, record: SuiteRecord, suite: Suite) -> Suite:
    now = {case.id: case for case in suite.cases}
    for case in run.cases_of[record.name]:
        if case.id not in now or now[case.id] != case:
            raise UsageError(
                f"{suite.path}: case {case.id!r} is not the one that {run.folder} has completions "
                "of; run the gate again"
            )
    if suite.generation.model_dump(mode="json") != record.generation:
        raise UsageError(
            f"{suite.path}: [generation] is not what {run.folder} was made with; run the gate again"
        )
    kept = tuple(now[case.id] for case in run.cases_of[record.name])
    return replace(suite, cases=kept)


def _update_judges(record: SuiteRecord, suite: Suite) -> SuiteRecord:
    """Return a suite's record with the judge metrics and gates of now, the others as they were."""
    fresh = suite.record()
    judged = {m.name: m for m in fresh.metrics if m.judge is not None}
    kept = {m.name: m for m in record.metrics if m.judge is None and m.name not in judged}
    gates = [g for g in record.gates if g.metric in kept]
    return record.model_copy(
        update={
            "hash": fresh.hash,
            "path": fresh.path,
            "metrics": (*kept.values(), *judged.values()),
            "gates": (*gates, *(g for g in fresh.gates if g.metric in judged)),
        }
    )
