"""Whether the answer is in the language that was asked for."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from tunegate.harness.contracts.metric import metric
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import MissingExtra, unknown_name_message
from tunegate.harness.records.scores import Score

_SHORTEST = 20
_WITHIN = {
    "zh": {"wuu", "yue"}, "ar": {"ary", "arz"}, "no": {"nn"}, "uz": {"uzs"},
    "bs": {"hr"}, "hr": {"bs"}, "sr": {"bs", "hr"}, "id": {"ms"}, "ms": {"id"},
}  # fmt: skip
"""Language → languages that also count as it: ISO 639-3 has them as part of it, or both as parts of
one (Serbo-Croatian, Malay). Serbian in Cyrillic stays apart from Bosnian and Croatian."""
_NO_LANGUAGE = "zxx"
"""The detector's code for text in no language (ISO 639: no linguistic content)."""


def _check(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
    try:
        codes = _labels()
    except MissingExtra as error:
        return [str(error)]
    among = tuple(options.get("among") or ())
    problems = [
        unknown_name_message(code, codes, what="language code")
        for code in among
        if code not in codes
    ]
    if options.get("least_letters", _SHORTEST) < 1:
        problems.append(f"least_letters={options['least_letters']}: give 1 or more")
    allowed = among or codes
    general, key = options.get("expected"), options.get("key")
    if general is not None and key is not None:
        return [*problems, f"expected={general!r} with key={key!r}: give one of them"]
    if general is not None:
        return problems + _strange(f"expected={general!r}", (general,), allowed)
    naming = "an 'expected' such as \"de\"" if key is None else f'a tag such as "{key}:de"'
    for case in cases:
        codes_named = _languages(case, key)
        if not codes_named:
            problems.append(
                f"case {case.id!r} names no language: give it {naming}, or the metric the option "
                "expected"
            )
        problems += _strange(f"case {case.id!r}", codes_named, allowed)
    return problems


def _languages(case: Case, key: str | None) -> tuple[str, ...]:
    """Return the languages that a case names, in its tags with a key or as expected answers."""
    if key is None:
        return case.expected_texts()
    start = f"{key}:"
    return tuple(tag.removeprefix(start) for tag in case.tags if tag.startswith(start))


def _strange(where: str, codes: Sequence[str], allowed: tuple[str, ...]) -> list[str]:
    strange = (code for code in codes if code not in allowed)
    return [
        f"{where}: {unknown_name_message(code, allowed, what='language code')}" for code in strange
    ]


@metric(label="answers in the right language", binary=True, check=_check)
def language(
    case: Case,
    completion: Completion,
    *,
    expected: str | None = None,
    key: str | None = None,
    among: tuple[str, ...] = (),
    least_letters: int = _SHORTEST,
) -> Score:
    """Score 1 if the answer is in the expected language, else 0.

    py3langid detects one of 139 languages, ignoring code fences. Answers of fewer than 20 letters
    are unscored (vowel signs count as letters, and a Chinese, Japanese or Korean letter as three).
    Dialects count as their language: `yue` is `zh`. Croatian and Bosnian count as each other and as
    Serbian: the detector calls 24 % of 2,076 Croatian and 72 % of 1,048 Serbian sentences Bosnian
    (Universal Dependencies, SET). Indonesian and Malay count as each other, too.

    Known problems:
        Close languages are mixed up in short texts; `among` helps. Lists of names have no language
        (`zxx`) and score 0.

    Example:
        ```toml
        [[metrics]]
        use = "language"
        expected = "de"
        among = ["de", "en", "fr"]
        ```

    Options:
        expected: ISO 639 code for all cases; without it each case's `expected` names one or
            several.
        key: Key of tags that name it instead: with `language` the tag `language:de` means German.
            Use it where `expected` is the answer.
        among: Codes that can occur; the detector chooses among these only.
        least_letters: Letters below which an answer is unscored; fewer do with a short `among`.
    """
    wanted = (expected,) if expected is not None else _languages(case, key)
    if completion.text is None:
        return Score.unscored("the completion has no text")
    if not wanted:
        return Score.unscored("no language is expected")
    letters = _count_letters(completion.text)
    if letters < least_letters:
        wanting = f"{letters} letters of {least_letters}"
        return Score.unscored(f"too short to detect its language: {wanting}")
    code_found, confidence = _detector(among).classify(_without_code(completion.text))
    right = code_found in wanted or any(code_found in _WITHIN.get(code, ()) for code in wanted)
    seen = "no language" if code_found == _NO_LANGUAGE else code_found
    return Score.of(float(right), f"detected {seen} (confidence {confidence:.2f})")


def detect_language(text: str) -> str | None:
    """Return the language of a text; None if it is too short, or in no language.

    Of languages that the detector mixes up it is always the same one: dialects are their language.

    Raises:
        MissingExtra: py3langid is not installed.
    """
    if _count_letters(text) < _SHORTEST:
        return None
    code: str = _detector(()).classify(_without_code(text))[0]
    if code == _NO_LANGUAGE:
        return None
    return min([k for k, within in _WITHIN.items() if code in {k, *within}], default=code)


def _without_code(text: str) -> str:
    return "".join(text.split("```")[::2])


def _count_letters(text: str) -> int:
    return sum(_weight(c) for c in _without_code(text) if unicodedata.category(c)[0] in "LM")


def _weight(letter: str) -> int:
    """Return 3 for a letter that Unicode calls wide (Han, kana, Hangul): one is worth three."""
    return 3 if unicodedata.east_asian_width(letter) == "W" else 1


@lru_cache(maxsize=8)
def _detector(among: tuple[str, ...]) -> Any:
    """Return a detector of its own for each choice of languages: choosing changes its state."""
    try:
        from py3langid import langid
    except ImportError as error:
        raise MissingExtra("the metric 'language'", "metrics") from error
    detector = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
    detector.set_languages(among or None)
    return detector


def _labels() -> tuple[str, ...]:
    return tuple(sorted(set(_detector(()).labels) - {_NO_LANGUAGE}))
