"""One adapter at several strengths, each judged against base on one load of the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunegate.harness.contracts.model import Arm
from tunegate.harness.models._model_folder import is_adapter, resolve_folder
from tunegate.harness.models.adapters.scaled_adapter import refuse_unscalable, write_scaled_adapter
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.records.command_line import GATE_PREFIX, NO_ADDOPTS, PYTEST_QUIETLY
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.verdict import VerdictRecord
from tunegate.harness.run.evaluate import evaluate_once
from tunegate.harness.run.options import RunOptions
from tunegate.harness.run.training_provenance import DataOptions
from tunegate.harness.suite import Suite

DEFAULT = (0.25, 0.5, 0.75, 1.0, 1.25)


@dataclass(frozen=True)
class StrengthSearch:
    """An adapter, the strengths to try, and where the runs go."""

    suites: Sequence[Suite]
    tuned: str
    base: str | None
    strengths: Sequence[float]
    folder: Path
    store: Path
    dtype: str = "auto"
    judge: str | None = None
    calibration: str | None = None
    sandbox: str = "bubblewrap"
    seed: int = 0
    training_data: str | None = None

    def run_folder(self, strength: float) -> Path:
        """Return the folder of the run at a strength."""
        return self.folder / f"strength-{strength:g}"

    def adapter(self, strength: float) -> Path:
        """Return the adapter of a strength; at 1 it is the one that was trained."""
        if strength == 1:
            return resolve_folder(self.tuned)
        return self.folder / "adapters" / f"strength-{strength:g}"

    def runs(self) -> Iterator[tuple[float, VerdictRecord]]:
        """Judge one strength after the other; base's answers are asked for once.

        Raises:
            NotComparable: the adapter has another base.
        """
        arms = self._open()
        for strength in self.strengths:
            options = self._options(strength)
            opened = {"base": arms["base"], "tuned": arms[self._arm(strength)]}
            options.say(f"strength {strength:g}")
            yield strength, evaluate_once(options, opened)

    def _open(self) -> Mapping[str, Arm]:
        """Open base with the adapter at every strength, on one load."""
        trained = resolve_folder(self.tuned)
        if not is_adapter(trained):
            raise UsageError(
                f"{self.tuned}: not an adapter; only what is added to base has a strength"
            )
        if trained.resolve().is_relative_to((self.folder / "adapters").resolve()):
            raise UsageError(
                f"{self.tuned}: the scaled adapters are written there; copy it, or name another "
                "folder with --output"
            )
        refuse_unscalable(trained)
        for strength in self.strengths:
            if strength != 1:
                write_scaled_adapter(trained, self.adapter(strength), strength)
        specs = {self._arm(strength): str(self.adapter(strength)) for strength in self.strengths}
        return open_arms({"base": self.base, **specs}, dtype=self.dtype)

    def _arm(self, strength: float) -> str:
        """Return the name under which a strength is opened; PEFT allows no dot in it."""
        index = self.strengths.index(strength)
        return f"tuned_{index}" if index else "tuned"

    def _options(self, strength: float) -> RunOptions:
        options = RunOptions(
            suites=self.suites,
            specs={"base": self.base, "tuned": str(self.adapter(strength))},
            folder=self.run_folder(strength),
            store=self.store,
            command=self._command(strength),
            seed=self.seed,
            dtype=self.dtype,
            judge=self.judge,
            calibration=self.calibration,
            sandbox=self.sandbox,
            training_data=DataOptions.parse("gate", self.training_data),
            early_stop=False,  # a comparison needs all cases of every candidate
        )
        options.refuse_impossible()
        return options

    def _command(self, strength: float) -> tuple[str, ...]:
        """Return the arguments of `tunegate gate` that judge a strength alone."""
        gate_options = {
            "base": self.base,
            "tuned": str(self.adapter(strength)),
            "judge": self.judge,
            "calibration": self.calibration,
            "training-data": self.training_data,
            "early-stop": "off",
            "dtype": self.dtype,
            "sandbox": self.sandbox,
            "seed": str(self.seed),
        }
        options = (f"{GATE_PREFIX}{name}={value}" for name, value in gate_options.items() if value)
        suites = (str(suite.path) for suite in self.suites)
        return (*suites, *NO_ADDOPTS, *PYTEST_QUIETLY, *options)


def read_strengths(text: str) -> tuple[float, ...]:
    """Return the strengths that a user names, as in `0.25,0.5,1`."""
    strengths = []
    for word in text.split(","):
        try:
            value = float(word)
        except ValueError:
            value = 0.0
        if not 0 < value <= 2:
            raise UsageError(f"--at {text}: {word.strip()!r} must be a number above 0 and up to 2")
        strengths.append(value)
    if len(strengths) < 2 or len({f"{value:g}" for value in strengths}) < len(
        strengths
    ):  # names of folders
        raise UsageError(f"--at {text}: name two different strengths or more, as in 0.5,1")
    return tuple(sorted(strengths))
