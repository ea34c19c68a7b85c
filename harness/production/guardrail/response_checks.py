"""Checks of answers: length, leaked data, tool calls, and the suite's own metrics.

A check that cannot run (a schema that runs away) is a failure and not a violation; the setting
`fails` decides whether the call passes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tunegate.harness.contracts import lookup
from tunegate.harness.contracts.metric import Metric
from tunegate.harness.models.remote.chat_message import UnansweredMessage, answer_of
from tunegate.harness.production.guardrail.api_formats import (
    message_text,
    offered_tools,
    thought_texts,
)
from tunegate.harness.production.guardrail.personal_data import known_values, personal_data
from tunegate.harness.production.guardrail.settings import GuardrailSettings, chosen_kinds
from tunegate.harness.production.guardrail.violations import (
    CheckViolation,
    check_length,
    format_counts,
    shorten_reason,
)
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.scores import Score
from tunegate.harness.suite import load_suite


class ResponseChecks:
    """The checks of answers, with the suite loaded once."""

    def __init__(self, settings: GuardrailSettings) -> None:
        """Load the suite."""
        self.settings = settings
        self.metrics = _metrics(settings)
        self._refusal: Any = lookup.find_object(
            "tunegate.harness.metrics", "refusal", what="metric"
        )
        self._schema: Any = lookup.find_object(
            "tunegate.harness.metrics", "json_schema", what="metric"
        )

    def violations(
        self, request: Mapping[str, Any], choices: Sequence[Mapping[str, Any]]
    ) -> list[CheckViolation]:
        """Return the violations of an answer's choices, in OpenAI's form."""
        return [found for choice in choices for found in self._of_choice(request, choice)]

    def _of_choice(
        self, request: Mapping[str, Any], choice: Mapping[str, Any]
    ) -> Iterator[CheckViolation]:
        message = dict(choice.get("message") or {"content": choice.get("text")})
        message["content"] = message_text(message.get("content"))
        legacy = message.get("function_call")
        entries = [*(message.get("tool_calls") or ()), *([{"function": legacy}] if legacy else [])]
        calls = [call for call in entries if _is_call(call)]
        message |= {"tool_calls": calls, "function_call": None}
        try:
            text = answer_of(message, None)
        except UnansweredMessage:
            text = ""
        yield from self._of_text(request, text, "\n".join(_further_texts(message)))
        if self.settings.calls and len(calls) < len(entries):
            yield CheckViolation("calls", "a call without a name, or one that is not an object")
        if self.settings.calls:
            yield from self._of_calls(request, calls)
        if not calls:  # the suite's metrics check texts
            yield from self._of_metrics(request, text, choice.get("finish_reason"))

    def _of_text(
        self, request: Mapping[str, Any], text: str, thoughts: str
    ) -> Iterator[CheckViolation]:
        yield from check_length(text, self.settings.max_answer_characters)
        leaked = self._leaks(request, f"{thoughts}\n{text}" if thoughts else text)
        if leaked:
            yield CheckViolation("leaks", format_counts(leaked))

    def _of_metrics(
        self, request: Mapping[str, Any], text: str, reason: str | None
    ) -> Iterator[CheckViolation]:
        case = Case(id="guarded", messages=_messages(request), prompt=_prompt(request))
        completion = Completion(text=text, finish_reason=reason)
        for metric in self.metrics:
            yield from _violations_of(metric, metric(case, completion))
        if self.settings.refusal:
            score = self._refusal(case, completion, expected="answer")
            if (score.parts or {}).get("refused"):
                yield CheckViolation("refusal", shorten_reason(score.reason))

    def _leaks(self, request: Mapping[str, Any], text: str) -> Mapping[str, int]:
        kinds = chosen_kinds(self.settings.leaks)
        return personal_data(text, kinds, known_values(request)) if kinds and text else {}

    def _of_calls(
        self, request: Mapping[str, Any], calls: Sequence[Any]
    ) -> Iterator[CheckViolation]:
        tools = offered_tools(request)
        for call in calls:
            function = call.get("function") or {}
            name, arguments = str(function.get("name")), function.get("arguments") or "{}"
            if name not in tools:
                yield CheckViolation("calls", f"{name[:60]!r} is not a tool of the request")
                continue
            text = arguments if isinstance(arguments, str) else json.dumps(arguments)
            case = Case(id="call", prompt="", schema=dict(tools[name]))
            score = self._schema(case, Completion(text=text))
            if score.value == 0.0:
                yield CheckViolation(
                    "calls", f"arguments of {name}: {shorten_reason(score.reason)}"
                )


def _is_call(call: Any) -> bool:
    function = call.get("function") if isinstance(call, Mapping) else None
    return isinstance(function, Mapping) and isinstance(function.get("name"), str)


def _further_texts(message: Mapping[str, Any]) -> Iterator[str]:
    """Yield a message's texts besides its content: thoughts, a refusal, a transcript."""
    for name in ("reasoning_content", "reasoning", "refusal"):
        if isinstance(message.get(name), str):
            yield message[name]
    audio = message.get("audio")
    if isinstance(audio, Mapping) and isinstance(audio.get("transcript"), str):
        yield audio["transcript"]
    yield from thought_texts(message.get("thinking_blocks"))


def _metrics(settings: GuardrailSettings) -> tuple[Metric, ...]:
    if settings.suite is None:
        if settings.metrics:
            raise UsageError("guardrail: metrics are the suite's: give suite: FOLDER")
        return ()
    suite = load_suite(settings.suite)
    usable = {m.name: m for m in suite.metrics if m.binary and m.needs_prompt_only and not m.judge}
    if settings.metrics is None:
        return tuple(usable.values())
    for name in settings.metrics:
        if name not in usable:
            allowed = ", ".join(usable) or "none of them"
            raise UsageError(
                f"guardrail: metrics={name!r}: without an expected answer {suite.path} can check "
                f"with {allowed}"
            )
    return tuple(usable[name] for name in settings.metrics)


def _violations_of(metric: Metric, score: Score) -> Iterator[CheckViolation]:
    reason = score.reason or ""
    if score.value is None and reason.startswith(("check_error", f"{metric.name} failed")):
        yield CheckViolation(metric.name, shorten_reason(score.reason), failed=True)
    bad = 0.0 if metric.higher_is_better else 1.0
    if score.value == bad:
        yield CheckViolation(metric.name, shorten_reason(score.reason))


def _messages(request: Mapping[str, Any]) -> tuple[dict[str, Any], ...] | None:
    messages = request.get("messages")
    return tuple(dict(m) for m in messages) if messages else None


def _prompt(request: Mapping[str, Any]) -> str | None:
    prompt = request.get("prompt")
    return prompt if isinstance(prompt, str) else None
