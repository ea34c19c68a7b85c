"""Gates that guard little or nothing are pointed out, or refused, when a suite is loaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tunegate.harness.cli import app
from tunegate.harness.records.errors import SuiteError
from tunegate.harness.suite import load_suite

METRICS = """name = "s"
cases = "cases.jsonl"
[[metrics]]
use = "token_f1"
[[metrics]]
use = "bleu"
[[metrics]]
use = "length"
[[gates]]
"""


@pytest.mark.parametrize(
    ("gate", "told"),
    [
        ('metric = "token_f1"\ntolerance = 0.33', None),
        ('metric = "token_f1"\ntolerance = 0.9', "tolerance=0.9 lets token_f1 lose 90 % of its"),
        ('metric = "bleu"\ntolerance = 30', None),
        ('metric = "bleu"\ntolerance = 40', "tolerance=40.0 lets bleu lose 40 % of its range"),
        ('metric = "bleu"\ntolerance = "33%"', None),
        ('metric = "bleu"\ntolerance = "50%"', "tolerance=50% lets bleu lose 50 % of base's level"),
        (
            'metric = "token_f1"\nsevere_drop = 0.5',
            "severe_drop=0.5 lets token_f1 lose 50 % of its",
        ),
        ('metric = "length"\ntolerance = 900', None),
        ('metric = "token_f1"\ngain = 0.9', None),
        ('metric = "token_f1"\nfloor = 0.01', None),
    ],
)
def test_a_guardrail_that_tolerates_much_is_pointed_out(
    written: Callable[..., Path], gate: str, told: str | None
) -> None:
    """More than a third of the range, of base's level or of the cases; a goal tolerates nothing."""
    folder = written(METRICS + gate + "\n")

    lines = load_suite(folder).notes

    assert len(lines) == (told is not None)
    assert told is None or told in lines[0]
    assert told is None or lines[0].startswith(f"{folder / 'suite.toml'}:11: ")


def test_suite_check_shows_it(written: Callable[..., Path]) -> None:
    many = "".join(f'{{"id": "c{i}", "prompt": "p{i}", "expected": "x"}}\n' for i in range(60))
    folder = written(METRICS + 'metric = "token_f1"\ntolerance = 0.9\n', many)

    result = CliRunner().invoke(app, ["suite", "check", str(folder)], catch_exceptions=False)

    assert result.exit_code == 0
    assert "lose 90 % of its range and still ship" in result.output


@pytest.mark.parametrize(
    ("gate", "beyond"),
    [('metric = "token_f1"\nfloor = 0.0', "below"), ('metric = "loops"\nceiling = 1', "above")],
)
def test_a_bound_that_nothing_can_break_is_refused(
    refused: Callable[..., list[str]], gate: str, beyond: str
) -> None:
    (problem,) = refused(METRICS.replace("bleu", "loops") + gate + "\n")

    assert problem.startswith("suite.toml:11: ")
    assert f"is {beyond} it: it never fails" in problem


def _typed(kind: str) -> tuple[dict[str, Any], str]:
    return {"type": kind, kind: {"url": "x.png"}}, kind


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        *map(_typed, ("input_audio", "video_url")),
        *map(_typed, ("document", "IMAGE_URL")),
        # Gemini's form, and Transformers' without a type
        ({"inline_data": {"mime_type": "image/png", "data": "x"}}, "inline_data"),
        ({"image": "x.png"}, "image"),
        ({"type": "text", "text": "This?", "image_url": "x.png"}, "image_url"),
        ({"text": "This?", "images": ["x.png"]}, "images"),
        ({"type": "image-url", "url": "x.png"}, "image-url"),
        ({"type": "media", "url": "x.png"}, "media"),
        (7, "int"),
    ],
)
def test_a_case_with_an_unknown_part_is_refused(tmp_path: Path, part: Any, kind: str) -> None:
    parts = [{"type": "text", "text": "What is this?"}, {"text": "This?"}, "This?", part]

    with pytest.raises(SuiteError, match=rf"cases\.jsonl:1: case 'a' has '{kind}' in message 0"):
        _load(tmp_path, parts)


def test_a_part_that_is_in_no_list_is_refused(tmp_path: Path) -> None:
    part = {"type": "image_url", "image_url": {"url": "x.png"}}

    with pytest.raises(SuiteError, match=r"case 'a' has 'a part that is in no list' in message 0"):
        _load(tmp_path, part)


def _load(folder: Path, content: Any) -> None:
    case = {"id": "a", "messages": [{"role": "user", "content": content}], "expected": "cat"}
    (folder / "cases.jsonl").write_text(json.dumps(case), encoding="utf-8")
    (folder / "suite.toml").write_text(
        'name = "s"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "exact_match"\n', encoding="utf-8"
    )
    load_suite(folder)


@pytest.mark.parametrize("thinking", ["on", "off"])
@pytest.mark.parametrize("name", ["enable_thinking", "thinking"])
def test_a_switch_that_thinking_sets_itself_is_refused(
    refused: Callable[..., list[str]], thinking: str, name: str
) -> None:
    """A server would take one of the two, and the suite would not say which."""
    settings = (
        f'thinking = "{thinking}"\nchat_template_kwargs = {{ {name} = false, tone = "dry" }}\n'
    )

    (problem,) = refused(METRICS + 'metric = "bleu"\ngain = 1\n[generation]\n' + settings)

    assert problem.startswith("suite.toml:14: ")
    assert f"{name!r} beside thinking = " in problem
