"""One look at training rows: everything that is known of them before a model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tunegate.harness.records.errors import MissingExtra, UsageError, error_reason
from tunegate.trainers import base_model, datasets, row_lengths, sft, train
from tunegate.trainers.arguments import TrainingConfig, parse_arguments
from tunegate.trainers.datasets import TrainingRows
from tunegate.trainers.job import TrainingJob
from tunegate.trainers.row_checks import suite_findings, suite_scores
from tunegate.trainers.row_checks.finding import Finding, find
from tunegate.trainers.row_checks.text_findings import RowTexts, text_findings
from tunegate.trainers.row_checks.token_findings import token_findings, token_notes
from tunegate.trainers.row_checks.tokenize import tokenize_rows
from tunegate.trainers.row_checks.tokens import TokenizedRows

if TYPE_CHECKING:
    from tunegate.harness.suite import Suite

_WITHOUT_GPU = [
    "--use_cpu=true",
    "--bf16=false",
    "--fp16=false",
    "--tf32=false",
    "--report_to=none",
]
"""Flags over those of a configuration that was written for a machine with a GPU."""
_TOKENIZER_FILES = ("*.json", "*.jinja", "*.model", "*.txt")


@dataclass(frozen=True, slots=True)
class RowReport:
    """What a training would make of the rows."""

    tokens: TokenizedRows | None = field(repr=False)
    """None if TRL cannot prepare them."""
    tokenizer: Any = field(repr=False)
    findings: Sequence[Finding]
    notes: Sequence[str]

    @property
    def teaches(self) -> bool:
        """Whether a token would be learned."""
        return self.tokens is not None and any(row.kept for row in self.tokens.rows)


def look_at_rows(
    files: Sequence[str], model: str | None, config: str | None, suites: Sequence[Suite]
) -> RowReport:
    """Return what `tunegate train sft` would make of rows.

    Args:
        files: Files of rows; none takes those of the configuration.
        model: Folder or name of the model; None takes that of the configuration.
        config: Configuration of `tunegate train sft`.
        suites: Suites that tuned is to be judged on.
    """
    settings = _settings(files, model, config)
    name, revision = str(settings.model.model_name_or_path), settings.model.model_revision
    folder = base_model.find_model_folder(
        name, revision, option="--model", patterns=_TOKENIZER_FILES
    )
    base_model.refuse_adapter(name, folder)
    base = base_model.BaseModel(str(folder), folder, weights_sha256="")
    tokenizer = train.load_tokenizer(settings, base.name)
    rows, findings = _read(settings.data.train_files)
    notes: list[str] = []
    job = TrainingJob(settings, base, tokenizer, rows, None, notes.append)
    row_lengths.fit_into_context(job)
    texts = [RowTexts.of(*row) for row in zip(rows.places, rows.rows, strict=True)]
    tokens, refused = _tokenize(job)
    findings += refused
    if tokens is None:
        return RowReport(tokens, tokenizer, findings, notes)
    findings += [*token_findings(tokens, tokenizer), *text_findings(texts)]
    notes += token_notes(tokens, tokenizer)
    if suites:
        findings += suite_findings.leaked_cases(suites, settings.data.train_files)
    for suite in suites:
        try:
            findings += suite_findings.suite_findings(suite, texts, tokens, tokenizer)
        except MissingExtra as error:
            notes.append(f"languages are not compared: {error}")
        findings += suite_scores.failing_answers(suite, texts)
        notes += filter(None, [suite_scores.unscored_note(suite)])
    return RowReport(tokens, tokenizer, findings, notes)


def _settings(files: Sequence[str], model: str | None, config: str | None) -> TrainingConfig:
    argv = [*_WITHOUT_GPU]
    argv += [f"--config={config}"] if config else []
    argv += [f"--model_name_or_path={model}"] if model else []
    argv += ["--train_files", *files] if files else []
    settings = parse_arguments(train.method_parser(sft.METHOD, "tunegate rows"), argv)
    if not settings.data.train_files:
        raise UsageError("FILES: missing; give files of rows, or --config with train_files")
    if not settings.model.model_name_or_path:
        raise UsageError("--model: missing; give a folder, a hub id or 'embedded'")
    return settings


def _read(paths: Sequence[str]) -> tuple[TrainingRows, list[Finding]]:
    """Return the rows that can be trained on, in the order of the files, and a finding on others.

    Raises:
        UsageError: no row can be trained on, or chats and texts are mixed.
    """
    rows, files, problems = datasets.read_files(paths, datasets.COMPLETIONS)
    if not rows or len({datasets.is_text(row) for _, row in rows}) == 2:
        datasets.raise_all(problems)
    places, values = zip(*rows, strict=True)
    unusable = find(
        "cannot be trained on, and train sft refuses the file",
        problems[0].partition(": ")[2] if problems else "",
        [problem.partition(": ")[0] for problem in problems],
    )
    return TrainingRows(values, tuple(files), places), unusable


def _tokenize(job: TrainingJob) -> tuple[TokenizedRows | None, list[Finding]]:
    """Return the rows in tokens, and findings on rows and templates that TRL refuses."""
    try:
        return tokenize_rows(job), []
    except train.NothingLearned as error:
        what, _, advice = str(error).partition(", so nothing would be learned; ")
        return None, find(what, advice, job.rows.places)
    except train.TemplateRefusal:
        good, findings = _split_refused(job)
        return (tokenize_rows(good) if good.rows.rows else None), findings


def _split_refused(job: TrainingJob) -> tuple[TrainingJob, list[Finding]]:
    """Return the training without the rows that the chat template refuses, and these."""
    from jinja2 import TemplateError

    kept, refused, reason = [], [], ""
    for where, row in zip(job.rows.places, job.rows.rows, strict=True):
        try:
            for turns in (row["prompt"], row["prompt"] + row["completion"]):
                row_lengths.token_ids(turns, job.tokenizer, row.get("tools"))
        except TemplateError as error:
            reason = reason or error_reason(error)
            refused.append(where)
        else:
            kept.append((where, row))
    places, values = zip(*kept, strict=True) if kept else ((), ())
    findings = find("the chat template refuses it, and train sft stops", reason, refused)
    return replace(job, rows=TrainingRows(values, job.rows.files, places)), findings
