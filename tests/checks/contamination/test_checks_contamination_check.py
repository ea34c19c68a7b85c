"""Planted leaks of every kind, the files of training rows, and the card that names them."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.image_files import png, write_image_suite
from tunegate.harness import suite as suites
from tunegate.harness.checks.contamination.check import (
    check_contamination,
    examples_without_cases,
    refuse_too_many,
)
from tunegate.harness.checks.contamination.text import case_text, row_texts, split_words
from tunegate.harness.checks.contamination.training_rows import (
    TrainingRowStream,
    find_training_files,
)
from tunegate.harness.records import training_card
from tunegate.harness.records.contamination import (
    ContaminationCheck,
    ContaminationCoverage,
    ContaminationMode,
    FileState,
    OverlapKind,
)
from tunegate.harness.records.errors import NotComparable, UsageError
from tunegate.harness.records.hashing import content_sha256
from tunegate.harness.records.training_card import FILE, TrainingSummary, read_training_card
from tunegate.harness.run.training_provenance import DataOptions, TrainingProvenance
from tunegate.harness.suite import Suite
from tunegate.harness.suite.arm_prompt import SolvedExample

ROOT = Path(__file__).parents[3]
TOML = """\
name = "demo"
cases = "cases.jsonl"
[[metrics]]
use = "exact_match"
[[gates]]
metric = "exact_match"
gain = 0.1
"""


def sentence(i: int, n: int = 20) -> str:
    """Return n words that occur in no other sentence."""
    return " ".join(f"c{i}w{k}" for k in range(n))


@pytest.fixture(name="suite")
def _suite(suite_folder: Callable[..., Path]) -> Suite:
    cases = [{"id": f"c{i}", "prompt": sentence(i), "expected": f"a{i}"} for i in range(50)]
    return suites.load_suite(suite_folder(TOML, cases))


def write(path: Path, rows: list[Any]) -> Path:
    """Write rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def pair(prompt: str, completion: str = "fine") -> dict[str, Any]:
    """Return a row in TRL's conversational form."""
    return {
        "prompt": [{"role": "user", "content": prompt}],
        "completion": [{"role": "assistant", "content": completion}],
    }


def given(
    suite: Suite, *paths: Path, mode: ContaminationMode = ContaminationMode.GATE
) -> ContaminationCheck:
    """Compare files that a user named."""
    return check_contamination(
        [suite], find_training_files(TrainingSummary(), None, paths), mode=mode
    )


def card(*files: Path, **more: Any) -> TrainingSummary:
    """Return the card of a training on files."""
    named = [{"path": str(f), "sha256": content_sha256(f), "rows": 1} for f in files]
    return TrainingSummary(card={"files": named} | more)


def test_planted_leaks_are_found_with_their_kind_and_row(suite: Suite, tmp_path: Path) -> None:
    """Of 50 cases exactly the planted ones are touched or suspect, each for the right reason."""
    parts = [sentence(i).split() for i in range(50)]
    rows = [
        pair("something else entirely, of no case at all, and that at some length", "no"),
        pair(sentence(3).upper() + "!"),
        pair("x " + " ".join(parts[7][:13]) + " y"),
        # 8 of 13 runs: words 0-11 and 12-19 with another word between them
        {"text": " ".join([*parts[9][:12], "z", *parts[9][12:]])},
        {"text": " ".join(parts[20][:10]) + " q"},
        {"text": " ".join(parts[30][:9])},
    ]

    found = given(suite, write(tmp_path / "t.jsonl", rows)).suites[0]

    assert [(m.case, m.found, m.longest, m.share, m.where) for m in found.matches] == [
        ("c3", OverlapKind.EXACT, 20, 1.0, "t.jsonl:2"),
        ("c7", OverlapKind.RUN, 13, 0.462, "t.jsonl:3"),
        ("c9", OverlapKind.SUSPECT, 12, 0.462, "t.jsonl:4"),
        ("c20", OverlapKind.SUSPECT, 10, 0.231, "t.jsonl:5"),
    ]
    assert found.touched == ("c3", "c7")
    assert found.suspect == ("c9", "c20")


