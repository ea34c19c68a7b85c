"""Adapter fit: which module of the loaded base each tensor of an adapter belongs to.

An adapter's tensors are named after the modules of the class that was trained: `model.layers.0` in
the text class, `model.language_model.layers.0` in the class with vision,
`language_model.model.layers.0` in that class before Transformers 4.52, with wrappers of
`torch.compile`, FSDP or activation checkpointing between them. Names that differ only in this are
translated, in the configuration too. PEFT would silently skip a tensor that has no module, or
several; here it is refused.

Kinds of adapters that cannot be switched off on a loaded base are refused by name before weights
are read.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from tunegate.harness.models._model_folder import BOOKKEEPING
from tunegate.harness.records.errors import ModelError, NotComparable

_SHARED = "base_model."
"""Beginning of the names of tensors that all modules share, such as VeRA's projections."""
_OUTER = {"base_model", "model", "language_model", "text_model", "transformer", "backbone"}
"""Components of names that only show in which class the text model is."""
_WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "module"}
"""Components that wrappers add during training."""
_PARTS = (
    *("modules_to_save.", "original_module.", "token_adapter.", "trainable_tokens_"),
    # Where PEFT's own list of prefixes has only the beginning of some tensors' names.
    *("vera_", "pvera_", "adaption_"),
)
_ADAPTER_NAME = re.compile(r"(?<=[._])(lora_\w+|modules_to_save|trainable_tokens_delta)\.default\b")
_ONE_EXPERT = re.compile(r"\.experts\.\d+\.")
_FULL = re.compile(r"(?:weight|bias)$")


@cache
def _part_pattern() -> re.Pattern[str]:
    """Return where a tensor's name goes from its module to what the adapter has there."""
    from peft.mapping import PEFT_TYPE_TO_PREFIX_MAPPING

    starts = sorted({*_PARTS, *PEFT_TYPE_TO_PREFIX_MAPPING.values()})
    any_start = "|".join(map(re.escape, starts))
    return re.compile(rf"\.(?=(?:base_layer\.)*(?:{any_start}|weight$|bias$))")


def _split_name(name: str) -> tuple[str, str]:
    """Return a tensor's module, and what the adapter has there."""
    module, *part = _part_pattern().split(name, maxsplit=1)
    return module, "".join(part)


@dataclass(frozen=True)
class AdapterTensor:
    """One tensor of an adapter's file and its module in the base."""

    key: str
    """Its name in the file."""
    module: str
    """Name of its module in the base; empty for a tensor that all modules share."""
    part: str
    """Its kind: `lora_A.weight`, `weight` …"""
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        """The name by which PEFT reads it for this base."""
        if not self.module:
            return f"{_SHARED}{self.part}"
        return f"base_model.model.{self.module}.{self.part}"


@dataclass(frozen=True)
class AdapterFit:
    """How an adapter's tensors and configuration are put onto a base."""

    tensors: tuple[AdapterTensor, ...]
    whole: frozenset[str]
    """Modules of which the file has all weights, though the configuration does not name them."""
    unchanged: frozenset[str]
    """Names of tensors that are base's own, bit for bit: PEFT saves embeddings with an adapter."""
    left_out: frozenset[str] = frozenset()
    """Names of tensors of parts that base has and text does not use, such as a vision tower."""

    @property
    def translated(self) -> bool:
        """Whether PEFT would not find everything by itself, or would write into base."""
        other_names = any(one.key != one.name for one in self.tensors)
        return other_names or bool(self.whole or self.unchanged or self.left_out)

    @property
    def loaded(self) -> Iterator[AdapterTensor]:
        """The tensors that are not base's own."""
        return (one for one in self.tensors if one.key not in self.unchanged)


