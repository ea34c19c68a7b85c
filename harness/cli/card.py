"""`tunegate card RUN --adapter DIR`: write a run's result into the adapter's README."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tunegate.harness.cli._output import say
from tunegate.harness.cli._panels import Panel
from tunegate.harness.cli._run_suites import RunSuites, suite_paths
from tunegate.harness.records.errors import UsageError, refuse_unreadable, refuse_unwritable

ORDER = 120
PANEL = Panel.KEEP_RECORDS


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("card")(card)


def card(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    adapter: Annotated[
        Path, typer.Option("--adapter", help="Folder of the fine-tune; its README.md is written.")
    ],
    suite: RunSuites = None,
) -> None:
    """Write the verdict and its numbers into the model card. Nothing is uploaded."""
    from tunegate.harness.models import _model_folder
    from tunegate.harness.records.files import write_atomic
    from tunegate.harness.run.verification import load_verified
    from tunegate.reports import model_card

    _model_folder.require_modules("huggingface_hub", what="a model card")
    loaded, notes = load_verified(run, strict=True, suites=suite_paths(suite))
    for note in notes:
        say(f"note: {note}")
    proven = _is_judged(loaded.verdict.arms.get("tuned", {}), adapter, run)
    path = adapter / "README.md"
    with refuse_unreadable(path):
        text = path.read_text(encoding="utf-8-sig") if path.is_file() else None
    if text is None and _model_folder.is_adapter(adapter):
        text = model_card.new_readme(_base_on_hub(_model_folder.adapter_config(adapter)), adapter)
    written = model_card.update_readme(text, loaded, adapter.resolve().name, proven=proven)
    with refuse_unwritable(path, "make its folder writable"):
        write_atomic(path, written)
    say(f"wrote {path}: {loaded.verdict.verdict.value}")
    if not proven:
        print("note: the run does not know the weights it judged, and the card states this")


def _is_judged(identity: Mapping[str, Any], adapter: Path, run: Path) -> bool:
    """Return whether the folder is proven to hold what the run judged."""
    from tunegate.harness.models.adapters.weight_files import weights_fingerprint

    if not adapter.is_dir():
        raise UsageError(f"{adapter}: no such folder; name the folder of the fine-tune")
    judged = identity.get("adapter_sha256") or identity.get("weights_sha256")
    if judged is None:
        return False
    digest = weights_fingerprint(adapter)
    if digest != judged:
        raise UsageError(
            f"{adapter}: not the weights that {run} judged ({digest[:10]} against {judged[:10]}); "
            "name the folder that was judged, or judge this one"
        )
    return True


def _base_on_hub(config: Mapping[str, Any]) -> str | None:
    """Return the Hub's name of an adapter's base; a local path is of no use to others."""
    name = str(config.get("base_model_name_or_path") or "")
    return name if name.count("/") == 1 and not Path(name).exists() else None
