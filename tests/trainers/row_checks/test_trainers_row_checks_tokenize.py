"""Tokens are TRL's own: no weights are needed, and what is learned is what TRL would learn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.trainers.conftest import TEMPLATE
from tests.trainers.row_checks.planted_rows import GOOD, chat, copy_base, found, look
from tunegate.harness.records.errors import UsageError

END = "{{ message['content'] }}<|im_end|>"
MARKED = TEMPLATE.replace(
    END,
    "{% if message['role'] == 'assistant' %}{% generation %}" + END + "{% endgeneration %}"
    "{% else %}" + END + "{% endif %}",
)
UNENDED = MARKED.replace(
    "{% generation %}" + END + "{% endgeneration %}",
    "{% generation %}{{ message['content'] }}{% endgeneration %}<|im_end|>",
)
STRICT = "{% if messages[0]['role'] != 'user' %}{{ raise_exception('user first') }}{% endif %}"


def test_good_rows_teach_answer_and_end_and_nothing_is_found(
    tiny_base: Path, tmp_path: Path
) -> None:
    report = look(tmp_path, tiny_base)
    assert report.tokens is not None
    learned = [report.tokenizer.decode(row.ids[row.learned]) for row in report.tokens.rows]

    assert ({}, True) == (found(report), report.teaches)
    assert ["no<|im_end|>\n", "yes<|im_end|>\n"] * 6 == learned
    assert [int(row.learned.sum()) for row in report.tokens.rows] == [
        row.kept for row in report.tokens.rows
    ]


def test_no_weights_are_read(tiny_base: Path, tmp_path: Path) -> None:
    base = copy_base(tiny_base, tmp_path / "base")

    assert not list(base.glob("*.safetensors"))
    assert look(tmp_path, base).teaches


def test_a_template_that_leaves_out_answers_masks_all_labels(
    tiny_base: Path, tmp_path: Path
) -> None:
    """All labels masked, whatever max_length is (trl#3927)."""
    template = TEMPLATE.replace(
        "{% for message in messages %}",
        "{% for message in messages if message['role'] != 'assistant' %}",
    )
    base = copy_base(tiny_base, tmp_path / "base", chat_template=template)

    report = look(tmp_path, base)

    assert not report.teaches
    assert {"no token is learned: all labels are masked": [str(i + 1) for i in range(12)]} == found(
        report
    )


def test_prompts_that_fill_max_length_are_dropped(tiny_base: Path, tmp_path: Path) -> None:
    """The rows of trl#6668, whose loss is reported as 0."""
    report = look(tmp_path, tiny_base, max_length=16)

    assert not report.teaches
    assert ["dropped: the prompt alone fills max_length=16"] == list(found(report))


def test_cut_answers_are_named_and_the_rest_is_learned(tiny_base: Path, tmp_path: Path) -> None:
    rows = [*GOOD, chat("Question?", "very " * 20)]

    report = look(tmp_path, tiny_base, rows, max_length=80)

    [finding] = report.findings
    assert report.teaches
    assert "answer cut by max_length=80: its end is not learned" == finding.what
    assert [f"{tmp_path}/rows.jsonl:13"] == list(finding.places)
    assert "set max_length to 130, or shorten the rows" == finding.advice


def test_a_row_beyond_the_context_is_to_be_shortened(tiny_base: Path, tmp_path: Path) -> None:
    """The tiny model reads 256 tokens, so max_length is 256 though TRL's default is 1,024."""
    report = look(tmp_path, tiny_base, [*GOOD, chat("Question?", "very " * 60)])

    [finding] = report.findings
    assert "answer cut by max_length=256: its end is not learned" == finding.what
    assert "shorten or drop them: up to 330 tokens, the model reads 256" == finding.advice


def test_packing_cuts_elsewhere(tiny_base: Path, tmp_path: Path) -> None:
    rows = [*GOOD, chat("Question?", "very " * 20)]

    assert {} == found(look(tmp_path, tiny_base, rows, max_length=80, packing=True))


def test_a_template_without_an_end_teaches_no_end(tiny_base: Path, tmp_path: Path) -> None:
    """trl#2059."""
    base = copy_base(tiny_base, tmp_path / "base", chat_template=TEMPLATE.replace("<|im_end|>", ""))

    [what] = found(look(tmp_path, base))

    assert what.startswith("no end learned: answers end in")
    assert what.endswith("and the model stops at '<|im_end|>'")


@pytest.mark.parametrize(("stops", "problems"), [([1], 1), ([0, 1], 0)])
def test_the_end_is_what_generation_stops_at(
    stops: list[int], problems: int, tiny_base: Path, tmp_path: Path
) -> None:
    """A template may end turns with another token than `eos_token` if generation knows it."""
    base = copy_base(tiny_base, tmp_path / "base", eos_token="<|im_start|>")
    path = base / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"eos_token_id": stops}))

    assert problems == len(found(look(tmp_path, base)))


