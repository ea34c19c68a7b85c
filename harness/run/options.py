"""The options of a run: what was asked for, before anything is opened."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TextIO

from tunegate.harness.contracts.further_arm import further_arm
from tunegate.harness.contracts.model import PoolLimits
from tunegate.harness.decision.gating.attempts import refuse_draft, refuse_sealed
from tunegate.harness.decision.planning.unreachable_gates import unreachable_gates
from tunegate.harness.engine.optimizations import ALL, Optimizations
from tunegate.harness.judges.asking.specs import parse_specs, refuse_unjudged
from tunegate.harness.records.calibration import Calibration
from tunegate.harness.records.command_line import typed_options
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.hidden_text import escape_terminal
from tunegate.harness.records.jsonl import read_records
from tunegate.harness.records.labels import LABELS_FILE, Label, refuse_judges_labels, refuse_one_arm
from tunegate.harness.run.ledger_file import refuse_broken_ledgers
from tunegate.harness.run.telemetry import TelemetryOptions
from tunegate.harness.run.training_provenance import DataOptions
from tunegate.harness.run.workers import HERE, ExecutionBackend
from tunegate.harness.suite import Suite
from tunegate.harness.suite.find import refuse_shared_name


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Everything that one run is asked to do."""

    suites: Sequence[Suite]
    specs: Mapping[str, str | None]
    """Arm → model spec."""
    folder: Path
    """Where the run is written."""
    store: Path
    """File of stored answers."""
    stream: TextIO | None = None
    """Where progress and notes are shown; None for standard error."""
    command: tuple[str, ...] = ()
    """The user's command line."""

    seed: int = 0
    dtype: str = "auto"
    trust_remote_code: bool = False
    """Whether code in a model's folder may run."""
    allow_prompt_difference: bool = False
    """Whether arms are compared although their servers build different prompts."""
    allow_config_difference: str = ""
    """Keys of config.json that tuned may change, separated by commas, as in `rope_parameters`."""
    sandbox: str = "bubblewrap"
    """Where programs in answers run."""
    backend: ExecutionBackend = HERE
    optimizations: Optimizations = ALL
    limits: PoolLimits = field(default_factory=PoolLimits)
    """How hard arms behind a network may be asked."""

    judge: str | None = None
    """Specs of the judge models, separated by commas; `none` for no judge."""
    calibration: str | None = None
    """Files with the judges' calibrations, separated by commas."""

    filtered: tuple[str, ...] = ()
    """Sentences on cases and gates that this run leaves out."""
    cases: str = "all"
    """`shared` leaves out cases that an arm with results of another tool lacks."""
    open_sealed: bool = False
    """Whether sealed suites may be judged."""
    early_stop: bool | None = None
    """Whether a suite may end as soon as everything is decided. None: unless every arm is recorded,
    where an interim look costs power and saves no answer."""
    self_check: bool = False
    """An A/A run: the arms may have identical weights, and no attempt is counted."""
    draft: bool = False
    """Whether the suites are still being written: no attempt is counted, and nothing ships."""

    training_data: DataOptions = field(default_factory=DataOptions)
    """The user's description of the rows that tuned was trained on."""
    telemetry: TelemetryOptions = field(default_factory=TelemetryOptions)

    def say(self, *lines: str) -> None:
        """Write lines for the user, with options named as they were typed.

        They may have paths of a stranger's card in them: a terminal or a CI obeys nothing.
        """
        typed = (escape_terminal(typed_options(line, self.command)) for line in lines)
        self.output.writelines(f"tunegate: {line}\n" for line in typed)
        self.output.flush()

    @property
    def output(self) -> TextIO:
        """The stream that is shown now: pytest replaces standard error while it captures."""
        return self.stream or sys.stderr

    @cached_property
    def calibrations(self) -> dict[Path, Calibration]:
        """The judges' calibrations: file → content, read once."""
        if not self.calibration:
            return {}
        from tunegate.harness.judges.calibrating.attach_calibrations import read_calibrations

        return read_calibrations(self.calibration)

    def refuse_impossible(self) -> None:
        """Check the options before anything is opened or spent.

        Raises:
            UsageError: the first kind of problem; of gates that cannot pass, all, one a line.
        """
        self.backend.refuse_impossible()
        refuse_sealed(self.suites, opened=self.open_sealed)
        self.refuse_absent_references()
        if self.draft:
            refuse_draft(self.suites)
        for plan in filter(None, (suite.episode for suite in self.suites)):
            plan.refuse_missing_inspect()
        if not self.self_check:
            refuse_broken_ledgers(self.suites)
        refuse_unjudged(self.suites, self.judge)
        _ = self.calibrations  # refuses a file that cannot be read
        labels = read_records(self.folder / LABELS_FILE, Label)
        refuse_one_arm(self.folder / LABELS_FILE, labels)
        refuse_judges_labels(self.folder / LABELS_FILE, labels, parse_specs(self.judge))
        self._refuse_unreachable_gates()
        refuse_shared_name(self.suites)

    def refuse_absent_references(self) -> None:
        """Raise UsageError if a gate is against an arm that is not named."""
        for suite in self.suites:
            for gate in suite.gates:
                name = gate.against
                if name is None:
                    continue
                by_prompt = further_arm(name).needs_prompt
                if name in suite.arm_prompts if by_prompt else self.specs.get(name):
                    continue
                value = f"FILE, or write a [{name}] table" if by_prompt else "SPEC"
                raise UsageError(
                    f"{gate.where}: against = {name!r}, and no {name} is named; give it with "
                    f"--gate-{name} {value}"
                )

    def _refuse_unreachable_gates(self) -> None:
        """Refuse gates that a flawless result could not pass, unless only a part is judged."""
        if self.filtered or self.draft:
            return
        problems = [problem for suite in self.suites for problem in unreachable_gates(suite)]
        if problems:
            raise UsageError("\n".join(problems))
