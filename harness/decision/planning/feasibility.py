"""Feasibility: what a suite's cases can prove, in the end and at interim looks.

Gates that the cases cannot prove are refused before a token is spent; ways to prove them with fewer
cases are named. The look schedule fixes when a growing sample is looked at (group-sequential
design).

Source: Kim and DeMets (1987) spending; Armitage, McPherson and Rowe (1969) for the bounds.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from tunegate.harness.comparison.corpus_level import LEAST, few_for_corpus, judged_once
from tunegate.harness.comparison.estimator import (
    FEW_CLUSTERS,
    LEAST_UNBOUNDED,
    few_without_range,
)
from tunegate.harness.comparison.interim_look import InterimLook
from tunegate.harness.comparison.pairs import Pairs, shared_clusters
from tunegate.harness.comparison.sample_size import (
    PlannedComparison,
    ScoreSpread,
    sample_deviation,
)
from tunegate.harness.contracts.metric import CONTENT_GAP, Metric
from tunegate.harness.decision.score_table import ScoreTable
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.calibration import LEAST_PAIRS
from tunegate.harness.records.cases import Case
from tunegate.harness.records.defaults import CONFIDENCE, EARLY_STOP_CASES, POWER
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.manifest import Gate, LookSchedule, MetricRecord
from tunegate.harness.records.wording import count_noun
from tunegate.harness.suite.suite import Suite


def unreachable_gates(suite: Suite) -> list[str]:
    """Return a sentence for every gate that a flawless result could not pass."""
    return [
        f"{gate.where}: {problem}"
        for gate in suite.gates
        for problem in feasibility_problems(suite, gate)
    ]


def feasibility_problems(suite: Suite, gate: Gate, cases: int | None = None) -> Iterator[str]:
    """Yield why a flawless result could not pass the gate; nothing if it could.

    Args:
        suite: The suite.
        gate: One of its gates.
        cases: Cases of the suite, if it had another number of the kind.
    """
    n = count_asked(suite, suite.metric(gate.metric), gate.tag)
    if cases is not None:
        n = round(cases * n / len(suite.cases))
    if gate.tag is None:
        yield from _refusals(suite, gate, n)
        return
    found = [_too_few_of_slice(suite, gate, n) or "", *_refusals(suite, gate, n)]
    yield from (f"tag={gate.tag!r}: {problem}" for problem in filter(None, found))


def _refusals(suite: Suite, gate: Gate, n: int) -> Iterator[str]:
    """Yield what the gate's kind refuses of `n` cases.

    Without a failure, or a change, nothing is known of how far the cases of a cluster agree, and
    a cluster counts as one case. What bounds unseen losses of other scores than 0 and 1 counts
    clusters of any size.
    """
    metric, cases = suite.metric(gate.metric), cases_on(suite, gate.tag)
    if metric.binary or gate_kind(gate.kind).counts_cases:
        units = int(n * independent_share(cases) + 1e-9)
    else:
        units = min(n, cluster_count(cases) or n)
    others = [other for other in suite.gates if gate.tag in (None, other.tag)]
    hint = ""
    if units < n:
        hint = f"; the {n} cases come in clusters that count as {count_noun(units, 'case')}"
    for problem in gate_kind(gate.kind).refusals(gate, metric, units, others):
        yield f"{problem}{hint}"


def independent_share(cases: Sequence[Case]) -> float:
    """Return the number of equal clusters that the cases' are worth, as a share of them."""
    from tunegate.harness.stats.unit_means import independent_units

    sizes = Counter(case.cluster or f"\0{case.id}" for case in cases).values()
    return independent_units(sizes) / len(cases) if cases else 1.0


