"""Memory from a configuration: against counts by hand, PEFT's own, and a real training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tunegate.harness.errors import ModelError, UsageError
from tunegate.trainers.estimate import (
    MemoryEstimate,
    load_configuration,
    process_bytes,
    setting_grid,
)
from tunegate.trainers.estimate.losses import generate_answers
from tunegate.trainers.estimate.profile import StepProfile, profile_steps
from tunegate.trainers.estimate.step_memory import (
    StepMemory,
    TrainingSetting,
    cache_bytes,
    memory_tracker,
    simulate_step,
)

# tests/trainers/conftest.py: 2 layers of q, o 32·32, k, v 32·16, gate, up, down 32·64, two norms
# of 32; a last norm; embedding and head of 258 tokens.
LINEAR = 2 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64)
PARAMETERS = LINEAR + 5 * 32 + 2 * 258 * 32
# Adapter of rank r: r · (in + out) of each linear layer.
ADAPTER = 4 * 2 * (2 * (32 + 32) + 2 * (32 + 16) + 3 * (32 + 64))


def test_full_training_counts_every_weight(tiny_base: Path) -> None:
    """4 bytes a weight, and three times as much again for gradient and AdamW."""
    found = simulate_step(load_configuration(str(tiny_base)), TrainingSetting("full", 0, 16, 2))

    assert found.parameters == PARAMETERS
    assert found.weights == pytest.approx(4 * PARAMETERS, rel=0.001)  # and positions' frequencies
    assert found.trained == 12 * PARAMETERS
    assert found.peak >= found.weights + found.trained


def test_an_adapter_is_as_large_as_its_rank_says(tiny_base: Path) -> None:
    """r · (in + out) for each linear layer; only it has gradients and moments."""
    config = load_configuration(str(tiny_base))

    found = simulate_step(config, TrainingSetting("lora", 4, 16, 2))

    assert found.parameters == ADAPTER
    assert found.trained == 12 * ADAPTER
    assert found.weights == pytest.approx(4 * (PARAMETERS + ADAPTER), rel=0.001)
    assert found.packed == 0
    assert simulate_step(config, TrainingSetting("lora", 8, 16, 2)).parameters == 2 * ADAPTER


def test_a_quantised_base_takes_four_bits_a_weight_and_its_scales(tiny_base: Path) -> None:
    """Of the linear layers alone: 0.5 + 1/64 + 4/16384 bytes for each of their weights.

    The adapter has two bytes a number, as TRL leaves it, and so have its gradients and moments.
    """
    found = simulate_step(load_configuration(str(tiny_base)), TrainingSetting("qlora", 4, 16, 2))

    packed = LINEAR * (0.5 + 1 / 64 + 4 / 16384)
    rest = 4 * (PARAMETERS - LINEAR) + 2 * ADAPTER
    assert found.weights == pytest.approx(packed + rest, rel=0.002)
    assert found.trained == 6 * ADAPTER
    assert found.packed == 4 * LINEAR


def test_activations_grow_with_the_rows(tiny_base: Path) -> None:
    """Three times the rows of under 256 tokens keep three times as much, to a percent."""
    config = load_configuration(str(tiny_base))

    one, three = (
        simulate_step(config, TrainingSetting("lora", 4, 24, n)).activations for n in (1, 3)
    )

    assert three == pytest.approx(3 * one, rel=0.01)


def test_half_the_bytes_a_number_halve_the_base(tiny_base: Path) -> None:
    """Weights in bfloat16; PEFT keeps adapters in float32."""
    found = simulate_step(
        load_configuration(str(tiny_base)), TrainingSetting("lora", 4, 16, 2, "bfloat16")
    )

    assert found.weights == pytest.approx(2 * PARAMETERS + 4 * ADAPTER, rel=0.001)


def test_cache_of_a_token(tiny_base: Path) -> None:
    """Keys and values, 2 layers, 2 heads of 8 numbers, 4 bytes each."""
    assert cache_bytes(load_configuration(str(tiny_base))) == 2 * 2 * 2 * 8 * 4


@pytest.mark.parametrize("architecture", ["gpt2", "qwen3", "gemma3", "phi3"])
def test_architectures_need_no_formula(architecture: str) -> None:
    """Each is gone through as it is; the count is that of the model itself."""
    from tests.tiny_models import make_config

    config = make_config(architecture)

    assert simulate_step(config, TrainingSetting("full", 0, 16, 1)).parameters == _count(config)


def _count(config: object) -> int:
    from transformers import AutoModelForCausalLM

    return sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())


def test_the_tracker_knows_the_most_there_was() -> None:
    """A view takes nothing; what is dropped no longer counts, the peak stays."""
    import torch

    memory = memory_tracker()
    with memory:
        first = torch.empty(1000)
        view = first.view(10, 100)
        second = torch.empty(500)
        assert memory.now == 6000
        del first, view
        assert memory.now == 2000
        del second

    assert (memory.now, memory.peak) == (0, 6000)


def test_a_weight_is_copied_for_each_row_of_a_slice() -> None:
    """Of 3 rows the last 2 tokens, times 5 · 7 weights: 3 · 35 numbers beside all that is held."""
    import torch

    memory = memory_tracker()
    weight, hidden = torch.empty(7, 5), torch.empty(3, 4, 5)
    with memory:
        logits = torch.nn.functional.linear(hidden[:, -2:, :], weight)

    assert logits.shape == (3, 2, 7)
    assert memory.peak >= 4 * (3 * 2 * 7 + 3 * 35)


def test_the_file_of_a_quantised_base_stays_mapped() -> None:
    """Needed are process and step, 10 + 60; beside them lie the 30 bytes that were packed."""
    step = StepMemory(weights=30, trained=6, activations=20, peak=60, parameters=1, packed=30)

    found = MemoryEstimate(TrainingSetting("qlora", 8, 16, 1), step, 10)

    assert (found.needed, found.total) == (70, 100)


METHODS, TRAINERS = ("lora", "qlora", "full"), ("sft", "dpo", "kto", "grpo")


@pytest.mark.parametrize(
    ("architecture", "trainer", "method"),
    [
        *(("gemma3", trainer, method) for trainer in TRAINERS for method in METHODS),
        *(("gpt2", trainer, "lora") for trainer in TRAINERS),
        *(("gpt2", "sft", method) for method in METHODS[1:]),
    ],
)
def test_every_trainer_is_gone_through(architecture: str, trainer: str, method: str) -> None:
    from tests.tiny_models import make_config

    config = make_config(architecture)

    few, many = (
        simulate_step(config, TrainingSetting(method, 4, 32, n, trainer=trainer, written=16))
        for n in (2, 8)
    )

    assert few.parameters == many.parameters
    assert few.activations < many.activations < many.peak


VOCABULARY = 258


def test_a_pair_has_all_its_logits_and_the_references(tiny_base: Path) -> None:
    """DPO holds 2 rows · 512 tokens · 258 numbers twice at one time, SFT those of 256 tokens.

    Without an adapter the reference was asked before, and pairs cost what rows do in KTO.
    """
    config = load_configuration(str(tiny_base))

    pair = simulate_step(config, TrainingSetting("lora", 4, 512, 1, trainer="dpo"))
    rows = simulate_step(config, TrainingSetting("lora", 4, 512, 2))
    assert pair.peak - rows.peak > (2 * 2 * 512 - 4 * 256) * VOCABULARY * 4
    full = simulate_step(config, TrainingSetting("full", 0, 512, 1, trainer="dpo"))
    kto = simulate_step(config, TrainingSetting("full", 0, 512, 2, trainer="kto"))
    assert full.activations == pytest.approx(kto.activations, rel=0.02)


def test_grpo_has_logits_of_what_it_writes_alone(tiny_base: Path) -> None:
    """Of 8 tokens of 512 instead of 504: 496 · 258 numbers less, in two copies at the least."""
    config = load_configuration(str(tiny_base))

    few, many = (
        simulate_step(config, TrainingSetting("lora", 4, 512, 2, trainer="grpo", written=n))
        for n in (8, 504)
    )

    assert many.peak - few.peak > 2 * 2 * 496 * VOCABULARY * 4


def test_answers_are_written_beside_their_cache(tiny_base: Path) -> None:
    """3 rows of 108 tokens hold 256 bytes each (`test_cache_of_a_token`); the rest is less."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from transformers import AutoModelForCausalLM

    memory = memory_tracker()
    with torch.device("meta"):
        causal = AutoModelForCausalLM.from_config(load_configuration(str(tiny_base)))
    with FakeTensorMode(allow_non_fake_inputs=True):
        causal.to_empty(device="cpu")
        prompt = torch.zeros(3, 8, dtype=torch.long)
        with memory:
            generate_answers(causal, prompt, 100)

    assert 3 * 108 * 256 < memory.peak < 4 * 3 * 108 * 256


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
    with pytest.raises(UsageError, match="three at least"):
        profile_steps([*argv, "--max_steps", "2"], steps=4, say=lambda line: None)


@pytest.mark.slow
def test_a_real_training_takes_what_was_estimated() -> None:
    """SmolLM2 with LoRA: the largest resident memory of its process is within 15 %."""
    from benchmarks._apart import apart
    from benchmarks.estimate import trained

    setting = TrainingSetting("lora", 8, 64, 4)
    found = MemoryEstimate(
        setting, simulate_step(load_configuration("embedded"), setting), process_bytes()
    ).total

    assert found == pytest.approx(apart(trained, setting).peak, rel=0.15)
