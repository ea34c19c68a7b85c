"""Scripted arms: the module's docstring, line by line."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.contracts.model import Request
from tunegate.harness.models.scripted import ScriptedArm
from tunegate.harness.models.scripted import scripted as open_script
from tunegate.harness.records.answers import Cell, CellKind
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import ModelError
from tunegate.harness.records.generation import GenerationSettings

Script = Callable[..., str]


def _open(spec: str) -> ScriptedArm:
    return open_script(spec.removeprefix("scripted:"))


def _ask(arm: ScriptedArm, case: str, kind: str = "generate", prompt: str = "Q") -> Any:
    asked, generation = Case(id=case, prompt=prompt), GenerationSettings()
    cell = Cell(suite="suite", case=case, arm="", kind=CellKind(kind), key="key")
    request = Request(cell, asked, arm.prompt(asked, generation), generation, 0)
    (answer,) = arm.complete([request])
    return answer


def test_completions_by_id_then_prompt_then_default(scripted: Script) -> None:
    arm = _open(
        scripted("m", completions={"r1": "by id", "Hello": "by prompt"}, default="by default")
    )
    assert _ask(arm, "r1", prompt="Hello").completion.text == "by id"
    assert _ask(arm, "r2", prompt="Hello").completion.text == "by prompt"
    assert _ask(arm, "r2", prompt="x").completion.text == "by default"


def test_likelihoods_and_reasons(scripted: Script) -> None:
    """Choices, answers and finish reasons are those of the script."""
    arm = _open(
        scripted(
            "m",
            choice_logprobs={"q1": [-1.0, -2.0]},
            answer_logprob={"a1": -0.5},
            default="two words",
            finish_reason={"q2": "length"},
        )
    )
    assert _ask(arm, "q1", "choices").completion.choice_logprobs == (-1.0, -2.0)
    assert _ask(arm, "a1", "answer").completion.answer_logprob == -0.5
    assert _ask(arm, "q2").completion.finish_reason == "length"
    done = _ask(arm, "q1").completion
    assert (done.finish_reason, done.output_tokens, done.input_tokens) == ("stop", 2, 2)
    assert _ask(arm, "q1", "latency").completion.latency_s == 0.0


@pytest.mark.parametrize("kind", ["generate", "choices", "answer", "latency"])
def test_what_the_script_lacks_is_an_error(scripted: Script, kind: str) -> None:
    answer = _ask(_open(scripted("m")), "q1", kind)
    assert answer.completion is None
    assert answer.error == f"the script has no {kind} for case 'q1'"


def test_failures(scripted: Script) -> None:
    """A scripted failure is the answer's error, whatever else the script has for the case."""
    arm = _open(scripted("m", default="x", fail={"r2": "HTTP 500"}))
    assert (_ask(arm, "r2").completion, _ask(arm, "r2").error) == (None, "HTTP 500")
    assert _ask(arm, "r1").error is None


def test_the_delay_is_waited_and_no_part_of_the_identity(scripted: Script) -> None:
    """delay_s is how long a completion takes; two scripts that differ in it are the same arm."""
    slow, fast = _open(scripted("a", default="x", delay_s=0.05)), _open(scripted("b", default="x"))
    clock = time.perf_counter()
    assert _ask(slow, "r1").completion.latency_s == 0.05
    assert time.perf_counter() - clock >= 0.05
    assert slow.fingerprint == fast.fingerprint == slow.identity["script_sha256"]
    assert _open(scripted("c", default="y")).fingerprint != fast.fingerprint


def test_the_prompt_is_plain_lines_behind_the_prefix(scripted: Script) -> None:
    """Prompts are rendered as lines; a prefix makes another template of it."""
    case, generation = Case(id="c", prompt="Q"), GenerationSettings(system="S")
    plain, other = _open(scripted("a")), _open(scripted("b", prefix="> "))
    assert plain.prompt(case, generation).text == "system: S\nuser: Q"
    assert other.prompt(case, generation).text == "> system: S\nuser: Q"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a ModelScript: Expecting property name"),
        ('{"colour": 1}', "unknown key 'colour'"),
        ('{"answer_logprob": {"a": "x"}}', "answer_logprob.a: "),
    ],
)
def test_broken_scripts(tmp_path: Path, text: str, message: str) -> None:
    """A script that is not JSON or has unknown or wrong keys is refused in one line."""
    path = tmp_path / "s.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=message) as caught:
        open_script(str(path))
    assert str(caught.value).startswith(f"scripted:{path}: ")
    assert "\n" not in str(caught.value)


def test_a_missing_script(tmp_path: Path) -> None:
    """A script that is not there is named."""
    with pytest.raises(ModelError, match=r"nowhere.json: cannot be read \(No such file"):
        open_script(str(tmp_path / "nowhere.json"))


def test_a_script_can_answer_every_kind(scripted: Script) -> None:
    arm = _open(scripted("m"))
    assert arm.kinds == frozenset(CellKind)
    assert "has no choices" in arm.cannot(CellKind.CHOICES)
