"""The identity of arms and runs: short names for the page, every recorded fact for provenance."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tunegate.harness.contracts.quantity import quantity_of
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.gate_results import GateResult
from tunegate.harness.records.hashing import canonical_json, sha256
from tunegate.harness.records.run_folder import Run
from tunegate.reports.formatting import (
    FACES,
    STATUSES,
    OutcomeStyle,
    format_difference,
    format_gate_interval,
    format_level,
    gate_rule,
)

_HASH_KEYS = ("adapter_sha256", "weights_sha256", "file_sha256", "script_sha256")
"""Keys of an arm's own hash, the most specific first."""

_HEX = re.compile(r"[0-9a-f]{7,64}")


@dataclass(frozen=True, slots=True)
class ArmIdentity:
    """One arm's identity as recorded in the verdict."""

    name: str
    spec: str
    """The user's text."""
    short: str
    """Ten characters that identify it."""
    label: str
    """The last part of the spec, which people recognize."""
    facts: Mapping[str, str]
    """Every recorded fact; nested ones under dotted names."""


def arm_identities(run: Run) -> dict[str, ArmIdentity]:
    """Return the arms of a run, base and tuned first."""
    recorded = run.verdict.arms
    first = [name for name in ("base", "tuned") if name in recorded]
    names = first + sorted(recorded.keys() - set(first))
    return {name: _arm(name, recorded[name]) for name in names}


def flatten_record(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return a nested record as dotted names and texts, sorted by name."""
    flat: dict[str, str] = {}
    for key in sorted(value):
        inner = value[key]
        if isinstance(inner, Mapping):
            flat |= flatten_record(inner, f"{prefix}{key}.") or {f"{prefix}{key}": "none"}
        else:
            flat[f"{prefix}{key}"] = _text(inner)
    return flat


def run_command(run: Run) -> str:
    """Return the shell command that repeats the run."""
    words = run.manifest.shell_words()
    return shlex.join(words) if words else "# no command of `tunegate gate` made this run"


def run_facts(run: Run) -> dict[str, Any]:
    """Return what another run's page shows of this one: who was judged, and every gate in words.

    Keys: `tuned` (label), `base` (ten characters), `folder` (quoted for a shell, as the command
    named it), `face`, `suites` (name → hash) and `gates`.
    """
    arms, verdict = arm_identities(run), run.verdict
    return {
        "tuned": arms["tuned"].label if "tuned" in arms else "tuned",
        "base": arms["base"].short if "base" in arms else "",
        "folder": shlex.quote(run_folder(run)),
        "face": _face(FACES[verdict.verdict]),
        "suites": {suite.name: suite.hash for suite in verdict.suites},
        "gates": [_gate(suite.name, gate) for suite in verdict.suites for gate in suite.gates],
    }


def run_folder(run: Run) -> str:
    """Return the run's folder as its command named it; it may have moved since."""
    words = run.manifest.shell_words()
    named = [word.removeprefix("--run-dir=") for word in words if word.startswith("--run-dir=")]
    return named[-1] if named else f".tunegate/runs/{run.verdict.run_id}"


def _gate(suite: str, gate: GateResult) -> dict[str, str]:
    how, levels = gate_kind(gate.kind).quantity_format(gate), quantity_of(gate)
    estimate = format_gate_interval(gate)
    if gate_kind(gate.kind).tests_difference:
        estimate = f"{format_difference(gate.delta, how)} ({estimate})"
    return {
        **_face(STATUSES[gate.status]),
        "suite": suite,
        "subject": gate.subject,
        "kind": gate.kind,
        "rule": gate_rule(gate),
        "levels": f"{format_level(gate.base, levels)} → {format_level(gate.tuned, levels)}",
        "found": estimate,
    }


def _face(style: OutcomeStyle) -> dict[str, str]:
    return {"word": style.word, "sign": style.sign, "tone": style.tone}


def short_of(recorded: Mapping[str, Any]) -> str:
    """Return ten characters that identify an arm."""
    return _short(flatten_record(recorded))


def _arm(name: str, recorded: Mapping[str, Any]) -> ArmIdentity:
    facts = flatten_record(recorded)
    spec = facts.get("spec", name)
    label = re.split(r"[/\\\\#]", spec.rstrip("/"))[-1] or spec
    return ArmIdentity(name=name, spec=spec, short=_short(facts), label=label, facts=facts)


def _short(facts: Mapping[str, str]) -> str:
    leaves = {key.rpartition(".")[2]: value for key, value in facts.items()}
    for key in _HASH_KEYS:
        if _HEX.fullmatch(leaves.get(key, "")):
            return leaves[key][:10]
    return sha256(canonical_json(dict(facts)))[:10]


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value or "(empty)"
    if isinstance(value, int | float):
        return f"{value:.6g}" if isinstance(value, float) else str(value)
    if isinstance(value, list | tuple) and all(isinstance(v, str) for v in value):
        return ", ".join(value) or "none"
    return canonical_json(value)