@pytest.mark.parametrize(
    ("changed", "more", "found", "share", "longest"),
    [
        # parts of 11 words hold 4 runs each, the last 11 too: 16 of 40
        ((11, 23, 35), None, OverlapKind.SUSPECT, 0.4, 11),
        # parts of 12, 12, 12 and 8 words hold 5 + 5 + 5 + 1 runs
        ((12, 25, 38), None, OverlapKind.SUSPECT, 0.4, 12),
        # another row with words 9-20 adds the runs at 9, 10, 11 and 12: 20 of 40
        ((12, 25, 38), (9, 21), OverlapKind.SHARE, 0.5, 12),
        # parts of 15 words
        ((15, 31), None, OverlapKind.RUN, 0.6, 15),
    ],
)
def test_edited_copies(
    suite_folder: Callable[..., Path],
    tmp_path: Path,
    changed: tuple[int, ...],
    more: tuple[int, int] | None,
    found: OverlapKind,
    share: float,
    longest: int,
) -> None:
    """A row changed some of a case's 47 words: how many of its 40 runs of eight are left."""
    given_words = sentence(0, 47).split()
    case = {"id": "c0", "prompt": " ".join(given_words), "expected": "a"}
    suite = suites.load_suite(suite_folder(TOML, [case]))
    rows = [pair(" ".join("other" if k in changed else w for k, w in enumerate(given_words)))]
    if more:
        rows.append(pair("x " + " ".join(given_words[slice(*more)])))

    [match] = given(suite, write(tmp_path / "t.jsonl", rows)).suites[0].matches

    assert (match.found, match.share, match.longest) == (found, share, longest)


def test_a_row_that_holds_a_wording_of_a_case_holds_the_case(
    suite_folder: Callable[..., Path], tmp_path: Path
) -> None:
    """Rows of a file of paraphrases touch their cases, each once, by the strongest overlap."""
    cases = [{"id": f"c{i}", "prompt": sentence(i), "expected": f"a{i}"} for i in range(50)]
    folder = suite_folder(TOML + '[variants]\npoliteness = true\nfile = "other.jsonl"\n', cases)
    reworded = {i: " ".join(f"p{i}w{k}" for k in range(20)) for i in range(3)}
    write(folder / "other.jsonl", [{"id": f"c{i}", "prompt": t} for i, t in reworded.items()])
    part = " ".join(sentence(2).split()[:9])
    rows = [pair(reworded[0]), pair(f"{reworded[1]} too"), pair(part), pair(reworded[2])]

    found = given(suites.load_suite(folder), write(tmp_path / "t.jsonl", rows))

    assert [(m.case, m.found, m.where) for m in found.suites[0].matches] == [
        ("c0", OverlapKind.EXACT, "t.jsonl:1"),
        ("c1", OverlapKind.RUN, "t.jsonl:2"),
        ("c2", OverlapKind.EXACT, "t.jsonl:4"),
    ]
    assert found.suites[0].n_cases == 50
    assert found.left_out == {"demo": frozenset({"c0", "c1", "c2"})}


def test_a_tenth_is_allowed_and_more_is_refused(suite: Suite, tmp_path: Path) -> None:
    """5 of 50 touched cases are left out; 6 refuse the run, with the suite and the ids."""
    five = given(suite, write(tmp_path / "5.jsonl", [pair(sentence(i)) for i in range(5)]))
    six = given(suite, write(tmp_path / "6.jsonl", [pair(sentence(i)) for i in range(6)]))

    refuse_too_many(five, [suite])
    with pytest.raises(NotComparable, match=r"demo: 6 of 50 cases .* 10%: c0, c1, c2, c3, c4, c5;"):
        refuse_too_many(six, [suite])

    assert five.left_out == {"demo": frozenset({"c0", "c1", "c2", "c3", "c4"})}
    assert "5 of 50 cases are in 5 training rows and are left out" in five.sentence


def test_reporting_leaves_nothing_out(suite: Suite, tmp_path: Path) -> None:
    """With `report` all cases gate, however many are touched, and the sentence says so."""
    rows = write(tmp_path / "t.jsonl", [pair(sentence(i)) for i in range(50)])

    found = given(suite, rows, mode=ContaminationMode.REPORT)

    refuse_too_many(found, [suite])
    assert found.left_out == {}
    assert "count in the gates all the same (--gate-leakage=report)" in found.sentence


def test_a_file_is_found_where_it_was_beside_the_weights_or_where_the_user_says(
    suite: Suite, tmp_path: Path
) -> None:
    rows = write(tmp_path / "t.jsonl", [pair(sentence(1))])
    folder = tmp_path / "adapter"
    folder.mkdir()
    known = card(rows)

    assert _state(known, folder) == (FileState.SAME, str(rows))
    moved = rows.rename(folder / "t.jsonl")
    assert _state(known, folder) == (FileState.SAME, str(moved))
    elsewhere = moved.rename(tmp_path / "other.jsonl")
    assert _state(known, folder)[0] is FileState.MISSING
    assert _state(known, folder, elsewhere) == (FileState.SAME, str(elsewhere))


