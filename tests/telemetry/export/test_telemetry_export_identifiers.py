"""Ids are computed from what they stand for."""

from __future__ import annotations

import re
from typing import Any

from tunegate.harness.telemetry.export.identifiers import TraceIdentifiers, plan_sha256


def test_each_place_has_an_id(recorded: Any) -> None:
    ids = TraceIdentifiers("0" * 32)
    made = [ids.span("case", "s", "c1"), ids.span("case", "s", "c2"), ids.span("case", "sc", "1")]
    assert len(set(made)) == 3
    assert all(re.fullmatch("[0-9a-f]{16}", found) for found in made)
    assert ids.span("case", "s", "c1") == made[0]
    assert TraceIdentifiers("1" * 32).span("case", "s", "c1") != made[0]
    assert re.fullmatch("[0-9a-f]{16}", ids.span("\ud800", "\0"))


def test_another_plan_start_or_folder_is_another_trace(recorded: Any) -> None:
    manifest = recorded.manifest
    plan = plan_sha256(manifest)

    def trace(**changed: Any) -> str:
        told = manifest.model_copy(update=changed)
        return TraceIdentifiers.of(told, plan_sha256(told)).trace_id

    assert trace() == TraceIdentifiers.of(manifest, plan).trace_id
    others = {
        trace(run_id="run-2"),
        trace(created="2026-11-25T00:00:00+00:00"),
        trace(plan=manifest.plan[:1]),
    }
    assert len(others | {trace()}) == 4
