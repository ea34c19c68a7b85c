"""Comparability: the first prompt that differs is named, with what is to blame."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.tiny_models import TEMPLATE
from tunegate.harness.checks import comparability
from tunegate.harness.contracts.model import Prompt, Request
from tunegate.harness.engine.plan import make_plan
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.records.answers import Cell, CellKind
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import NotComparable, SuiteError, UsageError
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.records.hashing import sha256
from tunegate.harness.suite import Suite, load_suite

Copy = Callable[..., Path]
CASES = ("c0", "c1", "c2")
TEXTS = {"c0": "the parcel", "c1": "zzz", "c2": "the capital"}


def _prompts(arms: Mapping[str, Any], template: str = "chat") -> dict[tuple[str, str, str], Prompt]:
    generation = GenerationSettings(template=template)
    return {
        ("suite", case, name): arm.prompt(Case(id=case, prompt=TEXTS[case]), generation)
        for case in CASES
        for name, arm in arms.items()
    }


def test_a_pair_is_proven_by_token_ids(tiny: Any) -> None:
    arms = tiny.pair()
    proof = comparability.check_comparability(_prompts(arms), arms)
    assert proof == {
        "status": "proven",
        "prompts": 3,
        "compared": 3,
        "by": "token ids",
        "template_sha256": arms["base"].identity["template_sha256"],
    }


def test_images_that_one_arm_prepares_and_the_other_sends_are_taken_on_trust(tiny: Any) -> None:
    arms = {**tiny.pair(), "tuned": SimpleNamespace(identity={"prompts": "text"}, remote=True)}
    seen, sent = Prompt("<image>", (7, 7), images=("pixels",)), Prompt("{}", images=("file",))
    prompts = {("s", "a", "base"): seen, ("s", "a", "tuned"): sent}
    proof = comparability.check_comparability(prompts, arms)
    assert (proof["status"], proof["note"]) == (
        "declared",
        "tuned rendered elsewhere: prompts taken on trust",
    )


def test_another_chat_template(tiny: Any, copied: Copy, tiny_tokenizer: Callable[..., Any]) -> None:
    """A template beside the adapter that differs from base's is named, with the first place."""
    adapter = copied(tiny.adapter())
    other = TEMPLATE.replace("assistant\n", "assistant:")
    tiny_tokenizer(template=other).save_pretrained(adapter)
    arms = open_arms({"base": str(tiny.base()), "tuned": str(adapter)})
    with pytest.raises(NotComparable) as caught:
        comparability.check_comparability(_prompts(arms), arms)
    message = str(caught.value)
    assert message.startswith("suite, case 'c0': base and tuned get different prompts (the chat t")
    assert "assistant\\n'" in message
    assert "assistant:'" in message


def test_another_tokenizer(tiny: Any, copied: Copy) -> None:
    """The same text in other tokens is named, at the first case where it is so."""
    tuned = copied(tiny.base(seed=7))
    path = tuned / "tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    merges = tokenizer["model"]["merges"]
    # Without the merges that make "capital", only the prompt of c2 has other tokens.
    kept = [m for m in merges if "capital" not in "".join(m) and "".join(m) != "cap"]
    assert len(kept) < len(merges)
    tokenizer["model"]["merges"] = kept
    path.write_text(json.dumps(tokenizer), encoding="utf-8")
    arms = open_arms({"base": str(tiny.base()), "tuned": str(tuned)})
    with pytest.raises(NotComparable, match=r"^suite, case 'c2': .*the tokenizers split the same"):
        comparability.check_comparability(_prompts(arms, "none"), arms)


def test_a_begin_marker_of_one_arm_is_shown_as_ids(
    tiny: Any, copied: Copy, tiny_tokenizer: Callable[..., Any]
) -> None:
    tuned = copied(tiny.base(seed=7))
    tiny_tokenizer(bos=True).save_pretrained(tuned)
    arms = open_arms({"base": str(tiny.base()), "tuned": str(tuned)})
    first = arms["base"].tokenizer(TEXTS["c0"])["input_ids"][:4]
    with pytest.raises(NotComparable) as caught:
        comparability.check_comparability(_prompts(arms, "none"), arms)
    assert f"from token 0 on base has the ids {first} where tuned has [1, " in str(caught.value)


