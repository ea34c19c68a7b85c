"""The prompt of a further arm: its tables in suite.toml, and what the arm is asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import SuiteError
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.suite import load_suite
from tunegate.harness.suite.arm_prompt import ArmPrompt, read_examples, read_prompt_file

GATES = '[[gates]]\nmetric = "exact_match"\nfloor = 0.5\ngain = 0.1\n'
SHOTS = [{"prompt": "1 + 1?", "completion": "2"}, {"prompt": "2 + 2?", "completion": "4"}]
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aW1n"}}
CHAT = GenerationSettings(system="Be brief.")


@pytest.fixture(name="prompted")
def _prompted(written: Callable[..., Path], head: str) -> Callable[..., Path]:
    """Return a function that writes a suite with a [prompted] table and its two files."""

    def write(table: str, shots: Sequence[Any] = SHOTS, more: str = GATES) -> Path:
        folder = written(f"{head}{more}[prompted]\n{table}\n")
        (folder / "careful.txt").write_text("Think first.\n", encoding="utf-8")
        lines = [row if isinstance(row, str) else json.dumps(row) for row in shots]
        (folder / "shots.jsonl").write_text("\n".join(lines), encoding="utf-8")
        return folder

    return write


def examples_of(tmp_path: Path, *rows: dict[str, Any]) -> ArmPrompt:
    """Return a prompt with these examples."""
    file = tmp_path / "shots.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return ArmPrompt(examples=read_examples(file, "suite.toml:1"))


def test_base_and_tuned_are_asked_the_suites_prompt(prompted: Callable[..., Path]) -> None:
    suite = load_suite(prompted('system = "careful.txt"\nexamples = "shots.jsonl"'))
    (case,) = suite.cases

    for arm in ("base", "tuned"):
        assert suite.asked_of(arm, case) == (case, suite.generation)

    asked, _ = suite.asked_of("prompted", case)
    assert asked.input_messages() == (
        {"role": "system", "content": "Think first."},
        {"role": "user", "content": "1 + 1?"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "2 + 2?"},
        {"role": "assistant", "content": "4"},
        {"role": "user", "content": "p"},
    )


def test_examples_keep_the_suites_system_prompt_in_front(tmp_path: Path) -> None:
    prompt = examples_of(tmp_path, SHOTS[0])

    asked, settings = prompt.apply(Case(id="a", prompt="3 + 3?"), CHAT)

    turns = asked.input_messages(settings.system)
    assert [turn["content"] for turn in turns] == ["Be brief.", "1 + 1?", "2", "3 + 3?"]


def test_examples_go_into_the_system_prompt_on_request(tmp_path: Path) -> None:
    examples = examples_of(tmp_path, SHOTS[0]).examples

    asked, _ = ArmPrompt(None, examples, "system").apply(Case(id="a", prompt="3 + 3?"), CHAT)

    assert asked.input_messages() == (
        {"role": "system", "content": "Be brief.\n\nExamples:\n\nUser: 1 + 1?\nAssistant: 2"},
        {"role": "user", "content": "3 + 3?"},
    )


def test_a_prompt_without_a_chat_template_is_one_text(tmp_path: Path) -> None:
    plain = CHAT.model_copy(update={"template": "none"})

    asked, settings = examples_of(tmp_path, *SHOTS).apply(Case(id="a", prompt="3 + 3?"), plain)

    assert asked.prompt == "Be brief.\n\n1 + 1? 2\n\n2 + 2? 4\n\n3 + 3?"
    assert settings.system is None


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "1 + 1?", "completion": "2"},
        {"prompt": "1 + 1?", "expected": ["2", "two"]},
        {
            "messages": [
                {"role": "user", "content": "1 + 1?"},
                {"role": "assistant", "content": "2"},
            ]
        },
        {
            "prompt": [{"role": "system", "content": "x"}, {"role": "user", "content": "1 + 1?"}],
            "completion": [{"role": "assistant", "content": "2"}],
        },
    ],
)
def test_a_line_of_examples_has_one_of_three_forms(tmp_path: Path, row: dict[str, Any]) -> None:
    (example,) = examples_of(tmp_path, row).examples

    assert example.turns == (
        {"role": "user", "content": "1 + 1?"},
        {"role": "assistant", "content": "2"},
    )


def test_the_goals_are_asked_against_the_prompted_base_too(prompted: Callable[..., Path]) -> None:
    suite = load_suite(prompted('system = "careful.txt"'))

    assert [gate.id for gate in suite.gates] == [
        "exact_match::floor",
        "exact_match::gain",
        "exact_match::gain@prompted",
    ]


@pytest.mark.parametrize(
    ("gate", "compared"),
    [
        ('metric = "exact_match"\ntolerance = 0.1', ["exact_match::tolerance@prompted"]),
        (
            'metric = "length"\nratio_at_most = 2.0',
            ["length::ratio@prompted", "exact_match::gain@prompted"],
        ),
    ],
)
def test_a_gate_against_the_prompted_base_stands_for_the_goal_on_its_metric(
    prompted: Callable[..., Path], gate: str, compared: list[str]
) -> None:
    own = f'[[metrics]]\nuse = "length"\n{GATES}[[gates]]\nagainst = "prompted"\n{gate}\n'

    suite = load_suite(prompted('system = "careful.txt"', more=own))

    assert [g.id for g in suite.gates if g.against] == compared


def test_the_prompt_is_part_of_the_suites_hash(prompted: Callable[..., Path]) -> None:
    folder = prompted('examples = "shots.jsonl"')
    before = load_suite(folder).hash
    (folder / "shots.jsonl").write_text(json.dumps(SHOTS[1]), encoding="utf-8")

    assert load_suite(folder).hash != before


def test_the_record_counts_and_hashes_the_prompt(prompted: Callable[..., Path]) -> None:
    table = 'system = "careful.txt"\nexamples = "shots.jsonl"\nn_examples = 1'

    record = load_suite(prompted(table)).record().arm_prompts["prompted"]

    assert (record.system, record.examples, len(record.sha256)) == (True, 1, 64)
    assert record.words == "its own system prompt and 1 example"


@pytest.mark.parametrize(
    ("table", "shots", "problem"),
    [
        ('system = "none.txt"', SHOTS, "suite.toml:10: "),
        ('system = "../../outside.txt"', SHOTS, "is outside"),
        ('examples = "shots.jsonl"', [], "has no examples"),
        ('examples = "shots.jsonl"', [{"prompt": "1 + 1?"}], "shots.jsonl:1: is not a solved"),
        ('examples = "shots.jsonl"', ["{"], "shots.jsonl:1"),
        (
            'examples = "shots.jsonl"',
            [{"prompt": [{"role": "user", "content": [IMAGE]}], "completion": "2"}],
            "shots.jsonl:1: is not a solved example in text",
        ),
        (
            'examples = "shots.jsonl"',
            [{"messages": [{"role": 1, "content": "x"}, {"role": "assistant", "content": "y"}]}],
            "shots.jsonl:1: is not a solved example in text",
        ),
        ('examples = "shots.jsonl"\nn_examples = 3', SHOTS, "n_examples=3, and shots.jsonl has 2"),
        ("n_examples = 3", SHOTS, "suite.toml:9: "),
        ('system = "careful.txt"\nshots = 3', SHOTS, "unknown key 'shots'"),
    ],
)
def test_a_mistake_is_one_line_with_its_place(
    prompted: Callable[..., Path], table: str, shots: list[Any], problem: str
) -> None:
    with pytest.raises(SuiteError) as caught:
        load_suite(prompted(table, shots))

    (line,) = caught.value.problems
    assert problem in line


@pytest.mark.parametrize(
    ("gate", "problem"),
    [
        ('against = "base"\ngain = 0.1', "against"),
        ('against = "teacher"\nfloor = 0.1', "a floor is about tuned alone"),
    ],
)
def test_a_gate_that_cannot_compare_is_refused(
    refused: Callable[..., list[str]], head: str, gate: str, problem: str
) -> None:
    (line,) = refused(f'{head}[[gates]]\nmetric = "exact_match"\n{gate}\n')

    assert problem in line


@pytest.mark.parametrize(("name", "parts"), [("p.txt", (True, 0)), ("p.jsonl", (False, 2))])
def test_an_option_takes_either_file(tmp_path: Path, name: str, parts: tuple[bool, int]) -> None:
    file = tmp_path / name
    text = "\n".join(map(json.dumps, SHOTS)) if name.endswith(".jsonl") else "Think first."
    file.write_text(text, encoding="utf-8")

    record = read_prompt_file(file, "--gate-prompted").record()

    assert (record.system, record.examples) == parts


@pytest.mark.parametrize(("name", "said"), [("p.JSONL", None), ("p.csv", "a table is no prompt")])
def test_the_name_of_the_file_says_what_it_holds(
    tmp_path: Path, name: str, said: str | None
) -> None:
    (tmp_path / name).write_text(json.dumps(SHOTS[0]), encoding="utf-8")

    if said is None:
        assert len(read_prompt_file(tmp_path / name, "--gate-prompted").examples) == 1
        return
    with pytest.raises(SuiteError, match=said):
        read_prompt_file(tmp_path / name, "--gate-prompted")


def test_an_empty_file_is_no_prompt(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n", encoding="utf-8")

    with pytest.raises(SuiteError, match="is empty"):
        read_prompt_file(tmp_path / "empty.txt", "--gate-prompted=empty.txt")
