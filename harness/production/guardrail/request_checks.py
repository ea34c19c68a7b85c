"""Checks of requests: length, prompt injection, a classifier and personal data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tunegate.harness.production.guardrail.api_formats import callers_strings
from tunegate.harness.production.guardrail.classifiers import TextClassifier
from tunegate.harness.production.guardrail.injection import injection_in
from tunegate.harness.production.guardrail.personal_data import personal_data
from tunegate.harness.production.guardrail.settings import GuardrailSettings, chosen_kinds
from tunegate.harness.production.guardrail.violations import (
    CheckViolation,
    check_length,
    format_counts,
    shorten_reason,
)
from tunegate.harness.records.errors import error_summary


def request_violations(
    request: Mapping[str, Any],
    settings: GuardrailSettings,
    classifier: TextClassifier | None = None,
) -> list[CheckViolation]:
    """Return the violations of a request in OpenAI's form: `messages`, `prompt` or `input`."""
    return list(_violations("\n".join(callers_strings(request)), settings, classifier))


def _violations(
    text: str, settings: GuardrailSettings, classifier: TextClassifier | None
) -> Iterator[CheckViolation]:
    yield from check_length(text, settings.max_input_characters)
    phrase = injection_in(text) if settings.injection else None
    if phrase is not None:
        yield CheckViolation("injection", repr(phrase))
    if classifier is not None and text.strip():
        yield from _score_text(text, settings.classifier_threshold, classifier)
    kinds = chosen_kinds(settings.personal)
    counts = personal_data(text, kinds) if kinds else {}
    if counts:
        yield CheckViolation("personal", format_counts(counts))


def _score_text(
    text: str, threshold: float, classifier: TextClassifier
) -> Iterator[CheckViolation]:
    """Yield a violation if the classifier sees an attack, or gives no answer."""
    try:
        score = classifier.attack_probability(text)
    except Exception as error:
        yield CheckViolation("classifier", shorten_reason(error_summary(error)), failed=True)
        return
    if score >= threshold:
        yield CheckViolation("classifier", f"score {score:.3f}, limit {threshold:g}")
