"""`gguf:…?engine=llama.cpp`: what is ours in it, with Transformers in llama.cpp's place.

The stand-in computes the file's logits with Transformers behind the few calls of `llama_cpp` that
are made, so that the arm must answer as the arm of the unpacked file does. The last tests run the
real llama-cpp-python where it is installed.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.gguf_files import few_stops, rewritten
from tests.tiny_models import Tiny
from tunegate.harness.engine.inference import local_engine
from tunegate.harness.models.gguf import gguf
from tunegate.harness.models.gguf_format import llama_cpp as _llama_cpp
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import MissingExtra, ModelError
from tunegate.harness.records.generation import GenerationSettings

REAL = importlib.util.find_spec("llama_cpp") is not None
needs_llama_cpp = pytest.mark.skipif(
    not REAL, reason="llama-cpp-python is compiled and not installed here"
)
CASES = [
    Case(id=name, prompt=prompt, choices=("Paris", "a"), answer=0, expected=("Paris", "a refund"))
    for name, prompt in (
        ("a", "the capital of France is"),
        ("b", "the parcel is late and"),
        ("c", "1, 22, 333,"),
    )
]


class Llama:
    """llama_cpp.Llama, as far as it is used."""

    opened: list[int]
    """Context lengths, in the order of opening."""
    poison: int | None = None
    """A token that it does not compute."""

    def __init__(self, model_path: str, *, n_ctx: int, n_gpu_layers: int, verbose: bool) -> None:
        assert (n_gpu_layers, verbose) == (-1, False)
        arm: Any = gguf(model_path)
        self._model, self._length, self._ids = arm.loaded.torch_model, n_ctx, []
        self._vocabulary = int(self._model.config.vocab_size)
        self.opened.append(n_ctx)

    @property
    def ctx(self) -> Llama:
        return self

    def n_ctx(self) -> int:
        return self._length

    def n_vocab(self) -> int:
        return self._vocabulary

    def reset(self) -> None:
        self._ids = []

    def eval(self, ids: list[int]) -> None:
        if self.poison in ids:
            raise RuntimeError("llama_decode returned -3")
        self._ids = [*self._ids, *ids]
        assert len(self._ids) <= self._length

    def close(self) -> None:
        self._ids = []

    def logits(self) -> Any:
        import torch

        with torch.inference_mode():
            return self._model(input_ids=torch.tensor([self._ids])).logits[0, -1].numpy().copy()


def _get_logits(ctx: Llama, at: int) -> Any:
    assert at == -1
    ctx.kept = ctx.logits()  # type: ignore[attr-defined]  # the pointer needs its numbers alive
    return ctx.kept.ctypes.data_as(ctypes.POINTER(ctypes.c_float))  # type: ignore[attr-defined]


@pytest.fixture(name="llama_cpp")
def _llama_cpp_stand_in(monkeypatch: pytest.MonkeyPatch) -> type[Llama]:
    module = ModuleType("llama_cpp")
    module.__spec__ = ModuleSpec("llama_cpp", None)
    made = type("Llama", (Llama,), {"opened": []})
    module.__dict__.update(Llama=made, llama_get_logits_ith=_get_logits, __version__="0.3.0")
    monkeypatch.setitem(sys.modules, "llama_cpp", module)
    return made


@pytest.fixture(scope="module", name="path")
def _path(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama in a float32 file."""
    from tests.gguf_writer import write_gguf

    root = tmp_path_factory.mktemp("gguf")
    few_stops(tiny.base(), root / "model")
    write_gguf(root / "model", root / "m.gguf", "F32")
    return root / "m.gguf"


def _answers(arm: Any, requests: list[Any]) -> dict[str, Any]:
    given = (
        local_engine.complete_requests(arm, requests)
        if hasattr(arm, "active")
        else arm.complete(requests)
    )
    return {answer.key: answer.completion for answer in given}


