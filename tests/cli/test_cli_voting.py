"""`tunegate judge label` on pairs: from a run without votes to a verdict by people."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_cli_label_server import Program
from tunegate.harness.decision.verdict.redecide import decide_again
from tunegate.harness.records.ballots import VOTES_FILE
from tunegate.harness.records.gate_results import GateReason
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.verdict import Verdict

N = 40
SUITE = """\
name = "replies"
cases = "cases.jsonl"
[[metrics]]
use = "preferred"
[[gates]]
metric = "preferred"
gain = 0.1
"""
THINGS = ("parcel", "letter", "the box of order", "crate", "your shipment", "bag", "pallet no.")
ENDS = ("which left on Monday", "sorry", "and write to you today", "as you asked", "dear customer")


@pytest.fixture(name="voted")
def _voted(project: Any) -> Any:
    """Return a project with a run of 40 cases; on two of them both arms say the same."""
    cases = [{"id": f"c{i:03}", "prompt": f"Where is parcel {i}?"} for i in range(N)]
    project.raw_suite(SUITE, cases, "replies")
    options = []
    for arm, begin in {"base": "No idea about", "tuned": "We look for"}.items():
        begins = ["Please wait for"] * 2 + [begin] * (N - 2)
        texts = {f"c{i:03}": f"{begins[i]} {THINGS[i % 7]} {i}, {ENDS[i % 5]}." for i in range(N)}
        path = project.path / f"{arm}.json"
        path.write_text(json.dumps({"completions": texts}), encoding="utf-8")
        options.append(f"--gate-{arm}=scripted:{path}")
    project.gate(*options)
    return project


def label(project: Any, *options: Any, code: int = 0) -> str:
    """Run the command; return what it prints, all lines of an error as one text."""
    result = project.tunegate("judge", "label", project.run, *options)
    assert result.ret == code, result.outlines + result.errlines
    return "\n".join(result.outlines + result.errlines)


def vote_file(project: Any, by: str, choose: Callable[[int], str] = lambda place: "We") -> Path:
    """Write the votes of a reviewer who prefers the answers that begin as `choose` says."""
    page = (project.run / "label-preferred.html").read_text(encoding="utf-8")
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    votes = [
        {
            "suite": row["suite"],
            "case": row["id"],
            "choice": "tie" if (wanted := choose(place)) == "tie"
            else "left" if row["left"].startswith(wanted) else "right",
        }
        for place, row in enumerate(data["rows"])
    ]  # fmt: skip
    path = project.path / f"{by}.json"
    found = {"schema_version": 1, "run_id": data["run_id"], "sheet": data["key"], "by": by}
    path.write_text(json.dumps({**found, "votes": votes}), encoding="utf-8")
    return path


def change(path: Path, **fields: Any) -> Path:
    """Change fields of a file of votes."""
    path.write_text(json.dumps(json.loads(path.read_text()) | fields), encoding="utf-8")
    return path


def test_a_run_without_votes_is_undecided_and_says_what_to_do(voted: Any) -> None:
    verdict = voted.verdict()
    (gate,) = verdict["suites"][0]["gates"]

    assert (verdict["verdict"], gate["reason"]) == (Verdict.UNDECIDED, GateReason.NOT_VOTED)
    assert "tunegate judge label run --serve" in (voted.run / "report.html").read_text()


def test_the_votes_of_two_reviewers_ship(voted: Any) -> None:
    """Anna always prefers tuned; Ben ties on every second pair: 38 cases, two more are ties."""
    assert "38 pairs of answers" in label(voted, "--reviewers", "2")
    anna = vote_file(voted, "anna")
    ben = vote_file(voted, "ben", lambda place: ("We", "tie")[place % 2])

    assert "2 of 40 ballots" in label(voted, "--read", anna)
    assert voted.verdict()["verdict"] == Verdict.UNDECIDED
    assert "40 of 40 ballots" in label(voted, "--read", ben)
    (gate,) = voted.verdict()["suites"][0]["gates"]
    # 19 cases with two votes for tuned, 19 with one and a tie, 2 ties.
    assert gate["n"] == N
    assert gate["delta"] == pytest.approx((19 + 19 * 0.5) / N)
    assert voted.verdict()["verdict"] == Verdict.SHIP


def test_votes_for_base_do_not_ship(voted: Any) -> None:
    label(voted)
    label(voted, "--read", vote_file(voted, "anna", lambda _: "No"))

    assert voted.verdict()["verdict"] == Verdict.BLOCK
    (gate,) = voted.verdict()["suites"][0]["gates"]
    assert gate["delta"] == pytest.approx(-38 / N)


def test_the_verdict_follows_from_the_votes_alone(voted: Any) -> None:
    """Votes that somebody turned or deleted give another verdict."""
    label(voted)
    label(voted, "--read", vote_file(voted, "anna"))
    assert decide_again(Run.load(voted.run)).verdict == Verdict.SHIP

    file = voted.run / VOTES_FILE
    text = file.read_text()
    file.write_text(text.replace('"anna": "left"', '"anna": "tie"'))
    assert file.read_text() != text
    turned = decide_again(Run.load(voted.run)).suites[0].gates[0]
    file.unlink()
    assert decide_again(Run.load(voted.run)).verdict == Verdict.UNDECIDED
    assert turned.delta is not None
    assert turned.delta < 38 / N


def test_a_verdict_that_its_votes_do_not_give_is_refused(voted: Any) -> None:
    """With and without the suite, whose other scores are computed again."""
    label(voted)
    label(voted, "--read", vote_file(voted, "anna"))
    suite = ("--suite", "suites/replies")
    for options in ((), suite):
        assert voted.tunegate("report", voted.run, *options).ret == 0
    (voted.run / VOTES_FILE).unlink()
    for options in ((), suite):
        assert voted.tunegate("report", voted.run, *options).ret == 2


def test_a_case_keeps_its_sides_when_the_sheet_is_drawn_again(voted: Any) -> None:
    label(voted)
    first = (voted.run / VOTES_FILE).read_bytes()
    (voted.run / VOTES_FILE).unlink()
    label(voted)

    assert (voted.run / VOTES_FILE).read_bytes() == first
    sides = [json.loads(line).get("left") for line in first.splitlines()]
    assert 10 < sides.count("base") < 28
    assert sides.count(None) == 2


def test_the_sheet_says_how_many_votes_its_gate_takes(voted: Any) -> None:
    """A gain of 10 points at 70 and 80 %: the power of a Wald test at full discordance, by hand.

    With z = 1.645 and 0.842, ((1.645 √(1 - 0.1²) + 0.842 √(1 - d²)) / (d - 0.1))² for d = 0.4, 0.6.
    """
    needed = [
        math.ceil(((1.6449 * 0.99**0.5 + 0.8416 * (1 - d * d) ** 0.5) / (d - 0.1)) ** 2)
        for d in (0.4, 0.6)
    ]
    assert f"{needed[0]} if 70% of them are for tuned, {needed[1]} if 80%" in label(voted)


def test_another_number_of_cases_or_reviewers_is_refused(voted: Any) -> None:
    label(voted, "--n", 20)

    assert "use --n 20 --reviewers 1" in label(voted, "--n", 40, code=2)
    assert "use --n 20 --reviewers 1" in label(voted, "--reviewers", 3, code=2)


def test_later_votes_do_not_change_a_verdict(voted: Any) -> None:
    label(voted)
    label(voted, "--read", vote_file(voted, "anna"))
    before = (voted.run / VOTES_FILE).read_bytes()

    assert "all votes" in label(voted, "--read", vote_file(voted, "ben"), code=2)
    assert (voted.run / VOTES_FILE).read_bytes() == before


VOTE = {"suite": "replies", "case": "c005", "choice": "left"}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"run_id": "other"}, "run_id='other' is another run"),
        ({"schema_version": 9}, "schema_version=9; this version reads 1"),
        ({"votes": [VOTE | {"case": "gone"}]}, "'gone'"),
        ({"votes": [VOTE | {"suite": "other"}]}, "1 vote on cases that were not drawn"),
        ({"votes": [VOTE, VOTE | {"choice": "right"}]}, "'c005' has two different votes"),
        ({"votes": [VOTE | {"choice": "both"}]}, "'both' must be one of left, tie, right"),
        ({"votes": [VOTE | {"choice": ["left", "right"]}]}, "must be one of left, tie, right"),
        ({"votes": [VOTE | {"choice": "<script>alert(1)</script>"}]}, "must be one of"),
        ({"votes": []}, "no vote on a drawn case"),
        ({"votes": {"c005": "left"}}, "not a file of votes"),
        ({"votes": ["c005"]}, "not a file of votes"),
        ({"cases": []}, "not a file of votes"),
        ({"by": "x" * 61}, "a name has 1 to 60 visible characters"),
        ({"by": "a\nb"}, "a name has 1 to 60 visible characters"),
        ({"votes": [VOTE | {"case": f"c{i}"} for i in range(100_000)]}, "votes on cases"),
        ({"votes": [VOTE] * 1_000_000}, "bytes, and a file of votes has up to"),
    ],
)  # fmt: skip
def test_a_hostile_file_is_refused_in_one_line(
    voted: Any, fields: dict[str, Any], words: str
) -> None:
    label(voted)
    before = (voted.run / VOTES_FILE).read_bytes()
    said = label(voted, "--read", change(vote_file(voted, "anna"), **fields), code=2)

    assert words in said
    assert len(said.splitlines()) == 1
    assert len(said) < 400
    assert (voted.run / VOTES_FILE).read_bytes() == before


@pytest.mark.parametrize("text", ["", "[", "[]", "1", "[" * 100_000, '{"votes": 1}', "\ud800"])
def test_a_file_that_holds_no_votes_is_refused_in_one_line(voted: Any, text: str) -> None:
    label(voted)
    path = voted.path / "x.json"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")

    assert len(label(voted, "--read", path, code=2).splitlines()) == 1


def test_one_bad_file_of_several_leaves_no_vote(voted: Any) -> None:
    label(voted, "--reviewers", 2)
    before = (voted.run / VOTES_FILE).read_bytes()
    good = vote_file(voted, "anna")
    bad = change(vote_file(voted, "ben"), run_id="other")

    label(voted, "--read", good, "--read", bad, code=2)
    assert (voted.run / VOTES_FILE).read_bytes() == before


def test_what_key_b_of_the_report_saved_is_read(voted: Any) -> None:
    """It names arms; cases without a vote, and those that were not drawn, are passed over."""
    label(voted, "--n", 30)
    drawn = [json.loads(line) for line in (voted.run / VOTES_FILE).read_text().splitlines()]
    cases = [
        {"suite": "replies", "case": f"c{i:03}", "note": "", "better": "tuned"} for i in range(N)
    ]
    cases[3].pop("better")
    review = {"schema_version": 1, "run_id": Run.load(voted.run).manifest.run_id, "cases": cases}
    path = voted.path / "review.json"
    path.write_text(json.dumps(review), encoding="utf-8")

    missing = sum(ballot["id"] == "c003" for ballot in drawn)
    assert f"{30 - missing} of 30 ballots" in label(voted, "--read", path, "--by", "anna")


def test_served_votes_survive_a_kill_and_end_in_a_verdict(voted: Any) -> None:
    """11 votes, killed; the rest, Ctrl-C: SHIP."""
    first = Program(voted)
    page = first.client.ask()[1]
    rows = json.loads(page.split('id="data">')[1].split("</script>")[0])["rows"]
    better = ["left" if row["left"].startswith("We") else "right" for row in rows]
    for row in range(11):
        vote = {"by": "Anna", "row": row, "choice": better[row]}
        assert first.client.ask("choice", vote)[0] == 200
    first.end(signal.SIGKILL)

    second = Program(voted)
    assert second.client.ask("choices?by=Anna")[1] == {str(i): better[i] for i in range(11)}
    for row in range(11, len(rows)):
        vote = {"by": "Anna", "row": row, "choice": better[row]}
        assert second.client.ask("choice", vote)[0] == 200
    assert "SHIP" in second.end(signal.SIGINT)
    assert voted.verdict()["verdict"] == Verdict.SHIP
