"""Estimates of a training: memory by formula against counts by hand, time against real steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tunegate.harness.records.errors import ModelError, UsageError
from tunegate.trainers.estimate.memory import (
    ModelShape,
    TrainingSetting,
    load_configuration,
    model_shape,
    process_bytes,
    setting_grid,
    step_memory,
)
from tunegate.trainers.estimate.timing import StepProfile, profile_steps

# tests/trainers/conftest.py: 2 layers of q, o 32·32, k, v 32·16, gate, up, down 32·64, two norms
# of 32; a last norm; embedding and head of 258 tokens.
LINEAR = 2 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64)
PARAMETERS = LINEAR + 5 * 32 + 2 * 258 * 32
# Adapter of rank r: r · (in + out) of each linear layer.
ADAPTER = 4 * 2 * (2 * (32 + 32) + 2 * (32 + 16) + 3 * (32 + 64))
# A layer keeps of a token: 4 · 32 (norms), 2 · 32 + 2 · 16 (attention), 3 · 64 (MLP).
LAYER = 4 * 32 + 2 * 32 + 2 * 16 + 3 * 64


@pytest.fixture(name="tiny")
def _tiny(tiny_base: Path) -> ModelShape:
    return model_shape(load_configuration(str(tiny_base)))


def test_full_training_counts_every_weight(tiny: ModelShape) -> None:
    """4 bytes a weight, and three times that for gradient and AdamW; inputs of linear layers."""
    found = step_memory(tiny, TrainingSetting("full", 0, 16, 2))

    assert found.trained == PARAMETERS
    assert found.weights == 4 * PARAMETERS
    assert found.states == 12 * PARAMETERS
    assert found.activations == 32 * 2 * 4 * (LAYER + 2 * 32 + 64)
    assert found.logits == 8 * 4 * 258 * 32
    assert found.total == found.weights + found.states + found.activations + found.logits


def test_an_adapter_is_as_large_as_its_rank_says(tiny: ModelShape) -> None:
    """Dropout holds a mask and a copy of inputs, 5 · 32 + 32 + 64 a layer; 7 · 4 of the rank."""
    found = step_memory(tiny, TrainingSetting("lora", 4, 16, 2))

    assert found.trained == ADAPTER
    assert found.states == 12 * ADAPTER
    assert found.weights == 4 * (PARAMETERS + ADAPTER)
    assert found.activations == 32 * 2 * 4 * (LAYER + 2 * (5 * 32 + 32 + 64) + 7 * 4)
    assert found.mapped == 0


def test_a_quantized_base_takes_four_bits_a_weight_and_its_scales(tiny: ModelShape) -> None:
    """Linear layers: 0.5 + 1/64 + 4/16384 bytes a weight. The adapter has two bytes a number."""
    found = step_memory(tiny, TrainingSetting("qlora", 4, 16, 2))

    packed = LINEAR * (0.5 + 1 / 64 + 4 / 16384)
    assert found.weights == pytest.approx(packed + 4 * (PARAMETERS - LINEAR) + 2 * ADAPTER, abs=1)
    assert found.states == 6 * ADAPTER
    assert found.mapped == 4 * LINEAR


def test_half_the_bytes_a_number_halve_the_base_and_not_the_adapter(tiny: ModelShape) -> None:
    found = step_memory(tiny, TrainingSetting("lora", 4, 16, 2, "bfloat16"))

    assert found.weights == 2 * PARAMETERS + 4 * ADAPTER


@pytest.mark.parametrize(
    ("trainer", "written", "tokens", "scored"),
    [("sft", 0, 1024, 1024), ("dpo", 0, 2048, 2048), ("kto", 0, 1024, 1024), ("grpo", 8, 1024, 16)],
)
def test_trainers_differ_in_sequences_and_logits(
    tiny: ModelShape, trainer: str, written: int, tokens: int, scored: int
) -> None:
    found = step_memory(tiny, TrainingSetting("full", 0, 512, 2, trainer=trainer, written=written))

    assert found.activations == tokens * 2 * 4 * (LAYER + 2 * 32 + 64)
    assert found.logits == 8 * 4 * 258 * scored


def test_logits_come_in_tiles(tiny: ModelShape) -> None:
    """Of 4,096 tokens and 32,768 tokens of the vocabulary; Triton works in one tile."""
    large = replace(tiny, vocabulary=100_000)
    setting = TrainingSetting("qlora", 4, 512, 64)

    assert step_memory(large, setting).logits == 8 * 4 * 4096 * 32768
    on_gpu = step_memory(large, setting, gpu=True)
    assert (on_gpu.logits, on_gpu.mapped) == (4 * 4096 * 32768, 0)


def test_cache_of_a_token(tiny: ModelShape) -> None:
    """Keys and values, 2 layers, 2 heads of 8 numbers, 4 bytes each."""
    assert tiny.cache_bytes("float32") == 2 * 2 * 2 * 8 * 4


@pytest.mark.parametrize("architecture", ["gpt2", "qwen3", "gemma3", "phi3"])
def test_parameters_are_those_of_the_model_itself(architecture: str) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from tests.tiny_models import make_config, muted

    config = make_config(architecture)
    model = AutoModelForCausalLM.from_config(config)
    shape = model_shape(config)

    assert shape.parameters == sum(p.numel() for p in model.parameters())
    with muted():
        adapted = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear"))
    trained, _ = adapted.get_nb_trainable_parameters()
    assert step_memory(shape, TrainingSetting("lora", 4, 16, 1)).trained == trained


def test_experts_count_as_often_as_a_token_asks_them() -> None:
    """Two of four experts of 48."""
    from transformers import MixtralConfig

    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "vocab_size": 64}
    config = MixtralConfig(
        **sizes, intermediate_size=48, num_attention_heads=2, num_key_value_heads=2,
        num_local_experts=4, num_experts_per_tok=2,
    )  # fmt: skip

    assert model_shape(config).mlp == 96


def test_what_has_no_widths_is_refused() -> None:
    from transformers import ViTConfig

    with pytest.raises(UsageError, match="vit: its memory does not follow"):
        model_shape(ViTConfig())


def test_every_combination_once() -> None:
    """Full training has no rank; an unknown method is named."""
    found = setting_grid(["lora", "full"], [8, 16], [64], [1, 2])

    assert [(s.method, s.rank, s.batch) for s in found] == [
        ("lora", 8, 1),
        ("lora", 8, 2),
        ("lora", 16, 1),
        ("lora", 16, 2),
        ("full", 0, 1),
        ("full", 0, 2),
    ]
    with pytest.raises(UsageError, match="'lorra': allowed are lora, qlora, full"):
        setting_grid(["lorra"], [8], [64], [1])


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no configuration of a model"):
        load_configuration(str(tmp_path))


def test_a_hub_id_that_is_nowhere() -> None:
    with pytest.raises(ModelError, match="--model no/such-model: neither a folder, nor in the"):
        load_configuration("no/such-model")


def test_time_is_start_and_the_steps_that_remain() -> None:
    """10 s to the end of step 1, 99 more of 2 s; t(0.975, 2) = 4.303 · 1 s / √3 = 2.484 a step."""
    found = StepProfile(seconds=(1.0, 2.0, 3.0), steps=100, start_s=10.0, peak=1)

    middle, low, high = found.total_s

    assert middle == 10 + 99 * 2
    assert high == pytest.approx(10 + 99 * (2 + 2.484), abs=0.1)
    assert low == 10 + 99 * 0.5  # half the fastest step, rather than a negative one


def test_real_steps_are_timed(tiny_base: Path, write_rows: Callable[..., Path]) -> None:
    """Of a training of 24 steps four count; it says what TRL's trainer would have done."""
    argv = ["--model_name_or_path", str(tiny_base), "--train_files", str(write_rows())]
    argv += ["--per_device_train_batch_size", "2", "--num_train_epochs", "4", "--use_peft"]

    found = profile_steps(argv, steps=4, say=lambda line: None)

    assert (found.steps, len(found.seconds)) == (24, 4)
    assert found.peak > 10**8
    low, middle, high = sorted(found.total_s)
    assert 0 < low <= middle <= high
    with pytest.raises(UsageError, match="at least three"):
        profile_steps([*argv, "--max_steps", "2"], steps=4, say=lambda line: None)


@pytest.mark.slow
@pytest.mark.long
def test_a_real_training_takes_what_was_estimated() -> None:
    """SmolLM2 with LoRA: the largest resident memory of its process is within 15 %."""
    from benchmarks._apart import apart
    from benchmarks.estimate import trained

    setting = TrainingSetting("lora", 8, 64, 4)
    step = step_memory(model_shape(load_configuration("embedded")), setting)

    found = process_bytes() + step.total
    assert found == pytest.approx(apart(trained, setting, "embedded").peak, rel=0.15)
