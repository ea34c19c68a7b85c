"""A classifier: Transformers' `Trainer` on texts with their labels.

```
tunegate train classify --config intents.yaml --peft lora
tunegate gate suites/intents --base majority:rows.jsonl --tuned classifier:.tunegate/intents
```
A row is `{"prompt": "…", "label": "refund"}`, with the second text of a pair as `context`. A text
as label trains one label, a list of texts several, a number a regression. The head is trained as a
whole and saved with the adapter; its labels are in config.json beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from tunegate.harness.records.errors import ModelError, UsageError
from tunegate.harness.records.wording import count_noun
from tunegate.trainers import callbacks, datasets, final_gate, row_lengths
from tunegate.trainers.datasets import TrainingRows
from tunegate.trainers.job import TrainingJob, TrainingMethod

ORDER = 65


@dataclass
class ClassifierArguments:
    """Options that tunegate adds to Transformers' for a classifier."""

    max_length: int = field(
        default=512,
        metadata={"help": "Tokens after which a row is cut off; the model's context at most."},
    )


@dataclass(frozen=True, slots=True)
class Head:
    """The head that the labels of the rows need."""

    problem: str
    """Transformers' `problem_type`."""
    labels: tuple[str, ...] = ()
    """The labels in alphabetical order; empty for a regression."""

    @classmethod
    def of(cls, rows: TrainingRows) -> Head:
        """Return the head that rows need."""
        pairs = zip(rows.rows, rows.places, strict=True)
        kinds = {_PROBLEMS[type(row["label"])]: place for row, place in pairs}
        if len(kinds) > 1:
            (kind, here), (other, there), *_ = kinds.items()
            raise UsageError(
                f"{there}: its label is for {other}, and that of {here} for {kind}; a training "
                "takes one kind: a text, a list of texts, or a number"
            )
        [problem] = kinds
        if problem == "regression":
            return cls(problem)
        labels = {name for row in rows.rows for name in _names(row)}
        if len(labels) < 2:
            raise UsageError(
                f"all rows have the same label {min(labels)!r}; there is nothing to learn"
            )
        return cls(problem, tuple(sorted(labels)))

    def target(self, row: Any, place: str) -> Any:
        """Return a row's label as the loss takes it."""
        if not self.labels:
            return float(row["label"])
        if unknown := sorted({*_names(row)} - {*self.labels}):
            raise UsageError(f"{place}: no row of the training has the label {unknown[0]!r}")
        if self.problem == "single_label_classification":
            return self.labels.index(row["label"])
        return [float(label in row["label"]) for label in self.labels]

    def config(self) -> dict[str, Any]:
        """Return this head's keys of config.json."""
        names = dict(enumerate(self.labels)) or {0: "value"}
        indices = {name: index for index, name in names.items()}
        return {"problem_type": self.problem, "id2label": names, "label2id": indices}


_PROBLEMS = {
    str: "single_label_classification",
    list: "multi_label_classification",
    float: "regression",
}
"""Type of a row's label → Transformers' name of the problem."""


def _names(row: Any) -> list[str]:
    return [row["label"]] if isinstance(row["label"], str) else row["label"]


def _build(job: TrainingJob) -> Any:
    from peft import get_peft_model
    from transformers import AutoModelForSequenceClassification, DataCollatorWithPadding, Trainer

    args, tokenizer = job.config.training, job.tokenizer
    if (job.base.folder / "adapter_config.json").is_file():
        raise ModelError(f"{job.base.name}: is an adapter; give the base that it was trained on")
    head = Head.of(job.rows)
    settings = {name: value for name, value in args.model_init_kwargs.items() if value is not None}
    model: Any = AutoModelForSequenceClassification.from_pretrained(
        job.base.name, **head.config(), **settings, ignore_mismatched_sizes=True
    )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    if (peft_config := job.peft_config()) is not None:
        model = get_peft_model(model, peft_config)

    class ClassifierTrainer(Trainer):
        def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
            super()._save(output_dir, state_dict)
            model.config.save_pretrained(output_dir or args.output_dir)  # PEFT saves no labels

    return ClassifierTrainer(
        model=model,
        args=args,
        train_dataset=_encode(job.rows, job, head),
        eval_dataset=_encode(job.evaluation, job, head) if job.evaluation else None,
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=_accuracy if head.problem == "single_label_classification" else None,
        callbacks=[callbacks.progress_callback(job.say)],
    )


def _encode(rows: TrainingRows, job: TrainingJob, head: Head) -> Any:
    """Return rows as token ids and labels, and warn how many are cut off."""
    from datasets import Dataset  # type: ignore[import-untyped]  # ships no types

    limit = min(job.config.own.max_length, row_lengths.model_context(job) or math.inf)
    encoded, cut = [], 0
    for row, place in zip(rows.rows, rows.places, strict=True):
        ids = job.tokenizer(row["prompt"], row["context"])
        if len(ids["input_ids"]) > limit:
            cut += 1
            ids = job.tokenizer(row["prompt"], row["context"], truncation=True, max_length=limit)
        encoded.append({**ids, "labels": head.target(row, place)})
    if cut:
        job.say(f"warning: {count_noun(cut, 'row')} cut off at max_length={limit}")
    return Dataset.from_list(encoded)


def _accuracy(predicted: Any) -> dict[str, float]:
    return {"accuracy": float((predicted.predictions.argmax(-1) == predicted.label_ids).mean())}


def _next_command(job: TrainingJob, folder: Any) -> str:
    """Return the gate's command, with the most frequent label as the base."""
    suites, rows = job.config.data.eval_suite, job.rows.files[0].path
    return final_gate.gate_command(suites, f"majority:{rows}", f"classifier:{folder}")


METHOD = TrainingMethod(
    name="classify",
    rows=datasets.CLASSES,
    configuration="transformers:TrainingArguments",
    build=_build,
    options=ClassifierArguments,
    kinds=("lora", "dora", "none"),
    task="SEQ_CLS",
    next_command=_next_command,
)