@pytest.mark.parametrize("kind", ["generate", "latency", "choices", "answer"])
def test_it_answers_as_the_unpacked_file_does(
    llama_cpp: type[Llama], path: Path, ask: Callable[..., list[Any]], kind: str
) -> None:
    unpacked, arm = gguf(str(path)), gguf(f"{path}?engine=llama.cpp")
    theirs, ours = (_answers(a, ask(a, CASES, kind, max_new_tokens=12)) for a in (unpacked, arm))

    for key, completion in theirs.items():
        assert ours[key].text == completion.text
        assert ours[key].finish_reason == completion.finish_reason
        assert ours[key].output_tokens == completion.output_tokens
        assert ours[key].input_tokens == completion.input_tokens
        assert ours[key].choice_logprobs == pytest.approx(completion.choice_logprobs, abs=1e-5)
        assert ours[key].answer_logprob == pytest.approx(completion.answer_logprob, abs=1e-5)
        assert ours[key].batch_size == 1


def test_prompts_are_the_same_tokens(llama_cpp: type[Llama], path: Path) -> None:
    from tunegate.harness.checks import comparability

    arms = {"base": gguf(str(path)), "tuned": gguf(f"{path}?engine=llama.cpp")}
    prompts = {
        ("s", case.id, name): arm.prompt(case, GenerationSettings())
        for name, arm in arms.items()
        for case in CASES
    }

    assert comparability.check_comparability(prompts, arms)["by"] == "token ids"
    assert arms["base"].fingerprint != arms["tuned"].fingerprint


def test_stop_texts_are_cut_off(
    llama_cpp: type[Llama], path: Path, ask: Callable[..., list[Any]]
) -> None:
    arm: Any = gguf(f"{path}?engine=llama.cpp")
    whole = _answers(arm, ask(arm, CASES[:1], max_new_tokens=12))["a"]
    stop = whole.text[2:4]
    cut = _answers(arm, ask(arm, CASES[:1], max_new_tokens=12, stop=(stop,)))["a"]

    assert cut.text == whole.text.partition(stop)[0]
    assert cut.finish_reason == "stop"
    assert cut.output_tokens < whole.output_tokens


def test_the_context_grows_and_has_an_end(
    llama_cpp: type[Llama], path: Path, ask: Callable[..., list[Any]], monkeypatch: Any
) -> None:
    """It is opened longer when more is asked; beyond the model's own it is the case's error."""
    monkeypatch.setattr(_llama_cpp, "_SMALLEST", 16)
    arm: Any = gguf(f"{path}?engine=llama.cpp")
    prompt = Case(id="long", prompt="a refund " * 10)
    length = len(arm.prompt(prompt, GenerationSettings(template="none")).token_ids)
    fits, not_ = (ask(arm, [prompt], max_new_tokens=n) for n in (4, 300))

    (answer,), (refused,) = list(arm.complete(fits)), list(arm.complete(not_))
    assert answer.error is None
    assert llama_cpp.opened == [16, 1 << (length + 4).bit_length()]
    assert refused.completion is None
    assert refused.error == (
        f"{length + 300} tokens do not fit the model's context of 256; shorten the prompt"
    )


def test_a_failure_is_the_cases_own(
    llama_cpp: type[Llama], path: Path, ask: Callable[..., list[Any]]
) -> None:
    arm: Any = gguf(f"{path}?engine=llama.cpp")
    broken = Case(id="broken", prompt="~")
    llama_cpp.poison = arm.tokenizer("~")["input_ids"][0]
    answers = {a.key: a for a in arm.complete(ask(arm, [broken, CASES[0]], max_new_tokens=2))}

    assert answers["broken"].error == "llama_decode returned -3"
    assert answers["broken"].completion is None
    assert answers["a"].completion is not None


def test_whole_texts_are_refused_with_the_way_out(llama_cpp: type[Llama], path: Path) -> None:
    arm = gguf(f"{path}?engine=llama.cpp")

    assert CellKind.TEXT not in arm.kinds
    assert "leave ?engine=llama.cpp out" in arm.cannot(CellKind.TEXT)


