"""Voting: people say which of two answers is better, blind, on cases drawn at random.

Which cases are drawn, their order and the side of each arm follow from the run's id, and a case
keeps its side for every reviewer. The votes count when each ballot has those of as many reviewers
as were asked for: a gate that looked earlier could stop at the moment that suits it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from tunegate.harness.contracts.judge import format_conversation
from tunegate.harness.judges.calibrating.labelling import N_CASES, LabellingSubject
from tunegate.harness.records.ballots import VOTES_FILE, Ballot, Choice, votings
from tunegate.harness.records.errors import UsageError, refuse_unreadable
from tunegate.harness.records.files import write_atomic
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.jsonl import record_lines
from tunegate.harness.records.labels import ARMS, Label
from tunegate.harness.records.wording import count_noun

CHOICES: tuple[Choice, ...] = get_args(Choice)
LARGEST_FILE = 8 * 2**20
"""Bytes of a file of votes: the notes of a whole report fit."""
LONGEST_NAME = 60
"""Characters of a reviewer's name."""


@dataclass(frozen=True)
class Voting:
    """The ballots on one metric of a run."""

    subject: LabellingSubject
    ballots: tuple[Ballot, ...]

    @classmethod
    def of(cls, subject: LabellingSubject) -> Voting:
        """Return the ballots drawn so far."""
        key = subject.suite, subject.metric.name
        drawn = votings(subject.run.ballots).get(key, ())
        return cls(subject, tuple(sorted(drawn, key=lambda ballot: _place(subject, ballot.id))))

    @property
    def open_ballots(self) -> int:
        """Ballots that lack a vote."""
        return sum(not ballot.complete for ballot in self.ballots)

    @property
    def shown(self) -> tuple[Ballot, ...]:
        """The ballots that people see: those whose answers differ."""
        return tuple(ballot for ballot in self.ballots if ballot.left is not None)

    def draw(self, n: int | None, reviewers: int | None) -> Voting:
        """Return a voting on `n` cases; one that was drawn before stays as it is.

        Args:
            n: Cases; None for 100, or as many as before.
            reviewers: Reviewers who vote on each; None for one, or as many as before.

        Raises:
            UsageError: no case can be voted on, or another number was drawn before.
        """
        answers = self.subject.answers()
        if not answers:
            raise UsageError(
                f"{self.subject.run.folder}: {self.subject.suite} has no case that both arms "
                "answered once; cases with several samples cannot be voted on"
            )
        if self.ballots:
            before = len(self.ballots), self.ballots[0].reviewers
            if (min(n or before[0], len(answers)), reviewers or before[1]) != before:
                raise UsageError(
                    f"{self.subject.run.folder / VOTES_FILE}: {count_noun(before[0], 'case')} for "
                    f"{count_noun(before[1], 'reviewer')} are drawn already, and more of either "
                    f"would depend on the votes; use --n {before[0]} --reviewers {before[1]}"
                )
            return self
        chosen = sorted(answers, key=lambda case: _place(self.subject, case))[: n or N_CASES]
        return replace(
            self,
            ballots=tuple(
                Ballot(
                    suite=self.subject.suite,
                    metric=self.subject.metric.name,
                    id=case,
                    left=None if len(set(answers[case].values())) == 1 else _left(self, case),
                    reviewers=reviewers or 1,
                )
                for case in chosen
            ),
        )

    def rows(self) -> list[dict[str, Any]]:
        """Return what people see of each ballot: nothing in it names an arm."""
        answers = self.subject.answers()
        return [
            {
                "suite": ballot.suite,
                "id": ballot.id,
                "prompt": format_conversation(case),
                "context": case.context,
                "left": answers[ballot.id][str(ballot.left)],
                "right": answers[ballot.id]["base" if ballot.left == "tuned" else "tuned"],
            }
            for ballot in self.shown
            for case in [self.subject.run.cases[ballot.suite, ballot.id].case]
        ]

    @property
    def key(self) -> str:
        """Name of the sheet."""
        return sha256([(ballot.suite, ballot.id, ballot.left) for ballot in self.ballots])[:16]

    def add(self, by: str, choices: Mapping[str, Choice]) -> Voting:
        """Return the voting with a reviewer's votes, which replace earlier ones.

        Raises:
            UsageError: all votes were in before, and these are others.
        """
        by = reviewer_name(by)
        ballots = tuple(
            ballot.model_copy(update={"votes": {**ballot.votes, by: choices[ballot.id]}})
            if ballot.id in choices and ballot.left is not None
            else ballot
            for ballot in self.ballots
        )
        if not self.open_ballots and ballots != self.ballots:
            raise UsageError(
                f"{self.subject.run.folder / VOTES_FILE}: all votes on {self.subject.suite} were "
                "in before, and the verdict shows them; later ones don't count"
            )
        return replace(self, ballots=ballots)

    def save(self) -> None:
        """Write the ballots into the run folder, beside those on other metrics."""
        key = self.subject.suite, self.subject.metric.name
        others = votings(self.subject.run.ballots)
        others.pop(key, None)
        lines = [*(ballot for drawn in others.values() for ballot in drawn), *self.ballots]
        write_atomic(self.subject.run.folder / VOTES_FILE, record_lines(lines))

    def labels(self, judge_metric: str) -> list[Label]:
        """Return the votes as labels of both answers, which correct a pairwise judge."""
        answers = self.subject.answers()
        return [
            Label(
                suite=ballot.suite,
                metric=judge_metric,
                id=ballot.id,
                arm=arm,
                completion=answers[ballot.id][arm],
                label=(1 + sign * mean) / 2,
            )
            for ballot in self.ballots
            for mean in [sum(ballot.advantages) / len(ballot.advantages)]
            for arm, sign in (("base", -1), ("tuned", 1))
        ]


