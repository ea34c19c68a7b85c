"""Training advice: which method fits the data, and whether it fits this machine's memory.

The rules are in `advice.toml`. `TrainingSituation` holds what is known, and a field that is None is
not known yet. The levels of the base model alone on a suite are compared with its floors. Their
answers come from the gate's own engine and store, so a gate afterwards asks base nothing again.

If an advised training does not fit into the machine's memory, its cheapest variant that does is
named: fewer rows a step (time), weights of two bytes (rounding), a base in 4 bits (time and
rounding), shorter rows (data). On a GPU the process without its tensors does not count.
"""

from __future__ import annotations

import dataclasses
import math
import shlex
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from tunegate.harness.checks import comparability
from tunegate.harness.comparison.delta import Delta
from tunegate.harness.contracts import lookup
from tunegate.harness.contracts.model import Arm
from tunegate.harness.decision.score_table import tables_of
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.records.errors import BackendError, TunegateError
from tunegate.harness.records.gate_results import GateResult, GateStatus
from tunegate.harness.run import STORE
from tunegate.harness.run.prepare import prepare
from tunegate.harness.suite import Suite
from tunegate.trainers import datasets
from tunegate.trainers.checkpoint_evaluation import ranking_metric
from tunegate.trainers.estimate import memory
from tunegate.trainers.estimate.memory import TrainingSetting

TREE = Path(__file__).with_name("advice.toml")
TRAINERS = "tunegate.trainers"
"""Package in which a method of training is a module of its name."""
COUNTS = ("completions", "preferences", "labelled", "prompts", "questions")
"""Fields that count rows."""


