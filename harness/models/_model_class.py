"""The Transformers class that computes a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunegate.harness.models._model_folder import RANKING_BACKENDS, _object, ranking_class
from tunegate.harness.records.errors import ModelError


def needs_code(folder: Path) -> bool:
    """Return whether only code in the folder can compute the model."""
    import transformers

    value = _object(folder / "config.json")
    return (
        bool(value.get("auto_map")) and value.get("model_type") not in transformers.CONFIG_MAPPING
    )


def text_class(folder: Path) -> Any:
    """Return the class to load the folder's weights with.

    It is the first of `architectures`, as in TRL. A name that Transformers does not have, or a
    model without a head, is left to `AutoModelForCausalLM`.
    """
    import transformers

    _refuse_ranking(folder)
    _refuse_unknown(folder)
    config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    named = (config.architectures or [""])[0]
    kind = getattr(transformers, named, None)
    if named.endswith("ForSequenceClassification"):
        raise ModelError(f"{folder}: {named} gives labels, not text; name it classifier:{folder}")
    if config.is_encoder_decoder or (
        kind is not None and "For" in named and not kind.can_generate()
    ):
        raise ModelError(
            f"{folder}: {named or config.model_type} is not a language model that continues "
            "its prompt; give one whose class ends in ForCausalLM or ForConditionalGeneration"
        )
    if kind is None or not kind.can_generate():
        return transformers.AutoModelForCausalLM
    return kind


def _refuse_ranking(folder: Path) -> None:
    """Refuse a reranker or embedder, naming the spec that it has."""
    kind = ranking_class(folder)
    if kind is None:
        return
    path = folder / "config.json"
    named = (_object(path).get("architectures") if path.is_file() else None) or [""]
    if not str(named[0]).endswith(("ForCausalLM", "ForConditionalGeneration")):
        spec = f"; name it {RANKING_BACKENDS[kind]}:{folder}" if kind in RANKING_BACKENDS else ""
        raise ModelError(f"{folder}: a {kind} of sentence-transformers writes no text{spec}")


def _refuse_unknown(folder: Path) -> None:
    """Refuse a model type that this Transformers does not have, naming a version that has it."""
    import transformers
    from packaging.version import InvalidVersion, Version

    value = _object(folder / "config.json")
    kind, saved = value.get("model_type"), str(value.get("transformers_version", ""))
    if kind in transformers.CONFIG_MAPPING:
        return
    named = next(iter(value.get("architectures") or ()), f"model type {kind!r}")
    try:
        newer = Version(saved) > Version(transformers.__version__)
    except InvalidVersion:
        newer = False
    remedy = (
        f"it was saved by {saved}: pip install 'transformers>={saved}'"
        if newer
        else "its model card says which version has it"
    )
    raise ModelError(f"{folder}: Transformers {transformers.__version__} has no {named}; {remedy}")


def text_part(model: Any) -> Any:
    """Return the part of a model that computes text: all of it, or a whole model within it.

    Llama 4 has a language model with a head of its own within the class with vision, which does
    nothing else for text than to call it (and fails at that in Transformers 5.24). The names of the
    other parts are its `left_out`: adapters may have tensors for them.
    """
    inner = getattr(model, "language_model", None)
    if inner is None or getattr(inner, "lm_head", None) is None:
        return model
    inner.generation_config = model.generation_config
    inner.left_out = frozenset(name for name, part in model.named_children() if part is not inner)
    return inner
