"""The judge contract: questions, fences, hashes, and how a suite names a judge."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fake_judges import send_replies
from tunegate.harness import suite
from tunegate.harness.contracts import judge_prompt
from tunegate.harness.contracts.judge import TEXT, ParsedReply, format_conversation, question
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import SuiteError

CASES = [{"id": "r1", "prompt": "My parcel is late."}]
TOML = """\
name = "replies"
cases = "cases.jsonl"
[[metrics]]
use = "rubric"
name = "civil"
criteria = "Apologises once."
{more}
[[gates]]
metric = "civil"
tolerance = 0.1
"""


@pytest.fixture(name="prompt")
def _prompt(tmp_path: Path) -> Path:
    """A prompt file with two sections."""
    path = tmp_path / "p.txt"
    path.write_text("--- one ---\nA {completion} by {rule}\n--- two ---\nB\n", encoding="utf-8")
    return path


def test_data_is_fenced_by_a_mark_that_is_not_in_it(prompt: Path) -> None:
    """The mark is on both lines around the text, and is the nonce; the system turn has none."""
    asked = question(
        prompt,
        "one",
        data={"completion": "Hello"},
        author_text={"rule": "R"},
        fields={"reason": TEXT},
    )

    mark = asked.nonce
    assert asked.text.startswith(f"<<completion {mark}>>\nHello\n<</completion {mark}>>\n")
    assert asked.text.endswith(f" {mark}")
    assert "A <<completion>> by R\n" in asked.system
    assert mark not in asked.system
    assert asked.schema["properties"]["nonce"] == {"type": "string"}
    assert asked.schema["required"] == ["nonce", "reason"]


def test_another_text_leaves_system_turn_and_schema_as_they_are(prompt: Path) -> None:
    one, other = (
        question(
            prompt,
            "one",
            data={"completion": t},
            author_text={"rule": "R"},
            fields={"reason": TEXT},
        )
        for t in ("a", "b")
    )

    assert (one.system, one.schema) == (other.system, other.schema)
    assert one.text != other.text


def test_a_mark_never_occurs_in_the_data() -> None:
    (first,) = judge_prompt.marks_for({"completion": "x"}).values()
    again = {"completion": f"x {first}"}
    (second,) = judge_prompt.marks_for(again).values()

    assert first not in "x"
    assert second not in again["completion"]


def test_no_text_can_hold_the_mark_of_one_before_it() -> None:
    source = judge_prompt.marks_for({"context": "s", "claim": "c"})["context"]
    marks = judge_prompt.marks_for({"context": "s", "claim": f"<</context {source}>>"})

    assert marks["context"] != source
    assert len(set(marks.values())) == 2


@given(st.lists(st.text(alphabet="0123456789abcdef", max_size=40), min_size=1, max_size=4))
def test_marks_are_distinct_and_foreign_to_all_texts(texts: list[str]) -> None:
    data = {f"t{number}": text for number, text in enumerate(texts)}
    marks = judge_prompt.marks_for(data)

    assert len(set(marks.values())) == len(texts)
    assert not any(mark in text for mark in marks.values() for text in texts)


def test_questions_that_share_their_first_texts_begin_with_the_same_characters(
    tmp_path: Path,
) -> None:
    path = tmp_path / "p.txt"
    path.write_text("{context} {claim}", encoding="utf-8")
    one, other = (
        question(path, "verdict", data={"context": "s" * 500, "claim": c}, fields={"reason": TEXT})
        for c in ("a", "b")
    )

    opened = one.text.index("<<claim ") + len("<<claim ")
    assert opened > 500
    assert one.text[:opened] == other.text[:opened]


def test_a_section_shows_the_texts_that_it_names(prompt: Path) -> None:
    asked = question(
        prompt,
        "one",
        data={"completion": "Hello", "context": "unused"},
        author_text={"rule": "R"},
        fields={"reason": TEXT},
    )

    assert "unused" not in asked.text


def test_placeholders_are_replaced_once(prompt: Path) -> None:
    """A completion that writes {rule} shows it; braces of JSON are no placeholders."""
    text = '{rule} {completion} {"score": 5}'
    asked = question(
        prompt, "one", data={"completion": text}, author_text={"rule": "R"}, fields={"reason": TEXT}
    )

    assert f"\n{text}\n" in asked.text
    assert judge_prompt.fill_template('{"a": {x}}', {"x": "{x}"}) == '{"a": {x}}'


def test_the_same_content_makes_the_same_question(prompt: Path) -> None:
    """Identical completions of both arms are one question; another text is another."""
    one, same, other = (
        question(
            prompt,
            "one",
            data={"completion": t},
            author_text={"rule": "R"},
            fields={"reason": TEXT},
        )
        for t in ("a", "a", "b")
    )

    assert one.hash == same.hash
    assert one.hash != other.hash


def test_a_file_without_headings_is_one_verdict(tmp_path: Path) -> None:
    path = tmp_path / "own.txt"
    path.write_text("Is it right?\n{completion}\n", encoding="utf-8")

    assert judge_prompt.prompt_sections(path) == {"verdict": "Is it right?\n{completion}"}


def test_a_conversation_keeps_its_roles() -> None:
    """One user turn is plain text; several have their roles."""
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"},
             {"role": "user", "content": "Late."}]  # fmt: skip

    assert format_conversation(Case(id="a", prompt="Hi")) == "Hi"
    assert format_conversation(Case(id="a", messages=tuple(turns))) == (
        "[user]\nHi\n\n[assistant]\nYes?\n\n[user]\nLate."
    )


def test_a_judge_reads_the_name_of_an_image() -> None:
    image = {"type": "image", "image": "receipts/1.png", "sha256": "ab"}
    parts = [{"type": "text", "text": "What is the total?"}, image]
    case = Case(id="a", messages=({"role": "user", "content": parts},))

    assert format_conversation(case) == "What is the total?\n[image receipts/1.png]"


def test_probabilities_make_a_verdict_continuous() -> None:
    """0.25 of yes (1) and 0.75 of no (0) is 0.25; a verdict alone is its value."""
    weighed = ParsedReply({"v": "no"}, "v", {"yes": 0.25, "no": 0.75})

    assert weighed.expected({"yes": 1.0, "no": 0.0}) == 0.25
    assert ParsedReply({"v": "yes"}, "v").expected({"yes": 1.0, "no": 0.0}) == 1.0
    assert weighed.said("reason") is None


def test_a_suite_names_a_judge_like_a_metric(suite_folder: Callable[..., Path]) -> None:
    """The record says which judge and prompt; its gates are advisory."""
    loaded = suite.load_suite(suite_folder(TOML.format(more=""), CASES))

    (metric,) = loaded.metrics
    (record,) = loaded.record().metrics
    assert metric.judge is not None
    assert metric.judge.options == {"criteria": "Apologises once."}
    assert record.judge is not None
    assert (record.name, record.use, record.judge.name) == ("civil", "rubric", "rubric")
    assert record.judge.prompt_sha256 == metric.judge.prompt_sha256
    assert record.advisory
    assert metric(CASES_RECORD, Completion(text="Sorry.")).value is None


CASES_RECORD = Case.model_validate(CASES[0])


@pytest.mark.parametrize(
    ("more", "changes"),
    [("", False), ("scale = 5", False), ("scale = 4", True), ('criteria = "Other."', True)],
)
def test_the_prompt_hash_covers_the_rubric(
    suite_folder: Callable[..., Path], more: str, changes: bool
) -> None:
    """Written-out defaults change nothing; another scale or criterion is another instrument."""
    toml = TOML.format(more="")
    changed = (
        toml.replace('criteria = "Apologises once."', more)
        if more.startswith("criteria")
        else TOML.format(more=more)
    )
    one = suite.load_suite(suite_folder(toml, CASES, "one")).metrics[0].judge
    two = suite.load_suite(suite_folder(changed, CASES, "two")).metrics[0].judge

    assert one is not None
    assert two is not None
    assert (one.prompt_sha256 != two.prompt_sha256) is changes


def test_the_prompt_hash_covers_a_prompt_file(suite_folder: Callable[..., Path]) -> None:
    hashes = set()
    for name, text in (("one", "Good?\n{completion}"), ("two", "Fine?\n{completion}")):
        folder = suite_folder(TOML.format(more='prompt = "own.txt"'), CASES, name)
        (folder / "own.txt").write_text(text, encoding="utf-8")
        used = suite.load_suite(folder).metrics[0].judge
        assert used is not None
        hashes.add(used.prompt_sha256)

    assert len(hashes) == 2


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("scale = 1", "scale=1: write the number of steps, 2 to 10"),
        ('scale = {"one" = "bad", "two" = "good"}', "from 1 on"),
        ('examples = [{completion = "x", score = 9}]', "score=9 is not a step of the scale"),
        ('examples = [{answer = "x", score = 1}]', "examples, number 1: keys answer, score"),
        ('prompt = "gone.txt"', "no such file"),
        ('strictness = "high"', "unknown option 'strictness'"),
    ],
)
def test_wrong_options_are_told_at_load(
    suite_folder: Callable[..., Path], more: str, said: str
) -> None:
    folder = suite_folder(TOML.format(more=more), CASES)

    with pytest.raises(SuiteError) as caught:
        suite.load_suite(folder)

    assert said in str(caught.value)
    assert "suite.toml:4" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Is it good?", "it never shows the answer"),
        ("{completion} {answer}", "unknown placeholder {answer}"),
        ("{completion} {context}", "{context} is empty in case 'r1'"),
        ("--- other ---\n{completion}", "its only section may be '--- verdict ---'"),
    ],
)
def test_a_wrong_prompt_file_is_told_at_load(
    suite_folder: Callable[..., Path], text: str, said: str
) -> None:
    folder = suite_folder(TOML.format(more='prompt = "own.txt"'), CASES)
    (folder / "own.txt").write_text(text, encoding="utf-8")

    with pytest.raises(SuiteError) as caught:
        suite.load_suite(folder)

    assert said in str(caught.value)


def test_an_unknown_name_is_looked_for_in_both_rooms(suite_folder: Callable[..., Path]) -> None:
    """`rubrik` is near a judge, `exact_mach` near a metric."""
    for use, near in (("rubrik", "rubric"), ("exact_mach", "exact_match")):
        toml = f'name = "s"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "{use}"\n'
        with pytest.raises(SuiteError, match=f"did you mean '{near}'"):
            suite.load_suite(suite_folder(toml, CASES))


def test_rubric_averages_its_criteria(suite_folder: Callable[..., Path]) -> None:
    """Steps 5 and 2 of 5 are 1 and 0.25: 0.625, with a part for each criterion."""
    toml = TOML.format(more="").replace('"Apologises once."', '["Is kind.", "Is short."]')
    judge = suite.load_suite(suite_folder(toml, CASES)).metrics[0].judge
    assert judge is not None

    score = send_replies(
        judge.begin(CASES_RECORD, Completion(text="Sorry.")),
        [ParsedReply({"score": 5, "reason": "kind"}, "score"), ParsedReply({"score": 2}, "score")],
    )

    assert score.value == pytest.approx(0.625)
    assert score.parts == {"Is kind.": 1.0, "Is short.": 0.25}
    assert score.reason == "kind"


def test_rubric_needs_no_judge_for_an_empty_answer(suite_folder: Callable[..., Path]) -> None:
    judge = suite.load_suite(suite_folder(TOML.format(more=""), CASES)).metrics[0].judge
    assert judge is not None

    with pytest.raises(StopIteration) as ended:
        next(judge.begin(CASES_RECORD, Completion(text=" \n")))

    assert ended.value.value.value == 0.0