@pytest.fixture(name="chat_suite")
def _chat_suite(tmp_path: Path) -> Callable[[str], Suite]:
    """Make a suite of the three cases with lines of [generation]."""

    def make(generation: str) -> Suite:
        cases = [{"id": name, "prompt": text, "expected": "x"} for name, text in TEXTS.items()]
        text = "".join(f"{json.dumps(case)}\n" for case in cases)
        (tmp_path / "cases.jsonl").write_text(text, encoding="utf-8")
        (tmp_path / "chat.jinja").write_text(OTHER, encoding="utf-8")
        (tmp_path / "suite.toml").write_text(
            f'name = "suite"\ncases = "cases.jsonl"\n[generation]\n{generation}\n[[metrics]]\n'
            'use = "exact_match"\n[[gates]]\nmetric = "exact_match"\nfloor = 0.9\n',
            encoding="utf-8",
        )
        return load_suite(tmp_path)

    return make


OTHER = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}[assistant] "


def _compared(suite: Suite, arms: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    plan = make_plan([suite], arms, seed=0)
    comparability.check_prompts(plan.cells, plan.failures)
    return plan, comparability.check_comparability(plan.prompts, arms, [suite])


def test_a_base_without_a_template_is_given_that_of_tuned(
    tiny: Any, copied: Copy, tiny_tokenizer: Callable[..., Any], chat_suite: Callable[[str], Suite]
) -> None:
    base, tuned = copied(tiny.base(), "plain"), copied(tiny.base(seed=7), "chat")
    (base / "chat_template.jinja").unlink(missing_ok=True)
    tiny_tokenizer(template=None).save_pretrained(base)
    arms = open_arms({"base": str(base), "tuned": str(tuned)})
    assert arms["base"].tokenizer.chat_template is None
    with pytest.raises(UsageError, match=r'has no chat template; .*chat_template = "tuned"'):
        _compared(chat_suite(""), arms)

    plan, proof = _compared(chat_suite('chat_template = "tuned"'), arms)

    asked = [{"role": "user", "content": TEXTS["c0"]}]
    ids = arms["tuned"].tokenizer.apply_chat_template(
        asked, add_generation_prompt=True, return_dict=False
    )
    assert plan.prompts["suite", "c0", "base"].token_ids == tuple(ids)
    assert proof["chat_template"] == {"suite": sha256(TEMPLATE)}
    assert (proof["status"], proof["by"]) == ("proven", "token ids")

    with pytest.raises(SuiteError, match=r'suite.toml:4: chat_template = "base": .* has no chat'):
        _compared(chat_suite('chat_template = "base"'), arms)


def test_the_suites_own_template_replaces_those_of_the_models(
    tiny: Any, chat_suite: Callable[[str], Suite]
) -> None:
    suite, arms = chat_suite('chat_template = "chat.jinja"'), tiny.pair()

    plan, proof = _compared(suite, arms)

    texts = {name: plan.prompts["suite", "c1", name].text for name in arms}
    assert texts == dict.fromkeys(arms, "[user] zzz\n[assistant] ")
    assert proof["chat_template"] == {"suite": sha256(OTHER)}
    (suite.path.parent / "chat.jinja").write_text(OTHER + "\n", encoding="utf-8")
    assert load_suite(suite.path).hash != suite.hash


def test_tokens_added_in_training_are_none_to_base(
    tiny: Any, copied: Copy, tiny_tokenizer: Callable[..., Any], chat_suite: Callable[[str], Suite]
) -> None:
    tuned = copied(tiny.base(seed=7))
    template = TEMPLATE.replace("<|start|>", "<|im_start|>")
    wider = tiny_tokenizer(template=template)
    wider.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    wider.save_pretrained(tuned)
    arms = open_arms({"base": str(tiny.base()), "tuned": str(tuned)})
    with pytest.raises(NotComparable, match='chat_template = "tuned"'):
        _compared(chat_suite(""), arms)

    plan, proof = _compared(chat_suite('chat_template = "tuned"'), arms)

    base, other = (plan.prompts["suite", "c0", name] for name in ("base", "tuned"))
    assert base.text == other.text
    assert len(base.token_ids or ()) > len(other.token_ids or ())
    assert (proof["by"], proof["other_token_ids"]) == ("text", 3)


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        ('chat_template = "none.jinja"', r"toml:4: 'none.jinja' is not a text file"),
        ('chat_template = "../../x.jinja"', r"toml:4: .*outside the suite"),
        ('template = "none"\nchat_template = "tuned"', r"toml:5: chat_template with template"),
    ],
)
def test_a_template_that_cannot_be_given(
    chat_suite: Callable[[str], Suite], lines: str, what: str
) -> None:
    with pytest.raises(SuiteError, match=what):
        chat_suite(lines)


