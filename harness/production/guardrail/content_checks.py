"""Checks of requests and responses: prompt injection, personal data, and the suite's own metrics.

A check that cannot run (a classifier without an answer, a schema that runs away) is a failure and
not a violation; the setting `fails` decides whether the call passes.
"""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tunegate.harness.contracts import lookup
from tunegate.harness.contracts.metric import Metric
from tunegate.harness.models.remote.chat_message import UnansweredMessage, answer_of
from tunegate.harness.production.guardrail.classifiers import TextClassifier
from tunegate.harness.production.guardrail.injection import injection_in
from tunegate.harness.production.guardrail.visible_text import visible_text
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.problems import validation_problem
from tunegate.harness.records.scores import Score
from tunegate.harness.suite import load_suite
from tunegate.harness.telemetry.export.redaction import personal_values


class FailureAction(StrEnum):
    """Action on a request or an answer that fails a check."""

    BLOCK = "block"
    """The caller gets an error instead."""
    LOG = "log"
    """It passes, and a line is logged."""
    MASK = "mask"
    """Personal data and keys become `<email>` and so on; what else fails is logged."""


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
    """Which of them; all that need no expected answer, if the key is absent."""
    violation: FailureAction = FailureAction.LOG
    """Not `on_violation`, which litellm keeps for a guardrail of its own."""
    fails: FailureMode = FailureMode.OPEN
    """Action on a call whose check fails to run."""
    max_input_characters: int | None = Field(default=None, ge=1)
    """Of all texts of users and tools in a request."""
    max_answer_characters: int | None = Field(default=None, ge=1)
    injection: bool = True
    """Look for phrases that try to take over the model."""
    classifier: str | None = None
    """Model or program that scores requests: `hf:FOLDER_OR_ID` or `command:PROGRAM`."""
    classifier_threshold: float = Field(default=0.5, gt=0, le=1)
    """Score from which a request is an attack; `tunegate guardrail check` measures its rates."""
    personal: bool | tuple[str, ...] = True
    """Look for personal data in requests: all kinds, none, or some of them by name."""
    leaks: bool | tuple[str, ...] = True
    """Look for personal data and keys in answers that the request does not hold, likewise."""
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
        raise UsageError(f"guardrail: {validation_problem(GuardrailSettings, error)}") from None
    for name in ("personal", "leaks"):
        named = getattr(found, name)
        for kind in () if isinstance(named, bool) else named:
            if kind not in KINDS:
                raise UsageError(f"guardrail: {name}={kind!r}: there are {', '.join(KINDS)}")
    return found


def chosen_kinds(setting: bool | tuple[str, ...]) -> tuple[str, ...]:
    """Return the kinds of personal data that a setting names."""
    if isinstance(setting, bool):
        return KINDS if setting else ()
    return setting


@dataclass(frozen=True, slots=True)
class CheckViolation:
    """One failed check."""

    check: str
    """`json_schema`, `injection`, `personal` …"""
    reason: str
    failed: bool = False
    """Whether the check could not be made, so that nothing is known."""


def format_violations(violations: list[CheckViolation]) -> str:
    """Return violations in one line."""
    return "; ".join(f"{one.check}: {one.reason}" for one in violations)


KINDS = ("email", "phone", "card", "iban", "ip", "key")
"""Kinds of data found by form and check digits; names and streets are not found."""


def personal_data(
    text: str, kinds: tuple[str, ...] = KINDS, keep: Collection[str] = ()
) -> Counter[str]:
    """Return how often each of the kinds is in a text, values to `keep` left aside."""
    found: Counter[str] = Counter()
    for reading in _plain_readings(text):
        values = ((kind, reading[a:b]) for kind, a, b in personal_values(reading))
        found |= Counter(kind for kind, value in values if value not in keep)
    return Counter({kind: found[kind] for kind in kinds if found[kind]})


def _plain_readings(text: str) -> list[str]:
    """Return a text as a reader sees it, also with percent and HTML encoding undone."""
    seen = visible_text(text)
    return list(dict.fromkeys((seen, visible_text(html.unescape(unquote(seen))))))


def known_values(request: Mapping[str, Any]) -> frozenset[str]:
    """Return the personal data that a request holds: an answer that repeats them leaks nothing."""
    texts = [reading for text in _all_texts(request) for reading in _plain_readings(text)]
    return frozenset(text[a:b] for text in texts for _, a, b in personal_values(text))


_OPERATOR = ("system", "developer", "assistant")
"""Roles whose texts are not the callers'."""


def request_violations(
    request: Mapping[str, Any],
    settings: GuardrailSettings,
    classifier: TextClassifier | None = None,
) -> list[CheckViolation]:
    """Return what is wrong with a request in OpenAI's form: `messages`, `prompt` or `input`."""
    return list(_violations("\n".join(_texts(request)), settings, classifier))