@dataclass(frozen=True)
class TrainingSituation:
    """Facts about a need, a model, its data and its machine."""

    base: str = "unknown"
    """`passes` or `fails` the floors of the suite, or `unknown`."""
    succeeds: bool = True
    """Whether base gets any case of the suite right; true where it was not measured."""
    prompted: bool | None = None
    lacks: str | None = None
    """`behaviour`, `knowledge` or `both`."""
    weights: bool | None = None
    many_tasks: bool | None = None
    verifier: bool | None = None
    reward_model: bool | None = None
    fits: bool = True
    """Whether the weights in 16 bits leave room for training on this machine."""
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Format of rows → its files."""
    rows: Mapping[str, int] = field(default_factory=dict)
    """Format of rows → how many there are."""

    def get(self, name: str) -> Any:
        """Return a field, or the number of rows of a format."""
        if name == "questions":  # a demonstration is a prompt with an answer to it
            return self.rows.get("prompts", 0) + self.rows.get("completions", 0)
        return self.rows.get(name, 0) if name in COUNTS else getattr(self, name)


@dataclass(frozen=True)
class AdviceQuestion:
    """One question to the user."""

    about: str
    """Field of the situation that it fills."""
    text: str
    option: str
    """The options of the command line that answer it."""
    choices: tuple[str, ...] = ()
    """Allowed answers; yes or no where there are none."""
    when: Mapping[str, Any] = field(default_factory=dict)
    """Condition under which the answer matters."""

    def matters(self, situation: TrainingSituation) -> bool:
        """Return whether it is not answered yet, and the advice may depend on it."""
        asked = all(_holds(situation.get(name), wanted) for name, wanted in self.when.items())
        return asked and situation.get(self.about) is None


@dataclass(frozen=True)
class AdviceRule:
    """One branch of the tree, and a step of the advice where it applies."""

    name: str
    advice: str
    reason: str
    sources: tuple[str, ...]
    when: Mapping[str, Any]
    last: bool = False
    fallback: bool = False
    method: str | None = None
    """Trainer of `tunegate train`."""
    rows: str | None = None
    """Format of the rows that it is trained on."""
    options: tuple[str, ...] = ()
    next: tuple[str, ...] = ()
    """Commands that are no training."""

    @property
    def adapter(self) -> str | None:
        """The kind of `--peft` whose memory `tunegate.trainers.advise` knows; None of the
        others.
        """
        if "--peft" in self.options:
            return None
        return "qlora" if "--load_in_4bit" in self.options else "lora"

    def holds(self, situation: TrainingSituation) -> bool:
        """Return whether every condition holds."""
        return all(_holds(situation.get(name), wanted) for name, wanted in self.when.items())

    def lacking(self, situation: TrainingSituation) -> Iterator[str]:
        """Yield which rows are too few, where everything else speaks for the rule."""
        rest = {name: wanted for name, wanted in self.when.items() if name not in COUNTS}
        if all(_holds(situation.get(name), wanted) for name, wanted in rest.items()):
            for name, wanted in self.when.items():
                if name in COUNTS and situation.get(name) < wanted:
                    yield (
                        f"{self.name}: {situation.get(name)} of {wanted} rows "
                        f"{_describe_format(name)}"
                    )

    def begun(self, situation: TrainingSituation) -> bool:
        """Return whether there is any row that it could be trained on."""
        return any(situation.get(name) for name in self.when if name in COUNTS)


def _holds(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, int) and not isinstance(wanted, bool):
        return bool(value >= wanted)
    return bool(value == wanted)


def _describe_format(name: str) -> str:
    forms = {form.name: form for form in datasets.ALL}
    form = forms.get("prompts" if name == "questions" else name)
    return f"with {form.columns}" if form else name


@cache
def decision_tree() -> tuple[tuple[AdviceQuestion, ...], tuple[AdviceRule, ...], Mapping[str, Any]]:
    """Return the questions, the rules and the note on synthetic data."""
    data = tomllib.loads(TREE.read_text(encoding="utf-8"))
    return (
        tuple(AdviceQuestion(**_tuples(table)) for table in data["questions"]),
        tuple(AdviceRule(**_tuples(table)) for table in data["rules"]),
        data["synthetic"],
    )


def _tuples(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}


def advice_steps(situation: TrainingSituation) -> tuple[AdviceRule, ...]:
    """Return what to do, in order."""
    found: list[AdviceRule] = []
    for rule in decision_tree()[1]:
        trained = any(step.method for step in found)
        if rule.holds(situation) and not (rule.fallback and trained):
            found.append(rule)
            if rule.last:
                break
    return tuple(found)


def is_decided(situation: TrainingSituation) -> bool:
    """Return whether more answers could not change the advice."""
    return any(rule.last for rule in advice_steps(situation))


def missing_data(situation: TrainingSituation) -> tuple[str, ...]:
    """Return what is too little for methods that everything else speaks for.

    Where there is enough for some method, only rows that were begun on are counted.
    """
    if is_decided(situation):
        return ()
    trained = any(rule.method for rule in advice_steps(situation))
    found = [(rule, text) for rule in decision_tree()[1] for text in rule.lacking(situation)]
    return tuple(text for rule, text in found if not trained or rule.begun(situation))


def step_commands(
    rule: AdviceRule, situation: TrainingSituation, *, base: str, suite: str, reward: str
) -> Iterator[str]:
    """Yield the commands of a step, ready to be run; no training by a method that is not here."""
    hosted = base.removeprefix("litellm:") if rule.method == "vendor" else base
    names = {"base": hosted, "suite": suite, "reward": reward}
    trainer = lookup.ordered_module(TRAINERS, rule.method) if rule.method is not None else None
    if rule.method is not None and trainer is not None:
        files = situation.files.get(rule.rows or "", ()) or ("ROWS.jsonl",)
        out = f"adapters/{rule.name}"
        train = ["tunegate", "train", rule.method, "--model_name_or_path", "{base}"]
        yield _fill_words(
            [*train, "--train_files", *files, *rule.options, "--output_dir", out], names
        )
        if _trains_gated_model(trainer):
            yield _fill_words(
                ["tunegate", "gate", "{suite}", "--base", "{base}", "--tuned", out], names
            )
    for text in rule.next:
        yield _fill_words(shlex.split(text), names)


def _trains_gated_model(trainer: ModuleType) -> bool:
    """Return whether the result is a folder with a model that writes texts, which has a gate."""
    method = getattr(trainer, "METHOD", None)
    return method is not None and method.task == "CAUSAL_LM"


def _fill_words(words: Sequence[str], names: Mapping[str, str]) -> str:
    for name, value in names.items():
        words = [value if word == f"{{{name}}}" else word for word in words]
    return shlex.join(words)


RANK, ROWS, TOKENS = 16, 8, 1024
"""Default of TRL."""
WRITTEN = 512
"""Tokens of an answer of GRPO, likewise; its prompt is taken to be as long."""
_TWO_BYTES = "bfloat16"


@dataclass(frozen=True, slots=True)
class TrainingMachine:
    """Memory that a training may take."""

    memory: int
    """Bytes."""
    name: str
    gpu: bool


def fit_sentences(
    base: str, trainer: str | None, *, method: str, machine: TrainingMachine
) -> Iterator[str]:
    """Yield whether a training fits, and if not, with which flags it would.

    Args:
        base: Folder of the base, or `embedded`.
        trainer: Name of `tunegate train`; those without `SEQUENCES_PER_ROW` yield nothing.
        method: `lora`, `qlora` or `full`.
        machine: Where it is to be trained.
    """
    if trainer not in memory.estimated_trainers():
        return
    try:
        yield from _sentences(base, trainer, method, machine)
    except TunegateError as error:
        yield f"memory: unknown ({error})"


def _sentences(base: str, trainer: str, method: str, machine: TrainingMachine) -> Iterator[str]:
    config = memory.load_configuration(base)
    model = memory.model_shape(config)
    process = 0 if machine.gpu else memory.process_bytes()
    wanted = _default_setting(config, trainer, method)
    needed = process + memory.step_memory(model, wanted, gpu=machine.gpu).total
    fits = needed <= machine.memory
    yield (
        f"memory: about {_gb(needed)} ({_describe_setting(wanted)}); {machine.name} has "
        f"{_gb(machine.memory)}: "
        f"{'fits' if fits else 'does not fit'}"
    )
    if fits:
        return
    for flags, setting in memory_variants(wanted):
        needed = process + memory.step_memory(model, setting, gpu=machine.gpu).total
        if needed <= machine.memory:
            yield f"cheapest variant that fits: {flags} ({_gb(needed)})"
            return
    yield f"no variant fits: {flags} still takes {_gb(needed)}"


def _default_setting(config: Any, trainer: str, method: str) -> TrainingSetting:
    context = getattr(config.get_text_config(), "max_position_embeddings", None) or TOKENS
    if trainer == "grpo":
        written = min(WRITTEN, context // 2)
        return TrainingSetting(method, RANK, 2 * written, ROWS, trainer=trainer, written=written)
    return TrainingSetting(method, RANK, min(TOKENS, context), ROWS, trainer=trainer)


def memory_variants(wanted: TrainingSetting) -> Iterator[tuple[str, TrainingSetting]]:
    """Yield flags of `tunegate train` and what they make of a setting, the cheapest first."""
    flags = f"--per_device_train_batch_size 1 --gradient_accumulation_steps {wanted.batch}"
    small = replace(wanted, batch=1)
    yield flags, small
    yield f"{flags} --dtype {_TWO_BYTES}", replace(small, dtype=_TWO_BYTES)
    flags = f"{flags} --peft qlora"
    small = replace(small, method="qlora")
    if wanted.method != "qlora":
        yield flags, small
    flags, small = f"{flags} --dtype {_TWO_BYTES}", replace(small, dtype=_TWO_BYTES)
    if wanted.method != "qlora":
        yield flags, small
    short = max(1, small.length // 4)
    name = "max_completion_length" if small.written else "max_length"
    written = small.written // 4
    shown = written or short
    yield f"{flags} --{name} {shown}", replace(small, length=short, written=written)


def _describe_setting(setting: TrainingSetting) -> str:
    rows = {"dpo": "pairs", "grpo": "answers"}.get(setting.trainer, "rows")
    return (
        f"{setting.batch} {rows} a step of {setting.length:,} tokens at most, {setting.dtype} "
        "weights"
    )


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


@dataclass(frozen=True)
class MetricLevel:
    """Base's level on one metric, with the floors and ceilings that the suite sets on it."""

    metric: str
    value: float | None
    gates: tuple[GateResult, ...]

    @property
    def sentence(self) -> str:
        """The level and its bounds in words."""
        shown = "no scores" if self.value is None else f"{self.value:.3g}"
        bounds = [
            f"{g.kind} {g.margin} {'held' if g.status is GateStatus.PASS else 'broken'}"
            for g in self.gates
        ]
        return f"{self.metric} {shown}" + (f" ({', '.join(bounds)})" if bounds else "")


