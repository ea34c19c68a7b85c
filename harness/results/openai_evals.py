"""Results of OpenAI evals (`oaieval`): a log of events as JSON lines.

The first line holds the run's spec, each other line an event: `sampling` with prompt and answer,
then `match` with `correct`, or `metrics` with named values. A sample with an `error` event or
without a score is unscored. If a sample has several scores of one name, the first counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.result_reader import (
    ResultLog,
    ResultRow,
    UnreadLine,
    result_reader,
    value_at,
)
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.files import numbered_lines
from tunegate.harness.results._files import first_bytes, json_lines
from tunegate.harness.results._values import convert_scores, dict_at, fields_of, prompt_of, text_of

FILE = re.compile(r"(jsonl?|path|dir|file)$")
"""Arguments of an eval that say where its data are."""
SHARED = ("eval_name", "base_eval", "split")
"""Fields of the spec that both runs must share."""


def _is_log(path: Path) -> bool:
    head = first_bytes(path) if path.is_file() else b""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b'{"spec"') and b'"run_id"' in head


@result_reader(files="a log of oaieval as .jsonl", recognize=_is_log)
def openai_evals(path: Path) -> Iterator[ResultLog]:
    """Yield the run of a log."""
    _, first = next(json_lines(path), ("", None))
    spec = first.get("spec") if isinstance(first, dict) else None
    if not isinstance(spec, dict):
        raise UsageError(f"{path}:1: no spec; oaieval writes it into the first line of its log")
    models = spec.get("completion_fns")
    # Events may follow the final report.
    has_ended = any(line.startswith(b'{"final_report"') for _, line in numbered_lines(path))
    yield ResultLog(
        tool="openai evals",
        rows=lambda: _rows(path),
        model=", ".join(map(str, models)) if isinstance(models, list) else None,
        settings=_settings(spec),
        notes=() if has_ended else (f"{path}: no final report; the run did not end",),
    )


def _settings(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the eval with its class and arguments, and the models after the first, which grade."""
    models = spec.get("completion_fns")
    graders = models[1:] if isinstance(models, list) else None
    eval_spec = value_at(spec, "run_config.eval_spec")
    arguments = {k: v for k, v in dict_at(eval_spec, "args").items() if not FILE.search(k)}
    return {
        **fields_of(spec, SHARED),
        **(
            {"class of the eval": value_at(eval_spec, "cls"), "arguments of the eval": arguments}
            if eval_spec
            else {}
        ),
        "grader": graders,
    }


@dataclass
class _SampleEvents:
    where: str
    prompt: Any = None
    answer: str | None = None
    expected: Any = None
    scores: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    calls: int = 0

    def add(self, kind: Any, data: Mapping[str, Any]) -> None:
        """Add an event; the first score of each name counts."""
        self.calls += kind == "sampling"
        if kind == "sampling" and self.prompt is None:
            self.prompt = data.get("prompt")
            sampled = data.get("sampled")
            if isinstance(sampled, list) and len(sampled) == 1:
                sampled = sampled[0]
            self.answer = text_of(sampled)
        elif kind == "match":
            self._score("correct", data.get("correct"))
            self.expected = self.expected or data.get("expected")
        elif kind == "metrics":
            for name, value in data.items():
                self._score(str(name), value)
        elif kind == "error":
            self.error = self.error or text_of(data.get("message")) or "the sample failed"

    def _score(self, name: str, raw: Any) -> None:
        if not isinstance(raw, Mapping | list):
            self.scores.setdefault(name, raw)

    def row(self, name: str) -> ResultRow:
        """Return the sample as a row."""
        right = self.expected
        scores, errors = convert_scores(self.scores)
        return ResultRow(
            id=name,
            where=self.where,
            prompt=prompt_of(self.prompt),
            completion=self.answer,
            whole=self.calls == 1,
            scores=scores,
            errors=errors,
            error=self.error or (None if self.scores else "no event scores this sample"),
            expected=[str(answer) for answer in right]
            if isinstance(right, list)
            else text_of(right),
        )


def _rows(path: Path) -> Iterator[ResultRow | UnreadLine]:
    samples: dict[str, _SampleEvents] = {}
    for where, event in json_lines(path):
        if isinstance(event, UnreadLine):
            yield event
            continue
        name, data = event.get("sample_id"), event.get("data")
        if name is None or not isinstance(data, dict):
            continue
        samples.setdefault(str(name), _SampleEvents(where)).add(event.get("type"), data)
    for name, sample in samples.items():
        yield sample.row(name)
