"""Notes of a verdict: judge order effects, timing conditions, related cases and other caveats.

What a reader must know of a judge that compared the arms: does place or length sway it? A verdict
that turns with the order of the answers counts as a tie, which is safe, but a judge that often
turns has little to say. A line of the judged differences on the answers' length ratio shows what is
left of the difference where both are equally long.

A judge that is a relative of what it judges favours it: a note reports it, for a person to weigh.

Source: order: MT-Bench, arXiv 2306.05685; length: AlpacaEval's length control, arXiv 2404.04475.

Source: preference leakage (arXiv 2502.01534): the same model, one made from it, or of its family.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tunegate.harness.comparison.corpus_level import judged_once
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.contracts.judge_examples import REPEATS
from tunegate.harness.decision.answers.answer_counts import (
    FEW_CASES,
    SAME_SCORES,
    answer_notes,
    thinking_share_notes,
)
from tunegate.harness.decision.gating.decide_all import compares_recorded_times, why_advisory
from tunegate.harness.decision.gating.error_control import attempt_note
from tunegate.harness.decision.gating.tag_slices import ungated_losses
from tunegate.harness.decision.score_table import ScoreTable
from tunegate.harness.gates.contract.gate_kind import gate_kind
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.defaults import CONFIDENCE, EARLY_STOP_CASES
from tunegate.harness.records.gate_results import GateResult
from tunegate.harness.records.manifest import (
    Gate,
    Manifest,
    MetricRecord,
    SuiteRecord,
    gate_subject,
)
from tunegate.harness.records.training_card import TrainingSummary
from tunegate.harness.records.wording import count_noun

WARN_UNSCORED = 0.02
"""Share of unscored cases from which a reader is warned."""
FEW_FOR_GOAL = 20
"""Cases below which a gain comes with a note."""
FEW_UNBOUNDED = 50
"""Cases from which the interval of an unbounded score is dependable."""
LARGE_CLUSTER = 2.0
"""Size of a cluster, in sizes of the cluster of a random case, from which it is reported."""
FEW_TELLING = 10
"""Clusters with differing scores from which a 0/1 score's design effect is dependable."""
COMFORTABLE_CLUSTERS = 20
"""Clusters from which the interval's level is as promised."""
NAMED_FLIPS = 5
"""Questions named that base had right and tuned has wrong; the report lists them all."""


def suite_notes(
    table: ScoreTable,
    unscored: Mapping[str, int],
    attempts: Mapping[str, int],
    gates: Sequence[GateResult] = (),
    training: TrainingSummary | None = None,
) -> tuple[str, ...]:
    """Return the notes on one suite that bear on what its verdict is worth, the gravest first.

    Args:
        table: Its scores.
        unscored: Arm → cases without a score on some gated metric.
        attempts: Suite hash → number of candidates judged on it so far.
        gates: How its gates ended.
        training: How tuned was trained.
    """
    suite = table.suite
    return tuple(
        f"{suite.name}: {text}"
        for text in (
            *_advisory(table),  # first: where no gate counts, it is why nothing is decided
            *_eligibility_notes(gates),
            *_unscored_notes(suite, unscored),
            *_no_goal(suite),
            *_few_cases(gates),
            *ungated_losses(table),
            *answer_notes(table.answers, {} if training is None else training.believed_card),
            *attempt_note(suite, attempts),
            *_saturation_notes(table, remarks=False),
            *example_notes(table),
            *comparison_notes(table),
            *_metrics(table),
        )
    )


def suite_remarks(table: ScoreTable) -> tuple[str, ...]:
    """Return the facts about one suite that leave its verdict as it is."""
    return tuple(
        f"{table.suite.name}: {text}"
        for text in (
            *_early(table),
            *_flips(table),
            *timing_notes(table),
            *thinking_share_notes(table.suite.metrics, table.values, table.cases),
            *_saturation_notes(table, remarks=True),
            *_equal_prompts(table),
            *_table_notes(table),
        )
    )


def _few_cases(gates: Sequence[GateResult]) -> Iterator[str]:
    """Yield that a goal was reached on so few cases that a rare failure would not show."""
    few = [g.n for g in gates if gate_kind(g.kind).is_goal and 0 < g.n < FEW_FOR_GOAL]
    if few:
        yield (
            f"the gain rests on {count_noun(min(few), 'case')}: a failure on one prompt in "
            f"{FEW_FOR_GOAL} would probably not show; add cases"
        )