def test_text_is_compared_where_there_are_no_ids(scripted: Callable[..., str]) -> None:
    same = open_arms({"base": scripted("a", default="x"), "tuned": scripted("b", default="y")})
    assert comparability.check_comparability(_prompts(same), same)["by"] == "text"
    other = open_arms(
        {"base": scripted("a", default="x"), "tuned": scripted("c", default="y", prefix="> ")}
    )
    with pytest.raises(NotComparable, match=r"case 'c0': .*the rendered texts differ.* '> user"):
        comparability.check_comparability(_prompts(other), other)


def test_every_other_arm_is_compared(scripted: Callable[..., str]) -> None:
    arms = open_arms(
        {
            "base": scripted("a", default="x"),
            "tuned": scripted("b", default="y"),
            "incumbent": scripted("c", default="z", prefix="> "),
        }
    )
    with pytest.raises(NotComparable, match="base and incumbent get different prompts"):
        comparability.check_comparability(_prompts(arms), arms)


def test_a_prompt_that_is_missing_is_not_compared(scripted: Callable[..., str]) -> None:
    """A case that one arm could not render is left to the scores; the others are compared."""
    arms = open_arms({"base": scripted("a", default="x"), "tuned": scripted("b", default="y")})
    prompts = _prompts(arms)
    del prompts["suite", "c1", "tuned"]
    proof = comparability.check_comparability(prompts, arms)
    assert (proof["prompts"], proof["compared"]) == (3, 2)


@pytest.fixture(name="recording")
def _recording(tmp_path: Path) -> Callable[[str, str], str]:
    def write(name: str, text: str) -> str:
        path = tmp_path / f"{name}.jsonl"
        lines = (json.dumps({"id": case, "completion": text}) for case in CASES)
        path.write_text("\n".join(lines), encoding="utf-8")
        return f"replay:{path}"

    return write


def test_recordings_are_declared(recording: Callable[[str, str], str]) -> None:
    """Prompts of recorded answers are taken on trust, and the record says whose."""
    arms = open_arms({"base": recording("a", "x"), "tuned": recording("b", "y")})
    proof = comparability.check_comparability(_prompts(arms), arms)
    assert proof["status"] == "declared"
    assert proof["note"].startswith("base and tuned recorded elsewhere")


def test_a_recording_beside_a_model(tiny: Any, recording: Callable[[str, str], str]) -> None:
    """A recorded arm against a local model is declared, not refused: its prompts are unknown."""
    arms = open_arms({"base": str(tiny.base()), "tuned": recording("a", "x")})
    proof = comparability.check_comparability(_prompts(arms), arms)
    assert proof["status"] == "declared"
    assert proof["note"].startswith("tuned recorded elsewhere")


def _recorded_arms(tmp_path: Path, **files: list[dict[str, Any]]) -> dict[str, Any]:
    """Open an arm for each list of lines."""
    specs: dict[str, str | None] = {}
    for name, lines in files.items():
        path = tmp_path / f"{name}.jsonl"
        path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
        specs[name] = f"replay:{path}"
    return dict(open_arms(specs))


