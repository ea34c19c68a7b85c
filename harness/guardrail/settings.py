"""Settings of a guardrail from config.yaml, checked when the proxy starts, and its violations."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tunegate.harness.errors import UsageError
from tunegate.harness.otel_export.redaction import scrub_text


class FailureAction(StrEnum):
    """What happens to a request or an answer that fails a check."""

    BLOCK = "block"
    """The caller gets an error instead."""
    LOG = "log"
    """It passes, and a line is logged."""


class GuardrailSettings(BaseModel):
    """The keys of `litellm_params` that are ours."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    suite: Path | None = None
    """Suite whose metrics check answers, from the proxy's working directory."""
    metrics: tuple[str, ...] | None = None
    """Which of them; all that need no expected answer, if nothing is said."""
    violation: FailureAction = FailureAction.BLOCK
    """Not `on_violation`, which litellm keeps for a guardrail of its own."""
    max_input_characters: int | None = Field(default=None, ge=1)
    """Of all that users and tools say in a request."""
    max_answer_characters: int | None = Field(default=None, ge=1)
    injection: bool = True
    """Look for phrases that try to take over the model."""
    personal: bool | tuple[str, ...] = True
    """Look for personal data in requests: all kinds, none, or some of them by name."""
    calls: bool = True
    """Hold the answer's tool calls against the tools that the request offers."""
    refusal: bool = False
    """Count a refusal as a failed check."""


OURS = frozenset(GuardrailSettings.model_fields)
"""Keys that are taken out of litellm's."""


def parse_settings(given: Mapping[str, Any]) -> GuardrailSettings:
    """Return the settings of a guardrail.

    Raises:
        UsageError: every key whose value cannot be, and what is allowed.
    """
    try:
        found = GuardrailSettings.model_validate(dict(given))
    except ValidationError as error:
        problems = [
            f"guardrail: {'.'.join(map(str, one['loc']))}={one['input']!r}: {one['msg']}"
            for one in error.errors()
        ]
        raise UsageError("; ".join(problems)) from None
    named = () if isinstance(found.personal, bool) else found.personal
    for kind in named:
        if kind not in KINDS:
            raise UsageError(f"guardrail: personal={kind!r}: there are {', '.join(KINDS)}")
    return found


@dataclass(frozen=True, slots=True)
class CheckViolation:
    """One failed check."""

    check: str
    """`json_schema`, `injection`, `personal` …"""
    reason: str


def format_violations(violations: list[CheckViolation]) -> str:
    """Return violations in one line."""
    return "; ".join(f"{one.check}: {one.reason}" for one in violations)


KINDS = ("email", "phone", "card", "iban", "ip", "key")
"""What is looked for, by form and check digits; names and streets are not."""
_MARK = re.compile(f"<({'|'.join(KINDS)})>")


def personal_data(text: str, kinds: tuple[str, ...] = KINDS) -> Counter[str]:
    """Return how often each of the kinds stands in a text."""
    found = Counter(_MARK.findall(scrub_text(text)))
    found.subtract(_MARK.findall(text))  # a text that was redacted before has marks of its own
    return Counter({kind: found[kind] for kind in kinds if found[kind] > 0})