def _too_few_of_slice(suite: Suite, gate: Gate, n: int) -> str | None:
    """Return that a slice has too few cases, or clusters, for any interval; None if not."""
    rule = f"{gate_kind(gate.kind).margin_key(gate)}={gate.margin} on {gate.metric!r}"
    if n < 2:
        return f"{rule} stays undecided: {count_noun(n, 'case')} of the tag, and it takes 2"
    clusters = cluster_count(cases_on(suite, gate.tag))
    if gate_kind(gate.kind).rests_on_interval(gate) and (clusters or FEW_CLUSTERS) < FEW_CLUSTERS:
        of = f"the {n} cases of the tag come in {count_noun(clusters or 0, 'cluster')}"
        return f"{rule} stays undecided: {of}, and it takes {FEW_CLUSTERS}"
    return None


def cases_on(suite: Suite, tag: str | None) -> list[Case]:
    """Return the suite's cases with a tag; all of them for no tag."""
    return [case for case in suite.cases if tag is None or tag in case.tags]


def cluster_count(cases: Sequence[Case]) -> int | None:
    """Return the number of clusters that cases come in; None where they are independent."""
    names = shared_clusters([c.cluster or f"\0{i}" for i, c in enumerate(cases)])
    return None if names is None else len(set(names))


def is_advisory(suite: Suite, gate: Gate) -> bool:
    """Return whether the gate is advisory, for lack of cases."""
    return bool(_why_advisory(suite, gate))


def _why_advisory(suite: Suite, gate: Gate) -> str:
    """Return why a gate has no say: few cases of a corpus value, or of scores without a range."""
    metric, kind = suite.metric(gate.metric), gate_kind(gate.kind)
    n = count_asked(suite, metric, gate.tag)
    if kind.counts_cases or metric.binary:
        return ""
    if metric.corpus is not None and n < LEAST:
        return few_for_corpus(n)
    if not _without_range(suite, gate):
        return ""
    return few_without_range(min(n, cluster_count(cases_on(suite, gate.tag)) or n))


def _without_range(suite: Suite, gate: Gate) -> bool:
    """Return whether a gate rests on an interval of differences that no range bounds."""
    metric, kind = suite.metric(gate.metric), gate_kind(gate.kind)
    if kind.counts_cases or metric.bound is not None or _may_be_binary(metric):
        return False
    if not (metric.corpus or kind.rests_on_interval(gate)):
        return False
    record = MetricRecord(
        name=metric.name,
        use=metric.name,
        needs=metric.needs,
        higher_is_better=metric.higher_is_better,
        range=None,
        binary=False,
    )
    probe = Pairs(suite.name, record, (2.0, 2.0), (2.0, 2.0))
    return not kind.judged_pairs(gate, probe).pairs.in_logarithms


def _may_be_binary(metric: Metric) -> bool:
    """Return whether the scores of a metric without a range may turn out to be 0 and 1 alone."""
    return (
        metric.bound is None
        and metric.corpus is None
        and metric.higher_is_better
        and metric.needs is CellKind.GENERATE
    )


def undecidable_gates(suite: Suite, n_clusters: int | None) -> Iterator[str]:
    """Yield the gates that stay undecided whatever the scores, for lack of cases or clusters."""
    few = n_clusters is not None and n_clusters < FEW_CLUSTERS
    for gate in suite.gates:
        if gate.tag is not None:
            continue  # a slice with too few is among the gates that cannot be reached
        key = gate_kind(gate.kind).margin_key(gate)
        place = f"{gate.where}: {key}={gate.margin} on {gate.metric!r} stays undecided"
        if count_asked(suite, suite.metric(gate.metric)) < 2:
            yield f"{place} with 1 case: it takes 2; add cases"
        elif few and gate_kind(gate.kind).rests_on_interval(gate):
            yield (
                f"{place} with {n_clusters} clusters: it takes {FEW_CLUSTERS}; add cases of other "
                "clusters"
            )


def silent_goals(suite: Suite) -> Iterator[str]:
    """Yield the goals of a suite that needs one of them, where none of them counts."""
    goals = [gate for gate in suite.gates if gate_kind(gate.kind).is_goal]
    needed = goals[:1] if suite.goal_rule == "primary" else goals
    if all(is_advisory(suite, gate) for gate in needed):
        for gate in needed:
            key = gate_kind(gate.kind).margin_key(gate)
            why = f"{gate.subject}: {_why_advisory(suite, gate)}"
            yield f"{gate.where}: {key}={gate.margin} is advisory; {why}"