def fit_adapter(spec: str, folder: Path, base: Any, config: Mapping[str, Any]) -> AdapterFit:
    """Find the module of every tensor.

    Args:
        spec: How the user names the adapter.
        folder: Its folder.
        base: The loaded base (`LoadedModel`).
        config: The content of `adapter_config.json`.

    Raises:
        NotComparable: a tensor has no module in the base, or is of another size.
        ModelError: a tensor is of a kind that is not known.
    """
    from safetensors import safe_open

    model = base.torch_model
    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    modules = _ModuleIndex.of(plain)
    with safe_open(folder / "adapter_model.safetensors", framework="pt") as file:
        shapes = {key: tuple(file.get_slice(key).get_shape()) for key in sorted(file.keys())}
    try:
        blocks = bool(config.get("use_bdlora"))
        dropped: frozenset[str] = getattr(plain, "left_out", frozenset())
        unused = frozenset(key for key in shapes if _core(_plain(key)).split(".")[0] in dropped)
        if unused == shapes.keys():
            raise ModelError(f"{spec}: trains only parts that text does not use: {min(unused)}")
        placed = {key: shape for key, shape in shapes.items() if key not in unused}
        found = [_place(key, shape, modules, blocks=blocks) for key, shape in placed.items()]
        if biased := _trained_bias(found, config):
            raise ModelError(f"{spec}: not supported: {biased}")
        if added := _added_tokens(found, modules):
            raise NotComparable(f"{spec}: {added}")
        unchanged = frozenset(_copies_of_base(found, folder, modules))
    except _UnknownPart as error:
        kind = config.get("peft_type")
        raise ModelError(f"{spec}: a {kind} adapter with unknown tensors: {error}") from None
    except LookupError as error:
        raise NotComparable(
            f"{spec} does not fit {base.folder}: {error}; it has another base"
        ) from None
    saved = config.get("modules_to_save") or ()
    whole = {one.module for one in found if one.part == "weight" and one.key not in unchanged}
    whole -= {module for module in whole if any(module.endswith(name) for name in saved)}
    found += _tied_heads(found, whole, plain)
    return AdapterFit(tuple(found), frozenset(whole), unchanged, unused)


def _tied_heads(
    found: Sequence[AdapterTensor], whole: Collection[str], model: Any
) -> list[AdapterTensor]:
    """Return the head's weights where a file has only the embeddings that the head is tied to.

    Embeddings that were named in `modules_to_save` were trained apart from the head.
    """
    embeddings = getattr(model.get_input_embeddings(), "weight", None)
    same = [
        name
        for name, module in model.named_modules()
        if getattr(module, "weight", None) is embeddings is not None
    ]
    present = {one.module for one in found if one.part == "weight"}
    given = [one for one in found if one.module in same and one.module in whole]
    return [replace(one, module=name) for one in given[:1] for name in same if name not in present]


def _added_tokens(found: Sequence[AdapterTensor], modules: _ModuleIndex) -> str | None:
    """Return that base lacks tokens which were added before the training, and what to do.

    Where the file has all of the embeddings in the place of base's, they are loaded; where it has
    changes to embeddings, those must have as many rows as base's.
    """
    parts = ("original_module.weight", "base_layer.weight", "token_adapter.base_layer.weight")
    for one in found:
        module = modules.by_name.get(one.module)
        own: Any = getattr(getattr(module, "base_layer", module), "weight", None)
        same = own is None or one.part not in parts or len(one.shape) != 2 or own.dim() != 2
        if not same and own.shape[0] != one.shape[0] and own.shape[1] == one.shape[1]:
            return (
                f"its {one.module} has {one.shape[0]} rows and base's {own.shape[0]}: tokens were "
                "added before the training; give as base the model that has them "
                "(resize_token_embeddings, then save_pretrained), or the merged model as tuned"
            )
    return None


def _trained_bias(found: Sequence[AdapterTensor], config: Mapping[str, Any]) -> str | None:
    """Return that an adapter has trained base's own biases, and what to do; None if it has not."""
    way, saved = config.get("bias") or "none", tuple(config.get("modules_to_save") or ())
    biases = (
        one.key
        for one in found
        if one.part in ("bias", "base_layer.bias") and not one.module.endswith(saved)
    )
    first = None if way == "none" else next(biases, None)
    if first is None:
        return None
    return (
        f"bias={way!r} trains base's own biases, such as {first}; merge it, and give the merged "
        "model as tuned"
    )


