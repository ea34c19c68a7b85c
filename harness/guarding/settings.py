"""What a guardrail was told in config.yaml, checked when the proxy starts."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import UsageError


class Action(StrEnum):
    """What happens to a request or an answer that fails a check."""

    BLOCK = "block"
    """The caller gets an error instead."""
    LOG = "log"
    """It passes, and a line is logged."""


class Settings(BaseModel):
    """The keys of `litellm_params` that are ours."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    suite: Path | None = None
    """Suite whose metrics check answers, from the proxy's working directory."""
    metrics: tuple[str, ...] | None = None
    """Which of them; all that need no expected answer, if nothing is said."""
    violation: Action = Action.BLOCK
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


OURS = frozenset(Settings.model_fields)
"""Keys that are taken out of litellm's."""


def settings(given: Mapping[str, Any]) -> Settings:
    """Return the settings of a guardrail.

    Raises:
        UsageError: every key whose value cannot be, and what is allowed.
    """
    from harness.guarding.personal import KINDS

    try:
        found = Settings.model_validate(dict(given))
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
