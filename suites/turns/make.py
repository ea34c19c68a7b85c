"""Write cases.jsonl and ideal.jsonl from the hand-written material next to this file.

Each conversation has a rule in its first turn: a form of the answers, a role with a set phrase, a
language, or a fact to remember. Earlier turns of the assistant keep the rule. The choices of a case
are the last answer with the rule kept and without. The same material gives the same bytes:

    python -m tunegate.suites.turns.make
"""

import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
LANGUAGES = ("fr", "es", "de")
STRIDE = 7
"""Step between the questions of two conversations; coprime to the numbers of questions."""

ENGLISH = ("the", "is", "are", "of", "and", "with", "this", "it", "to", "you")
"""Frequent English words that do not occur in the other languages."""

Question = tuple[str, str, str]
"""Question, the word that answers it, a sentence."""


def main() -> None:
    """Write the files."""
    made = list(cases())
    ideal = ({"id": c["id"], "completion": c["choices"][c["answer"]]} for c in made)
    for name, rows in (("cases.jsonl", made), ("ideal.jsonl", ideal)):
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        (HERE / name).write_text("".join(lines), encoding="utf-8")


def cases() -> Iterator[dict[str, Any]]:
    """Yield the lines of cases.jsonl."""
    plain, translated = _read("questions")["questions"], _read("questions")["translated"]
    material, number = _read("rules"), count()
    styled = [(f["kind"], f["style"], rule) for f in material["form"] for rule in f["rules"]]
    styled += [("role", role["style"], role["rule"]) for role in material["role"]]
    for kind, style, rule in styled:
        at = next(number)
        answered = [(q, write(style, word, text)) for q, word, text in _some(plain, at)]
        *earlier, (last, right) = answered
        sentence = next(text for question, _, text in plain if question == last)
        yield _case(kind, at, rule, earlier, last, [right, sentence], rules_of(style))
    for language in LANGUAGES:
        for rule in material["language"][language]:
            at = next(number)
            some = _some(translated, at)
            earlier = [(item["question"], item[language]) for item in some[:-1]]
            item = some[-1]
            choices = [item[language], item["en"]]
            words = re.findall("[a-z]{3,}", item["en"].lower())
            english = [word for word in words if word not in item[language].lower()]
            barred = {"not_contains": list(dict.fromkeys([*ENGLISH, *english]))}
            yield _case("language", at, rule, earlier, item["question"], choices, barred)
    for fact in material["fact"]:
        at = next(number)
        earlier = [(q, text) for q, _, text in _some(plain, at)[2:]]
        told, reply = fact["turns"]
        rule = {"contains_any": fact["contains"]}
        pairs = [("", reply), *earlier]
        yield _case("fact", at, told, pairs, fact["last"], fact["choices"], rule)


def write(style: str, word: str, sentence: str) -> str:
    """Return an answer in the style that a rule asks for."""
    changed = {
        "word": word,
        "upper": sentence.upper(),
        "lower": sentence.lower(),
        "json": json.dumps({"answer": word}),
        "quotes": f'"{sentence}"',
        "bullet": f"- {sentence}",
    }
    return changed[style] if style in changed else style.format(sentence)


def rules_of(style: str) -> dict[str, Any]:
    """Return what the metric `format` checks of a style."""
    named: dict[str, dict[str, Any]] = {
        "word": {"max_words": 2},
        "upper": {"all_uppercase": True},
        "lower": {"all_lowercase": True},
        "json": {"json_only": True},
        "quotes": {"in_quotes": True},
        "bullet": {"bullets": 1},
    }
    if style in named:
        return named[style]
    head, tail = (part.strip() for part in style.split("{}"))
    return {"starts_with": head.rstrip(".:!")} if head else {"ends_with": [tail, tail.rstrip(".!")]}


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((HERE / f"material/{name}.toml").read_text(encoding="utf-8"))


def _some(questions: Sequence[Any], at: int) -> list[Any]:
    """Return two to four questions; the last ones of consecutive conversations differ."""
    n = len(questions)
    return [questions[(STRIDE * at + 5 * k) % n] for k in reversed(range(2 + at % 3))]


def _case(  # noqa: PLR0913 - each is a part of a line
    kind: str,
    number: int,
    rule: str,
    earlier: Sequence[tuple[str, str]],
    last: str,
    choices: Sequence[str],
    rules: dict[str, Any],
) -> dict[str, Any]:
    """Return a line; the rule stands in front of the first question, the right choice anywhere."""
    turns: list[dict[str, str]] = []
    for at, (question, answer) in enumerate(earlier):
        said = f"{rule} {question}".rstrip() if at == 0 else question
        turns += [{"role": "user", "content": said}, {"role": "assistant", "content": answer}]
    place = number % len(choices)
    others = list(choices[1:])
    return {
        "id": f"{kind}-{number + 1:03}",
        "messages": [*turns, {"role": "user", "content": last}],
        "choices": [*others[:place], choices[0], *others[place:]],
        "answer": place,
        "rules": rules,
        "tags": [f"rule:{kind}", f"turns:{len(earlier) + 1}"],
    }


if __name__ == "__main__":
    main()
