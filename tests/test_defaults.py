"""Each default is written once: a change of the constant reaches everything that rests on it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

from tunegate.harness.contracts.json_schema import SCHEMAS
from tunegate.harness.records import defaults
from tunegate.harness.records.generation import GenerationSettings

CHANGED = """
import inspect, sys
from pathlib import Path
from tunegate.harness.records import defaults

defaults.CONFIDENCE, defaults.POWER, defaults.MAX_UNSCORED = 0.95, 0.90, 0.07
defaults.CONCURRENCY, defaults.DEADLINE_S, defaults.SEED = 3, 7.0, 5
defaults.MAX_NEW_TOKENS, defaults.LATENCY_CASES, defaults.EARLY_STOP_CASES = 77, 44, 1000
defaults.STORE, defaults.RUNS = "elsewhere.sqlite", "elsewhere"

from tunegate.harness import suite
from tunegate.harness.comparison.delta import Delta, compare_scores
from tunegate.harness.plugin.gate_options import OPTIONS
from tunegate.harness.records.manifest import Gate
from tunegate.harness.contracts.model import PoolLimits
from tunegate.harness.stats.binary import deciding_interval
from tunegate.harness.stats.power import binary_sample_size

loaded = suite.load_suite(Path(sys.argv[1]))
record = loaded.record()
delta = compare_scores([0.1, 0.4, 0.2], [0.3, 0.5, 0.9], metric=record.metrics[0])
options = {option.name: option for option in OPTIONS}
print({
    "gate": {gate.confidence for gate in record.gates},
    "record": Gate.model_fields["confidence"].default,
    "delta": delta.confidence,
    "text": str(delta).rpartition(" at ")[2],
    "interval": deciding_interval(3, 1, 20).confidence,
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
    from tunegate.harness.plugin.gate_options import OPTIONS

    named = {option.name: option.default for option in OPTIONS}

    assert named["concurrency"] == defaults.CONCURRENCY
    assert named["deadline"] == defaults.DEADLINE_S
    assert named["store"] == defaults.STORE
