"""Slices by tag: the gates' own numbers on a part of the cases, and which of them stand out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from tests.decided_suites import metric_record
from tunegate.harness.decision.gating.tag_slices import (
    TagSlice,
    group_of,
    q_values,
    slices_by_group,
    slices_by_tag,
)
from tunegate.harness.decision.verdict.verdict_lines import verdict_lines
from tunegate.harness.records.cases import Case
from tunegate.harness.records.manifest import Gate
from tunegate.harness.records.run_folder import Run, RunCase
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.records.verdict import Verdict
from tunegate.harness.stats.binary import deciding_interval
from tunegate.harness.stats.paired_mean import mean_interval
from tunegate.reports import markdown
from tunegate.reports.annotations import run_annotations
from tunegate.reports.data import prepare_data
from tunegate.reports.junit import render_junit
from tunegate.reports.sections import subjects
from tunegate.reports.sections import verdict as verdict_section

SUITE = "general_knowledge"
Pairs = Sequence[tuple[float | None, float | None]]
Sliced = Callable[..., dict[str, tuple[TagSlice, float | None]]]


@pytest.fixture(name="run_of")
def _run_of(make_run: Any) -> Callable[..., Run]:
    """Return a function that makes a run of one metric: tag → pairs of base's and tuned's score."""

    def make(
        tags: Mapping[str, Pairs], *, metric: str = "choice_accuracy", clusters: int | None = None
    ) -> Run:
        run: Run = make_run("SHIP")
        cases, scores = {}, []
        for tag, pairs in tags.items():
            for i, pair in enumerate(pairs):
                name = f"{tag}{i:03}"
                cluster = None if clusters is None else f"{tag} {i % clusters}"
                case = Case(id=name, prompt=name, answer=0, tags=(tag,), cluster=cluster)
                cases[SUITE, name] = RunCase(suite=SUITE, case=case, where=f"x:{i}")
                scores += [
                    ScoreRow(
                        suite=SUITE,
                        metric=metric,
                        case=name,
                        arm=arm,
                        value=value,
                        reason="no completion" if value is None else None,
                    )
                    for arm, value in zip(("base", "tuned"), pair, strict=True)
                ]
        return replace(run, cases=cases, scores=tuple(scores), cells=())

    return make


@pytest.fixture(name="sliced")
def _sliced(run_of: Callable[..., Run]) -> Sliced:
    """Return a function that gives tag → slice and adjusted p-value."""

    def make(tags: Mapping[str, Pairs], **more: Any) -> dict[str, tuple[TagSlice, float | None]]:
        found = slices_by_tag(prepare_data(run_of(tags, **more)).score_tables)
        return {s.tag: (s, q) for s, q in zip(found, q_values(found), strict=True)}

    return make


def passes(wins: int, losses: int, both: int, neither: int = 0) -> Pairs:
    """Return 0/1 scores with the given counts of each kind of pair."""
    kinds = {(0.0, 1.0): wins, (1.0, 0.0): losses, (1.0, 1.0): both, (0.0, 0.0): neither}
    return [pair for pair, count in kinds.items() for _ in range(count)]


def test_one_slice_of_passes(sliced: Sliced) -> None:
    """1 win and 7 losses of 21: mid-p is 2·(1/256 + ½·8/256) = 10/256, the interval is Tango's."""
    [(found, q)] = sliced({"law": passes(1, 7, 13)}).values()
    expected = deciding_interval(1, 7, 21)

    assert (found.n, found.base, found.tuned) == (21, 20 / 21, 14 / 21)
    assert found.delta == pytest.approx(-6 / 21)
    assert (found.difference.low, found.difference.high) == (expected.low, expected.high)
    assert q == pytest.approx(10 / 256)


