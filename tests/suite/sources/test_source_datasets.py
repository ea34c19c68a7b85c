"""datasets: saved on the disk, read from files, or out of reach."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import MissingExtra

library = pytest.importorskip("datasets")
Load = Callable[[str], list[Case]]
Refused = Callable[[str], list[str]]

TABLE = 'from = "datasets"\npath = "d"\n'
COLUMNS = 'columns = { prompt = "text", expected = "label", tags = ["label"] }\n'


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `load_dataset` builds of files stays in the test's folder, which is the project."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def _banking() -> Any:
    """Return four rows whose labels have names; the last row has no label."""
    names = ["lost card", "refund"]
    features = library.Features(
        {"text": library.Value("string"), "label": library.ClassLabel(names=names)}
    )
    rows = {"text": ["a", "b", "c", "d"], "label": [0, 1, 1, -1]}
    return library.Dataset.from_dict(rows, features=features)


def test_a_saved_data_set_is_read_with_the_names_of_its_labels(tmp_path: Path, cases: Load) -> None:
    """0 is "lost card", as the data set says; -1 stands for no label."""
    _banking().save_to_disk(str(tmp_path / "d"))
    found = cases(TABLE + COLUMNS)

    assert [(c.prompt, c.expected, c.tags) for c in found] == [
        ("a", "lost card", ("lost card",)),
        ("b", "refund", ("refund",)),
        ("c", "refund", ("refund",)),
        ("d", None, ()),
    ]


def test_splits_are_named_where_there_are_several(
    tmp_path: Path, cases: Load, problems: Refused
) -> None:
    """One split needs no name; a wrong name is answered with the nearest one."""
    whole = _banking()
    splits = library.DatasetDict({"train": whole.select([0]), "test": whole.select([1, 2])})
    splits.save_to_disk(str(tmp_path / "d"))

    assert [c.prompt for c in cases(TABLE + COLUMNS + 'split = "test"')] == ["b", "c"]
    assert problems(TABLE + COLUMNS) == ["d: has the splits train, test; set split"]
    assert problems(TABLE + COLUMNS + 'split = "tset"') == [
        "d: unknown split 'tset'; did you mean 'test'?"
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.csv", "text,label\na,x\nb,y\n"),
        ("rows.jsonl", '{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}\n'),
        ("folder/train.csv", "text,label\na,x\nb,y\n"),
    ],
)
def test_files_that_the_library_reads(
    tmp_path: Path, cases: Load, name: str, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file, or a folder of them; no progress bar is shown."""
    (tmp_path / "folder").mkdir()
    (tmp_path / name).write_text(content)
    path = name.partition("/")[0]
    found = cases(f'from = "datasets"\npath = "{path}"\n{COLUMNS}')

    assert [(c.prompt, c.expected) for c in found] == [("a", "x"), ("b", "y")]
    assert capsys.readouterr().err == ""


def test_a_part_is_drawn(tmp_path: Path, cases: Load) -> None:
    library.Dataset.from_dict({"prompt": [f"p{i:02}" for i in range(50)]}).save_to_disk(
        str(tmp_path / "d")
    )
    (tmp_path / "t.csv").write_text("prompt\n" + "".join(f"p{i:02}\n" for i in range(50)))
    drawn = [c.prompt for c in cases(TABLE + "sample = 9\nseed = 4")]

    assert len(drawn) == 9
    assert drawn == [c.prompt for c in cases('from = "csv"\nfile = "t.csv"\nsample = 9\nseed = 4')]
    assert [c.prompt for c in cases(TABLE + "limit = 2")] == ["p00", "p01"]


def test_a_set_with_pictures_is_refused(tmp_path: Path, problems: Refused) -> None:
    """Asked without them, both arms would be blind."""
    features = library.Features({"prompt": library.Value("string"), "image": library.Image()})
    rows = {"prompt": ["p"], "image": [{"bytes": b"no picture", "path": None}]}
    library.Dataset.from_dict(rows, features=features).save_to_disk(str(tmp_path / "d"))

    (problem,) = problems(TABLE)

    assert "column 'image'" in problem


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ('path = "someone/banking77"\nsplit = "test"\n',
         "someone/banking77: this data set is not on this machine and the hub is "),
        ('path = "someone/banking77"\n', "someone/banking77: not there, and the hub's "
         "'someone/banking77' needs a split; set split"),
        ('path = "./data/banking"\n', "data/banking: no such file or folder; paths start at"),
        ('path = "suite.toml"\n', "suite.toml: unknown form; give one of .csv, .tsv, .json,"),
        ('path = "broken"\n', "broken: cannot be read as a data set ("),
        ('path = "empty"\n', "empty: cannot be read as a data set ("),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_line(
    tmp_path: Path, problems: Refused, table: str, problem: str
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "state.json").write_text("{")
    (tmp_path / "empty").mkdir()

    (found,) = problems(f'from = "datasets"\n{table}{COLUMNS}')
    assert found.startswith(problem)
    assert "\n" not in found


def test_a_hub_id_out_of_reach_says_how_to_get_a_copy(problems: Refused) -> None:
    (found,) = problems('from = "datasets"\npath = "someone/banking77"\nsplit = "test"\n')

    assert found.endswith(
        "; on a machine that reaches it: datasets.load_dataset('someone/banking77', split='test')"
        ".save_to_disk('banking77'), then set path to that folder"
    )


def test_columns_and_rows_are_checked(tmp_path: Path, problems: Refused) -> None:
    library.Dataset.from_dict({"text": ["a", None]}).save_to_disk(str(tmp_path / "d"))

    assert problems(TABLE + 'columns = { prompt = "txt" }') == [
        "d: prompt: unknown column 'txt'; did you mean 'text'?"
    ]
    assert problems(TABLE + 'columns = { prompt = "text" }') == [
        "d: row 2: the prompt is empty (column 'text')"
    ]


def test_the_extra_is_named(cases: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)

    with pytest.raises(MissingExtra, match=r"pip install 'tunegate\[sources\]'"):
        cases(TABLE)


def test_conversations_of_a_saved_training_set(tmp_path: Path, cases: Load) -> None:
    """`chat = true` reads rows as the source chat does."""
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    library.Dataset.from_dict({"messages": [turns]}).save_to_disk(str(tmp_path / "d"))

    (case,) = cases(TABLE + "chat = true")
    assert (case.prompt, case.messages, case.expected) == ("Hi", None, "Hello")


def test_remarks_on_a_folder_are_not_shown(
    tmp_path: Path, cases: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A README without the hub's header gets no warning; later warnings are shown again."""
    import logging

    remarks = logging.getLogger("huggingface_hub.repocard")
    told: list[str] = []
    monkeypatch.setattr(remarks, "handle", lambda record: told.append(record.getMessage()))
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "train.csv").write_text("prompt\na\n")
    (tmp_path / "d" / "README.md").write_text("Of our team.\n")

    assert len(cases(TABLE)) == 1
    assert told == []
    remarks.warning("later")
    assert told == ["later"]