def _copies_of_base(
    found: Sequence[AdapterTensor], folder: Path, modules: _ModuleIndex
) -> Iterator[str]:
    """Yield the names of whole weights that are those of the base, in the file's number format.

    Raises:
        LookupError: weights of the base below a LoRA layer are others than the base's.
    """
    from safetensors import safe_open

    with safe_open(folder / "adapter_model.safetensors", framework="pt") as file:
        for one in found:
            if one.part not in ("weight", "base_layer.weight", "original_module.weight"):
                continue
            module = modules.by_name.get(one.module)
            mine: Any = getattr(getattr(module, "base_layer", module), "weight", None)
            theirs = file.get_tensor(one.key)
            same = mine is not None and mine.shape == theirs.shape
            if same and bool((mine.to(theirs.dtype).cpu() == theirs).all()):
                yield one.key
            elif one.part != "weight":
                raise LookupError(f"its copy of {one.module} holds other weights")


@dataclass(frozen=True)
class _ModuleIndex:
    """The modules of a base by their names, and by what of those is the same in every class."""

    kind: str
    by_name: Mapping[str, Any]
    by_core: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, model: Any) -> _ModuleIndex:
        plain = {
            name: module
            for name, module in model.named_modules()
            if not _part_pattern().search(f".{name}.") and ".base_layer" not in name
        }
        cores: dict[str, tuple[str, ...]] = {}
        for name in plain:
            cores[_core(name)] = (*cores.get(_core(name), ()), name)
        return cls(type(model).__name__, plain, cores)

    def find(self, name: str) -> str:
        """Return the base's name of a module."""
        if name in self.by_name:
            return name
        found = self.by_core.get(_core(name), ())
        outer, _, last = name.rpartition(".")
        if not found and getattr(self.by_name.get(self._known(outer)), "weight", None) is not None:
            raise _UnknownPart(f"{last} of {outer}")
        if not found:
            raise LookupError(f"it has no module {name} ({self.kind})")
        if len(found) > 1:
            raise LookupError(f"{name} may be {found[0]} or {found[1]} ({self.kind})")
        return found[0]

    def _known(self, name: str) -> str:
        return next(iter(self.by_core.get(_core(name), ())), name)


class _UnknownPart(Exception):
    """A module of the base has a tensor of no known adapter."""


def _core(name: str) -> str:
    """Return what of a module's name is the same in every class."""
    parts = [part for part in name.split(".") if part not in _WRAPPERS]
    while len(parts) > 1 and parts[0] in _OUTER:
        del parts[0]
    return ".".join(parts)


def _plain(key: str) -> str:
    """Return a tensor's name without PEFT's beginning and the adapter's name."""
    return _ADAPTER_NAME.sub(r"\1", key.removeprefix("base_model.model."))


def _place(
    key: str, shape: tuple[int, ...], modules: _ModuleIndex, *, blocks: bool = False
) -> AdapterTensor:
    """Find a tensor's module and compare their sizes, which block-diagonal LoRA has in parts."""
    module, part = _split_name(_plain(key))
    if f"{module}." == _SHARED and part:
        return AdapterTensor(key, "", part, shape)
    if part.startswith("modules_to_save."):
        part = part.removeprefix("modules_to_save.")
    if _ONE_EXPERT.search(module) and module not in modules.by_name:
        return AdapterTensor(key, module, part, shape)  # PEFT converts them, or differences show
    place = modules.find(module)
    side = next((p for p in ("lora_A.", "lora_B.") if part.startswith(p)), None)
    sides = _sides(modules.by_name[place])
    if side and sides is not None and len(sides) == len(shape) == 2 and not blocks:
        size = shape[-1] if side == "lora_A." else shape[0]
        if size not in sides:
            raise LookupError(f"{module} is {list(sides)}, the adapter's side {size}")
    return AdapterTensor(key, place, part, shape)


def _sides(module: Any) -> tuple[int, ...] | None:
    """Return the shape of a module's weight as it computes; quantised, it is stored in another."""
    module = getattr(module, "base_layer", module)
    if hasattr(module, "out_features"):
        return (int(module.out_features), int(module.in_features))
    weight = getattr(module, "weight", None)
    return None if weight is None else tuple(weight.shape)


