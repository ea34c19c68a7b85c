"""Which of several candidates: the rule, the axes, who beats whom, and what is said of it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.compared_runs import GUARD, candidate, column, run_of
from tunegate.harness.decision.candidates.rank import compare_runs
from tunegate.harness.records.candidates import CandidateComparison
from tunegate.harness.records.files import record_json
from tunegate.harness.records.manifest import Gate
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.records.verdict import Verdict


def _compare(*runs: object, **options: object) -> CandidateComparison:
    return compare_runs(list(runs), **options)  # type: ignore[arg-type]


def test_the_largest_gain_among_those_that_ship_is_chosen() -> None:
    """B gains most and is blocked for what it forgot; C ships with more than A."""
    found = _compare(candidate("a", 60), candidate("b", 90, kept=60), candidate("c", 70))

    assert [(c.letter, c.verdict.value) for c in found.candidates] == [
        ("A", "SHIP"),
        ("B", "BLOCK"),
        ("C", "SHIP"),
    ]
    assert (found.chosen, found.verdict, found.of) == ("C", Verdict.SHIP, 3)
    assert found.sentence.startswith(
        "C may ship as one of 3 candidates: s: solved rose 30.0 → 70.0 %"
    )


def test_equal_gains_are_told_apart_by_what_is_forgotten() -> None:
    by_guard = _compare(candidate("a", 70, kept=88), candidate("b", 70, kept=90))
    by_order = _compare(candidate("a", 70), candidate("b", 70))

    assert by_guard.chosen == "B"
    assert by_order.chosen == "A"


def test_none_may_ship() -> None:
    """The nearest is named, and the verdict is its own."""
    found = _compare(candidate("a", 30, kept=60), candidate("b", 36))

    assert (found.chosen, found.verdict) == ("B", Verdict.UNDECIDED)
    assert found.sentence.startswith("none of 2 candidates may ship; B: UNDECIDED: s: ")


def test_the_user_may_choose() -> None:
    found = _compare(candidate("a", 60), candidate("b", 90, kept=60), choose=1)

    assert (found.chosen, found.by_user, found.verdict) == ("B", True, Verdict.BLOCK)
    assert found.sentence.startswith("B ends in BLOCK as one of 2 candidates: ")


def test_more_candidates_than_are_shown_share_the_error() -> None:
    """5 wins without a loss ship as one of 2 (0.0156 < 0.025), not as one of 10 (0.005)."""
    goal = Gate(metric="solved", kind="gain", margin=0.0)
    runs = [run_of(n, {"solved": (column(50), column(55))}, gates=[goal]) for n in "xy"]

    assert _compare(*runs).verdict is Verdict.SHIP
    found = _compare(*runs, of=10)
    assert (found.verdict, found.of) == (Verdict.UNDECIDED, 10)
    assert found.notes[0] == "A: SHIP alone, UNDECIDED where the error is shared by 10 candidates"


def test_the_axes_are_gain_and_share_of_the_tolerance() -> None:
    """+0.4 of a goal; 3 of 100 lost of a tolerance of 0.1 are three tenths of it."""
    (one, _) = _compare(candidate("a", 70, kept=87), candidate("b", 60)).candidates

    assert one.gain is not None
    assert one.forgetting is not None
    assert (one.gain.metric, one.gain.estimate, one.gain.bound) == ("solved", 0.4, 0.1)
    assert one.forgetting.estimate == pytest.approx(0.3)
    gate = next(g for g in one.suites[0].gates if g.kind == "tolerance")
    assert gate.low is not None
    assert gate.high is not None
    assert one.forgetting.low == pytest.approx(-gate.high / 0.1, rel=1e-4)
    assert one.forgetting.high == pytest.approx(-gate.low / 0.1, rel=1e-4)


def test_a_relative_tolerance_is_taken_of_base() -> None:
    """10 % of base's 0.9 is 0.09: 3 of 100 lost use up a third of it."""
    guard = GUARD.model_copy(update={"margin": "10%"})
    runs = [
        run_of(n, {"kept": (column(90), column(right))}, gates=[guard])
        for n, right in (("a", 87), ("b", 90))
    ]

    one, two = _compare(*runs).candidates

    assert one.forgetting is not None
    assert one.forgetting.estimate == pytest.approx(1 / 3, rel=1e-4)
    assert one.gain is None
    assert two.beaten_by == ()  # one axis makes no front


def test_who_is_beaten_on_both() -> None:
    """A by C; B gains more and forgets more; equals beat nobody."""
    runs = [
        candidate("a", 60, kept=88),
        candidate("b", 80, kept=85),
        candidate("c", 70, kept=89),
        candidate("d", 70, kept=89),
    ]

    assert [c.beaten_by for c in _compare(*runs).candidates] == [("C", "D"), (), (), ()]


def test_the_lead_of_the_chosen_one_is_told() -> None:
    found = _compare(candidate("a", 60), candidate("b", 90), candidate("c", 88))

    assert (
        "by solved on the same cases B is proven better than A; is not proven to differ from C"
        in found.notes
    )


def test_candidates_that_were_left_out_are_asked_for() -> None:
    runs = [candidate(n, 60, attempts={"hash of s": k}) for n, k in (("a", 3), ("b", 7))]

    told = [note for note in _compare(*runs).notes if "had judged 7 candidates" in note]
    assert len(told) == 1
    assert "`--of 7` accounts for it" in told[0]
    assert not [note for note in _compare(*runs, of=7).notes if "had judged" in note]


def test_the_same_model_twice_and_a_base_that_moved_are_told() -> None:
    first, second = candidate("a", 60), candidate("a", 60)
    second = replace(second, folder=second.folder.with_name("again"))
    moved = ScoreRow(suite="s", metric="solved", case="c099", arm="base", value=1.0)
    rows = [r for r in second.scores if (r.metric, r.case, r.arm) != ("solved", "c099", "base")]
    second = replace(second, scores=(*rows, moved))

    notes = _compare(first, second).notes

    assert "A and B are the same model by all that the runs recorded" in notes
    told = "base scored differently in runs/a and runs/again on 1 case:"
    assert any(note.startswith(told) for note in notes)


def test_the_record_reads_back_and_is_the_same_each_time() -> None:
    runs = [candidate("a", 60), candidate("b", 70)]
    text = record_json(_compare(*runs))

    assert record_json(_compare(*runs)) == text
    assert CandidateComparison.model_validate(json.loads(text)).chosen == "B"


def test_comparing_loads_no_model_library() -> None:
    code = (
        "import sys\n"
        "from tests.compared_runs import candidate\n"
        "from tunegate.harness.decision.candidates.rank import compare_runs\n"
        "compare_runs([candidate('a', 60), candidate('b', 70)])\n"
        "print([m for m in ('torch', 'transformers', 'trl', 'litellm') if m in sys.modules])"
    )

    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)

    assert done.stdout.splitlines()[-1] == "[]"
