"""Whether the answer contains what it must."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tunegate.harness.contracts.metric import metric
from tunegate.harness.metrics._json_parsing import shorten_text
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score
from tunegate.harness.records.wording import count_noun


def _check(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
    if texts := options.get("texts"):
        return _empty("the option texts", texts)
    problems = [
        f"metric 'contains' has nothing to look for in case {case.id!r}; give the metric the "
        'option texts = ["…"], or the case an "expected"'
        for case in cases
        if not case.expected_texts()
    ]
    return problems + [
        text for case in cases for text in _empty(f"case {case.id!r}", case.expected_texts())
    ]


def _empty(where: str, texts: Sequence[str]) -> list[str]:
    if all(text.strip() for text in texts):
        return []
    return [f"metric 'contains': {where}: an empty text is in every answer; write what must be"]


def _caveats(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
    """Return the first case in which one letter is enough."""
    loose = [
        (case, text)
        for case in cases
        for text in options.get("texts") or case.expected_texts()
        if len(text.strip()) == 1 and text.strip().isascii() and text.strip().isalpha()
    ]
    return [
        f"{case.where}: metric 'contains' looks for the letter {text!r}, which is in almost any "
        f"answer ({len({case.id for case, _ in loose})} of {count_noun(len(cases), 'case')}); use "
        rf"exact_match, or regex with \b{text.strip()}\b"
        for case, text in loose[:1]
    ]


@metric(label="answers with the required text", binary=True, check=_check, caveats=_caveats)
def contains(
    case: Case,
    completion: Completion,
    *,
    texts: tuple[str, ...] = (),
    mode: Literal["any", "all"] = "any",
    ignore_case: bool = False,
    ignore_whitespace: bool = False,
) -> Score:
    r"""Score 1 if the answer contains the expected text, else 0.

    Looks for the case's expected texts, or for `texts` in every case, character by character.

    Known problems:
        Parts of words count: `know` contains `no`. Use `regex` with `\bno\b` for words.

    Example:
        With `texts = ["not legal advice"]`, the answer `This is not legal advice.` scores 1.

    Options:
        texts: Texts to find in every case, instead of the cases' expected texts.
        mode: `any` wants at least one of the texts, `all` every one.
        ignore_case: Ignore case.
        ignore_whitespace: Treat any run of white space as one space.
    """
    if completion.text is None:
        return Score.unscored("the completion has no text")

    def plain(text: str) -> str:
        text = text.casefold() if ignore_case else text
        return " ".join(text.split()) if ignore_whitespace else text

    wanted = texts or case.expected_texts()
    if not wanted:
        return Score.unscored("there is nothing to look for: no texts, no expected answer")
    answer = plain(completion.text)
    missing = [text for text in wanted if plain(text) not in answer]
    if not missing or (mode == "any" and len(missing) < len(wanted)):
        return Score.of(1.0)
    return Score.of(0.0, f"missing: {shorten_text(', '.join(map(repr, missing)))}")
