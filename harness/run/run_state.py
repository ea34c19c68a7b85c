"""The state of a run: its facts as they become known; a run that fails records them so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tunegate.harness.contracts.model import Arm
from tunegate.harness.judges.asking.judge_model import JudgeModel
from tunegate.harness.records.manifest import LookSchedule, Manifest, SuiteRecord
from tunegate.harness.records.versions import package_versions
from tunegate.harness.run.folder_writer import RunFolderWriter
from tunegate.harness.run.options import RunOptions
from tunegate.harness.run.origin import origin_facts
from tunegate.harness.run.prepared_run import PreparedRun
from tunegate.harness.run.training_provenance import TrainingProvenance
from tunegate.harness.suite import Suite


@dataclass
class RunState:
    """Facts about a run, each set as soon as it is known."""

    options: RunOptions
    folder: RunFolderWriter
    suites: Sequence[Suite]
    filtered: tuple[str, ...]
    arms: Mapping[str, Arm] = field(default_factory=dict)
    judge_models: Sequence[JudgeModel] = ()
    training: TrainingProvenance = field(default_factory=TrainingProvenance)
    looks: Mapping[str, LookSchedule] = field(default_factory=dict)
    liveness: Mapping[str, Any] = field(default_factory=dict)
    comparability: Mapping[str, Any] = field(default_factory=dict)
    served_identity: Mapping[str, Any] = field(default_factory=dict)
    served_prompts: Mapping[str, Any] = field(default_factory=dict)
    sandbox: str | None = None
    run: PreparedRun | None = None
    """The plan, once there is one."""
    written: Manifest | None = None
    """What manifest.json holds, once it is written."""

    def begin(self) -> Manifest:
        """Write the manifest, and set another finished run of the folder aside."""
        manifest = self.manifest()
        if not self.options.self_check:  # its folder is always the same, and nobody keeps its runs
            notes = self.folder.set_aside(manifest)
            self.options.say(*notes)
        self.written = self.folder.begin(manifest)
        return manifest

    def update(self, **facts: Any) -> Manifest:
        """Write the manifest again with facts that were found after it was first written."""
        self.written = self.manifest_written.model_copy(update=facts)
        self.folder.write("manifest.json", self.written)
        return self.written

    @property
    def manifest_written(self) -> Manifest:
        """What manifest.json holds."""
        if self.written is None:
            raise RuntimeError("begin() comes first")
        return self.written

    def manifest(self) -> Manifest:
        """Return the manifest with what is known."""
        options, run = self.options, self.run
        return Manifest(
            run_id=self.folder.path.name,
            created=self.folder.created(),
            command=options.command,
            arms={name: dict(arm.identity) for name, arm in self.arms.items()},
            suites=self._suite_records(),
            plan=run.plan.cells if run else (),
            seed=options.seed,
            versions=package_versions(),
            origin=origin_facts(options.telemetry.link),
            comparability=dict(self.comparability),
            liveness=dict(self.liveness),
            served_identity=dict(self.served_identity),
            served_prompts=dict(self.served_prompts),
            sandbox=self.sandbox,
            attempts=run.attempts.numbers if run else {},
            ledger=run.attempts.ledger_states(self.folder.path.parent) if run else {},
            judges=tuple(dict(judge_model.identity) for judge_model in self.judge_models),
            filtered=self.filtered,
            draft=options.draft,
            training=self.training.training,
            leakage=self.training.leakage,
        )

    def _suite_records(self) -> tuple[SuiteRecord, ...]:
        """Return the suites with their looks, earlier attempts and judges' calibrations."""
        extended = self.run.attempts.extended if self.run else {}
        records = tuple(
            suite.record().model_copy(
                update={
                    "looks": self.looks.get(suite.name),
                    "extended": extended.get(suite.hash, 0),
                }
            )
            for suite in self.suites
        )
        if not self.options.calibrations:
            return records
        from tunegate.harness.judges.calibrating.attach_calibrations import attach_calibrations

        return attach_calibrations(records, self.options.calibrations, self.judge_models)
