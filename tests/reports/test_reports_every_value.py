"""Rules on every value of a key on the page, in JUnit and in the terminal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from tunegate.harness.decision.gating.every_value import mark_worst
from tunegate.harness.decision.verdict.verdict_lines import verdict_lines
from tunegate.harness.records.run_folder import Run
from tunegate.reports import page
from tunegate.reports.charts import draw_interval
from tunegate.reports.junit import render_junit

VALUES = {"de": 0.10, "fr": 0.02, "es": 0.06}


def with_rule(run: Run) -> Run:
    """Return the run with a tolerance as a rule on three languages, the worst marked."""
    suite, *others = run.verdict.suites
    first = next(gate for gate in suite.gates if gate.kind == "tolerance")
    parts = tuple(
        first.model_copy(
            update={
                "tag": f"language:{name}",
                "every": "language",
                "delta": gain,
                "low": gain - 0.01,
                "high": gain + 0.01,
                "p_value": 0.04 - gain / 4,
            }
        )
        for name, gain in VALUES.items()
    )
    changed = suite.model_copy(update={"gates": mark_worst(parts)})
    return replace(run, verdict=run.verdict.model_copy(update={"suites": (changed, *others)}))


def test_the_page_shows_each_value_with_the_worst_first(make_run: Any) -> None:
    text = page.render_page(with_rule(make_run("SHIP")))
    section = text.partition('id="every-value"')[2].partition("</section>")[0]

    assert [name for name in ("fr", "de", "es") if f'scope="row">{name}' in section] == [
        "fr",
        "de",
        "es",
    ]
    assert section.index('scope="row">fr') < section.index('scope="row">de')
    assert section.count('<span class="chip">worst</span>') == 1
    assert "by language" in section
    assert "range 0.08</span>" in section
    assert section.count('<svg class="ci"') == 3
    assert 'id="every-value"' not in page.render_page(make_run("SHIP"))


def test_the_intervals_of_a_rule_have_one_scale(make_run: Any) -> None:
    gates = with_rule(make_run("SHIP")).verdict.suites[0].gates[:3]
    alone = [draw_interval(gate) for gate in gates]
    together = [draw_interval(gate, gates) for gate in gates]

    assert len({d.margin.x for d in together if d and d.margin}) == 1
    assert together[0] == alone[0]  # the widest needs no more room
    assert together[1] is not None
    assert together[1].point < (alone[1].point if alone[1] else 0)


def test_junit_marks_the_worst_value(make_run: Any) -> None:
    root = ET.fromstring(render_junit(with_rule(make_run("SHIP"))))
    marked = [
        case.get("name", "")
        for case in root.iter("testcase")
        if case.find("properties/property[@name='worst']") is not None
    ]

    assert [name.partition("[")[2] for name in marked] == ["language:fr]"]
    assert len(root.findall(".//property[@name='every']")) == 3


def test_the_terminal_has_a_row_for_the_worst_and_a_line_for_all(make_run: Any) -> None:
    run = with_rule(make_run("SHIP"))
    lines = list(verdict_lines(run.verdict, run.manifest, Path("runs/r")))

    assert sum("language" in line for line in lines) == 2
    assert any("(worst language: fr)" in line for line in lines)
    assert any("by language: fr +0.02 (n = 59), de +0.1" in line for line in lines)
