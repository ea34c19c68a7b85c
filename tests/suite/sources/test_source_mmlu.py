"""MMLU as a case source: three forms of the data, two styles of prompt, drawn subsets."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness import suite
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import SuiteError
from tunegate.harness.suite.sources.mmlu import mmlu

Row = tuple[str, str, str, str, str, str]
ANATOMY: list[Row] = [
    (f"Bone {i}?", "femur, of course", "rib ", "skull", "ulna", "ABCD"[i % 4]) for i in range(8)
]
VIROLOGY: list[Row] = [
    ('A "new"\nvirus?', "DNA", "RNA", "none", "both", "B"),
    ("Second?", "a", "b", "c", "d", "D"),
    ("Third?", "a", "b", "c", "d", "A"),
]
DEV: list[Row] = [(f"Dev {i}?", "w", "x", "y", "z", "C") for i in range(2)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of CSV files as the original archive has it."""
    for split, name, rows in (
        ("test", "high_school_anatomy", ANATOMY),
        ("test", "virology", VIROLOGY),
        ("dev", "high_school_anatomy", DEV),
        ("dev", "virology", DEV),
        ("val", "virology", DEV),
    ):
        folder = tmp_path / "mmlu" / split
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{name}_{split}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
    return tmp_path


def cases(folder: Path, path: str = "mmlu", **options: Any) -> list[Case]:
    return list(mmlu(folder, path=path, **options))


def complaint(folder: Path, path: str = "mmlu", **options: Any) -> str:
    with pytest.raises(SuiteError) as caught:
        cases(folder, path, **options)
    return str(caught.value).replace(str(folder), "…")


def test_text_is_scored_after_the_question(data: Path) -> None:
    """The options are hidden; each is a choice of the case, without the file's stray spaces."""
    first = cases(data)[0]

    assert first == Case(
        id="mmlu:high_school_anatomy:0",
        prompt="Question: Bone 0?\nAnswer:",
        choices=("femur, of course", "rib", "skull", "ulna"),
        answer=0,
        expected="femur, of course",
        tags=("high_school_anatomy",),
    )


def test_letters_are_lm_evals_prompt(data: Path) -> None:
    first = cases(data, style="letters", few_shot=1)[0]

    assert first.prompt == (
        "The following are multiple choice questions (with answers) about high school anatomy.\n\n"
        "Dev 0?\nA. w\nB. x\nC. y\nD. z\nAnswer: C\n\n"
        "Bone 0?\nA. femur, of course\nB. rib \nC. skull\nD. ulna\nAnswer:"
    )
    assert (first.choices, first.answer, first.expected) == (("A", "B", "C", "D"), 0, "A")


def test_few_shot_text(data: Path) -> None:
    """Answered questions of the same subject stand in front, in the style of the question."""
    case = cases(data, few_shot=2, subjects=("virology",))[1]

    assert case.prompt == (
        "Question: Dev 0?\nAnswer: y\n\nQuestion: Dev 1?\nAnswer: y\n\nQuestion: Second?\nAnswer:"
    )


def test_a_question_knows_its_line(data: Path) -> None:
    wheres = [s.where.rpartition(":")[2] for s in mmlu(data, path="mmlu", subjects=("virology",))]

    assert wheres == ["1", "3", "4"]


def test_other_splits(data: Path) -> None:
    """`val` is read from its own folder."""
    assert [c.id for c in cases(data, split="val")] == ["mmlu:virology:0", "mmlu:virology:1"]


def test_a_draw_is_stratified_seeded_and_nested(data: Path) -> None:
    """The same number of each subject; the same seed draws the same, a smaller draw a part."""
    two = [c.id for c in cases(data, per_subject=2)]
    three = [c.id for c in cases(data, per_subject=3)]
    others = [[c.id for c in cases(data, per_subject=2, seed=seed)] for seed in range(9)]

    assert [sum(f":{name}:" in i for i in two) for name in ("high_school_anatomy", "virology")] == [
        2,
        2,
    ]
    assert two == [c.id for c in cases(data, per_subject=2)]
    assert set(two) < set(three)
    assert len({tuple(ids) for ids in others}) > 1


def test_a_subject_draws_for_itself(data: Path) -> None:
    alone = [c.id for c in cases(data, per_subject=2, subjects=("virology",))]

    assert alone == [c.id for c in cases(data, per_subject=2) if c.tags == ("virology",)]


def _rows() -> list[dict[str, Any]]:
    return [
        {"question": q, "subject": subject, "choices": choices, "answer": "ABCD".index(letter)}
        for subject, rows in (("high_school_anatomy", ANATOMY), ("virology", VIROLOGY))
        for q, *choices, letter in rows
    ]


