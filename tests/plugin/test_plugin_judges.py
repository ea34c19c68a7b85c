"""Judge metrics in a run: after the completions, before the verdict, advisory, nothing twice."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fake_server import FakeServer, completion, prompt_of
from tunegate.harness.records.judgements import judge_spending
from tunegate.harness.records.run_folder import Run

SUITE = """\
name = "civil"
cases = "cases.jsonl"
[[metrics]]
use = "exact_match"
[[metrics]]
use = "rubric"
name = "apology"
criteria = "Apologises."
[[gates]]
metric = "exact_match"
floor = 0.2
{more}
"""
GATE = '[[gates]]\nmetric = "apology"\ntolerance = 0.05\n'
HONEST = {
    "rules": [{"contains": "yes\n<</completion", "reply": {"score": 5, "reason": "says yes"}}],
    "default": {"score": 1, "reason": "says no"},
}


@pytest.fixture(name="judge")
def _judge(project: Any) -> str:
    """A judge that gives 5 to `yes` and 1 to `no`."""
    return script(project.path, "judge", HONEST)


def script(folder: Path, name: str, content: dict[str, Any]) -> str:
    """Write a judge's script; return its spec."""
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return f"scripted:{path}"


def suite(project: Any, more: str = GATE, n: int = 20) -> None:
    """Write the suite."""
    cases = [{"id": f"c{i:03}", "prompt": f"q{i}", "expected": "yes"} for i in range(n)]
    project.raw_suite(SUITE.format(more=more), cases, "civil")


def test_scores_judgements_and_manifest_are_in_the_run(project: Any, judge: str) -> None:
    """Base says yes to 6 of 20, tuned to 19: levels 0.3 and 0.95, a line for each completion."""
    suite(project)

    result = project.gate(*project.models(base=6, tuned=19), f"--gate-judge={judge}")

    assert result.ret == 0
    run = Run.load(project.run)
    gate = next(g for s in run.verdict.suites for g in s.gates if g.metric == "apology")
    assert (gate.base, gate.tuned) == (0.3, 0.95)
    assert gate.advisory
    assert len(run.judgements) == 40
    assert {j.status for j in run.judgements} == {"ok"}
    assert {j.judge for j in run.judgements} == {judge}
    assert [j["spec"] for j in run.manifest.judges] == [judge]
    record = run.manifest.suites[0].metrics[1].judge
    assert record is not None
    assert len(record.prompt_sha256) == 64


def test_identical_completions_are_judged_once(project: Any, judge: str) -> None:
    """40 completions are 40 questions at most; where both arms say the same, one serves both."""
    suite(project)

    project.gate(*project.models(base=6, tuned=19), f"--gate-judge={judge}")

    lines = Run.load(project.run).judgements
    both = {(j.case, j.key) for j in lines}
    assert len(both) == 40 - 7  # base and tuned agree on 6 times yes and once no
    assert sum(j.attempts for j in lines) == 33


def test_a_broken_judge_gate_cannot_block(project: Any) -> None:
    suite(project, GATE + "floor = 0.9\n")
    harsh = script(project.path, "harsh", {"default": {"score": 1, "reason": "no"}})

    result = project.gate(*project.models(base=6, tuned=19), f"--gate-judge={harsh}")

    assert result.ret == 0
    verdict = project.verdict()
    gates = {(g["metric"], g["kind"]): g for s in verdict["suites"] for g in s["gates"]}
    assert gates["apology", "floor"]["status"] == "fail"
    assert verdict["verdict"] == "SHIP"


def test_an_advisory_goal_cannot_ship(project: Any, judge: str) -> None:
    suite(project, '[[gates]]\nmetric = "apology"\ngain = 0.1\n')

    result = project.gate(*project.models(base=6, tuned=19), f"--gate-judge={judge}")

    assert result.ret != 0
    assert project.verdict()["verdict"] == "UNDECIDED"


def test_cases_count_as_scored_where_every_gate_is_advisory(project: Any) -> None:
    """Of 20 cases the judge leaves one unscored: 19 are, though no gate decides."""
    cases = [{"id": f"c{i:03}", "prompt": f"q{i}", "expected": "yes"} for i in range(20)]
    only = SUITE.replace('[[gates]]\nmetric = "exact_match"\nfloor = 0.2\n', "")
    project.raw_suite(only.format(more=GATE), cases, "civil")
    rules = [{"contains": "q3\n", "fail": "HTTP 500"}, *HONEST["rules"]]
    broken = script(project.path, "broken", {**HONEST, "rules": rules})

    project.gate(*project.models(base=6, tuned=19), f"--gate-judge={broken}")

    (found,) = project.verdict()["suites"]
    assert (found["n_planned"], found["n_scored"]) == (20, 19)
    assert found["n_unscored"] == {"base": 1, "tuned": 1}


