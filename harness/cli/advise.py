"""`tunegate advise [SUITE] --base SPEC [--data FILE …]`: what to do about a model, and why.

Base is measured first: where it already reaches the floors of the suite, there is nothing to train.
Where it doesn't, it is measured with the suite's `[prompted]` and with examples from the rows, too.
What no option gives is asked for on a terminal.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunegate.harness.cli._output import say
from tunegate.harness.cli._panels import Panel
from tunegate.harness.cli.gate import refuse_unknown
from tunegate.harness.engine.progress import format_duration
from tunegate.harness.records import defaults
from tunegate.harness.records.errors import (
    RunInterrupted,
    TunegateError,
    UsageError,
    unknown_name_message,
)

if TYPE_CHECKING:
    from tunegate.trainers.advise import AdviceQuestion, AdviceRule, TrainingSituation
    from tunegate.trainers.base_measurement import BaseMeasurement
    from tunegate.trainers.datasets import TrainingRows
    from tunegate.trainers.estimate.fit import TrainingMachine
    from tunegate.trainers.prompt_trials import PromptTrial

ORDER = 130
PANEL = Panel.BEFORE_TRAINING
ROOM = 0.7
"""Share of a GPU's memory that 16-bit weights may fill before LoRA has no room next to them: a rule
of thumb, for `tunegate estimate` to measure."""


_Suite = Annotated[str, typer.Argument(help="Suite whose gates define what is good enough.")]
_Base = Annotated[str, typer.Option(help="Base model: a folder, hub id or other spec.")]
_Data = Annotated[
    list[str] | None, typer.Option(help="File of training rows, in a format of TRL's.")
]
_Prompted = Annotated[
    bool | None, typer.Option("--prompted/--not-prompted", help="A good prompt was tried.")
]
_Lacks = Annotated[str | None, typer.Option(help="The need: behaviour, knowledge or both.")]
_Weights = Annotated[
    bool | None, typer.Option("--weights/--no-weights", help="You can train the weights.")
]
_ManyTasks = Annotated[
    bool | None, typer.Option("--many-tasks/--one-task", help="One base, many small tasks.")
]
_Verifier = Annotated[
    bool | None, typer.Option("--verifier/--no-verifier", help="A program checks answers.")
]
_RewardModel = Annotated[
    bool | None,
    typer.Option("--reward-model/--no-reward-model", help="A model must judge in training."),
]
_Memory = Annotated[
    float | None, typer.Option(min=0.1, help="Memory of the GPU; found if the machine has one.")
]
_MaxCases = Annotated[int | None, typer.Option(min=1, help="Ask base only the first cases.")]
_Examples = Annotated[
    bool,
    typer.Option("--examples/--no-examples", help="Measure base with other prompts, too."),
]
_Dtype = Annotated[str, typer.Option(help="Number format in which base is measured.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("advise")(advise)


def advise(  # noqa: PLR0913  # a question each
    suite: _Suite = "",
    base: _Base = "",
    data: _Data = None,
    prompted: _Prompted = None,
    lacks: _Lacks = None,
    weights: _Weights = None,
    many_tasks: _ManyTasks = None,
    verifier: _Verifier = None,
    reward_model: _RewardModel = None,
    memory_gb: _Memory = None,
    max_cases: _MaxCases = None,
    examples: _Examples = True,
    dtype: _Dtype = "auto",
) -> None:
    """Measure base and its prompts; say whether and how to train."""
    from tunegate.trainers.advise import TrainingSituation, advice_steps
    from tunegate.trainers.prompt_trials import sufficient_trial

    refuse_unknown(dtype)
    _refuse_lacks(lacks)
    if suite and base and (guards := _guards_alone(suite)):
        say(guards)
        return
    files, rows = _rows(data or ())
    measured, trials, lines = _measure(suite, base, dtype, max_cases, rows if examples else None)
    enough = sufficient_trial(trials)
    if prompted is None and any(trial.measured for trial in trials):
        prompted = True
    situation = TrainingSituation(
        base=measured.base if measured else "unknown",
        succeeds=measured.succeeds if measured else True,
        prompt_suffices=enough is not None,
        prompted=prompted,
        lacks=lacks,
        weights=False if base.startswith("litellm:") and weights is None else weights,
        many_tasks=many_tasks,
        verifier=verifier,
        reward_model=reward_model,
        fits=_fits(base, memory_gb),
        files=files,
        rows={name: len(of.rows) for name, of in rows.items()},
    )
    for line in (*_finding_lines(measured, situation, suite), *lines, *_last_run(suite)):
        say(line)
    situation = _ask_questions(situation)
    print()
    reward = measured.goal if measured else "METRIC"
    option, kept = ("", []) if enough is None else _keep_prompt(suite, enough)
    names = {"base": base or "BASE", "suite": suite or "SUITE", "reward": reward}
    for number, rule in enumerate(advice_steps(situation), start=1):
        say(*_step(number, rule, situation, {**names, "prompted": option}))
        for line in _memory(rule, base, memory_gb):
            say(f"   {line}")
    say(*kept, *_afterwards(situation))


def _guards_alone(word: str) -> str:
    """Return the advice for a suite that has no goal to train for; empty for any other one."""
    from tunegate.harness.gates.contract.registry import gate_kind
    from tunegate.harness.suite import load_suite
    from tunegate.harness.suite.find import find_suites

    suites = [load_suite(Path(file)) for file in find_suites(word)]
    kinds = [gate_kind(gate.kind) for suite in suites for gate in suite.gates]
    if not kinds or any(kind.is_goal or kind.reads_level for kind in kinds):
        return ""
    return (
        f"1. Do not train for {word}.\n"
        "   why: its gates only keep what base does, so base itself passes them, and no training "
        "can be better by them\n"
        "   next: name the suite of the task, or add a floor or gain of its metric to this one"
    )


def _refuse_lacks(lacks: str | None) -> None:
    from tunegate.trainers.advise import decision_tree

    choices = next(q.choices for q in decision_tree()[0] if q.about == "lacks")
    if lacks is not None and lacks not in choices:
        raise UsageError(unknown_name_message(lacks, choices, what="value of --lacks"))


def _rows(paths: Sequence[str]) -> tuple[dict[str, tuple[str, ...]], dict[str, TrainingRows]]:
    """Check every file in the format that it seems to have; return files and rows by format."""
    from tunegate.trainers import datasets

    by_format: dict[str, tuple[str, ...]] = {}
    for path in paths:
        name = datasets.guess_file_format(path).name
        by_format[name] = (*by_format.get(name, ()), path)
    forms = {form.name: form for form in datasets.ALL}
    rows = {
        name: datasets.load_rows(files, forms[name], seed=0) for name, files in by_format.items()
    }
    return by_format, rows


def _measure(
    word: str,
    base: str,
    dtype: str,
    max_cases: int | None,
    rows: Mapping[str, TrainingRows] | None,
) -> tuple[BaseMeasurement | None, list[PromptTrial], list[str]]:
    """Return base alone, base with other prompts, and lines on these; no rows: base alone."""
    if not word:
        return None, [], []
    if not base:
        raise UsageError("which base? name it with --base SPEC, to be measured on the suite")
    from tunegate.harness.cli._run_suites import load_one_suite
    from tunegate.trainers import prompt_trials
    from tunegate.trainers.base_measurement import measure_base, open_base

    suite = load_one_suite(word, max_cases)
    asking = f"tunegate: asking base {len(suite.cases)} cases of {suite.name}"
    say(asking, file=sys.stderr)
    try:
        arm = open_base(suite, base, dtype=dtype)
        measured = measure_base(suite, arm)
        if rows is None or measured.base == "passes":
            return measured, [], []
        if why := prompt_trials.unpromptable(arm):
            return measured, [], [f"prompts: not measured: {why}"]
        whole = suite if max_cases is None else load_one_suite(word, None)
        examples, why = prompt_trials.draw_examples(whole, rows)
        lines = [f"examples: not measured: {why}"] if why and rows else []
        trials = []
        for name, prompt in prompt_trials.trial_prompts(suite, examples).items():
            say(f"{asking} with {name}", file=sys.stderr)
            trials.append(prompt_trials.measure_trial(suite, arm, name, prompt))
    except RunInterrupted as error:
        text = f"{error}; finished answers are stored: the same command continues from there"
        raise RunInterrupted(text, error.exit_code - 128) from error
    if trials:
        lines += ["", *prompt_trials.trial_table(measured, trials)]
    return measured, trials, lines


def _keep_prompt(word: str, trial: PromptTrial) -> tuple[str, list[str]]:
    """Write a prompt that suffices; return the gate's option, and how to put it into the suite."""
    from tunegate.harness.suite.find import find_suites
    from tunegate.trainers.prompt_trials import write_prompt

    file = Path(find_suites(word)[0])
    written = write_prompt(file.parent.name, trial)
    if written is None:
        return "", [f"   {file} has it under {trial.name}"]
    copy = shlex.join(["cp", str(written), str(file.parent / "prompted.jsonl")])
    table = ["      [prompted]", '      examples = "prompted.jsonl"']
    return f"--prompted={written}", [f"   next: {copy}", f"   write into {file}:", *table]


