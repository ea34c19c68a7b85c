"""Options of a training: what wins over what, and mistakes that are caught before a model loads."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.trainers.training_scripts import checkpointing_name
from tunegate.harness.records.errors import UsageError
from tunegate.trainers import sft
from tunegate.trainers.arguments import TrainingConfig, parse_arguments
from tunegate.trainers.train import method_parser

DEMO = Path(__file__).parents[2] / "trainers" / "demo"


def _parse(*argv: str) -> TrainingConfig:
    return parse_arguments(method_parser(sft.METHOD), argv)


@pytest.fixture(name="write_config")
def _write_config(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        (tmp_path / "x.yaml").write_text(text)
        return str(tmp_path / "x.yaml")

    return write


@pytest.fixture(name="without_cuda", autouse=True)
def _without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_defaults_run_on_a_cpu() -> None:
    """Without CUDA, TRL's bf16, checkpointing and pinned memory are off; nothing is reported."""
    args = _parse().training

    assert (True, False, False, False) == (
        args.use_cpu,
        args.bf16,
        bool(args.gradient_checkpointing),
        args.dataloader_pin_memory,
    )
    assert [] == args.report_to


def test_flag_wins_over_file_over_default(write_config: Callable[[str], str]) -> None:
    path = write_config("bf16: true\nlearning_rate: 1e-3\nseed: 5\ngradient_checkpointing: true\n")

    args = _parse("--config", path, "--seed", "7").training

    assert (True, 1e-3, 7, True) == (
        args.bf16,
        args.learning_rate,
        args.seed,
        getattr(args, checkpointing_name()),
    )


def test_config_may_be_given_with_an_equals_sign(write_config: Callable[[str], str]) -> None:
    """`--config=x.yaml` is the same as `--config x.yaml`."""
    assert 9 == _parse(f"--config={write_config('seed: 9')}").training.seed


def test_env_of_the_file_is_set(
    write_config: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """TRL's `env` mapping reaches the environment."""
    monkeypatch.setenv("TUNEGATE_TEST_VALUE", "before")

    _parse("--config", write_config("env:\n  TUNEGATE_TEST_VALUE: 3\n"))

    assert "3" == os.environ["TUNEGATE_TEST_VALUE"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("learning_rat: 1", "x.yaml:1: unknown key 'learning_rat'; did you mean 'learning_rate'?"),
        ("seed: 1\nseed: 2", "x.yaml:2: key 'seed' is already in line 1"),
        ("model_init_kwargs:\n  a: 1\n  a: 2", "x.yaml:3: key 'a' is already in line 2"),
        ("seed: &s 1\nmax_steps: *s", "x.yaml:2: alias *s; write the value out"),
        ("learning_rate: .nan", "x.yaml:1: .nan is not a number"),
        ("learning_rate: -.inf", "x.yaml:1: -.inf is not a number"),
        ("- seed", "x.yaml:1: must be a mapping"),
        ("seed: [1", "x.yaml:1: not valid YAML"),
        ("max_steps: 1.5", "--max_steps"),
        ("bf16: maybe", "--bf16"),
        ("trust_remote_code: true", "give it as a flag"),
        ("model_init_kwargs: {trust_remote_code: true}", "give it as a flag"),
        ("lr_scheduler_type: square", "square"),
        ("train_files: nowhere.jsonl", "train_files=nowhere.jsonl: no such file or folder"),
    ],
)
def test_mistakes_in_the_file(text: str, said: str, write_config: Callable[[str], str]) -> None:
    with pytest.raises(UsageError) as raised:
        _parse("--config", write_config(text))

    assert said in str(raised.value)


def test_all_problems_of_a_file_at_once(write_config: Callable[[str], str]) -> None:
    with pytest.raises(UsageError) as raised:
        _parse("--config", write_config("sed: 1\nmax_step: 2\n"))

    assert 2 == len(str(raised.value).splitlines())


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--lora_rank", "4"], "unknown option '--lora_rank'"),
        (["--learning_rat=1"], "did you mean '--learning_rate'?"),
        (["--dataset_name", "x"], "use --train_files"),
        (["--config"], "--config: expected the path"),
        (["--config", "/nowhere.yaml"], "--config /nowhere.yaml: cannot be read"),
        (["--seed", "one"], "invalid int value: 'one'"),
    ],
)
def test_mistakes_in_flags(argv: list[str], said: str) -> None:
    """Each mistake on the command line is an error that names it."""
    with pytest.raises(UsageError) as raised:
        _parse(*argv)

    assert said in str(raised.value)


def test_training_files_lie_beside_the_file_or_here(
    write_config: Callable[[str], str],
    write_rows: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "b.jsonl").write_text("")
    beside = write_rows("a.jsonl")
    monkeypatch.chdir(here)

    config = _parse("--config", write_config("train_files: [a.jsonl, b.jsonl]"))

    assert [str(beside), str(here / "b.jsonl")] == config.data.train_files


def test_suites_lie_beside_the_file_or_have_a_name(
    write_config: Callable[[str], str], tmp_path: Path
) -> None:
    """A suite in the configuration's folder is found there; other names stay as they are."""
    (tmp_path / "mine").mkdir()

    config = _parse("--config", write_config("eval_suite: [mine, 'mine::json', refusals]"))

    mine = str(tmp_path / "mine")
    assert [mine, f"{mine}::json", "refusals"] == config.data.eval_suite
    assert ["mine"] == _parse("--eval-suite", "mine").data.eval_suite


@pytest.mark.parametrize("name", ["good", "overcooked", "lazy"])
def test_demo_configurations_parse(name: str) -> None:
    """The demo's candidates are valid, find their rows and train LoRA on the embedded model."""
    config = _parse("--config", str(DEMO / f"{name}.yaml"))

    assert ("embedded", True) == (config.model.model_name_or_path, config.model.use_peft)
    assert all(Path(file).is_file() for file in config.data.train_files)
