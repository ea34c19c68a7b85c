"""`--peft KIND`: each kind trains, is saved, and opens in the gate as another model than base."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_models import Tiny, muted
from tunegate.harness.checks import liveness
from tunegate.harness.models._number_format import quantisation_name
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.records.errors import TunegateError
from tunegate.trainers import arguments, callbacks, peft_adapters
from tunegate.trainers.sft import METHOD
from tunegate.trainers.train import run_method
from tunegate.trainers.training_card import read_card

ROWS = [{"prompt": f"refund {i}", "completion": " yes" if i % 2 else " no"} for i in range(8)]
SHORT = ["--max_steps", "2", "--per_device_train_batch_size", "2", "--save_strategy", "no"]


def _train(base: Path, out: Path, rows: Path, *more: str) -> tuple[int, list[str]]:
    lines: list[str] = []
    argv = ["--model_name_or_path", str(base), "--train_files", str(rows), *SHORT]
    argv += ["--output_dir", str(out), "--learning_rate", "3e-2", *more]
    with muted():
        return run_method(METHOD, argv, say=lines.append), lines


def _alive(base: Path, tuned: Path) -> dict[str, Any]:
    with muted():
        proof: dict[str, Any] = liveness.check_liveness(
            open_arms({"base": str(base), "tuned": str(tuned)})
        )["tuned"]
    return proof


@pytest.mark.parametrize("kind", arguments.KINDS)
def test_each_kind_trains_and_opens_in_the_gate(
    kind: str, tiny: Tiny, tmp_path: Path, write_rows: Callable[..., Path]
) -> None:
    """Two steps move what is trained; the gate opens what was saved and proves it alive."""
    base, out = tiny.base(), tmp_path / "out"

    code, lines = _train(base, out, write_rows(rows=ROWS), "--peft", kind)

    assert 0 == code, lines
    proof = _alive(base, out)
    assert "proven" == proof["status"]
    assert proof["largest_logit_change"] > 0
    assert kind == read_card(out).hyperparameters["peft"]
    assert (out / "adapter_config.json").is_file() == (kind not in ("bitfit", "none"))


def _tensors(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(folder / "model.safetensors"))


def test_bitfit_moves_biases_and_nothing_else(
    tiny: Tiny, tmp_path: Path, write_rows: Callable[..., Path]
) -> None:
    """Qwen2 has biases at queries, keys and values: they move, all other tensors stay as bytes."""
    base, out = tiny.base("qwen2"), tmp_path / "out"

    code, lines = _train(base, out, write_rows(rows=ROWS), "--peft", "bitfit")

    assert 0 == code, lines
    before, after = _tensors(base), _tensors(out)
    moved = {name for name in before if not bool((before[name] == after[name]).all())}
    assert before.keys() == after.keys()
    assert moved == {name for name in before if name.endswith(".bias")} != set()


def test_bitfit_adds_zero_biases_where_the_architecture_can(
    tiny: Tiny, tmp_path: Path, write_rows: Callable[..., Path]
) -> None:
    from transformers import AutoModelForCausalLM

    from tunegate.trainers.base_model import find_base
    from tunegate.trainers.bitfit import load_bitfit_model

    base, out = tiny.base(), tmp_path / "out"
    said: list[str] = []
    with muted():
        biased = load_bitfit_model(find_base(str(base)), {"dtype": "float32"}, said.append)
        plain = AutoModelForCausalLM.from_pretrained(base)
    ids = plain.dummy_inputs["input_ids"]
    assert bool((biased(ids).logits == plain(ids).logits).all())
    assert ["llama has no biases: added as zeros (attention_bias, mlp_bias=true)"] == said

    assert 0 == _train(base, out, write_rows(rows=ROWS), "--peft", "bitfit")[0]

    config = json.loads((out / "config.json").read_text())
    assert config["attention_bias"] is config["mlp_bias"] is True
    before, after = _tensors(base), _tensors(out)
    assert all(bool((before[name] == after[name]).all()) for name in before)
    # q, k, v, o and gate, up, down of two layers
    assert 14 == len(after) - len(before)


def test_bitfit_is_refused_where_there_can_be_no_biases(
    tiny: Tiny, tmp_path: Path, write_rows: Callable[..., Path]
) -> None:
    code, lines = _train(
        tiny.base("mistral"), tmp_path / "out", write_rows(rows=ROWS), "--peft", "bitfit"
    )

    assert 2 == code
    assert "mistral has no biases" in lines[-1]
    assert "--peft ia3" in lines[-1]


def test_virtual_tokens_start_as_the_text_that_is_given(
    tiny: Tiny, tmp_path: Path, write_rows: Callable[..., Path]
) -> None:
    from safetensors.torch import load_file
    from transformers import AutoTokenizer

    base, out = tiny.base(), tmp_path / "out"
    options = ["--prompt_tuning_init", "TEXT", "--prompt_tuning_init_text", "a refund"]
    options += ["--num_virtual_tokens", "3", "--learning_rate", "1e-6", "--peft", "prompt"]

    code, lines = _train(base, out, write_rows(rows=ROWS), *options)

    assert 0 == code, lines
    prompt = load_file(out / "adapter_model.safetensors")["prompt_embeddings"]
    ids = AutoTokenizer.from_pretrained(base)("a refund")["input_ids"]
    embeddings = _tensors(base)["model.embed_tokens.weight"]
    expected = embeddings[(ids * 3)[:3]]
    assert float((prompt - expected).abs().max()) < 1e-4


def test_an_adapter_is_trained_on(
    tiny: Tiny, tmp_path: Path, write_rows: Callable[..., Path]
) -> None:
    """`--adapter_name_or_path` starts from the adapter's weights, and is recorded."""
    from safetensors.torch import load_file

    base, first, second = tiny.base(), tmp_path / "first", tmp_path / "second"
    rows = write_rows(rows=ROWS)
    assert 0 == _train(base, first, rows, "--peft", "lora")[0]

    slow = ["--adapter_name_or_path", str(first), "--learning_rate", "1e-6"]
    code, lines = _train(base, second, rows, *slow)

    assert 0 == code, lines
    one, two = (load_file(out / "adapter_model.safetensors") for out in (first, second))
    distance = max(float((one[name] - two[name]).abs().max()) for name in one)
    assert 0 < distance < 1e-4
    assert str(first) == read_card(second).hyperparameters["adapter_name_or_path"]


