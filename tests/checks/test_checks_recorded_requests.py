"""Requests that two records hold: equal, different or unknown."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tunegate.harness.checks.recorded_requests import RecordedComparison, compare_requests
from tunegate.harness.contracts.model import Prompt
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import NotComparable
from tunegate.harness.records.hashing import bytes_sha256
from tunegate.harness.records.recorded_answer import RecordedRequest
from tunegate.harness.suite import load_suite

CHAT = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 2?"})
USER = ({"role": "user", "content": "2 + 2?"},)
HASH, OTHER_HASH = "a" * 64, "b" * 64
SENT = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aW1n"}}


def _shown(part: dict[str, Any]) -> dict[str, Any]:
    return {"messages": ({"role": "user", "content": [part, {"type": "text", "text": "2 + 2?"}]},)}


def _image(name: str, sha256: str = HASH) -> dict[str, Any]:
    return _shown({"type": "image", "image": name, "sha256": sha256})


@pytest.mark.parametrize(
    ("one", "other", "outcome"),
    [
        ({"prompt": "2 + 2?"}, {"prompt": "2 + 2?"}, "equal"),
        ({"prompt": "2 + 2?"}, {"prompt": "2 + 3?"}, "different"),
        ({"prompt": "2 + 2?"}, {}, "unknown"),
        ({"prompt": "2 + 2?"}, {"messages": USER}, "equal"),
        ({"prompt": "2 + 3?"}, {"messages": USER}, "different"),
        # The question alone says nothing of the system prompt that was sent with it.
        ({"prompt": "2 + 2?"}, {"messages": CHAT}, "unknown"),
        ({"messages": CHAT}, {"messages": USER}, "different"),
        ({"messages": USER}, {"messages": ({**USER[0], "name": None},)}, "equal"),
        (
            {"messages": USER},
            {"messages": ({"role": "user", "content": [{"type": "text", "text": "2 + 2?"}]},)},
            "equal",
        ),
        ({"prompt_sha256": HASH}, {"prompt_sha256": HASH}, "equal"),
        ({"prompt_sha256": HASH}, {"prompt_sha256": OTHER_HASH}, "different"),
        # Of a hash by somebody else's recipe nothing follows about a text.
        ({"prompt_sha256": HASH}, {"prompt": "2 + 2?"}, "unknown"),
        # The hash covers what the prompt that was written down leaves out.
        (
            {"prompt": "2 + 2?", "prompt_sha256": HASH},
            {"prompt": "2 + 2?", "prompt_sha256": OTHER_HASH},
            "different",
        ),
        ({"rendered": "<u>2 + 2?"}, {"prompt": "<u>2 + 2?"}, "equal"),
        ({"rendered": "<u>2 + 2?", "messages": USER}, {"prompt": "2 + 2?"}, "equal"),
        # Other chat templates make other prompts of one conversation.
        (
            {"rendered": "<u>2 + 2?", "messages": USER},
            {"rendered": "[INST] 2 + 2?", "messages": USER},
            "different",
        ),
        (
            {"rendered": "2 + 2?", "token_sha256": HASH},
            {"rendered": "2 + 2?", "token_sha256": OTHER_HASH},
            "different",
        ),
        # Of an image the bytes count, not its name or how it was sent.
        (_image("1.png"), _image("2.png"), "equal"),
        (_image("1.png"), _image("1.png", OTHER_HASH), "different"),
        (_image("1.png"), {"messages": USER}, "different"),
        (_image("1.png", bytes_sha256(b"img")), _shown(SENT), "equal"),
        (_image("1.png"), _shown(SENT), "different"),
        ({"settings": {"temperature": 0.0}}, {"settings": {"temperature": 0.7}}, "different"),
        ({"settings": {"temperature": 0.0}}, {"settings": {"top_p": 1.0}}, "unknown"),
    ],
)
def test_requests_are_compared_by_what_both_records_hold(
    one: dict[str, Any], other: dict[str, Any], outcome: str
) -> None:
    first, second = RecordedRequest(**one), RecordedRequest(**other)
    for match in (
        compare_requests(first, second),
        compare_requests(second, first),
    ):
        found = "equal" if match.known else "unknown"
        assert ("different" if match.difference is not None else found) == outcome


@pytest.mark.parametrize(
    ("metric", "texts", "others"),
    [
        (
            "ndcg",
            {"positive": ["4"], "negative": ["5", "6"]},
            {"positive": ["4"], "negative": ["6", "5"]},
        ),
        (
            "choice_accuracy",
            {"choices": ["4", "5"], "answer": 0},
            {"choices": ["5", "4"], "answer": 0},
        ),
        ("answer_logprob", {"expected": "4"}, {"expected": "four"}),
    ],
)
def test_numbers_of_other_texts_are_refused(
    tmp_path: Path, metric: str, texts: dict[str, Any], others: dict[str, Any]
) -> None:
    """Numbers are known by their places only."""
    row = {"id": "q", "prompt": "2 + 2?", **texts}
    (tmp_path / "cases.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    (tmp_path / "suite.toml").write_text(
        f'name = "s"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "{metric}"\n', encoding="utf-8"
    )
    suite = load_suite(tmp_path)
    told = RecordedRequest(messages=USER, case_messages=USER, case=suite.cases[0])
    case = Case.model_validate({"id": "q", "prompt": "2 + 2?", **others})
    other = told.model_copy(update={"case": case})

    def compare(tuned: RecordedRequest) -> None:
        arms: Any = {
            name: SimpleNamespace(
                recorded=True, identity={}, recorded_request=lambda *_, asked=asked: asked
            )
            for name, asked in (("base", told), ("tuned", tuned))
        }
        prompts = {("s", "q", name): Prompt("2 + 2?") for name in arms}
        RecordedComparison.of(prompts, arms, [suite]).refuse_different()

    compare(told)
    with pytest.raises(NotComparable, match="the suite and tuned ask different things in 1 of 1"):
        compare(other)


def suite_of(tmp_path: Path, *questions: str) -> Any:
    rows = [json.dumps({"id": f"q{i}", "prompt": text}) for i, text in enumerate(questions)]
    (tmp_path / "cases.jsonl").write_text("\n".join(rows), encoding="utf-8")
    (tmp_path / "suite.toml").write_text(
        'name = "s"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "length"\n', encoding="utf-8"
    )
    return load_suite(tmp_path)


@pytest.mark.parametrize(
    "record", [{"prompt_sha256": HASH}, {"prompt": "see the suite"}, {"messages": USER}]
)
def test_a_record_that_is_equal_for_different_prompts_proves_nothing(
    tmp_path: Path, record: dict[str, Any]
) -> None:
    arms: Any = {
        name: SimpleNamespace(
            recorded=True, identity={}, recorded_request=lambda *_: RecordedRequest(**record)
        )
        for name in ("base", "tuned")
    }

    def proven(*questions: str) -> tuple[int, int]:
        prompts = {
            ("s", f"q{i}", name): Prompt(q) for i, q in enumerate(questions) for name in arms
        }
        found = RecordedComparison.of(prompts, arms, [suite_of(tmp_path, *questions)])
        return found.compared, len(found.on_trust)

    assert proven("2 + 2?", "2 + 2?") == (2, 0)
    assert proven("2 + 2?", "2 + 3?") == (0, 2)


def test_one_hash_of_two_prompts_is_a_difference() -> None:
    one, other = (RecordedRequest(prompt=text, prompt_sha256=HASH) for text in ("2 + 2?", "2 + 3?"))
    assert "under one hash aaaaaaaaaaaa…, base has" in str(compare_requests(one, other).difference)