def test_a_failing_judge_leaves_cases_unscored(project: Any) -> None:
    suite(project)
    rules = [{"contains": "q3\n", "fail": "HTTP 500"}, *HONEST["rules"]]
    broken = script(project.path, "broken", {**HONEST, "rules": rules})

    result = project.gate(*project.models(base=6, tuned=19), f"--gate-judge={broken}")

    assert result.ret == 0
    run = Run.load(project.run)
    bad = [j for j in run.judgements if j.status == "judge_error"]
    assert [(j.case, j.arm, j.value, j.reason) for j in bad] == [
        ("c003", "base", None, "HTTP 500"), ("c003", "tuned", None, "HTTP 500")
    ]  # fmt: skip
    row = run.score_table["civil", "apology", "c003", "tuned"]
    assert (row.value, row.reason) == (None, "judge_error: HTTP 500")
    gate = next(g for s in run.verdict.suites for g in s.gates if g.metric == "apology")
    assert gate.n == 19
    assert gate.advisory


def test_what_was_judged_is_not_judged_again(project: Any, judge: str) -> None:
    suite(project)
    options = [*project.models(base=6, tuned=19), f"--gate-judge={judge}"]
    project.gate(*options)
    first = (project.run / "verdict.json").read_bytes()

    project.gate(*options)

    run = Run.load(project.run)
    assert sum(j.attempts for j in run.judgements) == 0
    assert {j.value for j in run.judgements} == {0.0, 1.0}
    assert (project.run / "verdict.json").read_bytes() == first


def test_a_gate_on_a_judge_needs_one(project: Any) -> None:
    suite(project)

    result = project.gate(*project.models(base=6, tuned=19))

    assert result.ret == 4
    assert "the gate on 'apology' needs a judge" in result.stdout.str() + result.stderr.str()
    assert project.stored() == {}


@pytest.mark.parametrize("more", ["", GATE])
def test_a_run_may_go_without(project: Any, more: str) -> None:
    """With `none`, and without a gate on it, the metric is unscored and says why."""
    suite(project, more)
    without = ["--gate-judge=none"] if more else []

    result = project.gate(*project.models(base=6, tuned=19), *without)

    assert result.ret == 0
    run = Run.load(project.run)
    row = run.score_table["civil", "apology", "c000", "tuned"]
    assert row.value is None
    assert row.reason == "no judge was asked; name one with --gate-judge SPEC"
    assert run.judgements == ()


def test_a_jury_gives_its_median_and_its_spread(project: Any, judge: str) -> None:
    """Scores 1, 1 and 0 of three judges are 1 with a spread of 1; each leaves its line."""
    suite(project, n=2)
    kind = script(project.path, "kind", {"default": {"score": 5}})
    harsh = script(project.path, "harsh", {"default": {"score": 1}})

    project.gate(*project.models(base=0, tuned=2, n=2), f"--gate-judge={judge},{kind},{harsh}")

    run = Run.load(project.run)
    row = run.score_table["civil", "apology", "c000", "tuned"]
    assert (row.value, row.parts) == (1.0, {"jury_spread": 1.0})
    assert run.score_table["civil", "apology", "c000", "base"].value == 0.0
    assert [j.judge for j in run.judgements if j.case == "c000" and j.arm == "tuned"] == [
        judge, kind, harsh
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "said"),
    [("scripted:gone.json", "scripted:gone.json: cannot be read"),
     ("scripted:a,,scripted:b", "has an empty name"),
     ("scripted:a,scripted:a", "names a judge twice")],
)  # fmt: skip
def test_a_judge_that_cannot_be_opened_is_told_first(project: Any, given: str, said: str) -> None:
    suite(project)

    result = project.gate(*project.models(base=6, tuned=19), f"--gate-judge={given}")

    assert result.ret != 0
    assert said in result.stdout.str() + result.stderr.str()
    assert project.stored() == {}