def test_several_slices_are_adjusted_together(sliced: Sliced) -> None:
    """Three of 21 cases, p = 10/256, 2·37/256 and 1: each times 3 by its rank, as scipy says.

    2 wins and 6 losses: P(X > 6) + ½ P(X = 6) = 9/256 + 14/256 = 23/256; two-sided 46/256.
    """
    found = sliced({"a": passes(1, 7, 13), "b": passes(2, 6, 13), "c": passes(4, 4, 13)})
    q = {tag: value for tag, (_, value) in found.items()}

    assert q["a"] == pytest.approx(3 * 10 / 256)
    assert q["b"] == pytest.approx(3 / 2 * 46 / 256)
    assert q["c"] == 1.0
    p_values = [10 / 256, 46 / 256, 1.0]
    assert list(q.values()) == pytest.approx(list(stats.false_discovery_control(p_values)))


def test_a_slice_of_numbers(sliced: Sliced) -> None:
    """Without skew the p-value is Student's, two-sided; the interval is the gates'.

    Unseen losses of the whole range, e^(-60 ln 1.1) = .003, explain less than Student's .034.
    """
    steps = [-2, -1, 0, 1, 2] * 12
    pairs = [(0.4, 0.5 + 0.25 * step) for step in steps]
    [(found, q)] = sliced({"law": pairs}, metric="choice_probability").values()
    differences = [tuned - base for base, tuned in pairs]
    expected = mean_interval(differences, bound=1.0)

    assert q == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)
    assert found.difference.low == pytest.approx(expected.low)
    assert found.difference.high == pytest.approx(expected.high)


def test_few_numbers_are_guarded_by_the_range(sliced: Sliced) -> None:
    """Under 50 cases the metric's range widens the interval, and p grows with it."""
    pairs = [(0.5, 0.52 + 0.05 * step) for step in [-2, -1, 0, 1, 2] * 5]
    [(_, q)] = sliced({"law": pairs}, metric="choice_probability").values()

    assert q is not None
    assert q > 2 * stats.ttest_1samp([tuned - base for base, tuned in pairs], 0).pvalue


