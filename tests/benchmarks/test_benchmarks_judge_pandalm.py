"""Recorded pairwise verdicts: agreement, position and repeats, on pairs small enough to count."""

import json

import pytest

from benchmarks.judge_pandalm import main, majority, measure, results


def row(number, first="a", second="b", labels=(1, 1, 2)):
    """Return one pair of the data."""
    people = {f"annotator{at}": label for at, label in enumerate(labels, start=1)}
    texts = {"instruction": "say", "input": "", "response1": first, "response2": second}
    return {"idx": number, **texts, **people}


@pytest.fixture(name="folder")
def _folder(tmp_path):
    """Write five pairs and two judges: the last reply of one cannot be read."""
    rows = [
        row(0, "a", "b", (1, 1, 2)),
        row(1, "b", "a", (2, 2, 2)),  # the same pair the other way round
        row(2, "c", "d", (0, 0, 1)),
        row(3, "c", "d", (0, 1, 0)),  # the same pair again
        row(4, "e", "f", (2, 2, 0)),
    ]
    said = {"gpt": ["1", "1", "Tie", "1", "garbage"], "pandalm": [1, 2, 0, 0, 2]}
    for name, verdicts in said.items():
        file = {"gpt": "gpt-3.5-turbo", "pandalm": "pandalm-7b"}[name]
        recorded = [{"idx": at, f"{name}_result": v} for at, v in enumerate(verdicts)]
        (tmp_path / f"{file}-testset-v1.json").write_text(json.dumps(recorded), encoding="utf-8")
    (tmp_path / "testset-v1.json").write_text(json.dumps(rows), encoding="utf-8")
    return tmp_path


def test_by_hand(folder):
    """GPT: 2 of 4 right, one unread, always the first; it contradicts itself on both repeats."""
    gpt, pandalm, *people = results(folder)

    assert (gpt.unread, gpt.agreement.estimate, gpt.first.estimate) == (1, 0.5, 1.0)
    # three firsts and no second: two-sided p = 2 * 1/8
    assert gpt.first_p == pytest.approx(0.25)
    assert gpt.swapped is not None
    assert gpt.swapped.estimate == 1.0
    assert gpt.repeated is not None
    assert gpt.repeated.estimate == 1.0
    assert (pandalm.agreement.estimate, pandalm.kappa.estimate) == (1.0, 1.0)
    assert pandalm.swapped is not None
    assert pandalm.swapped.estimate == 0.0
    assert [one.name for one in people] == ["1 against 2", "2 against 3", "3 against 1"]


def test_three_opinions_are_no_majority():
    rows = [row(0, labels=(0, 1, 2)), row(1, labels=(2, 2, 1))]

    assert majority(rows) == [None, 2]
    assert measure("x", rows, [1, 2], majority(rows)).agreement.estimate == 1.0


def test_a_table_for_people(folder, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["judge_pandalm", str(folder)])

    assert main() == 0
    assert len(capsys.readouterr().out.splitlines()) == 6
