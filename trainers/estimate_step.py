"""One step of supervised fine-tuning without computing it: the memory it would take.

The model is made from its configuration with tensors that have shapes and no content (torch's
`FakeTensorMode`), an adapter is put in by PEFT, and a forward, TRL's chunked loss, a backward and
AdamW run over it, so that nothing about an architecture is a formula of ours. Linear layers of a
quantised base are NF4 with double quantisation: 4 bits a weight, and for every 64 weights one byte,
for every 64 · 256 four more (Dettmers et al., 2023, QLoRA, section 3).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

from harness.errors import UsageError
from trainers.estimate_tracker import tracker

METHODS = ("lora", "qlora", "full")
_CHUNK = 256
"""Tokens of which TRL computes logits at once (`_CHUNKED_LM_HEAD_CHUNK_SIZE`)."""
_NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Bytes a weight."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One way of training."""

    method: str
    rank: int
    """Of the adapter; without meaning for `full`."""
    length: int
    """Tokens a row."""
    batch: int
    """Rows a step on one device."""
    dtype: str = "float32"
    """Of the weights."""


@dataclass(frozen=True, slots=True)
class StepMemory:
    """Bytes of tensors."""

    weights: int
    """Of base and adapter."""
    trained: int
    """Gradients and AdamW's two moments of what is trained."""
    activations: int
    """What is kept for the backward at the moment of the loss, logits included."""
    peak: int
    """The most there is at one time, temporary tensors included."""
    parameters: int
    """Numbers that are trained."""
    whole: int
    """Bytes of the base before it is quantised, which its loading passes through."""


def simulate(config: Any, setting: Setting) -> StepMemory:
    """Return what a step takes.

    Args:
        config: Transformers' configuration of the base.
        setting: How it is trained.

    Raises:
        UsageError: the architecture cannot be gone through without weights.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model, causal = _model(config, setting)
            whole = sum(p.numel() * p.element_size() for p in _distinct(causal))
            if setting.method == "qlora":
                _quantise(model)
            with FakeTensorMode(allow_non_fake_inputs=True):
                return _step(model, causal, setting, whole)
        except (RuntimeError, ValueError, TypeError, AttributeError) as error:
            raise UsageError(
                f"{config.model_type}: its memory cannot be told from its configuration "
                f"({str(error).splitlines()[0]:.120})"
            ) from error


def cache_bytes(config: Any, dtype: str = "float32") -> int:
    """Return the bytes of keys and values (or states) for one row of 128 tokens, a token.

    Args:
        config: Transformers' configuration of the base.
        dtype: Of keys and values.
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    _, causal = _model(config, Setting("full", 0, 128, 1, dtype))
    with warnings.catch_warnings(), FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        warnings.simplefilter("ignore")
        causal.to_empty(device="cpu")
        cache = causal(torch.zeros(1, 128, dtype=torch.long), use_cache=True).past_key_values
        held = [t for layer in cache.layers for t in (layer.keys, layer.values)]
        return int(sum(t.numel() * t.element_size() for t in held)) // 128


def _model(config: Any, setting: Setting) -> tuple[Any, Any]:
    """Return the model that is trained, and the causal model in it, on the meta device."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        auto: Any = AutoModelForCausalLM  # not annotated
        causal = auto.from_config(config, dtype=getattr(torch, setting.dtype))
        if setting.method == "full":
            return causal, causal
        from peft import LoraConfig, get_peft_model

        adapter = LoraConfig(
            r=setting.rank,
            lora_dropout=0.05,  # TRL's default; dropout keeps a mask and a copy of every input
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        )
        return get_peft_model(causal, adapter, low_cpu_mem_usage=True), causal


def _step(model: Any, causal: Any, setting: Setting, whole: int) -> StepMemory:
    """Run two steps, of which the second has the optimiser's state from its beginning."""
    import torch

    model.to_empty(device="cpu")
    causal.tie_weights()
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained)
    ids = torch.zeros(setting.batch, setting.length, dtype=torch.long)
    memory = tracker()
    for tensor in (*model.parameters(), *model.buffers()):
        memory.keep(tensor)
    weights = memory.now
    with memory:
        for _ in range(2):
            before = memory.now
            loss = _loss(causal, ids)
            activations = memory.now - before
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0, foreach=False)
            optimiser.step()
            optimiser.zero_grad()
            del loss
    sizes = sum(p.numel() * p.element_size() for p in trained)
    return StepMemory(
        weights=weights,
        trained=3 * sizes,
        activations=activations,
        peak=memory.peak,
        parameters=sum(p.numel() for p in trained),
        whole=whole,
    )


def _loss(causal: Any, ids: Any) -> Any:
    """Compute TRL's loss, `chunked_nll`: logits of 256 tokens at a time, made again backwards."""
    from torch.utils.checkpoint import checkpoint

    mask = ids.new_ones(ids.shape)
    hidden = causal.base_model(input_ids=ids, attention_mask=mask, use_cache=False)[0]
    hidden = hidden[..., :-1, :].reshape(-1, hidden.size(-1))
    labels = ids[..., 1:].reshape(-1)
    order = labels.argsort()
    hidden, labels = hidden[order], labels[order]
    head = causal.get_output_embeddings()
    loss = hidden.new_zeros(())
    for start in range(0, len(hidden), _CHUNK):
        part = slice(start, start + _CHUNK)
        loss = loss + checkpoint(_chunk, hidden[part], head, labels[part], use_reentrant=False)
    return loss


def _chunk(hidden: Any, head: Any, labels: Any) -> Any:
    import torch

    logits = hidden.float() @ head.weight.float().t()
    log_p = torch.nn.functional.log_softmax(logits, dim=-1)
    (log_p.exp() * log_p).sum(dim=-1)  # the entropy that TRL logs
    return torch.nn.functional.nll_loss(log_p, labels, reduction="sum")


def _distinct(causal: Any) -> list[Any]:
    """Return the base's own parameters, each once however often it is tied."""
    return [p for name, p in causal.named_parameters() if "lora_" not in name]


def _quantise(model: Any) -> None:
    """Put in the place of each frozen linear layer under an adapter one of 4 bits."""
    for module in list(model.modules()):
        if hasattr(module, "base_layer"):
            module.base_layer = _four_bits(module.base_layer)


def _four_bits(linear: Any) -> Any:
    """Return a stand-in for bitsandbytes' layer: it unpacks its weight forwards and backwards."""
    import torch

    shape, size = tuple(linear.weight.shape), int(linear.weight.numel() * _NF4)

    class Unpacked(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, x: Any) -> Any:
            return torch.nn.functional.linear(x, torch.empty(shape, dtype=x.dtype))

        @staticmethod
        def backward(context: Any, *gradients: Any) -> Any:
            (gradient,) = gradients
            return gradient @ torch.empty(shape, dtype=gradient.dtype)

    class FourBits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("packed", torch.empty(size, dtype=torch.uint8, device="meta"))

        def forward(self, x: Any) -> Any:
            return Unpacked.apply(x)  # type: ignore[no-untyped-call]  # torch's is not annotated

    return FourBits()
