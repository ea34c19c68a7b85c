"""Labels are read, or refused with file and line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.records.errors import SuiteError, UsageError
from tunegate.harness.records.labels import (
    are_copies,
    labels_hash,
    read_labels,
    refuse_judges_labels,
)


def write(folder: Path, *lines: Any) -> Path:
    """Write a file of labels; text is written as it is."""
    path = folder / "labels.jsonl"
    rows = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


ROW = {"id": "t1", "arm": "tuned", "completion": "Sorry.", "label": 1}


def test_reads_words_and_numbers(tmp_path: Path) -> None:
    """yes, true and 1 are the top of the scale; empty lines are nothing."""
    path = write(tmp_path, ROW, "", ROW | {"id": "t2", "label": "No"}, ROW | {"id": "t3",
                 "label": True}, ROW | {"id": "t4", "label": 0.25})  # fmt: skip

    assert [label.label for label in read_labels(path)] == [1.0, 0.0, 1.0, 0.25]
    assert [label.label for label in read_labels(write(tmp_path, ROW | {"label": "yes"}),
            range=(1.0, 5.0))] == [5.0]  # fmt: skip


def test_a_line_may_bring_its_case(tmp_path: Path) -> None:
    path = write(tmp_path, ROW | {"prompt": "Where is it?", "context": "Lost."}, ROW | {"id": "t2"})
    own, bare = read_labels(path)

    assert own.case is not None
    assert (own.case.id, own.case.prompt, own.case.context) == ("t1", "Where is it?", "Lost.")
    assert bare.case is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        (ROW | {"label": None}, "no label; write a number from 0 to 1, yes or no"),
        ({"id": "t1", "completion": "x"}, "no label"),
        (ROW | {"label": 2}, "label=2 must be a number from 0 to 1"),
        (ROW | {"label": "maybe"}, "label='maybe' must be"),
        (ROW | {"label": [1]}, "label=[1] must be"),
        ('{"id": "a", "completion": "x", "label": NaN}', "label=nan must be"),
        (ROW | {"arm": "old"}, "arm='old' must be base or tuned"),
        (ROW | {"colour": 1}, "unknown key 'colour'"),
        (ROW | {"id": ""}, 'id: "": String should have at least 1'),
        ({"id": "t1", "label": 1}, "the key 'completion' is missing"),
        (ROW | {"prompt": 5}, "prompt: 5: Input should be a valid string"),
        (ROW | {"case": {}}, "write its fields into the line itself"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: Any, said: str) -> None:
    with pytest.raises(SuiteError) as caught:
        read_labels(write(tmp_path, ROW, line, line))

    assert len(caught.value.problems) == 2
    assert caught.value.problems[0].startswith(f"{tmp_path / 'labels.jsonl'}:2: ")
    assert said in caught.value.problems[0]


def test_one_answer_has_one_label(tmp_path: Path) -> None:
    """The same answer called good and bad is refused; said twice alike it is not."""
    with pytest.raises(SuiteError, match="the answer of tuned to 't1' has two labels, 1 and 0"):
        read_labels(write(tmp_path, ROW, ROW | {"label": 0}))

    assert len(read_labels(write(tmp_path, ROW, ROW))) == 2


def test_files_that_hold_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_labels(tmp_path / "gone.jsonl")
    with pytest.raises(UsageError, match="no label; write one line"):
        read_labels(write(tmp_path, ""))
    (tmp_path / "labels.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not UTF-8"):
        read_labels(tmp_path / "labels.jsonl")


def test_the_hash_is_of_the_labels(tmp_path: Path) -> None:
    """Their order does not matter; another label does."""
    other = ROW | {"id": "t2"}
    one = labels_hash(read_labels(write(tmp_path, ROW, other)))
    two = labels_hash(read_labels(write(tmp_path, other, ROW)))
    three = labels_hash(read_labels(write(tmp_path, other, ROW | {"label": 0})))

    assert one == two != three


@pytest.mark.parametrize("by", ["judge", "server:http://h/v1#gpt-9", "GPT-9 "])
def test_labels_by_the_judge_are_refused(tmp_path: Path, by: str) -> None:
    specs = ["server:http://h/v1#gpt-9"]
    own = read_labels(write(tmp_path, ROW | {"by": "anna"}, ROW | {"id": "t2", "by": by}))

    refuse_judges_labels("l.jsonl", own[:1], specs)
    with pytest.raises(UsageError, match=r"^l\.jsonl: the label of 't2' is by .*the judge"):
        refuse_judges_labels("l.jsonl", own, specs)


@pytest.mark.parametrize(
    ("both", "copied"),
    [
        ([(0.25, 0.25)] * 5 + [(1.0, 1.0)] * 15, True),
        ([(0.25, 0.25)] * 4 + [(1.0, 1.0)] * 16, False),  # yes and no: a good judge agrees
        ([(0.25, 0.25)] * 5 + [(1.0, 1.0)] * 14, False),
        ([(0.25, 0.25)] * 19 + [(0.25, 0.5)], False),
    ],
)
def test_the_judges_own_scores_are_no_labels(both: list[Any], copied: bool) -> None:
    assert are_copies(both, (0.0, 1.0)) is copied