def translate_config(config: Any, fit: AdapterFit, model: Any) -> None:
    """Write the base's names into PEFT's configuration, in place.

    What is trained is named one by one: by its tensors, whatever expression chose it. The rank of
    a module is that of its tensors.

    Args:
        config: PEFT's configuration of a LoRA adapter.
        fit: Where its tensors belong.
        model: The base's torch model, without adapters.
    """
    trained = dict(model.named_modules())
    parameters = {name for name, _ in model.named_parameters()}
    alphas = dict(config.alpha_pattern)
    ranks, targets, exact = {}, set(), {}
    for one in fit.tensors:
        if not one.part.startswith(("lora_A.", "lora_embedding_A")):
            continue
        if getattr(trained.get(one.module), "weight", None) is None:
            continue  # experts: parameters of their module
        targets.add(one.module)
        place = f"^{re.escape(one.module)}"
        ranks[place] = one.shape[0]
        alpha = _pattern_value(alphas, one.key)
        if alpha is not None:
            exact[place] = alpha
    config.target_modules = targets or None
    config.exclude_modules = config.layers_to_transform = config.layers_pattern = None
    config.rank_pattern = {**ranks, **{_core(k): v for k, v in config.rank_pattern.items()}}
    config.alpha_pattern = {**exact, **{_core(k): v for k, v in alphas.items()}}
    given = config.target_parameters or ()
    config.target_parameters = [_suffix(name, parameters) for name in given] or None
    saved = {one.module for one in fit.loaded if _FULL.fullmatch(one.part)}
    config.modules_to_save = sorted(saved) or None
    tokens = getattr(config, "trainable_token_indices", None)
    if isinstance(tokens, dict):
        config.trainable_token_indices = {_core(name): ids for name, ids in tokens.items()}


def _pattern_value(patterns: Mapping[str, Any], key: str) -> Any:
    """Return the value of the first pattern that matches a module, as PEFT matches them."""
    name = _split_name(key.removeprefix("base_model.model."))[0]
    for pattern, value in patterns.items():
        if re.match(rf"(.*\.)?({pattern})$", name):
            return value
    return None


def _suffix(name: str, parameters: set[str]) -> str:
    """Return a parameter's name, or the end of it, as the base has it."""
    known = any(full == name or full.endswith(f".{name}") for full in parameters)
    return name if known else _core(name)


def load_translated(fit: AdapterFit, folder: Path, model: Any, name: str) -> None:
    """Read an adapter's file into a PEFT model that has its (empty) adapter already.

    Modules of which the file has all weights may have more rows than the base's: new tokens.
    """
    import torch
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    values = load_file(folder / "adapter_model.safetensors")
    wrappers = {
        key.removeprefix("base_model.model."): module.modules_to_save[name]
        for key, module in model.named_modules()
        if name in (getattr(module, "modules_to_save", None) or ())
    }
    for one in fit.loaded:
        if one.module in wrappers and _FULL.fullmatch(one.part):
            copy, value = wrappers[one.module], values[one.key]
            old = getattr(copy, one.part)
            if old.shape != value.shape:
                grown = torch.nn.Parameter(old.new_empty(value.shape), requires_grad=False)
                setattr(copy, one.part, grown)
                for size in ("num_embeddings", "out_features"):
                    if hasattr(copy, size):
                        setattr(copy, size, value.shape[0])
    state = {one.name: values[one.key] for one in fit.loaded}
    set_peft_model_state_dict(model, state, adapter_name=name)


