"""Serving faults: what a served model would give with one of them, computed from its files.

A fault is named only where computing it explains what is served: what is left of the error must be
a third of it at most. The best-fitting cause wins. Another arm is named only if what is served
equals it, up to arithmetic: most of a fine-tune can be missing.

Candidates are computed for the beginnings of a few probe texts, in one batch. Only the one that
leaves least is computed for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from tunegate.harness.contracts.model import LocalArm
from tunegate.harness.models.servers.reference import (
    AdapterLayers,
    expected_logprobs,
    shared_values,
)

_EXPLAINED = 1 / 3
"""Share of the error that a named cause may leave."""
_ROUNDING = 0.6
"""Share of the limit that a cause may leave in 16 bits; half the limit is measured rounding."""
_OTHER = 0.9
"""Share of what the fine-tune changes from which an error is more than a missing part of it."""
_SEVERAL = 0.5
"""Share of what the fine-tune changes from which several kinds of module are probably missing."""
_NOT_APPLIED = ": the fine-tune is not applied"
_TEXTS, _FIRST = 3, 4
"""Probe texts, and first places in each, for which candidates are computed."""


def name_fault(
    name: str,
    reported: Sequence[Mapping[int, float]],
    prefixes: Sequence[Sequence[Sequence[int]]],
    reference: Mapping[str, LocalArm],
    expected: Mapping[str, Any],
    limits: Mapping[str, float],
) -> str:
    """Return why an arm is not what its files are, in words.

    `reported` and `expected` are log-probabilities, as served and by the files; `limits` has the
    error of each arm, in nats, up to which it is as expected.
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
    likely = _likeliest(case, arm, layers, expected) if layers.layers else None
    best = likely or _other_lora_scale(case, arm)
    # What nearly is base leaves little to explain: a cause has to explain that, too.
    from_base = _EXPLAINED * case.error(expected["base"])
    if best.left <= min(max(case.limit, _EXPLAINED * error), from_base):
        return best.words
    if error > _OTHER * case.movement(expected, name):
        return "another model or another fine-tune answers under its name, or one that is quantised"
    return "a part of the fine-tune is not applied, or other weights answer under its name"


def _other_lora_scale(case: _FaultCase, arm: Any) -> FaultCause:
    """Look for half and double the scale of an adapter that was added to a GGUF file's weights."""
    spec = str(arm.identity["spec"])
    causes = [_NO_CAUSE]
    if "lora=" in spec:
        from tunegate.harness.models.gguf import gguf, with_scale

        for factor in _USUAL:
            other: Any = gguf(with_scale(spec.removeprefix("gguf:"), factor))
            left = case.error(expected_logprobs(other, case.prefixes))
            causes.append(FaultCause(f"the adapter is scaled by {factor:g} (another scale?)", left))
    return min(causes, key=lambda cause: cause.left)


def _likeliest(
    case: _FaultCase, arm: LocalArm, layers: AdapterLayers, expected: Mapping[str, Any]
) -> FaultCause:
    """Return the cause that leaves least of the error, with what it leaves of all places."""
    part, rows = case.shortened()
    part_expected = {name: values[rows] for name, values in expected.items()}
    explained = _EXPLAINED * part.error(part_expected[layers.name])
    enough = min(case.limit, max(explained, _ROUNDING * case.limit))
    some: tuple[_FaultHypothesis, ...] = (_missing_modules, _only_some_modules)
    if part.error(part_expected[layers.name]) > _SEVERAL * part.movement(
        part_expected, layers.name
    ):
        some = some[::-1]
    scaled = partial(_other_scale, whole=(case, expected))
    causes: list[FaultCause] = []
    hypotheses: list[_FaultHypothesis] = [_one_scale, scaled, *some]
    for hypothesis in hypotheses:
        causes.append(hypothesis(part, arm, layers, part_expected))
        if causes[-1].left <= enough:
            del causes[:-1]
            break
    # Rounding may decide between causes on few places: the two best are computed for all of them.
    likely = sorted((c for c in causes if c.words), key=lambda cause: cause.left)[:2]
    computed = [
        cause._replace(left=case.error(layers.logprobs(arm, case.prefixes, cause.factor)))
        for cause in likely
    ]
    return min(computed, key=lambda cause: cause.left, default=_NO_CAUSE)


class FaultCause(NamedTuple):
    """A fault that may be there."""

    words: str
    left: float
    """Root mean square of what it does not explain, in nats; `inf` if it is out of the question."""
    factor: Callable[[str], float] = lambda name: 1.0
    """Name of a module → what its scale is multiplied by, with this fault."""


_NO_CAUSE = FaultCause("", math.inf)
_FaultHypothesis = Callable[["_FaultCase", Any, "AdapterLayers", Mapping[str, Any]], FaultCause]
Whole = tuple["_FaultCase", Mapping[str, Any]]
"""All places, and what the files give there."""


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
    causes = [_NO_CAUSE]
    own_scales = set(layers.scales.values())
    scales = {plain: "lora_alpha / r"}
    if len(own_scales) > 1:  # with one scale for all, `_other_scale` finds what that is
        scales[rooted] = "lora_alpha / √r, as for rsLoRA"
    for scale, words in scales.items():
        if all(math.isclose(scale, value) for value in own_scales):
            continue
        factor = partial(_to_scale, layers.scales, scale)
        left = case.error(layers.logprobs(arm, case.prefixes, factor))
        sentence = f"every module is scaled by {words}, which does not follow its configuration"
        causes.append(FaultCause(sentence, left, factor))
    return min(causes, key=lambda cause: cause.left)


