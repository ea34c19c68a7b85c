"""An artifact and its fine-tune answer the suites and are compared, without base."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_models import SUITE_CASES as N
from tests.tiny_models import write_suite
from tunegate.harness.records.errors import NotComparable
from tunegate.harness.records.parity import ParityStatus
from tunegate.harness.run.artifact_comparison import ArtifactComparison
from tunegate.harness.suite import Suite, load_suite

SUITE = """
name = "tiny"
cases = "cases.jsonl"

[generation]
template = "none"
max_new_tokens = 6

[[metrics]]
use = "exact_match"
[[metrics]]
use = "rubric"
criteria = "Is it short?"

[[gates]]
metric = "exact_match"
floor = 0.9
[[gates]]
metric = "rubric"
tolerance = 0.1
"""


@pytest.fixture(name="suite")
def _suite(tiny: Any, ask: Any, tmp_path: Path) -> Suite:
    """Load a suite whose right answers are the tiny adapter's own."""
    return load_suite(write_suite(tmp_path / "suite", SUITE, tiny, ask))


@pytest.fixture(name="merged", scope="module")
def _merged(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tunegate.trainers.artifacts import save_merged

    folder = tmp_path_factory.mktemp("merged")
    save_merged(tiny.base(), tiny.adapter(), folder, dtype="float32")
    return folder


def comparison(tiny: Any, suite: Suite, *, said: list[str], **changes: Any) -> ArtifactComparison:
    """Return the comparison with the tiny adapter; its notes go to `said`."""
    store = suite.path.parent / "store.sqlite"
    parts = {"suites": [suite], "base": str(tiny.base()), "adapter": str(tiny.adapter())}
    return ArtifactComparison(**{**parts, "store": store, "say": said.append, **changes})


def test_a_merge_is_equivalent_by_the_scores_that_no_judge_gives(
    tiny: Any, suite: Suite, merged: Path
) -> None:
    parity = comparison(tiny, suite, said=[]).compare(str(merged))

    assert parity.status is ParityStatus.EQUIVALENT
    assert [metric.metric for metric in parity.suites[0].metrics] == ["exact_match"]
    assert parity.suites[0].agreement is not None
    assert parity.suites[0].agreement.same == N


def test_base_is_asked_nothing(tiny: Any, suite: Suite, merged: Path) -> None:
    merge = comparison(tiny, suite, said=[])
    merge.compare(str(merged))

    db = sqlite3.connect(merge.store)
    stored = db.execute("SELECT COUNT(*) FROM cells").fetchone()[0]
    db.close()
    assert stored == 2 * N


def test_a_merge_onto_another_precision_than_the_trainings_is_said(
    tiny: Any, suite: Suite, merged: Path, tmp_path: Path
) -> None:
    adapter = shutil.copytree(tiny.adapter(), tmp_path / "adapter")
    card = {"base": {"trained_as": "nf4 (bitsandbytes)"}}
    (adapter / "tunegate_training.json").write_text(json.dumps(card), encoding="utf-8")
    said: list[str] = []
    comparison(tiny, suite, said=said, adapter=str(adapter)).compare(str(merged))

    note = "trained on weights in nf4 (bitsandbytes) and is put on weights in float32"
    assert any(line.startswith(f"the adapter was {note}") for line in said)


def test_an_artifact_that_is_base_is_refused(tiny: Any, suite: Suite) -> None:
    with pytest.raises(NotComparable, match="base and shipped have identical weights"):
        comparison(tiny, suite, said=[]).compare(str(tiny.base()))
