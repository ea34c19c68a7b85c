"""Sentences on what ships: the steps from tuned to it, and whether they are equivalent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tunegate.harness.contracts.quantity import parity_format
from tunegate.harness.records.gate_results import GateStatus
from tunegate.harness.records.parity import MetricParity, ParityStatus, SuiteParity
from tunegate.harness.records.verdict import Verdict
from tunegate.harness.records.wording import count_noun

NOTHING = "no step that the identities show"
_PLACES = {"base": "tuned", "tuned": "shipped"}
"""The places of base and tuned, and which arms are there where tuned is compared with shipped."""


def metric_sentence(found: MetricParity, missing: Mapping[str, int]) -> str:
    """Return what was measured on tuned and shipped, and what follows.

    Args:
        found: The outcome.
        missing: Place of an arm → its unscored cases.
    """
    if found.status is ParityStatus.ERROR:
        place, count = max(missing.items(), key=lambda item: item[1])
        verb = "is" if count == 1 else "are"
        return f"{found.metric}: {count_noun(count, 'case')} of {_PLACES[place]} {verb} unscored"
    if not found.n:
        return f"{found.metric}: no case has a score in both arms"
    return f"{_measurement_sentence(found)}: {_conclusion(found, any(missing.values()))}"


def _measurement_sentence(found: MetricParity) -> str:
    how, cases = parity_format(found), count_noun(found.n, "case")
    interval = how.interval(found.low, found.high, found.confidence, sign=True)
    if found.delta == 0:
        return f"{found.metric} is {how.level(found.tuned)} in both{interval} on {cases}"
    return (
        f"{found.metric} is {how.level(found.tuned)} tuned and {how.level(found.shipped)} "
        f"shipped, a change of {how.difference(found.delta)}{interval} on {cases}"
    )


def _conclusion(found: MetricParity, unscored: bool) -> str:
    margin = f"±{parity_format(found).margin(found.margin)}"
    margin += f" ({found.margin_from})"
    if found.status is ParityStatus.EQUIVALENT:
        return f"within {margin}"
    if found.status is ParityStatus.NOT_EQUIVALENT:
        return f"beyond {margin}"
    if found.needed_n is None:
        return f"neither within nor beyond {margin} by proof"
    if found.needed_n <= found.n and unscored:
        return f"within {margin} on the scored cases, but not if the unscored ones went wrong"
    return (
        f"neither within nor beyond {margin} by proof; about {found.needed_n} cases would decide "
        "it in 4 of 5 runs"
    )


def parity_sentence(status: ParityStatus, suites: Sequence[SuiteParity], step: str) -> str:
    """Return the sentence that decided whether shipped may go out, with the lossy step."""
    worst = Verdict.worst([s.guards_verdict for s in suites if s.guards_verdict] or [Verdict.SHIP])
    if status is ParityStatus.ERROR:
        return f"{_first(suites, status)}, too many to compare it with tuned"
    if status is ParityStatus.NOT_EQUIVALENT:
        return (
            f"what ships is not equivalent to tuned: {_first(suites, status)}; between them: {step}"
        )
    if worst in (Verdict.BLOCK, Verdict.ERROR):
        return f"{_guard(suites, worst)}; between tuned and shipped: {step}"
    if status is ParityStatus.UNDECIDED:
        return (
            f"whether what ships is equivalent to tuned is undecided: {_first(suites, status)}; "
            f"between them: {step}"
        )
    if worst is Verdict.UNDECIDED:
        return f"{_guard(suites, worst)}; between tuned and shipped: {step}"
    metrics = count_noun(sum(not m.advisory for s in suites for m in s.metrics), "gated metric")
    return f"what ships is equivalent to tuned on {metrics} ({step})"


def _first(suites: Sequence[SuiteParity], status: ParityStatus) -> str:
    """Return the sentence of the first metric that ended so."""
    found = [
        (suite, metric)
        for suite in suites
        for metric in suite.metrics
        if metric.status is status and not metric.advisory
    ]
    if not found:
        return "no suite has a gated metric to compare them by"
    suite, metric = found[0]
    more = len(found) - 1
    tail = f" (and {more} more of the gated metrics)" if more else ""
    return f"{suite.name}: {metric.sentence}{tail}"


def _guard(suites: Sequence[SuiteParity], verdict: Verdict) -> str:
    """Return the guardrail of shipped that led to a verdict."""
    return next(
        iter(_deciding_guards(suites, verdict)), f"shipped: its guards end in {verdict.value}"
    )


def _deciding_guards(suites: Sequence[SuiteParity], verdict: Verdict) -> Iterator[str]:
    decisive = {
        Verdict.BLOCK: GateStatus.FAIL,
        Verdict.ERROR: GateStatus.ERROR,
        Verdict.UNDECIDED: GateStatus.UNDECIDED,
    }[verdict]
    for suite in suites:
        for gate in suite.guards:
            if gate.status is decisive and not gate.advisory:
                yield f"{suite.name}: {gate.sentence}"


def deployment_step(tuned: Mapping[str, Any], shipped: Mapping[str, Any]) -> str:
    """Return the steps between the identities of tuned and shipped, in words."""
    return ", ".join(dict.fromkeys(_steps(tuned, shipped))) or NOTHING


def _steps(tuned: Mapping[str, Any], shipped: Mapping[str, Any]) -> Iterator[str]:
    if tuned.get("adapter_sha256") and not shipped.get("adapter_sha256"):
        yield "the adapter merged into the weights"
    if shipped.get("stored") and shipped["stored"] != tuned.get("stored"):
        yield f"the weights stored as {_stored_formats(shipped['stored'])}"
    backend = shipped.get("backend")
    same = shipped.get("engine") is not None and shipped["engine"] == tuned.get("engine")
    if backend and backend != tuned.get("backend") and not same:
        yield f"answers by {_backend_words(backend, shipped)}"
    if shipped.get("dtype") and shipped["dtype"] != tuned.get("dtype"):
        yield f"computed in {shipped['dtype']}"
    for key, what in (("tokenizer_sha256", "tokenizer"), ("template_sha256", "chat template")):
        if shipped.get(key) and tuned.get(key) and shipped[key] != tuned[key]:
            yield f"another {what}"


def _stored_formats(value: Any) -> str:
    """Return how weights are stored, most common format first: `Q8_0 and F32`."""
    if isinstance(value, Mapping):
        ordered = sorted(value, key=lambda name: (-int(value[name]), str(name)))
        return " and ".join(map(str, ordered))
    return str(value)


def _backend_words(backend: Any, identity: Mapping[str, Any]) -> str:
    engine = identity.get("engine")
    return f"{backend} ({engine})" if engine and backend != "hf" else str(backend)
