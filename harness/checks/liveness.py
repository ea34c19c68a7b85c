"""Is this really my fine-tune? Proven on logits before anything is scored.

An adapter on a shared load must give base's exact logits when switched off, and different ones when
switched on. With two loads, the logits must differ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tunegate.harness.checks.answerable import check_label_maps
from tunegate.harness.checks.configurations import check_configuration
from tunegate.harness.contracts.further_arm import INCUMBENT, SHIPPED, TEACHER, further_arm
from tunegate.harness.contracts.model import (
    Arm,
    ClassifierArm,
    LocalArm,
    ProbedArm,
    RankingArm,
    ServedArm,
)
from tunegate.harness.records.errors import NotComparable


def check_liveness(
    arms: Mapping[str, Arm], *, twins: bool = False, allowed: str = ""
) -> dict[str, Any]:
    """Return for every arm but base the proof that it is another model.

    Args:
        arms: The opened arms.
        twins: Whether an arm may be base itself, as in an A/A run.
        allowed: Keys of config.json that may differ from base's, separated by commas; the proof
            warns of those that do.

    Raises:
        NotComparable: an arm is dead or base itself, or its configuration differs elsewhere.
    """
    base = arms["base"]
    proofs: dict[str, Any] = {}
    for name, arm in arms.items():
        if name == "base":
            continue
        if arm.fingerprint == base.fingerprint:
            if twins:
                note = f"{name} is base itself, on purpose: an A/A run"
                proofs[name] = {"status": "identical", "note": note}
                continue
            raise NotComparable(
                f"base and {name} have identical {_changed_part(arm)}: {_meaning(name)}; "
                f"check the path given for {name}"
            )
        if further_arm(name).other_model:
            note = "another model, which tuned is to replace"
            proofs[name] = {"status": "declared", "note": note}
            continue
        meant = check_configuration(name, base, arm, allowed=allowed)
        proofs[name] = _prove(name, base, arm)
        proofs[name] |= meant
    tuned = arms.get("tuned")
    for name, why in _TUNED_ITSELF.items():
        other = arms.get(name)
        if tuned and other and tuned.fingerprint == other.fingerprint:
            raise NotComparable(
                f"tuned and {name} have identical {_changed_part(tuned)}: {why}; check the path "
                f"given for {name}"
            )
    return proofs


_TUNED_ITSELF = {
    INCUMBENT: "tuned cannot replace itself",
    SHIPPED: "that tuned equals itself proves nothing about what will run",
    TEACHER: "tuned cannot replace itself",
}
"""Further arm → why it may not be tuned."""


def _meaning(name: str, *, logits: bool = False) -> str:
    """Return what follows if an arm is base."""
    general = "its weights change nothing" if logits else "there is nothing to compare"
    return further_arm(name).same_as_base or general


def _changed_part(arm: Arm) -> str:
    return "weights" if isinstance(arm, LocalArm) else "content"


def _prove(name: str, base: Arm, arm: Arm) -> dict[str, Any]:
    if isinstance(base, ProbedArm) and isinstance(arm, ProbedArm):
        return _two_names(name, base, arm)
    if isinstance(base, ClassifierArm) and isinstance(arm, ClassifierArm):
        return _two_heads(name, base, arm)
    if isinstance(base, RankingArm) and isinstance(arm, RankingArm):
        return _two_rankers(name, base, arm)
    if not (isinstance(base, LocalArm) and isinstance(arm, LocalArm)):
        return {"status": "declared", "note": "by the hashes of what was recorded"}
    loaded = getattr(arm, "loaded", None)
    if loaded is not getattr(base, "loaded", None):
        return _two_loads(name, base, arm)
    return _one_load(name, base, arm, loaded)


def _one_load(name: str, base: LocalArm, arm: LocalArm, loaded: Any) -> dict[str, Any]:
    # Base's own ids, on which the pristine logits were computed; the adapter may bring a tokenizer.
    ids = base.probe_ids()  # type: ignore[attr-defined]  # HfArm's, which alone shares a load
    on = arm.probe(ids)
    off = base.probe(ids)
    worst = float((off - loaded.pristine).abs().max())
    if not worst <= _rounding(loaded):
        raise NotComparable(
            f"switching {name} off does not restore base: logits differ by up to {worst:.3g}; "
            "load the merged model as an arm of its own instead"
        )
    shared = min(on.shape[-1], off.shape[-1])  # an adapter may bring further tokens
    largest = float((on[..., :shared] - off[..., :shared]).abs().max()) or _seen_change(base, arm)
    if largest == 0:
        raise NotComparable(f"{name}: {_why_no_op(arm)}; check the training and the saved adapter")
    return {
        "status": "proven",
        "probes": len(ids),
        "largest_logit_change": _round(largest),
        "switching_off_restores_base": "exactly" if worst == 0 else "up to rounding",
    }


def _seen_change(base: LocalArm, arm: LocalArm) -> float:
    """Return by how much the logits after a picture differ: only the vision part may be tuned."""
    probe_logits = [
        probe() for each in (base, arm) if (probe := getattr(each, "probe_image", None))
    ]
    if len(probe_logits) < 2 or any(logits is None for logits in probe_logits):
        return 0.0
    return float((probe_logits[0] - probe_logits[1]).abs().max())


def _two_heads(name: str, base: ClassifierArm, arm: ClassifierArm) -> dict[str, Any]:
    """Prove that two classifiers differ, and that an adapter on base's load leaves base alone."""
    theirs, ours = arm.head_outputs, base.head_outputs
    if len(theirs) > 1 == len({*theirs}):
        raise NotComparable(
            f"{name}: its head gives the same outputs for every text: it was lost or never "
            "trained; save the classifier with its head again"
        )
    restored = {}
    if getattr(base, "adapter", "") is None and _share_load(base, arm):
        worst = _largest_gap(ours, arm.loaded.pristine.tolist())  # type: ignore[attr-defined]
        if not worst <= _rounding(arm.loaded):  # type: ignore[attr-defined]  # HfClassifier's
            raise NotComparable(
                f"switching {name} off does not restore base: its outputs differ by up to "
                f"{worst:.3g}; merge the adapter, and give the merged classifier"
            )
        restored = {"switching_off_restores_base": "exactly" if worst == 0 else "up to rounding"}
    if read_alike := len(ours) == len(theirs):
        check_label_maps(name, base, arm)
    if base.labels != arm.labels or not read_alike:
        note = "the labels differ" if base.labels != arm.labels else "only one of them reads texts"
        return {"status": "proven", "probes": len(theirs), "note": note, **restored}
    largest = _largest_gap(ours, theirs)
    if largest == 0:
        cause = f"computes base's outputs exactly: {_meaning(name, logits=True)}"
        cause = _why_no_op(arm) if restored else cause
        raise NotComparable(f"{name}: {cause}; check the training and the saved weights")
    return {
        "status": "proven",
        "probes": len(theirs),
        "largest_logit_change": _round(largest),
        **restored,
    }


