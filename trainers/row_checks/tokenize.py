"""Tokens of training rows and which of them are learned, as TRL's own trainer prepares them.

TRL's trainer needs a model, and what it makes of rows does not depend on it. So it gets one layer
of random weights, and rows are looked at on a machine that could not load the real one.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tunegate.trainers import row_lengths, sft, train
from tunegate.trainers.row_checks.tokens import IGNORED, RowTokens, TokenizedRows, stop_tokens

if TYPE_CHECKING:
    from tunegate.trainers.job import TrainingJob

_BATCH = 64


def tokenize_rows(job: TrainingJob) -> TokenizedRows:
    """Return the rows of a training in tokens; its model is not loaded."""
    from datasets import Dataset  # type: ignore[import-untyped]  # ships no types

    args, rows = job.config.training, job.rows
    dataset = rows.to_dataset().add_column("row", list(range(len(rows.rows))))
    ids, labels = _by_row(_prepare(job, dataset, max_length=None))
    cut = Dataset.from_dict({"input_ids": ids, "labels": labels, "row": list(range(len(ids)))})
    limit = None if args.packing else args.max_length  # packing cuts elsewhere
    left = _prepare(job, cut, max_length=limit, assistant_only_loss=False)
    kept = dict.fromkeys(range(len(ids)), 0)
    for row in left.train_dataset.with_format("numpy"):
        kept[int(row["row"])] = int((row["labels"] != IGNORED).sum())
    tokenized = [
        RowTokens(where, row, ids[i], labels[i] != IGNORED, kept[i])
        for i, (where, row) in enumerate(zip(rows.places, rows.rows, strict=True))
    ]
    bos = job.tokenizer.bos_token_id
    return TokenizedRows(tokenized, limit, row_lengths.model_context(job), _stops(job), bos)


def _stops(job: TrainingJob) -> frozenset[int]:
    """Return the tokens at which the model's generation stops."""
    from transformers import AutoConfig, GenerationConfig

    try:
        configured = GenerationConfig.from_pretrained(job.base.name)
    except OSError:
        configured = AutoConfig.from_pretrained(job.base.name)
    return stop_tokens(configured.eos_token_id, job.tokenizer)


_ONE_ROW_A_SEQUENCE = {"packing": False, "padding_free": False, "shuffle_dataset": False}
_NOTHING_ELSE = {
    "report_to": [],
    "push_to_hub": False,
    "eval_strategy": "no",
    "load_best_model_at_end": False,
    "use_liger_kernel": False,
    "activation_offloading": False,
    "gradient_checkpointing": False,
    "router_aux_loss_coef": None,
    "model_init_kwargs": None,
}
"""Options that change no row, and ask for what a look at rows does not need."""


def _prepare(job: TrainingJob, rows: Any, **options: Any) -> Any:
    """Return TRL's trainer on these rows."""
    args = copy.copy(job.config.training)
    with tempfile.TemporaryDirectory() as folder, train.explain_refusals(args):
        settings = {**_ONE_ROW_A_SEQUENCE, **_NOTHING_ELSE, **options, "output_dir": folder}
        for name, value in settings.items():
            if hasattr(args, name):
                setattr(args, name, value)
        model = _stand_in(job.tokenizer)
        return sft.make_trainer(
            args, model=model, train_dataset=rows, processing_class=job.tokenizer
        )


def _stand_in(tokenizer: Any) -> Any:
    """Return a model of one layer with the tokenizer's vocabulary."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
    )
    return LlamaForCausalLM(config)


def _by_row(trainer: Any) -> tuple[list[Any], list[Any]]:
    """Return the tokens and labels of each row, in the order of the rows, as they are collated."""
    pairs = sorted(_collated(trainer), key=lambda found: found[0])
    return [ids for _, ids, _ in pairs], [labels for _, _, labels in pairs]


def _collated(trainer: Any) -> Iterator[tuple[int, Any, Any]]:
    table = trainer.train_dataset.with_format("numpy")
    for start in range(0, len(table), _BATCH):
        rows = [table[i] for i in range(start, min(start + _BATCH, len(table)))]
        parts = [{"input_ids": row["input_ids"], "labels": row["labels"]} for row in rows]
        labels = trainer.data_collator(parts)["labels"].numpy()
        for row, padded in zip(rows, labels, strict=True):
            yield int(row["row"]), row["input_ids"], padded[: len(row["input_ids"])]
