"""Settings of the guardrail: the keys of litellm's `litellm_params` that are ours."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.problems import validation_problem
from tunegate.harness.telemetry.export.redaction import KINDS


class FailureAction(StrEnum):
    """Action on a request or an answer that fails a check."""

    BLOCK = "block"
    """The caller gets an error instead."""
    LOG = "log"
    """It passes, and a line is logged."""
    MASK = "mask"
    """Personal data and keys become `<email>` and so on; other violations are logged."""


class FailureMode(StrEnum):
    """Action where a check fails to run."""

    OPEN = "open"
    """The call passes, with a line in the log."""
    CLOSED = "closed"
    """The caller gets an error, with a line in the log."""


class GuardrailSettings(BaseModel):
    """The keys of `litellm_params` that are ours."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    suite: Path | None = None
    """Suite whose metrics check answers, from the proxy's working directory."""
    metrics: tuple[str, ...] | None = None
    """Names of the suite's metrics; by default all that need no expected answer."""
    violation: FailureAction = FailureAction.LOG
    """Not `on_violation`, which litellm uses for a guardrail of its own."""
    fails: FailureMode = FailureMode.OPEN
    """Action on a call whose check fails to run."""
    max_input_characters: int | None = Field(default=None, ge=1)
    """Limit for all texts of users and tools in a request."""
    max_answer_characters: int | None = Field(default=None, ge=1)
    injection: bool = True
    """Look for phrases that try to take over the model."""
    classifier: str | None = None
    """Model or program that scores requests: `hf:FOLDER_OR_ID` or `command:PROGRAM`."""
    classifier_threshold: float = Field(default=0.5, gt=0, le=1)
    """Score from which a request is an attack; `tunegate guardrail check` measures errors."""
    personal: bool | tuple[str, ...] = True
    """Look for personal data in requests: all kinds, none, or those named."""
    leaks: bool | tuple[str, ...] = True
    """Look for personal data and keys in answers that are not in the request."""
    calls: bool = True
    """Check the answer's tool calls by the tools that the request offers."""
    refusal: bool = False
    """Count a refusal as a failed check."""


OURS = frozenset(GuardrailSettings.model_fields)
"""Keys taken out of litellm's."""


def parse_settings(options: Mapping[str, Any]) -> GuardrailSettings:
    """Return the settings of a guardrail."""
    try:
        settings = GuardrailSettings.model_validate(dict(options))
    except ValidationError as error:
        raise UsageError(f"guardrail: {validation_problem(GuardrailSettings, error)}") from None
    for name in ("personal", "leaks"):
        named = getattr(settings, name)
        for kind in () if isinstance(named, bool) else named:
            if kind not in KINDS:
                raise UsageError(f"guardrail: {name}={kind!r}: choose from {', '.join(KINDS)}")
    return settings


def chosen_kinds(setting: bool | tuple[str, ...]) -> tuple[str, ...]:
    """Return the kinds of personal data that a setting names."""
    if isinstance(setting, bool):
        return KINDS if setting else ()
    return setting
