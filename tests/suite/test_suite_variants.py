"""Variants: the same case in other words, told apart by a tag, in the cluster of the case."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tunegate.harness.decision.planning.gate_cases import count_asked
from tunegate.harness.decision.planning.ship_probability import plan_suite
from tunegate.harness.records.cases import Case
from tunegate.harness.suite import Suite, describe_variants, load_suite
from tunegate.harness.suite.variants import (
    examples_order,
    lower_case,
    politeness,
    question_first,
    reorder,
    spacing,
    typos,
)

Written = Callable[..., Path]
Refused = Callable[..., list[str]]

EVERY = '[[gates]]\nmetric = "exact_match"\nevery = "variant"\ngain = 0\n'
PLAIN = '[[gates]]\nmetric = "exact_match"\ngain = 0\n'
SYSTEM = '[generation]\nsystem = "Be brief."\n'
WORDS = (
    "alpha",
    "bravo",
    "charlie",
    "delta",
    "echo",
    "foxtrot",
    "golf",
    "hotel",
    "india",
    "juliett",
)


def rows(count: int = 10, **more: object) -> str:
    """Return cases c0, c1 … with different prompts."""
    return "".join(
        json.dumps({"id": f"c{i}", "prompt": f"Say {WORDS[i]} again", "expected": "x", **more})
        + "\n"
        for i in range(count)
    )


@pytest.fixture(name="load")
def _load(written: Written, head: str) -> Callable[..., Suite]:
    """Return a function that loads a suite with a table of variants."""

    def load(table: str, cases: str | None = None, gates: str = EVERY, **files: str) -> Suite:
        folder = written(f"{head}{gates}[variants]\n{table}", cases or rows())
        for name, text in files.items():
            (folder / name.replace("_", ".")).write_text(text, encoding="utf-8")
        return load_suite(folder)

    return load


def test_each_rule_words_a_text_in_its_way() -> None:
    assert lower_case("Say A") == "say a"
    assert politeness("Say A") == "Please help me with this.\n\nSay A\n\nThank you!"
    assert spacing("Say  A b\nc") == "Say  A  b\n\nc"
    assert question_first("It rains.\n\nIt snows.\n\nIs it wet?") == (
        "Is it wet?\n\nIt rains.\n\nIt snows."
    )
    assert question_first("Is it wet?\n\nAnswer yes or no.") == "Is it wet?\n\nAnswer yes or no."


def test_typos_are_in_the_stated_share_of_the_words_and_always_the_same() -> None:
    """Of 20 words 15 % are 3; `anna` and `oooo` have no letters inside that differ."""
    text = " ".join(f"{word} {word}x" for word in WORDS)
    made = typos(text, rate=0.15, seed="c1")
    changed = [(a, b) for a, b in zip(text.split(), made.split(), strict=True) if a != b]

    assert len(changed) == 3
    assert all(sorted(a) == sorted(b) and a[0] == b[0] and a[-1] == b[-1] for a, b in changed)
    assert typos(text, rate=0.15, seed="c1") == made
    assert typos(text, rate=0.15, seed="c2") != made
    assert typos("anna oooo is at", rate=1, seed="c1") == "anna oooo is at"
    assert typos("word", rate=0.001, seed="c1") == "wrod"


def test_items_in_another_order_are_never_in_the_same_one() -> None:
    orders = {tuple(reorder("ab", str(seed))) for seed in range(8)}

    assert orders == {("b", "a")}
    assert sorted(reorder("abcd", "c1")) == [*"abcd"]
    assert reorder("a", "c1") == ["a"]


def test_examples_are_paragraphs_with_one_label_or_pairs_of_turns() -> None:
    shots = "Answer with a number.\n\nQ: 1+1\nA: 2\n\nQ: 1+2\nA: 3\n\nQ: 1+3\nA:"
    swapped = "Answer with a number.\n\nQ: 1+2\nA: 3\n\nQ: 1+1\nA: 2\n\nQ: 1+3\nA:"
    talk = [
        {"role": role, "content": text}
        for role, text in zip(("user", "assistant") * 2, "abcd", strict=True)
    ]
    last = {"role": "user", "content": "e"}
    turns = Case(id="c", messages=(*talk, last))
    tool = Case(id="c", messages=(*talk, {"role": "tool", "content": "t"}, last))

    assert examples_order(Case(id="c", prompt=shots)).prompt == swapped
    assert [turn["content"] for turn in examples_order(turns).messages or ()] == [*"cdabe"]
    for same in (Case(id="c", prompt="One.\n\nTwo."), Case(id="c", prompt="Q: 1"), tool):
        assert examples_order(same) == same


def test_a_variant_has_its_own_id_one_tag_and_the_cluster_of_its_case(
    load: Callable[..., Suite],
) -> None:
    suite = load("lower_case = true\n", rows(2, tags=["short"]))

    assert [(c.id, c.prompt, c.tags, c.cluster, c.variant_of) for c in suite.cases] == [
        ("c0", "Say alpha again", ("short", "variant:plain"), "case c0", None),
        ("c1", "Say bravo again", ("short", "variant:plain"), "case c1", None),
        ("c0#lower_case", "say alpha again", ("variant:lower_case",), "case c0", "c0"),
        ("c1#lower_case", "say bravo again", ("variant:lower_case",), "case c1", "c1"),
    ]
    assert [case.expected for case in suite.cases] == ["x"] * 4
    assert suite.record().n_cases == 4
    assert suite.record().n_variants == 2


def test_plain_is_a_value_of_the_key_and_other_gates_rest_on_plain_cases(
    load: Callable[..., Suite],
) -> None:
    suite = load("lower_case = true\nspacing = true\nsample = 3\n", gates=EVERY + PLAIN)

    assert [gate.tag for gate in suite.gates] == [
        "variant:plain",
        "variant:lower_case",
        "variant:spacing",
        None,
    ]
    (metric,) = suite.metrics
    assert [count_asked(suite, metric, gate.tag) for gate in suite.gates] == [10, 3, 3, 10]
    assert plan_suite(suite).n_clusters is None


def test_without_the_table_a_suite_stays_as_it_was(written: Written, head: str) -> None:
    suite = load_suite(written(head + PLAIN, rows()))

    assert all(case.tags == () and case.cluster is None for case in suite.cases)
    assert "n_variants" not in suite.record().model_dump()
    assert describe_variants(suite) == ""


def test_a_rule_that_changes_nothing_makes_no_variant_and_is_counted(
    load: Callable[..., Suite],
) -> None:
    cases = rows(3).replace("Say alpha", "say alpha")
    suite = load("lower_case = true\nquestion_first = true\npoliteness = false\n", cases)

    assert [case.id for case in suite.cases[3:]] == ["c1#lower_case", "c2#lower_case"]
    assert describe_variants(suite) == (
        "+ 2 variants of 2 cases (lower_case 2, question_first 0): 2 more answers"
    )


def test_a_sample_is_the_same_each_time_and_stays_when_cases_are_added(
    load: Callable[..., Suite],
) -> None:
    table = "lower_case = true\nspacing = true\nsample = 4\n"
    first, again, more = load(table, rows(9)), load(table, rows(9)), load(table, rows(10))
    chosen = {case.variant_of for case in first.cases} - {None}

    assert len(chosen) == 4
    assert first.cases == again.cases
    assert first.hash == again.hash
    assert len(chosen & {case.variant_of for case in more.cases}) >= 3
    assert describe_variants(first).startswith("+ 8 variants of 4 cases (lower_case 4, spacing 4)")
    assert [case.cluster for case in first.cases if case.variant_of is None].count(None) == 5


def test_the_system_prompt_is_left_out_or_another(written: Written, head: str) -> None:
    own = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
    cases = rows(1) + json.dumps({"id": "own", "messages": own, "expected": "x"}) + "\n"
    table = 'no_system = true\nother_system = "systems.txt"\n'
    folder = written(f"{head}{EVERY}{SYSTEM}[variants]\n{table}", cases)
    (folder / "systems.txt").write_text("Be kind.\n\nBe rude.\n", encoding="utf-8")
    suite = load_suite(folder)
    seen = {
        case.id: [turn["content"] for turn in case.input_messages(suite.generation.system)]
        for case in suite.cases
    }

    assert seen == {
        "c0": ["Be brief.", "Say alpha again"],
        "own": ["Be kind.", "Hi"],
        "c0#no_system": ["Say alpha again"],
        "own#no_system": ["Hi"],
        "c0#other_system_1": ["Be kind.", "Say alpha again"],
        "c0#other_system_2": ["Be rude.", "Say alpha again"],
        "own#other_system_2": ["Be rude.", "Hi"],
    }
    by_id = {case.id: case for case in suite.cases}
    assert suite.asked_of("base", by_id["c0#no_system"])[1].system is None
    assert suite.asked_of("base", by_id["c0"])[1].system == "Be brief."


def test_a_best_prompt_stays_where_the_suites_is_left_out(written: Written, head: str) -> None:
    toml = f'{head}{EVERY}{SYSTEM}[variants]\nno_system = true\n[prompted]\nsystem = "best.txt"\n'
    folder = written(toml, rows(1))
    (folder / "best.txt").write_text("Be best.", encoding="utf-8")
    suite = load_suite(folder)
    case, settings = suite.asked_of("prompted", suite.cases[1])

    assert case.id == "c0#no_system"
    assert [turn["content"] for turn in case.input_messages(settings.system)] == [
        "Be best.",
        "Say alpha again",
    ]


def test_paraphrases_come_from_a_file_whatever_the_sample(load: Callable[..., Suite]) -> None:
    lines = [
        {"id": "c1", "prompt": "Bravo, once more"},
        {"id": "c1", "prompt": "Repeat bravo", "variant": "formal"},
        {"id": "c2", "prompt": "Repeat charlie", "variant": "formal"},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    suite = load('file = "p.jsonl"\nsample = 1\n', p_jsonl=text)

    assert [(case.id, case.prompt) for case in suite.cases if case.variant_of] == [
        ("c1#paraphrase", "Bravo, once more"),
        ("c1#formal", "Repeat bravo"),
        ("c2#formal", "Repeat charlie"),
    ]
    assert suite.cases[-1].where.endswith("p.jsonl:3")
    assert [gate.tag for gate in suite.gates] == [
        "variant:plain",
        "variant:paraphrase",
        "variant:formal",
    ]


def test_a_changed_file_changes_the_hash_of_the_suite(load: Callable[..., Suite]) -> None:
    table = 'other_system = "s.txt"\n'
    one, two = load(table, s_txt="Be kind.\n"), load(table, s_txt="Be rude.\n")

    assert one.hash != two.hash
    assert one.rule_hash == two.rule_hash


def test_copies_of_a_prompt_have_variants_once_in_their_cluster(load: Callable[..., Suite]) -> None:
    """c1 asks the same as c0, and both are in the cluster of c0."""
    cases = rows(3).replace("bravo", "alpha")
    suite = load("lower_case = true\n", cases)

    assert suite.equal_prompts == (("c0", "c1"),)
    assert [case.id for case in suite.cases if case.variant_of] == [
        "c0#lower_case",
        "c2#lower_case",
    ]
    by_id = {case.id: case.cluster for case in suite.cases}
    assert by_id["c0"] == by_id["c1"] == by_id["c0#lower_case"]


def test_the_first_cases_keep_their_variants(written: Written, head: str) -> None:
    folder = written(f"{head}{EVERY}[variants]\nlower_case = true\n", rows())
    suite = load_suite(folder, max_cases=2)

    assert [case.id for case in suite.cases] == ["c0", "c1", "c0#lower_case", "c1#lower_case"]


def test_the_last_text_beside_an_image_is_worded_anew(load: Callable[..., Suite]) -> None:
    parts = [{"type": "text", "text": "LOOK"}, {"type": "text", "text": "WHAT is it?"}]
    row = {"id": "c", "messages": [{"role": "user", "content": parts}], "expected": "x"}
    suite = load("lower_case = true\n", json.dumps(row) + "\n")

    assert [part["text"] for part in suite.cases[1].input_messages()[0]["content"]] == [
        "LOOK",
        "what is it?",
    ]


@pytest.mark.parametrize(
    ("table", "cases", "problem"),
    [
        ("typo = 1\n", rows(), "suite.toml:10: variants: unknown key 'typo'; did you mean 'typos'"),
        ("typos = 2\n", rows(), "suite.toml:10: variants.typos: 2 must be at most 1"),
        ("sample = 0\n", rows(), "suite.toml:10: variants.sample: 0 must be at least 1"),
        (
            'other_system = "none.txt"\n',
            rows(),
            "none.txt: cannot be read (No such file or directory); write one system prompt a line",
        ),
        (
            'file = "../../p.jsonl"\n',
            rows(),
            "suite.toml:10: '../../p.jsonl' is outside",
        ),
        (
            "lower_case = true\n",
            rows(1, tags=["variant:mine"]),
            "cases.jsonl:1: case 'c0' has the tag 'variant:mine', and [variants] makes such tags",
        ),
        (
            "lower_case = true\n",
            rows(1) + '{"id": "c0#lower_case", "prompt": "p", "expected": "x"}\n',
            "cases.jsonl:1: the variant 'c0#lower_case' has the id of another one; rename",
        ),
        (
            "lower_case = true\n",
            json.dumps({"id": "c" * 195, "prompt": "P", "expected": "x"}) + "\n",
            "has an id of more than 200 characters; rename the case",
        ),
    ],
)
def test_what_a_table_cannot_mean_is_refused(
    refused: Refused, head: str, table: str, cases: str, problem: str
) -> None:
    (found,) = refused(f"{head}{EVERY}[variants]\n{table}", cases)

    assert problem in found


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ({"id": "c11", "prompt": "p"}, "unknown case 'c11'"),
        ({"id": "c1"}, "prompt=None is no text"),
        ({"id": "c1", "prompt": "p", "name": "n"}, "unknown key 'name'"),
        ({"id": "c1", "prompt": "p", "variant": "plain"}, "variant='plain'"),
        ({"id": "c1", "prompt": "p", "variant": "a:b"}, "variant='a:b'"),
    ],
)
def test_a_line_that_words_no_case_is_refused_with_its_place(
    written: Written, refused: Refused, head: str, line: object, problem: str
) -> None:
    (written() / "p.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    (found,) = refused(f'{head}{PLAIN}[variants]\nfile = "p.jsonl"\n', rows())

    assert found.startswith(f"p.jsonl:1: {problem}")


def test_every_variant_without_variants_names_the_table(refused: Refused, head: str) -> None:
    assert refused(head + EVERY, rows()) == [
        "suite.toml:7: every='variant': a suite without a [variants] table has no variants; add one"
    ]


def test_no_file_of_cases_has_variants_of_its_own(refused: Refused, head: str) -> None:
    (found,) = refused(head + PLAIN, rows(1, variant_of="c9"))

    assert "variant_of" in found
