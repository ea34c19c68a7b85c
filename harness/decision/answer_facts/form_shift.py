"""Forms of answers: what many of tuned's answers look like, but few of base's.

A fine-tune may answer everything in the form of its task, which scores need not show. Languages are
recognized without a library: the verdict must not depend on what is installed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tunegate.harness.records.text_forms import LIST_ITEM, is_json, script_of

LEAST_RISE = 0.30
"""Smallest rise of a form's share that counts."""
JSON_FORMS = ("start with `{`", "are JSON")
JSON_RISE = 0.10
"""The same for JSON: where base writes prose, JSON is never a better answer."""
SURE = 0.001
"""Largest p-value of the paired test."""
_SHORT = 40
"""Most characters of an answer that are shown."""
_FUNCTION_WORDS = {
    "English": "the and of to is that for you with this are it",
    "German": "der die das und ist nicht ein zu mit sie für auf",
    "French": "le la les et est des une dans pour vous pas que",
    "Spanish": "el los las y es que una por para con del se",
    "Italian": "il di che non è per una sono con gli della si",
    "Portuguese": "o os as que não é uma para com em do da",
    "Dutch": "de het een en van is niet dat voor met op te",
}
_LANGUAGES_OF: dict[str, list[str]] = {}
"""Function word → the languages that have it."""
for _language_name, _words in _FUNCTION_WORDS.items():
    for _word in _words.split():
        _LANGUAGES_OF.setdefault(_word, []).append(_language_name)


@dataclass(frozen=True, slots=True)
class FormShift:
    """A form that tuned's answers have far more often than base's."""

    form: str
    base: int
    tuned: int
    n: int
    """Prompts that both arms answered."""

    @property
    def sentence(self) -> str:
        """The finding, as in ``159 of 160 answers of tuned start with `{`; base: 0``."""
        return f"{self.tuned} of {self.n} answers of tuned {self.form}; base: {self.base}"

    def hidden(self, quoted: str) -> FormShift:
        """Return the form without the answer's text in it, unless that is quoted elsewhere."""
        if self.sentence in quoted:
            return self
        return replace(self, form=_QUOTED.sub("`…`", self.form))


_QUOTED = re.compile("`.*`", re.DOTALL)


def find_shift(pairs: Sequence[tuple[Sequence[str], Sequence[str]]]) -> FormShift | None:
    """Return the form that became most frequent, if that is proven."""
    from tunegate.harness.stats.binary import mcnemar_midp

    gained: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for base, tuned in pairs:
        gained.update(form for form in tuned if form not in base)
        lost.update(form for form in base if form not in tuned)
    for form, won in sorted(gained.items(), key=lambda item: lost[item[0]] - item[1]):
        least = JSON_RISE if form in JSON_FORMS else LEAST_RISE
        if won - lost[form] < least * len(pairs):
            continue
        if mcnemar_midp(won, lost[form]).p_value < SURE:
            base_count, tuned_count = (sum(form in pair[arm] for pair in pairs) for arm in (0, 1))
            return FormShift(form, base_count, tuned_count, len(pairs))
    return None


def answer_forms(text: str) -> tuple[str, ...]:
    """Return the forms that an answer has, the most telling first."""
    words = text.split()
    if not words:
        return ("are empty",)
    script, language = script_of(text), _language(words)
    forms = {
        f"are `{' '.join(words)}`": len(text) <= _SHORT,
        f"start with `{words[0][0]}`": words[0][0] in "{[",
        "are JSON": is_json(text),
        "have a code fence": "```" in text,
        "have a list": LIST_ITEM.search(text) is not None,
        f"are in {script} script": bool(script),
        f"are in {language}": language is not None,
        "are one word": len(words) == 1,
        f"start with `{' '.join(words[:3])[:_SHORT]}`": len(words) > 3,
    }
    return tuple(form for form, has in forms.items() if has)


def _language(words: Sequence[str]) -> str | None:
    """Return the language whose most common words stand out; None if too few do."""
    lowered = [word.strip(".,;:!?\"'()").lower() for word in words[:200]]
    hits = Counter(dict.fromkeys(_FUNCTION_WORDS, 0))
    hits.update(language for word in lowered for language in _LANGUAGES_OF.get(word, ()))
    (first, most), (_, second) = hits.most_common(2)
    return first if most >= 3 and most > second else None
