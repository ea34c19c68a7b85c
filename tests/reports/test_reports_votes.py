"""Votes on the page: only counts before all are in; and a whole voting in a real browser."""

from __future__ import annotations

import json
import random
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.reports.test_reports_label_sheet import start
from tunegate.harness.judges.calibrating.voting import VoteCounts, vote_notes
from tunegate.harness.records.ballots import Ballot
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.verdict import Verdict
from tunegate.reports.page import render_page

N = 30
SUITE = """\
name = "replies"
cases = "cases.jsonl"
[[metrics]]
use = "preferred"
[[gates]]
metric = "preferred"
gain = 0.1
"""


@pytest.fixture(name="run")
def _run(project: Any) -> Path:
    """Return a run of 30 cases on which base is curt and tuned is kind."""
    words = ["parcel", "letter", "order", "crate", "bag", "pallet", "invoice", "refund", "voucher"]
    rng = random.Random(3)
    cases = [{"id": f"c{i:02}", "prompt": f"Where is {words[i % 9]} {i}?"} for i in range(N)]
    project.raw_suite(SUITE, cases, "replies")
    options = []
    for arm, begin in {"base": "Who knows,", "tuned": "Thank you! We look for"}.items():
        texts = {case["id"]: f"{begin} {' '.join(rng.sample(words, 4))}." for case in cases}
        Path(f"{arm}.json").write_text(json.dumps({"completions": texts}), encoding="utf-8")
        options.append(f"--gate-{arm}=scripted:{arm}.json")
    project.gate(*options)
    folder: Path = project.run
    return folder


def section(run: Path) -> str:
    """Return the votes on the page."""
    page = render_page(Run.load(run))
    return page.split(">Votes<", 2)[-1].split("</section>")[0]


def test_the_page_shows_no_result_before_all_votes_are_in(project: Any, run: Path) -> None:
    assert "Nobody has voted" in section(run)

    project.tunegate("judge", "label", run, "--reviewers", "2")
    ballots = [json.loads(line) for line in (run / "votes.jsonl").read_text().splitlines()]
    for ballot in ballots:
        ballot["votes"] = {"Anna": ballot["left"] and "left"}
    (run / "votes.jsonl").write_text("".join(f"{json.dumps(x)}\n" for x in ballots))
    assert "0 of 30 cases have all their votes" in section(run)
    assert "Anna" not in section(run)

    for place, ballot in enumerate(ballots):
        ballot["votes"]["Ben"] = ("left", "tie")[place % 2]
    (run / "votes.jsonl").write_text("".join(f"{json.dumps(x)}\n" for x in ballots))
    shown = section(run)
    assert "Anna" in shown
    assert "Krippendorff" in shown
    assert "the answer on the left won 100% of 45 decided votes" in shown.lower()


def test_a_reviewer_with_a_hostile_name_stays_text(project: Any, run: Path) -> None:
    project.tunegate("judge", "label", run)
    ballots = [json.loads(line) for line in (run / "votes.jsonl").read_text().splitlines()]
    for ballot in ballots:
        ballot["votes"] = {"<script>alert(1)</script>": "tie"}
    (run / "votes.jsonl").write_text("".join(f"{json.dumps(x)}\n" for x in ballots))

    assert "<script>alert(1)" not in section(run)
    assert "&lt;script&gt;alert(1)" in section(run)


def test_thirty_votes_closed_at_eleven_and_gone_on_with_end_in_a_verdict(
    project: Any, run: Path, browser: Any
) -> None:
    """The tab is closed and the server ended after 11 votes; both come back, and 19 follow."""

    def serve() -> tuple[Any, str]:
        server = project.start("judge", "label", run, "--serve")
        return server, next(line for line in server.stdout if line.startswith("http")).strip()

    def vote(address: str, n: int, place: int) -> None:
        """Vote for the kind answer, with the keys."""
        tab = browser.new_page()
        tab.goto(address)
        start(tab, "Anna")
        tab.wait_for_selector("#sheet", state="visible")
        assert tab.text_content("#place") == f"pair {place} · {place - 1} of 30 voted"
        for voted in range(place, place + n):
            sides = json.loads(tab.text_content("#data"))["rows"][voted - 1]
            with tab.expect_response("**/choice") as kept:
                tab.keyboard.press("1" if sides["left"].startswith("Thank") else "3")
            assert kept.value.status == 200
        tab.close()

    first, address = serve()
    vote(address, 11, 1)
    first.send_signal(signal.SIGINT)
    assert "11 of 30 ballots" in first.communicate(timeout=60)[0]
    assert project.verdict()["verdict"] == Verdict.UNDECIDED

    second, address = serve()
    vote(address, 19, 12)
    second.send_signal(signal.SIGINT)
    assert "SHIP" in second.communicate(timeout=60)[0]
    assert project.verdict()["verdict"] == Verdict.SHIP


def ballots_of(*votes: tuple[str, tuple[str, ...]]) -> list[Ballot]:
    """Return ballots from the arm on the left and the votes of A, B …"""
    return [
        Ballot.model_validate(
            {"suite": "s", "metric": "m", "id": str(i), "left": left, "reviewers": len(choices),
             "votes": dict(zip("AB", choices, strict=False))}
        )
        for i, (left, choices) in enumerate(votes)
    ]  # fmt: skip


def test_counts_are_of_votes() -> None:
    counts = VoteCounts.of(
        ballots_of(
            ("tuned", ("left", "tie")), ("base", ("left", "right")), ("base", ("tie", "tie"))
        )
    )

    assert (counts.wins, counts.ties, counts.losses, counts.left) == (2, 3, 1, 2)
    assert counts.by == {"A": {"tuned": 1, "base": 1, "tie": 1}, "B": {"tie": 2, "tuned": 1}}


@pytest.mark.parametrize(("left", "noted"), [(15, False), (21, False), (24, True), (6, True)])
def test_a_side_that_wins_too_often_is_noted(left: int, noted: bool) -> None:
    """30 votes: beyond 22 or below 8, a coin does so in less than 1 %."""
    ballots = ballots_of(*[("tuned", ("left",))] * left, *[("tuned", ("right",))] * (30 - left))

    assert any("left" in note for note in vote_notes(VoteCounts.of(ballots))) is noted


def test_agreement_is_high_where_both_prefer_tuned() -> None:
    """38 of 40 pairs of votes are for tuned, on sides that a coin chose: agreement on 38."""
    both = [("tuned", ("left", "left")), ("base", ("right", "right"))] * 19
    counts = VoteCounts.of(
        ballots_of(*both, ("tuned", ("left", "right")), ("base", ("right", "left")))
    )

    # Of 80 votes 40 are for each side; two pairs of 40 disagree.
    assert counts.alpha == pytest.approx(1 - (2 / 40) / (2 * 40 * 40 / (80 * 79)))
    assert list(vote_notes(counts)) == []


def test_reviewers_who_contradict_each_other_are_noted() -> None:
    ballots = ballots_of(*[("tuned", ("left", "right")), ("base", ("left", "right"))] * 20)

    assert any("hardly agree" in note for note in vote_notes(VoteCounts.of(ballots)))
