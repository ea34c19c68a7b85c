"""metrics.txt: a run's numbers in the OpenMetrics text format, which GitLab compares by branch.

Labels are the suite, the metric and, for a gate's numbers, the gate's kind. Unknown numbers are
left out, never zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tunegate.harness.records.hidden_text import escape_hidden
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.verdict import SuiteResult, Verdict

HELP = {
    "tunegate_ships": "1 if the verdict is SHIP, else 0.",
    "tunegate_cases_scored": "Cases with a complete pair of scores.",
    "tunegate_cases_planned": "Cases that the suite asks for.",
    "tunegate_base": "Level of the base model.",
    "tunegate_tuned": "Level of the fine-tune.",
    "tunegate_delta": "Level of the fine-tune minus that of the base model.",
    "tunegate_low": "Lower end of the interval that the gate is judged by.",
    "tunegate_high": "Upper end of the interval that the gate is judged by.",
}
"""Name of a metric → what it is; all are gauges."""

Labels = tuple[tuple[str, str], ...]


def render_openmetrics(run: Run) -> str:
    """Return the run's numbers; the same run gives the same text."""
    samples: dict[str, dict[Labels, float]] = {name: {} for name in HELP}
    samples["tunegate_ships"][()] = float(run.verdict.verdict is Verdict.SHIP)
    for suite in run.verdict.suites:
        for name, labels, value in _numbers(suite):
            if value is not None:
                samples[name].setdefault(labels, value)
    lines = [line for name, rows in samples.items() if rows for line in _family(name, rows)]
    return "\n".join([*lines, "# EOF"]) + "\n"


def _numbers(suite: SuiteResult) -> Iterator[tuple[str, Labels, float | None]]:
    labels: Labels = (("suite", suite.name),)
    yield "tunegate_cases_scored", labels, suite.n_scored
    yield "tunegate_cases_planned", labels, suite.n_planned
    for gate in suite.gates:
        tag: Labels = () if gate.tag is None else (("tag", gate.tag),)
        against: Labels = () if gate.against is None else (("against", gate.against),)
        metric: Labels = (*labels, ("metric", gate.metric), *tag, *against)
        yield "tunegate_base", metric, gate.base
        yield "tunegate_tuned", metric, gate.tuned
        yield "tunegate_delta", metric, gate.delta
        yield "tunegate_low", (*metric, ("gate", gate.kind)), gate.low
        yield "tunegate_high", (*metric, ("gate", gate.kind)), gate.high


def _family(name: str, rows: Mapping[Labels, float]) -> Iterator[str]:
    yield f"# TYPE {name} gauge"
    yield f"# HELP {name} {HELP[name]}"
    for labels, value in rows.items():
        labels_text = ",".join(f'{key}="{_label(text)}"' for key, text in labels)
        yield f"{name}{{{labels_text}}} {value:.6g}" if labels_text else f"{name} {value:.6g}"


def _label(text: str) -> str:
    shown = escape_hidden(text)
    return shown.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
