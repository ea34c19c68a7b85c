"""`tunegate advise`: base is measured first, rows are counted, and nothing is asked in vain."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tunegate.harness.cli import advise as command
from tunegate.harness.cli import app
from tunegate.harness.records.errors import SuiteError, UsageError

READY = (
    "--prompted", "--lacks=behaviour", "--weights", "--one-task", "--no-verifier",
    "--no-reward-model",
)  # fmt: skip
PAIR = {"prompt": "q", "chosen": "good", "rejected": "bad"}
SHOWN = {"prompt": "q", "completion": "a"}


def advise(*args: str | Path, typed: str | None = None) -> str:
    """Run the command in this process; errors of ours pass through, as to `main`."""
    result = CliRunner().invoke(
        app, ["advise", *map(str, args)], input=typed, catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return result.output


def rows(path: Path, row: dict[str, Any], n: int) -> Path:
    """Write n rows."""
    path.write_text("".join(json.dumps({**row, "prompt": f"q{i}"}) + "\n" for i in range(n)))
    return path


def test_a_base_that_passes_needs_no_training(project: Any) -> None:
    """90 of 100 right where the floor is 80 %: nothing is asked, whatever rows there are."""
    project.suite(gates="floor = 0.8\ngain = 0.1")
    data = rows(project.path / "rows.jsonl", SHOWN, 60)

    text = advise("suites/demo", "--base", project.model("base", 90), "--data", data)

    assert "base: exact_match 0.9 (floor 0.8 held)" in text
    assert "1. Do not train" in text
    assert "2." not in text
    assert "tunegate train" not in text
    assert len(project.stored()) == 100


def test_a_base_that_fails_is_trained_on_what_is_there(project: Any) -> None:
    """30 of 100 right and 60 demonstrations: LoRA, with its reason, source and command."""
    project.suite(gates="floor = 0.8\ngain = 0.1")
    data = rows(project.path / "rows.jsonl", SHOWN, 60)
    base = project.model("base", 30)

    text = advise("suites/demo", "--base", base, "--data", data, *READY)

    assert "base: exact_match 0.3 (floor 0.8 broken)" in text
    assert f"data: 60 rows of completions in {data}" in text
    assert "1. LoRA" in text
    assert "source: https://arxiv.org/abs/2106.09685" in text
    assert f"next: tunegate train sft --model_name_or_path {base} --train_files {data}" in text
    assert f"next: tunegate gate suites/demo --base {base} --tuned adapters/lora" in text


def test_base_is_asked_once(project: Any) -> None:
    project.suite(gates="floor = 0.8\ngain = 0.1")
    base, tuned = project.model("base", 90), project.model("tuned", 95)
    advise("suites/demo", "--base", base)
    first = project.stored()

    advise("suites/demo", "--base", base)
    project.gate(f"--gate-base={base}", f"--gate-tuned={tuned}", "--gate-early-stop=off")

    assert 200 == len(project.stored())
    assert first == {key: n for key, n in project.stored().items() if key in first}


@pytest.mark.parametrize(
    ("gates", "text"),
    [
        ("gain = 0.1", "no floor of suites/demo could be decided"),
        ("floor = 0.8\nfloor_mode = 'certified'", "exact_match 0.85 (floor 0.8 broken)"),
        ("floor = 0.8", "exact_match 0.85 (floor 0.8 held)"),
        ("floor = 0.9", "exact_match 0.85 (floor 0.9 broken)"),
    ],
)
def test_floors_are_decided_as_the_gate_does(project: Any, gates: str, text: str) -> None:
    """85 of 100 reach 80 %, but do not certify it: the lower bound is 78 %."""
    project.suite(gates=gates)

    assert text in advise("suites/demo", "--base", project.model("base", 85), *READY)


SHOT = {"prompt": "Say it", "completion": "yes"}


def shots(path: Path, n: int, *others: str) -> Path:
    """Write n equal rows that no case has, and rows with other prompts."""
    found = [SHOT] * n + [{"prompt": prompt, "completion": "yes"} for prompt in others]
    path.write_text("".join(json.dumps(row) + "\n" for row in found))
    return path


def prompted_model(project: Any, n: int, right: int, *, alone: int = 30) -> str:
    """A script with `right` right answers behind n examples, and `alone` otherwise."""
    spec: str = project.model("base", alone)
    path = Path(spec.removeprefix("scripted:"))
    script = json.loads(path.read_text())
    examples = "user: Say it\nassistant: yes\n" * n
    answers = {f"{examples}user: q{i}": "yes" if i < right else "no" for i in range(100)}
    path.write_text(json.dumps({"completions": script["completions"] | answers}))
    return spec


def table(text: str) -> dict[str, list[str]]:
    """The rows of the table: name → cells."""
    lines = [re.split(r"  +", line) for line in text.splitlines()]
    return {cells[0]: cells[1:] for cells in lines if len(cells) >= 4 and "+" in cells[3]}


def test_the_prompt_that_reaches_the_floor_comes_before_a_training(project: Any) -> None:
    """At 90 %, Clopper and Pearson give 30 of 100 0.225 to 0.384, and 90 of 100 0.836 to 0.945."""
    project.suite(gates="floor = 0.8\ngain = 0.1")
    data = shots(project.path / "rows.jsonl", 60)
    base = prompted_model(project, 2, 90)

    text = advise("suites/demo", "--base", base, "--data", data)

    assert table(text) == {
        "alone": ["0.3 [0.225, 0.384]", "not met", "2 + 1"],
        "1 example": ["0.3 [0.225, 0.384]", "not met", "7 + 1"],
        "2 examples": ["0.9 [0.836, 0.945]", "met", "12 + 1"],
        "4 examples": ["0.3 [0.225, 0.384]", "not met", "22 + 1"],
        "8 examples": ["0.3 [0.225, 0.384]", "not met", "42 + 1"],
    }
    assert "1. Use the prompt" in text
    assert "2. " not in text
    option = "--prompted=.tunegate/examples/demo-2.jsonl"
    assert f"next: tunegate gate suites/demo --base {base} --tuned ADAPTER {option}" in text
    assert 500 == len(project.stored())


def test_the_gate_with_that_prompt_asks_base_nothing_more(project: Any) -> None:
    """What the advice says is done: copy the examples and name them in suite.toml."""
    file = project.suite(gates="floor = 0.8\ngain = 0.1")
    base, tuned = prompted_model(project, 2, 90), project.model("tuned", 99)
    data = shots(project.path / "rows.jsonl", 60)
    text = advise("suites/demo", "--base", base, "--data", data)
    first = project.stored()
    (copy,) = (line for line in text.splitlines() if "next: cp " in line)
    _, source, target = shlex.split(copy.partition("next: ")[2])
    shutil.copy(source, target)
    with file.open("a") as lines:
        lines.write('\n[prompted]\nexamples = "prompted.jsonl"\n')

    project.gate(f"--gate-base={base}", f"--gate-tuned={tuned}", "--gate-early-stop=off")

    assert 600 == len(project.stored())
    assert first == {key: n for key, n in project.stored().items() if key in first}
    again = advise("suites/demo", "--base", base)
    assert table(again)["[prompted]"] == ["0.9 [0.836, 0.945]", "met", "12 + 1"]
    assert 600 == len(project.stored())
    assert "suites/demo/suite.toml has it under [prompted]" in again


def test_a_measured_prompt_is_not_asked_about(project: Any) -> None:
    project.suite(gates="floor = 0.8\ngain = 0.1")
    data = shots(project.path / "rows.jsonl", 60)

    text = advise("suites/demo", "--base", project.model("base", 30), "--data", data, *READY[1:])

    assert "1. LoRA" in text
    assert "8 examples" in table(text)


def test_no_examples_asks_base_alone(project: Any) -> None:
    project.suite(gates="floor = 0.8\ngain = 0.1")
    data = shots(project.path / "rows.jsonl", 60)
    words = ("suites/demo", "--base", project.model("base", 30), "--data", data, "--no-examples")

    with pytest.raises(UsageError, match="Answer with --prompted"):
        advise(*words, *READY[1:])

    assert 100 == len(project.stored())


def test_rows_that_hold_a_case_are_no_examples(project: Any) -> None:
    """Neither those of cases that are not asked: a later gate asks them all."""
    project.suite(gates="floor = 0.8\ngain = 0.1")
    data = shots(project.path / "rows.jsonl", 3, *(f"q{i}" for i in range(50, 90)))
    words = ("--base", project.model("base", 30), "--data", data, "--max-cases=50")

    text = advise("suites/demo", *words, *READY)

    assert list(table(text)) == ["alone", "1 example", "2 examples"]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"completion": "a"}, "every row with an answer holds a case of demo"),
        ({"answer": "yes"}, "no row has a question and its answer, which an example needs"),
    ],
)
def test_rows_that_make_no_example_are_told(project: Any, row: dict[str, Any], why: str) -> None:
    project.suite(gates="floor = 0.8\ngain = 0.1")
    data = rows(project.path / "rows.jsonl", row, 60)

    text = advise("suites/demo", "--base", project.model("base", 30), "--data", data, *READY)

    assert f"examples: not measured: {why}" in text
    assert not table(text)


def test_prices_of_the_suite_are_in_the_table(project: Any) -> None:
    """At a dollar a token, two tokens of prompt and one of answer are three dollars."""
    file = project.suite(gates="floor = 0.8\ngain = 0.1")
    price = '\n[[metrics]]\nuse = "cost"\nprice_in = 1e6\nprice_out = 1e6\n'
    file.write_text(file.read_text() + price)
    data = shots(project.path / "rows.jsonl", 1)

    text = advise("suites/demo", "--base", project.model("base", 30), "--data", data, *READY)

    assert {name: cells[-1] for name, cells in table(text).items()} == {
        "alone": "3",
        "1 example": "8",
    }


def test_a_recorded_base_is_asked_with_no_prompt(project: Any) -> None:
    project.suite(gates="floor = 0.8\ngain = 0.1")
    answers = ({"id": f"c{i:03}", "completion": "no"} for i in range(100))
    Path("base.jsonl").write_text("".join(json.dumps(line) + "\n" for line in answers))
    data = shots(project.path / "rows.jsonl", 60)

    text = advise("suites/demo", "--base=replay:base.jsonl", "--data", data, *READY)

    assert "prompts: not measured: base's answers are recorded" in text


def test_grpo_waits_for_a_first_right_answer(project: Any) -> None:
    project.suite(gates="floor = 0.8\ngain = 0.1")
    data = rows(project.path / "prompts.jsonl", {"prompt": "q", "answer": "yes"}, 200)
    with_verifier = [word for word in READY if word != "--no-verifier"] + ["--verifier"]

    never = advise(
        "suites/demo", "--base", project.model("none", 0), "--data", data, *with_verifier
    )
    some = advise("suites/demo", "--base", project.model("few", 3), "--data", data, *with_verifier)

    assert "1. No GRPO yet" in never
    assert "1. GRPO" in some


def test_too_few_rows_are_counted_and_tools_named(project: Any) -> None:
    text = advise("--data", rows(project.path / "pairs.jsonl", PAIR, 3), *READY)

    assert "base: not measured" in text
    assert "1. Collect rows first" in text
    assert "dpo: 3 of 500 rows with `prompt`, `chosen` and `rejected`" in text
    assert "NeMo Data Designer and distilabel" in text


def test_what_is_not_said_is_asked_on_a_terminal(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_is_interactive", lambda: True)

    text = advise(typed="y\nnonsense\nknowledge\n")

    assert text.count("What is missing") == 2
    assert "Can you train" not in text
    assert "1. Retrieval (RAG)" in text


def test_without_a_terminal_the_option_is_named(project: Any) -> None:
    with pytest.raises(UsageError, match="Answer with --lacks"):
        advise("--prompted")


def test_a_hosted_base_cannot_be_trained_here(project: Any) -> None:
    """Its rows go to a vendor; nobody asks whose the weights are."""
    data = rows(project.path / "rows.jsonl", SHOWN, 50)

    text = advise("--base=litellm:openai/m", "--data", data, "--prompted", "--lacks=behaviour")

    assert "1. A vendor's fine-tuning service" in text


@pytest.mark.parametrize(("memory", "method"), [("1", "QLoRA"), ("80", "LoRA")])
def test_memory_decides_between_lora_and_qlora(
    project: Any, monkeypatch: pytest.MonkeyPatch, memory: str, method: str
) -> None:
    """500 million weights take 1 GB in 16 bits: too much for 70 % of 1 GB, little for 80 GB."""
    # By its name: pytester forgets modules that a test loads, and the package does not.
    module = importlib.import_module("tunegate.trainers.estimate.fit")
    monkeypatch.setattr(module, "count_parameters", lambda folder: 500_000_000)
    data = rows(project.path / "rows.jsonl", SHOWN, 50)

    text = advise("--base", project.path, "--data", data, "--memory-gb", memory, *READY)

    assert f"1. {method}:" in text


@pytest.mark.parametrize(
    ("memory", "told"), [(10**9, "has 1.0 GB: fits"), (1, "no variant fits: --per_device_train_")]
)
def test_memory_of_the_method_is_told(
    project: Any, monkeypatch: pytest.MonkeyPatch, memory: int, told: str
) -> None:
    """Whether the advised training fits, and if not, with what it would."""
    from tests.tiny_models import make_config

    make_config("llama").save_pretrained(project.path / "base")
    data = rows(project.path / "rows.jsonl", SHOWN, 50)
    room = importlib.import_module("tunegate.trainers.estimate.fit")
    monkeypatch.setattr(command, "_machine", lambda _: room.TrainingMachine(memory, "it", gpu=True))

    text = advise("--base", project.path / "base", "--data", data, *READY)

    assert f"   {told}" in text or f"it {told}" in text
    assert "memory: about 0." in text
    assert "8 rows per step of at most 256 tokens, float32 weights" in text


def test_weights_are_counted_from_the_headers(tmp_path: Path) -> None:
    """2 × 3 and 4 numbers in two files are ten weights; a folder without any has none."""
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    from tunegate.trainers.estimate.fit import count_parameters

    save_file({"a": torch.zeros(2, 3)}, tmp_path / "1.safetensors")
    save_file({"b": torch.zeros(4)}, tmp_path / "2.safetensors")

    assert 10 == count_parameters(tmp_path)
    (tmp_path / "empty").mkdir()
    assert count_parameters(tmp_path / "empty") is None


@pytest.mark.parametrize(
    ("args", "error", "text"),
    [
        (["suites/demo"], UsageError, "name it with --base"),
        (["nowhere", "--base=b"], UsageError, "nowhere: no such suite"),
        (["suites/demo", "--base=/nowhere"], UsageError, "/nowhere: no such folder"),
        (["--lacks=speed"], UsageError, "speed"),
        (["--data=gone.jsonl"], UsageError, "gone.jsonl: no such file"),
        (["--data=broken.jsonl"], UsageError, "broken.jsonl:1: not one JSON object"),
        (["--data=bad.jsonl"], UsageError, "bad.jsonl:1: no `rejected`"),
        (["--data=empty.jsonl"], UsageError, "empty.jsonl: no rows"),
        (["--dtype=int3"], UsageError, "int3"),
        (["suites/broken", "--base=b"], SuiteError, "suite.toml"),
    ],
)
def test_bad_input_is_told_in_one_line(
    project: Any, args: list[str], error: type[Exception], text: str
) -> None:
    """Where it is, and what is wrong with it; before anything is asked."""
    project.suite()
    broken = project.path / "suites/broken"
    broken.mkdir()
    (broken / "suite.toml").write_text("name = 3\n")
    Path("broken.jsonl").write_text("{\n")
    Path("bad.jsonl").write_text('{"prompt": "q", "chosen": "a"}\n')
    Path("empty.jsonl").write_text("")

    with pytest.raises(error, match=text):
        advise(*args)


def test_help_lists_the_questions() -> None:
    from tunegate.trainers.advise import decision_tree

    text = CliRunner().invoke(app, ["advise", "--help"], terminal_width=200).output

    for question in decision_tree()[0]:
        assert question.option.split("/")[0].split()[0] in text


def test_a_suite_that_only_keeps_what_base_does_is_nothing_to_train_for(project: Any) -> None:
    """Base passes a tolerance by itself; no model is opened to say so."""
    project.suite(gates="tolerance = 0.05")

    result = project.tunegate("advise", "suites/demo", "--base", "scripted:none.json")

    assert result.ret == 0
    assert result.outlines[0].startswith("1. Do not train")
    assert "floor or gain" in result.outlines[-1]


def test_the_last_run_of_the_suite_is_told_with_its_next_step(project: Any) -> None:
    project.suite(gates="floor = 0.8\ngain = 0.1")
    base, worse = project.model("base", 50), project.model("worse", 20)
    options = (f"--gate-base={base}", f"--gate-tuned={worse}")
    project.gate("suites/demo", *options, "--gate-run-dir=.tunegate/runs/first")

    text = advise("suites/demo", "--base", base, *READY)

    assert "last run: .tunegate/runs/first: BLOCK:" in text
    assert "last run: next:" in text


def test_an_altered_run_is_not_told(project: Any) -> None:
    project.suite(gates="floor = 0.8\ngain = 0.1")
    base, worse = project.model("base", 50), project.model("worse", 20)
    options = (f"--gate-base={base}", f"--gate-tuned={worse}")
    project.gate("suites/demo", *options, "--gate-run-dir=.tunegate/runs/first")
    file = Path(".tunegate/runs/first/verdict.json")
    file.write_text(file.read_text().replace('"BLOCK"', '"SHIP"'), encoding="utf-8")

    assert "last run" not in advise("suites/demo", "--base", base, *READY)


def test_without_a_run_nothing_is_told_of_one(project: Any) -> None:
    project.suite(gates="floor = 0.8\ngain = 0.1")

    assert "last run" not in advise("suites/demo", "--base", project.model("base", 50), *READY)
