"""Runs that may not stand in one table are refused, by what differs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.compared_runs import GOAL, GUARD, candidate, column, metric, run_of
from tunegate.harness.decision.candidates.matching import refuse_unmatched
from tunegate.harness.decision.verdict.decide import not_comparable
from tunegate.harness.records.errors import NotComparable, UsageError
from tunegate.harness.records.manifest import Gate

OTHER_GOAL = Gate(metric="solved", kind="gain", margin=0.2)


def test_runs_that_differ_in_the_fine_tune_alone_pass() -> None:
    one = candidate("one", 60)
    other = candidate("other", 70, base={"spec": "elsewhere/base"}, attempts={"hash of s": 7})

    refuse_unmatched([one, other])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"suite": {"hash": "0123456789abcdef"}}, r"suite 's': its definition or a file"),
        ({"suite": {"name": "t"}}, r"suite 's' was judged in runs/one only"),
        (
            {"suite": {"generation": {"max_new_tokens": 128}}},
            r"suite 's': generation settings differ: max_new_tokens=96 and 128",
        ),
        (
            {"gates": (OTHER_GOAL, GUARD)},
            r"suite 's': the gates differ: solved::gain: margin=0\.1 and 0\.2",
        ),
        ({"gates": (GOAL,)}, r"suite 's': gate kept::tolerance is in one of them only"),
        ({"suite": {"goal_rule": "all"}}, r"suite 's': the goal rules differ: 'primary' and 'all'"),
        (
            {"suite": {"metrics": (metric("solved", range=None), metric("kept"))}},
            r"suite 's': the metrics differ: solved: range=\(0\.0, 1\.0\) and None",
        ),
        ({"base": {"weights_sha256": "c" * 64}}, r"base differs: weights_sha256='bbb"),
        ({"base": {"dtype": "bfloat16"}}, r"base differs: dtype='float32' and 'bfloat16'"),
        ({"base": {"template_sha256": "x"}}, r"base differs: template_sha256=None and 'x'"),
        (
            {"prompt": "q"},
            r"suite 's': case 'c000' was asked with other prompts: the chat",
        ),
        ({"judges": ({"spec": "server:x"},)}, r"the judges differ"),
        ({"filtered": ("-k solved",)}, r"judged in part only: -k solved"),
    ],
)
def test_what_differs_is_named_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(NotComparable, match=f"^runs/one and runs/other: {message}") as error:
        refuse_unmatched([candidate("one", 60), candidate("other", 70, **changes)])

    assert "\n" not in str(error.value)
    assert error.value.exit_code == 12


def test_a_hosted_base_is_known_by_its_address_and_not_by_its_day() -> None:
    """Without a hash of weights the spec tells bases apart; a provider's label of the day not."""
    hosted = {"weights_sha256": None, "system_fingerprint": "fp_1"}
    one = candidate("one", 60, base=hosted)
    later = candidate("later", 70, base=hosted | {"system_fingerprint": "fp_2"})
    elsewhere = candidate("elsewhere", 70, base=hosted | {"spec": "server:http://b/v1#base"})

    refuse_unmatched([one, later])
    with pytest.raises(NotComparable, match=r"base differs: spec='org/base' and 'server:"):
        refuse_unmatched([one, elsewhere])


def test_other_cases_are_refused() -> None:
    one = candidate("one", 60)
    fewer = run_of("fewer", {m: (column(9, 99), column(9, 99)) for m in ("solved", "kept")})
    changed = dict(one.cases)
    row = changed["s", "c003"]
    case = row.case.model_copy(update={"prompt": "another question"})
    changed["s", "c003"] = row.model_copy(update={"case": case})

    with pytest.raises(NotComparable, match=r"case 'c099' was asked in runs/one only"):
        refuse_unmatched([one, fewer])
    with pytest.raises(NotComparable, match=r"case 'c003' is not the same in both"):
        refuse_unmatched([one, replace(candidate("other", 70), cases=changed)])


def test_the_third_run_is_checked_too() -> None:
    runs = [candidate("one", 60), candidate("two", 61), candidate("three", 62, prompt="q")]

    with pytest.raises(NotComparable, match=r"^runs/one and runs/three: "):
        refuse_unmatched(runs)


def test_a_run_that_judged_nothing_is_refused() -> None:
    run = candidate("dead", 60)
    refused = not_comparable(run.manifest, "the adapter is dead")

    with pytest.raises(NotComparable, match=r"runs/dead: the run ended in NOT COMPARABLE"):
        refuse_unmatched([candidate("one", 60), replace(run, verdict=refused)])


def test_one_run_and_a_run_twice_are_no_comparison() -> None:
    one = candidate("one", 60)

    with pytest.raises(UsageError, match="a comparison takes two or more"):
        refuse_unmatched([one])
    with pytest.raises(UsageError, match="runs/one: named twice"):
        refuse_unmatched([one, candidate("other", 61), one])
