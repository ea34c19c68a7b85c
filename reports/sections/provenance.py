"""Provenance of the comparison: identities, hashes, checks, versions, command to repeat it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tunegate.harness.records.verdict import VerdictRecord
from tunegate.reports.case_view import BASE, TUNED
from tunegate.reports.data import ReportData
from tunegate.reports.identity import flatten_record, run_command
from tunegate.reports.templating import fill_page_template

if TYPE_CHECKING:
    from markupsafe import Markup

TITLE = "Provenance"
ORDER = 70


def render(data: ReportData) -> Markup:
    """Return the tables of everything the verdict rests on."""
    verdict, manifest = data.run.verdict, data.run.manifest
    boxed = {"sandbox": manifest.sandbox} if manifest.sandbox else {}
    return fill_page_template(
        "provenance.html",
        arms=data.arms,
        identity=_identity(data),
        verdict=verdict,
        manifest=manifest,
        signatures=[(s.name, m) for s in manifest.suites for m in s.metrics if m.signature],
        checks=[
            ("Made", {"started": manifest.created, **boxed, **manifest.origin}),
            ("Comparability", flatten_record(verdict.comparability)),
            ("Liveness", flatten_record(verdict.liveness)),
            *_served_checks(verdict),
            ("Versions", dict(sorted(verdict.versions.items()))),
        ],
        command=run_command(data.run),
        training=manifest.training,
        facts=flatten_record({k: v for k, v in (verdict.training or {}).items() if k != "notes"}),
        settings=flatten_record(_settings(data)),
    )


def _served_checks(verdict: VerdictRecord) -> list[tuple[str, dict[str, Any]]]:
    """Return what was proven about servers; nothing where no arm is served."""
    found = {"Served weights": verdict.served_identity, "Served prompts": verdict.served_prompts}
    return [(title, flatten_record(record)) for title, record in found.items() if record]


def _settings(data: ReportData) -> dict[str, Any]:
    """Return the facts of the training's card besides the main ones."""
    training = data.run.manifest.training
    card = {} if training is None else training.card
    return {
        key: value for key, value in card.items() if key not in (data.run.verdict.training or {})
    }


def _identity(data: ReportData) -> list[tuple[str, list[str | None], str]]:
    """Return each fact with its value by arm, and whether base and tuned agree on it."""
    names = {name for arm in data.arms.values() for name in arm.facts}
    rows = []
    for name in sorted(names, key=lambda name: (name != "spec", name)):
        values = {arm.name: arm.facts.get(name) for arm in data.arms.values()}
        same = values.get(BASE) == values.get(TUNED)
        rows.append((name, list(values.values()), "equal" if same else "differs"))
    return rows
