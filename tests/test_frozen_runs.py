"""Stored gate runs: all that is decided and written from their files stays the same to the byte.

A net for changes of the code's structure. Where a change of a text is intended, make the outputs
again with `python -m tests.frozen_runs.make --outputs`, which says whether a number of a verdict
changed too, and read the diff.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tests.frozen_runs.outputs import (
    COMMAND_LINES,
    COMMANDS,
    STORED,
    SUMS,
    TEXTS,
    commanded,
    load,
    outputs,
    sha256,
    unpack,
)
from tunegate.harness.contracts import lookup
from tunegate.harness.gates.contract.registry import PACKAGE
from tunegate.harness.records.gate_results import GateReason, GateStatus
from tunegate.harness.records.verdict import Verdict

COVERED = {
    "ship_early_stop": "interim look with skipped cases; two suites; slices; links to traces",
    "ship_every_gate_kind": "all kinds of gates; goal_rule all; certified floor; margin in percent",
    "ship_any_goal": "goal_rule any: goals share the error at an interim look",
    "ship_leaked_cases": "8 cases in the training data; card; sealed suite; second candidate",
    "ship_jury_advisory": "jury of three judges without calibration: advisory gates; faithfulness",
    "ship_judge_calibrated": "calibrated judge decides the goal",
    "ship_judge_labelled": "people's labels on the run correct the judge (PPI)",
    "ship_judge_pairwise": "pairwise judge; position bias; adjustment for length",
    "ship_equivalent": "shipped is equivalent to tuned; incumbent is no better",
    "ship_corpus": "corpus metrics (BLEU, chrF) by the jackknife; clusters of texts",
    "block_regression": "three suites; severe drops; zero tolerance; choices; hostile texts",
    "block_incumbent": "worse than the incumbent; interim look",
    "block_all_arms": "shipped is not equivalent; incumbent and recorded arms",
    "block_slow": "latency gate; clusters; three samples a case; broken ceiling",
    "hold_any_goal": "goal_rule any: every worthwhile gain is ruled out",
    "hold_prompted": "a prompt alone does it; a teacher beside it",
    "ship_teacher": "recorded teacher with a declared prompt; quality and price against it",
    "undecided_any_goal": "goal_rule any: proven by itself, and not after Holm",
    "undecided_few_cases": "part of the cases; too little evidence; required sample size",
    "undecided_unscored": "four missing answers: the worst case decides",
    "undecided_noise": "base asked again (noise floor); base that guesses (insensitive)",
    "undecided_shipped": "equivalence of shipped is undecided; interim look",
    "not_comparable_prompts": "refused: the arms get different prompts",
    "not_comparable_leaked": "refused: more than a tenth of the cases in the training data",
    "error_unscored": "more missing answers than the suite allows; another suite ships",
    "error_broken_off": "stopped by the user, no scores",
    "error_judge_fooled": "calibrated judge that obeys orders in the answers",
    "candidate_a": "compare: gain, small loss",
    "candidate_b": "compare: largest gain, no loss",
    "candidate_c": "compare: gain, regression of the guard",
    "undecided_replayed": "replayed conversations: a loss of resemblance that does not block",
    "ship_results": "scores that lm-eval recorded, without a model; a gate on one tag",
}
"""Run → what it covers."""

CI = {
    "CI": "true",
    "GITHUB_ACTIONS": "true",
    "GITHUB_WORKSPACE": "elsewhere",
    "GITHUB_REPOSITORY": "shop/models",
    "GITHUB_RUN_ID": "4",
    "GITHUB_SERVER_URL": "https://github.example.org",
    "GITHUB_SHA": "f" * 40,
    "CI_PROJECT_DIR": "elsewhere",
    "NO_COLOR": "1",
    "COLUMNS": "40",
    "TZ": "Asia/Tokyo",
}
"""What a CI job and a terminal set; no output may depend on it."""


@pytest.fixture(name="project", scope="module")
def _project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with all stored runs in it."""
    folder = tmp_path_factory.mktemp("project")
    unpack(folder)
    return folder


