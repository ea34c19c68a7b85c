"""Texts, scorers and signatures for BLEU, chrF and TER, by sacrebleu."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any, Literal

from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import MissingExtra
from tunegate.harness.records.scores import Score


def check_expected_texts(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
    """Return a problem for each case with an empty expected text.

    Raises:
        MissingExtra: sacrebleu is not installed.
    """
    try:
        import sacrebleu  # noqa: F401  # is it there?
    except ImportError as error:
        raise MissingExtra("a metric of sacrebleu", "metrics") from error
    return [f"case {case.id!r}: an expected text is empty" for case in cases if _blank(case)]


def unscored_reason(case: Case, completion: Completion) -> Score | None:
    """Return an unscored score if there is nothing to compare."""
    if completion.text is None:
        return Score.unscored("the completion has no text")
    if not case.expected_texts():
        return Score.unscored("the case has no expected answer")
    return Score.unscored("an expected text is empty") if _blank(case) else None


@cache
def scorer(name: Literal["BLEU", "CHRF", "TER"], **options: Any) -> Any:
    """Return one of sacrebleu's metrics."""
    return getattr(import_module(f"sacrebleu.metrics.{name.lower()}"), name)(**options)


def signature(
    name: Literal["BLEU", "CHRF", "TER"], options: Mapping[str, Any], cases: Sequence[Case]
) -> str:
    """Return sacrebleu's signature of one of its metrics on these cases."""
    counts = {len(case.expected_texts()) for case in cases}
    used = scorer(name, **options)
    used.num_refs = counts.pop() if len(counts) == 1 else -1  # -1 is written "var"
    return str(used.get_signature())


def _blank(case: Case) -> bool:
    return not all(text.strip() for text in case.expected_texts())
