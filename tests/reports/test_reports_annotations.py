"""Annotations: few, placed on lines of suites, and inert whatever the texts hold."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from tunegate.harness.records.gate_results import GateStatus
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.verdict import Verdict
from tunegate.reports.annotations import (
    Annotation,
    code_quality,
    failure_annotation,
    run_annotations,
)

COMMAND = re.compile(r"::(error|warning|notice) (?:\w+=[^:,\r\n]*,?)+::[^\r\n]*")
"""What GitHub's runner reads as one command: no colon or comma in a property, no line break."""


def many_gates(run: Run, n: int) -> Run:
    """Return the run with the last suite's failed gate n times, each on a line of its own."""
    suite, record = run.verdict.suites[-1], run.manifest.suites[-1]
    failed = next(g for g in suite.gates if g.status is GateStatus.FAIL)
    asked = next(g for g in record.gates if g.metric == failed.metric)
    results = [failed.model_copy(update={"metric": f"m{i}"}) for i in range(n)]
    asks = [
        asked.model_copy(update={"metric": f"m{i}", "where": f"s/suite.toml:{i + 1}"})
        for i in range(n)
    ]
    verdict = run.verdict.model_copy(
        update={"suites": (suite.model_copy(update={"gates": tuple(results)}),)}
    )
    manifest = run.manifest.model_copy(
        update={"suites": (record.model_copy(update={"gates": tuple(asks)}),)}
    )
    return replace(run, verdict=verdict, manifest=manifest)


def test_a_blocked_run_names_the_line_of_its_gate(make_run: Any) -> None:
    run = make_run("BLOCK")

    found = run_annotations(run, Path())

    assert [a.title for a in found] == [
        "tunegate: BLOCK",
        "general_knowledge: choice_probability tolerance fail",
    ]
    assert {(a.level, a.file, a.line) for a in found} == {("error", "suite.toml", 9)}
    assert found[0].message == run.verdict.sentence


def test_at_most_ten_are_given(make_run: Any) -> None:
    found = run_annotations(many_gates(make_run("BLOCK"), 30), Path())

    assert len(found) == 9
    assert [a.line for a in found[1:]] == list(range(1, 9))


def test_a_shipped_run_is_a_notice(make_run: Any) -> None:
    found = run_annotations(make_run("SHIP"), Path())

    assert [(a.level, a.title) for a in found] == [("notice", "tunegate: SHIP")]


def test_an_undecided_run_that_may_pass_warns(make_run: Any) -> None:
    """With exit code 0 nothing is an error."""
    found = run_annotations(make_run("UNDECIDED"), Path(), "warning")

    assert {a.level for a in found} == {"warning"}
    assert found[0].title == "tunegate: UNDECIDED"


def test_files_are_named_from_the_repository(make_run: Any, tmp_path: Path) -> None:
    """An absolute path below the repository is made relative; one outside it is left out."""
    inside = many_gates(make_run("BLOCK"), 1)
    gate = inside.manifest.suites[0].gates[0]

    def placed(where: Path) -> Annotation:
        suite = inside.manifest.suites[0].model_copy(
            update={"gates": (gate.model_copy(update={"where": f"{where}:7"}),)}
        )
        manifest = inside.manifest.model_copy(update={"suites": (suite,)})
        return run_annotations(replace(inside, manifest=manifest), tmp_path)[1]

    here = placed(tmp_path / "suites" / "a" / "suite.toml")
    assert (here.file, here.line) == ("suites/a/suite.toml", 7)
    assert placed(tmp_path.parent / "suite.toml").file is None
    assert "file=" not in placed(tmp_path.parent / "suite.toml").command()


def test_a_run_without_suites_has_its_verdict(make_run: Any) -> None:
    run = make_run("BLOCK")
    verdict = run.verdict.model_copy(update={"verdict": Verdict.NOT_COMPARABLE, "suites": ()})
    manifest = run.manifest.model_copy(update={"suites": ()})

    (only,) = run_annotations(replace(run, verdict=verdict, manifest=manifest), Path())

    assert only.command().startswith("::error title=tunegate%3A NOT COMPARABLE::")


def test_what_github_would_read_is_escaped() -> None:
    command = Annotation("error", "a:b,c%", "50%\r\n::error::x", "d,e/suite.toml", 3).command()

    assert command == (
        "::error file=d%2Ce/suite.toml,line=3,title=a%3Ab%2Cc%25::50%25%0D%0A::error::x"
    )


def test_poison_cannot_leave_its_command(poisoned_run: Run, payloads: tuple[str, ...]) -> None:
    commands = [a.command() for a in run_annotations(poisoned_run, Path())]
    commands += [failure_annotation(text).command() for text in payloads]

    assert len(commands) > len(payloads)
    for command in commands:
        assert COMMAND.fullmatch(command), command
        assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e]", command)


def test_gitlab_gets_the_same_places(make_run: Any) -> None:
    rows = json.loads(code_quality(run_annotations(many_gates(make_run("BLOCK"), 3), Path())))

    assert len(rows) == len({row["fingerprint"] for row in rows}) == 4
    assert rows[1]["location"] == {"path": "s/suite.toml", "lines": {"begin": 1}}
    assert rows[1]["severity"] == "major"
    assert rows[1]["description"].startswith("general_knowledge: m0 tolerance fail: The right")


def test_a_gate_on_a_tag_is_named_and_has_its_own_line(sliced_run: Run) -> None:
    """The place is that of the gate with the same tag, not of the pooled one."""
    [suite] = [s for s in sliced_run.manifest.suites if s.name == "general_knowledge"]
    pooled = suite.gates[-1].model_copy(update={"tag": None, "where": "suite.toml:77"})
    suites = (
        sliced_run.manifest.suites[0],
        suite.model_copy(update={"gates": (pooled, *suite.gates)}),
    )
    manifest = sliced_run.manifest.model_copy(update={"suites": suites})
    found = run_annotations(replace(sliced_run, manifest=manifest), Path())

    assert found[1].title == "general_knowledge: choice_probability (tag logic) tolerance fail"
    assert found[1].line == 9