def _place(subject: LabellingSubject, case: str) -> str:
    """Return the key that sorts cases into the order of the draw."""
    return sha256(["ballot", subject.run.manifest.run_id, subject.suite, case])


def _left(voting: Voting, case: str) -> str:
    """Return the arm on the left: a coin of the run and the case."""
    run_id = voting.subject.run.manifest.run_id
    return ("base", "tuned")[int(sha256(["left", run_id, voting.subject.suite, case]), 16) % 2]


def reviewer_name(name: str) -> str:
    """Return a reviewer's name.

    Raises:
        UsageError: it is empty, too long, or not visible.
    """
    if not (0 < len(name) <= LONGEST_NAME and name.isprintable() and name == name.strip()):
        raise UsageError(
            f"reviewer {name[:80]!r}: a name has 1 to {LONGEST_NAME} visible characters; give one "
            "with --by NAME"
        )
    return name


def read_votes(voting: Voting, path: Path, by: str) -> Voting:
    """Return the voting with the votes of a file: of the sheet, or of the report's key `b`.

    Args:
        voting: The voting; its ballots are drawn.
        path: What the sheet or the report saved.
        by: Reviewer's name; "" takes the file's, or its file name.

    Raises:
        UsageError: it is no such file, or not of this run and sheet, or votes twice on a case.
    """
    review = _read_review(path)
    run_id = voting.subject.run.manifest.run_id
    if review.get("run_id") != run_id:
        raise UsageError(
            f"{path}: run_id={review.get('run_id')!r:.80} is another run; this is {run_id!r}"
        )
    from_report = "cases" in review
    votes = list(_votes_of(review))
    drawn = {(ballot.suite, ballot.id): ballot for ballot in voting.ballots}
    strange = [case for suite, case, _ in votes if (suite, case) not in drawn]
    if strange and not from_report:
        raise UsageError(
            f"{path}: {count_noun(len(strange), 'vote')} on cases that were not drawn "
            f"({strange[0]!r:.80}): the sheet is of another suite or draw"
        )
    choices: dict[str, Choice] = {}
    for suite, case, chosen in votes:
        if (suite, case) not in drawn:
            continue  # the report shows every case
        choice = _side(drawn[suite, case], chosen) if from_report else chosen
        if choice not in CHOICES:
            allowed = ", ".join(("base", "tie", "tuned") if from_report else CHOICES)
            raise UsageError(f"{path}: {case!r:.80}: {chosen!r:.80} must be one of {allowed}")
        if choices.setdefault(case, choice) != choice:
            raise UsageError(f"{path}: {case!r:.80} has two different votes; keep one")
    if not choices:
        raise UsageError(f"{path}: no vote on a drawn case of {voting.subject.suite}")
    return voting.add(by or str(review.get("by") or path.stem), choices)


