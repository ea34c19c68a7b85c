"""Scores of a check on texts with labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunegate.harness.production.guardrail.check_rates import (
    LabelledText,
    MeasuredCheck,
    measure_check,
    read_labelled_texts,
)
from tunegate.harness.records.errors import UsageError


def test_a_text_that_the_check_fails_on_has_no_score() -> None:
    labelled = [LabelledText("a", True), LabelledText("bb", True), LabelledText("ccc", False)]

    measured = measure_check(labelled, {"a": 1.0, "ccc": 0.5}.__getitem__)

    assert measured.attacks == (1.0, None)
    assert measured.harmless == (0.5,)


def test_two_checks_joined_flag_what_either_flags() -> None:
    phrases = MeasuredCheck((1.0, 0.0, None), (0.0, 0.0), 1.5)
    classifier = MeasuredCheck((0.2, 0.6, None), (0.4, 0.5), 2.0)

    joined = phrases.join_with(classifier, 0.5)

    assert joined == MeasuredCheck((1.0, 1.0, 0.0), (0.0, 1.0), 3.5)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("no\n", ":1: 'no' is not a labelled text"),
        ('{"text": "a", "attack": "yes"}\n', ":1: "),
        ('{"text": "a", "attack": true}\n', "1 texts of one label"),
        ("", "0 texts of one label"),
    ],
)
def test_a_file_without_labels_is_refused(tmp_path: Path, content: str, why: str) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_text(content, encoding="utf-8")

    with pytest.raises(UsageError) as error:
        read_labelled_texts(file)

    assert why in str(error.value)
    assert "\n" not in str(error.value)
