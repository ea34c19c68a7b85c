"""`tunegate judge label` on a metric that compares pairs: a sheet of ballots, and its votes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tunegate.harness.cli._decide_again import decided_again
from tunegate.harness.cli._output import say
from tunegate.harness.judges.calibrating.voting import Voting, read_votes
from tunegate.harness.records.errors import refuse_unwritable
from tunegate.harness.records.files import write_atomic
from tunegate.harness.records.wording import count_noun

if TYPE_CHECKING:
    from tunegate.harness.cli._label_server import Choice


def write_voting_sheet(voting: Voting, out: Path, question: str) -> None:
    """Draw the ballots and write the page on which people vote."""
    with refuse_unwritable(out, "choose another with --out FILE"):
        write_atomic(out.with_suffix(".html"), render_ballots(voting, question, None))
    voting.save()
    say(f"{_describe(voting)}: {votes_needed(voting)}")
    say(f"  {out.with_suffix('.html')}")
    say(f"then: tunegate judge label {voting.subject.run.folder} --read FILE, for each reviewer")


def _describe(voting: Voting) -> str:
    same = len(voting.ballots) - len(voting.shown)
    ties = f", {same} more with equal answers (ties)" if same else ""
    return f"{count_noun(len(voting.shown), 'pair')} of answers, drawn at random, blind{ties}"


def votes_needed(voting: Voting) -> str:
    """Return how many votes prove the metric's strictest gate, at two true shares of the votes."""
    from tunegate.harness.stats.power import binary_sample_size

    margin = _strictest_margin(voting)
    parts = []
    for above in (0.15, 0.25):
        share = min((1 + margin) / 2 + above, 1.0)
        if 2 * share - 1 > margin:
            design = binary_sample_size(effect=2 * share - 1, discordance=1.0, margin=margin)
            parts.append(f"{design.n} if {share:.0%} of them are for tuned")
    return f"decided votes that prove it in 4 of 5 runs: {', '.join(parts) or 'no number'}"


def _strictest_margin(voting: Voting) -> float:
    """Return the largest advantage that a gain or tolerance asks to exceed; 0 without one."""
    records = voting.subject.run.manifest.suites
    suite = next(suite for suite in records if suite.name == voting.subject.suite)
    signs = {"gain": 1, "tolerance": -1}
    margins = [
        signs[gate.kind] * gate.margin
        for gate in suite.gates
        if gate.metric == voting.subject.metric.name and gate.kind in signs
        if not isinstance(gate.margin, str)
    ]
    return max(margins, default=0.0)


def render_ballots(voting: Voting, question: str, served_to: str | None) -> str:
    """Return the page."""
    from tunegate.reports.label_sheet import render_voting_sheet

    reviewers = voting.ballots[0].reviewers
    return render_voting_sheet(
        voting.rows(),
        run_id=voting.subject.run.manifest.run_id,
        key=voting.key,
        title=f"{voting.subject.suite}: {voting.subject.metric.name}",
        question=question,
        note=f"The votes count when {count_noun(reviewers, 'reviewer')} voted on every pair.",
        served_to=served_to,
    )


class ServedVoting:
    """A voting whose votes are saved as they are cast."""

    def __init__(self, voting: Voting) -> None:
        """Take the votes that were cast before."""
        self.voting = voting

    def read(self, by: str) -> dict[int, Choice]:
        """Return a reviewer's votes: row → choice."""
        votes = (ballot.votes.get(by) for ballot in self.voting.shown)
        return {row: choice for row, choice in enumerate(votes) if choice is not None}

    def keep(self, by: str, row: int, choice: Choice) -> None:
        """Save a vote."""
        changed = self.voting.add(by, {self.voting.shown[row].id: choice})  # type: ignore[dict-item]
        changed.save()
        self.voting = changed


def serve_voting(voting: Voting, question: str, by: str, port: int) -> None:
    """Let people vote until Ctrl-C, then decide the run again if all votes are in."""
    from tunegate.harness.cli._label_server import ServedSheet, serve_until_stopped
    from tunegate.harness.judges.calibrating.voting import CHOICES
    from tunegate.harness.run.folder_lock import FolderLock

    with FolderLock(voting.subject.run.folder):
        voting.save()
        served = ServedVoting(voting)
        page = render_ballots(voting, question, by)
        say(f"{_describe(voting)}: {votes_needed(voting)}")
        serve_until_stopped(
            ServedSheet(page, len(voting.shown), CHOICES, served.read, served.keep), port
        )
        _conclude(served.voting)


def read_voting_files(voting: Voting, paths: Iterable[Path], by: str) -> None:
    """Read files of votes, all or none, and decide the run again if all votes are in."""
    from tunegate.harness.run.folder_lock import FolderLock

    with FolderLock(voting.subject.run.folder):
        for path in paths:
            voting = read_votes(voting, path, by)
        voting.save()
        _conclude(voting)


def _conclude(voting: Voting) -> None:
    """Say how many votes are in; with all of them, decide the run again."""
    from tunegate.harness.records.run_folder import Run
    from tunegate.harness.run.folder_writer import RunFolderWriter

    folder = voting.subject.run.folder
    done = len(voting.ballots) - voting.open_ballots
    say(f"{done} of {count_noun(len(voting.ballots), 'ballot')} have all their votes")
    if voting.open_ballots:
        say("the votes count when all have")
        return
    run = Run.load(folder)
    suite = next(suite for suite in run.manifest.suites if suite.name == voting.subject.suite)
    judges = [metric.name for metric in suite.metrics if metric.judge and metric.judge.pairs]
    labels = [label for judge in judges for label in voting.labels(judge)]
    if labels:
        before = {(x.suite, x.metric, x.id, x.arm): x for x in run.labels}
        now = {(x.suite, x.metric, x.id, x.arm): x for x in labels}
        RunFolderWriter(folder).write_lines("labels.jsonl", (before | now).values())
    decided = decided_again(folder)
    say(f"{decided.verdict.verdict.value}: {decided.verdict.sentence}")