@dataclass(frozen=True)
class BaseMeasurement:
    """A suite, asked of base alone."""

    levels: tuple[MetricLevel, ...]
    goal: str
    """The metric that the suite wants to gain on."""
    complete: bool
    """Whether every floor of the suite was measured; those of a judge's metric are not."""

    @property
    def base(self) -> str:
        """`passes`, `fails` or `unknown`, where no floor defines what is good enough."""
        statuses = [gate.status for level in self.levels for gate in level.gates]
        if any(status is GateStatus.FAIL for status in statuses):
            return "fails"
        held = statuses and all(status is GateStatus.PASS for status in statuses)
        return "passes" if held and self.complete else "unknown"

    @property
    def succeeds(self) -> bool:
        """Whether base gets anything right on the goal's metric."""
        found = next((level.value for level in self.levels if level.metric == self.goal), None)
        return found is None or found != 0


def measure_base(suite: Suite, spec: str, *, dtype: str = "auto") -> BaseMeasurement:
    """Ask base every case and compare its levels with the suite's floors and ceilings.

    Raises:
        UsageError: the model cannot be opened or asked this.
        BackendError: it did not answer; finished answers are stored.
    """
    arm = open_arms({"base": spec, "tuned": spec}, dtype=dtype)["base"]
    comparability.check_answerable([suite], {"base": arm})
    return _measure_suite(suite, arm)