def _state(known: TrainingSummary, folder: Path, *given: Path) -> tuple[FileState, str]:
    [source] = find_training_files(known, folder, given)
    return source.file.state, source.file.path


def test_a_card_opens_no_device_and_no_file_that_may_wait(tmp_path: Path) -> None:
    """Files of /proc are regular and empty; what cannot be read at all is no crash."""
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "empty.jsonl").touch()
    for path in ("/dev/zero", "/proc/self/mem", "pipe.jsonl", "empty.jsonl", "a\0b"):
        named = {"path": str(tmp_path / path), "sha256": "0" * 64}
        known = TrainingSummary(card={"files": [named]})
        assert _state(known, tmp_path)[0] is FileState.MISSING
    named = {"path": "x" * 5000, "sha256": "0" * 64}
    assert _state(TrainingSummary(card={"files": [named]}), tmp_path)[0] is FileState.UNREADABLE


def test_a_changed_file_is_said_and_not_compared(suite: Suite, tmp_path: Path) -> None:
    """Rows that were not trained on clear nothing; the other file is compared all the same."""
    one = write(tmp_path / "one.jsonl", [pair(sentence(1))])
    two = write(tmp_path / "two.jsonl", [pair(sentence(2))])
    known = card(one, two)
    write(two, [pair("harmless")])

    found = check_contamination(
        [suite], find_training_files(known, None, ()), mode=ContaminationMode.GATE
    )

    assert found.checked is ContaminationCoverage.PART
    assert found.suites[0].touched == ("c1",)
    assert [file.state for file in found.files] == [FileState.SAME, FileState.CHANGED]
    assert [file.rows for file in found.files] == [1, None]
    assert f"{two}: changed since the training" in found.sentence


def test_rows_of_the_adapter_before_count_too(suite: Suite, tmp_path: Path) -> None:
    """A preference training on an SFT adapter has seen both; what nobody knows is said."""
    now = write(tmp_path / "now.jsonl", [pair(sentence(1))])
    then = write(tmp_path / "then.jsonl", [pair(sentence(2))])
    earlier = {"path": "sft", "files": card(then).card["files"]}

    known = card(now, went_on_from=earlier)
    unknown = card(now, went_on_from=earlier | {"files": None})

    both, one = (
        check_contamination(
            [suite],
            find_training_files(c, None, ()),
            mode=ContaminationMode.GATE,
            unknown=c.unknown,
        )
        for c in (known, unknown)
    )
    assert (both.checked, both.suites[0].touched) == (ContaminationCoverage.ALL, ("c1", "c2"))
    assert (one.checked, one.suites[0].touched) == (ContaminationCoverage.PART, ("c1",))
    assert one.sentence.endswith("; what sft was trained on before is not known")


@pytest.mark.parametrize(("told", "part"), [(2, False), (3, True), ("many", False), (None, False)])
def test_fewer_rows_than_the_card_tells_of_are_said(
    suite: Suite, tmp_path: Path, told: Any, part: bool
) -> None:
    rows = write(tmp_path / "rows.jsonl", [pair(sentence(1)), pair("harmless")])
    named = {"files": card(rows).card["files"], "rows": told}
    (tmp_path / "tunegate_training.json").write_text(json.dumps(named), encoding="utf-8")
    (tmp_path / "adapter_config.json").write_text("{}", encoding="utf-8")

    found = TrainingProvenance.of(str(tmp_path), {}, [suite], DataOptions()).leakage

    assert found.suites[0].touched == ("c1",)
    assert (found.checked is ContaminationCoverage.PART) is part
    assert ("; the card tells of 3 rows, and the files hold 2" in found.sentence) is part


def test_nothing_compared_is_never_clean(suite: Suite, tmp_path: Path) -> None:
    rows = write(tmp_path / "t.jsonl", [pair(sentence(1))])
    known = card(rows)
    rows.unlink()

    found = check_contamination(
        [suite], find_training_files(known, None, ()), mode=ContaminationMode.GATE
    )

    assert found.checked is ContaminationCoverage.NOTHING
    assert found.sentence == f"leakage not checked: {rows}: not found"
    assert found.suites == ()