def test_parquet_and_json_lines_are_the_same_questions(data: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    hub = data / "hub" / "all"
    hub.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(_rows()), hub / "test-00000-of-00001.parquet")
    lines = "".join(json.dumps(row) + "\n" for row in _rows())
    (data / "rows.jsonl").write_text(lines, encoding="utf-8")

    assert cases(data, "hub") == cases(data)
    assert cases(data, "rows.jsonl", subjects=("virology",)) == cases(data, subjects=("virology",))


def test_a_single_csv_file(data: Path) -> None:
    assert cases(data, "mmlu/test/virology_test.csv") == cases(data, subjects=("virology",))


def test_broken_rows_are_all_named(data: Path) -> None:
    """Columns, answers and empty texts: each with its line; other subjects are not looked at."""
    (data / "mmlu/test/virology_test.csv").write_text(
        "Q,a,b,c,A\nQ,a,b,c,d,E\nQ,a,,c,d,A\nQ,a,b,c,d,A\n", encoding="utf-8"
    )

    assert complaint(data).splitlines() == [
        "…/mmlu/test/virology_test.csv:1: 5 columns, expected 6 (question, A, B, C, D, answer "
        "letter); quote a text that has commas in it",
        "…/mmlu/test/virology_test.csv:2: answer='E' must be a letter from A to D, or an index "
        "from 0 to 3",
        "…/mmlu/test/virology_test.csv:3: choices=['a', '', 'c', 'd']: each must be a text",
    ]
    assert len(cases(data, subjects=("high_school_anatomy",))) == 8


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"subjects": ("virolgy",)},
            "…/mmlu: unknown subject 'virolgy'; did you mean 'virology'?",
        ),
        ({"path": "mmlu2"}, "…/mmlu2: no such file or folder; paths start at the suite's folder"),
        (
            {"path": "."},
            "…: no questions of the split 'test'; expected test/<subject>_test.csv, "
            "test-*.parquet or test.jsonl",
        ),
        (
            {"per_subject": 9},
            "…/mmlu: per_subject=9, but 'virology' has 3 test questions (the fewest of 2 subjects "
            "that fall short); at most 3",
        ),
        (
            {"few_shot": 3, "subjects": ("virology",)},
            "…/mmlu: few_shot=3, but 'virology' has 2 dev questions; at most 2",
        ),
        (
            {"few_shot": 1, "split": "dev"},
            "…/mmlu: split='dev' holds the few-shot questions; leave few_shot out",
        ),
        (
            {"few_shot": 1, "path": "mmlu/test/virology_test.csv"},
            "…/mmlu/test/virology_test.csv: few_shot=1 needs the folder that holds test and dev",
        ),
        ({"path": "notes.txt"}, "…/notes.txt: unknown form; give .csv, .parquet or .jsonl"),
        (
            {"path": "open.csv"},
            "…/open.csv:2: broken CSV (unexpected end of data); check the quotes",
        ),
        ({"path": "no.jsonl"}, "…/no.jsonl:1: subject=None must be a text"),
        (
            {"path": "no.parquet"},
            "…/no.parquet: cannot be read (Parquet magic bytes not found in footer. Either the "
            "file is corrupted or this is not a parquet file.); download it again",
        ),
    ],
)
def test_mistakes_are_one_line(data: Path, options: dict[str, Any], expected: str) -> None:
    (data / "notes.txt").write_text("hello")
    (data / "open.csv").write_text('Q,a,b,c,d,A\n"Q,a\n')
    (data / "no.jsonl").write_text('{"question": "Q", "choices": ["a", "b"], "answer": 0}\n')
    (data / "no.parquet").write_bytes(b"no parquet at all")

    assert complaint(data, **options) == expected


def test_in_a_suite(
    data: Path, suite_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """suite.toml names the source; its options are checked like any other."""
    monkeypatch.chdir(data.parent)
    toml = (
        'name = "knowledge"\n'
        '[cases]\nfrom = "mmlu"\npath = "../mmlu"\nper_subject = {}\n'
        '[generation]\ntemplate = "none"\n'
        '[[metrics]]\nuse = "choice_probability"\n[[metrics]]\nuse = "choice_accuracy"\n'
    )
    loaded = suite.load_suite(suite_folder(toml.format(2), []))
    with pytest.raises(SuiteError, match="per_subject=0: Input should be greater than or equal"):
        suite.load_suite(suite_folder(toml.format(0), [], "other"))

    assert len(loaded.cases) == 4
