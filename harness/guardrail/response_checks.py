"""Response checks: the suite's own metrics, tool calls, refusal and length."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tunegate.harness import lookup
from tunegate.harness.errors import UsageError
from tunegate.harness.guardrail.api_formats import offered, said
from tunegate.harness.guardrail.settings import Settings, Violation
from tunegate.harness.metric import Metric
from tunegate.harness.records.cases import Case, Completion, Score
from tunegate.harness.remote.litellm import Unanswered, answer_of
from tunegate.harness.suite import load

_LONGEST = 200


class Answers:
    """The checks of a guardrail's answers, its suite loaded once."""

    def __init__(self, settings: Settings) -> None:
        """Load the suite.

        Raises:
            UsageError: the suite cannot be loaded, or a metric cannot check an answer by itself.
        """
        self.settings = settings
        self.metrics = _metrics(settings)
        self._refusal: Any = lookup.find("tunegate.harness.metrics", "refusal", what="metric")
        self._schema: Any = lookup.find("tunegate.harness.metrics", "json_schema", what="metric")

    def violations(
        self, request: Mapping[str, Any], choices: Sequence[Mapping[str, Any]]
    ) -> list[Violation]:
        """Return what is wrong with the choices of an answer, in OpenAI's form.

        A check that cannot be made (a schema that runs away, say) is no violation.
        """
        return [found for choice in choices for found in self._of_choice(request, choice)]

    def _of_choice(
        self, request: Mapping[str, Any], choice: Mapping[str, Any]
    ) -> Iterator[Violation]:
        message = dict(choice.get("message") or {"content": choice.get("text")})
        message["content"] = said(message.get("content"))
        reason = choice.get("finish_reason")
        case = Case(id="guarded", messages=_messages(request), prompt=_prompt(request))
        calls = message.get("tool_calls") or ()
        try:
            text = answer_of(message, None)
        except Unanswered:
            text = ""
        completion = Completion(
            text=text, finish_reason="stop" if reason == "tool_calls" else reason
        )
        most = self.settings.max_answer_characters
        if most is not None and len(text) > most:
            yield Violation("length", f"{len(text)} characters, and {most} are allowed")
        if self.settings.calls:
            yield from self._of_calls(request, calls)
        if calls:
            return  # the form that the suite asks for is that of its texts
        for metric in self.metrics:
            yield from _failed(metric, metric(case, completion))
        if self.settings.refusal:
            score = self._refusal(case, completion, expected="answer")
            if (score.parts or {}).get("refused"):
                yield Violation("refusal", _short(score.reason))

    def _of_calls(self, request: Mapping[str, Any], calls: Sequence[Any]) -> Iterator[Violation]:
        tools = offered(request)
        for call in calls:
            function = call.get("function") or {}
            name, arguments = str(function.get("name")), function.get("arguments") or "{}"
            if name not in tools:
                yield Violation("calls", f"{name[:60]!r} is no tool of the request")
                continue
            text = arguments if isinstance(arguments, str) else json.dumps(arguments)
            case = Case(id="call", prompt="", schema=dict(tools[name]))
            score = self._schema(case, Completion(text=text))
            if score.value == 0.0:
                yield Violation("calls", f"arguments of {name}: {_short(score.reason)}")


def _metrics(settings: Settings) -> tuple[Metric, ...]:
    if settings.suite is None:
        if settings.metrics:
            raise UsageError("guardrail: metrics are the suite's: give suite: FOLDER")
        return ()
    suite = load(settings.suite)
    usable = {m.name: m for m in suite.metrics if m.binary and m.needs_prompt_only and not m.judge}
    if settings.metrics is None:
        return tuple(usable.values())
    for name in settings.metrics:
        if name not in usable:
            allowed = ", ".join(usable) or "none of them"
            raise UsageError(
                f"guardrail: metrics={name!r}: {suite.path} can check an answer that nobody knows "
                f"the right one of with {allowed}"
            )
    return tuple(usable[name] for name in settings.metrics)


def _failed(metric: Metric, score: Score) -> Iterator[Violation]:
    bad = 0.0 if metric.higher_is_better else 1.0
    if score.value == bad:
        yield Violation(metric.name, _short(score.reason))


def _short(reason: str | None) -> str:
    text = " ".join((reason or "failed").split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _messages(request: Mapping[str, Any]) -> tuple[dict[str, Any], ...] | None:
    messages = request.get("messages")
    return tuple(dict(m) for m in messages) if messages else None


def _prompt(request: Mapping[str, Any]) -> str | None:
    prompt = request.get("prompt")
    return prompt if isinstance(prompt, str) else None
