"""The tree of spans: run, suite, case, and in it completions, checks and scores."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tunegate.harness.records.answers import Completion
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.records.verdict import Verdict
from tunegate.harness.telemetry.export.content import ContentCapture


def test_the_tree(written: Any, recorded: Any) -> None:
    """Run, suite, case, cell: each cell has one span under its case, all in one trace."""
    made = written()
    (root,), (suite,) = made.named("eval run"), made.named("eval suite")
    cases = {s["spanId"]: s["values"]["test.case.name"] for s in made.named("eval case")}

    assert "parentSpanId" not in root
    assert suite["parentSpanId"] == root["spanId"]
    assert sorted(cases.values()) == ["c1", "c2"]
    assert {s["parentSpanId"] for s in made.named("eval case")} == {suite["spanId"]}
    assert sorted(made.cells) == sorted(c.cell.key for c in recorded.cells)
    for stored in recorded.cells:
        assert cases[made.cells[stored.cell.key]["parentSpanId"]] == stored.cell.case
    assert {s["parentSpanId"] for s in made.named("eval check")} <= set(cases)
    assert {s["traceId"] for s in made.spans} == {root["traceId"]}


def test_every_case_has_one_span_and_one_for_each_arm(written: Any, recorded: Any) -> None:
    made = written()
    for case in ("c1", "c2"):
        (own,) = (s for s in made.named("eval case") if s["values"]["test.case.name"] == case)
        inner = [s for s in made.cells.values() if s["parentSpanId"] == own["spanId"]]
        generated = [s for s in inner if s["values"]["tunegate.cell.kind"] == "generate"]
        assert {s["values"]["tunegate.arm"] for s in generated} == {"base", "tuned"}
        assert len(generated) == 2


def test_run_and_suite(written: Any, recorded: Any) -> None:
    """What the run and its suite are, and how they ended."""
    made = written()
    (root,), (suite,) = made.named("eval run"), made.named("eval suite")

    assert root["name"] == "eval run s"
    assert root["values"] | suite["values"] == {
        "test.suite.name": "s",
        "test.suite.run.status": "success",
        "tunegate.run.id": "run-1",
        "tunegate.plan.sha256": sha256([c.cell.key for c in recorded.cells]),
        "tunegate.verdict": "SHIP",
        "tunegate.suite.sha256": "h" * 64,
        "tunegate.data.sha256": suite["values"]["tunegate.data.sha256"],
    }


@pytest.mark.parametrize(
    ("verdict", "status"),
    [("SHIP", "success"), ("BLOCK", "failure"), ("UNDECIDED", "failure"), ("ERROR", "aborted")],
)
def test_the_status_of_a_run(written: Any, recorded: Any, verdict: str, status: str) -> None:
    decided = replace(recorded.verdict, verdict=Verdict(verdict))
    (root,) = written(verdict=decided).named("eval run")
    assert root["values"]["test.suite.run.status"] == status
    assert root["values"]["tunegate.verdict"] == verdict


def test_the_data_has_a_hash(written: Any, recorded: Any) -> None:
    """Another prompt is other data; the same data has the same hash."""

    def hashed(**changed: Any) -> str:
        (suite,) = written(**changed).named("eval suite")
        return str(suite["values"]["tunegate.data.sha256"])

    other = recorded.cases[("s", "c1")].model_copy(update={"prompt": "another one"})
    assert hashed() == hashed()
    assert hashed(cases={**recorded.cases, ("s", "c1"): other}) != hashed()


def test_a_case(written: Any, recorded: Any) -> None:
    """Its name, subject, hash, and how it went: tuned lost what base had."""
    first, second = written().named("eval case")
    assert first["values"] == {
        "test.suite.name": "s",
        "test.case.name": "c1",
        "test.case.result.status": "fail",
        "tunegate.run.id": "run-1",
        "tunegate.case.id": "c1",
        "tunegate.case.subject": ["billing"],
        "tunegate.case.sha256": first["values"]["tunegate.case.sha256"],
        "tunegate.case.outcome": "regressed",
    }
    assert second["values"]["tunegate.case.outcome"] == "unscored"


def test_times(written: Any, recorded: Any) -> None:
    """A span lasts as long as its completion; nothing ends before it begins."""
    made = written()
    first = made.cells[recorded.cells[0].cell.key]
    assert int(first["startTimeUnixNano"]) == 1_700_000_000_250_000_000
    assert int(first["endTimeUnixNano"]) == 1_700_000_000_750_000_000
    assert all(int(s["startTimeUnixNano"]) <= int(s["endTimeUnixNano"]) for s in made.spans)
    (case, _) = made.named("eval case")
    assert int(case["startTimeUnixNano"]) == 1_700_000_000_250_000_000


def test_recorded_cells_have_no_time_of_their_own(written: Any, recorded: Any) -> None:
    """Answers that were recorded elsewhere stand at the run's start, not in 1970."""
    cell = replace(recorded.cells[0], started_s=0.0)
    made = written(cells=(cell,), judgements=())
    assert {int(s["startTimeUnixNano"]) for s in made.named("chat")} == {1_795_478_400_000_000_000}


