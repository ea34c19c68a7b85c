"""Real artifacts of a tiny adapter: merged rightly, with a wrong scale, and with nothing in it."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_models import muted
from tunegate.harness.engine.inference import local_engine
from tunegate.harness.records.cases import Case
from tunegate.harness.records.verdict import VerdictRecord
from tunegate.harness.run.evaluate import evaluate
from tunegate.harness.run.options import RunOptions
from tunegate.harness.suite import load_suite
from tunegate.trainers import artifacts

SUITE = """
name = "tiny"
cases = "cases.jsonl"

[generation]
template = "none"
max_new_tokens = 6

[[metrics]]
use = "exact_match"

[[gates]]
metric = "exact_match"
floor = 0.9
gain = 0.1
"""
WORDS = ("parcel", "late", "refund", "customer", "capital", "France", "Spain", "Madrid")
N = 60


@pytest.fixture(name="judge")
def _judge(tiny: Any, tmp_path: Path, ask: Any) -> Callable[[str], VerdictRecord]:
    """Run the tiny base, its adapter and an artifact through a suite of 60 cases.

    Right is what the adapter answers, so that it is always right and base hardly ever.
    """
    cases = [Case(id=f"c{i}", prompt=f"{WORDS[i % 8]} {WORDS[i // 8]} the") for i in range(N)]
    with muted():
        tuned: Any = tiny.pair()["tuned"]
        answers = local_engine.complete_requests(tuned, ask(tuned, cases, max_new_tokens=6))
        right = {a.key: a.completion.text for a in answers if a.completion}
    folder = tmp_path / "suite"
    folder.mkdir()
    (folder / "suite.toml").write_text(SUITE, encoding="utf-8")
    rows = [{"id": c.id, "prompt": c.prompt, "expected": right[c.id]} for c in cases]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "cases.jsonl").write_text(lines, encoding="utf-8")

    def judge(shipped: str) -> VerdictRecord:
        options = RunOptions(
            suites=(load_suite(folder / "suite.toml"),),
            specs={"base": str(tiny.base()), "tuned": str(tiny.adapter()), "shipped": shipped},
            folder=tmp_path / "run",
            store=tmp_path / "store.sqlite",
            stream=io.StringIO(),
        )
        return evaluate(options)

    return judge


def test_a_merge_in_float32_is_equivalent(tiny: Any, tmp_path: Path, judge: Any) -> None:
    with muted():
        made = artifacts.build_artifact(
            artifacts.find_artifact("merged"), tiny.base(), tiny.adapter(), tmp_path / "merged"
        )
    verdict = judge(made.spec)

    parity: Any = verdict.further_arms["shipped"]
    [suite] = parity.suites
    assert (verdict.verdict, parity.status) == ("SHIP", "equivalent")
    assert (suite.agreement.answers, suite.agreement.same) == (N, N)
    assert suite.divergence.answers == 50
    assert suite.divergence.tokens >= 50
    assert 0 <= suite.divergence.kl < 1e-6
    assert suite.divergence.same_choice == suite.divergence.until == 1.0
    assert parity.step == "the adapter merged into the weights"


def test_a_merge_with_the_wrong_scale_is_blocked(
    tiny: Any, tmp_path: Path, judge: Any, copied: Any
) -> None:
    wrong = copied(tiny.adapter(), file="adapter_config.json", lora_alpha=16)
    with muted():
        made = artifacts.build_artifact(
            artifacts.find_artifact("merged"), tiny.base(), wrong, tmp_path / "merged"
        )
    verdict = judge(made.spec)

    parity: Any = verdict.further_arms["shipped"]
    [suite] = parity.suites
    assert (verdict.verdict, parity.status) == ("BLOCK", "not_equivalent")
    assert suite.agreement.same < N
    assert suite.divergence.kl > 0.01
    assert suite.divergence.until < 1


def test_a_merge_without_the_adapter_is_refused(tiny: Any, tmp_path: Path, judge: Any) -> None:
    shutil.copytree(tiny.base(), tmp_path / "lost")
    verdict = judge(str(tmp_path / "lost"))

    assert verdict.verdict == "NOT_COMPARABLE"
    assert "the fine-tune was lost on the way to what ships" in verdict.sentence


def test_a_lost_adapter_is_told_by_its_logits(tiny: Any, tmp_path: Path, judge: Any) -> None:
    from transformers import AutoModelForCausalLM

    with muted():
        model = AutoModelForCausalLM.from_pretrained(tiny.base())
        model.save_pretrained(tmp_path / "lost", max_shard_size="20KB")
    for path in tiny.base().glob("*token*"):
        shutil.copy(path, tmp_path / "lost")
    verdict = judge(str(tmp_path / "lost"))

    assert verdict.verdict == "NOT_COMPARABLE"
    assert "shipped computes base's logits exactly" in verdict.sentence


def test_sixteen_bits_are_named(tiny: Any, tmp_path: Path, judge: Any) -> None:
    with muted():
        made = artifacts.build_artifact(
            artifacts.find_artifact("merged_16bit"), tiny.base(), tiny.adapter(), tmp_path / "out"
        )
    parity = judge(made.spec).further_arms["shipped"]

    assert parity.step == ("the adapter merged into the weights, the weights stored as bfloat16")
    assert parity.suites[0].divergence.kl > 1e-9


def test_shipped_changes_no_batch(tiny: Any, tmp_path: Path, judge: Any) -> None:
    from tunegate.harness.engine.plan import make_plan
    from tunegate.harness.models.open_arms import open_arms
    from tunegate.harness.models.scripted import scripted

    (tmp_path / "script.json").write_text('{"default": "x", "prefix": "long " }', encoding="utf-8")
    with muted():
        arms = open_arms({"base": str(tiny.base()), "tuned": str(tiny.adapter())})
    suite = load_suite(tmp_path / "suite" / "suite.toml")
    beside = {**arms, "shipped": scripted(str(tmp_path / "script.json"))}
    alone, three = (make_plan([suite], a, seed=0) for a in (arms, beside))

    assert three.batches == alone.batches
    assert tuple(c for c in three.cells if c.arm != "shipped") == alone.cells