def differing_tensors(fit: AdapterFit, folder: Path, model: Any, name: str) -> Iterator[str]:
    """Name the tensors that the model's adapter does not hold as the file has them.

    Tensors of experts that PEFT fuses are compared as PEFT converts them.
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import load_file

    values = load_file(folder / "adapter_model.safetensors")
    wanted = {one.name: values[one.key] for one in fit.loaded}
    held = get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False)
    wanted = _convert(wanted, model, name)
    yield from (f"{key} is missing from the adapter's file" for key in sorted(held.keys() - wanted))
    yield from (f"{key} has no place in the model" for key in sorted(wanted.keys() - held))
    for key in sorted(held.keys() & wanted):
        mine, theirs = held[key], wanted[key].to(held[key].device, held[key].dtype)
        if mine.shape != theirs.shape or not mine.allclose(theirs, rtol=0, atol=0, equal_nan=True):
            yield f"{key} is not what the file holds"


def _convert(values: dict[str, Any], model: Any, name: str) -> dict[str, Any]:
    try:
        from peft.utils.transformers_weight_conversion import (
            convert_peft_adapter_state_dict_for_transformers,
        )
    except ImportError:  # an older PEFT converts nothing
        return values
    converted: dict[str, Any] = convert_peft_adapter_state_dict_for_transformers(
        model=model,
        peft_config=model.peft_config[name],
        adapter_state_dict=values,
        adapter_name=name,
    )
    return converted


_MERGE = "merge it, and give the merged model as tuned"
_SERVE = "serve it, and give server:URL#NAME as tuned"
_KINDS = {
    "XLORA": f"an X-LoRA adapter weighs several LoRA adapters anew for each token; {_SERVE}",
    "POLY": "a Poly adapter needs task ids with each prompt, which a suite does not have",
    "MULTITASK_PROMPT_TUNING": (
        "multitask prompt tuning needs task ids with each prompt, which a suite does not have"
    ),
}
"""PEFT's name of a kind → why it is refused."""
_FIELDS = {
    "alora_invocation_tokens": (
        f"an activated LoRA (aLoRA) acts only behind its invocation tokens; {_SERVE}"
    ),
    "arrow_config": f"an Arrow adapter chooses among several LoRA adapters per token; {_SERVE}",
    "kasa_config": f"a KaSA adapter drops parts of base's own weights; {_MERGE}",
    "layer_replication": f"its layers are copies of base's, in a deeper model; {_MERGE}",
}
"""Field of `adapter_config.json` → why a LoRA adapter that uses it is refused."""
STARTS = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Beginnings of `init_lora_weights` by which training starts from other base weights."""


def _unknown_to_peft(config: Mapping[str, Any]) -> str | None:
    """Return what the installed PEFT does not know of an adapter, which it would leave out."""
    from dataclasses import fields
    from importlib.metadata import version

    from peft import PeftType
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    kind = config.get("peft_type", "missing")
    kinds = PEFT_TYPE_TO_CONFIG_MAPPING
    known = fields(kinds[PeftType(kind)]) if kind in set(PeftType) else ()
    other = config.keys() - {one.name for one in known} - BOOKKEEPING
    unknown = sorted(name for name in other if config[name] not in (None, False, [], {}, ""))
    if known and not unknown:
        return None
    what = f"{unknown[0]}={config[unknown[0]]!r}" if known else f"peft_type={kind!r}"
    saved = str(config.get("peft_version") or "").partition("@")[0]
    remedy = f", it was saved by {saved}: pip install 'peft>={saved}'" if saved else ""
    return f"adapter_config.json: {what} is unknown to PEFT {version('peft')}{remedy}"


def refuse_unsupported_kind(spec: str, config: Mapping[str, Any]) -> None:
    """Refuse an adapter that cannot be switched on and off on one loaded base.

    Args:
        spec: How the user names the adapter.
        config: The content of `adapter_config.json`.

    Raises:
        ModelError: it is of such a kind; with its name and what to do.
    """
    reason = _KINDS.get(str(config.get("peft_type"))) or next(
        (why for name, why in _FIELDS.items() if config.get(name)), None
    )
    start = config.get("init_lora_weights")
    if reason is None and isinstance(start, str) and start.lower().startswith(STARTS):
        reason = (
            f"init_lora_weights={start!r} changes base's own weights; save it as a plain LoRA "
            f"(save_pretrained with path_initial_model_for_weight_conversion), or {_MERGE}"
        )
    if reason := reason or _unknown_to_peft(config):
        raise ModelError(f"{spec}: not supported: {reason}")
