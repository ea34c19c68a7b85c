"""`tunegate doctor --aa SUITE`: base against itself and against a null adapter; neither may ship.

The answers come from the gate's own engine, store and statistics: what goes wrong here would go
wrong there. A run folder each is kept in `.tunegate/aa/<suite>/`.
"""

from __future__ import annotations

import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.cli.number_format import refuse_unknown
from harness.errors import BackendError, Interrupted, UsageError
from harness.model import Arm
from harness.records import CellKind
from harness.run import Run
from harness.suite import Suite, load
from harness.verdict.planning import unreachable
from harness.verdict.record import GateResult, SuiteResult, Verdict, VerdictRecord

RUNS = Path(".tunegate/aa")


@dataclass(frozen=True)
class Comparison:
    """One of the two comparisons, as it ended."""

    title: str
    folder: Path
    adapter: bool
    """Whether the other arm has a null adapter."""
    verdict: VerdictRecord

    @property
    def unchecked(self) -> bool:
        """Whether it ended before anything was compared."""
        return self.verdict.verdict in (Verdict.NOT_COMPARABLE, Verdict.ERROR)


def check(word: str, *, base: str, dtype: str, max_cases: int | None) -> int:
    """Run the A/A check of a suite and print it; return the exit code.

    Raises:
        UsageError: the suite or the model cannot be had.
        Interrupted: the user stopped it; the same command goes on.
    """
    suite = _suite(word, max_cases)
    spec = base or _embedded()
    refuse_unknown(dtype)
    with _arms(spec, dtype) as arms:
        comparisons = [_compared(suite, name, arms["base"], arm) for name, arm in arms.items()]
    for problem in unreachable(suite):
        print(f"\nnote: nothing could ship here: {problem}")
    found = [claim for c in comparisons for claim in _print(c)]
    if "null" not in arms:
        print("\nNo null adapter: only a model that is loaded here can be given one.")
    return _conclude(comparisons, found)


def _suite(word: str, max_cases: int | None) -> Suite:
    from harness.cli.suite_files import suite_files

    paths = suite_files(word)
    if len(paths) > 1:
        raise UsageError(f"{word}: holds {len(paths)} suites; name one of them, as {paths[0]}")
    return load(Path(paths[0]), max_cases=max_cases)


def _embedded() -> str:
    from harness.models.embedded import fetched

    folder = fetched()
    if folder is None:
        raise UsageError(
            "no base model: the embedded one is not fetched yet; `tunegate demo` fetches it, "
            "or name a model with --base SPEC"
        )
    return str(folder)


def _option(name: str) -> Any:
    from harness.plugin.options import OPTIONS

    return next(o for o in OPTIONS if o.name == name)


@contextmanager
def _arms(spec: str, dtype: str) -> Iterator[Mapping[str, Arm]]:
    """Open base and, where it is a model, a null adapter on the same load.

    Yields:
        `base` for the comparison with itself, `null` for the other one.
    """
    from harness.models._files import resolve
    from harness.models.null_adapter import make_null_adapter
    from harness.models.pair import computes_here, open_arms

    print(f"tunegate: opening {spec}", file=sys.stderr, flush=True)
    if not computes_here(spec) or spec.startswith("gguf:"):  # an adapter is made for a folder
        yield {"base": open_arms({"base": spec, "tuned": spec}, dtype=dtype)["base"]}
        return
    with tempfile.TemporaryDirectory() as folder:
        make_null_adapter(resolve(spec), Path(folder))
        arms: dict[str, Any] = dict(open_arms({"base": spec, "tuned": folder}, dtype=dtype))
        # The temporary folder is no name that anybody could look up later.
        yield {"base": arms["base"], "null": replace(arms["tuned"], spec="null adapter")}


def _compared(suite: Suite, name: str, base: Arm, other: Arm) -> Comparison:
    """Make one comparison in its run folder.

    The suite's gates are judged as they stand, few cases or not: a cap at UNDECIDED, as a shortened
    run of `tunegate gate` gets, would hide what is looked for. All cases are asked, whatever they
    decide early, for the noise floor's sake.
    """
    from harness.models.null_adapter import WORDS
    from harness.plugin.evaluate import Evaluation

    label = "itself" if name == "base" else name
    title = "base against itself" if name == "base" else f"base against a null adapter ({WORDS})"
    print(f"tunegate: {title}", file=sys.stderr, flush=True)
    evaluation = Evaluation(
        suites=(suite,),
        specs={"base": None, "tuned": None},
        folder=(RUNS / suite.name / label).absolute(),
        store_path=Path(_option("store").default).absolute(),
        stream=sys.stderr,
        arms={"base": base, "tuned": other},
        self_check=True,
        early_stop=False,
    )
    return Comparison(title, RUNS / suite.name / label, name != "base", _run(evaluation))


