"""A run as the output of a notebook's cell: verdict, typical cases, gates.

It has no script, and takes the text's colour from the notebook, so that it fits every theme.
"""

from __future__ import annotations

from functools import partial

from tunegate.harness.decision.verdict.next_step import next_step
from tunegate.harness.decision.verdict.verdict_lines import sorted_gates, verdict_notes
from tunegate.harness.records.run_folder import Run
from tunegate.reports.case_view import BASE, TUNED
from tunegate.reports.charts import HEIGHT, WIDTH, draw_interval
from tunegate.reports.data import prepare_data
from tunegate.reports.formatting import FACES, REASONS, STATUSES
from tunegate.reports.identity import run_folder
from tunegate.reports.templating import FOLDER, fill_page_template
from tunegate.reports.typical_cases import ON_PAGE, excerpt, typical_cases

GATES = 50
"""Gates that are shown at most."""


def render_notebook(run: Run, report: str) -> str:
    """Return the HTML of a run."""
    from markupsafe import Markup

    data, verdict = prepare_data(run), run.verdict
    style = (FOLDER / "notebook.css").read_text(encoding="utf-8")
    return str(
        fill_page_template(
            "notebook.html",
            style=Markup(style),
            face=FACES[verdict.verdict],
            verdict=verdict,
            arms=[data.arms[name] for name in (BASE, TUNED) if name in data.arms],
            filtered=run.manifest.filtered,
            step=next_step(verdict, run.manifest.suites, run=run_folder(run), report=report),
            gates=sorted_gates(verdict),
            most_gates=GATES,
            statuses=STATUSES,
            reasons=REASONS,
            draw=draw_interval,
            width=WIDTH,
            height=HEIGHT,
            typical=typical_cases(data),
            excerpt=partial(excerpt, limit=ON_PAGE),
            n_planned=sum(suite.n_planned for suite in verdict.suites),
            n_scored=sum(suite.n_scored for suite in verdict.suites),
            notes=list(verdict_notes(verdict)),
            report=report,
        )
    )