def _read_review(path: Path) -> Mapping[str, Any]:
    with refuse_unreadable(path, "give a file that the sheet or the report saved"):
        size = path.stat().st_size
        text = path.read_text(encoding="utf-8") if size <= LARGEST_FILE else None
    if text is None:
        raise UsageError(f"{path}: {size:,} bytes, and a file of votes has up to {LARGEST_FILE:,}")
    try:
        review = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not JSON: {error}; save the votes again") from error
    kinds = [kind for kind in ("votes", "cases") if isinstance(review, dict) and kind in review]
    rows = review[kinds[0]] if len(kinds) == 1 else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UsageError(f"{path}: not a file of votes; save it on the sheet or in the report")
    if review.get("schema_version") != 1:
        raise UsageError(
            f"{path}: schema_version={review.get('schema_version')!r:.40}; this version reads 1"
        )
    return dict(review)


def _votes_of(review: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield suite, case and choice of each vote; the report has rows without a vote."""
    if "votes" in review:
        rows = [(row, row.get("choice")) for row in review["votes"]]
    else:
        rows = [(row, row["better"]) for row in review["cases"] if "better" in row]
    yield from ((str(row.get("suite")), str(row.get("case")), choice) for row, choice in rows)


def _side(ballot: Ballot, better: Any) -> Any:
    """Return the side of the ballot on which the better arm's answer is."""
    if better not in ARMS:
        return better if better == "tie" else None
    return "left" if better == ballot.left else "right"


@dataclass(frozen=True)
class VoteCounts:
    """What the votes on a metric say."""

    n: int
    """Ballots."""
    same: int
    """Ballots with equal answers: ties without a vote."""
    wins: int
    """Votes for tuned."""
    ties: int
    losses: int
    """Votes for base."""
    left: int
    """Votes for the answer on the left."""
    by: Mapping[str, Mapping[str, int]]
    """Reviewer → what the votes were for → how many."""
    alpha: float | None
    """Krippendorff's alpha of left, tie and right; None with one vote a case, or one choice."""

    @classmethod
    def of(cls, ballots: Sequence[Ballot]) -> VoteCounts:
        """Count votes."""
        from tunegate.harness.stats.agreement import krippendorff_alpha

        shown = [ballot for ballot in ballots if ballot.left is not None]
        votes = [
            (by, _OF[advantage], choice)
            for ballot in shown
            for (by, choice), advantage in zip(ballot.votes.items(), ballot.advantages, strict=True)
        ]
        total = Counter(arm for _, arm, _ in votes)
        names = sorted({by for by, _, _ in votes})
        return cls(
            n=len(ballots),
            same=len(ballots) - len(shown),
            wins=total["tuned"],
            ties=total["tie"],
            losses=total["base"],
            left=sum(choice == "left" for _, _, choice in votes),
            by={name: Counter(arm for by, arm, _ in votes if by == name) for name in names},
            # Of sides: a coin puts each arm on one, so that a chance agreement does not grow with
            # the share of votes that an arm gets.
            alpha=krippendorff_alpha([tuple(ballot.votes.values()) for ballot in shown]),
        )


_OF: Mapping[float, str] = {1.0: "tuned", 0.0: "tie", -1.0: "base"}


def vote_notes(counts: VoteCounts) -> Iterable[str]:
    """Yield what speaks against the votes: a side that wins too often, or no agreement."""
    from tunegate.harness.stats.binary import clopper_pearson

    decided = counts.wins + counts.losses
    if decided:
        share = clopper_pearson(counts.left, decided, confidence=0.99)
        if not share.low <= 0.5 <= share.high:
            yield (
                f"the answer on the left won {share.estimate:.0%} of {decided} decided votes: "
                "reviewers may not have read both"
            )
    if counts.alpha is not None and counts.alpha < LEAST_ALPHA:
        yield (
            f"reviewers hardly agree (alpha {counts.alpha:.2f}): say in the question what makes "
            "an answer better"
        )


LEAST_ALPHA = 0.2
"""Agreement below which a note is due: "slight" by Landis and Koch (1977), Biometrics 33:159."""