def test_attributes_of_a_completion(written: Any, recorded: Any) -> None:
    key = recorded.cells[0].cell.key
    values = written().cells[key]["values"]
    params = values.pop("tunegate.gen.params")
    assert '"max_new_tokens":9' in params
    assert values == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "huggingface.transformers",
        "gen_ai.request.model": "models/base",
        "gen_ai.request.max_tokens": 9,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_p": 1.0,
        "gen_ai.request.stop_sequences": ["\n", "###"],
        "gen_ai.response.model": "models/base",
        "gen_ai.response.id": key,
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 3,
        "tunegate.run.id": "run-1",
        "tunegate.arm": "base",
        "tunegate.cell.kind": "generate",
        "tunegate.sample.index": 0,
        "tunegate.prompt.sha256": sha256("<u>the secret"),
        "tunegate.prompt.tokens.sha256": sha256([1, 2]),
        "tunegate.output.sha256": sha256("no"),
        "tunegate.weights.sha256": "w" * 64,
        "tunegate.template.sha256": "t" * 64,
        "tunegate.dtype": "float32",
        "tunegate.engine": "transformers 5.24",
        "tunegate.batch.size": 2,
        "tunegate.cache.hit": False,
        "tunegate.store.key": key,
    }


def test_a_scored_text_is_no_chat(written: Any, recorded: Any) -> None:
    values = written().cells[recorded.cells[2].cell.key]["values"]
    assert values["gen_ai.operation.name"] == "text_completion"
    assert not {"gen_ai.request.max_tokens", "tunegate.output.sha256"} & set(values)


def test_failures_are_errors(written: Any, recorded: Any) -> None:
    """A cell without an answer is a span with the status error, its reason and an error type."""
    made = written()
    types = ("completion_error", "completion_missing")
    for stored, kind in zip(recorded.cells[3:], types, strict=True):
        span = made.cells[stored.cell.key]
        assert span["status"] == {"code": 2, "message": stored.error}
        assert span["values"]["error.type"] == kind
        assert "gen_ai.response.id" not in span["values"]
    assert "status" not in made.cells[recorded.cells[0].cell.key]


