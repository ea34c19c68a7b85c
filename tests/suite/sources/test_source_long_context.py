"""long_context as a case source: prompts of stated length, facts at stated depths."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import SuiteError
from tunegate.harness.suite.sources.long_context import (
    LENGTHS,
    long_context,
    measure_characters_per_token,
)

ALL = ("1k", "2k", "4k", "8k", "16k", "32k")


def make(lengths: Sequence[str] = ("1k",), **options: Any) -> list[Case]:
    options = {"characters_per_token": 4.4, "documents": 10, **options}
    return list(long_context(Path(), lengths=tuple(lengths), **options))


def notes(case: Case) -> str:
    """Return what stands between the introduction and the question."""
    _, text = str(case.prompt).split("\n\n", 1)
    return text.rpartition("\n\nQuestion: ")[0]


def label(case: Case, key: str) -> str:
    (value,) = [tag.partition(":")[2] for tag in case.tags if tag.startswith(f"{key}:")]
    return value


def words_and_marks(text: str) -> int:
    """Count tokens as a simple tokenizer would: words, and each other character."""
    return len(re.findall(r"\w+|[^\w\s]", text))


def pieces(text: str) -> int:
    """Count tokens of at most three letters."""
    return sum(-(-len(word) // 3) for word in re.findall(r"\w+|[^\w\s]", text))


@pytest.mark.parametrize("count", [words_and_marks, pieces])
def test_prompts_have_their_length_in_the_tokens_of_base(count: Any) -> None:
    """85 to 99 % of it, counted with a tokenizer that the source never sees."""
    measured = measure_characters_per_token(count)

    for case in make(ALL, characters_per_token=measured, documents=3):
        share = count(str(case.prompt)) / (1024 * int(label(case, "length")[:-1]))
        assert 0.85 <= share <= 0.99, (case.id, share)


def test_prompts_have_their_length_in_the_tokens_of_the_embedded_model() -> None:
    """Counted by Transformers; none is longer with chat template and an answer of 24 tokens."""
    transformers = pytest.importorskip("transformers")
    from tunegate.harness.models.demo_model import make_demo_model

    tokenizer = transformers.AutoTokenizer.from_pretrained(make_demo_model())
    measured = measure_characters_per_token(lambda text: len(tokenizer(text)["input_ids"]))

    for case in make(ALL, characters_per_token=measured, documents=3):
        whole = tokenizer.apply_chat_template(
            list(case.input_messages()), add_generation_prompt=True, tokenize=False
        )
        target = 1024 * int(label(case, "length")[:-1])
        assert 0.85 * target <= len(tokenizer.tokenize(str(case.prompt))) <= 0.99 * target
        assert len(tokenizer.tokenize(whole)) + 24 <= target


def test_the_same_seed_makes_the_same_cases_and_another_seed_others() -> None:
    assert make(seed=3) == make(seed=3)
    assert not {case.prompt for case in make(seed=3)} & {case.prompt for case in make(seed=4)}


def test_more_documents_keep_the_first_ones() -> None:
    """So their answers are reused."""
    assert make(documents=12)[:10] == make(documents=2)


def test_a_document_has_five_questions_and_one_text() -> None:
    """The shared text is the beginning of all five prompts, and the cluster."""
    clusters = defaultdict(list)
    for case in make(("1k", "4k")):
        clusters[case.cluster].append(case)

    assert len(clusters) == 20
    for cases in clusters.values():
        assert [label(c, "kind") for c in cases] == ["single", "keys", "chain", "count", "decision"]
        assert len({notes(case) for case in cases}) == 1
        assert len({case.prompt for case in cases}) == 5


FACTS = {
    "single": r"The code of the \w+ locker is {}\.",
    "keys": r"The badge of \w+ has the number {}\.",
    "chain": r"Box \w+ holds {} marbles\.",
    "decision": r"The council spent an evening on",
}
"""Kind → the sentence that the question is about, with the answer."""


@pytest.mark.parametrize("length", ["1k", "8k"])
def test_facts_stand_once_and_at_their_depth(length: str) -> None:
    """Within five percent of the notes (twelve at 1k, where the facts are a third of the notes)."""
    slack = 12 if length == "1k" else 5
    for case in make([length]):
        if pattern := FACTS.get(label(case, "kind")):
            (place,) = re.finditer(pattern.format(case.expected_texts()[0]), notes(case))
            depth = 100 * place.start() / len(notes(case))
            assert abs(depth - int(label(case, "depth"))) <= slack, (case.id, depth)


def test_depths_are_used_alike() -> None:
    depths = Counter(label(case, "depth") for case in make() if label(case, "kind") == "single")

    assert depths == {"10": 2, "30": 2, "50": 2, "70": 2, "90": 2}


def test_the_right_answers_follow_from_the_notes() -> None:
    """Found again by reading: keys by name, chains link by link, bells by counting."""
    for case in make(("1k", "4k")):
        text, question = notes(case), str(case.prompt).rpartition("Question: ")[2]
        right = (case.choices or ())[case.answer or 0]
        kind = label(case, "kind")
        if kind == "keys":
            name = re.findall(r"badge of (\w+) ", question)[0]
            assert f"The badge of {name} has the number {right}." in text
            others = [c for c in case.choices or () if c != right]
            assert all(f"has the number {other}." in text for other in others)
        elif kind == "chain":
            box = re.findall(r"box (\w+) ", question)[0]
            links = 0
            while found := re.findall(rf"Box {box} holds as many marbles as box (\w+)\.", text):
                (box,), links = found, links + 1
            assert links == 2
            assert f"Box {box} holds {right} marbles." in text
        elif kind == "count":
            rings = text.casefold().count("the fire bell rang")
            assert ("two", "three", "four", "five")[rings - 2] == right
        elif kind == "decision":
            assert f"settled: {right[0].lower()}{right[1:]}" in text
        else:
            colour = re.findall(r"the (\w+) locker", question)[0]
            assert re.findall(rf"The code of the {colour} locker is (\d+)\.", text) == [right]
        assert case.expected_texts()[0].casefold() in right.casefold()


def test_no_sentence_of_the_filler_repeats() -> None:
    for case in make(("8k",), documents=2):
        sentences = re.split(r"(?<=\.)\s+", notes(case))
        assert len(sentences) - len(set(sentences)) <= 2, case.id
        openings = Counter(" ".join(s.split()[:2]) for s in sentences)
        assert openings.most_common(1)[0][1] <= len(sentences) / 10


def test_right_choices_are_in_each_place_alike() -> None:
    places = Counter(case.answer for case in make(documents=20))

    assert places == {0: 25, 1: 25, 2: 25, 3: 25}


def test_an_unknown_length_is_refused_with_the_nearest() -> None:
    with pytest.raises(SuiteError, match="unknown length '3k'; did you mean '32k'"):
        make(["3k"])


def test_a_length_without_room_for_the_facts_is_refused() -> None:
    """A byte a token: 1k leaves 909 characters, 98 % of 1,024 - 96."""
    with pytest.raises(SuiteError, match="length 1k holds 909 characters, too few for the facts"):
        make(["1k"], characters_per_token=1.0)

    assert make(["4k"], characters_per_token=1.0)


def test_lengths_are_powers_of_two() -> None:
    assert LENGTHS == {
        "1k": 1024, "2k": 2048, "4k": 4096, "8k": 8192, "16k": 16_384, "32k": 32_768,
    }  # fmt: skip
