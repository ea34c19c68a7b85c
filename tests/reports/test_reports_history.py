"""history.html: every run and gate is on it, escaped; and where the charts put their marks."""

from __future__ import annotations

import re

from tests.past_runs import FOUR, history_of, poisoned
from tunegate.harness.decision.verdict.run_history import RunHistory, SkippedFolder
from tunegate.harness.records.gate_results import GateStatus
from tunegate.reports import history_page
from tunegate.reports.history_page import render_history, suites_over_time


def test_the_page_holds_every_run_and_gate() -> None:
    page = render_history(history_of(*FOUR))

    for run in FOUR:
        assert page.count(f"<code>{run.run_id}</code>") == 2
    assert page.count('<figure class="trend">') == 2
    assert page.count("▲ shipped") == 1
    assert "+30.0 points" in page
    assert "4 candidates judged, 4 runs here" in page
    assert page == render_history(history_of(*FOUR))


def test_the_page_runs_and_fetches_nothing() -> None:
    page = render_history(history_of(*FOUR))

    assert "<script" not in page
    assert re.findall(r'(?:src|href)="(?!#|data:)', page) == []


def test_hostile_texts_stay_texts(payloads: tuple[str, ...]) -> None:
    for text in payloads:
        page = render_history(poisoned(text))

        assert "<script" not in page
        assert page.count("<style>") == 1
        assert not re.search(r"<(?:img|iframe|base|form|svg onload)", page)


def test_no_run_is_said() -> None:
    page = render_history(
        RunHistory(runs=(), wear=(), skipped=(SkippedFolder(folder="x", why="not a run"),))
    )

    assert "Nothing was judged here yet" in page
    assert "<code>x</code>: not a run" in page


def test_a_chart_puts_runs_in_their_places() -> None:
    (suite,) = suites_over_time(history_of(*FOUR))
    gain = suite.trends[0]
    xs, ys = [d.x for d in gain.dots], [d.y for d in gain.dots]

    assert suite.gates == ("solved::gain", "kept::tolerance")
    assert xs == sorted(xs)
    assert ys == sorted(ys, reverse=True)
    assert [d.status for d in gain.dots] == ["undecided", "pass", "pass", "pass"]
    assert [d.shipped for d in gain.dots] == [False, True, False, False]
    assert all(d.high <= d.y <= d.low for d in gain.dots)
    assert suite.trends[1].dots[3].status == "fail"


def test_another_version_of_the_suite_is_another_line() -> None:
    (suite,) = suites_over_time(history_of(*FOUR))
    chart = suite.trends[0]

    assert len(chart.lines) == 2
    assert len(chart.breaks) == 1
    assert chart.dots[1].x < chart.breaks[0] < chart.dots[2].x


def test_one_run_is_a_dot_in_the_middle() -> None:
    (suite,) = suites_over_time(history_of(FOUR[1]))

    assert [(d.status, chart.lines) for chart in suite.trends for d in chart.dots] == [
        ("pass", ()),
        ("pass", ()),
    ]


def test_nothing_estimated_is_nothing_drawn() -> None:
    gate = (
        FOUR[0]
        .suites[0]
        .gates[0]
        .model_copy(update={"delta": None, "status": GateStatus.UNDECIDED})
    )

    assert history_page.draw_trend([history_page.HistoricalOutcome(FOUR[0], "x", gate)]) is None
