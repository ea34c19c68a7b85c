"""Serving faults: what a served model would give with one of them, computed from its files.

A fault is named only where computing it explains what is served: what is left of the error must be
a third of it at most. Of several that do, the one that leaves least is named. Another arm is named
only if what is served equals it, up to arithmetic: most of a fine-tune can be missing.

Candidates are computed for the beginnings of a few probe texts, in one batch. Only the one that
leaves least is computed for all of them.
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
_SEVERAL = 0.5
"""Share of what the fine-tune changes from which several kinds of module are probably missing."""
_NOT_APPLIED = ": the fine-tune is not applied"
_TEXTS, _FIRST = 3, 4
"""Probe texts, and first places in each, for which candidates are computed."""


def expected_logprobs(arm: LocalArm, prefixes: Sequence[Sequence[Sequence[int]]]) -> Any:
    """Return log-probabilities of the token after each prefix, float32 [places, vocabulary].

    Args:
        arm: The model.
        prefixes: For each text its prefixes, the longest last: one forward computes them all.
    """
    import torch

    texts = [list(text[-1]) for text in prefixes]
    width = max(map(len, texts))
    # What follows a place in a causal model does not matter to it, so no mask is needed.
    filled = [text + text[-1:] * (width - len(text)) for text in texts]
    with arm.active() as model, torch.inference_mode():
        batch = torch.tensor(filled, device=model.device)
        logits = model(input_ids=batch, use_cache=False).logits
        # From the end: virtual tokens of an adapter are at the front.
        front = logits.shape[1] - width
        rows = [
            torch.log_softmax(row[[front + len(prefix) - 1 for prefix in text]].float(), dim=-1)
            for row, text in zip(logits, prefixes, strict=True)
        ]
        return torch.cat(rows).cpu().numpy()


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
    limits: Mapping[str, float],
) -> str:
    """Return why an arm is not what its files are, in words.

    Args:
        name: The arm.
        reported: Place → token → log-probability, as served.
        prefixes: The probe texts.
        reference: The arms as they were loaded from their folders.
        expected: Arm → log-probabilities by its files.
        limits: Arm → error in nats that is none.
    """
    case = _FaultCase.of(reported, prefixes, expected[name].shape[-1], limits[name])
    error = case.error(expected[name])
    others = (n for n, v in expected.items() if n != name and case.error(v) <= limits[n])
    if other := next(others, None):
        return f"{other} answers under its name{_NOT_APPLIED if other == 'base' else ''}"
    if name == "base":
        return "its weights differ: quantised, of another model, or changed by a loaded adapter"
    arm: Any = reference[name]
    layers = AdapterLayers.of(arm)
    best = _likeliest(case, arm, layers, expected) if layers.layers else _NO_CAUSE
    # What nearly is base leaves little to explain: a cause has to explain that, too.
    from_base = _EXPLAINED * case.error(expected["base"])
    if best.left <= min(max(case.limit, _EXPLAINED * error), from_base):
        return best.words
    if error > _OTHER * case.movement(expected, name):
        return "another model or another fine-tune answers under its name, or one that is quantised"
    return "a part of the fine-tune is not applied, or other weights answer under its name"


def _likeliest(
    case: _FaultCase, arm: LocalArm, layers: AdapterLayers, expected: Mapping[str, Any]
) -> FaultCause:
    """Return the cause that leaves least of the error, with what it leaves of all places."""
    part, rows = case.shortened()
    known = {name: values[rows] for name, values in expected.items()}
    enough = min(case.limit, _EXPLAINED * part.error(known[layers.name]))
    best = _NO_CAUSE
    some: tuple[_FaultHypothesis, ...] = (_missing_modules, _only_some_modules)
    if part.error(known[layers.name]) > _SEVERAL * part.movement(known, layers.name):
        some = some[::-1]
    for hypothesis in (_one_scale, _other_scale, *some):
        best = min(best, hypothesis(part, arm, layers, known), key=lambda cause: cause.left)
        if best.left <= enough:
            break
    if best is _NO_CAUSE:
        return best
    return best._replace(left=case.error(layers.logprobs(case, arm, best.factor)))


class FaultCause(NamedTuple):
    """A fault that may be there."""

    words: str
    left: float
    """Root mean square of what it does not explain, in nats; `inf` if it is out of the question."""
    factor: Callable[[str], float] = lambda name: 1.0
    """Name of a module → what its scale is multiplied by, with this fault."""


_NO_CAUSE = FaultCause("", math.inf)
_FaultHypothesis = Callable[["_FaultCase", Any, "AdapterLayers", Mapping[str, Any]], FaultCause]


@dataclass(frozen=True)
class _FaultCase:
    reported: Sequence[Mapping[int, float]]
    prefixes: Sequence[Sequence[Sequence[int]]]
    served: Any
    """The served values, all places in one row."""
    vocabulary: int
    """Number of tokens that are compared."""
    limit: float

    @classmethod
    def of(
        cls,
        reported: Sequence[Mapping[int, float]],
        prefixes: Sequence[Sequence[Sequence[int]]],
        vocabulary: int,
        limit: float,
    ) -> _FaultCase:
        import numpy as np

        places = np.broadcast_to(np.float32(0), (len(reported), vocabulary))
        served = np.concatenate([values for values, _ in shared_values(reported, places)])
        return cls(reported, prefixes, served, vocabulary, limit)

    def shortened(self) -> tuple[_FaultCase, list[int]]:
        """Return the first places of the first texts, and which of all places they are."""
        rows: list[int] = []
        begin = 0
        for text in self.prefixes[:_TEXTS]:
            rows += range(begin, begin + len(text[:_FIRST]))
            begin += len(text)
        reported = [self.reported[row] for row in rows]
        prefixes = [text[:_FIRST] for text in self.prefixes[:_TEXTS]]
        return _FaultCase.of(reported, prefixes, self.vocabulary, self.limit), rows

    def error(self, expected: Any) -> float:
        """Return the root mean square of served − expected."""
        return self.left(self.vector(expected))

    def left(self, values: Any) -> float:
        """Return the root mean square of served − values, which are in one row."""
        import numpy as np

        return float(np.sqrt(np.mean((self.served - values) ** 2)))

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
    own = set(layers.scales.values())
    scales = {plain: "lora_alpha / r"}
    if len(own) > 1:  # with one scale for all, `_other_scale` finds what that is
        scales[rooted] = "lora_alpha / √r, as for rsLoRA"
    for scale, words in scales.items():
        if all(math.isclose(scale, value) for value in own):
            continue
        factor = partial(_to_scale, layers.scales, scale)
        left = case.error(layers.logprobs(case, arm, factor))
        sentence = f"every module is scaled by {words}, which does not follow its configuration"
        found.append(FaultCause(sentence, left, factor))
    return min(found, key=lambda cause: cause.left)


def _other_scale(
    case: _FaultCase, arm: Any, layers: AdapterLayers, expected: Mapping[str, Any]
) -> FaultCause:
    """Look for one factor on the whole adapter: by the secant method from the nearest of a few."""

    def served(factor: float) -> Any:
        return case.vector(layers.logprobs(case, arm, partial(_same, factor)))

    points = {0.0: case.vector(expected["base"]), 1.0: case.vector(expected[arm.adapter])}
    points |= {factor: served(factor) for factor in _USUAL}
    factor = min((1.0, *_USUAL), key=lambda factor: case.left(points[factor]))
    before = min(points.keys() - {factor}, key=lambda factor: case.left(points[factor]))
    for _ in range(_STEPS):
        if factor != 1 and case.left(points[factor]) <= case.limit:
            break
        slope = (points[factor] - points[before]) / (factor - before)
        apart = case.served - points[factor]
        length, along = float(slope @ slope), float(apart @ slope)
        if abs(along) <= _ALIGNED * math.sqrt(length * float(apart @ apart)):
            break
        following = factor + along / length
        if not 0 < following < _LARGEST or math.isclose(following, factor, rel_tol=_CLOSE):
            break
        before, factor = factor, following
        points[factor] = served(factor)
    tried = [factor for factor in points if factor not in (0, 1)]
    best = min(tried, key=lambda factor: case.left(points[factor]))
    words = f"the adapter is scaled by {best:.3g} (is lora_alpha another one there?)"
    return FaultCause(words, case.left(points[best]), partial(_same, best))


_USUAL = (0.5, 2.0)
"""Factors that are looked at first: half and double alpha."""
_ALIGNED = 0.5
"""Cosine between the error and the slope below which it is no scale."""
_STEPS = 4
_CLOSE = 1e-5
"""Relative change of the factor at which the search ends."""
_LARGEST = 64.0
"""No factor beyond this one is looked for."""


def _missing_modules(
    case: _FaultCase, arm: Any, layers: AdapterLayers, expected: Mapping[str, Any]
) -> FaultCause:
    """Look for kinds of module without their part of the adapter: few, of a small part of it."""
    if case.error(expected[arm.adapter]) > _OTHER * case.movement(expected, arm.adapter):
        return _NO_CAUSE
    own = case.vector(expected[arm.adapter])
    without = [
        case.vector(layers.logprobs(case, arm, partial(_outside, [kind]))) - own
        for kind in layers.kinds
    ]
    weights = _weights(case.served - own, without)
    return _without(case, arm, layers, dict(zip(layers.kinds, weights, strict=True)))


def _only_some_modules(
    case: _FaultCase, arm: Any, layers: AdapterLayers, expected: Mapping[str, Any]
) -> FaultCause:
    """Look for kinds of module that alone have their part: several others are missing."""
    base = case.vector(expected["base"])
    alone = [
        case.vector(layers.logprobs(case, arm, partial(_inside, [kind]))) - base
        for kind in layers.kinds
    ]
    weights = [1 - weight for weight in _weights(case.served - base, alone)]
    return _without(case, arm, layers, dict(zip(layers.kinds, weights, strict=True)))


def _weights(x: Any, directions: Sequence[Any]) -> list[float]:
    """Return how much of each direction is in x, by least squares."""
    import numpy as np

    found, *_ = np.linalg.lstsq(np.stack(directions, axis=1), x, rcond=None)
    return [float(weight) for weight in found]


def _without(
    case: _FaultCase, arm: Any, layers: AdapterLayers, weights: Mapping[str, float]
) -> FaultCause:
    """Return which kinds are missing, from how much each seems to be: 0 not at all, 1 wholly.

    Effects of several kinds do not add up in a strong fine-tune. So those in doubt are turned over.
    """

    def cause(missing: Sequence[str]) -> FaultCause:
        if not 0 < len(missing) < len(layers.kinds):
            return _NO_CAUSE
        factor = partial(_outside, missing)
        words = f"{', '.join(missing)} are served without their part of the adapter"
        return FaultCause(words, case.error(layers.logprobs(case, arm, factor)), factor)

    missing = [kind for kind in layers.kinds if weights[kind] > 0.5]
    best = cause(missing)
    for kind in sorted(weights, key=lambda kind: abs(weights[kind] - 0.5))[:_DOUBTFUL]:
        if best.left <= case.limit or not abs(weights[kind] - 0.5) < 0.5:
            break
        turned = [k for k in layers.kinds if (k in missing) != (k == kind)]
        other = cause(turned)
        if other.left < best.left:
            best, missing = other, turned
    return best


_DOUBTFUL = 3
"""Kinds of module that are turned over at most."""
