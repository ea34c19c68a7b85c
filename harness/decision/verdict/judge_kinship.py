"""Notes on judges related to base, which tend to favor it.

Source: preference leakage (arXiv 2502.01534): the same model, one made from it, or of its family.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tunegate.harness.records.manifest import Manifest, SuiteRecord

_NAME = re.compile(r"[a-z]{3,}")
_NO_FAMILY = {
    *("hf", "local", "server", "litellm", "gguf", "replay", "results", "scripted", "command"),
    *("http", "https", "model", "base", "tuned", "checkpoint", "judge", "judged", "judgements"),
}
"""Words of a spec that do not name a model family."""


def kinship_notes(manifest: Manifest, suite: SuiteRecord) -> Iterator[str]:
    """Yield a note for each judge related to base, if the suite asks a judge."""
    base = manifest.arms.get("base")
    if base is None or all(metric.judge is None for metric in suite.metrics):
        return
    for judge in manifest.judges:
        kin = _kin(judge, base)
        if kin:
            yield (
                f"{suite.name}: the judge {judge.get('spec')} {kin}: such judges favor their "
                "own (preference leakage)"
            )


def _kin(judge: Mapping[str, Any], base: Mapping[str, Any]) -> str:
    """Return how a judge is related to base; "" if it does not seem to be."""
    weights = judge.get("weights_sha256")
    if weights is not None and weights == base.get("weights_sha256"):
        return "has base's own weights"
    family = family_of(str(judge.get("spec", "")))
    if family and family == family_of(str(base.get("spec", ""))):
        return f"is of base's family, {family}"
    return ""


def family_of(spec: str) -> str:
    """Return the family that a model's name begins with, such as `qwen`; "" if unclear."""
    last = re.split(r"[/#\\]", spec.rstrip("/"))[-1].lower()
    match = _NAME.match(last.removeprefix("meta-"))
    return "" if match is None or match.group() in _NO_FAMILY else match.group()
