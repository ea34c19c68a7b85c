"""What `--notify` posts: how a gate ended, small enough for any receiver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunegate.harness.records.gate_results import GateStatus
from tunegate.harness.records.verdict import Verdict, VerdictRecord

_SENTENCE = 400
"""Characters of a sentence; that of a mistake may be long."""
_NAMED = 3
"""Gates that the text names."""


def describe_ending(
    verdict: VerdictRecord | None, why: str, exit_code: int, run_id: str, origin: Mapping[str, str]
) -> dict[str, Any]:
    """Return the payload of a session's end.

    Args:
        verdict: The verdict; None if the session ended without one.
        why: The mistake or interrupt that ended it without a verdict.
        exit_code: Exit code of the command; only 0 ships.
        run_id: Name of the run folder.
        origin: Known facts about the run, such as its commit.
    """
    sentence = verdict.sentence if verdict else why
    gates = [(s.name, g) for s in verdict.suites for g in s.gates] if verdict else []
    payload: dict[str, Any] = {
        "verdict": verdict.verdict.value if verdict else None,
        "exit_code": exit_code,
        "sentence": sentence if len(sentence) <= _SENTENCE else f"{sentence[: _SENTENCE - 1]}…",
        "run_id": run_id,
        "commit": origin.get("commit"),
        "ci_job": origin.get("CI job"),
        "gates": [
            {"suite": suite, "gate": gate.id, "status": gate.status.value}
            | {"delta": gate.delta, "low": gate.low, "high": gate.high}
            for suite, gate in gates
        ],
    }
    open_gates = [
        f"{suite} {gate.id}"
        for suite, gate in gates
        if gate.status is not GateStatus.PASS and not gate.advisory
    ]
    return {"text": _text(payload, open_gates), **payload}


def _text(payload: Mapping[str, Any], open_gates: list[str]) -> str:
    """Return the message that people read."""
    ended = (payload["verdict"] or "no verdict").replace("_", " ")
    if payload["verdict"] == Verdict.SHIP and payload["exit_code"]:
        ended += ", but the command failed"  # such as a test of the user's own
    lines = [f"tunegate: {ended} (exit code {payload['exit_code']}): {payload['sentence']}"]
    if open_gates:
        more = len(open_gates) - _NAMED
        named = ", ".join(open_gates[:_NAMED]) + (f" and {more} more" if more > 0 else "")
        lines.append(f"not passed: {named}")
    commit = f", commit {payload['commit'][:12]}" if payload["commit"] else ""
    lines.append(f"run {payload['run_id']}{commit}")
    return "\n".join([*lines, *([payload["ci_job"]] if payload["ci_job"] else [])])
