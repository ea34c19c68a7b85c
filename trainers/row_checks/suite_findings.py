"""Findings on rows beside a suite's cases: what is trained, and what will be asked."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunegate.harness.metrics.language import detect_language
from tunegate.trainers.row_checks.finding import Finding, find
from tunegate.trainers.row_checks.text_findings import RowTexts
from tunegate.trainers.row_checks.tokens import TokenizedRows
from tunegate.trainers.row_lengths import token_ids

if TYPE_CHECKING:
    from tunegate.harness.records.cases import Case
    from tunegate.harness.suite import Suite

LOOKED_AT = 500
"""Texts whose language is detected, spread over all; a share of them is off by 0.045 at most
(two standard errors)."""
_COMMON, _RARE = 0.1, 0.01
"""Share from which a language is common, and up to which it is missing."""
_TAILS = 0.01
"""Share of the rows at either end that are not counted as usual."""
_FACTOR = 2
"""How far outside the usual lengths the suite's middle prompt must be."""


def suite_findings(
    suite: Suite, rows: Sequence[RowTexts], tokens: TokenizedRows, tokenizer: Any
) -> list[Finding]:
    """Return all findings on rows beside one suite, but those of `leaked_cases`."""
    return [
        *other_system_prompts(suite, rows),
        *other_languages(suite, rows),
        *other_lengths(suite, tokens, tokenizer),
    ]


def _messages(suite: Suite, case: Case) -> Sequence[dict[str, Any]]:
    return case.input_messages(suite.generation.system)


def other_system_prompts(suite: Suite, rows: Sequence[RowTexts]) -> list[Finding]:
    """Find rows with a system prompt that no case has, or without one where all cases have one."""
    systems = Counter(_system_of(_messages(suite, case)) for case in suite.plain_cases)
    chats = [row for row in rows if any(role == "user" for role, _ in row.turns)]
    other = [row for row in chats if row.system not in systems]
    if not other:
        return []
    trained = Counter(row.system for row in other).most_common(1)[0][0]
    return find(
        f"system prompt {_shown(trained)}; suite {suite.name} asks with "
        f"{_shown(systems.most_common(1)[0][0])}",
        "train as you ask: tuned has learned to answer under another system prompt",
        [row.where for row in other],
    )


def _system_of(turns: Sequence[dict[str, Any]]) -> str | None:
    texts = (turn["content"] for turn in turns if turn["role"] == "system")
    return next((str(text).strip() for text in texts), None)


def _shown(system: str | None) -> str:
    if system is None:
        return "none"
    return repr(system if len(system) <= 40 else system[:39] + "…")


def other_languages(suite: Suite, rows: Sequence[RowTexts]) -> list[Finding]:
    """Find languages that are common in the suite's prompts and missing in the rows."""
    asked_shares = _shares([_last_turn(_messages(suite, case)) for case in suite.plain_cases])
    trained = _shares([row.asked or row.answer for row in rows])
    missing = [
        language
        for language, share in asked_shares.items()
        if share >= _COMMON and trained.get(language, 0.0) <= _RARE
    ]
    if not missing or not trained:
        return []
    return _suite_wide(
        f"no rows in {', '.join(missing)}: suite {suite.name} asks in {_percent(asked_shares)}; "
        f"rows are in {_percent(trained)}",
        "add rows in the languages that are asked, or expect the answers in another one",
    )


def _last_turn(turns: Sequence[dict[str, Any]]) -> str:
    content = turns[-1].get("content")
    return content if isinstance(content, str) else ""


def _shares(texts: Sequence[str]) -> dict[str, float]:
    """Return language → its share of the texts that are long enough, the most frequent first."""
    step = max(1, len(texts) // LOOKED_AT)
    found = Counter(filter(None, map(detect_language, texts[::step])))
    return {name: count / found.total() for name, count in found.most_common()}


def _percent(shares: dict[str, float]) -> str:
    return ", ".join(f"{name} ({share:.0%})" for name, share in list(shares.items())[:3])


def other_lengths(suite: Suite, tokens: TokenizedRows, tokenizer: Any) -> list[Finding]:
    """Find a suite whose middle prompt is longer or shorter than nearly all rows' prompts."""
    trained = sorted(int((~row.learned).sum()) for row in tokens.rows)
    try:
        prompt_lengths = [
            len(token_ids(list(_messages(suite, case)), tokenizer)) for case in suite.plain_cases
        ]
    except Exception:  # a template raises what it likes on turns that it does not know
        return []
    middle, tail = statistics.median(prompt_lengths), int(_TAILS * len(trained))
    low, high = trained[tail], trained[-1 - tail]
    if low / _FACTOR <= middle <= high * _FACTOR:
        return []
    return _suite_wide(
        f"prompts of suite {suite.name} have {middle:g} tokens in the middle; "
        f"nearly all rows have {low:,} to {high:,}",
        "training rows and cases differ in length: add longer rows or shorter cases",
    )


def _suite_wide(what: str, advice: str) -> list[Finding]:
    """Return a finding that no single row has."""
    return [Finding(what, advice, ())]


def leaked_cases(suites: Sequence[Suite], files: Sequence[str]) -> list[Finding]:
    """Find cases that the rows hold, as the gate would."""
    from tunegate.harness.checks.contamination.check import check_contamination
    from tunegate.harness.checks.contamination.training_rows import find_training_files
    from tunegate.harness.records.contamination import ContaminationMode
    from tunegate.harness.records.training_card import TrainingSummary

    sources = find_training_files(TrainingSummary(), None, [Path(file) for file in files])
    checked = check_contamination(suites, sources, mode=ContaminationMode.REPORT)
    findings = []
    for suite in checked.suites:
        findings += find(
            f"{len(suite.touched)} of {suite.n_cases} cases of suite {suite.name} are in the rows",
            "train without these rows: the gate leaves such cases out, or refuses the run",
            [f"{match.where} ({match.case})" for match in suite.matches if match.touched],
        )
    return findings
