"""The guides' suites, loaded and judged as they stand there."""

from __future__ import annotations

import inspect
import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness import suite
from tunegate.harness.contracts import lookup
from tunegate.harness.records.cases import Case

SOURCES = "tunegate.harness.suite.sources"
GUIDES = Path(__file__).parents[2] / "docs" / "guides"
HEAD = 'name = "s"\n[[metrics]]\nuse = "length"\n'
CHAT = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
ANSWERS = {"text": ["x", "y"], "answer_start": [0, 4]}


def _blocks(page: str, language: str) -> list[str]:
    text = (GUIDES / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def _tables() -> None:
    datasets = pytest.importorskip("datasets")
    Path("tickets.csv").write_text(
        "question,answer,topic,customer_id\n" + "".join(f"q{i},a{i},t,c1\n" for i in range(9))
    )
    Path("squad").mkdir()
    rows = {"title": ["T"], "context": ["C"], "question": ["Q"], "answers": [ANSWERS]}
    datasets.Dataset.from_dict(rows).to_parquet("squad/validation.parquet")
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["lost card"])}
    )
    banking = datasets.Dataset.from_dict({"text": ["where?"], "label": [0]}, features=features)
    datasets.DatasetDict({"train": banking, "test": banking}).save_to_disk("banking77")


def _lines() -> None:
    row: dict[str, Any] = {"request": {"id": "r1", "text": "p"}, "gold": "x"}
    Path("log.jsonl").write_text(json.dumps(row))
    Path("held_out.jsonl").write_text(json.dumps({**CHAT, "topic": "late", "customer_id": "c1"}))
    Path("promptfooconfig.yaml").write_text(
        "prompts: ['Hello {{name}}']\ntests:\n"
        "  - {vars: {name: Ann}, assert: [{type: icontains, value: ann}, {type: llm-rubric}]}\n"
        "  - {vars: {name: Ben}, assert: [{type: llm-rubric, value: kind}]}\n"
    )
    golden = {"name": "g1", "input": "Who?", "expected_output": "Ben", "context": ["By Ben."]}
    Path("goldens.json").write_text(json.dumps([golden]))
    Path("samples.jsonl").write_text(json.dumps({"input": "p", "ideal": ["x", "y"]}))


@pytest.fixture(name="load")
def _load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[Case]]:
    monkeypatch.chdir(tmp_path)
    _tables()
    _lines()

    def load(table: str) -> list[Case]:
        Path("suite.toml").write_text(HEAD + table, encoding="utf-8")
        return list(suite.load_suite(Path()).cases)

    return load


BENCHMARKS = ("mmlu", "lm_eval", "long_context")


def _source_tables() -> dict[str, str]:
    """Return source → the guide's table for it."""
    return {
        (re.findall('from = "(.*)"', block) or [""])[0]: block
        for block in _blocks("cases.md", "toml")
    }


def test_the_table_of_mmlu_draws_its_cases(
    load: Callable[[str], list[Case]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty-five questions of a subject, each with five answered ones in front.

    The folder next to the suite's is read, as it is in the suite's project.
    """
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "knowledge").mkdir()
    monkeypatch.chdir(tmp_path / "knowledge")
    data = Path("../data/mmlu")
    for split, count in (("dev", 5), ("test", 30)):
        (data / split).mkdir(parents=True)
        lines = (f"{split} {i}?,red,blue,green,grey,B\n" for i in range(count))
        (data / split / f"ink_{split}.csv").write_text("".join(lines))

    cases = load(_source_tables()["mmlu"])

    assert (len(cases), {case.prompt.count("?") for case in cases if case.prompt}) == (25, {6})


def test_the_table_of_lm_eval_has_its_options() -> None:
    table = tomllib.loads(_source_tables()["lm_eval"])["cases"]
    known = set(inspect.signature(lookup.find_object(SOURCES, "lm_eval", what="")).parameters)

    assert set(table) - {"from"} <= known
    assert len(table) == 4


def test_every_table_of_the_guide_gives_its_cases(load: Callable[[str], list[Case]]) -> None:
    """What each of them makes of a file of its form; BENCHMARKS have tests of their own."""
    tables = {name: block for name, block in _source_tables().items() if name not in BENCHMARKS}
    found = {
        name: [c.model_dump(exclude_defaults=True) for c in load(t)] for name, t in tables.items()
    }
    drawn = found.pop("csv")
    for cases in found.values():
        for case in cases:
            if re.fullmatch("[0-9a-f]{12}", case["id"]):
                del case["id"]

    assert [set(case) for case in drawn] == [{"id", "prompt", "expected", "tags", "cluster"}] * 2
    assert found == {
        "parquet": [{"prompt": "C\n\nQ", "expected": ("x", "y"), "cluster": "T"}],
        "datasets": [{"prompt": "where?", "expected": "lost card", "tags": ("lost card",)}],
        "jsonl": [{"id": "r1", "prompt": "p", "expected": "x"}],
        "chat": [{"prompt": "Hi", "expected": "Hello", "tags": ("late",), "cluster": "c1"}],
        "promptfoo": [{"prompt": "Hello Ann", "expected": "ann"}],
        "deepeval": [
            {"id": "g1", "prompt": "By Ben.\n\nWho?", "expected": "Ben", "context": "By Ben."}
        ],
        "openai_evals": [{"prompt": "p", "expected": ("x", "y")}],
    }


def test_the_guide_names_every_source() -> None:
    text = (GUIDES / "cases.md").read_text(encoding="utf-8")
    assert [n for n in lookup.available_names(SOURCES) if f"`{n}`" not in text] == []


def test_the_suite_of_recorded_outputs_is_judged(project: Any) -> None:
    toml = _blocks("recorded-answers.md", "toml")[0]
    case, completion = (json.loads(block) for block in _blocks("recorded-answers.md", "json"))
    cases = [{**case, "id": f"t{i:03}", "prompt": f"{case['prompt']} {i}"} for i in range(100)]
    project.raw_suite(toml, cases, name="routing")
    for name, wrong in (("base", 12), ("tuned", 10)):
        answers = ["no idea"] * wrong + [completion["completion"]] * (100 - wrong)
        lines = [
            json.dumps({**completion, "id": f"t{i:03}", "completion": answer})
            for i, answer in enumerate(answers)
        ]
        Path(f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    command = next(
        line
        for line in (GUIDES / "recorded-answers.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("tunegate gate")
    )

    result = project.tunegate(*command.split()[1:])

    assert result.ret == 0
    result.stdout.fnmatch_lines(["SHIP: *"])