@pytest.fixture(name="_here")
def _here_(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the folder of the runs the current one."""
    monkeypatch.chdir(project)


def verdicts() -> dict[str, dict[str, Any]]:
    """Return run → its frozen verdict.json."""
    return {
        stored.name: json.loads((stored / "verdict.json").read_bytes())
        for stored in sorted(STORED.iterdir())
    }


def refuse_changes(found: Mapping[str, str], frozen: Path, new: Path) -> None:
    """Fail where an output is not the frozen one; the new ones are then in `new`."""
    sums = json.loads((frozen / SUMS).read_bytes())
    texts = {p.name: p.read_bytes().decode() for p in frozen.iterdir() if p.name in TEXTS}
    changed = [name for name in sums | texts if name not in found]
    lines: list[str] = []
    for name, text in found.items():
        if sums.get(name) != sha256(text) and texts.get(name) != text:
            changed.append(name)
            (new / name).write_bytes(text.encode())
            pair = texts.get(name, "").splitlines(), text.splitlines()
            lines += islice(difflib.unified_diff(*pair, name, name, n=0), 12 if pair[0] else 0)
    if changed:
        said = "\n".join(lines)
        pytest.fail(f"{', '.join(changed)} of {frozen.name}: changed; see {new}\n{said}", False)


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize("name", COVERED)
def test_a_stored_run_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    found = outputs(load(name), tmp_path / "out")

    refuse_changes(found, STORED / name, tmp_path)


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize("name", COMMAND_LINES)
def test_a_command_on_stored_runs_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    """`compare` and `history`: page, Markdown, JSON, and the lines on the terminal."""
    refuse_changes(commanded(name), COMMANDS / name, tmp_path)


def test_a_ci_job_in_another_folder_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "a folder <b>of</b> CI"
    unpack(place)
    monkeypatch.chdir(place)
    for variable, value in CI.items():
        monkeypatch.setenv(variable, value)

    refuse_changes(outputs(load("ship_early_stop"), tmp_path), STORED / "ship_early_stop", tmp_path)
    refuse_changes(commanded("compare"), COMMANDS / "compare", tmp_path)


def test_the_table_names_the_stored_runs() -> None:
    assert {stored.name for stored in STORED.iterdir()} == set(COVERED)
    assert {stored.name for stored in COMMANDS.iterdir()} == set(COMMAND_LINES)


def test_every_verdict_and_arm_occurs() -> None:
    found = verdicts().values()

    assert {v["verdict"] for v in found} == set(Verdict)
    arms = {"base", "tuned", "incumbent", "shipped", "recorded", "teacher"}
    assert {arm for v in found for arm in v["arms"]} == arms
    compared = [v.get("further_arms", {}) for v in found]
    assert {arms["shipped"]["status"] for arms in compared if "shipped" in arms} >= {
        "equivalent", "not_equivalent", "undecided"
    }  # fmt: skip
    assert {arms["incumbent"]["verdict"] for arms in compared if "incumbent" in arms} >= {
        "SHIP", "BLOCK"
    }  # fmt: skip


def test_every_kind_and_outcome_of_a_gate_occurs() -> None:
    suites = [suite for v in verdicts().values() for suite in v["suites"]]
    gates = [gate for suite in suites for gate in suite["gates"]]

    assert {gate["kind"] for gate in gates} == set(lookup.module_names(PACKAGE))
    assert {gate["status"] for gate in gates} == set(GateStatus)
    # No code gives a gate the reason "filtered"; two are for kinds of plugins. Votes come later.
    reasons = {gate["reason"] for gate in gates} - {None}
    assert reasons == set(GateReason) - {
        GateReason.FILTERED, GateReason.BOUND_BROKEN, GateReason.NOT_COMPUTABLE,
        GateReason.LOSS_NOT_BOUNDED, GateReason.NOT_VOTED,
    }  # fmt: skip
    assert {gate["advisory"] for gate in gates} == {True, False}
    assert {isinstance(gate["margin"], str) for gate in gates} == {True, False}
    assert {suite["goal_rule"] for suite in suites} == {"primary", "all", "any"}


def test_every_path_of_a_decision_occurs() -> None:
    found = verdicts().values()
    suites = [suite for v in found for suite in v["suites"]]
    methods = " | ".join(gate["method"] for suite in suites for gate in suite["gates"])

    for part in ("Tango", "estimated null", "Clopper-Pearson", "Hall", "guarded", "jackknife t",
                 "cluster jackknife", "design effect", "PPI++", "repeated interval"):  # fmt: skip
        assert part in methods
    assert any(suite["n_skipped_decided"] for suite in suites)
    assert any(suite.get("n_touched") for suite in suites)
    assert {suite["worst_case"] for suite in suites} >= {None, "SHIP", "HOLD"}
    assert any(gate["noise"] is not None for suite in suites for gate in suite["gates"])
    assert any(gate["needed_n"] for suite in suites for gate in suite["gates"])
    assert any(len(v["suites"]) > 2 for v in found)
    assert any(v.get("training") for v in found)
    assert {v["leakage"]["checked"] for v in found if "leakage" in v} >= {"checked", "not checked"}
