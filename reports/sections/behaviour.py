"""Cost and behaviour: what the answers took, and how they look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunegate.reports.answer_behaviour import READ, arm_behaviours, length_ratios
from tunegate.reports.data import ReportData
from tunegate.reports.formatting import format_level, format_percent
from tunegate.reports.sections.judge_health import judgement_cost
from tunegate.reports.templating import fill_page_template

if TYPE_CHECKING:
    from markupsafe import Markup

TITLE = "Cost and behaviour"
ORDER = 65


def render(data: ReportData) -> Markup:
    """Return a table of arms for each suite, and what the judges took."""
    found = arm_behaviours(data)
    return fill_page_template(
        "behaviour.html",
        behaviours=found,
        ratios=length_ratios(data),
        batched=any(b.batched for b in found),
        called=any(b.called for b in found),
        read=READ,
        judges=judgement_cost(data.run.judgements),
        share=_share,
    )


def _share(n: int, of: int) -> str:
    """Return a count and what share it is; a dash of nothing."""
    return f"{n:,} ({format_percent(n / of)})" if of else format_level(None)
