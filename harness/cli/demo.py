"""`tunegate demo`: three real fine-tunes of a real model, each judged: ship it or not?

It fine-tunes SmolLM2-135M-Instruct three times (hardly at all, with far too high a learning rate,
and sensibly), gates each against the base on three suites and prints the verdicts. What is
finished is kept: a second call trains nothing and answers nothing again.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunegate.harness.cli._panels import Panel
from tunegate.harness.records.errors import BackendError, UsageError, unknown_name_message

if TYPE_CHECKING:
    from tunegate.harness.records.verdict import VerdictRecord

ORDER = 150
PANEL = Panel.LOOK_CLOSER
CANDIDATES = ("lazy", "overcooked", "good")
"""In this order: the first verdict comes soon, and the training that takes minutes is the last."""
SUITES = ("tickets", "general_knowledge", "production")
"""The suites that every candidate is gated on."""
JUDGED = "good"
"""The candidate that a judge looks at as well."""
_HOME = Path(__file__).resolve().parents[2]
_MARKER = "demo.sha256"
_PATIENCE_S = 5.0
"""Seconds that a command has to end after Ctrl-C."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    model: Annotated[
        str, typer.Option(help="Base model: a folder or hub id. Default: the embedded one.")
    ] = "",
    seed: Annotated[int, typer.Option(help="Training seed.")] = 0,
    folder: Annotated[Path, typer.Option(help="Where everything goes.")] = Path(".tunegate/demo"),
    only: Annotated[str, typer.Option(help="One candidate: lazy, overcooked or good.")] = "",
) -> None:
    """Train three adapters of a real model, and judge each."""
    from tunegate.harness.engine.progress import format_duration
    from tunegate.harness.models.demo_model import make_demo_model

    started = time.monotonic()
    if only and only not in CANDIDATES:
        raise UsageError(unknown_name_message(only, CANDIDATES, what="candidate"))
    base = model or str(make_demo_model(progress=_say))
    chosen = [only] if only else list(CANDIDATES)
    suites = copy_suites(folder / "suites")
    files = [str(suites / name / "suite.toml") for name in SUITES]
    verdicts = {}
    for number, name in enumerate(chosen, start=1):
        _say(f"[{number}/{len(chosen)}] {name}")
        adapter = folder / "adapters" / f"{name}-{seed}"
        _train(name, base, adapter, seed, embedded=not model)
        run = folder / (name if seed == 0 else f"{name}-{seed}")
        judged = _judge(suites, base, embedded=not model) if name == JUDGED else []
        verdicts[name] = _gate_candidate(base, adapter, run, [*files, *judged])
    _say(f"done in {format_duration(time.monotonic() - started)}\n")
    for name, (verdict, run) in verdicts.items():
        print(f"{name}: {verdict.verdict.value.replace('_', ' ')}")
        print(f"    {verdict.sentence}")
        print(f"    {run / 'report.html'}")


