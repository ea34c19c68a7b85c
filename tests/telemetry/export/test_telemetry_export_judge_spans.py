"""Judge calls as spans: one a reply, linked to the completions it was about."""

from __future__ import annotations

from typing import Any

from tunegate.harness.records.judgements import JudgementStatus, JudgeReply
from tunegate.harness.telemetry.export.content import ContentCapture
from tunegate.harness.telemetry.export.judge_spans import judge_calls

JUDGED = "chat big"


def test_each_reply_has_a_span(written: Any) -> None:
    spans = written().named(JUDGED)
    told = [
        tuple(s["values"].get(f"tunegate.judge.{n}") for n in ("order", "attempt", "parse"))
        for s in spans
    ]
    assert told == [
        ("base_first", 1, "unreadable"), ("base_first", 2, "ok"), ("tuned_first", 1, "ok"),
    ]  # fmt: skip
    assert [s["values"].get("error.type") for s in spans] == ["unreadable_reply", None, None]
    assert ["status" in s for s in spans] == [True, False, False]


def test_a_pair_is_linked_to_both_completions(written: Any, recorded: Any) -> None:
    made = written()
    both = [made.cells[c.cell.key]["spanId"] for c in recorded.cells[:2]]
    for span in made.named(JUDGED):
        assert [link["spanId"] for link in span["links"]] == both
        assert {link["traceId"] for link in span["links"]} == {span["traceId"]}


def test_a_call_has_the_attributes_of_a_request(written: Any, recorded: Any) -> None:
    made = written()
    (case, _) = made.named("eval case")
    (first, *_) = made.named(JUDGED)
    assert first["kind"] == 3
    assert first["parentSpanId"] == case["spanId"]
    assert int(first["startTimeUnixNano"]) == 1_700_000_003_500_000_000  # choices: 3.25 s + 0.25 s
    assert int(first["endTimeUnixNano"]) == 1_700_000_004_500_000_000  # 3 s for 3 replies
    assert {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "server",
        "gen_ai.request.model": "big",
        "server.address": "judge.example",
        "server.port": 8000,
        "tunegate.check.name": "preferred",
        "tunegate.judge.name": "pairwise",
        "tunegate.judge.prompt.sha256": "p" * 64,
        "tunegate.judge.step": "verdict",
        "tunegate.cache.hit": False,
    }.items() <= first["values"].items()


def test_a_reply_with_a_time_is_placed_there(written: Any, recorded: Any) -> None:
    (line,) = recorded.judgements
    timed = JudgeReply(
        step="verdict", text="x", started_s=1_700_000_010.0, latency_s=0.25, output_tokens=5
    )
    line = line.model_copy(update={"replies": (timed,)})
    made = written(judgements=(line,))
    (span,) = made.named(JUDGED)
    assert int(span["startTimeUnixNano"]) == 1_700_000_010_000_000_000
    assert int(span["endTimeUnixNano"]) == 1_700_000_010_250_000_000
    assert span["values"]["gen_ai.usage.output_tokens"] == 5

    def counted(made: Any) -> list[float]:
        points = made.metrics["gen_ai.client.inference.duration"]["histogram"]["dataPoints"]
        return [p["sum"] for p in points if "preferred" in str(p["attributes"])]

    assert counted(made) == [0.25]
    assert counted(written(judgements=(line.model_copy(update={"attempts": 0}),))) == []


def test_identical_completions_share_a_call(recorded: Any) -> None:
    (line,) = recorded.judgements
    other = line.model_copy(update={"arm": "base", "attempts": 0, "latency_s": None})
    found = list(judge_calls((other, line)))
    assert len(found) == 3
    assert all(call.bill is line for call in found)


def test_a_judgement_is_linked_to_all_completions_it_judges(written: Any, recorded: Any) -> None:
    (line,) = recorded.judgements
    suite = recorded.manifest.suites[0]
    rule, pairwise = suite.metrics
    alone = pairwise.judge.model_copy(update={"name": "rubric", "pairs": False})
    told = suite.model_copy(
        update={"metrics": (rule, pairwise.model_copy(update={"judge": alone}))}
    )
    changed = recorded.manifest.model_copy(update={"suites": (told,)})
    reply = (JudgeReply(step="verdict", text="yes", input_tokens=40),)
    lines = [line.model_copy(update={"arm": arm, "replies": reply}) for arm in ("base", "tuned")]
    made = written(manifest=changed, judgements=lines)
    (span,) = made.named(JUDGED)
    both = [made.cells[c.cell.key]["spanId"] for c in recorded.cells[:2]]
    assert [link["spanId"] for link in span["links"]] == both
    assert span["values"]["gen_ai.usage.input_tokens"] == 40
    assert "tunegate.judge.order" not in span["values"]


def test_a_judge_that_was_not_reached_has_an_error_span(written: Any, recorded: Any) -> None:
    (line,) = recorded.judgements
    failed = line.model_copy(
        update={
            "status": JudgementStatus.JUDGE_ERROR,
            "value": None,
            "replies": (),
            "reason": "HTTP 503",
        }
    )
    (span,) = written(judgements=(failed,)).named(JUDGED)
    assert span["status"] == {"code": 2, "message": "HTTP 503"}
    assert span["values"]["error.type"] == "judge_error"
    assert "gen_ai.response.model" not in span["values"]


def test_a_tie_without_asking_has_no_span(written: Any, recorded: Any) -> None:
    (line,) = recorded.judgements
    assert written(judgements=(line.model_copy(update={"replies": ()}),)).named(JUDGED) == []


def test_replies_are_written_only_with_content(written: Any) -> None:
    assert all("gen_ai.output.messages" not in s["values"] for s in written().named(JUDGED))
    (first, *_) = written(ContentCapture()).named(JUDGED)
    assert "let me ponder" in first["values"]["gen_ai.output.messages"]


def test_a_stored_judgement_costs_nothing(written: Any, recorded: Any) -> None:
    (line,) = recorded.judgements
    made = written(judgements=(line.model_copy(update={"attempts": 0}),))
    assert all(s["values"]["tunegate.cache.hit"] for s in made.named(JUDGED))
