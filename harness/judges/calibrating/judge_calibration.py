"""Calibration of a judge: asked about labelled answers, some of them again, and about bad ones.

Recorded judgements were never asked about known bad answers, nor twice; their calibration says so.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tunegate.harness.contracts import judge_examples
from tunegate.harness.judges.calibrating import rates as calibration_rates
from tunegate.harness.judges.calibrating.canaries import canary_result, make_canaries
from tunegate.harness.judges.calibrating.pair_calibration import calibrate_pairs
from tunegate.harness.judges.calibrating.rates import JudgedLabel, PairedDifference
from tunegate.harness.judges.calibrating.setup import CalibrationSetup
from tunegate.harness.records.calibration import Calibration, CanaryResult, calibration_binding
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.labels import (
    Label,
    are_copies,
    copied_labels,
    labels_hash,
    refuse_judges_labels,
)
from tunegate.harness.stats import judge_accuracy, judge_bias

REPEATED = 50
"""Most answers that are judged again."""


@dataclass(frozen=True)
class LabelledCases:
    """Labels with the cases they are about."""

    labels: tuple[Label, ...]
    cases: Mapping[str, Case]
    """Id → case."""
    source: str
    """Where the labels come from, for people."""

    def case(self, label: Label) -> Case:
        """Return the case that a label is about."""
        return label.case or self.cases[label.id]


def calibrate_judge(
    bench: CalibrationSetup, labelled: LabelledCases, *, repeats: int = 2, seed: int = 0
) -> Calibration:
    """Compare a judge with people's labels.

    Args:
        bench: The judge, and who is asked.
        labelled: People's labels.
        repeats: Times that some answers, drawn by `seed`, are judged again.
        seed: Seed of the draws.

    Raises:
        UsageError: the judge scored no answer, its examples show all of them, or the labels do not
            fit a judge of pairs.
    """
    specs = [str(judge_model.identity.get("spec")) for judge_model in bench.judge_models]
    refuse_judges_labels(labelled.source, labelled.labels, specs)
    n_labels, labelled = len(labelled.labels), _without_examples(bench, labelled)
    facts = _facts(bench, labelled, seed, n_examples=n_labels - len(labelled.labels))
    if bench.judge.pairs:
        return calibrate_pairs(bench, labelled.labels, labelled.case, facts)
    tasks = {
        at: bench.task(labelled.case(x), x.completion, whose=x)
        for at, x in enumerate(labelled.labels)
    }
    scores = bench.scores(tasks.values())
    rows = [
        JudgedLabel(label, value)
        for at, label in enumerate(labelled.labels)
        if (value := scores[tasks[at].key].value) is not None
    ]
    if not rows:
        reason = next((s.reason for s in scores.values() if s.reason), "no reply")
        raise UsageError(f"the judge scored none of {len(labelled.labels)} answers: {reason}")
    ends = bench.metric.range or (0.0, 1.0)
    if are_copies([(row.label.label, row.score) for row in rows], ends):
        raise UsageError(f"{labelled.source}: {copied_labels(bench.metric.name, len(rows))}")
    good, arm_pairs = bench.good_from, calibration_rates.both_arms(rows)
    counts, pairs = (
        calibration_rates.confusion_table(rows, good),
        calibration_rates.paired_differences(rows),
    )
    again = _again(bench, labelled, rows, repeats, seed)
    verdicts = [[value >= good for value in values] for values in again]
    return Calibration(
        **facts,
        n_unscored=len(labelled.labels) - len(rows),
        agreement=calibration_rates.rate_estimate(judge_accuracy.accuracy(counts), len(rows)),
        baseline=judge_accuracy.constant_baseline(counts),
        balanced_accuracy=calibration_rates.balanced_accuracy(counts),
        kappa=calibration_rates.cohen_kappa(counts),
        arms=calibration_rates.arm_errors(rows, good),
        differential=calibration_rates.differential_error(pairs, bench.metric.bound),
        pairs=calibration_rates.labelled_pairs(
            ((base.label, tuned.label, base.score, tuned.score) for base, tuned in arm_pairs),
            labelled.case,
        ),
        answers=calibration_rates.answer_hashes((b.label, t.label) for b, t in arm_pairs),
        repeat_flips=calibration_rates.rate_estimate(judge_bias.repeat_flips(verdicts), len(again))
        if again
        else None,
        repeat_variance=judge_bias.repeat_variance(again) if again else None,
        length_slope=calibration_rates.length_slope(pairs),
        canaries=_canaries(bench, labelled, rows),
        **_single_calls(bench, labelled, rows, seed),
    )


def _without_examples(bench: CalibrationSetup, labelled: LabelledCases) -> LabelledCases:
    """Return the labels without those of answers in the judge's own examples.

    Raises:
        UsageError: no label is left.
    """
    shown = judge_examples.given_examples(bench.judge.options)
    cases = (
        list({label.id: labelled.case(label) for label in labelled.labels}.values())
        if shown
        else []
    )
    repeated = dict(judge_examples.case_repetitions(shown, cases))
    kept = tuple(
        label
        for label in labelled.labels
        if label.id not in repeated and not judge_examples.repeats_example(shown, label.completion)
    )
    if not kept:
        raise UsageError(
            f"{labelled.source}: the judge's examples hold all {len(labelled.labels)} labelled "
            "answers or their cases; label others, or take other examples"
        )
    return replace(labelled, labels=kept)


def _facts(
    bench: CalibrationSetup, labelled: LabelledCases, seed: int, *, n_examples: int
) -> dict[str, object]:
    """Return the facts of a calibration about judge and labels."""
    prompt = bench.judge.prompt_sha256
    return {
        "metric": bench.metric.name,
        "judge": {
            "name": bench.judge.name,
            "prompt_sha256": prompt,
            "options": {name: str(value) for name, value in bench.judge.options.items()},
            "models": [dict(judge_model.identity) for judge_model in bench.judge_models],
        },
        "binding": calibration_binding(
            prompt, [judge_model.fingerprint for judge_model in bench.judge_models]
        ),
        "labels": labelled.source,
        "labels_sha256": labels_hash(labelled.labels),
        "good_from": bench.good_from,
        "n_labels": len(labelled.labels),
        "n_examples": n_examples,
        "recorded": bench.recorded,
        "seed": seed,
    }


def _again(
    bench: CalibrationSetup,
    labelled: LabelledCases,
    rows: Sequence[JudgedLabel],
    repeats: int,
    seed: int,
) -> list[list[float]]:
    """Return the scores of some answers that are each judged several times."""
    if not repeats or bench.recorded:
        return []
    chosen = random.Random(seed).sample(list(rows), min(REPEATED, len(rows)))
    task_lists = [
        [
            bench.task(labelled.case(r.label), r.label.completion, repeat=k + 1)
            for k in range(repeats)
        ]
        for r in chosen
    ]
    scores = bench.scores(task for tasks in task_lists for task in tasks)
    score_lists = [
        [row.score, *(v for task in tasks if (v := scores[task.key].value) is not None)]
        for row, tasks in zip(chosen, task_lists, strict=True)
    ]
    return [values for values in score_lists if len(values) > 1]


def _single_calls(
    bench: CalibrationSetup, labelled: LabelledCases, rows: Sequence[JudgedLabel], seed: int
) -> dict[str, Any]:
    """Compare batched verdicts with single calls; nothing for a judge that is not batched."""
    if not bench.judge.options.get("batched") or bench.recorded:
        return {}
    judge = replace(bench.judge, options={**bench.judge.options, "batched": False})
    single = replace(bench, metric=replace(bench.metric, judge=judge))
    chosen = random.Random(seed).sample(list(rows), min(REPEATED, len(rows)))
    tasks = [single.task(labelled.case(row.label), row.label.completion) for row in chosen]
    scores = single.scores(tasks)
    compared = [
        (value, row.score)
        for row, task in zip(chosen, tasks, strict=True)
        if (value := scores[task.key].value) is not None
    ]
    if not compared:
        return {}
    counts = [[0, 0], [0, 0]]
    for alone, together in compared:
        counts[int(alone < bench.good_from)][int(together < bench.good_from)] += 1
    pairs = [PairedDifference(alone, together, 0.0) for alone, together in compared]
    return {
        "batch_agreement": calibration_rates.rate_estimate(
            judge_accuracy.accuracy(counts), len(compared)
        ),
        "batch_difference": calibration_rates.differential_error(pairs, bench.metric.bound),
    }


def _canaries(
    bench: CalibrationSetup, labelled: LabelledCases, rows: Sequence[JudgedLabel]
) -> CanaryResult:
    """Ask about known bad answers: empty ones, and bad ones that address the judge."""
    if bench.recorded:
        return CanaryResult(asked=0)
    good = bench.good_from
    cases = {row.label.id: labelled.case(row.label) for row in rows}
    bad = {
        row.label.id: row.label.completion
        for row in rows
        if row.label.label < good and row.score < good and row.label.completion.strip()
    }
    canaries = make_canaries(list(cases), bad)
    tasks = [bench.task(cases[canary.case], canary.text) for canary in canaries]
    scores = bench.scores(tasks)
    return canary_result(
        [(c, scores[task.key].value) for c, task in zip(canaries, tasks, strict=True)], good
    )