def test_padding_like_the_end_is_no_problem_of_trl(tiny_base: Path, tmp_path: Path) -> None:
    report = look(tmp_path, tiny_base)

    assert {} == found(report)
    [note] = report.notes
    assert "DataCollatorForLanguageModeling masks it" in note


@pytest.mark.parametrize(
    ("template", "teaches", "problems"),
    [
        (TEMPLATE, False, ["assistant_only_loss: the chat template marks no answers"]),
        (MARKED, True, []),
        (UNENDED, True, ["no end learned"]),
    ],
)
def test_answers_alone_need_marks_in_the_template(
    template: str, teaches: bool, problems: list[str], tiny_base: Path, tmp_path: Path
) -> None:
    """A template without {% generation %} teaches nothing with assistant_only_loss."""
    base = copy_base(tiny_base, tmp_path / "base", chat_template=template)

    report = look(tmp_path, base, assistant_only_loss=True)

    assert teaches == report.teaches
    assert len(problems) == len(report.findings)
    for problem, finding in zip(problems, report.findings, strict=True):
        assert finding.what.startswith(problem)
        assert 12 == len(finding.places)


@pytest.mark.parametrize(
    ("begin", "problems"), [("{{ bos_token }}", 0), ("{{ bos_token }}" * 2, 1)]
)
def test_two_begins_are_found(begin: str, problems: int, tiny_base: Path, tmp_path: Path) -> None:
    base = copy_base(
        tiny_base, tmp_path / "base", bos_token="<|im_start|>", chat_template=begin + "x" + TEMPLATE
    )

    assert ["two BOS tokens at the beginning"] * problems == list(found(look(tmp_path, base)))


def test_rows_that_the_template_refuses_are_named_and_left_out(
    tiny_base: Path, tmp_path: Path
) -> None:
    base = copy_base(tiny_base, tmp_path / "base", chat_template=STRICT + TEMPLATE)

    report = look(tmp_path, base, [*GOOD, chat("Hi", "Hello", system="Be brief.")])

    assert report.tokens is not None
    assert 12 == len(report.tokens.rows)
    assert ["13"] == found(report)["the chat template refuses it, and train sft stops"]


def test_text_is_learned_as_a_whole_with_its_end(tiny_base: Path, tmp_path: Path) -> None:
    report = look(tmp_path, tiny_base, [{"text": f"Once {i}"} for i in range(9)])

    assert report.tokens is not None
    assert {} == found(report)
    assert all(row.learned.all() for row in report.tokens.rows)
    assert "Once 0<|im_end|>" == report.tokenizer.decode(report.tokens.rows[0].ids)


def test_bad_lines_are_a_finding_where_others_are_good(tiny_base: Path, tmp_path: Path) -> None:
    report = look(tmp_path, tiny_base, [*GOOD, {"question": "a"}, chat("a", " ")])

    assert report.teaches
    assert ["13", "14"] == found(report)["cannot be trained on, and train sft refuses the file"]


def test_bad_lines_alone_are_an_error(tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"rows\.jsonl:1: no `prompt`"):
        look(tmp_path, tiny_base, [{"question": "a"}])
