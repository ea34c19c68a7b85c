r"""Equal prompts: cases that ask the same question in the same words count as one.

The same question asked forty times is no more evidence than asked once, even under forty ids, in
capitals, or with invisible characters between the letters. Texts are compared by their words:
without case, white space, punctuation at the edges of words, invisible characters, and a number in
front (`Question 12:`) or behind (`[#12]`); letters that look like Latin ones count as Latin.
Digits, operators and punctuation inside words are content: `3 + 4` and `3 - 4`, `a[1:]` and `a[1]`,
`3.5` and `35` are different questions. A greeting, a name or a time in front of a question makes no
other one, if the answer is compared with the same. Without an expected answer, a name or a time may
be what the question is about; only greetings and times in brackets are left out then.

Source of the lookalikes: Unicode Technical Standard 39, confusables.txt, single letters of the
scripts below; letters in the form of small capitals are added.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.cases import Case
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.images import is_image
from tunegate.harness.records.wording import count_noun

_LOOKALIKES = str.maketrans(
    # Cyrillic, Greek, Armenian, Cherokee, and Latin letters in small capitals or without a dot.
    "аеорсухіјѕһԁԛԝѵӏкмтнвАВЕКМНОРСТУХЅІЈҮ"
    "αοριντκυχγεηϲϳΑΒΕΖΗΙΚΜΝΟΡΤΥΧ"
    "օոսհց"
    "ᎪᏴᏟᎠᎬᏀᎻᎥᎫᏦᏞᎷᏢᏒᏚᎢᏙᎳᏃ"
    "ɑıɩɡᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ",
    "aeopcyxijshdqwvlkmthbABEKMHOPCTYXSIJY"
    "aopivtkuxyencjABEZHIKMNOPTYX"
    "onuhg"
    "ABCDEGHiJKLMPRSTVWZ"
    "aiigabcdefghijklmnoprstuvwyz",
)
_INVISIBLE = re.compile(
    "[\u0300-\u036f\u115f\u1160\u180b-\u180f\u2800\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)
"""Combining marks, fillers and selectors; format characters are found by category."""

_QUOTES = "\"'`´‘’“”„‚«»‹›"
_BEFORE = _QUOTES + "¿¡"
_AFTER = _QUOTES + ".,;:?…。、"
_MARKS = ("*", "_")
_EMPHASIS = re.compile(r"^[*_]+(?=[^\W\d_])|(?<=[^\W\d_])[*_]+$")
"""Markdown's marks around a word; without letters inside they may be operators."""
_NUMBERED = re.compile(
    r"(?:(?:question|q|item|case|prompt|example|task|test|no|nr|number)[ .:#]*\d+[.):\]-]+"
    r"|#\d+[.):]*|\(\d+\)|\[\d+\]|\d+\))\s+(?=\S+\s+\S+\s+\S)"
)
"""A number in front of a text of three words or more."""
_LEADING = re.compile(r"[\s.,;:!?…]+(?=[^\W\d_])")
"""Marks in front of the first word of a text."""
_NAME = r"(?:(?:Mr|Mrs|Ms|Dr|Prof)\.? )?[A-ZÀ-ÖØ-Þ][\w'’-]+(?: [A-ZÀ-ÖØ-Þ][\w'’-]+)?"
_MOMENT = (
    r"(?:\d{4}-\d\d-\d\d|\d{1,2}[./]\d{1,2}[./]\d{2,4}|\d{1,2}:\d\d(?::\d\d)?(?:\.\d+)?"
    r"|(?i:(?:mon|tues|wednes|thurs|fri|satur|sun)day|mon|tue|wed|thu|fri|sat|sun|[ap]\.?m\.?|z|utc))"
)
_MOMENTS = rf"{_MOMENT}(?:(?:[ ,]+|T|(?<=\d)(?=[A-Za-z])){_MOMENT})*"
_END = r"\s*(?:[,.!:;|–—-]+(?=\s)|\n)\s*"
_GREETING = re.compile(
    r"\s*(?:"
    rf"(?i:hi|hello|hey|dear|greetings|good (?:morning|afternoon|evening|day))"
    rf"(?:(?: (?:there|all|team|everyone|assistant|{_NAME}))?{_END}|(?: there)?\s+)"
    rf"|(?:(?i:my name is) {_NAME}|{_NAME} here){_END}"
    rf"|\[{_MOMENTS}\]\s*|\({_MOMENTS}\)\s*"
    r")"
)
"""A greeting, a name or a time in brackets in front of a text."""
_SUBJECT = re.compile(rf"\s*(?:(?i:this is) {_NAME}{_END}|{_MOMENTS}{_END})")
"""A name or a time in front of a text; it may be what the text is about."""
_CALLED = re.compile(rf"\s*{_NAME},\s+(?=(?:\S+\s+){{5}}\S)")
"""A name alone in front of a text of six words or more; it may be what the text is about."""
_TAGGED = re.compile(r"\s+(?:\[#?\d+\]|\(?#\d+\)?|[\[(](?:id|case|no|nr|ref)[ .:#]*\w+[\])])$")
"""A number behind a text."""


