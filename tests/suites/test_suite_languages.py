"""The bundled suites of `languages`: texts in ten languages, each in its script, and its gates."""

from __future__ import annotations

import io
import json
import random
import shutil
import unicodedata
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.decision.planning.advisory_gates import advisory_notes, is_advisory
from tunegate.harness.decision.planning.ship_probability import plan_suite
from tunegate.harness.decision.planning.unreachable_gates import unreachable_gates
from tunegate.harness.metrics.language import detect_language, language
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.gate_results import GateStatus
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.verdict import SuiteResult, Verdict
from tunegate.harness.run.evaluate import evaluate
from tunegate.harness.run.options import RunOptions
from tunegate.harness.suite import Suite, load_suite

FOLDER = Path(__file__).parents[2] / "suites/languages"
NAMES = ("facts", "answers")
SCRIPTS = {
    "es": {"LATIN"},
    "fr": {"LATIN"},
    "de": {"LATIN"},
    "pt": {"LATIN"},
    "ru": {"CYRILLIC"},
    "id": {"LATIN"},
    "ar": {"ARABIC"},
    "hi": {"DEVANAGARI"},
    "zh": {"CJK"},
    "ja": {"CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"},
}
"""Language → first words of the Unicode names of its letters."""
WITHOUT_SPACES = {"zh", "ja"}
ENGLISH = (
    "Thank you for your message. I am happy to help you with this, and here is what I would do "
    "first of all."
)


@cache
def bundled(name: str) -> Suite:
    """Return one of the two suites."""
    return load_suite(FOLDER / name)


def language_of(case: Case) -> str:
    """Return the language that the id of a case begins with."""
    return case.id.partition("-")[0]


def texts(case: Case) -> list[str]:
    """Return all that a case lets the model read, or compares with it."""
    return [case.prompt or "", *case.expected_texts(), *(case.choices or ())]


def script(letter: str) -> str:
    """Return the first word of a letter's Unicode name."""
    return unicodedata.name(letter).partition(" ")[0]


@pytest.mark.parametrize(("name", "count"), [("facts", 32), ("answers", 24)])
def test_every_language_has_as_many_cases(name: str, count: int) -> None:
    cases = bundled(name).cases

    assert Counter(map(language_of, cases)) == dict.fromkeys(SCRIPTS, count)
    assert [case.tags for case in cases] == [(f"language:{language_of(case)}",) for case in cases]
    kind = name.removesuffix("s")
    numbers = [f"{code}-{kind}-{i:02}" for code in SCRIPTS for i in range(1, count + 1)]
    assert [case.id for case in cases] == numbers


