"""Votes: what people prefer, how far reviewers agree, and what speaks against their votes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunegate.harness.records.ballots import votings
from tunegate.reports.data import ReportData
from tunegate.reports.templating import fill_page_template

if TYPE_CHECKING:
    from markupsafe import Markup

    from tunegate.harness.judges.calibrating.voting import VoteCounts

TITLE = "Votes"
ORDER = 54


@dataclass(frozen=True, slots=True)
class VotingView:
    """The votes on one metric."""

    suite: str
    metric: str
    drawn: int
    """Cases that were drawn; 0 before a sheet was written."""
    reviewers: int
    open: int
    """Drawn cases that lack a vote."""
    counts: VoteCounts | None
    """What the votes say; None until all are in, so that nobody votes for a result."""
    notes: tuple[str, ...]
    """What speaks against the votes."""


def render(data: ReportData) -> Markup:
    """Return the votes on each metric that people vote on."""
    return fill_page_template("votes.html", views=_views(data), folder=data.run.folder.name)


def _views(data: ReportData) -> list[VotingView]:
    from tunegate.harness.judges.calibrating.voting import VoteCounts, vote_notes

    ballots = votings(data.run.ballots)
    suites = data.run.manifest.suites
    asked = dict.fromkeys(((s.name, m.name) for s in suites for m in s.metrics if m.votes), ())
    views = []
    for (suite, metric), drawn in {**asked, **ballots}.items():
        missing = sum(not ballot.complete for ballot in drawn)
        counts = VoteCounts.of(drawn) if drawn and not missing else None
        views.append(
            VotingView(
                suite=suite,
                metric=metric,
                drawn=len(drawn),
                reviewers=drawn[0].reviewers if drawn else 0,
                open=missing,
                counts=counts,
                notes=() if counts is None else tuple(vote_notes(counts)),
            )
        )
    return views