def fold_lookalikes(text: str) -> str:
    """Return a text as it looks: NFKC, with Latin lookalikes and no invisible characters."""
    if text.isascii():
        return text
    text = unicodedata.normalize("NFKC", text).translate(_LOOKALIKES)
    text = "".join(c for c in text if unicodedata.category(c) != "Cf")
    return _INVISIBLE.sub("", text)


def normalize_prompt(text: str) -> str:
    """Return the words by which a prompt is compared.

    Example:
        >>> normalize_prompt("Question 3: What is  the “Capital” of France?")
        'what is the capital of france'
        >>> normalize_prompt("3 + 4.5 = ?") == normalize_prompt("3 + 45 = ?")
        False
    """
    folded = fold_lookalikes(text).casefold().strip()
    if marks := _LEADING.match(folded):
        folded = folded[marks.end() :]
    number = _NUMBERED.match(folded)
    folded = _TAGGED.sub("", folded[number.end() :] if number else folded)
    words = (word if word.isalnum() else _strip_edges(word) for word in folded.split())
    return " ".join(filter(None, words))


def _strip_edges(word: str) -> str:
    """Return a word without quotes, emphasis and trailing punctuation.

    After a digit a mark may be an operator: `5!` is not 5.
    """
    before = ""
    while word != before:
        before = word
        word = word.lstrip(_BEFORE).rstrip(_AFTER)
        if word[-1:] == "!" and not word.rstrip("!")[-1:].isdigit():
            word = word.rstrip("!")
        if word[:1] in _MARKS or word[-1:] in _MARKS:
            word = _EMPHASIS.sub("", word)
    return word


@dataclass(frozen=True, slots=True)
class JoinedCases:
    """Cases whose equal prompts share a cluster."""

    cases: tuple[Case, ...]
    groups: tuple[tuple[str, ...], ...]
    """Ids of the cases with the same prompt, for each repeated prompt."""
    spelled: int = 0
    """Number of these cases whose spelling differs from the first one's."""

    @property
    def notes(self) -> tuple[str, ...]:
        """A line on the cases that share a prompt, if any."""
        if not self.groups:
            return ()
        count, prompts = sum(map(len, self.groups)), count_noun(len(self.groups), "prompt")
        if self.spelled:
            prompts += f" ({self.spelled} of them spelled or introduced differently)"
        return (
            f"{count:,} cases share {prompts}, such as {self.groups[0][0]!r} and "
            f"{self.groups[0][1]!r}; cases with the same prompt count as one",
        )


