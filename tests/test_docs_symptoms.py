"""The table of symptoms: each planted trouble prints the line that the page shows."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_models import copied, tiny
from tunegate.harness.checks.export_losses import find_export_losses, loss_lines
from tunegate.harness.checks.liveness import check_liveness
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.models.servers.prompt_causes import BuiltPrompt, name_cause
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import TunegateError
from tunegate.harness.records.generation import GenerationSettings

__all__ = ["copied", "tiny"]  # fixtures

ROOT = Path(__file__).parents[1]
N = 60
SUITE = """
name = "demo"
cases = "cases.jsonl"

[[metrics]]
use = "exact_match"

[[gates]]
metric = "exact_match"
{gates}
"""
SUBJECTS = ("parcel", "garden", "violin", "harbor", "planet")
SENTENCES = [
    f"The {word} number {i} is fine." for i, word in zip(range(N), SUBJECTS * N, strict=False)
]


class Troubled:
    """Somebody who plants a trouble, and reads what is printed."""

    def __init__(self, project: Any, tiny: Any, copied: Callable[..., Path]) -> None:
        self.project, self.tiny, self.copied = project, tiny, copied

    def gate(
        self,
        base: Sequence[str],
        tuned: Sequence[str],
        *options: str,
        gates: str = "tolerance = 0.1",
        expected: Sequence[str] = SENTENCES,
        **of_tuned: Any,
    ) -> str:
        """Judge recorded answers; `of_tuned` is added to each answer of tuned."""
        rows = [
            {"id": f"c{i:03}", "prompt": f"Which shelf has {1000 + 7 * i}?", "expected": right}
            for i, right in enumerate(expected)
        ]
        self.project.raw_suite(SUITE.format(gates=gates), rows)
        for arm, texts, more in (("base", base, {}), ("tuned", tuned, of_tuned)):
            lines = (
                json.dumps({"id": row["id"], "completion": text, "finish_reason": "stop", **more})
                for row, text in zip(rows, texts, strict=False)
            )
            (self.project.path / f"{arm}.jsonl").write_text("\n".join(lines), encoding="utf-8")
        arms = ("--base", "replay:base.jsonl", "--tuned", "replay:tuned.jsonl")
        done = self.project.tunegate("gate", "suites", *arms, *options)
        return f"{done.stdout.str()}\n{done.stderr.str()}"

    def trained(self, **card: Any) -> str:
        """Judge a fine-tune that lost, with a training record beside it."""
        text = json.dumps({"method": "sft", "files": [], **card})
        (self.project.path / "tunegate_training.json").write_text(text, encoding="utf-8")
        worse = [f"{word} {i} was seen." for i, word in zip(range(N), SUBJECTS * N, strict=False)]
        return self.gate(SENTENCES, worse[:30] + SENTENCES[30:])

    def open(self, tuned: Path, base: Path | None = None) -> str:
        """Open two models as a gate does; return why tuned is refused, or what it is warned of."""
        specs = {"base": str(base or self.tiny.base()), "tuned": str(tuned)}
        try:
            lost = loss_lines(find_export_losses(specs))
            warning = check_liveness(open_arms(specs))["tuned"].get("warning", "")
            return "\n".join((*lost, str(warning)))
        except TunegateError as refused:
            return str(refused)

    def changed(self, folder: Path, file: str, change: Callable[[dict[str, Any]], Any]) -> Path:
        """Copy a model with other tensors."""
        from safetensors.torch import load_file, save_file

        out: Path = self.copied(folder)
        tensors = load_file(out / file)
        change(tensors)
        save_file(tensors, out / file, {"format": "pt"})
        return out

    def leaked(self) -> str:
        """Judge on cases of which eight are in the training rows."""
        rows = [{"prompt": f"Which shelf has {1000 + 7 * i}?", "completion": "x"} for i in range(8)]
        text = "\n".join(map(json.dumps, rows))
        (self.project.path / "rows.jsonl").write_text(text, encoding="utf-8")
        many = [f"{text} {i}" for i in range(2) for text in SENTENCES]
        return self.gate(many, many[1:], "--training-data", "rows.jsonl", expected=many)


def _nan(tensors: dict[str, Any]) -> None:
    tensors["model.layers.1.mlp.down_proj.weight"][0, 0] = float("nan")


def _draft_head(tensors: dict[str, Any]) -> None:
    tensors["mtp.layers.0.proj.weight"] = tensors["model.norm.weight"].clone()


def _more_layers(tensors: dict[str, Any]) -> None:
    name = next(name for name in tensors if "layers.1.self_attn.q_proj.lora_A" in name)
    tensors[name.replace("layers.1", "layers.7")] = tensors[name].clone()


def _served(trained: BuiltPrompt, served: BuiltPrompt) -> str:
    return name_cause(Case(id="a", prompt="Hi"), GenerationSettings(), trained, served, None)


LLAMA = "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
CHATML = "<|im_start|>user\nHi<|im_end|>\n"
REFUSALS = '\n[[metrics]]\nuse = "refusal"\nexpected = "answer"'
REFUSAL = "I'm sorry, but I can't help with that."

PLANTED: dict[str, Callable[[Troubled], str]] = {
    "the merged model answers like base": lambda it: it.open(it.copied(it.tiny.base())),
    "the adapter has no effect": lambda it: it.open(it.tiny.adapter(dead=True)),
    "the training diverged": lambda it: it.trained(
        final_loss=16.5, hyperparameters={"learning_rate": 0.02}
    ),
    "it learned its rows by heart": lambda it: it.trained(
        final_loss=0.004,
        rows=60,
        hyperparameters={"num_train_epochs": 30, "learning_rate": 0.002},
    ),
    "it lost its MTP head": lambda it: it.open(
        it.tiny.base(seed=5), it.changed(it.tiny.base(), "model.safetensors", _draft_head)
    ),
    "weights are NaN": lambda it: it.open(it.changed(it.tiny.base(), "model.safetensors", _nan)),
    "the adapter is of another base": lambda it: it.open(
        it.changed(it.tiny.adapter(), "adapter_model.safetensors", _more_layers)
    ),
    "good in the notebook, bad elsewhere: a changed config.json": lambda it: it.open(
        it.copied(it.tiny.base(seed=7), rms_norm_eps=0.5)
    ),
    "the server has another chat template": lambda it: _served(
        BuiltPrompt(LLAMA, None), BuiltPrompt(CHATML, None)
    ),
    "the server doubles BOS": lambda it: _served(
        BuiltPrompt(LLAMA, (1, 2), 1), BuiltPrompt(LLAMA, (1, 2), 2)
    ),
    "it never stops": lambda it: it.gate(
        SENTENCES, [f"{s} And so on" for s in SENTENCES], finish_reason="length"
    ),
    "it says nothing": lambda it: it.gate(SENTENCES, [""] * N),
    "it forgot: one form for every prompt": lambda it: it.gate(
        SENTENCES, [json.dumps({"category": "billing", "n": i}) for i in range(N)]
    ),
    "it refuses everything": lambda it: it.gate(
        SENTENCES, [REFUSAL] * N, gates=f"tolerance = 0.1{REFUSALS}"
    ),
    "nothing changed": lambda it: it.gate(
        SENTENCES, SENTENCES, gates="gain = 0.1", output_tokens=9
    ),
    "cases are in the training rows": Troubled.leaked,
    "too few cases": lambda it: it.gate(SENTENCES, SENTENCES, gates="tolerance = 0.02"),
    "base is broken: error messages": lambda it: it.gate(
        [*SENTENCES[:6], *["HTTP 503"] * 54], SENTENCES, gates="gain = 0.1"
    ),
    "recorded answers are shifted by a line": lambda it: it.gate(
        [*SENTENCES[1:], SENTENCES[0]], SENTENCES, gates="gain = 0.1"
    ),
}
"""Symptom → how it is planted."""

ELSEWHERE = {
    "the adapter has no effect on the server": "models/test_models_server.py",
    "the server applies half of the adapter": "models/servers/test_models_servers_gguf_proof.py",
    "the server does not end answers": "models/servers/test_models_servers_served_prompt.py",
    "the server answers tuned in part as base": (
        "models/servers/test_models_servers_prefix_leak.py"
    ),
    "the server drops images": "models/servers/test_models_servers_image_support.py",
    "the judge is fooled": "judges/calibrating/test_judges_judge_calibration.py",
}
"""Symptom → file of the tests that plant it; each needs a server or a judge."""


def _rows(page: str) -> dict[str, str]:
    """Return the line of each symptom of a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    table = text.partition("| symptom |")[2].partition("\n\n")[0]
    return dict(re.findall(r"(?m)^\| ([^|]+?) \| `([^`|]+)` \|", table))


ROWS = _rows("docs/guides/troubleshooting.md")


def _parts(line: str) -> list[str]:
    return [part.strip() for part in line.split("…") if part.strip()]


def test_every_row_is_planted_somewhere() -> None:
    assert ROWS.keys() == PLANTED.keys() | ELSEWHERE.keys()


def test_the_rows_of_the_readme_are_those_of_the_page() -> None:
    readme = _rows("README.md")

    assert len(readme) >= 15
    assert readme.items() <= ROWS.items()


@pytest.mark.parametrize("symptom", PLANTED)
def test_a_planted_trouble_prints_its_line(
    symptom: str, project: Any, tiny: Any, copied: Callable[..., Path]
) -> None:
    printed = " ".join(PLANTED[symptom](Troubled(project, tiny, copied)).split())

    assert re.search(".*".join(map(re.escape, _parts(ROWS[symptom]))), printed), printed


@pytest.mark.parametrize("symptom", ELSEWHERE)
def test_a_line_of_a_test_that_needs_a_server_is_expected_there(symptom: str) -> None:
    tree = ast.parse((ROOT / "tests" / ELSEWHERE[symptom]).read_text(encoding="utf-8"))
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]

    for part in _parts(ROWS[symptom]):
        assert any(part in text for text in texts), part
