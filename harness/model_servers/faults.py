"""Serving faults: what a served model would give with one of them, computed from its files.

A fault is named only where computing it explains what is served: what is left of the error must be
a third of it at most. Of several that do, the one that leaves least is named. Another arm is named
only if what is served equals it, up to arithmetic: most of a fine-tune can be missing.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from tunegate.harness.model import LocalArm

_EXPLAINED = 1 / 3
"""Share of the error that a named cause may leave."""
_OTHER = 0.9
"""Share of what the fine-tune changes from which an error is no missing part of it."""
_SEVERAL = 0.3
"""Share of what the fine-tune changes from which several kinds of module may be missing."""
_NOT_APPLIED = ": the fine-tune is not applied"


def expected_logprobs(arm: LocalArm, prefixes: Sequence[Sequence[Sequence[int]]]) -> Any:
    """Return log-probabilities of the token after each prefix, float32 [places, vocabulary].

    Args:
        arm: The model.
        prefixes: For each text its prefixes, the longest last: one forward computes them all.
    """
    import torch

    rows = []
    with arm.active() as model, torch.inference_mode():
        for text in prefixes:
            whole = list(text[-1])
            batch = torch.tensor([whole], device=model.device)
            logits = model(input_ids=batch, use_cache=False).logits[0].float()
            # From the end: virtual tokens of an adapter are at the front.
            places = [len(logits) - len(whole) + len(prefix) - 1 for prefix in text]
            rows.append(torch.log_softmax(logits[places], dim=-1).cpu())
    return torch.cat(rows).numpy()


def shared_values(
    reported: Sequence[Mapping[int, float]], expected: Any
) -> Iterator[tuple[Any, Any]]:
    """Yield, of each place, the served values and those of the same tokens by the files."""
    import numpy as np

    for served, row in zip(reported, expected, strict=True):
        ids = sorted(token for token in served if token < len(row))
        yield np.array([served[token] for token in ids]), np.asarray(row)[ids].astype(float)


@contextlib.contextmanager
def in_bfloat16(arm: LocalArm) -> Iterator[None]:
    """Round a model's weights to bfloat16 and compute in it; afterwards it has float32 again."""
    import torch

    with arm.active() as model:
        weights = [p for p in model.parameters() if p.is_floating_point()]
    with torch.no_grad():
        for weight in weights:
            weight.data = weight.data.to(torch.bfloat16)
        try:
            yield
        finally:
            for weight in weights:
                weight.data = weight.data.float()


def name_fault(
    name: str,
    reported: Sequence[Mapping[int, float]],
    prefixes: Sequence[Sequence[Sequence[int]]],
    reference: Mapping[str, LocalArm],
    expected: Mapping[str, Any],
    limit: float,
) -> str:
    """Return why an arm is not what its files are, in words.

    Args:
        name: The arm.
        reported: Place → token → log-probability, as served.
        prefixes: The probe texts.
        reference: The arms as they were loaded from their folders.
        expected: Arm → log-probabilities by its files.
        limit: Error in nats that is none.
    """
    case = _FaultCase.of(reported, prefixes, expected[name], limit)
    error = case.error(expected[name])
    others = (n for n, v in expected.items() if n != name and case.error(v) <= limit)
    if other := next(others, None):
        return f"{other} answers under its name{_NOT_APPLIED if other == 'base' else ''}"
    if name == "base":
        return "its weights differ: quantised, of another model, or changed by a loaded adapter"
    arm: Any = reference[name]
    layers = AdapterLayers.of(arm)
    best = _NO_CAUSE
    for hypothesis in _HYPOTHESES if layers.layers else ():
        best = min(best, hypothesis(case, arm, layers, expected), key=lambda cause: cause.left)
        if best.left <= limit:
            break
    # What nearly is base leaves little to explain: a cause has to explain that, too.
    if best.left <= max(limit, _EXPLAINED * min(error, case.error(expected["base"]))):
        return best.words
    if error > _OTHER * case.movement(expected, name):
        return "another model or another fine-tune answers under its name, or one that is quantised"
    return "a part of the fine-tune is not applied, or other weights answer under its name"