def _advisory(table: ScoreTable) -> Iterator[str]:
    gated = [g for g in table.suite.gates if not gate_kind(g.kind).counts_cases]
    found: dict[str, None] = {}
    for metric in table.suite.metrics:
        for gate in (g for g in gated if g.metric == metric.name):
            pairs = table.on_tag(gate.tag).pairs(metric)
            why = why_advisory(gate, pairs)
            if why:
                found[f"{gate_subject(metric.name, gate.tag)}: {why}"] = None
    yield from found


def _eligibility_notes(gates: Sequence[GateResult]) -> Iterator[str]:
    """Yield what the gates of each judge count for, once where it is the same for several."""
    notes = dict.fromkeys((g.subject, g.advisory, g.right) for g in gates if g.right is not None)
    for metric, advisory, why in notes:
        yield f"{metric}: {'advisory, for ' if advisory else ''}{why}"


def _unscored_notes(suite: SuiteRecord, unscored: Mapping[str, int]) -> Iterator[str]:
    for arm, count in unscored.items():
        if count > WARN_UNSCORED * max(1, suite.n_cases):
            verb = "is" if count == 1 else "are"
            yield f"{count:,} of {count_noun(suite.n_cases, 'case')} of {arm} {verb} unscored"


def _no_goal(suite: SuiteRecord) -> Iterator[str]:
    if not suite.gates:
        yield "no gates, so it does not count in the verdict"
    elif not any(gate_kind(gate.kind).compares for gate in suite.gates):
        yield "does not compare tuned with base: SHIP means good enough"


def _equal_prompts(table: ScoreTable) -> Iterator[str]:
    sharing, prompts = table.sharing(table.cases)
    if sharing:
        yield (
            f"{sharing:,} cases share {count_noun(prompts, 'prompt')}: those of a prompt count as "
            "one cluster"
        )


def _early(table: ScoreTable) -> Iterator[str]:
    if table.look is not None and table.remaining:
        seen = len(table.look.seen)
        yield (
            f"stopped early after {seen:,} of {count_noun(table.suite.n_cases, 'case')} (interim "
            f"{table.look}): the outcome was decided, or the goal out of reach; "
            f"{count_noun(table.remaining, 'case')} skipped (--early-stop=off asks them)"
        )


def _flips(table: ScoreTable) -> Iterator[str]:
    """Yield how many multiple-choice answers changed sides, whether a gate asks about them or not.

    A mean that stays can hide as many questions lost as won.
    """
    for metric in table.suite.metrics:
        if not metric.picks:
            continue
        both = [
            (case, table.value(metric.name, case, "base"), table.value(metric.name, case, "tuned"))
            for case in table.asked(metric.name)
        ]
        lost = [case for case, base, tuned in both if (base, tuned) == (1, 0)]
        won = sum((base, tuned) == (0, 1) for _, base, tuned in both)
        if lost or won:
            yield f"{metric.name}: right → wrong on {_name_cases(lost)}, wrong → right on {won}"


def _name_cases(cases: Sequence[str]) -> str:
    """Return how many cases there are, and the ids of the first."""
    if not cases:
        return "0"
    more = [f"{len(cases) - NAMED_FLIPS} more"] if len(cases) > NAMED_FLIPS else []
    return f"{len(cases)} ({', '.join([*cases[:NAMED_FLIPS], *more])})"


def _table_notes(table: ScoreTable) -> Iterator[str]:
    gated = {gate.metric for gate in table.suite.gates}
    names = [m.name for m in table.suite.metrics if m.name in gated and m.corpus is not None]
    if names and table.suite.n_cases >= EARLY_STOP_CASES:
        yield judged_once(names)


def _metrics(table: ScoreTable) -> Iterator[str]:
    compared = [g for g in table.suite.gates if not gate_kind(g.kind).reads_level]
    found: dict[str, list[str]] = {}
    for metric in table.suite.metrics:
        own = [gate for gate in compared if gate.metric == metric.name]
        for tag in dict.fromkeys(gate.tag for gate in own):
            gates = [gate for gate in own if gate.tag == tag]
            name = gate_subject(metric.name, tag)
            for note in _pair_notes(name, table.on_tag(tag).pairs(metric), gates):
                found.setdefault(note.removeprefix(f"{name}: "), []).append(name)
    for text, (first, *others) in found.items():
        yield f"{first}{f' and {len(others)} more' if others else ''}: {text}"


