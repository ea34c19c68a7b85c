"""Checks before the first step of `train sft`: is anything learned, and the end of answers too?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tunegate.harness.records.errors import UsageError
from tunegate.trainers.row_checks.token_findings import (
    HIDDEN_ADVICE,
    doubled_begins,
    endless_answers,
    hidden_names,
)
from tunegate.trainers.row_checks.tokens import IGNORED, RowTokens, TokenizedRows, stop_tokens
from tunegate.trainers.row_lengths import no_rows_left, token_ids

if TYPE_CHECKING:
    from tunegate.trainers.job import TrainingJob

_LOOKED_AT = 1_000
"""Rows that are looked at, the first of the shuffled ones: a twentieth of a second."""


def check_learned(trainer: Any, job: TrainingJob) -> None:
    """Warn of answers whose end is not learned, and refuse to train where nothing is learned."""
    _refuse_masked(trainer, job)
    _refuse_hidden_calls(job)
    limit = trainer.args.max_length
    sample = trainer.train_dataset.with_format("numpy")[:_LOOKED_AT]
    rows = []
    for ids, labels in zip(sample["input_ids"], sample["labels"], strict=True):
        learned = labels != IGNORED
        whole = limit is None or len(ids) < limit
        rows.append(RowTokens("", {}, ids, learned, int(learned.sum()) if whole else 0))
    if trainer.args.packing:
        return
    configured = getattr(trainer.model.generation_config, "eos_token_id", None)
    stops = stop_tokens(configured, job.tokenizer)
    tokens = TokenizedRows(rows, limit, None, stops, job.tokenizer.bos_token_id)
    for finding in (*endless_answers(tokens, job.tokenizer), *doubled_begins(tokens)):
        many = f"{len(finding.places):,} of the first {len(rows):,} rows"
        job.say(f"warning: {many}: {finding.what}; {finding.advice}")


def _refuse_masked(trainer: Any, job: TrainingJob) -> None:
    """Refuse rows without a label; TRL drops those, too, that are masked whatever their length."""
    rows = trainer.train_dataset.with_format("numpy")
    if any((row["labels"] != IGNORED).any() for row in rows):
        return
    limit = trainer.args.max_length
    lengths = (len(token_ids(r["prompt"], job.tokenizer, r.get("tools"))) for r in job.rows.rows)
    if limit is not None and all(length >= limit for length in lengths):
        raise no_rows_left(trainer.args)
    raise UsageError(
        "no token of any row is learned: all labels are masked; `tunegate rows` shows the rows"
    )


def _refuse_hidden_calls(job: TrainingJob) -> None:
    """Refuse a template that leaves out tools or calls: tuned would learn to say nothing."""
    rows = zip(job.rows.places, job.rows.rows, strict=True)
    where, row = next(((place, row) for place, row in rows if "tools" in row), ("", None))
    if row is None:
        return
    turns, tools = row["prompt"] + row["completion"], row["tools"] or None
    text = job.tokenizer.apply_chat_template(turns, tools=tools, tokenize=False)
    if hidden := hidden_names(row, text):
        raise UsageError(f"{where}: the chat template does not show {hidden[0]!r}; {HIDDEN_ADVICE}")
