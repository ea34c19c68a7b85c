"""Comparability: the first prompt that differs is named, with what is to blame."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_models import TEMPLATE
from tunegate.harness.checks import comparability
from tunegate.harness.errors import NotComparable
from tunegate.harness.model import Prompt
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.records.cases import Case, GenerationSettings

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
    """Base and its adapter get the same ids for every prompt."""
    arms = tiny.pair()
    proof = comparability.check_comparability(_prompts(arms), arms)
    assert proof == {
        "status": "proven",
        "prompts": 3,
        "compared": 3,
        "by": "token ids",
        "template_sha256": arms["base"].identity["template_sha256"],
    }


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


def test_text_is_compared_where_there_are_no_ids(scripted: Callable[..., str]) -> None:
    """Arms that do not tokenise here are compared by their texts."""
    same = open_arms({"base": scripted("a", default="x"), "tuned": scripted("b", default="y")})
    assert comparability.check_comparability(_prompts(same), same)["by"] == "text"
    other = open_arms(
        {"base": scripted("a", default="x"), "tuned": scripted("c", default="y", prefix="> ")}
    )
    with pytest.raises(NotComparable, match=r"case 'c0': .*the rendered texts differ.* '> user"):
        comparability.check_comparability(_prompts(other), other)


def test_every_other_arm_is_compared(scripted: Callable[..., str]) -> None:
    """An incumbent with another template is named as the arm that differs."""
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
