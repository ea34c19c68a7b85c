"""Gate session: what one pytest session judges, and how it ends.

The first gate of the session starts the run, for all suites together. With xdist the worker that
gets the lock does so, and the others read its verdict.
"""

from __future__ import annotations

import errno
import re
import traceback
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest

from tunegate.harness import suite as suites
from tunegate.harness.contracts.further_arm import arm_options
from tunegate.harness.engine.interrupts import last_signal
from tunegate.harness.engine.optimizations import Optimizations
from tunegate.harness.plugin import exit_status
from tunegate.harness.plugin.gate_options import limits_of, read_options
from tunegate.harness.plugin.no_verdict import leave_sentence
from tunegate.harness.records.command_line import without_secrets
from tunegate.harness.records.errors import BackendError, RunInterrupted, TunegateError, UsageError
from tunegate.harness.records.files import read_record
from tunegate.harness.records.gate_results import GateResult
from tunegate.harness.records.hashing import canonical_json, sha256
from tunegate.harness.records.manifest import Gate
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.verdict import SuiteResult, Verdict, VerdictRecord
from tunegate.harness.run.exports import copy_exports, refuse_unwritable_exports
from tunegate.harness.run.folder_lock import FolderLock, error_from
from tunegate.harness.run.folder_writer import refuse_gaps, run_folder
from tunegate.harness.run.origin import repository_root
from tunegate.harness.run.promoted import resolve_incumbent
from tunegate.harness.suite import Suite

if TYPE_CHECKING:
    from tunegate.harness.plugin.items import GateItem


@dataclass(frozen=True, slots=True)
class SuiteRun:
    """A finished run of one suite that only the `gate` fixture asked for."""

    suite: Suite
    verdict: VerdictRecord
    folder: Path