def test_a_score_is_one_log_record(written: Any, recorded: Any) -> None:
    """It names the span that it is about; the deprecated span events are not written."""
    made = written()
    for stored, value, label in (
        (recorded.cells[0], 1.0, "pass"),
        (recorded.cells[1], 0.0, "fail"),
    ):
        span = made.cells[stored.cell.key]
        assert "events" not in span or span["events"] == []
        (record,) = (r for r in made.logs if r["spanId"] == span["spanId"])
        assert record["values"] == {
            "gen_ai.evaluation.name": "exact_match",
            "gen_ai.evaluation.score.value": value,
            "gen_ai.evaluation.score.label": label,
            "gen_ai.response.id": stored.cell.key,
            "tunegate.evaluator.kind": "CODE",
            "tunegate.evaluator.id": "exact_match",
            "tunegate.evaluator.version": "0.1.0",
            "tunegate.score.min": 0.0,
            "tunegate.score.max": 1.0,
            "tunegate.score.higher_is_better": True,
        }
        assert record["eventName"] == "gen_ai.evaluation.result"
        assert record["severityText"] == "INFO"
        assert record["timeUnixNano"] == span["endTimeUnixNano"]


def test_what_was_not_scored_is_never_a_zero(written: Any, recorded: Any) -> None:
    made = written()
    (record,) = (r for r in made.logs if r["severityText"] == "WARN")
    (check,) = (s for s in made.named("eval check") if "status" in s)
    for values in (record["values"], check["values"]):
        assert values["error.type"] == "unscored"
        assert "gen_ai.evaluation.score.value" not in values
    assert record["severityNumber"] == 13
    assert check["status"] == {"code": 2}


def test_checks_name_what_they_looked_at(written: Any, recorded: Any) -> None:
    checks = written().named("eval check exact_match")
    made = written().cells
    assert len(checks) == 3
    assert checks[0]["values"] == {
        "tunegate.check.name": "exact_match",
        "tunegate.check.version": "0.1.0",
        "tunegate.arm": "base",
        "gen_ai.evaluation.score.value": 1.0,
    }
    (link,) = checks[0]["links"]
    assert link["spanId"] == made[recorded.cells[0].cell.key]["spanId"]
    assert checks[0]["startTimeUnixNano"] == checks[0]["endTimeUnixNano"]


def test_samples_have_spans_of_their_own(written: Any, recorded: Any) -> None:
    """Several answers to one question are several spans; the score, their mean, is on the first."""
    cell = recorded.cells[0]
    again = replace(cell, cell=replace(cell.cell, sample=1, key="2" * 64))
    row = ScoreRow(suite="s", metric="exact_match", case="c1", arm="base", value=0.5)
    made = written(cells=(cell, again), scores=(row,), judgements=())
    spans = [made.cells[c.cell.key] for c in (cell, again)]
    assert [s["values"]["tunegate.sample.index"] for s in spans] == [0, 1]
    (record,) = made.logs
    assert record["spanId"] == spans[0]["spanId"]
    assert "gen_ai.evaluation.score.label" not in record["values"]


def test_no_content_unless_asked(written: Any, recorded: Any) -> None:
    """Prompts, answers, tools and reasons are nowhere in the files; with content they are."""
    cells = (replace(recorded.cells[0], completion=Completion(text="nobody may read")),)
    for name in ("traces.jsonl", "logs.jsonl", "metrics.jsonl"):
        text = (written(cells=cells).folder / name).read_text(encoding="utf-8")
        assert "secret" not in text
        assert "nobody" not in text
        assert "ponder" not in text

    made = written(ContentCapture(), cells=cells)
    whole = (made.folder / "traces.jsonl").read_text(encoding="utf-8")
    assert all(word in whole for word in ("the secret", "nobody may read", "ponder"))


def test_the_system_prompt_is_content(written: Any, recorded: Any) -> None:
    suite = recorded.manifest.suites[0]
    settings = {**suite.generation, "system": "You are the oracle."}
    told = suite.model_copy(update={"generation": settings})
    changed = recorded.manifest.model_copy(update={"suites": (told,)})
    assert "oracle" not in (written(manifest=changed).folder / "traces.jsonl").read_text("utf-8")
    values = written(ContentCapture(), manifest=changed).cells[recorded.cells[0].cell.key]["values"]
    assert "oracle" in values["gen_ai.input.messages"]