def _two_rankers(name: str, base: RankingArm, arm: RankingArm) -> dict[str, Any]:
    """Prove that two rerankers or embedders score texts differently, by other weights."""
    theirs = arm.probe_scores
    weights = [getattr(each, "weights_sha256", None) for each in (base, arm)]
    if weights[0] is not None and weights[0] == weights[1]:
        raise NotComparable(
            f"base and {name} have identical weights and differ in their settings alone; check the "
            f"path given for {name}"
        )
    for who, rows in (("base", base.probe_scores), (name, theirs)):
        if not all(math.isfinite(score) for row in rows for score in row):
            raise NotComparable(f"{who}: its scores of probe texts are NaN; check its weights")
    if len({score for row in theirs for score in row}) == 1:
        raise NotComparable(
            f"{name}: it scores all pairs of probe texts alike: its weights collapsed or were "
            "never trained; check the training and the saved weights"
        )
    largest = _largest_gap(base.probe_scores, theirs)
    if largest == 0:
        raise NotComparable(
            f"{name} computes base's scores exactly: {_meaning(name, logits=True)}; check the "
            "training and the saved weights"
        )
    return {"status": "proven", "probes": len(theirs), "largest_score_change": _round(largest)}


def _share_load(base: Any, arm: Any) -> bool:
    return getattr(arm, "loaded", None) is getattr(base, "loaded", base)


