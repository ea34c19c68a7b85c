"""Bits per byte: what the arm measured, and nothing where it measured nothing."""

from __future__ import annotations

from typing import Any

from tunegate.harness.records.answers import CellKind


def test_it_gates_recorded_and_scripted_arms(project: Any) -> None:
    """A rise from 1.00 to 1.01 is within 2 % of base, one to 1.10 is a regression."""
    toml = (
        'name = "demo"\ncases = "cases.jsonl"\n[generation]\ntemplate = "none"\n'
        '[[metrics]]\nuse = "bits_per_byte"\n[[gates]]\nmetric = "bits_per_byte"\n'
        'tolerance = "2%"\n'
    )
    ids = [f"c{i:03}" for i in range(200)]
    project.raw_suite(toml, [{"id": i, "prompt": f"document {i}"} for i in ids])
    noise = {i: 0.002 * (n % 5 - 2) for n, i in enumerate(ids)}

    def spec(name: str, level: float, share: float) -> str:
        bits = {i: level + share * noise[i] for i in ids}
        return str(project.model(name, 0, bits_per_byte=bits))

    base = f"--gate-base={spec('base', 1.0, 1)}"
    small = project.gate(base, f"--gate-tuned={spec('small', 1.01, 2)}")
    large = project.gate(base, f"--gate-tuned={spec('large', 1.10, 2)}")

    assert (small.ret, large.ret) == (0, 1)
    assert CellKind.TEXT.value in (project.run / "cells.jsonl").read_text(encoding="utf-8")