def _saturation_notes(table: ScoreTable, *, remarks: bool) -> Iterator[str]:
    """Yield the gated metrics on which all scores of both arms are the best, or the worst.

    The best is a remark, unless it is so of every gated metric: then the suite proves nothing.
    """
    found = []
    for name, tag in dict.fromkeys((gate.metric, gate.tag) for gate in table.suite.gates):
        metric = next(m for m in table.suite.metrics if m.name == name)
        pairs = table.on_tag(tag).pairs(metric)
        found.append((gate_subject(name, tag), pairs.n, _shared_end(pairs)))
    separated = any(end != "best" for _, _, end in found)
    for subject, n, end in found:
        if end is not None and (end == "best" and separated) is remarks:
            yield (
                f"{subject}: both arms have the {end} score on all {count_noun(n, 'case')}, so "
                "that the cases cannot separate them"
            )


def _shared_end(pairs: Pairs) -> str | None:
    """Return which end of the metric's range all scores of both arms have; None if they do not.

    Without a range, 0 and 1 are the ends of scores that are 0 or 1.
    """
    ends = (0.0, 1.0) if pairs.binary else pairs.metric.range
    values = {*pairs.base, *pairs.tuned}
    if pairs.too_few or ends is None or len(values) != 1:
        return None
    worst, best = ends if pairs.metric.higher_is_better else reversed(ends)
    return {worst: "worst", best: "best"}.get(values.pop())


def _is_skewed(gate: Gate, pairs: Pairs) -> bool:
    """Return whether the differences are skewed on the scale on which the gate judges them."""
    kind = gate_kind(gate.kind)
    judged = pairs if kind.tests_difference else kind.judged_pairs(gate, pairs).pairs
    return judged.estimator.skewed


def _few_telling(name: str, pairs: Pairs) -> Iterator[str]:
    groups = zip(pairs.clusters or (), pairs.differences, strict=True)
    telling = len({cluster for cluster, difference in groups if difference})
    if 0 < telling < FEW_TELLING:
        yield (
            f"{name}: the scores differ in only {count_noun(telling, 'cluster')}; intervals are "
            f"dependable from {FEW_TELLING}"
        )


def _large_clusters(name: str, pairs: Pairs) -> Iterator[str]:
    sizes = sorted(Counter(pairs.clusters or ()).values())
    # The guards give an unseen cluster the size of the cluster of a random case.
    usual = sum(size**2 for size in sizes) / sum(sizes)
    if sizes[-1] > LARGE_CLUSTER * usual:
        yield (
            f"{name}: one cluster holds {sizes[-1]} of {pairs.n} cases; "
            f"the limits allow for unseen clusters of about {usual:.0f}, not for another such one"
        )


def _pair_notes(name: str, pairs: Pairs, gates: Sequence[Gate]) -> Iterator[str]:
    clusters = pairs.n_clusters
    if clusters is not None and not pairs.too_few and clusters < COMFORTABLE_CLUSTERS:
        yield (
            f"{name}: the cases come in only {clusters} clusters; "
            f"intervals are dependable from {COMFORTABLE_CLUSTERS}"
        )
    if clusters is not None and not pairs.too_few:
        yield from _large_clusters(name, pairs)
    if pairs.binary and clusters is not None and not pairs.too_few:
        yield from _few_telling(name, pairs)
    if pairs.binary or pairs.too_few:
        return
    few = pairs.metric.bound is None and pairs.n < FEW_UNBOUNDED
    if few and not all(why_advisory(gate, pairs) for gate in gates):
        yield (
            f"{name}: a rare large loss may be missing from {pairs.n} cases of an unbounded score; "
            f"intervals are dependable from {FEW_UNBOUNDED}"
        )
    if any(_is_skewed(gate, pairs) for gate in gates):
        yield (
            f"{name}: the differences are strongly skewed; "
            "the interval may be too optimistic on one side"
        )
    same = sum(d == 0 for d in pairs.differences)
    alike = pairs.n >= FEW_CASES and same >= SAME_SCORES * pairs.n
    if alike and _shared_end(pairs) is None:
        yield f"{name}: both arms have the same score on {same} of {pairs.n} cases"


CONSISTENT = 0.7
"""Share of pairs on which a verdict must survive the swap."""
_SURE = 0.99
_FEW = 10
"""Pairs below which there is no note on length."""


def comparison_notes(table: ScoreTable) -> Iterator[str]:
    """Yield what is known of every judge of pairs of a suite."""
    for metric in table.suite.metrics:
        if metric.judge is not None and metric.judge.pairs:
            found = _comparison_parts(table, metric)
            if found:
                yield _order(metric.name, found)
                yield from _length(table, metric, found)


