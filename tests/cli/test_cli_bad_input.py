"""The mistakes that users make, each answered by one line that says where and what to do."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.cli import errors_as_exit_codes
from tunegate.harness.records.errors import UsageError

CASE = {"id": "a", "prompt": "q", "expected": "yes"}
SUITE = 'name = "demo"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "exact_match"\n'
GATE = '[[gates]]\nmetric = "exact_match"\n'

SUITES: dict[str, tuple[str, list[Any], list[str]]] = {
    "no cases": (SUITE + GATE + "floor = 0.5\n", [""], ["suite.toml:2", "no cases"]),
    "duplicate ids": (
        SUITE + GATE + "floor = 0.5\n",
        [CASE, CASE],
        ["cases.jsonl:2", "cases.jsonl:1", "'a'"],
    ),
    "unknown metric": (
        SUITE.replace('"exact_match"', '"exact_mach"') + GATE + "floor = 0.5\n",
        [CASE],
        ["suite.toml:4", "did you mean 'exact_match'?"],
    ),
    "unknown key": (SUITE + GATE + "flor = 0.5\n", [CASE], ["suite.toml:", "'flor'", "'floor'"]),
    "wrong type": (SUITE + GATE + 'floor = "high"\n', [CASE], ["suite.toml:7", "number"]),
    "percent": (SUITE + GATE + "floor = 90\n", [CASE], ["suite.toml:7", "0.9"]),
    "broken line": (
        SUITE + GATE + "floor = 0.5\n",
        [CASE, '{"id": "b", "prompt"'],
        ["cases.jsonl:2", "JSON"],
    ),
    "empty prompt": (
        SUITE + GATE + "floor = 0.5\n",
        [CASE, {"id": "b", "prompt": "", "expected": "yes"}],
        ["cases.jsonl:2", "prompt", "must not be empty"],
    ),
    "broken TOML": ("name = demo\n", [CASE], ["suite.toml:1"]),
    "missing schema": (
        SUITE.replace('"exact_match"', '"json_schema"\nschema = "no.json"')
        + GATE.replace("exact_match", "json_schema")
        + "floor = 0.5\n",
        [CASE],
        ["suite.toml:", "no.json"],
    ),
    "tolerance out of reach": (
        SUITE + GATE + "tolerance = 0.001\n",
        [CASE],
        ["suite.toml:7", "tolerance", "cases"],
    ),
}


def _lines(result: pytest.RunResult) -> list[str]:
    return result.outlines + result.errlines


def _told(result: pytest.RunResult, parts: list[str]) -> bool:
    """Return whether one line of the output has every part."""
    return any(all(part in line for part in parts) for line in _lines(result))


@pytest.mark.parametrize("mistake", SUITES)
def test_a_mistake_in_a_suite_is_one_line(project: Any, mistake: str) -> None:
    """File and line, what is wrong, what would be right; exit 4 before a model is opened."""
    toml, cases, parts = SUITES[mistake]
    project.raw_suite(toml, cases)

    result = project.gate("--gate-base=scripted:no", "--gate-tuned=scripted:no")

    assert result.ret == 4
    assert _told(result, parts), _lines(result)
    assert "Traceback" not in result.stdout.str() + result.stderr.str()
    assert "opening" not in result.stderr.str()


MODELS = {
    "missing folder": (("--gate-tuned=models/none", "--gate-base=models/none"), "models/none"),
    "missing script": (
        ("--gate-tuned=scripted:no.json", "--gate-base=scripted:no.json"),
        "no.json",
    ),
    "missing recording": (
        ("--gate-tuned=replay:no.jsonl", "--gate-base=replay:no.jsonl"),
        "no.jsonl",
    ),
    "broken recording": (
        ("--gate-tuned=replay:bad.jsonl", "--gate-base=replay:bad.jsonl"),
        "bad.jsonl:2",
    ),
    "no base": (("--gate-tuned=replay:ok.jsonl",), "--gate-base SPEC"),
}


@pytest.mark.parametrize("mistake", MODELS)
def test_a_model_that_cannot_be_opened_is_one_line(project: Any, mistake: str) -> None:
    """The spec is named, and what was expected; exit 4."""
    options, part = MODELS[mistake]
    project.suite()
    Path("ok.jsonl").write_text('{"id": "c000", "completion": "yes"}\n', encoding="utf-8")
    Path("bad.jsonl").write_text('{"id": "a", "completion": "x"}\n{"id": 1}\n', encoding="utf-8")

    result = project.gate(*options)

    assert result.ret == 4
    assert _told(result, [part]), _lines(result)
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


def test_a_recording_without_what_a_metric_reads_is_refused(project: Any) -> None:
    """A metric whose key is absent is refused at load, not scored as 0."""
    toml = 'name = "demo"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "answer_logprob"\n'
    project.raw_suite(
        toml + GATE.replace("exact_match", "answer_logprob") + "gain = 0.1\n",
        [CASE, {**CASE, "id": "b"}],
    )
    for arm in ("base", "tuned"):
        Path(f"{arm}.jsonl").write_text(f'{{"id": "a", "completion": "{arm}"}}\n', encoding="utf-8")

    result = project.gate("--gate-base=replay:base.jsonl", "--gate-tuned=replay:tuned.jsonl")

    assert result.ret == 4
    assert _told(result, ["answer_logprob", "base.jsonl"]), _lines(result)


def test_the_command_line_prints_the_same_and_exits_2(project: Any) -> None:
    """`tunegate gate` gives the sentence of pytest and its own exit code."""
    toml, cases, parts = SUITES["unknown metric"]
    project.raw_suite(toml, cases)

    result = project.tunegate("gate", "suites", "--tuned", "scripted:no")

    assert result.ret == 2
    assert _told(result, parts)


def test_a_command_without_its_extra_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.delitem(sys.modules, "safetensors.torch", raising=False)
    with pytest.raises(SystemExit) as ended, errors_as_exit_codes():
        importlib.import_module("safetensors.torch")
    [line] = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert all(part in line for part in ("safetensors", "pip install 'tunegate[hf]'"))
    with pytest.raises(ModuleNotFoundError), errors_as_exit_codes():
        importlib.import_module("no_extra_has_this")


def test_an_error_prints_nothing_that_a_terminal_or_ci_obeys(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit), errors_as_exit_codes():
        raise UsageError("\x1b[2J\u202ex: no such file\n##[error]y")
    said = capsys.readouterr().err
    assert said == "tunegate: \\u001b[2J\\u202ex: no such file\ntunegate: ## [error]y\n"


def test_a_case_id_is_shown_and_not_obeyed(project: Any) -> None:
    """`tunegate suite show` prints ids and tags that strangers wrote."""
    case = {**CASE, "id": "\x1b[2Jx", "tags": ["\u202ey"]}
    project.raw_suite(SUITE + GATE + "floor = 0.5\n", [case])
    result = project.tunegate("suite", "show", "suites/demo")
    assert _told(result, ["\\u001b[2Jx"])
    assert not _told(result, ["\x1b"])


def test_a_user_metric_that_cannot_be_imported_is_named(project: Any) -> None:
    Path("broken_metric.py").write_text("def score(:\n", encoding="utf-8")
    for module in ("no_such_metric", "broken_metric"):
        toml = (
            SUITE.replace('"exact_match"', f'"{module}:score"')
            + GATE.replace("exact_match", "score")
            + "floor = 0.5\n"
        )
        project.raw_suite(toml, [CASE])

        result = project.gate("--gate-base=scripted:no", "--gate-tuned=scripted:no")

        assert result.ret == 4
        assert _told(result, ["suite.toml:4", module]), _lines(result)
        assert "Traceback" not in result.stdout.str()
