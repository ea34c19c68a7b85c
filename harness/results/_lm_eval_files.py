"""What lm-eval and lmms-eval, which grew from it, write alike: dated files and their header."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
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
from tunegate.harness.records.wording import count_noun
from tunegate.harness.results._files import json_document
from tunegate.harness.results._values import (
    dict_at,
    fields_of,
    list_at,
    sampling_of,
    text_of,
    without_seed,
)

HEADERS = (("versions", "task version"), ("n-shot", "number of few-shot examples"))
"""Parts of the header that hold a setting of each task."""
RULES = (
    "output_type", "doc_to_target", "doc_to_choice", "target_delimiter", "process_results",
    "repeats",
)  # fmt: skip
"""Parts of a task's configuration that decide how an answer is generated and scored. What it asks
is compared by the prompts."""
SHARES = frozenset({"acc", "acc_norm", "acc_bytes", "exact_match"})
"""Metrics of `lm_eval/api/metrics.py` that are 0 to 1 whatever the task."""
_ADDRESS = re.compile(r" at 0x[0-9a-f]+>")
"""What Python's text of a function adds to its name: another one in each process."""


@dataclass(frozen=True, slots=True)
class SampleFile:
    """The newest samples of a task of one model."""

    file: Path
    task: str
    date: str
    run: str
    """The model's folder within the path that was named."""
    notes: tuple[str, ...]
    header: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def config(self) -> dict[str, Any]:
        """The task's configuration."""
        return dict_at(dict_at(self.header, "configs"), self.task)

    @property
    def filters(self) -> list[str]:
        """Names of the task's filters."""
        return [entry.get("name", "none") for entry in self.config.get("filter_list") or [{}]]


@dataclass(frozen=True, slots=True)
class SampleForm:
    """How one of the two tools names its files."""

    tool: str
    files: str
    """Names of samples, for a message."""
    samples: re.Pattern[str]
    """Form of these names, with the groups `task` and `date`."""
    header: str
    """Name of the header, with `{date}`."""
    version: str
    """Key of the tool's version in the header."""
    filters: bool
    """Whether the name of a score ends with a filter."""


def find_samples(path: Path, form: re.Pattern[str]) -> list[Path]:
    """Return the files of samples at a path, which is a file or an output folder."""
    if path.is_file():
        return [path] if form.fullmatch(path.name) else []
    files = (file for depth in ("", "*/", "*/*/") for file in path.glob(f"{depth}*samples_*.jsonl"))
    return sorted(file for file in files if form.fullmatch(file.name))


def _newest_samples(path: Path, form: re.Pattern[str]) -> Iterator[SampleFile]:
    """Yield the newest file of each model and task."""
    newest: dict[tuple[Path, str], tuple[str, Path]] = {}
    older: Counter[tuple[Path, str]] = Counter()
    for file in find_samples(path, form):
        parts = form.fullmatch(file.name)
        assert parts is not None
        place = (file.parent, parts["task"])
        older[place] += place in newest
        newest[place] = max(newest.get(place, ("", file)), (parts["date"], file))
    for (folder, task), (date, file) in newest.items():
        notes: tuple[str, ...] = ()
        if older[folder, task]:
            others = count_noun(older[folder, task], "older run")
            notes = (f"{task}: {date} is read, the newest; {others} left out",)
        run = "" if path.is_file() else str(folder.relative_to(path)).removeprefix(".")
        yield SampleFile(file, task, date, run, notes)


