"""Training memory by formula, from the model's configuration alone.

Counted: weights, gradients, AdamW's two moments, activations, logits, and what the process takes.

Source: activations of a layer as in Korthikanti et al. (2022), Reducing Activation Recomputation in
Large Transformer Models, section 4.1, for any widths and number of bytes; without its terms in the
square of the length, which fused attention does not keep. NF4: Dettmers et al. (2023), QLoRA,
section 3.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from tunegate.harness.contracts import lookup
from tunegate.harness.records.errors import BackendError, ModelError, UsageError, error_reason
from tunegate.trainers.base_model import find_model_folder
from tunegate.trainers.hardware import peak_memory

if TYPE_CHECKING:
    from collections.abc import Sequence

METHODS = ("lora", "qlora", "full")
_BYTES = {"float32": 4, "bfloat16": 2}
_NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Bytes a weight: 4 bits, a byte for every 64 weights, four more for every 64 · 256."""
_TILE_TOKENS, _TILE_VOCABULARY, _TILE_COPIES = 4096, 32768, 8
"""TRL 1.16 makes logits in tiles of this size; without Triton it holds eight of them at once."""


@dataclass(frozen=True, slots=True)
class TrainingSetting:
    """One way of training."""

    method: str
    rank: int
    """Of the adapter; `full` ignores it."""
    length: int
    """Tokens a row."""
    batch: int
    """Rows a step on one device: pairs for DPO, answers for GRPO."""
    dtype: str = "float32"
    """Of the weights."""
    trainer: str = "sft"
    written: int = 0
    """Tokens of a row that GRPO generates; only they have logits."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The sizes of a causal model that decide its memory."""

    parameters: int
    linear: tuple[tuple[int, int], ...]
    """Inputs and outputs of each linear layer, the head left out."""
    layers: int
    hidden: int
    queries: int
    keys: int
    """Width of the keys, and of the values."""
    mlp: int
    gated: bool
    vocabulary: int

    def cache_bytes(self, dtype: str) -> int:
        """Return the bytes of keys and values for one token of one row."""
        return 2 * self.layers * self.keys * _BYTES[dtype]


@dataclass(frozen=True, slots=True)
class StepMemory:
    """Estimated bytes of one training step."""

    weights: int
    """Base and adapter."""
    states: int
    """Gradients and AdamW's two moments."""
    activations: int
    """Kept for the backward pass."""
    logits: int
    trained: int
    """Number of trained parameters."""
    mapped: int = 0
    """File pages of a base quantized on a CPU; the system reclaims them when memory is short."""

    @property
    def total(self) -> int:
        """Bytes that the step cannot do without."""
        return self.weights + self.states + self.activations + self.logits


def load_configuration(name: str) -> Any:
    """Return the configuration of a model: a folder, a hub id in the cache, or `embedded`."""
    from transformers import AutoConfig

    folder = find_model_folder(name, option="--model", patterns=["config.json"])
    try:
        return AutoConfig.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        reason = error_reason(error)
        raise ModelError(f"--model {name}: no configuration of a model ({reason:.160})") from error


def model_shape(config: Any) -> ModelShape:
    """Return a model's sizes; its weights are neither read nor made."""
    import torch
    from transformers import AutoModelForCausalLM

    auto: Any = AutoModelForCausalLM  # not annotated
    try:
        with warnings.catch_warnings(), torch.device("meta"):
            warnings.simplefilter("ignore")
            model = auto.from_config(config)
        text = config.get_text_config()
        hidden, heads = text.hidden_size, text.num_attention_heads
        width = getattr(text, "head_dim", None) or hidden // heads
        mlp = getattr(text, "intermediate_size", None) or getattr(text, "n_inner", None)
        mlp = mlp or 4 * hidden
        if experts := getattr(text, "num_experts_per_tok", None):
            mlp = experts * (getattr(text, "moe_intermediate_size", None) or mlp)
        linear = {
            name: (module.weight.shape if hasattr(module, "nf") else module.weight.shape[::-1])
            for name, module in model.named_modules()
            if (isinstance(module, torch.nn.Linear) or hasattr(module, "nf"))  # GPT-2's Conv1D
            and module is not model.get_output_embeddings()
        }
        return ModelShape(
            parameters=sum(p.numel() for p in model.parameters()),
            linear=tuple((inputs, outputs) for inputs, outputs in linear.values()),
            layers=text.num_hidden_layers,
            hidden=hidden,
            queries=heads * width,
            keys=(getattr(text, "num_key_value_heads", None) or heads) * width,
            mlp=mlp,
            gated=any("gate" in name for name in linear),
            vocabulary=text.vocab_size,
        )
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{config.model_type}: its memory does not follow from its configuration "
            f"({error_reason(error):.120})"
        ) from error


