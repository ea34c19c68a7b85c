"""The contract of gate kinds: defaults, lookup, and a kind that another package brings."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.installed_kinds import KindProject, installed
from tunegate.harness import gates
from tunegate.harness.comparison.delta import compare_scores
from tunegate.harness.decision.gating.decide_all import decide_gate
from tunegate.harness.gates.contract import registry
from tunegate.harness.gates.contract.gate_kind import GateKind
from tunegate.harness.gates.contract.registry import UnknownGateKind, gate_kind, gate_kinds
from tunegate.harness.gates.contract.sentences import gate_words
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.gate_results import GateResult, GateStatus
from tunegate.harness.records.manifest import Gate
from tunegate.harness.suite import file_schema
from tunegate.reports.charts import draw_interval

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "contributing" / "gate.md"
BUILT_IN = ("floor", "ceiling", "gain", "tolerance", "severe_drop")


@pytest.fixture(name="forgotten")
def _forgotten() -> Iterator[Callable[[], None]]:
    """Return a function that forgets the kinds that were found; they are forgotten at the end."""

    def forget() -> None:
        gate_kind.cache_clear()
        gate_kinds.cache_clear()
        file_schema.suite_validator.cache_clear()
        importlib.invalidate_caches()

    forget()
    yield forget
    forget()


def example() -> str:
    """Return the kind `worst_case` as the page for contributors has it."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)
    return str(code)


def test_the_roles_of_the_built_in_kinds() -> None:
    kinds = [gate_kind(name) for name in BUILT_IN]

    assert [kind.is_goal for kind in kinds] == [False, False, True, False, False]
    assert [kind.reads_level for kind in kinds] == [True, True, False, False, False]
    assert [kind.tests_difference for kind in kinds] == [False, False, True, True, False]
    assert [kind.counts_cases for kind in kinds] == [False, False, False, False, True]
    assert [kind.name for kind in gate_kinds()][: len(BUILT_IN)] == list(BUILT_IN)


@pytest.mark.parametrize("kind", gate_kinds(), ids=lambda kind: kind.name)
def test_a_kind_describes_itself(kind: GateKind) -> None:
    assert set(kind.keys_of_margin) <= set(kind.schema)
    assert [key for key, form in kind.schema.items() if not form["description"]] == []
    assert kind.summary
    assert "\n" not in kind.summary


def test_the_schema_of_a_suite_has_the_keys_of_each_kind() -> None:
    table = file_schema.suite_schema()["properties"]["gates"]["items"]
    keys = [key for kind in gate_kinds() for key in kind.keys_of_margin]

    assert table["anyOf"] == [{"required": [key]} for key in keys]
    assert {"metric", "confidence", *keys, "drop", "floor_mode"} <= set(table["properties"])


