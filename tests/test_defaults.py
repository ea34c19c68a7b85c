"""Each default is written once: a change of the constant reaches everything that rests on it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.contracts.json_schema import SCHEMAS
from tunegate.harness.records import defaults
from tunegate.harness.records.generation import GenerationSettings

ROOT = Path(__file__).parents[1]
OWNED = {"confidence", "power", "max_unscored", "concurrency", "deadline_s", "max_new_tokens"}
"""Parameters and fields whose default is one of the constants."""
CHANGED = """
import inspect, sys
from pathlib import Path
from tunegate.harness.records import defaults

defaults.CONFIDENCE, defaults.POWER, defaults.MAX_UNSCORED = 0.95, 0.90, 0.07
defaults.CONCURRENCY, defaults.DEADLINE_S, defaults.SEED = 3, 7.0, 5
defaults.MAX_NEW_TOKENS, defaults.LATENCY_CASES, defaults.EARLY_STOP_CASES = 77, 44, 1000
defaults.STORE, defaults.RUNS = "elsewhere.sqlite", "elsewhere"

from tunegate.harness import suite
from tunegate.harness.comparison.delta import Delta, compare
from tunegate.harness.plugin.options import OPTIONS
from tunegate.harness.records.manifest import Gate
from tunegate.harness.contracts.model import PoolLimits
from tunegate.harness.stats.binary import tango_interval
from tunegate.harness.stats.power import binary_sample_size

loaded = suite.load_suite(Path(sys.argv[1]))
record = loaded.record()
delta = compare([0.1, 0.4, 0.2], [0.3, 0.5, 0.9], metric=record.metrics[0])
options = {option.name: option for option in OPTIONS}
print({
    "gate": {gate.confidence for gate in record.gates},
    "record": Gate.model_fields["confidence"].default,
    "delta": delta.confidence,
    "text": str(delta).rpartition(" at ")[2],
    "interval": tango_interval(3, 1, 20).confidence,
    "power": inspect.signature(binary_sample_size).parameters["power"].default,
    "unscored": record.max_unscored,
    "generation": (record.generation["max_new_tokens"], record.generation["latency_cases"]),
    "limits": (PoolLimits().concurrency, PoolLimits().deadline_s),
    "options": [options[name].default for name in ("concurrency", "deadline", "seed", "store")],
    "help": "1000 cases" in options["early-stop"].help and "elsewhere/" in options["run-dir"].help,
})
"""
SUITE = """
name = "faq"
cases = "cases.jsonl"
[[metrics]]
use = "exact_match"
[[gates]]
metric = "exact_match"
gain = 0.1
tolerance = 0.02
"""


def test_a_changed_default_reaches_suite_report_options_and_statistics(tmp_path: Path) -> None:
    (tmp_path / "suite.toml").write_text(SUITE, encoding="utf-8")
    line = json.dumps({"id": "a", "prompt": "1 + 1?", "expected": "2"})
    (tmp_path / "cases.jsonl").write_text(line + "\n", encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-c", CHANGED, str(tmp_path)],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip

    assert ast.literal_eval(done.stdout) == {
        "gate": {0.95},
        "record": 0.95,
        "delta": 0.95,
        "text": "95 %",
        "interval": 0.95,
        "power": 0.90,
        "unscored": 0.07,
        "generation": (77, 44),
        "limits": (3, 7.0),
        "options": [3, 7.0, 5, "elsewhere.sqlite"],
        "help": True,
    }


def _literals(path: Path) -> Iterator[str]:
    """Yield the owned parameters and fields of a module that have a number as default."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        pairs: list[tuple[str, Any]] = []
        if isinstance(node, ast.FunctionDef):
            given = node.args
            pairs += zip([a.arg for a in given.kwonlyargs], given.kw_defaults, strict=True)
            last = [a.arg for a in given.args][len(given.args) - len(given.defaults) :]
            pairs += zip(last, given.defaults, strict=True)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            pairs = [(node.target.id, node.value)]
        for name, value in pairs:
            if name in OWNED and isinstance(value, ast.Constant) and value.value is not None:
                yield f"{path.relative_to(ROOT)}:{node.lineno}: {name}={value.value}"


def test_no_parameter_or_field_writes_a_shared_default_again() -> None:
    files = [p for room in ("harness", "reports", "trainers") for p in (ROOT / room).rglob("*.py")]

    assert [found for path in files for found in _literals(path)] == []


@pytest.mark.parametrize("value", [defaults.STORE, f'"{defaults.RUNS}"'])
def test_a_place_is_written_once(value: str) -> None:
    """The cache and the folder of runs; docstrings and examples may name a run's folder."""
    files = [
        str(path.relative_to(ROOT))
        for room in ("harness", "reports", "trainers")
        for path in (ROOT / room).rglob("*.py")
        if value in path.read_text(encoding="utf-8")
    ]

    assert files == ["harness/records/defaults.py"]


def test_the_schemas_name_the_defaults() -> None:
    suite = json.loads((SCHEMAS / "suite.schema.json").read_text(encoding="utf-8"))["properties"]
    generation = suite["generation"]["properties"]
    confidence = suite["gates"]["items"]["properties"]["confidence"]["description"]
    error = 100 * (1 - defaults.CONFIDENCE) / 2

    assert f"{defaults.CONFIDENCE:.2f} tests at {error:.0f} % one-sided" in confidence
    assert (
        f"{GenerationSettings().max_new_tokens} by default"
        in generation["max_new_tokens"]["description"]
    )
    assert (
        f"{GenerationSettings().latency_cases} by default"
        in generation["latency_cases"]["description"]
    )
    assert generation["temperature"]["description"].startswith(f"{defaults.TEMPERATURE:g}, the def")


def test_the_help_names_the_defaults() -> None:
    """`pytest --help` and `tunegate gate --help` are made of the same table."""
    from tunegate.harness.plugin.options import OPTIONS

    named = {option.name: option.default for option in OPTIONS}

    assert named["concurrency"] == defaults.CONCURRENCY
    assert named["deadline"] == defaults.DEADLINE_S
    assert named["store"] == defaults.STORE
