"""The spec `promoted`: the fine-tune that `tunegate promote` recorded last."""

from __future__ import annotations

from pathlib import Path

from harness.checks.weights import fingerprint
from harness.errors import UsageError
from harness.verdict import promotion

WORD = "promoted"


def resolved(spec: str | None) -> str | None:
    """Return a model spec as it is, or the one that the word stands for.

    Raises:
        UsageError: nothing was promoted, or other weights are now where the promoted ones were.
    """
    if spec != WORD:
        return spec
    shipped = promotion.read(Path(promotion.FILE_NAME))
    if not shipped:
        raise UsageError(
            f"{WORD}: no {promotion.FILE_NAME} here; `tunegate promote RUN` records a shipped model"
        )
    _refuse_other_weights(shipped[-1])
    return shipped[-1].spec


def _refuse_other_weights(newest: promotion.Promotion) -> None:
    """Find out whether a folder still holds what was promoted: the next training may be in it."""
    folder, known = Path(newest.spec), newest.identity.get("adapter_sha256")
    if known and folder.is_dir() and fingerprint(folder) != known:
        raise UsageError(
            f"{newest.spec}: other weights than those promoted with run {newest.run_id}; name the "
            "folder that keeps them, or a revision on the Hub"
        )
