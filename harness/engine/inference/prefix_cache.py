"""Prefix cache: the shared beginning of a batch's prompts is computed once.

A system prompt or few-shot header is often most of a prompt. Its key-value cache is computed once
and copied for each prompt; the rest of the prompts is left-padded behind it. In float32 the logits
equal those of whole prompts within 1e-4, as with any change of padding.

Transformers counts the padding between prefix and rest when it measures a sliding window. A model
gets whole prompts where they are longer than its window.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tunegate.harness.contracts.environment import cache_name
from tunegate.harness.contracts.model import LocalArm

SHORTEST = 16
"""Tokens from which sharing is worth a second forward."""


@dataclass(frozen=True, slots=True)
class SharedPrefix:
    """A common prefix of prompts, computed once."""

    token_ids: tuple[int, ...] = ()
    cache: Any = None
    """Key-value cache of one row; None where nothing is shared."""

    @property
    def length(self) -> int:
        """How many tokens are shared."""
        return len(self.token_ids)

    def repeated(self, rows: int) -> Any:
        """Return a cache of that many rows, which may be written to; None if nothing is shared."""
        import torch

        if self.cache is None:
            return None
        return selected_rows(self.cache, torch.zeros(rows, dtype=torch.long))


NO_PREFIX = SharedPrefix()
"""No shared prefix."""


@dataclass(frozen=True, slots=True)
class PrefillResult:
    """Prompts after their prefill."""

    tail: Any
    """Logits of each prompt's last tokens, [rows, kept, vocabulary]."""
    cache: Any
    """Key-value cache of all rows, the prefix included."""
    mask: Any
    """Attention mask over the cache, [rows, tokens]."""

    @property
    def logits(self) -> Any:
        """Logits of each prompt's last token, [rows, vocabulary]."""
        return self.tail[:, -1]


def shared_length(prompts: Sequence[Sequence[int]]) -> int:
    """Return how many tokens all prompts begin with, leaving each at least one of its own."""
    if len(prompts) < 2:
        return 0
    first, *_, last = sorted(tuple(ids) for ids in prompts)
    limit = min(len(p) for p in prompts) - 1
    same = next((i for i in range(limit) if first[i] != last[i]), limit)
    return same if same >= SHORTEST else 0


def compute_shared_prefix(
    model: Any, prompts: Sequence[Sequence[int]], *, room: int
) -> SharedPrefix:
    """Compute the prefix that all prompts share.

    Args:
        model: The torch model, switched to the arm.
        prompts: Token ids, each at least one.
        room: Most tokens that will follow the prompts.
    """
    import torch

    length = shared_length(prompts)
    if not length or _counts_columns(model):
        return SharedPrefix()
    if attention_window(model) < max(map(len, prompts)) + room:
        return SharedPrefix()
    ids = tuple(prompts[0][:length])
    head = torch.tensor([list(ids)], device=model.device)
    out = model(input_ids=head, use_cache=True, logits_to_keep=1, **{cache_name(): _empty(model)})
    return SharedPrefix(ids, getattr(out, cache_name()))


def prefill_prompts(
    arm: LocalArm,
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    prefix: SharedPrefix = NO_PREFIX,
    keep: int = 1,
) -> PrefillResult:
    """Compute the prompts' cache and last logits.

    Args:
        arm: Gives the padding token.
        model: The torch model, switched to the arm.
        prompts: Token ids, each at least one more than the prefix.
        prefix: What they all begin with, as `compute_shared_prefix` computed it.
        keep: How many of the last tokens' logits to compute.
    """
    import torch

    length = prefix.length
    ids, prompt_mask = left_padded([p[length:] for p in prompts], arm, model.device)
    mask = torch.cat([prompt_mask.new_ones((len(prompts), length)), prompt_mask], dim=1)
    cache = prefix.repeated(len(prompts)) or _empty(model)
    out = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=position_ids(mask)[:, length:],
        use_cache=True,
        logits_to_keep=keep,
        **{cache_name(): cache},
    )
    return PrefillResult(out.logits, getattr(out, cache_name()), mask)


