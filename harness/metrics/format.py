"""Whether the answer has the form that was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunegate.harness.contracts.metric import metric
from tunegate.harness.metrics import _format_rules
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score


def _check(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
    general = options.get("rules") or {}
    problems = [f"rules: {problem}" for problem in _format_rules.rule_problems(general)]
    for case in cases:
        rules = {**general, **(case.rules or {})}
        if not rules:
            problems.append(
                f"case {case.id!r} has no 'rules'; give it some, or the metric the option rules"
            )
        elif case.rules:
            problems += [
                f"case {case.id!r}: {problem}" for problem in _format_rules.rule_problems(rules)
            ]
        if rules.get("repeats_prompt") is True and not _prompt(case):
            problems.append(f"case {case.id!r}: repeats_prompt needs a prompt that is a text")
    return list(dict.fromkeys(problems))


@metric(label="answers in the required format", binary=True, check=_check)
def format(case: Case, completion: Completion, *, rules: dict[str, Any] | None = None) -> Score:
    """Score 1 if the answer keeps every rule about its form, else 0.

    Checks the rules of the case (`rules` in cases.jsonl) and of the option. `parts` has a 1 or 0
    for each rule, and the reason names the broken ones. The rules are those of IFEval (Zhou et al.,
    2023):

    *Counts*, as `words = 50` (exactly), `min_words` or `max_words`: `words`, `characters`,
    `sentences`, `lines`, `paragraphs`, `parts` (between `***`), `bullets`, `numbered` items,
    `headings`, `placeholders` (in `[brackets]`), `highlights` (`*text*`), `capital_words`.

    *Counts of a text*, also with `min_` and `max_`: `count = { cat = 2 }`, ignoring case; `sections
    = { SECTION = 3 }`, the text followed by a number.

    *Texts*, one or a list, ignoring case except in `one_of`: `contains` (each), `contains_any`,
    `not_contains` (as whole words), `starts_with`, `ends_with`, `one_of` (the whole answer),
    `postscript`, `paragraph_first_word = { 2 = "weather" }`.

    *True or left out*: `all_lowercase`, `all_uppercase`, `no_commas`, `json_only`, `json_fenced`,
    `in_quotes`, `title` (`<<title>>`), `two_answers` (separated by `******`), `repeats_prompt`.

    Known problems:
        Words are counted as people do (`don't` is one, IFEval has two). Sentences are split by a
        list of abbreviations: `the U.S. Army` is cut in two.

    Example:
        ```json
        {"prompt": "Praise tea.", "rules": {"max_words": 20, "no_commas": true}}
        ```

    Options:
        rules: Rules of all cases: `rules = { max_words = 50, no_commas = true }`. A case's own
            rule wins.
    """
    if completion.text is None:
        return Score.unscored("the completion has no text")
    wanted = {**(rules or {}), **(case.rules or {})}
    if not wanted:
        return Score.unscored("neither the case nor the metric has rules")
    for problem in _format_rules.rule_problems(wanted):
        return Score.unscored(f"the rules are unusable: {problem}")
    if wanted.get("repeats_prompt"):
        wanted["repeats_prompt"] = _prompt(case)
        if not wanted["repeats_prompt"]:
            return Score.unscored("repeats_prompt needs a prompt that is a text")
    return _score(completion.text, wanted)


def _score(text: str, wanted: Mapping[str, Any]) -> Score:
    if not text.strip():
        return Score.of(0.0, "the answer is empty", parts=dict.fromkeys(wanted, 0.0))
    broken = {name: _format_rules.RULES[name].broken(name, wanted[name], text) for name in wanted}
    parts = {name: float(how is None) for name, how in broken.items()}
    reasons = ", ".join(how for how in broken.values() if how is not None)
    return Score.of(float(not reasons), f"broken: {reasons}" if reasons else None, parts=parts)


def _prompt(case: Case) -> str:
    """Return the text of the user's last turn; empty if it is not text."""
    content = case.input_messages()[-1].get("content")
    return content.strip() if isinstance(content, str) else ""
