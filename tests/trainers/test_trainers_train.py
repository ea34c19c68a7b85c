"""What all methods share: TRL's own losses, Ctrl-C, a full disk, several processes, the gate."""

from __future__ import annotations

import json
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_models import Tiny, muted
from tunegate.harness.records.errors import UsageError
from tunegate.trainers import arguments, dpo, final_gate, kto, reward, sft, train
from tunegate.trainers.datasets import load_rows
from tunegate.trainers.sft import METHOD
from tunegate.trainers.train import run_method

ROWS = [{"prompt": f"refund {i}", "completion": " yes" if i % 2 else " no"} for i in range(8)]
OPTIONS = {"max_steps": 4, "per_device_train_batch_size": 2, "learning_rate": 1e-2, "seed": 3}


def _argv(base: Path, out: Path, rows: Path, *more: str) -> list[str]:
    argv = ["--model_name_or_path", str(base), "--train_files", str(rows), "--peft", "lora"]
    argv += ["--output_dir", str(out), "--save_strategy", "no", "--logging_steps", "1"]
    for name, value in OPTIONS.items():
        argv += [f"--{name}", str(value)]
    return [*argv, *more]


def _losses(lines: list[str]) -> list[str]:
    return [line.split()[3] for line in lines if line.startswith("step ")]


PAIRS = [
    {"prompt": row["prompt"], "chosen": " yes" if i % 3 else " late", "rejected": " no"}
    for i, row in enumerate(ROWS)
]
LABELS = [
    {"prompt": row["prompt"], "completion": row[key], "label": key == "chosen"}
    for row in PAIRS
    for key in ("chosen", "rejected")
]


@pytest.mark.parametrize(
    ("method", "trl_name", "rows", "more"),
    [
        (sft, "SFT", ROWS, {"completion_only_loss": True}),
        (dpo, "DPO", PAIRS, {"beta": 0.2, "loss_type": "robust", "label_smoothing": 0.1}),
        (kto, "KTO", LABELS, {"beta": 0.2, "undesirable_weight": 1.5}),
        (reward, "Reward", PAIRS, {}),
    ],
)
def test_losses_are_those_of_trl_called_by_hand(
    method: Any,
    trl_name: str,
    rows: list[Any],
    more: dict[str, Any],
    tiny: Tiny,
    tmp_path: Path,
    write_rows: Callable[..., Path],
) -> None:
    import trl
    from safetensors.torch import load_file
    from transformers import AutoTokenizer, set_seed

    base, file = tiny.base(), write_rows(rows=rows)
    lines: list[str] = []
    flags = [f"--{name}={value}" for name, value in more.items()]
    task = "SEQ_CLS" if trl_name == "Reward" else "CAUSAL_LM"
    model: Any = trl.ModelConfig(use_peft=True, lora_task_type=task)  # type: ignore[attr-defined]  # lazily re-exported
    with muted():
        code = run_method(
            method.METHOD,
            _argv(base, tmp_path / "ours", file, "--float32_matmul_precision", "highest", *flags),
            say=lines.append,
        )
        set_seed(3)
        trainer = getattr(trl, f"{trl_name}Trainer")(
            model=str(base),
            args=getattr(trl, f"{trl_name}Config")(
                **OPTIONS, **more, output_dir=str(tmp_path / "hand"), logging_steps=1,
                use_cpu=True, bf16=False, gradient_checkpointing=None, report_to="none",
                disable_tqdm=True, save_strategy="no", dataloader_pin_memory=False,
                model_init_kwargs={"dtype": "float32"},
            ),
            train_dataset=load_rows([str(file)], method.METHOD.rows, seed=3).to_dataset(),
            processing_class=AutoTokenizer.from_pretrained(base),
            peft_config=trl.get_peft_config(model),  # type: ignore[attr-defined]  # the same
        )  # fmt: skip
        trainer.train()
        trainer.save_model()

    assert 0 == code, lines
    by_hand = [f"{entry['loss']:.4g}" for entry in trainer.state.log_history if "loss" in entry]
    assert by_hand == _losses(lines)
    assert 4 == len(by_hand)
    ours, hand = (
        load_file(tmp_path / name / "adapter_model.safetensors") for name in ("ours", "hand")
    )
    assert ours.keys() == hand.keys()
    assert all(bool((ours[name] == hand[name]).all()) for name in ours)


def test_ctrl_c_keeps_a_checkpoint_that_goes_on(
    tiny: Tiny, tmp_path: Path, write_rows: Callable[..., Path]
) -> None:
    """Stopped in its third step, it exits with 130 and its command ends in the whole's bytes."""
    base, rows = tiny.base(), write_rows(rows=ROWS)
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        if line.startswith("step 2/"):
            os.kill(os.getpid(), signal.SIGINT)

    with muted():
        assert 0 == run_method(METHOD, _argv(base, tmp_path / "whole", rows), say=lambda _: None)
        assert 130 == run_method(METHOD, _argv(base, tmp_path / "parts", rows), say=say)
        checkpoint = tmp_path / "parts" / "checkpoint-3"
        hint = f"--resume_from_checkpoint {checkpoint}"
        assert f"error: training stopped; {hint} continues from there" == lines[-1]
        assert not (tmp_path / "parts" / "adapter_model.safetensors").exists()
        again = run_method(
            METHOD, _argv(base, tmp_path / "parts", rows, *hint.split()), say=lines.append
        )

    assert 0 == again, lines
    name = "adapter_model.safetensors"
    assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_ctrl_c_stops_at_once(
    tiny: Tiny, tmp_path: Path, write_rows: Callable[..., Path]
) -> None:
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        if line.startswith(("step 2/", "stopping")):
            os.kill(os.getpid(), signal.SIGINT)

    with muted():
        code = run_method(
            METHOD, _argv(tiny.base(), tmp_path / "out", write_rows(rows=ROWS)), say=say
        )

    assert 130 == code
    assert "there is no checkpoint yet" in lines[-1]