def _run(evaluation: Any) -> VerdictRecord:
    from harness.plugin.lock import RunLock
    from harness.plugin.stopping import last_signal, stoppable

    try:
        with RunLock(evaluation.folder, session=uuid.uuid4().hex, shared=False), stoppable():
            verdict: VerdictRecord = evaluation.run()
            return verdict
    except KeyboardInterrupt:
        raise Interrupted(_again(f"stopped by signal {last_signal()}"), last_signal()) from None
    except Interrupted as error:
        raise Interrupted(_again(str(error)), error.exit_code - 128) from error
    except BackendError as error:
        raise BackendError(_again(str(error))) from error


def _again(text: str) -> str:
    return f"{text}\nfinished answers are stored: the same command goes on from there"


def _print(comparison: Comparison) -> list[GateResult]:
    """Print a comparison's block; return its false claims."""
    from harness.verdict.selfcheck import broken_levels, false_claims, noise_floors
    from harness.verdict.tables import tables_of

    verdict = comparison.verdict
    print(f"\n{comparison.title}: {verdict.verdict.value.replace('_', ' ')}")
    if comparison.unchecked:
        print(f"  could not be checked: {verdict.sentence}")
        return []
    run = Run.load(comparison.folder)
    [table] = tables_of(run.manifest, run.cases_of, run.scores, {})
    [result] = verdict.suites
    floors = noise_floors(table)
    width = max(len(f.metric.name) for f in floors)
    for floor in floors:
        print(f"  {floor.metric.name:<{width}}  {_noise(floor)}")
    for gate in broken_levels(result):
        print(
            f"  {gate.metric} breaks its {gate.kind.value} with base already: floors are about "
            "the level, not the difference; not counted"
        )
    if comparison.adapter and any(f.metric.needs is CellKind.LATENCY for f in floors):
        print("  an adapter takes time of its own: differences of measured times are not counted")
    return list(false_claims(table.suite, result, adapter=comparison.adapter))


def _noise(floor: Any) -> str:
    delta = floor.delta
    if not delta.n:
        return "no case has a score in both arms"
    cases = "1 case" if delta.n == 1 else f"{delta.n} cases"
    apart = f"mean |difference| {floor.size:.2g} over {cases}"
    if floor.flips is not None:
        apart = f"{100 * floor.size:.2g} % flipped ({floor.flips} of {cases})"
    return (
        f"base {delta.base:.4g}, difference {delta.estimate:+.2g} "
        f"[{delta.low:+.2g}, {delta.high:+.2g}] at {100 * delta.confidence:g} %; "
        f"noise floor: {apart}"
    )


def _conclude(comparisons: list[Comparison], claims: list[GateResult]) -> int:
    """Print the sentence at the end and return the exit code."""
    print()
    if claims:
        for gate in claims:
            print(f"FAIL: a difference was claimed where there is none: {gate.sentence}")
        print(
            "By chance this happens in one check of twenty for a gate at 90 %, and with a null "
            "adapter where a margin is smaller than its effect; otherwise do not trust the suite."
        )
        return Verdict.BLOCK.exit_code
    unchecked = [c.verdict.verdict for c in comparisons if c.unchecked]
    if unchecked:
        print("The check is not complete.")
        return Verdict.worst(unchecked).exit_code
    print(_fine(comparisons))
    return 0


def _fine(comparisons: list[Comparison]) -> str:
    results: list[SuiteResult] = [s for c in comparisons for s in c.verdict.suites]
    if any(r.has_goal for r in results):
        both = "neither ships" if len(comparisons) > 1 else "it does not ship"
        return f"{both}: as it should be"
    return (
        "no regression is claimed: as it should be (the suite has no goal, so SHIP means "
        '"no worse", which is the right answer here)'
    )