def _fits(base: str, memory_gb: float | None) -> bool:
    """Return whether 16-bit weights leave room on the GPU; true where either is unknown."""
    folder = Path(base)
    if not base or not folder.is_dir():
        return True
    from tunegate.trainers.estimate.fit import count_parameters

    memory = memory_gb or _gpu_gb()
    count = count_parameters(folder)
    return memory is None or count is None or 2 * count <= ROOM * memory * 1e9


def _gpu_gb() -> float | None:
    import torch

    if not torch.cuda.is_available():
        return None
    return float(torch.cuda.get_device_properties(0).total_memory) / 1e9


def _finding_lines(
    measured: BaseMeasurement | None, situation: TrainingSituation, suite: str
) -> Iterator[str]:
    """Yield what was found out."""
    if measured is None:
        yield "base: not measured; name a suite, and advice rests on what base can do"
    else:
        for level in measured.levels:
            yield f"base: {level.sentence}"
        if measured.base == "unknown":
            yield f"base: no floor of {suite} could be decided, so the goal is unknown"
    for name, count in situation.rows.items():
        yield f"data: {count} rows of {name} in {', '.join(situation.files[name])}"
    if not situation.rows:
        yield "data: none; give files of rows with --data FILE"


def _last_run(word: str, runs: Path = Path(defaults.RUNS)) -> Iterator[str]:
    """Yield how the newest run of the suite ended, what it took and what to do, if there is one."""
    from tunegate.harness.decision.verdict.next_step import next_step
    from tunegate.harness.records.files import read_record
    from tunegate.harness.records.manifest import Manifest
    from tunegate.harness.records.training_card import as_number
    from tunegate.harness.run.verification import load_verified
    from tunegate.harness.suite.find import find_suites

    files = find_suites(word) if word else []
    wanted = {Path(file).resolve() for file in files}
    for file in sorted(runs.glob("*/verdict.json"), reverse=True):
        folder = file.parent
        with suppress(TunegateError):  # of another version, or altered: advice does not rest on it
            manifest = read_record(folder / "manifest.json", Manifest)
            if wanted and not wanted & {Path(suite.path).resolve() for suite in manifest.suites}:
                continue
            verdict = load_verified(folder)[0].verdict
            yield f"last run: {folder}: {verdict.verdict.value}: {verdict.sentence}"
            card = {} if manifest.training is None else manifest.training.believed_card
            if seconds := as_number(card.get("seconds")):
                what = f"{card.get('method')}, {card.get('steps')} steps on {card.get('rows')} rows"
                yield f"last training: {what}, {format_duration(seconds)}"
            report = str(folder / "report.html")
            step = next_step(verdict, manifest.suites, run=str(folder), report=report)
            if step is not None:
                yield f"last run: next: {step}"
            return


