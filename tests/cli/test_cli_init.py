"""`tunegate init`: a bundled suite becomes the start of one's own."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tunegate.harness.cli import app
from tunegate.harness.records.errors import UsageError
from tunegate.harness.suite import load_suite
from tunegate.harness.suite.find import BUNDLED, suite_names


def _init(*args: str) -> str:
    """Run the command in this process; errors of ours pass through, as to `main`."""
    result = CliRunner().invoke(app, ["init", *args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_without_a_name_the_suites_that_guard_any_fine_tune_are_copied(project: Any) -> None:
    output = _init()

    assert sorted(path.name for path in Path("suites").iterdir()) == [
        "general_knowledge", "production",
    ]  # fmt: skip
    assert "next: `tunegate suite new suites/TASK`" in output


def test_the_suites_that_are_there_keep_others_from_being_copied(project: Any) -> None:
    Path("suites/production").mkdir(parents=True)

    with pytest.raises(UsageError, match="suites/production: is already there"):
        _init()

    assert not Path("suites/general_knowledge").exists()


def test_every_bundled_suite_is_listed(project: Any) -> None:
    """Each with what it is for, and how to go on; nothing is written."""
    output = _init("--list")

    for name in suite_names():
        assert f"\n{name} " in f"\n{output}"
    assert "  504 four-choice questions of general knowledge" in output
    assert "next: `tunegate init SUITE [DIR]`" in output
    assert not Path("suites").exists()


@pytest.mark.parametrize("name", suite_names())
def test_every_bundled_suite_can_be_a_start(project: Any, name: str) -> None:
    """The copy is a valid suite in `suites/`, and its only code is the environment of episodes."""
    if name == "charts":
        pytest.importorskip("PIL")
    output = _init(name)

    place = Path("suites", name)
    assert f"wrote suites/{name}: " in output
    assert f"`tunegate suite check suites/{name}`" in output
    copied = sorted(place.rglob("cases.jsonl"))
    assert len(copied) == {"safety": 10, "languages": 2, "long_context": 0}.get(name, 1)
    for path in copied:
        assert path.read_bytes() == (BUNDLED / path.relative_to("suites")).read_bytes()
    folders = [p.name for p in place.rglob("*") if p.is_dir() and not (p / "suite.toml").exists()]
    code = [p.name for p in place.rglob("*.py")]
    more = {"charts": ["images"], "order_desk": ["desk.py"], "sql": ["databases"]}
    assert folders + code == more.get(name, [])
    checked = CliRunner().invoke(app, ["suite", "check", str(place)], catch_exceptions=False)
    assert len(re.findall(rf"^{name}\w*: \d+ cases", checked.output, re.M)) == max(1, len(copied))


def case_lengths(folder: str) -> dict[str, Any]:
    """Return the options of a copied suite's cases."""
    text = Path(folder, "suite.toml").read_text(encoding="utf-8")
    cases: dict[str, Any] = tomllib.loads(text)["cases"]
    return cases


def test_lengths_are_written_into_the_suite(project: Any) -> None:
    """Without a base they count in SmolLM2's tokens, and the output says so."""
    output = _init("long_context", "--lengths", "4k, 1k")

    assert case_lengths("suites/long_context")["lengths"] == ["4k", "1k"]
    assert case_lengths("suites/long_context")["characters_per_token"] == 4.423
    assert "--base BASE counts in those of your base" in output
    assert "adapt [cases] and gates in suites/long_context/suite.toml" in output


def word_model(folder: Path, context: int) -> Path:
    """Write a model without weights, a token of which is a word or a run of marks."""
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    transformers.LlamaConfig(max_position_embeddings=context).save_pretrained(folder)
    return folder