def test_a_file_in_the_folder_is_a_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgotten: Callable[[], None]
) -> None:
    (tmp_path / "worst_case.py").write_text(example(), encoding="utf-8")
    monkeypatch.setattr(gates, "__path__", [*gates.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "tunegate.harness.gates.worst_case", raising=False)
    forgotten()

    gate = Gate(metric="m", kind="worst_case", margin=0.3)
    metric = _metric()
    ends = [
        decide_gate(gate, compare_scores(base, tuned, metric=metric).pairs, regressed=False)
        for base, tuned in (([1.0, 1.0], [0.8, 1.0]), ([1.0, 1.0], [0.5, 1.0]))
    ]

    assert gate_kinds()[-1].name == "worst_case"
    assert [result.status for result in ends] == [GateStatus.PASS, GateStatus.FAIL]
    drawing = draw_interval(ends[1])
    assert drawing is not None
    assert drawing.margin is not None
    assert drawing.zone == (0.0, drawing.margin.x)
    assert drawing.point > drawing.margin.x
    assert ends[1].sentence == (
        "m: the largest loss is 0.5 (90 % CI 0.5 to 0.5) on 2 cases: the bound of 0.3 on the "
        "largest loss is broken"
    )
    monkeypatch.delitem(sys.modules, "tunegate.harness.gates.worst_case")


def _metric() -> Any:
    from tests.decided_suites import metric_record

    return metric_record(binary=False)


@pytest.mark.parametrize(
    ("code", "name", "value", "what"),
    [
        ("raise ValueError('no licence')", "worst_case", "", "ValueError: no licence"),
        ("worst_case = 3", "worst_case", "", "must name a GateKind whose name is 'worst_case'"),
        (
            "",
            "floor",
            "tunegate.harness.gates.floor:floor",
            "'floor' comes from tunegate and house-gates 1.0",
        ),
    ],
)
def test_a_registered_object_that_is_no_kind_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    forgotten: Callable[[], None],
    capsys: pytest.CaptureFixture[str],
    code: str,
    name: str,
    value: str,
    what: str,
) -> None:
    """The entry point is named, with what to do; deciding a stored gate gives the same reason.

    One that takes a name of ours stops a run; another one is left out and stops nothing.
    """
    monkeypatch.syspath_prepend(installed(tmp_path, code, name, value=value))
    monkeypatch.delitem(sys.modules, "house_gates", raising=False)
    forgotten()

    if name == "floor":
        for call in (gate_kinds, lambda: gate_kind(name)):
            with pytest.raises(UsageError, match=re.escape(what)):
                call()
    else:
        assert name not in {kind.name for kind in gate_kinds()}
        (warning,) = capsys.readouterr().err.splitlines()
        assert what in warning
        gate = Gate(metric="m", kind=name, margin=0.3, where="suite.toml:9")
        pairs = compare_scores([1.0], [1.0], metric=_metric()).pairs
        with pytest.raises(UsageError, match=f"suite.toml:9: .*{re.escape(what)}"):
            decide_gate(gate, pairs, regressed=False)
    sys.modules.pop("house_gates", None)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('"worst_case": {', '"floor": {}, "worst_case": {', "each key in `schema` must have"),
        (
            '"worst_case": {',
            '"floor": {"type": "boolean", "description": "x"}, "worst_case": {',
            "gate kind 'worst_case': its key 'floor' is also a key of the gate kind 'floor'",
        ),
        (
            '"worst_case": {',
            '"floor_mode": {"type": "boolean", "description": "x"}, "worst_case": {',
            "gate kind 'worst_case': its key 'floor_mode' is also a key of the gate kind 'floor'",
        ),
        (
            '"worst_case": {',
            '"confidence": {"type": "number", "description": "x"}, "worst_case": {',
            "gate kind 'worst_case': its key 'confidence' is also a key of every gate",
        ),
        ('"worst_case": {', '"worst": {', "`schema` must have the margin's key 'worst_case'"),
        ("schema: ClassVar", "schemas: ClassVar", "`schema` must map each key"),
        ("summary =", "summed =", "`summary` must be a sentence"),
    ],
)
def test_a_kind_whose_keys_are_taken_or_missing_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    forgotten: Callable[[], None],
    old: str,
    new: str,
    what: str,
) -> None:
    code = example()
    assert old in code
    monkeypatch.syspath_prepend(installed(tmp_path, code.replace(old, new, 1)))
    monkeypatch.delitem(sys.modules, "house_gates", raising=False)
    forgotten()

    with pytest.raises(UsageError, match=re.escape(what)) as caught:
        file_schema.suite_schema()
    assert "\n" not in str(caught.value)
    sys.modules.pop("house_gates", None)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (
            "raise ValueError('no\\x1b[31m luck\\nat all')",
            "suite.toml:9: gate 'worst_case' of the package house-gates 1.0 failed "
            "(ValueError: no\\u001b[31m luck); upgrade or uninstall the package",
        ),
        ("loss = float('nan')", ""),
    ],
)
def test_the_code_of_another_package_may_fail(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    forgotten: Callable[[], None],
    line: str,
    what: str,
) -> None:
    """An error is one line with gate, kind and package; NaN leaves the gate unknown."""
    old = "loss = max((-d for d in pairs.differences), default=0.0)"
    monkeypatch.syspath_prepend(installed(tmp_path, example().replace(old, line)))
    monkeypatch.delitem(sys.modules, "house_gates", raising=False)
    forgotten()
    gate = Gate(metric="m", kind="worst_case", margin=0.3, where="suite.toml:9")
    pairs = compare_scores([1.0], [1.0], metric=_metric()).pairs

    if what:
        with pytest.raises(UsageError) as caught:
            decide_gate(gate, pairs, regressed=False)
        assert str(caught.value) == what
    else:
        result = decide_gate(gate, pairs, regressed=False)
        assert (result.estimate, result.low) == (None, None)
    sys.modules.pop("house_gates", None)


