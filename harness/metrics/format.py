"""Whether the answer has the form that was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunegate.harness.metric import metric
from tunegate.harness.metrics import _format_rules
from tunegate.harness.records.cases import Case, Completion, Score


def _check(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
    """Return what is wrong with the rules before any case is spent."""
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
    r"""Score 1 if the answer keeps every rule about its form, else 0.

    What it does:
        Checks the rules of the case (`rules` in cases.jsonl) and those of the option, which hold
        for all cases; where both name a rule, the case wins. `parts` has a 1 or a 0 for each rule,
        the reason names the broken ones. An empty answer keeps none. The rules:

        *Counts*, each as `words = 50` (exactly), `min_words` (at least), `max_words` (at most):

        - `words`: runs without white space that hold a letter or digit
        - `characters`: code points, without the white space around the answer
        - `sentences`: up to `.`, `!`, `?` or `…`; list items, headings and paragraphs end one too
        - `lines` that are not blank; `paragraphs` between blank lines; `parts` between `***`
        - `bullets`: lines that begin with `* `, `- `, `+ ` or `• `; `numbered`: with `1. ` or `1) `
        - `headings`: lines that begin with `# ` to `###### `
        - `placeholders` in `[brackets]`; `highlights`: `*text*` or `**text**` on one line
        - `capital_words`: words all of whose letters are capitals

        *Counts of a text*, again with `min_` and `max_`, as `{ cat = 2, e = 10 }`:

        - `count`: how often the text occurs, ignoring case, inside longer words too
        - `sections`: how often a number follows it: `{ SECTION = 3 }`

        *Texts*, one or a list, ignoring case except in `one_of`:

        - `contains`: each occurs; `contains_any`: one does, inside a longer word too
        - `not_contains`: none occurs as a whole word
        - `starts_with`, `ends_with`: one begins or ends the answer; quotes around it do not count
        - `one_of`: the whole answer is one of them
        - `postscript`: it occurs, such as `P.S.`; `P. S.` is the same
        - `paragraph_first_word`: `{ 2 = "weather" }`, the number of a paragraph and its first word

        *True or left out*:

        - `all_lowercase`, `all_uppercase`: has letters, none of the other case
        - `no_commas`: no `,`
        - `json_only`: strict JSON and nothing around it; `json_fenced`: one ``` fence is allowed
        - `in_quotes`: `"` at both ends, or `“` and `”`
        - `title`: has a `<<title>>`
        - `two_answers`: two different ones with `******` between them
        - `repeats_prompt`: begins with the prompt, word for word

    Why:
        Whether a model still follows instructions shows best in what a program can check. The rules
        are those of IFEval (Zhou et al., Instruction-Following Evaluation for Large Language
        Models, 2023), and the score is its strict accuracy per prompt: following four rules of
        five is not following.

    Known problems:
        Kept rules do not make an answer right or readable. Words are counted as people count
        them: `don't` is one, where IFEval has two; scripts without spaces have few words, so count
        `characters`. Sentences are found by a short list of abbreviations, not by a trained model:
        `the U.S. Army` is cut in two. A bullet needs a space after its sign, which IFEval does not
        ask; links and check boxes count as placeholders. The language is `language`'s business.

    Example:
        ```json
        {"prompt": "Praise tea.", "rules": {"max_words": 20, "no_commas": true}}
        ```

    Options:
        rules: Rules of all cases: `rules = { max_words = 50, no_commas = true }`.
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
    """Return the text of the user's last turn; empty if it is none."""
    content = case.input_messages()[-1].get("content")
    return content.strip() if isinstance(content, str) else ""