def _other_scale(
    case: _FaultCase, arm: Any, layers: AdapterLayers, expected: Mapping[str, Any], *, whole: Whole
) -> FaultCause:
    """Look for one factor on the whole adapter.

    In 16 bits a scale that is a little wrong is seen in the error's part along the fine-tune alone,
    over all places: the factor is read off `whole`, first on the line through base, then on the one
    through the factor that this gives.
    """
    factors = [*_USUAL]
    guess = _scale_on_line(*whole, arm, layers, 0.0)
    if 0 < guess < _LARGEST and guess != 1:
        factors += [guess, _scale_on_line(*whole, arm, layers, guess)]
    causes = [_NO_CAUSE]
    for factor in factors:
        scaled = partial(_same, factor)
        left = case.error(layers.logprobs(arm, case.prefixes, scaled))
        words = f"the adapter is scaled by {factor:.3g} (does the server have another lora_alpha?)"
        causes.append(FaultCause(words, left, scaled))
    return min(causes, key=lambda cause: cause.left)


def _scale_on_line(
    case: _FaultCase, expected: Mapping[str, Any], arm: Any, layers: AdapterLayers, factor: float
) -> float:
    """Return by what the adapter seems to be scaled, on the line through 1 and a factor."""
    expected_vector = case.vector(expected[layers.name])
    scaled = partial(_same, factor)
    other = layers.logprobs(arm, case.prefixes, scaled) if factor else expected["base"]
    slope = (case.vector(other) - expected_vector) / (factor - 1)
    length = float(slope @ slope)
    return 1 + float((case.served - expected_vector) @ slope) / length if length else 1.0


_USUAL = (0.5, 2.0)
"""Factors that are always tried: half and double alpha."""
_LARGEST = 64.0
"""No factor beyond this one is looked for."""


def _missing_modules(
    case: _FaultCase, arm: Any, layers: AdapterLayers, expected: Mapping[str, Any]
) -> FaultCause:
    """Look for kinds of module without their part of the adapter: few, of a small part of it."""
    if case.error(expected[arm.adapter]) > _OTHER * case.movement(expected, arm.adapter):
        return _NO_CAUSE
    expected_vector = case.vector(expected[arm.adapter])
    without = [
        case.vector(layers.logprobs(arm, case.prefixes, partial(_outside, [kind])))
        - expected_vector
        for kind in layers.kinds
    ]
    weights = _weights(case.served - expected_vector, without)
    return _without(case, arm, layers, dict(zip(layers.kinds, weights, strict=True)))


def _only_some_modules(
    case: _FaultCase, arm: Any, layers: AdapterLayers, expected: Mapping[str, Any]
) -> FaultCause:
    """Look for kinds of module that alone have their part: several others are missing."""
    base = case.vector(expected["base"])
    alone = [
        case.vector(layers.logprobs(arm, case.prefixes, partial(_inside, [kind]))) - base
        for kind in layers.kinds
    ]
    weights = [1 - weight for weight in _weights(case.served - base, alone)]
    return _without(case, arm, layers, dict(zip(layers.kinds, weights, strict=True)))


def _weights(x: Any, directions: Sequence[Any]) -> list[float]:
    """Return how much of each direction is in x, by least squares."""
    import numpy as np

    solution, *_ = np.linalg.lstsq(np.stack(directions, axis=1), x, rcond=None)
    return [float(weight) for weight in solution]


def _without(
    case: _FaultCase, arm: Any, layers: AdapterLayers, weights: Mapping[str, float]
) -> FaultCause:
    """Return which kinds are missing, from how much each seems to be: 0 not at all, 1 wholly.

    Effects of several kinds do not add up in a strong fine-tune. Then flip the least certain kinds.
    """

    def cause(missing: Sequence[str]) -> FaultCause:
        if not 0 < len(missing) < len(layers.kinds):
            return _NO_CAUSE
        factor = partial(_outside, missing)
        words = f"{', '.join(missing)} are served without their part of the adapter"
        return FaultCause(words, case.error(layers.logprobs(arm, case.prefixes, factor)), factor)

    missing = [kind for kind in layers.kinds if weights[kind] > 0.5]
    best = cause(missing)
    for kind in sorted(weights, key=lambda kind: abs(weights[kind] - 0.5))[:_DOUBTFUL]:
        if best.left <= _ROUNDING * case.limit or not abs(weights[kind] - 0.5) < 0.5:
            break
        turned = [k for k in layers.kinds if (k in missing) != (k == kind)]
        other = cause(turned)
        if other.left < best.left:
            best, missing = other, turned
    return best


_DOUBTFUL = 3
"""Kinds of module that are turned over at most."""
