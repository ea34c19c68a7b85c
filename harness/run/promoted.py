"""The word `promoted` as a model spec: the last fine-tune that `tunegate promote` recorded."""

from __future__ import annotations

from pathlib import Path

from tunegate.harness.decision.verdict import promotions
from tunegate.harness.models.adapters.weight_files import weights_fingerprint
from tunegate.harness.records.errors import UsageError

WORD = "promoted"


def resolve_incumbent(spec: str | None) -> str | None:
    """Return a model spec as it is; for the word `promoted`, the spec of the last promotion."""
    if spec != WORD:
        return spec
    shipped = promotions.read_promotions(Path(promotions.FILE_NAME))
    if not shipped:
        raise UsageError(
            f"{WORD}: no {promotions.FILE_NAME} here; "
            "`tunegate promote RUN` records a shipped model"
        )
    _refuse_other_weights(shipped[-1])
    return shipped[-1].spec


def _refuse_other_weights(newest: promotions.Promotion) -> None:
    """Refuse a folder that no longer holds what was promoted."""
    folder, promoted_sha256 = Path(newest.spec), newest.identity.get("adapter_sha256")
    if promoted_sha256 and folder.is_dir() and weights_fingerprint(folder) != promoted_sha256:
        raise UsageError(
            f"{newest.spec}: other weights than those promoted with run {newest.run_id}; name the "
            "folder that keeps them, or a revision on the Hub"
        )
