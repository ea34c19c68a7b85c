"""Results of promptfoo: `results.json` or `results.jsonl` of `promptfoo eval -o`.

One file holds every provider, so an arm is `results:results.json#LABEL`. Scores are `score` (the
weighted mean of the assertions), `success` (whether all passed) and each assertion's `metric` by
its name. A call that failed (`failureReason: 2`) has score 0 in the file; here it is unscored. So
is an assertion whose grader failed.

Row ids are random. The id is a field of the test's metadata (`?id=question_id`), or else the hash
of its variables. `--repeat N` makes samples; several prompts in a file are tasks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.result_reader import (
    ResultLog,
    ResultRow,
    ScoreTraits,
    UnreadLine,
    content_id,
    result_reader,
    score_value,
    value_at,
)
from tunegate.harness.records.errors import UsageError
from tunegate.harness.results._files import first_bytes, json_document, json_lines
from tunegate.harness.results._values import (
    convert_scores,
    dict_at,
    fields_of,
    list_at,
    read_rows,
    row_fields,
    sampling_of,
    text_of,
)

VERSION = 3
CALL_FAILED = 2
"""Value of `failureReason` for a call that raised; 1 is an assertion that failed."""
TOTALS = ("score", "success")
CHANGES = ("transform", "postprocess", "transformVars")
"""Options of a test that change the answer or its variables."""
GRADING = ("provider", "rubricPrompt", "factuality")
"""Options of a test that decide who grades, and how."""
NOT_BY_TEXT = re.compile(
    r"(not-)?(.*rubric|model-graded-.*|factuality|g-eval|answer-relevance|context-.*|conversation-.*"
    r"|similar.*|classifier|moderation|guardrails|select-best|max-score|human|pi|perplexity.*"
    r"|latency|cost|finish-reason|trace-.*|trajectory:.*|tool-call-f1|skill-used|webhook)"
)
"""Types of assertions that ask a model, or read more than the answer's text."""


def _is_promptfoo(path: Path) -> bool:
    if not path.is_file():
        return False
    head = first_bytes(path, 65536)
    if path.suffix == ".json":
        return head.lstrip()[:1] == b"{" and b'"evalId"' in head and b'"results"' in head
    return path.suffix == ".jsonl" and all(
        mark in head for mark in (b'"promptIdx"', b'"testIdx"', b'"namedScores"')
    )


@result_reader(files="results.json or .jsonl of `promptfoo eval -o`", recognize=_is_promptfoo)
def promptfoo(path: Path, *, id: str = "") -> Iterator[ResultLog]:
    """Yield a run for each provider of a file."""
    records, tool_version, arguments = _records(path)
    providers: dict[str, str] = {}
    prompts: dict[Any, None] = {}
    judged: set[str] = set()
    has_id = False
    for _, record in records():
        if isinstance(record, UnreadLine):
            continue
        providers.setdefault(_provider(record), text_of(value_at(record, "provider.id")) or "")
        prompts.setdefault(value_at(record, "prompt.label"))
        judged.update(_judged(record))
        has_id = has_id or bool(id and text_of(_named_id(record, id)))
    if id and not has_id:
        raise UsageError(f"results:{path}?id={id}: in the metadata of no test")
    for provider, model in providers.items():

        def rows(provider: str = provider) -> Iterator[ResultRow | UnreadLine]:
            mine = (
                (where, record)
                for where, record in records()
                if isinstance(record, UnreadLine) or _provider(record) == provider
            )
            return read_rows(mine, partial(_row, id, has_task=len(prompts) > 1))

        yield ResultLog(
            tool="promptfoo",
            tool_version=tool_version,
            rows=rows,
            run=provider,
            model=model,
            settings=arguments.get(provider, {}),
            traits={key: ScoreTraits(deterministic=False) for key in judged},
            repeats=True,
        )


Records = Callable[[], Iterator[tuple[str, dict[str, Any] | UnreadLine]]]


def _records(path: Path) -> tuple[Records, str | None, Mapping[str, Mapping[str, Any]]]:
    """Return a function that yields the rows, and promptfoo's version and each provider's
    arguments if the file has them.
    """
    if path.suffix == ".jsonl":
        return lambda: json_lines(path), None, {}
    document = json_document(path)
    version = value_at(document, "results.version")
    if version != VERSION:
        raise UsageError(
            f"{path}: version {version!r} of promptfoo's results; this reader knows {VERSION}, "
            f"which promptfoo 0.100 and later write"
        )
    rows = [
        (where, row if isinstance(row, dict) else UnreadLine(where, "must be an object"))
        for number, row in enumerate(list_at(document, "results.results"))
        for where in [f"{path}: results[{number}]"]
    ]
    tool_version = text_of(value_at(document, "metadata.promptfooVersion"))
    return lambda: iter(rows), tool_version, _provider_arguments(document)


