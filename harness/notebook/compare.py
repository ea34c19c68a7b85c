"""`tunegate.compare`: two models on cases that are in Python, judged like any gate.

The cases and gates become a suite folder, and the run has a folder with its page: `tunegate
report`, `history` and `compare` read it, and the ledger counts it.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.model import Arm
from tunegate.harness.decision.verdict.verdict_lines import verdict_lines
from tunegate.harness.notebook.loaded_models import InMemory, open_in_memory
from tunegate.harness.notebook.progress_bar import notebook_stream
from tunegate.harness.notebook.suite_folder import MetricTable, write_suite
from tunegate.harness.records.command_line import GATE_PREFIX, NO_ADDOPTS, PYTEST_QUIETLY
from tunegate.harness.records.errors import BackendError, RunInterrupted, UsageError
from tunegate.harness.records.hidden_text import escape_hidden
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.verdict import Verdict
from tunegate.harness.run import STORE
from tunegate.harness.run.origin import repository_root
from tunegate.harness.suite import Suite, load_suite
from tunegate.reports.data import prepare_data
from tunegate.reports.notebook import render_notebook
from tunegate.reports.typical_cases import typical_lines

Model = str | Path | InMemory
Cases = Iterable[Mapping[str, Any]] | str | Path


def compare(  # noqa: PLR0913 - a user's whole gate in one call
    base: Model | None,
    tuned: Model,
    cases: Cases,
    *,
    metrics: Iterable[MetricTable] = (),
    gates: Iterable[Mapping[str, Any]] | None = None,
    judge: str | None = None,
    training_data: str | Path | None = None,
    **suite: Any,
) -> Comparison:
    """Judge a fine-tune against its base, and show the verdict in the notebook.

    It is a gate like any other: answers are stored, the run gets a folder, and the ledger counts
    the attempt.

    Args:
        base: Model spec as in `tunegate gate --base`, or a tuple of model and tokenizer in memory;
            None for the base that an adapter names, or for tuned without its adapter.
        tuned: The fine-tune, likewise.
        cases: Dicts with the keys of a line of cases.jsonl, a file of such lines, or the folder of
            a suite, which has its own metrics and gates.
        metrics: Names of metrics, dicts with their options, or functions of a module.
        gates: Dicts with the keys of a `[[gates]]` table. By default every metric must be proven
            better (a gain of more than 0).
        judge: Specs of judge models, separated by commas.
        training_data: File of the rows that tuned was trained on; cases among them do not count.
        **suite: Further keys of suite.toml, such as `name` and `generation`.

    Raises:
        UsageError: what was given cannot be judged; SuiteError and ModelError among them.
        BackendError: a model or the store failed; finished answers are stored.
        RunInterrupted: the user stopped it; likewise.

    Example:
        tunegate.compare(
            "Qwen/Qwen3-0.6B",
            "out/adapter",
            [{"prompt": "Capital of France?", "expected": "Paris"}, ...],
            metrics=["exact_match"],
            gates=[{"metric": "exact_match", "gain": 0.05}],
            name="capitals",
        )
    """
    loaded = _load(cases, metrics, gates, suite)
    with _opened(base, tuned) as (specs, arms):
        given = {**specs, "judge": judge, "training-data": training_data}
        folder = _run(loaded, {n: v if v is None else str(v) for n, v in given.items()}, arms)
    return Comparison(folder, Run.load(folder))


def _load(
    cases: Cases,
    metrics: Iterable[MetricTable],
    gates: Iterable[Mapping[str, Any]] | None,
    keys: Mapping[str, Any],
) -> Suite:
    place = Path(cases) if isinstance(cases, str | Path) else None
    if place is not None and (place.is_dir() or place.suffix == ".toml"):
        if metrics or gates is not None or keys:
            raise UsageError(
                f"{place}: a suite has its own metrics and gates; remove `metrics` and `gates`"
            )
        return load_suite(place)
    chosen = [*metrics]
    if not chosen:
        raise UsageError("metrics: none; name one, such as metrics=['exact_match']")
    rows = Path(cases) if isinstance(cases, str | Path) else cases
    return load_suite(write_suite(rows, chosen, gates, keys))


@contextmanager
def _opened(
    base: Model | None, tuned: Model
) -> Iterator[tuple[dict[str, str | None], dict[str, Arm]]]:
    """Yield the specs to open, and the arms that are in memory already."""
    if not isinstance(tuned, tuple):
        if isinstance(base, tuple):
            raise UsageError("base is in memory and tuned is not; give both the same way")
        yield {"base": None if base is None else str(base), "tuned": str(tuned)}, {}
        return
    given = str(base) if isinstance(base, Path) else base
    with open_in_memory(given, tuned) as arms:
        yield {"base": None, "tuned": None}, dict(arms)


def _run(suite: Suite, given: Mapping[str, str | None], arms: dict[str, Arm]) -> Path:
    """Make the run and its page; return its folder.

    Args:
        suite: The suite.
        given: Values of the options of `tunegate gate`.
        arms: The arms that are in memory.
    """
    from tunegate.harness.run.evaluate import evaluate_once
    from tunegate.harness.run.folder_writer import new_run_folder
    from tunegate.harness.run.options import RunOptions
    from tunegate.harness.run.training_provenance import DataOptions
    from tunegate.reports.page import write_all

    folder = new_run_folder(suite.name).absolute()
    options = RunOptions(
        suites=(suite,),
        specs={name: given[name] for name in ("base", "tuned")},
        folder=folder,
        store=STORE.absolute(),
        stream=notebook_stream(),
        command=() if arms else _command(suite, given),
        judge=given["judge"],
        training_data=DataOptions.parse("gate", given["training-data"]),
    )
    options.refuse_impossible()
    try:
        evaluate_once(options, arms)
    except KeyboardInterrupt:
        raise RunInterrupted(f"stopped\n{_CONTINUE}") from None
    except RunInterrupted as error:
        raise RunInterrupted(f"{error}\n{_CONTINUE}", error.exit_code - 128) from error
    except BackendError as error:
        raise BackendError(f"{error}\n{_CONTINUE}") from error
    write_all(Run.load(folder), folder, repository_root())
    return folder


_CONTINUE = "finished answers are stored: the same call continues from there"


def _command(suite: Suite, given: Mapping[str, str | None]) -> tuple[str, ...]:
    """Return the arguments of `tunegate gate` that repeat the run in a shell."""
    options = (f"{GATE_PREFIX}{name}={value}" for name, value in given.items() if value)
    return (str(suite.path), *NO_ADDOPTS, *PYTEST_QUIETLY, *options)


@dataclass(frozen=True, repr=False)
class Comparison:
    """What `compare` found. A notebook shows the verdict, typical cases and the gates."""

    folder: Path
    """The run's folder."""
    run: Run
    """Everything that the run left: verdict, scores, answers."""

    @property
    def verdict(self) -> Verdict:
        """The verdict, such as `Verdict.SHIP`."""
        return self.run.verdict.verdict

    def report(self, height: int = 800) -> ReportFrame:
        """Return the whole page, which a notebook shows in a frame of this height in pixels."""
        return ReportFrame(self.folder / "report.html", height)

    def __repr__(self) -> str:
        """Return the verdict and the gates as a terminal shows them."""
        typical = typical_lines(prepare_data(self.run))
        lines = verdict_lines(self.run.verdict, self.run.manifest, self._shown, typical)
        report = f"report: {self._shown / 'report.html'}"
        return "\n".join(escape_hidden(line) for line in (*lines, report))

    def _repr_html_(self) -> str:
        return render_notebook(self.run, str(self._shown / "report.html"))

    @property
    def _shown(self) -> Path:
        here = Path.cwd()
        return self.folder.relative_to(here) if self.folder.is_relative_to(here) else self.folder


@dataclass(frozen=True)
class ReportFrame:
    """A run's page inside a notebook."""

    path: Path
    height: int = 800

    def _repr_html_(self) -> str:
        """Return a frame that holds the page; it cannot reach the notebook around it."""
        page = b64encode(self.path.read_bytes()).decode()
        # Not `srcdoc`, in which a link to a section leads to the address of the notebook.
        return (
            '<iframe title="tunegate report" sandbox="allow-scripts allow-downloads" width="100%" '
            f'height="{int(self.height)}" style="border: 0" '
            f'src="data:text/html;charset=utf-8;base64,{page}"></iframe>'
        )
