"""Prefix cache: what all prompts of a batch begin with is computed once.

A system prompt or few-shot header is often most of a prompt. Its key-value cache is computed once,
and the rest of the prompts is left-padded behind it. In float32 the logits equal those of whole
prompts within 1e-4, as any change of padding does.

On a processor, and where attention is plain causal softmax, rows read the prefix where it is;
elsewhere it is repeated for each of them. Attention over a prefix and over a row's own tokens is
computed in two parts, the prefix for all rows at once, and merged by the log-sum-exp of each part:
the result is that of one softmax over both. The function is registered with Transformers'
`AttentionInterface` and replaces `sdpa` for these forwards only. Softcaps, position biases, keys
that the model changes after they are cached, and layers that call another function are found while
the prefix is computed: `watch_attention` sees each layer's call.

Source: Hydragen (Juravsky et al. 2024, arXiv 2402.05099); the log-sum-exp comes from the kernel
that PyTorch's `scaled_dot_product_attention` uses on a processor.

The padding is between prefix and suffix there, and Transformers counts it when it measures a
sliding window: beyond the window such a model gets whole prompts instead.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from tunegate.harness.environment import cache_name
from tunegate.harness.model import LocalArm

SHORTEST = 16
"""Tokens from which sharing pays for the second forward."""


@dataclass(frozen=True, slots=True)
class SharedPrefix:
    """A common prefix of prompts, computed once."""

    token_ids: tuple[int, ...] = ()
    cache: Any = None
    """Key-value cache of one row; None where nothing is shared."""
    in_place: bool = False
    """Whether rows read it where it is; otherwise each row's cache begins with a copy."""

    @property
    def length(self) -> int:
        """How many tokens are shared."""
        return len(self.token_ids)

    @property
    def copied(self) -> int:
        """How many columns of each row's own cache it takes."""
        return 0 if self.in_place else self.length

    @property
    def read(self) -> Any:
        """The cache that rows read where it is; None where each row has a copy."""
        return self.cache if self.in_place else None

    def repeated(self, rows: int) -> Any:
        """Return a cache of that many rows, which may be written to; None if there is no copy."""
        if not self.copied:
            return None
        own = copy.deepcopy(self.cache)
        own.batch_repeat_interleave(rows)
        return own


NOTHING = SharedPrefix()
"""No shared prefix."""


@dataclass(frozen=True, slots=True)
class PrefillResult:
    """Prompts after their prefill."""

    tail: Any
    """Logits of each prompt's last tokens, [rows, kept, vocabulary]."""
    cache: Any
    """Key-value cache of all rows."""
    mask: Any
    """Attention mask over prefix and own tokens, [rows, tokens]."""
    prefix: SharedPrefix = NOTHING
    """What the prompts begin with; not in the cache where rows read it in place."""

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
    """Compute what all prompts begin with.

    Args:
        model: The torch model, switched to the arm.
        prompts: Token ids, each at least one.
        room: How many tokens will be put behind the prompts at most.
    """
    import torch

    length = shared_length(prompts)
    if not length or _counts_columns(model):
        return SharedPrefix()
    if attention_window(model) < max(map(len, prompts)) + room:
        return SharedPrefix()
    ids = tuple(prompts[0][:length])
    head = torch.tensor([list(ids)], device=model.device)
    held = _empty(model)
    with watch_attention(model, held) as watch:
        out = model(input_ids=head, use_cache=True, logits_to_keep=1, **_with(held))
    found = getattr(out, cache_name())
    return SharedPrefix(ids, found, in_place=watch.all_plain(len(layer_configs(model))))