@pytest.mark.parametrize("name", NAMES)
def test_files_are_composed_unicode_without_stray_characters(name: str) -> None:
    """NFC; no control or format characters, no spaces at the ends or in a row."""
    text = (FOLDER / name / "cases.jsonl").read_text(encoding="utf-8")
    strange = {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Co", "Cn")} - {"\n"}

    assert unicodedata.normalize("NFC", text) == text
    assert strange == set()
    assert "\ufffd" not in text
    for case in bundled(name).cases:
        assert [t for t in texts(case) if t != t.strip() or "  " in t] == []


def test_no_text_is_used_twice() -> None:
    cases = [case for name in NAMES for case in bundled(name).cases]
    counts = Counter(text for case in cases for text in texts(case)[: 1 + (case.choices is None)])

    assert counts.most_common(1)[0][1] == 1


@pytest.mark.parametrize("name", NAMES)
def test_every_letter_is_of_the_script_of_its_language(name: str) -> None:
    strange = [
        (case.id, letter)
        for case in bundled(name).cases
        for text in texts(case)
        for letter in text
        if letter.isalpha() and script(letter) not in SCRIPTS[language_of(case)]
    ]

    assert strange == []


def test_japanese_has_kana_and_chinese_has_none() -> None:
    kana = Counter(
        language_of(case)
        for name in NAMES
        for case in bundled(name).cases
        if any(script(letter) == "HIRAGANA" for letter in case.prompt or "" if letter.isalpha())
    )

    assert kana == {"ja": 32 + 24}


@pytest.mark.parametrize("code", SCRIPTS)
def test_a_detector_of_languages_agrees_with_the_tags(code: str) -> None:
    """Each reference by itself, and all questions and right choices as one text."""
    answers = [case for case in bundled("answers").cases if language_of(case) == code]
    facts = [case for case in bundled("facts").cases if language_of(case) == code]
    asked = " ".join(f"{c.prompt} {(c.choices or ())[c.answer or 0]}" for c in facts)

    wrong = [
        (case.id, score.reason)
        for case in answers
        for text in case.expected_texts()
        if (score := language(case, Completion(text=text), key="language")).value != 1.0
    ]
    assert wrong == []
    assert detect_language(asked) == code


def test_right_choices_cannot_be_told_by_place_or_length() -> None:
    """In each language each place is right 8 times, and at most 10 right choices stand out."""
    for code in SCRIPTS:
        facts = [case for case in bundled("facts").cases if language_of(case) == code]
        places: Counter[int] = Counter()
        longest = shortest = 0
        for case in facts:
            sizes = [len(choice) for choice in case.choices or ()]
            assert (len(sizes), len(set(case.choices or ()))) == (4, 4)
            assert max(sizes) - min(sizes) <= 9
            right = sizes.pop(case.answer or 0)
            places[case.answer or 0] += 1
            longest += right > max(sizes)
            shortest += right < min(sizes)
        assert places == dict.fromkeys(range(4), 8)
        assert max(longest, shortest) <= 10, code


def test_choices_follow_a_space_only_where_the_language_writes_spaces() -> None:
    for case in bundled("facts").cases:
        assert case.delimiter == ("" if language_of(case) in WITHOUT_SPACES else None)
        assert (case.prompt or "")[-1] == ("：" if language_of(case) in WITHOUT_SPACES else ":")


def test_references_have_the_form_that_is_asked() -> None:
    suite = bundled("answers")
    for case in suite.cases:
        (reference,) = case.expected_texts()
        for metric, value in {"sentence_end": 1.0, "loops": 0.0}.items():
            assert suite.metric(metric)(case, Completion(text=reference)).value == value, case.id


@pytest.mark.parametrize("name", NAMES)
def test_the_cases_of_each_language_can_prove_the_gates(name: str) -> None:
    suite = bundled(name)
    unchanged, sound = plan_suite(suite).chances

    assert {gate.tag for gate in suite.gates} == {None, *(f"language:{code}" for code in SCRIPTS)}
    assert list(unreachable_gates(suite)) == []
    assert [gate.id for gate in suite.gates if is_advisory(suite, gate)] == []
    assert list(advisory_notes(suite, arms=())) == []
    assert unchanged > 0.99
    assert sound >= 0.9


def gated(folder: Path, name: str, *, english: set[str], lost: float = 0.0) -> SuiteResult:
    """Judge a fine-tune that lost some languages.

    Args:
        folder: Where the run goes.
        name: The suite.
        english: Languages that tuned answers in English.
        lost: Nats per token that references and right choices lose in them.
    """
    rng = random.Random(0)
    kinds = ("completions", "answer_logprob", "choice_logprobs")
    base: dict[str, dict[str, Any]] = {kind: {} for kind in kinds}
    tuned: dict[str, dict[str, Any]] = {kind: {} for kind in kinds}
    for case in bundled(name).cases:
        drop = lost if language_of(case) in english else 0.0
        if case.choices is None:
            (text,) = case.expected_texts()
            base["completions"][case.id] = f"OK: {text}"
            in_english = language_of(case) in english
            tuned["completions"][case.id] = ENGLISH if in_english else f"OK! {text}"
            likely = rng.gauss(-2, 0.3)
            base["answer_logprob"][case.id] = likely
            tuned["answer_logprob"][case.id] = likely - drop + rng.gauss(0, 0.1)
        else:
            values = [rng.gauss(-9, 0.6) + 2.2 * (k == case.answer) for k in range(4)]
            base["choice_logprobs"][case.id] = values
            tuned["choice_logprobs"][case.id] = [
                value - drop * (k == case.answer) + rng.gauss(0, 0.05)
                for k, value in enumerate(values)
            ]
    for arm, script in (("base", base), ("tuned", tuned)):
        (folder / f"{arm}.json").write_text(json.dumps(script), encoding="utf-8")
    copied = shutil.copytree(FOLDER / name, folder / "suites" / name)
    evaluate(
        RunOptions(
            suites=(load_suite(copied),),
            folder=folder / "run",
            store=folder / "store.sqlite",
            specs={arm: f"scripted:{folder / arm}.json" for arm in ("base", "tuned")},
            stream=io.StringIO(),
            early_stop=False,  # only a run of all cases judges each language
        )
    )
    return Run.load(folder / "run").verdict.suites[0]


def failed(result: SuiteResult) -> set[str]:
    """Return the gates that failed."""
    return {gate.id for gate in result.gates if gate.status is GateStatus.FAIL}


@pytest.mark.parametrize("name", NAMES)
def test_a_fine_tune_that_lost_nothing_ships(tmp_path: Path, name: str) -> None:
    assert gated(tmp_path, name, english=set()).verdict is Verdict.SHIP


def test_answers_in_english_to_every_language_are_blocked(tmp_path: Path) -> None:
    """Likelihoods stay as they were, so that only the written text tells."""
    result = gated(tmp_path, "answers", english=set(SCRIPTS))

    assert result.verdict is Verdict.BLOCK
    assert failed(result) == {
        "language::tolerance",
        *(f"language::tolerance[language:{code}]" for code in SCRIPTS),
    }


@pytest.mark.parametrize(("name", "code"), [("facts", "zh"), ("answers", "hi")])
def test_one_language_that_is_lost_is_blocked(tmp_path: Path, name: str, code: str) -> None:
    """The gate on that language fails, and no gate on another."""
    result = gated(tmp_path, name, english={code}, lost=2.0)

    assert result.verdict is Verdict.BLOCK
    metrics = {"language", "answer_logprob"} if name == "answers" else {"choice_probability"}
    by_language = {gate for gate in failed(result) if "[" in gate}
    assert by_language == {f"{metric}::tolerance[language:{code}]" for metric in metrics}
