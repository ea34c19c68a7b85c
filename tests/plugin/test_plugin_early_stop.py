"""Early stopping: a suite ends once all is decided, the same plain, with workers and resumed."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from tunegate.harness.records.jsonl import read_jsonl


def _skipped(project: Any) -> int:
    return sum(row["status"] == "skipped" for row in read_jsonl(project.run / "cells.jsonl"))


def test_a_clear_gain_ships_before_the_end(project: Any) -> None:
    """30 against 95 of 100 are clear after 32 cases: 68 are never asked, of either arm.

    Of those, base has 7 right and tuned 30. At a true gain of .1 so many wins without a loss have a
    probability far below the .05 * .32^3 = .0016 that may be spent by then.
    """
    project.suite()

    result = project.gate(*project.models())

    result.stdout.fnmatch_lines(
        [
            "SHIP: demo: *",
            "pass *demo *exact_match * 32 *",
            "* at look 1 of 3: *",
            "1 further remark in the report",
        ]
    )
    suite = project.verdict()["suites"][0]
    assert suite["remarks"][0].startswith(
        "demo: stopped early after 32 of 100 cases (interim look 1 of 3)"
    )
    assert (result.ret, suite["n_skipped_decided"], suite["n_scored"]) == (0, 68, 32)
    assert _skipped(project) == 2 * 68
    assert len(project.stored()) == 2 * 32
    assert len(list(read_jsonl(project.run / "scores.jsonl"))) == 2 * 32
    assert "68 not run: every gate was decided" in (project.run / "report.html").read_text()


def test_a_broken_floor_ends_the_suite_at_once(project: Any) -> None:
    """With at most one right of 32, a floor of 0.7 is beyond reach: 68 cases are spared."""
    project.suite(gates="floor = 0.7")

    result = project.gate(*project.models(base=0, tuned=1))

    assert result.ret == 1
    result.stdout.fnmatch_lines(["BLOCK: demo: *, below the floor of 70 %*", "fail * 32 *"])


@pytest.mark.parametrize(
    ("options", "n"),
    [((), 100), (("--gate-early-stop=on",), 32), (("--gate-early-stop=off",), 100)],
)
def test_recorded_arms_are_judged_whole_unless_asked(
    project: Any, options: tuple[str, ...], n: int
) -> None:
    """A look would cost power and save nothing; the same gain among models ends after 32."""
    project.suite()
    arms = []
    for arm, right in (("base", 30), ("tuned", 95)):
        path = project.path / f"{arm}.jsonl"
        rows = [{"id": f"c{i:03}", "completion": "yes" if i < right else "no"} for i in range(100)]
        path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        arms.append(f"--gate-{arm}=replay:{path}")

    result = project.gate(*arms, *options)

    assert result.ret == 0
    assert project.verdict()["suites"][0]["gates"][0]["n"] == n


@pytest.mark.parametrize("early_stop", ["on", "off"])
def test_what_is_stored_of_later_cases_does_not_count(project: Any, early_stop: str) -> None:
    """After a full run everything is known; a run with looks still judges what its look sees."""
    project.suite()
    project.gate(*project.models(), "--gate-early-stop=off")

    project.gate(*project.models(), f"--gate-early-stop={early_stop}")

    suite = project.verdict()["suites"][0]
    assert suite["gates"][0]["n"] == (32 if early_stop == "on" else 100)


def test_the_same_seed_gives_the_same_bytes(project: Any) -> None:
    """Looks and order are functions of the seed; another seed sees other cases."""
    project.suite()
    verdicts = []
    for seed in (0, 0, 1):
        project.gate(*project.models(), f"--gate-seed={seed}")
        verdicts.append((project.run / "verdict.json").read_bytes())

    assert verdicts[0] == verdicts[1]
    first, other = (json.loads(v)["suites"][0]["gates"][1]["base"] for v in verdicts[1:])
    assert first != other


def test_code_is_judged_at_the_level_of_the_look(project: Any) -> None:
    project.suite()
    project.pytester.makepyfile(
        """
        def test_delta(gate):
            delta = gate.compare("suites/demo", metric="exact_match")
            assert delta.n == 32
            # the error that may be spent by then
            assert abs(delta.confidence - (1 - 2 * 0.05 * 0.32**3)) < 1e-9
        """
    )

    result = project.pytest_here(
        "suites", "test_code_is_judged_at_the_level_of_the_look.py",
        f"--gate-run-dir={project.run}", *project.models(),
    )  # fmt: skip

    assert result.ret == 0


def test_no_case_is_scored_twice(project: Any) -> None:
    """What a look has scored is not scored again at the end, so a slow metric costs once.

    Twenty cases of the suite, every fifth of its hundred, are scored twice to find metrics that do
    not return the same score for the same answer; with two arms these are four calls.
    """
    project.suite()
    toml = project.path / "suites" / "demo" / "suite.toml"
    toml.write_text(toml.read_text().replace('use = "exact_match"', 'use = "own:counted"', 1))
    toml.write_text(toml.read_text().replace('metric = "exact_match"', 'metric = "counted"', 1))
    (project.path / "own.py").write_text(
        "from tunegate import Score\n"
        "from tunegate.harness.contracts.metric import metric\n"
        "@metric(binary=True, range=(0.0, 1.0))\n"
        "def counted(case, completion):\n"
        "    open('asked.txt', 'a').write(case.id + '\\n')\n"
        "    return Score.of(float(completion.text == 'yes'))\n"
    )

    result = project.gate(*project.models())

    assert result.ret == 0
    counts = Counter((project.path / "asked.txt").read_text().splitlines())
    every_fifth = {f"c{number:03d}" for number in range(0, 100, 5)}
    assert len(counts) == 32
    assert counts == {name: 4 if name in every_fifth else 2 for name in counts}