def test_lengths_count_in_the_tokens_of_base_and_fit_its_context(project: Any) -> None:
    """Of the default lengths one fits into 1,500 tokens; its prompts have up to 1,024 words."""
    base = word_model(Path("base"), context=1500)

    _init("long_context", "--base", f"{base}")

    assert case_lengths("suites/long_context")["lengths"] == ["1k"]
    for case in load_suite("suites/long_context").cases:
        assert 0.85 * 1024 <= len(re.findall(r"\w+|[^\w\s]+", str(case.prompt))) <= 1024


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("long_context", "--lengths", "3k"), "--lengths: unknown length '3k'"),
        (("long_context", "--base", "base", "--lengths", "1k,2k"), "2k is longer than the context"),
        (("turns", "--lengths", "1k"), "for the suite long_context only, without --ci"),
        (("long_context", "--lengths", "1k", "--ci", "gitlab"), "only, without --ci"),
    ],
)
def test_lengths_that_cannot_be_are_refused_before_anything_is_written(
    project: Any, args: tuple[str, ...], message: str
) -> None:
    word_model(Path("base"), context=1500)

    with pytest.raises(UsageError, match=re.escape(message)):
        _init(*args)

    assert not Path("suites").exists()


def test_a_folder_of_suites_is_copied_whole(project: Any) -> None:
    output = _init("safety")

    assert "next: `tunegate gate suites/safety " in output
    assert "your own cases into suites/safety/*/cases.jsonl" in output
    assert Path("suites/safety/leakage/suite.toml").is_file()
    assert Path("suites/safety/harmful/judge.txt").is_file()


def test_a_suite_with_a_teacher_names_its_recorded_answers(project: Any) -> None:
    output = _init("replace")

    assert "--tuned FINE-TUNE --teacher replay:suites/replace/teacher.jsonl`" in output
    assert Path("suites/replace/teacher.txt").is_file()


def test_the_folder_can_be_named(project: Any) -> None:
    output = _init("production", "deep/mine")

    assert Path("deep/mine/suite.toml").is_file()
    assert "your own cases into deep/mine/cases.jsonl" in output


def test_nothing_is_overwritten(project: Any) -> None:
    """A folder that is there is left as it is, byte for byte."""
    mine = Path("suites/production")
    mine.mkdir(parents=True)
    (mine / "suite.toml").write_text("mine", encoding="utf-8")

    with pytest.raises(UsageError, match="suites/production: is already there; choose another"):
        _init("production")

    assert [(p.name, p.read_text()) for p in mine.iterdir()] == [("suite.toml", "mine")]


def test_an_unknown_name_is_told_with_the_nearest(project: Any) -> None:
    with pytest.raises(UsageError, match="did you mean 'production'"):
        _init("producton")

    assert not Path("suites").exists()


def test_a_place_that_cannot_be_written_is_one_line(project: Any) -> None:
    Path("file").write_text("", encoding="utf-8")

    with pytest.raises(
        UsageError, match=r"file/mine: cannot be written \(Not a directory\); choose"
    ):
        _init("production", "file/mine")


def test_a_repository_is_told_to_merge_the_ledger(project: Any) -> None:
    """One line of `.gitattributes`, below what is there, once; none outside of a repository."""
    _init("tool_calls")
    assert not Path(".gitattributes").exists()
    Path(".git").mkdir()
    Path(".gitattributes").write_text("*.png binary", encoding="utf-8")

    outputs = [_init("tool_calls", f"suites/{name}") for name in ("one", "two")]

    lines = ["*.png binary", "tunegate.ledger.jsonl merge=union"]
    assert Path(".gitattributes").read_text(encoding="utf-8").splitlines() == lines
    assert [".gitattributes" in output for output in outputs] == [True, False]


def test_agents_are_told_how_to_gate_and_what_never_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is there is left alone, with a note if it does not mention tunegate."""
    monkeypatch.chdir(tmp_path)
    first = _init("refusals")
    text = Path("AGENTS.md").read_text(encoding="utf-8")
    Path("AGENTS.md").write_text("ours", encoding="utf-8")
    second = _init("summaries")

    assert "wrote AGENTS.md" in first
    assert "| 10 | UNDECIDED |" in text
    assert "gate again and again until SHIP" in text
    assert "note: AGENTS.md does not mention tunegate" in second
    assert Path("AGENTS.md").read_text(encoding="utf-8") == "ours"