def content_gap(suite: Suite) -> Iterator[str]:
    """Yield that a suite of replayed traffic cannot ship, where no gate judges what answers say."""
    judged = suite.content_metrics
    if judged is not None and not any(gate.metric in judged for gate in suite.gates):
        yield CONTENT_GAP


ANY_ARM = "an incumbent, or an artifact that ships,"
"""Possible comparisons of a suite without a run."""


def advisory_notes(suite: Suite, arms: Collection[str] = (ANY_ARM,)) -> Iterator[str]:
    """Yield the gates that stay advisory whatever the scores, and why.

    Args:
        suite: The suite.
        arms: What tuned is compared with besides base, in words.
    """
    yield from content_gap(suite)
    found = ((gate.subject, _why_advisory(suite, gate)) for gate in suite.gates)
    yield from dict.fromkeys(f"{subject}: {why}" for subject, why in found if why)
    for metric in suite.gated_metrics:
        if _may_be_binary(metric) and len(suite.cases) < LEAST_UNBOUNDED:
            yield (
                f"{metric.name}: declares no range: below {LEAST_UNBOUNDED} cases its gates count "
                "if all scores are 0 or 1, else set range = [least, largest] on the metric"
            )
    yield from _judge_notes(suite, arms)


def _judge_notes(suite: Suite, arms: Collection[str]) -> Iterator[str]:
    """Yield where gates on a judge are advisory though the judge is calibrated."""
    judges = {metric.name: metric.judge for metric in suite.gated_metrics if metric.judge}
    tagged = (g.subject for g in suite.gates if g.metric in judges and g.tag is not None)
    for subject in dict.fromkeys(tagged):
        yield (
            f"{subject}: a calibration is of all cases, so that a judge's gate on a tag is "
            f"advisory: label {LEAST_PAIRS} pairs of the tag in the run (tunegate judge label)"
        )
    compared = [name for name, judge in judges.items() if not judge.pairs]
    for arm in arms if compared else ():
        yield (
            f"{', '.join(compared)}: compared with {arm} a judge's gate is advisory: people "
            "labelled answers of base and tuned alone"
        )


def judged_once_notes(suite: Suite) -> Iterator[str]:
    """Yield the metrics of one value over all cases, which no look judges early."""
    gated = [m for m in suite.gated_metrics if m.corpus is not None]
    if gated and len(suite.cases) >= EARLY_STOP_CASES:
        yield judged_once([metric.name for metric in gated])


def count_asked(suite: Suite, metric: Metric, tag: str | None = None) -> int:
    """Return the number of cases (the timed ones for latency) that the metric is asked of.

    Args:
        suite: The suite.
        metric: One of its metrics.
        tag: Tag that the cases must have; None counts all.
    """
    timed = metric.needs is CellKind.LATENCY
    cases = suite.cases[: suite.generation.latency_cases] if timed else suite.cases
    return sum(tag is None or tag in case.tags for case in cases)


TOLERANCES = (0.02, 0.05, 0.10, 0.15, 0.20, 0.30)
"""Losses of a share that a suite may allow; beyond the last it would guard nothing."""


def provable_tolerance(count: int) -> float:
    """Return the narrowest of a few tolerances that `count` independent cases can prove.

    Of too few cases for any of them, the widest: the check of the suite then reports what it takes.
    """
    from tunegate.harness.stats.power import smallest_provable_n

    proven = (t for t in TOLERANCES if smallest_provable_n(t, confidence=CONFIDENCE) <= count)
    return next(proven, TOLERANCES[-1])


_FIRST_BINARY, _FIRST_MEAN = 20, 50
"""Cases of the first look: the t interval needs more of them than the score interval."""