def test_cases_that_belong_together_count_together(sliced: Sliced) -> None:
    """120 cases in 60 equal clusters: Student's test on the means of the clusters."""
    pairs = [(0.38, 0.48 + 0.25 * (i % 5 - 2) + 0.002 * (i // 60)) for i in range(120)]
    [(_, q)] = sliced({"law": pairs}, metric="choice_probability", clusters=60).values()
    [(_, alone)] = sliced({"law": pairs}, metric="choice_probability").values()
    differences = [tuned - base for base, tuned in pairs]
    means = [sum(differences[c::60]) / 2 for c in range(60)]

    assert q == pytest.approx(stats.ttest_1samp(means, 0).pvalue)
    assert alone == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)
    assert alone < q / 2


@pytest.mark.parametrize(("tag", "clusters"), [("few", None), ("clustered", 9)])
def test_too_little_is_not_tested(sliced: Sliced, tag: str, clusters: int | None) -> None:
    """19 cases, or nine clusters, get no p-value, and the others are not adjusted for them."""
    pairs = passes(0, 15, 4) if tag == "few" else passes(0, 30, 10)
    [(found, q)] = sliced({tag: pairs}, clusters=clusters).values()
    both = sliced({tag: pairs[:19], "law": passes(1, 7, 13)})

    assert q is None
    assert found.enough is (tag == "clustered")
    assert tag == "few" or not found.has_interval
    assert both["law"][1] == pytest.approx(10 / 256)


def test_an_unscored_case_is_in_no_slice(sliced: Sliced) -> None:
    """Pairs are complete; a tag without one has no row."""
    found = sliced({"law": [*passes(1, 7, 13), (1.0, None)], "art": [(None, 1.0)]})

    assert set(found) == {"law"}
    assert found["law"][0].n == 21


def test_no_tag_no_test(sliced: Sliced) -> None:
    assert sliced({}) == {}


def _rows(html: str) -> dict[str, str]:
    text = re.findall(r'<tr[^>]*><th scope="row">(?:<a [^>]*>)?(.*?)</tr>', html, re.DOTALL)
    return {row.partition("<")[0].strip(): re.sub(r"<[^>]+>", " ", row) for row in text}


def test_the_page_marks_what_stands_out(run_of: Callable[..., Run]) -> None:
    """The mark carries q, the row its interval; the rest carries no mark, and nothing gates."""
    run = run_of({"law": passes(0, 9, 16), "art": passes(3, 4, 18), "few": passes(0, 9, 10)})
    html = str(subjects.render(prepare_data(run)))
    rows = _rows(html)

    # Nine losses, no win: p = 2·½·2⁻⁹ = 1/512, the smaller of two: q = 1/256.
    assert "stands out, q = 0.0039" in rows["law"]
    low, high = (f"{100 * abs(x):.1f}" for x in _ends(0, 9, 25))
    assert f"−{low} to −{high}" in rows["law"]
    assert "stands out" not in rows["art"]
    assert "too few to tell" in rows["few"]
    assert "over the 2 slices tested in this run at 10 %" in re.sub(r"\s+", " ", html)
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", html))
    assert "only where a gate names one as its tag" in words


def _ends(wins: int, losses: int, n: int) -> tuple[float, float]:
    interval = deciding_interval(wins, losses, n)
    return interval.low, interval.high


def test_a_slice_that_is_far_off_has_a_small_q(run_of: Callable[..., Run]) -> None:
    """Forty losses of forty: the number is a bound, not a row of zeros."""
    html = str(subjects.render(prepare_data(run_of({"law": passes(0, 40, 0)}))))

    assert "stands out, q &lt; 0.001" in html


def test_nine_clusters_have_no_interval(run_of: Callable[..., Run]) -> None:
    html = str(subjects.render(prepare_data(run_of({"law": passes(0, 30, 10)}, clusters=9))))

    assert "no interval" in html
    assert "stands out" not in html
    assert "slices tested" not in html


def test_a_metric_of_which_less_is_better(run_of: Callable[..., Run]) -> None:
    run = run_of({"law": passes(1, 12, 12)})
    suites = [
        suite.model_copy(
            update={
                "metrics": tuple(
                    m.model_copy(update={"higher_is_better": False}) for m in suite.metrics
                )
            }
        )
        for suite in run.manifest.suites
    ]
    less = replace(run, manifest=run.manifest.model_copy(update={"suites": tuple(suites)}))
    [worse], [better] = (
        slices_by_tag(prepare_data(run).score_tables),
        slices_by_tag(prepare_data(less).score_tables),
    )
    expected = deciding_interval(1, 12, 25)

    for found in (worse, better):
        low, high = found.difference.low, found.difference.high
        assert (low, high) == pytest.approx((expected.low, expected.high))
    assert q_values([worse]) == pytest.approx(q_values([better]))
    assert "worse" in str(subjects.render(prepare_data(run)))
    assert "better" in _rows(str(subjects.render(prepare_data(less))))["law"]


def test_groups_of_subjects_hold_the_cases_of_all(run_of: Callable[..., Run]) -> None:
    """Two subjects under 20 cases are too few each, and together a number of their field."""
    run = run_of({"virology": passes(0, 6, 6), "mmlu_nutrition": passes(1, 2, 9), "own": []})
    (group,) = slices_by_group(prepare_data(run).score_tables)
    assert (group.tag, group.n) == ("other", 24)
    # 6 + 2 of 24 lost, 1 won
    assert group.delta == pytest.approx(-7 / 24)
    rows = _rows(str(subjects.render(prepare_data(run))))
    assert "−29.2 points" in rows["other"]
    assert "too few to tell" in rows["virology"]


def test_many_subjects_are_folded_away(run_of: Callable[..., Run]) -> None:
    """Five subjects are shown, the worst; the rest waits in a template behind its count."""
    run = run_of({f"t{i:02}": passes(0, i, 25 - i) for i in range(1, 14)})
    html = str(subjects.render(prepare_data(run)))
    before, _, folded = html.partition("<template>")
    assert list(_rows(before)) == [f"t{i:02}" for i in range(13, 8, -1)]
    assert list(_rows(folded)) == [f"t{i:02}" for i in range(8, 0, -1)]
    assert "8 more" in before


def test_the_summary_is_as_it_was(run_of: Callable[..., Run]) -> None:
    text = markdown.render_summary(run_of({"law": passes(0, 9, 16)}))

    assert "Worst first. A gate decides on one by its tag." in text
    assert "stands out" not in text


def _with_corpus(run: Run, use: str) -> Run:
    """Return the run with counts behind its scores: the score of one thing each."""
    (suite,) = (s for s in run.manifest.suites if s.name == SUITE)
    metrics = tuple(
        m.model_copy(update={"use": use, "corpus": {}, "binary": False, "range": None})
        for m in suite.metrics
    )
    suites = (suite.model_copy(update={"metrics": metrics}),)
    scores = tuple(
        replace(row, counts=(row.value, 9.0 if row.case < "a010" else 1.0)) for row in run.scores
    )
    return replace(run, manifest=run.manifest.model_copy(update={"suites": suites}), scores=scores)


def test_a_slice_of_a_corpus_metric_is_its_corpus_value(run_of: Callable[..., Run]) -> None:
    """Ten right of ten cases with 9 words each, ten wrong of 1: ter of the sums, not of means."""
    run = _with_corpus(run_of({"a": [(1.0, 0.0)] * 10 + [(0.0, 0.0)] * 10}), "ter")
    (found,) = slices_by_tag(prepare_data(run).score_tables)

    # 10 edits on 10 · 9 + 10 · 1 words; the mean of scores would be 0.5
    assert found.base == pytest.approx(100 * 10 / 100)
    assert found.tuned == 0.0


def test_a_corpus_function_that_is_gone_leaves_its_slices_out(run_of: Callable[..., Run]) -> None:
    run = _with_corpus(run_of({"a": [(1.0, 0.0)] * 30}), "nowhere.metrics:mine")

    assert slices_by_tag(prepare_data(run).score_tables) == ()


def _suite_of(columns: Any, gates: Sequence[Gate], parts: Mapping[str, Pairs], **more: Any) -> Any:
    pairs = [pair for part in parts.values() for pair in part]
    tags = [(tag,) for tag, part in parts.items() for _ in part]
    base, tuned = ([pair[i] for pair in pairs] for i in (0, 1))
    return columns(gates, {"m": (base, tuned)}, tags=tags, **more)


GAIN = Gate(metric="m", kind="gain", margin=0.0)


def test_a_slice_that_lost_under_a_pooled_gain_is_told(columns: Any, judge: Any) -> None:
    """80 of 200 won, 15 of 40 lost: SHIP, with the slice's levels, n and Tango's interval."""
    parts = {"call": passes(80, 0, 120), "no_call": passes(0, 15, 25)}
    verdict = judge(_suite_of(columns, [GAIN], parts))
    expected = deciding_interval(0, 15, 40)
    [lost] = verdict.slices.lost

    assert verdict.verdict is Verdict.SHIP
    assert (verdict.slices.tested, lost.tag, lost.stands_out) == (2, "no_call", True)
    assert (lost.base, lost.tuned, lost.delta, lost.n) == (1.0, 0.625, -0.375, 40)
    assert (lost.low, lost.high) == pytest.approx((expected.low, expected.high), abs=1e-5)
    # Both ways, of two slices: 2 · (½)^15 / 2 · 2 / 2, the other p-value being far smaller.
    assert lost.q_value == pytest.approx(0.5**15, rel=1e-4)
    assert verdict.slices.sentence == (
        'cases tagged "no_call" fell 100 → 62.5 % (s: m, 40 cases): more than chance explains. '
        'To gate on it, write metric = "m", tag = "no_call" and a tolerance in a [[gates]] table'
    )


def test_one_of_many_slices_that_looks_worse_may_be_chance(columns: Any, judge: Any) -> None:
    """5 losses of 40: p = .0625 both ways, times 20 slices no discovery; its interval is below 0.

    One of twenty slices is below zero by chance, so that is what the sentence says.
    """
    equal = {f"t{i:02}": passes(1, 1, 38) for i in range(1, 19)}
    parts = {"t00": passes(30, 0, 10), **equal, "worse": passes(0, 5, 35)}
    verdict = judge(_suite_of(columns, [GAIN], parts))
    [lost] = verdict.slices.lost

    assert deciding_interval(0, 5, 40).high < 0
    assert (lost.tag, lost.stands_out) == ("worse", False)
    # The second smallest of 20 p-values: .0625 · 20 / 2.
    assert lost.q_value == pytest.approx(0.0625 * 10 / 2)
    assert verdict.slices.sentence.startswith(
        'cases tagged "worse" fell 100 → 87.5 % (s: m, 40 cases): this may be chance, for '
        "1 of 20 groups of cases looks worse, as about 1 in 20 does by chance. "
    )


@pytest.mark.parametrize(
    ("parts", "gates"),
    [
        pytest.param(
            {"a": passes(80, 0, 120), "b": passes(0, 8, 11)}, [GAIN], id="few cases, not half lost"
        ),
        pytest.param(
            {"a": passes(80, 0, 120), "b": passes(1, 1, 38)}, [GAIN], id="nothing changed"
        ),
        pytest.param(
            {"a": passes(80, 0, 120), "b": passes(0, 15, 85)},
            [GAIN, Gate(metric="m", kind="tolerance", margin=0.3, tag="b")],
            id="a gate of its own allows the loss",
        ),
        pytest.param(
            {"a": passes(0, 20, 180), "b": passes(0, 4, 36)},
            [Gate(metric="m", kind="tolerance", margin=0.2)],
            id="every slice lost what the mean lost",
        ),
        pytest.param(
            {"a": passes(0, 40, 60), "b": passes(0, 0, 100)}, [GAIN], id="no SHIP, no but"
        ),
    ],
)
def test_no_slice_that_lost(columns: Any, judge: Any, parts: Any, gates: list[Gate]) -> None:
    verdict = judge(_suite_of(columns, gates, parts))

    assert verdict.slices is None
    assert "slices" not in verdict.model_dump()


def test_a_slice_that_lost_more_than_the_mean_is_told(columns: Any, judge: Any) -> None:
    """The mean lost 20 of 240, which its tolerance allows; the slice 20 of its 40."""
    parts = {"a": passes(0, 0, 200), "b": passes(0, 20, 20)}
    verdict = judge(_suite_of(columns, [Gate(metric="m", kind="tolerance", margin=0.2)], parts))

    assert verdict.verdict is Verdict.SHIP
    assert [lost.tag for lost in verdict.slices.lost] == ["b"]


def test_nineteen_cases_that_collapsed_are_told(columns: Any, judge: Any) -> None:
    """Too few for the others' test, 18 lost: 2 · (½)^18 / 2, times the one such slice."""
    verdict = judge(_suite_of(columns, [GAIN], {"a": passes(80, 0, 120), "b": passes(0, 18, 1)}))
    [lost] = verdict.slices.lost

    assert verdict.verdict is Verdict.SHIP
    assert (lost.tag, lost.n, lost.stands_out) == ("b", 19, True)
    assert lost.q_value == pytest.approx(0.5**18, rel=1e-4)


def test_a_loss_that_no_gate_looks_at_is_a_note(columns: Any, judge: Any) -> None:
    tagged = Gate(metric="m", kind="tolerance", margin=0.3, tag="a")
    scores = {"m": ([1.0] * 200, [1.0] * 100 + [0.0] * 60 + [1.0] * 40),
              "free": ([1.0] * 200, [0.0] * 160 + [1.0] * 40)}  # fmt: skip
    suite = columns([tagged], scores, tags=[("a",)] * 100 + [()] * 100)
    verdict = judge(suite)
    untagged, free = [n for n in verdict.suites[0].notes if "has no gate" in n]

    assert verdict.verdict is Verdict.SHIP
    assert untagged.startswith(
        "s: m has no gate on cases without the tag a, and fell 60.0 points, 100 → 40.0 %"
    )
    assert untagged.endswith("on 100 cases")
    assert free.startswith("s: free has no gate, and fell 80.0 points, 100 → 20.0 %")


@pytest.mark.parametrize("tuned", [[1.0] * 99 + [0.0], [1.0] * 100])
def test_no_note_where_nothing_is_shown_to_be_lost(
    columns: Any, judge: Any, tuned: list[float]
) -> None:
    """One case of 100 may be chance; a metric without a range has no points to lose."""
    scores = {"m": ([1.0] * 100, [1.0] * 100), "free": ([1.0] * 100, tuned),
              "length": ([9.0] * 100, [1.0] * 100)}  # fmt: skip
    length = metric_record("length", binary=False, range=None)
    floor = Gate(metric="m", kind="floor", margin=0.5)

    notes = judge(columns([floor], scores, metrics=[length])).suites[0].notes

    assert not any("has no gate" in note for note in notes)


def test_the_tag_of_all_cases_is_no_slice(columns: Any, judge: Any) -> None:
    floor = Gate(metric="m", kind="floor", margin=0.5)
    verdict = judge(_suite_of(columns, [floor], {"all": passes(0, 30, 70)}))

    assert verdict.verdict is Verdict.SHIP
    assert verdict.slices is None


def test_terminal_summary_and_page_say_so_in_the_first_lines(
    columns: Any, judge: Any, make_run: Any
) -> None:
    parts = {"call": passes(80, 0, 120), "no_call": passes(0, 15, 25)}
    found = judge(_suite_of(columns, [GAIN], parts)).slices
    run: Run = make_run("SHIP")
    run = replace(run, verdict=run.verdict.model_copy(update={"slices": found}))
    summary = markdown.render_summary(run).splitlines()
    page = str(verdict_section.render(prepare_data(run)))
    [remark] = run_annotations(run, Path.cwd())

    assert remark.level == "warning"
    assert remark.message.endswith(f"; but {found.sentence}")
    assert 'name="slices" value="cases tagged &quot;no_call&quot; fell' in render_junit(run)

    assert list(verdict_lines(run.verdict, run.manifest, run.folder))[1] == f"but {found.sentence}"
    [but] = [line for line in summary if line.startswith("**But")]
    assert but.startswith('**But cases tagged "no\\_call" fell 100 → 62.5 % \\(s: m, 40 cases\\)')
    heading, notice = page.index("<h1>"), page.index("no_call&#34; fell 100 → 62.5 %")
    assert heading < notice < page.index('<dl class="facts">')


def test_mmlus_groups_are_those_of_lm_eval() -> None:
    """All 57 subjects are where lm-eval's task files have them; anatomy, which lm-eval calls STEM,
    is health and so "other" in the authors' own table.
    """
    spec = find_spec("lm_eval")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("lm-eval is not installed")
    folder = Path(spec.submodule_search_locations[0]) / "tasks/mmlu/default"
    words = {"stem": "STEM", "social_sciences": "social sciences"}
    theirs = {}
    for path in folder.glob("mmlu_*.yaml"):
        text = path.read_text(encoding="utf-8")
        (group,) = re.findall(r'"tag": "mmlu_(\w+)_tasks"', text)
        theirs[path.stem] = words.get(group, group)
    assert len(theirs) == 57
    assert {name: group_of(name) for name in theirs} == theirs | {"mmlu_anatomy": "other"}


def test_a_tag_may_name_its_group() -> None:
    """What stands before a slash is the group; an unknown subject has none."""
    assert group_of("languages/French") == "languages"
    assert group_of("high school biology") == "STEM"
    assert group_of("billing") is None
    assert group_of("/x") is None