def test_a_kind_that_is_not_installed_is_shown_and_not_decided() -> None:
    """Number, margin and sentence as stored; deciding names the package group."""
    kind = gate_kind("house_rule")
    facts = {"metric": "m", "status": "pass", "sentence": "as stored", "method": "", "n": 9}
    stored = GateResult(kind="house_rule", margin=0.3, confidence=0.9, estimate=0.1, **facts)

    assert isinstance(kind, UnknownGateKind)
    assert (kind.value(stored), kind.boundary(stored)) == (0.1, None)
    assert gate_words(stored, "label") == "0.3"
    gate = Gate(metric="m", kind="house_rule", margin=0.3, where="suite.toml:9")
    pairs = compare_scores([1.0], [1.0], metric=_metric()).pairs
    with pytest.raises(UsageError, match="'house_rule' is not installed; install the package"):
        decide_gate(gate, pairs, regressed=False)


def test_an_installed_kind_is_found_everywhere(tmp_path: Path) -> None:
    """Schema, plan, verdict, page and reference know it; without it the stored run is shown."""
    (tmp_path / "site").mkdir()
    (tmp_path / "work").mkdir()
    project = KindProject(tmp_path / "work")
    project.path = str(installed(tmp_path / "site", example()))

    check = project.tunegate("suite", "check", "demo")
    assert check.returncode == 0, check.stderr
    plan = project.tunegate("plan", "demo")
    assert "edit_similarity::worst_case 0.3" in plan.stdout, plan.stderr
    gate = project.tunegate(
        "gate", "demo", "--base", "replay:base.jsonl", "--tuned", "replay:tuned.jsonl",
        "--run-dir", "run",
    )  # fmt: skip
    assert gate.returncode == 0, gate.stdout + gate.stderr
    verdict = json.loads((project.folder / "run" / "verdict.json").read_text("utf-8"))
    (stored,) = verdict["suites"][0]["gates"]
    assert (stored["kind"], stored["status"]) == ("worst_case", "pass")
    assert stored["estimate"] == pytest.approx(0.1)
    page = (project.folder / "run" / "report.html").read_text("utf-8")
    assert "<b>worst_case</b>: no case loses more than 0.3" in page
    assert stored["sentence"] in page
    reference = project.run(
        "-c",
        "import runpy, sys; print(runpy.run_path(sys.argv[1])['render']())",
        str(ROOT / "docs" / "reference" / "make_suite_file.py"),
    )
    assert "| `worst_case` | `worst_case` | guardrail | no case loses" in reference.stdout

    project.path = ""
    report = project.tunegate("report", "run")
    assert report.returncode == 0, report.stderr
    assert stored["sentence"] in (project.folder / "run" / "report.html").read_text("utf-8")
    again = project.tunegate("suite", "check", "demo")
    assert "unknown key 'worst_case'" in again.stdout + again.stderr
    assert registry.GROUP == "tunegate.gates"


def test_a_kind_that_ends_the_process_gives_no_exit_code(tmp_path: Path) -> None:
    """`sys.exit(0)` while the page is drawn: the reports are missing, so the run is an error."""
    (tmp_path / "site").mkdir()
    (tmp_path / "work").mkdir()
    project = KindProject(tmp_path / "work")
    ends = "\n\ndef ends(self, result):\n    raise SystemExit(0)\n"
    code = f"{example()}{ends}\n\ntype(worst_case).reference = ends\n"
    project.path = str(installed(tmp_path / "site", code))

    gate = project.tunegate(
        "gate", "demo", "--base", "replay:base.jsonl", "--tuned", "replay:tuned.jsonl",
        "--run-dir", "run",
    )  # fmt: skip

    assert gate.returncode == 13, gate.stdout + gate.stderr
    assert "the reports could not be written: SystemExit(0)" in gate.stdout
