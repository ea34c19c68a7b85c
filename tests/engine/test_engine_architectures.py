"""Models that are unlike the others: a running state, no pad token, second loads, odd caches."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_models import ARCHITECTURES, RUNNING_STATE, muted
from tests.whole_forwards import greedy, logprob
from tunegate.harness.engine.inference import local_engine
from tunegate.harness.engine.inference.fallbacks import fallback_notices, one_by_one
from tunegate.harness.engine.inference.speculative import DraftAcceptance, KnownAnswer
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case

LONG = "the capital of France is Paris, the capital of Spain is Madrid, and so on; "
PROMPTS = ("a", "the parcel", "a refund for the parcel that never came", "12", "the capital of")
Ask = Callable[..., list[Any]]


def _answers(arm: Any, ask: Ask, prompts: tuple[str, ...], kind: str, **settings: Any) -> list[Any]:
    cases = [
        Case(id=str(i), prompt=text, expected="the customer", choices=("B", "late and", "refund"))
        for i, text in enumerate(prompts)
    ]
    drafts = settings.pop("drafts", {})
    found = {
        a.key: a.completion
        for a in local_engine.complete_requests(arm, ask(arm, cases, kind, **settings), drafts)
    }
    return [found[case.id] for case in cases]


def _known(answers: dict[str, Any]) -> dict[str, KnownAnswer]:
    """Offer answers as drafts."""
    acceptance = DraftAcceptance()
    return {key: KnownAnswer(completion, acceptance) for key, completion in answers.items()}


def _texts(arm: Any, ask: Ask, prompts: tuple[str, ...], **settings: Any) -> list[str]:
    return [c.text for c in _answers(arm, ask, prompts, "generate", max_new_tokens=12, **settings)]


def _expected(arm: Any, model: Any, prompts: tuple[str, ...], n: int = 12) -> list[str]:
    """What the model writes in whole forwards of one prompt alone."""
    rows = [greedy(model, arm.tokenizer(text)["input_ids"], n, arm.stop_ids) for text in prompts]
    return [arm.tokenizer.decode(ids, skip_special_tokens=True) for ids in rows]


def _load(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder).eval()


@pytest.mark.parametrize("shared", ["", LONG], ids=["no prefix", "shared prefix"])
@pytest.mark.parametrize("architecture", RUNNING_STATE)
def test_a_running_state_is_computed_alone(
    tiny: Any, ask: Ask, architecture: str, shared: str
) -> None:
    """Answers, likelihoods and bits are those of whole forwards; drafts are left aside."""
    arms = open_arms(
        {"base": str(tiny.base(architecture)), "tuned": str(tiny.base(architecture, seed=1))}
    )
    prompts = tuple(shared + text for text in PROMPTS)
    for seed, arm in enumerate(arms.values()):
        assert one_by_one(arm)
        model = _load(tiny.base(architecture, seed=seed))
        texts = _expected(arm, model, prompts)
        assert _texts(arm, ask, prompts) == texts
        wrong = {str(i): Completion(text="a refund") for i in range(len(prompts))}
        assert _texts(arm, ask, prompts, drafts=_known(wrong)) == texts
        found = _answers(arm, ask, prompts, "choices")
        for text, completion in zip(prompts, found, strict=True):
            before = arm.tokenizer(text)["input_ids"]
            for choice, value in zip(
                ("B", "late and", "refund"), completion.choice_logprobs, strict=True
            ):
                rest = arm.tokenizer(f"{text} {choice}")["input_ids"][len(before) :]
                assert value == pytest.approx(logprob(model, before, rest), abs=1e-4)
        (read,) = _answers(arm, ask, (prompts[2],), "text")
        ids = arm.tokenizer(prompts[2])["input_ids"]
        bits = -logprob(model, [1], ids) / math.log(2) / len(prompts[2].encode())
        assert read.bits_per_byte == pytest.approx(bits, abs=1e-4)


def test_a_running_state_with_an_adapter(tiny: Any, ask: Ask) -> None:
    from peft import PeftModel

    arms = tiny.pair("qwen3_5")
    tuned = _load(tiny.base("qwen3_5"))
    with muted():
        tuned = PeftModel.from_pretrained(tuned, tiny.adapter("qwen3_5")).eval()
    found = {name: _texts(arm, ask, PROMPTS) for name, arm in arms.items()}
    assert found["base"] == _expected(arms["base"], _load(tiny.base("qwen3_5")), PROMPTS)
    assert found["tuned"] == _expected(arms["tuned"], tuned, PROMPTS)
    assert found["base"] != found["tuned"]


def test_what_is_switched_off_is_said(tiny: Any) -> None:
    """A notice for each arm that is computed alone, with the cause; none for the others."""
    assert list(fallback_notices(tiny.pair("llama"))) == []
    assert list(fallback_notices(tiny.pair("qwen3_5"))) == [
        f"{arm}: its layers carry a running state, so cases run one by one: no batches, drafts, "
        "shared prefixes"
        for arm in ("base", "tuned")
    ]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_full_fine_tune_and_a_merged_model(
    tiny: Any, ask: Ask, tmp_path: Path, architecture: str
) -> None:
    from peft import PeftModel

    with muted():
        adapted = PeftModel.from_pretrained(
            _load(tiny.base(architecture)), tiny.adapter(architecture)
        )
        adapted.merge_and_unload().save_pretrained(tmp_path)
    for file in tiny.base(architecture).glob("tokenizer*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "chat_template.jinja").write_bytes(
        (tiny.base(architecture) / "chat_template.jinja").read_bytes()
    )
    for folder in (tmp_path, tiny.base(architecture, seed=3)):
        arms = open_arms({"base": str(tiny.base(architecture)), "tuned": str(folder)})
        expected = _expected(arms["tuned"], _load(folder), PROMPTS)
        base = _answers(arms["base"], ask, PROMPTS, "generate", max_new_tokens=12)
        drafts = _known({str(i): c for i, c in enumerate(base)})
        assert _texts(arms["tuned"], ask, PROMPTS, drafts=drafts) == expected
        assert _texts(arms["base"], ask, PROMPTS) != expected


@pytest.mark.parametrize("cache", ["static", "dynamic", "quantized"])
def test_the_cache_that_a_model_asks_for_is_ours(
    tiny: Any, ask: Ask, copied: Callable[..., Path], cache: str
) -> None:
    folder = copied(tiny.base("gemma3"), file="generation_config.json", cache_implementation=cache)
    arms = open_arms({"base": str(folder), "tuned": str(tiny.base("gemma3", seed=1))})
    assert _texts(arms["base"], ask, PROMPTS) == _texts(tiny.pair("gemma3")["base"], ask, PROMPTS)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_without_a_pad_token_or_a_chat_template(
    tiny: Any, ask: Ask, copied: Callable[..., Path], tiny_tokenizer: Any, architecture: str
) -> None:
    """Padding is never seen, so any id will do; plain prompts need no template."""
    folder = copied(tiny.base(architecture), pad_token_id=None)
    (folder / "chat_template.jinja").unlink()
    bare = tiny_tokenizer(template=None)
    bare.pad_token = None
    bare.save_pretrained(folder)
    arms = open_arms({"base": str(folder), "tuned": str(tiny.base(architecture, seed=1))})
    assert arms["base"].tokenizer.pad_token is None
    usual = tiny.pair(architecture)["base"]
    assert _texts(arms["base"], ask, PROMPTS) == _texts(usual, ask, PROMPTS)
    bare_arm, usual_arm = (_likelihoods(arm, ask) for arm in (arms["base"], usual))
    assert bare_arm == pytest.approx(usual_arm, abs=1e-4)


def _likelihoods(arm: Any, ask: Ask) -> list[float]:
    """Everything that is read, not written, in one list."""
    chosen = [v for c in _answers(arm, ask, PROMPTS, "choices") for v in c.choice_logprobs]
    answered = [c.answer_logprob for c in _answers(arm, ask, PROMPTS, "answer")]
    return [*chosen, *answered, *(c.bits_per_byte for c in _answers(arm, ask, PROMPTS, "text"))]
