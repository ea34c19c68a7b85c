"""Results of HELM: a run's folder (`run_spec.json`, `per_instance_stats.json`, …), or a suite's.

Scores are the statistics of an instance by their names, except those that describe the request
(`num_prompt_tokens`). HELM scores a request that an API refused as an empty answer; here it is
unscored. So is a statistic that an instance lacks: HELM removes NaN.

Instances of splits other than `test` are a task of their own, and a perturbed one has the id
`ID+PERTURBATION`. With several sets of few-shot examples (`num_train_trials`) each is a sample, and
two runs are compared by the question instead of the whole prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
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
    value_at,
)
from tunegate.harness.records.errors import UsageError
from tunegate.harness.results._files import json_document
from tunegate.harness.results._values import (
    convert_scores,
    dict_at,
    fields_of,
    is_conversation,
    list_at,
    row_fields,
    text_of,
)

FILES = ("run_spec.json", "scenario_state.json", "per_instance_stats.json")
MODEL_ARGUMENT = re.compile(r"(?<=[:,])(model|model_deployment)=[^,]*(,|$)")
OWN = ("model", "model_deployment", "max_eval_instances")
"""Fields of the adapter that may differ between the runs."""
DESCRIBES = re.compile(
    r"num_\w+|finish_reason_\w+|training_\w+|inference_\w+|batch_size|prompt_truncated|max_prob"
    r"|predicted_index"
)
"""Statistics of the request, not scores of the answer."""

NOT_BY_TEXT = ("logprob", "logprob_per_byte", "bits_per_byte", "perplexity", "num_bytes")
"""Statistics of likelihoods."""
SHARES = frozenset(
    {
        "exact_match", "quasi_exact_match", "quasi_leave_articles_exact_match",
        "prefix_exact_match", "quasi_prefix_exact_match", "exact_match_indicator",
        "final_number_exact_match", "exact_set_match", "iou_set_match", "f1_set_match",
        "math_equiv", "math_equiv_chain_of_thought", "f1_score", "rouge_1", "rouge_2", "rouge_l",
        "bleu_1", "bleu_4",
    }
)  # fmt: skip
"""Statistics that are 0 to 1, more being better (`evaluate_reference_metrics.py`)."""


def _folders(path: Path) -> list[Path]:
    inside = [path] if path.is_dir() else []
    below = sorted(each for each in path.glob("*") if each.is_dir()) if inside else []
    return [one for one in [*inside, *below] if all((one / name).is_file() for name in FILES)]


@result_reader(
    files="a run's folder with per_instance_stats.json", recognize=lambda path: bool(_folders(path))
)
def helm(path: Path) -> Iterator[ResultLog]:
    """Yield the runs of a folder, named by their model if there are several."""
    specs = [(folder, _spec(folder)) for folder in _folders(path)]
    models = {_model(spec) for _, spec in specs}
    for folder, spec in specs:
        model, task, adapter = _model(spec), _task(spec), dict_at(spec, "adapter_spec")
        settings = {name: value for name, value in adapter.items() if name not in OWN}
        settings |= fields_of(spec, ("annotators",))
        settings["metrics"] = _without_devices(spec.get("metric_specs"))
        if spec.get("annotators"):
            settings["kinds of annotations"] = _annotations(folder)
        yield ResultLog(
            tool="HELM",
            rows=partial(_rows, folder, task, adapter),
            run="" if len(models) == 1 else model,
            model=model or None,
            tasks=(task, f"{task}/valid"),
            task_settings={task: settings, f"{task}/valid": settings},
            traits={
                name + at: ScoreTraits(higher_is_better=True, range=(0.0, 1.0))
                for name in SHARES
                for at in ("", f"@{adapter.get('num_outputs')}")
            }
            | {name: ScoreTraits(deterministic=False) for name in NOT_BY_TEXT},
            repeats=True,
        )


def _spec(folder: Path) -> Mapping[str, Any]:
    found = json_document(folder / FILES[0])
    if not isinstance(found, dict) or not isinstance(found.get("adapter_spec"), dict):
        raise UsageError(f"{folder / FILES[0]}: no adapter_spec; HELM writes it as a run ends")
    return found


def _without_devices(value: Any) -> Any:
    """Return metrics without the device that they run on."""
    if isinstance(value, Mapping):
        return {name: _without_devices(one) for name, one in value.items() if name != "device"}
    return [_without_devices(one) for one in value] if isinstance(value, list) else value


def _annotations(folder: Path) -> list[str]:
    """Return the names of all annotations: those of judges have a name of the model in them."""
    states = list_at(json_document(folder / FILES[1]), "request_states")
    found = {
        f"{annotator}.{key}"
        for state in states
        for annotator, parts in dict_at(state, "annotations").items()
        for key in (parts if isinstance(parts, Mapping) else ())
    }
    return sorted(name for name in found if not name.endswith(".empty_output_score"))


def _model(spec: Mapping[str, Any]) -> str:
    return text_of(value_at(spec, "adapter_spec.model")) or ""


def _task(spec: Mapping[str, Any]) -> str:
    """Return the run's name without its model: `mmlu:subject=anatomy`."""
    name = text_of(spec.get("name")) or ""
    return MODEL_ARGUMENT.sub("", name).rstrip(":,")


