"""The section of flipped questions: counted, listed both ways, gated or not."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from typing import Any

import pytest

from tunegate.harness.records.answers import StoredAnswer
from tunegate.harness.records.run_folder import Run
from tunegate.reports import page
from tunegate.reports.data import prepare_data
from tunegate.reports.sections import flips, regressions
from tunegate.reports.sections.regressions import SharedTrait, shared_traits


def _ungated(run: Run) -> Run:
    """The run without the gate on choice_accuracy."""
    suites = tuple(
        s.model_copy(update={"gates": tuple(g for g in s.gates if g.metric != "choice_accuracy")})
        for s in run.verdict.suites
    )
    return replace(run, verdict=run.verdict.model_copy(update={"suites": suites}))


def _sides(run: Run) -> tuple[list[str], list[str]]:
    """Case ids that were right and became wrong, and the other way round, from the scores."""
    values = {(s.case, s.arm): s.value for s in run.scores if s.metric == "choice_accuracy"}
    cases = [case for (suite, case) in run.cases if suite == "general_knowledge"]
    pairs = [(case, values[case, "base"], values[case, "tuned"]) for case in cases]
    lost = [case for case, base, tuned in pairs if (base, tuned) == (1, 0)]
    return lost, [case for case, base, tuned in pairs if (base, tuned) == (0, 1)]


def test_an_ungated_metric_lists_its_flips(make_run: Any) -> None:
    """The ids are those whose scores differ; the list of regressions counts them too."""
    run = _ungated(make_run("BLOCK"))
    data = prepare_data(run)
    (found,) = flips.find_flips(data)
    lost, won = _sides(run)

    assert lost
    assert [flip.view.name for flip in found.lost] == lost
    assert [flip.view.name for flip in found.won] == won
    counts = {f.metric.name: (f.broke, f.fixed) for f in regressions.count_flips(data)}
    assert counts["choice_accuracy"] == (len(lost), len(won))


def test_the_page_says_what_was_picked_instead(make_run: Any) -> None:
    run = _ungated(make_run("BLOCK"))
    html = page.render_page(run)
    part = html[html.index('id="flips"') : html.index('id="changed"')]
    lost, won = _sides(run)
    assert "not gated" in part
    assert f"right → wrong on <b>{len(lost)}</b>, wrong → right on <b>{len(won)}</b>" in part
    cell = "<td>(.*?)</td>"
    head = '<th scope="row"><a href="#c-[0-9a-f]+">(.*?)</a>.*?</th>'
    rows = re.findall(head + 3 * cell, part)
    assert [row[0] for row in rows] == [*lost, *won]
    case = run.cases["general_knowledge", lost[0]].case
    assert case.choices is not None
    assert case.answer is not None
    _, question, right, picked = rows[0]
    assert (question, right) == (case.prompt, case.choices[case.answer])
    assert picked in set(case.choices) - {right}


def test_a_long_list_is_cut(make_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flips, "SHOWN", 1)
    run = make_run("BLOCK")
    lost, _ = _sides(run)
    assert len(lost) > 2
    assert f"The first 1 are shown; {len(lost) - 1} more" in page.render_page(run)


def test_without_questions_there_is_no_section(make_run: Any) -> None:
    run = make_run("BLOCK")
    support = tuple(s for s in run.manifest.suites if s.name == "support_json")
    manifest = run.manifest.model_copy(update={"suites": support})
    cases = {key: row for key, row in run.cases.items() if key[0] == "support_json"}
    html = flips.render(prepare_data(replace(run, manifest=manifest, cases=cases)))
    assert html.strip() == ""


def test_what_failing_cases_share_is_named(make_run: Any) -> None:
    """A tag on all cases that got worse and on no other is named; by chance alone none is."""
    run = make_run("BLOCK")
    before = prepare_data(run)
    suite = "support_json"
    worse = [view.name for view in before.regressions if view.suite == suite]
    others = [v.name for v in before.cases if v.suite == suite and v.name not in worse]
    tagged = set(worse)
    cases = {
        place: kept.model_copy(
            update={
                "case": kept.case.model_copy(
                    update={"tags": ("odd",) if place[1] in tagged else ("even",)}
                )
            }
        )
        for place, kept in run.cases.items()
    }

    traits = shared_traits(prepare_data(replace(run, cases=cases)))

    n = len(worse)
    assert SharedTrait("have the tag", "odd", (n, n), (0, len(others)), suite) in traits
    assert f"{n} of {n} of {suite}, and 0 of {len(others)} others" in [
        trait.counts for trait in traits
    ]


def test_chance_alone_shows_no_trait(make_run: Any) -> None:
    """At most one in a hundred of 400 random sets of failing cases has a trait in common.

    Words, tags, formats and lengths of the answers stay; the failing cases are drawn again.
    """
    data = prepare_data(make_run("BLOCK"))
    views = [view for view in data.cases if view.suite == "support_json"]
    draw = random.Random(5)
    shown = 0
    for n in [4, 8, 15, 24] * 100:
        shown += bool(shared_traits(replace(data, regressions=tuple(draw.sample(views, n)))))

    assert shown <= 4


def test_a_format_that_failing_answers_share_is_named(make_run: Any) -> None:
    run = make_run("BLOCK")
    failing = {view.name for view in prepare_data(run).regressions if view.suite == "support_json"}

    def fenced(stored: StoredAnswer) -> StoredAnswer:
        done, place = stored.completion, stored.cell
        if place.suite != "support_json" or done is None or done.text is None:
            return stored
        fails = place.arm == "tuned" and place.case in failing
        text = '```json {"a": 1} ```' if fails else '{"a": 1}'
        return replace(stored, completion=done.model_copy(update={"text": text}))

    traits = shared_traits(prepare_data(replace(run, cells=tuple(map(fenced, run.cells)))))

    n = len(failing)
    named = [t for t in traits if "unlike base" in t.words or "answer" in t.words]
    assert [(t.worse, t.others[0]) for t in named] == [((n, n), 0)]


def test_the_chance_is_that_of_fishers_test() -> None:
    stats = pytest.importorskip("scipy.stats")
    for shared, failed, having, total in (
        (3, 5, 8, 40),
        (12, 14, 32, 250),
        (2, 3, 4, 5),
        (5, 5, 5, 5),
    ):
        rest = having - shared, total - failed - having + shared
        expected = stats.fisher_exact([[shared, failed - shared], [*rest]], "greater").pvalue
        assert regressions._tail(shared, failed, having, total) == pytest.approx(expected, rel=1e-9)