def sample_logs(
    path: Path, form: SampleForm, rows: Callable[[SampleFile], Iterator[ResultRow | UnreadLine]]
) -> Iterator[ResultLog]:
    """Yield a log for each model and task.

    Raises:
        UsageError: there are no samples, or a header cannot be read.
    """
    samples = list(_newest_samples(path, form.samples))
    if not samples:
        raise UsageError(
            f"{path}: no {form.files}; run {form.tool} with --log_samples, and name its output "
            "folder"
        )
    for sample in samples:
        header_file = sample.file.with_name(form.header.format(date=sample.date))
        header = json_document(header_file) if header_file.is_file() else {}
        if not isinstance(header, dict):
            raise UsageError(
                f"{header_file}: not a JSON object; name the output folder of {form.tool}"
            )
        sample = replace(sample, header=header)
        yield ResultLog(
            tool=form.tool,
            tool_version=text_of(header.get(form.version)),
            run=sample.run,
            model=text_of(header.get("model_name") or dict_at(header, "config").get("model")),
            tasks=(sample.task,),
            settings=_run_settings(header),
            task_settings={sample.task: _task_settings(header, sample.task)},
            traits=_score_traits(header, sample.task, sample.filters if form.filters else ()),
            notes=sample.notes,
            rows=partial(rows, sample),
        )


def _run_settings(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of all tasks; empty if the run has no header."""
    if not header:
        return {}
    config = dict_at(header, "config")
    return {
        "chat template": header.get("chat_template_sha"),
        "system instruction": header.get("system_instruction_sha"),
        **({"gen_kwargs": without_seed(config.get("gen_kwargs"))} if config else {}),
        **({"model_args": sampling_of(_arguments(config.get("model_args")))} if config else {}),
    }


def _task_settings(header: Mapping[str, Any], task: str) -> dict[str, Any]:
    """Return what decides how the answers of a task are generated and scored."""
    config = dict_at(dict_at(header, "configs"), task)
    generation = without_seed(config.get("generation_kwargs"))
    return {
        **{name: dict_at(header, at).get(task) for at, name in HEADERS if at in header},
        **{name: _without_address(value) for name, value in fields_of(config, RULES).items()},
        **({"generation_kwargs": generation} if config else {}),
    }


def _score_traits(
    header: Mapping[str, Any], task: str, filters: Sequence[str]
) -> dict[str, ScoreTraits]:
    """Return the traits of a task's scores, `task/metric,filter` → traits."""
    config = dict_at(dict_at(header, "configs"), task)
    better = dict_at(dict_at(header, "higher_is_better"), task)
    listed = [value_at(entry, "metric") for entry in list_at(config, "metric_list")]
    names = [name for name in listed if isinstance(name, str) and name not in better]
    return {
        f"{task}/{metric}{f',{name}' if name else ''}": ScoreTraits(
            higher_is_better=value if isinstance(value := better.get(metric), bool) else None,
            range=(0.0, 1.0) if metric in SHARES else None,
            rule={
                "metric": _without_address(_named(config.get("metric_list"), "metric", metric)),
                **({"filter": _named(config.get("filter_list"), "name", name)} if name else {}),
            },
        )
        for metric in [*better, *names]
        for name in filters or [""]
    }


def _named(entries: Any, key: str, name: str) -> Any:
    """Return the entry of a configuration with a name; all of them if none has it."""
    listed = entries if isinstance(entries, list) else []
    return next((entry for entry in listed if value_at(entry, key) == name), entries)


def _without_address(value: Any) -> Any:
    """Return a value of a configuration without the addresses of its functions."""
    if isinstance(value, str):
        return _ADDRESS.sub(">", value)
    if isinstance(value, Mapping):
        return {name: _without_address(part) for name, part in value.items()}
    return [_without_address(part) for part in value] if isinstance(value, list) else value


def _arguments(given: Any) -> Any:
    """Return `model_args`, which is an object or a text `pretrained=x,max_length=2048`."""
    if not isinstance(given, str):
        return given
    parts = (part.partition("=") for part in given.split(","))
    return {name.strip(): _argument(value.strip()) for name, _, value in parts}


def _argument(text: str) -> Any:
    """Return what lm-eval reads: a number or truth value, or the text."""
    try:
        return json.loads(text.lower())
    except ValueError:
        return text
