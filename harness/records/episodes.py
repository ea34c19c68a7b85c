"""Episodes: completions of several turns in an environment.

The model calls tools of the environment, reads their results, and ends with an answer, which the
environment rates. The text of such a completion is the last answer; its counts are sums over the
turns.
"""

from __future__ import annotations

import operator
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from tunegate.harness.records.record import MAX_AMOUNT, Record

MAX_TURNS = 8
"""Most turns of an episode."""
MAX_TOKENS = 1024
"""Most tokens that the model writes in an episode."""
TOOL_TIMEOUT_S = 20.0
"""Seconds that a tool, a reset or a reward may take."""


class EpisodeEnd(StrEnum):
    """How an episode ended."""

    ANSWERED = "answered"
    """The model wrote an answer without a call."""
    LIMIT = "limit"
    """It reached the limit of turns, of tokens or of the model's context."""
    UNREADABLE = "unreadable"
    """It wrote a call that no program would run."""


class EpisodeCall(Record):
    """One call of a tool."""

    name: str
    arguments: dict[str, Any]
    result: str
    """The text that the model was shown."""
    error: bool = False
    """Whether the call failed through the model's own fault."""
    seconds: float | None = Field(default=None, ge=0, le=MAX_AMOUNT)


class EpisodeTurn(Record):
    """The model's text in one turn, and the replies of its tools."""

    prompt_sha256: str
    """Hash of the turn's prompt, with everything before it."""
    text: str
    """As the model wrote it, calls included."""
    calls: tuple[EpisodeCall, ...] = ()
    problem: str | None = None
    """Why its call cannot be read, if so."""
    message: str | None = None
    """The user's next message, if the environment plays a user."""
    finish_reason: str | None = None
    input_tokens: int | None = Field(default=None, ge=0, le=MAX_AMOUNT)
    output_tokens: int | None = Field(default=None, ge=0, le=MAX_AMOUNT)
    latency_s: float | None = Field(default=None, ge=0, le=MAX_AMOUNT)
    """Seconds of the model."""


class EpisodeRecord(Record):
    """What happened in an episode."""

    turns: tuple[EpisodeTurn, ...]
    reward: float
    end: EpisodeEnd
    opening: str | None = None
    """Text that `reset` added to the prompt."""
    stats: dict[str, Any] = Field(default_factory=dict)
    """Value of the environment's `_stats`."""

    @property
    def calls(self) -> tuple[EpisodeCall, ...]:
        """Every call, in order."""
        return tuple(call for turn in self.turns for call in turn.calls)


def _is_empty(value: Any) -> bool:
    """Return whether a setting is left out of records: one of Inspect in a suite without it."""
    return not value


class EpisodeSettings(Record):
    """How the episodes of a suite are played; the table `[episode]` of suite.toml."""

    environment: str = ""
    """`file.py:Class`, with the file next to suite.toml, or `package.module:Class`; empty if
    Inspect plays the tasks."""
    inspect: str = Field(default="", exclude_if=operator.not_)
    """Task of Inspect that is played instead of an environment: `file.py@task`, `package/task`."""
    python: str = Field(default="", exclude_if=operator.not_)
    """Python that has Inspect; empty for the one that runs tunegate."""
    flags: tuple[str, ...] = Field(default=(), exclude_if=operator.not_)
    """Further arguments of `inspect eval`."""
    reward: str = Field(default="", exclude_if=operator.not_)
    """Score of the Inspect task that is the reward; empty for its first one."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the class, or of the Inspect task."""
    max_turns: int = MAX_TURNS
    """Most turns of the model."""
    max_tokens: int = MAX_TOKENS
    """Most tokens that the model writes in all turns together."""
    tool_timeout_s: float = TOOL_TIMEOUT_S
    """Seconds that one call of the environment may take."""
    tools: Literal["template", "system"] = "template"
    """Whether the chat template shows the tools, or the system prompt does."""
    deterministic: bool = True
    """Whether the same calls always have the same results; if not, an interrupted episode starts
    over."""
    sha256: str = ""
    """Hash of the environment's source files and options; empty in suite.toml."""