def test_every_form_of_file_is_read(suite: Suite, tmp_path: Path) -> None:
    """JSONL, a JSON list, Parquet and a folder of `datasets`."""
    datasets = pytest.importorskip("datasets")
    rows = [pair(sentence(1)), pair(sentence(2))]
    (tmp_path / "t.json").write_text(json.dumps(rows), encoding="utf-8")
    made = datasets.Dataset.from_list(rows)
    made.to_parquet(str(tmp_path / "t.parquet"))
    made.save_to_disk(str(tmp_path / "folder"))
    write(tmp_path / "t.jsonl", rows)

    for name in ("t.json", "t.parquet", "folder", "t.jsonl"):
        found = given(suite, tmp_path / name)

        assert (found.rows, found.suites[0].touched) == (2, ("c1", "c2")), name
        assert found.files[0].state is FileState.GIVEN


@pytest.mark.parametrize(("name", "delimiter"), [("t.csv", ","), ("t.tsv", "\t")])
def test_a_table_of_rows_is_read(suite: Suite, tmp_path: Path, name: str, delimiter: str) -> None:
    with (tmp_path / name).open("w", encoding="utf-8", newline="") as file:
        rows = [["utterance", "intent"], [sentence(1), "a, b"], [sentence(2), "c"]]
        csv.writer(file, delimiter=delimiter).writerows(rows)

    found = given(suite, tmp_path / name)

    assert (found.rows, found.suites[0].touched) == (2, ("c1", "c2"))


def test_a_csv_may_have_long_fields(suite: Suite, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f'a\n"{"b" * 200_000}"\n', encoding="utf-8")

    assert given(suite, path).rows == 1


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.jsonl", '{"text": "a"}\nplain\n', "after 1 rows: line 2 is not one JSON object"),
        ("t.jsonl", "[1]\n", "after 0 rows: line 1 is not one JSON object"),
        ("t.json", '{"a": 1}', "after 0 rows: not a list of rows"),
        ("t.parquet", "no", "after 0 rows: "),
        ("folder", None, "after 0 rows: "),
        ("absent.jsonl", None, "no such file or folder"),
    ],
)
def test_a_file_that_cannot_be_read_is_the_users_to_mend(
    suite: Suite, tmp_path: Path, name: str, text: str | None, message: str
) -> None:
    path = tmp_path / name
    if name == "folder":
        path.mkdir()
    elif text is not None:
        path.write_text(text, encoding="utf-8")

    with pytest.raises(UsageError) as error:
        given(suite, path)

    assert str(error.value).startswith(f"--gate-training-data={path}: {message}")
    assert "\n" not in str(error.value)


def test_the_card_is_read_beside_the_weights(tmp_path: Path) -> None:
    text = {"weights_sha256": "aa", "files": [{"path": "t.jsonl", "sha256": "bb"}], "x": 1}
    (tmp_path / FILE).write_text(json.dumps(text), encoding="utf-8")

    own = training_card.read_training_card(
        tmp_path, {"adapter_sha256": "aa", "weights_sha256": "base"}
    )
    other = training_card.read_training_card(tmp_path, {"adapter_sha256": "cc"})

    assert (own.believed, len(own.files), own.facts["weights_sha256"]) == (True, 1, "aa")
    assert (other.believed, other.files) == (False, ())
    assert other.facts["notes"] == [other.why]
    assert "other weights than tuned's" in other.why
    assert (
        training_card.read_training_card(tmp_path / "none", {}).why
        == f"there is no {FILE} next to tuned"
    )


@pytest.mark.parametrize("text", ["[]", "{", '{"loss": NaN}', "\ud800"])
def test_a_broken_card_is_no_crash(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text, encoding="utf-8", errors="surrogatepass")

    found = training_card.read_training_card(tmp_path, {})

    assert (found.believed, found.card) == (False, {})
    assert str(tmp_path / FILE) in found.why


def test_another_template_or_tokenizer_is_told(tmp_path: Path) -> None:
    text = {"chat_template_sha256": "a" * 64, "tokenizer_sha256": "b" * 64}
    (tmp_path / FILE).write_text(json.dumps(text), encoding="utf-8")

    same = training_card.read_training_card(
        tmp_path, {"template_sha256": "a" * 64, "tokenizer_sha256": "b" * 64}
    )
    both = training_card.read_training_card(
        tmp_path, {"template_sha256": "c" * 64, "tokenizer_sha256": "d" * 64}
    )
    none = training_card.read_training_card(tmp_path, {})

    assert (same.notes, none.notes) == ((), ())
    assert [note.partition(" (")[0] for note in both.notes] == [
        "tuned was trained with another chat template",
        "tuned was trained with another tokenizer",
    ]
    assert both.facts["notes"] == list(both.notes)
    assert "notes" not in same.facts


