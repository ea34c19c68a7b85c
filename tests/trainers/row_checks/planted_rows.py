"""Rows with a planted problem, and what is found in them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from tests.trainers.conftest import TEMPLATE
from tunegate.trainers.row_checks.look import RowReport, look_at_rows

needs_json = pytest.mark.skipif(
    Version(version("datasets")) < Version("4.7"), reason="no columns of JSON"
)


def chat(asked: str, said: str, *, system: str | None = None) -> dict[str, Any]:
    """Return a row in OpenAI's form."""
    turns = [("user", asked), ("assistant", said)]
    turns = ([("system", system)] if system else []) + turns
    return {"messages": [{"role": role, "content": text} for role, text in turns]}


GOOD = [chat(f"Question number {i}?", "yes" if i % 2 else "no") for i in range(12)]


TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
    for name in ("add", "divide")
]
SHOWN = "{% if tools %}{{ tools | tojson }}{% endif %}" + TEMPLATE.replace(
    "{{ message['content'] }}",
    "{{ message['content'] }}{{ message['tool_calls'] | tojson if message['tool_calls'] }}",
)


def called(i: int) -> dict[str, Any]:
    """Return a row whose answer is a call; no two rows have the same arguments."""
    call = {"name": TOOLS[i % 2]["function"]["name"], "arguments": json.dumps({f"x{i}": i})}
    turns = [
        {"role": "user", "content": f"Number {i}?"},
        {"role": "assistant", "tool_calls": [{"type": "function", "function": call}]},
    ]
    return {"messages": turns, "tools": TOOLS}


def look(
    folder: Path, base: Path, rows: Sequence[Any] = GOOD, *, suites: Any = (), **options: Any
) -> RowReport:
    """Write rows and options into a folder, and look at them."""
    file, config = folder / "rows.jsonl", folder / "sft.yaml"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    config.write_text(json.dumps(options))  # JSON is YAML
    return look_at_rows([str(file)], str(base), str(config) if options else None, suites)


def found(report: RowReport) -> dict[str, list[str]]:
    """Return the beginning of each finding → the lines that it names."""
    return {one.what: [place.rpartition(":")[2] for place in one.places] for one in report.findings}


def copy_base(base: Path, folder: Path, **changes: Any) -> Path:
    """Return a copy of a model's folder with changes to its tokenizer."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    for name, value in changes.items():
        setattr(tokenizer, name, value)
    folder.mkdir()
    tokenizer.save_pretrained(folder)
    for name in ("config.json", "generation_config.json"):
        (folder / name).write_bytes((base / name).read_bytes())
    return folder