def prefill_prompts(
    arm: LocalArm,
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    prefix: SharedPrefix = NOTHING,
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
    ids, own = left_padded([p[length:] for p in prompts], arm, model.device)
    mask = torch.cat([own.new_ones((len(prompts), length)), own], dim=1)
    with attend_behind(model, [prefix.read] * len(prompts)):
        out = model(
            input_ids=ids,
            attention_mask=mask[:, length - prefix.copied :],
            position_ids=position_ids(mask)[:, length:],
            use_cache=True,
            logits_to_keep=keep,
            **_with(prefix.repeated(len(prompts)) or _empty(model)),
        )
    return PrefillResult(out.logits, getattr(out, cache_name()), mask, prefix)


def _with(cache: Any) -> dict[str, Any]:
    return {cache_name(): cache}


def has_plain_cache(model: Any) -> bool:
    """Return whether a cache that keeps every token in place gives what the model's own gives.

    A sliding window is no obstacle, since the mask cuts it; chunks, recurrent states, layers that
    share their cache, and layers that look at images alone and so have none, are.
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


def selected_rows(held: Any, index: Any) -> Any:
    """Return a cache of some rows of another one, which stays as it is.

    Args:
        held: Transformers' cache after a forward.
        index: The rows, a tensor of integers; one may be there several times.
    """
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    # Layers of these kinds replace their tensors; others may write into them.
    layers = getattr(held, "layers", [held])
    if {type(layer) for layer in layers} <= {DynamicLayer, DynamicSlidingWindowLayer}:
        own = copy.copy(held)
        own.layers = [copy.copy(layer) for layer in layers]
    else:
        own = copy.deepcopy(held)
    own.batch_select_indices(index)
    return own


def _counts_columns(model: Any) -> bool:
    """Return whether distances are those of columns, padding included: the ALiBi of MPT."""
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
    found = 0
    for layer in layer_configs(model):
        heads = getattr(layer, "num_key_value_heads", None) or layer.num_attention_heads
        size = getattr(layer, "head_dim", None) or layer.hidden_size // layer.num_attention_heads
        found += int(2 * heads * size * model.dtype.itemsize)
    return found


def attention_window(model: Any) -> float:
    """Return over how many tokens every layer can look back."""
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


NAME = "tunegate_split"
"""Name of the attention function at Transformers."""
NOT_PLAIN = ("softcap", "s_aux", "position_bias")
"""Arguments of a layer that change its softmax."""


@dataclass(slots=True)
class AttentionWatch:
    """The layers whose calls of the attention function were plain."""

    held: Any
    """The cache that the forward fills."""
    plain: set[int] = field(default_factory=set)

    def see(self, module: Any, query: Any, key: Any, value: Any, given: dict[str, Any]) -> None:
        """Note a layer's call if it is causal softmax over the keys as they are cached."""
        index = getattr(module, "layer_idx", None)
        if index is None or index >= len(self.held.layers):
            return
        layer = self.held.layers[index]
        as_cached = key is layer.keys and value is layer.values
        even = query.shape[1] % key.shape[1] == 0 and query.shape[-1] == value.shape[-1]
        changed = any(given.get(name) is not None for name in NOT_PLAIN)
        if as_cached and even and not changed and given.get("is_causal") in (None, True):
            self.plain.add(index)

    def all_plain(self, layers: int) -> bool:
        """Return whether each of so many layers was seen."""
        return self.plain == set(range(layers))


@dataclass(slots=True)
class _SplitForward:
    """A forward whose rows continue prefixes."""

    prefixes: list[tuple[Any, Any]]
    """Cache of each prefix, and the indices of its rows; None for all rows."""
    _mask: tuple[Any, Any] = (None, None)

    def mask(self, allowed: Any, dtype: Any) -> Any:
        """Return a boolean mask as numbers to add, made once for all layers.

        The least number stands for minus infinity: a row of padding may attend to none of the own
        tokens, and its part must still be a number.
        """
        import torch

        if allowed is None or allowed.dtype != torch.bool:
            return allowed
        if self._mask[0] is not allowed:
            added = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
            self._mask = (allowed, added.masked_fill_(~allowed, torch.finfo(dtype).min / 2))
        return self._mask[1]


_WATCH: ContextVar[AttentionWatch | None] = ContextVar("watch", default=None)
_SPLIT: ContextVar[_SplitForward | None] = ContextVar("split", default=None)


@contextmanager
def watch_attention(model: Any, held: Any) -> Iterator[AttentionWatch]:
    """Watch the forward that computes a prefix.

    Args:
        model: The torch model.
        held: The cache that the forward fills; None where the model brings its own.
    """
    watch = AttentionWatch(held)
    if held is None or not _replaces_sdpa(model):
        yield watch
        return
    with _register_attention(model), _set(_WATCH, watch):
        yield watch


@contextmanager
def attend_behind(model: Any, prefixes: Sequence[Any]) -> Iterator[None]:
    """Let the rows of a forward attend to their prefix before their own tokens.

    The forward's cache and mask hold the rows' own tokens alone; its position ids count the prefix.

    Args:
        model: The torch model.
        prefixes: The cache of each row's prefix, of one row itself; None for a row without one.
    """
    kinds = {id(one): one for one in prefixes if one is not None}
    if not kinds:
        yield
        return
    with (
        _register_attention(model),
        _set(_SPLIT, _SplitForward(list(_rows(model, prefixes, kinds)))),
    ):
        yield


def _rows(model: Any, prefixes: Sequence[Any], kinds: dict[int, Any]) -> Iterator[tuple[Any, Any]]:
    import torch

    for kind in kinds.values():
        rows = [i for i, one in enumerate(prefixes) if one is kind]
        every = len(rows) == len(prefixes)
        yield kind, None if every else torch.tensor(rows, device=model.device)


def _replaces_sdpa(model: Any) -> bool:
    """Return whether the model's attention is a function that this one can replace."""
    import torch

    config = model.config.get_text_config(decoder=True)
    kernel = hasattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu")
    return bool(kernel and model.device.type == "cpu" and config._attn_implementation == "sdpa")


@contextmanager
def _register_attention(model: Any) -> Iterator[None]:
    _register_names()
    config = model.config.get_text_config(decoder=True)
    before = config._attn_implementation
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before


@contextmanager
def _set(variable: ContextVar[Any], value: Any) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


@cache
def _register_names() -> None:
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)