def _ask_questions(situation: TrainingSituation) -> TrainingSituation:
    """Ask what the advice still depends on."""
    from tunegate.trainers.advise import decision_tree, is_decided

    for question in decision_tree()[0]:
        if is_decided(situation):
            break
        if question.matters(situation):
            if not _is_interactive():
                raise UsageError(f"{question.text} Answer with {question.option}")
            situation = replace(situation, **{question.about: _answer(question)})
    return situation


def _is_interactive() -> bool:
    return sys.stdin.isatty()


def _answer(question: AdviceQuestion) -> Any:
    if not question.choices:
        return typer.confirm(question.text)
    answer = ""
    while answer not in question.choices:
        answer = typer.prompt(question.text)
    return answer


def _step(
    number: int, rule: AdviceRule, situation: TrainingSituation, names: dict[str, str]
) -> Iterator[str]:
    from tunegate.trainers.advise import step_commands

    yield f"{number}. {rule.advice}"
    yield f"   why: {rule.reason}"
    for source in rule.sources:
        yield f"   source: {source}"
    for command in step_commands(rule, situation, **names):
        yield f"   next: {command}"


def _memory(rule: AdviceRule, base: str, memory_gb: float | None) -> Iterator[str]:
    """Yield whether a training fits; nothing of a base without configuration here."""
    if rule.adapter is None or not ((Path(base) / "config.json").is_file() or base == "embedded"):
        return
    from tunegate.trainers import trl_environment
    from tunegate.trainers.arguments import prepare_environment, require_extra
    from tunegate.trainers.estimate.fit import fit_sentences

    prepare_environment()
    require_extra()
    if (machine := _machine(memory_gb)) is not None:
        with trl_environment.quiet_training():
            sentences = fit_sentences(base, rule.method, method=rule.adapter, machine=machine)
            yield from list(sentences)


def _machine(memory_gb: float | None) -> TrainingMachine | None:
    """Return the machine that trains; None where its memory is not known."""
    from tunegate.trainers.estimate.fit import TrainingMachine
    from tunegate.trainers.hardware import current_hardware

    if memory_gb is not None:
        return TrainingMachine(int(memory_gb * 1e9), "the GPU of --memory-gb", gpu=True)
    hardware = current_hardware()
    if hardware.gpus:
        return TrainingMachine(hardware.gpu_memory_bytes[0], hardware.gpus[0], gpu=True)
    memory = hardware.memory_bytes
    return None if memory is None else TrainingMachine(memory, "this machine", gpu=False)


def _afterwards(situation: TrainingSituation) -> Iterator[str]:
    from tunegate.trainers.advise import advice_steps, decision_tree, missing_data

    lacking = missing_data(situation)
    if lacking:
        yield "\nmissing:"
        yield from (f"   {text}" for text in lacking)
    note = decision_tree()[2]
    if any(rule.fallback for rule in advice_steps(situation)) or lacking:
        yield f"\n{note['text']}"
        yield from (f"   source: {source}" for source in note["sources"])
