"""Lines of recorded answers."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from tunegate.harness.records.answers import Completion
from tunegate.harness.records.recorded_answer import RecordedAnswer


def test_a_line_holds_what_is_known_and_is_read_again() -> None:
    answer = RecordedAnswer(id="a", completion="Oslo", latency_s=0.5, prompt_sha256="f00")

    line = answer.line()

    assert line == {"id": "a", "completion": "Oslo", "latency_s": 0.5, "prompt_sha256": "f00"}
    assert RecordedAnswer.model_validate_json(json.dumps(line)) == answer


def test_the_hash_of_the_request_is_not_part_of_the_answer() -> None:
    answer = RecordedAnswer(id="a", completion="Oslo", prompt_sha256="f00")

    assert answer.answer == Completion(text="Oslo")
    assert answer.request.prompt_sha256 == "f00"


def test_an_answer_has_one_name() -> None:
    with pytest.raises(ValidationError):
        RecordedAnswer.model_validate({"id": "a", "text": "Oslo"})
