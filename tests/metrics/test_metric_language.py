"""language: what a reader would call the language of each text."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.metrics import language as module
from tunegate.harness.metrics.language import detect_language, language
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import SuiteError
from tunegate.harness.records.scores import Score
from tunegate.harness.suite import load_suite

TEXTS = {
    "en": "The parcel will arrive tomorrow.",
    "de": "Das Paket kommt morgen an.",
    "fr": "Le colis arrivera demain matin.",
    "es": "El paquete llegará mañana.",
    "it": "Il pacco arriverà domani mattina.",
    "pt": "O pacote chegará amanhã.",
    "nl": "Het pakket komt morgen aan.",
    "pl": "Paczka dotrze jutro rano.",
    "sv": "Paketet kommer i morgon bitti.",
    "cs": "Balík dorazí zítra ráno.",
    "ru": "Посылка прибудет завтра.",
    "uk": "Посилка прибуде завтра вранці.",
    "tr": "Paket yarın sabah gelecek.",
    "el": "Το δέμα θα φτάσει αύριο το πρωί.",
    "ar": "سيصل الطرد غدا في الصباح الباكر",
    "he": "החבילה תגיע מחר בבוקר לבית שלך.",
    "hi": "पार्सल कल सुबह आएगा और आपको मिलेगा।",
    "ja": "荷物は明日届きます。",
    "ko": "소포는 내일 도착합니다.",
    "zh": "请重新启动路由器，然后再试一次。",
}


def score(text: str | None, wanted: Any = None, **options: Any) -> Score:
    """Score `text` without the safety net of Metric.__call__, so that an exception shows."""
    case = Case(id="c", prompt="p", expected=wanted)
    return language.score(case, Completion(text=text), **options)


@pytest.mark.parametrize("code", TEXTS)
def test_tells_common_languages(code: str) -> None:
    """One sentence is enough for each of twenty languages, and it is in no other."""
    other = "de" if code == "en" else "en"

    assert score(TEXTS[code], code).value == 1.0
    assert score(TEXTS[code], other).value == 0.0
    assert score(TEXTS[code], expected=code).value == 1.0


def test_one_of_several_is_enough() -> None:
    assert score(TEXTS["fr"], ("de", "fr")).value == 1.0
    assert score(TEXTS["fr"], ("de", "en")).value == 0.0


def test_the_option_stands_for_all_cases() -> None:
    """With the option `expected` of a case is its answer, and is not read."""
    assert score(TEXTS["fr"], "Le colis", expected="fr").value == 1.0


def test_a_tag_can_name_the_language_beside_the_expected_answer() -> None:
    """One of several is enough, as with `expected`; other keys and bare tags do not count."""

    def of(*tags: str) -> float | None:
        case = Case(id="c", prompt="p", expected="Das Paket", tags=tags)
        return language.score(case, Completion(text=TEXTS["fr"]), key="language").value

    assert of("mail", "language:fr") == 1.0
    assert of("language:de") == 0.0
    assert of("language:de", "language:fr") == 1.0
    assert of("fr", "reply:fr") is None


def test_tags_are_checked_when_the_suite_is_loaded() -> None:
    assert language.check is not None
    tagged, wrong, bare = (
        Case(id=name, prompt="p", expected="Das Paket", tags=tags)
        for name, tags in (("a", ("language:de",)), ("b", ("language:german",)), ("c", ("de",)))
    )

    problems = language.check({"key": "language"}, [tagged, wrong, bare])
    (twice,) = language.check({"key": "language", "expected": "de"}, [tagged])

    assert [problem[:27] for problem in problems] == [
        "case 'b': unknown language ",
        "case 'c' names no language:",
    ]
    assert 'a tag such as "language:de"' in problems[1]
    assert twice == "expected='de' with key='language': give one of them"


def test_the_choice_can_be_narrowed() -> None:
    text = "Pakken ankommer i morgen."

    assert score(text, "da").value == 0.0
    assert score(text, "da", among=("da", "de", "en")).value == 1.0
    assert score(text, "no").value == 1.0  # the narrower detector is another one


def test_a_dialect_counts_as_its_language() -> None:
    """Wu and Cantonese are Chinese, as ISO 639-3 has it."""
    text = "佢哋而家喺屋企食緊飯，唔知幾時先至返嚟。"

    assert "yue" in str(score(text, "zh").reason)
    assert score(text, "zh").value == 1.0
    assert score(text, "ja").value == 0.0


@pytest.mark.parametrize(
    ("text", "accepted", "refused"),
    [
        # Universal Declaration of Human Rights, article 1, in Croatian, Serbian and Indonesian
        ("Sva ljudska bića rađaju se slobodna i jednaka u dostojanstvu i pravima.",
         ("hr", "bs", "sr"), ("sl", "mk")),
        ("Сва људска бића рађају се слободна и једнака у достојанству и правима.",
         ("sr",), ("hr", "bs")),
        ("Semua orang dilahirkan merdeka dan mempunyai martabat dan hak-hak yang sama.",
         ("id", "ms"), ("jv",)),
    ],
)  # fmt: skip
def test_languages_that_the_detector_mixes_up_count_as_each_other(
    text: str, accepted: tuple[str, ...], refused: tuple[str, ...]
) -> None:
    assert [score(text, code).value for code in accepted] == [1.0] * len(accepted)
    assert [score(text, code).value for code in refused] == [0.0] * len(refused)


@pytest.mark.parametrize(
    "text",
    ["", "OK.", "Ja, gern!", "1234567890 1234567890 12", "```\nprint('hello world, all')\n```"],
)
def test_too_short_a_text_is_unscored(text: str) -> None:
    """Fewer than 20 letters tell no language; code between fences has none."""
    result = score(text, "de")

    assert result.value is None
    assert "too short" in str(result.reason)


@pytest.mark.parametrize(
    ("text", "scored"), [("a" * 19, False), ("a" * 20, True), ("荷" * 7, True)]
)
def test_twenty_letters_are_the_least(text: str, scored: bool) -> None:
    """A Chinese letter counts as three: 7 · 3 = 21."""
    assert (score(text, "en").value is not None) == scored


def test_fewer_letters_can_be_enough() -> None:
    """`Ja, gern!` has 6 letters."""
    among = ("de", "zh")

    assert score("Ja, gern!", "de", among=among, least_letters=7).value is None
    assert score("Ja, gern!", "de", among=among, least_letters=6).value == 1.0
    assert language.check is not None
    assert language.check({"expected": "de", "least_letters": 0}, []) == [
        "least_letters=0: give 1 or more"
    ]


def test_vowel_signs_count_as_letters() -> None:
    """15 letters and 7 signs."""
    text = "एक किलो सेब खरीद लीजिए आज ही।"

    assert sum(c.isalpha() for c in text) == 15
    assert score(text, "hi").value == 1.0


def test_code_in_fences_is_passed_over() -> None:
    text = (
        f"{TEXTS['de']}\n```\n# this is a comment in English, and a long one at that\n```\nFertig."
    )

    assert score(text, "de").value == 1.0


def test_no_language_is_a_wrong_one() -> None:
    result = score("x1=y2+z3; " * 20, "de")

    assert result.value == 0.0
    assert "detected" in str(result.reason)


def test_codes_are_checked_when_the_suite_is_loaded() -> None:
    assert language.check is not None
    case = Case(id="c", prompt="p", expected="german")
    bare = Case(id="d", prompt="p")

    wrong, missing = language.check({}, [case, bare])
    (outside,) = language.check({"expected": "fr", "among": ("de", "en")}, [case])
    (strange,) = language.check({"expected": "de", "among": ("de", "xx")}, [])

    assert wrong.startswith("case 'c': unknown language code 'german'")
    assert missing.startswith("case 'd' names no language")
    assert outside == "expected='fr': unknown language code 'fr'; there are: de, en"
    assert strange.startswith("unknown language code 'xx'")
    assert language.check({"expected": "de"}, [bare]) == []


def test_a_missing_detector_is_said_when_the_suite_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "py3langid", None)
    module._detector.cache_clear()  # type: ignore[attr-defined]
    (tmp_path / "cases.jsonl").write_text('{"prompt": "p", "expected": "de"}\n', encoding="utf-8")
    suite = 'name = "s"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "language"\n'
    (tmp_path / "suite.toml").write_text(suite, encoding="utf-8")

    with pytest.raises(SuiteError, match=r"pip install 'tunegate\[metrics\]'"):
        load_suite(tmp_path)


@pytest.mark.parametrize(("code", "text"), TEXTS.items())
def test_the_language_of_a_text_alone(code: str, text: str) -> None:
    assert code == detect_language(f"{text} {text}")


def test_a_text_without_words_has_no_language() -> None:
    assert detect_language("42") is None
    assert detect_language("```\nfor i in range(10): print(i)\n```") is None


@pytest.mark.parametrize(("found", "said"), [("wuu", "zh"), ("hr", "bs"), ("ms", "id")])
def test_languages_that_are_mixed_up_count_as_one(
    found: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Detector:
        def classify(self, text: str) -> tuple[str, float]:
            return found, 1.0

    monkeypatch.setattr(module, "_detector", lambda among: Detector())

    assert said == detect_language(TEXTS["en"])