def _lines(text: str, **asked: str) -> list[dict[str, Any]]:
    """Return a line a case; cases in `asked` carry the prompt given there."""
    return [
        {"id": case, "completion": text, **({"prompt": asked[case]} if case in asked else {})}
        for case in CASES
    ]


def test_recorded_prompts_that_differ_are_refused_with_their_ids(tmp_path: Path) -> None:
    arms = _recorded_arms(
        tmp_path,
        base=_lines("x", **TEXTS),
        tuned=_lines("y", **{**TEXTS, "c0": "the box", "c2": "the village"}),
    )
    with pytest.raises(NotComparable) as caught:
        comparability.check_comparability(_prompts(arms), arms)
    message = str(caught.value)
    assert "in 2 of 3 cases ('c0', 'c2'); 'c0':" in message
    assert "'the parcel' where tuned has 'the box'" in message


def test_recorded_prompts_that_are_equal_are_proven(tmp_path: Path) -> None:
    arms = _recorded_arms(tmp_path, base=_lines("x", **TEXTS), tuned=_lines("y", **TEXTS))
    proof = comparability.check_comparability(_prompts(arms), arms)
    assert (proof["status"], proof["compared"]) == ("proven", 3)
    assert "on_trust" not in proof


def test_prompts_of_some_cases_are_on_trust(tmp_path: Path) -> None:
    arms = _recorded_arms(tmp_path, base=_lines("x", **TEXTS), tuned=_lines("y", c1=TEXTS["c1"]))
    proof = comparability.check_comparability(_prompts(arms), arms)
    assert (proof["status"], proof["on_trust"]) == ("declared", 2)
    assert proof["note"].endswith("prompts taken on trust (2 of 3 cases)")


def test_a_case_without_a_line_is_unscored_and_not_on_trust(tmp_path: Path) -> None:
    arms = _recorded_arms(tmp_path, base=_lines("x", **TEXTS), tuned=_lines("y", **TEXTS)[:2])
    proof = comparability.check_comparability(_prompts(arms), arms)
    assert (proof["status"], proof["compared"]) == ("proven", 2)


def test_a_recorded_prompt_is_compared_with_what_a_live_arm_is_asked(
    tmp_path: Path, scripted: Callable[..., str]
) -> None:
    live = open_arms({"tuned": scripted("a", default="x"), "base": scripted("b", default="x")})
    for word, expected in ((None, 3), ("the box", None)):
        asked = {
            case: live["base"].prompt(Case(id=case, prompt=text), GenerationSettings()).text
            for case, text in TEXTS.items()
        }
        if word is not None:
            asked["c2"] = word
        recorded = _recorded_arms(tmp_path, tuned=_lines("y", **asked), base=_lines("z"))
        arms = {"base": live["base"], "tuned": recorded["tuned"]}
        if expected is None:
            with pytest.raises(NotComparable, match=r"1 of 3 cases \('c2'\).*'the box'"):
                comparability.check_comparability(_prompts(arms), arms)
        else:
            assert comparability.check_comparability(_prompts(arms), arms)["compared"] == expected


def test_a_context_that_is_too_short_for_one_arm_is_refused(tiny: Any, copied: Copy) -> None:
    short = copied(tiny.base(seed=7), max_position_embeddings=64)
    arms = open_arms({"base": str(short), "tuned": str(tiny.base())})

    def refuse(max_new_tokens: int) -> None:
        generation = GenerationSettings(template="none", max_new_tokens=max_new_tokens)
        case = Case(id="c1", prompt="the parcel")
        cell = Cell(suite="s", case="c1", arm="base", kind=CellKind.GENERATE, key="k")
        request = Request(cell, case, arms["base"].prompt(case, generation), generation, 0)
        comparability.refuse_other_contexts([request], arms)

    refuse(16)
    with pytest.raises(NotComparable, match=r"case 'c1' takes .* 64 in base, 256 in tuned"):
        refuse(64)
