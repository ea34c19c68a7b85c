"""The header of an Inspect log: what ran, and by which settings and scorers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.result_reader import (
    ResultLog,
    ResultRow,
    ScoreTraits,
    UnreadLine,
    value_at,
)
from tunegate.harness.records.errors import UsageError
from tunegate.harness.results._files import json_document, json_text
from tunegate.harness.results._values import (
    dict_at,
    fields_of,
    list_at,
    sampling_of,
    text_of,
    without_seed,
)
from tunegate.harness.results._zip_archive import open_zip

VERSION = 2
_SETTINGS = (
    "temperature", "top_p", "top_k", "max_tokens", "stop_seqs", "best_of", "num_choices",
    "frequency_penalty", "presence_penalty", "logit_bias", "system_message", "response_schema",
    "parallel_tool_calls", "internal_tools", "max_tool_output", "verbosity", "effort",
    "reasoning_effort", "reasoning_mode", "reasoning_tokens", "reasoning_history", "extra_body",
)  # fmt: skip
"""Parts of `GenerateConfig` that change an answer."""
_LIMITS = (
    "message_limit",
    "token_limit",
    "turn_limit",
    "time_limit",
    "working_limit",
    "cost_limit",
)
"""Parts of `EvalConfig` at which a sample ends."""
_BY_TEXT = frozenset({"answer", "choice", "exact", "f1", "includes", "match", "math", "pattern"})
"""Scorers of Inspect that compare texts."""


@dataclass(frozen=True)
class LogHeader:
    path: Path
    status: str
    evaluation: Mapping[str, Any]
    plan: Mapping[str, Any]
    error: str
    """Why it ended early, in one line; empty if it did not."""
    others: tuple[str, ...]
    """The models that were asked besides the evaluated one: judges, or simulated users."""

    @property
    def task(self) -> str:
        return text_of(self.evaluation.get("task")) or ""

    @property
    def model(self) -> str:
        return text_of(self.evaluation.get("model")) or ""

    @property
    def created(self) -> str:
        """When it was made, in a form that sorts."""
        return text_of(self.evaluation.get("created")) or ""

    @property
    def arguments(self) -> Any:
        return self.evaluation.get("task_args_passed") or self.evaluation.get("task_args") or {}

    @property
    def notes(self) -> list[str]:
        """Notes on a run that did not end."""
        if self.status == "success":
            return []
        why = f" ({self.error:.300})" if self.error else ""
        end = f"Inspect reports that the run ended with status {self.status!r}{why}"
        return [f"{self.path.name}: {end}"]

    def log(
        self, rows: Callable[[], Iterator[ResultRow | UnreadLine]], notes: tuple[str, ...], run: str
    ) -> ResultLog:
        """Return the log with its samples."""
        return ResultLog(
            tool="Inspect",
            tool_version=text_of(value_at(self.evaluation, "packages.inspect_ai")),
            run=run,
            model=self.model or None,
            tasks=(self.task,),
            settings=self._scorer_settings(),
            task_settings={
                self.task: {
                    "task version": self.evaluation.get("task_version"),
                    "task arguments": without_seed(self.arguments),
                    "model arguments": sampling_of(self.evaluation.get("model_args")),
                    **self._generation(),
                    **fields_of(self.evaluation.get("config"), _LIMITS),
                    **self._solvers(),
                }
            },
            traits={key: ScoreTraits(deterministic=False) for key in self._judged()},
            repeats=True,
            notes=notes,
            rows=rows,
        )

    def _generation(self) -> dict[str, Any]:
        config = {
            **dict_at(self.evaluation, "model_generate_config"),
            **dict_at(self.plan, "config"),
        }
        return {name: config.get(name) for name in _SETTINGS}

    def _solvers(self) -> dict[str, Any]:
        """Return the steps of the plan as they were written; an interrupted run may lack them."""
        steps = [
            (step.get("solver"), step.get("params_passed", step.get("params")))
            for step in list_at(self.plan, "steps")
            if isinstance(step, Mapping)
        ]
        return {"solvers": steps} if steps else {}

    def _scorers(self) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        """Yield each scorer: its name, the one that its scores have, and its record."""
        seen: Counter[str] = Counter()
        for scorer in list_at(self.evaluation, "scorers"):
            name = text_of(value_at(scorer, "name")) or ""
            yield name, f"{name}{seen[name] or ''}", scorer  # as Inspect names equal scorers
            seen[name] += 1

    def _scorer_settings(self) -> dict[str, Any]:
        """Return the options of each scorer, and the models that graded."""
        settings: dict[str, Any] = {}
        roles = dict_at(self.evaluation, "model_roles")
        for name, key, scorer in self._scorers():
            options = dict_at(scorer, "options")
            settings[f"options of scorer {key}"] = options
            if "model_graded" in name and not options.get("model"):
                # Without a grader Inspect asks the evaluated model itself.
                grader = value_at(roles, "grader.model") or roles.get("grader")
                settings[f"grader of scorer {key}"] = grader or self.model
        return settings | ({"set of other models": self.others} if self.others else {})

    def _judged(self) -> Iterator[str]:
        """Yield the scores that a model may have given; old headers do not list their scorers."""
        yield from ("model_graded_fact", "model_graded_qa")
        for name, key, scorer in self._scorers():
            if "model_graded" in name or (self.others and name.split("/")[-1] not in _BY_TEXT):
                yield key
                yield from (f"{key}.{part}" for part in dict_at(scorer, "metrics"))

    @property
    def has_numbers(self) -> bool:
        """Whether the ids are the numbers that Inspect gives to samples without one."""
        ids = value_at(self.evaluation, "dataset.sample_ids")
        return isinstance(ids, list) and all(type(one) is int for one in ids)


def read_header(path: Path) -> LogHeader:
    if path.suffix == ".json":
        header = json_document(path)
    else:
        with open_zip(path) as archive:
            names = archive.names
            name = "header.json" if "header.json" in names else "_journal/start.json"
            if name not in names:
                raise UsageError(f"{path}: not a log of Inspect: it has no header.json")
            header = json_text(archive.read(name), f"{path}: {name}")
    if not isinstance(header, Mapping) or header.get("version") != VERSION:
        version = value_at(header, "version")
        raise UsageError(
            f"{path}: version {version!r:.40} of Inspect's format; version {VERSION} is read: "
            "convert it with `inspect log convert`"
        )
    status = text_of(header.get("status")) or "started"
    error = " ".join((text_of(value_at(header, "error.message")) or "").split())
    evaluation = dict_at(header, "eval")
    models = dict_at(header, "stats.model_usage").keys() - {text_of(evaluation.get("model"))}
    others = tuple(sorted(models))
    return LogHeader(path, status, evaluation, dict_at(header, "plan"), error, others)
