"""Comparisons of further arms that have no section of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunegate.harness.contracts.further_arm import comparison_results
from tunegate.harness.records.verdict import ArmResult
from tunegate.reports.data import ReportData
from tunegate.reports.escaping import escape_markdown
from tunegate.reports.formatting import FACES
from tunegate.reports.markdown import GATES, count_rest, format_table, gate_row
from tunegate.reports.sections import discover_sections
from tunegate.reports.templating import fill_page_template

if TYPE_CHECKING:
    from markupsafe import Markup

TITLE = "Further arms"
ORDER = 16


def render(data: ReportData) -> Markup:
    """Return the sentence, facts and gates of each arm; nothing where each has its own section."""
    return fill_page_template(
        "further_arms.html",
        arms={
            name: (result, [gate.sentence for _, gate in result.decided_gates()])
            for name, result in _without_section(data).items()
        },
        specs={name: arm.spec for name, arm in data.arms.items()},
        faces=FACES,
    )


def summarize(data: ReportData) -> str:
    """Return the same in Markdown."""
    return "\n\n".join(_summary(name, found) for name, found in _without_section(data).items())


def _without_section(data: ReportData) -> dict[str, ArmResult]:
    own = discover_sections()
    found = comparison_results(data.run.verdict)
    return {name: result for name, result in found.items() if name not in own}


def _summary(name: str, result: ArmResult) -> str:
    face = FACES[result.verdict]
    facts = [
        f"- {escape_markdown(fact)}: {escape_markdown(str(value))}"
        for fact, value in result.facts.items()
        if fact != "verdict"
    ]
    title = f"{face.sign} **{escape_markdown(name)}**: {escape_markdown(result.sentence)}"
    lines = [title, *(["", *facts] if facts else [])]
    gates = list(result.decided_gates())
    if gates:
        head = ("result", "suite", "metric", "rule", name, "tuned", "difference", "interval", "n")
        table = format_table(head, (gate_row(suite, gate) for suite, gate in gates[:GATES]))
        lines += ["", table, *count_rest(len(gates) - GATES, "gate")]
    return "\n".join(lines)