def schedule_looks(suite: Suite, *, seed: int) -> LookSchedule | None:
    """Return when to look at a suite; None where all its cases are asked first.

    Suites of fewer than 100 cases have nothing to save; suites that ask for log-likelihoods save
    more by sharing prefixes, and latency has a pass of its own. Where a gate can just be proven by
    all cases, at the stricter level of a last look it could not: such a suite has no looks. Nor has
    one with a gate on a corpus value, whose level has no known error over several looks. Where a
    gate counts from so many cases on only, no look is earlier: it would end without the gate.
    """
    from tunegate.harness.stats.group_sequential import look_sizes

    if not _is_looked_at(suite, len(suite.cases)):
        return None
    units = _units(suite.cases, suite=suite.name, seed=seed)
    wanted = look_sizes(len(suite.cases), first=_first_look(suite))
    least = _least_units(suite)
    sizes: list[int] = []
    shares: list[float] = []
    count = 0
    for number, unit in enumerate(units, start=1):
        count += len(unit)
        if count >= wanted[len(sizes)] and number >= least:
            sizes.append(count)
            shares.append(number / len(units))
            wanted = [*wanted[: len(sizes)], *(w for w in wanted[len(sizes) :] if w > count)]
    order = tuple(case for unit in units for case in unit)
    looks = LookSchedule(order=order, sizes=tuple(sizes), shares=tuple(shares))
    return looks if len(sizes) > 1 and _reachable(suite, looks) else None


def planned_shares(suite: Suite, n: int) -> tuple[float, ...]:
    """Return the share of the cases seen at each look if the suite had `n`; none without looks."""
    from tunegate.harness.stats.group_sequential import look_sizes

    if any(m.judge is not None for m in suite.gated_metrics):
        return ()  # a judge is asked once all completions are there
    if n == len(suite.cases):
        planned = schedule_looks(suite, seed=0)
        return planned.shares if planned is not None else ()
    if not _is_looked_at(suite, n):
        return ()
    # Looks as far apart as if the first and last steps were like the others: one set of bounds then
    # serves all numbers of cases with so many looks.
    count = len(look_sizes(n, first=_first_look(suite)))
    shares = tuple(look / count for look in range(1, count + 1))
    looks = LookSchedule(order=(), sizes=(n,) * count, shares=shares)
    return shares if count > 1 and _reachable(suite, looks, n) else ()


def _is_looked_at(suite: Suite, n: int) -> bool:
    """Return whether looking at the growing sample of `n` cases pays, and has a known error."""
    generated = all(m.needs is CellKind.GENERATE for m in suite.metrics)
    whole = not generated or any(m.corpus for m in suite.gated_metrics)
    # How many cases of a tag a look has seen is not planned.
    whole = whole or any(gate.tag and _counts_late(suite, gate) for gate in suite.gates)
    return n >= EARLY_STOP_CASES and bool(suite.gates) and not whole


def _first_look(suite: Suite) -> int:
    """Return the fewest cases of the first look."""
    compared = [suite.metric(g.metric) for g in suite.gates if not gate_kind(g.kind).reads_level]
    first = _FIRST_BINARY if all(m.binary for m in compared) else _FIRST_MEAN
    return max(first, _least_units(suite))


def _least_units(suite: Suite) -> int:
    """Return the independent cases from which on every gate counts that counts in the end."""
    late = any(_counts_late(suite, gate) for gate in suite.gates)
    return LEAST_UNBOUNDED if late else 1


def _counts_late(suite: Suite, gate: Gate) -> bool:
    """Return whether a gate counts with all cases, and with few of them would be advisory."""
    return _without_range(suite, gate) and not is_advisory(suite, gate)


def _reachable(suite: Suite, looks: LookSchedule, n: int | None = None) -> bool:
    """Return whether every gate that these cases can prove is still provable at the last look.

    Args:
        suite: The suite.
        looks: Its looks.
        n: Cases, if other than the suite has.
    """
    last = InterimLook(looks, len(looks.sizes) - 1)
    gates = [gate for gate in suite.gates if not any(feasibility_problems(suite, gate, n))]
    seen = {gate.tag: last if n else _look_on(suite, last, gate.tag) for gate in gates}
    return not any(
        problem
        for gate in gates
        for problem in feasibility_problems(suite, seen[gate.tag].judged(gate), n)
    )