def test_the_bundled_training_rows_touch_no_bundled_suite() -> None:
    """The demo's verdicts rest on every case: its rows have not one 8-gram in common with them."""
    folders = [*(ROOT / "suites").glob("*/suite.toml"), ROOT / "trainers/demo/judge/suite.toml"]
    rows = sorted((ROOT / "suites").glob("*/train.jsonl"))
    folders = [path for path in folders if path.parent.name != "charts"]  # images: not compared
    loaded = [suites.load_suite(path) for path in sorted(folders)]

    found = check_contamination(
        loaded,
        find_training_files(TrainingSummary(), None, rows),
        mode=ContaminationMode.GATE,
    )

    assert found.rows == 1030
    assert len(found.suites) == len(folders) >= 7
    assert [(suite.name, suite.matches) for suite in found.suites if suite.matches] == []
    # Nor would they if templates counted.
    lines = [json.loads(line) for path in rows for line in path.read_text("utf-8").splitlines()]
    trained = {
        run for line in lines for text in row_texts(line) for run in runs_of(split_words(text))
    }
    for suite in loaded:
        for case in map(case_text, suite.cases):
            own = {run for text in (*case.prompt, *case.answer) for run in runs_of(text)}
            assert not own & trained, suite.name


def runs_of(text: Sequence[str]) -> set[tuple[str, ...]]:
    """Return the runs of eight words of a text."""
    return {tuple(text[k : k + 8]) for k in range(len(text) - 7)}


def test_a_card_that_names_a_sparse_file_of_200_gb_is_not_followed(tmp_path: Path) -> None:
    """A card that names a sparse file of 200 gb is not followed."""
    rows = tmp_path / "rows.jsonl"
    with rows.open("wb") as file:
        file.truncate(200 * 10**9)
    named = TrainingSummary(card={"files": [{"path": str(rows), "sha256": "0" * 64}]})

    (source,) = find_training_files(named, None, [])
    assert (source.path, source.file.state) == (None, FileState.UNREADABLE)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_rows_from_a_pipe_are_refused_instead_of_waited_for(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    os.mkfifo(rows)
    stream = TrainingRowStream(find_training_files(TrainingSummary(), None, [rows]))
    with pytest.raises(UsageError, match="a pipe or device, not a regular file"):
        list(stream)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_a_card_that_is_a_pipe_or_a_sparse_file_is_one_reason(tmp_path: Path) -> None:
    path = tmp_path / "tunegate_training.json"
    os.mkfifo(path)
    assert "a pipe or device, not a regular file" in read_training_card(tmp_path, {}).why
    path.unlink()
    with path.open("wb") as file:
        file.truncate(200 * 10**9)
    assert "200,000,000,000 bytes, at most" in read_training_card(tmp_path, {}).why


def test_cases_with_images_are_not_compared_and_said_so(tmp_path: Path) -> None:
    """Their text may ask the same of every image: rows that ask it, too, are no leak."""
    pytest.importorskip("PIL")
    names = [f"{shade}.png" for shade in range(3)]
    for shade, name in enumerate(names):
        (tmp_path / name).write_bytes(png(shade))
    suite = suites.load_suite(write_image_suite(tmp_path, dict(zip("abc", names, strict=True))))
    rows = write(tmp_path / "rows.jsonl", [{"prompt": "What is the total?", "completion": "7"}])

    found = check_contamination(
        [suite], find_training_files(TrainingSummary(), None, [rows]), mode=ContaminationMode.GATE
    )

    assert found.checked is ContaminationCoverage.PART
    assert found.suites[0].matches == ()
    assert found.sentence == (
        "leakage: none of 0 cases are in 1 training rows; 3 cases with images not compared"
    )


def test_examples_hold_no_case_even_together(suite: Suite) -> None:
    """Words 0 to 11 and 8 to 19 of a case hold 5 of its 13 8-grams each, 10 together."""
    words = sentence(0).split()
    texts = (sentence(1), " ".join(words[:12]), " ".join(words[8:]), sentence(60), sentence(61))
    examples = [SolvedExample.of(text, {"prompt": text, "completion": "fine"}) for text in texts]

    kept = examples_without_cases(suite, examples, 2)

    assert kept == (examples[1], examples[3])