def _violations(
    text: str, settings: GuardrailSettings, classifier: TextClassifier | None
) -> Iterator[CheckViolation]:
    yield from _check_length(text, settings.max_input_characters)
    phrase = injection_in(text) if settings.injection else None
    if phrase is not None:
        yield CheckViolation("injection", repr(phrase))
    if classifier is not None and text.strip():
        yield from _score_text(text, settings.classifier_threshold, classifier)
    kinds = chosen_kinds(settings.personal)
    found = personal_data(text, kinds) if kinds else {}
    if found:
        yield CheckViolation("personal", _counts(found))


def _check_length(text: str, most: int | None) -> Iterator[CheckViolation]:
    if most is not None and len(text) > most:
        yield CheckViolation("length", f"{len(text)} characters, and {most} are allowed")


def _score_text(
    text: str, threshold: float, classifier: TextClassifier
) -> Iterator[CheckViolation]:
    """Yield that the classifier takes a text for an attack, or that it gave no answer."""
    try:
        score = classifier.attack_probability(text)
    except Exception as error:
        yield CheckViolation("classifier", _short(f"{type(error).__name__}: {error}"), failed=True)
        return
    if score >= threshold:
        yield CheckViolation("classifier", f"score {score:.3f}, limit {threshold:g}")


def _counts(found: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in found.items())


def _all_texts(request: Mapping[str, Any]) -> Iterator[str]:
    """Yield every text of a request, the operator's and the model's own included."""
    for message in request.get("messages") or ():
        if isinstance(message, Mapping):
            yield from _strings(message.get("content"))
    yield from _strings(request.get("prompt"))
    yield from _strings(request.get("system"))
    yield from _strings(request.get("input"))
    yield from _strings(request.get("instructions"))


def _texts(request: Mapping[str, Any]) -> Iterator[str]:
    for message in request.get("messages") or ():
        if isinstance(message, Mapping) and message.get("role") not in _OPERATOR:
            yield from _strings(message.get("name"))
            yield from _strings(message.get("content"))
    yield from _strings(request.get("prompt"))
    yield from _strings(request.get("input"))


def callers_texts(request: dict[str, Any]) -> Iterator[Any]:
    """Yield the parts of a request with texts of callers and tools, to be rewritten."""
    for message in request.get("messages") or ():
        if isinstance(message, dict) and message.get("role") not in _OPERATOR:
            yield message
    for name in ("prompt", "input"):
        given = request.get(name)
        if isinstance(given, str):
            holder = [given]
            yield holder
            request[name] = holder[0]
        elif isinstance(given, list) and any(isinstance(part, Mapping) for part in given):
            yield from (part for part in given if not _is_operators(part))
        elif isinstance(given, list):
            yield given


def _is_operators(part: Any) -> bool:
    return not isinstance(part, Mapping) or part.get("role") in _OPERATOR


def _strings(content: Any) -> Iterator[str]:
    """Yield the texts of a content: itself, or those of its parts, however deep they are."""
    rest = [content]
    while rest:
        one = rest.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, list):
            rest += reversed(one)
        elif isinstance(one, Mapping) and one.get("role") not in _OPERATOR:
            rest += [one[name] for name in reversed(text_keys(one)) if name in one]


def text_keys(part: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the keys of a part of a request that hold a text, or further parts."""
    own = ("data",) if part.get("type") == "text" else ()
    is_text = str(part.get("file_data", "")).startswith("data:text/")
    return (*_TEXT_KEYS, *own, *(("file_data",) if is_text else ()))


_TEXT_KEYS = ("title", "context", "text", "content", "output", "source", "file")
_LONGEST = 200


class ResponseChecks:
    """The checks of a guardrail's answers, its suite loaded once."""

    def __init__(self, settings: GuardrailSettings) -> None:
        """Load the suite.

        Raises:
            UsageError: the suite cannot be loaded, or a metric cannot check an answer by itself.
        """
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
        """Return what is wrong with the choices of an answer, in OpenAI's form.

        A check that cannot be made (a schema that runs away, say) is a failure.
        """
        return [found for choice in choices for found in self._of_choice(request, choice)]

    def _of_choice(
        self, request: Mapping[str, Any], choice: Mapping[str, Any]
    ) -> Iterator[CheckViolation]:
        message = dict(choice.get("message") or {"content": choice.get("text")})
        message["content"] = message_text(message.get("content"))
        legacy = message.get("function_call")
        given = [*(message.get("tool_calls") or ()), *([{"function": legacy}] if legacy else [])]
        calls = [call for call in given if _is_call(call)]
        message |= {"tool_calls": calls, "function_call": None}
        try:
            text = answer_of(message, None)
        except UnansweredMessage:
            text = ""
        yield from self._of_text(request, text, "\n".join(_further_texts(message)))
        if self.settings.calls and len(calls) < len(given):
            yield CheckViolation("calls", "a call without a name, or one that is not an object")
        if self.settings.calls:
            yield from self._of_calls(request, calls)
        if not calls:  # the form that the suite asks for is that of its texts
            yield from self._of_metrics(request, text, choice.get("finish_reason"))

    def _of_text(
        self, request: Mapping[str, Any], text: str, thoughts: str
    ) -> Iterator[CheckViolation]:
        yield from _check_length(text, self.settings.max_answer_characters)
        leaked = self._leaks(request, f"{thoughts}\n{text}" if thoughts else text)
        if leaked:
            yield CheckViolation("leaks", _counts(leaked))

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
                yield CheckViolation("refusal", _short(score.reason))

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
                yield CheckViolation("calls", f"arguments of {name}: {_short(score.reason)}")


def _is_call(call: Any) -> bool:
    function = call.get("function") if isinstance(call, Mapping) else None
    return isinstance(function, Mapping) and isinstance(function.get("name"), str)


def _further_texts(message: Mapping[str, Any]) -> Iterator[str]:
    """Yield a message's texts besides its content: thoughts, a refusal, what is spoken."""
    for name in ("reasoning_content", "reasoning", "refusal"):
        if isinstance(message.get(name), str):
            yield message[name]
    audio = message.get("audio")
    if isinstance(audio, Mapping) and isinstance(audio.get("transcript"), str):
        yield audio["transcript"]
    yield from _thoughts(message.get("thinking_blocks"))


def _thoughts(parts: Any) -> Iterator[str]:
    """Yield the thoughts among the parts of an answer."""
    for part in parts if isinstance(parts, list) else ():
        if isinstance(part, Mapping) and part.get("type") in ("thinking", "reasoning"):
            yield from _strings([part.get(name) for name in ("thinking", "summary", "content")])


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
                f"guardrail: metrics={name!r}: {suite.path} can check an answer that nobody knows "
                f"the right one of with {allowed}"
            )
    return tuple(usable[name] for name in settings.metrics)


