"""What every built-in kind of gate owes beside its own test."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from string import Formatter
from typing import Any

import pytest

from benchmarks.error_rates.runs import BOUNDS
from tests.frozen_runs import recipes
from tunegate.harness.contracts import lookup
from tunegate.harness.gates.contract.gate_kind import GateKind
from tunegate.harness.gates.contract.registry import PACKAGE, gate_kind
from tunegate.harness.gates.contract.sentences import gate_words
from tunegate.harness.gates.contract.words import SHARED, GateWords
from tunegate.harness.records.gate_results import GateReason, GateResult, GateStatus

ROOT = Path(__file__).parents[2]
KINDS = [gate_kind(name) for name in lookup.module_names(PACKAGE)]
SLOTS = [field.name for field in dataclasses.fields(GateWords)]

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


class RecordedSuites:
    """A project that keeps the suites that a recipe writes, and runs nothing."""

    def __init__(self) -> None:
        self.gates: list[dict[str, Any]] = []

    def suite(self, name: str, text: str, cases: object) -> None:
        """Keep the gates."""
        self.gates += tomllib.loads(text)["gates"]

    def script(self, *args: object, **options: object) -> str:
        """Write nothing."""
        return ""

    gate = script


@every_kind
def test_a_frozen_run_has_a_gate_of_each_kind(kind: GateKind) -> None:
    project: Any = RecordedSuites()
    recipes.ship_every_gate_kind(project)

    assert [table for table in project.gates if kind.key_in(table)]


@every_kind
def test_the_glossary_names_each_kind(kind: GateKind) -> None:
    page = (ROOT / "docs" / "concepts" / "verdicts.md").read_text("utf-8")
    (row,) = [line for line in page.splitlines() if line.startswith("| gate |")]

    assert f"`{kind.name}`" in row


@every_kind
def test_the_error_rate_of_each_kind_is_simulated(kind: GateKind) -> None:
    """At its bound; kinds that test the difference rest on one rule, which has a group each."""
    assert kind.tests_difference or kind.name in BOUNDS


def _result(kind: GateKind, status: GateStatus, reason: GateReason | None) -> GateResult:
    return GateResult(
        metric="m", kind=kind.name, status=status, reason=reason, sentence="", confidence=0.9,
        method="x", margin=0.1, n=9, base=0.5, tuned=0.4, delta=-0.1, low=-0.2, high=0.0,
    )  # fmt: skip


@every_kind
def test_each_kind_has_words_for_every_end(kind: GateKind) -> None:
    """No slot is empty but an assumption, and no brace is left."""
    ends = [(GateStatus.PASS, None), (GateStatus.FAIL, None), (GateStatus.UNDECIDED, None)]
    ends += [(GateStatus.FAIL, reason) for reason in GateReason]
    ends += [(GateStatus.UNDECIDED, reason) for reason in GateReason]

    for status, reason in ends:
        result = _result(kind, status, reason)
        words = {slot: gate_words(result, slot) for slot in SLOTS}

        assert [slot for slot, text in words.items() if not text] in ([], ["assumption"])
        assert [text for text in words.values() if "{" in text or "}" in text] == []


@every_kind
def test_the_templates_of_each_kind_name_fields_that_exist(kind: GateKind) -> None:
    """Those of codes that only a run reaches, too."""
    common = {"arm", "metric", "kind", "method", "cases", "value", "interval", "change", "movement"}
    common |= {"base", "margin", "bound", "more", *SLOTS}
    # Of findings, which take the pairs of a run.
    found = {"unseen", "count", "reach", "clusters"}
    own = set(kind.phrases(_result(kind, GateStatus.PASS, None)))

    for words in (kind.words, SHARED):
        for slot in SLOTS:
            templates = getattr(words, slot)
            by_code = {"": templates} if isinstance(templates, str) else templates
            named = {f for text in by_code.values() for _, f, _, _ in Formatter().parse(text) if f}
            assert named <= common | found | own


def test_a_gate_that_fails_for_a_reason_without_words_is_broken() -> None:
    codes = (GateStatus.FAIL,)

    assert GateKind.words.template("conclusion", codes) == "{rule} is broken"
    assert GateKind.words.template("brief", codes) == "{rule} is broken"