class FaultCause(NamedTuple):
    """A fault that may be there."""

    words: str
    left: float
    """Root mean square of what it does not explain, in nats; `inf` if it is out of the question."""


_NO_CAUSE = FaultCause("", math.inf)


@dataclass(frozen=True)
class _FaultCase:
    reported: Sequence[Mapping[int, float]]
    prefixes: Sequence[Sequence[Sequence[int]]]
    served: Any
    """The served values, all places in one row."""
    limit: float

    @classmethod
    def of(
        cls,
        reported: Sequence[Mapping[int, float]],
        prefixes: Sequence[Sequence[Sequence[int]]],
        expected: Any,
        limit: float,
    ) -> _FaultCase:
        import numpy as np

        served = np.concatenate([values for values, _ in shared_values(reported, expected)])
        return cls(reported, prefixes, served, limit)

    def error(self, expected: Any) -> float:
        """Return the root mean square of served − expected."""
        import numpy as np

        return float(np.sqrt(np.mean((self.served - self.vector(expected)) ** 2)))

    def movement(self, expected: Mapping[str, Any], name: str) -> float:
        """Return the root mean square of what a fine-tune changes."""
        apart = self.vector(expected[name]) - self.vector(expected["base"])
        return math.sqrt(float(apart @ apart) / len(apart))

    def vector(self, expected: Any) -> Any:
        """Return the values of the reported tokens, all places in one row."""
        import numpy as np

        return np.concatenate([files for _, files in shared_values(self.reported, expected)])


@dataclass(frozen=True)
class AdapterLayers:
    """The layers that an adapter wraps, each with its scale: PEFT multiplies B·A by it."""

    name: str
    layers: Mapping[str, Any]
    """Full name of the module → the layer."""
    scales: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, arm: Any) -> AdapterLayers:
        """Find the layers of an arm's adapter."""
        with arm.active() as model:
            found = {
                name: module
                for name, module in model.named_modules()
                if isinstance(getattr(module, "scaling", None), dict)
                and arm.adapter in module.scaling
            }
        return cls(arm.adapter, found, {n: m.scaling[arm.adapter] for n, m in found.items()})

    @property
    def kinds(self) -> list[str]:
        """Last names of the wrapped modules, such as `q_proj`."""
        return sorted({name.rpartition(".")[2] for name in self.layers})

    @contextlib.contextmanager
    def scaled(self, factor: Callable[[str], float]) -> Iterator[None]:
        """Multiply each layer's scale by a factor of its name."""
        try:
            for name, layer in self.layers.items():
                layer.scaling[self.name] = self.scales[name] * factor(name)
            yield
        finally:
            for name, layer in self.layers.items():
                layer.scaling[self.name] = self.scales[name]

    def logprobs(self, case: _FaultCase, arm: LocalArm, factor: Callable[[str], float]) -> Any:
        """Return what the arm would give with other scales."""
        with self.scaled(factor):
            return expected_logprobs(arm, case.prefixes)


def _inside(kinds: Sequence[str], name: str) -> float:
    return float(name.rpartition(".")[2] in kinds)


def _outside(kinds: Sequence[str], name: str) -> float:
    return float(name.rpartition(".")[2] not in kinds)


def _same(factor: float, name: str) -> float:
    return factor


def _to_scale(own: Mapping[str, float], scale: float, name: str) -> float:
    return scale / own[name] if own[name] else 0.0