def test_an_adapter_of_another_base_is_refused(
    tiny: Tiny, tmp_path: Path, write_rows: Callable[..., Path]
) -> None:
    rows = write_rows(rows=ROWS)
    assert 0 == _train(tiny.base(), tmp_path / "first", rows, "--peft", "lora")[0]

    code, lines = _train(
        tiny.base(seed=5),
        tmp_path / "second",
        rows,
        "--adapter_name_or_path",
        str(tmp_path / "first"),
    )

    assert 2 == code
    assert "give its own base" in lines[-1]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--peft", "lara"], "lara"),
        (["--peft", "none", "--load_in_4bit"], "cannot be trained"),
        (["--peft", "prompt", "--num_virtual_tokens", "0"], "must be at least 1"),
        (["--peft", "prompt", "--prompt_tuning_init", "TEXT"], "--prompt_tuning_init_text"),
        (["--adapter_name_or_path", "/nowhere"], "not the folder of an adapter"),
        (["--adapter_name_or_path", "/nowhere", "--peft", "ia3"], "leave one of the two out"),
        (["--peft", "ia3", "--lora_target_modules", "q_prj"], "q_prj"),
    ],
)
def test_mistakes_end_in_one_line(
    more: list[str], said: str, tiny: Tiny, tmp_path: Path, write_rows: Callable[..., Path]
) -> None:
    code, lines = _train(tiny.base(), tmp_path / "out", write_rows(rows=ROWS), *more)

    assert 2 == code
    assert said in lines[-1]
    assert "\n" not in lines[-1]


def test_qlora_is_four_bits_twice_quantised(tiny: Tiny, tmp_path: Path) -> None:
    """`--peft qlora` is TRL's own options for NF4 with double quantisation."""
    config = _settled("--peft", "qlora")

    from trl import get_quantization_config  # type: ignore[attr-defined]  # lazily re-exported

    quantised = get_quantization_config(config.model)
    assert ("nf4", True, True) == (
        quantised.bnb_4bit_quant_type,
        quantised.bnb_4bit_use_double_quant,
        quantised.load_in_4bit,
    )
    assert quantisation_name(quantised) == "nf4 (bitsandbytes)"
    assert config.model.use_peft
    assert peft_adapters.peft_kind(_settled("--use_peft", "--load_in_4bit")) == "qlora"
    assert peft_adapters.peft_kind(_settled("--use_peft", "--use_dora")) == "dora"
    assert peft_adapters.peft_kind(_settled()) == "none"


def test_qlora_takes_a_paged_optimiser_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert peft_adapters.PAGED != _settled("--peft", "qlora").training.optim
    config = _settled("--peft", "qlora", settle=False)
    asked = _settled("--peft", "qlora", "--optim", "adamw_torch", settle=False)

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    for one in (config, asked):
        peft_adapters.settle_peft_options(one, arguments.KINDS)

    assert peft_adapters.PAGED == config.training.optim
    assert "adamw_torch" == asked.training.optim


def _settled(*argv: str, settle: bool = True) -> Any:
    from tunegate.trainers import sft
    from tunegate.trainers.arguments import parse_arguments
    from tunegate.trainers.train import method_parser

    config = parse_arguments(method_parser(sft.METHOD), argv)
    if settle:
        peft_adapters.settle_peft_options(config, arguments.KINDS)
    return config


def test_qlora_learns_after_it_was_evaluated(
    tiny: Tiny, tmp_path: Path, write_rows: Callable[..., Path]
) -> None:
    """An evaluation before the first step does not take the gradients of a 4-bit base away."""
    rows = write_rows(rows=ROWS)
    evaluated = ["--eval_files", str(rows), "--eval_strategy", "steps", "--eval_on_start"]

    code, lines = _train(tiny.base(), tmp_path / "out", rows, "--peft", "qlora", *evaluated)

    assert 0 == code, lines
    assert "proven" == _alive(tiny.base(), tmp_path / "out")["status"]


def test_a_training_without_gradients_ends_at_once() -> None:
    import torch

    model = torch.nn.Linear(2, 2)
    with pytest.raises(TunegateError, match="none of 2 trained tensors"):
        callbacks.gradient_callback().on_pre_optimizer_step(None, None, None, model=model)

    model(torch.ones(2)).sum().backward()
    callbacks.gradient_callback().on_pre_optimizer_step(None, None, None, model=model)

    model.requires_grad_(False)
    with pytest.raises(TunegateError, match="nothing is trained"):
        callbacks.gradient_callback().on_pre_optimizer_step(None, None, None, model=model)