def _provider_arguments(document: Any) -> dict[str, dict[str, Any]]:
    """Return provider → how it was asked, where the configuration lists it with its arguments."""
    arguments = {}
    for entry in list_at(document, "config.providers"):
        if isinstance(entry, dict) and (name := text_of(entry.get("label") or entry.get("id"))):
            config = sampling_of(entry.get("config"))
            arguments[name] = {"provider's arguments": config, **fields_of(entry, ("transform",))}
    return arguments


def _provider(record: Mapping[str, Any]) -> str:
    provider = record.get("provider")
    if not isinstance(provider, dict):
        return text_of(provider) or "provider"
    return text_of(provider.get("label") or provider.get("id")) or "provider"


def _named_id(record: Mapping[str, Any], name: str) -> Any:
    found = value_at(record, f"testCase.metadata.{name}")
    return found if found is not None else value_at(record, f"metadata.{name}")


def _row(id: str, where: str, record: Mapping[str, Any], *, has_task: bool) -> ResultRow:
    name = text_of(_named_id(record, id)) if id else content_id(record.get("vars"))
    if not name:
        raise ValueError(f"no {id!r} in its metadata; every test needs one")
    raw: dict[str, Any] = {total: record.get(total) for total in TOTALS}
    for key, value in dict_at(record, "namedScores").items():
        raw[f"named.{key}" if key in TOTALS else str(key)] = value
    scores, errors = convert_scores(raw, _broken_graders(record))
    failed = record.get("failureReason") == CALL_FAILED or value_at(record, "response.error")
    message = text_of(record.get("error")) or text_of(value_at(record, "response.error"))
    return ResultRow(
        id=name,
        where=where,
        task=(text_of(value_at(record, "prompt.label")) or "") if has_task else "",
        rules=_rules(record),
        score_rules=_score_rules(record),
        scores=scores,
        errors=errors,
        error=(message or "the call failed").splitlines()[0] if failed else None,
        cost=score_value(record.get("cost"))[0] or None,
        fields=record,
        **row_fields(
            record,
            prompt="prompt.raw",
            completion="response.output",
            finish_reason="response.finishReason",
            input_tokens="tokenUsage.prompt",
            output_tokens="tokenUsage.completion",
            latency_ms="latencyMs",
        ),
    )


def _rules(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a test's assertions read besides the answer, and what changes the answer."""
    test = dict_at(record, "testCase")
    changes = {f"option {name}": value_at(test, f"options.{name}") for name in CHANGES}
    asked = {"prompt's arguments": sampling_of(value_at(record, "prompt.config"))}
    return {"variables": test.get("vars"), **changes, **asked} if test else {}


def _score_rules(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return score → its assertions, with the grader if they ask one."""
    test = dict_at(record, "testCase")
    if not test:
        return {}
    rules = {name: [test.get("assert")] for name in TOTALS}
    rules["success"] += [test.get("threshold"), test.get("assertScoringFunction")]
    rules["score"] += [test.get("assertScoringFunction")]
    for assertion in _assertions(record):
        if name := value_at(assertion, "metric"):
            rules.setdefault(f"named.{name}" if name in TOTALS else str(name), []).append(assertion)
    grading = fields_of(test.get("options"), GRADING)
    judged = set(_judged(record))
    return {name: [*rule, grading] if name in judged else rule for name, rule in rules.items()}


def _assertions(record: Mapping[str, Any]) -> list[Any]:
    """Return the assertions of a test, those of sets among them."""
    assertions = []
    for entry in list_at(record, "testCase.assert"):
        assertions += list_at(entry, "assert") or [entry]
    return assertions


def _judged(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield the scores of a test that rest on more than the text of the answer."""
    for assertion in _assertions(record):
        if NOT_BY_TEXT.fullmatch(text_of(value_at(assertion, "type")) or ""):
            yield from TOTALS
            if name := value_at(assertion, "metric"):
                yield f"named.{name}" if name in TOTALS else str(name)


def _broken_graders(record: Mapping[str, Any]) -> dict[str, str]:
    """Return score → reason, for ungraded assertions and the totals over them."""
    reasons: dict[str, str] = {}
    for part in list_at(record, "gradingResult.componentResults"):
        if value_at(part, "metadata.graderError") is not True:
            continue
        reason = f"the grader failed: {text_of(value_at(part, 'reason')) or 'no reason'}"
        name = value_at(part, "assertion.metric")
        for key in (*TOTALS, *((str(name),) if name else ())):
            reasons.setdefault(key, reason.splitlines()[0])
    return reasons
