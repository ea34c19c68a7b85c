"""The noise floor: base asked again, only where arithmetic is inexact, on the tuned arm's way."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness import suite as suites
from tunegate.harness.contracts.further_arm import BASE_AGAIN, add_derived_arms
from tunegate.harness.engine.answer_cache import AnswerCache
from tunegate.harness.engine.noise_sample import noise_sample
from tunegate.harness.engine.plan import make_plan
from tunegate.harness.engine.progress import ProgressReporter
from tunegate.harness.engine.runner import Runner, collect_answers
from tunegate.harness.models.open_arms import open_arms

TOML = """
name = "s"
cases = "cases.jsonl"
[generation]
template = "none"
max_new_tokens = 6
latency_cases = 2
[[metrics]]
use = "exact_match"
[[metrics]]
use = "answer_logprob"
[[metrics]]
use = "latency"
[[gates]]
metric = "exact_match"
tolerance = 0.5
"""
WORDS = ("refund", "parcel", "late", "Paris", "customer", "capital", "Spain", "wants", "got")


@pytest.mark.parametrize(("dtype", "asked"), [("float32", False), ("bfloat16", True)])
def test_base_is_asked_again_where_arithmetic_is_inexact(
    tiny: Any, dtype: str, asked: bool
) -> None:
    """In float32 nothing is measured; in bfloat16 base becomes a third arm."""
    specs = {"base": str(tiny.base()), "tuned": str(tiny.adapter())}

    arms = add_derived_arms(open_arms(specs, dtype=dtype))

    assert (BASE_AGAIN in arms) is asked


def test_recorded_arms_have_no_arithmetic(scripted: Callable[..., str]) -> None:
    spec = scripted("m", completions={"c0": "yes"})

    assert set(add_derived_arms(open_arms({"base": spec, "tuned": spec}))) == {"base", "tuned"}


@pytest.mark.parametrize(
    ("n", "asked"), [(3, 3), (400, 400), (401, 400), (800, 400), (1001, 501), (4000, 2000)]
)
def test_the_sample_grows_with_the_suite(n: int, asked: int) -> None:
    """All of 400 cases, half of more than 800: a fixed number would leave every claim unproven."""
    assert len(noise_sample([f"c{i}" for i in range(n)], suite="s", seed=0)) == asked


def test_the_sample_is_seeded() -> None:
    """The same for one seed whatever the cases' order, others for another; a size may be given."""
    cases = [f"c{i}" for i in range(1000)]
    chosen = noise_sample(cases, suite="s", seed=0)

    assert len(noise_sample(cases, suite="s", seed=0, size=50)) == 50
    assert chosen == noise_sample(reversed(cases), suite="s", seed=0)
    assert chosen != noise_sample(cases, suite="s", seed=1)
    assert noise_sample(cases[:3], suite="s", seed=0) == set(cases[:3])


def test_base_again_goes_the_tuned_arms_way(
    tiny: Any, suite_folder: Callable[..., Path], tmp_path: Path
) -> None:
    """Every sampled question but the timed ones gets a third cell with a key of its own.

    Its answers come by verified drafts of base's, as the tuned arm's do.
    """
    cases = [{"id": f"c{i}", "prompt": f"the {w} is", "expected": w} for i, w in enumerate(WORDS)]
    suite = suites.load_suite(suite_folder(TOML, cases))
    specs = {"base": str(tiny.base()), "tuned": str(tiny.adapter())}
    arms = add_derived_arms(open_arms(specs, dtype="bfloat16"))
    plan = make_plan([suite], arms, seed=0)
    runner = Runner(
        plan, arms, AnswerCache(tmp_path / "s.sqlite"), ProgressReporter(1.0, stream=io.StringIO())
    )

    runner.run()

    again = [c for c in collect_answers(plan, runner.store, set()) if c.cell.arm == BASE_AGAIN]
    assert {(c.cell.kind.value, c.cell.case) for c in again} == {
        (kind, case["id"]) for kind in ("generate", "answer") for case in cases
    }
    assert all(c.completion for c in again)
    assert not {c.cell.key for c in again} & {c.key for c in plan.cells if c.arm == "base"}
    assert runner.acceptance[BASE_AGAIN, "base"].share("s") is not None