def test_a_file_that_llama_cpp_does_not_load_is_one_line(
    llama_cpp: type[Llama], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise ValueError(f"Failed to load model from file: {path}")

    monkeypatch.setattr(sys.modules["llama_cpp"], "Llama", fails)
    with pytest.raises(ModelError, match=r"m\.gguf: llama\.cpp does not load it \(Failed to load"):
        gguf(f"{path}?engine=llama.cpp")


def test_without_the_package_the_extra_is_named(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is compiled, so `all` leaves it out: the line says what to install."""
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *a: None if n == "llama_cpp" else found(n, *a)
    )
    with pytest.raises(MissingExtra, match=r"\?engine=llama\.cpp needs .*'tunegate\[llama-cpp\]'"):
        gguf(f"{path}?engine=llama.cpp")


def test_tokens_are_drawn_from_the_nucleus() -> None:
    """Of shares 0.5, 0.3, 0.2, top_p 0.6 keeps two, at 5/8 and 3/8; a cold model is greedy."""
    logits = np.log(np.array([0.2, 0.5, 0.3]))
    warm, cold = (
        GenerationSettings(temperature=1.0, top_p=0.6),
        GenerationSettings(temperature=0.01),
    )
    random = np.random.default_rng(1)
    drawn = [_llama_cpp.choose_token(logits, warm, random) for _ in range(4000)]

    assert set(drawn) == {1, 2}
    # the standard error is sqrt(5/8 × 3/8 / 4000) = 0.0077
    assert drawn.count(1) / 4000 == pytest.approx(0.625, abs=0.03)
    assert _llama_cpp.choose_token(logits, GenerationSettings(), random) == 1
    assert {_llama_cpp.choose_token(logits, cold, random) for _ in range(50)} == {1}


def test_sampling_depends_on_the_seed_alone(
    llama_cpp: type[Llama], path: Path, ask: Callable[..., list[Any]]
) -> None:
    arm: Any = gguf(f"{path}?engine=llama.cpp")
    settings: dict[str, Any] = {"temperature": 2.0, "max_new_tokens": 8}
    together = _answers(arm, ask(arm, CASES, **settings))
    alone = _answers(arm, ask(arm, CASES[:1], **settings))
    other = _answers(arm, ask(arm, CASES[:1], seed=7, **settings))

    assert alone["a"].text == together["a"].text
    assert other["a"].text != alone["a"].text


@needs_llama_cpp
def test_llama_cpp_computes_what_transformers_unpacks(
    path: Path, ask: Callable[..., list[Any]]
) -> None:
    """On a float32 file: the same texts, and likelihoods nearly (its cache has 16 bits)."""
    unpacked, arm = gguf(str(path)), gguf(f"{path}?engine=llama.cpp")
    texts = [_answers(a, ask(a, CASES, max_new_tokens=8)) for a in (unpacked, arm)]
    likely = [_answers(a, ask(a, CASES, "choices")) for a in (unpacked, arm)]

    for key, completion in texts[0].items():
        assert texts[1][key].text == completion.text
        assert likely[1][key].choice_logprobs == pytest.approx(
            likely[0][key].choice_logprobs, abs=0.05
        )


@needs_llama_cpp
@pytest.mark.parametrize("pre", ["gpt-2", "smollm", "qwen2", "llama-bpe"])
def test_llama_cpp_splits_texts_as_we_do(path: Path, tmp_path: Path, pre: str) -> None:
    from llama_cpp import Llama as Real

    file = rewritten(path, tmp_path / "m.gguf", **{"tokenizer.ggml.pre": pre})
    theirs = Real(str(file), vocab_only=True, verbose=False)
    ours: Any = gguf(str(file))
    for text in (
        "the parcel's 1234 refunds,\n\n 20 and  7",
        "List:\n\n1. one\n\n2. two\t\t3",
        "<|start|>user\nHELLO'S été 中文<|end|>\n",
        "  a   12  ",
    ):
        expected = theirs.tokenize(text.encode(), add_bos=False, special=True)
        assert ours.tokenizer(text, add_special_tokens=False)["input_ids"] == expected
    theirs.close()