def example_notes(table: ScoreTable) -> Iterator[str]:
    """Yield on how many answers a judge was shown the verdict that it was to give."""
    for metric in (m for m in table.suite.metrics if m.judge is not None):
        found = Counter(
            row.arm
            for (name, _, _), row in table.values.items()
            if name == metric.name and (row.parts or {}).get(REPEATS)
        )
        for arm, count in sorted(found.items()):
            shown = "is an example" if count == 1 else "are examples"
            yield (
                f"{metric.name}: {count_noun(count, 'answer')} of {arm} {shown} of the judge's own "
                "prompt, which gives the verdict; take other examples"
            )


def _comparison_parts(table: ScoreTable, metric: MetricRecord) -> dict[str, Mapping[str, float]]:
    """Return case → what its comparison found, of the cases that have a score."""
    rows = {case: table.values.get((metric.name, case, "tuned")) for case in table.cases}
    return {
        case: row.parts
        for case, row in rows.items()
        if row is not None and row.value is not None and row.parts
    }


def _order(name: str, found: Mapping[str, Mapping[str, float]]) -> str:
    from tunegate.harness.stats.binary import clopper_pearson

    asked = [p for p in found.values() if {"base_first", "tuned_first"} <= p.keys()]
    if not asked:
        return f"{name}: both arms gave the same answer on all {len(found)} cases"
    kept = sum(p["base_first"] == p["tuned_first"] for p in asked)
    first = sum((p["base_first"] < 0) + (p["tuned_first"] > 0) for p in asked)
    second = sum((p["base_first"] > 0) + (p["tuned_first"] < 0) for p in asked)
    text = f"{name}: the judge kept its verdict on {kept} of {len(asked)} swapped pairs"
    leans = False
    if first + second:
        share = clopper_pearson(first, first + second, confidence=_SURE)
        leans = not share.low <= 0.5 <= share.high
        text += f", and the answer that came first won {share.estimate:.0%} of its decisions"
    unsteady = kept < CONSISTENT * len(asked)
    return text + (": place sways it, so it shows little" if leans or unsteady else "")


def _length(
    table: ScoreTable, metric: MetricRecord, found: Mapping[str, Mapping[str, float]]
) -> Iterator[str]:
    from tunegate.harness.stats.judge_bias import length_fit

    rows = [
        (tuned - base, parts["log_length_ratio"])
        for case, parts in found.items()
        if "log_length_ratio" in parts
        and (base := table.value(metric.name, case, "base")) is not None
        and (tuned := table.value(metric.name, case, "tuned")) is not None
    ]
    ratios = [ratio for _, ratio in rows]
    if len(rows) < _FEW or max(ratios) - min(ratios) < 1e-9:
        return
    fit = length_fit([difference for difference, _ in rows], ratios)
    yield (
        f"{metric.name}: where both answers are equally long the difference is "
        f"{fit.equal.estimate:+.3f} [{fit.equal.low:+.3f}, {fit.equal.high:+.3f}] "
        f"(over all {fit.level.estimate:+.3f}); tuned twice as long adds "
        f"{0.6931471805599453 * fit.slope.estimate:+.3f}"
    )


_SEED = 0
"""Of the bootstrap: the same times give the same sentence."""
_QUANTILES = {"p50": 0.50, "p95": 0.95}


def timing_notes(table: ScoreTable) -> Iterator[str]:
    """Yield a sentence for each timed metric that has pairs of times to compare."""
    for metric in table.suite.metrics:
        if metric.needs is not CellKind.LATENCY:
            continue
        pairs = table.pairs(metric)
        if not pairs.too_few and min(*pairs.base, *pairs.tuned) > 0:
            yield "; ".join((_ratio(pairs), *_quantiles(pairs), *_timing_notes(table, metric)))


def recorded_times_notes(manifest: Manifest, suite: SuiteRecord) -> Iterator[str]:
    """Yield why gates that compare recorded times are advisory, for each timed metric."""
    for metric in suite.metrics:
        gates = [gate for gate in suite.gates if gate.metric == metric.name]
        if any(compares_recorded_times(manifest, metric, gate) for gate in gates):
            yield (
                f"{suite.name}: {metric.name}: advisory, for the times were recorded elsewhere: a "
                "machine that slowed down between the arms would look like a slower model; have "
                "tunegate ask both models to gate on it"
            )