def test_an_interrupted_judging_goes_on_where_it_was(
    project: Any, fake_server: Callable[..., FakeServer]
) -> None:
    """Ctrl-C while the judge is asked: exit 130, and resume asks only what was not answered."""

    def reply(model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        text = prompt_of(body)
        nonce = re.search(r"Nonce: (\w+)", text)
        assert nonce is not None
        score = 5 if "yes\n<</completion" in text else 1
        return completion(json.dumps({"nonce": nonce[1], "reason": "r", "score": score}))

    running = fake_server(models={"judge": {}}, reply=reply, latency_s=0.2)
    suite(project)
    models = [f"--{o.removeprefix('--gate-')}" for o in project.models(base=6, tuned=19)]
    judge = f"--judge=server:{running.url}?concurrency=2#judge"
    arguments = ["suites/civil", *models, judge]
    process = project.start("gate", *arguments, "--run-dir=run")
    deadline = time.monotonic() + 60
    while len(running.asked) < 6 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    asked = len(running.asked)

    result = project.tunegate("resume", "run", *arguments)

    assert process.returncode == 130, output
    assert asked < 33
    assert result.ret == 0, result.stdout.str() + result.stderr.str()
    run = Run.load(project.run)
    assert {j.status for j in run.judgements} == {"ok"}
    assert sum(j.attempts for j in run.judgements) >= 33 - asked
    assert len(running.asked) == 33  # what was under way was waited for, and kept


def answering(model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Answer a rubric: 5 where the completion says yes, else 1; the sixth reply is prose."""
    text = prompt_of(body)
    nonce = re.search(r"Nonce: (\w+)", text)
    assert nonce is not None
    score = 5 if "yes\n<</completion" in text else 1
    said = {"nonce": nonce[1], "reason": "r", "score": score}
    bad = "prompt q5\n" if "could not be used" not in text and "\nq5\n" in text else None
    return completion(bad or json.dumps(said))


def test_what_a_judge_took_is_what_went_over_the_wire(
    project: Any, fake_server: Callable[..., FakeServer]
) -> None:
    """Calls and tokens in terminal, summary, judgements and telemetry are those the server saw.

    20 cases, 33 answers that differ; two answers of case 5 are judged twice, their first reply
    being prose, and the third request fails with 503 and is repeated.
    """
    running = fake_server(
        models={"judge": {}}, reply=answering, faults=lambda n: "503" if n == 2 else None
    )
    suite(project)
    judge = f"--gate-judge=server:{running.url}?concurrency=1#judge"

    result = project.gate(*project.models(base=6, tuned=19), judge)

    run = Run.load(project.run)
    agree = len({j.key for j in run.judgements})
    again = sum(j.case == "c005" for j in run.judgements if j.attempts)
    assert running.posts == agree + again + 1
    assert sum(j.attempts for j in run.judgements) == running.posts
    (spent,) = judge_spending(run.judgements)
    words = sum(len(_said(body).split()) for body in running.asked)
    assert (spent.calls, spent.input_tokens) == (running.posts, 5 * len(running.asked))
    assert (spent.output_tokens, spent.cost) == (words, None)
    assert f"judging: civil apology: {spent.sentence}" in result.stdout.str()
    for page in ("summary.md", "report.html"):
        shown = (project.run / page).read_text(encoding="utf-8").replace("\\", "")
        assert f"{running.posts} calls to server:http" in shown
        assert f"{spent.input_tokens:,} tokens in and {spent.output_tokens:,} tokens out" in shown
    spans = [s for s in spans_of(project.run) if s["attributes"].get("tunegate.judge.attempt")]
    sent = [s["attributes"] for s in spans if not s["attributes"]["tunegate.cache.hit"]]
    resent = sum(a.get("http.request.resend_count", 0) for a in sent)
    assert len(sent) + resent == running.posts
    assert sum(a["gen_ai.usage.input_tokens"] for a in sent) == spent.input_tokens
    assert sum(a["gen_ai.usage.output_tokens"] for a in sent) == spent.output_tokens


def _said(body: dict[str, Any]) -> str:
    return str(answering("judge", "", body)["choices"][0]["message"]["content"])


def spans_of(folder: Path) -> list[dict[str, Any]]:
    """Return the spans of a run's traces, their attributes as a table."""
    lines = (folder / "traces.jsonl").read_text(encoding="utf-8").splitlines()
    spans = [
        span
        for line in lines
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]
    for span in spans:
        span["attributes"] = {a["key"]: _value_of(a["value"]) for a in span["attributes"]}
    return spans


def _value_of(value: dict[str, Any]) -> Any:
    ((kind, held),) = value.items()
    return int(held) if kind == "intValue" else held


def test_cost_is_told_before_it_is_spent(project: Any, judge: str) -> None:
    """40 answers of one question each, before the first is given; it asks for 33 that differ."""
    suite(project)

    result = project.gate(*project.models(base=6, tuned=19), f"--gate-judge={judge}")

    told = next(x for x in result.stderr.lines + result.stdout.lines if "will take up to" in x)
    assert f"civil: apology will take up to about 40 calls to {judge}, " in told
    assert "price unknown" in told