def has_plain_cache(model: Any) -> bool:
    """Return whether a cache that keeps every token in place gives what the model's own gives.

    It does with a sliding window, which the mask applies. It does not with chunks, recurrent state,
    layers that share their cache, or layers that attend to images only and have no cache.
    """
    from transformers.cache_utils import (
        DynamicCache,
        DynamicLayer,
        DynamicSlidingWindowLayer,
    )

    config = model.config.get_text_config(decoder=True)
    layers = DynamicCache(config=config).layers
    kinds = {type(layer) for layer in layers}
    whole = len(layers) == config.num_hidden_layers
    chunked = getattr(config, "attention_chunk_size", None)
    if _counts_columns(model) or getattr(config, "cross_attention_layers", None):
        return False
    return whole and not chunked and kinds <= {DynamicLayer, DynamicSlidingWindowLayer}


def selected_rows(cache: Any, index: Any) -> Any:
    """Return a cache of some rows of another one, which stays as it is."""
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    # Layers of these kinds replace their tensors; others may write into them.
    layers = getattr(cache, "layers", [cache])
    if {type(layer) for layer in layers} <= {DynamicLayer, DynamicSlidingWindowLayer}:
        selected = copy.copy(cache)
        selected.layers = [copy.copy(layer) for layer in layers]
    else:
        selected = copy.deepcopy(cache)
    selected.batch_select_indices(index)
    return selected


def _counts_columns(model: Any) -> bool:
    """Return whether distances count columns, padding included, as in the ALiBi of MPT."""
    config = model.config.get_text_config(decoder=True)
    return bool(getattr(getattr(config, "attn_config", None), "alibi", False))


def _empty(model: Any) -> Any:
    """Return a cache that keeps every token; None lets the model bring its own."""
    from transformers.cache_utils import DynamicCache

    return DynamicCache() if has_plain_cache(model) else None


def layer_configs(model: Any) -> list[Any]:
    """Return the text configuration of each layer; those of Gemma 4 differ in their heads."""
    config = model.config.get_text_config(decoder=True)
    by_layer = getattr(config, "per_layer_config", None)
    return [by_layer[i] if by_layer else config for i in range(config.num_hidden_layers)]


def column_bytes(model: Any) -> int:
    """Return the memory of one token's keys and values in all layers."""
    total = 0
    for layer in layer_configs(model):
        heads = getattr(layer, "num_key_value_heads", None) or layer.num_attention_heads
        size = getattr(layer, "head_dim", None) or layer.hidden_size // layer.num_attention_heads
        total += int(2 * heads * size * model.dtype.itemsize)
    return total


def attention_window(model: Any) -> float:
    """Return the number of tokens that every layer can attend to."""
    names = ("sliding_window", "attention_chunk_size")
    spans = (getattr(layer, name, None) for layer in layer_configs(model) for name in names)
    return min((span for span in spans if span), default=math.inf)


def left_padded(prompts: Sequence[Sequence[int]], arm: LocalArm, device: Any) -> tuple[Any, Any]:
    """Return ids and mask [rows, longest] with padding on the left."""
    import torch

    longest = max(len(ids) for ids in prompts)
    pad = arm.tokenizer.pad_token_id
    pad = next(iter(arm.stop_ids), 0) if pad is None else pad
    ids = torch.full((len(prompts), longest), pad, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(prompts):
        ids[i, longest - len(row) :] = torch.tensor(list(row), dtype=torch.long)
        mask[i, longest - len(row) :] = 1
    return ids.to(device), mask.to(device)


def position_ids(mask: Any) -> Any:
    """Return the position of every token: padding does not count."""
    return (mask.cumsum(dim=-1) - 1).clamp(min=0)