def _violations_of(metric: Metric, score: Score) -> Iterator[CheckViolation]:
    reason = score.reason or ""
    if score.value is None and reason.startswith(("check_error", f"{metric.name} failed")):
        yield CheckViolation(metric.name, _short(score.reason), failed=True)
    bad = 0.0 if metric.higher_is_better else 1.0
    if score.value == bad:
        yield CheckViolation(metric.name, _short(score.reason))


def _short(reason: str | None) -> str:
    text = " ".join((reason or "failed").split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _messages(request: Mapping[str, Any]) -> tuple[dict[str, Any], ...] | None:
    messages = request.get("messages")
    return tuple(dict(m) for m in messages) if messages else None


def _prompt(request: Mapping[str, Any]) -> str | None:
    prompt = request.get("prompt")
    return prompt if isinstance(prompt, str) else None


def choices_of(response: Any) -> list[Mapping[str, Any]] | None:
    """Return the choices of an answer; None of what is no answer in words (embeddings, images).

    Args:
        response: A chat or text completion, a response of OpenAI's responses API or a message of
            Anthropic's, as a model of litellm's or as a dictionary.
    """
    plain = response.model_dump() if hasattr(response, "model_dump") else response
    if not isinstance(plain, Mapping):
        return None
    if isinstance(plain.get("choices"), list):
        return list(plain["choices"])
    if isinstance(plain.get("output"), list):
        return [_choice(plain["output"])]
    if plain.get("role") == "assistant" and isinstance(plain.get("content"), list):
        return [_choice(plain["content"])]
    return None


def message_text(content: Any) -> str:
    """Return the text of a message's content: itself, or that of its parts."""
    if isinstance(content, list):
        return "".join(_part_texts([part for part in content if isinstance(part, Mapping)]))
    return content if isinstance(content, str) else ""


def offered_tools(request: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the tools of a request: name → JSON schema of the arguments."""
    found = {}
    for tool in request.get("tools") or ():
        if isinstance(tool, Mapping):
            told = tool["function"] if isinstance(tool.get("function"), Mapping) else tool
            schema = told.get("parameters") or told.get("input_schema") or {"type": "object"}
            found[str(told.get("name"))] = schema
    return found


def _choice(parts: Sequence[Any]) -> Mapping[str, Any]:
    """Return one choice of the parts of an answer."""
    known = [part for part in parts if isinstance(part, Mapping)]
    text = "".join(_part_texts(known))
    calls = [_call(part) for part in known if part.get("type") in ("function_call", "tool_use")]
    message = {"role": "assistant", "content": text, "tool_calls": calls or None}
    thoughts = "\n".join(_thoughts(known))
    if thoughts:
        message["reasoning_content"] = thoughts
    return {"message": message, "finish_reason": None}


def _part_texts(parts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for part in parts:
        if part.get("type") in ("text", "output_text"):
            yield str(part.get("text") or "")
        elif part.get("type") == "message":
            inner = part.get("content") or ()
            yield from _part_texts([one for one in inner if isinstance(one, Mapping)])


def _call(part: Mapping[str, Any]) -> dict[str, Any]:
    arguments = part.get("arguments", part.get("input"))
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"type": "function", "function": {"name": part.get("name"), "arguments": text}}