def join_equal_prompts(cases: Sequence[Case], kinds: Iterable[CellKind]) -> JoinedCases:
    """Put cases with the same prompt, and their clusters, into one cluster.

    Prompts are compared by their words (`normalize_prompt`) and tools; for log-likelihoods also by
    the choices, in any order, or the expected answer, which are scored there. What an answer is
    compared with makes no difference, except between prompts that differ in a greeting, a name or
    a time in front.
    """
    places: dict[str, list[int]] = {}
    kind_set = dict.fromkeys(kinds)
    # The same words may be another question where choices are scored; their time tells nothing.
    kinds = [kind for kind in kind_set if kind is not CellKind.LATENCY] or list(kind_set)
    for place, case in enumerate(cases):
        texts = normalize_messages(list(case.input_messages()))
        for kind in kinds:
            places.setdefault(_seen_by_model(case, texts, kind), []).append(place)
    bare = [_without_fronts(case) for case in cases]
    if any(bare):
        for place, (case, turns) in enumerate(zip(cases, bare, strict=True)):
            places.setdefault(_bare_question(case, turns), []).append(place)
    shared = {
        key: places_of_prompt
        for key, places_of_prompt in places.items()
        if len(places_of_prompt) > 1
    }
    clusters: dict[str, list[int]] = {}
    for place, case in enumerate(cases):
        if case.cluster is not None:
            clusters.setdefault(case.cluster, []).append(place)
    first = _first_of_component(len(cases), [*shared.values(), *clusters.values()])
    names: dict[int, str] = {}
    for cluster, members in clusters.items():
        names.setdefault(first[members[0]], cluster)
    for key, members in sorted(shared.items()):
        names.setdefault(first[members[0]], f"prompt {key[:12]}")
    groups: dict[int, list[str]] = {}
    for case, start in zip(cases, _first_of_component(len(cases), shared.values()), strict=True):
        groups.setdefault(start, []).append(case.id)
    return JoinedCases(
        tuple(
            case if case.cluster == name else case.model_copy(update={"cluster": name})
            for place, case in enumerate(cases)
            for name in [names.get(first[place])]
        ),
        tuple(tuple(group) for group in groups.values() if len(group) > 1),
        _count_spellings(cases, shared.values()),
    )


def _count_spellings(cases: Sequence[Case], groups: Iterable[Sequence[int]]) -> int:
    """Count the cases whose prompt is not literally the first of their group."""
    return len(
        {
            place
            for first, *others in groups
            for place in others
            if cases[place].input_messages() != cases[first].input_messages()
        }
    )


def _seen_by_model(case: Case, texts: Any, kind: CellKind) -> str:
    """Hash what the model sees of a case; `texts` are the words of its messages."""
    offered = (case.tools, case.tool_choice, case.response_format)
    scored: Any = case.expected if kind is CellKind.ANSWER else None
    if kind is CellKind.CHOICES and case.choices is not None:
        scored = sorted(map(normalize_prompt, case.choices))
    return sha256([texts, offered, scored])


def _without_fronts(case: Case) -> list[dict[str, Any]] | None:
    """Return the messages without what is put in front of their questions; None if nothing is."""
    right = case.expected is not None or case.choices is not None
    turns = [
        {**turn, "content": _strip_fronts(text, named=right)}
        if turn.get("role") == "user" and isinstance(text := turn.get("content"), str)
        else turn
        for turn in case.input_messages()
    ]
    return None if turns == [*case.input_messages()] else turns


def _bare_question(case: Case, turns: list[dict[str, Any]] | None) -> str:
    """Hash messages, with what is offered to the model and what scores its answer."""
    scored = case.model_dump(mode="json", exclude=_NOT_SCORED, exclude_defaults=True)
    return sha256([normalize_messages(turns or list(case.input_messages())), scored])


_NOT_SCORED = {"id", "prompt", "messages", "tags", "cluster", "max_new_tokens"}
"""Fields of a case that neither score its answer nor are offered to the model."""


def _strip_fronts(text: str, *, named: bool) -> str:
    """Return a text of three words or more without greetings, times and names in front."""
    while front := _GREETING.match(text) or (
        named and (_SUBJECT.match(text) or _CALLED.match(text))
    ):
        if len(text[front.end() :].split(maxsplit=2)) < 3:
            break
        text = text[front.end() :]
    return text


def normalize_messages(value: Any) -> Any:
    """Return messages, or any part of one, with all texts normalized."""
    if isinstance(value, str):
        return normalize_prompt(value)
    if is_image(value):  # the same picture under another name is the same
        return value["sha256"]
    if isinstance(value, dict):
        return {key: normalize_messages(inner) for key, inner in value.items()}
    return (
        [normalize_messages(inner) for inner in value] if isinstance(value, list | tuple) else value
    )


def _first_of_component(count: int, groups: Iterable[Sequence[int]]) -> list[int]:
    """Return for each of 0..count-1 the smallest number in its connected component."""
    root = list(range(count))

    def find(number: int) -> int:
        while root[number] != number:
            root[number] = root[root[number]]
            number = root[number]
        return number

    for first, *others in groups:
        for other in others:
            low, high = sorted((find(first), find(other)))
            root[high] = low
    return [find(number) for number in range(count)]