def _attention(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **given: Any
) -> tuple[Any, None]:
    """Return the attention of a layer, [rows, tokens, heads, dimension]."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if (watch := _WATCH.get()) is not None:
        watch.see(module, query, key, value, given)
    if (split := _SPLIT.get()) is None:
        plain: tuple[Any, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, **given
        )
        return plain
    scale = given.get("scaling")
    mask = split.mask(attention_mask, query.dtype)
    found, own = _own_part(query, key, value, mask, scale)
    for held, rows in split.prefixes:
        layer = held.layers[module.layer_idx]
        if rows is None:
            part, before = _prefix_part(query, layer, scale)
            found = _merge(found, own, part, before)
        else:
            part, before = _prefix_part(query[rows], layer, scale)
            found[rows] = _merge(found[rows], own[rows], part, before)
    return found.transpose(1, 2).contiguous(), None


def _own_part(query: Any, key: Any, value: Any, mask: Any, scale: Any) -> tuple[Any, Any]:
    """Return attention over the rows' own tokens, and its log-sum-exp."""
    rows, heads, tokens, size = query.shape
    shared = key.shape[1]
    if tokens == 1:
        # The heads that share keys are the kernel's queries: the keys need not be repeated.
        grouped = query.reshape(rows, shared, heads // shared, size)
        part, weight = _kernel(grouped, key, value, mask, scale)
        return part.reshape(query.shape), weight.reshape(rows, heads, 1)
    key, value = (one.repeat_interleave(heads // shared, dim=1) for one in (key, value))
    return _kernel(query, key, value, mask, scale, is_causal=mask is None)


def _prefix_part(query: Any, layer: Any, scale: Any) -> tuple[Any, Any]:
    """Return the rows' attention over their prefix, and its log-sum-exp."""
    rows, heads, tokens, size = query.shape
    shared = layer.keys.shape[1]
    grouped = query.reshape(rows, shared, -1, size).transpose(0, 1).reshape(1, shared, -1, size)
    part, weight = _kernel(grouped, layer.keys, layer.values, None, scale)
    part = part.reshape(shared, rows, -1, size).transpose(0, 1)
    weight = weight.reshape(shared, rows, -1).transpose(0, 1)
    return part.reshape(query.shape), weight.reshape(rows, heads, tokens)


def _kernel(
    query: Any, key: Any, value: Any, mask: Any, scale: Any, *, is_causal: bool = False
) -> tuple[Any, Any]:
    import torch

    found: tuple[Any, Any] = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, 0.0, is_causal, attn_mask=mask, scale=scale
    )
    return found


def _merge(own: Any, own_weight: Any, prefix: Any, prefix_weight: Any) -> Any:
    """Return attention over both parts: each counts as the exponential of its log-sum-exp."""
    share = (prefix_weight - own_weight).sigmoid()[..., None].to(own.dtype)
    return own.lerp(prefix, share)