@dataclass(repr=False)
class GateSession:
    """The state of a gate run within this process."""

    options: Mapping[str, Any]
    folder: Path
    command: tuple[str, ...]
    name: str
    """Name of the pytest session, the same in all its workers."""
    worker: bool
    """Whether this process is one of xdist's workers."""
    uncaptured: Callable[[], AbstractContextManager[Any]] = nullcontext
    """Makes a context in which what is written reaches the terminal."""
    locks: dict[Path, FolderLock] = field(default_factory=dict)
    """The run folders that this process holds until their reports are written."""
    held: ExitStack = field(default_factory=ExitStack)
    loaded: dict[Path, Suite] = field(default_factory=dict)
    chosen: tuple[Suite, ...] = ()
    """The suites with a selected gate; they make the run."""
    filtered: list[str] = field(default_factory=list)
    verdict: VerdictRecord | None = None
    error: TunegateError | None = None
    arms: dict[str, Any] = field(default_factory=dict)
    arms_of: Mapping[str, str | None] = field(default_factory=dict)
    """The specs of the opened arms."""
    beside: dict[tuple[Path, str], SuiteRun] = field(default_factory=dict)
    """suite.toml and models → the run that the `gate` fixture asked for."""
    folders: dict[Path, None] = field(default_factory=dict)
    """The folders of those runs, of all workers, in the order in which they were made."""
    compared: dict[tuple[str, ...], None] = field(default_factory=dict)
    """Rows of the table of comparisons at the end."""
    named: bool = False
    """Whether the command line names a model, even an empty one."""
    codes: set[int] = field(default_factory=set)
    """Exit codes that failed tests stand for."""
    why: str = ""
    """Reasons for the exit codes of a session without a verdict."""
    exit_status: int | None = None
    typical: list[str] = field(default_factory=list)
    """What the terminal says of the cases that carry the verdict."""
    delivered: list[str] = field(default_factory=list)
    """What went to trackers and to the webhook, and what did not."""

    @classmethod
    def from_config(cls, config: pytest.Config) -> GateSession:
        """Make the session of a pytest run."""
        options = read_options(config)
        inputs: Mapping[str, Any] = getattr(config, "workerinput", {})
        capture: Any = config.pluginmanager.get_plugin("capturemanager")
        session = cls(
            options=options,
            folder=Path(inputs.get("gate_run_dir") or run_folder(options)).absolute(),
            command=without_secrets(
                inputs.get("gate_command") or tuple(map(str, config.invocation_params.args))
            ),
            name=inputs.get("gate_session") or uuid.uuid4().hex,
            worker=bool(inputs),
            named=any(config.getoption(f"gate_{name}") is not None for name in arm_options()),
        )
        if capture is not None:
            session.uncaptured = capture.global_and_fixture_disabled
        if options["max-cases"]:
            session.filtered.append(f"only the first {options['max-cases']} cases of each suite")
        if not session.worker:
            session.refuse_used_folder()
        return session

    def refuse_used_folder(self) -> None:
        """Refuse a run folder that another session uses."""
        if (self.folder / "lock").is_file():
            try:
                with FolderLock(self.folder):
                    pass
            except UsageError as error:
                raise pytest.UsageError(str(error)) from None

    def hold(self, folder: Path) -> FolderLock:
        """Lock a run folder until the end of the session."""
        if folder not in self.locks:
            self.locks[folder] = self.held.enter_context(FolderLock(folder))
        return self.locks[folder]

    def load(self, path: Path) -> Suite:
        """Load a suite once."""
        key = path.resolve()
        if key not in self.loaded:
            self.loaded[key] = self._load(path)
        return self.loaded[key]

    def _load(self, path: Path) -> Suite:
        suite = suites.load_suite(path, max_cases=self.options["max-cases"])
        prompt = self.options["prompted"]
        if not prompt:
            return suite
        from tunegate.harness.suite.arm_prompt import read_prompt_file

        return suite.with_prompted(read_prompt_file(Path(prompt), f"--gate-prompted={prompt}"))

    def renamed_suites(self) -> list[Path]:
        """Return files such as suite.toml.bak beside the suites, whose gates are not run."""
        places = {path.parents[1] for path in self.loaded if path.parent != Path.cwd()}
        forms = ("suite.toml?*", "*/suite.toml?*")
        return sorted(file for place in places for form in forms for file in place.glob(form))

    def refuse(self, reason: str) -> None:
        """Note a user's mistake in a suite: the session ends with pytest's usage exit code."""
        known = f"{self.error}\n" if self.error else ""
        self.error = UsageError(known + reason)

    def note_selected(self, items: Sequence[GateItem]) -> None:
        """Note which gates are left after `-k` and the like."""
        left = {(item.suite, item.gate.id) for item in items}
        all_suites = tuple(self.loaded.values())
        every = [(s.name, g.id) for s in all_suites for g in s.gates]
        gone = [f"{suite}::{gate}" for suite, gate in every if (suite, gate) not in left]
        if gone:
            more = " among them" if len(gone) > 1 else ""
            self.filtered.append(
                f"{len(gone)} of {len(every)} gates were deselected: {gone[0]}{more}"
            )
        names = {suite for suite, _ in left}
        self.chosen = tuple(s for s in all_suites if s.name in names or not s.gates)
        if all_suites and not left:
            self.codes.add(Verdict.UNDECIDED.exit_code)
            none = "the suites have no [[gates]] tables; add one to suite.toml, such as floor = 0.9"
            self.why = "no gate was judged: " + ("all were deselected" if gone else none)

    def note_unevaluated(self, config: pytest.Config) -> None:
        """Note why none of the collected gates was evaluated, where nothing else reports it."""
        if self.verdict is not None or self.error is not None or self.codes or not self.loaded:
            return
        switches = ("collectonly", "setupplan", "setuponly")
        options = {"collectonly": "--collect-only", "setupplan": "--setup-plan"}
        switched_on = (s for s in switches if config.getoption(s, default=False))
        name = next(switched_on, None)
        cause = "none was run" if name is None else options.get(name, "--setup-only")
        self.why = f"no gate was evaluated: {cause}"

    def gate_result(self, suite: str, gate: Gate) -> tuple[SuiteResult, GateResult | None]:
        """Return how a gate and its suite ended; the first call makes the run.

        The gate's result is None if its metric guards what base never does.
        """
        verdict = self.evaluate()
        loaded = [candidate for candidate in self.loaded.values() if candidate.name == suite]
        silent = {m.name for s in loaded for m in s.metrics if m.only_if_base_has is not None}
        for suite_result in verdict.suites:
            if suite_result.name != suite:
                continue
            result = next((result for result in suite_result.gates if result.id == gate.id), None)
            if result is not None or gate.metric in silent:
                return suite_result, result
        raise TunegateError(verdict.sentence)

    def evaluate(self) -> VerdictRecord:
        """Return the run's verdict, made once over all selected suites."""
        if self.error is not None:
            raise self.error
        if self.verdict is None:
            try:
                self.verdict = self.run(self.chosen, self.folder)
            except TunegateError as error:
                self.error = error
                raise
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # pytest.skip() in a user's function, too
                # The defect shows its traceback once, not in every gate.
                self.error = BackendError(f"a defect of tunegate, please report it: {error!r}")
                raise
        return self.verdict

    def evaluate_beside(self, file: Path, models: Mapping[str, str]) -> SuiteRun:
        """Return a run that only the `gate` fixture asks for.

        Args:
            file: The suite.toml.
            models: Arm → model spec, where it is another one than the session's.
        """
        key = file, canonical_json(dict(models))
        if key not in self.beside:
            suite = self._load(file)
            name = f"{self.folder.name}.{suite.name}"
            if models:
                end = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(models.get("tuned", "")).name)[:40]
                name += f".{end}-{sha256(key[1])[:6]}"
            folder = self.folder.with_name(name)
            self.folders[folder] = None
            self.beside[key] = SuiteRun(suite, self.run((suite,), folder, models), folder)
        return self.beside[key]

    def run(
        self,
        chosen: Sequence[Suite],
        folder: Path,
        models: Mapping[str, str] = MappingProxyType({}),
    ) -> VerdictRecord:
        """Make the run in `folder`, or read it if another xdist worker has made it."""
        from tunegate.harness.models.gguf_format.converters import use_llama_cpp
        from tunegate.harness.run.evaluate import evaluate_once
        from tunegate.harness.run.options import RunOptions
        from tunegate.harness.run.telemetry import TelemetryOptions
        from tunegate.harness.run.training_provenance import DataOptions
        from tunegate.harness.run.workers import ExecutionBackend

        arm_specs = {**{name: self.options[name] for name in arm_options()}, **models}
        specs = {name: resolve_incumbent(spec) for name, spec in arm_specs.items()}
        options = RunOptions(
            suites=chosen,
            specs=specs,
            folder=folder,
            store=Path(self.options["store"]).absolute(),
            command=self.command,
            seed=self.options["seed"],
            dtype=self.options["dtype"],
            trust_remote_code=bool(self.options["trust-remote-code"]),
            sandbox=self.options["sandbox"],
            allow_prompt_difference=bool(self.options["allow-prompt-difference"]),
            allow_config_difference=self.options["allow-config-difference"],
            backend=ExecutionBackend(self.options["engine"], self.options["workers"]),
            optimizations=Optimizations.parse(self.options["optimizations"]),
            limits=limits_of(self.options),
            judge=self.options["judge"],
            calibration=self.options["calibration"],
            filtered=tuple(self.filtered),
            cases=self.options["cases"],
            open_sealed=bool(self.options["open-sealed"]),
            early_stop={"on": True, "off": False}.get(self.options["early-stop"]),
            draft=bool(self.options["draft"]),
            training_data=DataOptions.parse(self.options["leakage"], self.options["training-data"]),
            telemetry=TelemetryOptions.of(self.options),
        )
        options.refuse_impossible()
        use_llama_cpp(self.options["llama-cpp"])
        refuse_unwritable_exports(self.options)
        if self.arms_of != specs:  # drop the opened arms of other models
            self.arms, self.arms_of = {}, specs
        return evaluate_once(
            options,
            self.arms,
            lock=FolderLock(folder, shared_by=self.name)
            if self.worker
            else nullcontext(self.hold(folder)),
            around=self.uncaptured(),
        )

    def note_interrupt(self) -> None:
        """Note that the user stopped pytest while no completion was being made."""
        if self.error is None:
            self.error = RunInterrupted(f"stopped by signal {last_signal()}", last_signal())

    def for_worker(self) -> dict[str, Any]:
        """Return what xdist's workers must know of this session."""
        return {
            "gate_run_dir": str(self.folder),
            "gate_command": list(self.command),
            "gate_session": self.name,
        }

    def merge(self, output: Mapping[str, Any]) -> None:
        """Merge what a worker's `finish` left in its output."""
        self.codes |= set(output.get("gate_codes", ()))
        self.why = self.why or output.get("gate_why", "")
        self.folders |= dict.fromkeys(map(Path, output.get("gate_folders", ())))
        self.compared |= dict.fromkeys(map(tuple, output.get("gate_compared", ())))
        if output.get("gate_error") and self.error is None:
            self.error = error_from(*output["gate_error"])
        if output.get("gate_verdict") and self.verdict is None:
            self._read_verdict()

    def finish(self, session: pytest.Session) -> None:
        """Write what people and CI read, and set the exit status; a worker only reports."""
        if self.worker:
            self._report_to_controller(session.config)
            return
        try:
            if isinstance(self.error, (BackendError, RunInterrupted)) and self.verdict is None:
                self._read_verdict()
            if self.verdict is not None:
                if self.verdict.suites:
                    refuse_gaps(self.folder)
                self._write_reports()
            self._write_beside()
        except TunegateError as error:
            self.error = self.error or error
        except (Exception, SystemExit) as error:
            self.error = self.error or _report_failure(self.folder, error)
        self.held.close()
        # Remove the holder.json files of xdist's workers.
        for folder in (self.folder, *self.folder.parent.glob(f"{self.folder.name}.*")):
            FolderLock(folder, shared_by=self.name).forget()
        self.note_unevaluated(session.config)
        if self.verdict is None and (sentence := str(self.error or self.why)):
            leave_sentence(self.options["run-dir"], self.options["summary"], sentence)
        self.exit_status = self._exit_status(int(session.exitstatus))
        session.exitstatus = self.exit_status

    def reported_folders(self) -> list[Path]:
        """Return the folders of this session's runs that have a report."""
        made = [*([] if self.verdict is None else [self.folder]), *self.folders]
        return [folder for folder in made if (folder / "report.html").is_file()]

    def _report_to_controller(self, config: pytest.Config) -> None:
        output: dict[str, Any] = getattr(config, "workeroutput", {})
        output["gate_codes"] = sorted(self.codes)
        output["gate_why"] = self.why
        output["gate_verdict"] = self.verdict is not None
        output["gate_folders"] = [*map(str, self.folders)]
        output["gate_compared"] = [*map(list, self.compared)]
        if self.error is not None:
            output["gate_error"] = [self.error.exit_code, str(self.error)]

    def _read_verdict(self) -> None:
        if (self.folder / "verdict.json").is_file():
            self.verdict = read_record(self.folder / "verdict.json", VerdictRecord)

    def _exit_status(self, status: int) -> int:
        if self.error is not None:
            return exit_status.code_of_error(self.error)
        codes = set(self.codes)
        if self.options["draft"] and (self.verdict is not None or self.folders):
            codes.add(Verdict.UNDECIDED.exit_code)
        if self.verdict is not None:
            undecided = self.verdict.verdict is Verdict.UNDECIDED
            neutral = undecided and self.options["undecided"] != "fail"
            codes.add(0 if neutral else self.verdict.verdict.exit_code)
        return exit_status.decide_exit_code(codes, status)

    def _write_reports(self) -> None:
        from tunegate.reports.data import prepare_data
        from tunegate.reports.page import write_all
        from tunegate.reports.typical_cases import typical_lines

        self.hold(self.folder)  # of xdist's workers, none holds it any more
        run = Run.load(self.folder)
        data = prepare_data(run)
        self.typical = typical_lines(data)
        copy_exports(self.options, write_all(run, self.folder, repository_root(), data))

    def _write_beside(self) -> None:
        """Write the reports of the runs that only the `gate` fixture asked for."""
        if not self.folders:
            return
        from tunegate.reports.page import write_all

        complete = [folder for folder in self.folders if (folder / "verdict.json").is_file()]
        for folder in complete:
            self.hold(folder)
            written = write_all(Run.load(folder), folder, repository_root())
            if self.verdict is None and len(complete) == 1:
                copy_exports(self.options, written)

    def workflow_commands(self) -> list[str]:
        """Return GitHub's annotations of the suites' lines, as workflow commands."""
        from tunegate.reports.annotations import failure_annotation, run_annotations

        if self.error is not None:
            return [failure_annotation(str(self.error)).command()]
        if self.verdict is None or not (self.folder / "report.html").is_file():
            return [failure_annotation(self.why).command()] if self.exit_status and self.why else []
        level = "error" if self.exit_status else "warning"
        return [
            a.command() for a in run_annotations(Run.load(self.folder), repository_root(), level)
        ]


_DISK_ERRORS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM}
)


def _report_failure(folder: Path, error: BaseException) -> BackendError:
    """Return the error of a judged run without reports; print a traceback unless it is the disk's.

    Packages' code runs here, and `sys.exit(0)` in it must not become the exit code.
    """
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        return BackendError(
            f"{folder}: the reports cannot be written ({error.strerror}); verdict and answers are "
            f"stored: make room or permission, then `tunegate report {folder}`"
        )
    traceback.print_exception(error)
    return BackendError(f"the reports could not be written: {error!r}")