def _ratio(pairs: Pairs) -> str:
    from tunegate.harness.stats.latency import geometric_mean_ratio

    clusters = pairs.estimator.clusters
    found = geometric_mean_ratio(pairs.base, pairs.tuned, confidence=CONFIDENCE, clusters=clusters)
    blocks = "" if clusters is pairs.clusters else f" in {len(set(clusters or ()))} blocks of time"
    return (
        f"{pairs.metric.name}: a case takes tuned {found.estimate:.3g} times as long as base "
        f"[{found.low:.3g}, {found.high:.3g}] at {100 * CONFIDENCE:g} % (geometric mean of "
        f"{pairs.n} cases{blocks})"
    )


def _quantiles(pairs: Pairs) -> Iterator[str]:
    from tunegate.harness.stats.latency import latency_quantile, quantile_ratio, smallest_quantile_n

    for name, share in _QUANTILES.items():
        base, tuned = (latency_quantile(values, share) for values in (pairs.base, pairs.tuned))
        change = f"{name} {base:.3g} s → {tuned:.3g} s"
        least = smallest_quantile_n(share)
        if pairs.n < least:
            yield f"{change}, not compared: that takes {least} cases"
        elif pairs.clusters is not None:
            yield f"{change}, not compared: the cases come in clusters"
        else:
            ratio = quantile_ratio(
                pairs.base, pairs.tuned, quantile=share, seed=_SEED, confidence=CONFIDENCE
            )
            yield f"{change}, {ratio.estimate:.3g} times [{ratio.low:.3g}, {ratio.high:.3g}]"


def _timing_notes(table: ScoreTable, metric: MetricRecord) -> Iterator[str]:
    speeds = [speed for arm in ("base", "tuned") if (speed := _speed(table, metric.name, arm))]
    if len(speeds) == 2:
        yield f"{speeds[0]:.3g} → {speeds[1]:.3g} tokens a second"
    sizes = {
        size for arm in ("base", "tuned") for size in _timing_parts(table, metric.name, arm)[0]
    }
    if not sizes or None in sizes:
        yield "timed elsewhere: whether alone or in batches is not recorded"
    elif sizes == {1.0}:
        yield "each completion timed alone"
    else:
        yield f"timed in batches of up to {max(size for size in sizes if size):g}"


def _speed(table: ScoreTable, metric: str, arm: str) -> float | None:
    """Return the tokens written a second; None where a count is missing."""
    _, tokens, seconds = _timing_parts(table, metric, arm)
    known = [count for count in tokens if count is not None]
    return sum(known) / sum(seconds) if known and len(known) == len(tokens) else None


def _timing_parts(
    table: ScoreTable, metric: str, arm: str
) -> tuple[list[float | None], list[float | None], list[float]]:
    """Return batch sizes, token counts and seconds of an arm's timed cases."""
    rows = [table.values.get((metric, case, arm)) for case in table.asked(metric)]
    timed = [(row, row.value) for row in rows if row is not None and row.value is not None]
    parts = [row.parts or {} for row, _ in timed]
    return (
        [one.get("batch_size") for one in parts],
        [one.get("output_tokens") for one in parts],
        [value for _, value in timed],
    )


_NAME = re.compile(r"[a-z]{3,}")
_NO_FAMILY = {
    *("hf", "local", "server", "litellm", "gguf", "replay", "results", "scripted", "command"),
    *("http", "https", "model", "base", "tuned", "checkpoint", "judge", "judged", "judgements"),
}
"""Words of a spec that name no family of models."""


def kinship_notes(manifest: Manifest, suite: SuiteRecord) -> Iterator[str]:
    """Yield a note for each judge that is kin to base, where the suite asks a judge."""
    base = manifest.arms.get("base")
    if base is None or all(metric.judge is None for metric in suite.metrics):
        return
    for judge in manifest.judges:
        kin = _kin(judge, base)
        if kin:
            yield (
                f"{suite.name}: the judge {judge.get('spec')} {kin}: such judges are kinder to "
                "their own (preference leakage)"
            )


def _kin(judge: Mapping[str, Any], base: Mapping[str, Any]) -> str:
    """Return how a judge is related to base; nothing if it is not, as far as can be seen."""
    weights = judge.get("weights_sha256")
    if weights is not None and weights == base.get("weights_sha256"):
        return "has base's own weights"
    family = family_of(str(judge.get("spec", "")))
    if family and family == family_of(str(base.get("spec", ""))):
        return f"is of base's family, {family}"
    return ""


def family_of(spec: str) -> str:
    """Return the family that a model's name begins with: `qwen`, `llama`; nothing if unclear."""
    last = re.split(r"[/#\\]", spec.rstrip("/"))[-1].lower()
    found = _NAME.match(last.removeprefix("meta-"))
    return "" if found is None or found.group() in _NO_FAMILY else found.group()