def copy_suites(folder: Path) -> Path:
    """Write the demo's suites to a folder and return it.

    Gated suites get a ledger next to them, which does not belong into an installation. Of the
    tickets only the first of each template is taken, so that they are independent cases, of the
    everyday prompts the first 20 of each kind and of general knowledge half of the first 25 of each
    subject, which is enough for their tolerances, and of the replies that a judge rates every
    second one, as it decides nothing.
    """
    demo_suites, bundled = _HOME / "trainers" / "demo", _HOME / "suites"
    origins = {
        "general_knowledge": bundled,
        "tickets": demo_suites,
        "production": demo_suites,
        "judge": demo_suites,
    }
    for name, origin in origins.items():
        unused = shutil.ignore_patterns("train.jsonl", "__pycache__")
        # `copyfile` leaves out the mode: files of an installation may be read-only.
        shutil.copytree(
            origin / name,
            folder / name,
            ignore=unused,
            copy_function=shutil.copyfile,
            dirs_exist_ok=True,
        )
    shutil.copyfile(
        bundled / "support_json" / "ticket.schema.json", folder / "tickets" / "ticket.schema.json"
    )
    chosen = {
        "tickets": _one_of_each_template(_lines(bundled / "support_json")),
        "production": _first(20, 50, _lines(bundled / "production")),
        "general_knowledge": _first(25, 36, _lines(bundled / "general_knowledge"))[::2],
        "judge": _lines(demo_suites / "judge")[::2],
    }
    for name, lines in chosen.items():
        (folder / name / "cases.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


def _lines(suite: Path) -> list[str]:
    return (suite / "cases.jsonl").read_text("utf-8").splitlines()


def _first(count: int, size: int, lines: Sequence[str]) -> list[str]:
    """Return the first lines of each block of a size."""
    return [line for i, line in enumerate(lines) if i % size < count]


def _one_of_each_template(lines: Sequence[str]) -> list[str]:
    first: dict[str, str] = {}
    for case in map(json.loads, lines):
        first.setdefault(case.pop("cluster"), json.dumps(case, ensure_ascii=False))
    return list(first.values())


def number_format(processor: Path = Path("/proc/cpuinfo")) -> str:
    """Return the number format to train in: bfloat16 where the processor multiplies it.

    Elsewhere each product would be emulated. The gate computes in float32 in any case.
    """
    try:
        listed = set(processor.read_text("utf-8", errors="replace").split())
    except OSError:
        return "float32"
    return "bfloat16" if listed & {"avx512_bf16", "amx_bf16", "bf16"} else "float32"


def _train(name: str, base: str, adapter: Path, seed: int, *, embedded: bool) -> None:
    """Train a candidate, unless the same configuration, data and seed were trained already.

    The configurations name layers of the embedded model; in others all linear layers are trained.
    """
    from tunegate.harness.records.hashing import file_sha256, sha256

    config = _HOME / "trainers" / "demo" / f"{name}.yaml"
    rows = _HOME / "trainers" / "demo" / "everyday.jsonl"
    data = [*sorted(_HOME.glob("suites/*/train.jsonl")), rows]
    inputs = {str(p.relative_to(_HOME)): file_sha256(p) for p in [config, *data]}
    dtype = number_format()
    wanted = sha256({"inputs": inputs, "seed": seed, "base": base, "dtype": dtype})
    marker = adapter / _MARKER
    if marker.is_file() and marker.read_text(encoding="utf-8") == wanted:
        _say(f"{name}: trained already, in {adapter}")
        return
    _run(
        "train",
        "sft",
        "--config",
        str(config),
        "--model_name_or_path",
        base,
        "--output_dir",
        str(adapter),
        "--seed",
        str(seed),
        "--dtype",
        dtype,
        *([] if embedded else ["--lora_target_modules", "all-linear"]),
        what=f"training {name}",
    )
    marker.write_text(wanted, encoding="utf-8")


def _judge(suites: Path, base: str, *, embedded: bool) -> list[str]:
    """Return the arguments of one more suite, whose only metric asks base itself as a judge.

    The stored calibration found that it may not gate, so its gate is shown and decides nothing.
    That calibration is of the embedded model as a CPU computes it.
    """
    import torch

    place = suites / "judge"
    arguments = [str(place / "suite.toml"), "--judge", base]
    if not embedded or torch.cuda.is_available():
        return arguments
    if not is_calibrated(base, place):
        _say("the judge was calibrated with other versions of its libraries: uncalibrated here")
        return arguments
    return [*arguments, "--calibration", str(place / "calibration.json")]


def is_calibrated(base: str, place: Path) -> bool:
    """Return whether the calibration in `place` is of this judge, down to its tokenizer."""
    from tunegate.harness import suite as suites
    from tunegate.harness.judges.asking.specs import open_judge_models
    from tunegate.harness.records.calibration import calibration_binding, read_calibration

    (metric,) = suites.load_suite(place).metrics
    assert metric.judge is not None
    calibration = read_calibration(place / "calibration.json")
    fingerprints = [judge_model.fingerprint for judge_model in open_judge_models([base], None)]
    return calibration.binding == calibration_binding(metric.judge.prompt_sha256, fingerprints)


def _gate_candidate(
    base: str, adapter: Path, run: Path, suite_arguments: Sequence[str]
) -> tuple[VerdictRecord, Path]:
    """Gate a candidate on suites, with their options; any verdict is a result of the demo."""
    from tunegate.harness.records.files import read_record
    from tunegate.harness.records.verdict import VerdictRecord

    _run(
        "gate",
        *suite_arguments,
        "--base",
        base,
        "--tuned",
        str(adapter),
        "--run-dir",
        str(run),
        what=f"judging {adapter.name}",
        allowed=(0, 1, 10, 11),
    )
    return read_record(run / "verdict.json", VerdictRecord), run


def _run(*args: str, what: str, allowed: tuple[int, ...] = (0,)) -> None:
    """Run a tunegate command in a process of its own."""
    code = _run_tunegate(args)
    if code not in allowed:
        raise BackendError(
            f"{what} ended with exit code {code}; completed steps are stored: "
            "`tunegate demo` continues from there"
        )


def _run_tunegate(args: Sequence[str]) -> int:
    """Return the exit code; Ctrl-C lets the command store what is finished, then ends it."""
    # -P: a json.py in the user's folder must not shadow the library.
    command = [sys.executable, "-P", "-m", "tunegate.harness.cli", *args]
    with subprocess.Popen(command) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            # The terminal interrupted the command as well; another sender may not have.
            with suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE_S)
            process.kill()
            raise


def _say(text: str) -> None:
    print(f"tunegate: {text}", file=sys.stderr, flush=True)
