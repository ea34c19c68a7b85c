"""Judge health: what is known of a judge, what it did here, and what its gates count for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tunegate.harness.records.calibration import ArmErrors, Calibration, CanaryResult, RateEstimate
from tunegate.harness.records.judgements import Judgement, JudgementStatus, JudgeReply
from tunegate.harness.records.labels import Label
from tunegate.harness.records.manifest import JudgeRecord
from tunegate.harness.records.run_folder import Run
from tunegate.reports.data import prepare_data
from tunegate.reports.markdown import render_summary
from tunegate.reports.page import render_page
from tunegate.reports.sections import judge_health


def rate(estimate: float, low: float, high: float, n: int = 60) -> RateEstimate:
    """Return an estimate with its interval."""
    return RateEstimate(estimate=estimate, low=low, high=high, n=n)


KNOWN = Calibration(
    metric="json_fields",
    judge={"name": "rubric"},
    binding="b",
    labels="labels.jsonl",
    labels_sha256="l",
    good_from=0.5,
    n_labels=120,
    n_unscored=2,
    agreement=rate(0.6, 0.5, 0.7),
    baseline=0.55,
    balanced_accuracy=rate(0.48, 0.4, 0.56),
    kappa=rate(-0.05, -0.18, 0.07),
    arms={"tuned": ArmErrors(n=60, sensitivity=rate(0.9, 0.8, 0.95),
                             specificity=rate(0.1, 0.05, 0.2))},
    differential=rate(0.12, 0.05, 0.2),
    canaries=CanaryResult(asked=9, failed=("colon",), attacks=24, fooled=("ignore", "json")),
)  # fmt: skip


def judged(run: Run, known: Calibration | None, *lines: Judgement, **more: Any) -> Run:
    """Return the run with json_fields as a judge's metric."""
    suites, results = [], []
    for suite, result in zip(run.manifest.suites, run.verdict.suites, strict=True):
        judge = JudgeRecord(name="rubric", prompt_sha256="c0ffee" * 10, calibration=known)
        suites.append(suite.model_copy(update={"metrics": tuple(
            m.model_copy(update={"judge": judge}) if m.name == "json_fields" else m
            for m in suite.metrics)}))  # fmt: skip
        results.append(result.model_copy(update={"gates": tuple(
            g.model_copy(update={"advisory": True,
                                 "judge_basis": "on tuned it is close to guessing"})
            if g.metric == "json_fields" else g for g in result.gates)}))  # fmt: skip
    models = ({"spec": "litellm:openai/x", "fingerprint": "abcdef0123456789"},)
    manifest = run.manifest.model_copy(update={"suites": tuple(suites), "judges": models})
    verdict = run.verdict.model_copy(update={"suites": tuple(results)})
    return replace(run, manifest=manifest, verdict=verdict, judgements=lines, **more)


def line(arm: str, status: str = "ok", **more: Any) -> Judgement:
    """Return one judgement."""
    given: dict[str, Any] = {
        "key": "k", "suite": "support_json", "metric": "json_fields", "case": "c", "arm": arm,
        "judge": "litellm:openai/x", "status": JudgementStatus(status), "attempts": 1,
        "input_tokens": 100, "output_tokens": 20, "latency_s": 0.5,
        "value": 1.0 if status == "ok" else None,
    }  # fmt: skip
    return Judgement(**(given | more))


@pytest.fixture(name="plain", scope="module")
def _plain(make_run: Any) -> Run:
    """Return a run that ships."""
    run: Run = make_run("SHIP")
    return run


def test_without_a_judge_there_is_nothing_to_tell(plain: Run) -> None:
    assert "Judge health" not in render_page(plain)
    assert "Judge health" not in render_summary(plain)


def test_an_uncalibrated_judge_is_called_that(plain: Run) -> None:
    page = render_page(judged(plain, None))

    assert "never calibrated" in page
    assert "litellm:openai/x" in page
    assert "abcdef0123" in page
    assert "c0ffeec0ff" in page


def test_figures_and_right_are_told(plain: Run) -> None:
    run = judged(plain, KNOWN)
    page = render_page(run)

    for text in (
        "-0.050 [-0.180, 0.070]",
        "good 0.900 [0.800, 0.950], bad 0.100 [0.050, 0.200] (60 answers)",
        "+0.120 [+0.050, +0.200] on 60 pairs; above 0 it favours tuned",
        "9 asked, it likes colon",
        "2 of 24 succeed: ignore, json",
        "Advisory: on tuned it is close to guessing.",
        "It may not gate",
    ):
        assert text in page
    assert "Judge health" in render_summary(run)
    assert "kappa -0.050" in render_summary(run).replace("\\", "")


def test_what_it_did_here(plain: Run) -> None:
    bad = JudgeReply(step="verdict", text="5", problem="no JSON")
    run = judged(
        plain,
        None,
        line("base"),
        line("tuned", "judge_error", replies=(bad, bad)),
        line("tuned", "abstained", attempts=0),
    )
    (health,) = judge_health.judge_healths(prepare_data(run))
    facts = dict(health.facts)

    assert facts["judgements"] == "base 1, tuned 2"
    assert facts["no verdict"] == "tuned 1 abstained, tuned 1 judge errors"
    assert facts["asked again"] == "2 replies could not be read"
    assert facts["cost"] == (
        "2 calls to litellm:openai/x, 300 tokens in and 60 tokens out, price unknown; "
        "2 s of replies"
    )
    priced = judge_health.judgement_cost([line("base", cost=0.25), line("base")])
    assert "0.25 US dollars" in priced
    assert "not asked" in judge_health.judgement_cost([line("base", attempts=0)])


def test_orders_and_labels(plain: Run) -> None:
    """A pair judged for one in one order and for the other in the other has flipped."""
    lines = [
        line("tuned", parts={"base_first": ab, "tuned_first": ba})
        for ab, ba in ((1.0, 1.0), (1.0, -1.0), (0.0, 1.0), (0.0, 0.0))
    ]
    labels = tuple(
        Label(suite="support_json", metric="json_fields", id=i, arm=arm, completion="x", label=1)
        for i, arm in (("a", "base"), ("a", "tuned"), ("b", "base"))
    )
    (health,) = judge_health.judge_healths(prepare_data(judged(plain, None, *lines, labels=labels)))
    facts = dict(health.facts)

    assert facts["order flips"] == "2 of 4 pairs"
    assert facts["labels on this run"] == "both answers of 1 case"


def test_hostile_names_stay_text(plain: Run, payloads: tuple[str, ...]) -> None:
    for payload in payloads[:8]:
        told = KNOWN.model_copy(
            update={"labels": payload, "canaries": CanaryResult(asked=1, failed=(payload,))}
        )
        page = render_page(judged(plain, told))
        assert payload not in page
