"""The README of an adapter: what a run measured, between two markers and as `model-index`.

`model-index` only has room for the tuned model's level: base, difference, interval and verdict are
in the text. Other text and metadata is kept. Nothing is sent anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.run_folder import Run
from tunegate.reports.escaping import code_span, escape_markdown, one_line
from tunegate.reports.formatting import FACES
from tunegate.reports.markdown import gates_table

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCard

BEGIN, END = "<!-- tunegate:begin -->", "<!-- tunegate:end -->"
"""The next run replaces the text between them."""

OURS = " (tunegate suite)"
"""Suffix of our data sets in `model-index`."""


def update_readme(text: str | None, run: Run, name: str, *, proven: bool) -> str:
    """Return the README with the run's section and results in it.

    Args:
        text: The README as it is; None if it does not exist.
        run: The finished run.
        name: The model's name where the README has none.
        proven: Whether the model next to the README is the one that was judged.
    """
    card = _card(text)
    card.text = _replace_section(card.text, render_section(run, proven=proven))
    data: Any = card.data
    kept = [r for r in data.eval_results or [] if not str(r.dataset_name).endswith(OURS)]
    data.eval_results = kept + list(_results(run)) or None
    data.model_name = data.model_name or name
    return str(card)


def render_section(run: Run, *, proven: bool) -> str:
    """Return the text between the markers; the same run gives the same text."""
    face, verdict = FACES[run.verdict.verdict], run.verdict
    suites = ", ".join(
        f"{code_span(suite.name)} ({code_span(suite.hash[:12])})" for suite in verdict.suites
    )
    base = verdict.arms.get("base", {}).get("spec", "base")
    method = (
        "Both models got the same prompts; differences are paired. Base is "
        f"{code_span(str(base))}. "
        f"Suites: {suites or 'none'}. Run {code_span(verdict.run_id)} of "
        f"{code_span(run.manifest.created)}, "
        f"tunegate {code_span(verdict.versions.get('tunegate', 'unknown'))}."
    )
    doubt = "The answers were judged as given: that this model made them is not proven here."
    parts = [
        "## Evaluation against the base model",
        f"**{face.sign} {face.word}**: {escape_markdown(verdict.sentence)}",
        gates_table(run),
        method if proven else f"{method} {doubt}",
    ]
    return "\n\n".join(parts)


def _card(text: str | None) -> ModelCard:
    """Read a README."""
    import yaml  # type: ignore[import-untyped]  # ships no types
    from huggingface_hub import ModelCard

    readme = text if text and text.lstrip("\ufeff").startswith("---") else f"---\n---\n{text or ''}"
    try:
        return ModelCard(readme)
    except (ValueError, yaml.YAMLError) as error:
        cause = one_line(str(error), 200)
        raise UsageError(f"README.md: its metadata cannot be read: {cause}") from error


def _replace_section(text: str, section: str) -> str:
    """Replace our section in a text, or append it."""
    whole = f"{BEGIN}\n{section}\n{END}"
    start, end = text.find(BEGIN), text.rfind(END)
    if 0 <= start < end:
        return text[:start] + whole + text[end + len(END) :]
    return f"{text.rstrip()}\n\n{whole}\n".lstrip()


def _results(run: Run) -> Iterator[EvalResult]:
    """Yield the tuned model's level on each gated metric."""
    from huggingface_hub import EvalResult

    seen = set()
    for suite in run.verdict.suites:
        for gate in suite.gates:
            if gate.tuned is None or gate.against or (suite.name, gate.subject) in seen:
                continue
            seen.add((suite.name, gate.subject))
            name, metric = one_line(suite.name), one_line(gate.metric)
            place: dict[str, Any] = {"dataset_type": name, "dataset_name": name + OURS}
            yield EvalResult(
                task_type="text-generation",
                **place,
                dataset_revision=suite.hash[:12],
                metric_type=metric,
                metric_name=one_line(gate.subject),
                metric_value=gate.tuned,
            )


def new_readme(base_model: str | None, adapter: Path) -> str:
    """Return a README for an adapter without one."""
    from huggingface_hub import ModelCardData

    data = ModelCardData(base_model=base_model, library_name="peft")
    return f"---\n{data.to_yaml()}\n---\n\n# {escape_markdown(adapter.name)}\n"