def step_memory(model: ModelShape, setting: TrainingSetting, *, gpu: bool = False) -> StepMemory:
    """Return what a step takes: a sum, although not all of it is held at the same moment."""
    size = _BYTES[setting.dtype]
    trainer = lookup.ordered_modules("tunegate.trainers")[setting.trainer]
    sequences = trainer.SEQUENCES_PER_ROW * setting.batch
    adapter = setting.rank * sum(inputs + outputs for inputs, outputs in model.linear)
    adapter_size = 2 if setting.method == "qlora" else 4  # TRL turns adapters on 4 bits to bfloat16
    frozen = model.parameters * size
    mapped = 0
    if setting.method == "qlora":
        quantized = sum(inputs * outputs for inputs, outputs in model.linear)
        frozen += int(quantized * (_NF4 - size))
        mapped = 0 if gpu else quantized * size
    full = setting.method == "full"
    trained = model.parameters if full else adapter
    tile = min(sequences * (setting.written or setting.length), _TILE_TOKENS)
    tile *= min(model.vocabulary, _TILE_VOCABULARY)
    return StepMemory(
        weights=frozen if full else frozen + adapter * adapter_size,
        states=3 * trained * (size if full else adapter_size),
        activations=sequences
        * setting.length
        * _token_activations(model, setting, size, adapter_size),
        logits=4 * tile * (1 if gpu else _TILE_COPIES),
        trained=trained,
        mapped=mapped,
    )


def _token_activations(
    model: ModelShape, setting: TrainingSetting, size: int, adapter_size: int
) -> int:
    """Return the bytes that the backward pass needs of one token."""
    norms = 4 * model.hidden  # input and normalized input of both
    attention = 2 * model.queries + 2 * model.keys  # queries, keys, values, output
    inner = (3 if model.gated else 1) * model.mlp  # gate, its activation, up
    held = model.layers * (norms + attention + inner) * size
    if setting.method == "full":  # gradients of weights need the inputs of the linear layers
        return held + model.layers * (2 * model.hidden + model.mlp) * size
    # Under an adapter: dropout's mask and output, and the input of the second matrix.
    adapted = sum(2 * inputs + setting.rank for inputs, _ in model.linear)
    return held + adapted * adapter_size


def setting_grid(
    methods: Sequence[str], *numbers: Sequence[int], **rest: Any
) -> list[TrainingSetting]:
    """Return every combination of methods, ranks, lengths and batches; `full` has no rank."""
    for method in methods:
        if method not in METHODS:
            raise UsageError(f"--methods {method!r}: allowed are {', '.join(METHODS)}")
    settings = [
        TrainingSetting(method, 0 if method == "full" else rank, length, batch, **rest)
        for method in methods
        for rank, length, batch in product(*numbers)
    ]
    return list(dict.fromkeys(settings))


def estimated_trainers() -> tuple[str, ...]:
    """Return the trainers whose memory can be estimated; none is imported."""
    return tuple(lookup.definition_lines("tunegate.trainers", "SEQUENCES_PER_ROW"))


def process_bytes() -> int:
    """Measure what the libraries of a training take, in a process of their own."""
    command = [sys.executable, "-m", __name__]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not done.stdout.strip().isdigit():
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise BackendError(f"the training process could not be measured: {last}")
    return int(done.stdout)


if __name__ == "__main__":
    from tunegate.trainers.arguments import prepare_environment

    prepare_environment()
    import peft  # noqa: F401
    from trl import SFTTrainer  # type: ignore[attr-defined]  # noqa: F401

    sys.stdout.write(f"{peak_memory()}\n")
