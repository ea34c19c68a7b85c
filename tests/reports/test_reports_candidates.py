"""compare.html and compare.md: complete, escaped, the same each time; and the drawing's places."""

from __future__ import annotations

import re

import pytest
from markdown_it import MarkdownIt

from tests.compared_runs import GOAL, GUARD, candidate, column, poisoned, run_of
from tunegate.harness.decision.candidates.rank import compare_runs
from tunegate.harness.records.candidates import CandidateComparison
from tunegate.reports import candidates
from tunegate.reports.axis import AxisScale, tick_text
from tunegate.reports.candidates import FOREST_WIDTH, gate_overview, gate_tables, render_page
from tunegate.reports.pareto import draw_pareto


@pytest.fixture(scope="module")
def compared() -> CandidateComparison:
    """Return a comparison of four candidates: one is beaten, one is blocked."""
    return compare_runs(
        [
            candidate("rank-4", 55, kept=89),
            candidate("rank-16", 70, kept=88),
            candidate("rank-64", 80, kept=70),
            candidate("rank-8", 60, kept=87),
        ]
    )


def test_the_page_holds_every_number(compared: CandidateComparison) -> None:
    page = render_page(compared)

    for one in compared.candidates:
        assert one.spec in page
        assert one.run_id in page
    assert page.count("→ <b") == len(compared.duels) == 6 * 2
    assert len(re.findall(r'<svg class="fo"', page)) == 4 * 2
    assert all(note.split(":")[0] in page for note in compared.notes)
    assert render_page(compared) == page


def test_three_gates_or_more_are_shown_side_by_side(
    compared: CandidateComparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gate_overview(compared) == []
    monkeypatch.setattr(candidates, "LEAST", 2)
    rows = gate_overview(compared)

    assert len(rows) == 2
    assert all(len(results) == 4 for _, results in rows)
    page, text = render_page(compared), candidates.render_markdown(compared)
    assert "### Every gate" in text
    for name, results in rows:
        assert name in page
        assert name in text
        assert all(result in page and result in text for result in results)


def test_the_page_runs_and_fetches_nothing(compared: CandidateComparison) -> None:
    page = render_page(compared)

    assert "<script" not in page
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src &#39;none&#39;; style-src &#39;sha256-")
    assert "script-src" not in policy[1]
    assert re.findall(r'(?:src|href)="(?!#|data:)', page) == []


def test_hostile_texts_stay_texts(payloads: tuple[str, ...]) -> None:
    for payload in payloads:
        found = poisoned(payload)
        page, text = render_page(found), candidates.render_markdown(found)

        assert "<script" not in page
        assert page.count("<style>") == 1
        assert "pwned=1>" not in page.replace("&gt;", "")
        assert not re.search(r"<(?:img|iframe|base|form|svg onload)", page)
        assert "\u202e" not in page + text
        parsed = MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)
        inner = [t for token in parsed for t in (token, *(token.children or ()))]
        acts = {"link_open", "image", "html_block", "html_inline"}
        assert acts & {token.type for token in inner} == set()


def test_the_markdown_has_both_tables(compared: CandidateComparison) -> None:
    """A row a candidate and a row a pair; verdicts are words, not colours."""
    text = candidates.render_markdown(compared)
    rows = [line for line in text.splitlines() if line.startswith("| ")]

    assert text.startswith("### ✓ tunegate compare: SHIP\n")
    assert len(rows) == 2 + 4 + 2 + 12
    assert "| C | `out/rank-64` | `runs/rank-64` | ✕ BLOCK | ✕ BLOCK | +50.0 points |" in text


def test_gates_on_tags_are_told_apart() -> None:
    gates = [GOAL, GUARD, *(GUARD.model_copy(update={"tag": tag}) for tag in ("short", "long"))]
    tags = ["short", "long"] * 50
    runs = [candidate(name, n, gates=gates, tags=tags) for name, n in (("low", 55), ("high", 80))]

    text = candidates.render_markdown(compare_runs(runs))

    assert "| `kept` on `short` |" in text
    assert "| `kept` on `long` |" in text


def test_the_drawing_puts_each_candidate_in_its_place(compared: CandidateComparison) -> None:
    drawing = draw_pareto(compared)
    assert drawing is not None
    low, middle, high, _ = drawing.crosses

    assert high.y < middle.y < low.y
    assert low.x < middle.x < high.x
    assert [c.beaten for c in drawing.crosses] == [False, False, False, True]
    assert [c.chosen for c in drawing.crosses] == [False, True, False, False]
    for cross in drawing.crosses:
        assert cross.left <= cross.x <= cross.right
        assert cross.top <= cross.y <= cross.bottom
    # The zone ends at a whole tolerance and at the gain of 0.1: B stands within, C does not.
    left, top, width, height = drawing.zone
    assert left + width < high.x
    assert middle.x < left + width
    assert middle.y < top + height
    assert "D: solved +30.0 points" in drawing.label
    assert "beaten on both by B" in drawing.label


def test_letters_of_equal_candidates_stand_apart() -> None:
    drawing = draw_pareto(compare_runs([candidate(n, 60) for n in ("a", "b", "c")]))
    assert drawing is not None

    assert len({cross.label for cross in drawing.crosses}) == 3


def test_without_two_axes_there_is_no_drawing() -> None:
    """A suite without a guardrail has nothing to forget by; the page says so with a dash."""
    goal = candidate("x", 60).manifest.suites[0].gates[:1]
    runs = [run_of(n, {"solved": (column(30), column(60))}, gates=goal) for n in "ab"]
    found = compare_runs(runs)

    assert draw_pareto(found) is None
    assert '<figure class="plot">' not in render_page(found)


def test_a_gates_intervals_share_a_scale(compared: CandidateComparison) -> None:
    """The bound stands in one place in all rows; wider intervals are longer lines."""
    table = next(t for t in gate_tables(compared) if t.gate.metric == "kept")

    assert len({row.bound for _, _, row in table.rows}) == 1
    assert len({row.reference for _, _, row in table.rows}) == 1
    ends = [(row.low, row.high) for _, _, row in table.rows]
    assert all(0 <= low <= high <= FOREST_WIDTH for low, high in ends)
    assert table.rows[2][2].point < table.rows[1][2].point  # type: ignore[operator]


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.0, 1.0], ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        ([-0.3, 0.1], ["−0.3", "−0.2", "−0.1", "0", "0.1"]),
        ([0.0, 250.0], ["0", "50", "100", "150", "200", "250"]),
    ],
)
def test_ticks_are_round(values: list[float], ticks: list[str]) -> None:
    """1, 2 or 5 times a power of ten apart, within the scale."""
    assert [tick_text(t) for t in AxisScale.over(values, 0, 100).ticks()] == ticks


def test_equal_values_stand_in_the_middle() -> None:
    assert AxisScale.over([3.0, 3.0], 0, 100).at(3.0) == 50
    assert AxisScale.over([], 0, 100).at(0.0) == 50
