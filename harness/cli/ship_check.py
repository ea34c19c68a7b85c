"""`tunegate ship-check [BASE] ADAPTER [--suite SUITE]`: which artifact of a fine-tune may ship?

Each artifact (merged, in 16 or 4 bits, as GGUF) is made, answers the suites next to the adapter as
it was trained, and is compared with it; so is one that exists and is named by its model spec.
Exit codes: 0 all are equivalent; 1 one is not; 10 one is undecided; 12 one is not a fine-tune of
this base; 13 one could not be made or compared; 2 a mistake in the call.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunegate.harness.cli._output import say
from tunegate.harness.cli._panels import Panel
from tunegate.harness.cli.gate import refuse_unknown
from tunegate.harness.records.errors import (
    BackendError,
    MissingExtra,
    ModelError,
    NotComparable,
    RunInterrupted,
    UsageError,
)
from tunegate.harness.run import STORE

if TYPE_CHECKING:
    from tunegate.harness.records.parity import DeploymentParity, SuiteParity
    from tunegate.harness.records.verdict import Verdict
    from tunegate.harness.run.artifact_comparison import ArtifactComparison
    from tunegate.trainers.artifacts import DeploymentArtifact

ORDER = 50
PANEL = Panel.AFTER_TRAINING
FOLDER = "suites"
"""Where `tunegate init` puts suites."""
AGAIN = "finished answers are stored: the same command continues from there"
LAST = "whether tuned beats base is another question: tunegate gate --shipped SPEC judges both"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("ship-check")(ship_check)


def ship_check(  # noqa: PLR0913  # one for each option
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="[BASE] ADAPTER",
            help="The adapter, as it was trained. Leave BASE out if the adapter names it.",
        ),
    ],
    suite: Annotated[
        list[str] | None,
        typer.Option(help="Suite to compare them on; may be repeated. [default: suites]"),
    ] = None,
    artifacts: Annotated[
        str,
        typer.Option(
            help="Artifacts to make, as in merged,four_bit, or model specs of existing ones, as in "
            "merged,vllm:./awq. Default: all that can be made here."
        ),
    ] = "",
    folder: Annotated[
        Path | None,
        typer.Option(help="Keep the artifacts in this folder. Default: a temporary one."),
    ] = None,
    llama_cpp: Annotated[
        str | None,
        typer.Option(
            help="Folder of llama.cpp, whose converters write GGUF files. Default: the variable "
            "TUNEGATE_LLAMA_CPP, else what is on PATH."
        ),
    ] = None,
    dtype: Annotated[
        str, typer.Option(help="Number format of all arms; auto is float32 without a GPU.")
    ] = "auto",
    allow_prompt_difference: Annotated[
        bool,
        typer.Option(
            "--allow-prompt-difference",
            help="Compare an artifact although its server builds another prompt than was trained.",
        ),
    ] = False,
) -> None:
    """Check that merged and quantized forms still match.

    Exit code 0: all are equivalent; 1: one is not; 10: undecided.
    """
    from tunegate.harness.decision.verdict.verdict_lines import columns
    from tunegate.harness.models._model_folder import is_adapter, resolve_folder
    from tunegate.harness.models.gguf_format.converters import use_llama_cpp
    from tunegate.harness.models.open_arms import named_base
    from tunegate.harness.records.verdict import Verdict
    from tunegate.harness.run.artifact_comparison import ArtifactComparison
    from tunegate.harness.suite import load_suite
    from tunegate.harness.suite.find import find_suites

    if len(models) > 2:
        raise UsageError(f"{len(models)} models; give `BASE ADAPTER`, or the adapter alone")
    *first, adapter = models
    refuse_unknown(dtype)
    use_llama_cpp(llama_cpp)
    chosen = _choose_artifacts(artifacts)
    words = suite or [FOLDER]
    suites = [load_suite(Path(path)) for word in words for path in find_suites(word)]
    if not is_adapter(resolve_folder(adapter)):
        raise UsageError(
            f"{adapter}: not an adapter; artifacts are made from an adapter and its base"
        )
    base = first[0] if first else named_base(adapter, "BASE in front of the adapter")
    folders = resolve_folder(base), resolve_folder(adapter)
    comparison = ArtifactComparison(
        suites,
        base,
        adapter,
        STORE,
        lambda line: say(f"  {line}", flush=True),
        dtype,
        allow_prompt_difference=allow_prompt_difference,
    )
    with _place(folder) as place, warnings.catch_warnings():
        # The libraries' warnings are about each other, not about the models.
        warnings.simplefilter("ignore")
        outcomes = [_check_artifact(comparison, artifact, folders, place) for artifact in chosen]
    print()
    head = ("artifact", "size", "answers equal", "KL a token", "outcome")
    say(*columns([head, *map(_row, outcomes)]), LAST)
    # An artifact that is asked for by name must not be left out.
    verdicts = [o.verdict or Verdict.ERROR for o in outcomes if o.verdict or artifacts]
    raise typer.Exit(Verdict.worst(verdicts or [Verdict.ERROR]).exit_code)


@dataclass(frozen=True, slots=True)
class ArtifactOutcome:
    """How one artifact ended."""

    name: str
    size: int | None
    """Bytes on the disk; None if it could not be made."""
    verdict: Verdict | None
    """None if it was left out, because it could not be made or opened."""
    parity: DeploymentParity | None = None
    """None if it was not compared."""


@dataclass(frozen=True, slots=True)
class ExistingArtifact:
    """An artifact that was made elsewhere."""

    name: str
    """Its model spec."""
    step: str = "made elsewhere"

    @property
    def size(self) -> int | None:
        """Bytes of its files; None if they are not on this machine."""
        path = Path(self.name.partition(":")[2].partition("?")[0] or self.name)
        files = path.rglob("*") if path.is_dir() else [path]
        return sum(file.stat().st_size for file in files if file.is_file()) or None


def _choose_artifacts(names: str) -> list[DeploymentArtifact | ExistingArtifact]:
    from tunegate.trainers import artifacts

    if not names:
        return list(artifacts.available_artifacts().values())
    return [
        ExistingArtifact(name)
        if ":" in name or Path(name).is_dir()
        else artifacts.find_artifact(name)
        for name in map(str.strip, names.split(","))
        if name
    ]


@contextmanager
def _place(folder: Path | None) -> Iterator[Path]:
    """Yield the folder in which artifacts are made."""
    if folder is not None:
        yield folder.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="tunegate-") as passing:
        yield Path(passing)


def _check_artifact(
    comparison: ArtifactComparison,
    artifact: DeploymentArtifact | ExistingArtifact,
    folders: tuple[Path, Path],
    place: Path,
) -> ArtifactOutcome:
    """Make and compare one artifact, and print how it ended."""
    from tunegate.harness.records.verdict import Verdict
    from tunegate.trainers.artifacts import build_artifact

    size = None
    try:
        say(f"\n{artifact.name}: {artifact.step}", flush=True)
        if isinstance(artifact, ExistingArtifact):
            spec, size = artifact.name, artifact.size
        else:
            built = build_artifact(artifact, *folders, place / artifact.name)
            spec, size = built.spec, built.size
            say(*(f"  {sentence}" for sentence in built.base_parts))
        parity = comparison.compare(spec)
    except (MissingExtra, ModelError) as error:
        say(f"  left out: {error}")
        return ArtifactOutcome(artifact.name, size, None)
    except NotComparable as error:
        say(f"  not comparable: {error}")
        return ArtifactOutcome(artifact.name, size, Verdict.NOT_COMPARABLE)
    except RunInterrupted as error:
        raise RunInterrupted(f"{error}\n{AGAIN}", error.exit_code - 128) from error
    except BackendError as error:
        raise BackendError(f"{error}\n{AGAIN}") from error
    say(f"  {parity.status.value.replace('_', ' ')}: {parity.step}")
    for suite in parity.suites:
        say(f"  {suite.name}: {_answers(suite)}")
        say(*(f"    {metric.sentence}" for metric in suite.metrics))
    return ArtifactOutcome(artifact.name, size, parity.verdict, parity)


def _answers(suite: SuiteParity) -> str:
    parts = []
    if suite.agreement is not None:
        agreed = suite.agreement
        parts.append(f"{agreed.same} of {agreed.answers} answers equal")
    if suite.divergence is not None:
        apart = suite.divergence
        parts.append(
            f"KL(tuned‖shipped) {apart.kl:.2g} nats a token, the same likeliest token at "
            f"{100 * (apart.same_choice or 0):.1f} % of {apart.tokens}"
        )
    return "; ".join(parts) or "likelihoods only"


def _row(outcome: ArtifactOutcome) -> tuple[str, str, str, str, str]:
    size = "–" if outcome.size is None else f"{outcome.size / 1e6:,.1f} MB"
    if outcome.parity is None:
        ended = "not comparable" if outcome.verdict else "left out"
        return (outcome.name, size, "–", "–", ended)
    agreed = [s.agreement for s in outcome.parity.suites if s.agreement is not None]
    apart = [s.divergence for s in outcome.parity.suites if s.divergence is not None]
    tokens = sum(d.tokens for d in apart)
    return (
        outcome.name,
        size,
        f"{sum(a.same for a in agreed)}/{sum(a.answers for a in agreed)}" if agreed else "–",
        f"{sum((d.kl or 0) * d.tokens for d in apart) / tokens:.2g}" if tokens else "–",
        outcome.parity.status.value.replace("_", " "),
    )