@contextmanager
def _files_of_at_most(size: int) -> Iterator[None]:
    """Let no file grow beyond `size` bytes, which fails as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_takes_no_more_is_one_line(
    tiny: Tiny, tmp_path: Path, write_rows: Callable[..., Path]
) -> None:
    lines: list[str] = []
    argv = _argv(tiny.base(), tmp_path / "out", write_rows(rows=ROWS), "--peft", "none")

    with muted(), _files_of_at_most(10_000):
        code = run_method(METHOD, argv, say=lines.append)

    assert 13 == code
    assert lines[-1].startswith(f"error: {tmp_path / 'out'}: ")
    assert "\n" not in lines[-1]
    assert not list((tmp_path / "out").glob("tunegate*"))


def _suite(folder: Path, floor: float) -> Path:
    folder.mkdir()
    cases = [{"id": str(i), "prompt": f"where is {i}?", "expected": "42"} for i in range(3)]
    (folder / "cases.jsonl").write_text("\n".join(map(json.dumps, cases)) + "\n")
    (folder / "suite.toml").write_text(
        'name = "tiny"\ncases = "cases.jsonl"\n[generation]\nmax_new_tokens = 2\n'
        f'[[metrics]]\nuse = "exact_match"\n[[gates]]\nmetric = "exact_match"\nfloor = {floor}\n'
    )
    return folder


@pytest.mark.slow
def test_the_exit_code_is_the_verdict(
    tiny: Tiny,
    tmp_path: Path,
    write_rows: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """`--gate` judges the fine-tune at once: no answer is 42, so a floor of 0.9 is BLOCK, 1."""
    monkeypatch.chdir(tmp_path)
    lines: list[str] = []
    suite = _suite(tmp_path / "suite", 0.9)
    asked = ["--eval-suite", str(suite), "--gate"]

    with muted():
        code = run_method(
            METHOD,
            _argv(tiny.base(), tmp_path / "out", write_rows(rows=ROWS), *asked),
            say=lines.append,
        )

    said = capfd.readouterr().out
    assert 1 == code, said
    assert "BLOCK" in said
    assert list((tmp_path / ".tunegate" / "runs").glob("*/verdict.json"))
    command = f"tunegate gate {suite} --base {tiny.base()} --tuned {tmp_path / 'out'}"
    assert lines[-1].endswith(f"next: {command}")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--gate"], "--gate: name the suites"),
        (["--gate", "--eval-suite", "/nowhere"], "--eval-suite /nowhere: no such suite"),
        (["--eval-suite", "broken"], "broken/suite.toml"),
    ],
)
def test_suites_are_read_before_the_training(
    more: list[str],
    said: str,
    tiny: Tiny,
    tmp_path: Path,
    write_rows: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "suite.toml").write_text("name = 5\n")
    lines: list[str] = []

    code = run_method(
        METHOD, _argv(tiny.base(), tmp_path / "out", write_rows(rows=ROWS), *more), say=lines.append
    )

    assert 2 == code
    assert said in lines[-1]
    assert not (tmp_path / "out").exists()


def test_a_suite_may_be_given_several_times() -> None:
    """Each `--eval-suite` adds to the list, in either spelling, and other flags stay."""
    argv = ["--eval-suite", "a", "--seed", "7", "--eval_suite=b", "--eval-suite", "c", "d"]

    config = arguments.parse_arguments(train.method_parser(METHOD), argv)

    assert ["a", "b", "c", "d"] == config.data.eval_suite
    assert 7 == config.training.seed
    assert {"eval_suite", "seed"} == config.given


def test_bundled_suites_are_known_by_name() -> None:
    """As `tunegate gate` does, `--eval-suite` takes the name of a suite that is bundled."""
    final_gate.check_suites(["refusals"], wanted=True)
    with pytest.raises(UsageError, match="refusal: no such suite"):
        final_gate.check_suites(["refusal"], wanted=True)


@pytest.mark.slow
def test_two_processes_train_together(
    tiny: Tiny, tmp_path: Path, write_rows: Callable[..., Path]
) -> None:
    """Under `accelerate launch` both processes train, and the first one alone speaks and saves."""
    import subprocess
    import sys

    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]
    launch += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    argv = _argv(tiny.base(), tmp_path / "out", write_rows(rows=ROWS))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}

    done = subprocess.run(
        [*launch, "-m", "tunegate.harness.cli", "train", "sft", *argv],
        env=environment, cwd=Path(train.__file__).parents[1], capture_output=True, text=True,
    )  # fmt: skip

    assert 0 == done.returncode, done.stderr
    assert 4 == done.stderr.count("\nstep ")
    assert 1 == done.stderr.count("saved to")
    assert 4 == json.loads((tmp_path / "out" / "tunegate_training.json").read_text())["steps"]
