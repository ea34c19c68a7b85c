"""A model that is watched while it is trained: its suites, its arms, one look after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.engine.local import OutOfMemory
from harness.errors import Interrupted, ModelError, TunegateError, UsageError
from harness.manifest import BASE_AGAIN
from harness.model import Arm
from harness.models._files import resolve
from harness.models.live import ApartArm, adapter_of, base_apart, live_arm, live_model, live_whole
from harness.records import sha256
from harness.suite import Suite, load
from harness.verdict.ledger import refuse_sealed
from trainers.look import look
from trainers.ranking import Checkpoint
from trainers.undisturbed import undisturbed


def suites_of(paths: Sequence[str | Path], max_cases: int | None) -> tuple[Suite, ...]:
    """Load the suites of a callback.

    Raises:
        UsageError: one cannot be loaded, is sealed or needs a judge; there is none, or one twice.
    """
    suites = tuple(load(Path(path), max_cases=max_cases) for path in paths)
    if not suites:
        raise UsageError("suites: none; name at least one folder that holds a suite.toml")
    names = [suite.name for suite in suites]
    if len(set(names)) < len(names):
        raise UsageError(f"suites: two have the same name among {names}; rename one")
    refuse_sealed(suites, opened=False)
    for suite in suites:
        judged = next((m.name for m in suite.gated_metrics if m.judge is not None), None)
        if judged is not None or all(m.judge is not None for m in suite.metrics):
            raise UsageError(
                f"{suite.path}: {judged or 'its only metric'} needs a judge, which is not asked "
                "while a model is trained; give a suite whose gates are on other metrics"
            )
    return suites


def overlap(selecting: Suite, shipping: Path) -> None:
    """Refuse a suite that selects and shares cases with the one that decides shipping.

    The best of several checkpoints on a suite looks better there than it is.

    Raises:
        UsageError: with how many cases they share.
    """
    theirs = load(shipping)
    shared = _prompts(selecting) & _prompts(theirs)
    if shared:
        raise UsageError(
            f"{selecting.path}: {len(shared)} of its cases are in {theirs.path}, which decides "
            "shipping; select on other cases, or the one that is kept looks better than it is"
        )


def _prompts(suite: Suite) -> set[str]:
    system = suite.generation.system
    turns = ([dict(t) for t in s.case.input_messages(system)] for s in suite.cases)
    return {sha256(each) for each in turns}


@dataclass
class Watched:
    """A model in training and the suites that look at it."""

    model: Any
    tokenizer: Any
    suites: tuple[Suite, ...]
    folder: Path
    """Where the checkpoints are."""
    adapter: str | None
    base: Arm
    loaded: Any
    asked: tuple[str, ...] = ()
    """Arms that have answered all they can."""

    @classmethod
    def of(
        cls, args: Any, model: Any, processor: Any, suites: tuple[Suite, ...], base: str | None
    ) -> Watched:
        """Open both arms, before the first step.

        Raises:
            UsageError: the training cannot be looked at, or a suite not be asked of the model.
        """
        _refuse_parts(args)
        if getattr(model, "generation_config", None) is None:
            raise UsageError(
                f"GateCallback needs a model that writes answers, and {type(model).__name__} is "
                "none; gate the saved checkpoints with `tunegate gate` instead"
            )
        tokenizer = getattr(processor, "tokenizer", processor)
        if tokenizer is None:
            raise UsageError("the trainer has no tokenizer; give it as `processing_class`")
        adapter = adapter_of(model)
        with undisturbed(model):
            loaded = live_model(model, tokenizer, adapter=adapter)
            arm: Arm = live_arm(loaded, None) if adapter else _apart(base, loaded)
        for suite in suites:
            try:
                arm.prompt(suite.cases[0].case, suite.generation)
            except ValueError as error:
                raise UsageError(f"{suite.path}: {error}") from error
        return cls(model, tokenizer, suites, Path(args.output_dir), adapter, arm, loaded)

    @property
    def sentence(self) -> str:
        """What will be looked at, and what base is."""
        of = " and ".join(f"{suite.name} ({len(suite.cases)} cases)" for suite in self.suites)
        base = str(self.base.identity["spec"])
        if self.adapter is not None:
            base = f"the model without its adapter {self.adapter!r}"
        return f"looks at {of} at every save; base is {base}"

    def look(self, step: int, number: int) -> Checkpoint:
        """Judge the model as it is now; what goes wrong is told and costs the look alone.

        Raises:
            Interrupted: the user stopped it.
        """
        folder = f"checkpoint-{step}"
        try:
            with undisturbed(self.model):
                suites = look(self.suites, self._arms(), number=number, asked=self.asked)
        except Interrupted:
            raise
        except Exception as error:
            return Checkpoint(step=step, folder=folder, problem=_problem(error))
        if isinstance(self.base, ApartArm) and not self.asked:
            self.base.release()
            self.asked = ("base", BASE_AGAIN)
        return Checkpoint(step=step, folder=folder, suites=suites)

    def _arms(self) -> dict[str, Arm]:
        if self.adapter is None:  # all weights have changed, and with them the hash
            loaded = live_model(self.model, self.tokenizer, adapter=None)
            return {"base": self.base, "tuned": live_whole(loaded)}
        return {"base": self.base, "tuned": live_arm(self.loaded, self.adapter)}


def _refuse_parts(args: Any) -> None:
    """Refuse trainings in which no process has the whole model."""
    if getattr(args, "fsdp", None) or getattr(args, "deepspeed", None):
        raise UsageError(
            "GateCallback needs the whole model in the first process, and FSDP or DeepSpeed spread "
            "it; gate the saved checkpoints with `tunegate gate` instead"
        )


def _apart(given: str | None, live: Any) -> Arm:
    """Open base beside a full fine-tune.

    Raises:
        ModelError: it is not there.
    """
    name = given or str(live.folder)
    try:
        return base_apart(resolve(name), live)
    except ModelError as error:
        raise ModelError(
            f"{error}; this training has no adapter that could be switched off, so base is loaded "
            "beside it: name the model it started from with GateCallback(…, base=FOLDER)"
        ) from error


def _problem(error: Exception) -> str:
    text = next((line for line in str(error).splitlines() if line.strip()), "")
    if isinstance(error, TunegateError | OutOfMemory):
        return text
    return f"{type(error).__name__}: {text}"
