"""Variants of cases: the same question in other words, made by fixed rules when a suite is loaded.

Each case in `[variants]` is worded anew by each rule of the table: a case of its own, with the tag
`variant:RULE`, in the cluster of the case itself, whose tag is `variant:plain`. A rule that leaves
a prompt as it is makes no variant of it. Gates rest on variants only if they ask for the tag, as
`every = "variant"` does. No rule draws random numbers: what looks random is a hash of the case's
id.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from tunegate.harness.contracts.keyword_options import outside_problem
from tunegate.harness.records.cases import PLAIN, VARIANT, Case
from tunegate.harness.records.errors import SuiteError, unknown_name_message
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.problems import summarize_problems
from tunegate.harness.records.wording import count_noun
from tunegate.harness.suite.sources._text import json_rows, read_text
from tunegate.harness.suite.toml_file import TomlFile

if TYPE_CHECKING:
    from tunegate.harness.suite.suite import Suite

Rewording = Callable[[Case], Case]
LONGEST_ID = 200
_BLANK = "\n\n"
"""Between paragraphs, and between solved examples in a prompt."""
_LABEL = re.compile(r"[^\n:]{1,40}:")
"""What an example in a prompt begins with, such as `Question:`."""
_SINGLE_SPACE = re.compile(r"(?<=\S)([ \n])(?=\S)")
_WORD = re.compile(r"[^\W\d_]{4,}")
"""Words that may get a typo."""


def lower_case(text: str) -> str:
    """Return the text in small letters."""
    return text.lower()


def spacing(text: str) -> str:
    r"""Return the text with each single space and line break doubled.

    Example:
        >>> spacing("Where is it?\nNow")
        'Where  is  it?\n\nNow'
    """
    return _SINGLE_SPACE.sub(r"\1\1", text)


def politeness(text: str) -> str:
    """Return the text between a request and thanks."""
    return f"Please help me with this.{_BLANK}{text}{_BLANK}Thank you!"


def question_first(text: str) -> str:
    r"""Return the text with its last paragraph in front, if that is a question.

    Example:
        >>> question_first("A parcel is late.\n\nWhere is it?")
        'Where is it?\n\nA parcel is late.'
    """
    *before, last = text.split(_BLANK)
    return _BLANK.join([last, *before]) if last.rstrip().endswith("?") else text


def typos(text: str, *, rate: float, seed: str) -> str:
    """Return the text with two letters inside a word exchanged, in `rate` of the words, rounded up.

    Only words of four letters and more, and letters that differ, are exchanged.
    """
    words = [match for match in _WORD.finditer(text) if _exchanges(match[0])]
    order = sorted(range(len(words)), key=lambda index: sha256(["typo", seed, index]))
    letters = list(text)
    for index in order[: math.ceil(rate * len(words))]:
        places = _exchanges(words[index][0])
        choice = int(sha256(["letters", seed, index])[:8], 16) % len(places)
        at = words[index].start() + places[choice]
        letters[at : at + 2] = reversed(letters[at : at + 2])
    return "".join(letters)


def _exchanges(word: str) -> list[int]:
    """Return where two neighboring letters inside a word differ."""
    return [at for at in range(1, len(word) - 2) if word[at] != word[at + 1]]


def reorder(items: Sequence[Any], seed: str) -> list[Any]:
    """Return items in another order, the same for the same seed."""
    order = sorted(range(len(items)), key=lambda index: sha256(["order", seed, index]))
    if order == sorted(order):
        order = [*order[1:], *order[:1]]
    return [items[index] for index in order]


def examples_order(case: Case) -> Case:
    """Return the case with its solved examples in another order.

    Examples are pairs of a question and an answer in front of the last turn, or paragraphs in front
    of the last one of a prompt that begin with the same label, such as `Question:`.
    """
    if case.messages is None:
        return _reword(case, partial(_reorder_paragraphs, seed=case.id))
    first = int(case.messages[0]["role"] == "system")
    shots, last = case.messages[first:-1], case.messages[-1:]
    if [turn["role"] for turn in shots] != ["user", "assistant"] * (len(shots) // 2):
        return case
    pairs = [shots[at : at + 2] for at in range(0, len(shots), 2)]
    turns = [turn for pair in reorder(pairs, case.id) for turn in pair]
    return case.model_copy(update={"messages": (*case.messages[:first], *turns, *last)})


def _reorder_paragraphs(text: str, seed: str) -> str:
    paragraphs = text.split(_BLANK)
    labels = [match[0] if (match := _LABEL.match(part)) else None for part in paragraphs]
    first = len(paragraphs) - 1
    while first and labels[-1] and labels[first - 1] == labels[-1]:
        first -= 1
    examples = reorder(paragraphs[first:-1], seed)
    return _BLANK.join([*paragraphs[:first], *examples, paragraphs[-1]])


def _reword(case: Case, change: Callable[[str], str]) -> Case:
    """Return the case with the text of its last turn changed."""
    if case.messages is None:
        return case.model_copy(update={"prompt": change(case.prompt or "")})
    *before, last = case.messages
    content = last.get("content")
    if isinstance(content, list):
        texts = [at for at, part in enumerate(content) if part.get("type") == "text"]
        content = [
            {**part, "text": change(part["text"])} if at in texts[-1:] else part
            for at, part in enumerate(content)
        ]
    elif isinstance(content, str):
        content = change(content)
    return case.model_copy(update={"messages": (*before, {**last, "content": content})})


def _with_system(case: Case, system: str | None) -> Case:
    """Return the case with another system prompt, or without any."""
    turns = case.input_messages()
    rest = turns[1:] if turns[0]["role"] == "system" else turns
    if system is not None:
        turns = ({"role": "system", "content": system}, *rest)
        return case.model_copy(update={"prompt": None, "messages": turns})
    update: dict[str, Any] = {"without_system": True}
    if rest != turns:
        update["messages"] = rest
    return case.model_copy(update=update)


TEXT_RULES: Mapping[str, Callable[[str], str]] = {
    rule.__name__: rule for rule in (lower_case, politeness, spacing, question_first)
}
"""Name → rule, which changes the text of the last turn."""


_NOT_RULES = ("other_system", "file", "sample")


def variants_schema() -> dict[str, Any]:
    """Return the JSON schema of the table `[variants]`."""
    switches = {
        "no_system": "Without the suite's or the case's system prompt.",
        "lower_case": "The last turn in small letters.",
        "politeness": "The last turn between a request and thanks, in English.",
        "spacing": "Each single space and line break of the last turn doubled.",
        "examples_order": "The solved examples in another order.",
        "question_first": "The last paragraph in front of the others, if it is a question.",
    }
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            **{name: {"type": "boolean", "description": text} for name, text in switches.items()},
            "typos": {
                "type": "number",
                "minimum": 0,
                "maximum": 1,
                "description": "Share of the words of the last turn, rounded up, in which two "
                "letters change places.",
            },
            "other_system": {
                "type": "string",
                "minLength": 1,
                "description": "Text file with one system prompt a line; each makes a variant, "
                "other_system_1 and so on.",
            },
            "file": {
                "type": "string",
                "minLength": 1,
                "description": "JSON lines with the `id` of a case, a `prompt` in its place, and a "
                "name, `variant`, if there are several of a case.",
            },
            "sample": {
                "type": "integer",
                "minimum": 1,
                "description": "Most cases that the rules word in another way, the same each time; "
                "all by default. Rows of `file` are not counted.",
            },
        },
    }


def make_variants(
    source: TomlFile, cases: Sequence[Case], generation: GenerationSettings
) -> tuple[list[Case], list[Case]]:
    """Return the cases with the tag `variant:plain`, and their variants by rule.

    Raises:
        SuiteError: a file is missing or wrong, a case has a tag `variant:…` already, or an id is
            taken or too long.
    """
    table = source.data["variants"]
    problems = [
        f"{case.where}: case {case.id!r} has the tag {tag!r}, and [variants] makes such tags; "
        "rename it"
        for case in cases
        for tag in case.tags
        if tag.startswith(f"{VARIANT}:")
    ]
    if problems:
        raise SuiteError(summarize_problems(problems))
    chosen = _sample(cases, table.get("sample"))
    made = [
        _variant(case, name, worded)
        for name, rule in _rules(source, generation)
        for case in chosen
        if _differs(case, worded := rule(case), generation)
    ]
    made += _paraphrases(source, {case.id: case for case in cases})
    taken = Counter(case.id for case in (*cases, *made))
    problems += [
        f"{case.where}: the variant {case.id[:60]!r} {why}"
        for case in made
        for why in [
            "has the id of another one; rename one" if taken[case.id] > 1 else "",
            f"has an id of more than {LONGEST_ID} characters; rename the case"
            if len(case.id) > LONGEST_ID
            else "",
        ]
        if why
    ]
    if problems:
        raise SuiteError(summarize_problems(problems))
    with_own = {case.variant_of for case in made}
    plain = [
        case.model_copy(
            update={
                "tags": (*case.tags, PLAIN),
                "cluster": case.cluster or (f"case {case.id}" if case.id in with_own else None),
            }
        )
        for case in cases
    ]
    return plain, made


def variants_of(variants: Iterable[Case], cases: Sequence[Case]) -> list[Case]:
    """Return the variants of some cases, each in the cluster of its case."""
    clusters = {case.id: case.cluster for case in cases}
    return [
        variant.model_copy(update={"cluster": clusters[variant.variant_of]})
        for variant in variants
        if variant.variant_of in clusters
    ]


def describe_variants(suite: Suite) -> str:
    """Return what variants add: `+ 9 variants of 5 cases (…): 9 more answers`; "" without any."""
    variants = [case for case in suite.cases if case.variant_of is not None]
    if not variants:
        return ""
    names = Counter(dict.fromkeys(_switched_on(suite.definition["variants"]), 0))
    names.update(tag.partition(":")[2] for case in variants for tag in case.tags)
    counts = ", ".join(f"{name} {count}" for name, count in names.items())
    of = count_noun(len({case.variant_of for case in variants}), "case")
    answers = count_noun(len(variants) * suite.generation.samples, "more answer")
    return f"+ {count_noun(len(variants), 'variant')} of {of} ({counts}): {answers}"


def _sample(cases: Sequence[Case], count: int | None) -> list[Case]:
    """Return so many cases, in their order; all if `count` is None."""
    ids = sorted((case.id for case in cases), key=lambda name: sha256(["variants", name]))
    chosen = frozenset(ids[:count])
    return [case for case in cases if case.id in chosen]


def _switched_on(table: Mapping[str, Any]) -> list[str]:
    """Return the rules that the table switches on, without those that come from files."""
    return [name for name, value in table.items() if value and name not in _NOT_RULES]


def _rules(source: TomlFile, generation: GenerationSettings) -> Iterator[tuple[str, Rewording]]:
    """Yield name and rule of each variant that the table switches on, in its order."""
    table = source.data["variants"]
    rules: dict[str, Rewording] = {
        "no_system": partial(_with_system, system=None),
        "typos": lambda case: _reword(case, partial(typos, rate=table["typos"], seed=case.id)),
        "examples_order": examples_order,
        **{name: partial(_reword, change=rule) for name, rule in TEXT_RULES.items()},
    }
    yield from ((name, rules[name]) for name in _switched_on(table))
    if "other_system" in table:
        for number, system in enumerate(_system_prompts(source, generation), start=1):
            yield f"other_system_{number}", partial(_with_system, system=system)


def _differs(case: Case, worded: Case, generation: GenerationSettings) -> bool:
    """Return whether a model sees another prompt."""
    system = generation.system
    return case.input_messages(system) != worded.input_messages(system)


def _variant(case: Case, name: str, worded: Case) -> Case:
    update = {
        "id": f"{case.id}#{name}",
        "tags": (f"{VARIANT}:{name}",),
        "variant_of": case.id,
    }
    return worded.model_copy(update=update)


def _system_prompts(source: TomlFile, generation: GenerationSettings) -> list[str]:
    name, where = source.data["variants"]["other_system"], source.where("variants", "other_system")
    if generation.template == "none":
        raise SuiteError(
            [f'{where}: with template = "none" prompts have no system turn; remove other_system']
        )
    path = _file(source, "other_system")
    lines = read_text(path, form="write one system prompt a line").splitlines()
    prompts = list(dict.fromkeys(filter(None, map(str.strip, lines))))
    if not prompts:
        raise SuiteError([f"{where}: {name} is empty; write one system prompt a line"])
    return prompts


def _paraphrases(source: TomlFile, cases: Mapping[str, Case]) -> Iterator[Case]:
    """Yield the variants in the rows of a file."""
    if "file" not in source.data["variants"]:
        return
    form = 'write one rewording a line: {"id": "c1", "prompt": "…", "variant": "short"}'
    problems, made = [], []
    for place, row in json_rows(_file(source, "file"), form=form):
        if isinstance(row, str):
            problems.append(f"{place}: {row}")
            continue
        case = cases.get(str(row.get("id")))
        text, name = row.get("prompt"), row.get("variant", "paraphrase")
        if other := sorted(row.keys() - {"id", "prompt", "variant"}):
            problems.append(f"{place}: unknown key {other[0]!r}; {form}")
        elif case is None:
            known = tuple(cases)
            problems.append(
                f"{place}: {unknown_name_message(str(row.get('id')), known, what='case')}"
            )
        elif not isinstance(text, str) or not text.strip():
            problems.append(f"{place}: prompt={text!r} is no text; {form}")
        elif not isinstance(name, str) or not re.fullmatch(r"[\w.-]+", name) or name == "plain":
            problems.append(
                f"{place}: variant={name!r}: a name has letters, digits, and _ . - and is not plain"
            )
        else:
            worded = _reword(case, partial(_replace, by=text))
            made.append(_variant(case, name, worded).with_place(place))
    if problems:
        raise SuiteError(summarize_problems(problems))
    yield from made


def _replace(_: str, by: str) -> str:
    return by


def _file(source: TomlFile, key: str) -> Any:
    """Return the path of a file that the table names."""
    name, folder = source.data["variants"][key], source.path.parent
    if outside := outside_problem(folder, name):
        raise SuiteError([f"{source.where('variants', key)}: {outside}"])
    return folder / name
