"""Score tables: scores by metric, case and arm, ready to be paired."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from tunegate.harness.comparison.corpus_level import PairedCounts, Row
from tunegate.harness.comparison.estimator import exact_mean
from tunegate.harness.comparison.interim_look import InterimLook
from tunegate.harness.comparison.noise_floor import NoiseFloor
from tunegate.harness.comparison.pairs import PairFill, Pairs, shared_clusters
from tunegate.harness.contracts.further_arm import ARMS, BASE_AGAIN
from tunegate.harness.decision.answer_facts.answer_counts import AnswerCounts
from tunegate.harness.decision.imputation import ExtremeImputation
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.gate_results import GateResult
from tunegate.harness.records.manifest import Gate, Manifest, MetricRecord, SuiteRecord
from tunegate.harness.records.scores import ScoreRow

ORIGINAL_BASE = "original base"
"""Name of base while another arm takes its place; its noise floor serves both."""


@dataclass(frozen=True)
class ScoreTable:
    """The scores of one suite, ready to be paired."""

    suite: SuiteRecord
    cases: Mapping[str, Case]
    values: Mapping[tuple[str, str, str], ScoreRow]
    """(metric, case, arm) → score."""
    planned: frozenset[tuple[CellKind, str]] = frozenset()
    """(kind of question, case) in the run's plan; a planned case without a row is unscored."""
    look: InterimLook | None = None
    """The look at which the suite is judged; None without looks."""
    answers: AnswerCounts = field(default_factory=AnswerCounts)
    """Counts of the written answers."""
    labels: Mapping[tuple[str, str, str], float] = field(default_factory=dict)
    """(metric, case, arm) → people's label of the answer."""
    unseen: Mapping[str, Case] = field(default_factory=dict, repr=False)
    """The cases not seen at the look."""
    variants: Mapping[str, Case] = field(default_factory=dict, repr=False)
    """The cases in other words, which only gates on their tags rest on."""
    whole: ScoreTable | None = field(default=None, repr=False)
    """The whole suite, if this is a slice."""
    asked_again: str = "base"
    """Name of the arm that was asked again for the noise floor."""
    judged_arm: str = "tuned"
    """Name of the arm in tuned's place."""

    @property
    def remaining(self) -> int:
        """Cases not asked, or not yet."""
        return 0 if self.look is None else self.look.remaining

    def on_tag(self, tag: str | None) -> ScoreTable:
        """Return the scores of the cases with a tag, at the slice's own look.

        A slice without a look has no cases yet.
        """
        if tag is None:
            return self
        if tag not in self._slices:
            cases, unseen = (
                {name: case for name, case in part.items() if tag in case.tags}
                for part in ({**self.cases, **self.variants}, self.unseen)
            )
            look = self.look
            if look is not None:
                tagged = {**cases, **unseen}
                look = look.on_slice({i: case.cluster or f"\0{i}" for i, case in tagged.items()})
                cases = {} if look is None else cases
            self._slices[tag] = replace(
                self, cases=cases, unseen=unseen, look=look, whole=self.whole or self
            )
        return self._slices[tag]

    @cached_property
    def _slices(self) -> dict[str, ScoreTable]:
        """Cache of `on_tag`."""
        return {}

    def of_gate(self, gate: Gate | GateResult) -> ScoreTable:
        """Return the scores that a gate is decided on: its cases, and its reference as base."""
        return self.against(gate.against).on_tag(gate.tag)

    def against(self, reference: str | None) -> ScoreTable:
        """Return the table with a further arm in base's place; None is base itself."""
        if reference is None:
            return self
        if reference not in self._references:
            places = {
                reference: "base",
                "tuned": "tuned",
                "base": ORIGINAL_BASE,
                BASE_AGAIN: BASE_AGAIN,
            }
            metrics = tuple(metric.on_other_arms() for metric in self.suite.metrics)
            suite = self.suite.model_copy(update={"metrics": metrics})
            table = replace(self, suite=suite, labels={}, asked_again=ORIGINAL_BASE)
            self._references[reference] = table.with_arms(places)
        return self._references[reference]

    @cached_property
    def _references(self) -> dict[str, ScoreTable]:
        """Cache of `against`."""
        return {}

    def with_arms(self, places: Mapping[str, str]) -> ScoreTable:
        """Return the table with its arms in other places: arm → the place it takes."""
        values = {
            (metric, case, places[arm]): row
            for (metric, case, arm), row in self.values.items()
            if arm in places
        }
        return replace(self, values=values)

    def asked(self, metric: str) -> list[str]:
        """Return the cases that the metric was asked of, in plan order.

        People are asked about the cases that they voted on.
        """
        if metric not in self._asked:
            kinds = {m.needs for m in self.suite.metrics if m.name == metric and not m.votes}
            self._asked[metric] = [
                case
                for case in self.cases
                if any((metric, case, arm) in self.values for arm in ARMS)
                or any((kind, case) in self.planned for kind in kinds)
            ]
        return self._asked[metric]

    @cached_property
    def _asked(self) -> dict[str, list[str]]:
        """Cache of `asked`."""
        return {}

    def value(self, metric: str, case: str, arm: str) -> float | None:
        """Return a score; None if unscored."""
        row = self.values.get((metric, case, arm))
        return None if row is None else row.value

    def _at_end(self, metric: str, case: str, arm: str, *, high: bool) -> float | None:
        """Return a score with its unscored episodes at the largest, or least, score."""
        row = self.values.get((metric, case, arm))
        if row is not None and row.bounds is not None:
            return row.bounds[high]
        return self.value(metric, case, arm)

    def pairs(self, metric: MetricRecord, *, arm: str = "base") -> Pairs:
        """Return the complete pairs of a metric, `arm` against tuned; one for each prompt."""
        rows = [
            (case, b, t)
            for case in self.asked(metric.name)
            if (b := self.value(metric.name, case, arm)) is not None
            and (t := self.value(metric.name, case, "tuned")) is not None
        ]
        return self._pair_rows(metric, rows, arm)

    def labelled(self, pairs: Pairs) -> Pairs:
        """Return a judge's pairs with people's labels, if there are any."""
        name = pairs.metric.name
        by_case: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for case in self.asked(name):
            base, tuned = (self.labels.get((name, case, arm)) for arm in ARMS)
            if base is not None and tuned is not None:
                by_case[self._first_copy.get(case, case)].append((base, tuned))
        labels = tuple(
            _mean_pair(by_case[case]) if case in by_case else None for case in pairs.cases
        )
        return replace(pairs, labels=labels) if any(labels) else pairs

    def noise(self, metric: MetricRecord) -> NoiseFloor | None:
        """Return base against its second answers, over the whole suite; None without them."""
        if self.whole is not None:
            return self.whole.noise(metric)
        rows = [
            (case, first, again)
            for case in self.cases
            if (again := self.value(metric.name, case, BASE_AGAIN)) is not None
            and (first := self.value(metric.name, case, self.asked_again)) is not None
        ]
        pairs = self._pair_rows(metric, rows, self.asked_again, again=BASE_AGAIN) if rows else None
        return None if pairs is None else NoiseFloor(pairs)

    def imputed(
        self,
        metric: MetricRecord,
        *,
        level: bool = False,
        best: bool = False,
        fill: PairFill | None = None,
    ) -> Pairs:
        """Return pairs in which unscored cases went worst for tuned and best for base."""
        observed = self.pairs(metric)
        fill = fill or ExtremeImputation.of(metric, observed, level=level, best=best).fill
        rows = []
        high = best is metric.higher_is_better  # whether tuned's missing scores are the largest
        for case in self.asked(metric.name):
            b = self._at_end(metric.name, case, "base", high=not high)
            t = self._at_end(metric.name, case, "tuned", high=high)
            rows.append((case, *fill(b, t)))
        return self._pair_rows(metric, rows, "base")

    def lacks_scores(self, observed: Pairs, is_advisory: Callable[[Pairs], bool]) -> bool:
        """Return whether a gate is advisory for lack of scores, and not of cases.

        Such a gate counts: a fine-tune that fails to answer must not get rid of it.
        """
        if not is_advisory(observed):
            return False
        whole = self.imputed(observed.metric)
        return observed.n < whole.n and not is_advisory(whole)

    def _pair_rows(
        self,
        metric: MetricRecord,
        rows: Sequence[tuple[str, float, float]],
        arm: str,
        *,
        again: str = "tuned",
    ) -> Pairs:
        if metric.corpus is None:
            rows = self._by_prompt(rows)
        ids = [case for case, _, _ in rows]
        clusters = shared_clusters([self.cases[i].cluster or f"\0{i}" for i in ids])
        return Pairs(
            suite=self.suite.name,
            metric=metric,
            base=tuple(b for _, b, _ in rows),
            tuned=tuple(t for _, _, t in rows),
            clusters=clusters,
            n_unscored={a: len(self.unscored(metric.name, a)) for a in (arm, again)},
            chance=self._chance(metric, ids),
            corpus=self._corpus(metric, ids, (arm, again), clusters),
            cases=tuple(ids),
            arm=self.judged_arm,
        )

    @cached_property
    def _first_copy(self) -> dict[str, str]:
        """Case → the first case of the table with the same prompt, for cases that share one."""
        groups = ([i for i in group if i in self.cases] for group in self.suite.equal_prompts)
        return {case: group[0] for group in groups for case in group if len(group) > 1}

    def _by_prompt(
        self, rows: Sequence[tuple[str, float, float]]
    ) -> Sequence[tuple[str, float, float]]:
        """Return the mean scores of each prompt, under the first of its cases."""
        if not self._first_copy:
            return rows
        copies: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for case, base, tuned in rows:
            copies[self._first_copy.get(case, case)].append((base, tuned))
        return [(case, *_mean_pair(scores)) for case, scores in copies.items()]

    @property
    def copies(self) -> tuple[int, int]:
        """How many of the cases share their prompt with others, and how many prompts these are."""
        return len(self._first_copy), len(set(self._first_copy.values()))

    def _corpus(
        self,
        metric: MetricRecord,
        ids: Sequence[str],
        arms: tuple[str, str],
        clusters: Sequence[str] | None,
    ) -> PairedCounts | None:
        if metric.corpus is None:
            return None
        base, tuned = ([self._counts(metric.name, i, arm) for i in ids] for arm in arms)
        return PairedCounts.of(metric, base, tuned, clusters)

    def _counts(self, metric: str, case: str, arm: str) -> Row | None:
        """Return what a corpus metric counted; None if unscored."""
        row = self.values.get((metric, case, arm))
        if row is None or row.value is None:
            return None
        if row.counts is None:
            raise UsageError(
                f"{self.suite.name}: {metric!r} has a score without counts on {case!r}"
            )
        return row.counts

    def unscored(self, metric: str, arm: str) -> list[str]:
        """Return the cases of an arm without a score."""
        return [c for c in self.asked(metric) if self.value(metric, c, arm) is None]

    def incomplete(self, metric: str, arm: str) -> list[str]:
        """Return the cases of an arm with any unscored answer."""
        rows = {case: self.values.get((metric, case, arm)) for case in self.asked(metric)}
        return [c for c, row in rows.items() if row is None or row.value is None or row.unscored]

    def unscored_share(self, metric: str, arm: str) -> tuple[int, int]:
        """Return how many cases, or episodes, of an arm are unscored, and how many there are."""
        if self.suite.episode is None:
            return len(self.unscored(metric, arm)), len(self.asked(metric))
        samples = int(self.suite.generation.get("samples", 1))
        rows = [self.values.get((metric, case, arm)) for case in self.asked(metric)]
        counts = [
            samples if row is None else row.unscored[0] if row.unscored else 0 for row in rows
        ]
        return sum(counts), samples * len(rows)

    def reasons(self, metrics: Iterable[str], arms: Sequence[str]) -> dict[str, int]:
        """Return why cases are unscored, with counts, most common first."""
        counts = Counter(
            (row.reason if row else None) or "there is no completion"
            for metric in metrics
            for arm in arms
            for case in self.incomplete(metric, arm)
            for row in [self.values.get((metric, case, arm))]
        )
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def _chance(self, metric: MetricRecord, ids: Sequence[str]) -> float | None:
        if not metric.guessable or not ids:
            return None
        # If the choices are part of the prompt, their number is unknown.
        unknown = 0.5 if metric.picks else 0.0
        choices = [self.cases[i].choices for i in ids]
        return sum(1 / len(of) if of else unknown for of in choices) / len(choices)