def _look_on(suite: Suite, look: InterimLook, tag: str | None) -> InterimLook:
    """Return the last look as it is at the cases of a tag."""
    if tag is None:
        return look
    units = {case.id: case.cluster or f"\0{case.id}" for case in cases_on(suite, tag)}
    return look.on_slice(units) or look


def _units(cases: Sequence[Case], *, suite: str, seed: int) -> list[list[str]]:
    """Return the case ids by cluster, the clusters in an order drawn by the seed."""
    units: dict[str, list[str]] = {}
    for case in cases:
        units.setdefault(case.cluster or f"\0{case.id}", []).append(case.id)
    return sorted(units.values(), key=lambda unit: sha256(["order", seed, suite, unit[0]]))


GRID = (0.1, 0.2, 0.3)
"""Assumed discordance, or σ as a share of the metric's range."""


def assumed_spreads(metric: Metric, *, binary: bool) -> tuple[ScoreSpread, ...]:
    """Return the grid of a metric that no run has shown; nothing if its range is unknown."""
    if binary:
        return tuple(ScoreSpread(share, binary=True) for share in GRID)
    return tuple(ScoreSpread(share * metric.bound, binary=False) for share in GRID if metric.bound)


AVERAGED = {2: 0.52, 4: 0.27, 8: 0.15}
"""Samples of a case → variance of the difference of their means, as a share of that of one sample.

Measured on pairs of real models that answer with a temperature.
"""
CONTINUOUS = 39
"""Most by which the variance of the probability of the right choice is below that of its flips,
measured likewise."""


def cheaper_designs(
    suite: Suite,
    gate: Gate,
    plan: PlannedComparison,
    effect: float,
    table: ScoreTable | None,
) -> Iterator[str]:
    """Yield the cases and answers that a gate on 0/1 scores takes if more is measured of a case.

    Args:
        suite: The suite.
        gate: One of its gates.
        plan: Its comparison.
        effect: The true difference that is planned for.
        table: Scores of an earlier run; None without one.
    """
    metric = suite.metric(gate.metric)
    if not plan.spread.binary or isinstance(gate.margin, str):
        return

    def cases(variance: float) -> int | None:
        spread = ScoreSpread(math.sqrt(variance), binary=False, deff=plan.spread.deff)
        return replace(plan, spread=spread).cases(effect, POWER)

    if metric.needs is CellKind.CHOICES and metric.binary:
        measured = _measured_variance(table)
        best = cases(plan.spread.value / CONTINUOUS if measured is None else measured)
        if best is not None:
            how = "at best (39 times less variance, the most seen on real models)"
            how = how if measured is None else "(as in the run)"
            yield (
                f"{gate.subject}: choice_probability with the same margin takes {best} cases {how}"
            )
    elif metric.needs is CellKind.GENERATE and suite.generation.samples == 1:
        fewer = {k: cases(share * plan.spread.value) for k, share in AVERAGED.items()}
        if all(n is not None for n in fewer.values()):
            counts = " / ".join(str(n) for n in fewer.values())
            answers = " / ".join(str(k * (n or 0)) for k, n in fewer.items())
            yield (
                f"{gate.subject}: samples = 2 / 4 / 8, with a temperature, take {counts} cases and "
                f"{answers} answers an arm (spread assumed as on real models)"
            )


def _measured_variance(table: ScoreTable | None) -> float | None:
    """Return the variance of the probability of the right choice in a run; None if it has none."""
    metrics = () if table is None else table.suite.metrics
    for metric in metrics:
        pairs = table.pairs(metric) if table and metric.use == "choice_probability" else None
        if pairs is not None and pairs.n > 1:
            return sample_deviation(pairs.differences) ** 2 or None
    return None
