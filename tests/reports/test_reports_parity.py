"""What ships, in page, summary and JUnit: there with a shipped arm, and only then."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tunegate.harness.records.gate_results import GateResult, GateStatus
from tunegate.harness.records.parity import (
    AnswerAgreement,
    DeploymentParity,
    MetricParity,
    ParityStatus,
    PredictionDivergence,
    SuiteParity,
)
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.verdict import Verdict
from tunegate.reports import page
from tunegate.reports.junit import render_junit
from tunegate.reports.markdown import render_summary

SENTENCE = "what ships is not equivalent to tuned: json_fields lost 0.169"
STEP = "the adapter merged into the weights, the weights stored as nf4 (bitsandbytes)"
METRIC = MetricParity(
    metric="json_fields",
    status=ParityStatus.NOT_EQUIVALENT,
    sentence="json_fields is 0.81 tuned and 0.641 shipped: beyond ±0.05 (the default)",
    tuned=0.81,
    shipped=0.641,
    delta=-0.169,
    low=-0.2,
    high=-0.138,
    confidence=0.9,
    method="paired t and Hall, the wider of both",
    margin=0.05,
    margin_from="the default",
    n=250,
)


def with_parity(run: Run, **suite: Any) -> Run:
    """Return a run with a shipped arm that is not equivalent."""
    broken: GateResult = (
        run.verdict.suites[0]
        .gates[0]
        .model_copy(
            update={"status": GateStatus.FAIL, "sentence": "shipped: the floor of 0.8 is broken"}
        )
    )
    found = SuiteParity(
        **{
            "name": "support_json",
            "status": ParityStatus.NOT_EQUIVALENT,
            "metrics": (METRIC,),
            "guards": (broken,),
            "guards_verdict": Verdict.BLOCK,
            "agreement": AnswerAgreement(answers=250, same=101, until=0.412),
            "divergence": PredictionDivergence(
                answers=50, tokens=1234, kl=0.0412, logprob=-0.05, same_choice=0.934, until=0.55
            ),
            **suite,
        }
    )
    parity = DeploymentParity(
        status=ParityStatus.NOT_EQUIVALENT,
        verdict=Verdict.BLOCK,
        sentence=SENTENCE,
        step=STEP,
        suites=(found,),
    )
    arms = {**run.verdict.arms, "shipped": {"spec": "out/nf4"}}
    return replace(
        run,
        verdict=run.verdict.model_copy(update={"further_arms": {"shipped": parity}, "arms": arms}),
    )


@pytest.fixture(name="run", scope="module")
def _run(make_run: Any) -> Run:
    return make_run("SHIP")


def test_the_page_shows_tuned_and_shipped(run: Run) -> None:
    """Step, numbers, answers, tokens and the guard that broke; right behind the gates."""
    html = page.render_page(with_parity(run))

    assert html.index('id="gates"') < html.index('id="shipped"') < html.index('id="regressions"')
    for text in (
        "What ships",
        SENTENCE,
        STEP,
        "out/nf4",
        "−0.169",
        "−0.200 to −0.138",
        "±0.05",
        "101 of 250 answers equal byte for byte",
        "41.2 % of the longer text",
        "1,234 tokens",
        "93.4 %",
        "shipped: the floor of 0.8 is broken",
        "0 of 1 guard of the suite hold for shipped too",
    ):
        assert text in html


def test_without_a_shipped_arm_nothing_is_said(run: Run) -> None:
    assert 'id="shipped"' not in page.render_page(run)
    assert "What ships" not in render_summary(run)
    assert "shipped" not in render_junit(run)


def test_what_is_not_known_is_left_out(run: Run) -> None:
    html = page.render_page(
        with_parity(run, agreement=None, divergence=None, metrics=(), guards=())
    )

    assert "equal byte for byte" not in html
    assert "KL(tuned‖shipped)" not in html
    assert "gates nothing that tuned and shipped could be compared by" in html


def test_the_summary_has_a_table(run: Run) -> None:
    text = render_summary(with_parity(run))

    assert "### What ships" in text
    assert (
        "| ✕ not equivalent | `support_json` | `json_fields` | 0.810 | 0.641 | −0.169 | "
        "−0.200 to −0.138 | ±0.05 |" in text
    )
    assert "- `support_json`: 101 of 250 answers equal" in text


def test_junit_has_a_testcase_for_it(run: Run) -> None:
    root = ET.fromstring(render_junit(with_parity(run)))
    [case] = [c for c in root.iter("testcase") if c.get("name") == "shipped"]
    failure = case.find("failure")

    assert failure is not None
    assert failure.get("message") == SENTENCE
    assert failure.get("type") == "not_equivalent"