def _one_scale(
    case: _FaultCase, arm: Any, layers: AdapterLayers, expected: Mapping[str, Any]
) -> FaultCause:
    """Look for rank or alpha patterns, or rsLoRA, that the server does not know."""
    config = arm.loaded.torch_model.peft_config[arm.adapter]
    alpha, rank = getattr(config, "lora_alpha", None), getattr(config, "r", None)
    if not alpha or not rank:
        return _NO_CAUSE
    plain, rooted = alpha / rank, alpha / math.sqrt(rank)
    found = [_NO_CAUSE]
    for scale, words in (
        (plain, "lora_alpha / r"),
        (rooted, "lora_alpha / √r, as for rsLoRA"),
    ):
        if all(math.isclose(scale, own) for own in layers.scales.values()):
            continue
        values = layers.logprobs(case, arm, partial(_to_scale, layers.scales, scale))
        sentence = f"every module is scaled by {words}, which does not follow its configuration"
        found.append(FaultCause(sentence, case.error(values)))
    return min(found, key=lambda cause: cause.left)


def _other_scale(
    case: _FaultCase, arm: Any, layers: AdapterLayers, expected: Mapping[str, Any]
) -> FaultCause:
    """Look for one factor on the whole adapter, by Newton's method from 1."""
    factor, values, found = 1.0, expected[arm.adapter], _NO_CAUSE
    for _ in range(_STEPS):
        own = case.vector(values)
        beyond = layers.logprobs(case, arm, partial(_same, factor + _STEP))
        slope = (case.vector(beyond) - own) / _STEP
        total = float(slope @ slope)
        apart = case.served - own
        if abs(float(apart @ slope)) < _ALIGNED * math.sqrt(total * float(apart @ apart)):
            break
        factor += float(apart @ slope) / total if total else 0.0
        if not 0 < factor < _LARGEST:
            break
        values = layers.logprobs(case, arm, partial(_same, factor))
        words = f"the adapter is scaled by {factor:.3g} (is lora_alpha another one there?)"
        found = min(found, FaultCause(words, case.error(values)), key=lambda cause: cause.left)
        if found.left <= case.limit:
            break
    return found


_ALIGNED = 0.5
"""Cosine between the error and the slope below which it is no scale."""
_STEP = 0.05
"""Change of the factor by which the slope is measured."""
_STEPS = 3
_LARGEST = 64.0
"""No factor beyond this one is looked for."""


def _missing_modules(
    case: _FaultCase, arm: Any, layers: AdapterLayers, expected: Mapping[str, Any]
) -> FaultCause:
    """Look for kinds of module without their part of the adapter."""
    own = case.vector(expected[arm.adapter])
    without = [
        case.vector(layers.logprobs(case, arm, partial(_outside, [kind]))) - own
        for kind in layers.kinds
    ]
    missing = _weights(case.served - own, without, layers.kinds)
    return _without(case, arm, layers, missing)


def _only_some_modules(
    case: _FaultCase, arm: Any, layers: AdapterLayers, expected: Mapping[str, Any]
) -> FaultCause:
    """Look for kinds of module that alone have their part: several others are missing."""
    if case.error(expected[arm.adapter]) < _SEVERAL * case.movement(expected, arm.adapter):
        return _NO_CAUSE
    base = case.vector(expected["base"])
    alone = [
        case.vector(layers.logprobs(case, arm, partial(_inside, [kind]))) - base
        for kind in layers.kinds
    ]
    applied = _weights(case.served - base, alone, layers.kinds)
    missing = [kind for kind in layers.kinds if kind not in applied]
    return _without(case, arm, layers, missing)


def _weights(x: Any, directions: Sequence[Any], kinds: Sequence[str]) -> list[str]:
    """Return the kinds whose direction is in x with a weight of more than a half."""
    import numpy as np

    found, *_ = np.linalg.lstsq(np.stack(directions, axis=1), x, rcond=None)
    return [kind for kind, weight in zip(kinds, found, strict=True) if weight > 0.5]


def _without(
    case: _FaultCase, arm: Any, layers: AdapterLayers, missing: Sequence[str]
) -> FaultCause:
    if not missing or len(missing) == len(layers.kinds):
        return _NO_CAUSE
    values = layers.logprobs(case, arm, partial(_outside, missing))
    words = f"{', '.join(missing)} are served without their part of the adapter"
    return FaultCause(words, case.error(values))


_HYPOTHESES = (_one_scale, _other_scale, _missing_modules, _only_some_modules)