def split_variants(cases: Iterable[Case]) -> tuple[dict[str, Case], dict[str, Case]]:
    """Return id → case of the plain cases, and of the variants."""
    plain: dict[str, Case] = {}
    variants: dict[str, Case] = {}
    for case in cases:
        (plain if case.variant_of is None else variants)[case.id] = case
    return plain, variants


def _mean_pair(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    base, tuned = map(exact_mean, zip(*pairs, strict=True))
    return base, tuned


def _active_suite(suite: SuiteRecord, rows: Iterable[ScoreRow]) -> SuiteRecord:
    if all(metric.only_if_base_has is None for metric in suite.metrics):
        return suite
    from tunegate.harness.decision.gating.absent_behavior_gates import active_suite

    return active_suite(suite, rows)


def tables_of(
    manifest: Manifest,
    cases: Mapping[str, Sequence[Case]],
    scores: Iterable[ScoreRow],
    looks: Mapping[str, InterimLook],
    *,
    without: Mapping[str, frozenset[str]] | None = None,
) -> list[ScoreTable]:
    """Return the scores of each suite in `cases`, on the cases seen at its look.

    Args:
        manifest: The run.
        cases: Suite → its cases.
        scores: Scores, of other suites too.
        looks: Suite → the look at which it is judged.
        without: Suite → cases to leave out; by default those that tuned was trained on.
    """
    by_suite: dict[str, dict[tuple[str, str, str], ScoreRow]] = defaultdict(dict)
    for row in scores:
        by_suite[row.suite][row.metric, row.case, row.arm] = row
    planned = defaultdict(set)
    for cell in manifest.plan:
        planned[cell.suite].add((cell.kind, cell.case))
    if without is None:
        without = {} if manifest.leakage is None else manifest.leakage.left_out
    return [
        ScoreTable(
            _active_suite(suite, by_suite[suite.name].values()),
            {name: c for name, c in plain.items() if look is None or name in seen},
            by_suite[suite.name],
            frozenset(planned[suite.name]),
            look,
            unseen={name: c for name, c in plain.items() if look is not None and name not in seen},
            variants=variants,
        )
        for suite in manifest.suites
        if suite.name in cases
        for look in [looks.get(suite.name)]
        for seen in [frozenset(look.seen if look else ())]
        for out in [without.get(suite.name, frozenset())]
        for of in [[c for c in cases[suite.name] if (c.variant_of or c.id) not in out]]
        for plain, variants in [split_variants(of)]
    ]