def _measure_suite(suite: Suite, arm: Arm) -> BaseMeasurement:
    with prepare([suite], {"base": arm}, STORE) as run:
        run.answer(sys.stderr)
        scores = tuple(run.score(run.answers()))
    # A level is asked of tuned; what is asked here is whether base could be shipped as it is.
    both = [*scores, *(dataclasses.replace(row, arm="tuned") for row in scores)]
    record = suite.record()
    judged = {m.name for m in record.metrics if m.judge is not None}
    levels = [gate for gate in record.gates if gate_kind(gate.kind).reads_level]
    bounds = tuple(gate for gate in levels if gate.metric not in judged)
    manifest = run.manifest("base", [record.model_copy(update={"gates": bounds})])
    (result,) = run.decide(run.with_scores(manifest, both)).suites
    if any(gate.status is GateStatus.ERROR for gate in result.gates):
        reasons = ", ".join(f"{n} times: {why}" for why, n in result.unscored_reasons.items())
        raise BackendError(f"{suite.name}: too much of base is unscored ({reasons})")
    (table,) = tables_of(manifest, run.cases, both, {})
    return BaseMeasurement(
        levels=tuple(_levels(table, result.gates)),
        goal=ranking_metric(suite),
        complete=len(bounds) == len(levels),
    )


def _levels(table: Any, gates: tuple[GateResult, ...]) -> Iterator[MetricLevel]:
    for metric in table.suite.metrics:
        if metric.judge is None:
            value = Delta(table.pairs(metric)).base
            known = value if math.isfinite(value) else None
            yield MetricLevel(
                metric.name, known, tuple(g for g in gates if g.metric == metric.name)
            )


def count_parameters(folder: Path) -> int | None:
    """Return the number of weights in a model folder, from the headers of its files alone."""
    from safetensors import safe_open

    total = 0
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as tensors:
            names = list(tensors.keys())
            total += sum(math.prod(tensors.get_slice(name).get_shape()) for name in names)
    return total or None