def _largest_gap(one: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> float:
    pairs = zip(one, other, strict=True)
    return max(abs(a - b) for mine, theirs in pairs for a, b in zip(mine, theirs, strict=True))


ROUNDING = 1e-5
"""Share of the largest logit by which the order of additions moves others in float32.

Jamba uses another formula for a layer that an adapter wraps, which moves logits by 4e-7.
"""


def _rounding(loaded: Any) -> float:
    """Return the allowed difference of base's logits with the adapter off."""
    exact = loaded.dtype == "float32"
    return ROUNDING * float(loaded.pristine.abs().max()) if exact else 0.0


def _two_loads(name: str, base: LocalArm, arm: LocalArm) -> dict[str, Any]:
    ids = base.probe_ids()  # type: ignore[attr-defined]  # HfArm's
    theirs, ours = arm.probe(ids), base.probe(ids)
    if theirs.shape != ours.shape:
        return {"status": "proven", "probes": len(ids), "note": "the vocabularies differ in size"}
    largest = float((theirs - ours).abs().max()) or _seen_change(base, arm)
    if largest == 0:
        raise NotComparable(
            f"{name} computes base's logits exactly: {_meaning(name, logits=True)}; check the "
            "training and the saved weights"
        )
    return {"status": "proven", "probes": len(ids), "largest_logit_change": _round(largest)}


def _two_names(name: str, base: ProbedArm, arm: ProbedArm) -> dict[str, Any]:
    """Prove that two served names answer differently.

    A difference is evidence only on probes that both answer the same way twice.
    """
    base.ask_probes()
    arm.ask_probes()
    pairs = zip(base.probed, arm.probed, strict=True)
    steady = [(ours[0], theirs[0]) for ours, theirs in pairs if len({*ours}) == len({*theirs}) == 1]
    if not steady:
        note = "no probe is answered the same way twice, so the names are taken on trust"
        return {"status": "declared", "probes": len(base.probed), "note": note}
    different = sum(ours != theirs for ours, theirs in steady)
    versions = [getattr(each, "identity", {}).get("model_version") for each in (base, arm)]
    if not different and all(versions) and versions[0] != versions[1]:
        note = (
            f"the provider says that {versions[0]} and {versions[1]} answer, and both answer all "
            f"{len(steady)} steady probes alike: the names are taken on trust"
        )
        return {"status": "declared", "probes": len(steady), "note": note}
    moved = 0.0 if different else _moved_logprobs(base, arm)
    if moved:
        return {
            "status": "proven",
            "probes": len(steady),
            "different_answers": 0,
            "largest_logprob_change": _round(moved),
        }
    if not different:
        raise NotComparable(
            f"{name} answers all {len(steady)} probe prompts exactly as base does; check that the "
            "server serves the fine-tune under that name (vLLM: --enable-lora --lora-modules "
            "NAME=PATH) and not base itself"
        )
    return {"status": "proven", "probes": len(steady), "different_answers": different}


_ABOVE_NOISE = 4
"""Multiple of base's own difference between two requests that counts as a change."""


def _moved_logprobs(base: Any, arm: Any) -> float:
    """Return by how much an arm's next-token log-probabilities differ from base's, beyond noise.

    A weak fine-tune may write the same dozen tokens as base and still be alive.
    """
    if not (isinstance(base, ServedArm) and isinstance(arm, ServedArm) and base.tokenizer):
        return 0.0
    from tunegate.harness.models.servers.identity import flat, probe_prefixes

    prefixes = flat(probe_prefixes(base.tokenizer))
    first, second, theirs = (each.next_logprobs(prefixes) for each in (base, base, arm))
    if first is None or second is None or theirs is None:
        return 0.0
    noise, moved = _largest_change(first, second), _largest_change(first, theirs)
    return moved if moved > max(_ABOVE_NOISE * noise, _FLOAT_NOISE) else 0.0


_FLOAT_NOISE = 1e-4
"""Change of a log-probability, in nats, that float32 may make between two batches."""


def _largest_change(
    first: Sequence[Mapping[int, float]], other: Sequence[Mapping[int, float]]
) -> float:
    changes = (
        abs(before[token] - after[token])
        for before, after in zip(first, other, strict=True)
        for token in before.keys() & after.keys()
    )
    return max(changes, default=0.0)


def _round(value: float) -> float:
    """Round to two significant digits; the rest depends on threads and processor."""
    return float(f"{value:.2g}")


def _why_no_op(arm: Any) -> str:
    """Return why an adapter changes no logit."""
    name = arm.adapter
    weights = {n: p for n, p in arm.loaded.torch_model.named_parameters() if name in n.split(".")}
    if not weights:
        return "adapter is a no-op: none of its modules is in the model"
    second = [p for n, p in weights.items() if "lora_B" in n]
    if second and not any(bool(p.any()) for p in second):
        return "adapter is a no-op: lora_B is all zeros"
    if not any(bool(p.any()) for p in weights.values()):
        return "adapter is a no-op: all its weights are zero"
    if arm.identity["adapter_config"].get("lora_alpha") == 0:
        return "adapter is a no-op: lora_alpha is 0"
    return "adapter is a no-op: it changes no logit on the probe prompts"
