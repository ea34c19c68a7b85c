"""Configurations: what no training changes must be equal in base's and tuned's config.json.

Number of layers, rope, epsilon of norms and activation follow no weight: a base with another one
computes without an error, and worse. A training may change what `may_change` names: vocabulary,
head, dropout, number format and how the folder was saved. Everything else that the model's
configuration class declares must agree; keys that it does not declare are not read by the model.
A long-context fine-tune changes its rope on purpose: the user names such keys.

Classifiers and rankers may replace a model of another kind or size, and tuned may replace an
incumbent of another size; such a pair is two models. With one kind and one size, the rule holds.
"""

from __future__ import annotations

import importlib.util
import inspect
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.further_arm import INCUMBENT
from tunegate.harness.contracts.model import Arm, ConfiguredArm, LocalArm, ServedArm
from tunegate.harness.models._model_folder import BOOKKEEPING
from tunegate.harness.records.errors import NotComparable

_CHANGED = re.compile(
    r"^_|vocab_size|_token_ids?$|_token_index$|drop|^output_|initializer|_loss_coef|jitter"
    r"|^mask_(?:time|feature)_|^classifier_|^summary_|^sparse_pred|^deterministic_"
    r"|^use_(?:mamba_kernels|mambapy|associative_scan|mem_eff_path)$|^num_logits_to_keep$"
)
"""Keys of tokens, of dropout and of other settings that only a training reads, of heads that a
training makes anew, and of kernels that compute the same."""
_FREE = frozenset(
    {
        "architectures",
        "attention_bias",
        "chunk_size_feed_forward",
        "id2label",
        "label2id",
        "max_position_embeddings",
        "max_window_layers",
        "mlp_bias",
        "num_labels",
        "pretraining_tp",
        "problem_type",
        "quantization_config",
        "return_dict",
        "tie_word_embeddings",
    }
)
"""Keys of the head, of the number format, and without an effect on what is computed; and of biases,
which BitFit adds.

`layer_types` says what `max_window_layers` makes. Whether a context is too short is a question of
the cases (`comparability.refuse_other_contexts`).
"""
_SIZES = ("hidden_size", "num_hidden_layers")


def may_change(key: str) -> bool:
    """Return whether a training, or saving what it made, may change a key of a configuration."""
    return key in BOOKKEEPING or key in _FREE or _CHANGED.search(key) is not None


def check_configuration(name: str, base: Arm, arm: Arm, *, allowed: str = "") -> dict[str, str]:
    """Refuse an arm whose configuration differs from base's where no training changes it.

    Args:
        name: The arm's name; only tuned and the incumbent are compared.
        base: The arm to compare with.
        arm: The arm to check.
        allowed: Keys that may differ with all that they hold, as in
            `rope_parameters,sliding_window`.

    Returns:
        `warning`: the differences that are allowed. Empty without any.

    Raises:
        NotComparable: another key differs.
    """
    if name not in ("tuned", INCUMBENT):
        return {}
    base_config, other = _configuration(base), _configuration(arm)
    if base_config is None or other is None or base_config is other:
        return {}
    if base_config.model_type != other.model_type:  # the text part may be saved alone
        base_config, other = (
            config.get_text_config(decoder=True) for config in (base_config, other)
        )
    replaced = name == INCUMBENT or not isinstance(base, LocalArm | ServedArm)
    if replaced and not same_size(base, arm):
        return {}
    meant = []
    ours, theirs = ({"model_type": c.model_type, **dict(_fixed(c))} for c in (base_config, other))
    for key in ours | theirs:
        mine, their = ours.get(key), theirs.get(key)
        if _is_same(mine, their):
            continue
        if any(f"{key}.".startswith(f"{prefix}.") for prefix in map(str.strip, allowed.split(","))):
            meant.append(f"{key} is {their!r}, in base {mine!r}")
            continue
        before, rope, _ = key.partition("rope_parameters")
        raise NotComparable(
            f"base and {name} differ in more than the weights: {key} in config.json is {mine!r} in "
            f"base and {their!r} in {name}, which no training changes; give both arms the "
            "configuration that they were trained with, or allow a change that is meant with "
            f"--allow-config-difference={before}{rope}"
        )
    if not meant:
        return {}
    return {"warning": f"its config.json differs on purpose: {'; '.join(meant)}"}


def _is_same(value: Any, other: Any) -> bool:
    """Return whether two values are equal; GGUF files hold numbers in float32."""
    if isinstance(value, list) and isinstance(other, list):
        return len(value) == len(other) and all(map(_is_same, value, other))
    numbers = isinstance(value, float) and isinstance(other, float)
    return math.isclose(value, other, rel_tol=1e-6) if numbers else bool(value == other)


def _configuration(arm: Arm) -> Any:
    """Return the configuration of an arm, which a server's folder holds; None if unknown."""
    if isinstance(arm, ConfiguredArm):
        return arm.configuration
    folder = Path(arm.weights_spec or "") if isinstance(arm, ServedArm) else Path()
    here = (folder / "config.json").is_file() and importlib.util.find_spec("transformers")
    if not isinstance(arm, ServedArm) or not here:
        return None
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError):
        return None


def same_size(base: Arm, arm: Arm) -> bool:
    """Return whether two arms are known to be models of one kind and size."""
    config, other = _configuration(base), _configuration(arm)
    return None not in (config, other) and all(
        getattr(config, key, None) == getattr(other, key, None) for key in ("model_type", *_SIZES)
    )


def _fixed(config: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value that no training changes, under its path in config.json."""
    declared = inspect.signature(type(config).__init__).parameters
    for key, value in config.to_dict().items():
        if key not in declared or may_change(key):
            continue
        if key in config.sub_configs and value is not None:
            yield from _fixed(getattr(config, key), f"{place}{key}.")
        else:
            yield from _flat(f"{place}{key}", value)


def _flat(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the values of nested objects; `type` is the older name of `rope_type`."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key != "type":
                yield from _flat(f"{place}.{key}", inner)
    elif value is not None:
        yield place, [*value] if isinstance(value, tuple) else value