def _rows(folder: Path, task: str, adapter: Mapping[str, Any]) -> Iterator[ResultRow | UnreadLine]:
    states: dict[str, list[Mapping[str, Any]]] = {}
    for state in list_at(json_document(folder / FILES[1]), "request_states"):
        instance = dict_at(state, "instance")
        key = _key(instance.get("id"), instance.get("perturbation"), state)
        states.setdefault(key, []).append(state)
    file = folder / FILES[2]
    several = adapter.get("num_train_trials") not in (None, 1)
    records = json_document(file)
    if not isinstance(records, list):
        raise UsageError(f"{file}: must be a list; run HELM again")
    for number, record in enumerate(records):
        where = f"{file}: [{number}]"
        if not isinstance(record, dict) or not isinstance(record.get("stats"), list):
            yield UnreadLine(where, "no statistics of an instance")
            continue
        key = _key(record.get("instance_id"), record.get("perturbation"), record)
        yield _row(where, record, states.get(key, []), task, several)


def _key(instance: Any, perturbation: Any, record: Any) -> str:
    return content_id([instance, perturbation, value_at(record, "train_trial_index")])


def _row(
    where: str,
    record: Mapping[str, Any],
    states: Sequence[Mapping[str, Any]],
    task: str,
    several: bool,
) -> ResultRow:
    values = {
        text_of(value_at(stat, "name.name")): value_at(stat, "mean") for stat in record["stats"]
    }
    scores, errors = convert_scores(
        {name: value for name, value in values.items() if name and not DESCRIBES.fullmatch(name)}
    )
    state = states[0] if states else {}
    instance = dict_at(state, "instance")
    split = text_of(instance.get("split"))
    trial = record.get("train_trial_index")
    whole = None if len(states) == 1 else [value_at(each, "request.prompt") for each in states]
    return ResultRow(
        id=_name(record),
        where=where,
        task=task if split in (None, "test") else f"{task}/{split}",
        sample=trial if isinstance(trial, int) else None,
        prompt=_question(instance) if several else _prompt(state) if whole is None else None,
        prompt_sha256=content_id(whole, length=64) if whole else None,
        completion=text_of(value_at(state, "result.completions.0.text"))
        if len(states) == 1
        else None,
        whole=not state.get("annotations") and len(list_at(state, "result.completions")) == 1,
        scores=scores,
        errors=errors,
        error=_failure(states),
        expected=_right_answers(instance),
        fields={"instance": instance, "perturbation": record.get("perturbation")},
        **row_fields(values, output_tokens="num_output_tokens", latency_s="inference_runtime"),
    )


def _name(record: Mapping[str, Any]) -> str:
    name = text_of(record.get("instance_id")) or "instance"
    changed = dict_at(record, "perturbation")
    if not changed:
        return name
    seed = changed.get("seed")
    kind = text_of(changed.get("name")) or "perturbed"
    return f"{name}+{kind}" if seed is None else f"{name}+{kind}.{seed}"


def _prompt(state: Mapping[str, Any]) -> str | Sequence[Mapping[str, Any]] | None:
    turns = list_at(state, "request.messages")
    if turns and is_conversation(turns):
        return turns
    return text_of(value_at(state, "request.prompt"))


def _question(instance: Mapping[str, Any]) -> str | None:
    """Return the question with its choices, without the examples before it."""
    asked = text_of(value_at(instance, "input.text"))
    choices = [_reference_text(one) for one in list_at(instance, "references")]
    return None if asked is None else "\n".join([asked, *choices] if len(choices) > 1 else [asked])


def _failure(states: Sequence[Mapping[str, Any]]) -> str | None:
    """Return why a request of the instance failed, or None."""
    if not states:
        return "no request of this instance is in scenario_state.json"
    for state in states:
        if value_at(state, "result.success") is not True:
            return text_of(value_at(state, "result.error")) or "the request failed"
    return None


def _reference_text(reference: Any) -> str:
    return text_of(value_at(reference, "output.text")) or ""


def _right_answers(instance: Mapping[str, Any]) -> str | Sequence[str] | None:
    right = [
        _reference_text(reference)
        for reference in list_at(instance, "references")
        if "correct" in (value_at(reference, "tags") or ())
    ]
    return (right[0] if len(right) == 1 else right) or None
